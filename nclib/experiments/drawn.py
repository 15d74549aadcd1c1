"""The data of a figure, as a table: a row for each point, bar, interval or cell of the picture.

The numbers are read from the artists of the finished figure, so they cannot differ from what it shows.
"""

import re
import warnings
from collections.abc import Callable, Iterable
from functools import singledispatch
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.category import StrCategoryLocator
from matplotlib.collections import Collection, LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import AxLine, Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator

Columns = dict[str, Any]
Drawn = TypeVar("Drawn", bound=Artist)

SCHEMATIC = "<schematic>"  # the label of axes that explain an idea and hold no data

# The columns that say which network, model or task a row of a study's table is about.
IDENTITY = (
    *("source", "panel", "model", "zoo", "task", "method", "network", "loss", "projection", "augmentation", "epochs"),
    *("collapse", "collapse_tuned", "penalty", "blocks", "width", "learning_rate", "batch_size", "weight_decay"),
    *("seed", "commit"),
)
_ORDER = (
    *("part", "title", "series", "mark", "group"),
    *("x_axis", "x_name", "x", "x_low", "x_high", "y_axis", "y_name", "y", "y_low", "y_high"),
    *("value", "red", "green", "blue", "text"),
    *IDENTITY,
    *("left", "top"),
)


def identify(artist: Drawn, rows: pd.DataFrame) -> Drawn:
    """Say which row of a table each point of an artist shows, in the order of its points; returns the artist.

    Kept are the columns of `IDENTITY` that hold single values.

    Examples
    --------
    >>> axis = Figure().subplots()
    >>> _ = identify(axis.scatter([1.0], [2.0]), pd.DataFrame({"model": ["resnet"], "seed": [7]}))
    >>> table(axis.figure)[["x", "y", "model", "seed"]]
         x    y   model  seed
    0  1.0  2.0  resnet     7
    """
    single = [name for name in IDENTITY if name in rows and rows[name].map(pd.api.types.is_scalar).all()]
    vars(artist)["identity"] = rows[single]
    return artist


def table(figure: Figure) -> pd.DataFrame:
    """The data of a figure, a row for each mark. Columns that would be empty are left out.

    ``part`` and ``title`` say in which panel a mark is, ``series`` what the legend calls it, ``mark`` what it is
    (point, line, interval, band, bar, cell or rule), and ``group`` which marks of a panel were drawn together, such as
    one line. ``x`` and ``y`` are numbers on the axes that ``x_axis`` and ``y_axis`` name; ``x_name`` and ``y_name`` are
    used on an axis that has names in place of numbers. Low and high are the ends of intervals, bands and bars. ``left``
    and ``top`` are the place of a point that has an identity, in pixels of the whole figure.

    Examples
    --------
    >>> axis = Figure().subplots()
    >>> _ = axis.set(title="digits", xlabel="epoch", ylabel="error")
    >>> _ = axis.plot([1, 2], [0.5, 0.25], label="train")
    >>> table(axis.figure)
        title series  mark  group x_axis    x y_axis     y
    0  digits  train  line      0  epoch  1.0  error  0.50
    1  digits  train  line      0  epoch  2.0  error  0.25
    """
    figure.draw_without_rendering()  # for the layout and the ticks
    shown = [axis for axis in figure.axes if axis.get_visible() and axis.get_label() not in ("<colorbar>", SCHEMATIC)]
    panels = [rows for axis in shown if len(rows := _panel(axis))]
    found = pd.concat(panels, ignore_index=True) if panels else pd.DataFrame()
    found = found.replace("", np.nan).dropna(axis="columns", how="all")
    return found[[name for name in _ORDER if name in found]]


