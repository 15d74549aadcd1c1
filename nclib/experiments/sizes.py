"""The sizes of the data sets of the book's scales, so that counts can be checked before anything is loaded."""

from dataclasses import dataclass

from nclib.data.catalogue import split_name


@dataclass(frozen=True)
class Size:
    """Numbers of training and test images and of classes, and GB on disk (about).

    `fewest` is the number of training and test images of the smallest class; None if we are not certain, or if it
    depends on who made the folder. Networks see images with `channels` channels, `side` pixels a side.
    """

    train: int
    test: int
    classes: int
    gigabytes: float
    fewest: tuple[int, int] | None = None
    channels: int = 3
    side: int = 224

    @property
    def balanced(self) -> bool:
        """Whether all classes have the same number of images, so that `fewest` holds for some of the classes, too."""
        return self.fewest is not None and (self.train, self.test) == tuple(self.classes * n for n in self.fewest)


# The splits are those of `nclib.load`: for a set without splits, 20% of each class are test images.
SIZES = {
    # 8,677 images; inline skate has 31, six of them for the test (Fei-Fei et al. 2004, the folders of the set).
    "caltech101": Size(6942, 1735, 101, 0.13, (25, 6)),
    "cifar10": Size(50_000, 10_000, 10, 0.18, (5000, 1000), side=32),  # Krizhevsky 2009: balanced
    "cifar100": Size(50_000, 10_000, 100, 0.18, (500, 100), side=32),  # Krizhevsky 2009: balanced
    # scikit-learn's: 174 eights, half in each split.
    "digits": Size(901, 896, 10, 0.0, (87, 87), channels=1, side=28),
    "dtd": Size(1880, 1880, 47, 0.6, (40, 40)),  # Cimpoi et al. 2014: 40 of each in train, val and test
    "emnist/letters": Size(124_800, 20_800, 26, 0.5, (4800, 800), channels=1, side=28),  # Cohen et al. 2017: balanced
    "eurosat": Size(21_600, 5400, 10, 0.1, (1600, 400)),  # Helber et al. 2019: 2,000 to 3,000 a class, pasture fewest
    "fashion-mnist": Size(60_000, 10_000, 10, 0.06, (6000, 1000), channels=1, side=28),  # Xiao et al. 2017: balanced
    "folder:cifar10": Size(50_000, 10_000, 10, 0.24, side=32),
    "folder:dtd10": Size(400, 400, 10, 0.01),
    "folder:flowers102": Size(3060, 4000, 102, 0.03),
    # Vinyals et al. 2016: 600 images of each.
    "folder:mini_imagenet": Size(48_000, 12_000, 100, 3, (480, 120), side=84),
    "folder:omniglot/Korean": Size(400, 400, 40, 0.02),
    "fgvc-aircraft": Size(3334, 3333, 100, 2.7, (33, 33)),  # Maji et al. 2013: 100 of each, in three splits
    "flowers102": Size(1020, 6149, 102, 0.35, (10, 20)),  # Nilsback, Zisserman 2008: 10, 10, and what is left of 40
    "food101": Size(75_750, 25_250, 101, 5, (750, 250)),  # Bossard et al. 2014: balanced
    "mnist": Size(60_000, 10_000, 10, 0.06, (5421, 892), channels=1, side=28),  # LeCun et al. 1998: the fives
    "oxford-iiit-pet": Size(3680, 3669, 37, 0.8, (93, 88)),  # Parkhi et al. 2012, table 1: Egyptian Mau, Bombay
    "stanford-cars": Size(8144, 8041, 196, 1.9),
    "stl10": Size(5000, 8000, 10, 2.6, (500, 800), side=96),  # Coates et al. 2011: balanced
    "sun397": Size(87_003, 21_751, 397, 37, (80, 20)),  # Xiao et al. 2010: at least 100 of each
    "svhn": Size(73_257, 26_032, 10, 0.25, (4659, 1595), side=32),  # Netzer et al. 2011: the nines
    "voc2007": Size(5011, 4952, 20, 0.9),  # all images; we have not counted those whose objects are of one class
}


def fewest_of(name: str, split: str) -> int | None:
    """The number of images of a set's smallest class, None if unknown; for some of its classes only if it is balanced.

    >>> fewest_of("cifar100[0:64]", "test"), fewest_of("svhn[0:5]", "test"), fewest_of("glyphs/latin", "train")
    (100, None, None)
    """
    whole, _ = split_name(name)
    size = SIZES.get(whole)
    if size is None or size.fewest is None or split not in ("train", "test"):
        return None
    return size.fewest[split == "test"] if whole == name or size.balanced else None
