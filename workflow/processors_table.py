"""Write the evidence page's tables of what processors differ by, from the rows that make processors measured."""

import math

import pandas as pd

from nclib.experiments.run import SPREADS
from nclib.experiments.studies import LIVE, live_cell
from nclib.experiments.tolerances import CHANGES, kind, read_spreads, tolerances
from nclib.storage import replacing
from workflow.measures import ROOT

PAGE = ROOT / "book" / "processors_table.md"
KINDS = {"counted": "shares of images", "ratio": "ratios", "difference": "other differences"}


def tried(spreads: pd.DataFrame) -> str:
    """The processors, and what was emulated on each."""
    rows = spreads[~spreads["combination"].isin(CHANGES)].groupby("processor")["combination"].unique()
    return "".join(f"- {name}: {'; '.join(sorted(combinations))}.\n" for name, combinations in rows.items())


def live_rows(spreads: pd.DataFrame) -> list[list[str]]:
    """Of each study's live cell: what processors differ by, what a change of the recipe moves, and what is checked."""
    lines = [["study", "largest spread", "median move", "metrics checked"]]
    for study in LIVE:
        cell = live_cell(study)
        rows = spreads[(spreads["study"] == study) & (spreads["scale"] == "check")]
        checked = tolerances(rows, [study], "check", [cell])
        changed = rows["combination"].isin(CHANGES)
        held = rows["metric"].isin(checked)
        spread, moved = rows[~changed & held]["apart"].max(), rows[changed & held].groupby("metric")["apart"].min()
        lines.append([study, f"{spread:.1g}", f"{moved.median():.2g}", f"{len(checked)} of {rows['metric'].nunique()}"])
    return lines


def demo_rows(spreads: pd.DataFrame) -> list[list[str]]:
    """Of each study's demo cells: the largest spread of each kind of metric, and where."""
    lines = [["study", *KINDS.values()]]
    for study in LIVE:
        rows = spreads[(spreads["study"] == study) & (spreads["scale"] == "demo")]
        lines.append([study, *(_largest(rows[rows["metric"].map(kind) == name], name) for name in KINDS)])
    return lines


def _largest(rows: pd.DataFrame, name: str) -> str:
    if rows.empty:
        return ""
    row = rows.loc[rows["apart"].idxmax()]
    if row["apart"] == 0:
        return "0"
    size = f"{math.exp(row['apart']):.3g} times" if name == "ratio" else f"{row['apart']:.2g}"
    return f"{size}, {row['metric']} ({row['combination']})"


def _table(lines: list[list[str]]) -> str:
    head, *rest = lines
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rest))


def page() -> str:
    spreads = read_spreads(ROOT / SPREADS)
    return (
        f"Tried:\n\n{tried(spreads)}\nLive cells, in double precision:\n\n{_table(live_rows(spreads))}\n"
        f"Cells of the demo, in single precision:\n\n{_table(demo_rows(spreads))}"
    )


if __name__ == "__main__":
    with replacing(PAGE) as path:
        path.write_text(page())