def _panel(axis: Any) -> pd.DataFrame:
    """The rows of one panel."""
    marks = [_marks(artist, columns) for artist in _artists(axis) for columns in _read(artist)]
    if not marks:
        return pd.DataFrame()
    rows = pd.concat([each.assign(group=group) for group, each in enumerate(marks)], ignore_index=True)
    rows = _with_intervals(rows.reindex(columns=[*_ORDER, "colour"]))
    rows = rows[rows[["x", "y", "x_low", "y_low"]].notna().any(axis=1)]  # NaN is not drawn
    return _with_places(_with_texts(_with_names(rows, axis), axis), axis)


def _artists(axis: Any) -> list[Any]:
    """The artists of an axes; error bars count as one artist, and so do bars that were drawn together."""
    whole = [each for each in axis.containers if isinstance(each, ErrorbarContainer | BarContainer)]
    parts = {part for each in whole for part in each.get_children()}
    single = [*axis.lines, *axis.collections, *axis.images, *axis.patches]
    return [*whole, *(each for each in single if each not in parts and each.get_visible())]


def _marks(artist: Any, columns: Columns) -> pd.DataFrame:
    """The rows of an artist, with its name and the identity of its points."""
    rows = pd.DataFrame(columns)
    identity = getattr(_face(artist), "identity", pd.DataFrame(index=rows.index))
    if len(identity) != len(rows):
        raise ValueError(f"{len(identity)} rows were given to identify {len(rows)} points; give one for each")
    rows = rows.join(identity.reset_index(drop=True))
    return rows.assign(series=_series(artist), colour=_style(artist)[0])


# How each kind of artist is read: it yields a dict of columns for each set of marks that belong together.


@singledispatch
def _read(artist: Any) -> Iterable[Columns]:
    if isinstance(artist, Collection):
        warnings.warn(f"a figure's table lacks a {type(artist).__name__}, which cannot be read yet", stacklevel=2)
    return []  # a drawing, and no data


@_read.register(Line2D)
def _line(line: Any) -> Iterable[Columns]:
    x, y = _floats(line.get_xdata(orig=False)), _floats(line.get_ydata(orig=False))
    match line.get_transform().contains_branch_seperately(line.axes.transData):
        case True, True:
            yield _joined(x, y, line)
        case True, False:
            yield {"mark": "rule", "x": x[:1]}
        case False, True:
            yield {"mark": "rule", "y": y[:1]}


def _joined(x: np.ndarray, y: np.ndarray, line: Any) -> Columns:
    """Points, a line, or an interval; an interval is a bare line between two places, along one of the axes."""
    if line.get_linestyle() in ("None", " ", ""):
        return {"mark": "point", "x": x, "y": y}
    bare = len(x) == 2 and line.get_marker() in ("None", "none", " ", "", None) and line.get_label().startswith("_")
    if bare and (x[0] == x[1]) != (y[0] == y[1]):
        return _interval(np.stack([x, y], axis=1)[None])
    return {"mark": "line", "x": x, "y": y}


def _interval(ends: np.ndarray) -> Columns:
    """Intervals from the ends (n, 2, 2) of segments along one of the axes."""
    level, other = ("y", "x") if (ends[:, 0, 1] == ends[:, 1, 1]).any() else ("x", "y")
    across, along = (ends[:, :, "xy".index(way)] for way in (level, other))
    return {"mark": "interval", level: across[:, 0], f"{other}_low": along.min(1), f"{other}_high": along.max(1)}


@_read.register(AxLine)
def _diagonal(line: Any) -> Iterable[Columns]:
    return []  # it has no ends; others are held against it


@_read.register(PathCollection)
def _points(points: Any) -> Iterable[Columns]:
    if not all(points.get_offset_transform().contains_branch_seperately(points.axes.transData)):
        return
    x, y = np.ma.filled(points.get_offsets().astype(float), np.nan).T
    coloured_by = points.get_array()
    yield {"mark": "point", "x": x, "y": y} | ({} if coloured_by is None else {"value": _floats(coloured_by)})


