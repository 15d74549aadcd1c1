"""Turn data sets, loaders, lists, streams and tables of labelled images into one form."""

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import singledispatch
from os import PathLike
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from nclib.arrays import columns_of
from nclib.checks import few
from nclib.data.folders import EXTENSIONS
from nclib.data.images import Labelled, Transformed
from nclib.data.items import Classes, Columns, Items, Stream, is_batch, unbatched
from nclib.data.text_tables import TABLES

_BY_NAME = "nclib.load(name) loads images by name, or from folder:PATH"
_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_GIVEN: WeakValueDictionary[int, Any] = WeakValueDictionary()  # earlier streams, by id


def labelled(data: Any, classes: Classes = None, *, image: str | None = None, label: str | None = None) -> Any:
    """Images of any common kind, with their labels, in the form that the functions of nclib use.

    These functions call it themselves. Call it to get the labels, or to name parts and classes: after
    ``data = nclib.labelled(loader)``, ``nclib.extract(model, data)`` and ``data.labels`` have the same order.

    Parameters
    ----------
    data
        One of

        - a torch or torchvision ``Dataset``, a Hugging Face ``Dataset``, a list, or anything else with a length and
          items, which are read on demand;
        - a ``DataLoader``. Its data set is read in the order of its sampler, or, with ``shuffle=True``, as a whole in
          its own order, whatever `drop_last` is, so that rows and labels agree. A sampler that draws other rows at each
          pass is an error. Its workers read the items, and its `collate_fn` is called with single items;
        - any other iterable of items or batches, such as a generator. `extract`, `extract_layers` and
          `feature_statistics` pass over it once, with 512 images in memory at a time; other functions copy it into
          memory. If it shuffles, no two passes agree: call this once, and pass its result each time;
        - images and labels, ``(images, labels)``, or a dict of columns, all in memory.

        An item is (image, label), a dict with keys such as image and label (`nclib.data.items.IMAGES` and `LABELS`), or
        just an image. An image is a PIL image of any mode and size, bytes uint8 (H, W), (C, H, W) or (H, W, C), or a
        path; a backbone's transform prepares it. A tensor or array of floats (C, H, W) counts as prepared, and all of
        them must have the same size. A label is a whole number from 0 on, or a text.
    classes
        The names of the classes, in order, or their number, if labels are numbers without names. By default the names
        of the data set, else texts in alphabetical order, else the numbers up to the largest label.
    image, label
        The names of the image and the label in an item, if they are not among the usual ones.

    Returns
    -------
    `Items`, or a `Stream` for data without a length; their `labels`, int64 (N,), and `classes` are found on demand. An
    `ImageSet`, `ImageFiles` or tensor of inputs is returned unchanged.

    Raises
    ------
    ValueError
        If there are no images, if an image or a label is invalid, for a dict of several data sets, or for a loader
        whose sampler draws other rows at each pass.
    TypeError
        For anything that is not data.

    Warns
    -----
    UserWarning
        If a stream is given a second time, since its rows may come in another order.

    Examples
    --------
    >>> from PIL import Image
    >>> pairs = [(Image.new("RGB", (40, 30)), "dog"), (Image.new("L", (20, 50)), "cat")]
    >>> found = labelled(pairs)
    >>> found, found.labels, found.classes
    (Items(2 images, 2 classes), tensor([1, 0]), ('cat', 'dog'))
    """
    images = _opened(data, Columns(image, label))
    return images if classes is None or isinstance(images, Tensor) else images.named(classes)


def in_hand(data: Any, classes: Classes = None) -> Any:
    """`labelled`, with a stream copied into memory, and with `classes` if the data names none."""
    images = labelled(data)
    if isinstance(images, Stream):
        images = images.held
        _refuse_text(images.parts(0)[0])
    return images.named(classes) if isinstance(images, Items) and images.names is None else images


def with_labels(data: Any, name: str = "images", classes: Classes = None) -> Labelled:
    """`in_hand`, checked to have labels; TypeError, which calls the data by `name`, for inputs alone."""
    images = in_hand(data, classes)
    if isinstance(images, Tensor):
        raise TypeError(f"{name} are a tensor of inputs, without labels; give (inputs, labels), or labelled images")
    _ = images.labels  # reading them raises the error that says what is wrong
    return images


@singledispatch
def _opened(data: Any, how: Columns) -> Any:
    """Data of any kind, with its class names if it has some, as items that are read by number, or as a stream."""
    data = _listed(data)
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        if hasattr(data, "texts"):
            raise TypeError("Texts hold no images; nclib.text_features(encoder, texts) computes features of texts")
        if not hasattr(data, "__iter__"):
            raise TypeError(
                f"{type(data).__name__} holds no images; give a Dataset, a DataLoader, a list or another iterable of "
                "(image, label), an ImageSet, ImageFiles, or a tensor of inputs (N, C, H, W)"
            )
        return _stream(data, how, data)
    if not len(data):
        raise ValueError(f"there are no images: {type(data).__name__} is empty")
    known, names = _about(data, how)
    items = Items(data, how=how, known=known, names=names)
    first = items.parts(0)
    _refuse_text(first[0])
    return Stream(data, how, names) if is_batch(first) else items


