"""Labelled images, in memory or in files: the form of a loaded data set."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import index as whole
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from nclib.checks import check_share, check_whole, checked_seed, counted, few, is_number
from nclib.labels import check_labels, checked_names
from nclib.seeds import seeded

_GREY = ("1", "L")  # Pillow's modes without colour or alpha, of at most 8 bits
_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_NO_RANGE = ("I", "F")  # these modes do not define which number is white
_SHALLOW = "its 16-bit values seem to be of 12 bits or fewer, and would come out black"
_DECODED = "upright, 16 bits"  # change it when files are decoded differently, so that older features are not reused


class Labelled(Dataset, ABC):
    """Base class of labelled images: `labels` int64 (N,) in 0..K-1, the K class names `classes`, and subsets.

    It is a torch Dataset of images as bytes, uint8 (C, H, W), with their labels.
    """

    labels: Tensor
    classes: tuple[str, ...]
    prepared = False  # whether images are inputs already, so that no transform is needed
    workers: int | None = None  # the default number of processes that read them; None depends on the device

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The bytes of an image, uint8 (C, H, W), and its label; a negative index counts from the end.

        Images in files always have three channels, so that images of the same size fit into a batch.
        """
        place = self._place(index)
        return self._bytes(place), int(self.labels[place])

    def transformed(self, transform: Callable[[Any], Any]) -> "Transformed":
        """A torch Dataset of the transformed images, converted to RGB first, with their labels.

        >>> images = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
        >>> images.transformed(lambda image: image.resize((8, 8)).size)[1]
        ((8, 8), 1)
        """
        return Transformed(self, transform)

    def _place(self, index: int) -> int:
        """The index, counted from the start."""
        place = whole(index) + (len(self) if whole(index) < 0 else 0)
        if not 0 <= place < len(self):
            raise IndexError(f"there is no image {index}; there are {len(self)}")
        return place

    def _bytes(self, index: int) -> Tensor:
        from torchvision.transforms.functional import pil_to_tensor

        return pil_to_tensor(self.image(index).convert("RGB"))

    @property
    @abstractmethod
    def digest(self) -> str:
        """The digest of the images and labels, 32 hexadecimal digits."""

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """One image, of mode ``L`` or ``RGB``."""

    @abstractmethod
    def at(self, indices: Tensor) -> Self:
        """The images and labels at the indices (n,), with the same classes."""

    def take(self, per_class: int | None = None, *, share: float | None = None, seed: int = 0) -> Self:
        """A stratified subset, chosen by the seed, in the original order.

        Either `per_class` images of every class, or the `share` of every class, in (0, 1], rounded, but at least 1.

        >>> images = ImageSet(torch.zeros(6, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 1, 1, 1]), ("a", "b"))
        >>> images.take(1).labels, images.take(share=0.4).labels
        (tensor([0, 1]), tensor([0, 1, 1]))
        """
        return self.at(self._drawn(per_class, share, seed).nonzero().flatten())

    def split_off(self, share: float, *, seed: int = 0) -> tuple[Self, Self]:
        """A pair: the images that ``take(share=share, seed=seed)`` leaves, and those that it takes.

        ValueError if none of a class is left.
        """
        drawn = self._drawn(None, share, seed)
        left, had = (labels.bincount(minlength=len(self.classes)) for labels in (self.labels[~drawn], self.labels))
        if gone := [name for name, none in zip(self.classes, (left == 0) & (had > 0), strict=True) if none]:
            raise ValueError(f"share is {share}, which takes every image of class {few(gone)}; give a lower one")
        return self.at((~drawn).nonzero().flatten()), self.at(drawn.nonzero().flatten())

    def joined(self, *others: Self) -> Self:
        """These images followed by the others, all of the same classes.

        >>> images = ImageSet(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
        >>> images.joined(images).labels
        tensor([0, 1, 0, 1])
        """
        if strays := [other.classes for other in others if other.classes != self.classes]:
            raise ValueError(
                f"the classes differ: {few(self.classes)}, and {few(strays[0])}; give all the same classes, in order"
            )
        return self._and(others) if others else self

    @abstractmethod
    def _and(self, others: Sequence[Self]) -> Self:
        """`joined`, without the check that the classes are the same."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images, {len(self.classes)} classes)"

    def of_classes(self, first: int, end: int) -> Self:
        """The images of the classes first, ..., end - 1, renumbered from 0."""
        if not 0 <= first < end <= len(self.classes):
            raise ValueError(f"classes [{first}:{end}] were asked for; give 0 <= first < end <= {len(self.classes)}")
        return self._of_numbers(range(first, end))

    def of_named(self, names: Sequence[str]) -> Self:
        """The images of the classes with these names, which keep the order that they have here."""
        if missing := [name for name in names if name not in self.classes]:
            raise ValueError(f"there are no classes {few(missing)}; the classes are {few(list(self.classes))}")
        return self._of_numbers([k for k, name in enumerate(self.classes) if name in names])

    def _of_numbers(self, numbers: Sequence[int]) -> Self:
        """The images of these classes, renumbered from 0 in this order."""
        place = torch.full((len(self.classes),), -1).scatter_(
            0, torch.tensor(list(numbers)), torch.arange(len(numbers))
        )
        labels = place[self.labels]
        chosen = self.at((labels >= 0).nonzero().flatten())
        return chosen._relabelled(place[chosen.labels], tuple(self.classes[k] for k in numbers))

    def named(self, classes: Sequence[str] | int | None) -> Self:
        """The same images with other class names; a number of classes must be that of the names that they have."""
        if is_number(classes) and classes != len(self.classes):
            raise ValueError(f"classes are {classes}; these images have {len(self.classes)}, with names: give names")
        names: Any = None if is_number(classes) else classes
        return self if names is None else self._relabelled(self.labels, checked_names(names))

    def _relabelled(self, labels: Tensor, classes: tuple[str, ...]) -> Self:
        """The same images with other labels and classes."""
        return replace(self, labels=labels, classes=classes)  # type: ignore[type-var]  # those that do not override it are dataclasses

    def _drawn(self, per_class: int | None, share: float | None, seed: int) -> Tensor:
        """Which images the seed draws, bool (N,)."""
        counts = self._counts(per_class, share)
        order = torch.randperm(len(self), generator=seeded("take", checked_seed(seed)))
        drawn = torch.zeros(len(self), dtype=torch.bool)
        for k, count in enumerate(counts):
            drawn[order[self.labels[order] == k][:count]] = True
        return drawn

    def _counts(self, per_class: int | None, share: float | None) -> list[int]:
        """The number of images to draw of each class."""
        sizes = self.labels.bincount(minlength=len(self.classes)).tolist()
        if share is not None and per_class is None:
            check_share(share=share)
            return [max(1, round(share * size)) for size in sizes]
        if share is not None or per_class is None:
            raise ValueError(f"per_class is {per_class} and share is {share}; give one of the two")
        check_whole(0, per_class=per_class)
        fewest = min(sizes)
        if not 1 <= per_class <= fewest:
            raise ValueError(
                f"per_class is {per_class}; the smallest class has {counted(fewest, 'image')}; give at least 1, "
                "and at most as many"
            )
        return [per_class] * len(sizes)

    def _check(self, count: int) -> None:
        """Refuse labels that do not match the number of images or the classes."""
        if not isinstance(self.labels, Tensor) or self.labels.dtype != torch.int64:
            given = self.labels.dtype if isinstance(self.labels, Tensor) else type(self.labels).__name__
            raise TypeError(f"labels are {given}; they must be int64 (N,): torch.tensor(labels, dtype=torch.int64)")
        if self.labels.shape != (count,):
            raise ValueError(
                f"there are {counted(count, 'image')} and labels {tuple(self.labels.shape)}; they must be ({count},)"
            )
        check_labels(self.labels, num_classes=len(self.classes))


@dataclass(frozen=True, repr=False)
class ImageSet(Labelled):
    """Labelled images in memory: uint8 (N, C, H, W), labels int64 (N,) in 0..K-1, and K class names.

    >>> ImageSet(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog")).inputs().flatten()
    tensor([-1., -1.])
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.images, Tensor):
            kind = type(self.images).__name__
            raise TypeError(f"images are a {kind}; they must be a tensor, uint8 (N, C, H, W): torch.as_tensor(images)")
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images are {self.images.dtype} {tuple(self.images.shape)}; they must be torch.uint8 (N, C, H, W)"
            )
        self._check(len(self.images))

    def _bytes(self, index: int) -> Tensor:
        return self.images[index]

    @property
    def digest(self) -> str:
        """The digest of the pixels and labels, 32 hexadecimal digits."""
        hashed = hashlib.blake2b(repr(tuple(self.images.shape)).encode(), digest_size=16)
        for tensor in (self.images, self.labels):
            hashed.update(tensor.cpu().contiguous().numpy().data)
        return hashed.hexdigest()

    def inputs(self, device: torch.device | str = "cpu") -> Tensor:
        """The images as a network takes them: (N, C, H, W) in [-1, 1], in torch's default dtype, on the device."""
        return self.images.to(device).to(torch.get_default_dtype()).div(127.5).sub(1)

    def image(self, index: int) -> Image.Image:
        """One image: mode ``L`` with one channel, ``RGB`` with three."""
        pixels = self.images[index].cpu().permute(1, 2, 0).numpy()
        if pixels.shape[2] not in (1, 3):
            raise ValueError(f"images have {pixels.shape[2]} channels; they must have 1 or 3: give images[:, :3]")
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))

    def at(self, indices: Tensor) -> Self:
        """The images and labels at the indices (n,), with the same classes."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def _and(self, others: Sequence[Self]) -> Self:
        images, labels = (torch.cat([getattr(each, part) for each in (self, *others)]) for part in ("images", "labels"))
        return replace(self, images=images, labels=labels)

    def in_memory(self, size: int | None = None) -> "ImageSet":
        """The set itself; with `size`, its images resized to (size, size) as in `ImageFiles.in_memory`."""
        if size is None or self.images.shape[2:] == (size, size):
            return self
        return replace(self, images=stack((self.image(i) for i in range(len(self))), len(self), size))


@dataclass(frozen=True, repr=False)
class ImageFiles(Labelled):
    """Images in files, of any size, opened on demand: N paths, labels int64 (N,) in 0..K-1, and K class names.

    >>> ImageFiles((Path("tom.png"), Path("rex.png")), torch.tensor([0, 1]), ("cat", "dog"))  # not opened yet
    ImageFiles(2 images, 2 classes)
    """

    paths: tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        self._check(len(self.paths))

    @property
    def digest(self) -> str:
        """The digest of the files, their decoding, and the labels, 32 hexadecimal digits.

        A file enters by its path below the common folder, its size in bytes, and the time of its last change. So the
        folder may move, but its files must not change.
        """
        hashed = hashlib.blake2b(_DECODED.encode(), digest_size=16)
        common = os.path.commonpath([path.parent for path in self.paths]) if self.paths else ""
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            status = path.stat()
            entry = (path.relative_to(common).as_posix(), status.st_size, status.st_mtime_ns, label)
            hashed.update(repr(entry).encode())
        return hashed.hexdigest()

    def image(self, index: int) -> Image.Image:
        """One image, upright: grey as mode ``L``, anything else as ``RGB`` without alpha.

        A file that is not a complete image is a ValueError with its path. So is a 16-bit image whose values seem to
        have 12 bits or fewer.
        """
        return read_image(self.paths[index])

    def readable(self) -> tuple["ImageFiles", list[Path]]:
        """The images that can be read, and the paths of the others; it opens every file.

        ValueError if no image of a class can be read.
        """
        from tqdm.auto import tqdm

        broken: dict[int, str] = {}
        for index in tqdm(range(len(self)), "check images", delay=1, leave=False):
            try:
                self.image(index)
            except ValueError as error:
                broken[index] = str(error)
        kept = torch.ones(len(self), dtype=torch.bool)
        kept[list(broken)] = False
        left = self.labels[kept].bincount(minlength=len(self.classes))
        for index, why in broken.items():
            if not left[self.labels[index]]:
                raise ValueError(f"no image of class {self.classes[self.labels[index]]} can be read: {why}")
        return (self.at(kept.nonzero().flatten()) if broken else self), [self.paths[index] for index in broken]

    def at(self, indices: Tensor) -> Self:
        """The paths and labels at the indices (n,), with the same classes."""
        return replace(self, paths=tuple(self.paths[i] for i in indices.tolist()), labels=self.labels[indices])

    def _and(self, others: Sequence[Self]) -> Self:
        paths = (path for each in (self, *others) for path in each.paths)
        return replace(self, paths=tuple(paths), labels=torch.cat([each.labels for each in (self, *others)]))

    def in_memory(self, size: int | None = None) -> ImageSet:
        """Read every file: (N, 1, H, W) if all are grey, otherwise (N, 3, H, W).

        With `size`, the shorter side is resized to it (bicubic) and the centre cut out. Without it, all must have the
        same size.
        """
        from tqdm.auto import tqdm

        bar = tqdm(range(len(self)), "read images", delay=1, leave=False)
        return ImageSet(stack((self.image(i) for i in bar), len(self), size), self.labels, self.classes)


@dataclass(frozen=True)
class Transformed(Dataset):
    """Labelled images under a transform: a torch Dataset of its results with their labels."""

    images: Labelled
    transform: Callable[[Any], Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        place = self.images._place(index)
        return self.transform(self.images.image(place).convert("RGB")), int(self.images.labels[place])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.images.classes


def read_image(file: Any, name: object = None) -> Image.Image:
    """The image at a path or in an open file, upright, as ``L`` or ``RGB``; ValueError with its name if none."""
    try:
        with Image.open(file) as opened:
            return in_8_bits(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow raises them all
        raise ValueError(f"{name or file} cannot be read as an image: {error}") from error


def in_8_bits(opened: Image.Image) -> Image.Image:
    """The image upright, as ``L`` or ``RGB``. (Pillow's own conversion would clip 16-bit grey at 255.)"""
    if opened.mode in _NO_RANGE:
        raise ValueError(f"mode {opened.mode} has no range of values; save the image with 8 or 16 bits")
    deep = any(";16" in str(tile[3]) for tile in getattr(opened, "tile", ()))  # Pillow keeps the upper 8 bits of RGB
    ImageOps.exif_transpose(opened, in_place=True)
    if opened.mode in _DEEP_GREY:
        values = np.asarray(opened)
        if 0 < values.max() < 4096:
            raise ValueError(f"{_SHALLOW}, {values.max():,} at most; save it with 8 bits, or its values times 16")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if deep and np.asarray(opened).max() < 16:
        raise ValueError(f"{_SHALLOW}; save it with 8 bits, or its values times 16")
    return opened.convert("L" if opened.mode in _GREY else "RGB")


def cropped(image: Image.Image, size: int) -> Image.Image:
    """The centre of an image as a square, resized: what networks trained here see of it."""
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def stack(images: Iterator[Image.Image], count: int, size: int | None) -> Tensor:
    """The images as uint8 (N, C, H, W), C = 1 if all are grey; resized to (size, size), or all of the same size."""
    check_whole(1, size=1 if size is None else size)
    fitted: list[Image.Image] = []
    for image in images:
        fitted.append(cropped(image, size) if size else image)
        if fitted[-1].size != fitted[0].size:
            one, other = (" x ".join(map(str, image.size)) for image in (fitted[0], fitted[-1]))
            raise ValueError(f"images differ in size, {one} and {other} (width x height); give size=... to fit them")
    if not fitted:
        raise ValueError("there are no images to bring into memory")
    mode = "L" if all(image.mode == "L" for image in fitted) else "RGB"
    stacked = torch.empty(count, len(mode), *fitted[0].size[::-1], dtype=torch.uint8)
    for row, image in zip(stacked, fitted, strict=True):
        row.copy_(torch.from_numpy(np.array(image.convert(mode))).reshape(*row.shape[1:], -1).permute(2, 0, 1))
    return stacked
