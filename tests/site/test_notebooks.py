"""The runner, and that every committed notebook is what its source gives."""

import base64
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
import typer
from jupytext.config import load_jupytext_config
from PIL import Image

from nclib.experiments.figures import schematics
from nclib.experiments.pictures import KEY, packed
from nclib.experiments.studies import ELSEWHERE
from workflow import execute, pages, plain, take_away

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
CHAPTERS = [path for path in SOURCES if path.stem[0].isdigit()][1:]  # the first is the front page
PAGES = [path for path in SOURCES if not path.stem[0].isdigit()]  # how-to pages
assert CHAPTERS  # without any the tests of each would pass
assert PAGES

TOY = """# %% tags=["parameters"]
width: int = 2  # how wide
# %%
import sys
print("width", width)
_ = sys.stderr.write("\\r50%|#####     | 1/2\\n\\x1b[A\\rmind the gap\\n")
# %%
assert width < 5
"""


def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def without_code(text):
    """A text in Markdown less its code and formulas."""
    return re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_executed_notebook_is_that_of_its_source(source):
    executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(executed)
    cure = f"write its prose again: python -m workflow.execute --prose notebooks/{source.name}"
    assert execute.with_prose(source, source.with_suffix(".ipynb")) == executed, cure


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_jupyter_shows_nothing_raw(source):
    """Neither roles, targets, directives and comments of MyST nor numbers that are not there."""
    for text in prose(nbformat.read(source.with_suffix(".ipynb"), as_version=4)):
        assert "{eval-rst}" not in text
        assert not re.search(r"^(\([\w-]+\)=|:{3,}|[`~]{3,}\{|:\w+: |% |\+\+\+)", text, re.MULTILINE), text
        assert not re.search(r"\{[\w:]+\}|\{\{|\[\]\(", without_code(text)), text
        assert plain.MISSING not in text, text


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_links_of_a_notebook_lead_somewhere(source):
    cells = nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells
    shown = [
        output.data.get("text/markdown", "") for cell in cells for output in cell.get("outputs", []) if "data" in output
    ]
    links = re.findall(
        r"\]\(([^)\s]+)\)", "".join(map(without_code, [*prose(nbformat.from_dict({"cells": cells})), *shown]))
    )
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        if re.match("https?://", link):
            continue
        assert (source.parent / path).exists(), link
        headings = (
            re.findall(r"^#+ (.+)", (source.parent / path).read_text(), re.MULTILINE) if path.endswith(".md") else []
        )
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not (anchor and headings) or anchor in slugs, link


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_first_cell_says_how_the_notebook_is_run(source):
    first, *others = nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells
    told = (
        'pip install ".[book]"',
        f"jupyter lab  # and there open notebooks/{source.stem}.ipynb",
        "git clone",
        "Run all cells",
    )
    assert all(words in first.source for words in told)
    assert "numbers in the text are those of the run stored here" in " ".join(first.source.split())
    assert ("first code cell sets parameters" in first.source) == (source in CHAPTERS)
    code = next(cell for cell in others if cell.cell_type == "code")
    assert ("parameters" in code.metadata.get("tags", [])) == (source in CHAPTERS)


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_the_numbers_in_the_text_are_those_that_are_glued(source):
    executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    records = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "scrapbook" in output.get("metadata", {})
    ]
    kept = {each.metadata.scrapbook.name: each.data["application/papermill.record/text/plain"] for each in records}
    asked = re.findall(r"\{glue:text\}`([^`]+):([^`:]+)`", "\n".join(prose(jupytext.read(source))))
    text, end = "\n".join(prose(executed)), 0
    assert asked
    for name, form in asked:
        number = format(float(kept[name]), form)
        assert number in text[end:], (name, number)
        end = text.index(number, end) + len(number)


