"""Multinomial logistic regression: L-BFGS in the principal axes of the features, for several strengths at once.

Along the principal axes of centred features, of variances v_j, the Hessian of the cross-entropy at W = 0 is
diagonal in the features. Close to it, and cheap, is the diagonal a_k v_j + 1 / (C N), where a_k is the mean of
p (1 - p) over the samples. It starts every L-BFGS direction (Nocedal, Wright 2006, algorithm 7.4), with the a_k of
the moment: the iterations hardly depend on how collinear the features are, and one rotation, which leaves
||W||^2 alone, serves all strengths.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

# The objective is at its minimum if the next step promises to lower it by less than this share of it.
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}
_FAR = 1e-3  # from the minimum: the share of the objective from which on a warning is due
_MEMORY = 5  # steps that L-BFGS remembers
_LONGEST = 10.0  # root mean square change of a sample's logits in one step: beyond it the Hessian is another one
_HALVINGS = 12
_LARGEST = 1e30  # of a penalty: it leaves nothing of the weights, and fits into a float32
_BLOCK = 2**19  # logits computed at once: 2 MB in float32 stay in a processor's cache


class Solution(NamedTuple):
    """Weights (S, K, d) and biases (S, K) for S strengths, and the iterations that it took."""

    weight: Tensor
    bias: Tensor
    iterations: int


def fit_logistic(
    features: Tensor, labels: Tensor, num_classes: int, strengths: Sequence[float], *, max_iter: int
) -> Solution:
    """Minimise sum of cross-entropies + ||W||^2 / (2 C) over W (K, d) and biases, for every strength C.

    `features` float32 or float64 (N, d) are centred, which the preconditioner asks for; labels int64 (N,).
    """
    unit = float(features.abs().max()) or 1.0  # so that no square leaves the range of the dtype
    axes = _principal_axes(features / unit)
    rotated = torch.cat([features @ (axes / unit), features.new_ones(len(features), 1)], 1)  # a bias is a weight too
    penalties = [min(1 / (C * unit**2 * len(features)), _LARGEST) for C in strengths]
    problem = _Problem.of(rotated, labels, num_classes, torch.tensor(penalties, dtype=features.dtype))
    weights, iterations = _minimise(problem, max_iter)
    return Solution(weights[..., :-1] @ (axes.T / unit), weights[..., -1], iterations)


def _principal_axes(features: Tensor) -> Tensor:
    """Orthonormal columns (d, min(N, d)), along which the features (N, d) are uncorrelated."""
    basis = None
    if len(features) < features.shape[1]:
        basis, triangle = torch.linalg.qr(features.T)
        features = triangle.T
    axes = torch.linalg.eigh((features.T @ features).double()).eigenvectors.to(features)
    return axes if basis is None else basis @ axes


@dataclass
class _Problem:
    """What does not change from step to step; `penalties` (S, 1, r) has a zero at the end, for the bias."""

    features: Tensor  # (N, r), the last column is 1
    labels: Tensor
    num_classes: int
    variances: Tensor  # (r,)
    penalties: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int, penalties: Tensor) -> "_Problem":
        rows = penalties.to(features).view(-1, 1, 1).repeat(1, 1, features.shape[1])
        rows[..., -1] = 0
        return cls(features, labels, num_classes, features.square().mean(0), rows)

    def of_strengths(self, chosen: Tensor) -> "_Problem":
        return _Problem(self.features, self.labels, self.num_classes, self.variances, self.penalties[chosen])

    def start(self) -> "_Point":
        """Weights of 0, and biases that give every class its share."""
        weights = self.features.new_zeros(len(self.penalties), self.num_classes, self.features.shape[1])
        shares = self.labels.bincount(minlength=self.num_classes) / len(self.labels)
        weights[:, :, -1] = (shares.log() - shares.log().mean()).to(weights)
        return self.at(weights)

    def at(self, weights: Tensor) -> "_Point":
        """The objective divided by N, with its gradient and curvature, at weights (S, K, r)."""
        flat = weights.flatten(0, 1)
        gradient, curvature = torch.zeros_like(flat), flat.new_zeros(weights.shape[:2])
        loss = torch.zeros(len(weights), dtype=torch.float64, device=weights.device)
        rows = max(64, _BLOCK // len(flat))
        for features, labels in zip(self.features.split(rows), self.labels.split(rows), strict=True):
            losses, residuals = _cross_entropy((features @ flat.T).view(-1, *weights.shape[:2]), labels)
            loss += losses.double().sum(0)
            gradient.addmm_(residuals.flatten(1).T, features)
            curvature += residuals.abs().sum(0) - residuals.square().sum(0)  # p (1 - p), which |p - y| gives too
        number = len(self.labels)
        penalty = (self.penalties * weights.square()).sum((1, 2), dtype=torch.float64) / 2
        gradient = gradient.view_as(weights) / number + self.penalties * weights
        return _Point(weights, loss / number + penalty, gradient, curvature / number)

    def inverse_hessian(self, curvature: Tensor) -> Tensor:
        """The diagonal that preconditions, (S, K, r)."""
        tiny = torch.finfo(curvature.dtype).tiny ** 0.5
        return 1 / (curvature.unsqueeze(2) * self.variances + self.penalties).clamp(min=tiny)

    def longest_step(self, direction: Tensor) -> Tensor:
        """The multiple of the direction (S, K, r) that changes logits by what the Hessian bears, at most 1, (S,)."""
        change = (direction.square() * self.variances).sum((1, 2)).sqrt()
        return (_LONGEST / change).clamp(max=1)


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (B, S) and residuals p - y (B, S, K) of logits (B, S, K), which are overwritten.

    What is left to the other classes is summed, not subtracted from 1: it keeps its digits where samples fit well.
    """
    own = labels.view(-1, 1, 1).expand(-1, logits.shape[1], 1)
    log_shares = logits.log_softmax(2)
    own_log_share = log_shares.gather(2, own).squeeze(2)
    residuals = log_shares.exp_().scatter_(2, own, 0)
    others = residuals.sum(2)
    losses = torch.where(others < 0.5, -torch.log1p(-others.clamp(max=0.5)), -own_log_share)
    return losses, residuals.scatter_(2, own, -others.unsqueeze(2))


