"""Images from any source, read by number or in passes, with the labels that come with them."""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from nclib.checks import counted, few, is_number
from nclib.data.images import ImageSet, Labelled, stack
from nclib.data.pictures import numbered, picture, plain
from nclib.data.text_tables import TEXTS
from nclib.labels import checked_names

# The names that the parts of an item may have; the first that occurs counts, so pixel_values, prepared from the image.
IMAGES = ("pixel_values", "image", "img", "images", "jpg", "jpeg", "png", "webp")
LABELS = ("label", "labels", "fine_label", "target", "targets", "class", "cls")
_TOGETHER = 512  # images of a stream in memory at once
_ONCE = "an iterator can be passed over only once: give a list, a Dataset or a DataLoader"

Parts = tuple[Any, ...]  # an item's image, and its label if it has one
Classes = Sequence[str] | int | None


@dataclass(frozen=True)
class Columns:
    """The names of the image and the label in an item; None looks for one of the usual names."""

    image: str | None = None
    label: str | None = None

    def split(self, item: Any) -> Parts:
        """The image of an item (or images of a batch), and its label (or labels) if there is one."""
        if isinstance(item, Mapping):
            image, label = self.key(item, "image"), self.key(item, "label")
            if image is None:
                cure = "; for texts, give nclib.Texts(texts, labels)" if {*TEXTS} & {*item} else ""
                raise ValueError(
                    f"an item has {few(list(item)) or 'nothing'}; it must have one of {', '.join(IMAGES)}, or name "
                    f"yours: nclib.labelled(data, image=..., label=...){cure}"
                )
            return (item[image],) if label is None else (item[image], item[label])
        if isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype.kind in "OU":  # a row of paths and labels
            item = tuple(item.tolist())
        if isinstance(item, tuple | list):
            if not item:
                raise ValueError("an item is empty; it must be (image, label)")
            return tuple(item[:2])
        return (item,)

    def key(self, names: Iterable[str], part: str) -> str | None:
        """The name of the image, or of the label, among `names`; None if there is none."""
        asked, usual = getattr(self, part), IMAGES if part == "image" else LABELS
        if asked is not None and asked not in names:
            raise ValueError(f"there is no {part} {asked!r} among {few(list(names))}")
        return next((name for name in usual if name in names), None) if asked is None else asked


