"""The data sets of torchvision, as a table: their places, their splits, and where their objects keep the images."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from nclib.data.images import ImageFiles, ImageSet


@dataclass(frozen=True)
class Entry:
    """A class of `torchvision.datasets`, by its name `kind`, and how to read its objects.

    `place` is a pattern of what must be in the data root. `splits` are torchvision's arguments for each split, empty
    for a set without splits. `samples` returns the images, uint8 (N, C, H, W) or paths, and N labels; `classes`
    returns K names. `root` is the folder in the data root that torchvision calls its root, and `by_hand` says how to
    get a set that torchvision cannot download.
    """

    kind: str
    place: str
    splits: Mapping[str, Mapping[str, Any]]
    samples: Callable[[Any], Iterable]
    classes: Callable[[Any], Iterable] = attrgetter("classes")
    root: str = ""
    by_hand: str = ""

    def read(self, raw: Any) -> ImageSet | ImageFiles:
        """The labelled images of an object of torchvision's class."""
        images, labels = self.samples(raw)
        labels = torch.as_tensor(labels).long()
        # ImageNet gives each class a tuple of synonyms; two classes may share the first.
        classes = tuple(name if isinstance(name, str) else ", ".join(name) for name in self.classes(raw))
        if isinstance(images, Tensor):
            return ImageSet(images.contiguous(), labels, classes)
        return ImageFiles(tuple(map(Path, images)), labels, classes)


def _grey(raw: Any) -> tuple[Tensor, Any]:
    return torch.as_tensor(raw.data).unsqueeze(1), raw.targets  # (N, H, W)


def _qmnist(raw: Any) -> tuple[Tensor, Tensor]:
    return raw.data.unsqueeze(1), raw.targets[:, 0]  # the other columns name the writer


def _upright(raw: Any) -> tuple[Tensor, Tensor]:
    return raw.data.unsqueeze(1).transpose(2, 3), raw.targets  # EMNIST's files hold columns first


def _letters(raw: Any) -> tuple[Tensor, Tensor]:
    images, labels = _upright(raw)
    return images, labels - 1  # they count from 1, and class 0 is "N/A"


def _colour(raw: Any) -> tuple[Tensor, Any]:
    return torch.as_tensor(raw.data).permute(0, 3, 1, 2), raw.targets  # (N, H, W, 3)


def _planes(raw: Any) -> tuple[Tensor, Any]:
    return torch.as_tensor(raw.data), raw.labels  # (N, 3, H, W)


def _unzipped(pairs: Callable[[Any], Iterable[tuple]]) -> Callable[[Any], Iterable]:
    """Paths and labels from (path, label) pairs."""
    return lambda raw: zip(*pairs(raw), strict=True)


def _sun397(raw: Any) -> list[tuple[Path, int]]:
    return sorted(zip(raw._image_files, raw._labels, strict=True))  # their order is the file system's


def _caltech101(raw: Any) -> tuple[list[Path], list[int]]:
    folders = (Path(raw.root, "101_ObjectCategories", raw.categories[label]) for label in raw.y)
    return [folder / f"image_{number:04d}.jpg" for folder, number in zip(folders, raw.index, strict=True)], raw.y


VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def _voc(raw: Any) -> Iterator[tuple[str, int]]:
    """The images whose objects are all of one class, with that class; the many others are left out."""
    for image, annotation in zip(raw.images, raw.annotations, strict=True):
        names = {each.findtext("name") for each in ElementTree.parse(annotation).iter("object")}
        if len(names) == 1:
            yield image, VOC_CLASSES.index(names.pop())


def _named(**splits: str) -> dict[str, dict[str, Any]]:
    """Splits that torchvision takes by name, from our names to its own."""
    return {ours: {"split": theirs} for ours, theirs in splits.items()}


def _flagged(**options: Any) -> dict[str, dict[str, Any]]:
    """Splits that torchvision takes as ``train=True`` or ``False``."""
    return {split: {**options, "train": split == "train"} for split in ("train", "test")}


