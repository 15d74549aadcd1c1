"""Studies: which cells each is made of, at a scale. A cell says all that its metrics depend on."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, fields, replace
from typing import Any

from nclib.scales import Scale
from nclib.training import Recipe

Cell = dict[str, Any]

# What tells one network from another.
RECIPE_FIELDS = tuple(field.name for field in fields(Recipe))


def recipe_of(cell: Cell) -> Recipe:
    """The recipe of the network that a cell is about."""
    return Recipe(**{name: cell[name] for name in RECIPE_FIELDS})


def varied(base: Recipe) -> dict[str, list]:
    """What the source-collapse study varies, one setting at a time, and to which values."""
    return {
        "epochs": [0, base.epochs // 16, 3 * base.epochs // 16, base.epochs // 2, base.epochs, 2 * base.epochs],
        "loss": ["cross-entropy", "label smoothing", "squared error", "contrastive"],
        "projection": [0, 1, 2, 3],
        "augmentation": [0.0, 0.5, 1.0, 2.0],
        "weight_decay": [0.0, 5e-4, 2e-3, 5e-3],
    }


def source_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network on one task a cell: every varied recipe and seed, on the source and the downstream tasks."""
    base = scale.recipe
    recipes = {replace(base, **{name: value}): None for name, values in varied(base).items() for value in values}
    counts = {"train_per_class": scale.train_per_class, "test_per_class": scale.test_per_class}
    return [
        asdict(replace(recipe, seed=seed)) | {"task": task} | counts
        for recipe in recipes
        for seed in seeds
        for task in (base.source, *scale.tasks)
    ]


def collapse_in_training(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell, trained long, with the epochs and classes that are pictured."""
    epochs = 5 * scale.recipe.epochs // 2
    recipe = replace(scale.recipe, epochs=epochs, weight_decay=2e-3, schedule="cosine")
    more = {
        "test_per_class": scale.test_per_class,
        "pictured_epochs": [0, 4, epochs // 2, epochs],
        "pictured_classes": [0, 1, 2],
    }
    return [asdict(replace(recipe, seed=seed)) | more for seed in seeds]


STUDIES: dict[str, Callable[[Scale, Iterable[int]], list[Cell]]] = {
    "collapse_in_training": collapse_in_training,
    "source_collapse": source_collapse,
}
