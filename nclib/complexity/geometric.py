"""Geometric complexity: how far the features of an image move when the image moves a little.

The mean over x of ||J_x f||_F^2, with J_x f the Jacobian of the last-layer features with respect to the
input: Munn, Dherin, Gonzalvo 2024 (arXiv 2405.15706). The estimators and their standard errors are ours.
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

from nclib.checks import check_share, check_whole, checked_seed, counted, is_number
from nclib.complexity.jacobians import WAYS, Embedding, Jacobians, Way, batch_size, embedded, exact, way
from nclib.data.batches import Images, batches, finite, needed_transform
from nclib.data.kinds import in_hand
from nclib.features.backbones import Backbone
from nclib.features.encoders import TextEncoder
from nclib.features.forward import evaluating
from nclib.features.heads import headless
from nclib.features.inputs import coarsest, fed, warn_of_bytes
from nclib.features.preparation import as_it_is
from nclib.labels import called, numbered_labels
from nclib.seeds import seeded

_DEGREES = 30  # the fewest degrees of freedom of a standard error at which refining may stop


@dataclass(frozen=True)
class Complexity:
    """The result of `geometric_complexity`.

    Attributes
    ----------
    per_sample
        Estimates of the squared norm of the Jacobian at each measured sample, float64 (n,).
    variances
        The variances of these estimates, float64 (n,): 0 if exact, NaN if from a single projection.
    indices
        The numbers of the measured samples, int64 (n,).
    population
        The number of all samples.

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
        """The value, its standard error, and the numbers of samples, ready for `json.dumps`."""
        sizes = {"measured": len(self.per_sample), "population": self.population}
        return {"value": self.value, "standard_error": self.standard_error} | sizes

    @property
    def value(self) -> float:
        """The geometric complexity, the mean over samples; [0, inf), in squared units of feature over input."""
        return float(self.per_sample.detach().mean())

    @property
    def standard_error(self) -> float:
        """The standard error of `value` as an estimate of the exact mean over all samples; 0 if it is exact.

        sqrt((1 - n/N) s^2/n + (n/N) sum_i v_i/n^2), where s^2 is the variance between the estimates, and v_i the
        variance of each: sampling in two stages (Cochran 1977, chapter 10).
        """
        estimates, number = self.per_sample.detach(), len(self.per_sample)
        share = number / self.population
        between = 0.0 if share == 1 else (1 - share) * float(estimates.var()) / number
        return math.sqrt(between + share * float(self.variances.sum()) / number**2)

    @property
    def error_of_samples(self) -> float:
        """The part of `standard_error` that remains however well each sample is estimated."""
        if len(self.per_sample) == self.population:
            return 0.0
        own = float(self.per_sample.detach().var() - self.variances.mean())
        return math.sqrt((1 - len(self.per_sample) / self.population) * max(0.0, own) / len(self.per_sample))

    def by_class(self, labels: Any) -> Tensor:
        """The geometric complexity of each class, float64 (K,), from the labels (N,) of all samples.

        Classes that are texts are in alphabetical order.
        """
        labels, names = numbered_labels(labels)
        labels = labels.to(self.per_sample.device)
        if len(labels) != self.population:
            given = f"{counted(len(labels), 'label')} for {counted(self.population, 'sample')}"
            raise ValueError(f"there are {given}; give one label for each sample")
        labels, sums = labels[self.indices], self.per_sample.new_zeros(int(labels.max()) + 1)
        counts = labels.bincount(minlength=len(sums))
        if not counts.all():
            (lacking,) = called([int(counts.argmin())], names)
            raise ValueError(
                f"no sample of class {lacking} was measured; every class needs one: measure more samples, or all "
                "(samples=None)"
            )
        return sums.index_add(0, labels, self.per_sample) / counts


