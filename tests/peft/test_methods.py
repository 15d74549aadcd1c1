"""What each way of fine-tuning trains, and what its model gives, on timm's and torchvision's models without weights."""

import copy

import pytest
import timm
import torch
from peft import LoHaConfig
from torch import nn
from torchvision import models

import nclib
from nclib.peft import methods

RESNET, VIT, MOBILENET = "test_resnet", "test_vit", "mobilenetv3_small_050"


def timm_model(name):
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm's zeros cut the residual branches off
    return model


def inputs_of(model):
    return torch.randn(2, *model.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(1))


def all_tuned(model, num_classes=None):
    yield methods.linear_probe(model, num_classes)
    yield methods.bias_tuning(model, num_classes)
    yield methods.norm_tuning(model, num_classes)
    yield methods.layer_tuning(model, -2, num_classes)
    yield methods.skip_tuning(model, -2, num_classes)
    yield methods.skip_tuning(model, 0, num_classes, match="project")
    yield methods.lora_tuning(model, num_classes, rank=2)
    yield methods.full_tuning(model, num_classes)


def test_every_way_of_tuning_is_tried():
    tried = {tuned.spec["method"] for tuned in all_tuned(timm_model(RESNET), 3)}
    missing = sorted(methods.METHODS.keys() - tried - {"lora"})  # whose spec is that of an adapter
    assert not missing, f"add {missing} to all_tuned of tests/peft/test_methods.py"


# Of PAPERS: block and head of 10 classes over backbone and head, in percent, for torchvision's models.
SHARES = [
    ("resnet18", "layer3.0", 8.27),
    ("resnet18", "layer3.1", 10.60),
    ("resnet18", "layer4.0", 32.9),
    ("resnet50", "layer3.0", 6.52),
    ("resnet50", "layer3.1", 4.84),
    ("resnet50", "layer3.5", 4.84),
    ("resnet50", "layer4.0", 25.8),
    ("vit_b_32", "encoder.layers.encoder_layer_5", 8.11),
]


@pytest.mark.parametrize(("name", "layer", "percent"), SHARES)
def test_the_share_of_trained_parameters(name, layer, percent):
    model = models.get_model(name)
    share = methods.trainable_share(methods.layer_tuning(model, layer, num_classes=10))
    assert 100 * share == pytest.approx(percent, abs=0.05)
    assert methods.trainable_share(methods.skip_tuning(model, layer, 10)) >= share  # where the head is wider
    assert methods.trainable_share(methods.full_tuning(model, 10)) == 1


@pytest.mark.parametrize("name", [RESNET, VIT, MOBILENET])
def test_at_first_a_tuned_model_is_the_model(name):
    model = timm_model(name)
    inputs, before = inputs_of(model), copy.deepcopy(model.state_dict())
    wanted = model(inputs)
    for tuned in all_tuned(model):
        if tuned.skip is None:
            torch.testing.assert_close(tuned(inputs), wanted, atol=1e-5, rtol=1e-5)
        assert tuned(inputs).shape == wanted.shape
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("match", ["pad", "project"])
@pytest.mark.parametrize("layer", [0, -1])
def test_the_skip_connection_adds_the_pooled_output_of_the_layer(match, layer):
    model = timm_model(RESNET)
    inputs = inputs_of(model)
    tuned = methods.skip_tuning(model, layer, 5, match=match)
    backbone = nclib.Backbone(
        "model", model, last=lambda x: model.forward_head(model.forward_features(x), pre_logits=True)
    )
    name = backbone.layer(layer)
    taken = nclib.extract_layers(backbone, inputs, [name, "last"])
    block, last = taken[name], taken["last"]
    if match == "project":
        block = block @ tuned.skip.projection
    width = max(block.shape[1], last.shape[1])
    padded = [nn.functional.pad(part, (0, width - part.shape[1])) for part in (block, last)]
    torch.testing.assert_close(tuned.features(inputs), sum(padded), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("width", "block_width"), [(8, 3), (3, 8), (5, 5)])
def test_the_fixed_map_is_orthogonal_as_far_as_the_widths_allow(width, block_width):
    projection = nclib.peft.tuned.Skip(width, block_width, "project").projection
    small = projection @ projection.T if block_width <= width else projection.T @ projection
    torch.testing.assert_close(small, torch.eye(min(width, block_width)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [RESNET, VIT])
def test_a_step_of_training_changes_what_is_trained_and_nothing_else(name):
    model = timm_model(name)
    inputs, labels = inputs_of(model), torch.tensor([0, 1])
    for tuned in all_tuned(model, 3):
        nn.init.normal_(tuned.head.weight)
        before = copy.deepcopy(tuned.state_dict())
        optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], 0.1)
        for _ in range(2):  # LoRA's first step leaves the one of its matrices alone
            nn.functional.cross_entropy(tuned.train()(inputs), labels).backward()
            optimizer.step()
        changed = {key for key, value in tuned.state_dict().items() if not torch.equal(value, before[key])}
        trained = {key for key, parameter in tuned.named_parameters() if parameter.requires_grad}
        statistics = {key for key in changed if "running" in key or "num_batches" in key}
        assert changed - statistics <= trained
        assert trained - changed <= {key for key in trained if "qkv.bias" in key or "k_proj.bias" in key}
        assert statistics == {key for key in before if "running" in key or "num_batches" in key} & {
            key for key in before if key.startswith(tuned.trained)
        }


