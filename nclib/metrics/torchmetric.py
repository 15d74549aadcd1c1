"""Neural collapse as a torchmetrics metric, for training loops; needs nclib's extra ``torchmetrics``."""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from nclib.devices import double_device
from nclib.metrics.measurement import chosen, measure
from nclib.metrics.registry import METRICS
from nclib.metrics.statistics import ClassStatistics, Covariance


class NeuralCollapse(Metric):
    """Collapse metrics of the features given to `update`, over all processes once `compute` is called.

    `compute` gives a dictionary of float64 scalars, as Lightning's `log_dict` takes it. Classes without
    samples are left out; ValueError if fewer than two are left. What is kept is the class statistics, so memory does
    not grow with the number of samples.

    Parameters
    ----------
    num_features, num_classes
        d and K.
    metrics
        Names from `nclib.METRICS`, among those that follow from class statistics; None is all but those
        marked `on_request`.
    covariance
        "diagonal" for features so wide that a d x d matrix is too much: no NC1 then.

    Examples
    --------
    >>> metric = NeuralCollapse(num_features=2, num_classes=2, metrics=["cdnv"])
    >>> metric.update(torch.tensor([[1.0, 0.5], [1.0, -0.5]]), torch.tensor([0, 0]))
    >>> metric.update(torch.tensor([[-1.0, 0.5], [-1.0, -0.5]]), torch.tensor([1, 1]))
    >>> metric.compute()
    {'cdnv': tensor(0.0625, dtype=torch.float64)}
    """

    full_state_update = True  # parts are merged, which torchmetrics cannot do state by state
    is_differentiable = False

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        metrics: Iterable[str] | Literal["all"] | None = None,
        covariance: Covariance = "full",
        **options: Any,
    ):
        super().__init__(**options)
        self.metrics = None if metrics is None else chosen(metrics, {})
        for name in self.metrics or ():
            if covariance == "diagonal" and METRICS[name].covariance != "diagonal":
                raise ValueError(f"{name} needs covariance='full'")
        empty = ClassStatistics(num_features, num_classes, covariance=covariance)
        for name, tensor in empty.accumulators().items():
            self.add_state(name, default=tensor, dist_reduce_fx=None)
        self._names = tuple(self._defaults)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch: features (B, d) of any float type, labels integer (B,)."""
        state = self._state()
        stats = ClassStatistics.from_accumulators(state).update(features, labels)
        state["precision"].fill_(stats.precision)

    def compute(self) -> dict[str, Tensor]:
        """The metrics by name."""
        table = measure(self.statistics, metrics=self.metrics)
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in table.items()}

    @property
    def statistics(self) -> ClassStatistics:
        """The statistics of what this process has seen, or all of them have within `metric.sync_context()`."""
        state = self._state()
        if state["counts"].ndim == 1:
            state = {name: tensor.unsqueeze(0) for name, tensor in state.items()}
        parts = [
            ClassStatistics.from_accumulators({name: tensor[part].clone() for name, tensor in state.items()})
            for part in range(len(state["counts"]))
        ]
        return reduce(ClassStatistics.merge, parts)

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> "NeuralCollapse":
        """Follow a module to its device, or the CPU if that has no float64, but not to its type: sums need float64."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(double_device(fn(tensor.new_zeros(0, dtype=torch.float32)).device))

        super()._apply(moved, *args, **kwargs)
        return self

    def _state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self._names}
