"""Families of models that scales are made of: zoos that differ in one thing, and sweeps of three training settings."""

from dataclasses import replace

from nclib.experiments.scales.scale import Sweep, Task, Zoo
from nclib.experiments.words import TextRecipe
from nclib.models.recipes import Recipe

_LOSSES = ("cross-entropy", "label smoothing", "squared error", "contrastive")

# Batches divide the images of small networks (720): a small remainder would be one small batch in every epoch.
WIDE_BATCHES, NARROW_BATCHES = (24, 40, 60, 90, 144), (40, 48, 60, 72, 90)
PENALTIES = (0.0, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2)


def architectures(base: Recipe) -> tuple[Recipe, ...]:
    """The base, narrower, wider and deeper ResNets, and a VGG."""
    resnets = [base, *(replace(base, width=width) for width in (base.width // 2, 3 * base.width // 2))]
    vgg = replace(base, network="vgg", learning_rate=0.028)  # its rate as in `vgg_sweep`
    return *resnets, replace(base, blocks=3 * base.blocks), vgg


def losses(base: Recipe) -> tuple[Recipe, ...]:
    """With other losses, and with projection heads, which change what of a loss comes to the features."""
    return *(replace(base, loss=loss) for loss in _LOSSES), *(replace(base, projection=depth) for depth in (1, 2, 3))


def text_zoos(
    base: TextRecipe, sources: tuple[tuple[str, int | None], ...], tasks: tuple[Task, ...]
) -> tuple[Zoo, ...]:
    """Zoos of encoders that differ in shape, source or loss; `sources` are other texts, and how many of a class."""
    shapes = ((64, 0), (32, 0), (128, 0), (64, 1), (128, 1))
    recipes = {
        "architectures": tuple(replace(base, width=width, depth=depth) for width, depth in shapes),
        "source data sets": (base, *(replace(base, source=name, per_class=number) for name, number in sources)),
        "training losses": (
            *(replace(base, loss=loss) for loss in _LOSSES),
            *(replace(base, projection=depth) for depth in (1, 2)),
        ),
    }
    return tuple(Zoo(name, tasks, found, epochs=15) for name, found in recipes.items())


def resnet_sweep(panel: str, recipe: Recipe, new: tuple[str, ...], batches: tuple[int, ...] = WIDE_BATCHES) -> Sweep:
    """Two thirds of the recipe's epochs, about a rate of 0.05."""
    return Sweep(
        panel,
        replace(recipe, epochs=2 * recipe.epochs // 3, learning_rate=0.05),
        learning_rate=(0.0125, 0.025, 0.05, 0.1, 0.2),
        batch_size=batches,
        weight_decay=(0.0, 5e-4, 1e-3, 2e-3, 4e-3),
        new=new,
    )


def vgg_sweep(
    panel: str,
    recipe: Recipe,
    new: tuple[str, ...],
    batches: tuple[int, ...] = NARROW_BATCHES,
    penalties: tuple[float, ...] = (),
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
