"""Multinomial logistic regression: L-BFGS in the principal axes of the features, along a path of strengths.

Along the principal axes of centred features, of variances v_j, the Hessian of the cross-entropy at W = 0 is
diagonal in the features. Close to it, and cheap, is the diagonal a_k v_j + 1 / (C N), where a_k is the mean of
p (1 - p) over the samples. It starts every L-BFGS direction (Nocedal, Wright 2006, algorithm 7.4), with the a_k of
the moment: the iterations hardly depend on how collinear the features are, and one rotation, which leaves
||W||^2 alone, serves all strengths. From two minima the next is foretold on the line through them over log C, from
where it takes a third of the iterations.
"""

import math
import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

# The objective is at its minimum if the next step promises to lower it by less than this share of it.
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}
_ROUGH = 10.0  # times the tolerance, of fits that only tell which strength is best
_FAR = 1e-3  # from the minimum: the share of the objective from which on a warning is due
_MEMORY = 5  # steps that L-BFGS remembers
_LONGEST = 10.0  # root mean square change of a sample's logits in one step: beyond it the Hessian is another one
_HALVINGS = 12
_LARGEST = 1e30  # of a penalty: it leaves nothing of the weights, and fits into a float32
_BLOCK = 2**19  # logits computed at once: 2 MB in float32 stay in a processor's cache


class Solution(NamedTuple):
    """Weights (K, d) and biases (K,), and the iterations that they took."""

    weight: Tensor
    bias: Tensor
    iterations: int


class LogisticFits:
    """Minima of sum of cross-entropies + ||W||^2 / (2 C) over W (K, d) and biases, for one strength C after the other.

    `features` float32 or float64 (N, d) are centred, which the preconditioner asks for; labels int64 (N,). With
    weights, positive (N,), the sum is weighted.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, num_classes: int, *, max_iter: int, weights: Tensor | None = None
    ):
        weights = None if weights is None else weights.to(features)
        self._unit = float(features.abs().max()) or 1.0  # so that no square leaves the range of the dtype
        scaled = features / self._unit
        self._axes = _principal_axes(scaled if weights is None else scaled * weights.sqrt().unsqueeze(1))
        ones = features.new_ones(len(features), 1)  # a bias is a weight too
        rotated = torch.cat([features @ (self._axes / self._unit), ones], 1)
        self._problem, self._max_iter = _Problem.of(rotated, labels, num_classes, weights), max_iter
        self._known: list[tuple[float, Tensor]] = []  # log C and weights (K, r) of the last two rough fits

    def fit(self, C: float) -> Solution:
        """The fit for a strength, which does not depend on those before."""
        return self._solution(*self._minimised(C, self._problem.start(), 1.0))

    def rough(self, C: float) -> Solution:
        """The fit for a strength to a looser tolerance, from where the last two that were rough foretell it."""
        place, known = math.log(C), self._known
        start = _foretold(known, place) if known else self._problem.start()
        weights, iterations = self._minimised(C, start, _ROUGH)
        self._known = [*known[-1:], (place, weights)]
        return self._solution(weights, iterations)

    def _minimised(self, C: float, start: Tensor, looser: float) -> tuple[Tensor, int]:
        penalty = min(1 / (C * self._unit**2 * self._problem.total), _LARGEST)
        tolerance = looser * TOLERANCES[start.dtype]
        return _minimise(self._problem.penalised(penalty), start, self._max_iter, tolerance)

    def _solution(self, weights: Tensor, iterations: int) -> Solution:
        return Solution(weights[:, :-1] @ (self._axes.T / self._unit), weights[:, -1], iterations)


def _foretold(known: list[tuple[float, Tensor]], place: float) -> Tensor:
    """The weights at a place, on the line through those at one or two places before, but no farther than these are."""
    (before, first), (last, weights) = known[0], known[-1]
    if last == before:
        return weights
    return weights + min((place - last) / (last - before), 1) * (weights - first)


def _principal_axes(features: Tensor) -> Tensor:
    """Orthonormal columns (d, min(N, d)), along which the features (N, d) are uncorrelated."""
    basis = None
    if len(features) < features.shape[1]:
        basis, triangle = torch.linalg.qr(features.T)
        features = triangle.T
    axes = torch.linalg.eigh((features.T @ features).double()).eigenvectors.to(features)
    return axes if basis is None else basis @ axes


@dataclass(frozen=True)
class _Problem:
    """What does not change from step to step; the last feature is 1, and `penalty` is 0 there, for the bias."""

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
        shares = shares.to(torch.get_default_dtype())  # as shares of counts are: what all biases share is never moved
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
        """The diagonal that preconditions, (K, r)."""
        tiny = torch.finfo(curvature.dtype).tiny ** 0.5
        return 1 / (curvature.unsqueeze(1) * self.variances + self.penalty).clamp(min=tiny)

    def longest_step(self, direction: Tensor) -> float:
        """The multiple of the direction (K, r) that changes logits by what the Hessian bears, at most 1."""
        change = float((direction.square() * self.variances).sum().sqrt())
        return min(_LONGEST / change, 1.0) if change else 1.0


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (B,) and residuals p - y (B, K) of logits (B, K).

    What is left to the other classes is summed, not subtracted from 1: it keeps its digits where samples fit well.
    """
    own = labels.unsqueeze(1)
    log_shares = logits.log_softmax(1)
    own_log_share = log_shares.gather(1, own).squeeze(1)
    residuals = log_shares.exp_().scatter_(1, own, 0)
    others = residuals.sum(1)
    losses = torch.where(others < 0.5, -torch.log1p(-others.clamp(max=0.5)), -own_log_share)
    return losses, residuals.scatter_(1, own, -others.unsqueeze(1))


class _Point(NamedTuple):
    """Weights (K, r), and what the problem is there: its value, gradient (K, r) and curvature (K,)."""

    weights: Tensor
    value: float
    gradient: Tensor
    curvature: Tensor


class _Pair(NamedTuple):
    """A step and the change of the gradient over it, (K, r); 1 / their product, or 0: leave it out."""

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
        promised = -slope / (point.value or math.inf)  # nothing lowers a 0
        if iterations == max_iter or not promised > tolerance:
            break
        new = _line_search(problem, point, direction, slope)
        if new is None:
            break
        pairs, point = [*pairs, _Pair.between(point, new)][-_MEMORY:], new
    _warn_if_far(promised, iterations)
    return point.weights, iterations


def _direction(point: _Point, pairs: list[_Pair], inverse_hessian: Tensor) -> Tensor:
    """Minus the gradient times the inverse Hessian as L-BFGS sees it: the two loops."""
    direction, weights = -point.gradient, []
    for step, change, inverse in reversed(pairs):
        weights.append(inverse * _dot(step, direction))
        direction.sub_(change, alpha=weights[-1])
    direction *= inverse_hessian
    direction -= direction.mean(0)  # the same added to the weights of all classes changes no loss
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
            f"the linear probe stopped after {iterations} iterations, while the next one promised to lower its "
            f"objective by {promised:.1%}; raise max_iter, or use dtype='float64'",
            ConvergenceWarning,
            stacklevel=6,  # who calls fit
        )


def _dot(a: Tensor, b: Tensor) -> float:
    return float(a.flatten() @ b.flatten())