def test_biases_are_trained_and_no_other_parameter_of_the_body():
    for name in (RESNET, VIT):
        tuned = methods.bias_tuning(timm_model(name), 3)
        named = dict(tuned.named_parameters())
        wanted = {key for key in named if key.endswith("bias") or key == "head.weight"}
        assert {key for key, parameter in named.items() if parameter.requires_grad} == wanted
        assert len(wanted) > 5


@pytest.mark.parametrize(("name", "norm"), [(RESNET, nn.BatchNorm2d), (VIT, nn.LayerNorm)])
def test_normalisation_layers_are_trained_and_no_other_parameter_of_the_body(name, norm):
    model = timm_model(name)
    before = copy.deepcopy(model.state_dict())
    tuned = methods.norm_tuning(model, 3)
    wanted = {
        f"{path}.{key}"
        for path, module in tuned.body.named_modules()
        if isinstance(module, norm)
        for key, _ in module.named_parameters(recurse=False)
    }
    assert {key for key, parameter in tuned.body.named_parameters() if parameter.requires_grad} == wanted
    assert len(wanted) > 5
    tuned.train()(inputs_of(model))  # statistics stay those of the source
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_model_without_normalisation_has_none_to_tune():
    with pytest.raises(ValueError, match="no normalisation layer with weights to train; use bias_tuning"):
        methods.norm_tuning(models.vgg11(), 3)


def test_layers_are_a_table_of_what_each_is_of_the_model():
    model = models.resnet18()
    table = nclib.layers(model)
    assert tuple(table.index) == nclib.Backbone.of(model).layers
    assert list(table.columns) == ["parameters", "share"]
    size = sum(parameter.numel() for parameter in model.parameters())
    block = sum(parameter.numel() for parameter in model.layer3[1].parameters())
    assert table.loc["layer3.1"].tolist() == [block, block / size]
    rest = sum(parameter.numel() for part in (model.conv1, model.bn1, model.fc) for parameter in part.parameters())
    assert table["parameters"].sum() == size - rest
    head = 2 * (512 + 1)
    trained = sum(p.numel() for p in methods.layer_tuning(model, "layer3.1", 2).parameters() if p.requires_grad)
    assert trained == table.loc["layer3.1", "parameters"] + head
    for same in (nclib.Backbone("mine", model), nn.DataParallel(model), torch.compile(model, backend="eager")):
        assert nclib.layers(same).equals(table)
    assert nclib.layers(nn.Sequential(nn.Flatten(), nn.Linear(3, 2))).empty
    tied = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)) for _ in range(2)))
    tied[1][1].weight = tied[1][0].weight
    assert nclib.layers(tied)["parameters"].tolist() == [12, 12, 9 + 3, 9 + 3]
    with pytest.raises(TypeError, match="model is 'resnet18'; it must be a module or a Backbone"):
        nclib.layers("resnet18")


def test_a_share_of_no_parameters_is_refused():
    with pytest.raises(ValueError, match="this Flatten has no parameters"):
        nclib.trainable_share(nn.Flatten())


@pytest.mark.parametrize("rank", [0, "4", 2.5, True])
def test_the_rank_of_lora_is_a_whole_number(rank):
    with pytest.raises(ValueError, match=r"rank is .*; it must be"):
        methods.lora_tuning(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 3, rank=rank)


def test_lora_reaches_torchs_attention():
    model = models.VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32).eval()
    tuned = methods.lora_tuning(model, 3, rank=2)
    tuned.train()(torch.rand(2, 3, 32, 32)).sum().backward()
    lora = {key: parameter.grad for key, parameter in tuned.named_parameters() if "lora_" in key}
    assert any("self_attention" in key for key in lora)
    assert all(gradient is not None for gradient in lora.values())


def test_a_backbone_with_features_of_its_own_is_refused():
    model = timm_model(RESNET)
    doubled = nclib.Backbone("doubled", model, last=lambda x: 2 * model.forward_head(model.forward_features(x), True))
    with pytest.raises(ValueError, match="the features that doubled names differ from"):
        methods.linear_probe(doubled, 3)
    with pytest.raises(TypeError, match="the model returns GoogLeNetOutputs in training"):
        methods.full_tuning(models.googlenet(init_weights=False), 3).train()(torch.rand(2, 3, 64, 64))


def test_a_name_is_not_a_model():
    with pytest.raises(TypeError, match="model is 'resnet18'; it must be a module or a Backbone"):
        methods.linear_probe("resnet18", 3)
    with pytest.raises(TypeError, match="name is a ResNet; for a model of your own"):
        nclib.backbone(timm_model(RESNET))


def test_frozen_parts_stay_in_eval_mode():
    tuned = methods.layer_tuning(timm_model(RESNET), "layer3.0", 3).train()
    assert tuned.training
    assert tuned.head.training
    assert tuned.body.layer3[0].bn1.training
    assert not tuned.body.layer2[0].bn1.training
    assert not tuned.body.bn1.training
    assert not any(module.training for module in tuned.eval().modules())


