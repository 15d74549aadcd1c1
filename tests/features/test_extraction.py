"""Features: layers against the libraries' own tools, the cache, batches, interrupted runs."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import nclib
from nclib.data.batches import Prepared
from nclib.data.images import stack
from nclib.features.backbones import AsTrained
from nclib.features.extraction import _SHARD
from nclib.features.forward import captured


@pytest.fixture(scope="module")
def inputs():
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_layers_are_those_of_timms_forward_intermediates(inputs):
    backbone = nclib.backbone("test_resnet", weights="random", device="cpu")
    with torch.no_grad():
        maps = backbone.model.forward_intermediates(inputs, intermediates_only=True)
    features = nclib.extract_layers(backbone, inputs, [f"layer{i}" for i in range(1, 5)])
    for values, expected in zip(features.values(), maps[-4:], strict=True):
        torch.testing.assert_close(values, expected.mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "test_convnext"])
def test_tokens_are_averaged_as_timms_maps_are(name):
    inputs = torch.rand(2, 3, 224, 224)
    backbone = nclib.backbone(name, weights="random", device="cpu")
    with torch.no_grad():
        maps = backbone.model.forward_intermediates(inputs, intermediates_only=True)
    features = nclib.extract_layers(backbone, inputs, ["stages.0" if name == "test_convnext" else 0, -1])
    for values, expected in zip(features.values(), (maps[0], maps[-1]), strict=True):
        torch.testing.assert_close(values, expected.mean((2, 3)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "layer", "width"),
    [("samvit_base_patch16_224", "blocks.0", 768), ("test_convnext", "stages.0.blocks.0.mlp.fc1", 96)],
)
def test_maps_with_their_channels_last_are_known_as_such(name, layer, width):
    model = timm.create_model(name, num_classes=0)
    inputs = torch.rand(1, 3, *model.pretrained_cfg["input_size"][1:])
    assert nclib.extract_layers(model, inputs, [layer])[layer].shape == (1, width)


def test_patches_before_the_class_token_is_added_are_all_averaged():
    model = timm.create_model("test_vit", num_classes=0).eval()
    inputs = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        expected = model.patch_embed(inputs).flatten(1, -2).mean(1)
    torch.testing.assert_close(nclib.extract_layers(model, inputs, ["patch_embed"])["patch_embed"], expected)


@pytest.mark.parametrize(("name", "pool"), [("mobilenet_v2", (2, 3)), ("swin_t", (1, 2)), ("vit_b_32", None)])
def test_layers_are_those_of_torchvisions_feature_extractor(name, pool):
    inputs = torch.rand(2, 3, 224, 224)
    backbone = nclib.backbone(f"torchvision:{name}", weights="random", device="cpu")
    names = [backbone.layers[1], backbone.layers[-1]]
    reference = create_feature_extractor(backbone.model.eval(), names)
    with torch.no_grad():
        outputs = reference(inputs)
    for layer, values in nclib.extract_layers(backbone, inputs, names).items():
        expected = outputs[layer].mean(pool) if pool else outputs[layer][:, 1:].mean(1)
        torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-4)


def test_a_layer_that_is_overwritten_later_is_kept_as_it_was():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    inputs = torch.randn(8, 3)
    features = nclib.extract_layers(model, inputs, ["0", "last"])
    with torch.no_grad():
        torch.testing.assert_close(features["0"], model[0](inputs))
    assert (features["last"] >= 0).all()
    assert (features["0"] < 0).any()


class Counted(nn.Module):
    """Counts the rows it has seen, and runs out of memory on more than `most` at once."""

    def __init__(self, most=10**9):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.most, self.seen, self.sizes = most, 0, []

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("not enough memory")
        self.seen += len(x)
        self.sizes.append(len(x))
        return x.flatten(1)[:, :3] @ self.weight.T


@pytest.fixture
def many():
    return torch.randn(2 * _SHARD + 7, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def test_batches_are_halved_until_they_fit_and_stay_so(many, capsys):
    model = Counted(most=20)
    features = nclib.extract(model, many, batch_size=64)
    torch.testing.assert_close(features, nclib.extract(Counted(), many))
    assert set(model.sizes) <= {16, *(n % 16 for n in (64, _SHARD, len(many)))}
    with pytest.raises(torch.OutOfMemoryError):
        nclib.extract(Counted(most=0), many[:4])


class Greedy(nn.Flatten):
    """Asks for more memory than any machine has, for more than 4 rows at once."""

    def forward(self, x):
        torch.empty(2**50 if len(x) > 4 else 1)
        return super().forward(x)


def test_a_cpu_without_memory_is_understood(many):
    assert torch.equal(nclib.extract(Greedy(), many[:9], batch_size=8), many[:9].flatten(1))


def test_other_errors_are_not_taken_for_a_lack_of_memory(many):
    with pytest.raises(ValueError, match=r"leave 4 numbers for a linear layer that takes 3.*cannot be multiplied"):
        nclib.extract(nn.Sequential(nn.Flatten(), nn.Linear(3, 3), nn.ReLU()), many)


def test_the_cache_is_read_and_keyed_by_weights_images_and_layer(many, tmp_path):
    model = Counted()
    first = nclib.extract(model, many, cache=tmp_path)
    assert model.seen == len(many)
    assert torch.equal(nclib.extract(model, many, cache=tmp_path, batch_size=3), first)
    assert model.seen == len(many)
    nclib.extract(model, many + 1, cache=tmp_path)
    assert model.seen == 2 * len(many)
    model.weight.data += 1
    assert not torch.equal(nclib.extract(model, many, cache=tmp_path), first)
    assert model.seen == 3 * len(many)


def test_the_cache_knows_other_networks_transforms_and_precisions_of_one_name(tmp_path, monkeypatch):
    linear = nn.Linear(4, 3)
    inputs, digits = torch.randn(6, 4), nclib.load("digits", per_class=1)

    def flat(image, scale):
        return scale * torch.tensor(np.array(image.resize((2, 2)))).float()[..., 0].flatten()

    class Scaled:
        def __init__(self, scale):
            self.scale = scale

        def __repr__(self):
            return f"Scaled({self.scale})"

        def __call__(self, image):
            return flat(image, self.scale)

    made = [
        nclib.extract(model, images, cache=tmp_path, half=half)
        for model, images, half in [
            (nclib.Backbone("n", linear), inputs, False),
            (nclib.Backbone("n", linear), inputs, True),
            (nclib.Backbone("n", linear, last=lambda x: linear(x) ** 2), inputs, False),
            (nclib.Backbone("n", nn.Sequential(linear, nn.ReLU())), inputs, False),
            (nclib.Backbone("n", nn.Sequential(linear, nn.Tanh())), inputs, False),
            (nclib.Backbone("n", linear, Scaled(1)), digits, False),
            (nclib.Backbone("n", linear, Scaled(5)), digits, False),
            (nclib.Backbone("n", linear, lambda image: flat(image, 2)), digits, False),
            (nclib.Backbone("n", linear, lambda image: flat(image, 3)), digits, False),
        ]
    ]
    for one, other in itertools.combinations(made, 2):
        assert one.shape != other.shape or not torch.equal(one, other)


def test_a_flipped_byte_or_a_cut_file_is_noticed_and_computed_again(many, tmp_path):
    model = Counted()
    first = nclib.extract(model, many, cache=tmp_path)
    for damage in (lambda raw: raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:], lambda raw: raw[: len(raw) // 2]):
        path = sorted(tmp_path.rglob("*.safetensors"))[1]
        path.write_bytes(damage(path.read_bytes()))
        model.seen = 0
        with pytest.warns(UserWarning, match="computing its features again"):
            assert torch.equal(nclib.extract(model, many, cache=tmp_path), first)
        assert model.seen == _SHARD


def test_a_layer_asked_for_later_leaves_the_others_of_the_cache(tmp_path, inputs):
    backbone = nclib.backbone("test_resnet", weights="random", device="cpu")
    one = nclib.extract_layers(backbone, inputs, ["layer1"], cache=tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    two = nclib.extract_layers(backbone, inputs, ["layer1", "last"], cache=tmp_path)
    assert torch.equal(one["layer1"], two["layer1"])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert all(path.stat().st_mtime_ns == then for path, then in written.items())


def test_images_are_prepared_the_same_in_workers(tmp_path):
    backbone = nclib.backbone("test_resnet", weights="random", device="cpu")
    images = nclib.load("digits", per_class=2)
    assert torch.equal(nclib.extract(backbone, images), nclib.extract(backbone, images, workers=2))


SLOW = """
import sys, time, torch, nclib
class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4, 2))
    def forward(self, x):
        time.sleep(float(sys.argv[2]))
        print("batch", flush=True)
        return x.flatten(1).cumsum(1) @ self.weight
