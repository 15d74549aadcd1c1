"""What the page for reproducers lists: data and weights with their licences, and what a CODECHECK computes again."""

import re

import pytest
import yaml

from nclib.data.catalogue import split_name
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import CLAIMS, STUDIES, every_cell
from workflow import pages, sources
from workflow.measures import ROOT
from workflow.needs import names_of, weights_of

PAGE = (ROOT / "book" / "reproduce.md").read_text()
RELATED = (ROOT / "book" / "related.md").read_text()
TABLE = (ROOT / "book" / "sources_table.md").read_text()
CHECK = yaml.safe_load((ROOT / "codecheck.yml").read_text())


@pytest.mark.parametrize("name", ["sources_table", "scales_table"])
def test_a_table_is_that_of_the_scales_and_on_the_page(name):
    held = (ROOT / "book" / f"{name}.md").read_text()
    assert pages.PAGES[name]() == held, f"run python -m workflow.pages {name}"
    assert f"```{{include}} {name}.md\n```" in PAGE


@pytest.mark.parametrize("scale", SCALES)
def test_all_data_and_weights_of_a_scale_are_named(scale):
    """Found here without the functions that make the table."""
    cells = [cell for study in STUDIES for cell in every_cell(study, scale)]
    names = {name for cell in cells for name, _ in names_of(cell)}
    names |= {split_name(model)[0] for cell in cells if (model := weights_of(cell)[0])}
    names |= {file for cell in cells if (file := weights_of(cell)[1]).endswith(".safetensors")}
    assert len(names) >= 10
    assert [name for name in names if f"`{name}`" not in TABLE] == []


def test_each_source_says_where_and_under_which_licence():
    rows = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")]
    assert len(rows) > 40
    assert all(len(row) == 3 and all(row) for row in rows)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("cifar10", "CIFAR-10"),
        ("cifar100", "CIFAR-100"),
        ("folder:cifar10", "CIFAR-10, lossy JPEG copy"),
        ("file:text/sst1_{split}.csv", "SST, five classes"),
        ("glyphs/latin", "letters of five scripts"),
    ],
)
def test_a_data_set_has_its_own_source(name, title):
    assert sources.data_source(name).title == title


def test_weights_have_the_source_that_fits_best():
    assert sources.weights_source("bank_mobilenet_v2_100_224").licence == "Apache-2.0"
    assert "BruceDai" in sources.weights_source("bank_mobilenet_v2_100_224_gluon").origin
    assert sources.weights_source("resnet50.fb_ssl_yfcc100m_ft_in1k").licence == "timm: cc-by-nc-4.0"


@pytest.mark.parametrize("name", ["poems", "mnist2", "folder:poems", "file:text/poems_{split}.csv"])
def test_data_of_an_unknown_source_stop_the_table(name):
    with pytest.raises(ValueError, match=r"workflow/sources.py does not say where .*poems|mnist2"):
        sources.data_source(name)
    with pytest.raises(ValueError, match="add it to DATA or WEIGHTS"):
        sources.weights_source(name)


def test_what_codecheck_computes_again_is_there():
    files = [each["file"] for each in CHECK["manifest"]]
    assert len(files) == len(set(files))
    assert [name for name in files if not (ROOT / name).is_file()] == []
    assert all(each["comment"] for each in CHECK["manifest"])
    notebooks = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    demo = {f"book/records/{path.name}" for path in (ROOT / "book" / "records").glob("*-demo.jsonl")}
    assert notebooks | demo <= set(files), "a chapter or study lacks in the manifest of codecheck.yml"


def test_codecheck_has_what_its_specification_asks_of_authors():
    assert (ROOT / "codecheck.yml").read_text().startswith("%YAML 1.1\n---\n")
    assert re.fullmatch(r"https://codecheck\.org\.uk/spec/config/\d\.\d/", CHECK["version"])
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert CHECK["paper"]["title"] == citation["title"]
    assert [each["name"] for each in CHECK["paper"]["authors"]] == [each["name"] for each in citation["authors"]]
    assert CHECK["paper"]["reference"]


def test_codecheck_names_commands_that_make_knows():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = {match for each in CHECK["manifest"] for match in re.findall(r"make (\w+)", each["comment"])}
    assert asked
    assert asked <= set(targets)


def test_the_page_gives_the_times_of_the_readme_and_commands_that_make_knows():
    readme, makefile = ((ROOT / name).read_text() for name in ("README.md", "Makefile"))
    times = re.findall(r"\d+ (?:to \d+ minutes|GB)", readme)
    assert len(times) == 3
    assert [time for time in times if time not in PAGE] == []
    assert set(re.findall(r"`make (\w+)", PAGE)) <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_related_work_names_the_claims_that_it_bears_on():
    keys = {claim.key for claim in CLAIMS}
    named = set(re.findall(r"\b[PABC]\d(?:-\w+)?", RELATED))
    assert len(named) > 10
    assert [each for each in named if not any(key == each or key.startswith(f"{each}-") for key in keys)] == []


def test_every_related_work_is_in_the_references_with_its_number():
    cited = {key for keys in re.findall(r"\{cite(?::t)?\}`([^`]+)`", RELATED) for key in keys.split(",")}
    assert cited >= {"kornblith2021", "harun2025", "singh2026", "wu2024", "alcala2026", "luthra2026"}
    entries = dict(re.findall(r"@\w+\{(\w+),(.*?)\n\}", (ROOT / "book" / "references.bib").read_text(), re.DOTALL))
    assert cited <= entries.keys()
    recent = [key for key in cited if int(key[-4:]) >= 2024 and key not in ("li2024", "munn2024")]
    assert [key for key in recent if not re.search(r"arXiv:\d{4}\.\d{5}|eprint = \{\d{4}\.\d{5}\}", entries[key])] == []
