"""Scales: one table of settings each, so that no notebook branches on how large it runs."""

from dataclasses import dataclass

from nclib.training import Recipe


@dataclass(frozen=True)
class Scale:
    """What a scale fixes for every chapter.

    `recipe` is the base that the studies vary, `tasks` are the downstream data sets, of which
    `train_per_class` and `test_per_class` images are used, and `seeds` are those of the networks.
    """

    recipe: Recipe
    tasks: tuple[str, ...]
    train_per_class: int
    test_per_class: int
    seeds: tuple[int, ...]


SCALES = {
    "demo": Scale(
        recipe=Recipe(source="glyphs/latin", per_class=60, width=16, epochs=16),
        tasks=("glyphs/greek", "glyphs/cyrillic", "glyphs/armenian", "glyphs/georgian", "digits"),
        train_per_class=40,
        test_per_class=40,
        seeds=(0, 1, 2),
    ),
}


def settings(scale: str) -> Scale:
    """The settings of a scale by name."""
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}; there are {', '.join(SCALES)}")
    return SCALES[scale]
