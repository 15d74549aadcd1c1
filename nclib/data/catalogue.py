"""Data sets by name: embedded (drawn, or from scikit-learn), from torchvision, from the hub, and from folders."""

import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate, pad

from nclib.checks import as_name, check_whole, checked_seed, few, similar
from nclib.data import glyphs
from nclib.data.class_splits import CLASS_SPLITS
from nclib.data.folders import TEST_SHARE, check_same_classes, read_folder, split_folders
from nclib.data.hub import hub_splits
from nclib.data.images import ImageFiles, ImageSet
from nclib.data.items import Items
from nclib.data.kinds import how_given, with_labels
from nclib.data.pixels import as_bytes
from nclib.data.places import find_path, given_root, root_of
from nclib.data.text_sets import names_texts, texts
from nclib.data.torchvision_sets import TORCHVISION

EMBEDDED = (*(f"glyphs/{script}" for script in glyphs.SCRIPTS), "digits")
SPLITS = {"train": 120, "test": 40}  # images of a class if the set is drawn on the fly
_OWN_SPLITS = ("train", "test", "all")  # the splits that we make of a set without any
_LAID_OUT = "train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg"  # the layout of a folder
_PREFIXED = re.compile(r"(file|folder|hf):|docstrings/")
_SOME_CLASSES = re.compile(r"(.+)\[(\d*):(\d*)\]")  # a set, the first class, and the end
_SPLIT_CLASSES = re.compile(rf"(.+)\[({'|'.join(CLASS_SPLITS)})\]")  # a set, and a published split of its classes


def load(
    name: str,
    split: str = "train",
    *,
    per_class: int | None = None,
    seed: int = 0,
    data_root: str | Path | None = None,
    download: bool = False,
) -> ImageSet | ImageFiles | Items | Any:
    """Load a data set by name: images, or `Texts`.

    Parameters
    ----------
    name
        One of

        - `nclib.data.EMBEDDED`: ``glyphs/latin``, ``glyphs/greek``, ``glyphs/cyrillic``, ``glyphs/armenian``,
          ``glyphs/georgian`` (28 x 28 grey, drawn from the seed) or ``digits`` (scikit-learn's 1,797 real
          handwritten digits, brought to the same size);
        - `nclib.data.TORCHVISION`, as torchvision lays it out in the data root. In memory: ``mnist``,
          ``fashion-mnist``, ``kmnist``, ``qmnist``, ``emnist/letters``, ``emnist/balanced`` (upright, unlike
          torchvision's), ``usps``, ``cifar10``, ``cifar100``, ``svhn``, ``stl10``. As files: ``dtd`` (its
          first partition), ``flowers102``, ``oxford-iiit-pet``, ``fgvc-aircraft``, ``food101``,
          ``stanford-cars``, ``gtsrb``, ``country211``, ``sun397``, ``eurosat``, ``caltech101``,
          ``voc2007`` (the images whose objects are all of one class), ``imagenette``, ``imagenet`` (in ``imagenet/``);
        - ``folder:PATH``, a folder of images ``PATH/train/CLASS/*.jpg`` and ``PATH/test/CLASS/*.jpg``, or
          ``PATH/CLASS/*.jpg``; the path is below the data root, or begins with ``/`` or ``~``; see
          `nclib.data.folders`;
        - ``hf:NAME`` or ``hf:NAME:CONFIGURATION``, a set of the Hugging Face hub, or a folder that `save_to_disk` of
          its library wrote; needs that library, ``pip install "nctransfer[datasets]"``;
        - any of these followed by ``[first:end]``, such as ``cifar100[0:64]``, for these classes only, by number; or
          by a published split of classes, such as ``cifar100[cifar-fs/train]`` and
          ``folder:mini_imagenet[mini-imagenet/test]``, see `nclib.data.class_splits`. A folder whose own name has
          such brackets takes precedence;
        - texts, as `nclib.texts` names them: ``file:PATH``, ``docstrings/...``, or ``hf:NAME`` with a column of texts
          and none of images.
    split
        ``train``, ``test`` or ``all``; in a few sets also ``val``, which ``train`` then excludes (``dtd``,
        ``flowers102``, ``fgvc-aircraft``, ``country211``, and folders with all three). The ``train`` of
        ``oxford-iiit-pet`` and ``voc2007`` is their trainval, and the ``test`` of ``imagenet``, of
        ``imagenette`` and of a folder without ``test`` is its val. Sets without splits (``sun397``,
        ``eurosat``, ``caltech101``, folders of classes) are split by us, 80 % of each class to ``train``
        and 20 % to ``test``, always the same. ``all`` is all images of a set, whatever its splits.
    per_class
        Number of images of every class; None is 120 (train) or 40 (test) for glyphs, all images for other sets.
    seed
        Seed of the drawing, or of the choice of a subset.
    data_root
        The folder of the data sets; None is the environment variable ``NCLIB_DATA``.
    download
        Whether to fetch a torchvision set that is not in the data root.

    Returns
    -------
    `ImageSet` for images in memory, `ImageFiles` for a file per image (``.in_memory()`` of either is an `ImageSet`),
    `nclib.data.items.Items` for a set of the hub, `nclib.Texts` for texts.

    Raises
    ------
    ValueError
        For a name, split or number that is not allowed, and for a folder with another layout than above.
    FileNotFoundError
        For a set that is not there; it says where it was looked for and how to get it.

    Examples
    --------
    >>> greek = load("glyphs/greek", "test", per_class=2)
    >>> greek.images.shape, greek.classes[:3]
    (torch.Size([48, 1, 28, 28]), ('α', 'β', 'γ'))
    """
    check_whole(1, per_class=1 if per_class is None else per_class)
    seed, name = checked_seed(seed), as_name(name, "folder:PATH")
    stem, some = (name, slice(None)) if _is_folder(name, data_root) else split_name(name)
    if names_texts(stem, data_root):
        if stem != name or seed or download:
            raise ValueError(
                f"{stem} holds texts, for which classes, seed and download cannot be chosen; leave them out"
            )
        return texts(name, split, per_class=per_class, data_root=data_root)
    parts = (_splits(stem, data_root) if split == "all" else ()) or (split,)
    whole, *others = [_whole(stem, each, per_class, seed, data_root, download) for each in parts]
    whole = whole.joined(*others)
    if isinstance(some, tuple):
        whole = whole.of_named(some)
    elif stem != name:
        whole = whole.of_classes(some.start or 0, len(whole.classes) if some.stop is None else some.stop)
    return whole if per_class is None else whole.take(per_class, seed=seed)


