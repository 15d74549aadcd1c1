"""Records: measured results as JSON lines, one file for each study and scale, filled by studies and read by figures."""

import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock

from nclib.checks import SetupError
from nclib.experiments.protocols import stamped
from nclib.experiments.words import TextRecipe
from nclib.models.recipes import ADDED, Recipe
from nclib.storage import digest_of_text, replacing

_FIELDS = {"study", "scale", "config", "seed", "metrics", "provenance"}
FAILURE = _FIELDS - {"metrics"} | {"reason"}

# Errors that cost a cell but not its study, such as features that are NaN, or memory that ran out. Others are faults of
# the program or of its input, which other cells would meet, too: an error of the GPU stays until the process ends.
EXPECTED = (ValueError, ArithmeticError, RuntimeError)
_UNEXPECTED: tuple[type[Exception], ...] = (
    *(NotImplementedError, RecursionError, UnicodeError, torch.AcceleratorError),
    SetupError,
)

# Warnings that tell chapters nothing new: they want a network's logits, and records say how many epochs were kept.
_KNOWN = ("Network ends in a linear layer", "no epoch did better on the validation images")

Cell = dict[str, Any]
Measure = Callable[[Cell], dict[str, Any]]


class Records:
    """A folder of records, ``<study>-<scale>.jsonl``.

    A record is a dict: study, scale, config (what was measured), seed, metrics (numbers, or lists of
    them) and provenance (versions, device, date, seconds). Files are replaced atomically under a lock,
    so a killed run loses only the cell that it was measuring, and several runs may write at once.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = Records(folder)
    ...     table = fill(records, "squares", "demo", [{"x": 3, "seed": 0}], lambda cell: {"square": cell["x"] ** 2})
    ...     [(record["config"], record["metrics"]) for record in records.read("squares", "demo")]
    [({'x': 3}, {'square': 9})]
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    def path(self, study: str, scale: str) -> Path:
        return self.folder / f"{study}-{scale}.jsonl"

    def read(self, study: str, scale: str) -> list[dict]:
        """All records of a study at a scale, oldest first; none if there is no file yet."""
        path = self.path(study, scale)
        return read_records(path) if path.exists() else []

    def append(self, record: dict) -> None:
        """Add a record at the end of its file; it takes the place of earlier records of its cell."""
        with self._locked(record["study"], record["scale"]) as path:
            _extend(path, [record])

    def merge(self, records: Iterable[dict]) -> int:
        """Add the records of cells that have none yet; returns how many. Merging the same ones again does nothing."""
        by_file: dict[tuple[str, str], dict[str, dict]] = {}
        for record in records:
            by_file.setdefault((record["study"], record["scale"]), {})[_key(cell_of(record))] = record
        number = 0
        for (study, scale), given in by_file.items():
            with self._locked(study, scale) as path:
                known = self.by_cell(study, scale)
                if new := [record for key, record in given.items() if key not in known]:
                    _extend(path, new)
                number += len(new)
        return number

    @contextmanager
    def _locked(self, study: str, scale: str) -> Iterator[Path]:
        """The path of a file, locked so that nobody else writes it; OSError if it cannot be written."""
        path = self.path(study, scale)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield path

    def check_writable(self, study: str, scale: str) -> None:
        """Raise an OSError if a record of a study cannot be written, before hours are spent on measuring it."""
        with self._locked(study, scale) as path, tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(b" ")

    def by_cell(self, study: str, scale: str, among: Callable[[list[dict]], list[dict]] = list) -> dict[str, dict]:
        """The latest record of every cell, by its key; `among` chooses the records that count."""
        return {_key(cell_of(record)): record for record in among(self.read(study, scale))}

    def missing(self, study: str, scale: str, cells: Iterable[Cell]) -> list[Cell]:
        """The cells that have no record."""
        known = self.by_cell(study, scale)
        return [cell for cell in cells if _key(cell) not in known]

    def select(
        self,
        study: str,
        scale: str,
        cells: Iterable[Cell],
        among: Callable[[list[dict]], list[dict]] = list,
    ) -> list[dict]:
        """The latest record of each cell that has one, in the order of the cells; `among` chooses those that count."""
        latest = self.by_cell(study, scale, among)
        return [latest[key] for key in map(_key, cells) if key in latest]

    def failures_path(self, study: str, scale: str) -> Path:
        return self.folder / f"{study}-{scale}.failed.jsonl"

    def fail(self, failure: dict) -> None:
        """Note that a cell failed, in place of the note on an earlier attempt."""
        study, scale = failure["study"], failure["scale"]
        with self._locked(study, scale):
            known = self._failures(study, scale) | {_key(cell_of(failure)): failure}
            with replacing(self.failures_path(study, scale)) as temporary:
                temporary.write_text("".join(json.dumps(each) + "\n" for each in known.values()), encoding="utf-8")

    def failed(self, study: str, scale: str, cells: Iterable[Cell]) -> list[dict]:
        """The failures of the cells that failed and have no record, in the order of the cells."""
        known = self._failures(study, scale)
        return [known[key] for key in map(_key, self.missing(study, scale, cells)) if key in known]

    def _failures(self, study: str, scale: str) -> dict[str, dict]:
        path = self.failures_path(study, scale)
        found = read_records(path, needed=FAILURE) if path.exists() else []
        return {_key(cell_of(failure)): failure for failure in found}

    def describe(self, study: str, scale: str, cells: Iterable[Cell]) -> str:
        """Two lines that say where the records of a study's cells come from, with a digest of all their digits."""
        if not (records := self.select(study, scale, cells)):
            return f"{study} at {scale} scale: not run yet"
        made = [record["provenance"] for record in records]

        def several(name: str) -> str:
            return ", ".join(sorted({str(provenance[name]) for provenance in made}))

        digest = digest_of_text(json.dumps(records), 6)
        return (
            f"{study} at {scale} scale: {len(records)} records, digest {digest}\n"
            f"made with nclib {several('nclib')} ({several('commit')}), torch {several('torch')} on "
            f"{several('device')}, {several('date')}, {sum(p['seconds'] for p in made):.0f} s"
        )


