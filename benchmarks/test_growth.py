"""How time and memory grow: with the number of classes from 10 to 50,000, and of samples to a million."""

import time

import numpy as np
import pytest

import nclib
from benchmarks.cases import THREE, Size, sample
from benchmarks.rows import note
from benchmarks.test_memory import printed

FEW, MANY = 100_000, 50_000  # samples and classes of the largest tables
CLASSES = (10, 100, 1_000, 10_000, MANY)


def seconds(call, *arguments, **options) -> float:
    start = time.perf_counter()
    call(*arguments, **options)
    return time.perf_counter() - start


def exponent(group: str, letter: str, sizes: tuple[int, ...], times: list[float]) -> float:
    """The slope of log time over log size; and the times are taken into the table."""
    for size, took in zip(sizes, times, strict=True):
        note(group, f"{letter}={size:,}", took)
    found = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    print(f"{group}: {', '.join(f'{t:.3g}' for t in times)} s for {letter} of {sizes}: {letter}^{found:.2f}")
    return found


@pytest.mark.parametrize("d", [64, 512, 2_048])
def test_classes(d):
    """NC1, the trace ratio and CDNV of 100,000 samples; what does not depend on K lowers the exponent."""
    tables = (sample(Size(FEW, d, k)) for k in CLASSES)
    times = [seconds(nclib.measure, *table, metrics=THREE) for table in tables]
    assert exponent(f"N={FEW:,} d={d:,}", "K", CLASSES, times) <= 2


def batches(number, d=512, k=100, rows=512):
    """The same rows again and again, moved a little: what a disk or a network would give."""
    features, labels = sample(Size(rows, d, k))
    return ((features + i % 7, (labels + i) % k) for i in range(number))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_samples_of_a_stream(covariance):
    group = f"streamed, d=512 K=100, {covariance} covariance"
    numbers = (20, 200, 2_000)  # of 512 samples
    given = [(batches(number), 100) for number in numbers]
    times = [seconds(nclib.ClassStatistics.from_batches, *each, covariance=covariance) for each in given]
    assert exponent(group, "N", tuple(512 * number for number in numbers), times) <= 1.1


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_imagenet(covariance):
    """1.28 million samples of 2,048 features in 1,000 classes, from batches of 2,048."""
    metrics = "THREE" if covariance == "full" else "['nc1_ratio', 'cdnv']"
    took, peak = printed(f"""
from benchmarks.test_growth import batches, seconds
given = batches(626, 2_048, 1_000, 2_048)
next(given)
before = peak()
def all_of_it():
    nclib.measure(nclib.ClassStatistics.from_batches(given, 1_000, covariance="{covariance}"), metrics={metrics})
print(seconds(all_of_it), peak() - before)
""")
    note("ImageNet-sized: N=1,280,000 d=2,048 K=1,000", f"{covariance} covariance", took, peak)
    print(f"{covariance}: {took:.0f} s, {peak:.0f} MiB")
    assert peak <= 512


@pytest.mark.parametrize("size", [Size(FEW, 512, 10_000), Size(FEW, 64, MANY)], ids=str)
def test_many_classes(size):
    """NC1, the trace ratio, CDNV, NC2 and all that follows, within the memory of a laptop."""
    took, peak = printed(f"""
from benchmarks.test_growth import seconds
data = sample(Size{tuple(size)!r})
before = peak()
print(seconds(nclib.measure, *data, metrics=(*THREE, "nc2", "nc2_equinorm", "nc2_equiangularity")), peak() - before)
""")
    note(str(size), "NC1, trace ratio, CDNV and NC2", took, peak)
    print(f"{size}: {took:.1f} s, {peak:.0f} MiB beyond the features")
    assert peak <= 2_000