def split_name(name: str) -> tuple[str, slice | tuple[str, ...]]:
    """The name of the whole data set, and the classes that a name selects, as a slice of numbers or as names.

    >>> split_name("glyphs/latin[:26]")
    ('glyphs/latin', slice(None, 26, None))
    >>> split_name("cifar100[cifar-fs/test]")[1][:2]
    ('baby', 'bed')
    """
    if named := _SPLIT_CLASSES.fullmatch(name):
        return named[1], CLASS_SPLITS[named[2]]
    if not (some := _SOME_CLASSES.fullmatch(name)):
        return name, slice(None)
    first, end = (int(number) if number else None for number in some.groups()[1:])
    return some[1], slice(first, end)


def classes_of(name: str, number: int) -> int:
    """How many classes a name selects from a set that has `number` classes.

    >>> classes_of("cifar100[80:100]", 100), classes_of("cifar100[cifar-fs/train]", 100), classes_of("cifar100", 100)
    (20, 64, 100)
    """
    _, some = split_name(name)
    return len(some) if isinstance(some, tuple) else len(range(number)[some])


def data_name(given: str) -> str:
    """A known name of a data set unchanged, or the path of a folder as ``folder:PATH``, ready for `load`.

    If both exist, the data set is meant, and a warning says so. ``[first:end]`` selects classes of a folder, too.
    ValueError for the path of a file; it says how to give one.

    >>> data_name("digits"), data_name(".").startswith("folder:/")
    ('digits', True)
    """
    stem = split_name(as_name(given, "folder:PATH"))[0]
    if stem in (*EMBEDDED, *TORCHVISION):
        if os.path.isdir(given):
            warnings.warn(f"{given} is the data set, not the folder here; the folder is folder:{given}", stacklevel=2)
        return given
    _refuse_file(given)
    return f"folder:{Path(given).absolute()}" if os.path.isdir(given) or os.path.isdir(stem) else given


