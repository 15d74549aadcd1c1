"""Data sets of Hugging Face's library by name: which splits they have, and what is done where they have none."""

import sys
from types import SimpleNamespace

import datasets
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import nclib
from nclib.cli import app
from nclib.features.files import read_classes
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
    with pytest.raises(ValueError, match="has the splits val, validation; two of them name the same split: keep one"):
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
    with pytest.raises(ValueError, match="only pictures can be read into memory"):
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


@pytest.mark.parametrize("kind", [None, "torch", "numpy"])
def test_the_library_itself(kind, tmp_path):
    """What is saved is read again, in any of its formats."""
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


def test_the_library_itself_has_texts(tmp_path):
    features = datasets.Features({"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)})
    data = datasets.Dataset.from_dict({"sentence": ["it purrs", "it barks"], "label": [0, 1]}, features)
    datasets.DatasetDict(train=data, validation=data.select([1])).save_to_disk(tmp_path / "saved")
    train, test = (nclib.texts(f"hf:{tmp_path / 'saved'}", split) for split in ("train", "test"))
    assert (train.texts, train.labels.tolist(), train.classes) == (("it purrs", "it barks"), [0, 1], tuple(NAMES))
    assert (test.texts, test.labels.tolist()) == (("it barks",), [1])


WORDS = ["it purrs", "it barks", "it meows", "it growls", "it naps", "it howls", "it hisses", "it begs", "a", "b"]


def words(number=10, text="text", label="label", names=("dog", "cat"), labels=None):
    labels = [i % 2 for i in range(number)] if labels is None else labels
    return HuggingFace({text: WORDS[:number], label: labels}, names)


@pytest.mark.parametrize("text", ["text", "sentence", "content"])
def test_texts_of_the_hub_have_the_classes_of_their_labels(text, hub):
    hub["someone/words", None] = {"train": words(6, text), "validation": words(4, text)}
    train, test = (nclib.texts("hf:someone/words", split) for split in ("train", "test"))
    assert (train.texts, train.labels.tolist(), train.classes) == (tuple(WORDS[:6]), [0, 1] * 3, ("dog", "cat"))
    assert (len(test), test.classes) == (4, ("dog", "cat"))
    assert len(nclib.texts("hf:someone/words", "all")) == 10
    assert nclib.load("hf:someone/words", "test").digest == test.digest
    assert nclib.texts("hf:someone/words", per_class=2).labels.bincount().tolist() == [2, 2]
    with pytest.raises(ValueError, match="unknown split 'dev' of hf:someone/words; there are train, test, all"):
        nclib.texts("hf:someone/words", "dev")


@pytest.mark.parametrize(
    ("labels", "numbers", "classes"),
    [(["b", "a", "b", "a"], [1, 0, 1, 0], ("a", "b")), ([2, 0, 2, 1], [2, 0, 2, 1], ("0", "1", "2"))],
)
def test_labels_of_texts_need_no_names(labels, numbers, classes, hub):
    hub["words", None] = {"train": words(4, names=None, labels=labels), "test": words(2, names=None, labels=labels[:2])}
    assert (nclib.texts("hf:words").labels.tolist(), nclib.texts("hf:words").classes) == (numbers, classes)
    assert nclib.texts("hf:words", "test").labels.tolist() == numbers[:2]


def test_texts_without_splits_are_split_by_us(hub):
    hub["words", None] = words(10)
    train, test = (nclib.texts("hf:words", split) for split in ("train", "test"))
    assert (len(train), len(test), test.labels.bincount().tolist()) == (8, 2, [1, 1])
    assert {*train.texts} | {*test.texts} == {*nclib.texts("hf:words", "all").texts}
    assert nclib.texts("hf:words", "test").digest == test.digest


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            {"sound": ["a"] * 2, "label": [0, 1]},
            {},
            "hf:words has the columns sound, label; it must have text and label",
        ),
        ({"text": ["a", None], "label": [0, 1]}, {}, "hf:words, row 1 has None for text; it must be a text"),
        ({"text": ["a", "b"], "label": [0, -1]}, {}, "item 1 has a label -1; .* leave out items without a class"),
        ({"text": ["a", "b"], "label": [0, 1]}, {"text_column": "body"}, "it must have body and label, or name yours"),
    ],
)
def test_texts_that_cannot_be_had_say_why(columns, options, message, hub):
    hub["words", None] = {"train": HuggingFace(columns), "test": HuggingFace(columns)}
    with pytest.raises(ValueError, match=message):
        nclib.texts("hf:words", **options)


def test_columns_of_texts_are_named_and_images_come_before_captions(hub):
    hub["words", None] = {"train": words(4, "body", "fine_label"), "test": words(4, "body", "fine_label")}
    assert nclib.texts("hf:words", text_column="body").classes == ("dog", "cat")
    both = HuggingFace({"image": data_set(4).columns["img"], "text": WORDS[:4], "label": [0, 1, 0, 1]})
    hub["captions", None] = {"train": both, "test": both}
    assert nclib.load("hf:captions").image(0).size == (9, 7)
    assert nclib.texts("hf:captions").texts == tuple(WORDS[:4])
    for name, options in (("hf:words", {"seed": 3}), ("hf:words[0:1]", {})):
        hub["words", None] = {"train": words(4), "test": words(4)}
        with pytest.raises(ValueError, match="hf:words holds texts, for which classes, seed and download"):
            nclib.load(name, **options)


def test_the_command_line_takes_texts_of_the_hub(hub, tmp_path, monkeypatch):
    hub["words", None] = {"train": words(6), "test": words(4)}
    found = {}

    def layers(encoder, texts, layers, **options):
        found["texts"] = texts
        return {"last": torch.eye(6)[:, : len(texts)]}

    monkeypatch.setattr("nclib.models.text_encoders.text_encoder", lambda name, **options: name)
    monkeypatch.setattr("nclib.models.text_encoders.text_layers", layers)
    output = tmp_path / "x.npz"
    done = CliRunner().invoke(app, ["extract", "some/encoder", "hf:words", str(output)])
    assert f"{output}: 6 texts, 2 classes, 6 features" in done.output
    assert found["texts"] == tuple(WORDS[:6])
    assert read_classes(output) == ("dog", "cat")
    done = CliRunner().invoke(app, ["statistics", "test_vit", "hf:words", str(tmp_path / "x.safetensors")])
    assert "hf:words holds texts: write their features with nclib extract" in done.output
