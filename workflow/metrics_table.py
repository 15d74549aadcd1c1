"""Write the tables of all metrics and of all scores for the book, from the registries."""

from collections.abc import Mapping
from pathlib import Path

from nclib import METRICS, SCORES, Metric
from nclib.storage import replacing

BOOK = Path(__file__).parents[1] / "book"


def table(registry: Mapping[str, Metric], what: str) -> str:
    """A registry as a Markdown table; `what` is said of the better values."""
    rows = [
        f"| `{name}`{' *on request*' if metric.on_request else ''} | {metric.formula.replace('|', chr(92) + '|')} "
        f"| {metric.range} | {metric.better} | {metric.source} |"
        for name, metric in registry.items()
    ]
    head = [f"| name | formula | range | {what} | source |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


TABLES = {
    BOOK / "metrics_table.md": table(METRICS, "more collapsed"),
    BOOK / "scores_table.md": table(SCORES, "likelier to transfer"),
}

if __name__ == "__main__":
    for page, text in TABLES.items():
        with replacing(page) as path:
            path.write_text(text)
