"""The prose of an executed notebook in plain Markdown, for Jupyter, VS Code and GitHub, which show MyST's roles raw.

The source keeps the roles, and the site shows the prose of the source (see `site_extension`). Cells that only the
.ipynb has are tagged remove-cell.
"""

import os
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nclib.experiments.addresses import addresses
from nclib.extras import optional

with optional("myst_nb"):
    import jupytext
    import nbformat
    from myst_nb.core.variables import format_plain_text
    from pybtex.database import Entry, parse_file
    from pybtex.plugin import find_plugin
    from pybtex.richtext import Text

ROOT = Path(__file__).resolve().parents[1]
RECORD = "application/papermill.record/text/plain"
MISSING = "[no value in this run]"  # where a smoke run, or one at another scale, lacks what the prose names

START = """\
**How to run this notebook.** It is a page of the book *Neural collapse and transfer learning*. In a checkout of the
repository, install what it needs into an environment of your own, and start JupyterLab (or open it in VS Code):

```bash
pip install ".[book]"
jupyter lab  # and there open notebooks/{name}.ipynb
```

- After `make book` everything is installed in `.venv`, and `make lab` opens JupyterLab.
- In Colab, run this in a first cell: `!git clone {url} nclib`, `%cd nclib/notebooks`, `%pip install "..[book]"`.
- Run all cells. That takes up to three minutes on two cores.{parameters}
- **The numbers in the text are those of the run stored here.** When you run the cells again with other data or
  settings, tables and figures change, and the text does not. To change the text for good, edit the source of this file,
  `notebooks/{name}.py`.
- The page itself is `_build/html/notebooks/{name}.html` after `make book`. Words that the [glossary]({glossary})
  explains are links to it."""

PARAMETERS = """
- Results are read from `book/records`; at most a small part is measured anew. The first code cell sets parameters.
  With another `scale` or more `seeds`, what has no record yet is measured, too, and its record added to `book/records`,
  which git tracks."""


@dataclass(frozen=True)
class Page:
    """A notebook that is written into a folder, and what its roles can name."""

    source: Path
    folder: Path
    glued: dict[str, str]
    equations: dict[str, str]
    figures: dict[str, tuple[Path, str]]
    headings: dict[str, tuple[Path, str]]

    def path(self, target: Path) -> str:
        """The way from this notebook to a file."""
        return Path(os.path.relpath(target, self.folder)).as_posix()


def plain(notebook: nbformat.NotebookNode, source: Path, folder: Path) -> nbformat.NotebookNode:
    """The executed notebook of a source with its prose in plain Markdown, for a folder.

    ValueError for a role or directive that has no plain form here, and for a name that nothing has.
    """
    source, folder = source.resolve(), folder.resolve()
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    page = Page(source, folder, glued(notebook), equations(source, prose), figures(source), headings(source))
    cells = [added(start(notebook, page))]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = markdown(cell.source, page)
        cells.append(cell)
        if figure := cell.metadata.get("mystnb", {}).get("figure"):
            cells.append(added(f"**Fig. {page.figures[figure['name']][1]}** {inline(figure['caption'], page)}"))
    if keys := cited(prose):
        listed = [f"- {_linked(references()[key][1])}" for key in keys]
        cells.append(added("\n".join(["## References\n", *listed])))
    notebook.cells = cells
    return notebook


def added(text: str) -> nbformat.NotebookNode:
    """A cell of the .ipynb that neither its source nor the site has."""
    return nbformat.v4.new_markdown_cell(text, metadata={"tags": ["remove-cell"]})


def start(notebook: nbformat.NotebookNode, page: Page) -> str:
    """What the first cell says: how the notebook is run."""
    url = addresses(ROOT).get("Repository", "ADDRESS_OF_THE_REPOSITORY")
    takes_some = any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    parameters = PARAMETERS if takes_some else ""
    return START.format(name=page.source.stem, url=url, parameters=parameters, glossary=page.path(_GLOSSARY))


# Markdown

_FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,}|:{3,})(?:\{(?P<name>[\w:-]+)\})?(?P<title>.*)\n(?P<body>(?:.*\n)*?)(?P=fence) *$", re.M
)
_ADMONITIONS = ("admonition", "note", "tip", "hint", "important", "warning", "caution", "seealso", "dropdown")
_TARGET = re.compile(r"^\([\w-]+\)=\n+", re.M)
_LABELLED = re.compile(r"\$\$ *\(([\w-]+)\) *$", re.M)
_UNTITLED = re.compile(r"\[\]\(([^)#]+)\.(?:md|ipynb)\)")
_ROLE = re.compile(r"\{(?P<role>[a-z][\w:-]*)\}`(?P<given>[^`]+)`|(?P<ticks>`+)[^`](?:.*?[^`])?(?P=ticks)(?!`)", re.S)


def markdown(text: str, page: Page) -> str:
    """A text in MyST as plain Markdown."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [inline(text[end : fence.start()], page), block(fence, page)]
        end = fence.end()
    return "".join([*parts, inline(text[end:], page)])


def block(fence: re.Match[str], page: Page) -> str:
    """A fence: code as it is, a formula between dollars, other text below its heading."""
    name, title = fence["name"], fence["title"].strip()
    if not name:
        return fence[0]
    body = re.sub(r"\A(?::[\w-]+:.*\n)*\n?", "", fence["body"]).rstrip()
    if name == "math":
        label = re.search(r"^:label: *(\S+)", fence["body"], re.M)
        return f"$$\n{body}{_tag(label[1], page) if label else ''}\n$$"
    if name in _ADMONITIONS or name.startswith("prf:"):
        heading = title or name.removeprefix("prf:").capitalize()
        return f"**{inline(heading, page)}.**\n\n{markdown(body, page)}"  # no quote: Jupyter takes its > into formulas
    raise ValueError(f"{page.source.name}: workflow/plain.py has no plain Markdown for the directive {{{name}}}")


def inline(text: str, page: Page) -> str:
    """A text without fences as plain Markdown; code in it stays as it is."""

    def written(found: re.Match[str]) -> str:
        role, given = found["role"], found["given"]
        if role is None:
            return found[0]
        if role not in ROLES:
            raise ValueError(f"{page.source.name}: workflow/plain.py has no plain Markdown for the role {{{role}}}")
        try:
            return ROLES[role](" ".join(given.split()), page)
        except KeyError as error:
            raise ValueError(f"{page.source.name}: {found[0]} names {error}, which is not in the book") from error

    text = _LABELLED.sub(lambda found: f"{_tag(found[1], page)} $$", _TARGET.sub("", text))
    text = _UNTITLED.sub(lambda found: f"{{doc}}`{found[1]}`", text)
    return _ROLE.sub(written, text)


def _tag(label: str, page: Page) -> str:
    return rf" \tag{{{page.equations[label]}}}"


# Roles: each gets what is between its backticks.

_GLOSSARY = ROOT / "book" / "glossary.md"
_REFERENCES = ROOT / "book" / "references.bib"
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5}(?:v\d+)?)")


def _named(given: str) -> tuple[str, str]:
    """The text and the name in "text <name>", or no text and the name."""
    found = re.fullmatch(r"(.*\S)\s*<(.+)>", given)
    return (found[1], found[2]) if found else ("", given)


def _glued(given: str, page: Page) -> str:
    """The number or text in its format, as the site writes it."""
    name, _, form = given.rpartition(":") if ":" in given else (given, "", "s")
    if name not in page.glued:
        return MISSING
    return re.sub(r"([\\`*_\[\]<>$|])", r"\\\1", format_plain_text(page.glued[name], form))


def _reference(given: str, page: Page) -> str:
    """A link to the heading that a label names."""
    text, label = _named(given)
    path, heading = page.headings[label]
    slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")  # as GitHub makes it, of Markdown only
    return f"[{text or heading}]({page.path(path)}{'' if path.suffix == '.ipynb' else f'#{slug}'})"


def _document(given: str, page: Page) -> str:
    """A link to a page, which is named from the notebooks or, with a slash, from the root."""
    text, name = _named(given)
    path, title = page.headings[posixpath.normpath(posixpath.join("/notebooks", name))]
    return f"[{text or title}]({page.path(path)})"


def _term(given: str, page: Page) -> str:
    """A word that leads to the glossary."""
    text, name = _named(given)
    return f"[{text or name}]({page.path(_GLOSSARY)})"


def _figure(given: str, page: Page) -> str:
    """The number of a figure, with a link if it is in another notebook."""
    text, name = _named(given)
    path, number = page.figures[name]
    said = (text or "Fig. %s").replace("%s", number)
    return said if path == page.source else f"[{said}]({page.path(path.with_suffix('.ipynb'))})"


def _citation(given: str, page: Page) -> str:
    """Authors and years, with links to the preprints that the references name."""
    said = []
    for key in given.split(","):
        label, whole = references()[key.strip()]
        preprint = _ARXIV.search(whole)
        said.append(f"[{label}](https://arxiv.org/abs/{preprint[1]})" if preprint else label)
    return f"({'; '.join(said)})"


ROLES: dict[str, Callable[[str, Page], str]] = {
    "glue:text": _glued,
    "ref": _reference,
    "doc": _document,
    "term": _term,
    "numref": _figure,
    "eq": lambda given, page: f"({page.equations[given]})",
    "cite": _citation,
}


# What roles name


def glued(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What the cells of an executed notebook keep by name, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        each["metadata"]["scrapbook"]["name"]: each["data"][RECORD]
        for each in outputs
        if RECORD in each.get("data", {})
    }


def equations(source: Path, prose: str) -> dict[str, str]:
    """The number of each labelled formula of a notebook."""
    labels = [a or b for a, b in re.findall(r"\{math\}.*\n:label: *(\S+)|\$\$ *\(([\w-]+)\) *$", prose, re.M)]
    return {label: _number(source, place) for place, label in enumerate(labels, 1)}


def figures(source: Path) -> dict[str, tuple[Path, str]]:
    """The source and the number of each figure of a notebook and of the book."""
    found: dict[str, tuple[Path, str]] = {}
    for path, cells in _notebooks(source):
        shown = [cell.metadata["mystnb"]["figure"] for cell in cells if "figure" in cell.metadata.get("mystnb", {})]
        found |= {figure["name"]: (path, _number(path, place)) for place, figure in enumerate(shown, 1)}
    return found


def _number(source: Path, place: int) -> str:
    """The number that the book gives to what is at a place of a notebook."""
    chapter = int((re.match(r"\d+", source.stem) or "0")[0])
    return f"{chapter}.{place}" if chapter else str(place)


def headings(source: Path) -> dict[str, tuple[Path, str]]:
    """The file and the heading of each label, and of each page by its path from the root, as {doc} gives it."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "book").glob("*.md"))}
    for path, cells in _notebooks(source):
        texts[path.with_suffix(".ipynb")] = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found: dict[str, tuple[Path, str]] = {}
    for path, text in texts.items():
        found |= {f"/{path.parent.name}/{path.stem}": (path, title) for title in re.findall(r"^# (.+)", text, re.M)[:1]}
        found |= {label: (path, title) for label, title in re.findall(r"^\(([\w-]+)\)=\n+#+ (.+)", text, re.M)}
    return found


