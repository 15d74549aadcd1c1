"""The plain formulas: Sigma_W by one matrix product, a d x d pseudo-inverse, all K x K distances, in NumPy."""

import numpy as np


def plain(features: np.ndarray, labels: np.ndarray, dtype: type = np.float64) -> tuple[float, float, float]:
    """NC1, trace ratio and CDNV of features (N, d) and labels (N,), as their definitions read."""
    features = features.astype(dtype, copy=False)
    counts = np.bincount(labels)
    means = np.stack([features[labels == k].mean(0) for k in range(len(counts))])
    within, centred = features - means[labels], means - features.mean(0)
    sigma_w, sigma_b = within.T @ within / len(features), centred.T @ centred / len(means)
    nc1 = np.trace(sigma_w @ np.linalg.pinv(sigma_b)) / len(means)
    spread = np.bincount(labels, (within**2).sum(1)) / counts
    return nc1, np.trace(sigma_w) / np.trace(sigma_b), mean_cdnv(means, spread)


def mean_cdnv(means: np.ndarray, spread: np.ndarray) -> float:
    """The mean of (V_i + V_j) / (2 ||mu_i - mu_j||^2), the distances by one matrix product."""
    norms = (means**2).sum(1)
    distances = norms[:, None] + norms - 2 * means @ means.T
    i, j = np.triu_indices(len(means), 1)
    return ((spread[i] + spread[j]) / 2 / distances[i, j]).mean()