@_read.register(LineCollection)
def _segments(lines: Any) -> Iterable[Columns]:
    parts = [path.vertices for path in lines.get_paths()]
    if parts and all(part.shape == (2, 2) for part in parts):
        ends = np.array(parts)
        if (ends[:, 0, 0] == ends[:, 1, 0]).all() or (ends[:, 0, 1] == ends[:, 1, 1]).all():
            yield _interval(ends)
            return
    for part in parts:
        yield {"mark": "line", "x": part[:, 0], "y": part[:, 1]}


@_read.register(PolyCollection)
def _band(band: Any) -> Iterable[Columns]:
    along, across = ("y", "x") if getattr(band, "t_direction", "x") == "y" else ("x", "y")
    for path in band.get_paths():
        corners = pd.DataFrame(path.vertices, columns=["x", "y"]).groupby(along)[across].agg(["min", "max"])
        low, high = corners.to_numpy().T
        yield {"mark": "band", along: corners.index.to_numpy(), f"{across}_low": low, f"{across}_high": high}


@_read.register(ErrorbarContainer)
def _error_bars(bars: Any) -> Iterable[Columns]:
    """A row for each point, with its intervals; only intervals where the points were not drawn."""
    line, _, columns = bars
    found: Columns = {}
    if line is not None:
        found = {"mark": "point", "x": _floats(line.get_xdata(orig=False)), "y": _floats(line.get_ydata(orig=False))}
    ways = [way for way, there in (("x", bars.has_xerr), ("y", bars.has_yerr)) if there]
    for way, column in zip(ways, columns, strict=True):
        ends = np.array([path.vertices for path in column.get_paths()])
        low, high = ends[:, :, "xy".index(way)].min(1), ends[:, :, "xy".index(way)].max(1)
        if line is None or len(low) != len(found["x"]):
            yield _interval(ends)
        else:
            found |= {f"{way}_low": low, f"{way}_high": high}
    if found:
        yield found


@_read.register(BarContainer)
def _bars(bars: Any) -> Iterable[Columns]:
    along, across = ("y", "x") if bars.orientation == "horizontal" else ("x", "y")
    boxes = np.array([bar.get_bbox().get_points() for bar in bars]).reshape(-1, 2, 2)  # (bars, start and end, x and y)
    place, height = (boxes[:, :, "xy".index(way)] for way in (along, across))
    columns = {"mark": "bar", along: place.mean(1), across: height[:, 1]}
    for way, ends in ((along, place), (across, height)):
        columns |= {f"{way}_low": ends.min(1), f"{way}_high": ends.max(1)}
    yield columns


@_read.register(Rectangle)
def _span(box: Any) -> Iterable[Columns]:
    """A box, or a band across the whole of an axis."""
    (left, bottom), (right, top) = box.get_bbox().get_points()
    in_x, in_y = box.get_data_transform().contains_branch_seperately(box.axes.transData)
    ends = ({"x_low": [left], "x_high": [right]} if in_x else {}) | (
        {"y_low": [bottom], "y_high": [top]} if in_y else {}
    )
    if ends:
        yield {"mark": "band"} | ends


@_read.register(AxesImage)
def _image(image: Any) -> Iterable[Columns]:
    values = _floats(image.get_array())
    left, right, bottom, top = image.get_extent()
    if image.origin == "upper":
        bottom, top = top, bottom
    x, y = _centres(left, right, values.shape[1]), _centres(bottom, top, values.shape[0])
    across, down = np.meshgrid(x, y)
    yield _cells(across, down, values)


@_read.register(QuadMesh)
def _mesh(mesh: Any) -> Iterable[Columns]:
    corners = np.asarray(mesh.get_coordinates())
    x, y = np.moveaxis((corners[:-1, :-1] + corners[1:, 1:]) / 2, -1, 0)
    values = _floats(mesh.get_array())
    yield _cells(x, y, values.reshape(*x.shape, *values.shape[2:]))


