"""A run: its parameters are checked, its files are where they should be, a cell is measured live."""

import math
import os
import shutil
import subprocess
import sys
from functools import partial
from itertools import product

import pandas as pd
import pytest
import torch

import nclib
from nclib.checks import SetupError
from nclib.experiments.records import Records, cell_digest, fill
from nclib.experiments.run import ONLY, RECORDS_AT, book_root, start
from nclib.experiments.studies import LIVE, STUDIES, live_cell
from nclib.experiments.tolerances import CHANGES, FIELDS
from nclib.models.recipes import Recipe
from tests.layouts import picture
from workflow.measures import ROOT


def square(cell, cache):
    return {"accuracy": 0.5, "nc1": float(cell["seed"] + 1), "from_cache": int(cache is not None)}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A run with a study of its own, which has a live cell, its record, and spreads."""
    monkeypatch.setitem(STUDIES, "toy", lambda scale, seeds: [{"seed": seed} for seed in seeds])
    monkeypatch.setitem(LIVE, "toy", {})
    cell = live_cell("toy")
    fill(Records(tmp_path / "book" / "records"), "toy", "check", [cell], partial(square, cache=None))
    spread = {"accuracy": 0.01, "nc1": 0.1, "from_cache": 0.0}
    rows = [["a processor", "as it is", "toy", "check", cell_digest(cell), *pair] for pair in spread.items()]
    rows += [["a processor", CHANGES[0], "toy", "check", cell_digest(cell), name, 9.0] for name in spread]
    pd.DataFrame(rows, columns=FIELDS).to_csv(tmp_path / "book" / "processors.csv", index=False)
    return start(root=tmp_path, seeds=[0, 1])


def test_a_study_is_measured_with_the_cache(toy, capsys):
    table = toy.study("toy", square)
    assert table["from_cache"].tolist() == [1, 1]
    assert toy.describe("toy").startswith("toy at demo scale: 2 records")


def test_a_study_by_scale_says_where_its_records_come_from(toy, capsys):
    tables = toy.study_by_scale("toy", square)
    assert {scale: len(table) for scale, table in tables.items()} == {"demo": 2}
    assert toy.describe("toy") in capsys.readouterr().out


def test_a_live_cell_is_measured_from_nothing_in_double_precision(toy, capsys):
    seen = []

    def measure(cell, cache):
        seen.append((cache, torch.get_default_dtype()))
        return square(cell, cache) | {"nc1": 1.25}

    live = toy.live({"toy": measure})
    assert seen == [(None, torch.float64)]
    assert torch.get_default_dtype() == torch.float32
    assert live["agrees"].to_dict() == {("toy", "accuracy"): True, ("toy", "from_cache"): True, ("toy", "nc1"): True}
    assert live["tolerance"]["toy", "nc1"] == pytest.approx(0.3)
    assert "the live check agrees with the records: True" in capsys.readouterr().out


def test_what_was_measured_live_is_said_in_a_file_and_nowhere_else(toy, capsys):
    live = toy.live({"toy": lambda cell, cache: square(cell, cache) | {"nc1": 1.4567}})
    said = capsys.readouterr()
    assert "the live check agrees with the records: False: nc1 of toy differs" in said.out
    assert "4567" not in said.out + said.err + live.to_string() + live.to_html()
    written = pd.read_csv(toy.root / "_build" / "live" / "toy.csv").set_index("metric")
    assert written.loc["nc1", ["recorded", "now", "agrees"]].tolist() == [1.0, 1.4567, False]
    assert written["processor"].notna().all()


def test_a_live_cell_without_record_or_spread_says_what_makes_them(toy):
    (toy.root / "book" / "processors.csv").write_text(",".join(FIELDS) + "\n")
    with pytest.raises(ValueError, match="make processors"):
        toy.live({"toy": square})
    (toy.root / "book" / "processors.csv").unlink()
    with pytest.raises(FileNotFoundError, match="make processors"):
        toy.live({"toy": square})
    toy.records.path("toy", "check").unlink()
    with pytest.raises(ValueError, match="has no record"):
        toy.live({"toy": square})
    with pytest.raises(ValueError, match="score_cost has no live cell"):
        toy.live({"score_cost": square})


def test_at_another_scale_nothing_is_measured_live(tmp_path, capsys):
    assert start("paper", root=tmp_path, device="cpu").live({"fine_tuning": None}).empty
    assert "the live check needs the demo scale" in capsys.readouterr().out


def test_nothing_of_the_machine_is_said_where_a_notebook_keeps_it(tmp_path, capsys):
    start(root=tmp_path, seeds=[0, 1])
    said = capsys.readouterr()
    assert said.out == "demo scale, seeds [0, 1]\n"
    assert torch.__version__ in said.err


def test_the_demo_runs_on_the_cpu_though_there_is_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert start(root=tmp_path).device.type == "cpu"
    assert start("paper", root=tmp_path).device.type == "cuda"
    assert start(root=tmp_path, device="cuda").device.type == "cuda"


@pytest.mark.parametrize(
    ("given", "threads"), [({}, 1), ({"OMP_NUM_THREADS": "2"}, 2), ({"OMP_WAIT_POLICY": "PASSIVE"}, 2)]
)
def test_threads_that_wait_do_not_spin(tmp_path, given, threads):
    """Two at most: what a run computes on one thread, or on as many as it is told, or on passive ones."""
    code = f"""
