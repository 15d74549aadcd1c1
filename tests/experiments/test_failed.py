"""What claims say of a study some of whose cells failed."""

import pytest

from nclib.experiments import studies
from nclib.experiments.records import Records, fill
from nclib.experiments.studies import too_many_failed, verdicts

CELLS = [{"rate": rate, "layers": [1], "seed": seed} for rate in (0.1, 0.2) for seed in range(20)]


def failures(*places, reason="it diverged"):
    return [{"config": CELLS[i], "seed": CELLS[i]["seed"], "reason": reason} for i in places]


def test_over_a_tenth_of_an_arm_is_too_many():
    assert too_many_failed(CELLS, []) == too_many_failed(CELLS, failures(0, 1)) == ""
    assert too_many_failed(CELLS, failures(0, 1, 20, 21)) == ""
    assert too_many_failed(CELLS, failures(0, 1, 2)) == "3 of 20 cells with rate 0.1 failed: it diverged"
    assert too_many_failed(CELLS, failures(*range(4), *range(20, 24))) == "8 of 40 cells failed: it diverged"
    both = failures(0, 1) + failures(2, reason="no memory")
    assert too_many_failed(CELLS, both).endswith("failed: it diverged; no memory")


@pytest.fixture
def judged(monkeypatch, tmp_path):
    """The verdict on the dial of chapter 2 at demo scale, where so many cells of the strongest distortion fail."""
    monkeypatch.setattr("nclib.experiments.records.versions", lambda: {"commit": "abc"})
    monkeypatch.setattr("nclib.experiments.records._commit", lambda: "abc")

    def of(number):
        cells = studies.cells_of("source_collapse", "demo")
        seeds = sorted({cell["seed"] for cell in cells})
        strongest = max(cell["augmentation"] for cell in cells)

        def measure(cell):
            if cell["augmentation"] == strongest and cell["seed"] in seeds[:number]:
                raise ValueError("it diverged")
            moved = cell["augmentation"] + cell["seed"] / 1000
            return {"nc1": 1.0 + moved, "nc1_ratio": 1.0, "accuracy": [0.5 + moved / 100] * 5}

        fill(Records(tmp_path), "source_collapse", "demo", cells, measure)
        by_key = {verdict.claim.key: verdict for verdict in verdicts(Records(tmp_path), "demo", "source_collapse")}
        return by_key["A1-mechanism"]

    return of


@pytest.mark.filterwarnings("ignore:.* failed")
@pytest.mark.parametrize(
    ("number", "said"), [(0, "holds"), (1, "holds (1 cell failed: without 1 seed)"), (2, "not tested (2 of 16 cells")]
)
def test_a_claim_is_judged_on_what_is_there_unless_too_much_failed(judged, number, said):
    verdict = judged(number)
    assert str(verdict).startswith(said)
    assert verdict.confirmed
    assert ("it diverged" in verdict.why) == (number == 2)