class Items(Labelled):
    """Labelled images from a source that is indexed by number, each read on demand.

    `rows` (N,) are their numbers in the source, `how` names the parts of an item, and `collate` makes a batch of items.
    `known` are the source's labels, if it lists them, and `names` the class names, or their number. `first` is the
    number of the first image in messages.

    Examples
    --------
    >>> pairs = [(Image.new("L", (2, 2)), "dog"), (Image.new("L", (2, 2)), "cat")]
    >>> found = Items(pairs)
    >>> found, found.labels, found.at(torch.tensor([1])).raw
    (Items(2 images, 2 classes), tensor([1, 0]), ['cat'])
    """

    def __init__(
        self,
        source: Any,
        rows: Tensor | None = None,
        how: Columns | None = None,
        *,
        collate: Callable[[list], Any] | None = None,
        known: Sequence[Any] | None = None,
        names: tuple[str, ...] | int | None = None,
        workers: int | None = None,
        first: int = 0,
    ):
        self.source, self.how, self.collate = source, how or Columns(), collate
        self.rows = torch.arange(len(source)) if rows is None else rows
        self.known, self.names, self.workers, self.first = known, names, workers, first

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        try:
            return super().__repr__()
        except (ValueError, TypeError):  # images without labels, or with wrong ones, have a repr, too
            return f"{type(self).__name__}({counted(len(self), 'image')})"

    @cached_property
    def labels(self) -> Tensor:  # type: ignore[override]  # a field in other classes; here reading it may take long
        """Labels int64 (N,); if the source does not list them, every item is read for its label."""
        return self._numbered[0]

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # a field in other classes
        """The K class names."""
        return self._numbered[1]

    @cached_property
    def _numbered(self) -> tuple[Tensor, tuple[str, ...]]:
        return numbered(self.raw, self.names)

    @cached_property
    def raw(self) -> list[str | int]:
        """The labels as the source gives them."""
        from tqdm.auto import tqdm

        if self.known is not None:
            return [plain((self.known[row],), row) for row in self.rows.tolist()]
        bar = tqdm(range(len(self)), "read labels", delay=1, leave=False)
        return [plain(self.parts(i)[1:], self._number(i)) for i in bar]

    def _number(self, index: int) -> int:
        """The number of an item, for messages."""
        return self.first + int(self.rows[index])

    def parts(self, index: int) -> Parts:
        """An item's image and, if it has one, its label, as the source gives them."""
        row = int(self.rows[index])
        try:
            item = self.source[row]
            item = item if self.collate is None else self.collate([item])
        except Exception as error:  # whatever the source may raise
            of = type(self.source).__name__
            raise ValueError(f"item {row} of {of} cannot be read: {type(error).__name__}: {error}") from error
        parts = self.how.split(item)
        return tuple(part[0] for part in parts) if self.collate is not None and is_batch(parts) else parts

    def image(self, index: int) -> Any:
        """An image of mode ``L`` or ``RGB``, or an input as a tensor if the images are `prepared`."""
        return self._image(index, self.parts(index)[0])

    def _image(self, index: int, given: Any) -> Any:
        """The image of an item that has been read."""
        given = self._given(index, given)
        if isinstance(given, Tensor) != self.prepared:
            kinds = ("inputs", "a picture") if self.prepared else ("a picture", "inputs")
            each = [f"item {self._number(i)} is {kind}" for i, kind in zip((0, index), kinds, strict=True)]
            raise ValueError(f"{' and '.join(each)}; give all images as pictures, or all as inputs (floats)")
        return given

    @cached_property
    def prepared(self) -> bool:  # type: ignore[override]  # always False in other classes
        """Whether the images are inputs, as the first one shows."""
        given = isinstance(self._given(0, self.parts(0)[0]), Tensor)
        if given and _only_scaled(self.source):
            warnings.warn(
                f"{type(self.source).__name__} gives floats from 0 to 1, by ToTensor; floats count as prepared, so no "
                "model normalises them. Unless it was trained on such floats, leave ToTensor out: then the model's own "
                "transform prepares the pictures",
                stacklevel=2,
            )
        return given

    def _given(self, index: int, given: Any) -> Image.Image | Tensor:
        try:
            return picture(given)
        except (ValueError, TypeError) as error:
            raise type(error)(f"item {self._number(index)}: {error}") from error

    def _bytes(self, index: int) -> Tensor:
        return self.image(index) if self.prepared else super()._bytes(index)

    @cached_property
    def digest(self) -> str:  # type: ignore[override]  # a plain property in other classes
        """The digest of all images and labels, 32 hexadecimal digits; it reads every image."""
        hashed = hashlib.blake2b(digest_size=16)
        for index in range(len(self)):
            parts = self.parts(index)
            array = np.ascontiguousarray(np.asarray(self._image(index, parts[0])))
            hashed.update(repr((array.shape, array.dtype.str, *map(str, parts[1:]))).encode())
            hashed.update(array.data)
        return hashed.hexdigest()

    def in_memory(self, size: int | None = None) -> ImageSet:
        """Read all pictures into memory, as `ImageFiles.in_memory` does; ValueError for inputs."""
        if self.prepared:
            raise ValueError("these are inputs, already prepared; only pictures can be read into memory as bytes")
        return ImageSet(stack(map(self.image, range(len(self))), len(self), size), self.labels, self.classes)

    def at(self, indices: Tensor) -> "Items":
        """The images and labels at the indices (n,), with the same classes."""
        changed: dict[str, Any] = {"rows": self.rows[indices], "labels": self.labels[indices]}
        if "raw" in self.__dict__:
            changed["raw"] = [self.raw[i] for i in indices.tolist()]
        return self._anew(**changed, classes=self.classes, names=self.classes)

    def _and(self, others: Sequence["Items"]) -> "Items":
        together = (self, *others)
        pairs: ConcatDataset = ConcatDataset([_Parts(each) for each in together])
        joined = Items(pairs, known=torch.cat([each.labels for each in together]).tolist(), names=self.classes)
        return joined._anew(workers=self.workers)

    def named(self, classes: Classes) -> "Items":
        """The same images with other class names, or another number of classes."""
        return self._anew(names=_names(classes))

    def _relabelled(self, labels: Tensor, classes: tuple[str, ...]) -> "Items":
        return self._anew(labels=labels, classes=classes, names=classes, raw=labels.tolist())

    def _anew(self, **changed: Any) -> "Items":
        """A copy with changes, without the cached labels, classes and digest."""
        anew = copy(self)
        for name in ("labels", "classes", "_numbered", "digest"):
            anew.__dict__.pop(name, None)
        anew.__dict__ |= changed
        return anew


def _only_scaled(source: Any) -> bool:
    """Whether the last step of a torch Dataset's transform is ToTensor, which scales but does not normalise."""
    while isinstance(source, Subset):
        source = source.dataset
    transform = getattr(source, "transform", None)
    steps = getattr(transform, "transforms", None) or [transform]
    return type(steps[-1]).__name__ == "ToTensor"


