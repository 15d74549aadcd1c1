"""Run nbval on the chapters' live cells, and what these need, as on other processors."""

import subprocess
import sys

import nbformat
import typer

from nclib.experiments.run import LIVE_AT, LIVE_FOLDER
from workflow.measures import ROOT, chapters, measuring_cells
from workflow.processors import COMBINATIONS

FOLDER = ROOT / LIVE_FOLDER / "notebooks"
PROCESSORS = ("SSE4.1", "AVX2")


def live_only(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A chapter with the cells that measure and those that are tagged live, with their outputs."""
    live = [cell for cell in notebook.cells if "live" in cell.metadata.get("tags", [])]
    if not live:
        raise ValueError("a chapter has no cell with the tag live")
    return nbformat.v4.new_notebook(metadata=notebook.metadata, cells=[*measuring_cells(notebook), *live])


def check(name: str) -> bool:
    """Whether the live cells say on an emulated processor what the committed notebooks say."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--nbval"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "sanitize.cfg"), str(FOLDER)]
    typer.echo(f"the live cells as on {name}")
    own = COMBINATIONS[name].environment | {LIVE_AT: str(FOLDER / name)}  # the page shows what this machine measured
    return subprocess.run(command, cwd=ROOT, env=own).returncode == 0


def main() -> None:
    """Check all processors that can be emulated here; exit with 1 if one does not agree."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for source in chapters():
        executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
        nbformat.write(live_only(executed), FOLDER / f"{source.stem}.ipynb")
    wrong = [name for name in PROCESSORS if COMBINATIONS[name].possible and not check(name)]
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
