"""Every metric as its definition says, in plain float64 NumPy, with loops and d x d pseudo-inverses."""

from itertools import permutations

import numpy as np


def written_out(
    features: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None, bias: np.ndarray | None = None
) -> dict[str, float]:
    """All metrics of features (N, d) and labels (N,) in 0..K-1, none of them empty, and of a classifier if given."""
    features = features.astype(np.float64)
    classes = range(labels.max() + 1)
    counts = np.bincount(labels)
    means = np.stack([features[labels == k].mean(0) for k in classes])
    centred, within = means - features.mean(0), features - means[labels]
    sigma_w, sigma_b = within.T @ within / len(features), centred.T @ centred / len(means)
    covariances = [within[labels == k].T @ within[labels == k] / counts[k] for k in classes]
    spread = [np.trace(covariance) for covariance in covariances]
    inverse = np.linalg.pinv(centred, rcond=1e-8)  # (d, K); Sigma_B^+ is K times this by its transpose
    etf = np.eye(len(means)) - 1 / len(means)
    pairs = list(permutations(classes, 2))
    squared = {(i, j): ((means[i] - means[j]) ** 2).sum() for i, j in pairs}
    axes = {(i, j): (means[j] - means[i]) / squared[i, j] ** 0.5 for i, j in pairs}
    basis, total, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    basis = basis[:, total > 1e-10 * total[0]]
    spectra = [np.linalg.svd(within[labels == k], compute_uv=False) for k in classes]
    spectra = [s[s > 1e-7 * s[0]] for s in spectra if s[0] > 0]  # of one sample there is none, and its ranks are 0
    found = {
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
        "class_stable_rank": sum((s**2).sum() / s[0] ** 2 for s in spectra) / len(means),
        "class_numerical_rank": sum(s.sum() ** 2 / (s**2).sum() for s in spectra) / len(means),
        "class_effective_rank": sum(np.exp(-(s / s.sum() * np.log(s / s.sum())).sum()) for s in spectra) / len(means),
        **simplex(centred, "nc2"),
        **repulsion(centred),
    }
    if weight is None:
        return found
    products, offsets = weight @ centred.T, 0 if bias is None else bias
    nearest = [np.argmin(((row - means) ** 2).sum(1)) for row in features]
    cosines = (unit(weight) * unit(centred)).sum(1)
    return found | {
        **simplex(weight, "nc2_weight"),
        "unc3": cosines.std() / abs(cosines.mean()),
        "nc3": np.linalg.norm(products / np.linalg.norm(products) - etf / np.linalg.norm(etf)),
        "nc4": np.mean([np.argmax(weight @ row + offsets) == k for row, k in zip(features, nearest, strict=True)]),
    }


def simplex(vectors: np.ndarray, name: str) -> dict[str, float]:
    """NC2 of vectors (K, d), and its two halves."""
    gram, etf = vectors @ vectors.T, np.eye(len(vectors)) - 1 / len(vectors)
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = gram / np.outer(lengths, lengths)
    gaps = [abs(cosines[i, j] + 1 / (len(vectors) - 1)) for i, j in permutations(range(len(vectors)), 2)]
    return {
        name: np.linalg.norm(gram / np.linalg.norm(gram) - etf / np.linalg.norm(etf)),
        f"{name}_equinorm": lengths.std() / lengths.mean(),
        f"{name}_equiangularity": np.mean(gaps),
    }


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def repulsion(vectors: np.ndarray) -> dict[str, float]:
    """GNC2 of vectors (K, d), and the energy that it is about."""
    units = unit(vectors)
    logs = [-np.log(np.linalg.norm(units[i] - units[j])) for i, j in permutations(range(len(units)), 2)]
    return {"gnc2": np.std(logs) / abs(np.mean(logs)), "gnc2_energy": np.mean(logs)}


def bhattacharyya(squared: float, a: float, b: float, dim: int) -> float:
    """exp(-D_B) of two spherical Gaussians of total variances a and b, at a squared distance, in `dim` dimensions."""
    if a + b == 0 or a * b == 0:
        return 0.0
    middle = (a + b) / 2
    return np.exp(-squared * dim / (8 * middle) - dim / 2 * np.log(middle / np.sqrt(a * b)))
