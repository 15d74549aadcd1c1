"""Data sets by name. The embedded ones need no download: they are drawn, or come with scikit-learn."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from nclib import glyphs
from nclib.augmentation import seeded

EMBEDDED = (*(f"glyphs/{script}" for script in glyphs.SCRIPTS), "digits")
# Read from a data root, where torchvision lays them out or downloads them.
TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
SPLITS = {"train": 120, "test": 40}  # images of a class where the set is drawn on the fly


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: uint8 (N, C, H, W), labels int64 (N,) in 0..K-1, and the K class names."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, device: torch.device | str = "cpu") -> Tensor:
        """The images as a network takes them: float32 (N, C, H, W) in [-1, 1] on the device."""
        return self.images.to(device).float().div(127.5).sub(1)

    def take(self, per_class: int, *, seed: int = 0) -> "ImageSet":
        """A stratified subset: `per_class` images of every class, chosen by the seed, in the old order."""
        fewest = int(self.labels.bincount(minlength=len(self.classes)).min())
        if not 1 <= per_class <= fewest:
            raise ValueError(
                f"per_class is {per_class}; the smallest class has {fewest} images, so 1 to {fewest} can be taken"
            )
        order = torch.randperm(len(self), generator=seeded("take", seed))
        by_class = [order[self.labels[order] == k][:per_class] for k in range(len(self.classes))]
        chosen = torch.cat(by_class).sort().values
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


def load(
    name: str,
    split: str = "train",
    *,
    per_class: int | None = None,
    seed: int = 0,
    data_root: str | Path | None = None,
    download: bool = False,
) -> ImageSet:
    """Load a data set by name.

    Parameters
    ----------
    name
        One of `nclib.data.EMBEDDED`: ``glyphs/latin``, ``glyphs/greek``, ``glyphs/cyrillic``,
        ``glyphs/armenian``, ``glyphs/georgian`` (28 x 28 grey, drawn from the seed) or ``digits``
        (scikit-learn's 1,797 real handwritten digits, brought to the same size); or one of
        `nclib.data.TORCHVISION`.
    split
        ``train`` or ``test``.
    per_class
        Images of every class; None is 120 (train) or 40 (test) for glyphs, all of them elsewhere.
    seed
        Of the drawing, or of the choice of a subset.
    data_root
        The folder of the torchvision sets; None is the environment variable ``NCLIB_DATA``.
    download
        Fetch a torchvision set that the data root lacks.

    Examples
    --------
    >>> greek = load("glyphs/greek", "test", per_class=2)
    >>> greek.images.shape, greek.classes[:3]
    (torch.Size([48, 1, 28, 28]), ('α', 'β', 'γ'))
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if per_class is not None and per_class < 1:
        raise ValueError(f"per_class is {per_class}; it must be at least 1")
    if name.startswith("glyphs/") and name in EMBEDDED:
        script = name.removeprefix("glyphs/")
        images, labels = glyphs.render(script, per_class or SPLITS[split], seed=seed, split=split)
        return ImageSet(images, labels, tuple(glyphs.SCRIPTS[script]))
    if name == "digits":
        whole = _digits(split)
    elif name in TORCHVISION:
        whole = _torchvision(name, split, data_root, download)
    else:
        raise ValueError(f"unknown data set {name!r}; there are {', '.join((*EMBEDDED, *TORCHVISION))}")
    return whole if per_class is None else whole.take(per_class, seed=seed)


def _torchvision(name: str, split: str, data_root: str | Path | None, download: bool) -> ImageSet:
    import torchvision

    root = data_root or os.environ.get("NCLIB_DATA")
    if root is None:
        raise ValueError(
            f"{name} needs a data root (data_root=... or the variable NCLIB_DATA); download=True fetches it there"
        )
    if not Path(root).is_dir():
        raise FileNotFoundError(f"the data root {root} is not a folder; {name} is looked for in it")
    kind = getattr(torchvision.datasets, TORCHVISION[name])
    try:
        raw = kind(root, train=split == "train", download=download)
    except RuntimeError as error:  # torchvision's word for a set that is not there
        raise FileNotFoundError(
            f"{name} is not in the data root {root} as torchvision lays it out; download=True fetches it"
        ) from error
    images = torch.as_tensor(raw.data)
    images = (
        images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    )  # grey (N, H, W), colour (N, H, W, 3)
    return ImageSet(images.contiguous(), torch.as_tensor(raw.targets).long(), tuple(raw.classes))


def _digits(split: str) -> ImageSet:
    """scikit-learn's digits, every second image of a class to either split, enlarged to 28 x 28."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    rank = np.zeros(len(raw.target), dtype=int)  # 0, 1, 2, ... within each class
    for k in range(10):
        rank[raw.target == k] = np.arange((raw.target == k).sum())
    chosen = rank % 2 == (split == "test")
    small = torch.from_numpy(raw.images[chosen]).float().unsqueeze(1) / 16  # (N, 1, 8, 8)
    images = pad(interpolate(small, size=22, mode="bilinear"), [3] * 4).clamp(0, 1)
    return ImageSet(
        (255 * images).round().to(torch.uint8),
        torch.from_numpy(raw.target[chosen]).long(),
        tuple("0123456789"),
    )
