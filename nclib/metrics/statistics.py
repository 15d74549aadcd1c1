"""Class statistics: the counts, means and spreads from which the collapse metrics are computed.

They are gathered in one pass, batch by batch, and merge exactly (Chan, Golub, LeVeque 1983), so a
large data set, several workers or a stream give the same numbers as one array.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Literal, Self
from unicodedata import normalize

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from nclib.arrays import as_tensor, noted_rounding
from nclib.checks import check_whole, counted, few
from nclib.devices import double_device
from nclib.labels import Names, Numbered, checked_names, numbered_labels, one_each
from nclib.metrics.linalg import ALL, TOGETHER, add_gram, differences_product, explained, svd_of_centred
from nclib.metrics.samples import LARGEST, Samples, check_batch, check_values, row_blocks, samples_of, with_bar
from nclib.storage import load_tensors, save_tensors

Covariance = Literal["full", "diagonal", "span"]

_SIDE = 512  # classes whose pairs make a tile of 2 MB, which fits into a processor's cache
_SLAB = 2048  # samples whose outer products are added at once


class ClassStatistics:
    """Counts, means and within-class scatter of labelled features, accumulated in float64.

    Sums are taken about the first sample seen of each class, its origin. Replacing the origin by the class mean
    cancels at most a factor of the number of samples, since the origin is one of them; so features far from zero
    lose no digits.

    Parameters
    ----------
    num_features, num_classes
        d and K, at least 1; K may be left out if the classes have names.
    classes
        The names of the K classes, in order. Labels may then be names, and messages and notes use them.
    covariance
        "full" keeps the pooled d x d scatter. "diagonal" does not, which saves d^2 numbers and N d^2 operations for
        wide features, but leaves `nc1` and a few other metrics undefined. (A third kind, "span", comes only from
        `class_statistics`.)
    device
        Where the accumulators live and where batches are sent; the CPU instead of a device without float64 (Apple's
        mps).

    Attributes
    ----------
    counts
        int64 (K,), samples seen of each class.
    classes
        The names of the K classes, or () if they have none.
    precision
        The machine epsilon of the coarsest features seen, that is, how much they were rounded beforehand. For features
        that `extract` computed in half precision, it is the epsilon of half precision.

    Examples
    --------
    >>> stats = ClassStatistics(num_features=2, num_classes=2)
    >>> stats = stats.update(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 0]))
    >>> stats = stats.update(torch.tensor([[5.0, 1.0]]), torch.tensor([1]))
    >>> stats.means.tolist(), stats.class_variances.tolist()
    ([[1.0, 0.0], [5.0, 1.0]], [1.0, 0.0])
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int | None = None,
        *,
        classes: Names = None,
        covariance: Covariance = "full",
        device: torch.device | str = "cpu",
    ):
        self.classes = checked_names(classes, num_classes)
        if num_classes is None and not self.classes:
            raise ValueError("neither num_classes nor classes is given; give the number of classes, or their names")
        num_classes = len(self.classes) if num_classes is None else num_classes
        check_whole(1, num_features=num_features, num_classes=num_classes)
        if covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance is {covariance!r}; it must be 'full' or 'diagonal'")
        device = double_device(device)
        self.counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.precision = torch.finfo(torch.float64).eps
        self._origin = torch.zeros(num_classes, num_features, dtype=torch.float64, device=device)
        self._sums = torch.zeros_like(self._origin)  # of h - origin
        self._squares = torch.zeros_like(self._origin)  # of (h - origin)^2
        self._gram = self._origin.new_zeros(num_features, num_features) if covariance == "full" else None
        self._span: tuple[Tensor, Tensor, Tensor] | None = None  # between_svd, and squares (r,) along its directions

    @classmethod
    def from_batches(
        cls,
        batches: Iterable[tuple[Any, Any]],
        num_classes: int | None = None,
        *,
        classes: Names = None,
        covariance: Covariance = "full",
    ) -> "ClassStatistics":
        """The statistics of an iterable of (features (B, d), labels (B,)), such as a DataLoader.

        With neither `num_classes` nor `classes` the batches decide: numbers run up to the largest label, and texts are
        in alphabetical order, whatever the order in which they came.

        >>> batches = [([[0.0], [1.0]], ["dog", "dog"]), ([[5.0]], ["cat"])]
        >>> stats = ClassStatistics.from_batches(batches)
        >>> stats.classes, stats.counts.tolist()
        (('cat', 'dog'), [1, 2])
        """
        if num_classes is None and classes is None:
            return grown(batches, numbered_labels, covariance)
        stats = None
        for features, labels in _pairs(batches):
            stats = stats or _empty_for(features, num_classes, classes, covariance)
            stats.update(features, labels)
        if stats is None:
            raise ValueError("there are no batches; at least one is needed")
        return stats

    def __repr__(self) -> str:
        sizes = counted(self.num_classes, "class", "classes"), counted(self.num_features, "feature")
        return f"<{self.covariance} statistics of {counted(self.num_samples, 'sample')}, {' x '.join(sizes)}>"

    @property
    def num_classes(self) -> int:
        """K, the number of classes, including those not seen yet."""
        return self._origin.shape[0]

    @property
    def num_features(self) -> int:
        """d, the width of the features."""
        return self._origin.shape[1]

    @property
    def num_samples(self) -> int:
        """N, the number of samples seen so far."""
        return int(self.counts.sum())

    @property
    def covariance(self) -> Covariance:
        """How much of the covariance is kept, as in `class_statistics`."""
        return "full" if self._gram is not None else "span" if self._span is not None else "diagonal"

    @property
    def unseen(self) -> list[int]:
        """The numbers of the classes without a sample so far."""
        return (self.counts == 0).nonzero().flatten().tolist()

    @property
    def shares(self) -> Tensor:
        """The share of each class among the samples, float64 (K,)."""
        return self.counts.double() / self.num_samples

    @cached_property
    def means(self) -> Tensor:
        """Class means, float64 (K, d); zero for an unseen class."""
        return self._origin + self._sums / self._column_counts

    @cached_property
    def squares(self) -> Tensor:
        """Sums of squared deviations from the class mean, per feature, float64 (K, d)."""
        return (self._squares - self._sums.square() / self._column_counts).clamp(min=0)

    @cached_property
    def scatter(self) -> Tensor:
        """The sum over all samples of the outer products of the deviations from the class means, float64 (d, d)."""
        if self._gram is None:
            raise ValueError(f"these statistics have covariance={self.covariance!r}; this metric needs 'full'")
        lower = self._gram.clone()
        add_gram(lower, self._sums / self._column_counts.sqrt(), sign=-1)
        full = lower.tril_() + lower.T
        full.diagonal().mul_(0.5)
        return full

    @cached_property
    def global_mean(self) -> Tensor:
        """The mean over all samples, (d,). With unequal classes it is not the mean of the class means."""
        return self.shares @ self.means

    @cached_property
    def centred_means(self) -> Tensor:
        """The class means minus the global mean, (K, d)."""
        return self.means - self.global_mean

    @cached_property
    def class_variances(self) -> Tensor:
        """V_k = mean over class k of ||h - mean_k||^2, (K,); 0 for a class of one sample or none."""
        return self.squares.sum(1) / self._column_counts.flatten()

    @property
    def within_covariance(self) -> Tensor:
        """Sigma_W = (1/N) sum over samples h of (h - class mean)(h - class mean)^T, (d, d)."""
        return self.scatter / self.num_samples

    @property
    def within_trace(self) -> float:
        """tr(Sigma_W), the mean squared distance of a sample from its class mean."""
        return float(self.squares.sum() / self.num_samples)

    @cached_property
    def between_svd(self) -> tuple[Tensor, Tensor]:
        """Singular values, descending, and right singular vectors (rows) of centred_means / sqrt(K)."""
        if self._span is not None:
            return self._span[:2]
        return svd_of_centred(self.centred_means / self.num_classes**0.5)

    @cached_property
    def squared_distances(self) -> Tensor:
        """||mu_i - mu_j||^2 of every pair of classes, float64 (K, K); 0 if the means differ only by rounding."""
        return self.distances()

    def distance_tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """`squared_distances` in tiles, each with its rows and columns, which cover every pair once.

        With many classes all pairs at once may exceed the memory.
        """
        if self.num_classes <= TOGETHER:
            yield ALL, ALL, self.squared_distances
            return
        parts = [slice(start, start + _SIDE) for start in range(0, self.num_classes, _SIDE)]
        for rows, columns in combinations_with_replacement(parts, 2):
            yield rows, columns, self.distances(rows, columns)

    def distances(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """`squared_distances` between two slices of the classes; 0 if rounding alone explains the distance."""
        distances = differences_product(self.centred_means, self.centred_means, rows, columns)
        rounding = (10 * max(self.means.shape) * torch.finfo(torch.float64).eps) ** 2
        squares = [self.means[some].square().sum(1) + self.class_variances[some] for some in (rows, columns)]
        least = rounding * torch.maximum(squares[0].unsqueeze(1), squares[1])
        return distances.where(distances > least, 0.0)

    def variances_along(self, directions: Tensor) -> Tensor:
        """The pooled within-class variance (r,) along each of the unit vectors (r, d).

        With covariance="span" the vectors must be the leading ones of `between_svd`.
        """
        if self._span is None:
            return ((directions @ self.scatter) * directions).sum(1).clamp(min=0) / self.num_samples
        _, known, squares = self._span
        if not torch.equal(directions, known[: len(directions)]):
            raise ValueError(
                "these statistics know the variance along the span of the class means only; use covariance='full'"
            )
        return squares[: len(directions)] / self.num_samples

    @property
    def _weighted_means(self) -> Tensor:
        return self.centred_means * self.counts.double().sqrt().unsqueeze(1)

    @property
    def total_scatter(self) -> Tensor:
        """N Sigma_T, the sum of the outer products of all samples about the global mean, float64 (d, d)."""
        return torch.addmm(self.scatter, self._weighted_means.T, self._weighted_means)

    def explained(self, rtol: float) -> float:
        """tr(Sigma_T^+ Sigma_B) with classes weighted by size in Sigma_B; the basis of `vci` and the H-score."""
        if rtol not in self._explained:
            weighted, total = self._weighted_means, self.total_scatter
            scale = total.diagonal().clamp(min=torch.finfo(torch.float64).tiny).rsqrt()  # so that units do not matter
            self._explained[rtol] = explained(total * scale * scale.unsqueeze(1), weighted * scale, rtol)
        return self._explained[rtol]

    @cached_property
    def _explained(self) -> dict[float, float]:
        """The results of `explained` so far, by rtol; every update empties it."""
        return {}

    def update(self, features: Any, labels: Any) -> Self:
        """Add a batch: features (B, d) of any float type on any device, labels (B,) in 0..K-1 or class names."""
        self._refuse_span("updated")
        rounding = noted_rounding(features)
        features, labels = check_batch(features, labels, num_classes=self.num_classes, classes=self.classes or None)
        if features.shape[1] != self.num_features:
            raise ValueError(
                f"features have {counted(features.shape[1], 'column')}; these statistics have {self.num_features}"
            )
        self.precision = max(self.precision, rounding)
        return self._add(row_blocks(features), labels)

    def merge(self, other: "ClassStatistics") -> Self:
        """Add the samples that `other` has seen; the result is the same as if this object had seen them all."""
        if self.means.shape != other.means.shape or self.covariance != other.covariance:
            raise ValueError(f"{self!r} do not merge with {other!r}; sizes and covariance must be the same")
        if self.classes and other.classes and self.classes != other.classes:
            raise ValueError(
                f"these statistics have the classes {few(self.classes)}, the others {few(other.classes)}; only "
                "statistics of the same classes merge"
            )
        self.classes = self.classes or other.classes
        return self._absorb(other.state_dict())

    def without_empty_classes(self) -> "ClassStatistics":
        """The statistics of the classes that were seen, renumbered in order."""
        self._refuse_span("renumbered")
        seen = self.counts > 0
        if not seen.any():
            raise ValueError("no class was seen, so there is nothing to keep")
        names = [name for name, kept in zip(self.classes, seen.tolist(), strict=False) if kept]
        result = ClassStatistics(
            self.num_features, int(seen.sum()), classes=names, covariance=self.covariance, device=self.counts.device
        )
        state = self.state_dict()
        return result._absorb(state | {name: state[name][seen] for name in ("counts", "means", "squares")})

    def _placed(self, places: Tensor, num_classes: int, classes: Names = None) -> "ClassStatistics":
        """The same statistics with class k moved to places[k] among `num_classes`, with the names `classes`."""
        state, device = self.state_dict(), self.counts.device
        for name in ("counts", "means", "squares"):
            whole = state[name].new_zeros(num_classes, *state[name].shape[1:])
            state[name] = whole.index_copy(0, places.to(device), state[name])
        options: Any = {"classes": classes, "covariance": self.covariance, "device": device}
        return ClassStatistics(self.num_features, num_classes, **options).load_state_dict(state)

    def all_reduce(self, group: Any = None) -> Self:
        """Merge the statistics of all processes of a torch.distributed group; every process gets the result.

        All processes must have the same number of features and classes. Nothing is gathered: only sums of K x d and
        d x d numbers are exchanged, once each.
        """
        from torch import distributed

        def summed(tensor: Tensor) -> Tensor:
            distributed.all_reduce(tensor, group=group)
            return tensor

        state = self.state_dict()
        counts = summed(state["counts"].clone())
        share = state["counts"].double() / counts.clamp(min=1)
        options: Any = {"classes": self.classes, "covariance": self.covariance, "device": counts.device}
        result = ClassStatistics(*self.means.shape[::-1], **options)
        result._origin = summed(share.unsqueeze(1) * state["means"])  # the same in every process, so the sums add up
        result._add_state(state)
        result.counts = counts
        for part in (result._sums, result._squares, result._gram):
            if part is not None:
                summed(part)
        precision = state["precision"].to(counts.device)
        distributed.all_reduce(precision, op=distributed.ReduceOp.MAX, group=group)
        result.precision = float(precision)
        result._forget()
        self._forget()
        self.__dict__.update(result.__dict__)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """The whole state as tensors: counts, means, squares, scatter (unless diagonal) and precision."""
        self._refuse_span("saved")
        names = ("counts", "means", "squares", *(("scatter",) if self.covariance == "full" else ()))
        return {name: getattr(self, name).clone() for name in names} | {
            "precision": torch.tensor(self.precision).double()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> Self:
        """Restore a state that `state_dict` returned; the shapes must agree."""
        options: Any = {"classes": self.classes, "covariance": self.covariance, "device": self.counts.device}
        fresh = ClassStatistics(self.num_features, self.num_classes, **options)
        expected = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in fresh.state_dict().items()}
        given = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()}
        if expected != given:
            raise ValueError(f"the state holds {given}; {self!r} need {expected}")
        if not all(torch.isfinite(tensor).all() for tensor in state.values()) or (state["counts"] < 0).any():
            raise ValueError("the state holds NaN, infinity or negative counts; it is not one that was saved")
        self._forget()
        self.__dict__.update(fresh._absorb(state).__dict__)
        return self

    def save(self, path: str | Path) -> None:
        """Write the state and the class names as a safetensors file with a digest, atomically."""
        names = {"classes": list(self.classes)} if self.classes else {}
        save_tensors(Path(path), self.state_dict(), {"kind": "class statistics", **names})

    @classmethod
    def load(cls, path: str | Path, *, device: torch.device | str = "cpu") -> Self:
        """Read a file that `save` wrote; ValueError if it is another kind of file, or has changed."""
        state, metadata = load_tensors(Path(path))
        if metadata.get("kind") != "class statistics":
            raise ValueError(f"{path} does not hold class statistics but {metadata.get('kind', 'something else')}")
        classes, features = state["means"].shape
        kind: Covariance = "full" if "scatter" in state else "diagonal"
        names = metadata.get("classes")
        return cls(features, classes, classes=names, covariance=kind, device=device).load_state_dict(state)

    def accumulators(self) -> dict[str, Tensor]:
        """The tensors that `update` writes to, not copies, for callers that must hold them, such as torchmetrics."""
        self._refuse_span("taken apart")
        parts = {"counts": self.counts, "origin": self._origin, "sums": self._sums, "squares": self._squares}
        gram = {} if self._gram is None else {"gram": self._gram}
        return parts | gram | {"precision": torch.tensor(self.precision, dtype=torch.float64)}

    @classmethod
    def from_accumulators(cls, parts: dict[str, Tensor], classes: Names = None) -> Self:
        """Statistics that write to the tensors of `accumulators`, except precision, which is a number."""
        stats = cls.__new__(cls)
        stats.counts, stats.precision = parts["counts"], float(parts["precision"])
        stats.classes = checked_names(classes, len(stats.counts))
        stats._origin, stats._sums, stats._squares = parts["origin"], parts["sums"], parts["squares"]
        stats._gram, stats._span = parts.get("gram"), None
        return stats

    @property
    def _column_counts(self) -> Tensor:
        return self.counts.clamp(min=1).unsqueeze(1).double()

    def _add(self, blocks: Iterable[tuple[int, Tensor]], labels: Tensor) -> Self:
        """Add blocks of checked features, each with the number of its first row among the labels."""
        self._forget()
        labels, filled = labels.to(self.counts.device), 0
        slab = self._origin.new_empty(min(len(labels), _SLAB), self.num_features)
        for start, block in blocks:
            if filled + len(block) > len(slab):
                self._add_products(slab[:filled])
                filled = 0
            work = slab[filled : filled + len(block)]
            self._add_block(block.to(work.device), labels[start : start + len(block)], work)
            filled += len(block) if self._gram is not None else 0
        self._add_products(slab[:filled])
        return self

    def _add_products(self, rows: Tensor) -> None:
        """Add the outer products of rows (B, d); they span several blocks, because large products are fast."""
        if self._gram is not None:
            add_gram(self._gram, rows)

    def _add_block(self, features: Tensor, labels: Tensor, work: Tensor) -> None:
        """Add all of a block but its covariance, and leave the deviations from the origins in `work` (B, d)."""
        if self._span is None and not self.counts.all():
            self._choose_origins(features, labels)
        self.precision = max(self.precision, torch.finfo(features.dtype).eps)
        torch.index_select(self._origin, 0, labels, out=work)
        torch.sub(features, work, out=work)
        self._squares.index_add_(0, labels, work.square())
        if self._span is None:
            self.counts += labels.bincount(minlength=self.num_classes)
            self._sums.index_add_(0, labels, work)
        else:  # the counts are known, the origins are the means, so the sums are 0
            _, directions, squares = self._span
            squares += linear(work, directions).square().sum(0)

    def _choose_origins(self, features: Tensor, labels: Tensor) -> None:
        """Take the first sample of each class not seen before as its origin."""
        positions = torch.arange(len(labels), device=labels.device)
        first = torch.full_like(self.counts, len(labels)).scatter_reduce_(0, labels, positions, "amin")
        new = (self.counts == 0) & (first < len(labels))
        self._origin[new] = features[first[new]].double()

    def _absorb(self, state: dict[str, Tensor]) -> Self:
        """Add the samples of a state; its class means become the origins of classes not seen before."""
        new = (self.counts == 0) & (state["counts"].to(self.counts.device) > 0)
        self._origin[new] = state["means"].to(self._origin)[new]
        return self._add_state(state)

    def _add_state(self, state: dict[str, Tensor]) -> Self:
        counts, means, squares = (state[name].to(self.counts.device) for name in ("counts", "means", "squares"))
        sums = counts.unsqueeze(1) * (means - self._origin)
        column_counts = counts.clamp(min=1).unsqueeze(1).double()
        self.counts += counts
        self._sums += sums
        self._squares += squares + sums.square() / column_counts
        if self._gram is not None:
            self._gram += state["scatter"].to(self._gram)
            add_gram(self._gram, sums / column_counts.sqrt())
        self.precision = max(self.precision, float(state["precision"]))
        self._forget()
        return self

    def _refuse_span(self, done: str) -> None:
        if self._span is not None:
            raise ValueError(f"statistics with covariance='span' cannot be {done}; use 'full' or 'diagonal'")

    def _forget(self) -> None:
        """Drop what was derived from the accumulators, because they are about to change."""
        for name in [name for name in self.__dict__ if isinstance(getattr(type(self), name, None), cached_property)]:
            del self.__dict__[name]