def _refuse_file(given: str) -> None:
    """Refuse a name that is, or looks like, the path of a file."""
    if not (os.path.isdir(given) or _PREFIXED.match(given)) and (cure := how_given(given)):
        raise ValueError(f"{given} is the path of a file, not the name of a data set: {cure}")


def training_images(
    data: str,
    split: str | None,
    *,
    per_class: int | None = None,
    data_root: Path | str | None = None,
    download: bool = False,
) -> tuple[Any, list[Path]]:
    """The readable images of a data set or plain folder, and the paths of the unreadable ones.

    Without a split they are the training images if the data comes in splits, else all images.
    """
    name = data_name(data)
    stem = name if _is_folder(name, data_root) else split_name(name)[0]
    split = split or ("train" if _splits(stem, data_root) else "all")
    images = load(name, split, data_root=data_root, download=download)
    images, broken = images.readable() if isinstance(images, ImageFiles) else (images, [])
    return (images if per_class is None else images.take(per_class)), broken


def about_own_split(data: str, data_root: str | Path | None) -> str:
    """What to know of a set's training images if we split it, because it comes without splits; else empty."""
    stem = data if _is_folder(data, data_root) else split_name(data)[0]
    if _splits(stem, data_root):
        return ""
    share = f"{1 - TEST_SHARE:.0%} of each class"
    return f"{data} has no split 'train', so {share} are taken; the split 'all' takes every image"


def _splits(name: str, data_root: str | Path | None) -> tuple[str, ...]:
    """The splits that a set comes with; () if it has none and we make them."""
    if name in EMBEDDED:
        return tuple(SPLITS)
    if name in TORCHVISION:
        return tuple(TORCHVISION[name].splits)
    if name.startswith("folder:"):
        return tuple(split_folders(find_path(name, data_root, _LAID_OUT)))
    return tuple(_of_hub(name, data_root)) if name.startswith("hf:") else ()


def _whole(
    name: str, split: str, per_class: int | None, seed: int, data_root: str | Path | None, download: bool
) -> Any:
    """A whole split of a set; if it is drawn, `per_class` images of each class."""
    if name.startswith("glyphs/") and name in EMBEDDED:
        return _glyphs(name, split, per_class, seed)
    if name == "digits":
        _check_split(name, split, SPLITS)
        return _digits(split)
    if name in TORCHVISION:
        return _torchvision(name, split, data_root, download)
    if name.startswith("folder:"):
        return _folder(name, split, data_root)
    if name.startswith("hf:"):
        return _hub(name, split, data_root)
    known = (*EMBEDDED, *TORCHVISION)
    if os.path.isdir(name):
        raise ValueError(f"{name!r} is a folder; its name is 'folder:{name}'")
    _refuse_file(name)
    hint = similar(name, known)
    if (stem := name.partition("[")[0]) != name and stem in known:
        hint = f"; {stem} is one, and {stem}[first:end] some classes of it, such as {stem}[0:2]"
    raise ValueError(
        f"{name!r} is neither a known data set nor a folder{hint}; "
        f"there are {', '.join(known)}, folder:PATH and hf:NAME, all with or without [first:end], and texts, file:PATH"
    )


def _check_split(name: str, split: str, allowed: Iterable[str]) -> None:
    if split not in tuple(allowed):  # which, unlike a dict, may be asked for any object
        raise ValueError(f"unknown split {split!r} of {name}; there are {', '.join(dict.fromkeys((*allowed, 'all')))}")


