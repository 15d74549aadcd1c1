"""Features around class means, that the tests of the probes share."""

import numpy as np


def clusters(samples=400, width=10, classes=5, seed=0, length=1.0):
    """Float32 features around class means, and labels; every class has samples."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, samples - classes)])
    means = length * rng.normal(size=(classes, width))
    return (5 + means[labels] + rng.normal(size=(samples, width))).astype(np.float32), labels
