"""Mutation tests: of the small faults that are put into a module, one at a time, how many do its own tests find?

A seeded sample of the faults that mutmut can make is tried. What it found goes into a table of the book, and the
faults that no test found are printed as differences, to write a test for or to explain.
"""

import json
import random
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from nclib.storage import replacing
from workflow.measures import ROOT

MODULES = {  # and their own tests
    "nclib/metrics": "tests/metrics",
    "nclib/transferability": "tests/transferability",
    "nclib/estimates.py": "tests/test_estimates.py",
}
NUMBER = 150
SEED = 0
TABLE = ROOT / "book" / "mutants.csv"
MUTMUT = ROOT / ".venv" / "mutants" / "bin" / "mutmut"
# Exit codes in mutmut's files, and what they say of a fault; with another one, or none, it was not tried to the end.
SURVIVED, UNTESTED = (0,), (5, 33)
KILLED = (1, 3, *(36, 24, -24, 152, 255))  # a test failed, or ran into a limit of time
SETTINGS = """
[tool.mutmut]
source_paths = ["nclib"]
only_mutate = ["{module}"]
pytest_add_cli_args = ["--ignore=tests/metrics/test_calls.py"]
pytest_add_cli_args_test_selection = ["{tests}"]
also_copy = ["workflow", "README.md"]
timeout_multiplier = 60.0
use_git_change_detection = false
"""


def copied(module: str) -> Path:
    """A copy of what the tests of a module need, so that nothing is changed here.

    mutmut leaves out functions that are decorated, so `with_cure` is taken off, and its tests are not run.
    """
    folder = ROOT / "_build" / "mutants" / Path(module).stem
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("nclib", "tests", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for path in (folder / "nclib").rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8").replace("\n@with_cure\n", "\n"), encoding="utf-8")
    only = module if module.endswith(".py") else f"{module}/*"
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS.format(module=only, tests=MODULES[module]))
    return folder


def mutmut(folder: Path, *arguments: str) -> str:
    """What mutmut prints; RuntimeError with that if it fails."""
    done = subprocess.run([MUTMUT, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mutmut {arguments[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def codes(folder: Path) -> dict[str, int | None]:
    """The exit code of the tests of every fault, by the fault's name; None of those that were not tried."""
    found: dict[str, int | None] = {}
    for path in sorted(folder.glob("mutants/nclib/**/*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def sample(names: Iterable[str], number: int) -> list[str]:
    """As many of the names, the same every time."""
    known = sorted(names)
    return random.Random(SEED).sample(known, min(number, len(known)))


def tried(module: str, number: int) -> tuple[Path, dict[str, int | None]]:
    """The folder in which a sample of faults was tried, and what became of each."""
    folder = copied(module)
    try:
        mutmut(folder, "run", "none")  # makes the faults, and sees which tests reach them
    except RuntimeError:  # of "none", which names no fault; by then all are made
        if not codes(folder):
            raise
    chosen = sample(codes(folder), number)
    mutmut(folder, "run", "--max-children", "2", *chosen)
    found = codes(folder)
    return folder, {name: found[name] for name in chosen}


def row(module: str, found: dict[str, int | None]) -> dict[str, str | int | float]:
    """A row of the table: how many faults were tried, found and not, and the share that was found."""
    known = {"killed": KILLED, "survived": SURVIVED, "untested": UNTESTED}
    counts = {word: sum(code in codes for code in found.values()) for word, codes in known.items()}
    tried = sum(counts.values())
    name = module.removesuffix(".py").replace("/", ".")
    return {"module": name, "tried": tried, **counts, "score": round(counts["killed"] / tried, 3)}


def main(
    module: Annotated[list[str] | None, typer.Option(help="a module, such as nclib/metrics [default: all]")] = None,
    number: Annotated[int, typer.Option(help="faults tried of each")] = NUMBER,
    keep: Annotated[bool, typer.Option("--keep", help="take the scores into the book's table")] = False,
) -> None:
    """Try faults in modules, print those that no test finds, and the scores."""
    rows = []
    if unknown := set(module or ()) - MODULES.keys():
        raise typer.BadParameter(f"there is no module {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    for each in module or MODULES:
        folder, found = tried(each, number)
        for name, code in found.items():
            if code in SURVIVED + UNTESTED:
                typer.echo(mutmut(folder, "show", name))
        rows.append(row(each, found))
        typer.echo(pd.DataFrame(rows).to_string(index=False))
    if keep:
        known = [pd.read_csv(TABLE)] if TABLE.exists() else []
        table = pd.concat([*known, pd.DataFrame(rows)]).drop_duplicates("module", keep="last")
        with replacing(TABLE) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    typer.run(main)
