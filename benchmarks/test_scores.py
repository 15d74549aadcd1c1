"""What scores of transferability cost beside LogME as its public code computes it."""

import numpy as np
import pytest

from benchmarks.cases import Size, sample
from nclib import SCORES, ClassStatistics, class_statistics, logme, score

SIZE = Size(50_000, 2_048, 100)
GROUP = "N=50,000 d=2,048 K=100, scores"
ON_STATISTICS = [name for name, entry in SCORES.items() if entry.inputs == ("stats",)]


@pytest.fixture(scope="module")
def given():
    features, labels = sample(SIZE)
    return features, labels


def plain_logme(features, labels):
    """The fixed point with the left singular vectors (N, d) of all features, one class after the other."""
    rows = features.double().numpy()
    _, values, right = np.linalg.svd(rows.T @ rows)
    squares = values[values > 1e-10 * values[0]]
    left = (rows @ right.T)[:, : len(squares)] / np.sqrt(squares)
    found = []
    for k in range(int(labels.max()) + 1):
        target = (labels == k).double().numpy()
        fitted = (left.T @ target) ** 2
        rest = target @ target - fitted.sum()
        prior = noise = 1.0
        for _ in range(100):
            ratio = prior / noise
            effective = (squares / (squares + ratio)).sum()
            length = (squares * fitted / (squares + ratio) ** 2).sum()
            error = (fitted / (1 + squares / ratio) ** 2).sum() + rest
            prior, noise = effective / length, (len(rows) - effective) / error
            if abs(prior / noise / ratio - 1) < 1e-9:
                break
        logs = rows.shape[1] * np.log(prior) + len(rows) * np.log(noise) - np.log(prior + noise * squares).sum()
        found.append((logs - noise * error - prior * length - len(rows) * np.log(2 * np.pi)) / 2 / len(rows))
    return np.mean(found)


def timed(benchmark, function, *arguments, **options):
    benchmark.group = GROUP
    return benchmark.pedantic(function, arguments, options, rounds=2, warmup_rounds=0)


def test_public_logme(benchmark, given):
    value = timed(benchmark, plain_logme, *given)
    assert logme(class_statistics(*given)) == pytest.approx(value, abs=1e-6)


def test_transformer_ranker_logme(benchmark, given):
    peer = pytest.importorskip("transformer_ranker.estimators")
    value = timed(benchmark, lambda: peer.LogME().fit(*given, max_iter=100, tol=1e-9))
    assert value == pytest.approx(logme(class_statistics(*given)), abs=1e-3)


def test_all_from_features(benchmark, given):
    timed(benchmark, score, *given, scores=ON_STATISTICS)


def test_all_from_statistics(benchmark, given):
    parts = class_statistics(*given).accumulators()  # of which nothing is computed yet, in any round
    timed(benchmark, lambda: score(ClassStatistics.from_accumulators(parts), scores=ON_STATISTICS))
