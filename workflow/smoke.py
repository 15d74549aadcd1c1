"""Try a scale before it is run: list what it needs, run its chapters on a cell of each kind, and project the hours.

Nothing goes into the book: cells are measured into _build/smoke, and the executed notebooks stay there.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from papermill.exceptions import PapermillExecutionError
from torch.nn.functional import cross_entropy

from nclib.devices import in_half
from nclib.experiments.chapters.selection import ON_CPU
from nclib.experiments.counts import impossible
from nclib.experiments.records import Cell, Records, cell_of
from nclib.experiments.run import SMOKE_FOLDER, device_of
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.scales.smoke import kind_of, reduced, representatives
from nclib.experiments.studies import STUDIES, cells_of
from nclib.models.networks import Network, cifar_resnet
from nclib.models.pretrained import import_module
from workflow import costs, fake_data
from workflow.execute import execute
from workflow.measures import RECORDS, ROOT, chapter
from workflow.needs import as_text, names_of, needs

FOLDER = ROOT / SMOKE_FOLDER
FAKE_ROOT = ROOT / "_build" / "smoke_data"
_SECONDS = 5.0  # that a device's speed is measured for


@dataclass(frozen=True)
class Tried:
    """A study of a smoke run: the records of its cells, of `total` seconds."""

    study: str
    records: list[dict]

    @property
    def total(self) -> float:
        return sum(record["provenance"]["seconds"] for record in self.records)


def smoke_cells(study: str, scale: str) -> list[Cell]:
    """The cells that a smoke run of a study measures."""
    small = reduced(settings(scale))
    return representatives(STUDIES[study](small, small.seeds))


def chapters_of(studies: Sequence[str]) -> dict[Path, list[str]]:
    """The chapters of studies, each with all the studies that it measures."""
    wanted = dict.fromkeys(chapter(study) for study in studies)
    return {source: [study for study in STUDIES if chapter(study) == source] for source in wanted}


def lacking(cells: Mapping[str, Sequence[Cell]], data_root: Path | None) -> list[str]:
    """What these cells cannot be measured without, and is missing."""
    return [need.what for need in needs(cells, data_root) if need.missing]


def run_chapter(source: Path, parameters: dict) -> str:
    """Run a chapter; what went wrong, if anything did."""
    try:
        execute(source, FOLDER / f"{source.stem}.ipynb", parameters)
    except (PapermillExecutionError, RuntimeError, OSError, ValueError) as error:  # a dead kernel is a RuntimeError
        return str(error)
    return ""


def is_counted(study: str, cells: Sequence[Cell]) -> bool:
    """Whether the operations of cells are counted: those of images, where all sets and models are known."""
    if study in ON_CPU or any(kind != "images" for cell in cells for _, kind in names_of(cell)):
        return False
    try:
        costs.work_of(list(cells))
    except (ValueError, RuntimeError):  # a set whose size nobody declared, a model that nobody registered
        return False
    return True


def work_of(study: str, cells: Sequence[Cell]) -> Callable[[Cell], float]:
    """How much one of these cells is beside the others: in operations or, where these are not counted, in passes."""
    if not is_counted(study, cells):
        return passes

    def operations(cell: Cell) -> float:
        work = costs.work_of([cell])
        return work.half + work.single

    return operations


def passes(cell: Cell) -> float:
    """Inputs that a model of a cell sees, of each class where numbers are of a class; a constant of others."""
    if "features" in cell:
        return float(cell["samples"] * cell["features"])
    if "repeats" in cell:  # estimates of complexity
        return float(cell["per_class"] * cell["projections_of_all"] + cell["repeats"] * sum(cell["samples"]))
    train, test = (cell.get(f"{split}_per_class", cell.get(split)) or 0 for split in ("train", "test"))
    candidates = max(1, len(cell.get("rates", ()))) * max(1, len(cell.get("layers", ())))
    tuned = cell.get("epochs_tuned", 0) * train * (1 if candidates == 1 else 1 + 0.8 * candidates)
    # Texts of a class that are not counted are as many as a class of docstrings has at most.
    return train + test + 3 * tuned + 3 * (cell.get("per_class") or 100) * cell.get("epochs", 0)


def most_hours(study: str, scale: str, tried: Sequence[dict]) -> float:
    """Hours of all cells, if each took as long for its work as the cell of its kind did, starting included."""
    cells = cells_of(study, scale)
    work, rates = work_of(study, [*cells, *map(cell_of, tried)]), {}
    for record in tried:
        cell = cell_of(record)
        rates[kind_of(cell)] = record["provenance"]["seconds"] / max(work(cell), 1.0)
    slowest = max(rates.values())
    return sum(work(cell) * rates.get(kind_of(cell), slowest) for cell in cells) / 3600


def least_hours(study: str, scale: str, speeds: tuple[float, float]) -> float | None:
    """Hours of all cells at the speed of large batches; None where operations are not counted."""
    cells = cells_of(study, scale)
    if not is_counted(study, cells):
        return None
    work = costs.work_of(cells)
    return max(work.half / speeds[0] + work.single / speeds[1], work.decoded / costs.DECODED[1]) / 3600


def speed(device: torch.device, *, half: bool) -> float:
    """Operations a second that a device sustains in training a ResNet-18 on large batches of small images."""
    number = 256 if device.type == "cuda" else 16
    network = Network(cifar_resnet(64, blocks=2), 512, 100).to(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    images = torch.randn(number, 3, 32, 32, device=device)
    labels = torch.arange(number, device=device) % 100

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = cross_entropy(network(images).float(), labels)
        loss.backward()
        optimizer.step()

    for _ in range(2):  # the first steps choose algorithms
        step()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < _SECONDS:
        step()
        steps += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    operations = costs.trained("cifar_resnet", 64, 2, 3, 32)[0] * (1 + costs.BACKWARDS)
    return steps * number * operations / (time.perf_counter() - start)


def cells_table(tried: Sequence[Tried]) -> str:
    """Seconds and peak memory of every cell that was measured."""
    rows = [
        {
            "study": each.study,
            "kind of cell": ", ".join(filter(None, kind_of(cell_of(record)))) or "one",
            "seconds": f"{record['provenance']['seconds']:.1f}",
            "memory, GiB": f"{(record['provenance']['memory'] or 0) / 1024:.2f}",
            "on": record["provenance"]["device"],
        }
        for each in tried
        for record in each.records
    ]
    said = "Memory on a CPU is the most that the process has had so far, of a GPU the most of the cell itself."
    return f"{pd.DataFrame(rows).to_string(index=False)}\n{said}"


def hours_table(tried: Sequence[Tried], scale: str, device: torch.device) -> str:
    """The hours of each whole study, from what was measured, beside those of the cost table."""
    half = in_half(device)
    speeds = speed(device, half=half), speed(device, half=False)
    rows = []
    for each in tried:
        most, least = most_hours(each.study, scale, each.records), least_hours(each.study, scale, speeds)
        ends = sorted({costs.two_digits(end) for end in (least, most) if end is not None}, key=float)
        row = {"study": each.study, "cells": len(cells_of(each.study, scale)), "tried": len(each.records)}
        table = costs.cost_of(each.study, scale, RECORDS)[3]
        rows.append(row | {"hours, projected": " to ".join(ends), "cost table": table})
    return (
        f"{pd.DataFrame(rows).to_string(index=False)}\n"
        f"One end: the operations at {speeds[0]:.1e} a second ({speeds[1]:.1e} in float32), what large batches of a "
        "ResNet-18 sustain here, or the files as fast as the cost table assumes. The other: as slow for its work as "
        "the smoke's cells, whose small batches, loading and scores count as if they grew with the work."
    )


def tell_needs(cells: Mapping[str, Sequence[Cell]], scale: str, data_root: Path | None) -> tuple[bool, bool]:
    """Print what a scale needs; whether it asks for more than data sets have, and whether anything is not all there."""
    needed = needs(cells, data_root)
    typer.echo(f"{scale} scale needs\n{as_text(needed)}")
    beyond = [f"{study}: {said}" for study, members in cells.items() for said in impossible(members)]
    for said in beyond:
        typer.echo(f"MORE THAN THERE IS {said}")
    return bool(beyond), any(need.missing or need.fewer for need in needed)


def failures(records: Records, study: str, scale: str, cells: Sequence[Cell]) -> list[str]:
    """What is said of the cells of a study that have no record."""
    failed = records.failed(study, scale, cells)
    said = [f"a cell of {study} failed: {each['reason']}: {cell_of(each)}" for each in failed]
    untried = len(records.missing(study, scale, cells)) - len(failed)
    return [*said, f"cells of {study} that were not measured: {untried}"] if untried else said


def tried_chapter(
    source: Path, small: Mapping[str, Sequence[Cell]], scale: str, parameters: dict
) -> tuple[list[Tried], bool]:
    """Run a chapter and say how it went: what was measured of the small cells of its studies, and whether all was."""
    shutil.rmtree(FOLDER / "records", ignore_errors=True)  # a chapter that ends before it begins would leave another's
    start, records = time.perf_counter(), Records(FOLDER / "records")
    wrong = list(filter(None, [run_chapter(source, parameters)]))
    wrong += [said for study, cells in small.items() for said in failures(records, study, scale, cells)]
    typer.echo(f"{'FAILED' if wrong else 'ran'} {source.stem}, {time.perf_counter() - start:.0f} s")
    typer.echo("\n".join(wrong))
    found = [Tried(study, records.select(study, scale, cells)) for study, cells in small.items()]
    return [each for each in found if each.records], not wrong


def parameters_of(source: Path, given: Mapping[str, object]) -> dict[str, object]:
    """The parameters of a chapter's smoke run: what is given, but for modules that it has no use for."""
    known = {name: value for name, value in given.items() if value}
    return (
        known
        if "imports: list" in source.read_text(encoding="utf-8")
        else {n: v for n, v in known.items() if n != "imports"}
    )


