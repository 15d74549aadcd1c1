"""The evidence as an RO-Crate: records and tables, and who measured what, with which software, where and when.

`describe` prints what the crate says, as JSON, in the book's environment. `write` reads that and makes the archive, in
an environment that has rocrate and nothing else of the book: so this module imports the rest where it needs it.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / "_build" / "crate" / "nclib-records.zip"
VERSION = "1.2"  # of RO-Crate: earlier ones do not know sha256
Entity = dict[str, Any]

FILES = {
    "LICENSE": "The licence of all files",
    "CITATION.cff": "How to cite this work",
    "codecheck.yml": "What a CODECHECK would compute again",
    "constraints.txt": "The versions of all packages of the book's environment",
    "book/verdicts_table.md": "The verdict on every claim, now and before there was one inference",
    "book/verdicts_before.csv": "The verdicts before there was one inference",
    "book/verdicts_elsewhere.csv": "Verdicts from records that other processors made",
    "book/power.csv": "The power of every claim, by simulation",
    "book/coverage.csv": "How often intervals contain the truth, by simulation",
    "book/processors.csv": "By how much results differ between processors",
}
LICENCE = {"@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT License"}
SOFTWARE = ("nclib", "torch")  # whose versions a record has
FORMATS = {".jsonl": "application/jsonl", ".csv": "text/csv", ".md": "text/markdown", ".yml": "application/yaml"}


def of(*ids: str) -> list[Entity]:
    """References to entities."""
    return [{"@id": each} for each in ids]


def file_of(path: str, description: str) -> Entity:
    """The properties of a file: what it is, and the size and sum that show it is whole."""
    content = (ROOT / path).read_bytes()
    return {
        "name": Path(path).name,
        "description": description,
        "encodingFormat": FORMATS.get(Path(path).suffix, "text/plain"),
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def record_files() -> dict[str, list[dict]]:
    """The records, and the failed cells, by the path of their file; ValueError if a line is no whole record."""
    from nclib.experiments.records import read_records

    paths = sorted((ROOT / "book" / "records").glob("*.jsonl"))
    found = {path.relative_to(ROOT).as_posix(): read_records(path, ("study", "scale", "provenance")) for path in paths}
    return {path: rows for path, rows in found.items() if rows}


def authors() -> list[Entity]:
    """The authors, as CITATION.cff names them."""
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return [_author(number, each) for number, each in enumerate(citation["authors"], 1)]


def _author(number: int, said: dict[str, str]) -> Entity:
    if "name" in said:
        return {"@id": f"#author-{number}", "@type": "Organization", "name": said["name"]}
    name = f"{said['given-names']} {said['family-names']}"
    return {"@id": said.get("orcid", f"#author-{number}"), "@type": "Person", "name": name}


def study_of(name: str, files: dict[str, list[dict]]) -> Entity:
    """A study: what a cell of it is, the claims it tests, its files, and what was measured."""
    from nclib.experiments.studies import CLAIMS, STUDIES
    from workflow.measures import chapter

    source = chapter(name).stem
    cell = " ".join((STUDIES[name].__doc__ or "").split("\n\n")[0].split())
    claims = [f"{claim.key}: {claim.sentence}" for claim in CLAIMS if claim.study == name]
    measured = sorted({metric for rows in files.values() for row in rows for metric in row.get("metrics", ())})
    return {
        "@id": f"#{name}",
        "@type": "Dataset",
        "name": name,
        "description": " ".join([cell, *claims, f"Chapter: {source}."]),
        "hasPart": of(*files),
        "variableMeasured": of(*(f"#{name}-{metric}" for metric in measured)),
    }


def metric_of(reference: str) -> Entity:
    """A metric of a study; those of the library with formula, range and source."""
    from nclib import METRICS, SCORES
    from workflow.reproduce import TIMED

    study, _, name = reference[1:].partition("-")
    entity = {"@id": reference, "@type": "PropertyValue", "name": name}
    if study in TIMED:
        return entity | {"description": "the time that computing it takes", "unitText": "seconds"}
    known = METRICS.get(name) or SCORES.get(name)
    return entity | ({"description": f"{known.formula}; {known.reading}; {known.source}"} if known else {})


def run_of(path: str, rows: list[dict]) -> Entity:
    """How the records of a file were made: commits, machines and dates as they tell them."""
    made = [row["provenance"] for row in rows]
    dates = sorted(each["date"] for each in made)
    commits, machines = _all(made, "commit"), _all(made, "machine", "processor", "device")
    return {
        "@id": f"#run-{Path(path).stem}",
        "@type": "CreateAction",
        "name": f"measuring {rows[0]['study']} at {rows[0]['scale']} scale",
        "description": f"Commits of nclib: {commits} (+: with changed sources). Machines: {machines}.",
        "startTime": dates[0],
        "endTime": dates[-1],
        "instrument": of(*sorted({f"#{name}-{each[name]}" for each in made for name in SOFTWARE if name in each})),
        "result": of(path),
    }


def _all(made: Iterable[dict], *names: str) -> str:
    return "; ".join(sorted({str(each[name]) for each in made for name in names if each.get(name)}))


def software_of(reference: str) -> Entity:
    name, _, version = reference[1:].partition("-")
    return {"@id": reference, "@type": "SoftwareApplication", "name": name, "softwareVersion": version}


def contents() -> dict[str, Any]:
    """What the crate says: of the whole, of each file by its path, and of all that these refer to."""
    records, people = record_files(), authors()
    by_study: dict[str, dict[str, list[dict]]] = {}
    for path, rows in records.items():
        by_study.setdefault(rows[0]["study"], {})[path] = rows
    studies = [study_of(name, files) for name, files in by_study.items()]
    runs = [run_of(path, rows) for path, rows in records.items()]
    metrics = [metric_of(each["@id"]) for study in studies for each in study["variableMeasured"]]
    software = dict.fromkeys(each["@id"] for run in runs for each in run["instrument"])
    whole = {
        "name": "Records of nclib: neural collapse and transfer learning, claim by claim",
        "description": "Every measured result of the book, with the verdicts. A line of a file of records is a cell.",
        "datePublished": max(run["endTime"] for run in runs)[:10],  # of the newest record
        "license": {"@id": LICENCE["@id"]},
        "author": of(*(each["@id"] for each in people)),
        "mentions": of(*(each["@id"] for each in [*studies, *runs])),
    }
    files = {path: file_of(path, description) for path, description in FILES.items()}
    files |= {path: file_of(path, _said_of(rows)) for path, rows in records.items()}
    entities = [LICENCE, *people, *studies, *runs, *metrics, *map(software_of, software)]
    return {"whole": whole, "files": files, "entities": entities}


def _said_of(rows: list[dict]) -> str:
    kind = "records" if "metrics" in rows[0] else "failed cells"
    return f"{len(rows)} {kind} of {rows[0]['study']} at {rows[0]['scale']} scale, a line each"


def write(said: dict[str, Any], archive: Path = ARCHIVE) -> None:
    """Make the archive."""
    try:
        from rocrate.rocrate import ROCrate
    except ModuleNotFoundError:
        sys.exit("this Python has no rocrate; make crate runs one that has it")
    crate = ROCrate(version=VERSION)
    for entity in said["entities"]:
        crate.add_jsonld(entity)
    for path, properties in said["files"].items():
        crate.add_file(ROOT / path, dest_path=path, properties=properties)
    for name, value in said["whole"].items():
        crate.root_dataset[name] = value
    archive.parent.mkdir(parents=True, exist_ok=True)
    crate.write_zip(archive)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["describe"]:
            print(json.dumps(contents()))
        case ["write"]:
            write(json.load(sys.stdin))
            print(f"The crate: {ARCHIVE}")
        case given:
            sys.exit(f"say describe or write, not {' '.join(given) or 'nothing'}; make crate does both")