def _refuse_text(image: Any) -> None:
    """Refuse a text that is neither an existing path nor looks like the path of an image."""
    if isinstance(image, str) and not os.path.exists(image) and Path(image).suffix.lower() not in EXTENSIONS:
        raise ValueError(
            f"images are texts, and the first, {image!r:.60}, is not a file; nclib.text_features(encoder, texts) "
            "computes features of texts, and nclib.Texts(texts, labels) makes a task to rank models for"
        )


def _listed(data: Any) -> Any:
    """A pandas, polars or Arrow table as a list of dicts, and a column as a list of its entries."""
    for rows, how in (("to_dicts", ()), ("to_pylist", ()), ("to_dict", ("records",))):
        names = None if hasattr(type(data), "features") else columns_of(data)  # Hugging Face's are read row by row
        if hasattr(type(data), rows) and names is not None:  # on the type, since a column may have this name
            if len({*names}) < len(names):
                raise ValueError(f"a table has two columns of the same name: {', '.join(names)}; rename one")
            return getattr(data, rows)(*how)
    if hasattr(type(data), "to_pylist"):
        return data.to_pylist()
    return data.tolist() if hasattr(data, "to_numpy") and hasattr(data, "array") else data


@_opened.register(Labelled)
@_opened.register(Stream)
def _(data: Any, how: Columns) -> Any:
    return data


@_opened.register
def _(data: Tensor, how: Columns) -> Any:
    """Inputs unchanged; pictures, which are bytes, one by one."""
    return Items(list(data), how=how) if data.dtype == torch.uint8 and data.ndim == 4 and len(data) else data


@_opened.register
def _(data: IterableDataset, how: Columns) -> Any:
    return _stream(data, how, data)


def _stream(data: Any, how: Columns, names_of: Any) -> Stream:
    """Data as a stream; a warning if it was given before, since passes may differ."""
    if hasattr(type(data), "__weakref__") and not hasattr(data, "__next__"):  # an iterator has only one pass
        if _GIVEN.get(id(data)) is data:
            warnings.warn(
                f"{type(data).__name__} is a stream that was given before; if it shuffles, features and labels of two "
                "passes do not agree: call data = nclib.labelled(stream) once, and pass data to all calls",
                stacklevel=5,  # the caller of `labelled`
            )
        _GIVEN[id(data)] = data
    return Stream(data, how, _about(names_of, how)[1])


@_opened.register(str)
@_opened.register(PathLike)
def _(data: str | PathLike, how: Columns) -> Any:
    raise TypeError(f"images are {type(data).__name__} {str(data)!r:.100}; {how_given(data) or _BY_NAME}")


def how_given(path: str | PathLike) -> str:
    """How to give the file, folder or table at a path, for a message; empty for any other text."""
    ending, is_file = Path(path).suffix.lower(), os.path.isfile(path)
    if is_file and ending in EXTENSIONS:
        return f"give a folder of images as folder:PATH, or, only in Python, one as nclib.labelled([{str(path)!r}])"
    if is_file or ending in TABLES:
        return (
            f"a table of texts is file:{path}, for an encoder of texts; give a table of paths and labels of images, "
            f"only in Python, as nclib.labelled(pandas.read_csv({str(path)!r}))"
        )
    return f"nclib.load({f'folder:{path}'!r}) loads the images of a folder" if os.path.isdir(path) else ""


@_opened.register
def _(data: Mapping, how: Columns) -> Any:
    if how.key(data, "image") is None:
        raise ValueError(f"a dict of {few(list(data)) or 'nothing'} holds several data sets, or none; give one of them")
    return _opened(unbatched(how.split(data)), how)


@_opened.register
def _(data: tuple, how: Columns) -> Any:
    data = tuple(map(_listed, data))
    return _opened(unbatched(data) if len(data) == 2 and _are_columns(*data) else list(data), how)


def _are_columns(images: Any, labels: Any) -> bool:
    """Whether a pair is (images, labels): all images in one array or list, and a label for each."""
    listed = isinstance(labels, list | tuple | np.ndarray | Tensor) and getattr(labels, "ndim", 1) == 1
    rows = listed and getattr(images, "ndim", 0) > 0 and len(images) == len(labels)
    return rows or is_batch((images, labels))