def test_a_notebook_saved_in_jupyter_leaves_its_source_alone():
    """Jupytext pairs a source that is opened there, but no .ipynb, whose prose has lost its roles."""
    config = load_jupytext_config(str(SOURCES[0]))
    assert config.default_formats(str(SOURCES[0].with_suffix(".ipynb"))) is None


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_executed_notebook_is_small_and_whole(source):
    path = source.with_suffix(".ipynb")
    assert path.stat().st_size < 1_000_000
    for cell in nbformat.read(path, as_version=4).cells:
        outputs = cell.get("outputs", [])
        assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
        if any("image/png" in output.get("data", {}) for output in outputs):
            assert len(cell.metadata["mystnb"]["figure"]["caption"]) > 40
            assert cell.metadata["mystnb"]["figure"]["name"].startswith("fig-")
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 40


# Words of a sentence that says what is seen, rather than what is drawn.
_SAYS = (
    r"\b(is|are|have|has|differ|gains?|falls?|rises?|lies?|stays?|stands?|costs?|keeps?|follows?|vary|varies|comes?|goes|go)"
    r"\b"
)


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_who_cannot_see_a_figure_is_told_what_it_shows(source):
    """The finding first, and not what the caption says already; and the book has the words of the source."""
    described = {
        cell.source: cell.metadata["mystnb"] for cell in jupytext.read(source).cells if "mystnb" in cell.metadata
    }
    figures = {cell: described[cell] for cell in described if "figure" in described[cell]}
    assert figures
    for figure in figures.values():
        caption, alt = figure["figure"]["caption"], figure["image"]["alt"]
        assert not re.match(r"(\w+ ){0,4}(scatter )?(plots?|charts?|panels?|rows?|grid|intervals)\b", alt.lower()), alt
        assert re.search(_SAYS, alt.split(". ")[0]), alt
        assert not set(alt.split(". ")) & set(caption.split(". ")), alt
    executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells
    assert {cell.source: cell.metadata["mystnb"] for cell in executed if "mystnb" in cell.metadata} == described


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_every_figure_but_a_schematic_carries_its_data_and_all_have_code_to_show(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    cells = [cell for cell in notebook.cells if "figure" in cell.metadata.get("mystnb", {})]
    assert cells
    for cell in cells:
        rows, name = take_away.data_of(cell), cell.metadata["mystnb"]["figure"]["name"]
        function = take_away.drawing_function(notebook, cell)
        assert function or "subplots(" in cell.source, f"nobody finds what drew {name}"
        schematic = function is not None and function[0] == schematics.__name__
        assert schematic == name.startswith("fig-scheme-"), name
        cure = f"{name}: execute it again: python -m workflow.execute notebooks/{source.name}"
        assert (rows is None) == schematic, cure
        if rows is not None:
            assert rows[[each for each in ("x", "y", "x_low", "y_low") if each in rows]].notna().any(axis=1).all(), name


def test_every_schematic_is_in_the_book():
    drawn = re.findall(r"^schematics\.(\w+)\(\)$", "".join(path.read_text() for path in CHAPTERS), re.MULTILINE)
    own = {name for name, each in vars(schematics).items() if getattr(each, "__module__", "") == schematics.__name__}
    assert sorted(drawn) == sorted(name for name in own if not name.startswith("_"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_number_in_prose_is_typed_by_hand(source):
    """What a run measures is glued. Words such as 52 classes or 28 x 28 are facts of the set-up, not results."""
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"\{[a-z:]+\}`[^`]*`|```.*?```|`[^`]*`|\$[^$]*\$|95%", "", cell.source, flags=re.DOTALL)
            assert not re.findall(r"\d+\.\d+|\d+ ?%", prose), cell.source


@pytest.mark.parametrize("source", PAGES, ids=lambda path: path.stem)
def test_a_how_to_page_says_what_for_and_shows_what_one_gets(source):
    cells = nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells
    wanted = [
        r"\(own-\w+\)=\n# .+",
        r"\*\*What you'll do\.\*\*",
        r"\*\*What you need\.\*\*",
        r"\*\*How long it takes\.\*\*",
    ]
    first = jupytext.read(source).cells[0].source
    assert re.match(r".*\n\n".join(wanted), first, re.DOTALL), f"a how-to page begins with {wanted}"
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "**How to read it.**" in text
    shown = [kind for cell in cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert {"image/png", "text/html"} <= {*shown}, "a how-to page shows a picture and a table"
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert "workplace()" in code[0].source
    assert "hide-cell" in code[0].metadata.tags, "how a page is set up is not what a reader wants to see"
    assert not any("os.environ" in cell.source for cell in code)
    printed = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    assert not re.search(r"(/tmp|/home|/root|\.venv)/|\bseconds\b", printed), "a page shows neither paths nor times"


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_the_parts_that_a_reader_expects(source):
    cells = jupytext.read(source).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    begun = re.match(r"\([\w-]+\)=\n# .+\n\n\*\*The claims?\.\*\*.*\n\n\*\*How we test it\.\*\*", text, re.DOTALL)
    assert begun, "a chapter begins with (its-label)=, # Title, **The claim.** and **How we test it.**"
    assert "{cite}`" in text[: begun.end()], "the claim cites its paper"
    parts = [
        "**What we see**",
        "## Verdict",
        "## What differs from the paper",
        "## On your own",
        "## Rerun it at scale",
    ]
    missing = [part for part in parts if part not in text]
    assert not missing, "a chapter has these parts, too"
    places = [text.index(part) for part in parts]
    assert places == sorted(places), f"the parts come in the order {parts}"
    solutions = [cell for cell in cells if "hide-cell" in cell.metadata.get("tags", [])]
    assert len(solutions) == 2, "a chapter has two exercises, whose solutions are cells with the tag hide-cell"
    assert all(cell.metadata["mystnb"]["code_prompt_show"] == "Show a solution" for cell in solutions)


@pytest.fixture
def toy(tmp_path):
    source = tmp_path / "toy.py"
    source.write_text(TOY)
    return source


def test_an_equal_rerun_is_an_empty_diff_without_progress_bars(toy):
    output = toy.with_suffix(".ipynb")
    execute.execute(toy, output)
    first = output.read_text()
    execute.execute(toy, output)
    assert output.read_text() == first
    cells = nbformat.reads(first, as_version=4).cells
    assert [cell.id for cell in cells] == ["cell-00", "cell-01", "cell-02", "cell-03"]
    assert [output.text for output in cells[2].outputs] == ["width 2\n", "mind the gap"]


DRAWING = """# %%
# %matplotlib inline
import os
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, display
import nclib
if os.environ.get("PRETEND"):
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_name = lambda device=None: "NVIDIA of another machine"
run = nclib.start(root=".", seeds=[0], device=os.environ.get("DEVICE", "auto"))
# %%
from io import BytesIO
from PIL import Image as Picture
pixels = np.full((8, 8, 3), 128, dtype=np.uint8)
pixels[0, 0] += int(os.environ.get("BRIGHTER", 0))
file = BytesIO()
Picture.fromarray(pixels).save(file, "png", compress_level=int(os.environ.get("COMPRESSED", 1)))
display(Image(file.getvalue()))
# %%
figure, axis = plt.subplots()
axis.plot([0, float(os.environ.get("HIGHER", 1))], label="a line")
plt.show()
"""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, True),
        ({"PRETEND": "1"}, True),  # that there is a GPU
        ({"PRETEND": "1", "DEVICE": "cuda"}, True),
        ({"COMPRESSED": "9"}, True),
        ({"BRIGHTER": "2", "COMPRESSED": "9"}, True),
        ({"BRIGHTER": "3"}, False),
        ({"HIGHER": "1.000000001"}, True),
        ({"HIGHER": "1.00001"}, False),  # the picture is the same
    ],
)
def test_the_old_file_stays_where_source_text_and_pixels_agree(tmp_path, monkeypatch, given, kept):
    source, output = tmp_path / "drawing.py", tmp_path / "drawing.ipynb"
    source.write_text(DRAWING)
    execute.execute(source, output)
    before = output.read_bytes(), output.stat().st_mtime_ns
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    execute.execute(source, output)
    assert ((output.read_bytes(), output.stat().st_mtime_ns) == before) == kept
    said = [each for cell in nbformat.read(output, as_version=4).cells for each in cell.get("outputs", [])]
    assert [each.get("text") for each in said] == ["demo scale, seeds [0]\n", None, None]
    assert KEY in said[2]["metadata"]["image/png"]


