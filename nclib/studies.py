"""Studies: which cells each is made of, at a scale. A cell says all that its metrics depend on."""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace

from nclib.records import Cell
from nclib.scales import CHECK, Scale
from nclib.selection_studies import encoder_selection, model_selection, scene_selection, text_selection
from nclib.sweeps import Sweep
from nclib.training import LATER, Recipe
from nclib.tuning_studies import data_scarcity, fine_tuning, tuned_layer
from nclib.zoos import title

# What tells one network from another, of those that no later setting concerns.
RECIPE_FIELDS = tuple(field.name for field in fields(Recipe) if field.name not in LATER)


def recipe_of(cell: Cell) -> Recipe:
    """The recipe of the network that a cell is about."""
    return Recipe(**{field.name: cell[field.name] for field in fields(Recipe) if field.name in cell})


def varied(base: Recipe) -> dict[str, list]:
    """What the source-collapse study varies, one setting at a time, and to which values."""
    return {
        "epochs": [0, base.epochs // 16, 3 * base.epochs // 16, base.epochs // 2, base.epochs, 2 * base.epochs],
        "loss": ["cross-entropy", "label smoothing", "squared error", "contrastive"],
        "projection": [0, 1, 2, 3],
        "augmentation": [0.0, 0.5, 1.0, 2.0],
        "weight_decay": [0.0, 5e-4, 2e-3, 5e-3],
    }


def recipes(base: Recipe) -> list[Recipe]:
    """The base recipe and all that differ from it in one setting."""
    return list(dict.fromkeys(replace(base, **{name: v}) for name, values in varied(base).items() for v in values))


def source_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network on one task a cell: every varied recipe and seed, on the source and the downstream tasks."""
    counts = {"train_per_class": scale.train_per_class, "test_per_class": scale.test_per_class}
    return [
        replace(recipe, seed=seed).config | {"task": task} | counts
        for recipe in recipes(scale.recipe)
        for seed in seeds
        for task in (scale.recipe.source, *scale.tasks)
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
    return [replace(recipe, seed=seed).config | more for seed in seeds]


def zoo(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """What says all about each pre-trained model of a scale: its name, or its recipe and a title.

    Without models of its own a scale has the networks of the source-collapse study, and a few of other
    widths and depths.
    """
    if scale.models:
        return [{"model": name, "weights": "pretrained", "seed": 0} for name in scale.models]
    base = scale.recipe
    others = [replace(base, width=base.width // 2), replace(base, width=3 * base.width // 2), replace(base, blocks=3)]
    return [
        {"model": title(recipe, base)} | replace(recipe, seed=seed).config
        for recipe in (*recipes(base), *others)
        for seed in seeds
    ]


def _on_tasks(models: Iterable[Cell], scale: Scale, more: Cell) -> list[Cell]:
    return [
        model
        | {"task": task.title, "data": task.data}
        | {"train_per_class": task.train_per_class, "test_per_class": task.test_per_class}
        | ({"digest": task.digest} if task.digest else {})
        | more
        for model in models
        for task in scale.model_tasks
    ]


def downstream_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One pre-trained model on one task a cell."""
    return _on_tasks(zoo(scale, seeds), scale, {"shots": [1, 5, 20], "episodes": 10})


def collapse_by_layer(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One pre-trained model on one task a cell, all its layers: every named model, or the deepest recipe."""
    models = zoo(scale, seeds)
    deepest = max(model.get("blocks", 0) for model in models)
    return _on_tasks([model for model in models if model.get("blocks", 0) == deepest], scale, {})


SWEPT = ("learning_rate", "batch_size", "weight_decay")


def _measured_epochs(recipe: Recipe) -> list[int]:
    return sorted({round(recipe.epochs * part / 8) for part in range(9)})


def _geometric(scale: Scale, sweep: Sweep, recipes: Iterable[Recipe], seeds: Iterable[int]) -> list[Cell]:
    given, seeds = scale.geometry, list(seeds)
    more = {
        "panel": sweep.panel,
        "new": list(sweep.new),
        "new_per_class": given.new_per_class,
        "of_class": given.per_class,
        "loss_of_comparison": given.loss,
        "episodes": given.episodes,
    }
    return [
        _described(replace(recipe, seed=seed)) | {"measured_epochs": _measured_epochs(recipe)} | more
        for recipe in recipes
        for seed in seeds
    ]


def _described(recipe: Recipe) -> Cell:
    """All settings of a recipe, the later ones too."""
    return recipe.config | {name: getattr(recipe, name) for name in LATER}


def geometric_complexity(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell: the base of each sweep, and what differs from it in one setting."""
    return [cell for sweep in scale.geometry.sweeps for cell in _geometric(scale, sweep, _swept(sweep), seeds)]


def _swept(sweep: Sweep) -> Iterable[Recipe]:
    return dict.fromkeys(replace(sweep.recipe, **{name: value}) for name in SWEPT for value in getattr(sweep, name))


def complexity_penalty(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell: the base of a sweep, with penalties on its complexity."""
    return [
        cell
        for sweep in scale.geometry.sweeps
        for cell in _geometric(scale, sweep, [replace(sweep.recipe, penalty=p) for p in sweep.penalties], seeds)
    ]


def complexity_estimates(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell, the base of a sweep, whose complexity is estimated over and over."""
    amounts = {
        "samples": [8, 16, 32, 64],
        "entries": [0.001, 0.01],
        "outputs": [2, 4, 16],
        "rademacher": [2, 4, 16],
    }
    given = scale.geometry
    more = {"repeats": 3, "of_class": given.per_class, "population_of_class": given.population_per_class} | amounts
    return [
        _described(replace(sweep.recipe, seed=seed)) | {"panel": sweep.panel} | more
        for sweep in given.sweeps
        for seed in seeds
    ]


def score_cost(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Features of so many samples, numbers and classes a cell, one of the three varied at a time."""
    base = {"samples": 1000, "features": 128, "classes": 10}
    varied = {"samples": (250, 4000), "features": (32, 512), "classes": (5, 40)}
    cells = [base, *(base | {name: value} for name, values in varied.items() for value in values)]
    return [cell | {"seed": 0} for cell in cells]


STUDIES: dict[str, Callable[[Scale, Iterable[int]], list[Cell]]] = {
    "collapse_in_training": collapse_in_training,
    "source_collapse": source_collapse,
    "downstream_collapse": downstream_collapse,
    "collapse_by_layer": collapse_by_layer,
    "fine_tuning": fine_tuning,
    "data_scarcity": data_scarcity,
    "tuned_layer": tuned_layer,
    "geometric_complexity": geometric_complexity,
    "complexity_penalty": complexity_penalty,
    "complexity_estimates": complexity_estimates,
    "model_selection": model_selection,
    "score_cost": score_cost,
    "scene_selection": scene_selection,
    "text_selection": text_selection,
    "encoder_selection": encoder_selection,
}
# Of each study the cell of the scale "check" that is measured live: the first that has these settings. Studies without
# one measure seconds, or have no cell that needs no download.
LIVE: dict[str, Cell] = {
    "collapse_in_training": {},
    "source_collapse": {"task": "digits", "epochs": CHECK.recipe.epochs},
    "downstream_collapse": {"model": "base"},
    "collapse_by_layer": {},
    "fine_tuning": {"method": "skip"},
    "data_scarcity": {"method": "skip"},
    "tuned_layer": {"method": "layer"},
    "geometric_complexity": {},
    "complexity_penalty": {},
    "complexity_estimates": {},
    "model_selection": {},
    "scene_selection": {},
    "text_selection": {},
}
# What computes on the CPU, whatever the device of a run.
ON_CPU = frozenset({"score_cost", "text_selection", "encoder_selection"})


def live_cell(study: str) -> Cell:
    """The cell of a study that its chapter measures live."""
    if study not in LIVE:
        raise ValueError(f"{study} has no live cell; there are those of {', '.join(LIVE)}")
    cells = STUDIES[study](CHECK, CHECK.seeds)
    return next(cell for cell in cells if all(cell[name] == value for name, value in LIVE[study].items()))
