"""Geometric complexity: how far the features of an image move when the image moves a little.

GC(f, D) = (1/|D|) sum_x ||J_x f||_F^2, with J_x f the Jacobian of the last-layer features with respect to the
input: Munn, Dherin, Gonzalvo 2024 (arXiv 2405.15706). How it is estimated, and its standard error, are ours.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from nclib.augmentation import seeded
from nclib.checks import as_tensor, check_labels
from nclib.forward import evaluating
from nclib.image_sets import ImageFiles, ImageSet
from nclib.jacobian_norms import METHODS, Way, exact, way
from nclib.jacobians import Embedding, Jacobians, batch_size
from nclib.loading import Images, batches
from nclib.models import Backbone

_SEVERAL = 8  # projections of a sample, where no number is given


@dataclass(frozen=True)
class Complexity:
    """What `geometric_complexity` measured.

    Attributes
    ----------
    per_sample
        Estimates of the squared norm of the Jacobian at each measured sample, float64 (n,).
    variances
        Of these estimates, float64 (n,): 0 if exact, NaN if of a single projection.
    indices
        Which of the samples were measured, int64 (n,).
    population
        How many samples there are.
    """

    per_sample: Tensor
    variances: Tensor
    indices: Tensor
    population: int

    @property
    def value(self) -> float:
        """The geometric complexity, the mean over samples; [0, inf), in squared units of feature over input."""
        return float(self.per_sample.detach().mean())

    @property
    def standard_error(self) -> float:
        """Of `value`, against the exact mean over all samples, not only the measured ones; 0 if that is what it is.

        sqrt((1 - n/N) s^2/n + (n/N) sum_i v_i/n^2), with s^2 the variance between the estimates and v_i that of each:
        sampling in two stages (Cochran 1977, chapter 10).
        """
        estimates, number = self.per_sample.detach(), len(self.per_sample)
        share = number / self.population
        between = 0.0 if share == 1 else (1 - share) * float(estimates.var()) / number
        return math.sqrt(between + share * float(self.variances.sum()) / number**2)

    def by_class(self, labels: Any) -> Tensor:
        """The geometric complexity of each class, float64 (K,), from the labels (N,) of all samples."""
        labels = check_labels(as_tensor(labels)).to(self.per_sample.device)
        if len(labels) != self.population:
            raise ValueError(f"there are {len(labels)} labels for {self.population} samples; there must be as many")
        labels, sums = labels[self.indices], self.per_sample.new_zeros(int(labels.max()) + 1)
        counts = labels.bincount(minlength=len(sums))
        if not counts.all():
            raise ValueError(f"no sample of class {int(counts.argmin())} was measured; every class needs one")
        return sums.index_add(0, labels, self.per_sample) / counts


def geometric_complexity(
    model: Backbone | nn.Module | Embedding,
    images: Images,
    *,
    method: str = "exact",
    number: int | None = None,
    share: float = 0.1,
    relative_error: float | None = None,
    samples: int | None = None,
    differentiable: bool = False,
    seed: int = 0,
    memory: float = 1e9,
    progress: bool = False,
) -> Complexity:
    """Geometric complexity of the last-layer features, in eval mode: the mean squared norm of their Jacobian.

    Lower is flatter, and the papers' link is that flatter features collapse more. It is not unchanged by a scale of
    the features or of the inputs.

    Parameters
    ----------
    model
        A `Backbone`; a module that returns features (N, d); or any function from inputs to features, each of its own
        input alone.
    images
        Labelled images, which the backbone's transform prepares, or floating-point inputs (N, ...) as they are.
    method
        "exact": the whole Jacobian, row by row, or column by column where the inputs are smaller than the features.
        Unbiased estimates: "rademacher" and "gaussian", ||v^T J||^2 for random v, `number` of them a sample;
        "outputs", that many rows of the Jacobian, at random without replacement, times d / `number`; "entries", the
        `share` of its entries, at random, divided by it (which costs as much as to be exact).
    number
        Of projections or outputs a sample; by default 8. One gives no standard error.
    relative_error
        Take more projections, twice as many each time, until the standard error is at most this part of the value.
        What d projections do not reach is computed exactly; what `samples` are short of stays.
    samples
        How many of the samples to measure, at random without replacement; None is all.
    differentiable
        Whether ``per_sample`` can be differentiated with respect to the model's parameters, as a penalty is.
    memory
        Bytes, about, that the passes may take; at most 64 samples are in one.

    Returns
    -------
    `Complexity`, whose ``value`` has a ``standard_error``.

    Examples
    --------
    >>> weight = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> geometric_complexity(lambda x: x @ weight.T, torch.zeros(5, 3)).value  # 1 + 4 + 9
    14.0
    >>> penalty = geometric_complexity(
    ...     torch.nn.Linear(3, 2), torch.rand(5, 3), method="rademacher", number=1, differentiable=True
    ... ).per_sample.mean()
    >>> penalty.backward()
    """
    number = _checked_number(method, number, share, relative_error, memory)
    backbone, indices = _backbone(model), _chosen(images, samples, seed)
    with evaluating(backbone.model), _fixed(backbone.model, not differentiable):
        passes = _Passes(backbone, images, indices, differentiable, memory, progress)
        found = passes.measure(way(method, number, share), seed)
        while relative_error is not None and not found.standard_error <= relative_error * found.value:
            if number >= passes.width:
                return passes.measure(exact, seed)
            found = _averaged(found, passes.measure(way(method, number, share), seed + number))
            number *= 2
    return found


def _backbone(model: Any) -> Backbone:
    """A module as it is, and a function as what a module without parameters ends in."""
    if isinstance(model, Backbone):
        return model
    if not callable(model):
        raise TypeError(f"model is {model!r}; it must be a Backbone, a module or a function")
    if isinstance(model, nn.Module):
        return Backbone(type(model).__name__, model)
    return Backbone(getattr(model, "__name__", "function"), nn.Identity(), last=model)


class _Passes:
    """Goes through samples, in batches that fit into memory."""

    def __init__(self, model: Backbone, images: Images, indices: Tensor, graph: bool, memory: float, progress: bool):
        self.model, self.images, self.indices, self.graph, self.progress = model, images, indices, graph, progress
        self.embedding: Embedding = model.last or model.model
        (first,) = self._inputs([indices[:1]])
        self.width = Jacobians(self.embedding, first).width
        self.size = batch_size(self.embedding, first, memory)

    def measure(self, way: Way, seed: int) -> Complexity:
        """What a way gives for every sample."""
        generator, rows = seeded("complexity", seed), self.indices.split(self.size)
        made = tqdm(self._inputs(rows), "geometric complexity", len(rows), leave=False, disable=not self.progress)
        parts = [way(Jacobians(self.embedding, inputs, self.graph), generator) for inputs in made]
        estimates, variances = (torch.cat(part) for part in zip(*parts, strict=True))
        return Complexity(estimates, variances.detach(), self.indices.to(estimates.device), len(self.images))

    def _inputs(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        alone = self.images.device if isinstance(self.images, Tensor) else self.model.device
        device = next((parameter.device for parameter in self.model.model.parameters()), alone)
        given = [batch.tolist() for batch in rows]
        for inputs in batches(self.images, given, self.model.transform, device=device, name=self.model.name):
            yield inputs.to(device)


@contextmanager
def _fixed(model: nn.Module, fixed: bool) -> Iterator[None]:
    """Parameters without gradients, for which autograd would keep what it need not; then as they were."""
    free = [parameter for parameter in model.parameters() if fixed and parameter.requires_grad]
    for parameter in free:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in free:
            parameter.requires_grad_(True)


def _averaged(one: Complexity, other: Complexity) -> Complexity:
    """Two independent estimates from as many projections."""
    estimates, variances = (one.per_sample + other.per_sample) / 2, (one.variances + other.variances) / 4
    return replace(one, per_sample=estimates, variances=variances)


def _chosen(images: Images, samples: int | None, seed: int) -> Tensor:
    """Which samples are measured, in order."""
    if not isinstance(images, ImageSet | ImageFiles | Tensor):
        raise TypeError(f"images are {type(images).__name__}; they must be an ImageSet, ImageFiles or a tensor")
    if isinstance(images, Tensor) and not images.is_floating_point():
        raise TypeError(f"inputs are {images.dtype}; they must be floating-point, as the model takes them")
    if not len(images):
        raise ValueError("there are no inputs; at least one is needed")
    if samples is None:
        return torch.arange(len(images))
    if not 2 <= samples <= len(images):
        raise ValueError(f"samples is {samples}; it must be from 2 to {len(images)}, as many as there are")
    return torch.randperm(len(images), generator=seeded("samples", seed))[:samples].sort().values


def _checked_number(method: str, number: int | None, share: float, relative_error: float | None, memory: float) -> int:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    if number is not None and number < 1:
        raise ValueError(f"number is {number}; it must be at least 1")
    if not memory > 0:
        raise ValueError(f"memory is {memory}; it must be above 0, in bytes")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it must be above 0 and at most 1")
    if relative_error is not None and (method not in ("rademacher", "gaussian") or number == 1):
        raise ValueError(
            f"relative_error is given with method {method!r} and number {number}; it takes 'rademacher' or 'gaussian' "
            "and at least 2"
        )
    if relative_error is not None and not relative_error > 0:
        raise ValueError(f"relative_error is {relative_error}; it must be above 0")
    return number or _SEVERAL