def test_a_changed_text_or_source_is_written_and_a_broken_file_replaced(toy):
    output = toy.with_suffix(".ipynb")
    output.write_text("<<<<<<< ours")
    execute.execute(toy, output)
    before = output.read_text()
    toy.write_text(TOY.replace("# how wide", "# how very wide"))
    execute.execute(toy, output)
    assert "how very wide" in output.read_text()
    assert output.read_text() != before


def png(*shape):
    file = io.BytesIO()
    Image.new("L", shape).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def test_new_prose_needs_no_run_and_new_code_does(toy, capsys):
    output = toy.with_suffix(".ipynb")
    with pytest.raises(typer.BadParameter, match="No such file"):
        execute.main(toy, prose=True)
    execute.execute(toy, output)
    ran = nbformat.read(output, as_version=4).cells[2].outputs
    toy.write_text(TOY + "# %% [markdown]\n# # A word: {term}`dial`.\n")
    execute.main(toy, prose=True)
    cells = nbformat.read(output, as_version=4).cells
    assert cells[-1].source.startswith("# A word: [dial](")
    assert cells[2].outputs == ran
    before = output.read_text()
    toy.write_text(TOY.replace("width < 5", "width < 4"))
    with pytest.raises(typer.BadParameter, match=r"toy\.ipynb has other code than toy\.py; run it, without --prose"):
        execute.main(toy, prose=True)
    with pytest.raises(typer.BadParameter, match="runs nothing, so it takes no -p"):
        execute.main(toy, ["width=3"], prose=True)
    assert output.read_text() == before


