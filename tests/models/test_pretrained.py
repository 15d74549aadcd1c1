"""Backbones by name: real timm and torchvision models with random weights, files of weights, what is refused."""

import sys

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import nclib
from nclib.models.pretrained import _renamed
from nclib.models.recipes import Recipe, train

TIMM = ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "test_efficientnet", "test_vit"]
TORCHVISION = ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "vit_b_32", "shufflenet_v2_x0_5"]


def random(name, **options):
    return nclib.backbone(name, weights="random", device="cpu", **options)


@pytest.fixture(scope="module")
def digits():
    return nclib.load("digits", per_class=1)


@pytest.mark.parametrize("name", TIMM)
def test_a_timm_model_gives_what_its_own_classifier_sees(name, digits):
    backbone = random(name)
    inputs = torch.stack([backbone.transform(digits.image(i).convert("RGB")) for i in range(10)])
    features = nclib.extract(backbone, digits)
    with torch.no_grad():
        torch.testing.assert_close(backbone.classifier(features), backbone.model(inputs), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_torchvision_model_gives_what_its_own_classifier_sees(name, digits):
    backbone = random(f"torchvision:{name}")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = torchvision.models.get_model(name).eval()
    inputs = torch.stack([backbone.transform(digits.image(i).convert("RGB")) for i in range(10)])
    features = nclib.extract(backbone, digits)
    with torch.no_grad():
        if backbone.classifier is None:
            expected = whole.features(inputs).mean((2, 3))
        else:
            features, expected = backbone.classifier(features), whole(inputs)
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone():
    state = torch.get_rng_state()
    assert random("test_vit").digest == random("test_vit").digest
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("name", "make"), [("test_vit", timm.create_model), ("torchvision:shufflenet_v2_x0_5", None)])
@pytest.mark.parametrize("num_classes", [1000, 7])
def test_weights_come_from_a_file_whatever_its_classifier(tmp_path, name, make, num_classes):
    make = make or (lambda name, **options: torchvision.models.get_model(name.partition(":")[2], **options))
    model = make(name, num_classes=num_classes)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    backbone = nclib.backbone(name, weights=tmp_path / "weights.safetensors", device="cpu")
    assert backbone.classifier.weight.shape[0] == num_classes
    own = backbone.model.state_dict() | {f"fc.{k}": v for k, v in backbone.classifier.state_dict().items()}
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items())


def test_weights_without_a_classifier_give_a_backbone_without_one(tmp_path):
    model = timm.create_model("test_vit")
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    save_file(state, tmp_path / "weights.safetensors")
    backbone = nclib.backbone("test_vit", weights=tmp_path / "weights.safetensors", device="cpu")
    assert backbone.classifier is None
    assert nclib.extract(backbone, nclib.load("digits", per_class=1)).shape == (10, model.num_features)


def test_a_recipes_checkpoint_is_a_backbone(tmp_path, digits):
    recipe = Recipe(source="digits", per_class=3, width=8, epochs=1)
    network = train(recipe, cache=tmp_path, device="cpu", progress=False)
    backbone = nclib.backbone(f"recipe:{tmp_path / recipe.key}.safetensors", device="cpu")
    expected = nclib.extract(network.backbone, digits.inputs())
    torch.testing.assert_close(nclib.extract(backbone, digits), expected, rtol=1e-4, atol=1e-5)
    larger = digits.in_memory(size=40)
    assert nclib.extract(backbone, larger).shape == expected.shape


MODULE = """
from timm.models import register_model
import torch
from torch import nn

@register_model
def NAME(pretrained=False, num_classes=3, **options):
    import timm
    return timm.create_model("test_resnet", num_classes=num_classes)
"""


@pytest.mark.parametrize("how", ["my_models_by_path.py", "my_models_by_name"])
def test_models_of_a_users_module_are_found(tmp_path, monkeypatch, how):
    name = how.removesuffix(".py")
    (tmp_path / f"{name}.py").write_text(MODULE.replace("NAME", name))
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert random(name, imports=[how]).classifier.out_features == 3
    assert sys.path == before


