"""The figures of the chapters draw what their tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from nclib.estimates import Estimate
from nclib.experiments import plots
from nclib.experiments.chapters import source
from nclib.experiments.claims import FACTOR, POINT, Claim, judge
from nclib.experiments.figures import (
    complexity as chapter_3,
    downstream as chapter_4,
    fine_tuning as chapter_5,
    in_training as chapter_1,
    parts,
    selection as chapter_6,
    source as chapter_2,
)


@pytest.fixture(autouse=True)
def closed():
    plt.switch_backend("agg")
    with plt.rc_context({"figure.constrained_layout.use": True}):
        yield
    plt.close("all")


def points(axis):
    """How many points an axis has of each label."""
    return {each.get_label(): len(each.get_offsets()) for each in axis.collections}


def titles(figure):
    return [axis.get_title() for axis in figure.axes]


def legends(figure):
    """The labels of each legend beside the axes, part by part."""
    found = [legend for part in figure.subfigs or [figure] for legend in part.legends]
    return [[text.get_text() for text in legend.get_texts()] for legend in found]


# Chapter 1


def watched(errors):
    curve = {name: [0.5, 0.4, 0.3] for name in ("nc1", "nc2", "nc3", "nc4", "test_accuracy")}
    return pd.DataFrame([{"epoch": [0, 1, 5], "train_error": one, **curve} for one in errors])


SHOWN = {name: (name.upper(), "lower") for name in ("train_error", "nc1", "nc2", "nc3", "nc4", "test_accuracy")}


def test_a_sheet_has_a_row_for_each_title():
    figure = chapter_1.contact_sheet(np.zeros((2, 3, 4, 5), dtype=np.uint8), ["one", "two"])
    assert [axis.get_ylabel() for axis in figure.axes] == ["one", "two"]
    assert figure.axes[0].images[0].get_array().shape == (4, 15)


@pytest.mark.parametrize(
    ("errors", "dashed"), [([[0.2, 0.1, 0.0], [0.1, 0.0, 0.0]], [5, 5]), ([[0.2, 0.0, 0.0], [0.1, 0.1, 0.1]], [])]
)
def test_trajectories_are_dashed_where_all_networks_are_without_errors(errors, dashed):
    figure = chapter_1.trajectories_by_scale({"demo": watched(errors)}, SHOWN)
    first = figure.axes[0]
    assert titles(figure) == [title for title, _ in SHOWN.values()]
    np.testing.assert_allclose(first.lines[0].get_ydata(), np.mean(errors, axis=0))
    assert [x for line in first.lines[1:] for x in line.get_xdata()] == dashed
    assert [axis.get_yscale() for axis in figure.axes] == ["linear", "log"] + ["linear"] * 4
    assert legends(figure) == []


def test_trajectories_of_two_scales_have_a_legend():
    tables = dict.fromkeys(["demo", "lab"], watched([[0.2, 0.0, 0.0]]))
    assert legends(chapter_1.trajectories_by_scale(tables, SHOWN)) == [["demo", "lab"]]


def test_three_classes_lie_about_the_corners_of_a_triangle():
    corners = [[0, 1], [-(3**0.5) / 2, -0.5], [3**0.5 / 2, -0.5]]
    pictures = [[[corner] * 4 for corner in corners]] * 2
    figure = chapter_1.classes_in_a_plane(pictures, [0, 8], ["a", "b", "c"])
    assert titles(figure) == ["epoch 0", "epoch 8"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), [*corners, corners[0]], atol=1e-12)
    assert points(figure.axes[1]) == {"a": 4, "b": 4, "c": 4}


# Chapter 2

SETTINGS = {"loss": "loss", "epochs": "training, epochs"}


def networks(seeds=(0, 1)):
    """Three losses and three lengths of training; the base is in both panels."""
    varied = [("cross-entropy", 4, ["loss", "epochs"]), ("sigmoid", 4, ["loss"]), ("squared error", 4, ["loss"])]
    varied += [("cross-entropy", 1, ["epochs"]), ("cross-entropy", 8, ["epochs"])]
    return pd.DataFrame(
        {"source": "letters", "loss": loss, "epochs": epochs, "panels": panels, "seed": seed}
        | {"nc1": 1.0 + i, "nc1_ratio": 0.1 * (1 + i), "accuracy": [0.5 + 0.1 * i, 0.5], "source_accuracy": 0.9}
        for i, (loss, epochs, panels) in enumerate(varied)
        for seed in seeds
    )


def dialled(seeds=(0, 1), source="letters"):
    return pd.DataFrame(
        {"source": source, "panels": ["collapse"], "collapse": strength, "seed": seed, "nc1": 1.0, "nc1_ratio": ratio}
        | {"accuracy": [transfer, transfer], "source_accuracy": 0.9}
        for strength, ratio, transfer in ((-0.1, 2.0, 0.5), (0.0, 0.3, 0.6), (0.3, 0.01, 0.4))
        for seed in seeds
    )


def test_the_dial_has_a_line_a_seed_and_their_mean():
    two = pd.concat([dialled((0, 1, 2), "clothes"), dialled((0, 1, 2), "photographs")])
    figure = chapter_2.dial({"demo": dialled(), "lab": two})
    transfer, *others = figure.axes[:3]
    assert [axis.get_title() for axis in figure.axes[:3]] == ["demo: letters", "lab: clothes", "lab: photographs"]
    assert [len(axis.lines) for axis in (transfer, *others)] == [3, 4, 4]
    np.testing.assert_allclose(transfer.lines[-1].get_ydata(), [0.5, 0.6, 0.4])
    np.testing.assert_allclose(transfer.lines[-1].get_xdata(), [2.0, 0.3, 0.01])
    assert [text.get_text() for text in transfer.texts] == ["-0.1", "0", "0.3"]
    assert [axis.get_xscale() for axis in figure.axes[3:]] == ["log"] * 3


def test_each_setting_has_a_panel_of_the_networks_that_differ_in_it():
    elsewhere = networks().assign(source="photographs")
    figure = chapter_2.heuristics({"demo": pd.concat([networks(), elsewhere])}, SETTINGS)
    loss, epochs = figure.axes
    assert points(loss) == {"cross-entropy": 2, "sigmoid": 2, "squared error": 2}
    assert points(epochs) == {"1": 2, "4": 2, "8": 2}


def test_settings_stand_at_their_own_trace_ratio_and_what_is_far_below_is_outside():
    figure = chapter_2.at_equal_collapse({"demo": pd.concat([networks(), dialled()])}, SETTINGS)
    curve, loss, epochs = figure.axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), [2.0, 0.3, 0.01])
    np.testing.assert_allclose(loss.get_xdata(), [0.1, 0.2, 0.3])
    np.testing.assert_allclose(epochs.get_ydata(), [0.65, 0.5, 0.7])


def test_contrasts_show_every_claim_and_the_smallest_effect():
    judged = [judge(claim, dialled()) for claim in source.CLAIMS if claim.key == "A1-force"]
    figure = parts.contrasts({"demo": judged}, {"source_collapse": {"demo": dialled()}})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["A1-force"]
    networks, mean, *_ = figure.axes[0].lines
    np.testing.assert_allclose(networks.get_xdata(), [0.2, 0.2])
    np.testing.assert_allclose(mean.get_xdata(), [0.2])
    of_the_claim = dialled().query("seed > 0")  # the cells of a protocol that decides it alone
    figure = parts.contrasts(
        {"demo": judged}, {"source_collapse": {"demo": dialled()}, "A1-force": {"demo": of_the_claim}}
    )
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), [0.2])


# Chapter 3


PANELS = ["digits, ResNet", "letters, VGG-11"]
NEVER = "clothes, VGG-11 with batch norm"


def swept(panels=PANELS):
    """Two networks, by seed, at the base of a panel, and two that differ in each setting."""
    base = {"learning_rate": 0.1, "batch_size": 32, "weight_decay": 0.0}
    settings = [base, base | {"learning_rate": 0.3}, base | {"batch_size": 8}, base | {"weight_decay": 1e-3}]
    numbers = {"complexity": 1.0, "cdnv": 0.1, "target_cdnv": 0.5, "accuracy_5": 0.7}
    return pd.DataFrame(
        {"panel": panel, "seed": seed} | setting | {name: value * (1 + seed) * 2**i for name, value in numbers.items()}
        for panel in panels
        for seed in (0, 1)
        for i, setting in enumerate(settings)
    )


NAMES = {name: name.replace("_", " ") for name in ("learning_rate", "batch_size", "weight_decay", "complexity")}
NAMES["cdnv"] = "CDNV"


def test_kinds_of_networks_have_colours_and_sources_markers():
    styles = chapter_3._styles(["a, VGG-11", "b (copy), ResNet", "a, ResNet-50", "a, VGG with batch norm", "elsewhere"])
    assert [*styles] == ["b (copy), ResNet", "a, ResNet-50", "a, VGG-11", "a, VGG with batch norm", "elsewhere"]
    assert [each["color"] for each in styles.values()] == [plots.COLOURS[i] for i in (0, 0, 1, 2, 3)]
    assert styles["b (copy), ResNet"]["marker"] != styles["a, ResNet-50"]["marker"] == styles["a, VGG-11"]["marker"]


def test_dials_have_a_row_for_each_metric_and_geometric_means_of_each_panel():
    figure = chapter_3.dials({"demo": swept()}, NAMES)
    assert [len(axis.containers) for axis in figure.axes] == [2] * 6
    np.testing.assert_allclose(lines_of(figure.axes[0])[0], [[0.1, 2**0.5], [0.3, 2**1.5]])
    np.testing.assert_allclose(lines_of(figure.axes[4])[1], [[8, 0.4 * 2**0.5], [32, 0.1 * 2**0.5]])
    assert legends(figure) == [PANELS]
    assert [figure.axes[i].get_ylabel() for i in (0, 3)] == ["complexity", "CDNV\n(lower is more collapsed)"]
    assert [axis.get_xscale() for axis in figure.axes[:3]] == ["log", "log", "linear"]
    lowest = [segment[:, 1].min() for each in figure.axes[0].containers for segment in each.lines[2][0].get_segments()]
    assert min(lowest) > 0  # intervals of logarithms do not cross zero


def turned(key, side, smallest, values):
    """A claim whose replicates are the values of each panel, of two seeds."""
    rows = pd.DataFrame(
        {"replicate": f"{panel}{seed}", "panel": panel, "contrast": "", "value": value + (seed - 0.5) / 100}
        for panel, value in zip(PANELS, values, strict=True)
        for seed in (0, 1)
    )
    claim = Claim(key, "paper", "It does.", "study", "change", side, 0.0, lambda table: rows, smallest=smallest)
    return judge(claim, rows)


def test_claims_are_drawn_by_panel_with_the_side_of_the_first_of_their_column():
    judged = {
        "demo": [
            turned("rate", "below", FACTOR, [-1.0, -2.0]),
            turned("rate accuracy", "above", POINT, [0.1, 0.3]),
            turned("batch", "above", FACTOR, [3.0, 1.0]),
            turned("batch accuracy", "below", POINT, [0.2, -0.4]),
        ]
    }
    grid = {"higher rate": ["rate", "rate accuracy"], "smaller batch": ["batch", "batch accuracy"]}
    figure = chapter_3.claims_by_panel(judged, grid, ["complexity", "accuracy"])
    found = [[line.get_xdata()[0] for line in axis.lines if len(line.get_xdata()) == 1] for axis in figure.axes]
    expected = [np.exp([-1, -2, -1.5]), [10, 30, 20], np.exp([-3, -1, -2]), [-20, 40, 10]]
    np.testing.assert_allclose(found, expected)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [*PANELS, "demo, mean"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "times as large", "points of accuracy"]
    assert [axis.get_title(loc="left") for axis in figure.axes[::2]] == [*grid]
    first = figure.axes[0].lines[0]
    assert first.get_color() == plots.COLOURS[0]


def test_other_estimates_are_open_and_lower_and_claims_that_were_not_judged_have_no_line():
    judged = {"demo": [turned("link", "above", 0.1, [0.5, 0.2])], "lab": []}
    beside = {"link": {"demo": {PANELS[0]: Estimate(0.3, 0.2, 0.4)}, "lab": {NEVER: Estimate(0.9)}}}
    figure = chapter_3.claims_by_panel(judged, {"": ["link"]}, ["link"], beside)
    (axis,) = figure.axes
    marks = [line.get_xydata()[0].tolist() for line in axis.lines if line.get_markerfacecolor() == "none"]
    assert marks == [[0.3, 0.3]]
    assert [label.get_text() for label in axis.get_yticklabels()] == [*PANELS, "demo, mean"]
    nothing = chapter_3.claims_by_panel({}, {"": ["link"]}, ["link"])
    assert len(nothing.axes) == 1


def test_a_point_against_complexity_is_the_mean_of_a_setting():
    columns = {"cdnv": "CDNV, source", "accuracy_5": "5-shot accuracy"}
    figure = chapter_3.against_complexity({"demo": swept()}, columns, NAMES)
    assert titles(figure) == ["CDNV, source\n(lower is more collapsed)", "5-shot accuracy"]
    assert legends(figure) == [["ResNet", "VGG"]]
    resnet = figure.axes[0].lines[0]
    np.testing.assert_allclose(resnet.get_xydata(), [[1.5 * 2**i, 0.15 * 2**i] for i in range(4)])
    assert [axis.get_yscale() for axis in figure.axes] == ["log", "linear"]


def curves(table):
    """The table with curves along the training, of four epochs a panel and of eight."""
    values = {"complexity": [3.0, 2.0, 1.0], "cdnv": [0.3, 0.2, 0.1]}
    values |= {"geometric_collapse": [1.0, 1.0, 1.0]}
    epochs = table["panel"].map({PANELS[0]: [0, 2, 4], PANELS[1]: [0, 4, 8]})
    return table.assign(
        measured_epochs=epochs, poincare=2.0, **{name: [value] * len(table) for name, value in values.items()}
    )


def test_trainings_of_different_length_meet_on_their_share():
    figure = chapter_3.along_training({"demo": curves(swept()), "lab": curves(swept())}, NAMES)
    assert titles(figure) == ["demo: complexity", "demo: CDNV", "lab: complexity", "lab: CDNV"]
    assert legends(figure) == [["ResNet", "VGG"]]
    for axis, last in zip(figure.axes, (1.0, 0.1, 1.0, 0.1), strict=True):
        assert [line.get_xdata().tolist() for line in axis.lines] == [[0, 0.5, 1]] * 2
        assert [line.get_ydata()[-1] for line in axis.lines] == pytest.approx([last] * 2)


def test_the_bound_is_drawn_over_all_epochs_of_the_base():
    figure = chapter_3.bound({"demo": curves(swept()), "lab": curves(swept(PANELS[:1]))}, "CDNV")
    assert titles(figure) == ["demo", "lab"]
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [6, 6, 2]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_xdata(), 2.0)
    assert legends(figure) == [["ResNet", "VGG"]]


def test_each_way_of_estimating_has_its_error_and_what_it_states():
    row = {"samples": [8, 32], "samples_error": [0.2, 0.1], "samples_stated": [0.3, 0.1]}
    row |= {name.replace("samples", "outputs"): values for name, values in row.items()}
    table = pd.DataFrame([row, row])
    figure = chapter_3.errors_of_estimates({"demo": table, "lab": table}, {"samples": "images", "outputs": "outputs"})
    axis, other = figure.axes
    np.testing.assert_allclose(axis.containers[0].lines[0].get_ydata(), [0.2, 0.1])
    np.testing.assert_allclose(
        [line.get_ydata() for line in axis.lines if line.get_linestyle() == "--"], [[0.3, 0.1]] * 2
    )
    assert [axis.get_xlabel(), other.get_xlabel()] == ["images", "outputs"]
    assert [sorted(each) for each in legends(figure)] == [["demo", "demo, stated", "lab", "lab, stated"]]


def intervened(setting, factor, panel=PANELS[0]):
    """Complexity is halved with each strength; CDNV and accuracy change as told."""
    return pd.DataFrame(
        {"panel": panel, "seed": seed, setting: strength, "complexity": [9.0, (1 + seed) * 0.5**strength]}
        | {"cdnv": [9.0, 0.4 * factor**strength], "accuracy_5": 0.7 - 0.1 * strength}
        | {name: [1.0] for name in ("loss", "nc1", "geometric_collapse")}
        for seed in (0, 1)
        for strength in (-1.0, 0.0, 2.0)
    )


def test_interventions_go_through_where_there_is_none():
    forced, penalised = intervened("collapse", 0.1), intervened("penalty", 1.0, PANELS[1])
    titles_of = {"cdnv": "CDNV", "accuracy_5": "points"}
    settings = {"forced": "collapse", "penalised": "penalty"}
    figure = chapter_3.interventions(
        {"forced": {"demo": forced, "lab": forced}, "penalised": {"demo": penalised}}, settings, titles_of
    )
    demo, lab, accuracy, _ = figure.axes
    assert titles(figure)[:2] == ["demo", "lab"]
    paths = [line.get_xydata() for line in demo.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(paths, [[[2, 10], [1, 1], [0.25, 0.01]], [[2, 1], [1, 1], [0.25, 1]]])
    assert [len(container.lines[0].get_xdata()) for container in demo.containers] == [1, 1]
    np.testing.assert_allclose(accuracy.containers[0].lines[0].get_xydata(), [[0.25, -20]])
    assert [len(axis.containers) for axis in (demo, lab)] == [2, 1]
    assert legends(figure) == [["forced: ResNet", "penalised: VGG"]]


@pytest.mark.parametrize(
    "draw",
    [
        lambda none: chapter_3.dials({"demo": none}, NAMES),
        lambda none: chapter_3.against_complexity({"demo": none}, {"cdnv": "CDNV", "accuracy_5": "accuracy"}, NAMES),
        lambda none: chapter_3.along_training({"demo": none}, NAMES),
    ],
)
def test_where_no_network_came_to_the_matched_loss_panels_are_empty(draw):
    figure = draw(swept()[:0])
    figure.canvas.draw()
    assert not any(len(axis.lines) or len(axis.collections) for axis in figure.axes)


# Chapter 4


def bank():
    return pd.DataFrame(
        [
            {
                "model": model,
                "seed": seed,
                "task": task,
                "nc1": 2.0 + i + seed,
                "accuracy": 0.9 - 0.1 * i - 0.01 * seed,
                "curve": [0.5, 0.7, 0.9][: 2 + i % 2],
            }
            for i, model in enumerate(["base", "epochs 2", "epochs 8", "other 1"])
            for seed in (0, 1)
            for task in ("Greek", "digits")
        ]
    )


def test_models_are_in_panels_of_tasks_by_their_family_or_what_they_vary():
    figure = chapter_4.task_panels({"demo": bank()}, "nc1", "accuracy")
    assert titles(figure) == ["Greek", "digits"]
    assert points(figure.axes[0]) == {"base": 1, "epochs": 2, "other": 1}
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), [[2.5, 0.895]])
    assert legends(figure) == [["base", "epochs", "other"]]
    assert figure.axes[0].get_ylabel() == "demo: accuracy"


def test_ten_tasks_stand_in_two_rows_and_names_in_plain_words():
    tasks = [bank().assign(task=f"omniglot, {i}", model="weight_decay 0.1") for i in range(7)]
    figure = chapter_4.task_panels({"lab": pd.concat(tasks)}, "nc1", "accuracy")
    assert [axis.axison for axis in figure.axes] == [True] * 7 + [False] * 3
    assert titles(figure)[6] == "Omniglot,\n6"
    assert legends(figure) == [["weight decay"]]


def marks(axis, label):
    """Where the large points of a label are, from above."""
    lines = [line for line in axis.lines if line.get_label() == label]
    return [line.get_xydata()[0].tolist() for line in lines]


def test_orders_of_models_are_drawn_with_their_tasks_and_at_equal_width():
    rows = bank().assign(num_features=[8, 16] * 8, parameters=1.0)
    figure = chapter_4.orders_of_models({"demo": rows}, {"nc1": "NC1", "cdnv": "CDNV", "parameters": "parameters"})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["NC1", "CDNV", "parameters"]
    np.testing.assert_allclose(marks(axis, "plain"), [[0.995, -0.12]], atol=1e-3)  # those of one value have no order
    assert [len(line.get_xdata()) for line in axis.lines if line.get_alpha() == 0.3] == [2, 0]
    assert legends(figure) == [["as they are", "at equal width"]]


def test_orders_of_layers_have_a_row_for_each_task_and_their_mean():
    rng = np.random.default_rng(0)
    rows = bank()[lambda table: table["model"] == "base"].drop(columns="curve")
    accuracy, nc1 = rng.random((2, len(rows), 6))
    curves = {"accuracy": accuracy.tolist(), "nc1": nc1.tolist(), "num_features": [[8] * 6] * len(rows)}
    figure = chapter_4.orders_of_layers({"demo": rows.assign(num_classes=4, **curves)})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Greek", "digits", "mean over tasks"]
    assert [len(marks(axis, held)) for held in ("plain", "given")] == [3, 3]
    assert legends(figure) == [["as they are", "at equal depth"]]


def test_a_task_whose_layers_are_all_narrow_has_an_empty_row():
    rows = bank()[lambda table: table["model"] == "base"].drop(columns="curve")
    curves = {name: [[0.1, 0.2, 0.4, 0.3]] * len(rows) for name in ("accuracy", "nc1")}
    rows = rows.assign(num_classes=rows["task"].map({"Greek": 4, "digits": 10}), **curves)
    figure = chapter_4.orders_of_layers({"demo": rows.assign(num_features=[[8] * 4] * len(rows))})
    assert [y for _, y in marks(figure.axes[0], "plain")] == pytest.approx([-0.12, 1.88])


def test_models_of_different_depth_meet_on_relative_depth():
    rows = bank().rename(columns={"curve": "cdnv"}).assign(accuracy=lambda table: table["cdnv"])
    figure = chapter_4.depth_panels({"demo": rows, "lab": rows}, "accuracy", ["cdnv"])
    assert len(figure.axes) == 8
    (line,) = figure.axes[0].lines
    assert (line.get_xdata()[[0, -1]] == [0, 1]).all()
    np.testing.assert_allclose(line.get_ydata()[[0, -1]], [0.5, 0.8])


def test_five_tasks_are_drawn_along_depth():
    tasks = [bank().assign(task=f"{i}") for i in range(7)]
    rows = pd.concat(tasks).rename(columns={"curve": "cdnv"}).assign(accuracy=lambda table: table["cdnv"])
    assert titles(chapter_4.depth_panels({"lab": rows}, "accuracy", ["cdnv"]))[:5] == list("01234")


def test_shots_stand_side_by_side():
    estimates = {"few": Estimate(0.2, 0.1, 0.3), "all": Estimate(0.6, 0.5, 0.7)}
    found = dict.fromkeys(["demo, NC1", "lab, NC1"], estimates)
    figure = chapter_4.correlations_by_shots(found, {"few": "1 shot", "all": "all"})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1 shot", "all"]
    assert axis.get_legend_handles_labels()[1] == ["demo, NC1", "lab, NC1"]
    found = [line.get_xydata()[0] for line in axis.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(found, [[-0.06, 0.2], [0.94, 0.6], [0.06, 0.2], [1.06, 0.6]])


# Chapter 5


def tuned(methods):
    return pd.DataFrame(
        [
            {
                "task": task,
                "method": method,
                "seed": seed,
                "nc1": 1.0 + i + seed,
                "nc1_test": 2.0 + i,
                "accuracy": 0.5 + 0.1 * i,
                "loss": 0.9 - 0.1 * i,
                "train_loss": 0.2,
                "model": "base",
                "body_share": 0.1,
                "train_per_class": number,
                "layers": [place],
            }
            for i, method in enumerate(methods)
            for task in ("Greek", "digits")
            for seed in (0, 1)
            for place, number in enumerate([2, 20])
        ]
    )


METHODS = {"linear": "linear probe", "skip": "with a skip", "full": "everything"}


def test_methods_are_drawn_for_each_network_and_their_mean():
    figure = chapter_5.methods_against_collapse({"demo": tuned(METHODS)}, METHODS)
    assert titles(figure) == ["Greek", "digits"]
    drawn = figure.axes[0].collections
    assert [len(each.get_offsets()) for each in drawn] == [4, 1] * 3
    np.testing.assert_allclose(drawn[1].get_offsets(), [[1.5, 0.5]])
    assert legends(figure) == [list(METHODS.values())]


def lines_of(axis):
    return [np.column_stack(container.lines[0].get_data()) for container in axis.containers]


def test_accuracy_is_drawn_over_what_is_trained_a_line_for_each_number_of_images():
    figure = chapter_5.accuracy_by_share({"demo": tuned(METHODS)}, {"linear": "probe", "full": "all"})
    greek, digits = figure.axes
    assert titles(figure) == ["Greek", "digits"]
    assert [label.get_text() for label in greek.get_xticklabels()] == ["probe\n10%", "all\n10%"]
    for line in lines_of(greek):  # all numbers of images are alike here
        np.testing.assert_allclose(line, [[0, 0.5], [1, 0.7]])
    assert [text.get_text() for text in digits.get_legend().get_texts()] == ["2", "20"]


def test_differences_are_paired_by_task_and_number_of_images():
    figure = chapter_5.paired_differences({"demo": tuned(METHODS)}, {"ahead": ("accuracy", "full", "linear")})
    (axis,) = figure.axes
    assert axis.get_title() == "ahead"
    assert np.concatenate([line[:, 1] for line in lines_of(axis)]) == pytest.approx([0.2] * 4)
    np.testing.assert_allclose(lines_of(axis)[0][:, 0], np.array([2, 20]) * 1.06**-0.5)


def test_a_skip_connection_is_held_against_none_at_each_layer():
    ways = {"layer": "none", "skip": "zeros", "skip project": "map"}
    rows = tuned(ways).query("task == 'Greek'")
    figure = chapter_5.skip_by_layer({"demo": rows}, {"skip": "zeros", "skip project": "map"})
    zeros, mapped = lines_of(figure.axes[0])
    np.testing.assert_allclose(zeros, [[0, 0.1], [1, 0.1]])
    np.testing.assert_allclose(mapped, [[0.1, 0.2], [1.1, 0.2]])


def test_forced_collapse_is_a_line_a_network_and_their_mean():
    rows = pd.DataFrame(
        {"model": "base", "seed": seed, "task": "Greek", "collapse_tuned": strength, "nc1": 2.0 - strength + seed}
        | {"accuracy": 0.5 + 0.1 * seed}
        for strength in (0.0, 1.0)
        for seed in (0, 1)
    )
    figure = chapter_5.collapse_forced({"demo": rows})
    *networks, mean = figure.axes[0].lines
    assert len(networks) == 2
    np.testing.assert_allclose(mean.get_xdata(), [np.sqrt(6), np.sqrt(2)])
    np.testing.assert_allclose(mean.get_ydata(), [0.55, 0.55])


# Chapters 6 and 7


def zoo():
    return pd.DataFrame(
        [
            {
                "zoo": kind,
                "task": task,
                "model": f"model {i}",
                "variance_collapse": -1.0 - i,
                "nc1_tuned": 0.5 + i,
                "accuracy": 0.1 * i,
            }
            for kind in ("losses", "sources")
            for task in ("Greek", "digits")
            for i in range(3)
        ]
    )


def test_collapse_before_and_after_has_a_panel_for_each_zoo():
    figure = chapter_6.collapse_before_and_after({"demo": zoo()})
    assert titles(figure) == ["losses", "sources"]
    assert points(figure.axes[0]) == {"Greek": 3, "digits": 3}
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets()[:, 0], [1, 2, 3])
    assert legends(figure) == [["Greek", "digits"]]


def test_quality_has_a_panel_for_each_task_and_the_measure_of_its_kind():
    tables = dict.fromkeys([("pixels", "demo"), ("words", "demo"), ("words", "lab")], zoo())
    figure = chapter_6.quality_against_collapse(tables, {"pixels": "IoU", "words": "accuracy"})
    assert titles(figure) == ["Greek", "digits"] * 3
    assert points(figure.axes[0]) == {"losses": 3, "sources": 3}
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == ["demo: IoU", "demo: accuracy", "lab: accuracy"]


def test_a_zoo_has_one_style_on_all_tasks():
    rows = [("Greek", "losses"), ("digits", "sources")]
    table = pd.DataFrame({"task": task, "zoo": zoo, "variance_collapse": -2.0, "accuracy": 0.5} for task, zoo in rows)
    figure = chapter_6.quality_against_collapse({("pixels", "lab"): table}, {"pixels": "IoU"})
    first, second = (axis.collections[0] for axis in figure.axes[:2])
    assert not np.array_equal(first.get_facecolor(), second.get_facecolor())


def test_scores_that_no_scale_has_get_no_row():
    panels = {"losses": {"demo": {"b": Estimate(0.5, 0.0, 1.0)}}, "sources": {"lab": {"c": Estimate(0.1)}}}
    figure = chapter_6.score_panels(panels, {"a": "A", "b": "B", "c": "C"})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["B", "C"]  # the better is first
    assert titles(figure) == ["losses", "sources"]
    assert legends(figure) == [["demo", "lab"]]


def test_calibration_holds_what_was_said_against_what_was_seen():
    table = pd.DataFrame(
        {"zoo": zoo, "seed": seed, "size": 2, "likely": np.array([0.25, 0.75]), "best": best, "skill": 0.2}
        for zoo in ("a", "b")
        for seed, best in ((0, np.array([0.0, 1.0])), (1, np.array([0.5, 0.5])))
    )
    said, gains = chapter_6.calibration(table).axes
    points = [line for line in said.lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [(0.25, 0.25), (0.75, 0.75)]
    assert [list(line.get_ydata()) for line in gains.lines[:2]] == [[0.2], [0.2]]


def test_costs_have_a_panel_for_each_size():
    named = {name: [1.0, 2.0] for name in ("variance_collapse", "leep", "logme", "sfda", "nleep")}
    rows = pd.DataFrame(
        {"samples": [10, 100], "features": [8, 8], "gbc": [2.0, 3.0], "ncti_spread": [2.0, 3.0]} | named
    )
    figure = chapter_6.seconds_of_scores({"samples": rows, "features": rows})
    assert [axis.get_xlabel() for axis in figure.axes] == ["number of samples", "number of features"]
    assert legends(figure) == [["others", "variance collapse (-NC1)", "LEEP", "LogME", "SFDA", "N-LEEP"]]
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[2.0, 3.0]] * 2 + [[1.0, 2.0]] * 5


def test_rivals_of_face_are_filled_where_the_difference_is_clear():
    estimates = [Estimate(0.5, 0.2, 0.8), Estimate(0.1, -0.1, 0.3)]
    found = pd.DataFrame({"difference": estimates, "p": [0.01, 0.4]}, index=["a", "b"])
    figure = chapter_6.ahead_of_rivals({"demo": found, "lab": found}, {"a": "A", "b": "B"})
    clear, unclear = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert (list(clear.get_xdata()), list(clear.get_ydata())) == ([0.5], [0])
    assert (list(unclear.get_xdata()), unclear.get_markerfacecolor()) == ([0.1], "white")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["A", "B"]
    assert titles(figure) == ["demo", "lab"]


def test_mean_ranks_have_a_band_about_face():
    ranks = pd.Series({"face": 1.5, "a": 2.0, "b": 4.0})
    (axis,) = chapter_6.mean_ranks({"demo": (ranks, 0.01, 1.2)}, {"face": "FaCe", "a": "A", "b": "B"}).axes
    assert axis.collections[0].get_offsets()[:, 0].tolist() == [1.5, 2.0, 4.0]
    (band,) = axis.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((0.3, 2.4))
