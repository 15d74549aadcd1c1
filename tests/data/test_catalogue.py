"""Data sets: embedded ones are deterministic and need nothing; others say where they were looked for."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.datasets import cifar, flowers102, stl10, svhn

import nclib
from nclib.data.augmentation import distort
from nclib.data.catalogue import EMBEDDED
from nclib.data.class_splits import CLASS_SPLITS
from nclib.data.torchvision_sets import TORCHVISION
from nclib.seeds import seeded
from tests.layouts import GREEN, WRITERS, class_folders

CLASSES = {"glyphs/latin": 52, "glyphs/greek": 24, "glyphs/cyrillic": 33, "glyphs/armenian": 38, "glyphs/georgian": 33}


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_are_small_grey_images_with_every_class(name):
    images = nclib.load(name, per_class=3)
    classes = CLASSES.get(name, 10)
    assert len(images.classes) == classes, f"say in CLASSES of {Path(__file__).name} how many classes {name} has"
    assert images.images.shape == (3 * classes, 1, 28, 28)
    assert images.images.dtype == torch.uint8
    assert images.labels.bincount().tolist() == [3] * classes
    assert len(set(images.classes)) == classes
    inputs = images.inputs()
    assert inputs.dtype == torch.float32
    assert -1 <= inputs.min() < inputs.max() <= 1


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_seed_fixes_the_images_and_splits_share_none(name):
    first, again = (nclib.load(name, "train", per_class=3).images for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, nclib.load(name, "train", per_class=3, seed=1).images)
    train, test = (
        {image.numpy().tobytes() for image in nclib.load(name, s, per_class=20).images} for s in ("train", "test")
    )
    assert not train & test


def test_the_digits_are_all_there():
    assert len(nclib.load("digits", "train")) + len(nclib.load("digits", "test")) == 1797


def test_every_letter_is_drawn_in_every_style():
    from nclib.data.glyphs import SCRIPTS, STYLES, _drawn

    for script, letters in SCRIPTS.items():
        drawn = _drawn(script)
        assert drawn.shape[:2] == (len(STYLES), len(letters))
        assert (drawn.amax((2, 3)) > 0.5).all()
        # A font without the letter would draw the same box for each.
        assert len({image.numpy().tobytes() for image in drawn[0]}) == len(letters)


def test_distortion_of_strength_zero_is_none():
    images = torch.rand(4, 1, 8, 8)
    assert distort(images, 0.0, seeded(0)) is images
    assert not torch.allclose(distort(images, 1.0, seeded(0)), images)
    assert torch.equal(distort(images, 1.0, seeded("a", 1)), distort(images, 1.0, seeded("a", 1)))


def test_a_negative_strength_is_an_error():
    with pytest.raises(ValueError, match=r"strength is -1\.0; it must be 0 or more"):
        distort(torch.zeros(1, 1, 4, 4), -1.0, seeded(0))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root, where no file is too small to be the right one."""
    monkeypatch.setenv("NCLIB_DATA", str(tmp_path))
    for module in (cifar, flowers102, stl10, svhn):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).is_file())
    return tmp_path


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_torchvision_set_is_read_from_the_data_root(name, root):
    assert name in WRITERS, f"add to WRITERS of tests/layouts.py what writes a few images as {name} lies on disk"
    WRITERS[name](root)
    parts = [nclib.load(name, split).labels for split in TORCHVISION[name].splits or ["train", "test"]]
    assert len(nclib.load(name, "all")) == sum(map(len, parts))
    for split in TORCHVISION[name].splits or ["all"]:
        images = nclib.load(name, split)
        assert images.labels.dtype == torch.int64
        assert set(images.labels.tolist()) == {0, 1}
        assert len(set(images.classes)) == len(images.classes) >= 2
        for i, label in enumerate(images.labels.tolist()):
            image = images.image(i)
            if isinstance(images, nclib.ImageSet):
                assert image.getextrema() == ((255 * label,) * 2 if image.mode == "L" else ((255 * label,) * 2,) * 3)
            else:
                assert image.getpixel((0, 0)) == (255 * label, GREEN["" if split == "all" else split], 0)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("mnist", ("0 - zero", "1 - one")),
        ("svhn", ("0", "1")),
        ("usps", ("0", "1")),
        ("emnist/letters", ("a", "b")),
        ("emnist/balanced", ("0", "1")),
        ("cifar100", ("cat", "dog")),
        ("stl10", ("cat", "dog")),
        ("flowers102", ("pink primrose", "hard-leaved pocket orchid")),
        ("oxford-iiit-pet", ("Birman", "Great Dane")),
        ("gtsrb", ("0", "1")),
        ("caltech101", ("accordion", "yin_yang")),
        ("sun397", ("abbey", "bar/indoor")),
        ("imagenet", ("crane", "maillot, tank suit")),
    ],
)
def test_classes_have_the_names_of_the_set(name, classes, root):
    WRITERS[name](root)
    assert nclib.load(name).classes[:2] == classes


