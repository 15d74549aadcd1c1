"""Sweeps of geometric complexity: networks on sources, and the values that three settings of their training take."""

from dataclasses import dataclass, replace

from nclib.training import Recipe


@dataclass(frozen=True)
class Sweep:
    """A network on a source, which figures call a panel, and the values that each of three settings takes.

    The others stay those of the recipe. What it learns is tried on the classes of the `new` data sets; `penalties`
    on its complexity are tried, too, where there are any.
    """

    panel: str
    recipe: Recipe
    learning_rate: tuple[float, ...]
    batch_size: tuple[int, ...]
    weight_decay: tuple[float, ...]
    new: tuple[str, ...]
    penalties: tuple[float, ...] = ()


def _resnet(panel: str, recipe: Recipe, new: tuple[str, ...], batches: tuple[int, ...]) -> Sweep:
    return Sweep(
        panel,
        replace(recipe, epochs=2 * recipe.epochs // 3, learning_rate=0.05),
        learning_rate=(0.0125, 0.025, 0.05, 0.1, 0.2),
        batch_size=batches,
        weight_decay=(0.0, 5e-4, 1e-3, 2e-3, 4e-3),
        new=new,
    )


def _vgg(
    panel: str, recipe: Recipe, new: tuple[str, ...], batches: tuple[int, ...], penalties: tuple[float, ...] = ()
) -> Sweep:
    """Without normalisation a narrower range of rates trains, and slower."""
    return Sweep(
        panel,
        replace(recipe, learning_rate=0.028),
        learning_rate=(0.014, 0.02, 0.028, 0.04, 0.05),
        batch_size=batches,
        weight_decay=(0.0, 2e-4, 5e-4, 1e-3, 2e-3),
        new=new,
        penalties=penalties,
    )


# Networks whose geometric complexity is looked at are trained without augmentation, to a training loss of nothing.
# Batches divide the images (720 here): a small remainder would be one small batch in every epoch.
_GREEK = Recipe(source="glyphs/greek", per_class=30, width=8, epochs=36, batch_size=60)
_CLOTHES, _DIGITS, _OBJECTS = (
    replace(_GREEK, source=source, per_class=72) for source in ("fashion-mnist", "mnist", "folder:cifar10")
)
_WIDE, _NARROW = (24, 40, 60, 90, 144), (40, 48, 60, 72, 90)
_PENALTIES = (0.0, 1e-5, 1e-4, 1e-3)

_SCRIPTS = ("glyphs/armenian", "glyphs/georgian")
_CHARACTERS = tuple(f"folder:omniglot/{alphabet}" for alphabet in ("Balinese", "Korean", "Sanskrit"))
_OTHER_OBJECTS = ("folder:tiny_imagenet[100:140]", "folder:dtd10")

DEMO = (
    _resnet("Greek, ResNet", _GREEK, _SCRIPTS, _WIDE),
    _vgg("Greek, VGG", replace(_GREEK, network="vgg"), _SCRIPTS, _NARROW, _PENALTIES),
)
LAB = (
    _resnet("Fashion-MNIST, ResNet", _CLOTHES, ("mnist", *_CHARACTERS), _WIDE),
    _vgg(
        "Fashion-MNIST, VGG-11",
        replace(_CLOTHES, network="vgg11"),
        ("mnist", *_CHARACTERS),
        _NARROW,
        _PENALTIES,
    ),
    _vgg("MNIST, VGG-11", replace(_DIGITS, network="vgg11"), ("fashion-mnist", *_CHARACTERS), _NARROW),
    _resnet("CIFAR-10 (JPEG copy), ResNet", _OBJECTS, _OTHER_OBJECTS, _WIDE),
    _vgg("CIFAR-10 (JPEG copy), VGG-11", replace(_OBJECTS, network="vgg11"), _OTHER_OBJECTS, _NARROW, _PENALTIES),
)

# Full-sized networks; of every class so many images that the batches divide them.
_FEW = Recipe(source="cifar10", per_class=4800, width=64, blocks=2, epochs=120, batch_size=200)
_MANY = replace(_FEW, source="cifar100", per_class=400)
_BATCHES = (100, 200, 400, 800, 1600)
_MINI = "folder:mini_imagenet"  # a folder of one's own, all images in one size
PAPER = (
    _resnet("CIFAR-10, ResNet-18", _FEW, ("cifar100", "svhn"), _BATCHES),
    _vgg(
        "CIFAR-10, VGG-13", replace(_FEW, network="vgg"), ("cifar100", "svhn"), _BATCHES, (0.0, 1e-7, 1e-6, 1e-5, 1e-4)
    ),
    *(
        _vgg(
            f"{title}, VGG-11",
            replace(_FEW, source=source, network="vgg11", blocks=1),
            (other, "emnist/letters"),
            _BATCHES,
        )
        for title, source, other in (
            ("MNIST", "mnist", "fashion-mnist"),
            ("Fashion-MNIST", "fashion-mnist", "mnist"),
        )
    ),
    _resnet("CIFAR-100, ResNet-50", replace(_MANY, network="resnet50", blocks=1), ("cifar10", "svhn"), _BATCHES),
    _resnet("CIFAR-FS style, ResNet-18", replace(_MANY, source="cifar100[0:64]"), ("cifar100[80:100]",), _BATCHES),
    _resnet("mini-ImageNet style, ResNet-18", replace(_MANY, source=f"{_MINI}[0:64]"), (f"{_MINI}[80:100]",), _BATCHES),
)
