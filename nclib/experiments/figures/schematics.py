"""Drawings of the ideas that the chapters test. They hold no data, so the book offers none below them."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle, Wedge

from nclib.experiments import plots
from nclib.experiments.figures.sketch import (
    CORNERS,
    FROZEN,
    INK,
    PLAIN,
    SMALL,
    TRAINED,
    WIDTH,
    arrow,
    box,
    chain,
    cloud,
    mean,
    note,
    panel,
    plane,
    samples,
    say,
    sheet_of,
)
from nclib.metrics.measurement import measure
from nclib.metrics.pairs import overlap_pairs
from nclib.metrics.statistics import ClassStatistics, class_statistics
from nclib.transferability.class_scores import class_fairness, variance_collapse

# Chapter 1


def neural_collapse() -> Figure:
    """NC1 to NC4, a panel each, of three classes in the plane."""
    figure, sheet = sheet_of(2.45)
    parts: dict[str, Callable[[Any], None]] = {
        "each class shrinks\nto its mean": _shrinking,
        "class means spread\nevenly": _spreading,
        "classifier rows turn\nto the means": _aligning,
        "the nearest mean\ndecides": _deciding,
    }
    for place, (said, draw) in enumerate(parts.items()):
        axis = plane(sheet, (0.05 + 1.6 * place, 0.22), 1.5, 1.65)
        axis.set_axis_off()
        draw(axis)
        say(sheet, 0.8 + 1.6 * place, 2.32, f"NC{place + 1}", weight="bold", va="top")
        say(sheet, 0.8 + 1.6 * place, 2.12, said, va="top")
    note(sheet, WIDTH / 2, 0.12, "pale: early, dark: late in training; large markers: class means")
    return figure


def _shrinking(axis: Any) -> None:
    for i, corner in enumerate(CORNERS):
        samples(axis, corner + 0.72 * cloud(40), i, alpha=0.25)
        for way in np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]]) / np.sqrt(2):
            arrow(axis, corner + 0.66 * way, corner + 0.36 * way)
        samples(axis, corner + 0.3 * cloud(14), i)
        mean(axis, corner, i, s=30)


def _spreading(axis: Any) -> None:
    axis.add_patch(Polygon(CORNERS, fill=False, linestyle="--", edgecolor="0.6", linewidth=0.8))
    for i, (early, corner) in enumerate(zip([(-0.1, 0.35), (-0.35, 0.05), (0.5, -0.15)], CORNERS, strict=True)):
        mean(axis, early, i, alpha=0.3)
        arrow(axis, early, corner, shrinkA=4, shrinkB=5)
        mean(axis, corner, i)


def _aligning(axis: Any) -> None:
    for i, (turn, corner) in enumerate(zip(np.radians([42, -38, 35]), CORNERS, strict=True)):
        early = corner @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        looks = {"color": plots.COLOURS[i], "linewidth": 1.6}
        arrow(axis, (0, 0), 0.95 * early, alpha=0.35, **looks)
        arrow(axis, (0, 0), 0.85 * corner, **looks)
        bent = f"arc3,rad={-0.35 * np.sign(turn)}"
        arrow(axis, 0.98 * early, 0.42 * early + 0.77 * corner, connectionstyle=bent, linewidth=0.7, mutation_scale=6)
        mean(axis, 1.12 * corner, i)


def _deciding(axis: Any) -> None:
    new = np.array([0.5, 0.5])
    for i, (corner, line) in enumerate(zip(CORNERS, ("-", ":", ":"), strict=True)):
        axis.add_patch(Wedge((0, 0), 1.6, 30 + 120 * i, 150 + 120 * i, facecolor=plots.COLOURS[i], alpha=0.14))
        axis.plot(*zip(new, corner, strict=True), color=INK, linewidth=0.9, linestyle=line)
        mean(axis, corner, i)
    axis.scatter(*new, s=40, marker="X", color="white", edgecolor="black", linewidth=0.8, zorder=4)
    note(axis, 0.88, 0.62, "new")


# Chapter 2


def transfer() -> Figure:
    """Above, a network is trained on the source, frozen and probed. Below, two curves that this might give."""
    figure, sheet = sheet_of(3.75)
    train, probe, places = 3.25, 2.35, (1.15, 2.6, 4.05, 5.55)
    for y, title, texts, fill in (
        (train, "train", ("source\nimages", "network", "features", "classifier"), TRAINED),
        (probe, "probe", ("images of\na new task", "same network", "features", "linear probe"), FROZEN),
    ):
        fills = (PLAIN, fill, PLAIN, TRAINED)
        chain(sheet, y, [(*each, 1.05) for each in zip(places, texts, fills, strict=True)])
        say(sheet, 0.05, y, title, weight="bold", ha="left")
    arrow(sheet, (places[1], train - 0.22), (places[1], probe + 0.22))
    note(sheet, places[1] - 0.1, 2.8, "freeze", ha="right")
    note(sheet, places[2], 2.91, "how far collapsed?", weight="bold")
    note(sheet, places[3], 2.01, "how accurate?", weight="bold")
    note(sheet, 1.9, 2.01, "orange: trained; grey: frozen")
    x = np.linspace(-1, 1, 101)
    _curve(sheet, 0.35, x, 0.15 + 0.6 / (1 + np.exp(-2.5 * x)), "a law:\nthe less collapse, the better")
    _curve(sheet, 3.55, x, 0.78 - 0.62 * (x - 0.25) ** 2, "an inverted U:\nbest in between")
    return figure


def _curve(sheet: Any, left: float, x: np.ndarray, y: np.ndarray, title: str) -> None:
    """Accuracy over collapse, with a point for plain training."""
    axis = panel(sheet, (left, 0.35), (2.7, 1.0), xlim=(-1.1, 1.1), ylim=(-0.25, 1))
    axis.spines[["top", "right"]].set_visible(False)
    plain = float(np.interp(0, x, y))
    axis.plot(x, y, color=plots.COLOURS[0])
    axis.plot([0, 0.35], [plain, 0.08], color="0.6", linewidth=0.6)
    axis.plot(0, plain, color="black", marker="o")
    note(axis, 0.35, -0.02, "plain training")
    axis.set_ylabel("accuracy, new task", fontsize=SMALL)
    say(sheet, left + 1.35, 1.61, title)
    note(sheet, left + 0.05, 0.2, "collapse forced", ha="left")
    note(sheet, left + 2.65, 0.2, "collapse prevented", ha="right")


# Chapter 3

FOUR = ("........", "....##..", "...###..", "..#.##..", ".#..##..", ".######.", "....##..", "....##..")


def moved_image() -> Figure:
    """An image moves by epsilon; its features move by J epsilon, little in one network and far in another."""
    figure, sheet = sheet_of(2.3)
    image = np.array([[pixel == "#" for pixel in row] for row in FOUR]) * 0.75 + 0.1
    step = 0.09 * np.sin(5.0 * np.arange(64) ** 2).reshape(8, 8)
    for left, pixels, text in ((0.1, image, "image $x$"), (1.5, image + step, r"image $x + \epsilon$")):
        panel(sheet, (left, 0.75), (1.0, 1.0)).imshow(pixels, cmap="gray_r", vmin=0, vmax=1)
        say(sheet, left + 0.5, 0.55, text)
    for start, end, text in ((1.14, 1.46, r"$+\,\epsilon$"), (2.54, 3.16, "network")):
        arrow(sheet, (start, 1.25), (end, 1.25))
        note(sheet, (start + end) / 2, 1.4, text)
    networks = ((3.25, 0.3, "low", "features hardly move"), (4.87, 1.0, "high", "features move far"))
    for left, size, title, said in networks:
        _moves(plane(sheet, (left, 0.5), 1.48, 1.25), size * np.array([[1.0, 0.35], [0.1, 0.55]]))
        say(sheet, left + 0.74, 2.13, f"{title} complexity")
        note(sheet, left + 0.74, 0.33, said)
    note(sheet, 4.8, 0.1, r"each arrow: $J\epsilon$ for a step $\epsilon$ of the same length")
    return figure


def _moves(axis: Any, jacobian: np.ndarray) -> None:
    """Where a Jacobian (2, 2) takes steps of length 1 in twelve directions."""
    angles = np.linspace(0, 2 * np.pi, 145)
    ends = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ jacobian.T
    axis.plot(*ends.T, color=plots.COLOURS[0], linewidth=0.8, alpha=0.6)
    for end in ends[:-1:12]:
        arrow(axis, (0, 0), end, color=plots.COLOURS[0], linewidth=0.7, mutation_scale=6)
    axis.plot(0, 0, color="black", marker="o", markersize=4)


def matched_loss() -> Figure:
    """Two training curves, compared where a horizontal line cuts them and not at the same epoch."""
    figure, sheet = sheet_of(2.5)
    axis = panel(sheet, (0.35, 0.35), (5.95, 2.05), xlim=(0, 31), ylim=(0, 2.4), xlabel="epoch", ylabel="training loss")
    axis.spines[["top", "right"]].set_visible(False)
    epochs, level, same = np.linspace(0, 31, 200), 0.5, 12.0
    curves = ((4.0, "high learning rate", (3.9, 1.02)), (12.5, "low learning rate", (6.2, 1.65)))
    for i, (pace, name, place) in enumerate(curves):
        style, met = plots.numbered_style(i), pace * np.log(2.3 / level)
        axis.plot(epochs, 2.3 * np.exp(-epochs / pace), color=style["color"])
        axis.plot([met, met], [0, level], color=style["color"], linewidth=0.8, linestyle=":")
        axis.plot(met, level, **style, markersize=7, markeredgecolor="black", zorder=4)
        axis.plot(same, 2.3 * np.exp(-same / pace), **style, markersize=6, markerfacecolor="white", zorder=4)
        say(axis, *place, name, color=style["color"], ha="left")
    axis.axhline(level, color="0.5", linestyle="--", linewidth=0.9)
    axis.axvline(same, 0, 0.36, color="0.6", linewidth=0.8, zorder=1)
    note(axis, 30.8, level + 0.13, "loss of comparison", ha="right")
    note(axis, same + 0.4, 1.2, "open: same epoch,\none network is further", ha="left")
    note(axis, 19.6, 0.83, "filled: same loss,\nhere we compare", ha="left")
    return figure


# Chapter 4


def two_spreads() -> Figure:
    """Two classes whose spread is along the line of their means, and across it, with measures of their collapse."""
    figure, sheet = sheet_of(2.75)
    titles = {"nc1": "NC1", "directional_cdnv": "directional CDNV", "nc1_ratio": "trace ratio", "cdnv": "CDNV"}
    along = cloud(60) * [1.5, 0.4]
    for left, way, spread in ((0.1, "along", along), (3.3, "across", along[:, ::-1])):
        classes = np.array([[[-1, 0]], [[1, 0]]]) + spread
        _two_classes(panel(sheet, (left, 0.55), (3.0, 1.9), xlim=(-3, 3), ylim=(-1.9, 1.9)), classes)
        found = measure(np.concatenate(classes), np.repeat([0, 1], 60), metrics=tuple(titles))
        said = [f"{title} {found[name]:.2f}" for name, title in titles.items()]
        say(sheet, left + 1.5, 2.6, f"spread {way} the line of the means")
        say(sheet, left + 1.5, 0.25, f"{said[0]}, {said[1]}\n{said[2]}, {said[3]}")
    return figure


def _two_classes(axis: Any, classes: np.ndarray) -> None:
    axis.axvline(0, color="0.5", linestyle="--", linewidth=0.9)
    note(axis, 0.1, 1.72, "boundary of a probe", ha="left")
    axis.plot(*classes.mean(1).T, color="black", linewidth=1, zorder=3)
    for i, points in enumerate(classes):
        samples(axis, points, i, alpha=0.6, s=9)
        mean(axis, points.mean(0), i)


# Chapter 5

BLOCKS = (
    (0.36, "image", PLAIN, 0.6),
    (1.13, "block", FROZEN, 0.6),
    (1.9, "block", FROZEN, 0.6),
    (2.72, "tuned\nblock", TRAINED, 0.7),
    (3.54, "block", FROZEN, 0.6),
    (4.26, "pool", PLAIN, 0.5),
)


def skip_tuning() -> Figure:
    """One block is tuned; its output, pooled and filled up, is added to the features that the classifier sees."""
    figure, sheet = sheet_of(2.75)
    top, middle, bottom, tuned, end = 2.2, 1.4, 0.6, 2.72, 5.22
    chain(sheet, top, BLOCKS)
    arrow(sheet, (tuned, top - 0.22), (tuned, bottom + 0.22))
    box(sheet, tuned, bottom, "pool", PLAIN, 0.5)
    note(sheet, tuned - 0.1, middle, "skip\nconnection", ha="right")
    for y, start, fill, filled, way in ((top, 4.51, FROZEN, 8, -1), (bottom, tuned + 0.25, TRAINED, 5, 1)):
        _vector(sheet, end, y, fill, filled)
        arrow(sheet, (start, y), (end - 0.46, y))
        arrow(sheet, (end, y + way * 0.1), (end, middle - way * 0.13))
    note(sheet, end, top + 0.3, "last-layer features")
    note(sheet, end, bottom - 0.32, "its output, filled up with\nzeros to the same width")
    sheet.add_patch(Circle((end, middle), 0.13, facecolor=PLAIN, edgecolor=INK, linewidth=0.8))
    say(sheet, end, middle, "+")
    arrow(sheet, (end + 0.13, middle), (5.58, middle))
    box(sheet, 5.97, middle, "classifier", TRAINED, 0.78)
    for y, fill, text in ((0.75, TRAINED, "trained"), (0.45, FROZEN, "frozen")):
        box(sheet, 0.3, y, "", fill, 0.26, 0.18)
        note(sheet, 0.52, y, text, ha="left")
    return figure


def _vector(sheet: Any, x: float, y: float, fill: str, filled: int) -> None:
    """Eight numbers in a row; those that are not filled are zeros."""
    for i in range(8):
        place = x + 0.11 * (i - 4)
        looks: dict[str, Any] = {"facecolor": fill if i < filled else PLAIN, "edgecolor": INK, "linewidth": 0.7}
        sheet.add_patch(Rectangle((place, y - 0.08), 0.11, 0.16, **looks))
        if i >= filled:
            note(sheet, place + 0.055, y, "0", fontsize=6.5)


# Chapter 6

ZOO = {  # models of three classes: the means, and how far samples spread
    "model A": ([[-0.1, 0.95], [-0.75, 0.4], [0.85, -0.8]], 0.4),
    "model B": (0.95 * CORNERS, 0.91),
    "model C": (np.add(CORNERS, [[-0.06, 0.0], [0.0, 0.1], [0.06, -0.05]]), 0.68),
}
STEPS = {  # of FaCe, by their heights
    3.45: "classes as\nGaussians",
    2.1: "with which other\nclass does each\noverlap? (softmax)",
    1.18: "collapse: -NC1",
    0.78: "fairness: entropy\nof these shares",
}


def face_by_steps() -> Figure:
    """FaCe of three models on one task: its parts, these brought to [0, 1] over the models, and their sum."""
    figure, sheet = sheet_of(4.5)
    classes = [np.array(means)[:, None] + spread * cloud(60) for means, spread in ZOO.values()]
    models = [class_statistics(np.concatenate(each), np.repeat([0, 1, 2], 60)) for each in classes]
    parts = np.array([[variance_collapse(stats), class_fairness(stats)] for stats in models])
    scaled = (parts - parts.min(0)) / np.ptp(parts, axis=0)
    for y, text in STEPS.items():
        say(sheet, 0.05, y, text, ha="left")
    say(sheet, 0.05, 0.25, "FaCe", ha="left", weight="bold")
    for i, name in enumerate(ZOO):
        left, (collapse, fairness) = 1.45 + 1.68 * i, scaled[i]
        say(sheet, left + 0.75, 4.35, name, weight="bold")
        _gaussians(plane(sheet, (left, 2.7), 1.5, 2.0), classes[i])
        _shares(panel(sheet, (left + 0.2, 1.66), (1.3, 0.9), xlim=(0, 1), ylim=(2.6, -0.6)), _softmax(models[i]))
        say(sheet, left + 0.75, 1.18, rf"{parts[i, 0]:.2f} $\rightarrow$ {collapse:.2f}")
        say(sheet, left + 0.75, 0.78, rf"{parts[i, 1]:.2f} $\rightarrow$ {fairness:.2f}")
        say(sheet, left + 0.75, 0.25, f"{collapse:.2f} + {fairness:.2f} = {collapse + fairness:.2f}", weight="bold")
    note(sheet, 3.88, 1.45, r"value $\rightarrow$ brought to [0, 1] over the three models")
    sheet.plot([0.05, WIDTH - 0.05], [0.5, 0.5], color="0.6", linewidth=0.8)
    return figure


def _gaussians(axis: Any, classes: np.ndarray) -> None:
    """Samples of classes (K, n, 2), with circles of two standard deviations in a direction."""
    for i, points in enumerate(classes):
        deviation = (points - points.mean(0)).std()
        samples(axis, points, i, alpha=0.35, s=5)
        axis.add_patch(Circle(points.mean(0), 2 * deviation, fill=False, edgecolor=plots.COLOURS[i], linewidth=1))
        mean(axis, points.mean(0), i, s=30)


def _softmax(stats: ClassStatistics) -> np.ndarray:
    """The softmax of each class's overlaps with the others, as `class_fairness` takes it, (K, K)."""
    takes = signature(class_fairness).parameters
    overlaps = overlap_pairs(stats, floor=takes["floor"].default).numpy() / takes["temperature"].default
    np.fill_diagonal(overlaps, -np.inf)
    weights = np.exp(overlaps)
    return weights / weights.sum(1, keepdims=True)