def test_emnist_is_turned_upright(root):
    columns_first = np.zeros((4, 28, 28), np.uint8)
    columns_first[:, :, 0] = 255  # the top row of the letter
    WRITERS["emnist/letters"](root, columns_first)
    images = nclib.load("emnist/letters").images
    assert (images[:, 0, 0] == 255).all()
    assert (images[:, 0, 1:] == 0).all()


@pytest.mark.parametrize("name", ["eurosat", "caltech101", "sun397", "folder:eurosat/2750"])
def test_a_set_without_splits_is_split_by_us(name, root):
    WRITERS[name.removeprefix("folder:").removesuffix("/2750")](root)
    train, test, whole = (nclib.load(name, split) for split in ("train", "test", "all"))
    assert train.labels.bincount().tolist() == [4, 4]
    assert test.labels.bincount().tolist() == [1, 1]
    assert {*train.paths, *test.paths} == {*whole.paths}
    assert nclib.load(name, "test", per_class=1, seed=5).paths == test.paths  # the seed is of the subset only


def test_a_subset_is_drawn_by_the_seed(root):
    WRITERS["dtd"](root)
    assert len({nclib.load("dtd", per_class=1, seed=seed).paths for seed in range(20)}) == 4


def test_the_data_root_is_the_argument_before_the_variable(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    WRITERS["dtd"](elsewhere)
    assert nclib.load("dtd", data_root=str(elsewhere)).paths[0].is_relative_to(elsewhere)


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(name, root):
    entry = TORCHVISION[name]
    message = f"{name} is not at {root / entry.place}; {entry.by_hand or 'download=True (--download) fetches it'}"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
        nclib.load(name, download=bool(entry.by_hand))
    assert list(root.iterdir()) == []


def test_a_set_with_a_hole_says_so(root):
    WRITERS["dtd"](root)
    (root / "dtd/dtd/labels/test1.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"dtd at .*dtd/dtd is not whole \(.*test1\.txt'\); remove what is there"
    ):
        nclib.load("dtd", "test")


def test_download_fetches_what_is_missing(root, monkeypatch):
    def fetched(self):
        WRITERS["food101"](root)

    monkeypatch.setattr(datasets.Food101, "_download", fetched)
    assert len(nclib.load("food101", download=True)) == 3


def test_a_failed_download_says_why(root, monkeypatch):
    def refused(self):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets.Food101, "_download", refused)
    with pytest.raises(OSError, match="no route to host"):
        nclib.load("food101", download=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"name": "glyphs/klingon"},
            ValueError,
            "'glyphs/klingon' is neither a known data set nor a folder; similar names are glyphs/latin, .*folder:",
        ),
        ({"name": "latin"}, ValueError, "'latin' is neither a known data set nor a folder"),
        ({"name": "digits", "split": "val"}, ValueError, "unknown split 'val' of digits; there are train, test, all$"),
        (
            {"name": "glyphs/latin", "split": "val"},
            ValueError,
            "unknown split 'val' of glyphs/latin; .*, test, all$",
        ),
        ({"name": "dtd", "split": "dev"}, ValueError, "unknown split 'dev' of dtd; there are train, val, test, all$"),
        (
            {"name": "eurosat", "split": "val"},
            ValueError,
            "unknown split 'val' of eurosat; there are train, test, all$",
        ),
        ({"name": "glyphs/latin", "per_class": 0}, ValueError, "per_class is 0; it must be at least 1"),
        ({"name": "digits", "per_class": 2.5}, ValueError, r"per_class is 2\.5; it must be a whole number, at least 1"),
        ({"name": "docstrings/numpy", "per_class": "2"}, ValueError, "per_class is '2'; it must be a whole number"),
        ({"name": "digits", "per_class": 1000}, ValueError, "per_class is 1000; the smallest class has"),
        ({"name": "mnist"}, FileNotFoundError, "mnist needs the folder of the data sets"),
        ({"name": "folder:pets"}, FileNotFoundError, "folder:pets is not at /.*/pets; put "),
        ({"name": "mnist", "data_root": "no/such"}, FileNotFoundError, "the data root /.*/no/such is not a folder"),
        ({"name": 3}, TypeError, "name is 3; it must be a text, such as 'folder:PATH'"),
        ({"name": " "}, ValueError, "name is ' ', which is empty; it must be a text"),
        ({"name": Path(__file__).parent}, ValueError, r"is a folder; its name is 'folder:/.*data'"),
        ({"name": "folder:"}, ValueError, "folder: names no path; give one, folder:PATH"),
        ({"name": "file: "}, ValueError, "file:  names no path; give one, file:PATH"),
        ({"name": f"folder:{__file__}"}, FileNotFoundError, "is a file, /.*py; it must be train/CLASS"),
        (
            {"name": f"file:{Path(__file__).parent}"},
            FileNotFoundError,
            "is a folder, /.*data; it must be a table with columns",
        ),
        ({"name": "folder:/no/such"}, FileNotFoundError, "folder:/no/such is not at /no/such; put .* there by hand"),
    ],
)
def test_bad_arguments_say_what_is_allowed(arguments, error, message, monkeypatch):
    monkeypatch.delenv("NCLIB_DATA", raising=False)
    with pytest.raises(error, match=message):
        nclib.load(**arguments)


