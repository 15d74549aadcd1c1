"""Write what the book and README.md say: metrics, scores, costs, processors, status, published numbers."""

import base64
import json
import math
import sys
from collections.abc import Iterable, Mapping

import nbformat
import pandas as pd

from benchmarks import page as speed
from nclib import METRICS, SCORES, Metric
from nclib.experiments.addresses import addresses
from nclib.experiments.protocols import PROTOCOLS, in_force
from nclib.experiments.records import Records
from nclib.experiments.run import SPREADS
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import (
    CLAIMS,
    LIVE,
    STUDIES,
    elsewhere,
    every_cell,
    live_cell,
    score_card,
    verdicts,
    verdicts_by_scale,
)
from nclib.experiments.tolerances import CHANGES, kind, read_spreads, tolerances
from nclib.naming import LEFT, MOVED
from nclib.storage import replacing
from workflow import panels, published, sources
from workflow.costs import cost_rows, scale_rows
from workflow.coverage import TABLE as COVERAGE
from workflow.execute import NOTES
from workflow.measures import RECORDS, ROOT, chapter
from workflow.power import TABLE as POWER

BOOK = ROOT / "book"


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


# README.md

README = ROOT / "README.md"
FIGURE = ROOT / "book" / "_static" / "ranking.png"
# Claims, in a few words, and the chapters about them.
FINDINGS = {
    "A1-force": ("Forcing collapse on the source costs transfer", "02_collapse_on_the_source_data"),
    "A2-models": ("Models that collapse more on your data transfer better", "04_collapse_on_the_downstream_data"),
    "A4-accuracy": (
        "One block with a skip connection does as well as full fine-tuning, to within two points",
        "05_fine_tune_with_a_skip_connection",
    ),
    "B1-link": ("Settings that lower geometric complexity make features collapse more", "03_geometric_complexity"),
    "C2-ranks": ("FaCe ranks pre-trained models for a task", "06_which_model_should_i_fine_tune"),
}


def readme() -> tuple[str, bytes]:
    """README.md with findings of the committed records, and the figure of the executed page on ranking."""
    notebook = nbformat.read(ROOT / "notebooks" / "rank_models.ipynb", as_version=4)
    named = {cell.metadata.get("mystnb", {}).get("figure", {}).get("name"): cell for cell in notebook.cells}
    figure = next(o.data["image/png"] for o in named["fig-own-ranking"].outputs if "image/png" in o.get("data", {}))
    text = README.read_text(encoding="utf-8")
    for name, content in {
        "badges": badges(),
        "findings": findings_table(),
        "speed": speed.sentence(speed.read()),
    }.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        if not mark:
            raise ValueError(f"README.md has no line <!-- {name} -->")
        text = before + mark + content + "<!-- end -->" + rest.partition("<!-- end -->")[2]
    return text, base64.b64decode(figure)


def badges() -> str:
    """Badges of the workflows of the repository that pyproject.toml names; nothing if it names none."""
    url = addresses(ROOT).get("Repository")
    names = ("test", "book", "weekly", "release") if url else ()
    links = (f"[![{name}]({url}/actions/workflows/{name}.yml/badge.svg)]({url}/actions)" for name in names)
    return "".join(f"{link}\n" for link in links)


def findings_table() -> str:
    """The verdicts on five claims as a Markdown table, each with a link to its chapter."""
    judged = verdicts_by_scale(RECORDS)
    rows = []
    for claim, *found in zip(CLAIMS, *judged.values(), strict=True):
        if claim.key in FINDINGS:
            words, chapter = FINDINGS[claim.key]
            rows.append([f"[{words}](notebooks/{chapter}.ipynb)", *map(str, found)])
    return markdown(["claim", *judged], rows)


# Metrics and scores


def registry_table(registry: Mapping[str, Metric], what: str) -> str:
    """A registry as a Markdown table; `what` heads the column that says which values are better."""
    rows = []
    for name, metric in registry.items():
        asked, formula = " *on request*" if metric.on_request else "", metric.formula.replace("|", r"\|")
        rows.append([f"`{name}`{asked}", formula, metric.range, metric.better, metric.source])
    return markdown(["name", "formula", "range", what, "source"], rows)


# Cost


def cost_table() -> str:
    """What every study costs at every scale."""
    head = ["study", "scale", "cells", "hours, all cells in sequence", "memory per process", "data", "run on"]
    return markdown(head, cost_rows())


def scales_table() -> str:
    """What every scale costs."""
    head = ["scale", "cells with a record", "their hours, in sequence", "most memory of a process", "data", "run on"]
    return markdown(head, scale_rows())


# Sources


def sources_page() -> str:
    """Where the data sets and weights of all scales are from, and their licences."""
    head = ["what (scales): its names in records", "from", "licence"]
    data, weights = (markdown(head, sources.rows(of_weights=each)) for each in (False, True))
    return f"Data sets:\n\n{data}\nWeights:\n\n{weights}"


