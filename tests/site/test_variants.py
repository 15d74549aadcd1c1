"""The pages on metrics: their code runs, and what it calls a variant is that variant."""

import doctest
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import nclib
from nclib import METRICS, SCORES
from workflow.pages import PAGES

BOOK = Path(__file__).parents[2] / "book"


def names_of(page: str) -> dict:
    """What the code of a page defines, once every example has given what it says."""
    test = doctest.DocTestParser().get_doctest((BOOK / page).read_text(), {}, page, page, 0)
    assert test.examples
    with patch.dict(METRICS):  # a page may add one
        assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0
    return test.globs


def test_the_table_in_the_book_is_that_of_the_registry():
    for name, registry in (("metrics_table", METRICS), ("scores_table", SCORES)):
        text = PAGES[name]()
        same = (BOOK / f"{name}.md").read_text() == text
        assert same, f"book/{name}.md is not that of the registry: run python -m workflow.pages {name}"
        assert all(f"| `{name}`" in text for name in registry)


@pytest.mark.parametrize("page", ["in_training.md", "own_models.md", "extend.md", "files.md", "../README.md"])
def test_the_code_of_a_page_gives_what_it_says(page, monkeypatch):
    monkeypatch.chdir(BOOK.parent)  # as a reader runs it: files.md reads records
    names_of(page)


def test_every_variant_is_what_the_page_says():
    page = names_of("metrics.md")
    features, labels, weight = (page[name].double().numpy() for name in ("features", "labels", "weight"))
    labels = labels.astype(int)
    counts, means = np.bincount(labels), np.stack([features[labels == k].mean(0) for k in range(4)])
    within, centred = features - means[labels], means - features.mean(0)
    sigma_w, sigma_b = within.T @ within / 75, centred.T @ centred / 4
    weighted = centred.T * counts @ centred / 75
    spread = [(within[labels == k] ** 2).sum() / counts[k] for k in range(4)]
    total_inverse = np.linalg.pinv(sigma_w + weighted)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(4, 1)]
    balanced_gram = (means - means.mean(0)) @ (means - means.mean(0)).T
    etf = np.eye(4) - 1 / 4
    expected = {
        "variant": np.trace(sigma_w @ np.linalg.pinv(sigma_b, rcond=1e-10)),
        "balanced": np.mean(spread) / np.trace(sigma_b),
        "equal_weights": 1 - np.trace(total_inverse @ sigma_b) / 3,
        "h_score": np.trace(total_inverse @ weighted),
        "spread_of_cosines": cosines.std(ddof=1),
        "squared": ((weight / np.linalg.norm(weight) - centred / np.linalg.norm(centred)) ** 2).sum(),
        "bias_collapse": np.linalg.norm(weight @ features.mean(0)),
    }
    for name, value in expected.items():
        assert page[name] == pytest.approx(value, rel=1e-6), name
    by_size = np.trace(sigma_w @ np.linalg.pinv(weighted, rcond=1e-10)) / 4
    assert page["weighted_nc1"](page["stats"]) == pytest.approx(by_size, rel=1e-6)
    balanced_means = page["stats"].means - page["stats"].means.mean(0)
    distance = np.linalg.norm(balanced_gram / np.linalg.norm(balanced_gram) - etf / np.linalg.norm(etf))
    assert nclib.nc2(balanced_means) == pytest.approx(distance, rel=1e-6)
