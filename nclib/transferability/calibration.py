"""How likely each model of a ranking is to be the best after fine-tuning, estimated from its FaCe.

FaCe is the sum of two scores, each scaled to [0, 1] over the models of a ranking, so its size depends on the models. A
softmax turns it into probabilities. The two parameters of the softmax were fitted to the zoos of chapter 6 of the book,
which shows how well they do on zoos that were not used for the fit.
"""

import numpy as np
from numpy.typing import ArrayLike

SCALE, POWER = 0.41, 1.1  # what chapter 6 finds over all its zoos; a test holds them against the records
FITTED = (3, 11)  # the least and the largest number of models that they were fitted for


def likely_best(face: ArrayLike, scale: float = SCALE, power: float = POWER) -> np.ndarray:
    """The probability that each of m models is the best after fine-tuning, float64 (..., m), range [0, 1].

    It is the softmax of ``scale * m**power * face``. It was fitted to rankings of 3 to 11 small networks, fine-tuned on
    small images and pixels. With more models it is a guess, and if they differ less, the probabilities are too extreme.
    It does not account for the number of images; `Certainty` does.

    Parameters
    ----------
    face
        FaCe of the m models of one ranking (..., m); higher is better, range [0, 2].
    scale, power
        How strongly FaCe decides, and how this strength grows with the number of models.

    Raises
    ------
    ValueError
        If a FaCe is NaN or infinite.

    Examples
    --------
    >>> likely_best([2.0, 1.2, 0.1]).round(2).tolist()
    [0.71, 0.24, 0.05]
    """
    from scipy.special import softmax

    face = np.asarray(face, dtype=float)
    if not np.isfinite(face).all():
        wrong = face[~np.isfinite(face)].flat[0]
        raise ValueError(f"face holds {wrong}; FaCe must be finite for every model: leave out models that have none")
    return softmax(scale * face.shape[-1] ** power * face, axis=-1)
