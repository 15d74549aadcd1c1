"""The command line: `nclib measure features.npz`, `nclib extract MODEL DATA features.safetensors`."""

import codecs
import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_SPELLED = {"∞": "inf", "−": "-", "–": "-", "√": "sqrt", "Σ": "Sigma", "μ": "mu", "‖": "||", "⁺": "+", "…": "..."}


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """ASCII for a character that an encoding lacks: a word for our own symbols, the Unicode number of any other."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_SPELLED.get(c, c.encode("ascii", "backslashreplace").decode()) for c in lacking), error.end


class _Commands(TyperGroup):
    """The commands; they print on any terminal, and into pipes of any encoding."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        codecs.register_error("nclib.spelled", _spelled)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="nclib.spelled")
        return super().main(*arguments, **options)


app = typer.Typer(cls=_Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_FILE = (
    "An .npz, .safetensors or .pt file with features (N, d) and labels (N,) under these names and, optionally, the "
    "weight (K, d) and bias (K,) of a classifier, and the K names of the classes; an .npy file of features; a .parquet "
    "file, or a folder of them, with columns features and labels; or class statistics that `nclib statistics` wrote."
)
_JSON = "Print JSON, with null for NaN and infinity."
_METRICS = "Names separated by commas, or 'all'; by default without VCI, directional CDNV, ranks, GNC2 and UNC3."

# The options of a command in groups, as its help shows them.
_MODELS, _DATA, _SCORES, _OUTPUT = (
    partial(typer.Option, rich_help_panel=group) for group in ("Models", "Data", "Scores", "Output")
)
_Model = Annotated[
    str, typer.Argument(help="A timm model, torchvision:NAME, or recipe:PATH of a checkpoint that nclib wrote.")
]
_ModelOrEncoder = Annotated[
    str, typer.Argument(help="A timm model, torchvision:NAME, recipe:PATH or, for texts, an encoder of texts.")
]
_Data = Annotated[
    str, typer.Argument(help="A data set by name, a folder with a folder for each class, or hf:NAME of the hub.")
]
_DataOrTexts = Annotated[
    str,
    typer.Argument(
        help="A data set of images or texts by name, a folder with a folder for each class, hf:NAME of the hub, or "
        "file:PATH, a table of texts."
    ),
]
_Split = Annotated[
    str | None,
    typer.Option(
        help="train, test, val or all; by default train. A folder without train/ is split by nclib; all takes every "
        "image."
    ),
]
_Layer = Annotated[
    str, typer.Option(help="The name of a module, its place among the blocks (from 0, or from the end, -1), or last.")
]
_Imports = Annotated[
    list[str] | None, _MODELS("--import", help="A module, or .py file, that registers models with timm.")
]
_DataRoot = Annotated[
    Path | None, _DATA(help="The folder of data sets; by default the value of the variable NCLIB_DATA.")
]
_Download = Annotated[bool, _DATA("--download", help="Fetch a data set of torchvision that is missing.")]
_PerClass = Annotated[
    int | None,
    _DATA(help="The number of images of each class; by default all (of glyphs 120 to train and 40 to test)."),
]
_TextColumn = Annotated[str, _DATA(help="The column of a table that holds the texts.")]
_LabelColumn = Annotated[str, _DATA(help="The column of a table that holds the labels.")]
_Device = Annotated[str, _MODELS(help="auto, cpu, cuda or mps.")]
_Cache = Annotated[Path | None, typer.Option(help="A folder that keeps features, so that a killed run can resume.")]


def _tell_version(asked: bool) -> None:
    from nclib import __version__

    if asked:
        typer.echo(f"nclib {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Measure neural collapse, of features in a file or of a model on a data set, and rank pre-trained models."""


@app.command()
def measure(
    file: Annotated[Path, typer.Argument(help=_FILE)],
    labels: Annotated[Path | None, typer.Argument(help="An .npy file of labels, for features in an .npy file.")] = None,
    metrics: Annotated[str | None, typer.Option(help=_METRICS)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON)] = False,
) -> None:
    """Print the collapse metrics of a table of features.

    Example: nclib measure features.safetensors --metrics nc1,nc2
    """
    from nclib.features.files import read_features
    from nclib.metrics import measurement
    from nclib.metrics.measurement import WIDTH

    with _errors():
        result = measurement.measure(
            **read_features(file, labels), metrics=_split(metrics), progress=sys.stderr.isatty()
        )
    typer.echo(_json(result) if as_json else result.text(_width() or WIDTH))


@app.command()
def extract(
    model: _ModelOrEncoder,
    data: _DataOrTexts,
    output: Annotated[Path, typer.Argument(help="A .safetensors, .npz or .parquet file, which nclib measure reads.")],
    split: _Split = None,
    layer: _Layer = "last",
    weights: Annotated[str, typer.Option(help="pretrained, random, or a .safetensors file.")] = "pretrained",
    imports: _Imports = None,
    data_root: _DataRoot = None,
    per_class: _PerClass = None,
    seed: Annotated[int, typer.Option(help="The seed that chooses the images.")] = 0,
    download: _Download = False,
    text_column: _TextColumn = "text",
    label_column: _LabelColumn = "label",
    device: _Device = "auto",
    cache: _Cache = None,
) -> None:
    """Write the features of a model on a data set, or of an encoder on texts, with the labels.

    Example: nclib extract resnet18 folder:photos features.safetensors
    """
    from nclib.data.catalogue import data_name
    from nclib.data.text_sets import names_texts
    from nclib.features.files import WRITTEN

    with _errors():
        _check_written(output, WRITTEN)
        data = data_name(data)
        if of_texts := names_texts(data, data_root, text_column):
            for_images = {"weights": weights != "pretrained", "import": imports, "seed": seed, "download": download}
            if given := [name for name, value in {**for_images, "cache": cache}.items() if value]:
                raise ValueError(f"--{', --'.join(given)} can be given only for images, and {data} holds texts")
            columns = {"text_column": text_column, "label_column": label_column}
            found, width = _of_texts(model, data, output, split, layer, per_class, data_root, columns, device)
        else:
            if (text_column, label_column) != ("text", "label"):
                raise ValueError(f"--text-column and --label-column can be given only for texts; {data} holds images")
            taken = {"per_class": per_class, "seed": seed, "data_root": data_root, "download": download}
            loading = {"weights": weights, "imports": imports or [], "device": device}
            found, width = _of_images(model, data, output, split, layer, taken, loading, cache)
    _tell_written(output, len(found), "text" if of_texts else "image", len(found.classes), width)


def _of_texts(
    model: str,
    data: str,
    output: Path,
    split: str | None,
    layer: str,
    per_class: int | None,
    data_root: Path | None,
    columns: dict[str, str],
    device: str,
) -> tuple[Any, int]:
    """Write the features of texts; returns the texts and the width of their features."""
    from nclib.data.text_sets import texts
    from nclib.features.files import write_features
    from nclib.models.text_encoders import encoder_name, text_encoder, text_layers

    name = encoder_name(model, data_root)
    found = texts(data, split or "train", per_class=per_class, data_root=data_root, **columns)
    encoder = text_encoder(name, device=device, data_root=data_root)
    features = text_layers(encoder, found.texts, [_layer(layer)], progress=sys.stderr.isatty())
    return found, write_features(output, ((values, found.labels) for values in features.values()), found.classes)


def _of_images(
    model: str,
    data: str,
    output: Path,
    split: str | None,
    layer: str,
    taken: dict[str, Any],
    loading: dict[str, Any],
    cache: Path | None,
) -> tuple[Any, int]:
    """Write the features of images; returns the images that can be read, and the width of their features."""
    from nclib.data.catalogue import load
    from nclib.features.extraction import Extraction, each_shard
    from nclib.features.files import write_features
    from nclib.models.names import model_name
    from nclib.models.pretrained import backbone

    name = model_name(model, weights=loading["weights"], imports=loading["imports"])
    images = load(data, split or "train", **taken)
    if not split:
        _tell_split(data, taken["data_root"])
    made = backbone(name, **loading)
    chosen = made.layer(_layer(layer))

    def write(images: Any) -> int:
        shards = each_shard(made, images, [chosen], Extraction(cache=cache, progress=sys.stderr.isatty()))
        return write_features(
            output, ((found[chosen], images.labels[part.start : part.stop]) for part, found in shards), images.classes
        )

    return _without_broken(images, write)


@app.command()
def statistics(
    model: _Model,
    data: _Data,
    output: Annotated[Path, typer.Argument(help="A .safetensors file of class statistics, which nclib measure reads.")],
    split: _Split = None,
    layer: _Layer = "last",
    weights: Annotated[str, typer.Option(help="pretrained, random, or a .safetensors file.")] = "pretrained",
    imports: _Imports = None,
    data_root: _DataRoot = None,
    per_class: _PerClass = None,
    download: _Download = False,
    device: _Device = "auto",
    cache: _Cache = None,
) -> None:
    """Write the class statistics of a model's features, which are never all in memory at once.

    Example: nclib statistics resnet18 folder:photos statistics.safetensors

    On several GPUs or cores: torchrun --nproc-per-node 4 -m nclib statistics MODEL DATA OUTPUT.
    """
    from nclib.data.catalogue import data_name, load
    from nclib.data.text_sets import names_texts
    from nclib.devices import process_group
    from nclib.features.statistics import feature_statistics
    from nclib.models.names import model_name
    from nclib.models.pretrained import backbone

    with _errors(), process_group(device) as (own, rank):
        _check_written(output, (".safetensors",))
        data = data_name(data)
        if names_texts(data, data_root):
            raise ValueError(f"{data} holds texts: write their features with nclib extract, which nclib measure reads")
        name = model_name(model, weights=weights, imports=imports or [])
        images = load(data, split or "train", per_class=per_class, data_root=data_root, download=download)
        if rank == 0 and not split:
            _tell_split(data, data_root)
        made = backbone(name, weights=weights, imports=imports or [], device=own)
        options: Any = {"layer": made.layer(_layer(layer)), "cache": cache}
        options |= {"progress": rank == 0 and sys.stderr.isatty()}
        _, stats = _without_broken(images, lambda images: feature_statistics(made, images, **options))
        if rank == 0:
            stats.save(output)
            _tell_written(output, stats.num_samples, "image", stats.num_classes, stats.num_features)


@app.command()
def rank(
    data: Annotated[
        str, typer.Option(help="A folder with a folder of images for each class, or a data set or texts by name.")
    ],
    models: Annotated[
        str | None,
        _MODELS(help="Names as for `nclib extract`, wildcards such as 'resnet*', or popular; separated by commas."),
    ] = None,
    models_from: Annotated[Path | None, _MODELS(help="A file with one name in each line; # begins a comment.")] = None,
    weights: Annotated[str, _MODELS(help="pretrained or random.")] = "pretrained",
    imports: _Imports = None,
    device: _Device = "auto",
    split: Annotated[
        str | None, _DATA(help="train, test, ...; by default all, or train if the data have splits.")
    ] = None,
    per_class: _PerClass = None,
    data_root: _DataRoot = None,
    download: _Download = False,
    text_column: _TextColumn = "text",
    label_column: _LabelColumn = "label",
    cache: Annotated[Path | None, _DATA(help="A folder that keeps features for another run.")] = None,
    scores: Annotated[
        str | None, _SCORES(help="Names separated by commas, or all; by default all but the slow ones.")
    ] = None,
    by: Annotated[
        str | None, _SCORES(help="The score to sort by; by default face, or logme for one or two models.")
    ] = None,
    layers: Annotated[
        str,
        _SCORES(
            help="last; best or mean, for the best or mean value of each score over all layers; or names of layers, by "
            "commas, for the best of these."
        ),
    ] = "last",
    verify: Annotated[
        int, _SCORES(help="How many of the best models are sorted again by the accuracy of a linear probe.")
    ] = 0,
    sure: Annotated[
        bool,
        _SCORES(
            "--sure/--no-sure", help="Say how certain the order is: intervals and p_first, the chance of being first."
        ),
    ] = True,
    as_json: Annotated[bool, _OUTPUT("--json", help=_JSON)] = False,
    csv: Annotated[Path | None, _OUTPUT(help="Write the table to this file.")] = None,
    figure: Annotated[Path | None, _OUTPUT(help="Draw the scores to this .png, .pdf or .svg file.")] = None,
) -> None:
    """Rank pre-trained models by how well they may transfer to your images or texts, without fine-tuning any.

    Example: nclib rank --data folder:photos --models resnet18,convnext_tiny --figure ranking.png

    The exit code is 1 if a model failed.
    """
    from nclib.data.text_sets import Texts
    from nclib.metrics.measurement import WIDTH
    from nclib.transferability.ranking import rank_models

    with _errors():
        _check_written(csv, (".csv",))
        _check_written(figure, (".png", ".pdf", ".svg"))
        names, chosen = _listed(models, models_from), _split(scores)
        columns = {"text_column": text_column, "label_column": label_column}
        images, broken = _training_data(data, split, per_class, data_root, download, columns)
        options: Any = {"weights": weights, "imports": imports or [], "device": device}
        options |= {"data_root": data_root if isinstance(images, Texts) else None}
        options |= {"cache": cache, "progress": sys.stderr.isatty()}
        options |= {"scores": chosen, "by": by, "layers": _layers(layers), "verify": verify, "sure": sure}
        ranking = rank_models(names, images, **options)
    _tell_broken(broken)
    typer.echo(_json(ranking) if as_json else ranking.text(_width() or WIDTH))
    with _errors():
        if csv:
            ranking.write(csv)
        if figure:
            ranking.draw(figure)
    if ranking.failures:
        raise typer.Exit(1)


@contextmanager
def _errors() -> Iterator[None]:
    """Print warnings, and errors that a user can mend, as one line each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=UserWarning)
        warnings.showwarning = _say  # type: ignore[assignment]  # it takes what it needs of the arguments
        try:
            yield
        except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
            _say("; ".join([str(error), *getattr(error, "__notes__", ())]))
            raise typer.Exit(1) from None


def _say(message: object, *_: object, **__: object) -> None:
    typer.echo(_wrapped(f"nclib: {message}"), err=True)


def _width() -> int:
    """The columns of the terminal, or of the variable COLUMNS; 0 if there is neither, as in a pipe."""
    return shutil.get_terminal_size((0, 0)).columns


def _wrapped(line: str) -> str:
    """A line, broken between words where the terminal ends; unbroken where it goes into a file or a pipe."""
    from nclib.metrics.measurement import wrapped

    return wrapped(line, width=_width() or sys.maxsize)


def _tell_split(data: str, data_root: Path | None) -> None:
    """Say on stderr if nobody chose a split and the training images are a split of ours."""
    from nclib.data.catalogue import about_own_split

    if said := about_own_split(data, data_root):
        _say(said)


def _tell_written(output: Path, number: int, kind: str, classes: int, width: int) -> None:
    from nclib.checks import counted

    sizes = counted(number, kind), counted(classes, "class", "classes"), counted(width, "feature")
    typer.echo(_wrapped(f"{output}: {', '.join(sizes)}"))


def _split(names: str | None) -> Any:
    """Names separated by commas as a list; None and "all" as they are."""
    return names if names in (None, "all") else _parts(str(names))


def _parts(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _layer(layer: str) -> str | int:
    return int(layer) if re.fullmatch("-?[0-9]+", layer) else layer


def _layers(text: str) -> str | list[str | int]:
    """The words last, best and mean as they are; names and places of layers as a list."""
    return text if text in ("last", "best", "mean") else [_layer(layer) for layer in _parts(text)]


def _without_broken(images: Any, use: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The images that can be read, and the result of `use` on them; the others are reported.

    Broken images are looked for only when `use` fails, since opening every file first would take long. Several
    processes could not agree on what is left if one of them meets a broken image, so there the error stays.
    """
    from torch import distributed

    from nclib.data.images import ImageFiles

    try:
        return images, use(images)
    except ValueError:
        if not isinstance(images, ImageFiles) or (distributed.is_available() and distributed.is_initialized()):
            raise
        left, broken = images.readable()
        if not broken:
            raise
    _tell_broken(broken)
    return left, use(left)


def _tell_broken(broken: list[Path]) -> None:
    from nclib.checks import counted, few

    if broken:
        were = "was" if len(broken) == 1 else "were"
        _say(f"{counted(len(broken), 'image')} could not be read and {were} left out: {few(broken)}")


def _training_data(
    data: str,
    split: str | None,
    per_class: int | None,
    data_root: Path | None,
    download: bool,
    columns: dict[str, Any],
) -> tuple[Any, list[Path]]:
    """Texts or images by name, and the paths of images that cannot be read."""
    from nclib.data.catalogue import data_name, training_images
    from nclib.data.text_sets import names_texts, texts

    options: Any = {"per_class": per_class, "data_root": data_root}
    data = data_name(data)
    if names_texts(data, data_root, columns["text_column"]):
        if download:
            raise ValueError(f"--download can be given only for images, and {data} holds texts")
        return texts(data, split or "train", **columns, **options), []
    return training_images(data, split, download=download, **options)


def _check_written(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Raise a ValueError if a file cannot be written, before anything is computed."""
    if path is None:
        return
    if path.suffix not in suffixes:
        allowed = f"one of {', '.join(suffixes)}" if len(suffixes) > 1 else suffixes[0]
        raise ValueError(f"{path} ends in {path.suffix!r}; it must be {allowed}")
    if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK) or path.is_dir():
        why = "may not be written to" if path.absolute().parent.is_dir() else "is missing"
        raise ValueError(f"{path} cannot be written: {'it is a folder' if path.is_dir() else f'its folder {why}'}")


def _listed(models: str | None, path: Path | None) -> list[str]:
    """The names of models, from an option or from the lines of a file."""
    if (models is None) == (path is None):
        raise ValueError("give either --models a,b,c or --models-from FILE")
    lines = (models or "").split(",")
    if path is not None:
        lines = [line.split("#")[0] for line in _read(path).splitlines()]
        if several := [line.strip() for line in lines if "," in line]:
            raise ValueError(f"{path} holds {several[0]!r:.60}; it must have one name in each line")
    if not (names := [line.strip() for line in lines if line.strip()]):
        raise ValueError(f"no model is named in {path or repr(models)}; give at least one name")
    return names


def _read(path: Path) -> str:
    """The text of a file, without the mark that Windows may begin it with."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}; give the path of a text, one name in each line") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8 ({error}); save it in UTF-8") from error


def _json(result: Any) -> str:
    """A result as JSON, with null for NaN and infinity, which JSON lacks."""
    plain = json.loads(json.dumps(result.to_dict()), parse_constant=lambda name: None)
    return json.dumps(plain, indent=2, allow_nan=False)
