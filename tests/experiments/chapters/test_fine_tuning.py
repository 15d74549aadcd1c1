"""Statistics and claims of fine-tuning, on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from nclib.experiments.chapters import fine_tuning
from nclib.experiments.claims import judge

METHODS = ("linear", "layer", "skip", "full")
TASKS = ("a", "b")


def table(accuracy, nc1=None, *, tasks=TASKS, numbers=(20,), seeds=3):
    """A row for each method, task, number of images and network; accuracy(method, task, number, seed)."""
    return pd.DataFrame(
        {"model": "base", "seed": seed, "task": task, "train_per_class": number, "draw": 0, "method": method}
        | {"accuracy": accuracy(method, task, number, seed), "train_accuracy": 1.0}
        | {"share": 0.1 if method == "skip" else 1.0, "nc1": (nc1 or {}).get(method, 1.0) * (1 + seed / 100)}
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


def test_about_as_well_is_two_points_below_full_fine_tuning():
    assert judge(claim("A4-accuracy"), table(by_method(linear=0.5, full=0.9, skip=0.89))).word == "holds"
    assert judge(claim("A4-accuracy"), table(by_method(linear=0.5, full=0.9, skip=0.87))).word == "fails"


def test_where_a_linear_probe_does_as_well_methods_are_not_told_apart():
    verdict = judge(claim("A4-accuracy"), table(by_method(linear=0.861, full=0.9, skip=0.5)))
    assert (verdict.word, verdict.why) == ("not tested", "a linear probe does as well as full fine-tuning")

    def accuracy(method, task, number, seed):  # only on one of the tasks
        return {"linear": 0.5 if task == "a" else 0.9, "full": 0.9, "skip": 0.95 if task == "a" else 0.1}.get(
            method, 0.0
        ) + 0.001 * seed * (method == "skip")

    rows = table(accuracy)
    assert set(fine_tuning.sensitive(rows)["task"]) == {"a"}
    assert judge(claim("A4-accuracy"), rows).word == "holds"


def test_the_largest_share_of_parameters_decides():
    rows = table(by_method())
    assert judge(claim("A4-parameters"), rows).word == "fails"  # a tenth is not less than a tenth
    assert judge(claim("A4-parameters"), rows.assign(share=0.09)).word == "holds"


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
    assert [verdict.estimate.value for verdict in verdicts.values()] == pytest.approx(
        [-0.21 * sign, *[0.21 * sign] * 2]
    )


def test_a_gap_is_training_less_test_accuracy():
    assert fine_tuning.gap(table(by_method(0.0)))["gap"].tolist() == [0.5] * (len(METHODS) * len(TASKS) * 3)
