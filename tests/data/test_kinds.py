"""Images as they come: every kind gives the same features and labels, rows never mix, and what is wrong is named."""

import warnings
from collections import UserDict, namedtuple
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from torch.utils.data.distributed import DistributedSampler
from torchvision import transforms
from torchvision.datasets import FakeData, ImageFolder

import nclib
from nclib.data.items import Stream
from nclib.data.kinds import labelled
from nclib.features.backbones import AsTrained

NAMES = ["dog", "cat", "dog", "eel", "cat", "eel", "dog", "cat", "eel"]
NUMBERS = [["cat", "dog", "eel"].index(name) for name in NAMES]
MODES = ["RGB", "L", "P", "RGBA", "CMYK", "LA", "1", "YCbCr", "I;16"]
MODEL = nclib.Backbone("pixels", nn.Flatten(), AsTrained(3, 8))


def drawn(number, size=(8, 8), mode="RGB"):
    noise = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(256 * noise[..., 0].astype(np.uint16))
    return Image.fromarray(noise).convert(mode)


PICTURES = [drawn(i) for i in range(len(NAMES))]
PREPARED = torch.stack([MODEL.transform(image) for image in PICTURES])
EXPECTED = PREPARED.flatten(1)


class Own(Dataset):
    """A data set as people write it."""

    def __init__(self, images, labels):
        self.images, self.labels_, self.read = images, labels, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        self.read.append(i)
        return self.images[i], self.labels_[i]


class Endless(IterableDataset):
    def __iter__(self):
        return zip(PREPARED, NUMBERS, strict=True)


class HuggingFace:
    """What `datasets.Dataset` has of what is used here, with columns that are read without the others."""

    def __init__(self, columns, names=None, kind=None):
        self.columns, self.format, self.decoded = columns, {"type": kind}, 0
        kinds = {name: SimpleNamespace(dtype="int64") for name in columns}
        label = next((name for name in ("label", "fine_label", "labels") if name in columns), None)
        if names:
            kinds[label] = SimpleNamespace(names=list(names))
        self.features = kinds

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        self.decoded += 1
        return {name: column[key] for name, column in self.columns.items()}

    def with_format(self, kind):
        return self


def collated(items):
    images, labels = zip(*items, strict=True)
    return {"pixel_values": torch.stack(images), "labels": torch.tensor(labels)}


