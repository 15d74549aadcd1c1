"""A smoke run of a scale: its own networks, data sets and methods, with few images, two epochs and one rate.

It shows what is missing, and what a cell takes, before a scale is run for hours. What it measures says nothing else.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import overload

from nclib.data.catalogue import classes_of, split_name
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import FineTuning, Geometry, Scale, SceneTask, Sweep, Task, Zoo
from nclib.experiments.sizes import SIZES
from nclib.experiments.words import TextRecipe
from nclib.models.recipes import Recipe

EPOCHS = 2
TRAIN, TEST = 4, 2  # images or texts of a class, and scenes to test
_SCENES = 16  # to train, for composed ones have four images of any class each, and all classes must be seen
_IMAGES, _BATCH = 40, 16  # of a source that networks are trained on
_CLASSES, _NEW = 10, 5  # of a source, and of new classes, which are told apart five at a time
_SHOTS = 6  # images of a new class: five shots, and one to be tried on
_LOSS = 2.0  # below the logarithm of ten classes: networks of few classes come to it
_WIDTH = 16  # of networks whose Jacobians are exact: at full width one of them takes minutes without a GPU
# Of the estimates of complexity: few images and rows of the Jacobian, and a truth that is known roughly.
_AMOUNTS = {"samples": [2], "entries": [0.01], "outputs": [2], "rademacher": [2], "repeats": 1, "truth_error": 0.3}
_TRANSFORMERS = ("vit", "swin", "deit", "beit", "eva")  # in the names of models whose features are tokens


def reduced(scale: Scale) -> Scale:
    """A scale with all it names, but with few images, two epochs, one rate and one seed."""
    return replace(
        scale,
        recipe=_shorter(scale.recipe),
        train_per_class=TRAIN,
        test_per_class=TEST,
        seeds=scale.seeds[:1],
        watched=EPOCHS,
        other_sources=tuple(
            replace(each, recipe=_shorter(each.recipe), train_per_class=TRAIN, test_per_class=TEST)
            for each in scale.other_sources
        ),
        model_tasks=_smallest(scale.model_tasks),
        fine_tuning=_fine_tuning(scale.fine_tuning),
        geometry=_geometry(scale.geometry),
        zoos=tuple(map(_zoo, scale.zoos)),
        scene_zoos=tuple(map(_zoo, scale.scene_zoos)),
        text_zoos=tuple(map(_zoo, scale.text_zoos)),
        encoder_zoos=tuple(map(_zoo, scale.encoder_zoos)),
    )


def representatives(cells: Iterable[Cell]) -> list[Cell]:
    """The first cell of each `kind_of` cell; cells that estimate complexity are reduced to little work."""
    return list({kind: _lighter(cell) for cell in reversed(list(cells)) for kind in [kind_of(cell)]}.values())[::-1]


def kind_of(cell: Cell) -> tuple[str, ...]:
    """What makes a cell take its own path through the code: the kind of its model, its method, loss or panel.

    >>> kind_of({"model": "torchvision:vit_b_16", "weights": "pretrained", "method": "lora", "seed": 0})
    ('torchvision, transformer', 'lora')
    """
    found = [_model(cell), *(str(cell[name]) for name in ("panel", "method", "match", "loss") if name in cell)]
    found += [name for name in ("projection", "augmentation", "penalty", "balanced") if cell.get(name)]
    found += ["untrained"] if cell.get("epochs") == 0 else []
    return *found, *cell.get("zoos", ())[:1]


def _model(cell: Cell) -> str:
    """The kind of a cell's model: named ones by their library, trained ones by their network."""
    if "architecture" in cell:
        return f"{cell['architecture']}, weights of a file"
    if "weights" not in cell:
        return f"network {cell.get('network', 'resnet')}" if "blocks" in cell else "words" if "depth" in cell else ""
    library, colon, name = cell["model"].partition(":")
    if "/" in cell["model"]:
        return "Hugging Face"
    is_transformer = any(word in (name or library) for word in _TRANSFORMERS)
    return f"{library if colon else 'timm'}, {'transformer' if is_transformer else 'CNN'}"


def _lighter(cell: Cell) -> Cell:
    if "rademacher" not in cell:
        return cell
    return cell | {name: _AMOUNTS[name] for name in _AMOUNTS if name in cell} | {"width": min(cell["width"], _WIDTH)}


