"""Scenes: images in which every pixel has a class. Composed of embedded images, or read from a folder."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nclib.checks import as_name, check_whole, checked_seed, few, setting_up
from nclib.data.catalogue import load
from nclib.data.images import ImageSet
from nclib.data.pixels import as_bytes, normal
from nclib.data.places import find_path
from nclib.data.text_sets import Texts
from nclib.seeds import seeded

UNLABELLED = -1  # the class of pixels that do not count
_TILE = 28  # pixels a side
_CELL = 42  # a tile lies anywhere in a cell of this size; a scene has 2 x 2 cells


@dataclass(frozen=True)
class Scenes:
    """Images uint8 (N, C, H, W), masks int64 (N, H, W) with every pixel's class or `UNLABELLED`, and K class names.

    Examples
    --------
    >>> masks = torch.tensor([[[0, 1], [1, UNLABELLED]]] * 2)
    >>> Scenes(torch.zeros(2, 3, 2, 2, dtype=torch.uint8), masks, ("ground", "cat"))
    Scenes(2 images of (3, 2, 2), 2 classes)
    """

    images: Tensor
    masks: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.masks.shape != self.images[:, 0].shape:
            raise ValueError(
                f"images are {tuple(self.images.shape)} and masks {tuple(self.masks.shape)}; they must be (N, C, H, W) "
                "and (N, H, W)"
            )
        if not self.masks.numel():
            raise ValueError(f"masks are {tuple(self.masks.shape)}; there must be at least one scene, with pixels")
        low, high = self.masks.aminmax()
        if not UNLABELLED <= low <= high < len(self.classes):
            raise ValueError(f"masks have classes {low} to {high}; they must be 0 to {len(self.classes) - 1}, or -1")

    def __repr__(self) -> str:
        return f"Scenes({len(self)} images of {tuple(self.images.shape[1:])}, {len(self.classes)} classes)"

    def __len__(self) -> int:
        return len(self.images)


def composed(tiles: ImageSet, number: int, generator: torch.Generator) -> Scenes:
    """Scenes composed of four grey images each, in discs on a grainy ground, with exact masks.

    Images are (N, 1, 84, 84). Class 0 is the ground; the others are the classes of the images, in their order.

    Examples
    --------
    >>> made = composed(load("digits"), 3, torch.Generator().manual_seed(0))
    >>> made.images.shape, len(made.classes), bool((made.masks > 0).flatten(1).any(1).all())
    (torch.Size([3, 1, 84, 84]), 11, True)
    """
    if tiles.images.shape[1] != 1:
        raise ValueError(f"the images have {tiles.images.shape[1]} channels; they must have 1: give a grey set")
    size = 2 * _CELL
    coarse = interpolate(normal((number, 1, size // 6, size // 6), generator), size=size, mode="bilinear")
    grain = normal((number, 1, size, size), generator)
    level = 39.5 + 170 * torch.rand(number, 1, 1, 1, generator=generator, dtype=torch.float32).double()
    images = as_bytes(level + 25 * coarse + 8 * grain)
    masks = torch.zeros(number, size, size, dtype=torch.int64)
    chosen = torch.randint(len(tiles.labels), (number, 4), generator=generator)
    offsets = torch.randint(_CELL - _TILE + 1, (number, 4, 2), generator=generator)
    shown = as_bytes(interpolate(tiles.images[chosen.flatten()].double(), size=(_TILE, _TILE), mode="bilinear"))
    disc = _disc()
    for place, (scene, cell) in enumerate(np.ndindex(number, 4)):
        top, left = (offsets[scene, cell] + _CELL * torch.tensor([cell // 2, cell % 2])).tolist()
        window = (slice(top, top + _TILE), slice(left, left + _TILE))
        images[scene, 0][window][disc] = shown[place, 0][disc]
        masks[scene][window][disc] = tiles.labels[chosen[scene, cell]] + 1
    return Scenes(images, masks, ("ground", *tiles.classes))


def _disc() -> Tensor:
    """The pixels of a tile that lie in its disc, bool (28, 28)."""
    place = torch.arange(_TILE) - (_TILE - 1) / 2
    return place.square() + place.square().unsqueeze(1) <= (_TILE / 2) ** 2


def scenes(
    name: str, split: str = "train", *, number: int = 100, seed: int = 0, data_root: str | Path | None = None
) -> Scenes:
    """Scenes composed from a small data set by name, or read from ``folder:PATH``, which may lie in the data root.

    Parameters
    ----------
    name
        A set of grey images that `nclib.load` knows: each scene shows four of them, so images are (N, 1, 84, 84), and
        the ground is class 0. Or ``folder:PATH`` with ``train/images``, ``train/labels``, ``test/images`` and
        ``test/labels``: labels are images of the same names, whose values are class indices. ``classes.txt`` there may
        hold the class names, one per line; values beyond them, and 255, are unlabelled (-1 in the masks).
    split
        ``train`` or ``test``, or another split of the set.
    number
        The number of scenes, at least 1. From a folder they are taken evenly over the sorted names, or all if there are
        fewer; all must have the same size.
    seed
        Seed of the composition; a folder does not need it.
    data_root
        The folder of the data sets; None is the environment variable ``NCLIB_DATA``.

    Raises
    ------
    ValueError
        For an unknown name or split, a set in colour or of texts, images of several sizes, or images without labels.
    FileNotFoundError
        If the set or the folder is not there.

    Examples
    --------
    >>> scenes("digits", number=4)  # the ground is a class too
    Scenes(4 images of (1, 84, 84), 11 classes)
    """
    with setting_up():
        check_whole(1, number=number)
        name = as_name(name, "folder:PATH")
        if name.startswith("folder:"):
            what = f"{split}/images and {split}/labels"
            return _read(find_path(name, data_root, what), split, number)
        tiles = load(name, split, data_root=data_root)
        if isinstance(tiles, Texts):
            raise ValueError(f"{name} holds texts; scenes are composed of grey images: give a set such as 'digits'")
        return composed(tiles.in_memory(), number, seeded("scenes", name, split, checked_seed(seed)))


def _read(folder: Path, split: str, number: int) -> Scenes:
    files, labels = _files(folder, split)
    number = min(number, len(files))
    chosen = [i * len(files) // number for i in range(number)]
    images = _stacked([files[i] for i in chosen], "RGB").permute(0, 3, 1, 2)
    masks = _stacked([labels[i] for i in chosen], None).long()
    masks[masks == 255] = UNLABELLED
    names = folder / "classes.txt"
    numbers = (str(k) for k in range(int(masks.max()) + 1))
    classes = tuple(names.read_text(encoding="utf-8-sig").splitlines() if names.exists() else numbers)
    if "" in classes:
        raise ValueError(f"{names} has an empty line; each line must have the name of a class")
    if beyond := masks[masks >= len(classes)].unique().tolist():
        said = f"labels of {folder / split} have values {few(beyond)} beyond the {len(classes)} classes: unlabelled"
        warnings.warn(said, stacklevel=3)
    masks[masks >= len(classes)] = UNLABELLED
    return Scenes(images, masks, classes)


def _files(folder: Path, split: str) -> tuple[list[Path], list[Path]]:
    """The image files of a split, sorted by name, and the file of labels of each."""
    if not all((folder / split / part).is_dir() for part in ("images", "labels")):
        raise FileNotFoundError(f"{folder} has no {split}/images and {split}/labels; it must have both, for this split")
    files = sorted(file for file in (folder / split / "images").iterdir() if not file.name.startswith("."))
    labels = {file.stem: file for file in (folder / split / "labels").iterdir()}
    if missing := [file.name for file in files if file.stem not in labels]:
        where = folder / split / "labels"
        raise ValueError(f"{missing[0]} has no file of labels in {where}; put one there, with the same name")
    if not files:
        raise ValueError(f"there are no images in {folder / split / 'images'}")
    if any(file.suffix.lower() in (".jpg", ".jpeg") for file in labels.values()):
        raise ValueError(f"{folder / split / 'labels'} has JPEG files, which do not keep class indices; write PNG")
    return files, [labels[file.stem] for file in files]


def _stacked(files: list[Path], mode: str | None) -> Tensor:
    """The pixels of images of the same size, uint8 (N, H, W, ...), in a mode or, for None, unconverted."""
    from PIL import Image

    pictures = []
    for file in files:
        with Image.open(file) as image:
            pictures.append(torch.from_numpy(np.array(image.convert(mode) if mode else image)))
        if pictures[-1].shape != pictures[0].shape:
            shapes = f"{tuple(pictures[-1].shape)}, {files[0].name} is {tuple(pictures[0].shape)}"
            raise ValueError(f"{file} is {shapes}; all images, and all labels, must have the same size and channels")
    return torch.stack(pictures)
