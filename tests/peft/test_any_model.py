"""Models as they come: tied, strided, wrapped, of any precision; each can be tuned, saved, read, and is what it was."""

import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

import nclib
from nclib.peft import finetuning, methods
from nclib.peft.files import changed
from nclib.peft.prefix import split
from nclib.storage import digest_of, load_tensors, save_tensors

LABELS = torch.arange(6) % 3
IMAGES = torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()


class Net(nn.Module):
    """A stem, three blocks and a classifier, with a buffer or without."""

    def __init__(self, buffer=None):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, 2)
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.fc = nn.Linear(8, 3)
        self.register_buffer("extra", buffer)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


class Casting(Net):
    """Its stem computes in bfloat16, whatever comes before and after."""

    def __init__(self):
        super().__init__()
        self.stem.bfloat16()

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x.bfloat16()).float()).mean((2, 3)))


class Stateful(Net):
    """With state that is not a tensor."""

    def get_extra_state(self):
        return {"names": ["a", "b"], "scale": torch.ones(2)}

    def set_extra_state(self, state):
        assert state["names"] == ["a", "b"]


class Whole(Net):
    """Read as a whole or not at all, as torch's quantised layers are."""

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        assert state_dict[f"{prefix}extra"] is not None
        super()._load_from_state_dict(state_dict, prefix, *rest)


def tied():
    net = Net()
    net.blocks[2].conv.weight = net.blocks[0].conv.weight
    return net


def tied_layer():
    net = Net()
    net.blocks[2].conv = net.blocks[1].conv
    return net


def tied_classifier():
    net = Net()
    net.head = net.fc
    return net


def strided():
    net = Net(torch.ones(1).expand(4))
    net.stem.bias = nn.Parameter(torch.randn(16)[::2])
    net.blocks[1].conv.bias = nn.Parameter(torch.ones(1).expand(8))
    return net


def views():
    """Two buffers that overlap."""
    net, numbers = Net(), torch.randn(30)
    net.register_buffer("one", numbers[:20])
    net.register_buffer("other", numbers[10:])
    return net


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what will leave torch
        return torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8)


def hooked():
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(net.blocks[1].conv)
    return net


def parametrised():
    net = Net()
    nn.utils.parametrizations.weight_norm(net.blocks[1].conv)
    nn.utils.parametrizations.weight_norm(net.fc)
    return net


MODELS = {
    "plain": Net,
    "tied": tied,
    "tied layer": tied_layer,
    "classifier of two names": tied_classifier,
    "strided": strided,
    "views": views,
    "channels_last": lambda: Net().to(memory_format=torch.channels_last),
    "bfloat16": lambda: Net().bfloat16(),
    "float16": lambda: Net().half(),
    "float64": lambda: Net().double(),
    "casting": Casting,
    "complex": lambda: Net(torch.randn(3, dtype=torch.complex64).conj()),
    "complex in bfloat16": lambda: Net(torch.randn(3, dtype=torch.complex64)).bfloat16(),
    "sparse": lambda: Net(torch.eye(3).to_sparse()),
    "quantised": lambda: Net(quantised()),
    "empty": lambda: Net(torch.zeros(0, 3)),
    "computed": lambda: Net(2 * torch.randn(3, requires_grad=True)),
    "stateful": Stateful,
    "whole": lambda: Whole(torch.ones(2)),
    "hooked": hooked,
    "parametrised": parametrised,
    "parallel": lambda: nn.DataParallel(Net()),
    "compiled": lambda: torch.compile(Net(), backend="eager"),
    "averaged": lambda: AveragedModel(Net()),
}
WAYS = {
    "linear": lambda model: methods.linear_probe(model, 3),
    "its own head": lambda model: methods.linear_probe(model),
    "bias": lambda model: methods.bias_tuning(model, 3),
    "norm": lambda model: methods.norm_tuning(model, 3),
    "layer": lambda model: methods.layer_tuning(model, -2, 3),
    "skip": lambda model: methods.skip_tuning(model, -1, 3, match="project"),
    "lora": lambda model: methods.lora_tuning(model, 3, rank=2),
    "full": lambda model: methods.full_tuning(model, 3),
}
ALL = ("tied", "tied layer", "strided", "channels_last", "bfloat16", "float16", "float64")  # in every way
CASES = [(model, way) for model in MODELS for way in WAYS if model in ALL or way in ("linear", "skip", "full")]


