"""Chapter 1: when the training errors are gone."""

import pandas as pd

from nclib.experiments import studies
from nclib.experiments.chapters import in_training
from nclib.experiments.claims import judge


def test_zero_error_is_where_the_last_error_is_gone():
    assert in_training.zero_error_index([0.5, 0.0, 0.1, 0.0, 0.0]) == 3
    assert in_training.zero_error_index([0.0, 0.0]) == 0
    assert in_training.zero_error_index([0.5, 0.1]) is None


def test_a_network_that_keeps_making_errors_leaves_p1_undefined():
    p1 = next(c for c in studies.CLAIMS if c.key == "P1")
    table = pd.DataFrame({"train_error": [[0.5, 0.1], [0.5, 0.0]], "nc1": [[9.0, 2.0], [9.0, 2.0]]})
    assert judge(p1, table).word == "undefined"
