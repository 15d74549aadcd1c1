"""The table of what a figure draws has the numbers that were drawn, each with what the reader knows it by."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import EllipseCollection
from matplotlib.lines import Line2D

from nclib.experiments import plots
from nclib.experiments.drawn import identify, table


@pytest.fixture
def axis():
    plt.switch_backend("agg")
    with plt.style.context("default", after_reset=True):  # a run that another test started has set a style
        yield plt.figure().subplots()
    plt.close("all")


def drawn(axis, *names):
    """The rows of a figure: those columns, as lists of values."""
    return table(axis.figure)[list(names)].to_numpy().tolist()


def filled(axis):
    """The rows of a figure, with nothing in place of NaN."""
    return table(axis.figure).astype(object).fillna("")


def test_an_empty_figure_has_no_rows(axis):
    assert len(table(axis.figure)) == 0


def test_scattered_points_that_are_no_numbers_are_not_drawn(axis):
    axis.scatter([1, np.nan, 3], [4, 5, np.nan], label="net")
    axis.scatter([2, 3], [6, 7], c=[0.5, 0.25])
    assert filled(axis).drop(columns="group").to_numpy().tolist() == [
        ["net", "point", 1.0, 4.0, ""],
        ["", "point", 2.0, 6.0, 0.5],
        ["", "point", 3.0, 7.0, 0.25],
    ]


def test_lines_of_one_look_are_told_apart(axis):
    for y in ([1, 2], [3, 5]):
        axis.plot([0, 1], y, color="blue")
    assert drawn(axis, "mark", "group", "x", "y") == [
        ["line", 0, 0.0, 1.0],
        ["line", 0, 1.0, 2.0],
        ["line", 1, 0.0, 3.0],
        ["line", 1, 1.0, 5.0],
    ]


def test_error_bars_are_ends_of_their_points(axis):
    axis.errorbar([1, 2], [10, 20], xerr=[[0.5, 0.25], [1, 2]], yerr=[1, np.nan], label="a")
    found = table(axis.figure)
    assert found[["mark", "series", "x", "x_low", "x_high", "y"]].to_numpy().tolist() == [
        ["point", "a", 1.0, 0.5, 2.0, 10.0],
        ["point", "a", 2.0, 1.75, 4.0, 20.0],
    ]
    assert found["y_low"].fillna(-1).tolist() == [9.0, -1.0]


def test_error_bars_without_points_are_intervals(axis):
    axis.errorbar([1, 2], [10, 20], yerr=3, fmt="none")
    assert drawn(axis, "mark", "x", "y_low", "y_high") == [["interval", 1.0, 7.0, 13.0], ["interval", 2.0, 17.0, 23.0]]


@pytest.mark.parametrize("columns", [1, 3])
def test_error_bars_of_some_points_belong_to_these(axis, columns):
    axis.errorbar(range(6), range(6), yerr=0.5, errorevery=columns, marker="o")
    known = table(axis.figure).dropna(subset="y_low")
    assert known["x"].tolist() == list(range(0, 6, columns))
    assert known["mark"].eq("point").all()


def test_intervals_drawn_on_their_own_are_joined_to_their_points(axis):
    axis.hlines([0, 1], [1, 2], [3, 6], "red")
    axis.plot([2, 4], [0, 1], "o", color="red", label="score")
    axis.plot([7, 7], [1, 3], color="blue")  # as figures draw one interval
    axis.plot(7, 2, "s", color="blue")
    axis.plot([8, 8], [0, 1], color="green")  # of no point
    found = filled(axis)
    assert found[["mark", "x", "y", "x_low", "x_high", "y_low", "y_high"]].to_numpy().tolist() == [
        ["point", 2.0, 0.0, 1.0, 3.0, "", ""],
        ["point", 4.0, 1.0, 2.0, 6.0, "", ""],
        ["point", 7.0, 2.0, "", "", 1.0, 3.0],
        ["interval", 8.0, "", "", "", 0.0, 1.0],
    ]


def test_bars_have_place_and_height_whichever_way_they_go(axis):
    axis.bar(["a", "b"], [3, 4], bottom=[0, 1], label="n")
    assert drawn(axis, "mark", "series", "x_name", "y_low", "y") == [
        ["bar", "n", "a", 0.0, 3.0],
        ["bar", "n", "b", 1.0, 5.0],
    ]
    axis.clear()
    axis.barh(["a", "b"], [3, -4])
    assert drawn(axis, "y_name", "x") == [["a", 3.0], ["b", -4.0]]
    assert table(axis.figure)["x_low"].tolist() == [0.0, -4.0]


def test_a_histogram_has_the_edges_of_its_bins(axis):
    axis.hist([0, 0, 1, 5], bins=[0, 1, 2, 6])
    assert drawn(axis, "x_low", "x_high", "y") == [[0.0, 1.0, 2.0], [1.0, 2.0, 1.0], [2.0, 6.0, 1.0]]


@pytest.mark.parametrize("origin", ["upper", "lower"])
def test_an_image_has_a_row_for_each_cell(axis, origin):
    axis.imshow([[1, 2, 3], [4, 5, np.nan]], origin=origin)
    assert drawn(axis, "mark", "x", "y", "value")[:4] == [
        ["cell", 0.0, 0.0, 1.0],
        ["cell", 1.0, 0.0, 2.0],
        ["cell", 2.0, 0.0, 3.0],
        ["cell", 0.0, 1.0, 4.0],
    ]


def test_a_colour_image_has_its_colours(axis):
    axis.imshow(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    assert drawn(axis, "x", "y", "red", "green", "blue")[5] == [1.0, 1.0, 15.0, 16.0, 17.0]


def test_a_mesh_has_centres_and_no_rows_of_its_colour_bar(axis):
    mesh = axis.pcolormesh([0, 1, 3], [0, 2], [[7, 8]])
    axis.figure.colorbar(mesh)
    assert drawn(axis, "mark", "x", "y", "value") == [["cell", 0.5, 1.0, 7.0], ["cell", 2.0, 1.0, 8.0]]


def test_bands_have_ends_at_every_place(axis):
    axis.plot([0, 1, 2], [1, 2, 3], color="red", label="demo")
    axis.fill_between([0, 1, 2], [0, 1, 2], [2, 3, 5], color="red", alpha=0.2)
    bands = table(axis.figure).query("mark == 'band'")
    assert bands[["series", "x", "y_low", "y_high"]].to_numpy().tolist() == [
        ["demo", 0.0, 0.0, 2.0],
        ["demo", 1.0, 1.0, 3.0],
        ["demo", 2.0, 2.0, 5.0],
    ]


def test_a_band_along_the_other_axis(axis):
    axis.fill_betweenx([0, 1], [5, 6], [8, 9])
    assert drawn(axis, "y", "x_low", "x_high") == [[0.0, 5.0, 8.0], [1.0, 6.0, 9.0]]


def test_rules_and_spans_have_only_the_axis_that_they_are_at(axis):
    axis.axhline(0.5), axis.axvline(2), axis.axline((0, 0), slope=1), axis.axvspan(-1, 1)
    found = filled(axis)
    assert found[["mark", "x", "y", "x_low", "x_high"]].to_numpy().tolist() == [
        ["rule", "", 0.5, "", ""],
        ["rule", 2.0, "", "", ""],
        ["band", "", "", -1.0, 1.0],
    ]


def test_a_logarithmic_axis_has_the_numbers_and_not_their_logarithms(axis):
    axis.loglog([1, 1000], [0.01, 10], "o")
    plots.log_scale(axis, "x", "y")
    found = table(axis.figure)
    assert found[["x", "y"]].to_numpy().tolist() == [[1.0, 0.01], [1000.0, 10.0]]
    assert not {"x_name", "y_name"} & set(found)


def test_an_axis_of_words_names_the_places_of_what_stands_beside_them(axis):
    axis.plot([1, 2], [-0.3, 1.2], "o")
    axis.axvspan(0, 1)
    axis.set_yticks([0, 1], ["A1-dial", "A3"])
    assert table(axis.figure)["y_name"].fillna("").tolist() == ["A1-dial", "A3", ""]


@pytest.mark.parametrize("ticks", [[0, 0.5, 1], [-1, 0, 1000]])
def test_numbers_at_chosen_places_are_no_words(axis, ticks):
    axis.plot([0, 1], [0, 1])
    axis.set_xticks(ticks)
    assert "x_name" not in table(axis.figure)
    axis.set_xticks(ticks, labels=ticks)  # numbers, where others give text
    assert "x_name" not in table(axis.figure)


def test_panels_take_titles_and_labels_from_above_below_and_the_left():
    figure, axes = plt.subplots(2, 2, sharex="col")
    for axis in axes.flat:
        axis.plot(1, 2, "o")
    for place, title in enumerate(("left", "right")):
        axes[0, place].set_title(title)
        axes[1, place].set_xlabel(f"x {title}")
    axes[0, 0].set_ylabel("upper"), axes[1, 0].set_ylabel("lower\naxis")
    found = table(figure)[["title", "x_axis", "y_axis"]].to_numpy().tolist()
    assert found == [
        ["left", "x left", "upper"],
        ["right", "x right", "upper"],
        ["left", "x left", "lower axis"],
        ["right", "x right", "lower axis"],
    ]


def test_parts_of_a_figure_keep_their_names_to_themselves():
    figure = plt.figure()
    for name, part in zip("ab", figure.subfigures(2, 1), strict=True):
        part.suptitle(f"part {name}")
        left, right = part.subplots(1, 2)
        left.plot(1, 2, "o"), right.plot(1, 2, "o")
        right.set(xlabel=f"x of {name}", ylabel=f"y of {name}")
    found = table(figure).fillna("")
    assert found[["part", "x_axis", "y_axis"]].to_numpy().tolist() == [
        ["part a", "x of a", ""],
        ["part a", "x of a", "y of a"],
        ["part b", "x of b", ""],
        ["part b", "x of b", "y of b"],
    ]


def test_what_looks_like_a_labelled_artist_has_its_name():
    figure, (left, right) = plt.subplots(1, 2)
    left.scatter([1, 2], [1, 2], s=4, color="red", marker="s")
    left.scatter(3, 3, s=40, color="red", marker="s", label="method")
    left.plot(1, 1, "o", color="black")
    right.plot(4, 4, "^", color="blue")
    right.plot(5, 5, "^", color="green")
    figure.legend(handles=[Line2D([], [], color="blue", marker="^", linestyle="", label="from the legend")])
    found = table(figure).fillna({"series": ""})
    assert sorted(found[["x", "series"]].itertuples(index=False, name=None)) == [
        (1.0, ""),
        (1.0, "method"),
        (2.0, "method"),
        (3.0, "method"),
        (4.0, "from the legend"),
        (5.0, ""),
    ]


def test_a_text_at_a_point_goes_with_it(axis):
    axis.plot([1, 2], [3, 4], "o-")
    axis.annotate("lambda 0", (1, 3), xytext=(3, 4), textcoords="offset points")
    axis.text(2, 4, "end")
    axis.text(9, 9, "elsewhere"), axis.annotate("title", (0.5, 1), xycoords="axes fraction")
    assert table(axis.figure)["text"].tolist() == ["lambda 0", "end"]


def test_a_kind_of_artist_that_nobody_reads_is_missed_aloud(axis):
    axis.add_collection(EllipseCollection([1], [1], [0], offsets=[(0, 0)], offset_transform=axis.transData))
    with pytest.warns(UserWarning, match="lacks a EllipseCollection"):
        table(axis.figure)


def test_hidden_artists_are_not_drawn(axis):
    axis.plot(1, 1, "o")
    axis.plot(2, 2, "o", visible=False)
    assert table(axis.figure)["x"].tolist() == [1.0]


NETWORKS = pd.DataFrame(
    {"loss": ["MSE", "MSE"], "seed": [0, 1], "commit": ["c1", "c2"], "nc1": [0.5, 0.25], "tasks": [["a"], ["b"]]}
)


def test_points_of_rows_keep_their_identity_and_place(axis):
    plots.points(axis, NETWORKS, "nc1", "seed")
    found = table(axis.figure)
    assert found[["x", "y", "loss", "seed", "commit"]].to_numpy().tolist() == [
        [0.5, 0.0, "MSE", 0, "c1"],
        [0.25, 1.0, "MSE", 1, "c2"],
    ]
    at = axis.transData.transform(found[["x", "y"]])
    assert found["left"].to_numpy() == pytest.approx(at[:, 0])
    assert found["top"].to_numpy() == pytest.approx(axis.figure.bbox.height - at[:, 1])


def test_error_bars_and_lines_have_an_identity_too(axis):
    identify(axis.errorbar([1, 2], [3, 4], yerr=1)[0], NETWORKS)
    identify(axis.plot([1, 2], [3, 4])[0], NETWORKS)
    assert table(axis.figure)["commit"].tolist() == ["c1", "c2", "c1", "c2"]


def test_a_point_that_is_cut_off_has_no_place(axis):
    plots.points(axis, NETWORKS, "nc1", "seed")
    axis.set_xlim(0.4, 1)
    assert table(axis.figure)["left"].notna().tolist() == [True, False]


def test_rows_that_are_not_those_of_the_points_are_refused(axis):
    identify(axis.scatter([1, 2, 3], [1, 2, 3]), NETWORKS)
    with pytest.raises(ValueError, match="2 rows were given to identify 3 points"):
        table(axis.figure)


def test_a_mean_names_the_seeds_and_commits_that_it_is_of():
    found = plots.averaged(NETWORKS, ["loss"], ["nc1"])
    assert found.to_numpy().tolist() == [["MSE", 0.375, "0, 1", "c1, c2"]]
    assert list(plots.averaged(NETWORKS[["loss", "nc1"]], ["loss"], ["nc1"])) == ["loss", "nc1"]