def _cells(x: np.ndarray, y: np.ndarray, values: np.ndarray) -> Columns:
    """Cells (rows, columns) with a value each, or with the shares of colours in place of it."""
    place = {"mark": "cell", "x": x.ravel(), "y": y.ravel()}
    if values.ndim == 2:
        return place | {"value": values.ravel()}
    return place | dict(zip(("red", "green", "blue"), values.reshape(x.size, -1).T, strict=False))


def _centres(start: float, end: float, number: int) -> np.ndarray:
    """The centres of a number of equal cells between two ends."""
    return start + (np.arange(number) + 0.5) * (end - start) / number


def _floats(values: Any) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


# The names of marks: their own label, or that of something that looks the same in the panel or in its legends.


def _series(artist: Any) -> str:
    """The name of an artist in the legend; empty if it has none."""
    if own := _named(artist):
        return own
    face, style = _face(artist), _style(artist)
    labelled = {_style(each): name for each in _artists(face.axes) if (name := _named(each))}
    if known := labelled.get(style) or _in_legends(face.axes).get(style):
        return known
    of_colour = {name for (colour, _), name in labelled.items() if colour == style[0]}
    return of_colour.pop() if len(of_colour) == 1 else ""


def _named(artist: Any) -> str:
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else " ".join(label.split())


def _in_legends(axis: Any) -> dict[tuple[str, bytes], str]:
    """The names in the legends of a panel and of the parts of the figure that it is in, by how they look."""
    parts: list[Any] = [axis.get_figure(root=False)]
    while parts[-1] is not parts[0].get_figure(root=True):
        parts.append(parts[-1]._parent)
    legends: list[Legend] = [legend for part in parts for legend in part.legends]
    legends += [own] if (own := axis.get_legend()) else []
    return {
        _style(handle): " ".join(text.get_text().split())
        for legend in legends
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=False)
    }


def _face(artist: Any) -> Any:
    """The part of an artist that shows how all of it looks."""
    if isinstance(artist, BarContainer | ErrorbarContainer):
        return next((part for part in artist.get_children() if part is not None), artist)
    return artist


def _style(artist: Any) -> tuple[str, bytes]:
    """The colour and marker by which a reader tells artists apart."""
    face, marker = _face(artist), b""
    if isinstance(face, Line2D):
        drawn = MarkerStyle(face.get_marker())
        return to_hex(face.get_color()), _shape(drawn.get_path().transformed(drawn.get_transform()))
    if isinstance(face, PathCollection) and face.get_paths():
        marker = _shape(face.get_paths()[0])
    if isinstance(face, Collection):
        colours = [*face.get_facecolor(), *face.get_edgecolor()]
        return to_hex(colours[0] if colours else "none"), marker
    return to_hex(face.get_facecolor() if isinstance(face, Patch) else "none"), marker


def _shape(path: Any) -> bytes:
    return np.asarray(path.vertices).tobytes()


# What belongs to the marks: their intervals and texts, and the names of the axes.


