"""The workplace of the how-to pages: a new folder, small models and images, and the same output on every computer."""

import atexit
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import torch

import nclib
from nclib.data.images import ImageSet
from nclib.experiments.plots import use_style
from nclib.models.recipes import Recipe, train
from nclib.transferability import ranking
from nclib.transferability.ranked import Ranking

_LETTERS = Recipe(source="glyphs/latin", per_class=20, width=8, epochs=8, batch_size=64)

# The models that the pages measure, tune and rank, by the names of their files.
MODELS = {
    "latin": _LETTERS,
    "greek": replace(_LETTERS, source="glyphs/greek"),
    "georgian": replace(_LETTERS, source="glyphs/georgian"),
    "brief": replace(_LETTERS, epochs=1),
    "untrained": replace(_LETTERS, epochs=0),
}

# The script that runs when a shell cell calls `nclib`.
_COMMAND = """#!/bin/sh
exec "{python}" -c '
from nclib.cli import app
from nclib.experiments.scratch import print_the_same
print_the_same()
app()
' "$@"
"""


def workplace() -> None:
    """Work in double precision in a new folder, which is removed at the end; `nclib` in a shell cell does so, too.

    In single precision processors differ in the last digits that a page prints and, after training, in the first ones.
    """
    folder = mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chdir(folder)
    own = Path("bin", "nclib").absolute()
    own.parent.mkdir()
    own.write_text(_COMMAND.format(python=sys.executable), encoding="utf-8")
    own.chmod(0o755)
    os.environ["PATH"] = f"{own.parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["COLUMNS"] = "80"  # of the commands: what a page shows without scrolling
    print_the_same()
    use_style()


def print_the_same() -> None:
    """From now on compute in double precision, and leave out of the output what differs from run to run."""
    warnings.filterwarnings("ignore", message="IProgress not found")  # bars are text here, on purpose
    torch.set_default_dtype(torch.float64)
    nclib.rank_models = ranking.rank_models = without_seconds(ranking.rank_models)


def without_seconds(rank: Callable[..., Ranking]) -> Callable[..., Ranking]:
    """The function, with rankings that leave out how long each model took, which differs from run to run."""

    @wraps(rank)
    def ranked(*arguments: Any, **options: Any) -> Ranking:
        found = rank(*arguments, **options)
        return replace(found, table=found.table.drop(columns="seconds"))

    return ranked


def pretrain(*names: str) -> None:
    """Train some of `MODELS` and save each as NAME.safetensors; `recipe:NAME.safetensors` is its name as a model."""
    for name in names:
        with TemporaryDirectory() as folder:
            train(MODELS[name], device="cpu", cache=folder, progress=False)
            (trained,) = Path(folder).glob("*.safetensors")
            shutil.move(trained, f"{name}.safetensors")


def write_images(images: ImageSet, folder: str) -> None:
    """Write images as FOLDER/<class>/<number>.png."""
    for i, label in enumerate(images.labels.tolist()):
        path = Path(folder, images.classes[label], f"{i:04d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        images.image(i).save(path)
