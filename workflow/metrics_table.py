"""Write the table of all metrics for the book, from the registry."""

from pathlib import Path

from nclib import METRICS
from nclib.storage import replacing

PAGE = Path(__file__).parents[1] / "book" / "metrics_table.md"


def table() -> str:
    """The registry as a Markdown table."""
    rows = [
        f"| `{name}`{' *on request*' if metric.on_request else ''} | {metric.formula.replace('|', chr(92) + '|')} "
        f"| {metric.range} | {metric.better} | {metric.source} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(
        ["| name | formula | range | more collapsed | source |", "| --- | --- | --- | --- | --- |", *rows, ""]
    )


if __name__ == "__main__":
    with replacing(PAGE) as path:
        path.write_text(table())