images = torch.randn(2100, 1, 2, 2, generator=torch.Generator().manual_seed(0))
features = nclib.extract(Slow(), images, cache=sys.argv[1], batch_size=256)
print("sum", features.double().sum().item(), flush=True)
"""


def run_slow(folder, seconds):
    command = [sys.executable, "-c", SLOW, str(folder), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_a_killed_extraction_goes_on_where_it_was_with_the_same_numbers(tmp_path):
    with run_slow(tmp_path / "killed", 0.2) as process:
        for _ in itertools.islice(process.stdout, 5):  # two batches make a shard
            pass
        process.send_signal(signal.SIGKILL)
    whole = len(list((tmp_path / "killed").rglob("0*.safetensors")))
    assert whole == 2
    again = run_slow(tmp_path / "killed", 0).communicate()[0].split("\n")
    fresh = run_slow(tmp_path / "fresh", 0).communicate()[0].split("\n")
    assert (again.count("batch"), fresh.count("batch")) == (5, 9)
    assert again[-2] == fresh[-2] != ""


def test_every_module_is_left_in_its_mode(inputs):
    model = timm.create_model("test_resnet", num_classes=0).train()
    model.layer1.eval()
    first, again = (nclib.extract(model, inputs) for _ in range(2))
    assert torch.equal(first, again)
    assert model.training
    assert model.layer2.training
    assert not model.layer1.training
    assert not first.requires_grad


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size is 0; it must be at least 1"),
        ({"layers": []}, ValueError, "there are no layers; at least one"),
        (
            {"layers": ["layer9"]},
            ValueError,
            r"test_resnet has no layer 'layer9'; its blocks are conv1\.0, .*layer1\.0, .*, last",
        ),
        ({"layers": [99]}, ValueError, r"test_resnet has no layer 99; there are 0\.\.8, or"),
        ({"images": torch.zeros(0, 3, 8, 8)}, ValueError, "there are no images"),
        ({"images": 3}, TypeError, r"int holds no images; give a Dataset, .*, or a tensor of inputs \(N, C, H, W\)"),
        ({"layers": "last"}, TypeError, r"layers are 'last'; give a list .* such as \['last'\]"),
        ({"layers": ["fc"]}, ValueError, "test_resnet does not use layer 'fc' to make its features"),
    ],
)
def test_bad_arguments_say_what_is_allowed(arguments, error, message, inputs):
    backbone = nclib.backbone("test_resnet", weights="random", device="cpu")
    arguments = {"images": inputs, "layers": ["last"]} | arguments
    with pytest.raises(error, match=message):
        nclib.extract_layers(backbone, **arguments)


@pytest.mark.parametrize(("module", "what"), [(nn.Identity(), r"\(2, 1, 4, 4\)"), (nn.LSTM(4, 3), "tuple")])
def test_features_of_another_shape_are_refused(module, what):
    with pytest.raises(ValueError, match=rf"the last layer of .* gives {what}; it must be features \(N, d\)"):
        nclib.extract(module, torch.zeros(2, 1, 4, 4) if "4" in what else torch.zeros(2, 1, 4))


def test_workers_may_be_started_anew():
    """As on systems where a process does not begin as a copy of its parent: what it needs is pickled."""
    backbone = nclib.backbone("test_resnet", weights="random", device="cpu")
    images = nclib.load("digits", per_class=1)
    prepared = Prepared(images, backbone.transform, backbone.name)
    assert torch.equal(pickle.loads(pickle.dumps(prepared))[0], prepared[0])


def test_labelled_images_need_a_transform():
    with pytest.raises(ValueError, match="Linear has no transform"):
        nclib.extract(nn.Linear(2, 2), nclib.load("digits", per_class=1))


def test_what_layers_return_is_captured_in_order_and_hooks_are_gone_afterwards():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    with captured(model, ["0", "1"], lambda name, output: (name, output.shape)) as outputs:
        model(torch.zeros(3, 2))
    assert {name: len(found) for name, found in outputs.items()} == {"0": 2, "1": 1}
    assert outputs["1"] == [("1", (3, 2))]
    model(torch.zeros(3, 2))
    assert len(outputs["1"]) == 1
    with pytest.raises(AttributeError), captured(model, ["0", "9"], lambda name, output: output):
        pass
    assert not shared._forward_hooks


class Several(nn.Module):
    """Gives what it is told to make of its features."""

    def __init__(self, make):
        super().__init__()
        self.stem, self.head, self.make = nn.Conv2d(3, 4, 1), nn.Linear(4, 2), make

    def forward(self, x):
        return self.make(self.head(self.stem(x).mean((2, 3))))


@pytest.mark.parametrize("make", [lambda x: {"logits": x}, lambda x: (x, x), lambda x: None, lambda x: [x, {"y": x}]])
def test_inner_layers_are_read_whatever_a_model_gives_in_the_end(make, tmp_path, recwarn):
    model, inputs = Several(make), torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        expected = model.stem(inputs).mean((2, 3))
    for cache in (None, tmp_path, tmp_path):
        found = nclib.extract_layers(model, inputs, ["stem", "head"], cache=cache)
        torch.testing.assert_close(found["stem"], expected)
        torch.testing.assert_close(found["head"], model.head(expected).detach())
    assert not [each for each in recwarn if "ends in a linear layer" in str(each.message)]
    images = nclib.ImageSet((255 * inputs).byte(), torch.tensor([0, 0, 0, 1, 1]), ("a", "b"))
    mine = nclib.Backbone("mine", model, nclib.features.AsTrained(3, 8))
    assert nclib.feature_statistics(mine, images, layer="stem").num_features == 4
    given = type(make(inputs)).__name__
    with pytest.raises(ValueError, match=rf"the last layer of mine gives {given}; .*last=function\)"):
        nclib.extract(nclib.Backbone("mine", model), inputs)
    with pytest.raises(ValueError, match=rf"gives {given} for 2 inputs; .*last=function\)"):
        nclib.geometric_complexity(model, inputs)
    with pytest.raises(ValueError, match=rf"without its classifier Several gives {given}; .*give a module"):
        nclib.linear_probe(model, 2)
    assert not [each for each in recwarn if "ends in a linear layer" in str(each.message)]


def test_the_cache_knows_what_a_function_holds(tmp_path):
    model, other, inputs = nn.Linear(4, 3), nn.Linear(4, 3), torch.randn(6, 4)

    def both(x):
        return {"pooled": model(x), "negated": -model(x)}

    def scaled(x, by):
        return by * model(x)

    def of(head):
        return lambda x: head(x)

    functions = [
        lambda x: both(x)["pooled"],
        lambda x: both(x)["negated"],
        partial(scaled, by=2),
        partial(scaled, by=3),
        of(model),
        of(other),
        *[lambda x, by=by: by * model(x) for by in (4, 5)],
    ]
    for _ in range(2):  # once to fill the cache, once to read it
        for function in functions:
            backbone = nclib.Backbone("n", model, last=function)
            assert torch.equal(nclib.extract(backbone, inputs, cache=tmp_path), function(inputs).detach())
    assert len(list(tmp_path.iterdir())) == len(functions)


def test_the_cache_knows_which_layer_a_skip_connection_adds(tmp_path, inputs):
    blocks = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) for _ in range(3)]
    model = nn.Sequential(nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)).eval()
    for layer in ("0.0", "0.1"):
        tuned = nclib.skip_tuning(model, layer, 2)
        given = nclib.Backbone("n", tuned, last=tuned.features)
        assert torch.equal(nclib.extract(given, inputs, cache=tmp_path), nclib.extract(given, inputs))


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (12, 12), (8, 8)], ids=str)
def test_images_of_any_shape_are_cropped_as_in_training(size):
    pixels = torch.randint(0, 256, (*size[::-1], 3), generator=torch.Generator().manual_seed(0))
    image = Image.fromarray(pixels.to(torch.uint8).numpy())
    assert torch.equal(AsTrained(3, 8).pixels(image), stack(iter([image]), 1, 8)[0])
