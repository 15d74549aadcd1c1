"""Multinomial logistic regression: L-BFGS in the principal axes of the features, along a path of strengths.

Along the principal axes of centred features, with variances v_j, the Hessian of the cross-entropy at W = 0 is diagonal
in the features. The diagonal a_k v_j + 1 / (C N) is close to it and cheap; a_k is the current mean of p (1 - p) over
the samples. Every L-BFGS direction (Nocedal, Wright 2006, algorithm 7.4) starts from it, so the number of iterations
hardly depends on how collinear the features are. One rotation, which does not change ||W||^2, serves all strengths.
Extrapolating the last two minima along log C predicts the next, which then takes a third of the iterations.
"""

import math
import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

# The objective counts as minimal if the next step is expected to lower it by less than this share.
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}
_ROUGH = 10.0  # times the tolerance, for fits that only choose the strength
_FAR = 1e-3  # the expected decrease, as a share of the objective, above which a warning is due
_MEMORY = 5  # steps that L-BFGS remembers
_LONGEST = 10.0  # root mean square change of a sample's logits in one step: beyond it the Hessian changes too much
_HALVINGS = 12
_LARGEST = 1e30  # the largest penalty: it shrinks the weights to nothing, and fits into a float32
_BLOCK = 2**19  # logits computed at once: 2 MB in float32, which fit into a processor's cache


class Solution(NamedTuple):
    """Weights (K, d), biases (K,), and the number of iterations that it took to find them."""

    weight: Tensor
    bias: Tensor
    iterations: int


