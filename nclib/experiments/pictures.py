"""Pictures in notebooks carry the data they show: the table of `drawn`, in the metadata of a small picture."""

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
from PIL import Image

from nclib.experiments.drawn import table

KEY = "csv.xz"  # of the metadata of a picture
COLOURS = 4096  # of a picture of lines and marks, at most; one of photographs has more, and keeps them all
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
        data = {KEY: packed(_in_picture(rows, figure))} if 0 < len(rows) <= MOST else {}
        return in_palette(png), metadata | data

    return drawn


def in_palette(png: str) -> str:
    """A picture, as base64, in a palette of 256 colours, a third of its size; with more colours, it is unchanged.

    Only the shades that smooth the edge of a mark change, by a few of 255 levels.
    """
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if "A" in picture.getbands() and picture.getextrema()[-1] != (255, 255):
        return png  # see-through
    solid = picture.convert("RGB")
    if solid.getcolors(COLOURS) is None:
        return png
    file = io.BytesIO()
    solid.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


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