def test_pictures_of_other_sizes_are_not_alike():
    assert execute.alike((png(4, 4), None), (png(4, 4), None))
    assert not execute.alike((png(4, 4), None), (png(4, 5), None))


def test_a_picture_that_has_lost_its_data_or_has_got_them_is_not_alike():
    data = packed(pd.DataFrame({"x": [1.0]}))
    assert execute.alike((png(4, 4), data), (png(4, 4), data))
    assert not execute.alike((png(4, 4), None), (png(4, 4), data))
    assert not execute.alike((png(4, 4), data), (png(4, 4), None))


DATA = pd.DataFrame({"title": ["a", "b"], "x": [1.0, np.nan], "value": [0, 255], "seed": [0, 1], "left": [10.0, 20.0]})


@pytest.mark.parametrize(
    ("column", "change", "kept"),
    [
        ("x", lambda x: x * (1 + 1e-7), True),
        ("x", lambda x: x * (1 + 1e-4), False),
        ("x", lambda x: x.fillna(2), False),
        ("value", lambda value: value.add([1, 0]), True),  # a grey level
        ("value", lambda value: value.add([4, 0]), False),
        ("left", lambda left: left + 0.5, True),  # of a pixel
        ("left", lambda left: left + 2, False),
        ("seed", lambda seed: seed + 1, False),
        ("title", lambda title: title + "!", False),
    ],
)
def test_data_are_alike_where_rounding_tells_them_apart(column, change, kept):
    assert execute.close(DATA, DATA.assign(**{column: change(DATA[column])})) == kept


def test_an_infinite_value_hides_no_difference():
    old, new = (pd.DataFrame({"x": [1.0, second, np.inf]}) for second in (2.0, 2.5))
    assert execute.close(old, old.copy())
    assert not execute.close(old, new)


def test_data_of_other_rows_or_columns_are_not_alike():
    assert execute.close(DATA, DATA.copy())
    assert not execute.close(DATA, DATA[:1])
    assert not execute.close(DATA, DATA.drop(columns="left"))


def test_parameters_reach_the_notebook_and_unknown_ones_are_refused(toy):
    output = toy.with_suffix(".ipynb")
    execute.execute(toy, output, {"width": 3})
    assert "width 3" in output.read_text()
    with pytest.raises(ValueError, match=r"has no parameter widht; it has\s+width = 2\s+how wide"):
        execute.execute(toy, output, {"widht": 3})


