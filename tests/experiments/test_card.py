"""The score card: a strip shows on which side of the threshold an estimate lies."""

import re
from pathlib import Path

import nbformat
import pytest

from nclib.estimates import Estimate
from nclib.experiments import card
from nclib.experiments.claims import Claim, Verdict
from nclib.experiments.inference import rows_of
from nclib.experiments.studies import CLAIMS

ROOT = Path(__file__).parents[2]


def verdict(side, value, low=float("nan"), high=float("nan"), threshold=0.0, **more):
    claim = Claim("X1", "papyan2020", "A sentence.", "toy", "a number", side, threshold, lambda table: rows_of([value]))
    return Verdict(claim, "undecided", Estimate(value, low, high), number=3, **more)


def marks(svg):
    """Where the marks are, from the threshold, and how long the lines of the intervals."""
    middle = float(re.search(r'<line x1="([\d.]+)"', svg)[1])
    places = re.findall(r'<(?:circle c|rect )x="([\d.]+)"', svg)
    lines = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="\d+" y2="\d+" stroke="#', svg)
    return [float(x) - middle for x in places], [abs(float(a) - float(b)) for a, b in lines]


@pytest.mark.parametrize(("side", "sign"), [("above", 1), ("below", -1)])
def test_right_of_the_line_is_the_side_of_the_claim(side, sign):
    svg = card.strip({"demo": verdict(side, 0.3, 0.1, 0.5, 0.2), "lab": verdict(side, 0.1, threshold=0.2)})
    (demo, lab), (line,) = marks(svg)
    assert demo * sign > 0 > lab * sign
    assert demo == pytest.approx(-lab)
    assert line == pytest.approx(4 * abs(demo), abs=0.2)
    assert 'aria-label="demo undecided: 0.3 [0.1, 0.5]; lab ' in svg


def test_what_is_undefined_or_not_run_has_no_mark():
    claim = verdict("above", 1.0).claim
    undefined = Verdict(claim, "undefined", Estimate(float("nan")))
    untested = Verdict(claim, "not tested", why="nothing was prevented")
    svg = card.strip({"demo": undefined, "lab": Verdict(claim, "not run yet"), "paper": untested})
    assert marks(svg) == ([], [])
    assert 'aria-label="demo undefined; lab not run yet; paper not tested (nothing was prevented)"' in svg


def test_what_is_only_explored_is_hollow():
    hollow, filled = (card.strip({"demo": verdict("above", 1.0, confirmed=known)}) for known in (False, True))
    assert f'fill="{card.COLOURS[0]}"' in filled
    assert f'fill="{card.COLOURS[0]}"' not in hollow
    assert hollow.count(f'stroke="{card.COLOURS[0]}"') == filled.count(f'stroke="{card.COLOURS[0]}"') == 1


def test_scales_of_ones_own_have_marks_too():
    svg = card.strip({f"scale {i}": verdict("above", 1.0) for i in range(9)})
    assert len(marks(svg)[0]) + svg.count("<path") == 9


def test_every_claim_is_on_the_front_page_with_its_test_and_records():
    cells = nbformat.read(ROOT / "notebooks" / "00_score_card.ipynb", as_version=4).cells
    outputs = [output.data for cell in cells for output in cell.get("outputs", []) if "data" in output]
    rows = [row for data in outputs for row in data.get("text/markdown", "").splitlines() if row.startswith("| **")]
    cure = "the executed card is not of these claims: python -m workflow.execute notebooks/00_score_card.py"
    letters = "; a new letter of keys needs a table in notebooks/00_score_card.py"
    assert len(rows) == len(CLAIMS), cure + letters
    for row, claim in zip(rows, CLAIMS, strict=True):
        says = f"| **{claim.key}** {claim.sentence}<br>*{claim.statistic}: holds if {claim.needed}*"
        assert row.startswith(says), cure
        assert "<svg" in row
    for link in set(re.findall(r"\((\.\./book[^)]*|\d\d_[^)#]*)", "".join(rows))):
        assert (ROOT / "notebooks" / link).exists()
