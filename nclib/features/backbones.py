"""Backbones: frozen models that compute features, with the preprocessing they were trained with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nclib.data.images import cropped
from nclib.storage import digest_of

LAST = "last"  # the layer that a classifier sees


@dataclass(frozen=True)
class Backbone:
    """A frozen model that computes features, and the transform that prepares images for it.

    Parameters
    ----------
    name
        Its name in messages and in the cache.
    model
        The module, in eval mode, on its device.
    transform
        A function from a PIL image of mode RGB to the model's input, float (C, H, W). Its `repr` must describe all that
        it does.
    last
        A function from a batch (N, C, H, W) to the last-layer features (N, d), such as
        ``lambda batch: model(batch)["pooled"]`` for a model that returns a dict; None is the model itself.
    classifier
        The linear layer on those features, if there is one; NC3 and NC4 need its weight and bias.

    Examples
    --------
    >>> from nclib import extract
    >>> layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> own = Backbone("own", nn.Sequential(*layers))
    >>> own.layers, extract(own, torch.zeros(2, 3, 32, 32)).shape
    (('0', '2'), torch.Size([2, 16]))
    """

    name: str
    model: nn.Module
    transform: Callable[[Any], Tensor] | None = None
    last: Callable[[Tensor], Tensor] | None = None
    classifier: nn.Linear | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and isinstance(self.model, nn.Module)):
            given = f"{type(self.name).__name__} and {type(self.model).__name__}"
            raise TypeError(f"name and model are {given}; they must be a text and a module: Backbone(name, model)")
        if not (self.transform is None or callable(self.transform)):
            kind = type(self.transform).__name__
            raise TypeError(f"transform is {kind}; it must be a function of a PIL image, such as ToTensor(), or None")

    @classmethod
    def of(cls, model: "nn.Module | Backbone") -> "Backbone":
        """A backbone unchanged; the `backbone` of a tuned model; any other module wrapped, named after its class."""
        if isinstance(model, Backbone):
            return model
        own = getattr(model, "backbone", None)  # other models may have a part of this name
        return own if isinstance(own, Backbone) else cls(type(model).__name__, model)

    @property
    def device(self) -> torch.device:
        """The device of its first parameter or buffer; the CPU if it has none."""
        numbers = chain(self.model.parameters(), self.model.buffers())
        return next((each.device for each in numbers), torch.device("cpu"))

    @property
    def digest(self) -> str:
        """The hexadecimal digest of all current weights and buffers."""
        return digest_of(self.model.state_dict())

    @property
    def layers(self) -> tuple[str, ...]:
        """The module names of the model's blocks, its intermediate layers, in order of depth."""
        return tuple(_blocks(self.model))

    def layer(self, layer: str | int) -> str:
        """The name of a layer given by its name or by its place in `layers` (negative from the end)."""
        (layer,) = listed([layer])
        if isinstance(layer, int):
            return nth_layer(self.name, self.layers, layer)
        if layer != LAST and layer not in dict(self.model.named_modules()):
            raise ValueError(f"{self.name} has no layer {layer!r}; its blocks are {', '.join((*self.layers, LAST))}")
        return layer


def listed(layers: Any) -> list[str | int]:
    """Layers as a list of names and places; an error if it is empty or holds anything else.

    >>> listed(range(2)), listed(("layer1", "last"))
    ([0, 1], ['layer1', 'last'])
    """
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        such = [part.strip() for part in layers.split(",")] if isinstance(layers, str) else [0, LAST]
        raise TypeError(f"layers are {layers!r}; give a list of names and places, such as {such}")
    given = [int(layer) if isinstance(layer, np.integer) else layer for layer in layers]
    if not given:
        raise ValueError("there are no layers; at least one is needed")
    if wrong := [layer for layer in given if isinstance(layer, bool) or not isinstance(layer, str | int)]:
        raise TypeError(f"layers hold {wrong[0]!r}; each must be a name, or a place (a whole number)")
    return given


def nth_layer(model: str, layers: tuple[str, ...], place: int) -> str:
    """The name of the layer at a place, negative from the end."""
    if not layers:
        raise ValueError(f"{model} has no layer {place}, since its layers are not known; use {LAST!r}")
    if not -len(layers) <= place < len(layers):
        raise ValueError(f"{model} has no layer {place}; there are 0..{len(layers) - 1}, or -1 for the last")
    return layers[place]


def _blocks(model: nn.Module, prefix: str = "", inside: bool = False) -> list[str]:
    """The members of the model's sequences, and of sequences in those unless they consist of single operations.

    If the model has no sequence, or several modules with their own sequences side by side, the blocks are its parts.
    """
    parts = {name: child for name, child in model.named_children() if any(True for _ in child.parameters())}
    if not prefix and sum(map(_holds_sequence, parts.values())) != 1 and not any(map(_is_sequence, parts.values())):
        return [f"{prefix}{name}" for name, part in parts.items() if not isinstance(part, nn.Linear)]
    names = []
    for name, child in parts.items():
        path = f"{prefix}{name}"
        is_whole = inside and not (_is_sequence(child) and any(len(list(part.children())) for part in child.children()))
        names += [path] if is_whole else _blocks(child, f"{path}.", inside or _is_sequence(child))
    return names


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList)


def _holds_sequence(module: nn.Module) -> bool:
    return any(map(_is_sequence, module.modules()))


def recipe_backbone(model: nn.Module, channels: int, size: int, *, name: str) -> Backbone:
    """The backbone of a network trained by a recipe, for images of the channels and size it was trained on."""
    return Backbone(name, model, AsTrained(channels, size))


@dataclass(frozen=True)
class AsTrained:
    """Transforms a PIL image of any kind and size into an input of a recipe's network, float (C, H, W) in [-1, 1].

    Examples
    --------
    >>> from PIL import Image
    >>> AsTrained(channels=1, size=2)(Image.new("RGB", (6, 4), "white")).tolist()
    [[[1.0, 1.0], [1.0, 1.0]]]
    """

    channels: int
    size: int

    def __call__(self, image: Any) -> Tensor:
        return self.pixels(image).to(torch.get_default_dtype()).div(127.5).sub(1)

    def pixels(self, image: Any) -> Tensor:
        """The image with these channels and this size, as uint8 (C, H, W)."""
        image = image.convert("L" if self.channels == 1 else "RGB")
        if image.size != (self.size, self.size):
            image = cropped(image, self.size)
        return torch.from_numpy(np.array(image)).reshape(self.size, self.size, self.channels).permute(2, 0, 1)
