"""The grid: which cells it takes for missing, that a run of one cell ends there, and that a kill loses nothing."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nclib.experiments import scales
from nclib.experiments.chapters.selection import ON_CPU
from nclib.experiments.records import Records, as_table, cell_digest, fill
from nclib.experiments.run import ONLY, RECORDS_AT, from_json
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES, cells_of, every_cell
from nclib.experiments.tolerances import differences, read_spreads, tolerances
from workflow import costs, grid, pages, panels
from workflow.measures import chapter, measures

ROOT = Path(__file__).parents[2]
SNAKEMAKE = ROOT / ".venv" / "grid" / "bin" / "snakemake"
needs_snakemake = pytest.mark.skipif(not SNAKEMAKE.exists(), reason="Snakemake has an environment of its own")
KILLS = int(os.environ.get("NCLIB_KILLS", "1"))


def missing(records, study="source_collapse", seeds=None, **where):
    cells = grid.chosen(STUDIES[study](SCALES["demo"], seeds or SCALES["demo"].seeds), where)
    return records.missing(study, "demo", cells)


def test_only_cells_without_a_record_are_missing(tmp_path):
    records = Records(tmp_path)
    every = missing(records)
    assert len(every) == len(STUDIES["source_collapse"](SCALES["demo"], SCALES["demo"].seeds))
    fill(records, "source_collapse", "demo", every[:-1], lambda cell: {"accuracy": 1.0})
    assert missing(records) == every[-1:]
    fill(records, "source_collapse", "demo", every[-1:], lambda cell: {"accuracy": 1.0})
    assert missing(records) == []


def test_an_added_seed_and_a_changed_recipe_miss_their_own_cells_only(tmp_path, monkeypatch):
    records = Records(tmp_path)
    fill(records, "source_collapse", "demo", missing(records), lambda cell: {"accuracy": 1.0})
    added = missing(records, seeds=[0, 1, 2, 9])
    assert {cell["seed"] for cell in added} == {9}
    assert missing(records, seeds=[9], loss="sigmoid") == [cell for cell in added if cell["loss"] == "sigmoid"]
    demo = SCALES["demo"]
    monkeypatch.setitem(scales.SCALES, "demo", replace(demo, recipe=replace(demo.recipe, epochs=32)))
    changed = missing(records)
    assert 0 < len(changed) < len(STUDIES["source_collapse"](SCALES["demo"], demo.seeds))


def test_without_seeds_a_grid_plans_what_protocols_ask_for(tmp_path):
    def planned(*given):
        done = CliRunner().invoke(grid.app, ["plan", *given], catch_exceptions=False)
        return [tuple(each) for each in json.loads(done.stdout)["missing"]]

    (tmp_path / "records").mkdir()
    of_study = ["--scale", "demo", "--study", "fine_tuning"]
    every = [("fine_tuning", cell_digest(cell)) for cell in every_cell("fine_tuning", "demo")]
    assert sorted(planned(*of_study, "--records", str(tmp_path / "records"))) == sorted(every)
    assert {cell["seed"] for cell in every_cell("fine_tuning", "demo")} >= {10, 90}
    assert planned(*of_study) == []  # the book has them all


def test_settings_are_chosen_by_number_or_text():
    cells = [{"rate": 1e-4, "task": "digits"}, {"rate": 1e-3, "task": "1"}]
    assert grid.chosen(cells, {"rate": from_json("1e-4")}) == cells[:1]
    assert grid.chosen(cells, {"task": from_json("1")}) == cells[1:]
    assert grid.chosen(cells, {"task": from_json("digits")}) == cells[:1]
    assert grid.chosen(cells, {"rate": "0.0001"}) == cells[:1]
    assert grid.chosen(cells, {"depth": None}) == grid.chosen(cells, {"depth": "None"}) == []


def test_a_folder_that_cannot_be_written_is_noticed_before_a_grid_begins(tmp_path):
    (tmp_path / "records").write_text("no folder")
    with pytest.raises(OSError, match="records"):
        CliRunner().invoke(grid.app, ["plan", "--records", str(tmp_path / "records")], catch_exceptions=False)


def test_resources_are_named_for_every_scale_and_known_studies():
    resources = yaml.safe_load((ROOT / "workflow" / "grid.yaml").read_text())["resources"]
    assert resources.keys() == SCALES.keys(), "workflow/grid.yaml needs `resources` for each of SCALES, and no other"
    for scale, by_study in resources.items():
        unknown = by_study.keys() - STUDIES.keys() - {"other"}
        assert not unknown, f"{scale} in workflow/grid.yaml names {unknown}, which are no studies"
        for study in STUDIES:
            taken = by_study["other"] | by_study.get(study, {})
            assert taken.keys() == {"threads", "mem_mb", "runtime", "gpu"}
            cure = "a study has a GPU at paper scale alone, and not if it is in ON_CPU of chapters/selection.py"
            assert taken["gpu"] == (scale == "paper" and study not in ON_CPU), f"{scale}, {study}: {cure}"


def test_every_study_has_its_chapter():
    chapters = {study: chapter(study) for study in STUDIES}
    for study, path in chapters.items():
        assert path.with_suffix(".ipynb").exists(), f"{study} is in {path.name}, which no one has executed: make book"
    assert chapters["collapse_by_layer"] == ROOT / "notebooks" / "04_collapse_on_the_downstream_data.py"


@pytest.mark.parametrize("name", ["poems", "demo"])  # the second is a word of every chapter
def test_an_unknown_study_has_no_chapter(name):
    with pytest.raises(ValueError, match=f"no chapter measures '{name}'; the studies are .*source_collapse"):
        chapter(name)


def test_a_run_of_one_cell_measures_that_and_ends(tmp_path):
    """With papermill's own command line, as the grid does."""
    cell = STUDIES["score_cost"](SCALES["demo"], [0])[1]
    told = {ONLY: f"score_cost/{cell_digest(cell)}", RECORDS_AT: str(tmp_path)}
    notebook = chapter("score_cost").with_suffix(".ipynb")
    command = [sys.executable, "-m", "papermill", notebook, tmp_path / "run.ipynb"]
    command += ["--cwd", ROOT / "notebooks", "--no-progress-bar"]
    done = subprocess.run(list(map(str, command)), env=os.environ | told, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (record,) = Records(tmp_path).read("score_cost", "demo")
    assert record["config"] | {"seed": record["seed"]} == cell
    assert not list(tmp_path.glob("model_selection*"))
    executed = json.loads((tmp_path / "run.ipynb").read_text())["cells"]
    code = [each for each in executed if each["cell_type"] == "code"]
    assert code[-1]["execution_count"] is None  # it ended before the figures


def snakemake(folder, *options, cwd=ROOT, **config):
    settings = {"scale": "demo", "records": f"{folder}/records", "folder": f"{folder}/grid"} | config
    command = [SNAKEMAKE, "-s", "workflow/Snakefile", "--profile", "workflow/profiles/local", *options]
    command += ["--config", *(f"{name}={json.dumps(value)}" for name, value in settings.items())]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | ({} if cwd == ROOT else {"NCLIB_CHECKOUT": str(ROOT)})
    return subprocess.Popen(list(map(str, command)), cwd=cwd, env=environment, start_new_session=True, **pipe)


def output_of(process):
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def jobs(said):
    """How many cells a plan has."""
    found = re.search(r"^cell +(\d+)$", said, re.MULTILINE)
    return int(found[1]) if found else 0


SCIPY = {"studies": ["text_selection"], "where": {"task": "docstrings, which part of scipy"}}


def test_records_in_files_and_folders_are_taken_once(tmp_path):
    cells = STUDIES["score_cost"](SCALES["demo"], [0])
    for cell in cells[:2]:
        fill(Records(tmp_path / "kept"), "score_cost", "demo", [cell], lambda cell: {"leep": 1.0})
    line = Records(tmp_path / "kept").path("score_cost", "demo").read_text().splitlines()
    (tmp_path / "grid" / "score_cost").mkdir(parents=True)
    for number, text in enumerate(line):
        (tmp_path / "grid" / "score_cost" / f"{number}.jsonl").write_text(text + "\n")
    book = tmp_path / "records"
    given = [tmp_path / "grid", tmp_path / "grid" / "score_cost" / "0.jsonl"]
    for _ in range(2):
        done = CliRunner().invoke(grid.app, ["merge", *map(str, given), "--records", str(book)])
        assert done.exit_code == 0, done.output
    assert "0 of 3 records are new" in done.output
    assert len(Records(book).read("score_cost", "demo")) == 2


def test_how_cells_of_a_grid_failed_is_taken_too(tmp_path):
    cell = STUDIES["score_cost"](SCALES["demo"], [0])[0]
    kept, book = Records(tmp_path / "grid" / "score_cost" / cell_digest(cell)), Records(tmp_path / "records")

    def diverging(cell):
        raise ValueError("it diverged")

    with pytest.raises(RuntimeError, match="1 of 1 cells of score_cost at demo scale failed"):
        fill(kept, "score_cost", "demo", [cell], diverging)
    done = CliRunner().invoke(grid.app, ["merge", str(tmp_path / "grid"), "--records", str(book.folder)])
    assert done.exit_code == 0, done.output
    assert [failure["reason"] for failure in book.failed("score_cost", "demo", [cell])] == ["ValueError: it diverged"]
    assert book.read("score_cost", "demo") == []


@pytest.mark.parametrize(
    "wrong",
    [["--study", "poems"], ["--where", "digits"], ["--where", "flavour=red"], ["--where", "loss=hinge"]],
)
def test_what_no_cell_has_is_refused(wrong):
    done = CliRunner().invoke(grid.app, ["plan", *wrong])
    assert done.exit_code != 0
    assert any(word in done.output for word in ("poems", "name=value", "flavour", "hinge"))


def test_the_table_of_costs_names_every_study_at_every_scale():
    table = pages.cost_table()
    rows = [line.removeprefix("| ").split(" | ")[:2] for line in table.splitlines()[2:]]
    assert rows == [[study, scale] for scale in SCALES for study in STUDIES if cells_of(study, scale)]
    same = (ROOT / "book" / "cost_table.md").read_text() == table
    assert same, "book/cost_table.md is not that of the studies and records: run python -m workflow.pages cost_table"


def test_every_panel_of_the_papers_is_there_at_paper_scale():
    rows = panels.rows()
    assert not [title for _, title, _, number, names in rows if number == "0" or not names]
    named = {panel.study for panel in panels.PANELS}
    assert {study for study in STUDIES if cells_of(study, "paper")} - named == {"score_cost"}
    same = (ROOT / "book" / "panels_table.md").read_text() == pages.panels_table()
    assert same, "book/panels_table.md is not that of paper scale: run python -m workflow.pages panels_table"


def test_operations_are_those_of_known_networks():
    """Twice the multiplications that are published for them."""
    assert costs.named("torchvision:resnet50") == pytest.approx(2 * 4.09e9, rel=0.02)
    assert costs.named("torchvision:vit_b_16") == pytest.approx(2 * 17.6e9, rel=0.05)
    assert costs.trained("cifar_resnet", 64, 2, 3, 32) == (pytest.approx(2 * 0.556e9, rel=0.01), 512)


def test_work_is_that_of_each_network_once_and_of_every_cell():
    (cell, *_) = STUDIES["complexity_penalty"](SCALES["paper"], [0])
    recipe = costs.recipe_of(cell)
    once, _ = costs.of_recipe(recipe)
    trained = costs.training(recipe)
    assert trained.half == pytest.approx(3 * recipe.epochs * 48_640 * once)
    assert costs.training(replace(recipe, penalty=1e-4)).single > trained.single == 0
    assert costs.work_of([cell]) == trained + costs.along_training(cell)
    assert costs.work_of([cell, cell]).half < 2 * costs.work_of([cell]).half
    fewest, most = costs.work_of([cell]).hours
    assert 0 < fewest < most


def test_a_data_set_of_unknown_size_says_where_sizes_are():
    with pytest.raises(ValueError, match=r"SIZES of nclib/experiments/sizes.py has no row glyphs/greek: add its"):
        costs.images("glyphs/greek[0:8]", 0, None)


@needs_snakemake
def test_the_plan_has_a_job_for_each_cell_and_none_when_all_is_there(tmp_path):
    said = output_of(snakemake(tmp_path, "-n", seeds=[0], **SCIPY))
    cells = grid.chosen(STUDIES["text_selection"](SCALES["demo"], [0]), SCIPY["where"])
    assert jobs(said) == len(cells) > 5
    fill(
        Records(tmp_path / "records"),
        "text_selection",
        "demo",
        STUDIES["text_selection"](SCALES["demo"], [0]),
        lambda cell: {"accuracy": 1.0},
    )
    assert jobs(output_of(snakemake(tmp_path, "-n", seeds=[0], **SCIPY))) == 0
    pod = tmp_path / "pod"  # where there is nothing of the checkout but the workflow
    shutil.copytree(ROOT / "workflow", pod / "workflow")
    assert jobs(output_of(snakemake(tmp_path, "-n", cwd=pod, seeds=[0, 1], **SCIPY))) == len(cells)


@needs_snakemake
def test_a_path_of_modules_that_is_set_is_kept(tmp_path, monkeypatch):
    said = tmp_path / "said"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\nwith open({str(said)!r}, 'a') as file:\n    print(os.environ['PYTHONPATH'], file=file)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    output_of(snakemake(tmp_path, "-n", seeds=[0], **SCIPY))
    assert os.pathsep.join([str(ROOT), str(tmp_path)]) in said.read_text().splitlines()


def finished(folder):
    """The files of cells that are done, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("grid/demo/*/*/*.jsonl")}


def wait_for_a_cell(process, folder):
    while not finished(folder) and process.poll() is None:
        time.sleep(0.1)


@needs_snakemake
def test_a_grid_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path):
    """NCLIB_KILLS says how often; of all cells then. Two grids, one a while after the other, end it together."""
    where = SCIPY["where"] | ({} if KILLS > 1 else {"depth": 1})
    seed = cells_of("text_selection", "demo")[0]["seed"]  # its records are those of the pinned packages
    config = SCIPY | {"seeds": [seed], "where": where}
    cells = grid.chosen(STUDIES["text_selection"](SCALES["demo"], [seed]), where)
    kept = {}
    for kill in range(KILLS):
        process = snakemake(tmp_path, **config)
        wait_for_a_cell(process, tmp_path)
        time.sleep(random.Random(kill).uniform(0, 6))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert kept.items() <= finished(tmp_path).items()  # not measured again
        kept = finished(tmp_path)
        assert kept
        assert all(len(Records(path.parent).read("text_selection", "demo")) == 1 for path in kept)
    first = snakemake(tmp_path, **config)
    time.sleep(10)
    second = snakemake(tmp_path, **config)
    output_of(first), output_of(second)
    assert kept.items() <= finished(tmp_path).items()
    records = Records(tmp_path / "records")
    assert len(records.read("text_selection", "demo")) == len(cells)
    undisturbed, now = Records(tmp_path / "undisturbed"), records.select("text_selection", "demo", cells[:1])
    measure = partial(measures(chapter("text_selection"))["text_selection"], cache=tmp_path / "cache")
    fill(undisturbed, "text_selection", "demo", cells[:1], measure)
    allowed = tolerances(
        read_spreads(ROOT / "book" / "processors.csv"), ["text_selection"], "demo", cells_of("text_selection", "demo")
    )
    before = as_table(undisturbed.select("text_selection", "demo", cells[:1]))
    assert differences(before, as_table(now), allowed)["agrees"].all()
    assert jobs(output_of(snakemake(tmp_path, "-n", **config))) == 0
