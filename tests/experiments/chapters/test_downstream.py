"""Downstream statistics on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from nclib.estimates import mean_spearman
from nclib.experiments.chapters import downstream
from nclib.experiments.claims import judge
from nclib.experiments.scales import lab


def table(nc1, accuracy, cdnv=None, seeds=1):
    """Models (rows) on tasks (columns) as a study's table."""
    return pd.DataFrame(
        {"model": f"m{i}", "seed": seed, "task": f"t{j}", "nc1": nc1[i][j], "accuracy": accuracy[i][j]}
        | {"cdnv": (cdnv or nc1)[i][j], "accuracy_1": -accuracy[i][j]}
        for i in range(len(nc1))
        for seed in range(seeds)
        for j in range(len(nc1[0]))
    )


FALLING = [[1.0, 5.0], [2.0, 6.0], [3.0, 8.0], [4.0, 9.0]]
ACCURACY = [[0.9, 0.8], [0.8, 0.7], [0.7, 0.6], [0.6, 0.5]]


def test_a_monotone_law_over_models_is_minus_one_with_no_doubt():
    estimate = downstream.across_models(table(FALLING, ACCURACY, seeds=2))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((-1, -1, -1))
    assert downstream.across_models(table(FALLING, ACCURACY), "nc1", "accuracy_1").value == pytest.approx(1)
    assert downstream.across_models(table(FALLING, ACCURACY), "nc1", ["accuracy", "accuracy_1"]).value == pytest.approx(
        0
    )


def test_seeds_are_no_new_evidence():
    """Copies make no interval narrower: models are resampled with their seeds."""
    nc1, accuracy = np.random.default_rng(1).random((2, 6, 2)).tolist()
    once, often = (downstream.across_models(table(nc1, accuracy, seeds=seeds)) for seeds in (1, 5))
    assert vars(often) == pytest.approx(vars(once), nan_ok=True)


def claim(key):
    return next(claim for claim in downstream.CLAIMS if claim.key == key)


def noisy(sign, seeds, rng, slope=(1.0, 1.0)):
    """Eight models on two tasks: NC1 and accuracies in one order (sign 1) or the other, with noise between seeds."""
    return pd.DataFrame(
        {"model": f"m{i}", "seed": seed, "task": f"t{j}", "nc1": float(i), "num_features": 16 * (i % 2 + 1)}
        | {name: sign * slope[j] * i + rng.normal() for name in ("accuracy", "accuracy_1", "accuracy_5", "accuracy_20")}
        for i in range(8)
        for seed in range(seeds)
        for j in range(2)
    )


@pytest.mark.parametrize("key", ["A2-models", "A2-width", "A2-shots"])
@pytest.mark.parametrize(("sign", "word"), [(-1, "holds"), (1, "fails")])
def test_a_law_over_models_holds_with_a_replicate_a_seed(key, sign, word):
    verdict = judge(claim(key), noisy(sign, 4, np.random.default_rng(0)))
    assert (verdict.word, verdict.number) == (word, 4)
    assert verdict.estimate.value * sign > 0.8


def test_few_shots_are_judged_by_all_three_numbers_of_them():
    rows = noisy(-1, 4, np.random.default_rng(0))
    found = claim("A2-shots").replicates(rows.assign(accuracy_5=-rows["accuracy_1"]))  # takes back that of one shot
    alone = claim("A2-models").replicates(rows.assign(accuracy=rows["accuracy_20"]))
    assert found["value"].to_numpy() == pytest.approx(alone["value"].to_numpy() / 3)


@pytest.mark.parametrize("key", ["A2-models", "A2-shots"])
def test_of_named_models_the_tasks_are_the_replicates(key):
    """They are the same with every draw of the images: what is found is of other tasks, not of other networks."""
    rows = noisy(-1, 3, np.random.default_rng(0))
    found = claim(key).replicates(rows.assign(weights="pretrained"))
    by_seed = claim(key).replicates(rows)
    assert found["replicate"].tolist() == ["t0", "t1"]
    assert found["value"].tolist() == pytest.approx(by_seed.groupby("panel")["value"].mean().tolist())
    assert judge(claim(key), noisy(-1, 1, np.random.default_rng(0))).number == 2  # nor has one seed an interval


def test_given_the_width_only_models_of_one_width_are_compared():
    """NC1 and accuracy follow the width, and nothing else of each other."""
    rng = np.random.default_rng(0)
    rows = pd.concat([noisy(0, 8, rng)] * 4, ignore_index=True)
    width = rng.integers(1, 9, len(rows))
    rows = rows.assign(model=range(len(rows)), num_features=width, nc1=-width + rng.normal(size=len(rows)))
    rows["accuracy"] = width + rng.normal(size=len(rows))
    assert judge(claim("A2-models"), rows).word == "holds"
    assert abs(judge(claim("A2-width"), rows).estimate.value) < 0.2


def test_a_law_that_turns_between_tasks_is_mixed():
    verdict = judge(claim("A2-models"), noisy(1, 6, np.random.default_rng(0), slope=(-1.0, 1.0)))
    assert verdict.word == "mixed"
    assert verdict.panels["t0"].high < 0 < verdict.panels["t1"].low


