"""Geometric complexity: how far the features of an image move when the image moves a little.

The mean over x of ||J_x f||_F^2, with J_x f the Jacobian of the last-layer features with respect to the
input: Munn, Dherin, Gonzalvo 2024 (arXiv 2405.15706). How it is estimated, and its standard error, are ours.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nclib.checks import counted, is_number
from nclib.complexity.jacobians import WAYS, Embedding, Jacobians, Way, batch_size, embedded, exact, way
from nclib.data.batches import Images, batches, finite, lacking
from nclib.data.kinds import in_hand
from nclib.features.backbones import Backbone
from nclib.features.encoders import TextEncoder
from nclib.features.forward import evaluating
from nclib.features.heads import headless
from nclib.features.inputs import coarsest, fed, warn_of_bytes
from nclib.features.preparation import as_it_is
from nclib.labels import called, numbered_labels
from nclib.seeds import seeded

_DEGREES = 30  # of freedom that a standard error has, at least, before a run stops at it


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

    Examples
    --------
    >>> found = Complexity(torch.tensor([1.0, 3.0]), variances=torch.zeros(2), indices=torch.arange(2), population=2)
    >>> print(found)
    geometric complexity 2, standard error 0
    >>> found.by_class([0, 1]).tolist()
    [1.0, 3.0]
    >>> found.to_dict()
    {'value': 2.0, 'standard_error': 0.0, 'measured': 2, 'population': 2}
    """

    per_sample: Tensor
    variances: Tensor
    indices: Tensor
    population: int

    def __str__(self) -> str:
        return f"geometric complexity {self.value:.4g}, standard error {self.standard_error:.2g}"

    def to_dict(self) -> dict[str, float]:
        """The value, its standard error, and the numbers of samples, as `json.dumps` takes them."""
        sizes = {"measured": len(self.per_sample), "population": self.population}
        return {"value": self.value, "standard_error": self.standard_error} | sizes

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

    @property
    def error_of_samples(self) -> float:
        """The part of `standard_error` that stays however well each sample is estimated."""
        if len(self.per_sample) == self.population:
            return 0.0
        own = float(self.per_sample.detach().var() - self.variances.mean())
        return math.sqrt((1 - len(self.per_sample) / self.population) * max(0.0, own) / len(self.per_sample))

    def by_class(self, labels: Any) -> Tensor:
        """The geometric complexity of each class, float64 (K,), from the labels (N,) of all samples.

        Classes that are texts are in the order of the alphabet.
        """
        labels, names = numbered_labels(labels)
        labels = labels.to(self.per_sample.device)
        if len(labels) != self.population:
            given = f"{counted(len(labels), 'label')} for {counted(self.population, 'sample')}"
            raise ValueError(f"given are {given}; there must be as many")
        labels, sums = labels[self.indices], self.per_sample.new_zeros(int(labels.max()) + 1)
        counts = labels.bincount(minlength=len(sums))
        if not counts.all():
            (lacking,) = called([int(counts.argmin())], names)
            raise ValueError(f"no sample of class {lacking} was measured; every class needs one")
        return sums.index_add(0, labels, self.per_sample) / counts


