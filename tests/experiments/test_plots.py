"""What the book's figures are made of: one colour and marker for one thing, and scales that are read."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from nclib.experiments import plots


def test_every_task_has_a_style_of_its_own():
    tasks = plots._tasks()
    assert len(tasks) > 15
    assert len({tuple(plots.task_style(task).values()) for task in tasks}) == len(tasks)


def test_every_setting_has_a_style_of_its_own():
    found = [tuple(plots.setting_style(name).values()) for name in (*plots.SETTINGS, "base")]
    assert len(set(found)) == len(found)
    assert len({tuple(plots.numbered_style(i).values()) for i in range(42)}) == 42


def test_every_method_has_a_style_of_its_own():
    assert len({tuple(plots.method_style(method).values()) for method in plots.DRAWN_METHODS}) == len(
        plots.DRAWN_METHODS
    )


def test_tasks_of_a_reader_are_told_apart():
    found = [plots.task_style(f"folder:photos{i}") for i in range(5)]
    assert len({tuple(style.values()) for style in found}) > 1
    assert found[0] == plots.task_style("folder:photos0")


@pytest.fixture
def axis():
    plt.switch_backend("agg")
    yield plt.figure().subplots()
    plt.close("all")


def test_a_logarithmic_scale_has_plain_numbers(axis):
    axis.plot([1, 100], [1, 100])
    plots.log_scale(axis, "x")
    axis.figure.canvas.draw()
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "linear")
    assert {"1", "10", "100"} & {label.get_text() for label in axis.get_xticklabels()}


def test_means_are_drawn_with_intervals_at_each_value(axis):
    rows = pd.DataFrame({"x": [1, 1, 2, 2], "y": [0.0, 2.0, 3.0, 3.0]})
    plots.means(axis, rows, "x", "y")
    (drawn,) = axis.containers
    np.testing.assert_allclose(drawn.lines[0].get_xydata(), [[1, 1], [2, 3]])
    assert drawn.has_yerr


def test_a_shared_legend_has_every_label_once():
    figure, axes = plt.subplots(1, 2)
    for each, labels in zip(axes, (["a", "b"], ["b", "c"]), strict=True):
        for label in labels:
            each.plot([0, 1], label=label)
    plots.shared_legend(figure, axes, ncols=3)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    plt.close(figure)
