"""Folders of images: one folder per class, with or without folders of splits above them."""

import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import torch

from nclib.checks import few
from nclib.data.images import ImageFiles

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".avif", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".mpo"),
)
TEST_SHARE = 0.2  # of a set without splits
# The names that the folder, or the file, of a split may have, in any case.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_CLUTTER = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "Thumbs.db", "desktop.ini")  # left behind by operating systems


def split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split (`SPLIT_NAMES`): `train`, `test` and `val`, which stands in for a missing `test`.

    Empty if the folders are classes. A class may also be called ``train``, so a split's name counts only beside
    another one, or if there is no other folder. ValueError if two folders name the same split.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("training", "dev"):
    ...         Path(folder, name).mkdir()
    ...     {split: path.name for split, path in split_folders(Path(folder)).items()}
    {'train': 'training', 'test': 'dev'}
    """
    given = class_folders(folder)
    found: dict[str, list[Path]] = {split: [] for split in SPLIT_NAMES}
    for name, path in given.items():
        for split, names in SPLIT_NAMES.items():
            if name.lower() in names:
                found[split].append(path)
    splits = {split: paths[0] for split, paths in found.items() if paths}
    if len(splits) < 2 and sum(map(len, found.values())) < len(given):
        return {}
    if twice := [paths for paths in found.values() if len(paths) > 1]:
        both = few([path.name for path in twice[0]])
        raise ValueError(f"{folder} has {both}, which name the same split; keep one")
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    return splits


def read_folder(folder: Path) -> ImageFiles:
    """The images of ``folder/<class>/*.jpg`` (any of `EXTENSIONS`), classes and files in sorted order.

    Folders within a class belong to it, but a class without images directly in its folder is a ValueError. Hidden files
    are ignored; a warning counts all other files that are left out, and names one.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for file in (Path(folder, "cat", "tom.png"), Path(folder, "dog", "rex.png")):
    ...         file.parent.mkdir()
    ...         file.touch()  # files are not opened yet
    ...     read_folder(Path(folder))
    ImageFiles(2 images, 2 classes)
    """
    classes = class_folders(folder)
    if not classes:
        raise ValueError(f"{folder} has no class folders; it must hold <class>/*{EXTENSIONS[0]}")
    parts = [_sorted_out(path) for path in classes.values()]
    _check_own_images(folder, classes, [images for images, _ in parts])
    files = [images for images, _ in parts]
    _warn_of([*chain.from_iterable(others for _, others in parts), *_strays(folder)])
    sizes = torch.tensor([len(found) for found in files])
    labels = torch.arange(len(classes)).repeat_interleave(sizes)
    return ImageFiles(tuple(chain.from_iterable(files)), labels, tuple(classes))


def check_same_classes(splits: dict[str, Path]) -> None:
    """Refuse splits that do not hold the same classes; the error names a few that differ."""
    classes = {split: set(class_folders(folder)) for split, folder in splits.items()}
    common = set.intersection(*classes.values())
    strays = {split: sorted(names - common) for split, names in classes.items() if names - common}
    if strays:
        where = ", ".join(map(str, splits.values()))
        what = "; ".join(f"{split} has {few(names)}" for split, names in strays.items())
        raise ValueError(f"the class folders of {where} differ: {what}, which others lack; all need the same")


def class_folders(folder: Path) -> dict[str, Path]:
    """The class folders by name, in sorted order.

    Names are in Unicode's composed form (NFC), whatever system wrote them. Two names that differ only in form are a
    ValueError.
    """
    found: dict[str, Path] = {}
    for path in _visible(folder):
        if path.is_dir():
            name = normalize("NFC", path.name)
            if name in found:
                raise ValueError(f"{folder} has two folders {name!r}, which differ in the form of Unicode; merge them")
            found[name] = path
    return dict(sorted(found.items()))


def _check_own_images(folder: Path, classes: dict[str, Path], files: Sequence[Sequence[Path]]) -> None:
    """Refuse classes without an image directly in their folder: the folders within may be the classes."""
    found = list(zip(classes.items(), files, strict=True))
    if empty := [name for (name, path), images in found if not any(image.parent == path for image in images)]:
        within = sum(len(images) for (name, _), images in found if name in empty)
        deeper = f"; {within:,} are in folders within, which may be the classes" if within else ""
        raise ValueError(
            f"{folder} has class folders without an image directly in them ({', '.join(EXTENSIONS)}): "
            f"{few(empty)}{deeper}"
        )


def _sorted_out(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images in a class's folder, including folders within it, and its other files."""
    images, others = [], list[Path]()
    for path in _visible(folder):
        if path.suffix.lower() in EXTENSIONS:
            images.append(path)
        elif path.is_dir():
            inner, rest = _sorted_out(path)
            images, others = images + inner, others + rest
        else:
            others.append(path)
    return images, others


def _strays(folder: Path) -> list[Path]:
    """Images beside the class folders, which belong to no class."""
    return [path for path in _visible(folder) if path.suffix.lower() in EXTENSIONS and path.is_file()]


def _warn_of(others: Sequence[Path]) -> None:
    if others:
        kinds = Counter(path.suffix.lower() or "without a suffix" for path in others)
        counted = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
        warnings.warn(
            f"files left out: {counted}, such as {others[0]}; an image must lie in the folder of its class and end in "
            f"{', '.join(EXTENSIONS)}",
            stacklevel=4,
        )


def _visible(folder: Path) -> list[Path]:
    """The files and folders in a folder that are not hidden, in the same order on every system."""
    found = (path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in _CLUTTER)
    return sorted(found, key=lambda path: path.name)