import os, torch, nclib
torch.set_num_threads(2)
nclib.start(root={str(tmp_path)!r})
print(torch.get_num_threads(), os.environ["OMP_WAIT_POLICY"])
"""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", code], env=kept | given, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{threads} PASSIVE"


def test_recomputed_records_stand_beside_the_committed_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("NCLIB_CACHE", str(tmp_path / "mine"))
    run = start(root=tmp_path, recompute=True)
    assert run.records.folder == tmp_path / "_build" / "recomputed" / "records"
    assert run.cache == tmp_path / "_build" / "recomputed" / "cache"
    assert start(root=tmp_path).cache == tmp_path / "mine"
    assert start(root=tmp_path).records.folder == tmp_path / "book" / "records"


@pytest.mark.parametrize(("given", "seeds"), [("[3, 4]", (3, 4)), (5, (5,)), ("5", (5,)), ([0], (0,))])
def test_seeds_may_be_what_papermill_passes(tmp_path, given, seeds):
    assert start(root=tmp_path, seeds=given).seeds == seeds


def test_the_book_is_found_from_any_folder_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no book/records in .*--cwd PATH/TO/notebooks\), or give root=\.\.\."):
        start()
    (tmp_path / "book" / "records").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir("notebooks")
    assert book_root() == tmp_path


@pytest.mark.parametrize("seeds", [[], [-1], ["a"], [0.5], [True], [0, 0], "0,1", "all"])
def test_bad_seeds_are_an_error(tmp_path, seeds):
    with pytest.raises(ValueError, match="they must be different whole numbers, 0 or higher"):
        start(root=tmp_path, seeds=seeds)


def test_an_unknown_scale_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="unknown scale 'big'"):
        start("big", root=tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="torch finds no GPU here"):
        start(device="cuda", root=tmp_path)


@pytest.mark.parametrize("scale", ["demo", "lab", "paper"])
def test_models_and_tasks_of_ones_own_are_chosen_among(tmp_path, scale):
    for part, k, i in product(("train", "test"), range(2), range(2)):
        picture(tmp_path / "mine" / part / "ab"[k] / f"{i}.png", k)
    task = f"folder:{tmp_path / 'mine'}"
    run = start(scale, root=tmp_path, models=["test_resnet", "test_vit"], tasks=[task])
    cells = run.cells("model_selection")
    assert [(cell["model"], cell["task"], cell["method"]) for cell in cells] == [
        ("test_resnet", task, "full"),
        ("test_vit", task, "full"),
    ]
    assert {cell["zoos"][0] for cell in cells} == {"models"}
    picture(tmp_path / "mine" / "train" / "a" / "another.png", 0)
    again = start(scale, root=tmp_path, models=["test_resnet", "test_vit"], tasks=[task]).cells("model_selection")
    assert [cell["digest"] for cell in again] != [cell["digest"] for cell in cells]
    assert {cell["model"] for cell in run.cells("scene_selection")} == {"test_resnet", "test_vit"}


def live_of(tmp_path, change):
    """A run whose table of spreads is changed."""
    shutil.copytree(ROOT / "book" / "records", tmp_path / "book" / "records")
    change(pd.read_csv(ROOT / "book" / "processors.csv", comment="#")).to_csv(
        tmp_path / "book" / "processors.csv", index=False
    )
    return start(root=tmp_path, device="cpu")


def test_a_live_check_needs_a_tolerance_of_every_metric(tmp_path):
    run = live_of(tmp_path, lambda t: t[~((t["study"] == "collapse_by_layer") & (t["metric"] == "nc1"))])
    with pytest.raises(ValueError, match="the spread between processors is unknown for nc1 of collapse_by_layer"):
        run.live({"collapse_by_layer": lambda cell, cache: {}})


def test_a_live_check_of_nothing_is_an_error(tmp_path):
    run = live_of(tmp_path, lambda t: t.assign(apart=t["apart"].where(t["study"] != "collapse_by_layer", math.inf)))
    with pytest.raises(ValueError, match="no metric of the live cell of collapse_by_layer is steady enough"):
        run.live({"collapse_by_layer": lambda cell, cache: {}})
    with pytest.raises(ValueError, match="there is no study to check"):
        run.live({})


def test_recomputing_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv(RECORDS_AT, str(tmp_path))
    with pytest.raises(ValueError, match="give either that or NCLIB_RECORDS"):
        start(recompute=True)
    assert start().records.folder == tmp_path
    monkeypatch.setenv(ONLY, "")
    assert start().only is None


def test_failed_cells_are_tried_again_beside_the_records_of_the_others(toy, tmp_path):
    def measure(cell, cache):
        if cell["seed"]:
            raise ValueError("it diverged")
        return square(cell, cache)

    with pytest.warns(UserWarning, match="1 of 2 cells of toy at demo scale failed: ValueError: it diverged"):
        assert toy.study("toy", measure)["seed"].tolist() == [0]
    with pytest.warns(UserWarning, match="it diverged"):
        assert toy.study("toy", square)["seed"].tolist() == [0]
    again = start(root=tmp_path, seeds=[0, 1], recompute="failed")
    assert again.records.folder == toy.records.folder
    assert again.cache == toy.cache
    assert again.study("toy", square)["seed"].tolist() == [0, 1]


def test_what_to_recompute_is_checked(tmp_path):
    with pytest.raises(ValueError, match="recompute is 'all'; it must be True, False, or 'failed'"):
        start(root=tmp_path, recompute="all")


@pytest.mark.parametrize("only", ["toy", "toy/", "/abc", "nonsense/abc"])
def test_the_one_cell_to_be_measured_has_a_study_and_a_digest(only, toy, monkeypatch, tmp_path):
    monkeypatch.setenv(ONLY, only)
    with pytest.raises(ValueError, match=f"NCLIB_ONLY is {only!r}; it must be study/digest, of the studies"):
        start(root=tmp_path)


def test_what_a_cell_kept_and_cannot_go_on_with_is_begun_anew(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("NCLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    run = start(root=tmp_path, seeds=[0, 1])

    def measure(cell, cache):
        if run.unfinished("state").exists():
            raise ValueError("state is damaged")
        return square(cell, cache)

    run._unfinished_of("toy", {"seed": 0}).mkdir(parents=True)
    (run._unfinished_of("toy", {"seed": 0}) / "state").touch()
    with pytest.warns(UserWarning, match="a cell of toy failed when it resumed, and starts again: state is damaged"):
        assert run.study("toy", measure)["seed"].tolist() == [0, 1]
    assert not run.records.failed("toy", "demo", run.cells("toy"))


@pytest.mark.parametrize(
    ("asks", "error"),
    [
        (lambda run: run.load("cifar100", "train"), FileNotFoundError),
        (lambda run: run.load("digits", "train", per_class=5000), SetupError),
        (lambda run: run.load("no such set", "train"), SetupError),
        (lambda run: run.backbone({"model": "no such model", "weights": "pretrained"}, None), SetupError),
        (lambda run: run.train(Recipe("digits", per_class=5000)), SetupError),
        (lambda run: nclib.texts("docstrings/libraries", per_class=5000), SetupError),
        (lambda run: nclib.scenes("no such set"), SetupError),
    ],
)
def test_a_fault_of_setting_up_ends_the_study_and_is_no_failed_cell(asks, error, toy, monkeypatch):
    monkeypatch.delenv("NCLIB_DATA", raising=False)
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    with pytest.raises(error):
        toy.study("toy", lambda cell, cache: asks(toy) and {"accuracy": 0.5})
    assert not toy.records.failed("toy", "demo", toy.cells("toy"))


@pytest.mark.filterwarnings("ignore:1 of 2 cells")
def test_what_a_cell_keeps_is_there_until_it_is_settled_and_not_of_a_live_cell(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("NCLIB_CACHE", str(tmp_path / "cache"))
    run, seen = start(root=tmp_path, seeds=[0, 1]), []

    def measure(cell, cache):
        seen.append(run.unfinished("trail"))
        if cache:
            seen[-1].mkdir(parents=True)
        if cell["seed"] and cache:
            raise ValueError("it diverged")
        return square(cell, cache)

    monkeypatch.setattr("joblib.cpu_count", lambda: 1)  # here, where `seen` is
    run.study("toy", measure)
    folders = [tmp_path / "cache" / "unfinished" / f"toy-demo-{cell_digest(cell)}" for cell in run.cells("toy")]
    assert seen == [folder / "trail" for folder in folders]
    assert not any(folder.exists() for folder in folders)
    run.live({"toy": measure})
    assert seen[-1] is None
    assert run.unfinished("trail") is None
    folders[0].mkdir()  # killed between the record and its removal
    run.study("toy", measure)
    assert not folders[0].exists()