def read_records(path: Path, needed: Iterable[str] = frozenset(_FIELDS)) -> list[dict]:
    """All records of one file, each of which must have the fields `needed` (for a file of failures: `FAILURE`)."""
    return [
        _parse(line, path, number, needed)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]


def _extend(path: Path, records: Iterable[dict]) -> None:
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if old and not old.endswith("\n"):
        old += "\n"
    with replacing(path) as temporary:
        temporary.write_text(old + "".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def as_table(records: Iterable[dict]) -> pd.DataFrame:
    """Records as a table, one row each: config, seed, metrics, and the commit that measured them, as columns.

    Settings of a recipe that a config does not name have their defaults.
    """
    rows = (
        _unnamed(cell_of(r)) | cell_of(r) | r["metrics"] | {"commit": r["provenance"].get("commit")} for r in records
    )
    return pd.DataFrame(list(rows))


def whole_table(records: Iterable[dict]) -> pd.DataFrame:
    """Everything in the records, one row each, to be written as CSV: columns are like ``config.loss``, lists are JSON.

    Settings of a recipe that a config does not name have their defaults.

    Examples
    --------
    >>> record = {"study": "toy", "config": {"x": 3}, "seed": 0, "metrics": {"values": [1, 2]}}
    >>> print(whole_table([record]).to_csv(index=False), end="")
    study,seed,config.x,metrics.values
    toy,0,3,"[1, 2]"
    """
    whole = [record | {"config": _unnamed(cell_of(record)) | record["config"]} for record in records]
    return pd.json_normalize(whole).map(lambda value: json.dumps(value) if isinstance(value, list) else value)


def _unnamed(cell: Cell) -> dict[str, Any]:
    """The settings that were added to the recipe of a cell later, with their defaults; a cell may leave them out."""
    for recipe in (Recipe, TextRecipe):
        added = {each.name: each.default for each in fields(recipe) if each.metadata == ADDED}
        if {each.name for each in fields(recipe)} <= cell.keys() | added.keys():
            return added
    return {}


def fill(
    records: Records,
    study: str,
    scale: str,
    cells: Iterable[Cell],
    measure: Measure,
    *,
    device: str = "cpu",
    workers: int = 1,
    retry: bool = False,
    settled: Callable[[Cell], None] = lambda cell: None,
) -> pd.DataFrame:
    """The table of a study's cells: recorded cells are read, missing ones are measured and recorded.

    A cell is a dict of JSON values with a ``seed``; `measure(cell)` returns its metrics. Each of several `workers` is a
    process that measures one cell at a time; they share the cores for their threads. Rows are in the order of the
    cells. `settled(cell)` is called once a cell's record or failure is written.

    A cell that fails in an `EXPECTED` way is noted beside the records, and missing in the table. It is measured again
    only with `retry`. RuntimeError if all cells failed.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    cells = [dict(cell) for cell in cells]
    if missing := _to_measure(records, study, scale, cells, retry):
        records.check_writable(study, scale)
    workers = max(1, min(workers, len(missing)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # of the workers: threads that spin slow their neighbours
    todo = (delayed(_tried)(study, scale, cell, measure, device=device) for cell in _apart(missing, workers))
    results = Parallel(workers, return_as="generator_unordered")(todo)
    for result in tqdm(results, f"{study} ({scale})", total=len(missing), disable=not missing):
        _write(records, stamped(result))
        settled(cell_of(result))
    if failures := records.failed(study, scale, cells):
        _warn_of(failures, len(cells))
    return as_table(records.select(study, scale, cells))


def _to_measure(records: Records, study: str, scale: str, cells: list[Cell], retry: bool) -> list[Cell]:
    """The cells without a record; without `retry` also without those that failed."""
    missing = records.missing(study, scale, cells)
    given_up = set() if retry else {_key(cell_of(failure)) for failure in records.failed(study, scale, missing)}
    return [cell for cell in missing if _key(cell) not in given_up]


def _write(records: Records, result: dict) -> None:
    """Write a record or a failure; a failure is also printed."""
    if "reason" not in result:
        records.append(result)
        return
    print(f"a cell of {result['study']} failed: {result['reason']}: {cell_of(result)}")
    records.fail(result)


def _warn_of(failures: list[dict], number: int) -> None:
    """Say how many of a number of cells failed, and why; RuntimeError if all did."""
    reasons = Counter(failure["reason"] for failure in failures)
    said = "; ".join(f"{reason} ({times} times)" if times > 1 else reason for reason, times in reasons.items())
    said = f"{len(failures)} of {number} cells of {failures[0]['study']} at {failures[0]['scale']} scale failed: {said}"
    if len(failures) == number:
        raise RuntimeError(f"{said}; fix the cause, and try again with -p recompute failed")
    warnings.warn(f"{said}; the table lacks them. Try them again with -p recompute failed", stacklevel=3)


def _apart(cells: list[Cell], workers: int) -> list[Cell]:
    """The cells in an order that keeps workers apart: neighbours often share a network, which one of them trains."""
    stride = math.ceil(len(cells) / workers)
    return [cell for start in range(stride) for cell in cells[start::stride]]


def _tried(study: str, scale: str, cell: Cell, measure: Measure, *, device: str) -> dict:
    """The record of a cell or, if it fails, the failure: a reason in place of metrics."""
    try:
        return record_of(study, scale, cell, measure, device=device)
    except EXPECTED as error:
        if not is_expected(error):
            raise
        reason = _reason_of(error)
    date = datetime.now(UTC).isoformat(" ", "minutes").removesuffix("+00:00") + " UTC"
    made = {"commit": _commit(), "processor": processor() if device == "cpu" else device, "date": date}
    head = {"study": study, "scale": scale, "config": _config(cell), "seed": cell["seed"]}
    return head | {"reason": reason, "provenance": made}


def is_expected(error: Exception) -> bool:
    """Whether an error costs only its cell, and not the study."""
    return isinstance(error, torch.OutOfMemoryError) or not isinstance(error, _UNEXPECTED)


def _reason_of(error: Exception) -> str:
    """The kind of an error and the first line of its message, if it has one."""
    said = next(filter(None, map(str.strip, str(error).splitlines())), "")
    return ": ".join(filter(None, [type(error).__name__, said]))


def record_of(study: str, scale: str, cell: Cell, measure: Measure, *, device: str = "cpu") -> dict:
    """Measure a cell and return its record; metrics are kept to 6 significant digits."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        for known in _KNOWN:
            warnings.filterwarnings("ignore", known)
        metrics = {name: _rounded(value, name) for name, value in measure(cell).items()}
    seconds, date = round(time.perf_counter() - start, 2), datetime.now(UTC).date().isoformat()
    made = {"device": device, "date": date, "seconds": seconds, "memory": peak_memory(device)}
    head = {"study": study, "scale": scale, "config": _config(cell), "seed": cell["seed"]}
    return head | {"metrics": metrics, "provenance": versions() | made}


def _parse(line: str, path: Path, number: int, needed: Iterable[str]) -> dict:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number} is not a whole record ({error}); repair or delete it") from error
    if not isinstance(record, dict) or (lacking := set(needed) - record.keys()):
        raise ValueError(f"{path}, line {number} lacks {', '.join(sorted(lacking))}; repair or delete the line")
    return record


