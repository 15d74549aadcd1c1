"""Ways to fine-tune a model, from its classifier alone to all of it. Each returns a `Tuned` copy, ready to be trained.

All train a new linear classifier, the head; they differ in what else they train:

- `linear_probe`: nothing;
- `bias_tuning`: all biases (Ben Zaken et al. 2022);
- `norm_tuning`: the weights and biases of normalisation layers (Frankle et al. 2021);
- `layer_tuning`: one block;
- `skip_tuning`: one block, whose output is added to the features (Li et al. 2212.12206, SCL);
- `lora_tuning`, `adapter_tuning`: small matrices beside the weights, by Hugging Face's peft (Hu et al. 2022);
- `full_tuning`: everything.
"""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from nclib.checks import check_whole, checked_seed, few, listed_names
from nclib.extras import optional
from nclib.features.backbones import Backbone
from nclib.peft.tuned import Base, Match, Skip, Tuned, backbone_of

if TYPE_CHECKING:
    from peft import PeftConfig


def linear_probe(model: nn.Module | Backbone, num_classes: int | None = None) -> Tuned:
    """A copy of the model as a `Tuned`, ready for a training that changes only its head.

    Parameters
    ----------
    model
        A timm or torchvision classifier, any module that ends in a linear layer, or a `Backbone`. It is not changed.
    num_classes
        The number of classes of a new head, whose weights start at 0; None keeps the model's own classifier.

    Raises
    ------
    ValueError
        If the model does not end in a linear layer, has no classifier to keep, or does not return features (N, d).
    TypeError
        If the model is not a module or a `Backbone`.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> tuned = linear_probe(resnet18(), num_classes=10)
    >>> tuned(torch.zeros(2, 3, 64, 64)).shape, round(trainable_share(tuned), 5)
    (torch.Size([2, 10]), 0.00046)
    """
    return Base(model).tuned(num_classes, {"method": "linear"})


def full_tuning(model: nn.Module | Backbone, num_classes: int | None = None) -> Tuned:
    """As `linear_probe`, but everything will be trained, including batch-norm statistics.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> trainable_share(full_tuning(resnet18(), num_classes=10))
    1.0
    """
    return _train(Base(model).tuned(num_classes, {"method": "full"}), "body")


def bias_tuning(model: nn.Module | Backbone, num_classes: int | None = None) -> Tuned:
    """As `linear_probe`, but the head and every bias of the body will be trained.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> round(trainable_share(bias_tuning(resnet18(), num_classes=10)), 5)
    0.00089
    """
    tuned = Base(model).tuned(num_classes, {"method": "bias"})
    for name, parameter in tuned.body.named_parameters():
        parameter.requires_grad_(name.rpartition(".")[2].endswith("bias"))
    return tuned


def norm_tuning(model: nn.Module | Backbone, num_classes: int | None = None) -> Tuned:
    """As `linear_probe`, but the head and the weights and biases of all normalisation layers will be trained.

    The layers' statistics stay as they are. ValueError if the model has no such weights.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> round(trainable_share(norm_tuning(resnet18(), num_classes=10)), 5)
    0.00132
    """
    tuned = Base(model).tuned(num_classes, {"method": "norm"})
    parameters = [each for module in tuned.body.modules() if _is_norm(module) for each in module.parameters(False)]
    if not parameters:
        raise ValueError(
            "the model has no normalisation layer with weights to train; use bias_tuning or another method"
        )
    for parameter in parameters:
        parameter.requires_grad_(True)
    return tuned


def layer_tuning(model: nn.Module | Backbone, layer: str | int, num_classes: int | None = None) -> Tuned:
    """As `linear_probe`, but the head and one layer will be trained.

    `layer` is the name of a module of the model, or a place in `Backbone.layers` (negative from the end). Other
    parameters as in `linear_probe`. ValueError if there is no such layer, or it comes after the pooling.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> round(trainable_share(layer_tuning(resnet18(), "layer3.1", num_classes=10)), 4)
    0.106
    """
    base = Base(model)
    name = base.layer(layer)
    base.widths(name)
    return _train(base.tuned(num_classes, {"method": "layer", "layer": name}), f"body.{name}")