def _shares(axis: Any, shares: np.ndarray) -> None:
    """A bar for each class, divided in the colours of the other classes; the dotted line marks equal shares."""
    axis.spines[:].set_visible(False)
    for i, row in enumerate(shares):
        axis.barh(
            [i] * len(row), row, left=np.cumsum(row) - row, height=0.55, color=plots.COLOURS[: len(row)], alpha=0.75
        )
        samples(axis, (-0.1, i), i, clip_on=False, s=25)
    axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")


def weighted_tau() -> Figure:
    """Two scores that each swap two neighbours among five models: the best two, or the last two."""
    figure, sheet = sheet_of(2.75)
    weights = 1 / np.arange(1, 6)
    total = 4 * weights.sum()  # each model is in four pairs
    for left, place, which in ((0.1, 0, "best"), (3.4, 3, "last")):
        _slopes(sheet, left, place)
        lost = weights[place] + weights[place + 1]
        pair = rf"$\frac{{1}}{{{place + 1}}} + \frac{{1}}{{{place + 2}}}$"
        found = rf"$\tau_w = 1 - 2 \times {lost:.2f} / {total:.2f} = {1 - 2 * lost / total:.2f}$"
        say(sheet, left + 1.45, 2.6, f"the {which} two are swapped")
        say(sheet, left + 1.45, 0.5, f"this pair weighs {pair} = {lost:.2f}, all ten {total:.2f}")
        say(sheet, left + 1.45, 0.17, found)
    return figure


