"""Drawn pixels that are the same bytes on every processor.

Processors sum and take logarithms with kernels that differ in the last digit. In single precision that digit decides a
pixel in a million when values are rounded to bytes, and networks then train on other images. So pixels are computed in
double precision, from draws that no kernel touches.
"""

import math

import torch
from torch import Tensor

_TIE = 1e-6  # in grey levels: far above the rounding of float64, far below anything that can be seen


def as_bytes(levels: Tensor) -> Tensor:
    """Grey levels (...), float64, rounded to uint8; halves are rounded up on every processor.

    Levels below 0 become 0, and levels above 255 become 255. TypeError if the levels are not float64.
    """
    if levels.dtype != torch.float64:
        raise TypeError(f"levels are {levels.dtype}; they must be torch.float64, or processors round them differently")
    return (levels + 0.5 + _TIE).floor().clamp(0, 255).to(torch.uint8)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard normal draws of this shape, float64, by the method of Box and Muller (1958).

    If their number is a multiple of 16, they are those of `torch.randn` up to rounding.
    """
    count = math.prod(shape)
    uniform = torch.rand(-(-count // 16), 2, 8, generator=generator, dtype=torch.float32).double()
    radius, angle = (-2 * (1 - uniform[:, 0]).log()).sqrt(), 2 * math.pi * uniform[:, 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1).flatten()[:count].view(shape)
