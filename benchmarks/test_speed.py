"""How long the metrics take, against the plain formulas and the packages that offer some of them.

`make benchmark` runs this and ends with the ratios of the medians. Nothing here is asserted: a time
is no test.
"""

import numpy as np
import pytest
import torch

import nclib
from benchmarks.cases import LARGE, SMALL, THREE, TINY, Size, sample
from benchmarks.plain import plain

FINISHED = Size(20_000, 2_048, 100)
ROUNDS = {SMALL: 31, LARGE: 3, FINISHED: 5, TINY: 101}


@pytest.fixture(scope="module", params=[TINY, SMALL, LARGE], ids=str)
def case(request):
    return request.param, *sample(request.param)


def timed(benchmark, size: Size, call, *arguments, **options):
    benchmark.group = str(size)
    benchmark.pedantic(call, arguments, options, rounds=ROUNDS.get(size, 9), warmup_rounds=1)


def test_plain_float64(benchmark, case):
    size, features, labels = case
    timed(benchmark, size, plain, features.numpy(), labels.numpy())


def test_plain_float32(benchmark, case):
    size, features, labels = case
    timed(benchmark, size, plain, features.numpy(), labels.numpy(), np.float32)


def test_three(benchmark, case):
    size, features, labels = case
    timed(benchmark, size, nclib.measure, features, labels, metrics=THREE)


def test_table(benchmark, case):
    size, features, labels = case
    timed(benchmark, size, nclib.measure, features, labels)


def test_full_statistics(benchmark, case):
    size, features, labels = case
    timed(benchmark, size, nclib.class_statistics, features, labels)


def test_float64_product(benchmark, case):
    """What the peak of the processor allows: the product that class statistics with a full covariance are made of."""
    size, features, _ = case
    doubles = features.double()
    timed(benchmark, size, lambda: doubles.T @ doubles)


def test_classifier(benchmark, case):
    size, features, labels = case
    weight = torch.randn(size.num_classes, size.num_features, generator=torch.Generator().manual_seed(1))
    timed(benchmark, size, nclib.measure, features, labels, weight)


def test_everything(benchmark, case):
    size, features, labels = case
    timed(benchmark, size, nclib.measure, features, labels, metrics="all")


def test_streamed(benchmark, case):
    size, features, labels = case

    def stream():
        batches = zip(features.split(512), labels.split(512), strict=True)
        return nclib.measure(nclib.ClassStatistics.from_batches(batches, size.num_classes), metrics=THREE)

    timed(benchmark, size, stream)


def test_kowalski_cdnv(benchmark, case):
    peer, utils = (pytest.importorskip(f"kowalski.{name}") for name in ("neural_collapse", "utils"))
    size, features, labels = case
    timed(benchmark, size, lambda: peer.class_distance_normalized_variance(utils.to_per_class_list(features, labels)))


def test_cdnv_alone(benchmark, case):
    size, features, labels = case
    timed(benchmark, size, nclib.measure, features, labels, metrics=["cdnv"])


@pytest.fixture(scope="module")
def finished():
    return nclib.class_statistics(*sample(FINISHED))


def test_finished_nc1(benchmark, finished):
    def nc1():
        return nclib.nc1(nclib.ClassStatistics.from_accumulators(finished.accumulators()))  # nothing remembered

    timed(benchmark, FINISHED, nc1)


def test_finished_pseudo_inverse(benchmark, finished):
    sigma_w, means = finished.within_covariance.numpy(), finished.centred_means.numpy()

    def nc1():
        sigma_b = means.T @ means / len(means)
        return np.trace(sigma_w @ np.linalg.pinv(sigma_b)) / len(means)

    assert nc1() == pytest.approx(nclib.nc1(finished), rel=1e-8)
    timed(benchmark, FINISHED, nc1)
