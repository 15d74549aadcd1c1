"""Files of tuned models: what is in them, on what they may be loaded, and what is refused."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import nclib
from nclib.peft import methods

INPUTS = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def resnet(seed=0):
    torch.manual_seed(seed)
    return timm.create_model("test_resnet").eval()


def trained(tuned):
    """After two steps, so that all of it has changed."""
    nn.init.normal_(tuned.head.weight)
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        nn.functional.cross_entropy(tuned.train()(INPUTS), torch.arange(4) % 3).backward()
        optimizer.step()
    return tuned.eval()


MAKERS = {
    "linear": lambda model: methods.linear_probe(model, 3),
    "bias": lambda model: methods.bias_tuning(model, 3),
    "norm": lambda model: methods.norm_tuning(model, 3),
    "layer": lambda model: methods.layer_tuning(model, "layer3.0", 3),
    "skip": lambda model: methods.skip_tuning(model, "layer2.0", 3, match="project"),
    "lora": lambda model: methods.lora_tuning(model, 3, rank=2, seed=1),
    "full": lambda model: methods.full_tuning(model, 3),
}


@pytest.mark.parametrize("method", [name for name in methods.METHODS if name != "adapter"])  # lora is one
def test_what_is_loaded_is_what_was_saved(method, tmp_path):
    assert method in MAKERS, f"add {method} to MAKERS of tests/peft/test_files.py"
    model, path = resnet(), tmp_path / "tuned.safetensors"
    tuned = trained(MAKERS[method](model))
    nclib.save_tuned(path, tuned)
    again = nclib.load_tuned(path, model)
    assert torch.equal(again(INPUTS), tuned(INPUTS))
    assert (again.spec, again.trained) == (tuned.spec, tuned.trained)
    assert methods.trainable_share(again) == methods.trainable_share(tuned)
    whole = sum(tensor.nbytes for tensor in tuned.state_dict().values())
    assert method == "full" or path.stat().st_size < 0.5 * whole + 20_000


def test_a_file_for_another_base_is_refused(tmp_path):
    path = tmp_path / "tuned.safetensors"
    nclib.save_tuned(path, MAKERS["skip"](resnet()))
    with pytest.raises(ValueError, match="was tuned from other weights than those of this ResNet"):
        nclib.load_tuned(path, resnet(seed=1))
    with pytest.raises(ValueError, match=r"no layer 'layer2\.0'"):
        nclib.load_tuned(path, timm.create_model("test_vit"))


def test_a_file_that_is_not_whole_or_of_something_else_is_refused(tmp_path):
    path = tmp_path / "tuned.safetensors"
    nclib.save_tuned(path, MAKERS["linear"](resnet()))
    raw = path.read_bytes()
    path.write_bytes(raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:])
    with pytest.raises(ValueError, match="its content has changed"):
        nclib.load_tuned(path, resnet())
    nclib.storage.save_tensors(path, {"weight": torch.zeros(2)}, {})
    with pytest.raises(ValueError, match="holds no tuned model; save_tuned writes one"):
        nclib.load_tuned(path, resnet())
    tuned = MAKERS["skip"](resnet())
    nclib.storage.save_tensors(path, {"now/head.bias": torch.zeros(3)}, {"spec": tuned.spec, "base": tuned.base})
    with pytest.raises(ValueError, match="holds no tuned model, but perhaps the checkpoint of a training"):
        nclib.load_tuned(path, resnet())


@pytest.mark.parametrize("method", ["skip", "lora", "full"])
def test_others_save_the_state_too_whatever_the_memory_format(method, tmp_path):
    """safetensors, and so Hugging Face's Trainer, takes tensors in rows only; those of models by name are not."""
    tuned = MAKERS[method](resnet().to(memory_format=torch.channels_last))
    whole = nn.ModuleDict({"first": nn.Conv2d(3, 3, 3).to(memory_format=torch.channels_last), "tuned": tuned})
    save_file(tuned.state_dict(), tmp_path / "x.safetensors")
    kept = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in tuned.state_dict().items())
    state = whole.state_dict()
    assert all(state[f"tuned.{name}"].is_contiguous() for name in kept)
    assert not tuned.get_submodule("body.conv1.0").weight.is_contiguous(), "the model itself stays as it was"
    assert not state["first.weight"].is_contiguous(), "and so does what is beside it"
