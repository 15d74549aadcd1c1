"""Neural collapse as a torchmetrics metric, for training loops; needs nclib's extra ``torchmetrics``."""

import math
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nclib.devices import double_device
from nclib.extras import optional
from nclib.labels import Names
from nclib.metrics.measurement import chosen, measure
from nclib.metrics.registry import METRICS
from nclib.metrics.statistics import ClassStatistics, Covariance

with optional("torchmetrics"):
    from torchmetrics import Metric


class _Head:
    """Holds a model's classifier: a copied metric keeps it, or takes its copy if the model was copied with it."""

    def __init__(self, layer: nn.Linear):
        self.layer = layer

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Head":
        return _Head(memo.get(id(self.layer), self.layer))


class NeuralCollapse(Metric):
    """Collapse metrics of the features given to `update`; `compute` covers all processes.

    `compute` returns a dictionary of float64 scalars, ready for Lightning's `log_dict`. Classes without samples are
    left out; ValueError if fewer than two remain. It keeps only class statistics, so memory does not grow with the
    number of samples. Called with a batch, it adds the batch and returns the metrics of that batch alone, NaN where
    they are not defined.

    Parameters
    ----------
    num_features, num_classes
        d and K; K may be left out if the classes have names.
    classes
        The names of the K classes, in order; labels may then be texts.
    metrics
        Names from `nclib.METRICS` that class statistics suffice for; None is all of those but the ones marked
        `on_request`.
    covariance
        "full", or "diagonal" for features so wide that a d x d matrix is too large; "diagonal" has no NC1.
    classifier
        The linear layer on the features, for NC3 and the NC2 of the weight, which use its weight at the time of
        `compute`. It still belongs to the model: the metric neither moves nor saves it.

    Examples
    --------
    >>> metric = NeuralCollapse(num_features=2, num_classes=2, metrics=["cdnv"])
    >>> metric.update(torch.tensor([[1.0, 0.5], [1.0, -0.5]]), torch.tensor([0, 0]))
    >>> metric.update(torch.tensor([[-1.0, 0.5], [-1.0, -0.5]]), torch.tensor([1, 1]))
    >>> metric.compute()
    {'cdnv': tensor(0.0625, dtype=torch.float64)}
    """

    full_state_update = True  # statistics merge as a whole, which torchmetrics cannot do state by state
    is_differentiable = False

    def __init__(
        self,
        num_features: int,
        num_classes: int | None = None,
        *,
        classes: Names = None,
        metrics: Iterable[str] | Literal["all"] | None = None,
        covariance: Covariance = "full",
        classifier: nn.Linear | None = None,
        **options: Any,
    ):
        super().__init__(**{"compute_with_cache": classifier is None, **options})  # its weight may have changed
        empty = ClassStatistics(num_features, num_classes, classes=classes, covariance=covariance)
        self.classes, needed = empty.classes, (empty.num_classes, num_features)
        if classifier is not None and (given := tuple(classifier.weight.shape)) != needed:
            raise ValueError(f"the classifier's weight is {given}; it must be {needed}, classes by features")
        self._head = None if classifier is None else _Head(classifier)
        self.metrics = None if metrics is None else chosen(metrics, {"weight": classifier})
        for name in self.metrics or ():
            if covariance == "diagonal" and METRICS[name].covariance != "diagonal":
                raise ValueError(f"covariance is {covariance!r}; {name} needs covariance='full'")
        for name, tensor in empty.accumulators().items():
            self.add_state(name, default=tensor, dist_reduce_fx=None)
        self._names, self._sizes = tuple(self._defaults), needed[::-1]
        self._covariance: Covariance = covariance

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch: features (B, d) of any float type, labels (B,) integers, or names of the classes."""
        state = self._state()
        stats = ClassStatistics.from_accumulators(state, self.classes).update(features, labels)
        state["precision"].fill_(stats.precision)

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Add a batch, and return the metrics of that batch alone; NaN where undefined, such as for a single class."""
        self.update(features, labels)
        how: Any = {"classes": self.classes, "covariance": self._covariance, "device": self.device}
        batch = ClassStatistics(*self._sizes, **how)
        try:
            found = self._table(batch.update(features, labels))
        except ValueError:
            names = self.metrics or chosen(None, {"weight": self._weight()})
            found = {name: torch.tensor(math.nan, dtype=torch.float64) for name in names}
        self._forward_cache: Any = found
        return found

    def compute(self) -> dict[str, Tensor]:
        """The metrics by name."""
        return self._table(self.statistics)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the current metrics, or a sequence of values that `compute` returned; needs matplotlib."""
        return self._plot(val, ax)

    def _table(self, stats: ClassStatistics) -> dict[str, Tensor]:
        table = measure(stats, weight=self._weight(), metrics=self.metrics)
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in table.items()}

    def _weight(self) -> Tensor | None:
        return None if self._head is None else self._head.layer.weight.detach().to(self.device)

    @property
    def statistics(self) -> ClassStatistics:
        """The statistics of all that this process has seen; within `metric.sync_context()`, of all processes."""
        state = self._state()
        if state["counts"].ndim == 1:
            state = {name: tensor.unsqueeze(0) for name, tensor in state.items()}
        parts = [
            ClassStatistics.from_accumulators({name: each[part].clone() for name, each in state.items()}, self.classes)
            for part in range(len(state["counts"]))
        ]
        return reduce(ClassStatistics.merge, parts)

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> "NeuralCollapse":
        """Move to a module's device, or the CPU if that has no float64; but stay float64, which the sums need."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(double_device(fn(tensor.new_zeros(0, dtype=torch.float32)).device))

        super()._apply(moved, *args, **kwargs)
        return self

    def _state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self._names}
