"""A run of a chapter's studies: the parameters of its notebook, checked, and where its files are."""

import contextlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import torch

from nclib import __version__
from nclib.checks import SetupError, setting_up
from nclib.data.catalogue import load
from nclib.data.images import ImageFiles, ImageSet
from nclib.data.places import find_path
from nclib.devices import double_device, double_precision, resolve_device, wait_passively
from nclib.experiments.cells import recipe_of
from nclib.experiments.chapters.selection import ON_CPU
from nclib.experiments.counts import check_counts
from nclib.experiments.plots import use_style
from nclib.experiments.records import (
    EXPECTED,
    Cell,
    Records,
    as_table,
    cell_digest,
    cell_of,
    emulated,
    fill,
    is_expected,
    processor,
    record_of,
)
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.scales.scale import Scale, Task, Zoo
from nclib.experiments.scales.smoke import reduced, representatives
from nclib.experiments.studies import (
    STUDIES,
    cells_of,
    chapter_mates,
    declared,
    earlier,
    explored,
    followed_up,
    live_cell,
)
from nclib.experiments.tolerances import differences, kind, read_spreads, tolerances
from nclib.extras import optional
from nclib.features.backbones import Backbone, recipe_backbone
from nclib.models.networks import Network
from nclib.models.pretrained import backbone
from nclib.models.recipes import Recipe, train
from nclib.storage import replacing

Names = Sequence[str] | str | None

# What a grid tells its runs: where records are, and the one cell to be measured, as study/digest.
RECORDS_AT, ONLY = "NCLIB_RECORDS", "NCLIB_ONLY"
LIVE_AT = "NCLIB_LIVE"  # another folder for what live cells measure, when other processors are emulated
# The folder that holds the unfinished work of the cell that is being measured. The measuring functions of frozen
# chapters do not hand it on, and workers are processes that know nothing else of the cell.
_UNFINISHED: ContextVar[Path | None] = ContextVar("unfinished", default=None)
SPREADS = Path("book") / "processors.csv"
LIVE_FOLDER = Path("_build") / "live"
SMOKE_FOLDER = Path("_build") / "smoke"  # emptied by every smoke run


