"""Labelled images: in memory and in files they can do the same."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from nclib.data.images import ImageFiles, ImageSet
from tests.layouts import picture

LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
NAMES = ("a", "b")


def in_memory(tmp_path):
    return ImageSet(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1).expand(10, 3, 4, 4), LABELS, NAMES)


def in_files(tmp_path):
    return ImageFiles(
        tuple(picture(tmp_path / f"{k}/{i}.png", k) for i, k in enumerate(LABELS.tolist())), LABELS, NAMES
    )


@pytest.fixture(params=[in_memory, in_files])
def images(request, tmp_path):
    return request.param(tmp_path)


def saved(folder, image, name="x.png"):
    """A set of one file."""
    image.save(folder / name)
    return ImageFiles((folder / name,), torch.tensor([0]), ("a",))


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ({"per_class": 2}, [2, 2]),
        ({"share": 0.5}, [2, 4]),
        ({"share": 0.01}, [1, 1]),
        ({"share": 1}, [3, 7]),
    ],
)
def test_take_is_stratified_and_seeded(images, arguments, counts):
    some = images.take(**arguments, seed=1)
    assert some.labels.bincount().tolist() == counts
    assert some.labels.tolist() == sorted(some.labels.tolist())  # the old order
    assert some.classes == NAMES
    assert some.digest == images.take(**arguments, seed=1).digest
    others = {images.take(**arguments, seed=seed).digest for seed in range(5)}
    assert (len(others) > 1) == (arguments != {"share": 1})


def test_take_draws_what_it_drew_for_the_records():
    numbers = torch.arange(12, dtype=torch.uint8)
    images = ImageSet(numbers.reshape(12, 1, 1, 1), (numbers % 3).long(), ("a", "b", "c"))
    assert images.take(2, seed=1).images.flatten().tolist() == [1, 2, 6, 7, 8, 9]


def test_a_part_is_split_off(images):
    rest, part = images.split_off(0.3, seed=4)
    assert part.digest == images.take(share=0.3, seed=4).digest
    assert rest.labels.bincount().tolist() == [2, 5]


@pytest.mark.parametrize("share", [0.9, 1])
def test_a_split_leaves_something_of_every_class(images, share):
    with pytest.raises(ValueError, match=f"share is {share}, which takes every image of class "):
        images.split_off(share)


def test_a_split_loses_nothing(tmp_path):
    images = in_files(tmp_path)
    rest, part = images.split_off(0.3)
    assert sorted((*rest.paths, *part.paths)) == sorted(images.paths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"per_class": 0}, "per_class is 0; the smallest class has 3 images; give at least 1, and at most as many"),
        ({"per_class": 4}, "per_class is 4; the smallest class has 3 images"),
        ({"per_class": 2.5}, r"per_class is 2\.5; it must be a whole number"),
        ({"share": "half"}, "share is 'half'; it must be above 0 and at most 1"),
        ({"share": 0}, "share is 0; it must be above 0 and at most 1"),
        ({"share": 1.5}, "share is 1.5; it must be above 0 and at most 1"),
        ({}, "per_class is None and share is None; give one of the two"),
        ({"per_class": 1, "share": 0.5}, "per_class is 1 and share is 0.5; give one of the two"),
    ],
)
def test_take_says_what_can_be_taken(images, arguments, message):
    with pytest.raises(ValueError, match=message):
        images.take(**arguments)


def test_a_digest_is_of_the_pixels_and_labels(tmp_path):
    images = in_memory(tmp_path)
    assert len(images.digest) == 32
    brighter = ImageSet(images.images + 1, LABELS, NAMES)
    relabelled = ImageSet(images.images, 1 - LABELS, NAMES)
    reshaped = ImageSet(images.images.reshape(10, 3, 2, 8), LABELS, NAMES)
    assert len({one.digest for one in (images, brighter, relabelled, reshaped)}) == 4
    assert images.digest == in_memory(tmp_path).digest


def test_a_digest_is_of_the_files_and_labels_wherever_they_are(tmp_path):
    images = in_files(tmp_path / "old")
    before = images.digest
    assert ImageFiles(images.paths, 1 - LABELS, NAMES).digest != before
    (tmp_path / "old").rename(tmp_path / "new")
    moved = ImageFiles(tuple(tmp_path / "new" / p.relative_to(tmp_path / "old") for p in images.paths), LABELS, NAMES)
    assert moved.digest == before
    os.utime(moved.paths[3], ns=(0, 0))
    assert moved.digest != before


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        ("1", "x.png", "L"),
        ("L", "x.jpg", "L"),
        ("I;16", "x.png", "L"),
        ("LA", "x.png", "RGB"),
        ("P", "x.gif", "RGB"),
        ("RGBA", "x.png", "RGB"),
        ("CMYK", "x.jpg", "RGB"),
        ("RGB", "x.webp", "RGB"),
    ],
)
def test_a_file_is_grey_or_colour(mode, name, expected, tmp_path):
    images = saved(tmp_path, Image.new(mode, (5, 3)), name)
    assert (images.image(0).mode, images.image(0).size) == (expected, (5, 3))
    assert images.in_memory().images.shape == (1, len(expected), 3, 5)


def test_deep_grey_is_scaled_not_cut_off(tmp_path):
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    assert np.asarray(saved(tmp_path, Image.fromarray(deep)).image(0)).tolist() == [[0, 0, 1, 128, 255]]


STORED = {1: None, 2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90"}
STORED |= {7: "TRANSVERSE", 8: "ROTATE_270"}  # how a camera turned what it notes the orientation of


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("mode", "name"), [("L", "x.png"), ("RGB", "x.webp"), ("RGB", "x.tif"), ("I;16", "x.png")])
def test_a_photograph_is_upright(mode, name, orientation, tmp_path):
    grey = np.array([[0, 40, 80], [120, 160, 255]], np.uint8)
    upright = Image.fromarray(grey.astype(np.uint16) << 8) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    way = STORED[orientation]
    turned = upright.transpose(getattr(Image.Transpose, way)) if way else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(tmp_path / name, exif=exif, **({"lossless": True} if name.endswith("webp") else {}))
    found = ImageFiles((tmp_path / name,), torch.tensor([0]), ("only",)).image(0)
    assert np.array_equal(np.asarray(found.convert("L")), grey)


def deep_colour(path, values):
    """A PNG of 16 bits a channel, which Pillow does not write; values uint16 (H, W, 3)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *values.shape[1::-1], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return ImageFiles((path,), torch.tensor([0]), ("only",))


