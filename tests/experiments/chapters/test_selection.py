"""Choosing a model: weighted tau against scipy's, scores over zoos, the claims on tables whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import weightedtau

from nclib import class_fairness, class_statistics, face, nc1
from nclib.estimates import weighted_tau
from nclib.experiments.chapters import selection
from nclib.experiments.chapters.selection import CLAIMS, EARLIER, in_zoos
from nclib.experiments.claims import judge
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.studies import STUDIES
from workflow.measures import ROOT, measures

few = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=9)


@given(few)
def test_weighted_tau_is_scipys_of_the_repeated_entries(entries):
    x, y, times = np.array(entries).T
    if times.sum() == 0:
        times = times + 1
    whole = [np.repeat(side, times) for side in (x, y)]
    if any(len(set(side)) < 2 for side in whole):
        assert math.isnan(weighted_tau(x, y, times[None])[0])
    else:
        assert weighted_tau(x, y, times[None])[0] == pytest.approx(weightedtau(*whole).statistic, abs=1e-12)


def test_weighted_tau_punishes_mistakes_at_the_top():
    truth = np.arange(6.0)
    top, bottom = truth.copy(), truth.copy()
    top[[4, 5]], bottom[[0, 1]] = top[[5, 4]], bottom[[1, 0]]
    assert weighted_tau(truth, truth)[0] == 1 == -weighted_tau(-truth, truth)[0]
    assert weighted_tau(top, truth)[0] < weighted_tau(bottom, truth)[0] < 1


def rows(**scores):
    """Six models in two zoos on two tasks, with accuracies 0 to 0.5; scores are functions of the accuracy."""
    base = {"variance_collapse": lambda a: a, "class_unfairness": lambda a: 1 - a, "nc1_tuned": lambda a: 1 - a}
    return pd.DataFrame(
        {"model": f"m{i}", "seed": 0, "task": task, "zoos": ["a", "b"] if i else ["a"], "accuracy": i / 10}
        | {name: float(of(i / 10)) for name, of in (base | scores).items()}
        for i in range(6)
        for task in ("first", "second")
    )


def test_face_of_a_zoo_is_that_of_the_library():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(30) % 3
    features = [torch.randn(30, 4, generator=generator) + s * torch.eye(4)[labels] for s in (1, 2, 4)]
    stats = [class_statistics(each, labels) for each in features]
    table = pd.DataFrame(
        {"model": f"m{i}", "seed": 0, "task": "t", "zoos": ["z"], "accuracy": 0.5}
        | {"variance_collapse": -nc1(each), "class_unfairness": 1 - class_fairness(each)}
        for i, each in enumerate(stats)
    )
    assert in_zoos(table)["face"].tolist() == pytest.approx(face(stats).tolist())


def test_seeds_of_a_model_are_no_rivals():
    """Accuracies of the second seed are all lower, and its scores all higher: within a seed they agree."""
    first = rows(vci=lambda a: -a)
    second = first.assign(
        seed=1, accuracy=first["accuracy"] - 1, variance_collapse=first["variance_collapse"] + 9, vci=first["vci"] - 9
    )
    found = in_zoos(pd.concat([first, second], ignore_index=True))
    assert selection.ranks(found).value == selection.ranks(found, "vci").value == 1
    assert selection.before_and_after(found).value == pytest.approx(1)
    assert selection.regret(found, "face") == 0
    assert found.groupby(["zoo", "task", "seed"])["face"].agg(["min", "max"]).drop_duplicates().values.tolist() == [
        [0, 2]
    ]


def test_intervals_are_of_the_models():
    rng = np.random.default_rng(0)
    noisy = in_zoos(rows(leep=lambda a: a + 0.2 * rng.normal()))
    tau = selection.ranks(noisy, "leep")
    assert tau.low < tau.value < tau.high <= 1
    perfect = selection.ranks(noisy)
    assert perfect.low == perfect.value == perfect.high == 1


def test_scores_that_follow_accuracy_rank_perfectly_and_lose_nothing():
    found = in_zoos(rows(vci=lambda a: -a, leep=lambda a: -a))
    assert selection.ranks(found).value == 1
    assert selection.ranks(found, "vci").value == 1  # lower is better
    assert selection.ranks(found, "leep").value == -1
    assert selection.regret(found, "face") == 0
    assert selection.regret(found, "leep") == pytest.approx((0.5 + 0.4) / 2)  # zoo b lacks the worst model


def test_face_is_held_against_each_of_its_rivals():
    found = in_zoos(rows(leep=lambda a: -a, nce=lambda a: a))
    assert selection.advantage(found).value == 0
    assert selection.advantage(found, ["leep"]).value == 2
    assert math.isnan(selection.advantage(found, ["sfda"]).value)
    part = found.assign(leep=found["leep"].where(found["task"] == "first"))
    part.loc[part["task"] == "second", "face"] = 0.0  # where the rival has no value the score is not held against it
    assert selection.advantage(part, ["leep"]).value == 2
    worse = in_zoos(
        rows(variance_collapse=lambda a: -a, class_unfairness=lambda a: a, leep=lambda a: -a, nce=lambda a: a)
    )
    behind = selection.advantage(worse)
    assert (behind.value, behind.high) == (-2, -2)


def test_models_without_a_score_are_left_out_of_it():
    table = rows(leep=lambda a: a if a else math.nan)
    assert selection.ranks(in_zoos(table), "leep").value == 1
    assert math.isnan(selection.ranks(in_zoos(rows(leep=lambda a: math.nan)), "leep").value)


def test_collapse_before_and_after_is_compared_within_tasks():
    table = rows()
    table["variance_collapse"] -= 10 * (table["task"] == "second")  # a task that is harder throughout
    assert selection.before_and_after(in_zoos(table)).value == pytest.approx(1)
    published = rows().assign(nc1_tuned=math.nan)
    assert math.isnan(selection.before_and_after(in_zoos(published)).value)


def study(name, sign, noise=0.0):
    """The cells of a study with models' qualities, which FaCe follows (sign 1) or reverses; rivals are noise.

    With `noise` of one each seed has qualities of its own.
    """
    cells = STUDIES[name](settings("demo"), [0, 1])
    rng = np.random.default_rng(0)
    names = dict.fromkeys(cell["model"] for cell in cells)
    quality = {seed: rng.permutation(len(names)) for seed in (0, 1)}
    order = {
        (model, seed): (1 - noise) * i + noise * quality[seed][i] for i, model in enumerate(names) for seed in (0, 1)
    }
    return pd.DataFrame(
        cell
        | {"accuracy": (a := order[cell["model"], cell["seed"]] / 40), "class_unfairness": 0.5 - sign * a / 2}
        | {"variance_collapse": sign * a - 2, "nc1_tuned": 2 - a}
        | {name: float(rng.normal()) for name in EARLIER}
        for cell in cells
    )


def enough(name, sign, **options):
    """The study with six times its seeds, and rivals drawn anew."""
    tables = [study(name, sign, **options).assign(seed=lambda t, i=i: t["seed"] + 2 * i) for i in range(6)]
    rng, whole = np.random.default_rng(1), pd.concat(tables, ignore_index=True)
    return whole.assign(**{rival: rng.normal(size=len(whole)) for rival in EARLIER})


# Keys of claims that a perfect FaCe says nothing of: each has a test of its own in this file.
OTHERS: set[str] = set()


@pytest.mark.parametrize("claim", [each for each in CLAIMS if each.key not in OTHERS], ids=lambda claim: claim.key)
def test_claims_hold_for_a_perfect_face_and_not_for_its_opposite(claim):
    """If a claim is not about FaCe, write a test of its own here and add the key to OTHERS."""
    held, failed = (judge(claim, enough(claim.study, sign)) for sign in (1, -1))
    assert (held.word, held.number) == ("holds", 6 if claim.key == "C3-pixels" else 12)  # which has one seed
    assert failed.word == "fails"


@pytest.mark.parametrize("key", ["C2-ranks", "C2-sources", "C3-words"])
def test_accuracies_that_do_not_repeat_test_no_ranking(key):
    claim = next(claim for claim in CLAIMS if claim.key == key)
    table = study(claim.study, 1, noise=1.0)
    assert selection.reliability(in_zoos(table)) < 0.5
    verdict = judge(claim, table)
    assert verdict.word == "not tested"
    assert verdict.why.startswith("seeds agree on the models' order by ")


def test_reliability_is_the_rank_correlation_between_seeds():
    table = pd.concat([rows().assign(seed=seed) for seed in (0, 1)], ignore_index=True)
    assert selection.reliability(in_zoos(table)) == pytest.approx(1)
    table["accuracy"] *= np.where(table["seed"] == 1, -1, 1)
    assert selection.reliability(in_zoos(table)) == pytest.approx(-1)
    assert math.isnan(selection.reliability(in_zoos(rows())))  # of one seed: it does not forbid a test
    assert judge(next(claim for claim in CLAIMS if claim.key == "C2-ranks"), rows()).word != "not tested"


def test_a_block_has_the_tau_of_its_models_and_a_replicate_is_a_seed():
    found = in_zoos(rows(leep=lambda a: -a))
    assert selection.tau(found, "leep") == pytest.approx(-1)
    assert math.isnan(selection.tau(found, "sfda"))
    assert sorted(selection.blocks(found, selection.tau)["replicate"]) == [
        f"{zoo} on {task}" for zoo in "ab" for task in ("first", "second")
    ]  # of one seed
    seeds = in_zoos(pd.concat([rows().assign(seed=seed) for seed in range(3)], ignore_index=True))
    assert set(selection.blocks(seeds, selection.tau)["replicate"]) == {0, 1, 2}


def test_face_is_ahead_of_the_average_rival_over_the_models_that_this_has():
    found = in_zoos(rows(leep=lambda a: -a, nce=lambda a: a, gbc=lambda a: a if a > 0.2 else math.nan))
    block = found[(found["zoo"] == "a") & (found["task"] == "first")]
    assert selection.ahead_of_the_average(block) == pytest.approx((2 + 0 + 0) / 3)
    assert "vci" not in selection.DISTINCT  # the H-score once more


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("study", ["model_selection", "scene_selection", "text_selection"])
def test_no_model_is_chosen_for_what_it_learned_on(scale, study):
    cells = STUDIES[study](settings(scale), settings(scale).seeds)
    learned = [c["task"] for c in cells if c.get("source", "").partition("[")[0] == c["data"].partition("[")[0]]
    assert not learned
    zoos = {zoo for cell in cells for zoo in cell["zoos"]}
    for zoo in zoos:
        models = {cell["model"] for cell in cells if zoo in cell["zoos"]}
        cure = "give its Zoo in experiments/scales/ more models or recipes"
        assert len(models) >= 3, f"the zoo {zoo!r} of {study} at {scale} has {len(models)} models, and needs 3: {cure}"


def test_a_network_of_two_zoos_is_measured_once():
    cells = STUDIES["model_selection"](settings("demo"), [0, 1])
    base = [cell for cell in cells if cell["model"] == "base" and cell["task"] == "digits"]
    assert [cell["seed"] for cell in base] == [0, 1]
    assert base[0]["zoos"] == ["architectures", "source data sets", "training losses"]


def test_a_zoo_of_one_model_decides_nothing():
    """As where a reader gives one model of their own: there is nothing to rank, and no error."""
    one = pd.DataFrame(
        {"model": ["m"], "seed": 0, "task": "t", "zoos": [["z"]], "accuracy": 0.5}
        | {"variance_collapse": -1.0, "class_unfairness": 0.5, "leep": -1.0}
    )
    rows = selection.in_zoos(one)
    assert math.isnan(selection.ranks(rows).value)
    assert math.isnan(selection.advantage(rows).value)


def test_every_model_whose_accuracy_is_published_has_one_on_every_task():
    measure = measures(ROOT / "notebooks" / "06_which_model_should_i_fine_tune.py")["model_selection"]
    cells = [cell for cell in STUDIES["model_selection"](settings("paper"), [0]) if cell["method"] == "published"]
    accuracies = [measure.__globals__["published"](cell)["accuracy"] for cell in cells]
    assert len(cells) == (11 + 12) * 11
    assert 0.3 < min(accuracies) < max(accuracies) < 1
