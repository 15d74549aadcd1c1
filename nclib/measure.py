"""All collapse metrics at once, as a table."""

from collections.abc import Iterable
from typing import Any, Literal

from nclib.checks import as_array, as_tensor
from nclib.measurement import Measurement, measured
from nclib.registry import METRICS
from nclib.statistics import ClassStatistics


def measure(
    features: Any,
    labels: Any = None,
    weight: Any = None,
    bias: Any = None,
    *,
    metrics: Iterable[str] | Literal["all"] | None = None,
    num_classes: int | None = None,
    progress: bool = False,
) -> Measurement:
    """Every collapse metric of features (N, d) with labels (N,), and of a classifier if one is given.

    Parameters
    ----------
    features, labels
        Float (N, d) and integer (N,): tensors, arrays, or a memory map larger than memory. Or
        `ClassStatistics` alone, for what follows from those.
    weight, bias
        Of the linear classifier on the features: (K, d) and (K,). NC3, NC4 and NC2 of the weight need them.
    metrics
        Names from `nclib.METRICS`; only what they need is computed. None is every metric that the arguments
        allow but for those marked `on_request`, which take a d x d matrix or another pass over the features
        (vci, directional CDNV, the ranks); "all" has those too.
    num_classes
        K, if the last classes may have no samples; the rows of the weight unless given. Classes without
        samples are left out, and noted.
    progress
        Show a progress bar if the pass over the features takes more than a second.

    Examples
    --------
    >>> import torch
    >>> from nclib import measure
    >>> features = torch.tensor([[1.0, 0.5], [1.0, -0.5], [-1.0, 0.5], [-1.0, -0.5]])
    >>> print(measure(features, [0, 0, 1, 1], metrics=["nc1_ratio", "cdnv", "nc2"]))
    4 samples, 2 classes, 2 features
    nc1_ratio    0.25  [0, ∞), lower is more collapsed
    cdnv       0.0625  [0, ∞], lower is more collapsed
    nc2             0  [0, √2], lower is more collapsed
    """
    classifier = {"weight": weight, "bias": bias}
    if num_classes is None and weight is not None and not isinstance(features, ClassStatistics):
        num_classes = _classes_of(weight, features, labels)
    return measured(METRICS, metrics, features, labels, classifier, num_classes=num_classes, progress=progress)


def _classes_of(weight: Any, features: Any, labels: Any) -> int | None:
    """The rows of a weight that goes with the features, or as many as the labels need."""
    if labels is None:
        return None
    weight, labels = as_tensor(weight), as_tensor(labels)
    if not labels.numel() or weight.shape[1:] != as_array(features).shape[1:]:
        return None
    return max(len(weight), int(labels.max()) + 1)
