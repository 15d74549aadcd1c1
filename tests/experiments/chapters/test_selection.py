"""Choosing a model: scores over zoos, ranks and rivals, the claims on tables whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from nclib import class_fairness, class_statistics, face, nc1
from nclib.estimates import fisher
from nclib.experiments.chapters import selection
from nclib.experiments.chapters.selection import CLAIMS, EARLIER, in_zoos
from nclib.experiments.claims import judge
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.studies import STUDIES, declared
from nclib.transferability.calibration import POWER, SCALE, likely_best
from workflow.measures import RECORDS, ROOT, measures


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


def seeds(number, **scores):
    """`rows` with so many seeds."""
    return pd.concat([rows(**scores).assign(seed=seed) for seed in range(number)], ignore_index=True)


def test_seeds_of_a_model_are_no_rivals():
    """Accuracies of the second seed are all lower, and its scores all higher: within a seed they agree."""
    first = rows(vci=lambda a: -a)
    second = first.assign(
        seed=1, accuracy=first["accuracy"] - 1, variance_collapse=first["variance_collapse"] + 9, vci=first["vci"] - 9
    )
    found = in_zoos(pd.concat([first, second], ignore_index=True))
    assert selection.ranks(found).value > 0.99
    assert selection.ranks(found, "vci").value > 0.99
    assert selection.over_blocks(found, selection.collapse_kept).value == pytest.approx(1)
    assert selection.over_blocks(found, selection.regret).value == 0
    assert found.groupby(["zoo", "task", "seed"])["face"].agg(["min", "max"]).drop_duplicates().values.tolist() == [
        [0, 2]
    ]


def test_the_tau_of_a_block_weighs_mistakes_at_the_top():
    truth = rows(leep=lambda a: a, nce=lambda a: a)[lambda table: table["task"] == "first"]
    top = truth["leep"].replace({0.4: 0.5, 0.5: 0.4})
    bottom = truth["nce"].replace({0.0: 0.1, 0.1: 0.0})
    found = truth.assign(leep=top, nce=bottom)
    assert selection.tau(found, "leep") < selection.tau(found, "nce") < 1
    assert math.isnan(selection.tau(found[:2], "nce"))  # two models are in the same order half of the time


def test_intervals_are_over_seeds():
    table = seeds(6, vci=lambda a: a)
    rng = np.random.default_rng(0)
    found = in_zoos(table.assign(leep=table["accuracy"] + 0.2 * rng.normal(size=len(table))))
    ranks = selection.ranks(found, "leep")
    values = selection.blocks(found, lambda block: selection.tau(block, "leep"))
    assert ranks.low < ranks.value < ranks.high < 1
    assert values["replicate"].nunique() == 6
    assert ranks.value == pytest.approx(np.tanh(fisher(values["value"]).mean()))


def test_scores_that_follow_accuracy_rank_perfectly_and_lose_nothing():
    found = in_zoos(rows(vci=lambda a: -a, leep=lambda a: -a))
    block = found[(found["zoo"] == "b") & (found["task"] == "first")]
    assert (selection.tau(block), selection.tau(block, "vci"), selection.tau(block, "leep")) == (1, 1, -1)
    assert selection.regret(block) == 0
    assert selection.regret(block, "leep") == pytest.approx(0.4)  # this zoo lacks the worst model
    assert math.isnan(selection.regret(block.assign(sfda=math.nan), "sfda"))


def test_face_is_ahead_of_those_rivals_that_rank_worse():
    found = in_zoos(seeds(4, leep=lambda a: -a, nce=lambda a: a))
    rng = np.random.default_rng(0)
    found["leep"] += 0.1 * rng.normal(size=len(found))
    ahead = selection.ahead(found, ["leep", "nce", "sfda"])
    assert ahead["difference"]["leep"].low > 1
    assert ahead["p"]["leep"] < 0.05
    assert (ahead["difference"]["nce"].value, ahead["p"]["nce"]) == (0, 1)
    assert math.isnan(ahead["p"]["sfda"])  # of no model
    assert selection.ahead(found, ["leep"])["p"]["leep"] < ahead["p"]["leep"]  # Holm's


def test_mean_ranks_are_those_of_the_taus_with_nemenyis_critical_difference():
    found = in_zoos(rows(leep=lambda a: -a, nce=lambda a: (a - 0.3) ** 2))
    places, p, critical = selection.mean_ranks(found, ["face", "leep", "nce"])
    assert list(places.index) == ["face", "nce", "leep"]
    assert places.tolist() == [1, 2, 3]
    assert p == pytest.approx(
        math.exp(-4), rel=1e-6
    )  # chi-square of 8 with two degrees of freedom: 4 blocks in one order
    assert critical == pytest.approx(2.3437 * math.sqrt(3 * 4 / (6 * 4)), abs=1e-3)  # table 5 of Demsar 2006


def informed(strength, number=40):
    """A table of zoos whose best models follow their FaCe as `likely_best` says, by a scale of this strength."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"zoo": zoo, "seed": seed, "size": size, "face": rng.uniform(0, 2, size)}
        for zoo in "abc"
        for seed in range(number)
        for size in (2, 4, 8)
    )
    likely = [likely_best(face, strength, 1.0) for face in table["face"]]
    return table.assign(best=[rng.multinomial(1, p).astype(float) for p in likely])


