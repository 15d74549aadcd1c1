"""Schematics can be read, are the same each time, say what nclib computes, and offer no data."""

import inspect
import math
import re
import warnings
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.pylabtools import print_figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from scipy.stats import weightedtau

import nclib
from nclib.experiments import plots
from nclib.experiments.drawn import table
from nclib.experiments.figures import schematics, sketch
from nclib.experiments.pictures import with_data

SCHEMATICS = {
    name: draw
    for name, draw in inspect.getmembers(schematics, inspect.isfunction)
    if inspect.get_annotations(draw).get("return") is plt.Figure and not inspect.signature(draw).parameters
}
assert len(SCHEMATICS) == 9


@pytest.fixture(autouse=True, scope="module")
def style():
    plt.switch_backend("agg")
    with plt.style.context(plots.STYLE):
        yield
    plt.close("all")


@pytest.fixture(params=SCHEMATICS, scope="module")
def figure(request):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = SCHEMATICS[request.param]()
        drawn.canvas.draw()
        yield drawn
    plt.close(drawn)


def texts(figure):
    return [each for each in figure.findobj(Text) if each.get_visible() and each.get_text().strip()]


def said(figure):
    return [each.get_text() for each in texts(figure)]


def within(inner, outer, slack=0.5):
    """Whether a box is inside another, in pixels."""
    return (inner.min >= outer.min - slack).all() and (inner.max <= outer.max + slack).all()


def test_all_text_is_in_its_figure_and_in_the_panel_that_it_is_written_into(figure):
    for axis in figure.axes:
        names = {axis.xaxis.label, axis.yaxis.label}
        for text in texts(axis):
            room = figure.bbox if text in names else axis.bbox
            assert within(text.get_window_extent(), room), text.get_text()


def test_no_text_lies_on_another(figure):
    for one, other in combinations(texts(figure), 2):
        boxes = one.get_window_extent(), other.get_window_extent()
        assert not boxes[0].padded(-0.5).overlaps(boxes[1].padded(-0.5)), (one.get_text(), other.get_text())


def test_text_fits_into_its_box(figure):
    for box in figure.findobj(FancyBboxPatch):
        room = box.get_window_extent()
        for text in texts(figure):
            extent = text.get_window_extent()
            assert not room.overlaps(extent) or within(extent, room, slack=-2), text.get_text()


def test_text_is_legible_where_the_page_is_700_pixels_wide(figure):
    width = figure.get_size_inches()[0]
    assert min(each.get_fontsize() for each in texts(figure)) / 72 / width * 700 > 9


def test_a_schematic_offers_no_data(figure):
    assert table(figure).empty
    assert with_data(lambda drawn: print_figure(drawn, base64=True))(figure)[1] == {}, "no metadata"


def test_a_schematic_is_the_same_each_time(figure, request):
    again = SCHEMATICS[request.node.callspec.params["figure"]]()
    for each in (figure, again):
        each.canvas.draw()
    assert (np.asarray(figure.canvas.buffer_rgba()) == np.asarray(again.canvas.buffer_rgba())).all()
    plt.close(again)


def test_only_the_axes_of_a_schematic_are_without_data():
    figure, sheet = sketch.sheet_of(2)
    sheet.plot([1, 2], [1, 2])
    figure.add_axes((0, 0, 1, 1)).plot([3, 4], [5, 6])
    assert table(figure)["x"].tolist() == [3, 4]


# What they say


def test_spread_across_the_means_is_told_apart_by_nc1_and_directional_cdnv_only():
    found = [dict(re.findall(r"([A-z1 ]+) ([\d.]+)", text)) for text in said(schematics.two_spreads()) if "NC1" in text]
    along, across = ({name.strip(): float(value) for name, value in each.items()} for each in found)
    assert along["NC1"] > 5 * across["NC1"]
    assert along["directional CDNV"] > 5 * across["directional CDNV"]
    assert along["trace ratio"] == across["trace ratio"]
    assert along["CDNV"] == across["CDNV"]


def models():
    labels = np.repeat([0, 1, 2], 60)
    for means, spread in schematics.ZOO.values():
        classes = np.array(means)[:, None] + spread * sketch.cloud(60)
        yield nclib.class_statistics(classes.reshape(-1, 2), labels)


def test_face_by_steps_is_that_of_nclib():
    sums = [text.rpartition("= ")[2] for text in said(schematics.face_by_steps()) if " + " in text]
    assert sums == [f"{value:.2f}" for value in nclib.face(models()).tolist()]


def test_the_shares_are_those_of_class_fairness():
    for stats in models():
        shares = schematics._softmax(stats)
        entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1)
        assert entropy.mean() / math.log(2) == pytest.approx(nclib.class_fairness(stats))


@pytest.mark.parametrize(("title", "order"), [("best", [4, 5, 3, 2, 1]), ("last", [5, 4, 3, 1, 2])])
def test_weighted_tau_is_that_of_scipy(title, order):
    found = [text for text in said(schematics.weighted_tau()) if "tau" in text]
    stated = found[["best", "last"].index(title)].rstrip("$").rpartition("= ")[2]
    assert stated == f"{weightedtau(order, [5, 4, 3, 2, 1]).statistic:.2f}"
