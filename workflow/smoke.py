"""Try a scale before it is run: list what it needs, run its chapters on a cell of each kind, and project the hours.

Nothing goes into the book: cells are measured into _build/smoke, and the executed notebooks stay there.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from papermill.exceptions import PapermillExecutionError
from torch.nn.functional import cross_entropy

from nclib.devices import in_half, resolve_device
from nclib.experiments.chapters.selection import ON_CPU
from nclib.experiments.counts import impossible
from nclib.experiments.records import Cell, Records, cell_of
from nclib.experiments.run import SMOKE_FOLDER
from nclib.experiments.scales import settings
from nclib.experiments.scales.smoke import kind_of, reduced, representatives
from nclib.experiments.studies import STUDIES, cells_of
from nclib.models.networks import Network, cifar_resnet
from workflow import costs, fake_data
from workflow.execute import execute
from workflow.measures import ROOT, chapter
from workflow.needs import Need, as_text, needs

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


def lacking(needed: Sequence[Need], cells: dict[str, list[Cell]], data_root: Path | None) -> list[str]:
    """What is missing of all that is needed and what these cells cannot be measured without."""
    own = {need.what for need in needs(cells, data_root)}
    return [need.what for need in needed if need.missing and need.what in own]


def run_chapter(source: Path, parameters: dict) -> str:
    """Run a chapter; what went wrong, if anything did."""
    try:
        execute(source, FOLDER / f"{source.stem}.ipynb", parameters)
    except (PapermillExecutionError, RuntimeError, OSError, ValueError) as error:  # a dead kernel is a RuntimeError
        return str(error)
    return ""


def work_of(study: str, cell: Cell) -> float:
    """How much a cell is, beside others of its study: in operations or, where these are not counted, in passes."""
    if study in ON_CPU or "pixels_per_class" in cell:
        return passes(cell)
    work = costs.work_of([cell])
    return work.half + work.single


def passes(cell: Cell) -> float:
    """Texts or scenes that a model of a cell sees, of each class where numbers are of a class; a constant of others."""
    if "samples" in cell:
        return float(cell["samples"] * cell["features"])
    train, test = (cell.get(f"{split}_per_class", cell.get(split)) or 0 for split in ("train", "test"))
    candidates = len(cell.get("rates", ())) * max(1, len(cell.get("layers", ())))
    tuned = cell.get("epochs_tuned", 0) * train * (1 if candidates == 1 else 1 + 0.8 * candidates)
    # Texts of a class that are not counted are as many as a class of docstrings has at most.
    return train + test + 3 * tuned + 3 * (cell.get("per_class") or 100) * cell.get("epochs", 0)


def most_hours(study: str, scale: str, tried: Sequence[dict]) -> float:
    """Hours of all cells, if each took as long for its work as the cell of its kind did, starting included."""
    rates = {}
    for record in tried:
        cell = cell_of(record)
        rates[kind_of(cell)] = record["provenance"]["seconds"] / max(work_of(study, cell), 1.0)
    slowest = max(rates.values())
    return sum(work_of(study, cell) * rates.get(kind_of(cell), slowest) for cell in cells_of(study, scale)) / 3600


def least_hours(study: str, scale: str, speeds: tuple[float, float]) -> float | None:
    """Hours of all cells at the speed of large batches; None where operations are not counted."""
    cells = cells_of(study, scale)
    if study in ON_CPU or any("pixels_per_class" in cell for cell in cells):
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
        table = costs.cost_of(each.study, scale, Records(ROOT / "book" / "records"))[3]
        rows.append(row | {"hours, projected": " to ".join(ends), "cost table": table})
    return (
        f"{pd.DataFrame(rows).to_string(index=False)}\n"
        f"One end: the operations at {speeds[0]:.1e} a second ({speeds[1]:.1e} in float32), what large batches of a "
        "ResNet-18 sustain here, or the files as fast as the cost table assumes. The other: as slow for its work as "
        "the smoke's cells, whose small batches, loading and scores count as if they grew with the work."
    )


def tell_needs(cells: dict[str, list[Cell]], scale: str, data_root: Path | None) -> tuple[list[Need], bool]:
    """Print what a scale needs; the list, and whether anything is missing, or fewer than it should be."""
    needed = needs(cells, data_root)
    typer.echo(f"{scale} scale needs\n{as_text(needed)}")
    vain = [f"{study}: {said}" for study, members in cells.items() for said in impossible(members)]
    for said in vain:
        typer.echo(f"IN VAIN {said}")
    return needed, bool(vain) or any(need.missing or need.fewer for need in needed)


def main(
    scale: Annotated[str, typer.Option(help="demo, lab or paper")] = "paper",
    study: Annotated[list[str] | None, typer.Option(help="studies; by default all")] = None,
    data_root: Annotated[Path | None, typer.Option(envvar="NCLIB_DATA", help="the folder of the data sets")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    imports: Annotated[list[str] | None, typer.Option(help="modules that register models of yours with timm")] = None,
    fake: Annotated[bool, typer.Option(help="make a data root of noise, and random weights, and try these")] = False,
) -> None:
    """Say what a scale needs and what is missing, run its chapters on a cell of each kind, and project the hours.

    Exits with 1 if anything is missing, or a chapter fails.
    """
    studies = [name for name in study or STUDIES if cells_of(name, scale)]
    small = {name: smoke_cells(name, scale) for each in chapters_of(studies).values() for name in each}
    if fake:
        data_root = FAKE_ROOT
        fake_data.make(FAKE_ROOT, [cell for cells in small.values() for cell in cells])
    needed, wrong = tell_needs({name: cells_of(name, scale) for name in studies}, scale, data_root)
    wrong = wrong and not fake  # it has few images, and the weights of those models only that are tried
    tried = []
    for source, members in chapters_of(studies).items():
        if missing := lacking(needed, {name: small[name] for name in members}, data_root):
            typer.echo(f"SKIPPED {source.stem} ({', '.join(members)}), for want of {', '.join(missing)}")
            continue
        start = time.perf_counter()
        parameters = {"scale": scale, "device": device, "smoke": True} | (
            {"data_root": str(data_root)} if data_root else {}
        )
        parameters |= {"imports": imports} if imports and "imports: list" in source.read_text(encoding="utf-8") else {}
        failed = run_chapter(source, parameters)
        wrong = wrong or bool(failed)
        typer.echo(f"{'FAILED' if failed else 'ran'} {source.stem}, {time.perf_counter() - start:.0f} s\n{failed}")
        records = Records(FOLDER / "records")
        found = [Tried(name, records.select(name, scale, small[name])) for name in members]
        tried += [each for each in found if each.records]
    if tried:
        typer.echo(cells_table(tried))
        typer.echo(hours_table(tried, scale, resolve_device(device)))
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(main)