def test_calibration_finds_what_the_best_models_were_drawn_by():
    scale, power = selection.calibration(informed(0.5, 400))
    for size in (2, 4, 8):  # of the two numbers one makes up for the other
        assert scale * size**power == pytest.approx(0.5 * size, rel=0.25)


def test_the_skill_is_of_other_zoos_and_none_where_face_says_nothing():
    skill = selection.with_likely_best(informed(1.0, 200)).groupby("zoo")["skill"].mean()
    assert (skill > 0.1).all()
    blind = selection.with_likely_best(informed(0.0, 200))
    assert abs(blind["skill"].mean()) < 0.02
    rng = np.random.default_rng(1)
    odd = informed(1.0, 200)
    shuffled = odd["best"].map(rng.permutation)
    odd["best"] = odd["best"].where(odd["zoo"] != "c", shuffled)
    assert selection.with_likely_best(odd).groupby("zoo")["skill"].mean()["c"] < 0  # which the others did not know


def test_the_librarys_calibration_is_that_of_the_records():
    tables = {scale: declared(RECORDS, "model_selection", scale) for scale in SCALES}
    zoos = [in_zoos(table).assign(scale=scale) for scale, table in tables.items() if table is not None]
    rows = pd.concat([zoo.assign(zoo=zoo["scale"] + ": " + zoo["zoo"]) for zoo in zoos])
    scale, power = selection.calibration(selection.choices(rows))
    assert (scale, power) == pytest.approx((SCALE, POWER), abs=0.01)


def test_choices_are_among_the_models_of_a_block():
    table = selection.choices(in_zoos(rows()), times=3)
    assert table.groupby("size").size().to_dict() == {3: 12, 5: 12}
    assert all(
        len(face) == len(best) == size
        for face, best, size in zip(table["face"], table["best"], table["size"], strict=True)
    )
    assert all(
        face.argmax() == best.argmax() and best.sum() == 1
        for face, best in zip(table["face"], table["best"], strict=True)
    )
    tied = selection.choices(in_zoos(rows().assign(accuracy=0.5)), times=1)
    assert all((best == 1 / len(best)).all() for best in tied["best"])


def test_models_without_a_score_are_left_out_of_it():
    found = in_zoos(rows(leep=lambda a: a if a else math.nan))
    block = found[(found["zoo"] == "a") & (found["task"] == "first")]
    assert selection.tau(block, "leep") == 1
    assert math.isnan(selection.ranks(in_zoos(rows(leep=lambda a: math.nan)), "leep").value)
    assert "leep" not in selection.all_ranks(in_zoos(rows(leep=lambda a: math.nan)))


