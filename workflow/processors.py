"""Measure what processors differ by: each study's live cell and some of its demo cells, as other processors would.

Other processors are emulated, which goes only downward: what this machine lacks is not tried. Rows of other machines
are kept, so run it on each kind there is. Tolerances follow from the table, see `nclib.experiments.tolerances`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm import tqdm

from nclib.devices import double_precision
from nclib.experiments.records import EMULATING, Cell, cell_digest, cell_of, processor, record_of
from nclib.experiments.run import SPREADS
from nclib.experiments.studies import LIVE, cells_of, live_cell
from nclib.experiments.tolerances import CHANGES, FIELDS, apart, kind, read_spreads
from nclib.storage import replacing
from workflow.measures import RECORDS, ROOT, chapter, measures

TABLE = ROOT / SPREADS
NOTE = "# What processors differ by, by make processors and make reproduce KEEP=1; see experiments/tolerances.py\n"
# What numpy can do here beyond its least, by its own names, which have changed: X86_V3 is AVX2.
_FOUND = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
_AVX512 = ("AVX512", "X86_V4")


@dataclass(frozen=True)
class Combination:
    """A processor to be emulated: variables of the environment, and whether torch may use oneDNN."""

    variables: dict[str, str]
    onednn: bool = True
    needs: tuple[str, ...] = ()  # beginnings of numpy's names of features; one must be found

    @property
    def environment(self) -> dict[str, str]:
        """This process's variables, but for what emulates another processor."""
        plain = {name: value for name, value in os.environ.items() if name not in EMULATING}
        return plain | {"OMP_WAIT_POLICY": "PASSIVE"} | self.variables

    @property
    def possible(self) -> bool:
        """Whether this processor has what is needed: only lower ones can be emulated."""
        return not self.needs or any(name.startswith(self.needs) for name in _FOUND)


_ONE, _TWO = {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}
_SSE = _ONE | {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": " ".join(_FOUND),
}
_AVX2 = _ONE | {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in _FOUND if name.startswith(_AVX512)),
}
_CORE = _ONE | {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "OPENBLAS_CORETYPE": "SkylakeX"}
COMBINATIONS = {
    "as it is, one thread": Combination(_ONE),
    "as it is, two threads": Combination(_TWO),
    "SSE4.1": Combination(_SSE, needs=("AVX2", "X86_V3")),
    "AVX2": Combination(_AVX2, needs=("AVX2", "X86_V3")),
    "AVX2, two threads, no oneDNN": Combination(_AVX2 | _TWO, onednn=False, needs=("AVX2", "X86_V3")),
    "AVX-512, first generation": Combination(_CORE, needs=_AVX512),
}
NATIVE = next(iter(COMBINATIONS))