@pytest.mark.filterwarnings("ignore:no epoch did better")
@pytest.mark.parametrize(("name", "way"), CASES)
def test_any_model_is_tuned_saved_and_read_again(name, way, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning, "_SAVE_EVERY", 0.0)
    model = MODELS[name]().eval()
    before = digest_of(model.state_dict())
    tuned, data = WAYS[way](model), (IMAGES, LABELS)
    settings = nclib.Tuning(epochs=1, batch_size=3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "body.stem.* are trained in torch.bfloat16")
        nclib.finetune(tuned, data, settings, validation=data, checkpoint=tmp_path / "unfinished")
    nclib.save_tuned(tmp_path / "tuned", tuned)
    again = nclib.load_tuned(tmp_path / "tuned", model)
    with torch.no_grad():
        assert torch.equal(again(IMAGES), tuned(IMAGES))
        assert torch.isfinite(tuned(IMAGES)).all()
    assert digest_of(model.state_dict()) == before


@pytest.mark.parametrize("way", WAYS)
def test_safetensors_takes_the_state_of_a_model_that_was_in_channels_last(way, tmp_path):
    """So does Hugging Face's Trainer, which saves by it."""
    tuned = WAYS[way](MODELS["channels_last"]())
    nclib.finetune(tuned, (IMAGES, LABELS), nclib.Tuning(epochs=1, batch_size=3))
    save_file(tuned.state_dict(), tmp_path / "w.safetensors")


def test_a_tied_weight_is_saved_once_if_it_is_trained_and_else_not_at_all():
    names = ("body.blocks.0.conv.weight", "body.blocks.2.conv.weight")
    for way, number in (("full", 1), ("layer", 0), ("skip", 1), ("linear", 0)):
        assert sum(name in changed(WAYS[way](tied())) for name in names) == number


def test_a_buffer_that_a_trained_and_a_frozen_layer_share_is_saved():
    net = Net()
    net.blocks[2].norm = net.blocks[0].norm
    assert "body.blocks.2.norm.running_mean" in changed(methods.layer_tuning(net, "blocks.2", 3))


def test_what_is_trained_is_no_part_of_a_prefix_that_is_computed_once():
    assert split(methods.layer_tuning(tied(), "blocks.1", 3)) is not None
    assert split(methods.layer_tuning(tied(), "blocks.2", 3)) is None
    probe = methods.linear_probe(Net(), 3)
    probe.body.blocks[2].requires_grad_(True)
    before = probe.body.blocks[2].conv.weight.clone()
    nclib.finetune(probe, (IMAGES, LABELS), nclib.Tuning(epochs=1, batch_size=3))
    assert not torch.equal(before, probe.body.blocks[2].conv.weight)


@pytest.mark.parametrize(
    ("model", "dtype"), [("bfloat16", torch.float32), ("float16", torch.float32), ("float64", torch.float64)]
)
@pytest.mark.parametrize("way", WAYS)
def test_a_model_is_tuned_in_the_default_precision_or_its_own_if_that_is_finer(model, dtype, way):
    own = MODELS[model]()
    tuned = WAYS[way](own)
    assert {parameter.dtype for parameter in tuned.parameters()} == {dtype}
    assert torch.equal(tuned.body.blocks[0].norm.weight, own.blocks[0].norm.weight.to(dtype))
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    assert {tuned(IMAGES.to(kind)).dtype for kind in kinds} == {dtype}
    if way == "its own head":
        expected = own.to(dtype).eval()(IMAGES.to(dtype))
        torch.testing.assert_close(tuned(IMAGES), expected)


def test_a_model_that_casts_by_itself_stays_as_it_is_which_training_of_it_says():
    tuned = methods.full_tuning(Casting(), 3)
    assert tuned.body.stem.weight.dtype == torch.bfloat16
    assert tuned.head.weight.dtype == tuned(IMAGES).dtype == torch.float32
    with pytest.warns(UserWarning, match=r"body\.stem\.weight, body\.stem\.bias are trained in torch\.bfloat16"):
        nclib.finetune(tuned, (IMAGES, LABELS), nclib.Tuning(epochs=1, batch_size=3))


