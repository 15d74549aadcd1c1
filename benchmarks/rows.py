"""What was timed, as rows of book/benchmarks.csv, and which times are compared."""

import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from nclib.experiments.records import processor
from nclib.storage import replacing

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
_FOLDER = "64 JPEG files of 500 x 375 px, MobileNetV2 at 224 px"
_RANKING = "500 images, 3 of timm's smallest models, ranking"
_COMMANDS = "901 images of 224 px, MobileNetV2, whole commands"
# In float32 the plain pseudo-inverse gives no NC1 (it is off by seven decades, and negative), so float64 it is.
PAIRS = [
    Pair("N=100 d=32 K=5", "three", "plain_float64"),
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
    Pair(_RANKING, "sure_ranking", "bare_ranking", 1.1),
    Pair(_COMMANDS, "two_processes", "one_process"),
    Pair(_COMMANDS, "two_processes", "one_process_of_two_threads"),
    *(Pair(_IMAGES, what, "bare", 1.1) for what in ("extract", "all_layers", "into_cache")),
    Pair(_IMAGES, "extract_images", "bare_from_images", 1.1),
    *(Pair(_FOLDER, what, "folder_extract") for what in ("decode", "resize", "forward", "folder_from_cache")),
    Pair(_FOLDER, "decode_by_torchvision", "decode"),
    Pair(_FOLDER, "resize_by_torchvision", "resize"),
]

_noted: list[dict] = []


def note(group: str, what: str, seconds: float, peak: float | None = None) -> None:
    """Take a time, and the most memory in MiB, into the rows of this run."""
    _noted.append({"group": group, "what": what, "seconds": float(f"{seconds:.3g}"), "peak_mib": peak and round(peak)})


def noted(emulated: str = "") -> pd.DataFrame:
    """The rows of this run: where, what, seconds, MiB; and GFLOP/s of a float64 product there."""
    where = {"processor": processor(), "emulated": emulated, "threads": torch.get_num_threads()}
    return pd.DataFrame([where | row for row in _noted]).assign(gflops=_gflops())


def keep(rows: pd.DataFrame) -> None:
    """Take the rows of a run into the table, instead of those of the same place."""
    known = pd.read_csv(PATH, keep_default_na=False) if PATH.exists() else rows[:0]
    both = pd.concat([known, rows]).drop_duplicates(PLACE, keep="last").sort_values(PLACE, kind="stable")
    with replacing(PATH) as temporary:
        both.to_csv(temporary, index=False)


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a pair and place: both times, their ratio, and the most that is wanted, NaN without a target."""
    found = pd.DataFrame(PAIRS, columns=Pair._fields).astype({"most": float})
    where = [name for name in rows if name not in {"group", "what", "seconds", "peak_mib", "gflops"}]
    times = rows[[*where, "group", "what", "seconds"]]
    found = found.merge(times, on=["group", "what"])
    against = times.rename(columns={"what": "against"})
    found = found.merge(against, on=[*where, "group", "against"], suffixes=("", "_against"))
    return found.assign(ratio=found["seconds"] / found["seconds_against"])


def _gflops(n: int = 2_048) -> float:
    """The speed of a float64 matrix product of n x n, the best of five, in GFLOP/s."""
    a, times = torch.rand(n, n, dtype=torch.float64), []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return float(f"{2 * n**3 / min(times) / 1e9:.3g}")
