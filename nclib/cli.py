"""The command line: `nclib measure features.npz`, `nclib extract MODEL DATA features.safetensors`."""

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_FILE = (
    "An .npz, .safetensors or .pt file of features (N, d) and labels (N,), with weight (K, d) and bias (K,) "
    "of a classifier if you like, by these names; an .npy file of features; a .parquet file, or folder of them, with a "
    "column of each; or class statistics of `nclib statistics`."
)
_METRICS = "Names with commas between, or 'all'; without it vci, directional CDNV and ranks are left out."

# The options of a command in groups, as its help shows them.
_MODELS, _DATA, _SCORES, _OUTPUT = (
    partial(typer.Option, rich_help_panel=group) for group in ("Models", "Data", "Scores", "Output")
)
_Model = Annotated[
    str, typer.Argument(help="A timm model, torchvision:NAME, or recipe:PATH of a checkpoint that nclib wrote.")
]
_Data = Annotated[str, typer.Argument(help="A data set by name, or a folder with a folder for each class.")]
_Split = Annotated[str, typer.Option(help="train, test, val or all, as far as the data set has them.")]
_Layer = Annotated[str, typer.Option(help="The name of a module, its place among the blocks, or last.")]
_Imports = Annotated[
    list[str] | None, _MODELS("--import", help="A module, or .py file, that registers models with timm.")
]
_DataRoot = Annotated[Path | None, _DATA(help="Where data sets are; else NCLIB_DATA.")]
_PerClass = Annotated[int | None, _DATA(help="The number of images of each class; else all.")]
_Device = Annotated[str, _MODELS(help="auto, cpu, cuda or mps.")]
_Cache = Annotated[Path | None, typer.Option(help="A folder that keeps features, for a run that may be cut.")]


@app.callback()
def main() -> None:
    """Measure neural collapse: of features in a file, or of a model on a data set."""


