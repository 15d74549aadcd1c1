"""How sure a ranking is: intervals that hold what they say, twins, noise, probes, and what cannot be known."""

import json
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from typer.testing import CliRunner

from nclib import Backbone, class_statistics, load, logme, rank_models
from nclib.cli import app
from nclib.features.backbones import AsTrained
from nclib.transferability import certainty as module
from nclib.transferability.certainty import Certainty, again, certainty, dealt, parts_of
from nclib.transferability.class_scores import logme_of_each
from nclib.transferability.probes import compared, over_chosen
from nclib.transferability.ranked import Ranking
from nclib.transferability.registry import higher_is_better, score, with_sums
from nclib.transferability.sentences import by_probes, by_score

AS_DIGITS = AsTrained(1, 28)


def pooled(size, name=""):
    """Pixels averaged over squares: the larger, the less is left of them."""
    layers = torch.nn.Sequential(torch.nn.AvgPool2d(size), torch.nn.Flatten())
    return Backbone(name or f"pool{size}", layers, AS_DIGITS)


class Noise(torch.nn.Module):
    """Sixteen numbers that have nothing to do with the class, but are the same for the same image."""

    def forward(self, x):
        return torch.stack([torch.randn(16, generator=torch.Generator().manual_seed(int(1000 * i.sum()))) for i in x])


@pytest.fixture(scope="module")
def digits():
    return load("digits", per_class=15)


def features_of(rows, labels, by):
    """What a ranking by a score has of models, each with features (N, d)."""
    index = pd.MultiIndex.from_product([[f"m{i}" for i in range(len(rows))], ["last"]], names=["model", "layer"])
    parts = [*parts_of(by)]
    table = pd.DataFrame([dict(score(each, labels, scores=parts)) for each in rows], index=index)[parts]
    return with_sums(table), {row: again(parts, each, labels, {}) for row, each in zip(index, rows, strict=True)}


def sure_of(rows, labels, by):
    return certainty(*features_of(rows, labels, by), by, "last", labels, ())


def sampled(number, classes, width, noises, seed):
    """Gaussian classes about means that are the same for all models, half of whose noise is the same, too."""
    fixed, free = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1 + seed)
    labels = torch.arange(classes).repeat_interleave(number)
    means = torch.randn(classes, width, generator=fixed)[labels]
    common = torch.randn(means.shape, generator=free)
    each = [torch.randn(means.shape, generator=free) for _ in noises]
    return [means + noise * (common + own) for noise, own in zip(noises, each, strict=True)], labels


@pytest.mark.parametrize(
    ("by", "number", "classes", "width", "noises"),
    [
        ("variance_collapse", 12, 4, 16, [0.7, 0.8]),
        ("logme", 8, 4, 12, [0.7, 0.8]),
        ("face", 10, 5, 16, [0.5, 0.6, 0.8]),
    ],
)
def test_intervals_hold_the_scores_of_as_many_images(by, number, classes, width, noises, monkeypatch):
    """Of 30 samples; the truth is that of the parts' means over 120 others."""
    monkeypatch.setattr(module, "SHUFFLES", 0)
    names = [*parts_of(by)]
    others = [sampled(number, classes, width, noises, 1000 + i) for i in range(120)]
    means = sum(features[names] for features in (mean_of(rows, labels, by) for rows, labels in others)) / len(others)
    truth = with_sums(means)[by].to_numpy()
    held, first = [], []
    for seed in range(30):
        table = sure_of(*sampled(number, classes, width, noises, seed), by).table.sort_index()
        held.append((table["low"].to_numpy() <= truth + 1e-9) & (truth <= table["high"].to_numpy() + 1e-9))
        first.append(table["p_first"].to_numpy())
    assert np.mean(held) >= 0.87
    right = np.argmax(truth if higher_is_better(by) else -truth)
    assert np.mean(first, axis=0)[right] == np.mean(first, axis=0).max()


def mean_of(rows, labels, by):
    return pd.DataFrame([dict(score(each, labels, scores=[*parts_of(by)])) for each in rows])