def test_a_complex_buffer_keeps_its_imaginary_part():
    own = MODELS["complex in bfloat16"]()
    assert torch.equal(methods.full_tuning(own, 3).body.extra, own.extra)


@pytest.mark.parametrize("name", ["parallel", "compiled", "averaged"])
def test_a_wrapped_model_is_tuned_as_the_model_itself(name, tmp_path):
    inner, wrapped = WAYS["skip"](Net()), WAYS["skip"](MODELS[name]())
    assert (wrapped.spec, wrapped.base) == (inner.spec, inner.base)
    assert torch.equal(wrapped(IMAGES), inner(IMAGES))
    for whole in (nn.DataParallel(inner), torch.compile(inner, backend="eager")):
        nclib.save_tuned(tmp_path / "tuned", whole)
        assert nclib.load_tuned(tmp_path / "tuned", Net()).spec == inner.spec
    with pytest.raises(TypeError, match="tuned is Net; it must be a tuned model, as skip_tuning and the others return"):
        nclib.save_tuned(tmp_path / "tuned", Net())


@pytest.mark.parametrize("name", ["classifier of two names", "parametrised"])
def test_the_classifier_is_found_by_any_of_its_names(name):
    model = MODELS[name]().eval()
    tuned = methods.linear_probe(model)
    assert tuned.head.in_features == 8
    torch.testing.assert_close(tuned(IMAGES), model(IMAGES))


def test_a_model_without_numbers_or_that_cannot_be_copied_is_refused():
    lazy = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3))
    for model in (Net().to("meta"), nclib.Backbone("lazy", lazy)):
        with pytest.raises(ValueError, match="has no numbers yet; load weights into the model"):
            methods.linear_probe(model, 3)
    stuck = Net()
    stuck.lock = (number for number in range(3))
    with pytest.raises(ValueError, match=r"Net must be copied, but copy\.deepcopy fails: cannot pickle"):
        methods.linear_probe(stuck, 3)


LAYOUTS = {
    "every other": torch.arange(20.0)[::2],
    "of one, far apart": torch.arange(20.0)[::20],
    "expanded": torch.ones(1).expand(5),
    "expanded scalar": torch.tensor(1.0).expand(2, 3),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "channels_last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "conjugate": torch.randn(4, dtype=torch.complex64).conj(),
    "imaginary": torch.randn(4, dtype=torch.complex64).conj().imag,
    "negative": torch._neg_view(torch.ones(3)),
    "sparse": torch.eye(3).to_sparse(),
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(2),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_how_numbers_lie_in_memory_changes_neither_their_digest_nor_their_file(name, tmp_path):
    tensor = LAYOUTS[name]
    plain = torch.tensor(tensor.to_dense().tolist(), dtype=tensor.dtype).reshape(tensor.shape)
    assert digest_of({"x": tensor}) == digest_of({"x": plain})
    save_tensors(tmp_path / "x", {"x": tensor, "again": tensor}, {})
    found, _ = load_tensors(tmp_path / "x")
    assert torch.equal(found["x"], plain)
    assert torch.equal(found["again"], plain)


def test_the_digest_of_plain_tensors_is_what_it_was():
    """It names what is in caches."""
    assert digest_of({"b": torch.arange(4.0), "a": torch.tensor(1)}, "text") == "27dc65f19556a3b5d5947249c1e6ed37"


def test_the_digest_is_of_the_numbers_of_what_is_quantised_and_of_extra_state():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, same, other = (
            torch.quantize_per_tensor(torch.full((3,), 10 * scale), scale, 0, torch.qint8) for scale in (0.1, 0.1, 0.2)
        )
    assert digest_of({"x": one}) == digest_of({"x": same}) != digest_of({"x": other})
    states = [
        {"x": {"names": names, "scale": torch.full((2,), scale)}} for names, scale in (("ab", 1), ("ab", 2), ("a", 1))
    ]
    assert len({digest_of(state) for state in states}) == 3


def test_a_type_that_safetensors_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"x is torch\.complex128, which safetensors cannot hold"):
        save_tensors(tmp_path / "x", {"x": torch.zeros(2, dtype=torch.complex128)}, {})