@dataclass(frozen=True)
class _Parts(Dataset):
    """A torch Dataset of the images and labels of items."""

    items: Items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Parts:
        return self.items.image(index), int(self.items.labels[index])


class Stream:
    """Images from an iterable, read in passes, or, once `held` is used, all in memory.

    `labels` and `classes` are those of the last pass, in its order. Asked for before the first pass, they read all
    images into memory.

    Examples
    --------
    >>> pairs = ((Image.new("L", (2, 2)), label) for label in ("dog", "cat"))
    >>> stream = Stream(pairs, Columns(), None)
    >>> [len(part) for part in stream.passes()], stream.labels, stream.classes
    ([2], tensor([1, 0]), ('cat', 'dog'))
    """

    def __init__(self, source: Iterable[Any], how: Columns, names: tuple[str, ...] | int | None):
        self.source, self.how, self.names = source, how, names
        self.seen: list[Parts] = []  # the label of each image, if it has one
        self._whole = self._begun = False

    def passes(self) -> Iterator[Items]:
        """One pass over the images, in parts."""
        if "held" in self.__dict__:
            self.seen, self._whole = [self.held.parts(i)[1:] for i in range(len(self.held))], True
            yield self.held
            return
        self.seen, self._whole = [], False
        items = self._items()
        while part := list(islice(items, _TOGETHER)):
            first = len(self.seen)
            self.seen += [parts[1:] for parts in part]
            yield Items(part, names=self.names, workers=0, first=first)
        self._whole = True
        if not self.seen:
            raise ValueError(f"there are no images: {type(self.source).__name__} gives none; {_ONCE}")

    def _items(self) -> Iterator[Parts]:
        if self._begun and hasattr(self.source, "__next__"):  # an iterator gives its items once
            raise ValueError(
                f"these images have been read: {type(self.source).__name__} was passed over before; {_ONCE}"
            )
        self._begun = True
        for given in self.source:
            parts = self.how.split(given)
            yield from unbatched(parts) if is_batch(parts) else [parts]

    @cached_property
    def held(self) -> Items:
        """All images, in memory."""
        return Items(list(self._items_whole()), names=self.names)

    def _items_whole(self) -> Iterator[Parts]:
        for part in self.passes():
            yield from part.source

    @property
    def labels(self) -> Tensor:
        """Labels int64 (N,)."""
        return self._numbered[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return self._numbered[1]

    @property
    def _numbered(self) -> tuple[Tensor, tuple[str, ...]]:
        if not self._whole:
            return self.held._numbered
        return numbered(self.names_of(0, len(self.seen)), self.names)

    def names_of(self, start: int, stop: int) -> list[str | int]:
        """The labels of the images start, ..., stop - 1 of the last pass, as the source gives them."""
        return [plain(self.seen[i], i) for i in range(start, stop)]

    def named(self, classes: Classes) -> "Stream":
        """The same images with other class names, or another number of classes."""
        return Stream(self.source, self.how, _names(classes))

    def __repr__(self) -> str:
        return f"Stream of {type(self.source).__name__}"


def passes(images: Any) -> Iterable[Any]:
    """The parts of images, each with a length; a `Stream` has several, all else is one part."""
    return images.passes() if isinstance(images, Stream) else [images]


def is_batch(parts: Parts) -> bool:
    """Whether an item is a batch of several images: (n, C, H, W), a list, or rows with a label each."""
    image, *label = parts
    dimensions = getattr(image, "ndim", None)
    if dimensions in (1, 2):
        return bool(label) and getattr(label[0], "ndim", None) == 1 and len(label[0]) == len(image)
    return dimensions == 4 or isinstance(image, list | tuple)


def unbatched(parts: Parts) -> list[Parts]:
    """The items of a batch."""
    if len({len(part) for part in parts}) > 1:
        given = f"{counted(len(parts[0]), 'image')} and {counted(len(parts[1]), 'label')}"
        raise ValueError(f"a batch has {given}; give one label per image")
    return list(zip(*parts, strict=True))


def _names(classes: Any) -> tuple[str, ...] | int | None:
    """The class names, or their number, checked."""
    if classes is None:
        return None
    if is_number(classes):
        if not classes >= 1 or classes % 1:
            raise ValueError(f"classes are {classes}; give their names, or how many there are, at least 1")
        return int(classes)
    names = checked_names(classes)
    if len(names) > len({*names}) or not names:
        raise ValueError(f"classes are {classes!r}; give a list of names that differ")
    return names
