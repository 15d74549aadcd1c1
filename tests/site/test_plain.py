"""What MyST says with roles and directives, in Markdown that Jupyter shows."""

import jupytext
import pytest

from workflow import plain

HEAD = """# %% [markdown]
# (toy)=
# # A toy
# {text}
# %% mystnb={{"figure": {{"caption": "Seen: {{term}}`dial`.", "name": "fig-toy"}}}}
1
"""


def record(name, text):
    return {
        "output_type": "display_data",
        "data": {plain.RECORD: text},
        "metadata": {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
    }


@pytest.fixture
def written(tmp_path):
    """A function from the prose of the notebook of a chapter 3 elsewhere to its cells in plain Markdown."""

    def write(text, **kept):
        source = tmp_path / "03_toy.py"
        source.write_text(HEAD.format(text=text.replace("\n", "\n# ")))
        notebook = jupytext.read(source)
        notebook.cells[1].outputs = [record(*each) for each in kept.items()]
        return [cell.source for cell in plain.plain(notebook, source, plain.ROOT / "notebooks").cells]

    return write


def prose(cells):
    return cells[1].removeprefix("# A toy\n")


@pytest.mark.parametrize(
    ("role", "text"),
    [
        ("{glue:text}`a:.2f`", "0.12"),
        ("{glue:text}`a:+.1%`", "+12.3%"),
        ("{glue:text}`word`", r"two\_words"),
        ("{glue:text}`b:.2f`", plain.MISSING),
        ("{numref}`fig-toy`", "Fig. 3.1"),
        ("{numref}`Figure %s <fig-toy>`", "Figure 3.1"),
        ("{numref}`fig-panels`", "[Fig. 2.3](02_collapse_on_the_source_data.ipynb)"),
        ("{term}`dial`", "[dial](../book/glossary.md)"),
        ("{term}`dials\n<dial>`", "[dials](../book/glossary.md)"),
        ("{ref}`watch`", "[Watch a network collapse](01_watch_a_network_collapse.ipynb)"),
        ("{ref}`there <watch>`", "[there](01_watch_a_network_collapse.ipynb)"),
        ("{ref}`own-backbone`", "[A model of your own](../book/own_models.md#a-model-of-your-own)"),
        ("{doc}`/book/glossary`", "[Glossary](../book/glossary.md)"),
        ("{doc}`words <../book/glossary>`", "[words](../book/glossary.md)"),
        ("[](../book/notation.md)", "[Symbols and shapes](../book/notation.md)"),
        ("[words](../book/glossary.md)", "[words](../book/glossary.md)"),
        ("{cite}`papyan2020`", "(Papyan et al., 2020)"),
        ("{cite}`xu2023, wu2024`", "(Xu and Liu, 2023; [Wu and Papyan, 2024](https://arxiv.org/abs/2405.17767))"),
        ("`{term}` and ``a {term}`dial` `` are code", "`{term}` and ``a {term}`dial` `` are code"),
        ("(there)=\n\nA place", "A place"),
        ("```bash\n{term}`dial`\n(there)=\n```", "```bash\n{term}`dial`\n(there)=\n```"),
        ("$$\na\n$$ (first)\nis {eq}`first`", "$$\na\n \\tag{3.1} $$\nis (3.1)"),
        ("```{math}\n:label: first\n\na\n```\nis {eq}`first`", "$$\na \\tag{3.1}\n$$\nis (3.1)"),
        ("```{math}\na\n```", "$$\na\n$$"),
        (":::{note}\nOf {term}`dial`.\n:::", "**Note.**\n\nOf [dial](../book/glossary.md)."),
        ("````{prf:definition} A\n:label: b\n\n```{math}\na\n```\n````", "**A.**\n\n$$\na\n$$"),
    ],
)
def test_a_role_becomes_plain_markdown(written, role, text):
    assert prose(written(role, a="0.123", word="'two_words'")) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{abbr}`NC (collapse)`", r"03_toy\.py: .* no plain Markdown for the role \{abbr\}"),
        ("{ref}`nowhere`", r"03_toy\.py: \{ref\}`nowhere` names 'nowhere', which is not in the book"),
        ("{numref}`fig-none`", "names 'fig-none'"),
        ("{cite}`no1999`", "names 'no1999'"),
        ("{eq}`none`", "names 'none'"),
        ("{doc}`/book/none`", "names '/book/none'"),
        ("```{figure} a.png\n```", r"no plain Markdown for the directive \{figure\}"),
    ],
)
def test_what_has_no_plain_form_is_an_error(written, text, message):
    with pytest.raises(ValueError, match=message):
        written(text)


def test_captions_and_references_are_cells_of_their_own(written):
    start, _, code, caption, references = written("As {cite}`wu2024,xu2023` and {cite}`xu2023` say.")
    assert "notebooks/03_toy.ipynb" in start
    assert code == "1"
    assert caption == "**Fig. 3.1** Seen: [dial](../book/glossary.md)."
    head, _, *listed = references.splitlines()
    assert (head, len(listed)) == ("## References", 2)
    assert "Linguistic Collapse" in listed[0] or "Linguistic collapse" in listed[0]
    assert "[arXiv:2405.17767](https://arxiv.org/abs/2405.17767)" in listed[0]


def test_colab_clones_the_repository_that_is_named(written, tmp_path, monkeypatch):
    assert "!git clone ADDRESS_OF_THE_REPOSITORY nclib" in written("")[0]
    for folder in ("book", "notebooks"):
        (tmp_path / "root").mkdir(exist_ok=True)
        (tmp_path / "root" / folder).symlink_to(plain.ROOT / folder)
    (tmp_path / "root" / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/someone/toy"\n')
    monkeypatch.setattr(plain, "ROOT", tmp_path / "root")
    assert "!git clone https://github.com/someone/toy nclib" in written("")[0]
