"""What is done to the HTML of a page for previews of links, screen readers and phones."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from docutils.core import publish_doctree

from workflow import page_look

ROOT = Path(__file__).parents[2]
SENTENCE = "Preventing collapse on the source data transfers better than plain training does."


def parts(html):
    """The kind of a table, and of each cell what it says of itself beside what is in it."""
    cells = re.findall(r"<(t[hd])\b[^>]*?(?: (scope|data-label)=\"([^\"]*)\")?>(.*?)</", html)
    return re.search('data-holds="(.*?)"', html)[1], [(tag, said, text) for tag, _, said, text in cells]


def test_a_header_says_what_it_heads_and_a_cell_its_column():
    table = pd.DataFrame({"demo": [0.5], "lab": [0.25]}, index=["A1"])
    kind, cells = parts(page_look.labelled(table.to_html()))
    assert kind == "columns"
    assert cells[:3] == [("th", "", ""), ("th", "col", "demo"), ("th", "col", "lab")]
    assert cells[3:] == [("th", "row", "A1"), ("td", "demo", "0.5"), ("td", "lab", "0.25")]


def test_a_table_of_a_page_is_labelled_as_one_of_a_notebook():
    """Which docutils writes, with paragraphs, and with no header in its rows."""
    head = '<thead>\n<tr><th class="head"><p>file</p></th>\n<th class="head"><p>holds</p></th>\n</tr>\n</thead>'
    body = '<tbody>\n<tr class="row-even"><td><p>a</p></td>\n<td><p>b</p></td>\n</tr>\n</tbody>'
    html = page_look.labelled(f'<table class="table">\n{head}\n{body}\n</table>')
    assert parts(html)[1] == [
        *[("th", "col", "<p>file"), ("th", "col", "<p>holds")],
        *[("td", "file", "<p>a"), ("td", "holds", "<p>b")],
    ]


def test_the_columns_of_a_table_with_headers_of_several_rows_and_columns():
    columns = pd.MultiIndex.from_tuples([("demo", "letters"), ("demo", "digits"), ("lab", "")])
    index = pd.MultiIndex.from_tuples([("A1", "dial"), ("A1", "force")], names=["claim", "part"])
    kind, cells = parts(page_look.labelled(pd.DataFrame([[1, 2, 3], [4, 5, 6]], index, columns).to_html()))
    assert kind == "columns"
    labels = ["demo, letters", "demo, digits", "lab"]
    assert [said for tag, said, _ in cells if tag == "td"] == 2 * labels


def test_a_table_with_a_column_of_sentences_is_told_from_one_of_numbers():
    def kind(*sentences):
        return parts(page_look.labelled(pd.DataFrame({"sentence": sentences, "found": 1}).to_html()))[0]

    assert kind(SENTENCE, SENTENCE, "short") == "sentences"
    assert kind("short", "short", SENTENCE) == "columns"


@pytest.mark.parametrize(
    ("columns", "cell", "holds"),
    [
        (3, "data that torchvision downloads", "sentences"),
        (2, "data that torchvision downloads", "columns"),
        (20, "0.1234", "columns"),  # numbers are compared along their columns
    ],
)
def test_a_row_of_words_that_is_wider_than_a_phone_is_stacked(columns, cell, holds):
    table = pd.DataFrame([[cell] * columns] * 3)
    assert parts(page_look.labelled(table.to_html()))[0] == holds


@pytest.mark.parametrize(
    "html",
    [
        "<table><tr><td>no head</td></tr></table>",
        '<a href="x"><img alt="" src="_images/a.png"></a>',
        '<img alt="A picture from elsewhere." src="https://example.org/a.png">',
        "<p>text</p>",
    ],
)
def test_what_needs_nothing_stays_as_it_is(html):
    assert page_look.mended(html) == html


def test_a_table_that_is_mended_twice_is_as_mended_once():
    once = page_look.labelled(pd.DataFrame({"demo": [1]}).to_html())
    assert page_look.labelled(once).replace(' data-holds="columns"', "", 1) == once


def test_a_label_is_text_whatever_its_header_holds():
    html = (
        '<table><thead><tr><th><p>a &lt; <em>"b"</em></p></th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>'
    )
    assert '<td data-label="a &lt; &quot;b&quot;">1</td>' in page_look.labelled(html)


def test_a_figure_opens_in_full_size():
    image = '<img alt="Lines rise." src="../_images/a.png" />'
    mended = page_look.mended(f"<figure>{image}</figure>")
    assert re.fullmatch(rf'<figure><a [^>]*href="../_images/a.png"[^>]*>{re.escape(image)}</a></figure>', mended)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("One. Two.", "One. Two."),
        ("Seen first [Papyan et al., 2020]. Then\nagain.", "Seen first. Then again."),
        ("One. " + "word " * 70 + "end.", "One."),
        ("", ""),
    ],
)
def test_a_page_is_summed_up_by_its_first_sentences(text, said):
    source = f"Title\n=====\n\nPart\n----\n\n{text}\n\nNot this.\n" if text else ""
    doctree = publish_doctree(source, settings_overrides={"doctitle_xform": False})
    assert page_look.summary(doctree) == said


def test_a_preview_gets_full_addresses_if_there_is_a_host():
    tags = page_look.described("Title", '"a" & b', "../_images/a.png", "https://example.org/nclib/notebooks/01.html")
    assert '<meta property="og:url" content="https://example.org/nclib/notebooks/01.html" />' in tags
    assert '<meta property="og:image" content="https://example.org/nclib/_images/a.png" />' in tags
    assert '<meta name="description" content="&quot;a&quot; &amp; b" />' in tags
    assert "og:url" not in page_look.described("Title", "", "a.png", "")


def test_the_host_is_the_one_that_pyproject_names(tmp_path):
    (tmp_path / "_config.yml").write_text(
        f"title: toy\nsphinx:\n  local_extensions: {{page_look: {ROOT / 'workflow'}}}\n"
    )
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (tmp_path / "page.md").write_text("# A *toy*\n\nIt shows little.\n")
    urls = '[project.urls]\nDocumentation = "https://example.org/toy/"\n'
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "toy"\n{urls}')
    command = [Path(sys.executable).with_name("jupyter-book"), "build", tmp_path, "-W"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "_build/html/page.html").read_text()
    told = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)"', page))
    assert told["title"] == "A toy"
    assert told["description"] == "It shows little."
    assert told["url"] == "https://example.org/toy/page.html"
