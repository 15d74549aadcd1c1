"""What was timed, as rows of book/benchmarks.csv, and which times are compared."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from nclib.experiments.records import processor
from nclib.storage import replacing
from workflow.processors import COMBINATIONS

PATH = Path(__file__).parents[1] / "book" / "benchmarks.csv"
PLACE = ["processor", "emulated", "threads", "group", "what"]


class Pair(NamedTuple):
    """Two times of one group that are compared, and the largest ratio that is wanted, if any."""

    group: str
    what: str
    against: str
    most: float | None = None


_SMALL, _LARGE = "N=10,000 d=512 K=100", "N=50,000 d=2,048 K=1,000"
_PROBES = [f"{_SMALL}, {spectrum}" for spectrum in ("correlated", "isotropic")]
_NEIGHBOURS, _SCORES = f"{_SMALL}, 2,000 queries", "N=50,000 d=2,048 K=100, scores"
_EPOCH, _IMAGES = "128 images of 128 px, ResNet-18", "512 images of 96 px, MobileNetV2"
_COMMANDS = "901 images of 224 px, MobileNetV2, whole commands"
# In float32 the plain pseudo-inverse gives no NC1 (it is off by seven decades, and negative), so float64 it is.
PAIRS = [
    Pair(_SMALL, "three", "plain_float64", 1 / 5),
    Pair(_SMALL, "table", "three", 2),
    Pair(_SMALL, "classifier", "three"),
    Pair(_SMALL, "everything", "three"),
    Pair(_SMALL, "full_statistics", "float64_product", 1 / 0.6),
    Pair(_LARGE, "three", "plain_float64", 1 / 1.5),
    Pair(_LARGE, "table", "three", 2),
    Pair(_LARGE, "streamed", "three", 2),
    Pair("N=20,000 d=2,048 K=100", "finished_nc1", "finished_pseudo_inverse", 1 / 15),
    Pair(_NEIGHBOURS, "knn", "faiss_flat", 1.3),
    Pair(_NEIGHBOURS, "knn", "transformer_ranker_knn"),
    *(Pair(each, "linear_probe", "sklearn_float32", 1 / 5 if each == _PROBES[0] else None) for each in _PROBES),
    Pair(_PROBES[0], "linear_probe", "sklearn_float64", 1 / 5),
    *(Pair(each, "linear_probe", "sklearn_on_tensors") for each in _PROBES),
    Pair(_PROBES[1], "linear_probe", "sklearn_converged"),
    *(Pair(each, "path_of_13_strengths", "chosen_strength", 3.5) for each in _PROBES),
    Pair(_EPOCH, "skip_epoch", "full_epoch", 1 / 3),
    Pair(_EPOCH, "skip_epoch_without_cache", "full_epoch"),
    Pair(_EPOCH, "prefix", "full_epoch"),
    Pair("8 images of 32 px, ResNet-18 of 512 features", "exact_few", "plain_loop", 1 / 5),
    Pair("64 images of 32 px, ResNet-18 of 512 features", "estimate_to_a_twentieth", "exact_many", 1 / 20),
    Pair(_SCORES, "all_from_statistics", "public_logme", 1 / 10),
    Pair(_SCORES, "all_from_features", "public_logme"),
    Pair(_SCORES, "all_from_features", "transformer_ranker_logme"),
    Pair(_COMMANDS, "two_processes", "one_process"),
    Pair(_COMMANDS, "two_processes", "one_process_of_two_threads"),
    *(Pair(_IMAGES, what, "bare", 1.1) for what in ("extract", "all_layers", "into_cache")),
    Pair(_IMAGES, "extract_images", "bare_from_images", 1.1),
]

_noted: list[dict] = []


def note(group: str, what: str, seconds: float, peak: float | None = None) -> None:
    """Take a time, and the most memory in MiB, into the rows of this run."""
    _noted.append({"group": group, "what": what, "seconds": float(f"{seconds:.3g}"), "peak_mib": peak and round(peak)})


def noted() -> pd.DataFrame:
    """The rows of this run: where, what, seconds, MiB; and GFLOP/s of a float64 product there."""
    known = {name: c.variables for name, c in COMBINATIONS.items() if not name.startswith("as it is")}
    emulated = next((name for name, variables in known.items() if variables.items() <= os.environ.items()), "")
    where = {"processor": processor(), "emulated": emulated, "threads": torch.get_num_threads()}
    return pd.DataFrame([where | row | {"gflops": _gflops()} for row in _noted])


def keep() -> None:
    """Take the rows of this run into the table, instead of those of the same place."""
    rows = noted()
    known = pd.read_csv(PATH, keep_default_na=False) if PATH.exists() else rows[:0]
    both = pd.concat([known, rows]).drop_duplicates(PLACE, keep="last").sort_values(PLACE, kind="stable")
    with replacing(PATH) as temporary:
        both.to_csv(temporary, index=False)


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a pair and place: both times, their ratio, and the most that is wanted."""
    found = []
    for place, group in rows.groupby(PLACE[:3], sort=True):
        seconds = group.set_index(["group", "what"])["seconds"]
        for pair in PAIRS:
            times = [seconds.get((pair.group, each)) for each in (pair.what, pair.against)]
            if None not in times:
                found.append([*place, *pair, *times, times[0] / times[1]])
    return pd.DataFrame(found, columns=[*PLACE[:3], *Pair._fields, "seconds", "seconds_against", "ratio"])


def _gflops(n: int = 2_048) -> float:
    """The speed of a float64 matrix product of n x n, the best of five, in GFLOP/s."""
    a, times = torch.rand(n, n, dtype=torch.float64), []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return float(f"{2 * n**3 / min(times) / 1e9:.3g}")
