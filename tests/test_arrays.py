"""Of whatever library arrays are, and of whatever precision, the numbers are those of numpy's float64."""

import array_api_strict
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import nclib
from tests.clusters import clusters

# Quarters are exact in every precision.
FEATURES, LABELS = clusters(samples=60, width=6, classes=3)
FEATURES = np.round(4 * FEATURES) / 4


def columns(values):
    """A table's names and values, one column for each feature, or one for labels."""
    return {f"f{i}": column for i, column in enumerate(np.atleast_2d(values.T))}


ARRAYS = {
    "the array API": array_api_strict.asarray,
    "numpy, half": lambda values: values.astype(np.float16) if values.dtype.kind == "f" else values.astype(np.int8),
    "numpy, read-only": lambda values: np.frombuffer(values.tobytes(), values.dtype).reshape(values.shape),
    "numpy, reversed": lambda values: values[::-1].copy()[::-1],
    "lists": np.ndarray.tolist,
    "torch": torch.from_numpy,
    "torch, bfloat16": lambda values: torch.from_numpy(values).to(
        torch.bfloat16 if values.dtype.kind == "f" else torch.int16
    ),
    "torch, with a gradient": lambda values: torch.tensor(values, requires_grad=values.dtype.kind == "f"),
    "pandas": lambda values: pd.DataFrame(columns(values)) if values.ndim == 2 else pd.Series(values),
    "Arrow": lambda values: pa.table(columns(values)) if values.ndim == 2 else pa.array(values),
}


def metrics(features, labels):
    return dict(nclib.measure(features, labels, metrics="all", weight=np.eye(3, 6)))


def scores(features, labels):
    return dict(nclib.score(features, labels))


def statistics(features, labels):
    stats = nclib.class_statistics(features, labels)
    return {"means": stats.means, "within": stats.within_trace, "nc5": nclib.nc5(stats, features)}


def representations(features, labels):
    ranks = {name: values.tolist() for name, values in nclib.class_ranks(features, labels).items()}
    return ranks | {"cka": nclib.cka(features, features), "alpha": nclib.alpha_req(features)}


def probes(features, labels):
    found = {}
    for probe in (nclib.LinearProbe(), nclib.RidgeProbe(), nclib.NearestClassMean()):
        predicted = probe.fit(features, labels).predict(features)
        found[type(probe).__name__] = np.asarray(torch.as_tensor(predicted)).tolist()
    return found


def episodes(features, labels):
    return nclib.few_shot(features, labels, ways=2, shots=2, queries=4, episodes=5, seed=0)


@pytest.mark.parametrize("given", ARRAYS)
@pytest.mark.parametrize(
    "of", [metrics, scores, statistics, representations, probes, episodes], ids=lambda of: of.__name__
)
def test_arrays_of_every_library_give_the_same(of, given):
    make = ARRAYS[given]
    found, expected = of(make(FEATURES), make(LABELS)), of(FEATURES, LABELS)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)
    else:
        assert str(found) == str(expected)
