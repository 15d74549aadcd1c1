"""Claims: verdicts, intervals, and that the book's own claims fit its records and references."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, t

from nclib import estimates
from nclib.estimates import Estimate
from nclib.experiments import studies
from nclib.experiments.chapters import in_training, source
from nclib.experiments.claims import Claim, judge
from nclib.experiments.records import Records
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.studies import STUDIES

BOOK = Path(__file__).parents[2] / "book"


def claim(side, threshold, estimate):
    return Claim("X", "paper", "A sentence.", "study", "a number", side, threshold, lambda table: estimate)


@pytest.mark.parametrize(
    ("side", "low", "high", "expected"),
    [
        ("above", 0.2, 0.8, "holds"),
        ("above", -0.2, 0.8, "undecided"),
        ("above", -0.9, 0.1, "undecided"),
        ("above", -0.9, -0.1, "fails"),
        ("below", -0.9, -0.1, "holds"),
        ("below", 0.0, 0.0, "fails"),
        ("above", math.nan, math.nan, "undefined"),
    ],
)
def test_a_claim_holds_or_fails_if_its_whole_interval_does(side, low, high, expected):
    estimate = Estimate((low + high) / 2, low, high)
    assert judge(claim(side, 0.0, estimate), pd.DataFrame({"a": [1]})).word == expected


def test_what_is_not_wholly_run_is_not_judged():
    assert str(judge(claim("above", 0, Estimate(1, 1, 1)), None)) == "not run yet"


def test_without_an_interval_the_value_decides():
    assert str(judge(claim("above", 0, Estimate(1.0)), pd.DataFrame({"a": [1]}))) == "holds: 1"
    assert str(Estimate(0.12345)) == "0.123"


def test_rank_correlation_is_scipys_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    x, groups = rng.normal(size=40), np.arange(40)
    y = x + rng.normal(size=40)
    estimate = estimates.rank_correlation(x, y, groups)
    assert estimate.value == pytest.approx(spearmanr(x, y).statistic)
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1
    assert estimates.rank_correlation(x, np.exp(x), groups).value == pytest.approx(1)
    assert estimate == estimates.rank_correlation(x, y, groups)


def test_the_rank_correlation_is_bootstrapped_as_any_statistic_is():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 9, size=(2, 30)).astype(float)  # with ties
    for groups in (np.arange(30), np.repeat(np.arange(10), 3), rng.integers(0, 12, size=30)):
        assert estimates.rank_correlation(x, y, groups) == estimates.bootstrap(
            estimates.mean_spearman, x, y, groups=groups
        )


def test_what_a_block_shifts_is_no_link():
    """Three seeds that shift both sides of every recipe alike, and a recipe that does nothing to either."""
    rng = np.random.default_rng(0)
    recipes, seeds = np.tile(np.arange(13), 3), np.repeat(np.arange(3), 13)
    x, y = 5.0 * seeds + rng.normal(size=(2, 39))
    pooled = estimates.rank_correlation(x, y, recipes)
    within = estimates.rank_correlation(x, y, recipes, blocks=seeds)
    assert pooled.low > 0.5
    assert within.low < 0 < within.high
    assert within.value == pytest.approx(np.mean([spearmanr(x[seeds == k], y[seeds == k]).statistic for k in range(3)]))


def test_strata_are_not_mixed_and_each_counts_the_same():
    x = np.concatenate([np.arange(8.0), 100 + np.arange(20.0)])
    y = np.concatenate([-np.arange(8.0), 100 + np.arange(20.0)])
    strata = np.repeat(["a", "b"], [8, 20])
    assert estimates.rank_correlation(x, y, np.arange(28), strata=strata) == Estimate(0.0, 0.0, 0.0)
    assert estimates.rank_correlation(x, y, strata, strata=strata) == Estimate(0.0)  # one group in each: no interval


def test_a_mean_over_strata_has_the_error_within_them():
    x, strata = np.array([1.0, 3.0, 11.0, 13.0, 15.0]), np.array([0, 0, 1, 1, 1])
    estimate = estimates.mean(x, strata)
    assert estimate.value == 7.5
    error = np.sqrt(2 / 2 + 4 / 3) / 2
    freedom = (2 / 2 + 4 / 3) ** 2 / (1 + (4 / 3) ** 2 / 2)
    assert estimate.high - 7.5 == pytest.approx(t.ppf(0.975, freedom) * error)
    assert math.isnan(estimates.mean(x, np.array([0, 0, 1, 1, 2])).low)


def test_the_rank_correlation_with_a_constant_is_undefined():
    assert math.isnan(estimates.rank_correlation(np.ones(5), np.arange(5), np.arange(5)).value)


def test_the_interval_of_a_rank_correlation_covers_the_truth_when_seeds_are_no_new_evidence():
    """Of eight independent groups with three near copies each, most intervals hold 0, though n is 24."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 3)
    covered = {"groups": 0, "samples": 0}
    for _ in range(40):
        x, y = rng.normal(size=(2, 8))[:, groups] + 0.05 * rng.normal(size=(2, 24))
        for name, unit in (("groups", groups), ("samples", np.arange(24))):
            estimate = estimates.rank_correlation(x, y, unit)
            covered[name] += estimate.low <= 0 <= estimate.high
    assert covered["groups"] >= 34 > covered["samples"]


