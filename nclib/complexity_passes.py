"""What measuring geometric complexity goes through: batches that fit into memory, and what comes of them."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from nclib.augmentation import seeded
from nclib.checks import as_tensor, check_labels
from nclib.jacobian_norms import Way, exact, way
from nclib.jacobians import Embedding, Jacobians, batch_size, embedded
from nclib.loading import Images, batches
from nclib.models import Backbone

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
    """

    per_sample: Tensor
    variances: Tensor
    indices: Tensor
    population: int

    def __str__(self) -> str:
        return f"geometric complexity {self.value:.4g}, standard error {self.standard_error:.2g}"

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
        """The geometric complexity of each class, float64 (K,), from the labels (N,) of all samples."""
        labels = check_labels(as_tensor(labels)).to(self.per_sample.device)
        if len(labels) != self.population:
            raise ValueError(f"there are {len(labels)} labels for {self.population} samples; there must be as many")
        labels, sums = labels[self.indices], self.per_sample.new_zeros(int(labels.max()) + 1)
        counts = labels.bincount(minlength=len(sums))
        if not counts.all():
            raise ValueError(f"no sample of class {int(counts.argmin())} was measured; every class needs one")
        return sums.index_add(0, labels, self.per_sample) / counts


class Passes:
    """Goes through samples, in batches that fit into memory."""

    def __init__(self, model: Backbone, images: Images, indices: Tensor, graph: bool, memory: float, progress: bool):
        self.model, self.images, self.indices, self.graph, self.progress = model, images, indices, graph, progress
        self.embedding: Embedding = model.last or model.model
        (self.first,) = self._inputs([indices[:1]])
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
        exactly = min(Jacobians(self.embedding, self.first).width, self.first.numel())  # so many passes
        while not self._settled(found, number, relative_error):
            if found.error_of_samples > relative_error * found.value:
                break
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
        if found.value == 0:
            return True
        known = len(self.indices) * (number - 1) >= _DEGREES
        return known and 0 < found.standard_error <= relative_error * found.value

    def _check_apart(self) -> None:
        """Refuse a function that mixes its inputs: each sample's Jacobian would be that of all."""
        (pair,) = self._inputs([self.indices[:2]])
        with torch.no_grad():  # two at a time, for batch norm in train mode takes no less
            twice = torch.cat([self.first] * 2)
            alone, together = (embedded(self.embedding, inputs.clone())[0] for inputs in (twice, pair))
        if not torch.allclose(alone, together, rtol=1e-2, atol=1e-3 * float(alone.abs().max())):
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