def _slopes(sheet: Any, left: float, first: int) -> None:
    """Models by accuracy, joined to their places by a score that swaps two; the bars are weights of places."""
    for x, text in ((0.3, "weight"), (1.1, "by accuracy"), (2.35, "by score")):
        note(sheet, left + x, 2.37, text)
    for place, model in enumerate("ABCDE"):
        y, swapped = 2.15 - 0.32 * place, place in (first, first + 1)
        end = 2.15 - 0.32 * (2 * first + 1 - place) if swapped else y
        looks = {"color": plots.COLOURS[1], "linewidth": 1.8} if swapped else {"color": "0.6", "linewidth": 0.9}
        sheet.plot([left + 1.2, left + 2.15], [y, end], **looks)
        say(sheet, left + 1.07, y, model)
        say(sheet, left + 2.28, end, model)
        sheet.add_patch(Rectangle((left + 0.85, y - 0.07), -0.5 / (place + 1), 0.14, facecolor=plots.COLOURS[5]))
        note(sheet, left + 0.15, y, f"1/{place + 1}" if place else "1")


# Chapter 7

DISCS = ((10, 10), (22, 23))  # rows and columns of the centres of a scene's discs
GROUND = [(25, 4), (28, 12), (5, 28), (9, 19), (12, 27), (20, 7)]  # columns and rows of pixels outside of them