@_opened.register
def _(data: DataLoader, how: Columns) -> Any:
    """A loader as items in the order of its sampler, so that all passes give the same rows."""
    if isinstance(data.dataset, IterableDataset) or data.batch_sampler is None:
        return _stream(data, how, data.dataset)
    rows = _rows(data)
    items = _opened(data.dataset, how)
    own = items is data.dataset
    collate = None if data.collate_fn is default_collate else data.collate_fn
    if own and collate is None:
        return items.at(rows)
    known = None if own or collate is not None else items.known
    names = items.classes if own else items.names
    return Items(data.dataset, rows, how, collate=collate, known=known, names=names, workers=data.num_workers)


def _rows(loader: DataLoader) -> Tensor:
    """The numbers of the items of a loader, in its order; if it shuffles, all of them, sorted."""
    batches: Any = loader.batch_sampler
    plain = type(batches) is BatchSampler
    sampler = getattr(batches, "sampler", loader.sampler)
    if isinstance(sampler, DistributedSampler):
        raise ValueError(
            "the loader gives each process a share of its data set; give the data set itself, which "
            "nclib.feature_statistics distributes, or torch.utils.data.Subset(dataset, list(sampler))"
        )
    rows = _shuffled(sampler) if plain else None
    if rows is None:
        rows, again = ([int(row) for batch in batches for row in batch] for _ in range(2))
        if rows != again or isinstance(sampler, _RANDOM):  # a few rows may agree by chance
            raise ValueError(
                f"{type(sampler if plain else batches).__name__} draws other rows, or another order, at each pass over "
                "the loader, so features and labels would not agree; give the data set itself, or rows that you draw "
                "once: torch.utils.data.Subset(dataset, rows)"
            )
    if not rows:
        raise ValueError("there are no images: the loader gives no batch")
    return torch.tensor(rows)


def _shuffled(sampler: Any) -> list[int] | None:
    """The sorted numbers of a sampler that gives each once in random order; None for other samplers."""
    if isinstance(sampler, SubsetRandomSampler):
        return sorted(map(int, sampler.indices))
    if not isinstance(sampler, RandomSampler) or sampler.replacement:
        return None
    number = len(sampler.data_source)
    return list(range(number)) if sampler.num_samples == number else None


@singledispatch
def _about(data: Any, how: Columns) -> tuple[Sequence[Any] | None, tuple[str, ...] | None]:
    """The labels that a data set lists, so that no image is read for them, and its class names; None if unknown."""
    if isinstance(features := getattr(data, "features", None), Mapping):  # Hugging Face's
        return _of_columns(data, features, how)
    if getattr(data, "target_transform", None) is not None:  # the labels differ from those listed
        return None, None
    listed = getattr(data, "targets", None) if type(data).__module__.startswith("torchvision.datasets.") else None
    known = None if listed is None or np.ndim(listed) != 1 or len(listed) != len(data) else listed
    names = getattr(data, "classes", None)
    if not isinstance(names, list | tuple):
        return known, None
    # ImageNet gives each class a tuple of synonyms.
    return known, tuple(name if isinstance(name, str) else ", ".join(name) for name in names)


def _of_columns(data: Any, features: Mapping, how: Columns) -> tuple[Sequence[Any] | None, tuple[str, ...] | None]:
    key = how.key(features, "label")
    if key is None:
        return None, None
    names = getattr(features[key], "names", None)
    listed = hasattr(data, "__len__") and data.format["type"] != "custom"  # a function may give other labels
    return list(data.with_format(None)[key]) if listed else None, None if names is None else tuple(names)


@_about.register(Subset)
def _(data: Subset, how: Columns) -> tuple[Sequence[Any] | None, tuple[str, ...] | None]:
    known, names = _about(data.dataset, how)
    return known if known is None else [known[i] for i in data.indices], names


@_about.register(ConcatDataset)
def _(data: ConcatDataset, how: Columns) -> tuple[Sequence[Any] | None, tuple[str, ...] | None]:
    """Names only if all parts have the same."""
    parts = [_about(part, how) for part in data.datasets]
    lists, names = [known for known, _ in parts if known is not None], {names for _, names in parts}
    if len(strays := [few(each) for each in names if each is not None]) > 1:
        raise ValueError(f"the concatenated data sets have different classes, {strays[0]}, and {strays[1]}")
    known = [label for labels in lists for label in labels] if len(lists) == len(parts) else None
    return known, names.pop() if len(names) == 1 else None


@_about.register(Labelled)
def _(data: Labelled, how: Columns) -> tuple[Sequence[Any] | None, tuple[str, ...] | None]:
    return data.labels.tolist(), data.classes


@_about.register(Transformed)
def _(data: Transformed, how: Columns) -> tuple[Sequence[Any] | None, tuple[str, ...] | None]:
    return _about(data.images, how)
