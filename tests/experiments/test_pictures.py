"""A picture that a notebook shows carries the data of its figure, and knows where in it the points are."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import print_figure
from PIL import Image

from nclib.experiments import plots
from nclib.experiments.pictures import KEY, carry_data, in_palette, packed, unpacked, with_data


def draw(figure):
    """As %matplotlib inline does."""
    return print_figure(figure, fmt="png", base64=True, bbox_inches="tight")


@pytest.fixture
def figure():
    plt.switch_backend("agg")
    with plt.style.context(plots.STYLE):
        yield plt.figure(figsize=(4, 3))
    plt.close("all")


def test_a_point_is_in_the_picture_where_its_data_say(figure):
    rows = pd.DataFrame({"model": ["a", "b"], "x": [1.0, 100.0], "y": [0.2, 0.7]})
    axis = figure.subfigures(2, 1)[1].subplots()
    plots.points(axis, rows, "x", "y", color="red", s=40)
    plots.log_scale(axis, "x")
    axis.grid(False)
    axis.set(title="models", ylabel="a label\nof two lines")
    png, metadata = with_data(draw)(figure)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
    found = unpacked(metadata[KEY])
    assert found["model"].tolist() == ["a", "b"]
    for left, top in found[["left", "top"]].to_numpy():
        assert picture[int(top), int(left)].tolist() == [255, 0, 0]
    red = np.array((picture == [255, 0, 0]).all(axis=2).nonzero())
    middle = found[["top", "left"]].agg(["min", "max"]).mean()
    assert (red.min(axis=1) + red.max(axis=1) + 1) / 2 == pytest.approx(middle, abs=1.2)


def test_a_figure_without_data_or_with_too_much_is_a_picture_alone(figure, monkeypatch):
    figure.subplots().set_title("a drawing")
    assert with_data(draw)(figure)[1] == {}
    figure.axes[0].plot([1, 2, 3])
    assert list(with_data(draw)(figure)[1]) == [KEY]
    monkeypatch.setattr("nclib.experiments.pictures.MOST", 2)
    assert with_data(draw)(figure)[1] == {}


def test_what_the_picture_says_itself_is_kept(figure):
    figure.subplots().plot([1, 2])
    _, metadata = with_data(lambda figure: (draw(figure), {"width": 300}))(figure)
    assert metadata["width"] == 300
    assert len(unpacked(metadata[KEY])) == 2


def shown(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)


def test_a_picture_of_lines_is_smaller_and_looks_the_same(figure):
    figure.subplots().plot(np.random.default_rng(0).normal(size=(20, 5)))
    before = draw(figure)
    after = in_palette(before)
    assert len(after) < len(before) / 2
    assert abs(shown(before) - shown(after)).max() < 32


@pytest.mark.parametrize("alpha", [0, 1])
def test_a_picture_of_many_colours_or_one_to_see_through_is_left_alone(figure, alpha):
    figure.subplots().imshow(np.random.default_rng(0).random((100, 100, 3)) if alpha else np.eye(3))
    figure.patch.set_alpha(alpha)
    picture = draw(figure)
    assert in_palette(picture) == picture


def test_nine_digits_and_texts_are_kept():
    rows = pd.DataFrame({"x": [1 / 3, np.nan], "title": ["None", 'a "b", c'], "commit": ["0123456", "12e3456"]})
    found = unpacked(packed(rows))
    assert found["x"].tolist()[0] == 0.333333333
    assert found[["title", "commit"]].equals(rows[["title", "commit"]].astype(found["title"].dtype))
    assert packed(rows) == packed(rows.copy())


def test_a_notebook_shows_pictures_with_data_once_that_is_asked_for(figure, monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    figure.subplots().plot([1, 2])
    formatter = shell.display_formatter.formatters["image/png"]
    carry_data()
    assert formatter(figure) is None  # nobody asked for pictures
    formatter.for_type(type(figure), draw)
    carry_data(), carry_data()
    png, metadata = formatter(figure)
    assert list(metadata) == [KEY]
    assert base64.b64decode(png).startswith(b"\x89PNG")


def test_outside_a_notebook_nothing_changes(monkeypatch):
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: None)
    carry_data()