class LogisticFits:
    """Minimises sum of cross-entropies + ||W||^2 / (2 C) over W (K, d) and biases, for one C after another.

    `features` float32 or float64 (N, d) must be centred, which the preconditioner needs; labels are int64 (N,). With
    weights, positive (N,), the sum is weighted.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, num_classes: int, *, max_iter: int, weights: Tensor | None = None
    ):
        weights = None if weights is None else weights.to(features)
        self._unit = float(features.abs().max()) or 1.0  # scaled by it, no square overflows
        scaled = features / self._unit
        self._axes = _principal_axes(scaled if weights is None else scaled * weights.sqrt().unsqueeze(1))
        ones = features.new_ones(len(features), 1)  # the bias is the weight of a constant
        rotated = torch.cat([features @ (self._axes / self._unit), ones], 1)
        self._problem, self._max_iter = _Problem.of(rotated, labels, num_classes, weights), max_iter
        self._known: list[tuple[float, Tensor]] = []  # log C and weights (K, r) of the last two rough fits

    def fit(self, C: float) -> Solution:
        """The fit for one C, independent of earlier fits."""
        return self._solution(*self._minimised(C, self._problem.start(), 1.0))

    def rough(self, C: float) -> Solution:
        """The fit for one C to a looser tolerance, starting from the extrapolation of the last two rough fits."""
        place, known = math.log(C), self._known
        start = _foretold(known, place) if known else self._problem.start()
        weights, iterations = self._minimised(C, start, _ROUGH)
        self._known = [*known[-1:], (place, weights)]
        return self._solution(weights, iterations)

    def _minimised(self, C: float, start: Tensor, looser: float) -> tuple[Tensor, int]:
        size = C * self._unit**2 * self._problem.total  # 0 if the features are too small to square
        penalty = min(1 / size, _LARGEST) if size else _LARGEST
        tolerance = looser * TOLERANCES[start.dtype]
        return _minimise(self._problem.penalised(penalty), start, self._max_iter, tolerance)

    def _solution(self, weights: Tensor, iterations: int) -> Solution:
        return Solution(weights[:, :-1] @ (self._axes.T / self._unit), weights[:, -1], iterations)


def _foretold(known: list[tuple[float, Tensor]], place: float) -> Tensor:
    """The weights extrapolated to `place` from the last one or two fits, at most as far as these are apart."""
    (before, first), (last, weights) = known[0], known[-1]
    if last == before:
        return weights
    return weights + min((place - last) / (last - before), 1) * (weights - first)


def _principal_axes(features: Tensor) -> Tensor:
    """Orthonormal columns (d, min(N, d)) along which the features (N, d) are uncorrelated."""
    basis = None
    if len(features) < features.shape[1]:
        basis, triangle = torch.linalg.qr(features.T)
        features = triangle.T
    axes = torch.linalg.eigh((features.T @ features).double()).eigenvectors.to(features)
    return axes if basis is None else basis @ axes


@dataclass(frozen=True)
class _Problem:
    """What stays the same from step to step; the last feature is 1, for the bias, and its `penalty` is 0."""

    features: Tensor  # (N, r)
    labels: Tensor
    weights: Tensor | None  # (N,); None is 1 for each sample
    total: float  # of the weights
    num_classes: int
    variances: Tensor  # (r,)
    penalty: Tensor  # (r,)

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int, weights: Tensor | None) -> "_Problem":
        total = float(len(labels) if weights is None else weights.sum(dtype=torch.float64))
        variances = features.square().mean(0) if weights is None else weights @ features.square() / total
        return cls(features, labels, weights, total, num_classes, variances, torch.zeros_like(variances))

    def penalised(self, strength: float) -> "_Problem":
        penalty = torch.full_like(self.variances, strength)
        penalty[-1] = 0
        return replace(self, penalty=penalty)

    def start(self) -> Tensor:
        """Weights (K, r) of 0, and biases that give every class its share."""
        weights = self.features.new_zeros(self.num_classes, self.features.shape[1])
        shares = self.labels.bincount(self.weights, minlength=self.num_classes) / self.total
        shares = shares.to(torch.get_default_dtype())  # as unweighted shares are; no step moves the biases' mean
        weights[:, -1] = (shares.log() - shares.log().mean()).to(weights)
        return weights

    def at(self, weights: Tensor) -> "_Point":
        """The objective divided by the sum of the weights, with its gradient and curvature, at weights (K, r)."""
        gradient, curvature = torch.zeros_like(weights), weights.new_zeros(len(weights))
        loss = torch.zeros((), dtype=torch.float64, device=weights.device)
        rows = max(64, _BLOCK // len(weights))
        for start in range(0, len(self.labels), rows):
            block = slice(start, start + rows)
            features = self.features[block]
            losses, residuals = _cross_entropy(features @ weights.T, self.labels[block])
            counted = residuals
            if self.weights is not None:
                losses, counted = losses * self.weights[block], residuals * self.weights[block].unsqueeze(1)
            loss += losses.sum(dtype=torch.float64)
            gradient.addmm_(counted.T, features)
            curvature += counted.abs().sum(0) - (counted * residuals).sum(0)  # p (1 - p), which |p - y| gives too
        value = loss / self.total + (self.penalty * weights.square()).sum(dtype=torch.float64) / 2
        return _Point(weights, float(value), gradient / self.total + self.penalty * weights, curvature / self.total)

    def inverse_hessian(self, curvature: Tensor) -> Tensor:
        """The diagonal preconditioner, (K, r)."""
        tiny = torch.finfo(curvature.dtype).tiny ** 0.5
        return 1 / (curvature.unsqueeze(1) * self.variances + self.penalty).clamp(min=tiny)

    def longest_step(self, direction: Tensor) -> float:
        """The multiple of the direction (K, r), at most 1, for which the change of logits suits the Hessian."""
        change = float((direction.square() * self.variances).sum().sqrt())
        return min(_LONGEST / change, 1.0) if change else 1.0


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (B,) and residuals p - y (B, K) of logits (B, K).

    The probabilities of the other classes are summed, not subtracted from 1, to keep digits where samples fit well.
    """
    own = labels.unsqueeze(1)
    log_shares = logits.log_softmax(1)
    own_log_share = log_shares.gather(1, own).squeeze(1)
    residuals = log_shares.exp_().scatter_(1, own, 0)
    others = residuals.sum(1)
    losses = torch.where(others < 0.5, -torch.log1p(-others.clamp(max=0.5)), -own_log_share)
    return losses, residuals.scatter_(1, own, -others.unsqueeze(1))