def skip_tuning(
    model: nn.Module | Backbone, layer: str | int, num_classes: int | None = None, *, match: Match = "pad"
) -> Tuned:
    """As `layer_tuning`, but the layer's output is added to the features: skip-connection fine-tuning.

    The output is pooled as in `extract_layers`: a map becomes the mean over its positions. Source: Li et al.
    (2212.12206). `match` says how the widths are matched, which is our choice: see `Skip`. Other parameters as in
    `layer_tuning`.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> round(trainable_share(skip_tuning(resnet18(), "layer3.1", num_classes=10)), 4)
    0.106
    """
    base = Base(model)
    name = base.layer(layer)
    block_width, width = base.widths(name)
    spec = {"method": "skip", "layer": name, "match": match}
    return _train(base.tuned(num_classes, spec, Skip(width, block_width, match)), f"body.{name}")


def lora_tuning(
    model: nn.Module | Backbone,
    num_classes: int | None = None,
    *,
    rank: int = 8,
    targets: Sequence[str] | None = None,
    seed: int = 0,
) -> Tuned:
    """As `linear_probe`, but the head and a low-rank update of the weights of each target module will be trained.

    An update is the product of two matrices.

    `rank` is the rank of the updates, at least 1. `targets` are names of modules; None is every linear layer, torch's
    attention, and every convolution without groups. `seed` draws the first matrix; the second starts at 0, so the model
    starts unchanged. Other parameters as in `linear_probe`. Needs Hugging Face's peft: nclib's extra ``peft``.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> round(trainable_share(lora_tuning(resnet18(), num_classes=10, rank=2)), 4)
    0.0068
    """
    with optional("peft"):
        from peft import LoraConfig

    check_whole(1, rank=rank)
    base = Base(model)
    known = _targets(base.body)
    chosen = known if targets is None else _checked_targets(base, targets, known)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=chosen)
    return _adapted(base, config, num_classes, seed)


def adapter_tuning(
    model: nn.Module | Backbone, config: "PeftConfig", num_classes: int | None = None, *, seed: int = 0
) -> Tuned:
    """As `linear_probe`, but the head and an adapter of Hugging Face's peft, given by its config, will be trained.

    Any config that peft's `inject_adapter_in_model` takes will do. It names the modules to adapt; if it names none, all
    linear layers and all convolutions without groups are adapted. `seed` draws the adapter's initial weights. Other
    parameters as in `linear_probe`. Needs nclib's extra ``peft``.

    Examples
    --------
    >>> from peft import LoraConfig
    >>> from torchvision.models import resnet18
    >>> tuned = adapter_tuning(resnet18(), LoraConfig(r=2, target_modules=["layer4.1.conv2"]), num_classes=10)
    >>> round(trainable_share(tuned), 5)
    0.00137
    """
    base = Base(model)
    if getattr(config, "target_modules", ()) is None:
        config = copy.deepcopy(config)
        attention = nn.MultiheadAttention  # peft's other adapters do not fit it
        found = [name for name in _targets(base.body) if not isinstance(base.body.get_submodule(name), attention)]
        vars(config)["target_modules"] = found
    return _adapted(base, config, num_classes, seed)


def trainable_share(model: nn.Module) -> float:
    """The share of a model's parameters that require a gradient, in [0, 1].

    Examples
    --------
    >>> trainable_share(nn.Sequential(nn.Linear(2, 1).requires_grad_(False), nn.Linear(8, 1)))  # 9 of 3 + 9
    0.75
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {model!r}; it must be a module, such as linear_probe and the others return")
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    if not sum(size for size, _ in sizes):
        raise ValueError(f"this {type(model).__name__} has no parameters, so no share of them can be trained")
    return sum(size for size, trained in sizes if trained) / sum(size for size, _ in sizes)


def layers(model: nn.Module | Backbone) -> pd.DataFrame:
    """The layers of a model with their sizes, in order of depth, to choose one for `layer_tuning` or `skip_tuning`.

    A table with one row for each name in `Backbone.layers`: the number of its `parameters`, int64, and their `share`
    among all parameters, float64 in [0, 1]. A tied parameter counts once in a layer. Parts outside the blocks, as the
    stem or the classifier, have no row. Layers after the pooling, such as those of a VGG's classifier, have a row but
    cannot be tuned alone. TypeError for anything but a model.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> print(layers(resnet18()).tail(3).round(3))
              parameters  share
    layer3.1     1180672  0.101
    layer4.0     3673088  0.314
    layer4.1     4720640  0.404
    """
    backbone = backbone_of(model)
    modules = {name: backbone.model.get_submodule(name) for name in backbone.layers}
    parameters = pd.Series({name: _size(module) for name, module in modules.items()}, dtype="int64")
    return pd.DataFrame({"parameters": parameters, "share": parameters / _size(backbone.model)})


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_norm(module: nn.Module) -> bool:
    """Whether it is one of torch's normalisation layers, or another by the name of its class: they share no base."""
    return "Norm" in type(module).__name__


