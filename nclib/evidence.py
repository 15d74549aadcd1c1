"""The evidence of Bayesian linear regressions, at its maximum in the precisions of prior and noise."""

import math

import torch
from torch import Tensor

_ROUNDS = 1000  # of the fixed point, at most
_STILL = 1e-12  # relative change of both precisions at which it has come to rest
_LEAST = 1e-12  # of a squared length, the error of a fit without any: its evidence would have no bound


def largest_evidence(squares: Tensor, fitted: Tensor, lengths: Tensor, number: int) -> Tensor:
    """Log evidence of each of K targets, float64 (K,), for a linear model w with prior N(0, I / a) and noise 1 / b.

    Parameters
    ----------
    squares
        Squared singular values of the inputs (N, d) that are not zero, float64 (r,).
    fitted
        Squared projections of the targets on the left singular vectors, (K, r).
    lengths
        Squared lengths of the targets, (K,).
    number
        N.

    Directions without a singular value leave the evidence as it is, whatever d. Source: MacKay 1992, by the fixed
    point of You et al. 2021 (arXiv 2110.10545): a = g / ||m||^2 and b = (N - g) / ||Fm - y||^2, g being the effective
    number of parameters.
    """
    lengths = lengths.unsqueeze(1)
    rest = (lengths - fitted.sum(1, keepdim=True)).clamp(min=0)
    prior, noise = torch.ones_like(lengths), torch.ones_like(lengths)
    for _ in range(_ROUNDS):
        length, error = _moments(squares, fitted, rest, prior / noise)
        effective = (squares / (squares + prior / noise)).sum(1, keepdim=True)
        before = torch.cat([prior, noise], 1)
        prior = effective / length.clamp(min=torch.finfo(length.dtype).tiny)
        noise = (number - effective) / error.maximum(_LEAST * lengths)
        if ((torch.cat([prior, noise], 1) - before).abs() <= _STILL * before).all():
            break
    length, error = _moments(squares, fitted, rest, prior / noise)
    evidence = number * (noise.log() - math.log(2 * math.pi)) - noise * error - prior * length
    return (evidence - (noise / prior * squares).log1p().sum(1, keepdim=True)).squeeze(1) / 2


def _moments(squares: Tensor, fitted: Tensor, rest: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """||m||^2 and ||Fm - y||^2 of the posterior means (K, 1), for the ratio of prior to noise (K, 1)."""
    length = (squares * fitted / (squares + ratio).square()).sum(1, keepdim=True)
    error = (fitted * (ratio / (squares + ratio)).square()).sum(1, keepdim=True) + rest
    return length, error
