"""Features of models with a classifier: a known one is left out, of another a warning asks."""

import pytest
import timm
import torch
import torchvision
from torch import nn

import nclib
from nclib import Backbone, load
from nclib.features.heads import headless

LEFT_OUT, ENDS = "its classifier was left out", "ends in a linear layer"


def timms():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=5).eval()


def torchvisions(name):
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, num_classes=5).eval()


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_b_32", "convnext_tiny", "mobilenet_v3_small", "squeezenet1_1", "swin_t"]
)
def test_the_classifier_of_a_torchvision_model_is_left_out(name):
    model, images = torchvisions(name), torch.rand(2, 3, 224, 224)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        features = nclib.extract(model, images)
    expected = nclib.extract(nclib.backbone(f"torchvision:{name}", weights="random", device="cpu"), images)
    assert features.shape == expected.shape
    with pytest.warns(UserWarning, match=LEFT_OUT):
        head = headless(model).classifier
    if head is not None:
        torch.testing.assert_close(head(features), model(images), rtol=1e-4, atol=1e-5)


def test_the_classifier_of_a_timm_model_is_left_out_everywhere():
    model, images = timms(), torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
    for given in (model, Backbone("mine", model)):
        with pytest.warns(UserWarning, match=LEFT_OUT):
            torch.testing.assert_close(nclib.extract(given, images), expected, rtol=1e-4, atol=1e-5)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert nclib.extract_layers(model, images, [0, "last"])["last"].shape == expected.shape
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert nclib.geometric_complexity(model, images).value == pytest.approx(
            nclib.geometric_complexity(Backbone("x", model, last=headless_quietly(model).last), images).value
        )
    assert nclib.skip_tuning(model, -1, num_classes=3).features(images).shape == expected.shape


def headless_quietly(model):
    with pytest.warns(UserWarning, match=LEFT_OUT):
        return headless(model)


def test_statistics_layers_and_rankings_are_of_what_the_classifier_sees():
    model, transform = timms(), nclib.backbone("test_resnet", weights="random", device="cpu").transform
    mine = Backbone("mine", model, transform)
    train, test = (load("digits", split, per_class=2) for split in ("train", "test"))
    width = model.num_features
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert nclib.feature_statistics(mine, train).num_features == width
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert nclib.layerwise(mine, train, test, layers=["last"])["num_features"].tolist() == [width]
    with pytest.warns(UserWarning, match=LEFT_OUT):
        ranking = nclib.rank_models([mine], train, by="logme", scores=["leep"])
    assert set(ranking.table) == {"logme", "leep", "seconds"}  # LEEP is of the classifier that was found
    features = nclib.extract(headless_quietly(mine), train)
    assert ranking.table.loc["mine", "logme"] == pytest.approx(nclib.score(features, train.labels)["logme"])


@pytest.mark.parametrize("after", [[], [nn.Softmax(1)], [nn.Dropout(), nn.Identity()]])
def test_another_model_that_ends_in_a_linear_layer_is_asked_about(after):
    body = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model, images = nn.Sequential(*body, nn.Linear(3, 7), *after), torch.rand(2, 3, 8, 8)
    with pytest.warns(UserWarning, match=r"Sequential ends in a linear layer, 2 \(3 to 7\), whose output is used"):
        assert nclib.extract(model, images).shape == (2, 7)
    assert nclib.extract(Backbone("meant", model, last=model), images).shape == (2, 7)
    assert nclib.extract(nn.Sequential(*body, nn.Identity()), images).shape == (2, 3)
    assert nclib.extract(nn.Sequential(*body, nn.Linear(3, 7), nn.ReLU()), images).shape == (2, 7)


def test_models_without_a_head_are_taken_as_they_are():
    resnet = torchvisions("resnet18")
    resnet.fc = nn.Identity()
    for model in (
        resnet,
        timm.create_model("test_resnet", num_classes=0),
        timm.create_model("test_vit", num_classes=0),
    ):
        size = getattr(model, "pretrained_cfg", {"input_size": (3, 64, 64)})["input_size"][1:]
        assert headless(model).last is None
        assert nclib.extract(model, torch.rand(1, 3, *size)).shape[1] in (
            512,
            model.num_features if model is not resnet else 0,
        )