def by_layer(follows, seeds=5):
    """Ten layers on two tasks: NC1 falls and accuracy rises with depth, and beyond that as `follows` says."""
    rng, depth = np.random.default_rng(0), np.arange(10.0)
    rows = []
    for seed in range(seeds):
        for task in ("a", "b"):
            shared = 4 * rng.normal(size=10)
            nc1, accuracy = -depth + shared, depth + follows * shared + 3 * rng.normal(size=10)
            widths = {"num_features": [8] * 10, "num_classes": 4}
            rows.append({"seed": seed, "task": task, "nc1": nc1.tolist(), "accuracy": accuracy.tolist()} | widths)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("follows", "word"), [(-1, "holds"), (1, "fails")])
def test_layers_are_compared_at_equal_depth(follows, word):
    """Depth alone makes NC1 and accuracy go apart; the claim asks for what is left of that."""
    assert judge(claim("A2-layers"), by_layer(follows)).word == word
    assert downstream.layers_ranked_by(by_layer(0), "nc1").mean() > 0.3
    assert abs(judge(claim("A2-layers"), by_layer(0, seeds=30)).estimate.value) < 0.1


def test_only_layers_wider_than_the_classes_are_compared():
    rows = by_layer(-1)
    narrow = rows.assign(num_features=[[2, 2, 2, *[8] * 7]] * len(rows))
    cut = rows.assign(**{name: rows[name].str[3:] for name in ("nc1", "accuracy", "num_features")})
    assert downstream.given_depth(narrow).tolist() == pytest.approx(downstream.given_depth(cut).tolist())
    assert downstream.given_depth(rows.assign(num_features=[[4] * 7 + [8] * 3] * len(rows))).isna().all()


def test_tasks_are_averaged_and_never_pooled():
    """Between tasks a higher NC1 goes with more accuracy here; within each it goes with less."""
    nc1 = [[1.0, 101.0], [2.0, 102.0], [3.0, 103.0]]
    accuracy = [[0.3, 0.9], [0.2, 0.8], [0.1, 0.7]]
    assert downstream.across_models(table(nc1, accuracy)).value == pytest.approx(-1)


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    rows = table(rng.random((6, 3)).tolist(), rng.random((6, 3)).tolist())
    shuffled = rows.sample(frac=1, random_state=0)
    assert downstream.across_models(rows).value == pytest.approx(downstream.across_models(shuffled).value)


def test_an_order_is_that_of_accuracy_if_the_least_collapse_or_the_most_of_a_size_comes_first():
    rows = noisy(-1, 4, np.random.default_rng(0)).assign(cdnv=lambda each: each["accuracy"])
    rows["parameters"] = rows["accuracy"]
    assert downstream.ranked_by(rows, "parameters")["value"].to_numpy() == pytest.approx(1)
    assert downstream.ranked_by(rows, "cdnv")["value"].to_numpy() == pytest.approx(-1)


@pytest.mark.parametrize(("key", "given"), [("A2-models", None), ("A2-width", "num_features")])
@pytest.mark.parametrize("made", [{}, {"weights": "pretrained"}])
def test_the_order_of_nc1_is_that_of_the_verdict_with_the_other_sign(key, given, made):
    rows = noisy(-1, 4, np.random.default_rng(0)).assign(**made)
    order, verdict = downstream.ranked_by(rows, "nc1", given=given), judge(claim(key), rows)
    found, judged = downstream.correlation(order), verdict.estimate
    assert [found.value, -found.high, -found.low] == pytest.approx([-judged.value, judged.low, judged.high])
    assert downstream.by_task(order).keys() == {"t0", "t1"}


def test_few_shots_are_ordered_as_the_verdict_says():
    rows, few = noisy(-1, 4, np.random.default_rng(0)), ["accuracy_1", "accuracy_5", "accuracy_20"]
    judged = claim("A2-shots").replicates(rows)
    assert downstream.ranked_by(rows, "nc1", few)["value"].tolist() == pytest.approx((-judged["value"]).tolist())


def test_models_without_a_value_are_left_out_and_so_are_tasks_that_have_one_value():
    rows = noisy(-1, 4, np.random.default_rng(0)).assign(vci=lambda each: each["nc1"])
    some = rows.assign(source_accuracy=rows["accuracy"].where(rows["model"] < "m4"))
    assert downstream.ranked_by(some, "source_accuracy")["value"].to_numpy() == pytest.approx(1)
    rows.loc[rows["task"] == "t0", "vci"] = 0.0
    for made in ({}, {"weights": "pretrained"}):
        assert downstream.by_task(downstream.ranked_by(rows.assign(**made), "vci")).keys() == {"t1"}
    assert np.isnan(downstream.correlation(downstream.ranked_by(rows.assign(vci=0.0), "vci")).value)


def test_at_one_width_nothing_is_held_fixed():
    rows = noisy(-1, 4, np.random.default_rng(0)).assign(num_features=8)
    plain, given = (downstream.ranked_by(rows, "nc1", given=each)["value"] for each in (None, "num_features"))
    assert given.tolist() == plain.tolist()


