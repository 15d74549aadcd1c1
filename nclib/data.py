"""Data sets by name. The embedded ones need no download: they are drawn, or come with scikit-learn."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from nclib import glyphs
from nclib.augmentation import seeded

EMBEDDED = (*(f"glyphs/{script}" for script in glyphs.SCRIPTS), "digits")
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
            raise ValueError(f"per_class is {per_class}; the smallest class has {fewest} images, so 1 to {fewest} can be taken")
        order = torch.randperm(len(self), generator=seeded("take", seed))
        by_class = [order[self.labels[order] == k][:per_class] for k in range(len(self.classes))]
        chosen = torch.cat(by_class).sort().values
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


def load(name: str, split: str = "train", *, per_class: int | None = None, seed: int = 0) -> ImageSet:
    """Load a data set by name.

    Parameters
    ----------
    name
        One of `nclib.data.EMBEDDED`: ``glyphs/latin``, ``glyphs/greek``, ``glyphs/cyrillic``,
        ``glyphs/armenian``, ``glyphs/georgian`` (28 x 28 grey, drawn from the seed) or ``digits``
        (scikit-learn's 1,797 real handwritten digits, brought to the same size).
    split
        ``train`` or ``test``.
    per_class
        Images of every class; None is 120 (train) or 40 (test) for glyphs, and all of ``digits``.
    seed
        Of the drawing, or of the choice of a subset.

    Examples
    --------
    >>> greek = load("glyphs/greek", "test", per_class=2)
    >>> greek.images.shape, greek.classes[:3]
    (torch.Size([48, 1, 28, 28]), ('α', 'β', 'γ'))
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if name not in EMBEDDED:
        raise ValueError(f"unknown data set {name!r}; there are {', '.join(EMBEDDED)}")
    if per_class is not None and per_class < 1:
        raise ValueError(f"per_class is {per_class}; it must be at least 1")
    if name == "digits":
        digits = _digits(split)
        return digits if per_class is None else digits.take(per_class, seed=seed)
    script = name.removeprefix("glyphs/")
    images, labels = glyphs.render(script, per_class or SPLITS[split], seed=seed, split=split)
    return ImageSet(images, labels, tuple(glyphs.SCRIPTS[script]))


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
