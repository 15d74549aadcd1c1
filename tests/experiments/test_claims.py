"""Claims: the words that intervals earn, several tests, and that the book's claims fit its records."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nclib.estimates import mean
from nclib.experiments import studies
from nclib.experiments.claims import Claim, Verdict, judge, power, with_survivors
from nclib.experiments.inference import panels_differ, rows_of
from nclib.experiments.records import Records
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.studies import STUDIES

BOOK = Path(__file__).parents[2] / "book"
TABLE = pd.DataFrame({"a": [1]})


def claim(values, side="above", threshold=0.0, **more):
    """Judged on values of replicates, or on rows that are given."""
    rows = values if isinstance(values, pd.DataFrame) else rows_of(values)
    return Claim("X", "paper", "A sentence.", "study", "a number", side, threshold, lambda table: rows, **more)


def spread(centre, half):
    """Three values whose 95% interval is the centre and so much to either side."""
    width = half / (mean(np.array([-1.0, 0.0, 1.0])).high)
    return [centre - width, centre, centre + width]


@pytest.mark.parametrize(
    ("side", "centre", "half", "smallest", "expected"),
    [
        ("above", 0.5, 0.3, None, "holds"),
        ("above", 0.3, 0.5, 0.1, "undecided"),
        ("above", 0.3, 0.5, 0.9, "fails: no effect"),
        ("above", 0.3, 0.5, None, "undecided"),
        ("above", -0.5, 0.3, 0.1, "fails"),
        ("below", -0.5, 0.4, None, "holds"),
        ("above", math.nan, 0.1, None, "undefined"),
    ],
)
def test_the_interval_earns_the_word(side, centre, half, smallest, expected):
    assert judge(claim(spread(centre, half), side, smallest=smallest), TABLE).word == expected


def test_an_effect_within_the_smallest_is_called_small():
    verdict = judge(claim(spread(0.05, 0.02), smallest=0.1), TABLE)
    assert (verdict.word, verdict.small) == ("holds", True)
    assert str(verdict) == "holds (small): 0.05 [0.03, 0.07]"
    assert not judge(claim(spread(0.5, 0.02), smallest=0.1), TABLE).small


def test_what_is_not_wholly_run_or_not_tested_is_not_judged():
    assert str(judge(claim([1.0, 2.0]), None)) == "not run yet"
    untested = claim([1.0, 2.0], untested=lambda table: "nothing was prevented")
    assert str(judge(untested, TABLE)) == "not tested (nothing was prevented)"
    assert judge(claim([]), TABLE).word == "undefined"


def test_one_replicate_decides_only_what_is_exact():
    assert str(judge(claim([1.0]), TABLE)) == "undecided (one replicate): 1"
    assert str(judge(claim([1.0], kind="exact"), TABLE)) == "holds: 1"
    assert math.isnan(judge(claim([1.0], kind="exact"), TABLE).p)


def test_an_undecided_claim_says_how_many_replicates_would_do():
    verdict = judge(claim([0.1, 0.5, -0.2, 0.4]), TABLE)
    assert verdict.word == "undecided"
    assert str(verdict).startswith(f"undecided ({verdict.enough:.0f} replicates would do): 0.2 [")


def test_all_contrasts_must_hold_and_one_is_enough_to_fail():
    def rows(*centres):
        parts = [rows_of(spread(centre, 0.1)).assign(contrast=i) for i, centre in enumerate(centres)]
        return pd.concat(parts)

    both = judge(claim(rows(0.5, 0.3)), TABLE)
    assert (both.word, both.estimate.value) == ("holds", pytest.approx(0.3))
    assert both.p == pytest.approx(mean(np.array(spread(0.3, 0.1))).p_value(0))
    assert judge(claim(rows(0.5, 0.05)), TABLE).word == "undecided"
    failed = judge(claim(rows(0.5, -0.3, 0.05)), TABLE)
    assert (failed.word, failed.estimate.value) == ("fails", pytest.approx(-0.3))


def test_estimate_and_p_are_those_of_the_contrast_that_decides():
    """The other contrast is less certain, or holds beyond all doubt."""

    def judged(**contrasts):
        parts = [rows_of(spread(*each)).assign(contrast=name) for name, each in contrasts.items()]
        return judge(claim(pd.concat(parts), smallest=0.1), TABLE)

    alone = judged(fails=(-0.3, 0.05))
    for other in ((0.1, 1.0), (5.0, 0.01), (-0.2, 0.4)):
        both = judged(other=other, fails=(-0.3, 0.05))
        assert (both.word, str(both.estimate), both.p) == ("fails", str(alone.estimate), pytest.approx(alone.p))
    none = judged(none=(0.0, 0.005), other=(0.1, 1.0))
    assert (none.word, none.estimate.value) == ("fails: no effect", pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_undefined(value):
    assert judge(claim([1.0, 2.0, value]), TABLE).word == "undefined"
    assert judge(claim([value], kind="exact"), TABLE).word == "undefined"


def test_a_slope_that_cannot_be_is_undefined():
    def slope(table):
        return rows_of([np.polyfit([0.0, -math.inf], [1.0, 2.0], 1)[0]])

    assert judge(replace(claim([1.0]), replicates=slope), TABLE).word == "undefined"


def test_panels_on_both_sides_are_mixed():
    values = np.array([[1.0, -1.0, 0.9], [1.1, -1.2, 1.0], [0.9, -1.1, 1.1], [1.0, -0.9, 1.0], [1.1, -1.0, 0.9]])
    replicates, panels = np.indices(values.shape)
    rows = rows_of(values.ravel(), replicate=replicates.ravel(), panel=[f"p{i}" for i in panels.ravel()])
    verdict = judge(claim(rows), TABLE)
    assert verdict.word == "mixed"
    assert verdict.p == pytest.approx(panels_differ(rows))
    assert {name: round(each.value, 2) for name, each in verdict.panels.items()} == {
        "p0": 1.02,
        "p1": -1.04,
        "p2": 0.98,
    }
    assert judge(claim(rows.assign(value=rows["value"].abs())), TABLE).word == "holds"
    ahead = rows.assign(value=5.0 + rows["value"].abs(), contrast="other")
    of_two = judge(claim(pd.concat([rows, ahead])), TABLE)
    assert (of_two.word, of_two.panels) == ("mixed", verdict.panels)


def test_correlations_are_judged_as_fishers_z_and_shown_as_correlations():
    values = [0.9, 0.95, 0.8, 0.97]
    verdict = judge(claim(values, kind="correlation", threshold=0.5), TABLE)
    z = mean(np.arctanh(values))
    assert verdict.word == "holds"
    assert [verdict.estimate.value, verdict.estimate.low] == pytest.approx([np.tanh(z.value), np.tanh(z.low)])
    assert verdict.p == pytest.approx(z.p_value(np.arctanh(0.5)))
    none = judge(claim([0.02, -0.01, 0.03, 0.0], kind="correlation", smallest=0.1), TABLE)
    assert none.word == "fails: no effect"


def test_what_survives_is_adjusted_for_all_claims_of_a_scale():
    verdicts = [Verdict(claim([1.0]), "holds", p=p) for p in (0.01, 0.03, 0.2, math.nan)]
    assert [each.survives for each in with_survivors(verdicts)] == [True, False, False, False]


def test_power_is_that_of_two_thirds_of_the_effect_and_of_none():
    rng = np.random.default_rng(0)
    seen = claim(rng.normal(0.3, 0.3, 200), smallest=0.1)
    found, none = power(seen, TABLE, 12)
    drawn = rng.normal(0.2, 0.3, (4000, 12))
    expected = np.mean(drawn.mean(1) - 2.201 * drawn.std(1, ddof=1) / 12**0.5 > 0)
    assert found == pytest.approx(expected, abs=0.05)
    assert none < 0.05
    assert power(seen, TABLE, 200)[1] > 0.95
    assert math.isnan(power(replace(seen, smallest=None), TABLE, 12)[1])


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
    assert len({str(cell) for cell in cells}) == len(cells)
    assert cells, f"{study} has no cell at demo scale: a study without any is named here, as encoder_selection is"
    numbers = dict.fromkeys(("encoder_selection", "score_cost"), 1)
    seeds = {cell["seed"] for cell in cells}
    cure = "if it makes no use of the seeds that it is given, say in `numbers` here how many there are"
    assert seeds == set(range(numbers.get(study, 2))), f"{study} was given the seeds 0 and 1 and has {seeds}: {cure}"


def test_every_claim_cites_a_paper_of_the_bibliography():
    bibliography = (BOOK / "references.bib").read_text()
    keys = [claim.key for claim in studies.CLAIMS]
    assert len(set(keys)) == len(keys), "two claims have one key"
    for claim in studies.CLAIMS:
        assert f"{{{claim.paper}," in bibliography, f"{claim.key}: add {claim.paper} to book/references.bib"
        assert np.isfinite(claim.threshold), f"{claim.key} has no threshold"


def test_every_claim_is_judged_on_the_committed_demo_records():
    judged = studies.verdicts(Records(BOOK / "records"), "demo")
    words = {verdict.claim.key: verdict.word for verdict in judged}
    without = {key: word for key, word in words.items() if word in ("undefined", "not run yet")}
    assert not without, "run the chapter's notebook, which makes the demo records; or a claim is not defined on them"
    card = studies.score_card(Records(BOOK / "records"))
    assert list(card.index) == [claim.key for claim in studies.CLAIMS]
    ran = {scale for scale in SCALES if any((BOOK / "records").glob(f"*-{scale}.jsonl"))}
    assert {scale for scale in SCALES if scale in card.columns} == ran >= {"demo", "lab"}


def test_an_unknown_scale_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown scale 'huge'; there are demo"):
        settings("huge")
