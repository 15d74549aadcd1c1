"""Run a notebook: from its py:percent source to the executed, normalised .ipynb.

Without -p the result is the committed notebook beside the source; with -p it is a run of your own and
goes to _build/runs (or where -o says). A failed run leaves whatever was there before, and so does one whose source,
text and pixels are the same. The prose of the .ipynb is plain Markdown, with the numbers of the run (see `plain`). With
--prose nothing is run: the notebook gets the prose that its source has now.
"""

import base64
import copy
import io
import json
import os
import platform
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from PIL import Image

from nclib.experiments.pictures import KEY, unpacked
from nclib.experiments.records import versions
from nclib.extras import optional
from nclib.storage import replacing
from workflow.plain import plain

with optional("papermill"):
    import jupytext
    import nbformat
    import papermill
    import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTES = ROOT / "_build" / "executed"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(source: Path, output: Path, parameters: dict[str, Any] | None = None) -> nbformat.NotebookNode:
    """Execute a source notebook with parameters and write the normalised result, which is returned, to `output`."""
    check_parameters(source, parameters or {})
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # of the kernel: threads that spin slow their neighbours
    executed = papermill.execute_notebook(
        read(source),
        None,
        parameters=parameters or {},
        kernel_name="python3",
        language="python",
        cwd=source.parent,
        progress_bar=False,
        stderr_file=typer.get_text_stream("stderr"),
    )
    executed = normalised(plain(executed, source, output.parent))
    write(executed, output)
    return executed


def with_prose(source: Path, output: Path) -> nbformat.NotebookNode:
    """The executed notebook of a file with the prose that its source has now; ValueError if their code differs."""
    new, old = read(source), nbformat.read(output, as_version=4)
    pairs = [[cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (new, old)]
    if len({tuple(cell.source for cell in cells) for cells in pairs}) > 1:
        raise ValueError(f"{output.name} has other code than {source.name}; run it, without --prose")
    for cell, executed in zip(*pairs, strict=True):
        cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    return normalised(plain(new, source, output.parent))


def write(executed: nbformat.NotebookNode, output: Path) -> None:
    """Write a notebook, unless the file holds the same."""
    if not (output.exists() and same(output, executed)):
        with replacing(output) as temporary:
            nbformat.write(executed, temporary)


def same(path: Path, new: nbformat.NotebookNode) -> bool:
    """Whether a file holds a notebook that agrees in all but what rounding does to pictures and their data."""
    try:
        old = nbformat.read(path, as_version=4)
        (old, drawn), (new, drawn_now) = (without_pictures(notebook) for notebook in (old, new))
        return old == new and all(alike(*pair) for pair in zip(drawn, drawn_now, strict=True))
    except (ValueError, AttributeError, TypeError, OSError, nbformat.ValidationError):
        return False  # no notebook, one with the marks of a conflict, or with a broken picture: it is to be replaced


Picture = tuple[str, str | None]  # a PNG in base64, and the packed data of the figure


def without_pictures(notebook: nbformat.NotebookNode) -> tuple[nbformat.NotebookNode, list[Picture]]:
    """A copy without its pictures and their data, and these in their order."""
    notebook, drawn = copy.deepcopy(notebook), []
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            packed = output.get("metadata", {}).get("image/png", {}).pop(KEY, None)
            drawn.append((output.data["image/png"], packed))
            output.data["image/png"] = ""
    return notebook, drawn


def alike(old: Picture, new: Picture) -> bool:
    """Whether two pictures are of one size, and differ, with their data, by no more than what rounding does."""
    (png, packed), (png_now, packed_now) = old, new
    if packed != packed_now and not (packed and packed_now and close(unpacked(packed), unpacked(packed_now))):
        return False
    first, second = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGBA")) for each in (png, png_now)
    )
    return first.shape == second.shape and int(np.abs(first.astype(int) - second).max(initial=0)) <= 2


