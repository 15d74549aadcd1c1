"""The command line: `nclib measure features.npz`."""

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
    """Measure neural collapse."""


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
    """Print every collapse metric of a table of features."""
    from nclib.measure import measure as measured
    from nclib.tables import read_table

    names: Any = metrics if metrics in (None, "all") else [name.strip() for name in metrics.split(",") if name.strip()]
    try:
        result = measured(**read_table(file, labels), metrics=names, progress=True)
    except (ValueError, TypeError) as error:
        typer.echo(f"nclib: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(_plain(result.to_dict()), indent=2) if as_json else str(result))


def _plain(values: Any) -> Any:
    """The same with the numbers that JSON lacks as text."""
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    return str(values) if isinstance(values, float) and not math.isfinite(values) else values