def pixels_as_samples() -> Figure:
    """A scene, its feature map, the pixels drawn of each class, and these as samples with class means."""
    figure, sheet = sheet_of(2.35)
    parts: dict[tuple[str, str], Callable[[Any, float], None]] = {
        ("scene", "every pixel\nhas a class"): _scene,
        ("feature map", "a vector for\nevery place"): _map,
        ("pixels drawn", "equally many\nof each class"): _drawn_pixels,
        ("features, class means", "samples as those\nof images"): _pixel_classes,
    }
    for place, ((title, said), draw) in enumerate(parts.items()):
        left = 0.08 + 1.62 * place
        draw(sheet, left)
        say(sheet, left + 0.66, 2.2, title)
        note(sheet, left + 0.66, 0.3, said)
        if place:
            arrow(sheet, (left - 0.26, 1.3), (left - 0.04, 1.3))
    return figure


def _pixel_labels() -> np.ndarray:
    """The class of each pixel of a scene, (32, 32); 0 is ground."""
    rows, columns = np.mgrid[:32, :32]
    return sum(i * ((rows - row) ** 2 + (columns - column) ** 2 < 56) for i, (row, column) in enumerate(DISCS, 1))


def _picture(sheet: Any, left: float) -> Any:
    axis = panel(sheet, (left, 0.64), (1.32, 1.32))
    axis.imshow(np.where(_pixel_labels() == 0, 0.15, 0.55), cmap="gray", vmin=0, vmax=1)
    return axis