class Passes:
    """Measures samples in batches that fit into memory."""

    def __init__(self, model: Backbone, images: Images, indices: Tensor, graph: bool, memory: float, progress: bool):
        self.model, self.images, self.indices, self.graph, self.progress = model, images, indices, graph, progress
        self.embedding: Embedding = partial(fed, model)
        (self.first,) = self._inputs([indices[:1]])
        if needed_transform(images, as_it_is) is None:
            warn_of_bytes(model, self.first)
        if not graph and len(indices) > 1:
            self._check_apart()
        self.together = batch_size(self.embedding, self.first, memory)

    def measure(self, way: Way, seed: int, number: int) -> Complexity:
        """Apply a method to every sample; other seeds and numbers draw other random vectors."""
        generator, rows = seeded("complexity", seed, number), self.indices.split(self.together)
        made = tqdm(self._inputs(rows), "geometric complexity", len(rows), leave=False, disable=not self.progress)
        parts = [way(Jacobians(self.embedding, inputs, self.graph, self.together), generator) for inputs in made]
        estimates, variances = (torch.cat(part) for part in zip(*parts, strict=True))
        return Complexity(estimates, variances.detach(), self.indices.to(estimates.device), len(self.images))

    def refine(self, method: str, number: int, relative_error: float, seed: int) -> Complexity:
        """Take more projections until the standard error is small enough, and reliable."""
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
                f"the relative error is {found.standard_error / found.value:.2g}, not {relative_error}, because of the "
                "sampling: measure more samples",
                stacklevel=3,
            )
        return found

    def _settled(self, found: Complexity, number: int, relative_error: float) -> bool:
        """Whether the error is small enough and reliable, or due to the sampling, which projections do not lower."""
        if found.value == 0 or found.error_of_samples > relative_error * found.value:
            return True
        known = len(self.indices) * (number - 1) >= _DEGREES
        return known and 0 < found.standard_error <= relative_error * found.value

    def _check_apart(self) -> None:
        """Refuse a function that mixes its inputs, since a sample's Jacobian would depend on the others."""
        (pair,) = self._inputs([self.indices[:2]])
        with torch.no_grad():  # two at a time, which batch norm in train mode needs
            twice = torch.cat([self.first] * 2)
            alone, together = (embedded(self.embedding, inputs.clone())[0] for inputs in (twice, pair))
        rounding = 1e-3 + 4 * torch.finfo(coarsest(self.model.model)).eps
        if not torch.allclose(alone, together, rtol=1e-2, atol=rounding * float(alone.abs().max())):
            raise ValueError(
                "the features of an input depend on the others in its batch, as with batch norm in train mode; "
                "give a module, which is put into eval mode, or a function of each input alone"
            )

    def _inputs(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        alone = self.images.device if isinstance(self.images, Tensor) else self.model.device
        device = next((parameter.device for parameter in self.model.model.parameters()), alone)
        given = [batch.tolist() for batch in rows]
        for inputs in batches(self.images, given, self.model.transform, device=device, name=self.model.name):
            yield inputs.to(device).clone() if inputs.is_inference() else inputs.to(device)


def _averaged(one: Complexity, other: Complexity) -> Complexity:
    """The mean of two independent estimates from equally many projections."""
    estimates, variances = (one.per_sample + other.per_sample) / 2, (one.variances + other.variances) / 4
    return replace(one, per_sample=estimates, variances=variances)


_SEVERAL = 8  # the default number of projections per sample


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

    Range [0, inf); lower is flatter, and the paper links flatter features to more collapse. It changes with the scale
    of the features and of the inputs. Source: Munn, Dherin, Gonzalvo 2024 (arXiv 2405.15706); the estimators are ours.

    Parameters
    ----------
    model
        A `Backbone`, a module that returns features (N, d), or any function that computes the features of each input
        independently of the others.
    images
        Images of any kind that `nclib.labelled` takes, with labels or without, or floating-point inputs (N, ...).
    method
        "exact" computes the whole Jacobian, row by row, or column by column if the inputs are smaller than the
        features. The others are unbiased estimates: "rademacher" and "gaussian" average ||v^T J||^2 over `number`
        random vectors v per sample; "outputs" takes `number` random rows of the Jacobian per sample, without
        replacement, times d / `number`; "entries" takes a random `share` of the entries, divided by `share` (as
        expensive as "exact").
    number
        Number of projections or outputs per sample, by default 8. With one projection there is no standard error.
    share
        The share of the entries that "entries" takes, in (0, 1].
    relative_error
        Double the number of projections until the standard error is at most this share of the value (stopping there
        makes the stated error a little too small). If as many projections as rows or columns do not suffice, compute
        exactly. An error that comes from `samples` remains, with a warning.
    samples
        How many samples to measure, drawn at random without replacement; None is all.
    differentiable
        Whether ``per_sample`` can be differentiated with respect to the model's parameters, as a penalty needs.
    seed
        Seed of the random vectors, rows, entries and samples.
    memory
        The approximate limit on the bytes that a pass takes; a pass has at most 64 samples. The need is measured first,
        unless this is infinite.
    progress
        Show a progress bar.

    Returns
    -------
    `Complexity`, whose ``value`` has a ``standard_error``.

    Raises
    ------
    ValueError
        If there are no inputs, inputs or features are not finite, features depend on other inputs of the batch, or have
        no gradient; if `method` is unknown, or a number is out of its range.
    TypeError
        If the model is an encoder of texts or cannot be called, or inputs or features are not floating point.

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
    number, seed = _checked_number(method, number, share, relative_error, memory), checked_seed(seed)
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
        raise TypeError(f"{model.name} is an encoder of texts, whose tokens are not continuous; give a model of images")
    if not (isinstance(model, Backbone) or callable(model)):
        raise TypeError(f"model is {model!r}; it must be a Backbone, a module or a function")


def _backbone(model: Any) -> Backbone:
    """The model as a backbone; a function becomes the `last` of its own module, or of one without parameters."""
    if isinstance(model, Backbone | nn.Module):
        return headless(model)
    module = getattr(model, "__self__", None)  # of a bound method
    module = module if isinstance(module, nn.Module) else nn.Identity()
    return Backbone(getattr(model, "__name__", "function"), module, last=model)


@contextmanager
def _fixed(model: nn.Module, fixed: bool) -> Iterator[None]:
    """Turn off the parameters' gradients in this block, if `fixed`, so that autograd stores less."""
    free = nn.ParameterList(parameter for parameter in model.parameters() if fixed and parameter.requires_grad)
    free.requires_grad_(False)
    try:
        yield
    finally:
        free.requires_grad_(True)


def _chosen(images: Images, samples: int | None, seed: int) -> Tensor:
    """The numbers of the samples to measure, in order."""
    if isinstance(images, Tensor) and not images.is_floating_point():
        raise TypeError(f"inputs are {images.dtype}; they must be floating-point, as the model takes them")
    if not len(images) or (isinstance(images, Tensor) and (images.ndim < 2 or not images[0].numel())):
        given = f" in {tuple(images.shape)}" if isinstance(images, Tensor) else ""
        raise ValueError(f"there are no inputs{given}; give (N, ...) with at least one number each")
    if isinstance(images, Tensor):
        finite(images)
    if samples is None:
        return torch.arange(len(images))
    check_whole(2, samples=samples)
    if samples > len(images):
        raise ValueError(f"samples is {samples}; it must be from 2 to {len(images)}, the number of samples")
    return torch.randperm(len(images), generator=seeded("samples", seed))[:samples].sort().values


def _checked_number(method: str, number: int | None, share: float, relative_error: float | None, memory: float) -> int:
    if method not in WAYS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(WAYS)}")
    if number is not None:
        check_whole(1, number=number)
    if not (is_number(memory) and memory > 0):
        raise ValueError(f"memory is {memory!r}; it must be above 0, in bytes")
    check_share(share=share)
    if relative_error is not None and (method not in ("rademacher", "gaussian") or number == 1):
        raise ValueError(
            f"relative_error is given with method {method!r} and number {number}; it needs method 'rademacher' or "
            "'gaussian', and number at least 2"
        )
    if relative_error is not None and not (is_number(relative_error) and relative_error > 0):
        raise ValueError(f"relative_error is {relative_error!r}; it must be a number above 0")
    return int(number or _SEVERAL)