def _notebooks(source: Path) -> Iterator[tuple[Path, list[nbformat.NotebookNode]]]:
    """The path and the cells of each source of the book, and of one that may be elsewhere."""
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        if path != source:
            yield path, _others(path)
    yield source, jupytext.read(source).cells


@cache
def _others(path: Path) -> list[nbformat.NotebookNode]:
    return jupytext.read(path).cells


@cache
def references() -> dict[str, tuple[str, str]]:
    """The authors and year, and the whole reference as the book's page writes it, of each key."""
    entries = parse_file(_REFERENCES)
    style = find_plugin("pybtex.style.formatting", "plain")()
    written = style.format_bibliography(entries, list(entries.entries))
    whole = {each.key: " ".join(each.text.render_as("plaintext").split()) for each in written}
    return {key: (_label(entry), whole[key]) for key, entry in entries.entries.items()}


def _label(entry: Entry) -> str:
    names = [str(Text.from_latex(" ".join(each.prelast_names + each.last_names))) for each in entry.persons["author"]]
    return f"{' and '.join(names) if len(names) < 3 else f'{names[0]} et al.'}, {entry.fields['year']}"


def cited(prose: str) -> list[str]:
    """The keys that a text cites, each once."""
    given = ",".join(re.findall(r"\{cite\}`([^`]+)`", prose)).split(",")
    return list(dict.fromkeys(key.strip() for key in given if key))


def _linked(reference: str) -> str:
    return _ARXIV.sub(lambda found: f"[{found[0]}](https://arxiv.org/abs/{found[1]})", reference)
