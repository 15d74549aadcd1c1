"""The command line: `nclib measure features.npz`, `nclib extract MODEL DATA features.safetensors`."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_FILE = (
    "An .npz, .safetensors or .pt file of features (N, d) and labels (N,), with weight (K, d) and bias (K,) "
    "of a classifier if you like, by these names; or an .npy file of features."
)


@app.callback()
def main() -> None:
    """Measure neural collapse: of features in a file, or of a model on a data set."""


@app.command()
def measure(
    file: Annotated[Path, typer.Argument(help=_FILE)],
    labels: Annotated[Path | None, typer.Argument(help="An .npy file of labels, for features in an .npy file.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Names with commas between, or 'all'; without it vci, directional CDNV and ranks are left out."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the collapse metrics of a table of features."""
    from nclib.measure import measure as measured
    from nclib.tables import read_table

    names: Any = metrics if metrics in (None, "all") else [name.strip() for name in metrics.split(",") if name.strip()]
    try:
        result = measured(**read_table(file, labels), metrics=names, progress=True)
    except (ValueError, TypeError) as error:
        typer.echo(f"nclib: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(_plain(result.to_dict()), indent=2) if as_json else str(result))


@app.command()
def extract(
    model: Annotated[
        str, typer.Argument(help="A timm model, torchvision:NAME, or recipe:PATH of a checkpoint that nclib wrote.")
    ],
    data: Annotated[str, typer.Argument(help="A data set by name, or folder:PATH with a folder for each class.")],
    output: Annotated[Path, typer.Argument(help="A .safetensors file, or .npz, that nclib measure reads.")],
    split: Annotated[str, typer.Option(help="train, test, val or all, as far as the data set has them.")] = "train",
    layer: Annotated[str, typer.Option(help="The name of a module, its place among the blocks, or last.")] = "last",
    weights: Annotated[str, typer.Option(help="pretrained, random, or a .safetensors file.")] = "pretrained",
    imports: Annotated[
        list[str] | None, typer.Option("--import", help="A module, or .py file, that registers models with timm.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets are; else NCLIB_DATA.")] = None,
    per_class: Annotated[int | None, typer.Option(help="So many images of each class.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of images.")] = 0,
    download: Annotated[bool, typer.Option("--download", help="Fetch a data set that is missing.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="A folder that keeps features, for a run that may be cut.")] = None,
) -> None:
    """Write the features of a model on a data set, with the labels."""
    import nclib
    from nclib.tables import check_output, write_table

    try:
        check_output(output)
        images = nclib.load(data, split, per_class=per_class, seed=seed, data_root=data_root, download=download)
        made = nclib.backbone(model, weights=weights, imports=imports or [], device=device)
        chosen = int(layer) if layer.lstrip("-").isdigit() else layer
        (features,) = nclib.extract_layers(made, images, [chosen], cache=cache, progress=True).values()
        write_table(output, {"features": features, "labels": images.labels})
    except (
        ValueError,
        TypeError,
        OSError,
        ImportError,
        RuntimeError,
    ) as error:  # the last are timm's and torchvision's
        typer.echo(f"nclib: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{output}: {len(features):,} images, {len(images.classes)} classes, {features.shape[1]:,} features")


def _plain(values: Any) -> Any:
    """The same with the numbers that JSON lacks as text."""
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    return str(values) if isinstance(values, float) and not math.isfinite(values) else values