Pair = namedtuple("Pair", "image label")
PAIRS = list(zip(PICTURES, NUMBERS, strict=True))
TENSORS = TensorDataset(PREPARED, torch.tensor(NUMBERS))
BYTES = np.stack([np.asarray(image) for image in PICTURES])
KINDS = {
    "list": lambda: PAIRS,
    "tuple": lambda: tuple(PAIRS),
    "lists": lambda: [list(pair) for pair in PAIRS],
    "named tuples": lambda: [Pair(*pair) for pair in PAIRS],
    "triples": lambda: [(*pair, "more") for pair in PAIRS],
    "texts": lambda: list(zip(PICTURES, NAMES, strict=True)),
    "generator": lambda: (pair for pair in PAIRS),
    "generator of batches": lambda: (
        (PREPARED[i : i + 4], torch.tensor(NUMBERS[i : i + 4])) for i in range(0, len(NAMES), 4)
    ),
    "list of batches": lambda: [(PICTURES[i : i + 4], NAMES[i : i + 4]) for i in range(0, len(NAMES), 4)],
    "dicts": lambda: [{"image": image, "label": label} for image, label in PAIRS],
    "dicts of batches": lambda: iter([{"pixel_values": PREPARED, "labels": torch.tensor(NUMBERS)}]),
    "one dict": lambda: {"img": PICTURES, "fine_label": NUMBERS},
    "one batch of transformers": lambda: UserDict({"pixel_values": PREPARED, "labels": NUMBERS}),
    "two tensors": lambda: (PREPARED, torch.tensor(NUMBERS)),
    "two arrays": lambda: (BYTES, np.array(NAMES)),
    "bytes first": lambda: (torch.tensor(BYTES).permute(0, 3, 1, 2), NUMBERS),
    "half": lambda: [(image.half().double(), label) for image, label in TENSORS],
    "bytes and a list": lambda: (BYTES, NAMES),
    "own": lambda: Own(PICTURES, NAMES),
    "tensors": lambda: TENSORS,
    "loader": lambda: DataLoader(TENSORS, batch_size=4),
    "loader that shuffles": lambda: DataLoader(TENSORS, batch_size=4, shuffle=True),
    "loader with workers": lambda: DataLoader(TENSORS, batch_size=4, shuffle=True, num_workers=2),
    "loader of pictures": lambda: DataLoader(
        Own(PICTURES, NAMES), collate_fn=lambda batch: tuple(zip(*batch, strict=True))
    ),
    "loader of dicts": lambda: DataLoader(TENSORS, batch_size=2, collate_fn=collated),
    "loader of a stream": lambda: DataLoader(Endless(), batch_size=4),
    "loader of single items": lambda: DataLoader(TENSORS, batch_size=None),
    "loader of our own": lambda: DataLoader(nclib.labelled(PAIRS), batch_size=4, shuffle=True),
    "loader of what is transformed": lambda: DataLoader(
        nclib.labelled(PAIRS).transformed(MODEL.transform), batch_size=4
    ),
    "stream": Endless,
    "subset": lambda: Subset(Own([None, *PICTURES], ["", *NAMES]), range(1, 1 + len(NAMES))),
    "two sets": lambda: ConcatDataset([Own(PICTURES[:4], NUMBERS[:4]), Own(PICTURES[4:], NUMBERS[4:])]),
    "zip": lambda: zip(PICTURES, NAMES, strict=True),
    "map": lambda: map(tuple, PAIRS),
    "table": lambda: pd.DataFrame({"image": PICTURES, "label": NAMES}),
    "hugging face": lambda: HuggingFace(
        {"img": PICTURES, "fine_label": NUMBERS, "coarse_label": [0] * 9}, ["cat", "dog", "eel"]
    ),
    "hugging face's columns": lambda: HuggingFace({"image": PICTURES, "label": NAMES}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_features_and_labels(kind):
    data = labelled(KINDS[kind]())
    features = nclib.extract(MODEL, data)
    torch.testing.assert_close(features, EXPECTED, atol=1e-3, rtol=1e-3)
    assert data.labels.tolist() == NUMBERS
    assert data.labels.dtype == torch.int64
    assert len(data.classes) == 3
    assert data.classes in (("cat", "dog", "eel"), ("0", "1", "2"))
    torch.testing.assert_close(nclib.extract(MODEL, KINDS[kind]()), features)  # no call of labelled is needed


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_into_everything(kind):
    """And pairs a row with its label there: each class of three images is one point, once they are summed up."""
    make, head = KINDS[kind], nclib.linear_probe(MODEL_OF_THREE, 3)
    expected = nclib.class_statistics(EXPECTED, NUMBERS)
    stats = nclib.feature_statistics(MODEL, make())
    torch.testing.assert_close(stats.means, expected.means, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(stats.scatter, expected.scatter, atol=0.1, rtol=1e-2)
    assert stats.counts.tolist() == [3, 3, 3]
    table = nclib.layerwise(MODEL, make(), make(), layers=["last"], metrics=["cdnv"])
    assert table.loc["last", "cdnv"] == pytest.approx(nclib.cdnv(expected), rel=1e-2)
    assert table.loc["last", "accuracy"] == 1.0
    ranking = nclib.rank_models([MODEL], make(), scores=["gbc"])
    assert ranking.table.loc["pixels", "gbc"] == pytest.approx(nclib.gbc(expected), rel=1e-2)
    scores = nclib.finetune(head, make(), nclib.Tuning(epochs=1, C=10.0), validation=make())
    assert scores.accuracies[0] == 1.0


MODEL_OF_THREE = nclib.Backbone("small", nn.Sequential(nn.Flatten(), nn.Linear(192, 192)), AsTrained(3, 8))


def test_nothing_is_read_twice_or_held_where_one_pass_will_do():
    own = Own(PICTURES, NAMES)
    nclib.extract(MODEL, own)
    assert own.read[1:] in ([*range(9)], [0, *range(9)], [0, 0, *range(9)])  # the first says of what kind they are
    hub = HuggingFace({"image": PICTURES, "label": NUMBERS}, ["cat", "dog", "eel"])
    assert labelled(hub).labels.tolist() == NUMBERS
    assert hub.decoded <= 1
    alive, most = [], []

    def stream():
        for i in range(1200):
            alive.append(i)
            most.append(len(alive))
            yield torch.full((3, 8, 8), float(i)), i % 2

    class Counted(nn.Flatten):
        def forward(self, batch):
            del alive[: len(batch)]
            return super().forward(batch)

    stats = nclib.feature_statistics(nclib.Backbone("pixels", Counted()), stream())
    assert stats.counts.tolist() == [600, 600]
    assert stats.means[:, 0].tolist() == [599, 600]
    assert max(most) <= 513


def test_a_stream_knows_its_labels_after_the_pass_or_holds_its_images():
    stream = labelled(zip(PICTURES, NAMES, strict=True))
    assert isinstance(stream, Stream)
    features = nclib.extract(MODEL, stream)
    assert stream.classes == ("cat", "dog", "eel")
    probe = nclib.NearestClassMean().fit(features, stream.labels)
    assert probe.score(features, torch.tensor(NUMBERS)) == 1
    with pytest.raises(ValueError, match="zip was passed over before; an iterator can be passed over only once"):
        nclib.extract(MODEL, stream)
    held = labelled(zip(PICTURES, NAMES, strict=True))
    assert held.labels.tolist() == NUMBERS
    for _ in range(2):
        torch.testing.assert_close(nclib.extract(MODEL, held), EXPECTED)


def test_a_stream_that_was_given_twice_says_why_it_is_empty():
    once = iter(PAIRS)
    nclib.extract(MODEL, once)
    with pytest.raises(
        ValueError, match="there are no images: list_iterator gives none; an iterator can be passed over"
    ):
        nclib.extract(MODEL, once)


def test_a_stream_of_many_classes_is_numbered_in_order():
    names = [f"{name}{i % 7}" for i, name in enumerate("zyxwvutsr" * 130)]
    images = [torch.full((3, 2, 2), float(i % 11)) for i in range(len(names))]
    order = sorted(set(names))
    expected = nclib.class_statistics(
        torch.stack(images).flatten(1), [order.index(name) for name in names], covariance="diagonal"
    )
    model = nclib.Backbone("pixels", nn.Flatten())
    stats = nclib.feature_statistics(model, zip(images, names, strict=True), covariance="diagonal")
    assert torch.equal(stats.counts, expected.counts)
    torch.testing.assert_close(stats.means, expected.means)
    torch.testing.assert_close(stats.squares, expected.squares)


def test_passes_over_a_loader_that_shuffles_give_the_same_rows():
    data = Own(list(PREPARED), NUMBERS)
    loader = DataLoader(data, batch_size=2, shuffle=True)
    torch.testing.assert_close(nclib.extract(MODEL, loader), nclib.extract(MODEL, loader))
    part = labelled(DataLoader(data, sampler=[5, 2, 8]))
    torch.testing.assert_close(nclib.extract(MODEL, part), EXPECTED[[5, 2, 8]])
    assert part.labels.tolist() == [NUMBERS[i] for i in (5, 2, 8)]
    assert len(labelled(DataLoader(data, batch_size=2, drop_last=True))) == 8
    batches = labelled(DataLoader(data, batch_sampler=[[7, 1], [7]]))
    torch.testing.assert_close(nclib.extract(MODEL, batches), EXPECTED[[7, 1, 7]])


def test_a_loader_that_shuffles_is_read_whole_whether_it_drops_the_last_batch_or_not():
    loader = DataLoader(TENSORS, batch_size=4, shuffle=True, drop_last=True)
    assert torch.equal(nclib.extract(MODEL, loader), EXPECTED)
    assert labelled(loader).labels.tolist() == NUMBERS
    assert len(labelled(DataLoader(TENSORS, batch_size=100, shuffle=True, drop_last=True))) == 9
    part = DataLoader(TENSORS, batch_size=2, sampler=SubsetRandomSampler([8, 0, 3]), drop_last=True)
    assert torch.equal(nclib.extract(MODEL, part), EXPECTED[[0, 3, 8]])
    assert labelled(part).labels.tolist() == [NUMBERS[i] for i in (0, 3, 8)]
    before = torch.get_rng_state()
    assert len(labelled(loader)) == 9
    assert torch.equal(torch.get_rng_state(), before)


class Chance(BatchSampler):
    """Batches in an order of chance."""

    def __iter__(self):
        return iter(torch.randperm(10_000).view(10, -1).tolist())


DRAWN = {
    "weighted": ("WeightedRandomSampler", {"sampler": WeightedRandomSampler([0.0, 1.0], 1)}),
    "replaced": ("RandomSampler", {"sampler": RandomSampler(TENSORS, replacement=True)}),
    "fewer": ("RandomSampler", {"sampler": RandomSampler(TENSORS, num_samples=5)}),
    "more": ("RandomSampler", {"sampler": RandomSampler(TENSORS, num_samples=18)}),
    "batches": ("WeightedRandomSampler", {"batch_sampler": BatchSampler(WeightedRandomSampler([1.0], 1), 2, False)}),
    "own batches": ("Chance", {"batch_sampler": Chance(SequentialSampler(TENSORS), 4, False)}),
    "own batches of some": ("Chance", {"batch_sampler": Chance(SubsetRandomSampler([1]), 4, False)}),
    "own": ("Flat", {"sampler": type("Flat", (), {"__iter__": lambda self: iter(torch.randperm(999).tolist())})()}),
}


@pytest.mark.parametrize(("name", "options"), DRAWN.values(), ids=DRAWN)
def test_a_loader_that_draws_other_rows_each_time_is_refused(name, options):
    cure = r"at each pass .* give the data set itself, or rows that you draw once: torch\.utils\.data\.Subset"
    for taker in (labelled, lambda images: nclib.extract(MODEL, images)):
        with pytest.raises(ValueError, match=f"^{name} draws other rows.*{cure}"):
            taker(DataLoader(TENSORS, **options))


STREAMS = {
    "stream": Endless,
    "loader of a stream": lambda: DataLoader(Endless(), batch_size=4),
    "loader of single items": lambda: DataLoader(TENSORS, batch_size=None, shuffle=True),
    "what can be passed over": lambda: type("Rows", (), {"__iter__": lambda self: iter(PAIRS)})(),
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_is_given_again_is_warned_of(make):
    stream = make()
    data = labelled(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = nclib.extract(MODEL, data)
        assert [NUMBERS[int((EXPECTED - row).norm(dim=1).argmin())] for row in features] == data.labels.tolist()
        labelled(make())
    with pytest.warns(UserWarning, match=r"was given before; if it shuffles, .* call data = nclib\.labelled\(stream\)"):
        nclib.extract(MODEL, stream)


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_any_mode_and_size_are_prepared_as_files_are(mode, tmp_path):
    image = drawn(1, (5, 7), mode)
    if mode in ("CMYK", "YCbCr"):
        image.save(path := tmp_path / "x.tif")
    else:
        image.save(path := tmp_path / "x.png")
    files = nclib.ImageFiles((path,), torch.tensor([0]), ("cat",))
    before = image.tobytes()
    pairs = [(image, "cat"), (PICTURES[0], "dog")]
    found = nclib.extract(MODEL, pairs)
    assert torch.equal(found[:1], nclib.extract(MODEL, files))
    assert torch.equal(found[1:], EXPECTED[:1])
    assert image.tobytes() == before
    named = [
        (path, "cat"),
        (str(path), "dog"),
        (path.read_bytes(), "cat"),
        ({"bytes": path.read_bytes(), "path": None}, 1),
    ]
    assert torch.equal(nclib.extract(MODEL, named[:3]), found[:1].expand(3, -1))
    assert torch.equal(nclib.extract(MODEL, named[3:]), found[:1])


@pytest.mark.parametrize(
    "shape", [(6, 4), (6, 4, 1), (1, 6, 4), (3, 6, 4), (6, 4, 3), (4, 6, 4), (6, 4, 4), (3, 6, 3), (1, 6, 1)]
)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, lambda array: array[::-1]])
def test_bytes_have_their_channels_first_or_last(shape, kind):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    given = kind(pixels)
    array = np.asarray(given)
    first = array.ndim == 3 and (
        shape[0] in (1, 3, 4) if isinstance(given, torch.Tensor) else shape[2] not in (1, 3, 4)
    )
    last = np.moveaxis(array, 0, 2) if first else array
    image = Image.fromarray(np.ascontiguousarray(last[..., 0] if last.ndim == 3 and last.shape[2] == 1 else last))
    assert torch.equal(nclib.extract(MODEL, [given]), nclib.extract(MODEL, [image]))


def test_torchvisions_sets_name_their_classes_and_their_labels_are_not_read(tmp_path):
    for i, name in enumerate(NAMES):
        (tmp_path / name).mkdir(exist_ok=True)
        PICTURES[i].save(tmp_path / name / f"{i}.png")
    folder = ImageFolder(tmp_path)
    data = labelled(folder)
    ours = nclib.load(f"folder:{tmp_path}", "all")
    assert data.known is folder.targets
    assert data.classes == ours.classes
    assert torch.equal(data.labels, ours.labels)
    assert torch.equal(nclib.extract(MODEL, data), nclib.extract(MODEL, ours))
    moved = labelled(ImageFolder(tmp_path, target_transform=lambda label: 2 - label))
    assert moved.known is None
    assert torch.equal(moved.labels, 2 - ours.labels)
    assert moved.classes == ("0", "1", "2")
    fake = labelled(FakeData(4, (3, 8, 8), num_classes=2))
    assert fake.labels.tolist() == [int(label) for _, label in FakeData(4, (3, 8, 8), num_classes=2)]
    parts = [labelled(part) for part in random_split(folder, [5, 4], torch.Generator().manual_seed(0))]
    assert [part.classes for part in parts] == [ours.classes] * 2
    assert sorted([*parts[0].labels.tolist(), *parts[1].labels.tolist()]) == sorted(ours.labels.tolist())


def test_images_without_channels_and_rows_of_numbers_are_arrays_too():
    from sklearn.datasets import load_digits

    digits = load_digits()
    model = nclib.Backbone("pixels", nn.Flatten())
    for images in (digits.images, digits.data):
        data = labelled((images, digits.target))
        assert torch.equal(nclib.extract(model, data), torch.tensor(digits.data).float())
        assert data.labels.tolist() == digits.target.tolist()
    assert torch.equal(nclib.extract(model, (torch.zeros(3, 2, 2), torch.ones(3, 2, 2)))[1], torch.ones(12))


def test_sets_that_are_put_together_have_the_same_classes():
    sets = [labelled(PAIRS, names) for names in (["cat", "dog", "eel"], ["cat", "dog", "eel"], ["ant", "bee", "cow"])]
    together = labelled(ConcatDataset(sets[:2]))
    assert together.classes == ("cat", "dog", "eel")
    assert together.labels.tolist() == NUMBERS * 2
    with pytest.raises(
        ValueError, match=r"the concatenated data sets have different classes, (cat|ant), .*, and (cat|ant), "
    ):
        labelled(ConcatDataset(sets[1:]))
    with pytest.raises(ValueError, match="the classes differ: cat, dog, eel, and ant, bee, cow"):
        sets[0].joined(sets[2])


def test_parts_are_taken_of_items_as_of_images_in_memory():
    data = labelled(list(zip(PICTURES, NAMES, strict=True)))
    in_memory = nclib.ImageSet(torch.tensor(BYTES).permute(0, 3, 1, 2), torch.tensor(NUMBERS), data.classes)
    for part in (
        lambda images: images.take(2, seed=3),
        lambda images: images.split_off(0.4)[1].take(1),
        lambda images: images.of_classes(1, 3),
        lambda images: images.of_named(["eel", "cat"]),
    ):
        found, expected = part(data), part(in_memory)
        assert torch.equal(nclib.extract(MODEL, found), nclib.extract(MODEL, expected))
        assert torch.equal(found.labels, expected.labels)
        assert found.classes == expected.classes
    candidates = [(lambda: nclib.linear_probe(MODEL_OF_THREE, 3), nclib.Tuning(epochs=1))]
    assert nclib.finetune_best(candidates, zip(PICTURES, NAMES, strict=True), share=0.4).candidate == 0


@pytest.mark.parametrize("in_memory", [True, False])
def test_names_are_given_to_some_of_the_classes_too(in_memory):
    data = labelled(list(zip(PICTURES, NAMES, strict=True)))
    if in_memory:
        data = nclib.ImageSet(torch.tensor(BYTES).permute(0, 3, 1, 2), torch.tensor(NUMBERS), data.classes)
    named = data.of_classes(1, 3).named(["hound", "fish"])
    assert named.classes == ("hound", "fish")
    assert named.labels.tolist() == [number - 1 for number in NUMBERS if number]
    assert named.take(1).classes == named.classes
    assert named.take(1).named(["a", "b"]).labels.tolist() == named.take(1).labels.tolist()


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ("abc", TypeError, "classes are 'abc'; give a list of their names"),
        ([1, 2, 3], TypeError, "classes hold 1; their names must be texts"),
        (7, ValueError, "classes are 7; these images have 3, with names: give names"),
    ],
)
def test_what_is_no_names_of_classes_is_refused(classes, error, message):
    data = nclib.ImageSet(torch.tensor(BYTES).permute(0, 3, 1, 2), torch.tensor(NUMBERS), ("cat", "dog", "eel"))
    with pytest.raises(error, match=message):
        labelled(data, classes=classes)
    assert labelled(data, classes=np.int64(3)).classes == data.classes


def test_a_digest_reads_every_item_once():
    read = []

    class Counted(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            read.append(index)
            return PICTURES[index], index % 2

    data = labelled(Counted(), classes=2)
    data.prepared  # noqa: B018  # it looks at the first item
    read.clear()
    assert len(data.digest) == 32
    assert read == [0, 1, 2, 3]


def test_a_cache_knows_items_by_what_they_hold(tmp_path):
    seen = []

    class Counted(nn.Flatten):
        def forward(self, batch):
            seen.append(len(batch))
            return super().forward(batch)

    model = nclib.Backbone("pixels", Counted(), AsTrained(3, 8))
    for make in (KINDS["list"], KINDS["generator"], KINDS["loader"], KINDS["loader that shuffles"]):
        for _ in range(2):
            torch.testing.assert_close(nclib.extract(model, make(), cache=tmp_path), EXPECTED)
    assert sum(seen) == 2 * 9  # of pictures, and of inputs
    nclib.extract(model, [(PICTURES[1], 0), *PAIRS[1:]], cache=tmp_path)
    assert sum(seen) == 3 * 9


def test_classes_are_those_of_training_where_a_test_set_has_fewer():
    few = [(image, name) for image, name in zip(PICTURES, NAMES, strict=True) if name != "cat"]
    table = nclib.layerwise(MODEL, list(zip(PICTURES, NAMES, strict=True)), few, layers=["last"], metrics=["cdnv"])
    assert table.loc["last", "accuracy"] == 1
    numbers = [(image, label) for image, label in PAIRS if label != 2]
    assert nclib.layerwise(MODEL, PAIRS, numbers, layers=["last"], metrics=["cdnv"]).loc["last", "accuracy"] == 1
    tuned = nclib.linear_probe(MODEL_OF_THREE, 3)
    data = list(zip(PICTURES, NAMES, strict=True))
    assert nclib.finetune(tuned, data, nclib.Tuning(epochs=0, C=10.0), validation=few).accuracies == [1.0]
    assert nclib.finetune(tuned, numbers, nclib.Tuning(epochs=0), validation=PAIRS).accuracies[0] <= 1
    with pytest.raises(ValueError, match="labels hold cow, which is not among the classes cat, dog, eel"):
        nclib.layerwise(MODEL, data, [*few, (PICTURES[0], "cow")])
    with pytest.raises(ValueError, match="the classes of train and test differ: cat, dog, eel, and dog, cat, eel"):
        nclib.layerwise(MODEL, data, labelled(PAIRS, ["dog", "cat", "eel"]))
    with pytest.raises(ValueError, match=r"the images have 2 classes, the head 3; .*classes=\.\.\."):
        nclib.finetune(tuned, few, nclib.Tuning(epochs=0))
    assert labelled(few, ["cat", "dog", "eel"]).labels.tolist() == [k for k in NUMBERS if k]


def test_a_name_in_two_forms_of_unicode_is_one_class():
    data = labelled([(PICTURES[0], "caf\u00e9"), (PICTURES[1], "cafe\u0301"), (PICTURES[2], "bar")])
    assert data.classes == ("bar", "caf\u00e9")
    assert data.labels.tolist() == [1, 1, 0]


def test_columns_have_names_of_their_own():
    rows = [{"photo": image, "species": name, "image": None} for image, name in zip(PICTURES, NAMES, strict=True)]
    data = labelled(rows, image="photo", label="species")
    assert torch.equal(nclib.extract(MODEL, data), EXPECTED)
    assert data.classes == ("cat", "dog", "eel")
    hub = HuggingFace({"photo": PICTURES, "species": NAMES})
    assert labelled(hub, image="photo", label="species").labels.tolist() == NUMBERS
    with pytest.raises(ValueError, match="there is no image 'photos' among photo, species, image"):
        nclib.extract(MODEL, labelled(rows, image="photos"))
    with pytest.raises(
        ValueError, match=r"an item has photo, species; it must have one of pixel_values, image, .* name"
    ):
        nclib.extract(MODEL, HuggingFace({"photo": PICTURES, "species": NAMES}))


def test_labels_that_a_function_of_hugging_faces_makes_are_those_of_the_items():
    """As of `set_transform`: its items need not have the labels of the column."""
    data = labelled(HuggingFace({"image": PICTURES, "label": NUMBERS}, ["cat", "dog", "eel"], kind="custom"))
    assert data.known is None
    assert data.labels.tolist() == NUMBERS


WRONG_LABELS = {
    "unlabelled": (-100, "item 1 has a label -100; it must be a whole number from 0 on, or a text: leave out items"),
    "a tensor": (torch.tensor(-1), "item 1 has a label -1; .*: leave out items without a class"),
    "none": (None, "item 1 has a label None; .*: leave out items without a class"),
    "nan": (float("nan"), "item 1 has a label nan; .*: leave out items without a class"),
    "infinite": (float("inf"), "item 1 has a label inf; it must be a whole number"),
    "one-hot": (
        torch.tensor([0.0, 1.0]),
        r"item 1 has a label of shape \(2,\); .*argmax\(\) turns a one-hot row",
    ),
    "a list": ([0, 1, 0], r"item 1 has a label of shape \(3,\); .*one-hot"),
    "real": (0.5, "item 1 has a label 0.5; it must be a whole number from 0 on, or a text"),
    "empty": ("", "item 1 has a label ''; .*: leave out items without a class"),
    "blank": (" ", "item 1 has a label ' '; .*: leave out items without a class"),
    "bytes": (b"cat", "item 1 has a label b'cat'; it must be"),
    "mixed": ("cat", "labels are int and str; they must be all integers, or all texts"),
    "huge": (10**7, "the largest label is 10000000 for 2 labels; renumber"),
}


@pytest.mark.parametrize(("label", "message"), WRONG_LABELS.values(), ids=WRONG_LABELS)
@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("taker", ["statistics", "rank", "layerwise", "finetune"])
def test_what_is_no_label_is_named_where_labels_are_needed(label, message, kind, taker):
    data = [(PICTURES[0], 0), (PICTURES[1], label)]
    takers = {
        "statistics": lambda images: nclib.feature_statistics(MODEL, images),
        "rank": lambda images: nclib.rank_models([MODEL], images),
        "layerwise": lambda images: nclib.layerwise(MODEL, images, images),
        "finetune": lambda images: nclib.finetune(nclib.linear_probe(MODEL_OF_THREE, 2), images),
    }
    if message.startswith("the largest") and taker == "finetune":
        message = r"labels run from 0 to 10000000; they must be 0\.\.1"
    with pytest.raises(TypeError if message.startswith("labels are") else ValueError, match=message):
        takers[taker](kind(data))
    assert nclib.extract(MODEL, kind(data)).shape == (2, 192)


@pytest.mark.parametrize(
    "make", [lambda: PICTURES, lambda: iter(PICTURES), lambda: TensorDataset(PREPARED), lambda: BYTES]
)
def test_images_without_labels_have_features_only(make):
    assert torch.equal(nclib.extract(MODEL, make()), EXPECTED)
    for taker in (lambda images: nclib.feature_statistics(MODEL, images), lambda images: labelled(images).labels):
        with pytest.raises(ValueError, match="item 0 has no label, but labels are needed; give"):
            taker(make())


EMPTY = {
    "list": list,
    "generator": lambda: iter([]),
    "loader": lambda: DataLoader(TENSORS, batch_size=100, drop_last=True),
    "loader of a stream": lambda: DataLoader(Endless(), batch_size=100, drop_last=True),
    "tensor": lambda: torch.zeros(0, 3, 8, 8),
    "bytes": lambda: torch.zeros(0, 3, 8, 8, dtype=torch.uint8),
    "pair": lambda: (torch.zeros(0, 3, 8, 8), []),
    "table": lambda: pd.DataFrame({"image": [], "label": []}),
    "subset": lambda: Subset(TENSORS, []),
    "columns": lambda: {"image": [], "label": []},
}


@pytest.mark.parametrize("kind", EMPTY)
def test_no_images_are_an_error(kind):
    with pytest.raises(ValueError, match="there are no images"):
        nclib.extract(MODEL, EMPTY[kind]())


class Broken(Own):
    def __getitem__(self, i):
        if i == 2:
            raise KeyError("photo 2")
        return super().__getitem__(i)


WRONG = {
    "name": (lambda: "digits", TypeError, r"images are str 'digits'; nclib.load\(name\) loads images by name"),
    "number": (lambda: 3, TypeError, "int holds no images; give a Dataset, a DataLoader, a list or another iterable"),
    "splits": (lambda: {"train": PAIRS, "test": PAIRS}, ValueError, "a dict of train, test holds several data sets"),
    "sizes": (
        lambda: [(torch.zeros(3, 8, 8), 0), (torch.zeros(3, 9, 8), 1)],
        ValueError,
        r"inputs differ in size, \(3, 8, 8\) and \(3, 9, 8\); floats must be prepared, of the same size: give PIL",
    ),
    "kinds": (
        lambda: [(torch.zeros(3, 8, 8), 0), (PICTURES[0], 1)],
        ValueError,
        "item 0 is inputs and item 1 is a picture; give all images as pictures, or all as inputs",
    ),
    "broken": (lambda: Broken(PICTURES, NAMES), ValueError, "item 2 of Broken cannot be read: KeyError: 'photo 2'"),
    "missing file": (lambda: [("no.png", 0)], ValueError, "item 0: no.png cannot be read as an image: .*No such file"),
    "integers": (lambda: [(torch.zeros(3, 8, 8).long(), 0)], TypeError, r"item 0: an image is torch.int64 \(3, 8, 8\)"),
    "channels": (
        lambda: [torch.zeros(5, 8, 8, dtype=torch.uint8)],
        ValueError,
        r"is \(5, 8, 8\); it must have 1, 3 or 4",
    ),
    "features": (lambda: [({"a": 1}, 0)], TypeError, "item 0: a dict of a is not an image"),
    "uneven": (lambda: iter([(PREPARED, [0, 1])]), ValueError, "a batch has 9 images and 2 labels"),
    "nothing": (lambda: [()], ValueError, r"an item is empty; it must be \(image, label\)"),
    "share": (
        lambda: DataLoader(TENSORS, sampler=DistributedSampler(TENSORS, num_replicas=2, rank=0)),
        ValueError,
        "the loader gives each process a share of its data set; give the data set itself",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_holds_no_images_is_named(make, error, message):
    with pytest.raises(error, match=message):
        nclib.extract(MODEL, make())


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (0, "classes are 0; give their names, or how many there are, at least 1"),
        (["a", "a", "b"], "give a list of names that differ"),
        (2.5, "classes are 2.5; give their names, or how many there are, at least 1"),
        (["a", "b"], r"labels run from 0 to 2; they must be 0\.\.1"),
        (2, r"labels run from 0 to 2; they must be 0\.\.1"),
    ],
)
def test_classes_that_cannot_be(classes, message):
    with pytest.raises(ValueError, match=message):
        labelled(PAIRS, classes).labels  # noqa: B018


@pytest.mark.parametrize("classes", ["abc", {"a", "b", "c"}])
def test_classes_without_an_order_are_refused(classes):
    with pytest.raises(TypeError, match=r"classes are .*; give a list of their names, in order"):
        labelled(PAIRS, classes)


def test_classes_may_be_more_than_are_seen():
    assert labelled(PAIRS, np.int64(5)).classes == ("0", "1", "2", "3", "4")
    assert labelled(PAIRS, 5).classes == ("0", "1", "2", "3", "4")
    assert labelled(PAIRS, ["ant", "bee", "cow", "dog"]).classes[3] == "dog"
    assert nclib.feature_statistics(MODEL, labelled(iter(PAIRS), 5)).counts.tolist() == [3, 3, 3, 0, 0]
    assert repr(labelled(PAIRS)) == "Items(9 images, 3 classes)"
    assert [*pairwise(labelled(PAIRS).classes)] == [("0", "1"), ("1", "2")]


@pytest.mark.parametrize("make", [lambda images: images, lambda images: images.transformed(MODEL.transform)])
def test_our_own_images_are_torch_data_sets(make, tmp_path):
    for i, image in enumerate(PICTURES):
        (image.convert("L") if i == 3 else image).save(tmp_path / f"{i}.png")
    in_memory = nclib.ImageSet(torch.tensor(BYTES).permute(0, 3, 1, 2), torch.tensor(NUMBERS), ("cat", "dog", "eel"))
    files = nclib.ImageFiles(
        tuple(tmp_path / f"{i}.png" for i in range(9)), torch.tensor(NUMBERS), ("cat", "dog", "eel")
    )
    for images in map(make, (in_memory, files, labelled(PAIRS))):
        assert isinstance(images, Dataset)
        assert [label for _, label in images] == NUMBERS
        assert torch.equal(images[-1][0], images[8][0])
        for workers in (0, 2):
            loader = DataLoader(images, batch_size=4, num_workers=workers)
            inputs, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
            assert inputs.shape == (9, 3, 8, 8)
            assert labels.tolist() == NUMBERS
        for index in (9, -10):
            with pytest.raises(IndexError, match=f"there is no image {index}; there are 9"):
                images[index]
        with pytest.raises(TypeError):
            images["cat"]
    assert in_memory[2][0].dtype == torch.uint8
    assert torch.equal(files[2][0], in_memory[2][0])


@pytest.fixture
def paths(tmp_path):
    for number, picture in enumerate(PICTURES):
        picture.save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(len(PICTURES))]


PATHS = {
    "series": pd.Series,
    "series of another index": lambda paths: pd.Series(paths, index=range(90, 90 - len(paths), -1)),
    "strings of pandas": lambda paths: pd.Series(paths, dtype="string"),
    "index": pd.Index,
    "array": np.array,
    "objects": lambda paths: np.array(paths, dtype=object),
    "paths": lambda paths: [Path(path) for path in paths],
    "series of pictures": lambda paths: pd.Series(PICTURES),
}


@pytest.mark.parametrize("make", PATHS.values(), ids=PATHS)
def test_a_column_of_paths_is_images(make, paths):
    data = labelled(make(paths))
    assert torch.equal(nclib.extract(MODEL, make(paths)), EXPECTED)
    assert torch.equal(nclib.extract(MODEL, data), EXPECTED)
    assert repr(data) == "Items(9 images)"
    pair = labelled((make(paths), pd.Series(NAMES)))
    assert (pair.labels.tolist(), pair.classes) == (NUMBERS, ("cat", "dog", "eel"))


TABLES = {
    "table": lambda paths: pd.DataFrame({"image": paths, "label": NAMES}),
    "index of one number": lambda paths: pd.DataFrame({"image": paths, "label": NAMES}, index=[5] * len(paths)),
    "categories": lambda paths: pd.DataFrame({"image": paths, "label": NAMES}).astype("category"),
    "its rows": lambda paths: pd.DataFrame({"image": paths, "label": NAMES}).to_numpy(),
    "array of texts": lambda paths: np.array([paths, NAMES]).T,
    "columns in a dict": lambda paths: {"image": pd.Series(paths), "label": pd.Series(NAMES)},
    "polars": lambda paths: Polars({"image": paths, "label": NAMES}),
    "more columns": lambda paths: pd.DataFrame(
        {"image": paths, "label": NAMES} | dict.fromkeys(("features", "to_dicts", "to_pylist", "array"), 0)
    ),
}


class Polars:
    """What a table of polars has of what is used here."""

    def __init__(self, columns):
        self.held, self.columns = columns, list(columns)

    def __len__(self):
        return len(self.to_dicts())

    def __getitem__(self, row):
        raise NotImplementedError("a row is a table, too")

    def to_dicts(self):
        return pd.DataFrame(self.held).to_dict("records")


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_table_of_paths_and_labels_is_labelled_images(make, paths):
    data = labelled(make(paths))
    assert (data.labels.tolist(), data.classes) == (NUMBERS, ("cat", "dog", "eel"))
    assert torch.equal(nclib.extract(MODEL, data), EXPECTED)


def test_a_table_of_arrow_is_labelled_images(paths):
    arrow = pytest.importorskip("pyarrow")
    assert labelled(arrow.table({"image": paths, "label": NAMES})).labels.tolist() == NUMBERS
    assert torch.equal(nclib.extract(MODEL, arrow.array(paths)), EXPECTED)


def test_a_table_whose_columns_do_not_tell_is_an_error(paths):
    twice = pd.DataFrame(np.array([paths, paths]).T, columns=["image", "image"])
    with pytest.raises(ValueError, match="a table has two columns of the same name: image, image; rename one"):
        labelled(twice)
    with pytest.raises(ValueError, match="an item has 0, 1; it must have one of pixel_values"):
        labelled(pd.DataFrame({0: paths, 1: NAMES})).labels  # noqa: B018
    named = labelled(pd.DataFrame({0: paths, 1: NAMES}), image=0, label=1)
    assert named.labels.tolist() == NUMBERS


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_no_images_and_says_how_it_is_given(kind, tmp_path, paths):
    (tmp_path / "t.csv").touch()
    for path, cure in (
        (tmp_path, f"nclib.load('folder:{tmp_path}') loads the images of a folder"),
        (
            tmp_path / "t.csv",
            f"a table of texts is file:{tmp_path / 't.csv'}, for an encoder of texts; give a table of paths",
        ),
        (paths[0], f"or, only in Python, one as nclib.labelled(['{paths[0]}'])"),
        ("digits", "nclib.load(name) loads images by name, or from folder:PATH"),
        ("word " * 2000, "nclib.load(name) loads images by name, or from folder:PATH"),  # longer than a path may be
    ):
        with pytest.raises(TypeError) as caught:
            nclib.extract(MODEL, kind(path))
        assert cure in str(caught.value)


def test_labels_of_items_are_what_labels_of_arrays_are():
    for labels, numbers, classes in (
        ([True, False], [1, 0], ("False", "True")),
        ([1.0, 0.0], [1, 0], ("0", "1")),
        ([" b", "a"], [0, 1], (" b", "a")),
    ):
        data = labelled(list(zip(PICTURES[:2], labels, strict=True)))
        assert (data.labels.tolist(), data.classes) == (numbers, classes)
        assert nclib.class_statistics(torch.eye(2), labels).counts.tolist() == [1, 1]
    with pytest.raises(ValueError, match="differ only in the space around them"):
        labelled(list(zip(PICTURES[:2], ["a", " a"], strict=True))).labels  # noqa: B018


def test_statistics_of_images_keep_the_names_of_classes():
    for data in (labelled(list(zip(PICTURES, NAMES, strict=True))), zip(PICTURES, NAMES, strict=True)):
        assert nclib.feature_statistics(MODEL, data, covariance="diagonal").classes == ("cat", "dog", "eel")


def test_floats_by_totensor_are_warned_of_and_normalised_ones_are_not(recwarn):
    scaled = FakeData(4, (3, 8, 8), 2, transforms.ToTensor())
    for given in (scaled, torch.utils.data.Subset(scaled, [0, 1, 2])):
        with pytest.warns(UserWarning, match=r"gives floats from 0 to 1, by ToTensor; floats count as prepared"):
            assert nclib.labelled(given).prepared
    recwarn.clear()
    normalised = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    assert nclib.labelled(FakeData(4, (3, 8, 8), 2, normalised)).prepared
    assert not recwarn
