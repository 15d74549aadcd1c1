"""Keep README.md true: write badges, score card, and the figure of chapter 2, between its markers."""

import base64
import tomllib
from pathlib import Path

import nbformat

from nclib.experiments.records import Records
from nclib.experiments.studies import score_card

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
FIGURE = ROOT / "book" / "_static" / "source_collapse.png"


def current() -> tuple[str, bytes]:
    """README.md with the score card of the committed records, and the figure of the executed chapter."""
    notebook = nbformat.read(ROOT / "notebooks" / "02_collapse_on_the_source_data.ipynb", as_version=4)
    cell = next(c for c in notebook.cells if c.metadata.get("mystnb", {}).get("figure", {}).get("name") == "fig-panels")
    figure = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
    text = README.read_text()
    for name, content in {"badges": badges(), "score card": markdown_card()}.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        text = before + mark + content + "<!-- end -->" + rest.partition("<!-- end -->")[2]
    return text, base64.b64decode(figure)


def badges() -> str:
    """What the workflows of the repository that pyproject.toml names say of it; nothing if it names none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    url = project.get("urls", {}).get("Repository")
    names = ("test", "book", "weekly") if url else ()
    links = (f"[![{name}]({url}/actions/workflows/{name}.yml/badge.svg)]({url}/actions)" for name in names)
    return "".join(f"{link}\n" for link in links)


def markdown_card() -> str:
    """The score card as a Markdown table."""
    card = score_card(Records(ROOT / "book" / "records"))
    card["sentence"] += "<br><sub>" + card["statistic"] + ": holds if " + card["needed"] + "</sub>"
    card = card.drop(columns=["statistic", "needed"])
    rows = [["claim", *card.columns], ["---"] * (1 + len(card.columns)), *map(list, card.itertuples())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    text, figure = current()
    README.write_text(text)
    FIGURE.write_bytes(figure)