@overload
def _shorter(recipe: Recipe) -> Recipe: ...
@overload
def _shorter(recipe: TextRecipe) -> TextRecipe: ...
def _shorter(recipe: Recipe | TextRecipe) -> Recipe | TextRecipe:
    """The recipe with few images or texts, and with at most two epochs."""
    epochs = min(recipe.epochs, EPOCHS)
    if isinstance(recipe, TextRecipe):
        return replace(recipe, per_class=2 * TRAIN, epochs=epochs)
    source = some_classes(recipe.source, _CLASSES)
    each = max(2, _IMAGES // _number_of_classes(source))
    batch = min(recipe.batch_size, _BATCH)
    rate = recipe.learning_rate * batch / recipe.batch_size  # at that of large batches some losses diverge
    return replace(recipe, source=source, per_class=each, epochs=epochs, batch_size=batch, learning_rate=rate)


def some_classes(name: str, number: int) -> str:
    """The name of the first `number` classes of a data set; a set with fewer, or with chosen classes, keeps its name.

    >>> some_classes("cifar100", 10), some_classes("cifar100[cifar-fs/train]", 10), some_classes("svhn", 10)
    ('cifar100[0:10]', 'cifar100[cifar-fs/train]', 'svhn')
    """
    return name if "[" in name or _number_of_classes(name) <= number else f"{name}[0:{number}]"


def _number_of_classes(name: str) -> int:
    """The number of classes that a name selects; if the set's size is unknown, as many as a script has letters."""
    whole, _ = split_name(name)
    return classes_of(name, SIZES[whole].classes if whole in SIZES else 2 * _CLASSES)


def _smallest(tasks: tuple[Task, ...] | tuple[Task | SceneTask, ...], classes: int | None = _NEW) -> tuple:
    """The task with the fewest classes, reduced to few images of each, and to some classes or, with None, all."""
    first = min(tasks, key=lambda task: _number_of_classes(task.data), default=None)
    if isinstance(first, SceneTask):
        return (replace(first, train=_SCENES, test=TEST, pixels_per_class=10 * TRAIN),)
    if first is None:
        return ()
    has_no_parts = ":" in first.data or first.data.startswith("docstrings/")  # of texts no name chooses classes
    data = first.data if classes is None or has_no_parts else some_classes(first.data, classes)
    return (replace(first, data=data, train_per_class=TRAIN, test_per_class=TEST),)


def _fine_tuning(given: FineTuning) -> FineTuning:
    """The settings reduced to one task, one number of images, one draw, one layer and one rate."""
    return replace(
        given,
        tasks=_smallest(given.tasks),
        scarce=given.scarce[:1],
        scarce_tasks=_smallest(given.scarce_tasks),
        recipe=given.recipe and _shorter(given.recipe),
        epochs=EPOCHS,
        length=EPOCHS,
        repeats=1,
        layers=given.layers[:1],
        all_layers=given.all_layers[:1],
        rates=given.rates[:1],
    )


def _geometry(given: Geometry) -> Geometry:
    return replace(
        given,
        sweeps=tuple(map(_sweep, given.sweeps)),
        loss=_LOSS,
        per_class=1,
        estimated_per_class=1,
        new_per_class=_SHOTS,
        episodes=30,
    )


def _sweep(sweep: Sweep) -> Sweep:
    """The sweep reduced to the recipe's own settings, and to few classes of each new data set."""
    recipe = _shorter(sweep.recipe)
    return replace(
        sweep,
        recipe=recipe,
        learning_rate=(recipe.learning_rate,),
        batch_size=(recipe.batch_size,),
        weight_decay=(recipe.weight_decay,),
        new=tuple(some_classes(name, _NEW) for name in sweep.new),
        penalised=sweep.penalised and _shorter(sweep.penalised),
    )


def _zoo(zoo: Zoo) -> Zoo:
    """The zoo reduced to one task, one rate, one layer and two epochs; published accuracies need whole data sets."""
    return replace(
        zoo,
        tasks=_smallest(zoo.tasks, None if zoo.method == "published" else _NEW),
        recipes=tuple(map(_shorter, zoo.recipes)),
        rates=zoo.rates[:1],
        layers=zoo.layers[:1],
        epochs=EPOCHS,
        repeats=1,
    )