def test_models_of_equal_scores_are_each_as_likely_the_first(monkeypatch):
    monkeypatch.setattr(module, "SHUFFLES", 0)
    found = [sure_of(*sampled(10, 4, 16, [0.7] * 3, seed), "cdnv") for seed in range(30)]
    first = np.mean([each.table.sort_index()["p_first"].to_numpy() for each in found], axis=0)
    assert first == pytest.approx(1 / 3, abs=0.15)
    assert np.mean([each.table["among_first"].mean() for each in found]) > 0.9
    assert np.mean([not each.rivals for each in found]) <= 0.05


def test_an_interval_of_several_images_of_a_class_shrinks_with_their_number(monkeypatch):
    monkeypatch.setattr(module, "SHUFFLES", 0)
    widths = []
    for number in (20, 80):
        ends = [sure_of(*sampled(number, 4, 16, [0.7], seed), "cdnv").table.iloc[0] for seed in range(6)]
        widths.append(np.mean([row["high"] - row["low"] for row in ends]))
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.35)


def test_the_spread_of_a_mean_is_the_formula_whatever_the_size_of_the_classes():
    """Of the mean of class means the variance is known: the sum of s^2 / n over K^2, s^2 with n - 1."""
    for sizes in ([40, 40], [8, 8, 8], [3, 3, 3, 3], [2] * 9):
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        ratios = []
        for seed in range(60):
            x = torch.randn(len(labels), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            blocks = dealt(labels, seed=seed)
            without = torch.stack(
                [
                    torch.stack([x[(labels == k) & (blocks != b)].mean() for k in range(len(sizes))]).mean()
                    for b in range(int(blocks.max()) + 1)
                ]
            )
            known = sum(float(x[labels == k].var()) / n for k, n in enumerate(sizes)) / len(sizes) ** 2
            ratios.append(module._variance_factor(labels) * float((without - without.mean()).square().sum()) / known)
        assert np.mean(ratios) == pytest.approx(1, abs=0.08)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(2, 25), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_blocks_are_even_and_leave_no_class_out(sizes, number, seed):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    blocks = dealt(labels, number, seed)
    assert torch.equal(blocks, dealt(labels, number, seed))
    for k, size in enumerate(sizes):
        own = blocks[labels == k]
        assert own.unique().tolist() == [-1] if size == 1 else len(own.unique()) == min(size, int(blocks.max()) + 1)
    if len(used := blocks[blocks >= 0]):
        assert int(np.ptp(used.bincount().numpy())) <= 1
        assert int(used.max()) + 1 == min(number, len(used))


@given(st.integers(2, 5), st.integers(2, 12), st.integers(2, 6), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_blocks_merge_to_the_statistics_of_all(classes, size, width, seed):
    labels = torch.arange(classes).repeat_interleave(size)
    features = torch.randn(len(labels), width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    blocks, whole = dealt(labels), class_statistics(features, labels)
    parts = [
        class_statistics(features[blocks == b], labels[blocks == b], num_classes=classes)
        for b in range(int(blocks.max()) + 1)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    for name in ("counts", "means", "squares", "scatter"):
        torch.testing.assert_close(getattr(merged, name), getattr(whole, name), rtol=1e-10, atol=1e-10)


def test_many_logmes_at_once_are_each_of_its_own():
    features, labels = torch.randn(60, 80, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 4
    cases = [(torch.arange(60) % 5 != b, labels) for b in range(5)] + [(torch.ones(60) > 0, labels[torch.randperm(60)])]
    for width in (10, 80):
        some = features[:, :width]
        expected = [logme(class_statistics(some[kept].double(), moved[kept])) for kept, moved in cases]
        assert logme_of_each(some, cases).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("by", ["logme", "cdnv", "gbc", "variance_collapse"])
def test_twins_are_never_told_apart(by, digits):
    found = rank_models([pooled(7, "a"), pooled(7, "b")], digits, by=by)
    table = found.certainty.table
    assert table["p_first"].tolist() == [0.5, 0.5]
    assert table["among_first"].all()
    assert found.certainty.images_needed == math.inf
    assert found.sentence.startswith(
        f"{found.best} leads by {by}, but 150 images are too few to tell it apart from {found.table.index[1]}. "
        "Even 100 times as many would be too few. A linear probe of the first 2 may decide (--verify 2"
    )


def test_a_collapsed_model_is_the_first_for_sure_and_noise_is_no_better_than_shuffled_labels(digits):
    class Known(torch.nn.Module):
        def forward(self, x):
            close = (x.flatten(1)[:, None] - images).square().sum(2).argmin(1)
            return torch.eye(10)[digits.labels[close]] + 0.01 * x.flatten(1)[:, 300:310]

    images = torch.stack([AS_DIGITS(digits.image(i)) for i in range(len(digits))]).flatten(1)
    found = rank_models([Backbone("noise", Noise(), AS_DIGITS), Backbone("known", Known(), AS_DIGITS)], digits)
    table = found.certainty.table
    assert found.best == "known"
    assert table.loc["known", "p_first"] == 1
    assert table.loc["known", ["rank_low", "rank_high"]].tolist() == [1, 1]
    assert table.loc["known", "p_shuffled"] == pytest.approx(0.05)
    assert not table.loc["noise", "among_first"]
    assert found.sentence == "known leads by logme: 150 images are enough to tell it apart from the others"
    p = table.loc["noise", "p_shuffled"]
    assert p > 0.05
    assert f"its logme is no better than with shuffled labels: p = {p:.2g} from 19 shuffles" in found.notes["noise"]
    assert not any("shuffled" in note for note in found.notes.get("known", ()))


def test_what_is_shown_is_what_the_interval_is_of(digits):
    found = rank_models([pooled(14), pooled(4), pooled(7)], digits)
    table, scores = found.certainty.table, found.table["face"]
    assert list(table.index) == list(scores.index)
    assert ((table["low"] <= scores) & (scores <= table["high"])).all()
    assert (table["low"] >= 0).all()
    assert (table["high"] <= 2).all()
    assert table["p_first"].sum() == pytest.approx(1)
    assert table["p_top3"].tolist() == [1, 1, 1]
    assert found.certainty.images == 150
    line = next(line for line in str(found).splitlines() if line.split()[0] == found.best and "[" in line)
    assert f"[{table['low'].iloc[0]:.3g}, {table['high'].iloc[0]:.3g}]" in line
    assert str(found).splitlines()[0].startswith(found.sentence[:60])


def test_the_order_of_images_and_of_classes_changes_an_interval_by_the_split_alone():
    features, labels = torch.randn(90, 8, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 3
    features[range(90), labels] += 1
    usual = sure_of([features], labels, "cdnv").table
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    for rows, names in ((features[order], labels[order]), (features, 2 - labels)):
        moved = sure_of([rows], names, "cdnv").table
        assert moved["low"].iloc[0] == pytest.approx(usual["low"].iloc[0], rel=0.4)
        assert moved["high"].iloc[0] == pytest.approx(usual["high"].iloc[0], rel=0.4)


def test_it_can_be_turned_off_and_changes_nothing_else(digits):
    models = [pooled(14), pooled(4), pooled(7)]
    sure, bare = rank_models(models, digits), rank_models(models, digits, sure=False)
    assert bare.certainty is None
    assert bare.sentence == f"{bare.best} leads by face; it is not known how sure this is"
    assert "certainty" not in bare.to_dict()
    pd.testing.assert_frame_equal(sure.table.drop(columns="seconds"), bare.table.drop(columns="seconds"))
    with pytest.raises(ValueError, match="sure is 'yes'; it must be True or False"):
        rank_models(models, digits, sure="yes")


@pytest.mark.parametrize("layers", ["best", "mean"])
def test_over_layers_it_is_of_the_scores_as_shown(layers, digits):
    def network(name, seed):
        torch.manual_seed(seed)
        stack = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(784, 12), torch.nn.ReLU(), torch.nn.Linear(12, 6)
        )
        return Backbone(name, stack, AS_DIGITS, last=stack)

    for models, by in (([network("a", 0), network("b", 1), network("c", 2)], "face"), ([network("a", 0)], "logme")):
        found = rank_models(models, digits, layers=layers, verify=1)
        assert found.by == by
        table = found.certainty.table
        scores = found.table[by].reindex(table.index)
        assert ((table["low"] <= scores + 1e-12) & (scores - 1e-12 <= table["high"])).all()
        assert table["p_shuffled"].notna().all()
        assert found.probes.table["accuracy"].iloc[0] == pytest.approx(found.table["probe_accuracy"].iloc[0])


def test_texts_are_called_texts():
    table = pd.DataFrame({"among_first": [True, True], "p_shuffled": 0.05}, index=["a", "b"])
    assert "12 texts are too few to tell it apart from b" in by_score(
        Certainty(table, 12, 12, math.inf), "logme", "texts"
    )


@pytest.mark.parametrize(
    ("among", "poor", "needed", "probed", "said"),
    [
        ("1", "", 90, False, "a leads by face: 60 images are enough to tell it apart from the others"),
        (
            "11",
            "",
            90,
            True,
            "a leads by face, but 60 images are too few to tell it apart from b. About 90 would be enough",
        ),
        (
            "1101",
            "a",
            math.inf,
            True,
            "a leads by face, but 60 images are too few to tell it apart from b and d. Its variance_collapse is no "
            "better than with shuffled labels (p = 0.4). Even 100 times as many would be too few to tell it apart "
            "from b",
        ),
    ],
)
def test_every_sentence_is_plain(among, poor, needed, probed, said):
    names = [*"abcd"][: max(2, len(among))]
    shuffled = [0.4 if name in poor else 0.05 for name in names]
    first = [flag == "1" for flag in among.ljust(len(names), "0")]
    table = pd.DataFrame({"among_first": first, "p_shuffled": shuffled}, names)
    assert by_score(Certainty(table, 60, 60, needed), "face", "images", probed=probed) == said


def test_a_model_alone_is_not_said_to_lead():
    table = pd.DataFrame({"among_first": [True], "p_shuffled": 0.05}, index=["a"])
    alone = by_score(Certainty(table, 60, 60, math.inf), "logme", "images")
    assert alone == "a is the only model with a value of logme; a ranking needs at least 2"


@pytest.mark.parametrize(("per_class", "rough"), [(2, True), (3, True), (6, False)])
def test_of_few_images_intervals_are_rough(per_class, rough):
    found = rank_models([pooled(7), pooled(4)], load("digits", per_class=per_class))
    assert np.isfinite(found.certainty.table[["low", "high"]].to_numpy()).all()
    told = f"its interval is rough: the median class has {per_class} samples"
    assert (told in found.notes.get("pool4", ())) == rough


def test_what_is_not_known_is_said(digits):
    alone = rank_models([pooled(7), pooled(4)], load("digits", per_class=1))
    assert alone.certainty is None
    why = "it is not known how sure its logme is: 10 of 10 classes have one sample; give at least two of each"
    assert why in alone.notes["pool7"]
    assert "it is not known how sure this is" in alone.sentence
    slow = rank_models([pooled(7)], digits, by="probe_accuracy")
    assert any("probe_accuracy is not computed again on parts of the images" in note for note in slow.notes["pool7"])
    known = rank_models([pooled(7), pooled(4)], digits, by="source_accuracy", source_accuracy={"pool7": 0.5})
    assert known.certainty is None
    few = rank_models([pooled(7)], digits.take(2), by="h_score")  # 20 images of 16 features, 19 without a block
    assert few.certainty is not None
    less = rank_models([pooled(7)], load("digits", per_class=2).of_classes(0, 9), by="h_score")  # 18, then 17
    assert any("h_score of pool7 is not finite on every part of the images" in note for note in less.notes["pool7"])


def test_a_class_of_one_image_is_taken_to_vary_as_the_others(digits):
    kept = (digits.labels != 3) | (torch.arange(len(digits.labels)) == int((digits.labels == 3).nonzero()[0]))
    images = [(digits.image(i), digits.classes[int(digits.labels[i])]) for i in kept.nonzero().flatten().tolist()]
    found = rank_models([pooled(7), pooled(4)], images)
    assert "3 has one sample and is assumed to vary as the other classes do" in found.notes["pool7"]
    assert found.certainty.images == 136


def test_a_model_that_fails_changes_the_score_and_its_certainty_with_it(digits):
    found = rank_models([pooled(7), pooled(4), Backbone("bare", torch.nn.Flatten())], digits)
    assert list(found.failures) == ["bare"]
    assert found.by == "logme"
    assert set(found.certainty.table.index) == {"pool7", "pool4"}
    assert found.certainty.table["low"].max() < 0.3


def test_of_many_images_some_have_their_labels_shuffled(monkeypatch):
    monkeypatch.setattr(module, "_SHUFFLED", 40)
    features, labels = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 5
    found = sure_of([features], labels, "cdnv")
    assert (found.images, found.shuffled) == (200, 40)
    assert any("of 40 of them" in note for note in module.shuffled_notes(found, "cdnv")["m0"])
    assert found.table["p_shuffled"].iloc[0] > 0.05


def test_images_needed_are_those_that_tell(monkeypatch):
    """Of two models that differ, so many images as are said to be needed tell them apart in about half of the cases."""
    monkeypatch.setattr(module, "SHUFFLES", 0)
    noises = [0.7, 0.73]
    needed = np.median([sure_of(*sampled(10, 4, 16, noises, seed), "cdnv").images_needed for seed in range(25)])
    assert 40 < needed < 4000
    told = [not sure_of(*sampled(round(needed / 4), 4, 16, noises, 50 + seed), "cdnv").rivals for seed in range(12)]
    assert sum(told) >= 2


def test_probes_are_compared_on_the_same_images(digits):
    found = rank_models([pooled(14), pooled(4), pooled(7), pooled(7, "twin")], digits, by="logme", verify=4)
    table = found.probes.table
    assert found.probes.held_out == 30
    assert table["accuracy"].tolist() == found.table["probe_accuracy"].tolist()
    assert ((table["low"] < table["accuracy"]) & (table["accuracy"] < table["high"])).all()
    assert table["high"].iloc[0] - table["low"].iloc[0] > 0.1  # so little do 30 images tell
    assert table.loc["pool14", "p_same"] < 0.05
    assert found.sentence.startswith(f"A linear probe of {found.best} has an accuracy of ")
    assert (
        "on 30 held-out images, the best of the models probed. These images are too few to tell it apart from"
        in found.sentence
    )
    assert "(McNemar's exact test); more may do so. " in found.sentence
    assert "probe_interval" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["probes"]["models"]["pool14"]["interval"] == pytest.approx(
        table.loc["pool14", ["low", "high"]].tolist()
    )


def test_known_values_of_wilson_and_mcnemar():
    right = torch.ones(20)
    wrong = right.index_fill(0, torch.arange(6), 0)
    table = compared({"a": right, "b": wrong}).table
    z = 1.959964
    assert table.loc["a", "low"] == pytest.approx(20 / (20 + z**2), abs=1e-5)
    assert table.loc["b", "p_same"] == pytest.approx(2 / 2**6)  # six of six
    assert math.isnan(table.loc["a", "p_same"])
    assert compared({}) is None
    assert by_probes(compared({"a": right, "b": wrong}), "images").endswith(
        "McNemar's exact test tells it apart from the others"
    )
    assert compared({"a": right, "b": right.clone()}).table.loc["b", "p_same"] == 1
    assert over_chosen({"x": right, "y": wrong, "z": None}, None).tolist() == [0.5] * 6 + [1.0] * 14
    assert over_chosen({"x": right, "y": wrong}, "y").tolist() == wrong.tolist()
    assert over_chosen({"x": None}, None) is None


def test_a_draw_beside_its_intervals_is_drawn(digits, tmp_path):
    found = rank_models([pooled(14), pooled(4), pooled(7)], digits)
    found.draw(tmp_path / "sure.png")
    rank_models([pooled(14), pooled(4), pooled(7)], digits, sure=False).draw(tmp_path / "bare.png")
    assert Image.open(tmp_path / "sure.png").size[0] > Image.open(tmp_path / "bare.png").size[0] + 200


VALUES = ([-1.5e-4, -1.2e-4], [-123_000.0, -120_034.5], [0.91181, 0.91235], [-2.5, 1e-9], [1e7, 1e9])


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", ["a", "a_name_as_long_as_those_of_timm.with_a_tag_in1k_ft_in22k"])
def test_ticks_beside_the_intervals_do_not_touch(values, name, tmp_path, monkeypatch):
    names, width = [name, f"{name}2"], (max(values) - min(values)) / 4
    table = pd.DataFrame({"logme": values, "gbc": [-2.0, -1.0], "seconds": 1.0}, names)
    sure = pd.DataFrame({"among_first": True, "low": table["logme"] - width, "high": table["logme"] + width}, names)
    monkeypatch.setattr(plt, "close", lambda figure: None)
    Ranking(table, "logme", certainty=Certainty(sure, 60, 60, 90.0)).draw(tmp_path / "drawn.png")
    figure, axis = plt.gcf(), plt.gcf().axes[0]
    ends = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text()]
    monkeypatch.undo()
    plt.close(figure)
    left, right = axis.get_window_extent().intervalx
    inside = sorted((box.x0, box.x1) for box in ends if left - 1 <= (box.x0 + box.x1) / 2 <= right + 1)
    assert len(inside) >= 2
    assert all(one[1] + 4 < other[0] for one, other in pairwise(inside))


NAMED = {
    "recipe:runs/{}.safetensors": "models are named recipe:runs/NAME.safetensors",
    "torchvision:{}": "models are named torchvision:NAME",
    "{}": None,
}


@pytest.mark.parametrize("pattern", NAMED)
def test_what_all_names_have_in_common_is_said_once(pattern):
    names = [pattern.format(name) for name in ("latin", "greek", "broken")]
    table = pd.DataFrame({"gbc": [-1.0, -1.0], "seconds": 1.0}, names[:2])
    tied = f"{names[0]}, {names[1]} have the same gbc"
    found = Ranking(table, "gbc", failures={names[2]: "no such file"}, notes={name: [tied] for name in names[:2]})
    lines = str(found).splitlines()
    assert lines[0] == "latin leads by gbc; it is not known how sure this is"
    assert [line.split()[0] for line in lines[2:4]] == ["latin", "greek"]
    assert "note on latin, greek: latin, greek have the same gbc" in lines
    assert "broken failed: no such file" in lines
    assert [line for line in lines if line.startswith("models are named")] == (
        [NAMED[pattern]] if NAMED[pattern] else []
    )
    assert [model["model"] for model in found.to_dict()["models"]] == names[:2]  # files have the names that load models


@given(st.lists(st.text("ab/:.", min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
def test_short_names_differ(names):
    short = Ranking(pd.DataFrame({"gbc": 0.0}, index=names), "gbc").short_names
    assert len({*short.values()}) == len(names)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_all_of_it_fits_the_terminal(width, digits):
    text = rank_models([pooled(14), pooled(4), pooled(7)], digits, verify=2).text(width)
    assert max(map(len, text.splitlines())) <= width
    assert "p_first" in text


def test_the_command_line_has_all_of_it_as_json(tmp_path):
    digits = load("digits", per_class=8)
    for index, label in enumerate(digits.labels.tolist()[:80]):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        digits.image(index).save(tmp_path / str(label) / f"{index}.png")
    given = [
        "rank",
        "--data",
        str(tmp_path),
        "--models",
        "test_resnet,test_vit",
        "--weights",
        "random",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, [*given, "--scores", "cdnv", "--verify", "2", "--json"])
    found = json.loads(done.stdout)
    assert found["sentence"].startswith("A linear probe of")
    model = found["certainty"]["models"]["test_vit"]
    assert model["interval"][0] <= next(m["cdnv"] for m in found["models"] if m["model"] == "test_vit")
    assert set(model) == {"interval", "rank", "p_first", "p_top3", "p_shuffled", "among_first"}
    assert {"images", "images_needed", "images_shuffled"} <= set(found["certainty"])
    assert set(found["probes"]["models"]) == {"test_resnet", "test_vit"}
    bare = CliRunner().invoke(app, [*given, "--scores", "cdnv", "--no-sure"])
    assert "it is not known how sure this is" in " ".join(bare.stdout.split())
