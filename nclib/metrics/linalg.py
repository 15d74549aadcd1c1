"""The linear algebra behind the class statistics, in float64, each product computed the cheaper way."""

from collections.abc import Iterator

import torch
from torch import Tensor

_PANEL = 96  # rows of a covariance computed at once
_HELD = 2**20  # products held at once: 8 MB
_WELL_POSED = 1e-6  # the smallest ratio of eigenvalues, or of squared pivots, at which a factorisation is trusted
ALL = slice(None)
TOGETHER = 2048  # classes up to which all pairs are held at once


def add_gram(gram: Tensor, rows: Tensor, sign: int = 1) -> None:
    """gram (d, d) += sign * rows^T rows, float64, the lower triangle only: a little over half the work.

    It works in panels of 96 rows. Powers of two are slower, because their rows share cache lines.
    """
    for start in range(0, len(gram), _PANEL):
        end = start + _PANEL
        gram[start:end, :end].addmm_(rows[:, start:end].T, rows[:, :end], alpha=sign)


def differences_product(a: Tensor, b: Tensor, rows: slice = ALL, columns: slice = ALL) -> Tensor:
    """(a_i - a_j) . (b_i - b_j) for i in `rows` and j in `columns`; a and b are (K, d), and a b^T is symmetric.

    It uses matrix products, or the differences themselves where products would lose digits. Results are at least 0.
    """
    own, products = [(a[some] * b[some]).sum(1) for some in (rows, columns)], a[rows] @ b[columns].T
    scale = own[0].unsqueeze(1) + own[1]
    other = products if a is b else products.T if rows == columns else b[rows] @ a[columns].T
    result = scale - products - other
    close = result <= 1e-4 * scale
    for i, j in (pair.T for pair in close.nonzero().split(1024)):
        result[i, j] = ((a[rows][i] - a[columns][j]) * (b[rows][i] - b[columns][j])).sum(1)
    return result.clamp_(min=0)


def svd_of_centred(means: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values, descending, and right singular vectors of centred means (K, d); at most K - 1 are not 0.

    They come from the eigenvectors of the Gram matrix, K x K or d x d, whichever is smaller. If an eigenvalue that
    could be nonzero is near rounding, they come from an SVD (of the QR triangle if K > d), which is several times
    slower.
    """
    number, width = means.shape
    if number <= width:
        eigenvalues, left = torch.linalg.eigh(means @ means.T)  # ascending; the first is 0, since the means are centred
        if number > 1 and eigenvalues[1] > _WELL_POSED * eigenvalues[-1]:
            values = eigenvalues[1:].flip(0).sqrt()
            return values, left[:, 1:].flip(1).T @ means / values.unsqueeze(1)
        _, values, directions = torch.linalg.svd(means, full_matrices=False)
        return values, directions.contiguous()
    eigenvalues, right = torch.linalg.eigh(means.T @ means)
    if eigenvalues[0] > _WELL_POSED * eigenvalues[-1]:
        return eigenvalues.flip(0).sqrt(), right.flip(1).T.contiguous()
    _, values, directions = torch.linalg.svd(torch.linalg.qr(means, mode="r").R)
    return values, directions.contiguous()


def row_slices(number: int, width: int) -> list[slice]:
    """Slices of the rows of a matrix, each small enough to hold in memory."""
    size = max(1, _HELD // width)
    return [slice(start, start + size) for start in range(0, number, size)]


def panels(rows: Tensor, columns: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The products rows columns^T (K, L), a few rows at a time to save memory, each with its first row's number."""
    for some in row_slices(len(rows), len(columns)):
        yield some.start, rows[some] @ columns.T


def length_of_products(rows: Tensor, columns: Tensor) -> float:
    """The Frobenius norm of rows columns^T, for (K, d) and (L, d)."""
    if rows.shape[1] < len(rows):
        squared = ((rows.T @ rows) * (columns.T @ columns)).sum()
    else:
        squared = torch.stack([panel.square().sum() for _, panel in panels(rows, columns)]).sum()
    return float(squared.clamp(min=0).sqrt())


def explained(total: Tensor, means: Tensor, rtol: float) -> float:
    """tr(total^+ means^T means), by a Cholesky factor if `total` (d, d) has full rank, else by eigenvectors."""
    factor, failed = torch.linalg.cholesky_ex(total)
    pivots = factor.diagonal().square()
    if not failed and pivots.min() > _WELL_POSED * pivots.max():
        return float(torch.linalg.solve_triangular(factor, means.T, upper=False).square().sum())
    values, vectors = torch.linalg.eigh(total)
    kept = values > rtol * values[-1]
    return float(((means @ vectors[:, kept]).square() / values[kept]).sum())