class Passes:
    """Goes through samples, in batches that fit into memory."""

    def __init__(self, model: Backbone, images: Images, indices: Tensor, graph: bool, memory: float, progress: bool):
        self.model, self.images, self.indices, self.graph, self.progress = model, images, indices, graph, progress
        self.embedding: Embedding = partial(fed, model)
        (self.first,) = self._inputs([indices[:1]])
        if lacking(images, as_it_is) is None:
            warn_of_bytes(model, self.first)
        if not graph and len(indices) > 1:
            self._check_apart()
        self.together = batch_size(self.embedding, self.first, memory)

    def measure(self, way: Way, seed: int, number: int) -> Complexity:
        """What a way gives for every sample; other seeds and numbers draw other vectors."""
        generator, rows = seeded("complexity", seed, number), self.indices.split(self.together)
        made = tqdm(self._inputs(rows), "geometric complexity", len(rows), leave=False, disable=not self.progress)
        parts = [way(Jacobians(self.embedding, inputs, self.graph, self.together), generator) for inputs in made]
        estimates, variances = (torch.cat(part) for part in zip(*parts, strict=True))
        return Complexity(estimates, variances.detach(), self.indices.to(estimates.device), len(self.images))

    def refine(self, method: str, number: int, relative_error: float, seed: int) -> Complexity:
        """Take more projections until their stated error is small, and known from enough of them to be believed."""
        found = self.measure(way(method, number, 1.0), seed, number)
        exactly = min(Jacobians(self.embedding, self.first).width, self.first.numel())  # one pass each
        while not self._settled(found, number, relative_error):
            if number >= exactly:
                found = self.measure(exact, seed, number)
                break
            found = _averaged(found, self.measure(way(method, number, 1.0), seed, -number))
            number *= 2
        if found.standard_error > relative_error * found.value:
            warnings.warn(
                f"the relative error is {found.standard_error / found.value:.2g}, that of the samples, not "
                f"{relative_error}: measure more of them",
                stacklevel=3,
            )
        return found

    def _settled(self, found: Complexity, number: int, relative_error: float) -> bool:
        """Whether the error is small enough, and known, or that of the samples, which no projection lowers."""
        if found.value == 0 or found.error_of_samples > relative_error * found.value:
            return True
        known = len(self.indices) * (number - 1) >= _DEGREES
        return known and 0 < found.standard_error <= relative_error * found.value

    def _check_apart(self) -> None:
        """Refuse a function that mixes its inputs: each sample's Jacobian would be that of all."""
        (pair,) = self._inputs([self.indices[:2]])
        with torch.no_grad():  # two at a time, for batch norm in train mode takes no less
            twice = torch.cat([self.first] * 2)
            alone, together = (embedded(self.embedding, inputs.clone())[0] for inputs in (twice, pair))
        rounding = 1e-3 + 4 * torch.finfo(coarsest(self.model.model)).eps
        if not torch.allclose(alone, together, rtol=1e-2, atol=rounding * float(alone.abs().max())):
            raise ValueError(
                "the features of an input depend on the others in its batch, as where batch norm is in train mode; "
                "give a module, which is put into eval mode, or a function of each input alone"
            )

    def _inputs(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        alone = self.images.device if isinstance(self.images, Tensor) else self.model.device
        device = next((parameter.device for parameter in self.model.model.parameters()), alone)
        given = [batch.tolist() for batch in rows]
        for inputs in batches(self.images, given, self.model.transform, device=device, name=self.model.name):
            yield inputs.to(device).clone() if inputs.is_inference() else inputs.to(device)


def _averaged(one: Complexity, other: Complexity) -> Complexity:
    """Two independent estimates from as many projections."""
    estimates, variances = (one.per_sample + other.per_sample) / 2, (one.variances + other.variances) / 4
    return replace(one, per_sample=estimates, variances=variances)


_SEVERAL = 8  # projections of a sample, where no number is given


def geometric_complexity(
    model: Backbone | nn.Module | Embedding,
    images: Any,
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

    Lower is flatter, and the papers' link is that flatter features collapse more. It changes with the scale
    of the features and of the inputs.

    Parameters
    ----------
    model
        A `Backbone`; a module that returns features (N, d); or any function from inputs to features, each of its own
        input alone.
    images
        Images of any kind that `nclib.labelled` takes, with labels or without, or floating-point inputs (N, ...).
    method
        "exact": the whole Jacobian, row by row, or column by column where the inputs are smaller than the features.
        Unbiased estimates: "rademacher" and "gaussian", ||v^T J||^2 for random v, `number` of them a sample;
        "outputs", that many rows of the Jacobian, at random without replacement, times d / `number`; "entries", the
        `share` of its entries, at random, divided by it (which costs as much as to be exact).
    number
        Of projections or outputs a sample; by default 8. One gives no standard error.
    relative_error
        Take more projections, twice as many each time, until the standard error is at most this part of the value
        (stopping there makes it a little too small). What as many projections as rows or columns do not reach is
        computed exactly; what `samples` are short of stays, with a warning.
    samples
        How many of the samples to measure, at random without replacement; None is all.
    differentiable
        Whether ``per_sample`` can be differentiated with respect to the model's parameters, as a penalty is.
    memory
        Bytes, about, that a pass may take, which is found out first (infinity: it is not); at most 64 samples are in
        one.

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
    _check_model(model)
    images = in_hand(images)
    backbone, indices = _backbone(model), _chosen(images, samples, seed)
    with torch.inference_mode(False), evaluating(backbone.model), _fixed(backbone.model, not differentiable):
        passes = Passes(backbone, images, indices, differentiable, memory, progress)
        if relative_error is None:
            return passes.measure(way(method, number, share), seed, number)
        return passes.refine(method, number, relative_error, seed)


def _check_model(model: Any) -> None:
    if isinstance(model, TextEncoder):
        raise TypeError(f"{model.name} is an encoder of texts, whose tokens are no numbers that could move a little")
    if not (isinstance(model, Backbone) or callable(model)):
        raise TypeError(f"model is {model!r}; it must be a Backbone, a module or a function")


def _backbone(model: Any) -> Backbone:
    """A module as it is, and a function as what its module, or one without parameters, ends in."""
    if isinstance(model, Backbone | nn.Module):
        return headless(model)
    module = getattr(model, "__self__", None)  # of a bound method
    module = module if isinstance(module, nn.Module) else nn.Identity()
    return Backbone(getattr(model, "__name__", "function"), module, last=model)


@contextmanager
def _fixed(model: nn.Module, fixed: bool) -> Iterator[None]:
    """Parameters without gradients, for which autograd would keep what it need not; then as they were."""
    free = nn.ParameterList(parameter for parameter in model.parameters() if fixed and parameter.requires_grad)
    free.requires_grad_(False)
    try:
        yield
    finally:
        free.requires_grad_(True)


def _chosen(images: Images, samples: int | None, seed: int) -> Tensor:
    """Which samples are measured, in order."""
    if isinstance(images, Tensor) and not images.is_floating_point():
        raise TypeError(f"inputs are {images.dtype}; they must be floating-point, as the model takes them")
    if not len(images) or (isinstance(images, Tensor) and (images.ndim < 2 or not images[0].numel())):
        given = f" in {tuple(images.shape)}" if isinstance(images, Tensor) else ""
        raise ValueError(f"there are no inputs{given}; give (N, ...) with at least one number each")
    if isinstance(images, Tensor):
        finite(images)
    if samples is None:
        return torch.arange(len(images))
    if type(samples) is not int or not 2 <= samples <= len(images):
        raise ValueError(f"samples is {samples}; it must be from 2 to {len(images)}, as many as there are")
    return torch.randperm(len(images), generator=seeded("samples", seed))[:samples].sort().values


def _checked_number(method: str, number: int | None, share: float, relative_error: float | None, memory: float) -> int:
    if method not in WAYS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(WAYS)}")
    if number is not None and (type(number) is not int or number < 1):
        raise ValueError(f"number is {number}; it must be a whole number, at least 1")
    if not (is_number(memory) and memory > 0):
        raise ValueError(f"memory is {memory!r}; it must be above 0, in bytes")
    if not (is_number(share) and 0 < share <= 1):
        raise ValueError(f"share is {share!r}; it must be above 0 and at most 1")
    if relative_error is not None and (method not in ("rademacher", "gaussian") or number == 1):
        raise ValueError(
            f"relative_error is given with method {method!r} and number {number}; it takes 'rademacher' or 'gaussian' "
            "and at least 2"
        )
    if relative_error is not None and not (is_number(relative_error) and relative_error > 0):
        raise ValueError(f"relative_error is {relative_error!r}; it must be above 0, a number")
    return number or _SEVERAL
