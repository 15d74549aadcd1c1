"""The bound on collapse by geometric complexity: CDNV with complexities as variances, and the Poincare constant."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.metrics.calls import with_cure
from nclib.metrics.pairs import cdnv_tile, mean_over_pairs
from nclib.metrics.samples import check_features
from nclib.metrics.statistics import ClassStatistics
from nclib.metrics.variability import checked_means
from nclib.storage import digest_of, load_tensors, save_tensors


@with_cure
def geometric_collapse(stats: ClassStatistics, complexities: Any) -> float:
    """CDNV with the geometric complexity of each class instead of its variance.

    The mean over ordered pairs of (GC_i + GC_j) / (2 ||mu_i - mu_j||^2), from the complexities (K,) of the classes, see
    `Complexity.by_class`. Range [0, inf]; lower is flatter, relative to the distances between class means. If the
    inputs of every class have a Poincare constant of at most c, then V_k <= c GC_k and cdnv <= c times this.

    Ours, after Munn et al. 2024 (arXiv 2405.15706), whose formula we do not know.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics(torch.tensor([[0.0], [0.0], [2.0], [2.0]]), [0, 0, 1, 1])
    >>> geometric_collapse(stats, [1.0, 3.0])  # (1 + 3) / (2 * 4)
    0.5
    """
    checked_means(stats)
    complexities = as_tensor(complexities).double().to(stats.means.device)
    if complexities.shape != (stats.num_classes,) or not (complexities >= 0).all():
        raise ValueError(
            f"complexities are {complexities.tolist()}; they must be {stats.num_classes} numbers, one per class, at "
            "least 0"
        )
    return mean_over_pairs(stats, partial(cdnv_tile, complexities))


def poincare_constant(inputs: Any, labels: Any, *, cache: Path | str | None = None) -> float:
    """An estimate of the c in V_k <= c GC_k: the largest variance of any class of inputs along any direction.

    `inputs` are (N, ...), labels (N,). Linear functions need a c as large as this. It is large enough for all functions
    if the inputs of a class are Gaussian; for other distributions the constant can be larger. Range [0, inf), in
    squared units of the input; 0 if all inputs of a class are the same, in every class. With a folder `cache` it is
    computed once for the same inputs and labels. Ours.

    Raises ValueError if shapes do not fit or an input is NaN or infinite, and TypeError if inputs are not floats.

    Examples
    --------
    >>> round(poincare_constant(torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]]), [0, 0, 1]), 6)
    1.0
    """
    given = as_tensor(inputs)
    if given.ndim < 2 or not given.numel():
        cure = "; inputs.reshape(-1, 1) is (N, 1)" if given.ndim == 1 and given.numel() else ""
        raise ValueError(f"inputs are {tuple(given.shape)}; they must be (N, ...), with at least one number each{cure}")
    rows, labels = check_features(given.flatten(1), labels)
    if cache is None:
        return _constant(rows, labels)
    path = Path(cache) / "poincare" / f"{digest_of({'inputs': rows, 'labels': labels})}.safetensors"
    if not path.exists():
        save_tensors(path, {"constant": torch.tensor(_constant(rows, labels), dtype=torch.float64)}, {})
    return float(load_tensors(path)[0]["constant"])


def _constant(rows: Tensor, labels: Tensor) -> float:
    return max(_largest_variance(rows[labels == label].double()) for label in labels.unique())


def _largest_variance(rows: Tensor) -> float:
    """The largest variance of rows along any direction, from the smaller Gram matrix, which beats a full SVD."""
    centred = rows - rows.mean(0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    return max(0.0, float(torch.linalg.eigvalsh(gram)[-1])) / len(rows)
