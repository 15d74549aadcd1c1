"""Class statistics: the counts, means and spreads that every collapse metric is a function of.

They are gathered in one pass, batch by batch, and merge exactly (Chan, Golub, LeVeque 1983), so a
large data set, several workers or a stream give the numbers that one array would.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from nclib.accumulators import Accumulators, Covariance
from nclib.checks import as_tensor, check_features, row_blocks
from nclib.products import differences_product, svd_of_centred
from nclib.storage import load_tensors, save_tensors


class ClassStatistics(Accumulators):
    """Counts, means and within-class scatter of labelled features, accumulated in float64.

    Sums are taken about the first sample seen of each class, its origin. What cancels when the origin
    is exchanged for the class mean is at most a factor of the number of samples (the origin is itself
    one of them), so features far from zero lose nothing.

    Parameters
    ----------
    num_features, num_classes
        d and K, at least 1.
    covariance
        "full" keeps the pooled d x d scatter; "diagonal" does not, which saves its d^2 numbers and N d^2
        operations where features are wide, and leaves `nc1` and a few other metrics undefined. (A third kind,
        "span", comes from `class_statistics` alone.)
    device
        Where the accumulators live, and the batches are sent. Devices without float64 (Apple's mps) hand
        over to the CPU.

    Attributes
    ----------
    counts
        int64 (K,), samples seen of each class.
    precision
        The machine epsilon of the coarsest features seen: what rounding has done before they came here.

    Examples
    --------
    >>> stats = ClassStatistics(num_features=2, num_classes=2)
    >>> stats = stats.update(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 0]))
    >>> stats = stats.update(torch.tensor([[5.0, 1.0]]), torch.tensor([1]))
    >>> stats.means.tolist(), stats.class_variances.tolist()
    ([[1.0, 0.0], [5.0, 1.0]], [1.0, 0.0])
    """

    @classmethod
    def from_batches(
        cls, batches: Iterable[tuple[Any, Any]], num_classes: int, *, covariance: Covariance = "full"
    ) -> Self:
        """The statistics of an iterable of (features (B, d), labels (B,)), such as a DataLoader."""
        stats = None
        for features, labels in batches:
            if stats is None:
                features = as_tensor(features)
                check_features(features, labels)
                stats = cls(features.shape[1], num_classes, covariance=covariance, device=features.device)
            stats.update(features, labels)
        if stats is None:
            raise ValueError("there are no batches; at least one is needed")
        return stats

    @property
    def shares(self) -> Tensor:
        """The share of each class among the samples, float64 (K,)."""
        return self.counts.double() / self.num_samples

    @cached_property
    def global_mean(self) -> Tensor:
        """The mean over all samples, (d,). With unequal classes it is not the mean of the class means."""
        return self.shares @ self.means

    @cached_property
    def centred_means(self) -> Tensor:
        """The class means less the global mean, (K, d)."""
        return self.means - self.global_mean

    @cached_property
    def class_variances(self) -> Tensor:
        """V_k = mean over class k of ||h - mean_k||^2, (K,); 0 for a class of one sample, or of none."""
        return self.squares.sum(1) / self._column_counts.flatten()

    @cached_property
    def computed(self) -> dict[Any, float]:
        """What functions of these statistics keep here so as to compute it once; every update empties it."""
        return {}

    @cached_property
    def between_svd(self) -> tuple[Tensor, Tensor]:
        """Singular values, descending, and right singular vectors (rows) of centred_means / sqrt(K)."""
        if self._span is not None:
            return self._span[:2]
        return svd_of_centred(self.centred_means / self.num_classes**0.5)

    @cached_property
    def squared_distances(self) -> Tensor:
        """||mu_i - mu_j||^2 of every pair of classes, float64 (K, K); 0 if the means differ by rounding only."""
        distances = differences_product(self.centred_means, self.centred_means)
        lengths = (self.means.square().sum(1) + self.class_variances).sqrt()
        rounding = 10 * max(self.means.shape) * torch.finfo(torch.float64).eps * lengths
        return distances.where(distances > torch.maximum(rounding.unsqueeze(1), rounding).square(), 0.0)

    @property
    def within_covariance(self) -> Tensor:
        """Sigma_W = (1/N) sum over samples of (h - mean of its class)(...)^T, (d, d)."""
        return self.scatter / self.num_samples

    @property
    def within_trace(self) -> float:
        """tr(Sigma_W), the mean squared distance of a sample from its class mean."""
        return float(self.squares.sum() / self.num_samples)

    def variances_along(self, directions: Tensor) -> Tensor:
        """The pooled within-class variance along each of the unit vectors (r, d), (r,).

        With covariance="span" they must be the leading ones of `between_svd`.
        """
        if self._span is None:
            return ((directions @ self.scatter) * directions).sum(1).clamp(min=0) / self.num_samples
        _, known, squares = self._span
        if not torch.equal(directions, known[: len(directions)]):
            raise ValueError("these statistics know the variance along the span of the class means only")
        return squares[: len(directions)] / self.num_samples

    def update(self, features: Any, labels: Any) -> Self:
        """Add a batch: features of any float type (B, d) on any device, labels integer (B,) in 0..K-1."""
        self._refuse_span("updated")
        features, labels = check_features(features, labels, num_classes=self.num_classes)
        if features.shape[1] != self.num_features:
            raise ValueError(f"features have {features.shape[1]} columns; these statistics are of {self.num_features}")
        return self._add(row_blocks(features), labels)

    def merge(self, other: "ClassStatistics") -> Self:
        """Add what another object has seen; the result is as if this one had seen it all."""
        if self.means.shape != other.means.shape or self.covariance != other.covariance:
            raise ValueError(f"{self!r} do not merge with {other!r}")
        return self._absorb(other.state_dict())

    def without_empty_classes(self) -> "ClassStatistics":
        """The statistics of the classes that were seen, renumbered in order."""
        self._refuse_span("renumbered")
        seen = self.counts > 0
        if not seen.any():
            raise ValueError("no class was seen, so there is nothing to keep")
        result = ClassStatistics(
            self.num_features, int(seen.sum()), covariance=self.covariance, device=self.counts.device
        )
        state = self.state_dict()
        return result._absorb(state | {name: state[name][seen] for name in ("counts", "means", "squares")})

    def load_state_dict(self, state: dict[str, Tensor]) -> Self:
        """Become what `state_dict` came from; the shapes must agree."""
        fresh = ClassStatistics(
            self.num_features, self.num_classes, covariance=self.covariance, device=self.counts.device
        )
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
        """Write the state as a safetensors file with a digest, atomically."""
        save_tensors(Path(path), self.state_dict(), {"kind": "class statistics"})

    @classmethod
    def load(cls, path: str | Path, *, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote; ValueError if it is something else, or has changed."""
        state, metadata = load_tensors(Path(path))
        if metadata.get("kind") != "class statistics":
            raise ValueError(f"{path} does not hold class statistics but {metadata.get('kind', 'something else')}")
        classes, features = state["means"].shape
        kind: Covariance = "full" if "scatter" in state else "diagonal"
        return cls(features, classes, covariance=kind, device=device).load_state_dict(state)

    def all_reduce(self, group: Any = None) -> Self:
        """Merge the statistics of all processes of a torch.distributed group; every one has the result.

        Each process must have been given the same number of features and classes. Nothing is gathered:
        sums of K x d and d x d numbers travel, once each.
        """
        from torch import distributed

        def summed(tensor: Tensor) -> Tensor:
            distributed.all_reduce(tensor, group=group)
            return tensor

        state = self.state_dict()
        counts = summed(state["counts"].clone())
        share = state["counts"].double() / counts.clamp(min=1)
        result = ClassStatistics(*self.means.shape[::-1], covariance=self.covariance, device=counts.device)
        result._origin = summed(share.unsqueeze(1) * state["means"])  # the same on all, so that sums add up
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