def test_the_interval_of_a_mean_of_three_covers_the_truth():
    rng = np.random.default_rng(0)
    found = [estimates.mean(rng.normal(size=3)) for _ in range(400)]
    covered = sum(estimate.low <= 0 <= estimate.high for estimate in found)
    assert 368 <= covered <= 392
    assert estimates.mean(np.array([3.0])).value == 3.0
    assert math.isnan(estimates.mean(np.array([3.0])).low)


def toy_study() -> pd.DataFrame:
    """Four epochs x two seeds of one recipe and three weight decays, on the source and two tasks."""
    base = {"source": "s", "per_class": None, "width": 2, "projection": 0, "loss": "l", "batch_size": 2}
    base |= {"learning_rate": 0.1, "schedule": "c", "augmentation": 0.0, "blocks": 1}
    varied = [(epochs, 0.0) for epochs in (0, 1, 2, 4)] + [(2, decay) for decay in (0.1, 0.2, 0.3)]
    rows = []
    for epochs, decay in varied:
        for seed in (0, 1):
            recipe = base | {"epochs": epochs, "weight_decay": decay, "seed": seed}
            for task, accuracy in (("s", 1.0), ("a", epochs / 10), ("b", epochs / 5)):
                rows.append(recipe | {"task": task, "nc1": 10.0 - epochs + decay, "accuracy": accuracy})
    return pd.DataFrame(rows)


def test_a_panel_varies_one_setting_and_keeps_the_base():
    nets = source.networks(toy_study())
    assert len(nets) == 14
    assert source.panel(nets, "epochs")["epochs"].tolist() == [0, 0, 1, 1, 2, 2, 4, 4]
    assert source.panel(nets, "weight_decay")["weight_decay"].unique().tolist() == [0.0, 0.1, 0.2, 0.3]
    assert source.panel(nets, "epochs")["transfer"].tolist() == pytest.approx([0, 0, 0.15, 0.15, 0.3, 0.3, 0.6, 0.6])


def test_longer_training_with_lower_nc1_and_better_transfer_makes_a3_hold():
    a3 = next(c for c in studies.CLAIMS if c.key == "A3")
    verdict = judge(a3, toy_study())
    assert verdict.word == "holds"
    assert verdict.estimate.value == pytest.approx(-1)


def test_zero_error_is_where_the_last_error_is_gone():
    assert in_training.zero_error_index([0.5, 0.0, 0.1, 0.0, 0.0]) == 3
    assert in_training.zero_error_index([0.0, 0.0]) == 0
    assert in_training.zero_error_index([0.5, 0.1]) is None


def test_a_network_that_keeps_making_errors_leaves_p1_undefined():
    p1 = next(c for c in studies.CLAIMS if c.key == "P1")
    table = pd.DataFrame({"train_error": [[0.5, 0.1], [0.5, 0.0]], "nc1": [[9.0, 2.0], [9.0, 2.0]]})
    assert judge(p1, table).word == "undefined"


def test_only_networks_trained_in_full_speak_of_the_extent():
    nets = source.networks(toy_study())
    assert source.fully_trained(nets)["epochs"].unique().tolist() == [2]
    parts = source.thirds(np.array([5.0, 1.0, 3.0, 2.0, 4.0, 0.0]))
    assert [part.tolist() for part in parts] == [[5, 1], [3, 2], [4, 0]]


def test_a_study_with_a_missing_cell_is_not_run_yet(tmp_path):
    records = Records(BOOK / "records")
    assert studies.declared(records, "source_collapse", "demo") is not None
    lines = records.path("source_collapse", "demo").read_text().splitlines()
    Records(tmp_path).path("source_collapse", "demo").write_text("\n".join(lines[:-1]))
    assert studies.declared(Records(tmp_path), "source_collapse", "demo") is None


@pytest.mark.parametrize("study", STUDIES)
def test_the_cells_of_a_study_differ_and_are_of_all_seeds(study):
    scale = settings("lab" if study == "encoder_selection" else "demo")  # which has none at demo scale
    cells = STUDIES[study](scale, [0, 1])
    assert len({str(cell) for cell in cells}) == len(cells) > 0
    numbers = {"data_scarcity": scale.fine_tuning.draws}
    numbers |= dict.fromkeys(("scene_selection", "encoder_selection", "score_cost"), 1)
    assert {cell["seed"] for cell in cells} == set(range(numbers.get(study, 2)))


def test_every_claim_cites_a_paper_of_the_bibliography():
    bibliography = (BOOK / "references.bib").read_text()
    keys = [claim.key for claim in studies.CLAIMS]
    assert len(set(keys)) == len(keys)
    for claim in studies.CLAIMS:
        assert f"{{{claim.paper}," in bibliography
        assert np.isfinite(claim.threshold)


def test_every_claim_is_judged_on_the_committed_demo_records():
    judged = studies.verdicts(Records(BOOK / "records"), "demo")
    assert {verdict.word for verdict in judged} <= {"holds", "fails", "undecided"}
    card = studies.score_card(Records(BOOK / "records"))
    assert list(card.index) == [claim.key for claim in studies.CLAIMS]
    assert {scale for scale in SCALES if scale in card.columns} == {"demo", "lab"}  # only what was run


def test_an_unknown_scale_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown scale 'huge'; there are demo"):
        settings("huge")