@pytest.mark.parametrize("most", [255, 1023, 4095])
def test_fewer_bits_in_sixteen_are_refused_not_black(most, tmp_path):
    values = np.full((2, 2, 3), most, np.uint16)
    for images in (
        saved(tmp_path, Image.fromarray(values[:, :, 0])),
        deep_colour(tmp_path / "colour.png", values),
        saved(tmp_path, Image.fromarray(values[:, :, 0]), "x.tif"),
    ):
        with pytest.raises(
            ValueError, match=r"seem to be of 12 bits or fewer.*save it with 8 bits, or its values times 16"
        ):
            images.image(0)
    bright = deep_colour(tmp_path / "colour.png", values * 0 + 65535)
    assert bright.image(0).getpixel((0, 0)) == (255, 255, 255)
    assert saved(tmp_path, Image.new("I;16", (2, 2))).image(0).getpixel((0, 0)) == 0  # black it is


def test_a_class_without_a_readable_image_is_refused(tmp_path):
    paths = [picture(tmp_path / f"{i}.png", 0) for i in range(4)]
    images = ImageFiles(tuple(paths), torch.tensor([0, 0, 1, 1]), ("cat", "dog"))
    for path in paths[1:3]:
        path.write_text("no image")
    kept, broken = images.readable()
    assert (kept.labels.tolist(), broken) == ([0, 1], paths[1:3])
    paths[3].write_text("no image")
    with pytest.raises(ValueError, match=r"no image of class dog can be read: .*2\.png cannot be read as an image"):
        images.readable()