def _torchvision(name: str, split: str, data_root: str | Path | None, download: bool) -> Any:
    from torchvision import datasets

    entry = TORCHVISION[name]
    _check_split(name, split, entry.splits or _OWN_SPLITS)
    root = root_of(name, data_root)
    how = entry.by_hand or "download=True (--download) fetches it"
    download = download and not entry.by_hand
    # Check first, because some of torchvision's classes create folders when they look for files.
    if not download and not any(root.glob(entry.place)):
        raise FileNotFoundError(f"{name} is not at {root / entry.place}; {how}")
    options = {**entry.splits.get(split, {}), **({"download": True} if download else {})}
    try:
        whole = entry.read(getattr(datasets, entry.kind)(root / entry.root, **options))
        if not len(whole):
            raise RuntimeError("its lists name no image")
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # for damaged files, torchvision and its readers may raise anything
        if download:
            raise
        said = str(error) if isinstance(error, RuntimeError | OSError) else repr(error)
        raise FileNotFoundError(
            f"{name} at {root / entry.place} is not whole ({said}); remove what is there, then {how}"
        ) from error
    return whole if entry.splits else _own_split(name, whole, split)


def _is_folder(name: str, data_root: str | Path | None) -> bool:
    """Whether there is a folder with this whole name, including the brackets."""
    given = name.removeprefix("folder:")
    if given == name or not given.endswith("]"):
        return False
    root = given_root(data_root) or "."
    stem = split_name(given)[0]
    whole, rest = (any((Path(at) / Path(each).expanduser()).is_dir() for at in (root, ".")) for each in (given, stem))
    if whole and rest and stem != given:
        warnings.warn(f"{name} is the folder of this name, not some classes of folder:{stem}", stacklevel=3)
    return whole


def _folder(name: str, split: str, data_root: str | Path | None) -> Any:
    folder = find_path(name, data_root, _LAID_OUT)
    if (folder / "train" / "labels").is_dir() and (folder / "train" / "images").is_dir():
        raise ValueError(f"{name} has train/images and train/labels: these are scenes, which nclib.scenes reads")
    splits = split_folders(folder)
    _check_split(name, split, splits or _OWN_SPLITS)
    if not splits:
        return _own_split(name, read_folder(folder), split)
    check_same_classes(splits)
    return read_folder(splits[split])


def _hub(name: str, split: str, data_root: str | Path | None) -> Any:
    splits = hub_splits(name, data_root)
    if splits.keys() == {"all"}:
        _check_split(name, split, _OWN_SPLITS)
        return _own_split(name, with_labels(splits["all"]), split)
    _check_split(name, split, splits)
    return with_labels(splits[split])


def _of_hub(name: str, data_root: str | Path | None) -> list[str]:
    splits = hub_splits(name, data_root)
    return [split for split in splits if split != "all"]


def _own_split(name: str, whole: Any, split: str) -> Any:
    """Our split of a set without splits; it is always the same, whatever the seed of a subset."""
    if split == "all":
        return whole
    sizes = whole.labels.bincount(minlength=len(whole.classes)).tolist()
    if lone := [label for label, size in zip(whole.classes, sizes, strict=True) if size < 2]:
        raise ValueError(f"{name} has classes of one image, too few for train and test: {few(lone)}; use split 'all'")
    return whole.split_off(TEST_SHARE)[split == "test"]


def _glyphs(name: str, split: str, per_class: int | None, seed: int) -> ImageSet:
    _check_split(name, split, SPLITS)
    script = name.removeprefix("glyphs/")
    images, labels = glyphs.render(script, per_class or SPLITS[split], seed=seed, split=split)
    return ImageSet(images, labels, tuple(glyphs.SCRIPTS[script]))


def _digits(split: str) -> ImageSet:
    """scikit-learn's digits, enlarged to 28 x 28; the images of a class alternate between the splits."""
    import pandas as pd
    from sklearn.datasets import load_digits

    raw = load_digits()
    rank = pd.Series(raw.target).groupby(raw.target).cumcount().to_numpy()  # 0, 1, 2, ... within each class
    chosen = rank % 2 == (split == "test")
    small = torch.from_numpy(raw.images[chosen]).double().unsqueeze(1) / 16  # (N, 1, 8, 8)
    images = pad(interpolate(small, size=22, mode="bilinear"), [3] * 4).clamp(0, 1)
    labels = torch.from_numpy(raw.target[chosen]).long()
    return ImageSet(as_bytes(255 * images), labels, tuple("0123456789"))
