"""Families of models that scales are made of: zoos that differ in one thing, and sweeps of three training settings."""

from dataclasses import replace
from typing import Any

from nclib.experiments.scales.scale import Sweep
from nclib.experiments.words import TextRecipe
from nclib.models.losses import LOSSES, VIEWS
from nclib.models.recipes import Recipe

# Batches divide the images of small networks (720): a small remainder would be one small batch in every epoch.
WIDE_BATCHES, NARROW_BATCHES = (24, 40, 60, 90, 144), (40, 48, 60, 72, 90)
PENALTIES = (0.0, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2)


def architectures(base: Recipe) -> tuple[Recipe, ...]:
    """ResNets, and VGGs with and without batch norm, of several widths and depths."""

    def of_widths(quarters: tuple[int, ...], **settings: Any) -> list[Recipe]:
        return [replace(base, width=quarter * base.width // 4, **settings) for quarter in quarters]

    deeper = [each for times in (2, 3) for each in of_widths((2, 4), blocks=times * base.blocks)]
    vggs = of_widths((2, 4, 6), network="vgg", learning_rate=0.028)  # its rate as in `vgg_sweep`
    return *of_widths((4, 1, 2, 3, 6)), *deeper, *vggs, *of_widths((2, 4, 6), network="vgg_bn")


def losses(base: Recipe) -> tuple[Recipe, ...]:
    """Recipes with every loss, with projection heads (which shield the features from it), and with dialled collapse.

    All see distorted images, since two views of an image must differ.
    """
    distorted = replace(base, augmentation=base.augmentation or 1.0)
    heads = [replace(distorted, projection=depth) for depth in (1, 2, 3)]
    dialled = [replace(distorted, balanced=4, collapse=strength) for strength in (-0.2, 0.1, 0.3)]
    return *(replace(distorted, loss=loss, projection=int(loss == "two views")) for loss in LOSSES), *heads, *dialled


def encoders(base: TextRecipe) -> tuple[TextRecipe, ...]:
    """Recipes of encoders of five widths, with and without a layer above the mean of words."""
    return tuple(replace(base, width=width, depth=depth) for depth in (0, 1) for width in (64, 16, 32, 128, 256))


def text_losses(base: TextRecipe) -> tuple[TextRecipe, ...]:
    """Recipes of encoders with every loss that needs no views, and with projection heads."""
    heads = [replace(base, projection=depth) for depth in (1, 2)]
    return *(replace(base, loss=loss) for loss in LOSSES if loss not in VIEWS), *heads


def resnet_sweep(panel: str, recipe: Recipe, new: tuple[str, ...], batches: tuple[int, ...] = WIDE_BATCHES) -> Sweep:
    """A sweep about a learning rate of 0.05, with two thirds of the recipe's epochs."""
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
    """A sweep about a learning rate of 0.028, over a narrower range: without normalisation fewer rates train."""
    return Sweep(
        panel,
        replace(recipe, learning_rate=0.028),
        learning_rate=(0.014, 0.02, 0.028, 0.04, 0.05),
        batch_size=batches,
        weight_decay=(0.0, 2e-4, 5e-4, 1e-3, 2e-3),
        new=new,
        penalties=penalties,
    )
