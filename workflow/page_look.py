"""A Sphinx extension: what a page says to a preview of a link, and tables and figures for every way of reading.

A screen reader asks what a header heads. A phone stacks the cells of a row of sentences, so each cell has to say its
column. A figure of many panels is small on a phone, so it opens in full size.
"""

import re
from collections.abc import Iterator
from html import escape, unescape
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urljoin

from docutils import nodes

from nclib.experiments.addresses import addresses

PICTURE = "_static/ranking.png"  # of a page without a figure
_IMAGE = re.compile(r'(<a [^>]*>\s*)?(<img [^>]*src="([^"]*_images/[^"]+)"[^>]*>)')
_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</\1>", re.DOTALL)
_CITED = re.compile(r"\s*\[[^\]]*\d{4}[^\]]*\]")
_LONG = 50  # characters: a cell with more holds a sentence
_WORDS = 12  # characters: a column with more holds words
_WIDE = 70  # characters: a phone cannot show columns of words side by side that have more in all


def find_host(app: Any, config: Any) -> None:
    """Pages know their address if pyproject.toml says where the book is hosted: the Documentation of [project.urls]."""
    config.html_baseurl = addresses(Path(app.srcdir)).get("Documentation", "")


def finish(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend a page that was written by hand, and say in its head what it is about."""
    if doctree is not None:
        context["body"] = mended(context["body"])
        image = found[3] if (found := _IMAGE.search(context["body"])) else context["pathto"](PICTURE, resource=True)
        context["metatags"] += described(plain(context["title"]), summary(doctree), image, context.get("pageurl") or "")


def described(title: str, said: str, image: str, address: str) -> str:
    """The tags that search engines and previews of links read. These take pictures at full addresses only."""
    tags = {"title": title, "description": said, "image": urljoin(address, image), "url": address, "type": "article"}
    named = [f'<meta name="description" content="{escape(said)}" />'] if said else []
    return "\n".join(
        [*named, *(f'<meta property="og:{key}" content="{escape(value)}" />' for key, value in tags.items() if value)]
    )


def summary(doctree: Any, most: int = 300) -> str:
    """The first sentences of a page without references to literature: one, or as many as `most` characters hold."""
    written = (node for node in doctree.findall(nodes.paragraph) if isinstance(node.parent, nodes.section))
    text = " ".join(_CITED.sub("", next((node.astext() for node in written), "")).split())
    first, *more = re.split(r"(?<=[.?!]) ", text)
    for sentence in more:
        if len(first) + len(sentence) >= most:
            break
        first += f" {sentence}"
    return first


def mended(body: str) -> str:
    """The HTML of a page whose figures open in full size, and whose tables and folds name what they are."""
    body = body.replace(' aria-label="Toggle hidden content"', "")  # the fold's own text says what is in it
    body = _IMAGE.sub(lambda found: found[0] if found[1] else full_size(found[2], found[3]), body)
    return _TABLE.sub(lambda found: labelled(found[0]), body)


def full_size(image: str, path: str) -> str:
    """The image as a link to its file."""
    return f'<a class="full-size" href="{path}" title="Open the figure in full size">{image}</a>'


def labelled(table: str) -> str:
    """The HTML of a table whose headers say what they head, and whose cells say their column."""
    head, end, body = table.partition("</thead>")
    if not end:
        return table
    columns = column_names(head)
    head = _CELL.sub(lambda cell: with_attribute(cell, "scope", "col" if plain(cell[3]) else ""), head)
    kind = "sentences" if has_sentences(body) else "columns"
    body = _ROW.sub(lambda row: labelled_row(row[0], columns), body)
    return head.replace("<table", f'<table data-holds="{kind}"', 1) + end + body


def column_names(head: str) -> list[str]:
    """The names of the columns, from all rows of the header."""
    names = zip_longest(*(spread(row) for row in _ROW.findall(head)), fillvalue="")
    return [", ".join(filter(None, parts)) for parts in names]


def spread(row: str) -> Iterator[str]:
    """The text of each cell, as often as the cell has columns."""
    for _, attributes, inner in _CELL.findall(row):
        span = re.search(r'colspan="(\d+)"', attributes)
        yield from [plain(inner)] * (int(span[1]) if span else 1)


def labelled_row(row: str, columns: list[str]) -> str:
    """A row whose cells say their column. Counted from the right, for a header to the left may span several rows."""
    names = iter(columns[-len(_CELL.findall(row)) :])

    def label(cell: re.Match[str]) -> str:
        name = next(names, "")
        return with_attribute(cell, "scope", "row") if cell[1] == "th" else with_attribute(cell, "data-label", name)

    return _CELL.sub(label, row)


def with_attribute(cell: re.Match[str], name: str, value: str) -> str:
    """The cell with one attribute more, unless its value is empty, or the cell has it."""
    given = not value or f" {name}=" in cell[2]
    return cell[0] if given else f'<{cell[1]}{cell[2]} {name}="{escape(value)}">{cell[3]}</{cell[1]}>'


def has_sentences(body: str) -> bool:
    """Whether some column holds sentences, or all columns of words together are too wide for a phone."""
    lengths = [[len(plain(inner)) for _, _, inner in reversed(_CELL.findall(row))] for row in _ROW.findall(body)]
    typical = [median(column) for column in zip(*lengths, strict=False)]
    return any(each > _LONG for each in typical) or sum(each for each in typical if each > _WORDS) > _WIDE


def plain(inner: str) -> str:
    """The text of HTML."""
    return unescape(re.sub("<[^>]+>", "", inner)).strip()


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", find_host)
    app.connect("html-page-context", finish, priority=800)  # when the body is whole
    return {"parallel_read_safe": True, "parallel_write_safe": True}
