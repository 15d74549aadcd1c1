"""Split a transform in two: image by image to bytes, then batch by batch, on the network's device, to its inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nclib.features.backbones import AsTrained

Transform = Callable[[Any], Tensor]

# The full names of deterministic steps from an 8-bit image to an 8-bit image. No other step, nor a class derived from
# these, is known to be one.
_IMAGE_STEPS = {f"torchvision.transforms.transforms.{name}" for name in ("Resize", "CenterCrop", "Grayscale")}
_IMAGE_STEPS |= {f"timm.data.transforms.{name}" for name in ("ResizeKeepRatio", "CenterCropOrPad", "TrimBorder")}
_TO_FLOAT = ("torchvision.transforms.transforms.ToTensor", "timm.data.transforms.MaybeToTensor")
_NORMALIZE = "torchvision.transforms.transforms.Normalize"
_COMPOSE = "torchvision.transforms.transforms.Compose"
_PRESET = "torchvision.transforms._presets.ImageClassification"
_CHANCES = ("random_scale_prob", "random_aspect_prob")  # of timm's steps


@dataclass(frozen=True)
class ToBytes:
    """Image steps from a PIL image to uint8 (C, H, W), in the memory layout of the whole transform."""

    steps: tuple[Callable[[Any], Any], ...]
    contiguous: bool

    def __call__(self, image: Any) -> Tensor:
        from torchvision.transforms.functional import pil_to_tensor

        for step in self.steps:
            image = step(image)
        pixels = pil_to_tensor(image)
        return pixels.contiguous() if self.contiguous else pixels


@dataclass(frozen=True)
class Finish:
    """From bytes (N, C, H, W) to inputs: divide by the scale, subtract the mean, divide by the deviation.

    All three are tensors on the device of the bytes. (A GPU would multiply by the inverse of a plain number, which
    changes the last digits.)
    """

    scale: Tensor
    mean: Tensor
    std: Tensor

    def __call__(self, batch: Tensor) -> Tensor:
        return batch.to(self.scale.dtype).div_(self.scale).sub_(self.mean).div_(self.std)


def in_two(transform: Transform | None, device: torch.device) -> tuple[Transform | None, Transform]:
    """Split a transform into a part for each image and a part for a batch on the device.

    Together they return exactly what the transform returns, bit for bit. The first part returns bytes if all steps are
    known, as they are for a `Backbone` by name, for a network trained by a recipe, and for a ``Compose`` of
    torchvision's or timm's resizing and cropping, ``ToTensor`` and ``Normalize``. Any other transform is the first part
    as a whole, and the second does nothing.

    Examples
    --------
    >>> from PIL import Image
    >>> to_bytes, finish = in_two(AsTrained(1, 2), torch.device("cpu"))
    >>> pixels = to_bytes(Image.new("L", (2, 2), 255))
    >>> pixels.dtype, finish(pixels[None]).flatten()
    (torch.uint8, tensor([1., 1., 1., 1.]))
    """
    if type(transform) is AsTrained:
        return transform.pixels, _finish(127.5, 1.0, 1.0, torch.get_default_dtype(), device)
    name = _name(transform)
    found = _of_preset(transform) if name == _PRESET else _of_compose(transform) if name == _COMPOSE else None
    if found is None:
        return transform, as_it_is
    to_bytes, mean, std, dtype = found
    finish = _finish(255.0, mean, std, dtype, device)
    return (to_bytes, finish) if finish.std.all() else (transform, as_it_is)  # which reports the division by zero


def as_it_is(batch: Tensor) -> Tensor:
    """The batch itself: nothing is left to do."""
    return batch


def _of_preset(transform: Any) -> tuple[ToBytes, Any, Any, torch.dtype]:
    """The parts of torchvision's transform for classifiers, which computes in float32 whatever the default is."""
    from torchvision.transforms import CenterCrop, Resize

    resize = Resize(transform.resize_size, transform.interpolation, antialias=transform.antialias)
    steps = (resize, CenterCrop(transform.crop_size))
    return ToBytes(steps, contiguous=False), transform.mean, transform.std, torch.float32


def _of_compose(transform: Any) -> tuple[ToBytes, Any, Any, torch.dtype] | None:
    """The parts of image steps, the step to floats, and optional normalisation; None for anything else."""
    steps = list(transform.transforms)
    normalize = steps.pop() if steps and _name(steps[-1]) == _NORMALIZE else None
    if not steps or _name(steps.pop()) not in _TO_FLOAT or not all(map(_is_image_step, steps)):
        return None
    mean, std = (normalize.mean, normalize.std) if normalize else (0.0, 1.0)
    return ToBytes(tuple(steps), contiguous=True), mean, std, torch.get_default_dtype()


def _is_image_step(step: Any) -> bool:
    by_chance = any(getattr(step, name, 0) for name in _CHANCES) or isinstance(
        getattr(step, "interpolation", None), tuple | list
    )
    return _name(step) in _IMAGE_STEPS and not by_chance


def _name(step: Any) -> str:
    return f"{type(step).__module__}.{type(step).__qualname__}"


def _finish(scale: float, mean: Any, std: Any, dtype: torch.dtype, device: torch.device) -> Finish:
    """A `Finish` with scale, mean and std as torchvision makes them, on the device."""
    sides = (torch.as_tensor(side, dtype=dtype, device="cpu") for side in (mean, std))
    shaped = (side.view(-1, 1, 1) if side.ndim == 1 else side for side in sides)
    return Finish(*(side.to(device) for side in (torch.tensor(scale, dtype=dtype), *shaped)))
