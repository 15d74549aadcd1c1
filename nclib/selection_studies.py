"""Studies of choosing a pre-trained model: every model of every zoo, on each of its tasks, scored and fine-tuned."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from nclib.records import Cell
from nclib.scales import Scale
from nclib.tasks import SceneTask, Task
from nclib.tuning_studies import of_method, of_task
from nclib.zoos import Zoo, title


def model_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of images; a cell names all the zoos that have it."""
    return _selection(scale.zoos, list(seeds))


def scene_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of pixels."""
    return _selection(scale.scene_zoos, list(seeds))


def text_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of words."""
    return _selection(scale.text_zoos, list(seeds))


def encoder_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of words, of encoders by name; none at demo scale."""
    return _selection(scale.encoder_zoos, list(seeds))


def _selection(zoos: Iterable[Zoo], seeds: list[int]) -> list[Cell]:
    cells: dict[str, Cell] = {}
    members: dict[str, list[str]] = {}
    for zoo in zoos:
        models = _models(zoo, seeds[: zoo.repeats])
        for task, model in product(zoo.tasks, models):  # neighbours do not share a network to be trained
            if _plain(model.get("source", "")) == _plain(task.data):
                continue
            cell = model | _of(task) | _how(zoo)
            cells[repr(cell)] = cell
            members.setdefault(repr(cell), []).append(zoo.title)
    return [cell | {"zoos": members[key]} for key, cell in cells.items()]


def _plain(data: str) -> str:
    """The name of a data set, without which classes of it are taken."""
    return data.partition("[")[0]


def _of(task: Task | SceneTask) -> Cell:
    if isinstance(task, Task):
        return of_task(task, task.train_per_class)
    numbers = {"train": task.train, "test": task.test, "pixels_per_class": task.pixels_per_class}
    return {"task": task.title, "data": task.data} | numbers


def _models(zoo: Zoo, seeds: Iterable[int]) -> list[Cell]:
    named = [{"model": name, "weights": zoo.weights, "seed": seed} for name in zoo.models for seed in seeds]
    made = [
        {"model": title(recipe, zoo.recipes[0])} | replace(recipe, seed=seed).config
        for recipe in zoo.recipes
        for seed in seeds
    ]
    return named + made


def _how(zoo: Zoo) -> Cell:
    if zoo.method == "published":
        return {"method": zoo.method}
    how = {"rates": list(zoo.rates), "epochs_tuned": zoo.epochs, "augmentation_tuned": 0.0}
    return of_method(zoo.method, zoo.layers) | how