@dataclass(frozen=True)
class Run:
    """Made by `start`; a notebook asks it for the tables of its studies.

    Examples
    --------
    >>> start(device="cpu").load("digits", "test", per_class=2)
    demo scale
    ImageSet(20 images, 10 classes)
    """

    scale: str
    settings: Scale
    seeds: tuple[int, ...] | None  # None: those of each study
    device: torch.device
    data_root: Path | None
    imports: tuple[str, ...]
    records: Records
    root: Path
    cache: Path
    only: tuple[str, str] | None = None
    retry: bool = False  # measure cells that failed again
    smoke: bool = False

    def load(self, name: str, split: str, *, per_class: int | None = None, seed: int = 0) -> Any:
        """A data set, from the run's data root; see `nclib.load`."""
        with setting_up():
            return load(name, split, per_class=per_class, seed=seed, data_root=self.data_root)

    def train(self, recipe: Recipe, **options: Any) -> Network:
        """The network of a recipe, on the run's device, with data of its data root; options as in `nclib.train`.

        With `on_epoch` its trail is kept in `unfinished`.
        """
        trail = {"trail": self.unfinished("trail")} if options.get("on_epoch") else {}
        return train(recipe, device=self.device, data_root=self.data_root, **(trail | options))

    def unfinished(self, name: str) -> Path | None:
        """The path where the cell being measured keeps its work under a name; a killed run resumes from there.

        It is in the cache until the cell's record or failure is written. None outside `study`, so that live cells begin
        from scratch.
        """
        folder = _UNFINISHED.get()
        return folder and folder / name

    def _unfinished_of(self, study: str, cell: Cell) -> Path:
        return self.cache / "unfinished" / f"{study}-{self.scale}-{cell_digest(cell)}"

    def _settled(self, study: str, cell: Cell) -> None:
        """Remove the unfinished work of a cell, once its record or failure is written."""
        shutil.rmtree(self._unfinished_of(study, cell), ignore_errors=True)

    def _measured(self, study: str, measure: Callable[..., dict[str, Any]], cell: Cell) -> dict[str, Any]:
        """The metrics of a cell, in a process that may be one of several workers.

        The work that an earlier run left may be damaged, or its data may have changed since. A cell that fails with it
        is measured once more, from scratch.
        """
        folder = self._unfinished_of(study, cell)
        goes_on, token = folder.exists(), _UNFINISHED.set(folder)
        try:
            return measure(cell, cache=self.cache)
        except EXPECTED as error:
            if not goes_on or not is_expected(error):
                raise
            warnings.warn(f"a cell of {study} failed when it resumed, and starts again: {error}", stacklevel=2)
            self._settled(study, cell)
            return measure(cell, cache=self.cache)
        finally:
            _UNFINISHED.reset(token)

    def backbone(self, cell: Cell, cache: Path | None) -> Backbone:
        """The pre-trained model of a cell, on the run's device."""
        return self.pretrained(cell, cache)[0]

    def pretrained(self, cell: Cell, cache: Path | None) -> tuple[Backbone, Network | None]:
        """The pre-trained model of a cell and, if it is trained here, the whole network (else None)."""
        if "weights" in cell:
            return self._named(cell), None
        recipe = recipe_of(cell)
        network = self.train(recipe, cache=cache, progress=False)
        shape = self.load(recipe.source, "test", per_class=1).in_memory(recipe.size).images.shape
        return recipe_backbone(network.backbone, shape[1], shape[-1], name=recipe.key), network

    def _named(self, cell: Cell) -> Backbone:
        """A model by its name, or a named architecture with weights from a file of the data root."""
        name, weights = cell["model"], cell["weights"]
        if "architecture" in cell:
            made = "what workflow/make_weights.py makes"
            name, weights = cell["architecture"], find_path(f"file:{weights}", self.data_root, made, Path.is_file)
        with setting_up():
            return backbone(name, weights=weights, imports=self.imports, device=self.device)

    def task(self, cell: Cell) -> tuple[ImageSet | ImageFiles, ImageSet | ImageFiles]:
        """The training and test images of a cell's task."""
        draw = cell.get("draw", 0)
        train = self.load(cell["data"], "train", per_class=cell["train_per_class"], seed=draw)
        test = self.load(cell["data"], "test", per_class=cell["test_per_class"], seed=draw)
        if train.classes != test.classes:
            raise SetupError(f"the test images of {cell['data']} have other classes than its training images")
        return train, test

    def cells(self, study: str) -> list[Cell]:
        """The cells of a study at this scale, for the seeds of this run; in a smoke run one cell of each kind."""
        if not self.seeds:
            return cells_of(study, self.scale, given=self.settings)
        cells = STUDIES[study](self.settings, self.seeds)
        return representatives(cells) if self.smoke else cells

    def _deciding(self, study: str) -> list[Cell]:
        """More cells of a study, which decide single claims; none if seeds, models or tasks are not the scale's."""
        usual = not self.seeds and self.settings == settings(self.scale)
        return [cell for cells in followed_up(study, self.scale) for cell in cells] if usual else []

    def study(self, name: str, measure: Callable[..., dict[str, Any]]) -> pd.DataFrame:
        """The table of a study: recorded cells are read, missing ones measured and recorded.

        `measure(cell, cache)` returns the metrics of a cell. Without a GPU every core measures a cell of its own,
        which is faster than threads for networks as small as these. LOKY_MAX_CPU_COUNT limits the number of cores. A
        cell that fails is missing in the table, see `fill`. Cells that decide single claims under a later protocol are
        measured as well; they are not in the table, but `declared` reads them.

        If the run measures only one cell, it measures this cell and then ends the notebook. It reads the records of
        other studies.
        """
        study, digest = self.only or (name, None)
        cells = self.cells(name)
        if name != study:
            return as_table(self.records.select(name, self.scale, cells))
        asked = [*cells, *self._deciding(name)]
        if digest and not (asked := [cell for cell in asked if cell_digest(cell) == digest]):
            raise ValueError(f"{name} at {self.scale} scale, seeds {self.seeds or 'as declared'}, has no cell {digest}")
        for mate in chapter_mates(name):  # before any of them is measured
            check_counts(mate, self.scale, asked if mate == name else self.cells(mate))
        device = self._device_name(name)
        workers = joblib.cpu_count() if device == "cpu" else 1
        for record in self.records.select(name, self.scale, asked):
            self._settled(name, cell_of(record))  # of a run that was killed between the record and this
        measure = partial(_with_its_own_peak, measure) if self.smoke else measure
        table = fill(
            self.records,
            name,
            self.scale,
            asked,
            partial(self._measured, name, measure),
            device=device,
            workers=workers,
            retry=self.retry or self.only is not None,
            settled=partial(self._settled, name),
        )
        if self.only:
            print(self.records.describe(name, self.scale, asked))
            raise SystemExit(0)  # papermill takes this for a notebook that is done
        return table if asked == cells else as_table(self.records.select(name, self.scale, cells))

    def live(self, measures: Mapping[str, Callable[..., dict[str, Any]]]) -> pd.DataFrame:
        """Measure the live cell of each study from scratch, by its `measure(cell, cache)`; compare it with its record.

        Returns a row for each metric: the recorded value, how far a processor may be from it (`tolerances`), and
        whether this one agrees. The measured value depends on the processor, so it goes into a file for each study
        in ``_build/live``, and not into the notebook. The cells belong to the scale "check". They are measured in
        float64, and only in a run at demo scale; at other scales the table is empty.
        """
        if self.scale != "demo":
            print("the live check needs the demo scale: nothing was measured")
            return pd.DataFrame()
        if not measures:
            raise ValueError("there is no study to check; give a measuring function under the name of its study")
        found = pd.concat({study: self._live(study, measure) for study, measure in measures.items()})
        if found["agrees"].all():
            print("the live check agrees with the records: True")
        else:
            wrong = ", ".join(f"{name} of {study}" for study, name in found.index[~found["agrees"]])
            print(f"the live check agrees with the records: False: {wrong} differs, see {LIVE_FOLDER}")
        return found[["recorded", "tolerance", "agrees"]]

    def _live(self, study: str, measure: Callable[..., dict[str, Any]]) -> pd.DataFrame:
        cell = live_cell(study)
        recorded = Records(self.root / "book" / "records").select(study, "check", [cell])
        if not recorded:
            raise ValueError(f"the live cell of {study} has no record in {self.root}; `make processors` measures it")
        allowed = self._allowed(study, cell, recorded[0]["metrics"])
        with double_precision():
            now = record_of(study, "check", cell, partial(measure, cache=None), device=self._device_name(study))
        found = differences(as_table(recorded), as_table([now]), allowed).rename_axis("metric")
        with replacing(self.root / os.environ.get(LIVE_AT, LIVE_FOLDER) / f"{study}.csv") as path:
            found.assign(processor=", ".join([processor(), *emulated()])).to_csv(path)
        return found

    def _allowed(self, study: str, cell: Cell, metrics: Iterable[str]) -> dict[str, float]:
        """The tolerances of a live cell; ValueError if a metric's spread is not known, or no metric can be checked."""
        spreads = read_spreads(self.root / SPREADS)
        known = set(spreads[(spreads["scale"] == "check") & (spreads["cell"] == cell_digest(cell))]["metric"])
        if lacking := [name for name in metrics if kind(name) and name not in known]:
            what = f"{', '.join(lacking)} of {study}"
            raise ValueError(f"the spread between processors is unknown for {what}; `make processors` measures it")
        if not (allowed := tolerances(spreads, [study], "check", [cell])):
            raise ValueError(f"no metric of the live cell of {study} is steady enough; choose another live cell")
        return allowed

    def beside(self, study: str, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """The tables of a study by scale: this run's, and those of other scales whose records are complete.

        A scale without cells of the study is left out.
        """
        tables = {self.scale: table}
        for scale in SCALES.keys() - {self.scale}:
            found = declared(self.records, study, scale)
            tables[scale] = explored(self.records, study, scale) if found is None else found
        return {name: tables[name] for name in SCALES if tables.get(name) is not None and len(tables[name])}

    def study_by_scale(self, name: str, measure: Callable[..., dict[str, Any]]) -> dict[str, pd.DataFrame]:
        """The tables of a study by scale, this run's made by `study`; prints where their records come from."""
        tables = self.beside(name, self.study(name, measure))
        for scale in tables:
            print(self.describe(name, scale))
        return tables

    def earlier(self, study: str) -> dict[str, pd.DataFrame]:
        """The tables of a study under its earlier protocol, for the scales at which a later one followed."""
        found = {scale: earlier(self.records, study, scale) for scale in SCALES}
        return {scale: table for scale, table in found.items() if table is not None}

    def describe(self, study: str, scale: str | None = None) -> str:
        """Say where the records of a study come from, at this or another scale, with a digest of all their digits."""
        scale = scale or self.scale
        cells = self.cells(study) if scale == self.scale else cells_of(study, scale)
        return self.records.describe(study, scale, cells)

    def _device_name(self, study: str | None = None) -> str:
        on_gpu = self.device.type == "cuda" and study not in ON_CPU
        return torch.cuda.get_device_name(self.device) if on_gpu else "cpu"


def _with_its_own_peak(measure: Callable[..., dict[str, Any]], cell: Cell, **options: Any) -> dict[str, Any]:
    """Measure a cell after resetting the peak of a GPU's memory, so that its record holds the peak of this cell."""
    if torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)
    return measure(cell, **options)