def test_a_failed_run_leaves_what_was_there(toy):
    output = toy.with_suffix(".ipynb")
    output.write_text("before")
    with pytest.raises(Exception, match="AssertionError"):
        execute.execute(toy, output, {"width": 9})
    assert output.read_text() == "before"
    assert sorted(path.name for path in toy.parent.iterdir()) == ["toy.ipynb", "toy.py"]


def with_pictures(path, *cells):
    """A notebook whose cells have these PNGs, read back from a file."""
    made = []
    for i, pngs in enumerate(cells):
        drawn = [nbformat.v4.new_output("display_data", {"image/png": each, "text/plain": "figure"}) for each in pngs]
        made.append(nbformat.v4.new_code_cell("x", id=f"c{i}", outputs=drawn))
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return nbformat.read(path, as_version=4)


def test_a_notebook_is_the_same_if_each_picture_is_where_it_was(tmp_path):
    one, other, old = png(4, 4), png(4, 5), tmp_path / "old.ipynb"
    with_pictures(old, [one], [])
    assert execute.same(old, with_pictures(tmp_path / "new.ipynb", [one], []))
    for cells in (([other], []), ([one, one], []), ([], []), ([], [one])):
        assert not execute.same(old, with_pictures(tmp_path / "new.ipynb", *cells))


@pytest.mark.parametrize("broken", ["", "no base 64", base64.b64encode(b"no picture").decode()])
def test_a_broken_picture_or_notebook_is_replaced(tmp_path, broken):
    new = with_pictures(tmp_path / "new.ipynb", [png(4, 4)])
    with_pictures(tmp_path / "old.ipynb", [broken])
    assert not execute.same(tmp_path / "old.ipynb", new)
    for text in ("[]", "null", '"a"', "<<<<<<< ours"):
        (tmp_path / "old.ipynb").write_text(text)
        assert not execute.same(tmp_path / "old.ipynb", new)


def test_the_readme_has_badges_of_the_workflows_there_are_if_a_repository_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "toy"\n')
    assert pages.badges() == ""
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/someone/toy"\n')
    named = re.findall(r"https://github.com/someone/toy/actions/workflows/(\w+\.yml)/badge.svg", pages.badges())
    assert sorted(named) == sorted(path.name for path in (ROOT / ".github" / "workflows").iterdir())


def copy_of_the_book(tmp_path) -> Path:
    (tmp_path / "book").mkdir()
    shutil.copytree(ROOT / "book" / "records", tmp_path / "book" / "records")
    shutil.copy(ROOT / "book" / ELSEWHERE, tmp_path / "book")
    (tmp_path / "notebooks").mkdir()
    return Path(shutil.copy(ROOT / "notebooks" / "00_score_card.ipynb", tmp_path / "notebooks"))


def nbval(notebook: Path) -> int:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "--nbval-sanitize-with",
        str(ROOT / "tests" / "sanitize.cfg"),
        str(notebook),
    ]
    return subprocess.run(command, cwd=notebook.parent, capture_output=True, check=False).returncode


def test_one_changed_digit_of_one_record_fails_nbval(tmp_path):
    notebook = copy_of_the_book(tmp_path)
    cure = "the executed card is not of these records and claims: python -m workflow.execute notebooks/00_score_card.py"
    assert nbval(notebook) == 0, cure
    records = tmp_path / "book" / "records" / "source_collapse-demo.jsonl"
    text = records.read_text()
    place = text.rindex('"accuracy": [0.') + len('"accuracy": [0.')  # of a network that confirms
    records.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    assert nbval(notebook) == 1


def test_the_readme_has_the_score_card_and_figure_of_the_notebooks():
    text, figure = pages.readme()
    cure = "run python -m workflow.pages, which writes the README and its figure"
    assert (ROOT / "README.md").read_text() == text, cure
    assert pages.FIGURE.read_bytes() == figure, cure
