"""Random distortions of images, from one generator; they render the glyphs and augment training images."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from nclib.devices import sent

# The ranges at strength 1; each is drawn uniformly and symmetrically.
ROTATION = 15.0  # degrees
LOG_SCALE = 0.15  # natural logarithm, per axis
SHEAR = 0.2
SHIFT = 0.15  # of half the image


def distort(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shear and shift every image at random.

    `images` are float (N, C, H, W). `strength`, at least 0, multiplies the ranges above; 0 leaves the images unchanged.
    Random numbers are drawn on the CPU, so they are the same on every device.
    """
    if strength < 0:
        raise ValueError(f"strength is {strength}; it must be 0 or more")
    if strength == 0:
        return images
    theta = sent(_affine(len(images), strength, generator).to(images.dtype), images.device)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def _affine(count: int, strength: float, generator: torch.Generator) -> Tensor:
    """Random inverse maps (count, 2, 3) from output to input coordinates, float64."""
    spread = torch.tensor([math.radians(ROTATION), LOG_SCALE, LOG_SCALE, SHEAR, SHIFT, SHIFT], dtype=torch.float64)
    uniform = torch.rand(count, 6, generator=generator, dtype=torch.float32)  # whatever the default dtype is
    draws = (2 * uniform.double() - 1) * spread * strength
    angle, scale_x, scale_y, shear, shift_x, shift_y = draws.unbind(1)
    cos, sin = angle.cos(), angle.sin()
    scale_x, scale_y = scale_x.exp(), scale_y.exp()
    rows = [
        torch.stack([scale_x * cos, scale_y * (shear * cos - sin), shift_x], 1),
        torch.stack([scale_x * sin, scale_y * (shear * sin + cos), shift_y], 1),
    ]
    return torch.stack(rows, 1)