def test_layers_are_blocks_by_name_or_place():
    resnet = random("resnet18")
    assert resnet.layers[0] == resnet.layer(0) == resnet.layer("layer1.0")
    assert resnet.layer(-1) == "layer4.1"
    assert random("torchvision:vgg11").layers[:3] == ("features.0", "features.3", "features.6")
    assert random("test_vit").layers == tuple(f"blocks.{i}" for i in range(len(random("test_vit").model.blocks)))
    nested = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU()), nn.Sequential(nn.Sequential(nn.Conv2d(2, 2, 1)))
    )
    assert nclib.Backbone("mine", nn.ModuleDict({"trunk": nested})).layers == ("trunk.0", "trunk.1.0")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "resnet81"}, ValueError, "timm has no model 'resnet81'; similar names are .*resnet18"),
        ({"name": "torchvision:resnet81"}, ValueError, "torchvision has no model 'resnet81'; similar names are"),
        (
            {"name": "resnet18", "weights": "w.pt"},
            ValueError,
            r"weights are 'w\.pt'; they must be 'pretrained', 'random' .* safetensors.torch.save_file\(",
        ),
        ({"name": "resnet18", "weights": "no.safetensors"}, FileNotFoundError, r"no file of weights no\.safetensors"),
        (
            {"name": "resnet18", "imports": ["no_such_module"]},
            ModuleNotFoundError,
            "no_such_module could not be imported",
        ),
        ({"name": "resnet18", "imports": ["no/such.py"]}, FileNotFoundError, r"there is no file no/such\.py"),
        ({"name": "recipe:no/such.safetensors"}, FileNotFoundError, "there is no checkpoint no/such"),
        ({"name": "recipe:x", "weights": "random"}, ValueError, "a recipe's checkpoint has its own"),
    ],
)
def test_bad_arguments_say_what_is_allowed(arguments, error, message):
    with pytest.raises(error, match=message):
        nclib.backbone(**arguments, device="cpu")


def test_weights_that_do_not_fit_say_where(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    state["conv1.0.weight"] = state.pop("conv1.0.weight")[:1].clone()
    state["extra"] = torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"does not fit test_resnet in 2 places: .*\(1, .*extra is \(1,\), not there"):
        nclib.backbone("test_resnet", weights=tmp_path / "w.safetensors", device="cpu")
    (tmp_path / "w.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        nclib.backbone("test_resnet", weights=tmp_path / "w.safetensors", device="cpu")


WRAPPED = {
    "DataParallel": lambda key: f"module.{key}",
    "compiled": lambda key: f"_orig_mod.{key}",
    "both": lambda key: f"_orig_mod.module.{key}",
    "a method's": lambda key: f"module.model.backbone.{key}",
    "but the head": lambda key: key if key.startswith("fc.") else f"backbone.{key}",
    "a compiled part": lambda key: key.replace("layer1.0.", "layer1.0._orig_mod."),
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("name", ["test_resnet", "torchvision:resnet18"])
def test_prefixes_of_names_are_left_out(how, name, tmp_path):
    whole = timm.create_model(name) if name == "test_resnet" else torchvision.models.resnet18(num_classes=5)
    state = whole.state_dict()
    save_file({WRAPPED[how](key): value for key, value in state.items()}, tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match=r"w\.safetensors: names were taken without their prefixes, .* as "):
        backbone = nclib.backbone(name, weights=tmp_path / "w.safetensors", device="cpu")
    own = backbone.model.state_dict() | {f"fc.{k}": v for k, v in backbone.classifier.state_dict().items()}
    assert all(torch.equal(own[key], value) for key, value in state.items())


def test_averaged_weights_are_taken(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(timm.create_model("test_resnet"))
    save_file(averaged.state_dict(), tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match="module.* as "):
        backbone = nclib.backbone("test_resnet", weights=tmp_path / "w.safetensors", device="cpu")
    assert torch.equal(backbone.model.fc.weight, averaged.module.fc.weight)


def test_names_of_a_model_that_has_such_a_prefix_itself_are_found():
    class Wrapping(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    assert [*_renamed({"backbone.weight": torch.zeros(1)}, Wrapping(), "w")] == ["backbone.weight"]
    for given in ("weight", "module.backbone.weight", "model.weight"):
        with pytest.warns(UserWarning, match=f"{given} as backbone.weight"):
            assert [*_renamed({given: torch.zeros(1)}, Wrapping(), "w")] == ["backbone.weight"]


def test_two_networks_in_one_file_are_refused(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    both = {f"{prefix}.{key}": value.clone() for prefix in ("model", "module") for key, value in state.items()}
    save_file(both, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"twice, as mod.* and mod.*; keep one network's weights"):
        nclib.backbone("test_resnet", weights=tmp_path / "w.safetensors", device="cpu")


def test_counts_of_batches_may_be_missing_and_nothing_else_of_batch_norm(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    state = {key: value + 1 for key, value in state.items() if not key.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match=r"has no num_batches_tracked of \d+ layers, which is taken as 0"):
        backbone = nclib.backbone("test_resnet", weights=tmp_path / "w.safetensors", device="cpu")
    found = backbone.model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert not any(found[key] for key in found.keys() - state.keys())
    save_file({k: v for k, v in state.items() if "running_var" not in k}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="running_var is missing"):
        nclib.backbone("test_resnet", weights=tmp_path / "w.safetensors", device="cpu")


def test_weights_of_other_names_say_theirs_and_the_models(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    save_file({f"student.{key}": value for key, value in state.items()}, tmp_path / "w.safetensors")
    held = r"The file holds student\.bn1\.bias, .* more; test_resnet has bn1\.bias, .* more: save it with these names"
    with pytest.raises(ValueError, match=held):
        nclib.backbone("test_resnet", weights=tmp_path / "w.safetensors", device="cpu")


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch):
    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(FileNotFoundError, match=r"weights of resnet18 could not be fetched \(OSError: no network\)"):
        nclib.backbone("resnet18", device="cpu")