def test_collapse_before_and_after_is_compared_within_tasks():
    table = rows()
    table["variance_collapse"] -= 10 * (table["task"] == "second")  # a task that is harder throughout
    assert selection.over_blocks(in_zoos(table), selection.collapse_kept).value == pytest.approx(1)
    published = rows().assign(nc1_tuned=math.nan)
    assert math.isnan(selection.over_blocks(in_zoos(published), selection.collapse_kept).value)


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
    """The study with three times its seeds, and rivals drawn anew."""
    tables = [study(name, sign, **options).assign(seed=lambda t, i=i: t["seed"] + 2 * i) for i in range(3)]
    rng, whole = np.random.default_rng(1), pd.concat(tables, ignore_index=True)
    return whole.assign(**{rival: rng.normal(size=len(whole)) for rival in (*EARLIER, "source_accuracy")})


# Keys of claims that a perfect FaCe says nothing of: each has a test of its own in this file.
OTHERS: set[str] = set()


@pytest.mark.parametrize("claim", [each for each in CLAIMS if each.key not in OTHERS], ids=lambda claim: claim.key)
def test_claims_hold_for_a_perfect_face_and_not_for_its_opposite(claim):
    """If a claim is not about FaCe, write a test of its own here and add the key to OTHERS."""
    held, failed = (judge(claim, enough(claim.study, sign)) for sign in (1, -1))
    assert (held.word, held.number) == ("holds", 6)
    assert failed.word == "fails"


@pytest.mark.parametrize("key", ["C1", "C3-pixels", "C3-words"])
def test_models_that_are_not_tuned_whole_are_no_part_of_these_claims(key):
    claim = next(claim for claim in CLAIMS if claim.key == key)
    table = enough(claim.study, 1)
    worst = enough(claim.study, -1).assign(method="linear", zoos=lambda rows: rows["zoos"].map(lambda _: ["other"]))
    assert str(judge(claim, pd.concat([table, worst], ignore_index=True))) == str(judge(claim, table))


def test_reliability_is_the_rank_correlation_between_seeds():
    table = pd.concat([rows().assign(seed=seed) for seed in (0, 1)], ignore_index=True)
    assert selection.reliability(in_zoos(table)) == pytest.approx(1)
    table["accuracy"] *= np.where(table["seed"] == 1, -1, 1)
    assert selection.reliability(in_zoos(table)) == pytest.approx(-1)
    assert math.isnan(selection.reliability(in_zoos(rows())))  # of one seed


def test_replicates_are_seeds_or_of_one_seed_zoos_on_tasks():
    found = in_zoos(rows())
    assert sorted(selection.blocks(found, selection.tau)["replicate"]) == [
        f"{zoo} on {task}" for zoo in "ab" for task in ("first", "second")
    ]  # of one seed
    assert set(selection.blocks(in_zoos(seeds(3)), selection.tau)["replicate"]) == {0, 1, 2}


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
    base = [c for c in cells if c["model"] == "base" and c["task"] == "digits" and not c["augmentation"]]
    assert [cell["seed"] for cell in base] == [0, 1]
    assert base[0]["zoos"] == ["architectures", "source data sets"]  # all losses are given distorted images


def test_a_zoo_of_one_model_decides_nothing():
    """As where a reader gives one model of their own: there is nothing to rank, and no error."""
    one = pd.DataFrame(
        {"model": ["m"], "seed": 0, "task": "t", "zoos": [["z"]], "accuracy": 0.5}
        | {"variance_collapse": -1.0, "class_unfairness": 0.5, "leep": -1.0}
    )
    rows = selection.in_zoos(one)
    assert math.isnan(selection.ranks(rows).value)
    assert math.isnan(selection.ahead(rows, ["leep"])["difference"]["leep"].value)


def test_every_model_whose_accuracy_is_published_has_one_on_every_task():
    measure = measures(ROOT / "notebooks" / "06_which_model_should_i_fine_tune.py")["model_selection"]
    cells = [cell for cell in STUDIES["model_selection"](settings("paper"), [0]) if cell["method"] == "published"]
    accuracies = [measure.__globals__["published"](cell)["accuracy"] for cell in cells]
    assert len(cells) == (11 + 12) * 11
    assert 0.3 < min(accuracies) < max(accuracies) < 1