# Panels


def panels_table() -> str:
    """The panels of the papers, with the cells of paper scale about each."""
    return markdown(["paper", "panel", "study", "cells at paper scale", "data sets"], panels.rows())


# Status


def runs_table() -> str:
    """A row for each notebook: how it was run for this build."""
    lines = []
    for source in sorted((ROOT / "notebooks").glob("*.py")):
        note = NOTES / f"{source.stem}.json"
        if note.exists():
            made = json.loads(note.read_text(encoding="utf-8"))
            commit = made["commit"] or "no commit"
            versions = f"nclib {made['nclib']} ({commit}), torch {made['torch']}, Python {made['python']}"
            rest = [f"{made['seconds']:.0f}", made["date"], f"{versions}, {made['machine']}"]
        else:
            rest = ["", "not for this build", "output as committed"]
        lines.append([f"[{source.stem}](../notebooks/{source.stem}.ipynb)", *rest])
    return markdown(["notebook", "seconds", "date", "with"], lines)


def records_table() -> str:
    """A row for each file of records, with the cells that its scale asks for."""
    lines = []
    for study in STUDIES:
        for scale in SCALES:
            if declared := every_cell(study, scale):
                lines.append([study, scale, *_held(RECORDS, study, scale, declared)])
    return markdown(["study", "scale", "records", "cells", "made", "commits"], lines)


def _held(RECORDS: Records, study: str, scale: str, declared: list[dict]) -> list[str]:
    path, found = RECORDS.path(study, scale), RECORDS.read(study, scale)
    if not found:
        return ["0", f"0 of {len(declared)}", "not run yet", ""]
    made = [record["provenance"] for record in found]
    dates = sorted({each["date"] for each in made})
    commits = sorted({str(each["commit"]) for each in made})
    held = len(RECORDS.select(study, scale, declared))
    link = f"[{path.stat().st_size / 1000:.0f} kB](records/{path.name}), [CSV](../_build/records/{path.stem}.csv)"
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return [f"{len(found)}, {link}", f"{held} of {len(declared)}", when, " ".join(commits)]


def status_page() -> str:
    return f"## Notebooks\n\n{runs_table()}\n## Records\n\n{records_table()}"


# Processors

KINDS = {"counted": "shares of images", "ratio": "ratios", "difference": "other differences"}


def tried(spreads: pd.DataFrame) -> str:
    """The processors, and what was emulated on each."""
    rows = spreads[~spreads["combination"].isin(CHANGES)].groupby("processor")["combination"].unique()
    return "".join(f"- {name}: {'; '.join(sorted(combinations))}.\n" for name, combinations in rows.items())


def live_rows(spreads: pd.DataFrame) -> list[list[str]]:
    """For each study's live cell: how far processors differ, how far a changed recipe moves it, what is checked."""
    lines = []
    for study in LIVE:
        cell = live_cell(study)
        rows = spreads[(spreads["study"] == study) & (spreads["scale"] == "check")]
        checked = tolerances(rows, [study], "check", [cell])
        changed = rows["combination"].isin(CHANGES)
        held = rows["metric"].isin(checked)
        spread, moved = rows[~changed & held]["apart"].max(), rows[changed & held].groupby("metric")["apart"].min()
        lines.append([study, f"{spread:.1g}", f"{moved.median():.2g}", f"{len(checked)} of {rows['metric'].nunique()}"])
    return lines


def demo_rows(spreads: pd.DataFrame) -> list[list[str]]:
    """For each study's demo cells: the largest spread of each kind of metric, and where."""
    lines = []
    for study in LIVE:
        rows = spreads[(spreads["study"] == study) & (spreads["scale"] == "demo")]
        lines.append([study, *(_largest(rows[rows["metric"].map(kind) == name], name) for name in KINDS)])
    return lines


def _largest(rows: pd.DataFrame, name: str) -> str:
    if rows.empty:
        return ""
    row = rows.loc[rows["apart"].idxmax()]
    if row["apart"] == 0:
        return "0"
    size = f"{math.exp(row['apart']):.3g} times" if name == "ratio" else f"{row['apart']:.2g}"
    return f"{size}, {row['metric']} ({row['combination']})"


def processors_page() -> str:
    spreads = read_spreads(ROOT / SPREADS)
    live = markdown(["study", "largest spread", "median move", "metrics checked"], live_rows(spreads))
    demo = markdown(["study", *KINDS.values()], demo_rows(spreads))
    return (
        f"What was tried on each processor:\n\n{tried(spreads)}\n"
        f"Spreads of the live cells, in double precision:\n\n{live}\n"
        f"Largest spreads of demo cells, in single precision:\n\n{demo}"
    )


