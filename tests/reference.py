"""Every metric as its definition says, in plain float64 NumPy, with loops and d x d pseudo-inverses."""

from itertools import permutations

import numpy as np


def written_out(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """All metrics of features (N, d) and labels (N,) in 0..K-1, none of them empty."""
    features = features.astype(np.float64)
    classes = range(labels.max() + 1)
    counts = np.bincount(labels)
    means = np.stack([features[labels == k].mean(0) for k in classes])
    centred, within = means - features.mean(0), features - means[labels]
    sigma_w, sigma_b = within.T @ within / len(features), centred.T @ centred / len(means)
    covariances = [within[labels == k].T @ within[labels == k] / counts[k] for k in classes]
    spread = [np.trace(covariance) for covariance in covariances]
    inverse = np.linalg.pinv(centred, rcond=1e-8)  # (d, K); Sigma_B^+ is K times this by its transpose
    gram, etf = centred @ centred.T, np.eye(len(means)) - 1 / len(means)
    lengths = np.linalg.norm(centred, axis=1)
    cosines = gram / np.outer(lengths, lengths)
    pairs = list(permutations(classes, 2))
    squared = {(i, j): ((means[i] - means[j]) ** 2).sum() for i, j in pairs}
    axes = {(i, j): (means[j] - means[i]) / squared[i, j] ** 0.5 for i, j in pairs}
    basis, total, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    basis = basis[:, total > 1e-10 * total[0]]
    return {
        "nc1": np.trace(inverse.T @ sigma_w @ inverse),
        "nc1_ratio": np.trace(sigma_w) / np.trace(sigma_b),
        "cdnv": np.mean([(spread[i] + spread[j]) / (2 * squared[i, j]) for i, j in pairs]),
        # tr(Sigma_T^+ Sigma_B) is what a least-squares fit of the features explains of the class indicators.
        "vci": 1
        - np.sum((basis.T @ (np.eye(len(means)) / counts**0.5)[labels]) ** 2)
        / np.linalg.matrix_rank(centred, tol=1e-5 * np.linalg.norm(centred)),
        "directional_cdnv": np.mean([axes[i, j] @ covariances[i] @ axes[i, j] / squared[i, j] for i, j in pairs]),
        "directional_cdnv_pooled": np.mean([axes[i, j] @ sigma_w @ axes[i, j] / squared[i, j] for i, j in pairs]),
        "overlap": np.mean([bhattacharyya(squared[i, j], spread[i], spread[j], features.shape[1]) for i, j in pairs]),
        "stable_rank": (total**2).sum() / total[0] ** 2,
        "effective_rank": np.exp(-sum(s * np.log(s) for s in total / total.sum() if s > 1e-12)),
        "nc2": np.linalg.norm(gram / np.linalg.norm(gram) - etf / np.linalg.norm(etf)),
        "nc2_equinorm": lengths.std() / lengths.mean(),
        "nc2_equiangularity": np.mean([abs(cosines[i, j] + 1 / (len(means) - 1)) for i, j in pairs]),
    }


def bhattacharyya(squared: float, a: float, b: float, dim: int) -> float:
    """exp(-D_B) of two spherical Gaussians of total variances a and b, at a squared distance, in `dim` dimensions."""
    if a + b == 0 or a * b == 0:
        return 0.0
    middle = (a + b) / 2
    return np.exp(-squared * dim / (8 * middle) - dim / 2 * np.log(middle / np.sqrt(a * b)))
