"""A run: its parameters are checked, its files are where they should be, a cell is measured live."""

from itertools import product

import pytest
import torch

from nclib.run import book_root, start
from nclib.studies import STUDIES
from tests.layouts import picture


def square(cell, cache):
    return {"accuracy": 0.5, "nc1": float(cell["seed"] + 1), "from_cache": int(cache is not None)}


def test_a_live_cell_is_measured_without_the_cache_and_held_against_its_record(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(STUDIES, "toy", lambda scale, seeds: [{"seed": seed} for seed in seeds])
    run = start(root=tmp_path, seeds=[0, 1])
    assert "demo scale, seeds [0, 1]" in capsys.readouterr().out
    table = run.study("toy", square)
    assert table["from_cache"].tolist() == [1, 1]
    assert run.describe("toy").startswith("toy at demo scale: 2 records")
    live = run.live(
        "toy", run.cells("toy")[1], lambda cell, cache: square(cell, cache) | {"nc1": 5.0 if cache is None else 2.0}
    )
    assert live["agrees"].to_dict() == {"accuracy": True, "nc1": False}


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
    with pytest.raises(FileNotFoundError, match="no book/records in"):
        start()
    (tmp_path / "book" / "records").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir("notebooks")
    assert book_root() == tmp_path


@pytest.mark.parametrize("seeds", [[], [-1], ["a"], [0.5], [True], [0, 0], "0,1", "all"])
def test_bad_seeds_are_an_error(tmp_path, seeds):
    with pytest.raises(ValueError, match="they must be different whole numbers from 0 on"):
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
