"""Probabilities of being the best after fine-tuning: a softmax of FaCe, and where a ranking has them."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from nclib import Ranking
from nclib.transferability.calibration import likely_best

TABLE = pd.DataFrame({"face": [1.8, 0.9, 0.2], "logme": [3.0, 2.0, 1.0], "seconds": 1.0}, index=["a", "b", "c"])


def test_it_is_a_softmax_that_grows_with_the_number_of_models():
    two = [1 / (1 + math.e**2), 1 / (1 + math.e**-2)]
    assert likely_best([0.0, 1.0], 1.0, 1.0).tolist() == pytest.approx(two)
    assert likely_best([1.0, 1.0, 1.0], 5.0, 2.0).tolist() == pytest.approx([1 / 3] * 3)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=50))
def test_they_are_probabilities_in_the_order_of_face(face):
    likely = likely_best(face)
    assert likely.sum() == pytest.approx(1)
    assert (np.diff(likely[np.argsort(face)]) >= 0).all()
    assert likely_best([face, face[::-1]]).tolist() == [likely.tolist(), pytest.approx(likely[::-1].tolist())]


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
def test_a_model_without_face_is_refused(unknown):
    with pytest.raises(ValueError, match="FaCe must be finite"):
        likely_best([1.0, unknown])


def test_a_ranking_by_face_says_them_and_others_do_not():
    found = Ranking(TABLE, by="face")
    assert found.p_best.to_dict() == pytest.approx(dict(zip("abc", likely_best(TABLE["face"]), strict=True)))
    assert [model["p_best"] for model in found.to_dict()["models"]] == pytest.approx(found.p_best.tolist())
    assert "p_best: the probability of being the best" in str(found)
    other = Ranking(TABLE, by="logme")
    assert other.p_best is None
    assert "p_best" not in str(other)
    assert "p_best" not in str(other.to_dict())


@pytest.mark.parametrize(("number", "beyond"), [(2, True), (3, False), (11, False), (12, True)])
def test_a_ranking_of_more_models_than_were_fitted_says_so(number, beyond):
    table = pd.DataFrame({"face": np.linspace(2, 0, number), "seconds": 1.0}, [f"m{i}" for i in range(number)])
    assert (f"for {number} models it is a guess" in " ".join(str(Ranking(table, by="face")).split())) == beyond


def test_a_model_that_has_no_face_has_no_share():
    table = TABLE.assign(face=[1.8, 0.9, math.nan])
    found = Ranking(table, by="face")
    assert found.p_best.to_dict() == pytest.approx(dict(zip("ab", likely_best([1.8, 0.9]), strict=True)))
    assert ["p_best" in model for model in found.to_dict()["models"]] == [True, True, False]
    assert "nan" not in str(found).lower()


def test_of_scores_over_layers_it_is_not_known():
    assert Ranking(TABLE, by="face", by_layer=pd.DataFrame()).p_best is None
