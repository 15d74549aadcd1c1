"""Studies of fine-tuning: which cells each is made of, at a scale, and what validation chooses of in one."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from nclib import peft
from nclib.models import Backbone
from nclib.records import Cell
from nclib.scales import Scale
from nclib.tasks import Task
from nclib.tuned import Tuned
from nclib.tuning import Tuning

METHODS = ("linear", "bias", "layer", "skip", "lora", "full")  # of fine-tuning


def _tuned(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """What says all about each model that is fine-tuned, and how, but for the method."""
    given = scale.fine_tuning
    common = {"rates": list(given.rates), "epochs_tuned": given.epochs, "augmentation_tuned": given.augmentation}
    if given.recipe is None:
        return [
            {"model": name, "weights": "pretrained", "seed": seed} | common for name in given.models for seed in seeds
        ]
    return [{"model": "base"} | replace(given.recipe, seed=seed).config | common for seed in seeds]


def _repeats(scale: Scale, seeds: Iterable[int]) -> list[int]:
    return list(seeds)[: scale.fine_tuning.repeats]


def of_task(task: Task, per_class: int | None) -> Cell:
    """What says all about a task, with so many training images of a class."""
    return {
        "task": task.title,
        "data": task.data,
        "train_per_class": per_class,
        "test_per_class": task.test_per_class,
    } | ({"digest": task.digest} if task.digest else {})


def of_method(method: str, layers: Iterable[int]) -> Cell:
    """A method, and the layers to choose one of; for `skip project` other widths are matched by a map."""
    name, _, match = method.partition(" ")
    options = {"layers": list(layers)} if name in ("layer", "skip") else {}
    return {"method": method} | options | ({"match": match} if match else {})


def fine_tuning(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Every method on every task, with all its images."""
    return [
        model | of_task(task, task.train_per_class) | of_method(method, scale.fine_tuning.layers)
        for model in _tuned(scale, _repeats(scale, seeds))
        for task in scale.fine_tuning.tasks
        for method in METHODS
    ]


def data_scarcity(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Some methods on one task, with few and all of its images, each draw of them with a network of its own.

    The draws take the place of the seeds.
    """
    given = scale.fine_tuning
    return [
        model | of_task(given.tasks[0], number) | of_method(method, given.layers) | {"draw": draw}
        for number in given.scarce
        for draw in range(given.draws)
        for model in _tuned(scale, [draw])
        for method in ("linear", "layer", "skip", "full")
    ]


def tuned_layer(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One layer after another, with a skip connection of either kind and without, on one task."""
    given = scale.fine_tuning
    task = given.tasks[0]
    return [
        model | of_task(task, task.train_per_class) | of_method(method, [layer])
        for model in _tuned(scale, _repeats(scale, seeds))
        for layer in given.all_layers
        for method in ("layer", "skip", "skip project")
    ]


def candidates(cell: Cell, model: Backbone, num_classes: int) -> list[tuple[Callable[[], Tuned], Tuning]]:
    """For `finetune_best`, what validation chooses of: learning rates, and layers where one is tuned."""
    make = peft.METHODS[cell["method"].split()[0]]
    same = {"match": cell["match"]} if "match" in cell else {}
    same |= {"seed": cell["seed"]} if cell["method"] == "lora" else {}
    options = [same | {"layer": layer} for layer in cell.get("layers", [])] or [same]
    settings = [
        Tuning(
            learning_rate=rate,
            epochs=cell["epochs_tuned"],
            augmentation=cell["augmentation_tuned"],
            seed=cell["seed"],
        )
        for rate in cell["rates"]
    ]
    return [
        (partial(make, model, num_classes=num_classes, **option), setting) for option in options for setting in settings
    ]
