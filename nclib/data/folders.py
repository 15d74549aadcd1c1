"""Folders of images: one folder a class, with or without folders of splits above them."""

from itertools import chain
from pathlib import Path

import torch

from nclib.checks import few
from nclib.data.images import ImageFiles

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
_SPLITS = ("train", "val", "test")


def split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split: `train`, `test` and `val`, which stands in for a missing `test`.

    Empty if the folders are classes: one of them may well be called ``train``, so a split's name counts
    only beside another, or where there is no other folder.
    """
    names = set(class_names(folder))
    found = [split for split in _SPLITS if split in names]
    if len(found) < 2 and set(found) != names:
        return {}
    splits = {split: folder / split for split in found}
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    return splits


def read_folder(folder: Path) -> ImageFiles:
    """The images of ``folder/<class>/*.jpg`` (any of `EXTENSIONS`), classes and files in sorted order.

    Hidden files and other files are left out; a class without images is a ValueError.
    """
    classes = class_names(folder)
    if not classes:
        raise ValueError(f"{folder} has no class folders; it must hold <class>/*{EXTENSIONS[0]}")
    files = [_images(folder / name) for name in classes]
    if empty := [name for name, found in zip(classes, files, strict=True) if not found]:
        raise ValueError(
            f"{folder} has class folders with no image right in them ({', '.join(EXTENSIONS)}): {few(empty)}"
        )
    sizes = torch.tensor([len(found) for found in files])
    labels = torch.arange(len(classes)).repeat_interleave(sizes)
    return ImageFiles(tuple(chain.from_iterable(files)), labels, classes)


def check_same_classes(splits: dict[str, Path]) -> None:
    """Refuse splits that do not hold the same classes, with a few that differ."""
    classes = {split: set(class_names(folder)) for split, folder in splits.items()}
    common = set.intersection(*classes.values())
    strays = {split: sorted(names - common) for split, names in classes.items() if names - common}
    if strays:
        where = ", ".join(map(str, splits.values()))
        what = "; ".join(f"{split} has {few(names)}" for split, names in strays.items())
        raise ValueError(f"the class folders of {where} differ: {what}, which others lack")


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the class folders, sorted."""
    return tuple(path.name for path in _visible(folder) if path.is_dir())


def _images(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.suffix.lower() in EXTENSIONS]


def _visible(folder: Path) -> list[Path]:
    """What is in the folder and not hidden, in the same order on every system."""
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
