"""How much memory the metrics take beyond the features, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import SMALL, Size

ROOT = Path(__file__).parents[1]
SETUP = """
import re, torch, nclib
from pathlib import Path
from benchmarks.cases import LARGE, THREE, Size, sample
from benchmarks.plain import plain
def peak():  # MiB; what getrusage gives begins with the memory of the parent process
    return int(re.search("VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
nclib.measure(torch.randn(4096, 512), torch.randint(9, (4096,)))  # what is loaded at first use
"""


def printed(code: str) -> list[float]:
    """The numbers that a fresh Python prints after the set-up."""
    run = subprocess.run([sys.executable, "-c", SETUP + code], capture_output=True, text=True, cwd=ROOT)
    assert not run.returncode, run.stderr
    return [float(number) for number in run.stdout.split()]


def measured(code: str) -> float:
    """The least that three fresh Pythons print, in MiB: what malloc keeps back varies by 32 MiB."""
    return min(printed(code)[0] for _ in range(3))


@pytest.mark.parametrize("metrics", ["THREE", "None"])
def test_in_memory_takes_little_beyond_the_features(metrics):
    code = f"data = sample(LARGE); before = peak(); nclib.measure(*data, metrics={metrics}); print(peak() - before)"
    extra = measured(code)
    print(f"{metrics}: {extra:.0f} MiB beyond the features")
    assert extra <= 400 * 1e6 / 2**20


@pytest.mark.parametrize("size", [SMALL, Size(10_000, 1_024, 100), Size(20_000, 512, 400)], ids=str)
def test_memory_against_the_plain_formulas(size):
    data = f"data = sample(Size{tuple(size)!r}); before = peak(); "
    ours = measured(data + "nclib.measure(*data, metrics=THREE); print(peak() - before)")
    plain = measured(data + "plain(*(part.numpy() for part in data)); print(peak() - before)")
    print(f"{size}: {ours:.0f} MiB beyond the features, plain formulas {plain:.0f} MiB")
    assert ours <= plain


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_stream_takes_the_same_for_ten_times_more(covariance):
    code = f"""
batch, labels = torch.randn(512, 2048), torch.arange(512)
batches = ((batch + i % 7, (labels + 500 * (i % 2)) % 1000) for i in range(BATCHES))
nclib.measure(nclib.ClassStatistics.from_batches(batches, 1000, covariance="{covariance}"))
print(peak())
"""
    short, long = (measured(code.replace("BATCHES", number)) for number in ("40", "400"))
    print(f"{covariance}: {short:.0f} MiB, {long:.0f} MiB for ten times more")
    assert long <= 1.05 * short
