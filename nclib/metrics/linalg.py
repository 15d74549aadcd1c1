"""Matrix products that the class statistics are made of, in float64, each the cheaper way."""

import torch
from torch import Tensor

_PANEL = 96  # rows of a covariance computed at once


def add_gram(gram: Tensor, rows: Tensor, sign: int = 1) -> None:
    """gram (d, d) += sign * rows^T rows, float64, the lower triangle only: a little over half the work.

    By panels of 96 rows; widths that are powers of two are slower, for they fall on the same cache lines.
    """
    for start in range(0, len(gram), _PANEL):
        end = start + _PANEL
        gram[start:end, :end].addmm_(rows[:, start:end].T, rows[:, :end], alpha=sign)


def differences_product(a: Tensor, b: Tensor) -> Tensor:
    """(a_i - a_j) . (b_i - b_j) of every pair of rows, for (K, d) with a symmetric result that is not negative, (K, K).

    By one matrix product, and by the differences themselves where that would lose digits.
    """
    products = a @ b.T
    scale = products.diagonal().unsqueeze(1) + products.diagonal()
    result = scale - products - products.T
    close = result <= 1e-4 * scale
    for i, j in (pair.T for pair in close.nonzero().split(1024)):
        result[i, j] = ((a[i] - a[j]) * (b[i] - b[j])).sum(1)
    return result.clamp(min=0)


def svd_of_centred(means: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values, descending, and right singular vectors of centred means (K, d): at most K - 1 are not 0.

    By eigenvectors of the K x K products where all K - 1 are well above rounding, which is several times faster.
    """
    eigenvalues, left = torch.linalg.eigh(means @ means.T)  # ascending; the first is 0, for the means are centred
    if len(means) > 1 and eigenvalues[1] > 1e-6 * eigenvalues[-1]:
        values = eigenvalues[1:].flip(0).sqrt()
        return values, left[:, 1:].flip(1).T @ means / values.unsqueeze(1)
    _, values, directions = torch.linalg.svd(means, full_matrices=False)
    return values, directions.contiguous()


def explained(total: Tensor, means: Tensor, rtol: float) -> float:
    """tr(total^+ means^T means): by Cholesky factors if `total` (d, d) has full rank, else by eigenvectors."""
    factor, failed = torch.linalg.cholesky_ex(total)
    pivots = factor.diagonal().square()
    if not failed and pivots.min() > 1e-6 * pivots.max():
        return float(torch.linalg.solve_triangular(factor, means.T, upper=False).square().sum())
    values, vectors = torch.linalg.eigh(total)
    kept = values > rtol * values[-1]
    return float(((means @ vectors[:, kept]).square() / values[kept]).sum())