class _Point(NamedTuple):
    """Weights (K, r), with the value, gradient (K, r) and curvature (K,) of the objective there."""

    weights: Tensor
    value: float
    gradient: Tensor
    curvature: Tensor


class _Pair(NamedTuple):
    """A step and the change of the gradient over it, both (K, r), and 1 / their product, or 0 to ignore the pair."""

    step: Tensor
    change: Tensor
    inverse: float

    @classmethod
    def between(cls, old: _Point, new: _Point) -> "_Pair":
        step, change = new.weights - old.weights, new.gradient - old.gradient
        product = _dot(step, change)
        return cls(step, change, 1 / product if product > torch.finfo(step.dtype).tiny else 0.0)


def _minimise(problem: _Problem, start: Tensor, max_iter: int, tolerance: float) -> tuple[Tensor, int]:
    """The weights (K, r) at the minimum, and the iterations from the start."""
    point, pairs = problem.at(start), list[_Pair]()
    for iterations in range(max_iter + 1):
        direction = _direction(point, pairs, problem.inverse_hessian(point.curvature))
        slope = _dot(point.gradient, direction)
        promised = -slope / (point.value or math.inf)  # an objective of 0 cannot be lowered
        if iterations == max_iter or not promised > tolerance:
            break
        new = _line_search(problem, point, direction, slope)
        if new is None:
            break
        pairs, point = [*pairs, _Pair.between(point, new)][-_MEMORY:], new
    _warn_if_far(promised, iterations)
    return point.weights, iterations


def _direction(point: _Point, pairs: list[_Pair], inverse_hessian: Tensor) -> Tensor:
    """Minus the gradient times the inverse Hessian of L-BFGS, by its two loops."""
    direction, weights = -point.gradient, []
    for step, change, inverse in reversed(pairs):
        weights.append(inverse * _dot(step, direction))
        direction.sub_(change, alpha=weights[-1])
    direction *= inverse_hessian
    direction -= direction.mean(0)  # adding the same to the weights of all classes changes no loss
    if pairs:
        _, change, inverse = pairs[-1]
        scale = inverse * _dot(change, change * inverse_hessian)
        direction /= scale if scale > 0 else 1
    for (step, change, inverse), weight in zip(pairs, reversed(weights), strict=True):
        direction.add_(step, alpha=weight - inverse * _dot(change, direction))
    return direction


def _line_search(problem: _Problem, point: _Point, direction: Tensor, slope: float) -> _Point | None:
    """The point after a step that lowers the value enough; None if rounding leaves none."""
    length = problem.longest_step(direction)
    for _ in range(_HALVINGS):
        new = problem.at(point.weights + length * direction)
        new_slope = _dot(new.gradient, direction)
        if _accepted(point, new, length, slope, new_slope):
            return new
        bend = new_slope - slope
        length *= min(max(-slope / bend if bend > 0 else 0.0, 0.1), 0.5)
    return None


def _accepted(point: _Point, new: _Point, length: float, slope: float, new_slope: float) -> bool:
    """Whether the value fell by a share of what the slope promised, or, near rounding, the slopes say so.

    The second is the approximate condition of Hager, Zhang (2005).
    """
    close = new.value <= point.value * (1 + 10 * torch.finfo(new.weights.dtype).eps)
    return new.value <= point.value + 1e-4 * length * slope or (close and new_slope <= 0.8 * abs(slope))


def _warn_if_far(promised: float, iterations: int) -> None:
    if promised > _FAR:
        warnings.warn(
            f"the linear probe stopped after {iterations} iterations, but the next one was expected to lower its "
            f"objective by {promised:.1%}; raise max_iter, or use dtype='float64'",
            ConvergenceWarning,
            stacklevel=6,  # the caller of fit
        )


def _dot(a: Tensor, b: Tensor) -> float:
    return float(a.flatten() @ b.flatten())
