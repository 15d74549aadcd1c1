"""A run of a chapter's studies: the parameters of its notebook, checked, and where its files are."""

import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from nclib import __version__
from nclib.data import ImageSet, load
from nclib.findings import TOLERANCE
from nclib.networks import Network
from nclib.plots import use_style
from nclib.records import Records, differences, fill, measured
from nclib.scales import Scale, settings
from nclib.training import Recipe, resolve_device, train

Measure = Callable[..., dict[str, Any]]  # measure(cell, cache) -> metrics


@dataclass(frozen=True)
class Run:
    """Made by `start`; a notebook asks it for the tables of its studies."""

    scale: str
    settings: Scale
    seeds: tuple[int, ...]
    device: torch.device
    data_root: Path | None
    records: Records
    cache: Path

    def load(self, name: str, split: str, *, per_class: int | None = None) -> ImageSet:
        """A data set, from the run's data root; see `nclib.load`."""
        return load(name, split, per_class=per_class, data_root=self.data_root)

    def train(self, recipe: Recipe, **options: Any) -> Network:
        """The network of a recipe, on the run's device, from its data root; options as of `nclib.train`."""
        return train(recipe, device=self.device, data_root=self.data_root, **options)

    def study(self, name: str, cells: Iterable[dict[str, Any]], measure: Measure) -> pd.DataFrame:
        """The table of a study: recorded cells are read, missing ones measured and recorded."""
        return fill(self.records, name, self.scale, cells, partial(measure, cache=self.cache), device=self.device_name)

    def live(self, name: str, cell: dict[str, Any], measure: Measure) -> pd.DataFrame:
        """Measure one cell from nothing, no cache read, and hold it against its record.

        One row a metric of `nclib.findings.TOLERANCE`, see `nclib.records.differences`.
        """
        recorded = self.study(name, [cell], measure)
        record = measured(name, self.scale, cell, partial(measure, cache=None), device=self.device_name)
        return differences(recorded, pd.DataFrame([cell | record["metrics"]]), TOLERANCE)

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"


def book_root() -> Path:
    """The folder of the book: this one, or the nearest above, that holds ``book/records``."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "book" / "records").is_dir():
            return folder
    raise FileNotFoundError(f"no book/records in {here} or above; run this inside the book, or give root=...")


def start(
    scale: str = "demo",
    *,
    device: str = "auto",
    seeds: Sequence[int] | str | None = None,
    data_root: str | Path | None = None,
    recompute: bool = False,
    root: str | Path | None = None,
) -> Run:
    """Check a notebook's parameters, print what it runs on, and set the style of the figures.

    Records are those of ``book/records`` under `root`, by default `book_root()`. With `recompute`
    everything is measured again into ``_build/recomputed`` instead, which a killed run fills further;
    delete that folder to begin anew. Checkpoints are cached in ``NCLIB_CACHE``, by default
    ``~/.cache/nclib``.
    """
    chosen = settings(scale)
    # papermill -p seeds "[0, 1]" passes text
    given = json.loads(seeds) if isinstance(seeds, str) else seeds
    seeds = chosen.seeds if given is None else tuple(given)
    if not seeds or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise ValueError(f"seeds are {list(seeds)}; they must be one or more whole numbers from 0 on")
    root = book_root() if root is None else Path(root)
    again = root / "_build" / "recomputed"
    run = Run(
        scale=scale,
        settings=chosen,
        seeds=seeds,
        device=resolve_device(device),
        data_root=Path(data_root) if data_root else None,
        records=Records(again / "records" if recompute else root / "book" / "records"),
        cache=again / "cache" if recompute else Path(os.environ.get("NCLIB_CACHE", "~/.cache/nclib")).expanduser(),
    )
    if run.device.type == "cpu" and scale != "demo":
        warnings.warn(
            f"the {scale} scale is meant for a GPU; on this CPU cells without a record are slow", stacklevel=2
        )
    use_style()
    warnings.filterwarnings("ignore", message="IProgress not found")  # bars are text here, on purpose
    print(f"nclib {__version__}, torch {torch.__version__}, {run.device_name}; {scale} scale, seeds {list(seeds)}")
    return run
