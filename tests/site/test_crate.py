"""The RO-Crate: it lists all records and tables, says how they were made, and holds them whole."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nclib.experiments.studies import CLAIMS
from workflow import crate
from workflow.measures import ROOT

PYTHON = ROOT / ".venv" / "crate" / "bin" / "python"
needs_rocrate = pytest.mark.skipif(not PYTHON.exists(), reason="rocrate has an environment of its own")


@pytest.fixture(scope="module")
def said():
    return json.loads(json.dumps(crate.contents()))


def references(value):
    """The ids of all entities that a value refers to."""
    if isinstance(value, list):
        return {each for item in value for each in references(item)}
    if isinstance(value, dict):
        return {value["@id"]} if value.keys() == {"@id"} else references(list(value.values()))
    return set()


def test_every_record_and_table_is_listed_with_its_size_and_sum(said):
    records = {f"book/records/{path.name}" for path in (ROOT / "book" / "records").glob("*.jsonl")}
    assert len(records) > 30
    assert said["files"].keys() == records | crate.FILES.keys()
    for path, properties in said["files"].items():
        content = (ROOT / path).read_bytes()
        assert properties["contentSize"] == str(len(content))
        assert properties["sha256"] == hashlib.sha256(content).hexdigest()


def test_what_is_referred_to_is_there_once(said):
    ids = [each["@id"] for each in said["entities"]]
    assert len(ids) == len(set(ids))
    assert references(said["whole"]) | references(said["entities"]) <= {*ids, *said["files"]}


def test_the_whole_has_what_ro_crate_asks_for(said):
    assert said["whole"].keys() >= {"name", "description", "datePublished", "license", "author"}
    dates = [row["provenance"]["date"] for rows in crate.record_files().values() for row in rows]
    assert said["whole"]["datePublished"] == max(dates)[:10]


def test_a_study_has_its_claims_files_and_metrics(said):
    (study,) = (each for each in said["entities"] if each["@id"] == "#source_collapse")
    assert all(claim.sentence in study["description"] for claim in CLAIMS if claim.study == "source_collapse")
    assert "Chapter: 02_collapse_on_the_source_data." in study["description"]
    assert {"@id": "book/records/source_collapse-demo.jsonl"} in study["hasPart"]
    assert {"@id": "#source_collapse-nc1"} in study["variableMeasured"]


def test_a_metric_says_what_it_is_and_a_time_that_it_is_one():
    assert crate.metric_of("#source_collapse-nc1")["description"].startswith("tr(Σ_W Σ_B⁺) / K; [0, ∞), lower is more")
    assert "logme" not in crate.metric_of("#score_cost-logme")["description"]
    assert crate.metric_of("#score_cost-logme")["unitText"] == "seconds"
    assert crate.metric_of("#fine_tuning-share") == {
        "@id": "#fine_tuning-share",
        "@type": "PropertyValue",
        "name": "share",
    }


def row(date, commit, **made):
    provenance = {"nclib": "0.1.0", "torch": "2.15.0", "machine": "x86_64, 2 cores", "device": "cpu"}
    return {"study": "squares", "scale": "demo", "provenance": provenance | {"date": date, "commit": commit} | made}


def test_a_run_says_commits_machines_dates_and_versions():
    rows = [row("2026-11-22", "b5dc7a4"), row("2026-11-21", "adf006a+", torch="2.14.0"), row("2026-11-29", None)]
    run = crate.run_of("book/records/squares-demo.jsonl", rows)
    assert (run["startTime"], run["endTime"]) == ("2026-11-21", "2026-11-29")
    assert "adf006a+; b5dc7a4 (" in run["description"]
    assert "cpu; x86_64, 2 cores." in run["description"]
    assert run["instrument"] == crate.of("#nclib-0.1.0", "#torch-2.14.0", "#torch-2.15.0")
    assert run["result"] == [{"@id": "book/records/squares-demo.jsonl"}]
    assert crate.software_of("#torch-2.14.0")["softwareVersion"] == "2.14.0"


def test_how_a_cell_failed_is_a_file_too(tmp_path, monkeypatch):
    failure = {"study": "score_cost", "scale": "demo", "reason": "it diverged"}
    failure["provenance"] = {"commit": "b5dc7a4", "processor": "a processor", "date": "2026-11-29 10:00 UTC"}
    monkeypatch.setattr(crate, "record_files", lambda: {"LICENSE": [failure]})
    said = crate.contents()
    assert said["files"]["LICENSE"]["description"].startswith("1 failed cells of score_cost at demo scale")
    assert said["whole"]["datePublished"] == "2026-11-29"


def test_authors_are_those_of_the_citation(tmp_path, monkeypatch):
    (tmp_path / "CITATION.cff").write_text(
        "authors:\n- name: A group\n- {given-names: Ada, family-names: Byron, orcid: 'https://orcid.org/0'}\n"
    )
    monkeypatch.setattr(crate, "ROOT", tmp_path)
    group, person = crate.authors()
    assert (group["@type"], group["name"]) == ("Organization", "A group")
    assert (person["@type"], person["name"], person["@id"]) == ("Person", "Ada Byron", "https://orcid.org/0")


@pytest.mark.parametrize("words", [[], ["publish"], ["describe", "write"]])
def test_another_word_is_refused_in_one_line(words):
    done = subprocess.run([sys.executable, "-m", "workflow.crate", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("say describe or write, not ")
    assert len(done.stderr.splitlines()) == 1


def test_a_python_without_rocrate_says_what_to_run(said):
    with pytest.raises(SystemExit, match="this Python has no rocrate; make crate runs one that has it"):
        crate.write(said)


def test_records_of_no_study_and_broken_ones_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no chapter measures 'poems'"):
        crate.study_of("poems", {})
    (tmp_path / "book" / "records").mkdir(parents=True)
    (tmp_path / "book" / "records" / "empty-demo.jsonl").touch()
    monkeypatch.setattr(crate, "ROOT", tmp_path)
    assert crate.record_files() == {}
    (tmp_path / "book" / "records" / "broken-demo.jsonl").write_text('{"study"')
    with pytest.raises(ValueError, match=r"broken-demo.jsonl, line 1 is not a whole record"):
        crate.record_files()


@needs_rocrate
def test_the_archive_holds_what_its_metadata_names(said, tmp_path):
    archive = tmp_path / "crate.zip"
    code = "import json, sys; from pathlib import Path; from workflow.crate import write"
    code = f"{code}; write(json.load(sys.stdin), Path({str(archive)!r}))"
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, input=json.dumps(said), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(archive) as opened:
        held = {name: opened.read(name) for name in opened.namelist()}
    metadata = json.loads(held.pop("ro-crate-metadata.json"))
    assert metadata["@context"] == f"https://w3id.org/ro/crate/{crate.VERSION}/context"
    graph = {each["@id"]: each for each in metadata["@graph"]}
    assert {name for name, each in graph.items() if each["@type"] == "File"} == held.keys() == said["files"].keys()
    assert {each["@id"] for each in graph["./"]["hasPart"]} == held.keys()
    for name, content in held.items():
        assert graph[name]["contentSize"] == str(len(content))
        assert graph[name]["sha256"] == hashlib.sha256(content).hexdigest()
    assert said["whole"].items() <= graph["./"].items()
    assert references(metadata["@graph"]) - graph.keys() == {f"https://w3id.org/ro/crate/{crate.VERSION}"}


def test_the_environment_has_the_version_that_is_pinned():
    (pin,) = (line for line in (ROOT / "workflow" / "crate.txt").read_text().splitlines() if line[0] != "#")
    assert pin.startswith("rocrate==")
    installed = list(Path(PYTHON.parents[1], "lib").glob("python*/site-packages/rocrate-*.dist-info"))
    assert [each.name for each in installed] in ([], [f"{pin.replace('==', '-')}.dist-info"])
