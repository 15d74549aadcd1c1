"""Collapse and accuracy along the depth of a model."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

import nclib


@pytest.fixture(scope="module")
def task():
    model = nclib.backbone("test_resnet", weights="random", device="cpu")
    return model, *(nclib.load("digits", split, per_class=8) for split in ("train", "test"))


def test_a_row_is_what_its_layer_gives(task):
    model, train, test = task
    table = nclib.layerwise(model, train, test, layers=["layer1.0", "last"], metrics=["nc1", "cdnv"])
    assert list(table.index) == ["layer1.0", "last"]
    for layer, row in table.iterrows():
        features, tested = (nclib.extract_layers(model, images, [layer])[layer] for images in (train, test))
        probe = nclib.LinearProbe().fit(features, train.labels)
        assert row["num_features"] == features.shape[1]
        assert row["nc1"] == nclib.measure(features, train.labels, metrics=["nc1"])["nc1"]
        assert row["accuracy"] == probe.score(tested, test.labels) < probe.score(features, train.labels)


def test_all_blocks_in_order_and_any_classifier(task):
    model, train, test = task
    table = nclib.layerwise(model, train, test, probe=LogisticRegression(max_iter=20), metrics=["cdnv"])
    assert list(table.index) == [*model.layers, "last"]
    assert table["accuracy"].between(0, 1).all()


def test_two_kinds_of_classes_are_refused(task):
    model, train, _ = task
    other = nclib.ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
    with pytest.raises(ValueError, match=r"the classes of train and test differ: 0, 1, .* and cat, dog"):
        nclib.layerwise(model, train, other)


def test_one_class_is_called_by_its_name(task):
    model, train, test = task
    inputs = torch.rand(4, 3, 96, 96)
    with pytest.raises(ValueError, match="train has one class, cat; collapse compares at least 2"):
        nclib.layerwise(model, (inputs, ["cat"] * 4), (inputs, ["cat"] * 4))
    for wrong in ("linear", LogisticRegression):
        with pytest.raises(TypeError, match="it must be a scikit-learn classifier"):
            nclib.layerwise(model, train, test, probe=wrong)
    with pytest.raises(ValueError, match=r"metrics hold 'nc1,cdnv', .* give a list: \['nc1', 'cdnv'\]"):
        nclib.layerwise(model, train, test, layers=["last"], metrics="nc1,cdnv")
