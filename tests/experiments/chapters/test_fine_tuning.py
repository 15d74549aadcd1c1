"""Statistics and claims of fine-tuning, on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

import nclib
from nclib.experiments.cells import candidates, of_method
from nclib.experiments.chapters import fine_tuning
from nclib.experiments.claims import judge
from nclib.experiments.scales import settings as settings_of

METHODS = ("linear", "layer", "skip", "full")
TASKS = ("a", "b")


def table(accuracy, nc1=None, *, tasks=TASKS, numbers=(20,), seeds=3):
    """A row for each method, task, number of images and network; accuracy(method, task, number, seed)."""
    return pd.DataFrame(
        {"model": "base", "seed": seed, "task": task, "train_per_class": number, "draw": 0, "method": method}
        | {"accuracy": accuracy(method, task, number, seed), "train_accuracy": 1.0}
        | {"loss": 1.0 - accuracy(method, task, number, seed), "train_loss": 0.0}
        | {"body_share": 0.1 if method == "skip" else 1.0, "nc1": (nc1 or {}).get(method, 1.0) * (1 + seed / 100)}
        for task in tasks
        for number in numbers
        for seed in range(seeds)
        for method in METHODS
    )


def claim(key):
    return next(claim for claim in fine_tuning.CLAIMS if claim.key == key)


def by_method(noise=0.001, **accuracies):
    """Accuracies by method, the same on all tasks, with a little more for each further network."""
    return lambda method, task, number, seed: accuracies.get(method, 0.5) + noise * seed * (method == "skip")


def test_methods_are_compared_on_the_same_images():
    """Between networks accuracies differ by far more than between the methods on one of them."""
    rows = table(lambda method, task, number, seed: 0.2 * seed + {"skip": 0.02}.get(method, 0.0))
    estimate = fine_tuning.difference(rows.sample(frac=1, random_state=0), "accuracy", "skip", "full")
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.02,) * 3)


def test_a_contrast_has_a_row_for_each_network_and_task():
    found = fine_tuning.contrast(table(by_method(skip=0.7, full=0.6)), "accuracy", "skip", "full")
    assert found.pivot(index="replicate", columns="panel", values="value").shape == (3, 2)
    assert found["value"].tolist() == pytest.approx([0.1, 0.1, 0.101, 0.101, 0.102, 0.102])


def test_over_methods_is_a_rank_correlation():
    order = {"linear": 4.0, "layer": 3.0, "skip": 2.0, "full": 1.0}
    rows = table(lambda method, task, number, seed: 1 - order[method] / 10, nc1=order)
    assert fine_tuning.across_methods(rows).value == pytest.approx(-1)
    held = judge(claim("A2-methods"), rows)
    assert (held.word, held.number) == ("holds", 3)
    assert judge(claim("A2-methods"), rows.assign(accuracy=-rows["accuracy"])).word == "fails"
    other = rows.assign(model="other", nc1=1e3 / rows["nc1"])  # the reverse, and larger
    assert fine_tuning.across_methods(pd.concat([rows, other])).value == pytest.approx(0)


def test_over_methods_is_mixed_where_tasks_are_on_either_side():
    """On one task methods that collapse more are the better ones, on the other the worse; not for every network."""
    rng = np.random.default_rng(0)
    order = {"linear": 4.0, "layer": 3.0, "skip": 2.0, "full": 1.0}

    def accuracy(method, task, number, seed):
        return (-1 if task == "a" else 1) * order[method] + rng.normal(0, 0.4)

    verdict = judge(claim("A2-methods"), table(accuracy, nc1=order, seeds=8))
    assert verdict.word == "mixed"
    assert verdict.panels["a"].high < 0 < verdict.panels["b"].low


def test_the_skip_connection_is_held_against_the_same_layer_without_it():
    rows = table(by_method(), nc1={"layer": 4.0, "skip": 2.0, "full": 1.0})
    rows["nc1"] *= np.where(rows["method"] == "skip", 1 + rows["seed"] / 20, 1.0)
    verdict = judge(claim("A4-collapse"), rows)
    assert verdict.word == "holds"
    assert verdict.estimate.value == pytest.approx(np.mean(np.log(0.5 * (1 + np.arange(3) / 20))))
    assert judge(claim("A4-collapse"), rows.assign(nc1=1 / rows["nc1"])).word == "fails"
    alike = rows.assign(nc1=np.where(rows["method"] == "skip", 0.99 + rows["seed"] / 100, 1.0))
    assert judge(claim("A4-collapse"), alike).word == "fails: no effect"


@pytest.mark.parametrize(("ahead", "word"), [(0.05, "holds"), (-0.05, "fails"), (0.0, "fails: no effect")])
def test_whether_it_is_the_skip_connection_is_asked_of_the_same_layer(ahead, word):
    verdict = judge(claim("A4-skip"), table(by_method(skip=0.5 + ahead)))
    assert (verdict.word, verdict.estimate.value) == (word, pytest.approx(ahead, abs=2e-3))


def test_about_as_well_is_two_points_below_full_fine_tuning():
    tasks = fine_tuning.SENSITIVE
    assert judge(claim("A4-accuracy"), table(by_method(full=0.9, skip=0.89), tasks=tasks)).word == "holds"
    assert judge(claim("A4-accuracy"), table(by_method(full=0.9, skip=0.87), tasks=tasks)).word == "fails"


def test_tasks_that_told_methods_apart_before_are_compared_and_no_others():
    """Which they are was chosen on other networks: that a linear probe does as well here drops none of them."""
    verdict = judge(claim("A4-accuracy"), table(by_method(linear=0.5, full=0.9, skip=0.5)))
    assert (verdict.word, verdict.why) == ("not tested", "a linear probe had done as well as full fine-tuning")

    def accuracy(method, task, number, seed):
        if task not in fine_tuning.SENSITIVE:
            return 0.1 if method == "skip" else 0.9
        return 0.9 + 0.001 * seed * (method == "skip")

    rows = table(accuracy, tasks=("digits", *fine_tuning.SENSITIVE))
    assert set(fine_tuning.sensitive(rows)["task"]) == set(fine_tuning.SENSITIVE)
    assert judge(claim("A4-accuracy"), rows).word == "holds"


def forced(gain, collapsed):
    """A row for each strength, task and network: accuracy rises by the gain, NC1 falls to 1 / collapsed."""
    strongest = fine_tuning.FORCED[-1]
    return pd.DataFrame(
        {"model": "base", "seed": seed, "task": task, "collapse_tuned": strength}
        | {"accuracy": 0.5 + gain * strength / strongest + seed / 1000}
        | {"nc1": collapsed ** -(strength / strongest) * (1 + seed * strength / 100)}
        for strength in fine_tuning.FORCED
        for task in TASKS
        for seed in range(4)
    )


@pytest.mark.parametrize(("gain", "word"), [(0.1, "holds"), (-0.1, "fails"), (0.0, "fails: no effect")])
def test_forced_collapse_is_judged_by_what_it_does_to_accuracy(gain, word):
    verdict = judge(claim("A6-force"), forced(gain, collapsed=1.2))
    assert verdict.word == "not tested"
    assert verdict.why.startswith("collapse was not forced, NC1 is 0.8")
    verdict = judge(claim("A6-force"), forced(gain, collapsed=3.0))
    assert (verdict.word, verdict.number) == (word, 4)
    assert verdict.estimate.value == pytest.approx(gain)


@pytest.mark.parametrize("scale", ["demo", "lab", "paper"])
def test_where_images_are_scarce_nothing_is_chosen_and_each_seed_draws_anew(scale):
    cells = fine_tuning.data_scarcity(settings_of(scale), [10, 11])
    assert {cell["draw"] for cell in cells} == {10, 11} == {cell["seed"] for cell in cells}
    assert all("rates" not in cell and len(cell.get("layers", [0])) == 1 for cell in cells)
    assert {cell["rate"] for cell in cells} <= set(settings_of(scale).fine_tuning.rate.values())
    assert len({cell["model"] for cell in cells}) == 1


def test_every_method_has_a_way_and_tunes_what_it_says():
    """On a model with all that the methods ask for: norms, biases, convolutions, blocks."""
    model = nclib.backbone("test_resnet", weights="random", device="cpu")
    cell = {"seed": 0, "epochs_tuned": 1, "augmentation_tuned": 0.0, "rate": 1e-3}
    made = {}
    for method in fine_tuning.COMPARED:
        ((make, settings),) = candidates(cell | of_method(method, [-2]), model, 5)
        made[method] = nclib.trainable_share(make().body)
        assert settings.learning_rate == 1e-3
    assert made["linear"] == 0
    assert made["full"] == 1
    assert all(0 < share < 1 for method, share in made.items() if method not in ("linear", "full"))
    assert made["norm"] < 0.05


def test_the_largest_share_of_parameters_decides():
    rows = table(by_method())
    assert judge(claim("A4-parameters"), rows).word == "fails"  # a tenth is not less than a tenth
    assert judge(claim("A4-parameters"), rows.assign(body_share=0.09)).word == "holds"


@pytest.mark.parametrize(("sign", "word"), [(1, "holds"), (-1, "fails")])
def test_scarcity_compares_the_fewest_images_with_all(sign, word):
    def accuracy(method, task, number, seed):
        ahead = sign * (0.2 + 0.01 * seed) if method == "skip" and number == 2 else 0.0
        return 0.5 + ahead + (0.1 if number == 40 else 0.0)

    rows = table(accuracy, tasks=["a"], numbers=(2, 10, 40))
    assert set(fine_tuning.fewest(rows)["train_per_class"]) == {2}
    assert set(fine_tuning.most(rows)["train_per_class"]) == {40}
    verdicts = {key: judge(claim(key), rows) for key in ("A5-gap", "A5-scarce", "A5-most")}
    assert {verdict.word for verdict in verdicts.values()} == {word}
    ahead = [sign * (0.2 + 0.01 * seed) for seed in range(3)]
    shrunk = np.mean([np.log(0.5 - each) - np.log(0.5) for each in ahead])
    assert [verdict.estimate.value for verdict in verdicts.values()] == pytest.approx([shrunk, *[0.21 * sign] * 2])


def test_a_gap_is_test_less_training_cross_entropy():
    rows = table(by_method(skip=0.75)).assign(train_loss=0.25)
    found = fine_tuning.gap(rows).groupby("method")["gap"].first()
    assert (found["skip"], found["full"]) == (0.0, 0.25)