def test_some_classes_of_a_set_are_a_set(root):
    whole, some = (nclib.load(name, "train", per_class=2) for name in ("glyphs/latin", "glyphs/latin[3:5]"))
    assert some.classes == whole.classes[3:5]
    assert some.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(some.images, whole.images[6:10])
    assert nclib.load("glyphs/latin[50:]", per_class=1).classes == whole.classes[50:]
    WRITERS["eurosat"](root)
    files = nclib.load("eurosat[1:2]", "all")
    assert set(files.labels.tolist()) == {0}
    assert len(files.classes) == 1
    with pytest.raises(ValueError, match=r"classes \[50:60\] were asked for; give 0 <= first < end <= 52"):
        nclib.load("glyphs/latin[50:60]")


def test_published_splits_part_the_classes():
    parts = {name: set(classes) for name, classes in CLASS_SPLITS.items()}
    for of in ("cifar-fs", "mini-imagenet"):
        train, val, test = (parts[f"{of}/{part}"] for part in ("train", "val", "test"))
        assert (len(train), len(val), len(test)) == (64, 16, 20)
        assert len(train | val | test) == 100
    # An alphabet of CIFAR-100 that pickles hold, of which these are the ends and the two words with most letters.
    assert {"apple", "worm", "aquarium_fish", "pickup_truck"} <= parts["cifar-fs/train"] | parts["cifar-fs/test"]


def test_classes_are_chosen_by_a_published_split_in_the_order_of_the_set(root):
    class_folders("mini", {"": ""}, [*CLASS_SPLITS["mini-imagenet/test"], "n0"], count=5)(root)
    chosen = nclib.load("folder:mini[mini-imagenet/test]", "train")
    assert chosen.classes == tuple(sorted(CLASS_SPLITS["mini-imagenet/test"]))
    assert chosen.labels.bincount().tolist() == [4] * 20
    first = chosen.paths[0].parent.name
    assert first == chosen.classes[chosen.labels[0]]
    with pytest.raises(ValueError, match=r"there are no classes n01532829, n01558993, .* and 59 more"):
        nclib.load("folder:mini[mini-imagenet/train]", "train")


def test_images_of_several_classes_are_no_samples(root):
    WRITERS["voc2007"](root)
    images = nclib.load("voc2007", "train")
    assert (len(images), len(images.classes)) == (4, 20)
    assert not any(path.name == "train4.jpg" for path in images.paths)