def _with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with intervals that were drawn on their own joined to their points."""
    rows, joined = rows.copy(), []
    for place, interval in rows[rows["mark"] == "interval"].iterrows():
        way, level = ("x", "y") if pd.notna(interval["y"]) else ("y", "x")
        low, high = f"{way}_low", f"{way}_high"
        points = rows[rows["mark"].isin(["point", "line"]) & (rows[level] == interval[level]) & rows[low].isna()]
        points = points[points[way].between(interval[low], interval[high]) & (points["colour"] == interval["colour"])]
        if len(points) == 1:
            rows.loc[points.index, [low, high]] = interval[[low, high]].to_numpy(dtype=float)
            joined.append(place)
    return rows.drop(index=joined)


def _with_texts(rows: pd.DataFrame, axis: Any) -> pd.DataFrame:
    """The rows, with the texts that stand at a point."""
    texts = pd.Series("", index=rows.index)
    for text in axis.texts:
        noted = isinstance(text, Annotation)
        if text.xycoords == "data" if noted else text.get_transform() == axis.transData:
            x, y = (float(each) for each in (text.xy if noted else text.get_position()))
            texts[(rows["x"] == x) & (rows["y"] == y)] = " ".join(text.get_text().split())
    return rows.assign(text=texts)


def _with_names(rows: pd.DataFrame, axis: Any) -> pd.DataFrame:
    """The rows, with the names of the panel, of its axes, and of places on an axis that has names, not numbers."""
    part = axis.get_figure(root=False)
    x_axes = {name for each in _panels(part) if (name := each.get_xlabel())}
    named = {
        "part": part.get_suptitle(),
        "title": _title(axis) or _nearest(axis, _title, (0, 1)),
        "x_axis": axis.get_xlabel() or _nearest(axis, Axes.get_xlabel, (0, -1)) or part.get_supxlabel(),
        "y_axis": axis.get_ylabel() or _nearest(axis, Axes.get_ylabel, (-1, 0)) or part.get_supylabel(),
    }
    named["x_axis"] = named["x_axis"] or (x_axes.pop() if len(x_axes) == 1 else "")
    named = {name: " ".join(text.split()) for name, text in named.items()}
    return rows.assign(**named, x_name=_places(axis.xaxis, rows, "x"), y_name=_places(axis.yaxis, rows, "y"))


def _panels(part: Any) -> list[Any]:
    return [axis for axis in part.axes if axis.get_figure(root=False) is part]


def _title(axis: Any) -> str:
    return " ".join(filter(None, (axis.get_title(loc) for loc in ("left", "center", "right"))))


def _nearest(axis: Any, say: Callable[[Any], str], way: tuple[int, int]) -> str:
    """What the nearest panel in a direction (right, up) says; empty if no panel there says anything.

    A reader, too, takes the title from the panel above, and the labels of axes from the panels at the left and below.
    """
    size, found = axis.bbox.size, []
    for other in _panels(axis.get_figure(root=False)):
        apart = (other.bbox.get_points() - axis.bbox.get_points()).mean(axis=0)
        beside = abs(apart[way.index(0)]) < size[way.index(0)] / 2
        if beside and (distance := apart @ way) > 0 and (said := say(other)):
            found.append((distance, said))
    return min(found, default=(0, ""))[1]


def _places(axis: Any, rows: pd.DataFrame, way: str) -> Any:
    """The names of the places along an axis that has names in place of numbers; empty if it has numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator | StrCategoryLocator):
        return ""
    ticks = np.asarray(axis.get_majorticklocs())
    labels = axis.get_major_formatter().format_ticks(ticks)  # numbers, if they were given as such
    names = [" ".join(str(label).split()) for label in labels]
    if all(_is_number(name) for name in names):
        return ""
    middle = rows[[f"{way}_low", f"{way}_high"]].mean(axis=1)
    at = rows[way].fillna(middle).to_numpy(dtype=float)
    nearest = np.abs(np.nan_to_num(at)[:, None] - ticks).argmin(axis=1)
    return np.where(np.isnan(at), "", np.array(names)[nearest])


def _is_number(name: str) -> bool:
    return re.fullmatch(r"[-−+]?[\d.,]*(e[-−+]?\d+)?|\$.*\$", name) is not None


def _with_places(rows: pd.DataFrame, axis: Any) -> pd.DataFrame:
    """The rows, with places in the figure for points that have an identity and are not cut off."""
    known = rows[rows[list(IDENTITY)].notna().any(axis=1) & rows[["x", "y"]].notna().all(axis=1)]
    at = axis.transData.transform(known[["x", "y"]].to_numpy(dtype=float).reshape(-1, 2))
    height = axis.get_figure(root=True).bbox.height
    within = (at >= axis.bbox.min - 1).all(axis=1) & (at <= axis.bbox.max + 1).all(axis=1)
    known = known.assign(left=at[:, 0], top=height - at[:, 1])[within]
    return rows.assign(left=known["left"], top=known["top"])