def book_root() -> Path:
    """The folder of the book: the current one, or the nearest above it, that holds ``book/records``."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "book" / "records").is_dir():
            return folder
    raise FileNotFoundError(
        f"no book/records in {here} or above; run this inside the book (papermill runs a notebook in the folder that "
        "--cwd names: --cwd PATH/TO/notebooks), or give root=... to start"
    )


def start(
    scale: str = "demo",
    *,
    device: str = "auto",
    seeds: Sequence[int] | int | str | None = None,
    data_root: str | Path | None = None,
    imports: Sequence[str] | str | None = None,
    models: Names = None,
    tasks: Names = None,
    recompute: bool | str = False,
    smoke: bool = False,
    root: str | Path | None = None,
) -> Run:
    """Check a notebook's parameters, print what it runs on, and set the style of the figures.

    On the device ``auto`` the demo scale, whose networks are too small for a GPU, runs on the CPU, on one thread unless
    OMP_NUM_THREADS or OMP_WAIT_POLICY is set. Records are in ``book/records`` under `root`, by default `book_root()`.
    Checkpoints and features are cached in ``NCLIB_CACHE``, by default ``~/.cache/nclib``.

    With `recompute` everything is measured again into ``_build/recomputed`` instead. A run that was killed goes on
    there; delete the folder to begin anew. With "failed" the cells that failed are tried again, and recorded with the
    others. With `smoke` one cell of each kind is measured, with few images and two epochs, into ``_build/smoke``, which
    is emptied first. This shows whether everything that a scale needs is there and works, and how long a cell takes,
    see `nclib.experiments.scales.smoke`. (A grid names another folder of records in NCLIB_RECORDS, and one cell in
    NCLIB_ONLY as "study/digest", see `cell_digest`: the run measures that cell and ends.)

    `models` and `tasks` replace the scale's pre-trained models and their tasks. Models are named as for
    `nclib.backbone` (`imports` are the modules that register your own), tasks as for `nclib.load`, with all their
    images.

    Raises ValueError for a parameter that is not allowed, and FileNotFoundError if no folder holds ``book/records``.

    >>> start("demo", seeds=[1, 2], device="cpu").seeds
    demo scale, seeds [1, 2]
    (1, 2)
    """
    with optional("statsmodels"):  # here, for what judges claims imports it in the end, and is frozen
        import_module("statsmodels")
    wait_passively(one_thread=settings(scale).device == "cpu")
    chosen = _chosen(scale, models, tasks, data_root)
    anew = _anew(recompute, smoke)
    root = book_root() if root is None else Path(root)
    apart = root / (SMOKE_FOLDER if smoke else Path("_build") / "recomputed") if anew or smoke else None
    if smoke:
        chosen = reduced(chosen)
        seeds = chosen.seeds if seeds is None else seeds
        _begin_smoke(root, scale)
    run = Run(
        scale=scale,
        settings=chosen,
        seeds=None if seeds is None else _parse_seeds(seeds),
        device=device_of(chosen, device),
        data_root=Path(data_root) if data_root else None,
        imports=tuple(_parse_names(imports, "imports")) if imports else (),
        records=Records(os.environ.get(RECORDS_AT) or (apart or root / "book") / "records"),
        root=root,
        only=_parse_only(os.environ.get(ONLY)),
        cache=apart / "cache" if apart else Path(os.environ.get("NCLIB_CACHE", "~/.cache/nclib")).expanduser(),
        retry=recompute == "failed",
        smoke=smoke,
    )
    use_style()
    warnings.filterwarnings("ignore", message="IProgress not found")  # bars are text here, on purpose
    warnings.filterwarnings("ignore", message="Network ends in a linear layer")  # chapter 1 wants its logits
    # To stderr, which the runner removes: it depends on the machine.
    print(f"nclib {__version__}, torch {torch.__version__}, {run._device_name()}", file=sys.stderr)
    said = f"{scale} scale, a smoke run" if smoke else f"{scale} scale"
    print(f"{said}, seeds {list(run.seeds)}" if run.seeds else said)
    return run


def _chosen(scale: str, models: Names, tasks: Names, data_root: str | Path | None) -> Scale:
    """The settings of a scale, with models and tasks in place of its own if they are given."""
    chosen = settings(scale)
    if models is not None:
        chosen = _with_models(chosen, tuple(_parse_names(models, "models")))
    if tasks is not None:
        chosen = _with_tasks(chosen, tuple(_own_task(name, data_root) for name in _parse_names(tasks, "tasks")))
    return chosen


def _anew(recompute: bool | str, smoke: bool) -> bool:
    """Whether everything is measured again; ValueError if the parameters are wrong or name several record folders."""
    if recompute not in (True, False, "failed"):
        raise ValueError(f"recompute is {recompute!r}; it must be True, False, or 'failed' for the cells that failed")
    if smoke not in (True, False):
        raise ValueError(f"smoke is {smoke!r}; it must be True or False")
    anew = bool(recompute) and recompute != "failed"
    given = {"recompute": anew, "smoke": smoke, RECORDS_AT: os.environ.get(RECORDS_AT)}
    if len(told := [name for name, value in given.items() if value]) > 1:
        raise ValueError(f"{told[0]} measures into a folder of its own; give either that or {', '.join(told[1:])}")
    return anew


def _begin_smoke(root: Path, scale: str) -> None:
    """Empty the folder of smoke runs, and copy the book's records of other scales there: figures show them, too."""
    records = root / SMOKE_FOLDER / "records"
    for folder in (records, root / SMOKE_FOLDER / "cache"):
        shutil.rmtree(folder, ignore_errors=True)
    records.mkdir(parents=True)
    for path in (root / "book" / "records").glob("*.jsonl"):
        if not path.name.partition(".")[0].endswith(f"-{scale}"):  # neither its records nor its failures
            shutil.copy(path, records)


