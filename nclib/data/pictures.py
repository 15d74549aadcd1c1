"""Convert one item of a data set: its image, its label, and the numbers and classes of all labels."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from io import BytesIO
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import few
from nclib.data.images import in_8_bits, read_image
from nclib.labels import Numbered, numbered_labels

_CHANNELS = (1, 3, 4)


@singledispatch
def picture(given: Any) -> Image.Image | Tensor:
    """A picture as a PIL image of mode ``L`` or ``RGB``, to be prepared by a transform; floats as prepared inputs.

    >>> picture(np.zeros((4, 6, 3), dtype=np.uint8)).size, picture(np.zeros((3, 4, 6), dtype=np.float32)).shape
    ((6, 4), torch.Size([3, 4, 6]))
    """
    raise TypeError(
        f"{type(given).__name__} is not an image; give a PIL image, bytes (uint8), a path, or prepared inputs (floats)"
    )


@picture.register
def _(given: Image.Image) -> Image.Image:
    return in_8_bits(given.copy())  # a copy, since it may be rotated


@picture.register(Tensor)
@picture.register(np.ndarray)
def _(given: Tensor | np.ndarray) -> Image.Image | Tensor:
    tensor = as_tensor(given).cpu()
    if tensor.is_floating_point():
        return tensor.to(torch.get_default_dtype())
    if tensor.dtype != torch.uint8 or tensor.ndim not in (2, 3):
        raise TypeError(
            f"an image is {tensor.dtype} {tuple(tensor.shape)}; it must be bytes, uint8 (C, H, W), (H, W, C) or "
            "(H, W), or prepared inputs, floats (C, H, W)"
        )
    pixels = _channels_last(tensor, isinstance(given, Tensor))
    return Image.fromarray(pixels.numpy()).convert("L" if pixels.ndim == 2 else "RGB")


def _channels_last(pixels: Tensor, first: bool) -> Tensor:
    """Pixels as (H, W) or (H, W, C); if both orders are possible, a tensor has channels first and an array last."""
    if pixels.ndim == 2:
        return pixels
    at_ends = [pixels.shape[end] in _CHANNELS for end in ((0, -1) if first else (-1, 0))]
    if not any(at_ends):
        raise ValueError(f"an image is {tuple(pixels.shape)}; it must have 1, 3 or 4 channels")
    channels_first = first == at_ends[0]
    pixels = pixels.permute(1, 2, 0) if channels_first else pixels
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels.contiguous()


@picture.register(str)
@picture.register(PathLike)
def _(given: str | PathLike) -> Image.Image:
    return read_image(given)


@picture.register(bytes)
def _(given: bytes) -> Image.Image:
    return read_image(BytesIO(given), f"a file of {len(given):,} bytes")


@picture.register(Mapping)
def _(given: Mapping[str, Any]) -> Image.Image | Tensor:
    """An image that Hugging Face's `datasets` has not decoded yet."""
    if not {"bytes", "path"} & given.keys():
        raise TypeError(f"a dict of {few(list(given))} is not an image; an image that is not decoded has bytes or path")
    return picture(given["bytes"] if given.get("bytes") is not None else given.get("path"))


def plain(label: tuple[Any, ...], number: int) -> str | int:
    """The label of item `number` as a text, or a whole number from 0 on; an empty `label` means that it has none.

    >>> plain((torch.tensor(3),), 0), plain(("cat",), 1)
    (3, 'cat')
    """
    if not label:
        raise ValueError(
            f"item {number} has no label, but labels are needed; give (image, label), or name the label: "
            "nclib.labelled(data, label=...)"
        )
    value = _scalar(label[0])
    if isinstance(value, bool) or (isinstance(value, str) and value.strip()):
        return value
    if isinstance(value, int | float) and value >= 0 and float(value).is_integer():
        return int(value)
    shown = f"of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
    raise ValueError(f"item {number} has a label {shown}; it must be a whole number from 0 on, or a text{_cure(value)}")


def _scalar(value: Any) -> Any:
    """The number in a tensor or array of size one; lists become arrays."""
    value = np.asarray(value) if isinstance(value, list | tuple) else value
    size = value.numel() if isinstance(value, Tensor) else getattr(value, "size", None)
    return value.item() if size == 1 and hasattr(value, "item") else value


def _cure(value: Any) -> str:
    if hasattr(value, "shape"):
        return ": label.argmax() turns a one-hot row into a class"
    if value is None or isinstance(value, str) or (isinstance(value, int | float) and not value >= 0):
        return ": leave out items without a class"
    return ""


def numbered(labels: Sequence[str | int], names: Sequence[str] | int | None) -> Numbered:
    """Labels int64 (N,) in 0..K-1, and the K class names, as in `nclib.labels.numbered_labels`.

    `names`, or their number, say which numbers are allowed. Classes without names are named by their numbers.

    >>> numbered(["dog", "cat", "dog"], None).classes, numbered([0, 2], 4).classes
    (('cat', 'dog'), ('0', '1', '2', '3'))
    """
    texts = any(isinstance(label, str) for label in labels)
    number = names if isinstance(names, int) and not texts else None
    found, classes = numbered_labels(
        list(labels), num_classes=number, classes=None if isinstance(names, int) else names
    )
    return Numbered(found, classes or tuple(map(str, range(number or int(found.max()) + 1))))