def test_batch_norm_that_was_folded_into_the_weights_is_told():
    model = timm_model(RESNET)
    methods.full_tuning(model)  # untrained: no bias either
    nn.init.normal_(model.bn1.bias)
    with pytest.warns(UserWarning, match="1 of .* batch norms have biases but running means of 0"):
        methods.full_tuning(model)
    methods.skip_tuning(model, -2)  # its batch norm is not trained
    methods.full_tuning(timm.layers.freeze_batch_norm_2d(model))


def test_a_model_may_be_a_backbone_of_any_kind(tmp_path):
    torchvisions = nclib.backbone("torchvision:resnet18", weights="random", device="cpu")
    plain = models.resnet18()
    assert (
        methods.skip_tuning(torchvisions, -1, 4).head.in_features == methods.skip_tuning(plain, -1, 4).head.in_features
    )
    timms = nclib.backbone(RESNET, weights="random", device="cpu")
    inputs = inputs_of(timms.model)
    torch.testing.assert_close(methods.linear_probe(timms, 4).features(inputs), timms.last(inputs))
    nclib.train(nclib.Recipe(source="digits", per_class=2, width=8, epochs=0), cache=tmp_path, device="cpu")
    (checkpoint,) = tmp_path.glob("*.safetensors")
    small = nclib.backbone(f"recipe:{checkpoint}", device="cpu")
    assert methods.skip_tuning(small, "layer3.0", 4)(torch.zeros(2, 1, 28, 28)).shape == (2, 4)


def test_adapters_of_peft_by_their_config():
    model = timm_model(RESNET)
    config = LoHaConfig(r=2, target_modules=["layer4.0.conv1"])
    tuned = methods.adapter_tuning(model, config, 3)
    trained = {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"body", "head"}
    assert all("hada" in name for name in trained if name.startswith("body"))


def test_an_adapter_without_targets_takes_all_linear_layers_and_convolutions():
    """But those with groups, which peft's adapters cannot take; the given config stays as it was."""
    model = timm_model(MOBILENET)
    config = LoHaConfig(r=2)
    tuned = methods.adapter_tuning(model, config, 3)
    adapted = {name.rpartition(".hada")[0] for name, p in tuned.body.named_parameters() if p.requires_grad}
    plain = {
        name
        for name, module in methods.linear_probe(model, 3).body.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    }
    assert adapted == plain
    assert config.target_modules is None


@pytest.mark.parametrize("name", [RESNET, VIT])
def test_every_tuned_model_can_be_exported(name):
    model = timm_model(name)
    inputs = inputs_of(model)
    for tuned in all_tuned(model, 3):
        nn.init.normal_(tuned.head.weight)
        exported = torch.export.export(tuned, (inputs,)).module()
        torch.testing.assert_close(exported(inputs), tuned(inputs), atol=1e-5, rtol=1e-5)


class Headless(nn.Sequential):
    """A module that ends in no linear layer."""


REFUSED = {
    "unknown layer": (
        lambda: methods.layer_tuning(timm_model(RESNET), "layer9", 3),
        "no layer 'layer9'; its blocks are .*layer1.0",
    ),
    "no such place": (lambda: methods.skip_tuning(timm_model(RESNET), 99, 3), "no layer 99; there are 0"),
    "the last layer": (
        lambda: methods.skip_tuning(timm_model(RESNET), "last", 3),
        "the last layer is what the head sees",
    ),
    "after the pooling": (
        lambda: methods.skip_tuning(models.vgg11(), "classifier.3", 3),
        "classifier.3 comes after the pooling",
    ),
    "the classifier": (lambda: methods.layer_tuning(timm_model(RESNET), "fc", 3), "layer fc has no parameters to tune"),
    "nothing to tune": (lambda: methods.layer_tuning(models.resnet18(), "avgpool", 3), "avgpool has no parameters"),
    "unused layer": (
        lambda: methods.layer_tuning(models.googlenet(init_weights=False).eval(), "aux1.conv", 3),
        "aux1.conv is used 0 times in a forward pass",
    ),
    "no classifier": (
        lambda: methods.linear_probe(Headless(nn.Conv2d(3, 4, 3), nn.ReLU()), 3),
        "Headless has no linear classifier, but ends in ReLU",
    ),
    "no classes": (
        lambda: methods.linear_probe(timm.create_model(RESNET, num_classes=0)),
        "no classifier to keep; give num_classes",
    ),
    "too few classes": (lambda: methods.linear_probe(timm_model(RESNET), 0), "num_classes is 0; it must be at least 2"),
    "half a class": (
        lambda: methods.linear_probe(timm_model(RESNET), 2.5),
        "num_classes is 2.5; it must be a whole number",
    ),
    "match": (
        lambda: methods.skip_tuning(timm_model(RESNET), 0, 3, match="crop"),
        "match is 'crop'; .* 'pad' or 'project'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_tuned_is_refused(what):
    make, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        make()