def device_of(scale: Scale, name: str) -> torch.device:
    """The device of a run by name; "auto" is what the scale says.

    "auto" never chooses mps, because the frozen protocols compute features in float64, which it lacks.
    """
    name = scale.device if name == "auto" else name
    device = resolve_device(name)
    if double_device(device) == device:
        return device
    if name == "auto":
        return double_device(device)
    raise ValueError(
        f"device {str(device)!r} has no float64, which the chapters compute in; use 'auto', 'cpu' or 'cuda'"
    )


def _parse_only(only: str | None) -> tuple[str, str] | None:
    """The study and digest of the one cell to be measured; None if all are."""
    if not only:
        return None
    study, _, digest = only.partition("/")
    if study not in STUDIES or not digest:
        raise ValueError(f"{ONLY} is {only!r}; it must be study/digest, of the studies {', '.join(STUDIES)}")
    return study, digest


def _with_models(scale: Scale, names: tuple[str, ...]) -> Scale:
    """The scale with these pre-trained models instead of its own."""
    zoo = Zoo("models", scale.model_tasks, models=names, rates=(1e-4, 1e-3), repeats=1)
    scenes = replace(zoo, tasks=scale.scene_zoos[0].tasks, method="linear")
    return replace(scale, models=names, zoos=(zoo,), scene_zoos=(scenes,))


