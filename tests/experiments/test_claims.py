"""Claims: verdicts, intervals, and that the book's own claims fit its records and references."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nclib.estimates import Estimate
from nclib.experiments import studies
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
    numbers = {"data_scarcity": scale.fine_tuning.draws}
    numbers |= dict.fromkeys(("scene_selection", "encoder_selection", "score_cost"), 1)
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
    without = {key: word for key, word in words.items() if word not in ("holds", "fails", "undecided")}
    assert not without, "run the chapter's notebook, which makes the demo records; or a claim is not defined on them"
    card = studies.score_card(Records(BOOK / "records"))
    assert list(card.index) == [claim.key for claim in studies.CLAIMS]
    ran = {scale for scale in SCALES if any((BOOK / "records").glob(f"*-{scale}.jsonl"))}
    assert {scale for scale in SCALES if scale in card.columns} == ran >= {"demo", "lab"}


def test_an_unknown_scale_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown scale 'huge'; there are demo"):
        settings("huge")