def damaged(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("damage", [damaged, lambda path: path.write_text("no image"), lambda path: path.unlink()])
def test_an_unreadable_file_is_named(damage, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    images = saved(tmp_path, Image.fromarray(pixels))
    damage(images.paths[0])
    with pytest.raises(ValueError, match=r"x\.png cannot be read as an image: "):
        images.image(0)


def test_numbers_without_a_range_are_refused(tmp_path):
    images = saved(tmp_path, Image.new("F", (2, 2)), "x.tif")
    with pytest.raises(ValueError, match=r"x\.tif cannot be read as an image: mode F has no range"):
        images.image(0)


def test_an_image_survives_the_way_to_a_file_and_back(tmp_path):
    images = in_memory(tmp_path)
    again = saved(tmp_path, images.image(7)).in_memory()
    assert torch.equal(again.images, images.images[7:8])
    grey = ImageSet(images.images[:, :1], LABELS, NAMES)
    assert torch.equal(saved(tmp_path, grey.image(7)).in_memory().images, grey.images[7:8])


def test_one_colour_image_makes_three_channels(tmp_path):
    paths = (tmp_path / "grey.png", tmp_path / "colour.png")
    for mode, path in zip(("L", "RGB"), paths, strict=True):
        Image.new(mode, (2, 2), "white").save(path)
    images = ImageFiles(paths, torch.tensor([0, 1]), NAMES).in_memory()
    assert images.images.shape == (2, 3, 2, 2)
    assert (images.images == 255).all()


def test_files_of_different_sizes_need_one(tmp_path):
    paths = (picture(tmp_path / "1.png", 0, size=(8, 6)), picture(tmp_path / "2.png", 1, size=(10, 12)))
    images = ImageFiles(paths, torch.tensor([0, 1]), NAMES)
    with pytest.raises(ValueError, match=r"differ in size, 8 x 6 and 10 x 12 \(width x height\); give size="):
        images.in_memory()
    with pytest.raises(ValueError, match=r"size is 20\.5; it must be a whole number, at least 1"):
        images.in_memory(20.5)
    with pytest.raises(ValueError, match="size is 0; it must be at least 1"):
        images.in_memory(0)
    small = images.in_memory(4)
    assert small.images.shape == (2, 3, 4, 4)
    assert small.images[:, 0, 0, 0].tolist() == [0, 255]
    assert torch.equal(small.labels, images.labels)


def test_the_centre_is_cut_out(tmp_path):
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 200
    images = saved(tmp_path, Image.fromarray(wide))
    assert (images.in_memory(4).images == 200).all()
    assert images.in_memory(8).images.shape == (1, 1, 8, 8)


def test_a_set_in_memory_is_resized_only_where_it_must_be(tmp_path):
    images = in_memory(tmp_path)
    assert images.in_memory() is images
    assert images.in_memory(4) is images
    larger = images.in_memory(6)
    assert larger.images.shape == (10, 3, 6, 6)
    assert larger.images[:, 0, 2, 3].tolist() == list(range(10))


def test_no_images_are_no_set_in_memory():
    with pytest.raises(ValueError, match="there are no images"):
        ImageFiles((), torch.zeros(0, dtype=torch.int64), NAMES).in_memory()


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (torch.zeros(2, 1, 3, 3), torch.tensor([0, 1]), ValueError, r"images are torch\.float32 \(2, 1, 3, 3\)"),
        (torch.zeros(2, 3, 3).byte(), torch.tensor([0, 1]), ValueError, r"they must be torch\.uint8 \(N, C, H, W\)"),
        (torch.zeros(2, 1, 3, 3).byte(), torch.tensor([0]), ValueError, r"2 images and labels \(1,\)"),
        (torch.zeros(2, 1, 3, 3).byte(), torch.tensor([0, 2]), ValueError, r"labels run from 0 to 2; .* 0\.\.1"),
        (torch.zeros(2, 1, 3, 3).byte(), [0, 1], TypeError, "labels are list; they must be int64"),
        (
            torch.zeros(2, 1, 3, 3).byte(),
            torch.tensor([0.0, 1.0]),
            TypeError,
            r"labels are torch\.float32; they must be int64",
        ),
    ],
)
def test_what_is_no_image_set_says_why(images, labels, error, message):
    with pytest.raises(error, match=message):
        ImageSet(images, labels, NAMES)


def test_only_one_or_three_channels_can_be_shown():
    images = ImageSet(torch.zeros(1, 2, 3, 3, dtype=torch.uint8), torch.tensor([0]), NAMES)
    with pytest.raises(ValueError, match="images have 2 channels"):
        images.image(0)


def test_images_in_memory_must_be_a_tensor_of_one_or_three_channels():
    with pytest.raises(TypeError, match=r"images are a list; they must be a tensor, uint8 \(N, C, H, W\)"):
        ImageSet([1, 2], torch.tensor([0, 1]), NAMES)
    with pytest.raises(ValueError, match="images have 4 channels; they must have 1 or 3"):
        ImageSet(torch.zeros(2, 4, 3, 3, dtype=torch.uint8), torch.tensor([0, 1]), NAMES).image(0)