def _with_tasks(scale: Scale, tasks: tuple[Task, ...]) -> Scale:
    """The scale with these tasks for its pre-trained models."""
    return replace(scale, model_tasks=tasks, zoos=tuple(replace(zoo, tasks=tasks) for zoo in scale.zoos))


def _own_task(name: str, data_root: str | Path | None) -> Task:
    """A task that takes all images of a data set, as they are now."""
    digests = [load(name, split, data_root=data_root).digest[:12] for split in ("train", "test")]
    return Task(name, name, None, None, "-".join(digests))


def from_json(given: Any) -> Any:
    """A text of JSON, such as a number or a list, as a Python value; anything else as it is."""
    with contextlib.suppress(json.JSONDecodeError, TypeError):
        return json.loads(given)
    return given


def _parse_names(given: object, what: str) -> list[str]:
    """Names from a list or from its text, which is what papermill -p passes."""
    names = from_json(given)
    names = [names] if isinstance(names, str) else list(names) if isinstance(names, list | tuple) else []
    if not (names and all(isinstance(name, str) for name in names)):
        raise ValueError(f'{what} are {given!r}; they must be names, such as ["a", "b"]')
    return names


def _parse_seeds(seeds: object) -> tuple[int, ...]:
    """Seeds from a list, a number, or the text of either, which is what papermill -p passes."""
    given = from_json(seeds)
    numbers = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not numbers or len(set(numbers)) < len(numbers) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"seeds are {seeds!r}; they must be different whole numbers, 0 or higher, such as [0, 1]")
    return numbers
