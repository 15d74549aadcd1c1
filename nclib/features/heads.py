"""Features of models that end in a classifier: a known head is left out, and a warning asks about any other."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from nclib.features.backbones import Backbone

TIMMS = ("get_classifier", "forward_features", "forward_head")  # methods of a timm model
_AFTER = (nn.Identity, nn.Dropout, nn.Flatten, nn.Softmax, nn.LogSoftmax, nn.Sigmoid)  # what may follow a head
_Last = Callable[[Tensor], Tensor]


def headless(model: nn.Module | Backbone) -> Backbone:
    """A model as a backbone that returns last-layer features (N, d).

    The classifier of a timm or torchvision model is left out, with a warning. The output of any other model is used
    unchanged; if it ends in a linear layer, see `ask_about`. A backbone with a `last` or a `classifier` is returned
    unchanged.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> with warnings.catch_warnings(record=True):
    ...     headless(resnet18(num_classes=5)).classifier
    Linear(in_features=512, out_features=5, bias=True)
    """
    given = Backbone.of(model)
    if given.last is not None or given.classifier is not None:
        return given
    found = _known_head(given.model)
    if found is None:
        return given
    last, head = found
    warnings.warn(
        f"{given.name}: its classifier was left out, {head}; features are its input. To use another output, "
        "give a Backbone with a function `last`",
        stacklevel=3,
    )
    return replace(given, last=last, classifier=head if isinstance(head, nn.Linear) else None)


def _timms_features(model: Any, batch: Tensor) -> Tensor:
    return model.forward_head(model.forward_features(batch), pre_logits=True)


def _known_head(model: Any) -> tuple[_Last, nn.Module] | None:
    """For a timm or torchvision model, a function that returns its features, and the classifier it leaves out."""
    if all(hasattr(model, name) for name in TIMMS):
        head = model.get_classifier()
        return (partial(_timms_features, model), head) if _learns(head) else None
    if not any(kind.__module__.startswith("torchvision.models.") for kind in type(model).__mro__):
        return None
    if type(model).__name__ == "SqueezeNet":  # it classifies by a convolution, then pools
        return (
            ((lambda batch: model.features(batch).mean((2, 3))), model.classifier)
            if _learns(model.classifier)
            else None
        )
    head = final_linear(model)
    return None if head is None else (partial(_input_of, model, head), head)


def _learns(head: nn.Module) -> bool:
    return any(True for _ in head.parameters())


def _input_of(model: nn.Module, layer: nn.Module, batch: Tensor) -> Tensor:
    """The input of a layer in a forward pass of the model."""
    taken: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    try:
        model(batch)
    finally:
        hook.remove()
    return taken[-1]


def final_linear(model: nn.Module) -> nn.Linear | None:
    """The linear layer that a model of several parts ends in, or None; layers that keep the width may follow it."""
    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    ends = [leaf for leaf in leaves if not isinstance(leaf, _AFTER)]
    last = ends[-1] if ends and leaves != [model] else None
    return last if isinstance(last, nn.Linear) else None


def ask_about(given: Backbone) -> None:
    """Warn if a model without a `last` ends in a linear layer, which may be a classifier."""
    if given.last is None and given.classifier is None and (head := final_linear(given.model)) is not None:
        path = next(name for name, module in given.model.named_modules() if module is head)
        warnings.warn(
            f"{given.name} ends in a linear layer, {path} ({head.in_features} to {head.out_features}), whose output is "
            "used as features. If it is a classifier, replace it by nn.Identity(); if it is not, give "
            "Backbone(name, model, last=model)",
            stacklevel=4,
        )