def class_statistics(
    features: Any,
    labels: Any,
    *,
    num_classes: int | None = None,
    classes: Names = None,
    covariance: Covariance = "full",
    progress: bool = False,
) -> ClassStatistics:
    """The statistics of features (N, d) with labels (N,), on the features' device.

    `features` may be a tensor, an array, or a memory map larger than memory (`numpy.load(path, mmap_mode="r")`).
    Labels are integers or texts. Texts are numbered alphabetically, or in the order of `classes`, the names of all
    classes, which may be given with integers, too. By default `num_classes` is the largest label plus one. A label
    that never occurs leaves an empty class, which the metrics refuse: see `ClassStatistics.without_empty_classes`.
    `progress` shows a bar if this takes more than a second.

    `covariance="span"` passes over the features twice and keeps only the variance along the span of the class means.
    That is all that `nc1` needs, and cheaper than "full" if K is well below d / 2. Such statistics cannot be updated
    or merged.

    Raises ValueError if there are no samples, shapes do not fit, a feature is NaN, infinite or beyond 1e60, or a label
    is missing or out of range. Raises TypeError if features are not floating point, or labels mix texts and numbers.

    Examples
    --------
    >>> stats = class_statistics([[0.0, 0.0], [2.0, 0.0], [5.0, 1.0]], [0, 0, 1])
    >>> stats.counts.tolist(), stats.means.tolist()
    ([2, 1], [[1.0, 0.0], [5.0, 1.0]])
    >>> class_statistics([[0.0], [2.0], [5.0]], ["dog", "dog", "cat"]).classes
    ('cat', 'dog')
    """
    if covariance not in ("full", "diagonal", "span"):
        raise ValueError(f"covariance is {covariance!r}; it must be 'full', 'diagonal' or 'span'")
    samples = samples_of(features, labels, num_classes=num_classes, classes=classes)
    return gathered(samples, num_classes, covariance=covariance, progress=progress)


