"""The tables of the evidence page are those of the simulations and of the records."""

import pandas as pd
import pytest

from nclib.experiments.studies import CLAIMS
from workflow import pages, power
from workflow.measures import RECORDS, ROOT

KNOWN = pd.read_csv(power.TABLE, keep_default_na=False)


@pytest.mark.parametrize("name", ["protocols_table", "coverage_table", "power_table", "verdicts_table"])
def test_the_page_is_that_of_the_table(name):
    cure = f"run python -m workflow.pages {name}, after make evidence if claims or records have changed"
    assert (ROOT / "book" / f"{name}.md").read_text() == pages.PAGES[name](), cure


@pytest.mark.parametrize("key", ["A1-augmentation", "A4-collapse", "B1-l2-collapse"])
def test_the_power_of_a_claim_is_that_of_its_records(key):
    claim = next(claim for claim in CLAIMS if claim.key == key)
    row = power.of_claim(claim, RECORDS, "demo")
    known = KNOWN[(KNOWN["claim"] == key) & (KNOWN["scale"] == "demo")].iloc[0]
    assert int(known["replicates a panel"]) == row["replicates a panel"]
    for name in ("power", "power of none"):
        assert float(known[name]) == pytest.approx(row[name], abs=0.02), "run make evidence"


def test_what_is_exact_has_no_power():
    assert not {"P4", "B3", "A4-parameters"} & set(KNOWN["claim"])
    assert {claim.key for claim in CLAIMS} >= set(KNOWN["claim"])