def cell_of(record: dict) -> Cell:
    """The cell that a record or failure belongs to."""
    return record["config"] | {"seed": record["seed"]}


def _config(cell: Cell) -> dict[str, Any]:
    """A cell without its seed."""
    return {name: value for name, value in cell.items() if name != "seed"}


def _key(cell: Cell) -> str:
    if "seed" not in cell:
        raise ValueError(f"a cell needs a seed; this one has {', '.join(cell)}")
    return json.dumps([_config(cell), cell["seed"]], sort_keys=True)


def cell_digest(cell: Cell) -> str:
    """Twelve hexadecimal digits that stand for a cell in the names of files."""
    return digest_of_text(_key(cell), 6)


def _rounded(value: Any, name: str) -> Any:
    if isinstance(value, list | tuple):
        return [_rounded(item, name) for item in value]
    if not math.isfinite(value):
        raise ValueError(f"metric {name} is {value}; only finite numbers are recorded")
    return value if isinstance(value, int) else float(f"{value:.6g}")


@lru_cache
def versions() -> dict[str, Any]:
    """The versions of nclib, its sources and torch, and the machine."""
    from nclib import __version__

    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    versions = {"nclib": __version__, "commit": _commit(), "torch": torch.__version__.split("+")[0]}
    return versions | {"machine": machine, "threads": torch.get_num_threads()}


EMULATING = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES"),
)


@lru_cache
def processor() -> str:
    """The name of the processor, from its maker or the system."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
    parts = [named.get("model name"), *(f"{name} {named[name]}" for name in ("cpu family", "model") if name in named)]
    return ", ".join(part for part in parts if part) or platform.processor() or platform.machine()


def emulated() -> list[str]:
    """The variables, with their values, that make libraries compute as on another processor."""
    return [f"{name}={os.environ[name]}" for name in EMULATING if name in os.environ]


def _commit() -> str | None:
    """The commit of nclib's sources, with + if any Python file differs from it; None outside a repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parents[2]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "nclib/experiments/records.py")
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_memory(device: str) -> int | None:
    """The peak memory of this process in MiB, on a GPU or, without one, on the machine; None if not known."""
    if device != "cpu":
        return max(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count()))) // 2**20
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
