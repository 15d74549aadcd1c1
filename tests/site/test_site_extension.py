"""The buttons of the book are those of the repository that pyproject.toml names; without one there are none."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document

from workflow import site_extension
from workflow.execute import KERNEL

ROOT = Path(__file__).parents[2]
CONFIG = f"""
title: toy
execute: {{execute_notebooks: "off"}}
sphinx:
  local_extensions: {{site_extension: {ROOT / "workflow"}}}
"""


@pytest.fixture
def links(tmp_path):
    """A function from the text of a pyproject.toml to the links, scripts and commands of a page of a toy book."""

    def build(project: str) -> list[str]:
        (tmp_path / "notebooks").mkdir()
        cells = [nbformat.v4.new_markdown_cell("# A toy"), nbformat.v4.new_code_cell("print(1)")]
        metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "notebooks" / "toy.ipynb")
        (tmp_path / "_config.yml").write_text(CONFIG)
        (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: notebooks/toy\n")
        (tmp_path / "pyproject.toml").write_text(project)
        command = [Path(sys.executable).with_name("jupyter-book"), "build", tmp_path, "-W"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        page = (tmp_path / "_build/html/notebooks/toy.html").read_text()
        return re.findall(r'(?:href|src)="([^"]*)"', page) + re.findall("<code>(.*?)</code>", page)

    return build


def test_a_repository_gives_buttons(links):
    found = links('[project]\nname = "toy"\n[project.urls]\nRepository = "https://github.com/someone/toy"\n')
    assert "https://colab.research.google.com/github/someone/toy/blob/main/notebooks/toy.ipynb" in found
    assert "https://mybinder.org/v2/gh/someone/toy/main?urlpath=tree/notebooks/toy.ipynb" in found
    assert "https://github.com/someone/toy" in found
    assert "!git clone https://github.com/someone/toy nclib" in found
    assert "../_sources/notebooks/toy.ipynb" in found


def test_without_one_there_are_none_and_the_notebook_can_be_downloaded(links):
    found = links('[project]\nname = "toy"\n')
    assert not [link for link in found if re.search("colab|binder|github.com/|git clone", link)]
    assert "../_sources/notebooks/toy.ipynb" in found


def test_a_notebook_shows_the_prose_of_its_source(tmp_path):
    (tmp_path / "notebooks").mkdir()
    source, notebook = (tmp_path / "notebooks" / name for name in ("toy.py", "toy.ipynb"))
    source.write_text("# %% [markdown]\n# # A toy\n# {math}`x` at the source\n# %%\nprint(1)\n")
    only_here = nbformat.v4.new_markdown_cell("how to run it", metadata={"tags": ["remove-cell"]})
    cells = [only_here, nbformat.v4.new_markdown_cell("# A toy\n$x$ in Jupyter"), nbformat.v4.new_code_cell("print(1)")]
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: notebooks/toy\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "toy"\n')
    command = list(map(str, [Path(sys.executable).with_name("jupyter-book"), "build", tmp_path, "-W"]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), notebook)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "_build/html/notebooks/toy.html").read_text()
    assert "at the source" in page
    assert "in Jupyter" not in page
    assert "how to run it" not in page
    assert "in Jupyter" in (tmp_path / "_build/html/_sources/notebooks/toy.ipynb").read_text()
    nbformat.write(nbformat.v4.new_notebook(cells=cells[1:] * 2, metadata=metadata), notebook)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    said = " ".join((done.stdout + done.stderr).split())
    assert "notebooks/toy.ipynb is not that of its source: run python -m workflow.execute notebooks/toy.py" in said


@pytest.mark.parametrize(
    ("given", "shown", "language"),
    [
        ("%%bash\nnclib rank --help", "nclib rank --help", "bash"),
        ("a = 1\n\n%matplotlib inline\nworkplace()", "a = 1\n\nworkplace()", "ipython3"),
        ("a = 3\nb = a %2", "a = 3\nb = a %2", "ipython3"),
    ],
)
def test_a_cell_is_shown_without_the_magic_that_runs_it(given, shown, language):
    page = new_document("toy")
    page += nodes.container("", nodes.literal_block(given, given, language="ipython3"), classes=["cell_input"])
    page += nodes.container("", nodes.literal_block(given, given, language="ipython3"))  # an example in the prose
    site_extension.hide_magics(None, page)
    cell, example = page.findall(nodes.literal_block)
    assert (cell.astext(), cell.rawsource, cell["language"]) == (shown, shown, language)
    assert (example.astext(), example["language"]) == (given, "ipython3")


def test_what_was_measured_live_stands_below_its_cell(tmp_path):
    """And not on a page that measured something else; a page is built anew when its cell was measured anew."""
    (tmp_path / "notebooks").mkdir()
    for name, study in (("toy", "squares"), ("other", "cubes")):
        cell = nbformat.v4.new_code_cell(f'run.live({{"{study}": measure}})', metadata={"tags": ["live"]})
        cells = [nbformat.v4.new_markdown_cell(f"# {name}"), cell]
        metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
        nbformat.write(
            nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "notebooks" / f"{name}.ipynb"
        )
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: notebooks/toy\nchapters: [{file: notebooks/other}]\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "toy"\n')
    measured = tmp_path / "_build" / "live" / "squares.csv"
    measured.parent.mkdir(parents=True)
    command = list(map(str, [Path(sys.executable).with_name("jupyter-book"), "build", tmp_path, "-W"]))
    for number, agrees in ((9.25, True), (16.5, False)):
        row = f"nc1,9.0,{number},ratio,0.1,0.2,{agrees},A & B"
        measured.write_text(f"metric,recorded,now,compared,apart,tolerance,agrees,processor\n{row}\n")
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        page = (tmp_path / "_build/html/notebooks/toy.html").read_text()
        assert "Measured for this page on A &amp; B" in page
        assert f"<td>{number}</td>" in page
        assert ("<details open>" in page) == (not agrees)
        assert page.index("squares") < page.index("Measured for this page")
    assert "Measured" not in (tmp_path / "_build/html/notebooks/other.html").read_text()
