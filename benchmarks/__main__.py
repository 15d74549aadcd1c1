"""Run the benchmarks, here or as another processor would."""

import subprocess
import sys
from typing import Annotated

import typer

from workflow.measures import ROOT
from workflow.processors import COMBINATIONS


def main(
    like: Annotated[str, typer.Option(help="; ".join(COMBINATIONS))] = "as it is, two threads",
    keep: Annotated[bool, typer.Option(help="take what was timed into book/benchmarks.csv")] = False,
    only: Annotated[str, typer.Option(help="files or tests, as pytest's -k takes them")] = "",
) -> None:
    """Time nclib against other code; ends with the ratios."""
    if like not in COMBINATIONS:
        raise typer.BadParameter(f"there is no {like!r}; there are {'; '.join(COMBINATIONS)}")
    command = [sys.executable, "-m", "pytest", "benchmarks", "-s", "-k", only, *["--keep-rows"] * keep]
    command += [] if like.startswith("as it is") else ["--emulated", like]
    command += ["--benchmark-columns=median,iqr,rounds", "--benchmark-sort=name"]
    environment = COMBINATIONS[like].environment | {"SCIPY_ARRAY_API": "1"}  # for scikit-learn on tensors
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=environment).returncode)


if __name__ == "__main__":
    typer.run(main)
