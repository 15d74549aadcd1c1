"""Pictures in notebooks carry the data they show: the table of `drawn`, in the metadata of the picture."""

import base64
import io
import lzma
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure

from nclib.experiments.drawn import table

KEY = "csv.xz"  # of the metadata of a picture
MOST = 200_000  # rows; a figure that has more, such as of photographs, carries none


def carry_data() -> None:
    """From now on, in a notebook, the picture of a figure carries the figure's data; elsewhere nothing changes."""
    ipython: Any = sys.modules.get("IPython")  # which a notebook has imported
    shell = ipython and ipython.get_ipython()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["image/png"]
    draw = formatter.type_printers.get(Figure)  # None without %matplotlib inline
    if draw and not hasattr(draw, "__wrapped__"):
        formatter.for_type(Figure, with_data(draw))


def with_data(draw: Callable[[Figure], Any]) -> Callable[[Figure], Any]:
    """A function that draws a figure, made to return the picture with the figure's data in its metadata."""

    @wraps(draw)
    def drawn(figure: Figure) -> Any:
        picture = draw(figure)
        png, metadata = picture if isinstance(picture, tuple) else (picture, {})
        rows = table(figure)
        return (png, metadata | {KEY: packed(_in_picture(rows, figure))}) if 0 < len(rows) <= MOST else picture

    return drawn


def _in_picture(rows: pd.DataFrame, figure: Figure) -> pd.DataFrame:
    """The rows, with places in the picture instead of the figure, because the picture leaves out margins."""
    if "left" not in rows:
        return rows
    box = figure.get_tightbbox().padded(rcParams["savefig.pad_inches"])  # as savefig does
    left, top = rows["left"] - box.x0 * figure.dpi, rows["top"] - (figure.bbox_inches.height - box.y1) * figure.dpi
    return rows.assign(left=left.round(1), top=top.round(1))


def packed(rows: pd.DataFrame) -> str:
    """A table as compressed CSV in base64, with nine digits: the last digits of a float64 depend on the processor."""
    text = rows.to_csv(index=False, float_format="%.9g")
    return base64.b64encode(lzma.compress(text.encode())).decode()


def unpacked(text: str) -> pd.DataFrame:
    """The table that was `packed`; names stay texts, even if they look like numbers.

    Examples
    --------
    >>> rows = pd.DataFrame({"x": [0.5], "seed": ["1, 2"], "commit": ["12e3456"]})
    >>> unpacked(packed(rows))
         x  seed   commit
    0  0.5  1, 2  12e3456
    """
    file = io.BytesIO(lzma.decompress(base64.b64decode(text)))
    return pd.read_csv(file, dtype={"commit": str}, keep_default_na=False, na_values=[""])
