"""The power of every claim, simulated from records: the table of the evidence page.

The records are those of exploration, or, where a study changed after its exploration, those of confirmation.
"""

import math
from collections.abc import Iterator

import pandas as pd

from nclib.experiments.claims import Claim, judge, power
from nclib.experiments.protocols import in_force
from nclib.experiments.records import Records
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import CLAIMS, declared, explored
from nclib.storage import replacing
from workflow.measures import RECORDS, ROOT

TABLE = ROOT / "book" / "power.csv"


def of_claim(claim: Claim, records: Records, scale: str) -> dict | None:
    """A row of the table; None of what is exact, not tested or not run."""
    source, table = "exploration", explored(records, claim.study, scale)
    confirming = declared(records, claim.study, scale, claim.key)
    if table is None:
        source, table = "confirmation", confirming
    verdict = judge(claim, table)
    if claim.kind == "exact" or verdict.number < 2 or table is None:
        return None
    number = _number(claim, confirming, scale)
    found, none = power(claim, table, number)
    shown = {"power": round(found, 2), "power of none": "" if math.isnan(none) else round(none, 2)}
    return {"claim": claim.key, "scale": scale, "replicates a panel": number} | shown | {"simulated from": source}


def _number(claim: Claim, confirming: pd.DataFrame | None, scale: str) -> int:
    """The replicates of a panel: those confirmed, which may be tasks; before that, the seeds of the protocol."""
    if confirming is not None:
        return int(claim.replicates(confirming).groupby(["contrast", "panel"]).size().min())
    protocol = in_force(claim.study, scale, claim.key)
    assert protocol, f"{claim.study} has no protocol"
    return len(protocol.seeds[scale])


def rows() -> Iterator[dict]:
    for scale in SCALES:
        yield from filter(None, (of_claim(claim, RECORDS, scale) for claim in CLAIMS))


def main() -> None:
    """Simulate, and write the table."""
    with replacing(TABLE) as path:
        pd.DataFrame(rows()).to_csv(path, index=False)


if __name__ == "__main__":
    main()