_TRAIN_TEST = _named(train="train", test="test")
_TRAIN_VAL_TEST = _named(train="train", val="val", test="test")
_TRAIN_VAL = _named(train="train", test="val")  # the labels of the test split, if there is one, are secret
_FILES = attrgetter("_image_files", "_labels")
_SAMPLES = _unzipped(attrgetter("samples"))
_PRIVATE_SAMPLES = _unzipped(attrgetter("_samples"))

TORCHVISION = {
    # In memory
    "mnist": Entry("MNIST", "MNIST", _flagged(), _grey),
    "fashion-mnist": Entry("FashionMNIST", "FashionMNIST", _flagged(), _grey),
    "kmnist": Entry("KMNIST", "KMNIST", _flagged(), _grey),
    "qmnist": Entry("QMNIST", "QMNIST", _flagged(), _qmnist),
    "emnist/letters": Entry("EMNIST", "EMNIST", _flagged(split="letters"), _letters, lambda raw: raw.classes[1:]),
    "emnist/balanced": Entry("EMNIST", "EMNIST", _flagged(split="balanced"), _upright),
    "usps": Entry("USPS", "usps*.bz2", _flagged(), _grey, lambda raw: "0123456789"),
    "cifar10": Entry("CIFAR10", "cifar-10-batches-py", _flagged(), _colour),
    "cifar100": Entry("CIFAR100", "cifar-100-python", _flagged(), _colour),
    "svhn": Entry("SVHN", "*_32x32.mat", _TRAIN_TEST, _planes, lambda raw: "0123456789"),
    "stl10": Entry("STL10", "stl10_binary", _TRAIN_TEST, _planes),
    # In files
    "dtd": Entry("DTD", "dtd/dtd", _TRAIN_VAL_TEST, _FILES),
    "flowers102": Entry("Flowers102", "flowers-102", _TRAIN_VAL_TEST, _FILES),
    "oxford-iiit-pet": Entry(
        "OxfordIIITPet", "oxford-iiit-pet", _named(train="trainval", test="test"), attrgetter("_images", "_labels")
    ),
    "fgvc-aircraft": Entry("FGVCAircraft", "fgvc-aircraft-2013b", _TRAIN_VAL_TEST, _FILES),
    "food101": Entry("Food101", "food-101", _TRAIN_TEST, _FILES),
    "stanford-cars": Entry(
        "StanfordCars",
        "stanford_cars",
        _TRAIN_TEST,
        _PRIVATE_SAMPLES,
        by_hand="put devkit, cars_train, cars_test and cars_test_annos_withlabels.mat there by hand",
    ),
    "gtsrb": Entry("GTSRB", "gtsrb", _TRAIN_TEST, _PRIVATE_SAMPLES, lambda raw: map(str, range(43))),
    "country211": Entry("Country211", "country211", _named(train="train", val="valid", test="test"), _SAMPLES),
    "sun397": Entry("SUN397", "SUN397", {}, _unzipped(_sun397)),
    "eurosat": Entry("EuroSAT", "eurosat/2750", {}, _SAMPLES),
    "caltech101": Entry("Caltech101", "caltech101/101_ObjectCategories", {}, _caltech101, attrgetter("categories")),
    "voc2007": Entry(
        "VOCDetection",
        "VOCdevkit/VOC2007",
        {split: {"year": "2007", "image_set": theirs} for split, theirs in (("train", "trainval"), ("test", "test"))},
        _unzipped(_voc),
        lambda raw: VOC_CLASSES,
    ),
    "imagenette": Entry("Imagenette", "imagenette2", _TRAIN_VAL, _PRIVATE_SAMPLES),
    "imagenet": Entry(
        "ImageNet",
        "imagenet",
        _TRAIN_VAL,
        _SAMPLES,
        root="imagenet",
        by_hand="put ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar there by hand",
    ),
}