def test_the_first_model_falls_short_of_the_best_and_of_several_it_is_the_mean():
    rows = pd.DataFrame(
        {"model": list("abcd"), "nc1": [1.0, 2.0, 3.0, 4.0], "num_features": [8, 16, 16, 4], "seed": 0, "task": "t"}
        | {"accuracy": [0.7, 0.9, 0.6, 0.2]}
    )
    lost = {name: downstream.lost_by(rows, name)["value"].item() for name in ("nc1", "num_features", None)}
    assert lost == pytest.approx({"nc1": 0.2, "num_features": 0.15, None: 0.3})


def test_differences_are_paired_by_replicate_and_task():
    rows = noisy(-1, 4, np.random.default_rng(0))
    nc1 = downstream.ranked_by(rows, "nc1")
    assert downstream.difference(nc1, nc1.assign(value=nc1["value"] - 0.1)).value == pytest.approx(0.1)
    assert downstream.difference(nc1, nc1.assign(value=nc1["value"] - 0.1)).error == pytest.approx(0, abs=1e-9)
    assert np.isnan(downstream.difference(nc1[:0], nc1[:0]).value)


def test_source_accuracy_is_that_of_the_same_recipe_and_seed():
    rows = pd.DataFrame({"model": ["base", "epochs 2", "base"], "epochs": [4, 2, 4], "seed": [10, 10, 11], "task": "t"})
    networks = pd.DataFrame({"epochs": [4, 4, 4], "seed": [10, 10, 12], "source_accuracy": [0.9, 0.9, 0.5]})
    found = downstream.with_source_accuracy(rows, networks)
    assert found["source_accuracy"].tolist() == pytest.approx([0.9, np.nan, np.nan], nan_ok=True)
    assert downstream.with_source_accuracy(rows.assign(weights="pretrained"), networks)["source_accuracy"].isna().all()


def test_the_labs_models_have_families_and_others_their_first_word():
    families = {downstream.family(model) for model in lab.SCALE.models}
    assert families == set(downstream.FAMILIES.values())
    assert downstream.family("bank_mobilenet_v2_100_224_inat_bird") == "MobileNetV2, iNaturalist"
    assert [downstream.family(each) for each in ("base", "loss contrastive")] == ["base", "loss"]


def layers(**columns):
    widths = {"num_features": [2, 8, 8, 8, 8], "num_classes": 4}
    curves = {"nc1": [0.1, 5.0, 4.0, 2.0, 3.0], "accuracy": [0.1, 0.2, 0.3, 0.6, 0.5]}
    return pd.DataFrame([{"model": "m", "seed": 0, "task": "t"} | widths | curves | columns])


def test_layers_are_ordered_by_the_least_of_a_metric_or_the_last():
    rows = downstream.with_orders(layers())
    ranks = {name: downstream.layers_ranked_by(rows, name).item() for name in ("nc1", "wide_nc1", "left")}
    assert ranks == pytest.approx({"nc1": 0.0, "wide_nc1": 1.0, "left": 0.9})
    lost = {name: downstream.lost_by_layer(rows, name).item() for name in ("nc1", "wide_nc1", "left")}
    assert lost == pytest.approx({"nc1": 0.5, "wide_nc1": 0.0, "left": 0.1})


def test_a_network_without_wide_layers_has_no_order_of_them():
    rows = downstream.with_orders(layers(num_features=[2] * 5))
    assert downstream.layers_ranked_by(rows, "wide_nc1").isna().all()
    assert downstream.lost_by_layer(rows, "wide_nc1").isna().all()


def test_what_is_found_of_layers_is_averaged_as_the_claim_is():
    rows = by_layer(-1).assign(model="deep")
    verdict, found = judge(claim("A2-layers"), rows), -downstream.given_depth(rows)
    over = downstream.correlation(downstream.over_tasks(rows, found))
    assert [over.value, over.low] == pytest.approx([-verdict.estimate.value, -verdict.estimate.high])
    of_tasks = downstream.by_task(downstream.over_networks(rows, found))
    assert [each.value for each in of_tasks.values()] == pytest.approx(
        [-each.value for each in verdict.panels.values()]
    )


def test_of_named_models_each_is_a_network_with_the_mean_of_its_draws():
    rows = pd.DataFrame({"model": list("aabb"), "seed": [0, 1, 0, 1], "task": "t", "weights": "pretrained"})
    found = downstream.over_networks(rows, pd.Series([0.1, 0.3, 0.5, np.nan]))
    assert (found["replicate"].tolist(), found["value"].tolist()) == (["a", "b"], pytest.approx([0.2, 0.5]))
    assert downstream.over_networks(rows.drop(columns="weights"), pd.Series([0.1, 0.3, 0.5, 0.1]))[
        "replicate"
    ].tolist() == [0, 1]


def test_mean_spearman_is_scipys_column_by_column():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (2, 20, 4)).astype(float)  # with ties
    expected = [spearmanr(x[:, j], y[:, j]).statistic for j in range(4)]
    assert mean_spearman(x, y) == pytest.approx(np.mean(expected))
    assert np.isnan(mean_spearman(np.ones(4), np.arange(4.0)))