def close(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Whether two tables of a figure's data differ by no more than rounding.

    That is a millionth, 2 of 255 in colours, and a pixel in places.
    """
    if list(old) != list(new) or len(old) != len(new):
        return False
    return all(_close(old[name], new[name], name) for name in old)


def _close(old: pd.Series, new: pd.Series, name: str) -> bool:
    if not all(pd.api.types.is_numeric_dtype(each) for each in (old, new)):
        return old.equals(new)
    finite = old[np.isfinite(old)].astype(float)  # the spread up to an infinite value would allow any difference
    spread = float(finite.max() - finite.min())
    slack = {"left": 1.0, "top": 1.0} | dict.fromkeys(("value", "red", "green", "blue"), 2 / 255 * spread)
    return bool(np.isclose(old, new, rtol=1e-6, atol=slack.get(name, 1e-9 * spread), equal_nan=True).all())


def note(source: Path, seconds: float) -> None:
    """Leave a note of a run for the status page: what the executed notebook, equal from run to run, does not say."""
    said = versions() | {"python": platform.python_version(), "seconds": round(seconds, 1)}
    said["date"] = datetime.now(UTC).isoformat(" ", "minutes").removesuffix("+00:00") + " UTC"
    with replacing(NOTES / f"{source.stem}.json") as path:
        path.write_text(json.dumps(said), encoding="utf-8")


def read(source: Path) -> nbformat.NotebookNode:
    """A py:percent source as a notebook."""
    notebook = jupytext.read(source)
    notebook.metadata.kernelspec = KERNEL
    return notebook


def check_parameters(source: Path, parameters: dict[str, Any]) -> None:
    """Refuse a parameter that the notebook does not have; papermill would only warn."""
    known = papermill.inspect_notebook(read(source))
    if unknown := parameters.keys() - known.keys():
        described = "\n".join(f"  {p['name']} = {p['default']}  {p['help']}" for p in known.values())
        raise ValueError(f"{source.name} has no parameter {', '.join(sorted(unknown))}; it has\n{described}")


def normalised(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what changes from run to run, so that a rerun with equal results is an empty diff."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:02d}"
        for key in ("execution", "papermill"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)  # papermill adds an empty list
        if cell.cell_type == "code":
            cell.outputs = joined([output for output in map(without_machine, cell.outputs) if output])
    return notebook


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs, with one of text in place of its parts, whose ends depend on the time that they took."""
    whole: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = whole[-1] if whole else {}
        if output.output_type == "stream" and output.get("name") == last.get("name"):
            last["text"] += output.text
        else:
            whole.append(output)
    return whole


def without_machine(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The output less progress bars and the machine on stderr; None if nothing else is left of it."""
    if output.output_type != "stream" or output.name != "stderr":
        return output
    lines = re.split(r"[\r\n]|\x1b\[A", output.text)
    output.text = "\n".join(line for line in lines if line.strip() and not re.search(r"\d+%\||^nclib .*, torch ", line))
    return output if output.text else None


def agreements(notebook: nbformat.NotebookNode) -> list[str]:
    """The lines that say whether what was measured live agrees with the records."""
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    return [line for text in texts for line in text.splitlines() if line.startswith("the live ")]


def main(
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="notebooks/NN_claim.py")],
    parameter: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE, the value as YAML")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="where to write the executed notebook")] = None,
    prose: Annotated[bool, typer.Option("--prose", help="run nothing: give the .ipynb its source's prose")] = False,
) -> None:
    """Run a notebook and write the executed .ipynb."""
    parameters = {}
    for pair in parameter or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            parameters[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"{value!r} is no YAML: {str(error).splitlines()[0]}") from error
    if output is None:
        output = ROOT / "_build" / "runs" / f"{source.stem}.ipynb" if parameters else source.with_suffix(".ipynb")
    if prose and parameters:
        raise typer.BadParameter("--prose runs nothing, so it takes no -p")
    start = time.perf_counter()
    try:
        if prose:
            write(executed := with_prose(source, output), output)
        else:
            executed = execute(source, output, parameters)
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    if output == source.with_suffix(".ipynb") and not prose:
        note(source, time.perf_counter() - start)
    typer.echo("\n".join([*agreements(executed), str(output)]))


if __name__ == "__main__":
    typer.run(main)
