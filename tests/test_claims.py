"""Claims: verdicts, intervals, and that the book's own claims fit its records and references."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from nclib import claims, findings
from nclib.claims import Claim, Estimate, judge
from nclib.records import Records
from nclib.scales import SCALES, settings

BOOK = Path(__file__).parents[1] / "book"


def claim(side, threshold, estimate):
    return Claim("X", "paper", "A sentence.", "study", "a number", side, threshold, lambda table: estimate)


@pytest.mark.parametrize(
    ("side", "low", "high", "expected"),
    [
        ("above", 0.2, 0.8, "holds clearly"),
        ("above", -0.2, 0.8, "holds narrowly"),
        ("above", -0.9, 0.1, "fails narrowly"),
        ("above", -0.9, -0.1, "fails clearly"),
        ("below", -0.9, -0.1, "holds clearly"),
        ("below", 0.0, 0.0, "fails clearly"),
    ],
)
def test_a_verdict_says_the_side_and_the_margin(side, low, high, expected):
    estimate = Estimate((low + high) / 2, low, high)
    assert str(judge(claim(side, 0.0, estimate), pd.DataFrame({"a": [1]}))) == expected


def test_no_records_is_not_run_yet():
    assert str(judge(claim("above", 0, Estimate(1, 1, 1)), pd.DataFrame())) == "not run yet"


def test_rank_correlation_is_scipys_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    estimate = claims.rank_correlation(x, y)
    assert estimate.value == pytest.approx(spearmanr(x, y).statistic)
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1
    assert claims.rank_correlation(x, np.exp(x)).value == pytest.approx(1)
    assert estimate == claims.rank_correlation(x, y)


def test_the_interval_of_a_rank_correlation_covers_the_truth():
    """Of independent samples, about 95% of the intervals hold 0."""
    rng = np.random.default_rng(0)
    estimates = [claims.rank_correlation(*rng.normal(size=(2, 30))) for _ in range(100)]
    covered = sum(estimate.low <= 0 <= estimate.high for estimate in estimates)
    assert 88 <= covered <= 100


def test_the_mean_of_one_value_is_that_value():
    assert claims.mean(np.array([3.0])) == Estimate(3.0, 3.0, 3.0)


def toy_study() -> pd.DataFrame:
    """Four epochs x two seeds of one recipe and three weight decays, on the source and two tasks."""
    base = {"source": "s", "per_class": None, "width": 2, "projection": 0, "loss": "l", "batch_size": 2}
    base |= {"learning_rate": 0.1, "schedule": "c", "augmentation": 0.0}
    varied = [(epochs, 0.0) for epochs in (0, 1, 2, 4)] + [(2, decay) for decay in (0.1, 0.2, 0.3)]
    rows = []
    for epochs, decay in varied:
        for seed in (0, 1):
            recipe = base | {"epochs": epochs, "weight_decay": decay, "seed": seed}
            for task, accuracy in (("s", 1.0), ("a", epochs / 10), ("b", epochs / 5)):
                rows.append(recipe | {"task": task, "nc1": 10.0 - epochs + decay, "accuracy": accuracy})
    return pd.DataFrame(rows)


def test_a_panel_varies_one_setting_and_keeps_the_base():
    nets = findings.networks(toy_study())
    assert len(nets) == 14
    assert findings.panel(nets, "epochs")["epochs"].tolist() == [0, 0, 1, 1, 2, 2, 4, 4]
    assert findings.panel(nets, "weight_decay")["weight_decay"].unique().tolist() == [0.0, 0.1, 0.2, 0.3]
    assert findings.panel(nets, "epochs")["transfer"].tolist() == pytest.approx([0, 0, 0.15, 0.15, 0.3, 0.3, 0.6, 0.6])


def test_longer_training_with_lower_nc1_and_better_transfer_makes_a3_hold():
    a3 = next(c for c in findings.CLAIMS if c.key == "A3")
    verdict = judge(a3, toy_study())
    assert verdict.word == "holds"
    assert verdict.estimate.value == pytest.approx(-1)


def test_the_first_epoch_without_an_error():
    assert findings.zero_error_index([0.5, 0.1, 0.0, 0.1, 0.0]) == 2
    assert findings.zero_error_index([0.5, 0.1]) == 1


def test_every_claim_cites_a_paper_of_the_bibliography():
    bibliography = (BOOK / "references.bib").read_text()
    keys = [claim.key for claim in findings.CLAIMS]
    assert len(set(keys)) == len(keys)
    for claim in findings.CLAIMS:
        assert f"{{{claim.paper}," in bibliography
        assert np.isfinite(claim.threshold)


def test_every_claim_is_judged_on_the_committed_demo_records():
    judged = findings.verdicts(Records(BOOK / "records"), "demo")
    assert {verdict.word for verdict in judged} <= {"holds", "fails"}
    card = findings.score_card(Records(BOOK / "records"))
    assert list(card.index) == [claim.key for claim in findings.CLAIMS]
    assert set(SCALES) <= set(card.columns)


def test_an_unknown_scale_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown scale 'huge'; there are demo"):
        settings("huge")
