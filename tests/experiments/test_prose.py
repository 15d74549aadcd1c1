"""What is glued for the prose."""

import myst_nb
import numpy as np
import pytest
import torch

from nclib.estimates import Estimate
from nclib.experiments.prose import glue


@pytest.fixture
def kept(monkeypatch):
    found = {}

    def keep(name, value, display):
        assert not display
        found[name] = value

    monkeypatch.setattr(myst_nb, "glue", keep)
    return found


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (0.5, 0.5),
        (np.float64(0.5), 0.5),
        (1.23456789012345e-7, 1.23456789e-7),
        (torch.tensor(0.5), 0.5),
        (7, 7),
        (np.int64(7), 7),
        ("Greek", "Greek"),
    ],
)
def test_a_scalar_of_numpy_or_torch_is_glued_as_pythons_own(kept, value, plain):
    glue("name", value)
    assert kept == {"name": plain}
    assert type(kept["name"]) is type(plain)


def test_an_estimate_is_glued_with_the_ends_of_its_interval(kept):
    glue("demo NC1", Estimate(0.5, 0.25, 0.75))
    numbers = {"demo NC1 value": 0.5, "demo NC1 low": 0.25, "demo NC1 high": 0.75}
    assert kept == {"demo NC1": "0.5 [0.25, 0.75]"} | numbers
