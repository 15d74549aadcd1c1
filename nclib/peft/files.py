"""Save only what fine-tuning changed, with what is needed to put it back into the same base model."""

from pathlib import Path

import torch
from torch import Tensor, nn

from nclib.features.backbones import Backbone
from nclib.peft.methods import METHODS
from nclib.peft.tuned import Tuned, unwrapped
from nclib.storage import load_tensors, save_tensors


def save_tuned(path: str | Path, tuned: Tuned) -> None:
    """Write the trained parameters, and the statistics of trained layers, as safetensors, atomically.

    The file also holds the method, its layer, and a digest of the model before tuning, for `load_tuned`. Wrappers such
    as torch.compile or DataParallel are removed first. TypeError for anything but a tuned model.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from nclib import linear_probe
    >>> tuned = linear_probe(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)), num_classes=2)
    >>> with TemporaryDirectory() as folder:
    ...     save_tuned(f"{folder}/tuned.safetensors", tuned)
    ...     sorted(load_tensors(Path(folder, "tuned.safetensors"))[0])
    ['head.bias', 'head.weight']
    """
    tuned = unwrapped(tuned)
    if not isinstance(tuned, Tuned):
        raise TypeError(
            f"tuned is {type(tuned).__name__}; it must be a tuned model, as skip_tuning and the others return"
        )
    save_tensors(Path(path), changed(tuned), {"spec": tuned.spec, "base": tuned.base})


def load_tuned(path: str | Path, model: nn.Module | Backbone) -> Tuned:
    """Read a tuned model from a file that `save_tuned` wrote.

    `model` is the model before tuning, with the same weights; it is copied. ValueError if the file is incomplete or of
    another kind, or if the weights differ.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from torchvision.models import resnet18
    >>> from nclib import skip_tuning
    >>> resnet = resnet18()
    >>> tuned = skip_tuning(resnet, "layer3.1", num_classes=10)
    >>> with TemporaryDirectory() as folder:
    ...     save_tuned(f"{folder}/tuned.safetensors", tuned)
    ...     again = load_tuned(f"{folder}/tuned.safetensors", resnet)
    >>> again.spec
    {'method': 'skip', 'layer': 'layer3.1', 'match': 'pad', 'num_classes': 10}
    """
    tensors, metadata = load_tensors(Path(path))
    if not {"spec", "base"} <= metadata.keys():
        raise ValueError(f"{path} holds no tuned model; save_tuned writes one")
    spec = dict(metadata["spec"])
    tuned = METHODS[spec.pop("method")](model, **spec)
    if tuned.base != metadata["base"]:
        raise ValueError(
            f"{path} was tuned from other weights than those of this {type(model).__name__}; give the model with the "
            "weights that it had before tuning"
        )
    if tensors.keys() != changed(tuned).keys():
        raise ValueError(
            f"{path} holds no tuned model, but perhaps the checkpoint of a training; save_tuned writes one"
        )
    restore(tuned, tensors)
    return tuned


def changed(tuned: Tuned) -> dict[str, Tensor]:
    """What training changes, by name: trained parameters, and buffers of modules in train mode.

    A tied weight appears under its first name only. Sparse and quantised buffers, and extra state that is not a tensor,
    are left out: fine-tuning does not change them.
    """
    modes = tuple(f"{name}." for name in tuned.trained)
    frozen = {name for name, each in tuned.named_parameters(remove_duplicate=False) if not each.requires_grad}
    frozen |= {name for name, _ in tuned.named_buffers(remove_duplicate=False) if not name.startswith(modes)}
    state = tuned.state_dict(keep_vars=True).items()
    held = {name: tensor for name, tensor in state if name not in frozen and _changes(tensor)}
    first = {id(tensor): name for name, tensor in reversed(held.items())}
    return {name: tensor.detach() for name, tensor in held.items() if first[id(tensor)] == name}


def restore(tuned: Tuned, tensors: dict[str, Tensor]) -> None:
    """Load what training changed; the current state fills in the rest, because some modules load only as a whole."""
    state = tuned.state_dict()
    state.update(tensors)  # in place, to keep the module versions that it holds
    tuned.load_state_dict(state, strict=False)


def _changes(state: object) -> bool:
    return isinstance(state, Tensor) and state.layout == torch.strided and not state.is_quantized