def asked_for(studies: Iterable[str], scale: str) -> list[str]:
    """The studies that are named, or all, as far as a scale has cells of them; an error says what there is."""
    if scale not in SCALES:
        raise typer.BadParameter(f"there is no scale {scale!r}; there are {', '.join(SCALES)}")
    there = [name for name in STUDIES if cells_of(name, scale)]
    if unknown := [name for name in studies if name not in there]:
        raise typer.BadParameter(f"{scale} scale has no study {', '.join(unknown)}; it has {', '.join(there)}")
    return list(studies) or there


def main(
    scale: Annotated[str, typer.Option(help="demo, lab or paper")] = "paper",
    study: Annotated[list[str] | None, typer.Option(help="studies; by default all")] = None,
    data_root: Annotated[Path | None, typer.Option(envvar="NCLIB_DATA", help="the folder of the data sets")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    imports: Annotated[list[str] | None, typer.Option(help="modules that register models of yours with timm")] = None,
    fake: Annotated[bool, typer.Option(help="make a data root of noise, and random weights, and try these")] = False,
) -> None:
    """Say what a scale needs and what is missing, run its chapters on a cell of each kind, and project the hours.

    A chapter is tried with all its studies, whichever is named. Exits with 1 if anything is missing, a chapter is
    skipped or fails, or a cell of one fails.
    """
    chapters = chapters_of(asked_for(study or [], scale))
    try:
        used = device_of(settings(scale), device)
        imports = [str(Path(name).resolve()) if name.endswith(".py") else name for name in imports or []]
        for module in imports:  # what models cost, and whether they are there, is asked here, too
            import_module(module)
    except (ValueError, ImportError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    small = {source: {name: smoke_cells(name, scale) for name in members} for source, members in chapters.items()}
    if fake:
        data_root = FAKE_ROOT
        fake_data.make(FAKE_ROOT, [cell for members in small.values() for cells in members.values() for cell in cells])
    whole = {name: cells_of(name, scale) for members in chapters.values() for name in members}
    beyond, lack = tell_needs(whole, scale, data_root)
    wrong = beyond or (lack and not fake)  # of noise there are few images, and weights of what is tried
    given = {"scale": scale, "device": device, "smoke": True, "imports": imports}
    given |= {"data_root": str(data_root) if data_root else None}
    tried: list[Tried] = []
    for source, members in small.items():
        if missing := lacking(members, data_root):
            typer.echo(f"SKIPPED {source.stem} ({', '.join(members)}), for want of {', '.join(missing)}")
            wrong = True
            continue
        found, well = tried_chapter(source, members, scale, parameters_of(source, given))
        tried, wrong = tried + found, wrong or not well
    if tried:
        typer.echo(cells_table(tried))
        typer.echo(hours_table(tried, scale, used))
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(main)
