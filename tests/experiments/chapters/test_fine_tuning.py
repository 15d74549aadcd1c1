"""Statistics of fine-tuning, on tables whose answer is known."""

import math

import pandas as pd
import pytest

from nclib.experiments.chapters import fine_tuning
from nclib.experiments.claims import judge


def table(accuracy, nc1=None, numbers=(20,), draws=2):
    """A row for each method, task, number of images and draw; accuracy(method, number, draw)."""
    return pd.DataFrame(
        {"model": "base", "seed": 0, "task": task, "train_per_class": number, "draw": draw, "method": method}
        | {"accuracy": accuracy(method, number, draw), "train_accuracy": 1.0, "share": 0.1 if method == "skip" else 1}
        | {"nc1": (nc1 or {}).get(method, 1.0)}
        for task in ("a", "b")
        for number in numbers
        for draw in range(draws)
        for method in ("linear", "skip", "full")
    )


def claim(key):
    return next(claim for claim in fine_tuning.CLAIMS if claim.key == key)


def test_methods_are_compared_on_the_same_images():
    """Between the draws accuracies differ by far more than between the methods on one of them."""
    rows = table(lambda method, number, draw: 0.4 * draw + {"skip": 0.02}.get(method, 0.0))
    estimate = fine_tuning.difference(rows.sample(frac=1, random_state=0), "accuracy", "skip", "full")
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.02,) * 3)


def test_over_methods_is_a_rank_correlation():
    order = {"linear": 3.0, "skip": 2.0, "full": 1.0}
    rows = table(lambda method, number, draw: 1 - order[method] / 10, nc1=order)
    assert fine_tuning.across_methods(rows).value == pytest.approx(-1)
    assert judge(claim("A2-methods"), rows).word == "holds"


def test_scarcity_compares_the_fewest_images_with_all():
    def accuracy(method, number, draw):
        return 0.5 + (0.2 if method == "skip" and number == 2 else 0.0) + (0.1 if number == 40 else 0.0)

    rows = table(accuracy, numbers=(2, 10, 40))
    assert set(fine_tuning.fewest(rows)["train_per_class"]) == {2}
    assert set(fine_tuning.most(rows)["train_per_class"]) == {40}
    assert fine_tuning.growth(rows, "skip", "full").value == pytest.approx(0.2)
    assert judge(claim("A5-most"), rows).word == "holds"
    assert judge(claim("A5-scarce"), rows).word == "holds"
    assert judge(claim("A5-gap"), rows).estimate.value == pytest.approx(-0.2)


def test_collapse_is_compared_as_a_ratio_and_methods_within_a_model():
    nc1 = {"linear": 4.0, "skip": 2.0, "full": 1.0}
    rows = table(lambda method, number, draw: 1 / nc1[method], nc1=nc1)
    assert fine_tuning.log_ratio(rows, "nc1", "skip", "linear").value == pytest.approx(-math.log(2))
    other = rows.assign(model="other", nc1=1e3 / rows["nc1"])  # the reverse, and larger
    assert fine_tuning.across_methods(pd.concat([rows, other])).value == pytest.approx(0)


def test_what_is_no_better_fails():
    rows = table(lambda method, number, draw: {"skip": 0.8, "full": 0.9}.get(method, 0.5) + draw / 1000)
    assert judge(claim("A4-accuracy"), rows).word == "fails"
    assert judge(claim("A4-parameters"), rows).word == "fails"  # a tenth is not less than a tenth
    assert judge(claim("A4-collapse"), rows).word == "fails"