def _scene(sheet: Any, left: float) -> None:
    axis = _picture(sheet, left)
    for (row, column), digit in zip(DISCS, "47", strict=True):
        say(axis, column, row, digit, color="white", fontsize=14, weight="bold")


def _map(sheet: Any, left: float) -> None:
    """Three features of a map, one sheet behind the other."""
    noise = 0.15 * np.cos(3.7 * np.arange(64)).reshape(8, 8)
    for depth in (2, 1, 0):
        axis = panel(sheet, (left + 0.12 * depth, 0.64 + 0.12 * depth), (1.08, 1.08))
        values = np.sin(1.3 + _pixel_labels()[2::4, 2::4] * (2.1 + depth) + depth) + noise
        axis.imshow(values, cmap="Blues", vmin=-1.6, vmax=1.8)
        axis.spines[:].set_color("white")


def _drawn_pixels(sheet: Any, left: float) -> None:
    axis = _picture(sheet, left)
    in_discs = [np.rint([column, row] + 6.5 * cloud(6)) for row, column in DISCS]
    for i, places in enumerate([GROUND, *in_discs]):
        samples(axis, places, i, s=24, edgecolor="white", linewidth=0.6)


def _pixel_classes(sheet: Any, left: float) -> None:
    axis = plane(sheet, (left, 0.64), 1.32, 1.75)
    for i, corner in enumerate(CORNERS):
        samples(axis, corner + 0.45 * cloud(6), i, s=18, alpha=0.6)
        mean(axis, corner, i)
