"""Files of what fine-tuning changed: only that, and what it needs to be put into the same base again."""

from pathlib import Path

from torch import Tensor, nn

from nclib.features.backbones import Backbone
from nclib.peft.methods import METHODS
from nclib.peft.tuned import Tuned
from nclib.storage import load_tensors, save_tensors


def save_tuned(path: str | Path, tuned: Tuned) -> None:
    """Write the trained parameters, and the statistics of trained layers, as safetensors, atomically.

    With them go the method, its layer, and a digest of the model that was tuned, for `load_tuned`.

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
    save_tensors(Path(path), changed(tuned), {"spec": tuned.spec, "base": tuned.base})


def load_tuned(path: str | Path, model: nn.Module | Backbone) -> Tuned:
    """The tuned model of a file, on the same model that was tuned, which is copied.

    ValueError if the file is not whole, is no such file, or was made of other weights than the model's.

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
        raise ValueError(f"{path} was tuned from other weights than those of this {type(model).__name__}")
    if tensors.keys() != changed(tuned).keys():
        raise ValueError(
            f"{path} holds no tuned model but the checkpoint of a training, perhaps; save_tuned writes one"
        )
    tuned.load_state_dict(tensors, strict=False)  # the rest is the model's
    return tuned


def changed(tuned: Tuned) -> dict[str, Tensor]:
    """What training changes, by name: trained parameters, and buffers of modules in train mode."""
    frozen = {name for name, parameter in tuned.named_parameters() if not parameter.requires_grad}
    frozen |= {name for name, _ in tuned.named_buffers() if not name.startswith(tuple(f"{m}." for m in tuned.trained))}
    return {name: tensor for name, tensor in tuned.state_dict().items() if name not in frozen}
