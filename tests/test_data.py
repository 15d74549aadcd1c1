"""Data sets: embedded ones are deterministic and need nothing; others say where they were looked for."""

import numpy as np
import pytest
import torch

import nclib
from nclib.augmentation import distort, seeded
from nclib.data import EMBEDDED, TORCHVISION

CLASSES = {"glyphs/latin": 52, "glyphs/greek": 24, "glyphs/cyrillic": 33, "glyphs/armenian": 38, "glyphs/georgian": 33}


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_are_small_grey_images_with_every_class(name):
    images = nclib.load(name, per_class=3)
    classes = CLASSES.get(name, 10)
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
    from nclib.glyphs import SCRIPTS, STYLES, _drawn

    for script, letters in SCRIPTS.items():
        drawn = _drawn(script)
        assert drawn.shape[:2] == (len(STYLES), len(letters))
        assert (drawn.amax((2, 3)) > 0.5).all()
        # A font without the letter would draw the same box for each.
        assert len({image.numpy().tobytes() for image in drawn[0]}) == len(letters)


def test_take_is_stratified_and_seeded():
    digits = nclib.load("digits")
    some = digits.take(5, seed=1)
    assert some.labels.bincount().tolist() == [5] * 10
    assert torch.equal(some.images, digits.take(5, seed=1).images)
    assert not torch.equal(some.images, digits.take(5, seed=2).images)


def test_distortion_of_strength_zero_is_none():
    images = torch.rand(4, 1, 8, 8)
    assert distort(images, 0.0, seeded(0)) is images
    assert not torch.allclose(distort(images, 1.0, seeded(0)), images)
    assert torch.equal(distort(images, 1.0, seeded("a", 1)), distort(images, 1.0, seeded("a", 1)))


def write_mnist(folder, num_images=20):
    """Twenty images in the IDX files that torchvision reads."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.arange(num_images * 784, dtype=np.uint8).reshape(num_images, 28, 28)
    labels = (np.arange(num_images) % 10).astype(np.uint8)
    for prefix in ("train", "t10k"):
        header = b"".join(int(n).to_bytes(4, "big") for n in (0x803, num_images, 28, 28))
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = b"".join(int(n).to_bytes(4, "big") for n in (0x801, num_images))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return images


def test_a_torchvision_set_is_read_from_the_data_root(tmp_path, monkeypatch):
    images = write_mnist(tmp_path)
    loaded = nclib.load("mnist", data_root=tmp_path)
    assert torch.equal(loaded.images[:, 0], torch.from_numpy(images))
    monkeypatch.setenv("NCLIB_DATA", str(tmp_path))
    assert sorted(nclib.load("mnist", "test", per_class=1).labels.tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "glyphs/klingon"}, ValueError, "unknown data set 'glyphs/klingon'; there are glyphs/latin, "),
        ({"name": "latin"}, ValueError, "unknown data set 'latin'"),
        ({"name": "digits", "split": "val"}, ValueError, "unknown split 'val'; there are train, test"),
        ({"name": "glyphs/latin", "per_class": 0}, ValueError, "per_class is 0; it must be at least 1"),
        ({"name": "digits", "per_class": 1000}, ValueError, "per_class is 1000; the smallest class has"),
        ({"name": "mnist"}, ValueError, "mnist needs a data root"),
        ({"name": "mnist", "data_root": "no/such"}, FileNotFoundError, "the data root no/such is not a folder"),
    ],
)
def test_bad_arguments_say_what_is_allowed(arguments, error, message, monkeypatch):
    monkeypatch.delenv("NCLIB_DATA", raising=False)
    with pytest.raises(error, match=message):
        nclib.load(**arguments)


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_missing_set_says_where_it_was_looked_for(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{name} is not in the data root"):
        nclib.load(name, data_root=tmp_path)


def test_a_negative_strength_is_an_error():
    with pytest.raises(ValueError, match=r"strength is -1\.0; it must be 0 or more"):
        distort(torch.zeros(1, 1, 4, 4), -1.0, seeded(0))
