"""Sums that class statistics are computed from: filled block by block, merged, written down and read back."""

from collections.abc import Iterable
from functools import cached_property
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn.functional import linear

from nclib.products import add_gram

Covariance = Literal["full", "diagonal", "span"]

_SLAB = 2048  # samples whose outer products are added at once


class Accumulators:
    """Counts and sums of labelled features, about the first sample seen of each class: its origin.

    What cancels when the origin is exchanged for the class mean is at most a factor of the number of
    samples, for the origin is itself one of them. The result of the sums: `means`, `squares`, `scatter`.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        covariance: Covariance = "full",
        device: torch.device | str = "cpu",
    ):
        if num_features < 1 or num_classes < 1:
            raise ValueError(f"num_features is {num_features} and num_classes {num_classes}; both must be at least 1")
        if covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance is {covariance!r}; it must be 'full' or 'diagonal'")
        device = torch.device("cpu" if torch.device(device).type == "mps" else device)
        self.counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.precision = torch.finfo(torch.float64).eps
        self._origin = torch.zeros(num_classes, num_features, dtype=torch.float64, device=device)
        self._sums = torch.zeros_like(self._origin)  # of h - origin
        self._squares = torch.zeros_like(self._origin)  # of (h - origin)^2
        self._gram = self._origin.new_zeros(num_features, num_features) if covariance == "full" else None
        self._span: tuple[Tensor, Tensor, Tensor] | None = None  # between_svd, and squares (r,) along its directions

    def __repr__(self) -> str:
        sizes = f"{self.num_samples} samples, {self.num_classes} classes x {self.num_features} features"
        return f"<{self.covariance} statistics of {sizes}>"

    @property
    def num_classes(self) -> int:
        return self._origin.shape[0]

    @property
    def num_features(self) -> int:
        return self._origin.shape[1]

    @property
    def num_samples(self) -> int:
        return int(self.counts.sum())

    @property
    def covariance(self) -> Covariance:
        return "full" if self._gram is not None else "span" if self._span is not None else "diagonal"

    @property
    def unseen(self) -> list[int]:
        """The classes of which no sample was seen."""
        return (self.counts == 0).nonzero().flatten().tolist()

    @cached_property
    def means(self) -> Tensor:
        """Class means, float64 (K, d); zero for a class not seen."""
        return self._origin + self._sums / self._column_counts

    @cached_property
    def squares(self) -> Tensor:
        """Sums of squared deviations from the class mean, per feature, float64 (K, d)."""
        return (self._squares - self._sums.square() / self._column_counts).clamp(min=0)

    @cached_property
    def scatter(self) -> Tensor:
        """Outer products of the deviations from the class means, summed over all classes, float64 (d, d)."""
        if self._gram is None:
            raise ValueError(f"these statistics have covariance={self.covariance!r}; this metric needs 'full'")
        lower = self._gram.clone()
        add_gram(lower, self._sums / self._column_counts.sqrt(), sign=-1)
        full = lower.tril_() + lower.T
        full.diagonal().mul_(0.5)
        return full

    def state_dict(self) -> dict[str, Tensor]:
        """Everything, as tensors: counts, means, squares, scatter (unless diagonal) and precision."""
        self._refuse_span("saved")
        names = ("counts", "means", "squares", *(("scatter",) if self.covariance == "full" else ()))
        return {name: getattr(self, name).clone() for name in names} | {
            "precision": torch.tensor(self.precision).double()
        }

    def accumulators(self) -> dict[str, Tensor]:
        """The tensors that `update` writes to, not copies: for those who must keep them, such as torchmetrics."""
        self._refuse_span("taken apart")
        parts = {"counts": self.counts, "origin": self._origin, "sums": self._sums, "squares": self._squares}
        gram = {} if self._gram is None else {"gram": self._gram}
        return parts | gram | {"precision": torch.tensor(self.precision, dtype=torch.float64)}

    @classmethod
    def from_accumulators(cls, parts: dict[str, Tensor]) -> Self:
        """Statistics that write to the tensors of `accumulators`, but for precision, which is a number."""
        stats = cls.__new__(cls)
        stats.counts, stats.precision = parts["counts"], float(parts["precision"])
        stats._origin, stats._sums, stats._squares = parts["origin"], parts["sums"], parts["squares"]
        stats._gram, stats._span = parts.get("gram"), None
        return stats

    @property
    def _column_counts(self) -> Tensor:
        return self.counts.clamp(min=1).unsqueeze(1).double()

    def _add(self, blocks: Iterable[tuple[int, Tensor]], labels: Tensor) -> Self:
        """Add blocks of features that were checked, each with the number of its first row among the labels."""
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
        """Add the outer products of rows (B, d), of more than one block, for a large matrix product is a fast one."""
        if self._gram is not None:
            add_gram(self._gram, rows)

    def _add_block(self, features: Tensor, labels: Tensor, work: Tensor) -> None:
        """Add a block, all but its covariance, and leave the deviations from the origins in `work` (B, d)."""
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
        """The first sample of each class that was not seen before."""
        positions = torch.arange(len(labels), device=labels.device)
        first = torch.full_like(self.counts, len(labels)).scatter_reduce_(0, labels, positions, "amin")
        new = (self.counts == 0) & (first < len(labels))
        self._origin[new] = features[first[new]].double()

    def _absorb(self, state: dict[str, Tensor]) -> Self:
        """Add the samples that a state stands for; their means are the origins of classes not seen before."""
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
        """Drop what was derived from the accumulators, for they are about to change."""
        for name in [name for name in self.__dict__ if isinstance(getattr(type(self), name, None), cached_property)]:
            del self.__dict__[name]