def sample(study: str, number: int) -> list[Cell]:
    """Some of a study's demo cells, evenly over all."""
    cells = cells_of(study, "demo")
    number = min(number, len(cells))
    return [cells[(2 * i + 1) * len(cells) // (2 * number)] for i in range(number)]


def changed(cell: Cell, change: str) -> Cell:
    """A live cell with a change of its recipe that a check of it must notice."""
    if change == CHANGES[0]:
        less = {name: cell[name] - 1 for name in ("epochs", "epochs_tuned") if name in cell}
        return cell | less | ({"measured_epochs": [0, 1]} if "measured_epochs" in cell else {})
    lower = {name: 0.9 * cell[name] for name in ("learning_rate", "rate") if name in cell}
    return cell | lower | ({"rates": [0.9 * rate for rate in cell["rates"]]} if "rates" in cell else {})


def rows_of(name: str, known: dict, now: dict) -> Iterator[dict]:
    """A row of the table for each metric that is compared between two records of a cell."""
    place = {"processor": processor(), "combination": name, "study": known["study"], "scale": known["scale"]}
    place["cell"] = cell_digest(cell_of(known))
    for metric, value in known["metrics"].items():
        if kind(metric):
            yield place | {"metric": metric, "apart": float(f"{apart(metric, value, now['metrics'][metric]):.3g}")}


def recorded(study: str, scale: str, cell: Cell) -> dict:
    """A cell's record in the book; ValueError if it has none."""
    if not (found := RECORDS.select(study, scale, [cell])):
        raise ValueError(
            f"{study} at {scale} scale has no record of the cell {cell_digest(cell)}; only a cell with a record in "
            f"{RECORDS.folder} can be compared: {NATIVE!r} makes that of a live cell, make book those of the demo"
        )
    return found[0]


def of_study(study: str, name: str, number: int) -> list[dict]:
    """The rows of a study as this process computes; the record of a live cell that has none is made on the way."""
    measure = partial(measures(chapter(study))[study], cache=None)
    cell = live_cell(study)
    with double_precision():
        now = record_of(study, "check", cell, measure)
        if name == NATIVE:
            RECORDS.merge([now])
        known = recorded(study, "check", cell)
        rows = [*rows_of(name, known, now)]
        for change in CHANGES if name == NATIVE else ():
            rows += rows_of(change, known, record_of(study, "check", changed(cell, change), measure))
    for cell in sample(study, number):
        rows += rows_of(name, recorded(study, "demo", cell), record_of(study, "demo", cell, measure))
    return rows


def elsewhere(name: str, studies: list[str], number: int) -> Iterator[list[dict]]:
    """The rows of each study, by a process that computes as a combination says."""
    command = [sys.executable, "-m", "workflow.processors", "--combination", name, "--here", "--sample", str(number)]
    command += [f"--study={study}" for study in studies]
    with subprocess.Popen(
        command, cwd=ROOT, env=COMBINATIONS[name].environment, stdout=subprocess.PIPE, text=True
    ) as process:
        yield from map(json.loads, process.stdout or ())
    if process.returncode:
        raise RuntimeError(f"not all studies could be measured with {name!r}, see above")


def merged(known: pd.DataFrame, rows: Iterable[dict]) -> pd.DataFrame:
    """The table with new rows; of what it has already the larger is kept, of what a change moves the smaller."""
    both = pd.concat([known, pd.DataFrame(rows, columns=FIELDS)], ignore_index=True).astype({"apart": float})
    sign = 1 - 2 * both["combination"].isin(CHANGES)
    kept = both.assign(apart=sign * both["apart"]).groupby(FIELDS[:-1], sort=True, as_index=False)["apart"].max()
    return kept.assign(apart=kept["apart"].abs())


def keep(rows: Iterable[dict]) -> None:
    """Take rows into the table, also while another process does."""
    with FileLock(TABLE.with_suffix(".lock")):
        known = read_spreads(TABLE) if TABLE.exists() else pd.DataFrame(columns=FIELDS)
        with replacing(TABLE) as path:
            path.write_text(NOTE + merged(known, rows).to_csv(index=False), encoding="utf-8")


def measure_all(names: list[str], studies: list[str], number: int) -> None:
    """Measure the studies with two combinations at a time, and keep the rows of each at once."""
    lock = Lock()
    with tqdm(total=len(names) * len(studies), unit="study") as bar:

        def follow(name: str) -> None:
            for rows in elsewhere(name, studies, number):
                with lock:
                    keep(rows)
                    bar.update()

        Parallel(2, prefer="threads")(delayed(follow)(name) for name in names)


def main(
    study: Annotated[list[str] | None, typer.Option(help="only these studies")] = None,
    combination: Annotated[list[str] | None, typer.Option(help="only these combinations")] = None,
    number: Annotated[int, typer.Option("--sample", min=0, help="demo cells of a study, beside its live cell")] = 2,
    here: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure, and add what is found to the table."""
    studies, names = list(dict.fromkeys(study or LIVE)), list(dict.fromkeys(combination or COMBINATIONS))
    if unknown := (set(studies) - LIVE.keys()) | (set(names) - COMBINATIONS.keys()):
        known = "; ".join((*LIVE, *COMBINATIONS))
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {known}")
    if here:
        torch.backends.mkldnn.enabled = COMBINATIONS[names[0]].onednn  # type: ignore[assignment]  # it is a property
        for each in studies:
            typer.echo(json.dumps(of_study(each, names[0], number)))
        return
    for name in names:
        if not COMBINATIONS[name].possible:
            typer.echo(f"{name}: this processor has no {COMBINATIONS[name].needs[0]}, so it was not tried")
    possible = [name for name in names if COMBINATIONS[name].possible]
    try:
        measure_all([name for name in possible if name == NATIVE], studies, number)  # first: it makes records
        measure_all([name for name in possible if name != NATIVE], studies, number)
    except RuntimeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
