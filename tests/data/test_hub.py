"""Data sets of Hugging Face's library by name: which splits they have, and what is done where they have none."""

import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import nclib
from nclib.cli import app
from tests.data.test_kinds import MODEL, HuggingFace

NAMES = ["cat", "dog"]


def data_set(number, shade=0):
    images = [Image.new("RGB", (9, 7), (shade + i, 0, 0)) for i in range(number)]
    return HuggingFace({"img": images, "fine_label": [i % 2 for i in range(number)]}, NAMES)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A library `datasets` that has what is put into it, by name, configuration and folder."""
    known = {}
    library = SimpleNamespace(
        load_dataset=lambda name, configuration: known[name, configuration],
        load_from_disk=lambda folder: known[folder],
    )
    monkeypatch.setitem(sys.modules, "datasets", library)
    monkeypatch.setenv("NCLIB_DATA", str(tmp_path))
    return known


@pytest.mark.parametrize("names", [("train", "test"), ("train", "validation"), ("Training", "Testing")])
def test_a_name_of_the_hub_has_its_splits(names, hub):
    hub["someone/pets", None] = dict(zip(names, (data_set(6), data_set(4, 100)), strict=True))
    train, test = (nclib.load("hf:someone/pets", split) for split in ("train", "test"))
    assert (len(train), len(test), train.classes) == (6, 4, ("cat", "dog"))
    assert test.image(0).getpixel((0, 0)) == (100, 0, 0)
    assert nclib.load("hf:someone/pets", per_class=2).labels.bincount().tolist() == [2, 2]
    assert nclib.load("hf:someone/pets[1:2]").classes == ("dog",)
    assert nclib.extract(MODEL, train).shape == (6, 192)
    everything = nclib.load("hf:someone/pets", "all")
    assert everything.labels.tolist() == [*train.labels.tolist(), *test.labels.tolist()]
    assert everything.image(6).getpixel((0, 0)) == (100, 0, 0)
    assert everything.take(1).classes == ("cat", "dog")
    with pytest.raises(ValueError, match=r"unknown split 'dev' of hf:someone/pets; there are train, test, all$"):
        nclib.load("hf:someone/pets", "dev")


def test_all_three_splits_and_others_keep_their_names(hub):
    parts = {"train": data_set(6), "validation": data_set(2), "test": data_set(4), "extra": data_set(8)}
    hub["pets", "small"] = parts
    sizes = {split: len(nclib.load("hf:pets:small", split)) for split in ("train", "val", "test", "extra")}
    assert sizes == {"train": 6, "val": 2, "test": 4, "extra": 8}
    hub["pets", "small"] = {"val": data_set(2), "validation": data_set(2)}
    with pytest.raises(ValueError, match="has the splits val, validation, of which two are names of one; keep one"):
        nclib.load("hf:pets:small")


@pytest.mark.parametrize("data", [{"train": data_set(20)}, data_set(20)])
def test_one_split_is_split_by_us(data, hub):
    hub["pets", None] = data
    sizes = {split: len(nclib.load("hf:pets", split)) for split in ("train", "test", "all")}
    assert sizes == {"train": 16, "test": 4, "all": 20}


@pytest.mark.parametrize("given", ["hf:saved", "hf:{folder}"])
def test_a_folder_is_read_as_it_was_saved(given, hub, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "state.json").touch()
    hub[str(folder)] = data_set(10)
    assert len(nclib.load(given.format(folder=folder), "all")) == 10
    (folder / "state.json").unlink()
    hub[str(folder), None] = data_set(4)
    assert len(nclib.load(given.format(folder=folder), "all")) == 4


def test_they_come_into_memory(hub):
    hub["pets", None] = {"train": data_set(6), "test": data_set(4)}
    assert nclib.load("hf:pets").in_memory(8).images.shape == (6, 3, 8, 8)
    with pytest.raises(ValueError, match="only pictures are brought into memory"):
        nclib.labelled((torch.rand(2, 3, 8, 8), [0, 1])).in_memory()


def test_the_command_line_takes_them(hub, tmp_path):
    hub["pets", None] = {"train": data_set(6), "test": data_set(4)}
    options = ["--weights", "random", "--device", "cpu"]
    output = tmp_path / "features.npz"
    done = CliRunner().invoke(app, ["extract", "test_resnet", "hf:pets", str(output), *options])
    assert f"{output}: 6 images, 2 classes, 96 features" in done.output
    rank = ["rank", "--data", "hf:pets", "--models", "test_resnet", "--scores", "gbc", *options]
    assert "test_resnet" in CliRunner().invoke(app, rank).output
    hub["pets", None] = HuggingFace({"sound": [1, 2], "label": [0, 1]})
    done = CliRunner().invoke(app, ["extract", "test_resnet", "hf:pets", str(output), *options])
    assert done.exit_code == 1
    assert "an item has sound, label; it must have one of pixel_values, image" in done.output


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="hf:pets needs Hugging Face's library datasets: pip install datasets"):
        nclib.load("hf:pets")


@pytest.mark.parametrize("kind", [None, "torch", "numpy"])
def test_the_library_itself(kind, tmp_path):
    """Where it is installed: what is saved is read again, in any of its formats."""
    datasets = pytest.importorskip("datasets")
    images = [Image.new("RGB", (9, 7), (i, 0, 0)) for i in range(20)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    data = datasets.Dataset.from_dict({"image": images, "label": [i % 2 for i in range(20)]}, features)
    expected = nclib.extract(MODEL, images)
    found = nclib.labelled(data.with_format(kind))
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [i % 2 for i in range(20)]
    assert torch.equal(nclib.extract(MODEL, found), expected)
    assert nclib.feature_statistics(MODEL, data.to_iterable_dataset()).counts.tolist() == [10, 10]
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "saved")
    again = nclib.load(f"hf:{tmp_path / 'saved'}", "test")
    assert torch.equal(nclib.extract(MODEL, again), expected)
    assert again.classes == ("cat", "dog")