def gathered(
    samples: Samples, num_classes: int | None = None, *, covariance: Covariance = "full", progress: bool = False
) -> ClassStatistics:
    """`class_statistics` of samples whose shapes were checked; their values are checked here unless they were."""
    features, labels = samples.features, samples.labels
    first = as_tensor(features[:1])
    dtype = (first if samples.checked else check_values(first)).dtype  # before any work
    stats = ClassStatistics(
        features.shape[1],
        num_classes or len(samples.classes) or int(labels.max()) + 1,
        classes=samples.classes,
        covariance="diagonal" if covariance == "span" else covariance,
        device=features.device,
    )
    stats.precision = max(stats.precision, samples.rounding)
    if covariance == "span":
        _find_span(stats, samples)
    checked = samples.checked or (covariance == "span" and dtype != torch.float64)
    blocks = row_blocks(features, checked=checked)
    return stats._add(with_bar(blocks, len(features)) if progress else blocks, labels)


def _find_span(stats: ClassStatistics, samples: Samples) -> None:
    """Set the origins of empty statistics to the class means, and store the directions that the means span."""
    features, labels = samples.features, samples.labels
    first = ClassStatistics(stats.num_features, stats.num_classes, covariance="diagonal", device=stats.counts.device)
    first.counts = labels.bincount(minlength=stats.num_classes).to(stats.counts)
    for start, block in row_blocks(features, checked=True):
        classes = labels[start : start + len(block)].to(stats.counts.device)
        first._sums.index_add_(0, classes, block.to(first._sums))
    if not first._sums.abs().max() < LARGEST:  # NaN, infinity or too large: the check says in which row
        for _ in row_blocks(features):
            pass
    stats.counts, stats._origin = first.counts, first.means
    stats._span = (*first.between_svd, torch.zeros_like(first.between_svd[0]))


