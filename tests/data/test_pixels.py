"""Drawn pixels are the same bytes whatever kernels a processor has."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings, strategies as st

from nclib import load
from nclib.data.pixels import as_bytes, normal
from nclib.data.scene_sets import composed
from nclib.seeds import seeded

# What makes torch and MKL compute as another processor would; without effect where they have no such choice.
OLDER = {
    "the kernels that MKL has for all": {"MKL_CBWR": "COMPATIBLE"},
    "AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "SSE": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default"},
}


def drawn_digest() -> str:
    """A digest of three million drawn pixels."""
    letters = [load(f"glyphs/{script}", per_class=60).in_memory().images for script in ("latin", "greek")]
    scenes = composed(load("digits"), 40, seeded("scenes")).images
    return hashlib.sha256(b"".join(images.numpy().tobytes() for images in (*letters, scenes))).hexdigest()


@pytest.mark.parametrize("variables", OLDER.values(), ids=OLDER)
def test_letters_digits_and_scenes_are_the_same_bytes_on_older_processors(variables):
    child = [sys.executable, "-c", f"from {__name__} import drawn_digest; print(drawn_digest())"]
    paths = os.pathsep.join(filter(None, (os.path.dirname(__file__), *sys.path)))
    ran = subprocess.run(
        child, env=os.environ | {"PYTHONPATH": paths} | variables, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == drawn_digest()


@settings(deadline=None)  # the first call may wait for threads to start
@given(number=st.integers(0, 9), seed=st.integers(0, 2**31))
def test_normal_draws_are_those_of_torch_up_to_rounding(number, seed):
    wanted = torch.randn(16 * number, generator=torch.Generator().manual_seed(seed))
    found = normal((16 * number,), torch.Generator().manual_seed(seed))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), wanted, rtol=1e-4, atol=1e-5)


@given(shape=st.lists(st.integers(0, 5), max_size=4))
def test_normal_draws_have_any_shape(shape):
    assert normal((*shape,), seeded("shape")).shape == (*shape,)


def test_normal_draws_that_are_no_whole_sixteens_have_mean_0_and_variance_1():
    draws = normal((33333, 3), seeded("odd"))
    assert abs(float(draws.mean())) < 0.01
    assert abs(float(draws.var()) - 1) < 0.015


def test_levels_are_rounded_and_halves_go_up_even_just_below():
    exact = torch.tensor([-3, 0, 0.49, 0.5, 1.5, 2.5 - 1e-12, 2.5 + 1e-12, 254.5, 255, 999], dtype=torch.float64)
    assert as_bytes(exact).tolist() == [0, 0, 0, 1, 2, 3, 3, 255, 255, 255]


def test_levels_in_single_precision_are_refused():
    with pytest.raises(TypeError, match=r"levels are torch.float32; they must be torch.float64"):
        as_bytes(torch.zeros(3))