def _train(tuned: Tuned, name: str) -> Tuned:
    """Train all of a module, in addition to the head."""
    _check_batch_norm(tuned.get_submodule(name).requires_grad_(True))
    tuned.trained += (name,)
    return tuned


def _check_batch_norm(module: nn.Module) -> None:
    """Warn of batch norms that seem folded into the weights, since train mode would change what they compute."""
    if folded := folded_norms(module):
        warnings.warn(
            f"{len(folded)} of {len(_norms(module))} batch norms have biases but running means of 0, as if folded into "
            "the weights: training would change what they compute; timm.layers.freeze_batch_norm_2d(model) keeps them "
            "unchanged",
            stacklevel=4,
        )


def _norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]


def folded_norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch norms that were folded into the weights before them, and so have running means of 0 and biases.

    In train mode they would normalise by the batch, and compute something else.

    Examples
    --------
    >>> norm = torch.nn.BatchNorm2d(1)
    >>> len(folded_norms(norm))
    0
    >>> _ = torch.nn.init.ones_(norm.bias)
    >>> len(folded_norms(norm))
    1
    """
    return [
        norm
        for norm in _norms(module)
        if norm.bias is not None and norm.bias.any() and norm.running_mean is not None and not norm.running_mean.any()
    ]


def _targets(body: nn.Module) -> list[str]:
    """The names of the modules that LoRA fits."""
    return [name for name, module in body.named_modules() if _takes_lora(module)]


def _checked_targets(base: Base, targets: Any, known: Sequence[str]) -> list[str]:
    """The names of the modules to update, each the end of the name of one; `known` are those that LoRA fits."""
    chosen = listed_names(targets, "targets")
    if not chosen:
        raise ValueError(
            f"targets are {targets!r}; give names of modules, such as {few(known)}, or None for all of them"
        )
    there = [f".{name}" for name, _ in base.body.named_modules()]
    if strays := [name for name in chosen if not any(each.endswith(f".{name}") for each in there)]:
        raise ValueError(f"there are no modules {few(strays)}; those that take LoRA are {few(known)}")
    return chosen


def _takes_lora(module: nn.Module) -> bool:
    """Whether LoRA fits a module. Torch's attention counts as a whole: it never calls its last layer."""
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return False
    return isinstance(module, nn.Linear | nn.MultiheadAttention) or (
        isinstance(module, nn.Conv2d) and module.groups == 1
    )


def _adapted(base: Base, config: "PeftConfig", num_classes: int | None, seed: int) -> Tuned:
    with optional("peft"):
        from peft import inject_adapter_in_model

    seed, before = checked_seed(seed, bits=64), {name for name, _ in base.body.named_modules()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, base.body)
    added = [f"body.{name}" for name, _ in base.body.named_modules() if name not in before]
    tuned = base.tuned(num_classes, {"method": "adapter", "config": _plain(config.to_dict()), "seed": seed})
    tuned.trained += tuple(name for name in added if not name.endswith("base_layer"))
    return tuned


def _plain(value: Any) -> Any:
    """A config's values as JSON types."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, set | list | tuple):
        return [_plain(item) for item in (sorted(value) if isinstance(value, set) else value)]
    return getattr(value, "value", value)


def _adapter_of(model: nn.Module | Backbone, config: dict[str, Any], **options: Any) -> Tuned:
    with optional("peft"):
        from peft import PeftConfig

    return adapter_tuning(model, PeftConfig.from_peft_type(**config), **options)


METHODS: dict[str, Callable[..., Tuned]] = {
    "linear": linear_probe,
    "bias": bias_tuning,
    "norm": norm_tuning,
    "layer": layer_tuning,
    "skip": skip_tuning,
    "lora": lora_tuning,
    "adapter": _adapter_of,
    "full": full_tuning,
}