def _pairs(batches: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The batches, each checked to be a pair."""
    for batch in batches:
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            parts = f" of {counted(len(batch), 'part')}" if isinstance(batch, tuple | list) else ""
            raise TypeError(f"a batch is a {type(batch).__name__}{parts}; it must be a pair: (features, labels)")
        yield batch[0], batch[1]


def _empty_for(features: Any, num_classes: int | None, classes: Names, covariance: Covariance) -> ClassStatistics:
    """Empty statistics to which features like these can be added."""
    rows = as_tensor(features)
    width = rows.shape[1] if rows.ndim == 2 else 1  # `update` says what is wrong with another shape
    return ClassStatistics(width, num_classes, classes=classes, covariance=covariance, device=rows.device)


def grown(
    batches: Iterable[tuple[Any, Any]], numbered: Callable[[list[Any]], Numbered], covariance: Covariance
) -> ClassStatistics:
    """The statistics of batches whose classes are known only at the end, when `numbered` numbers them all."""
    places: dict[Any, int] = {}
    stats: ClassStatistics | None = None
    for features, labels in _pairs(batches):
        given = one_each(labels)
        found, codes = np.unique(given.numpy(force=True) if isinstance(given, Tensor) else given, return_inverse=True)
        names = [normalize("NFC", name) if isinstance(name, str) else name for name in found.tolist()]
        numbers = torch.tensor([places.setdefault(name, len(places)) for name in names], dtype=torch.int64)
        stats = stats or _empty_for(features, max(1, len(places)), None, covariance)
        if len(places) > stats.num_classes:
            stats = stats._placed(torch.arange(stats.num_classes), len(places))
        stats.update(features, numbers[torch.as_tensor(codes)])
    if stats is None or not places:
        raise ValueError("there are no batches with samples; at least one is needed")
    order, classes = numbered(list(places))
    return stats._placed(order, len(classes) or int(order.max()) + 1, classes)