@app.command()
def measure(
    file: Annotated[Path, typer.Argument(help=_FILE)],
    labels: Annotated[Path | None, typer.Argument(help="An .npy file of labels, for features in an .npy file.")] = None,
    metrics: Annotated[str | None, typer.Option(help=_METRICS)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the collapse metrics of a table of features."""
    from nclib.features.files import read_features
    from nclib.metrics import measurement

    with _errors():
        result = measurement.measure(
            **read_features(file, labels), metrics=_split(metrics), progress=sys.stderr.isatty()
        )
    typer.echo(_json(result) if as_json else result)


@app.command()
def extract(
    model: _Model,
    data: _Data,
    output: Annotated[Path, typer.Argument(help="A .safetensors, .npz or .parquet file, that nclib measure reads.")],
    split: _Split = "train",
    layer: _Layer = "last",
    weights: Annotated[str, typer.Option(help="pretrained, random, or a .safetensors file.")] = "pretrained",
    imports: _Imports = None,
    data_root: _DataRoot = None,
    per_class: _PerClass = None,
    seed: Annotated[int, typer.Option(help="Of the choice of images.")] = 0,
    download: Annotated[bool, typer.Option("--download", help="Fetch a data set that is missing.")] = False,
    device: _Device = "auto",
    cache: _Cache = None,
) -> None:
    """Write the features of a model on a data set, with the labels."""
    from nclib.data.catalogue import data_name, load
    from nclib.features.extraction import Extraction, each_shard
    from nclib.features.files import WRITTEN, write_features
    from nclib.models.pretrained import backbone

    with _errors():
        _check_written(output, WRITTEN)
        name = data_name(data)
        images = load(name, split, per_class=per_class, seed=seed, data_root=data_root, download=download)
        made = backbone(model, weights=weights, imports=imports or [], device=device)
        shards = each_shard(made, images, [_layer(layer)], Extraction(cache=cache, progress=sys.stderr.isatty()))
        rows = ((next(iter(found.values())), images.labels[part.start : part.stop]) for part, found in shards)
        width = write_features(output, rows)
    typer.echo(f"{output}: {len(images):,} images, {len(images.classes)} classes, {width:,} features")


@app.command()
def statistics(
    model: _Model,
    data: _Data,
    output: Annotated[Path, typer.Argument(help="A .safetensors file of class statistics, that nclib measure reads.")],
    split: _Split = "train",
    layer: _Layer = "last",
    weights: Annotated[str, typer.Option(help="pretrained, random, or a .safetensors file.")] = "pretrained",
    imports: _Imports = None,
    data_root: _DataRoot = None,
    per_class: _PerClass = None,
    device: _Device = "auto",
    cache: _Cache = None,
) -> None:
    """Write the class statistics of a model's features, which are never in memory at once.

    On several GPUs or cores: torchrun --nproc-per-node 4 -m nclib statistics MODEL DATA OUTPUT.
    """
    from nclib.data.catalogue import data_name, load
    from nclib.devices import process_group
    from nclib.features.statistics import feature_statistics
    from nclib.models.pretrained import backbone

    with _errors(), process_group(device) as (own, rank):
        _check_written(output, (".safetensors",))
        images = load(data_name(data), split, per_class=per_class, data_root=data_root)
        made = backbone(model, weights=weights, imports=imports or [], device=own)
        bar = rank == 0 and sys.stderr.isatty()
        stats = feature_statistics(made, images, layer=_layer(layer), cache=cache, progress=bar)
        if rank == 0:
            stats.save(output)
            typer.echo(f"{output}: {stats.num_samples:,} images, {stats.num_classes} classes")


@app.command()
def rank(
    data: Annotated[
        str, typer.Option(help="A folder of images for each class in one folder, or a data set, or texts, by name.")
    ],
    models: Annotated[str | None, _MODELS(help="Names as `nclib extract` takes them, with commas between.")] = None,
    models_from: Annotated[Path | None, _MODELS(help="A file with one name a line; # begins a comment.")] = None,
    weights: Annotated[str, _MODELS(help="pretrained or random.")] = "pretrained",
    imports: _Imports = None,
    device: _Device = "auto",
    split: Annotated[str | None, _DATA(help="train, test, ...; else all, or train of data with splits.")] = None,
    per_class: _PerClass = None,
    data_root: _DataRoot = None,
    text_column: Annotated[str, _DATA(help="The column of the texts in a table.")] = "text",
    label_column: Annotated[str, _DATA(help="The column of their labels.")] = "label",
    cache: Annotated[Path | None, _DATA(help="A folder that keeps features, for another run.")] = None,
    scores: Annotated[
        str | None, _SCORES(help="Names with commas between, or all; without it all but the slow ones.")
    ] = None,
    by: Annotated[str | None, _SCORES(help="The score to sort by; else face, or logme of one or two models.")] = None,
    verify: Annotated[int, _SCORES(help="How many of the best are sorted by the accuracy of a linear probe.")] = 0,
    as_json: Annotated[bool, _OUTPUT("--json", help="Print JSON.")] = False,
    csv: Annotated[Path | None, _OUTPUT(help="Write the table to this file.")] = None,
    figure: Annotated[Path | None, _OUTPUT(help="Draw the scores to this .png, .pdf or .svg file.")] = None,
) -> None:
    """Rank pre-trained models by how well they may transfer to your images or texts, without fine-tuning any."""
    from nclib.checks import few
    from nclib.data.text_sets import Texts
    from nclib.transferability.ranking import rank_models

    with _errors():
        _check_written(csv, (".csv",))
        _check_written(figure, (".png", ".pdf", ".svg"))
        names, chosen = _listed(models, models_from), _split(scores)
        columns = {"text_column": text_column, "label_column": label_column}
        images, broken = _training_data(data, split, per_class, data_root, columns)
        options: Any = {"weights": weights, "imports": imports or [], "device": device}
        options |= {"data_root": data_root if isinstance(images, Texts) else None}
        options |= {"cache": cache, "progress": sys.stderr.isatty()}
        ranking = rank_models(names, images, scores=chosen, by=by, verify=verify, **options)
    if broken:
        typer.echo(f"nclib: {len(broken)} images could not be read and were left out: {few(broken)}", err=True)
    typer.echo(_json(ranking) if as_json else ranking)
    if csv:
        ranking.write(csv)
    if figure:
        ranking.draw(figure)


@contextmanager
def _errors() -> Iterator[None]:
    """What a user may have done wrong, or timm and torchvision say of it, as one line; so are warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=UserWarning)
        warnings.showwarning = _say  # type: ignore[assignment]  # it takes what it needs of the arguments
        try:
            yield
        except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
            _say(error)
            raise typer.Exit(1) from None


def _say(message: object, *_: object, **__: object) -> None:
    typer.echo(f"nclib: {message}", err=True)


def _split(names: str | None) -> Any:
    """Names with commas between as a list; none, and "all", as they are."""
    return names if names in (None, "all") else [name.strip() for name in str(names).split(",") if name.strip()]


def _layer(layer: str) -> str | int:
    return int(layer) if layer.lstrip("-").isdigit() else layer


def _training_data(
    data: str, split: str | None, per_class: int | None, data_root: Path | None, columns: dict[str, Any]
) -> tuple[Any, list[Path]]:
    """Texts or images by name, and the paths of images that cannot be read."""
    from nclib.data.catalogue import training_images
    from nclib.data.text_sets import texts

    options: Any = {"per_class": per_class, "data_root": data_root}
    if data.startswith(("file:", "docstrings/")):
        return texts(data, split or "train", **columns, **options), []
    return training_images(data, split, **options)


def _check_written(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written, before there is anything to write."""
    if path is None:
        return
    if path.suffix not in suffixes:
        raise ValueError(f"{path} ends in {path.suffix!r}; it must be one of {', '.join(suffixes)}")
    if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK) or path.is_dir():
        raise ValueError(f"{path} cannot be written: its folder is missing or may not be written to")


def _listed(models: str | None, path: Path | None) -> list[str]:
    """The names of models from an option, or the lines of a file."""
    if (models is None) == (path is None):
        raise ValueError("give either --models a,b,c or --models-from FILE")
    lines = (models or "").split(",")
    if path is not None:
        lines = [line.split("#")[0] for line in _read(path).splitlines()]
    if not (names := [line.strip() for line in lines if line.strip()]):
        raise ValueError(f"there is no name of a model in {path or repr(models)}")
    return names


def _read(path: Path) -> str:
    """A text file, with the mark that Windows may begin it with or without."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}); save it as that") from error


def _json(result: Any) -> str:
    """A result as JSON, with the numbers that it lacks as text."""
    plain = json.loads(json.dumps(result.to_dict()), parse_constant=lambda name: str(float(name)))
    return json.dumps(plain, indent=2)
