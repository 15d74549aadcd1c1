"""Ways to get ||J||_F^2 of an embedding at each of some samples: exactly, or estimated without bias."""

import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from nclib.jacobians import Jacobians

Estimates = tuple[Tensor, Tensor]  # of ||J||_F^2, and the variance of each, float64 (B,)
Way = Callable[[Jacobians, torch.Generator], Estimates]
METHODS = ("exact", "rademacher", "gaussian", "outputs", "entries")


def way(method: str, number: int, share: float) -> Way:
    """The way of a method: with so many projections or outputs, or such a share of the entries."""
    if method == "exact":
        return exact
    if method == "entries":
        return partial(_entries, share)
    return partial(_outputs, number) if method == "outputs" else partial(_projections, method, number)


def exact(jacobians: Jacobians, generator: torch.Generator | None = None) -> Estimates:
    """The sum of the squares of all entries."""
    squares = sum((part.double().square().sum((0, 2)) for part in _all(jacobians)), torch.zeros(()))
    return squares, torch.zeros_like(squares)


def _all(jacobians: Jacobians) -> Iterator[Tensor]:
    """The Jacobians by columns or by rows, whichever are fewer."""
    if jacobians.input_size < jacobians.width:
        try:
            yield from jacobians.columns()
            return
        except NotImplementedError as error:  # at the first column, so none was given yet
            warnings.warn(f"forward mode does not go through this model, reverse mode does: {error}", stacklevel=2)
    yield from _rows(jacobians)


def _rows(jacobians: Jacobians) -> Iterator[Tensor]:
    one_by_one = torch.eye(jacobians.width, device=jacobians.inputs.device).unsqueeze(1)
    return jacobians.rows(one_by_one.expand(-1, len(jacobians.inputs), -1))


def _projections(law: str, number: int, jacobians: Jacobians, generator: torch.Generator) -> Estimates:
    """||v^T J||^2, which is ||J||_F^2 on average, for E v v^T = I."""
    size = (number, len(jacobians.inputs), jacobians.width)
    if law == "gaussian":
        vectors = torch.randn(size, generator=generator)
    else:
        vectors = torch.randint(2, size, generator=generator).float() * 2 - 1
    return _mean(_squares(jacobians, vectors))


def _outputs(number: int, jacobians: Jacobians, generator: torch.Generator) -> Estimates:
    """The squares of some rows, other ones for each sample, times d / number; there are d at most."""
    width = jacobians.width
    number = min(number, width)
    chosen = torch.rand(len(jacobians.inputs), width, generator=generator).argsort(1)[:, :number]
    vectors = torch.nn.functional.one_hot(chosen.T, width).float()
    mean, variance = _mean(width * _squares(jacobians, vectors))
    return mean, torch.zeros_like(mean) if number == width else variance * (1 - number / width)


def _entries(share: float, jacobians: Jacobians, generator: torch.Generator) -> Estimates:
    """The squares of a share of all entries, over that share."""
    totals = torch.zeros(2, len(jacobians.inputs), dtype=torch.float64, device=jacobians.inputs.device)
    for part in _rows(jacobians):
        squares = part.double().square()
        kept = squares * (torch.rand(squares.shape, generator=generator) < share).to(squares)
        totals += torch.stack([kept.sum((0, 2)) / share, kept.square().sum((0, 2)) * (1 - share) / share**2])
    return totals[0], totals[1]


def _squares(jacobians: Jacobians, vectors: Tensor) -> Tensor:
    """||v^T J||^2 for vectors (m, B, d), float64 (m, B)."""
    return torch.cat([part.double().square().sum(2) for part in jacobians.rows(vectors)])


def _mean(values: Tensor) -> Estimates:
    """The mean of values (m, B) and its variance, NaN if m is 1."""
    number = len(values)
    unknown = torch.full_like(values[0], math.nan)
    return values.mean(0), values.var(0) / number if number > 1 else unknown
