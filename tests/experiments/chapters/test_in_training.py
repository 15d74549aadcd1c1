"""Chapter 1: when the terminal phase begins, and its claims on tables whose answer is known."""

import math

import pandas as pd
import pytest

from nclib.experiments.chapters import in_training
from nclib.experiments.claims import judge

ERRORS = [0.5, 0.001, 0.002, 0.0]  # the phase begins at the second


def claim(key):
    return next(claim for claim in in_training.CLAIMS if claim.key == key)


def table(curves, errors=ERRORS):
    """One network a curve, of NC1 to NC3 alike; classifier and nearest mean agree on all images in the end."""
    rows = ({"train_error": errors} | dict.fromkeys(("nc1", "nc2", "nc3"), curve) for curve in curves)
    return pd.DataFrame(rows).assign(nc4=[[0.1, 0.5, 0.9, 1.0]] * len(curves))


def test_the_terminal_phase_begins_with_the_first_error_of_a_thousandth():
    assert in_training.phase_start(ERRORS) == 1
    assert in_training.phase_start([0.0, 0.2]) == 0
    assert in_training.phase_start([0.5, 0.0011]) is None


@pytest.mark.parametrize("key", ["P1", "P2", "P3"])
def test_a_metric_is_followed_from_the_phases_begin_to_the_end(key):
    falling = judge(claim(key), table([[9.0, 4.0, 3.0, 1.0], [9.0, 4.0, 1.0, 1.1], [9.0, 4.0, 2.0, 0.9]]))
    assert falling.word == "holds"
    assert falling.estimate.value == pytest.approx(math.log(0.25 * (1.1 * 0.9) ** (1 / 3)))
    assert falling.number == 3
    rising = judge(claim(key), table([[0.1, 1.0, 1.0, 2.0], [0.1, 1.0, 1.0, 2.2], [0.1, 1.0, 1.0, 2.1]]))
    assert rising.word == "fails"
    still = judge(claim(key), table([[9.0, 1.0, 1.0, end] for end in (0.99, 1.02, 1.0)]))
    assert still.word == "fails: no effect"


def test_a_network_that_never_comes_to_the_phase_leaves_p1_undefined():
    rows = pd.concat([table([[9.0, 2.0, 1.0, 1.0]]), table([[9.0, 2.0, 1.0, 1.0]], [0.5, 0.1, 0.1, 0.1])])
    assert judge(claim("P1"), rows).word == "undefined"


def test_the_network_with_the_most_disagreement_decides_p4():
    rows = table([[1.0] * 4] * 2)
    assert judge(claim("P4"), rows).word == "holds"
    rows["nc4"] = [[1.0] * 4, [1.0, 1.0, 1.0, 0.98]]
    verdict = judge(claim("P4"), rows)
    assert (verdict.word, verdict.estimate.value) == ("fails", pytest.approx(0.02))