def protocols_table() -> str:
    """Every protocol: its chapters, the seeds that confirm at each scale, its digest, and what it was chosen on."""
    rows = []
    for each in PROTOCOLS:
        chapters = dict.fromkeys(chapter(study) for study in each.studies)
        links = [f"[{path.stem[:2].lstrip('0')}](../notebooks/{path.stem}.ipynb)" for path in chapters]
        seeds = [f"{scale}: {min(seeds)} to {max(seeds)}" for scale, seeds in each.seeds.items()]
        said = [each.why, *(f"Corrected since: {what}" for what in each.amended.values())]
        rows.append([", ".join(links), str(each.number), ", ".join(seeds), f"`{each.digest}`", " ".join(said)])
    return markdown(["chapter", "protocol", "seeds", "digest", "chosen on, or why another"], sorted(rows))


def coverage_table() -> str:
    """How often intervals contain the truth, by design."""
    rows = pd.read_csv(COVERAGE)
    head = ["design of the replicates", "intervals that contain the truth"]
    return markdown(head, ([row.design, f"{row.covered:.1%}"] for row in rows.itertuples()))


def power_table() -> str:
    """The power of each claim, by scale, and how many replicates a panel has."""
    rows = pd.read_csv(POWER, dtype=str, keep_default_na=False)
    named = {"replicates a panel": "replicates per panel", "power of none": "power to show no effect"}
    return markdown([named.get(name, name) for name in rows], rows.to_numpy().tolist())


def verdicts_table() -> str:
    """The verdicts on each claim before the book had one inference, and the present ones."""
    before = pd.read_csv(BOOK / "verdicts_before.csv", index_col="Unnamed: 0", keep_default_na=False)
    now = score_card(RECORDS).drop(columns=["sentence", "statistic", "needed"])
    lines = before.add_suffix(", before").join(now.add_suffix(", now"), how="outer").reindex(now.index).fillna("")
    return markdown(["claim", *lines], map(list, lines.itertuples()))


def elsewhere_table() -> str:
    """Verdicts from records made on other processors, and the verdicts here."""
    here = {(scale, each.claim.key): str(each) for scale in SCALES for each in verdicts(RECORDS, scale)}
    study_of = {claim.key: claim.study for claim in CLAIMS}
    shown = (
        [row.claim, row.scale, here[row.scale, row.claim], row.processor, row.said]
        for row in elsewhere(RECORDS).itertuples()
        if (protocol := in_force(study_of[row.claim], row.scale, row.claim)) and row.protocol in protocol.digests
    )
    return markdown(["claim", "scale", "verdict", "another processor", "its verdict"], shown)


def moved_table() -> str:
    """Where modules went."""
    rows = []
    for old, new in sorted((MOVED | LEFT).items()):
        rows.append([f"`nclib.{old}`", ", ".join(f"`nclib.{each}`" for each in new.split())])
    return markdown(["before", "now"], rows)


def speed_page() -> str:
    """Where times were measured, how they compare, and how they grow."""
    rows = speed.read()
    listed = "".join(f"- {place} {words}\n" for place, words in speed.places(rows).items())
    tables = (markdown(list(table), table.to_numpy()) for table in (speed.ratio_table(rows), speed.growth_table(rows)))
    return "\n".join([listed, *tables])


def throughput_page() -> str:
    """How many images a second each part of fine-tuning does."""
    table = speed.throughput_table(speed.read())
    return markdown(list(table), table.to_numpy())


PAGES = {
    "protocols_table": protocols_table,
    "coverage_table": coverage_table,
    "power_table": power_table,
    "verdicts_table": verdicts_table,
    "elsewhere_table": elsewhere_table,
    "metrics_table": lambda: registry_table(METRICS, "more collapsed"),
    "scores_table": lambda: registry_table(SCORES, "likelier to transfer"),
    "cost_table": cost_table,
    "scales_table": scales_table,
    "panels_table": panels_table,
    "shares_table": lambda: markdown(["network and block", "parameters", "share trained"], published.share_rows()),
    "rankings_table": lambda: markdown(*published.ranking_rows()),
    "sources_table": sources_page,
    "processors_table": processors_page,
    "status_table": status_page,
    "moved_table": moved_table,
    "speed_table": speed_page,
    "throughput_table": throughput_page,
}

if __name__ == "__main__":  # all pages, or those named
    if unknown := sorted(set(sys.argv[1:]) - PAGES.keys()):
        print(f"there is no page {', '.join(unknown)}; there are {', '.join(PAGES)}", file=sys.stderr)
        sys.exit(2)
    for name in sys.argv[1:] or PAGES:
        with replacing(BOOK / f"{name}.md") as path:
            path.write_text(PAGES[name](), encoding="utf-8")
    if not sys.argv[1:]:
        text, figure = readme()
        with replacing(README) as path:
            path.write_text(text, encoding="utf-8")
        with replacing(FIGURE) as path:
            path.write_bytes(figure)