@dataclass
class _Point:
    """Weights (S, K, r), and what the problem is there: value float64 (S,), gradient (S, K, r), curvature (S, K)."""

    weights: Tensor
    value: Tensor
    gradient: Tensor
    curvature: Tensor

    def __getitem__(self, chosen: Tensor) -> "_Point":
        return _Point(*(part[chosen] for part in vars(self).values()))

    def __setitem__(self, chosen: Tensor, other: "_Point") -> None:
        for name, part in vars(self).items():
            part[chosen] = getattr(other, name)


class _Pair(NamedTuple):
    """A step and the change of the gradient over it, (S, K, r); 1 / their product, (S,), or 0: leave it out."""

    step: Tensor
    change: Tensor
    inverse: Tensor

    @classmethod
    def between(cls, old: _Point, new: _Point) -> "_Pair":
        step, change = new.weights - old.weights, new.gradient - old.gradient
        product = _dot(step, change)
        return cls(step, change, torch.where(product > 0, 1 / product, 0).nan_to_num(posinf=0))


def _minimise(problem: _Problem, max_iter: int) -> tuple[Tensor, int]:
    """The weights (S, K, r) at the minima, and the iterations. A strength that is done is left out of the rest."""
    point = problem.start()
    result, promised = point.weights.clone(), torch.full_like(point.value, math.inf)
    left = torch.arange(len(result), device=result.device)
    moved, pairs = torch.ones_like(left, dtype=torch.bool), list[_Pair]()
    for iterations in range(max_iter + 1):
        direction = _direction(point, pairs, problem.inverse_hessian(point.curvature))
        slope = _dot(point.gradient, direction)
        promised[left] = -slope.double() / point.value
        going = moved & (promised[left] > TOLERANCES[slope.dtype])
        if iterations == max_iter or not going.any():
            break
        if not going.all():
            left, point, problem = left[going], point[going], problem.of_strengths(going)
            pairs = [_Pair(*(part[going] for part in pair)) for pair in pairs]
            direction, slope = direction[going], slope[going]
        new, moved = _line_search(problem, point, direction, slope)
        result[left], pairs = new.weights, [*pairs, _Pair.between(point, new)][-_MEMORY:]
        point = new
    _warn_if_far(float(promised.max()), iterations)
    return result, iterations


def _direction(point: _Point, pairs: list[_Pair], inverse_hessian: Tensor) -> Tensor:
    """Minus the gradient times the inverse Hessian as L-BFGS sees it: the two loops."""
    direction, weights = -point.gradient, []
    for step, change, inverse in reversed(pairs):
        weights.append(inverse * _dot(step, direction))
        direction.addcmul_(_column(weights[-1]), change, value=-1)
    direction *= inverse_hessian
    direction -= direction.mean(1, keepdim=True)  # the same added to the weights of all classes changes no loss
    if pairs:
        _, change, inverse = pairs[-1]
        scale = inverse * _dot(change, change * inverse_hessian)
        direction /= _column(torch.where(scale > 0, scale, 1))
    for (step, change, inverse), weight in zip(pairs, reversed(weights), strict=True):
        direction.addcmul_(_column(weight - inverse * _dot(change, direction)), step)
    return direction


def _line_search(problem: _Problem, point: _Point, direction: Tensor, slope: Tensor) -> tuple[_Point, Tensor]:
    """The point after a step that lowers the value enough, and where there is one (S,): rounding may leave none."""
    length = problem.longest_step(direction)
    new = problem.at(point.weights + _column(length) * direction)
    for _ in range(_HALVINGS):
        new_slope = _dot(new.gradient, direction)
        failed = ~_accepted(point, new, length, slope, new_slope)
        if not failed.any():
            return new, ~failed
        length = length * torch.where(failed, (slope / (slope - new_slope)).nan_to_num(0.1).clamp(0.1, 0.5), 1)
        weights = point.weights[failed] + _column(length[failed]) * direction[failed]
        new[failed] = problem.of_strengths(failed).at(weights)
    new[failed] = point[failed]
    return new, ~failed


def _accepted(point: _Point, new: _Point, length: Tensor, slope: Tensor, new_slope: Tensor) -> Tensor:
    """Whether the value fell by a share of what the slope promised, or, near rounding, the slopes say so.

    The second is the approximate condition of Hager, Zhang (2005).
    """
    fell = new.value <= point.value + 1e-4 * (length * slope).double()
    close = new.value <= point.value * (1 + 10 * torch.finfo(slope.dtype).eps)
    return fell | (close & (new_slope <= 0.8 * slope.abs()))


def _warn_if_far(promised: float, iterations: int) -> None:
    if promised > _FAR:
        warnings.warn(
            f"the linear probe stopped after {iterations} iterations, while the next one promised to lower its "
            f"objective by {promised:.1%}; raise max_iter, or use dtype='float64'",
            ConvergenceWarning,
            stacklevel=6,  # who calls fit
        )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The product of two weights (S, K, r) for each strength, (S,)."""
    return (a.flatten(1).unsqueeze(1) @ b.flatten(1).unsqueeze(2)).flatten()


def _column(numbers: Tensor) -> Tensor:
    """One number per strength (S,), so that it multiplies weights (S, K, r)."""
    return numbers.view(-1, 1, 1)
