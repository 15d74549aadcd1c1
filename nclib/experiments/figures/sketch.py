"""What schematics are made of: sheets measured in inches, boxes and arrows, and clouds of samples without chance."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import FancyBboxPatch

from nclib.experiments import plots
from nclib.experiments.drawn import SCHEMATIC

Place = Sequence[float]  # x and y
Link = tuple[float, str, str, float]  # of a chain of boxes: where along it, the text, the filling, and how wide

WIDTH = 6.4  # inches: a page of the book shows it without scaling
FROZEN, TRAINED, PLAIN = "0.87", "#F6CDB2", "white"  # what a box is filled with
INK, FRAME = "0.3", "0.8"
SMALL = 7.5
# Three equally distant means in the plane.
CORNERS = np.array([[np.cos(angle), np.sin(angle)] for angle in np.pi * np.array([1 / 2, 7 / 6, 11 / 6])])


def sheet_of(height: float) -> tuple[Figure, Any]:
    """A figure, and axes over all of it whose unit is an inch."""
    # With layout "none", matplotlib restores the style's layout after it has saved a figure, and warns of it.
    figure = plt.figure(figsize=(WIDTH, height), layout=PlaceHolderLayoutEngine(True, True))
    sheet = figure.add_axes((0, 0, 1, 1), label=SCHEMATIC)
    sheet.set(xlim=(0, WIDTH), ylim=(0, height))
    sheet.set_axis_off()
    return figure, sheet


def panel(sheet: Any, corner: Place, size: Place, **settings: Any) -> Any:
    """Framed axes without ticks in a part of a sheet, from their lower left corner."""
    (left, bottom), (width, height) = (np.array(each) / sheet.figure.get_size_inches() for each in (corner, size))
    axis = sheet.figure.add_axes((left, bottom, width, height), label=SCHEMATIC)
    axis.set(xticks=[], yticks=[], **settings)
    axis.grid(False)
    axis.spines[:].set(visible=True, color=FRAME)
    return axis


def plane(sheet: Any, corner: Place, side: float, reach: float) -> Any:
    """A square panel of points, from -reach to reach in both directions."""
    return panel(sheet, corner, (side, side), xlim=(-reach, reach), ylim=(-reach, reach))


def say(axis: Any, x: float, y: float, text: str, **style: Any) -> None:
    axis.text(x, y, text, **{"ha": "center", "va": "center", "linespacing": 1.25} | style)


def note(axis: Any, x: float, y: float, text: str, **style: Any) -> None:
    """A remark, in smaller type than a title."""
    say(axis, x, y, text, **{"fontsize": SMALL, "color": INK} | style)


def box(sheet: Any, x: float, y: float, text: str, fill: str, width: float, height: float = 0.44) -> None:
    """A box about a place, with a text in it."""
    looks: dict[str, Any] = {"facecolor": fill, "edgecolor": INK, "linewidth": 0.8}
    shape = "round,pad=0,rounding_size=0.06"
    sheet.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle=shape, **looks))
    say(sheet, x, y, text)


def chain(sheet: Any, y: float, links: Sequence[Link]) -> None:
    """Boxes from left to right, each with an arrow to the next."""
    for x, text, fill, width in links:
        box(sheet, x, y, text, fill, width)
    for (x, _, _, width), (following, _, _, its_width) in pairwise(links):
        arrow(sheet, (x + width / 2, y), (following - its_width / 2, y))


def arrow(axis: Any, start: Place, end: Place, **style: Any) -> None:
    looks = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=looks | style)


def cloud(number: int) -> np.ndarray:
    """Points spread evenly over the unit disc, (number, 2), along a spiral."""
    radius = np.sqrt((np.arange(number) + 0.5) / number)
    angle = np.arange(number) * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def samples(axis: Any, places: Any, i: int, **style: Any) -> None:
    """Samples of class i, (n, 2)."""
    axis.scatter(*np.atleast_2d(places).T, **{"s": 7, "linewidth": 0, **plots.numbered_style(i)} | style)


def mean(axis: Any, place: Any, i: int, **style: Any) -> None:
    """The mean of class i."""
    samples(axis, place, i, **{"s": 55, "edgecolor": "black", "linewidth": 0.8, "zorder": 4} | style)
