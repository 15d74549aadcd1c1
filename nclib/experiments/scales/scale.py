"""What a scale is made of: tasks, zoos, sweeps, and the settings of every chapter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nclib.checks import check_known
from nclib.experiments.words import TextRecipe
from nclib.models.recipes import Recipe
from nclib.peft.methods import METHODS


@dataclass(frozen=True)
class Task:
    """A downstream task of the pre-trained models: a data set, and how many images of each class are used.

    `title` is what figures and records call it, `data` what `nclib.load` does; None is all images. `digest` names
    the images of a task that no scale declares, which may change under one name.
    """

    title: str
    data: str
    train_per_class: int | None
    test_per_class: int | None
    digest: str | None = None


@dataclass(frozen=True)
class Source:
    """A source and the downstream tasks of its networks: the `recipe` of one, and the data sets it is tried on.

    Of each class of these there are `train_per_class` images to train on, and `test_per_class` to test; None is all.
    """

    recipe: Recipe
    tasks: tuple[str, ...]
    train_per_class: int | None
    test_per_class: int | None


@dataclass(frozen=True)
class SceneTask:
    """A task of pixels: what `nclib.scenes` makes or reads, and how many scenes there are to train and test.

    `pixels_per_class` pixels of each class are scored.
    """

    title: str
    data: str
    train: int
    test: int
    pixels_per_class: int = 100


@dataclass(frozen=True)
class Zoo:
    """Models to choose from, named after what they differ in.

    They are `models` by name, with their `weights` as of `nclib.backbone`, or made by `recipes`; those that learned on
    the data of a task are left out there. Models of one `architecture`, its name, are called after the files of their
    weights, NAME.safetensors in a folder of the data root that `weights` names.

    `method` is one of `peft.methods.METHODS`, and validation chooses of the learning `rates` and, where one layer is
    tuned, of the `layers`, if there are several; or it is "published", for accuracies that others measured. `repeats`
    is how many of a study's seeds are tried, by default all. They seed the networks or, for named models, the draws of
    images and the fine-tuning.
    """

    title: str
    tasks: tuple[Task | SceneTask, ...]
    recipes: tuple[Recipe | TextRecipe, ...] = ()
    models: tuple[str, ...] = ()
    weights: str = "pretrained"
    architecture: str = ""
    method: str = "full"
    rates: tuple[float, ...] = (2e-3, 1e-2)
    layers: tuple[int, ...] = ()
    epochs: int = 6
    repeats: int | None = None

    def __post_init__(self) -> None:
        check_known(("published", *METHODS), method=self.method)


@dataclass(frozen=True)
class Sweep:
    """A network on a source, which figures call a panel, and the values that each of three settings takes.

    The others stay those of the recipe. What it learns is tried on the classes of the `new` data sets; `penalties`
    on its complexity are tried, too, where there are any, with the recipe or another, `penalised`.
    """

    panel: str
    recipe: Recipe
    learning_rate: tuple[float, ...]
    batch_size: tuple[int, ...]
    weight_decay: tuple[float, ...]
    new: tuple[str, ...]
    penalties: tuple[float, ...] = ()
    penalised: Recipe | None = None


@dataclass(frozen=True)
class FineTuning:
    """What a scale fixes for the studies of fine-tuning.

    `models` are named, or there is the `recipe` of the one network. Validation chooses the layer that is tuned from
    `layers` (by their place in `Backbone.layers`) and the learning rate of every method from `rates`. Without `rates`
    nothing is chosen: the `rate` of each method and the `layer` are fixed, as they are where images are scarce.
    `scarce` are the numbers of images a class that methods are then given of the `scarce_tasks`, for `length` epochs.
    `all_layers` are compared. `repeats` is the number of seeds that every method is tried with, but where images are
    scarce: of the networks, of the images and of the training.
    """

    tasks: tuple[Task, ...]
    scarce: tuple[int, ...]
    epochs: int
    scarce_tasks: tuple[Task, ...] = ()
    recipe: Recipe | None = None
    models: tuple[str, ...] = ()
    rate: Mapping[str, float] = field(default_factory=dict)
    layer: int = -4
    length: int = 40
    repeats: int = 3
    layers: tuple[int, ...] = (-5, -4)
    all_layers: tuple[int, ...] = (-7, -4, -2)
    rates: tuple[float, ...] = (2e-3, 1e-2)
    augmentation: float = 0.0


@dataclass(frozen=True)
class Geometry:
    """What a scale fixes for the studies of geometric complexity.

    The networks of the `sweeps` are compared where their training loss has fallen to `loss`, and tried in few-shot
    `episodes`, that many on `new_per_class` images of each new data set. Complexity is that of `per_class` training
    images, and estimates are tried on `estimated_per_class`, by default as many. What estimates are held against is
    exact or, with a `truth_error`, known from projections to this relative error, which is held against what is exact
    on one image of each class.
    """

    sweeps: tuple[Sweep, ...]
    loss: float = 0.1
    per_class: int = 4
    estimated_per_class: int | None = None
    truth_error: float | None = None
    new_per_class: int = 20
    episodes: int = 600


@dataclass(frozen=True)
class Scale:
    """What a scale fixes for every chapter.

    `recipe` is the base that the studies of networks trained here vary, `tasks` are their downstream data sets, with
    `train_per_class` and `test_per_class` images of a class (None is all), and `seeds` are those of the networks. One
    is `watched` for so many epochs; what is found of collapse on the source is tried on `other_sources`. `models` are
    pre-trained models, for `nclib.backbone`, and `model_tasks` what they are tried on; without models the networks
    trained here stand in for them. Of each of the `zoos` the best model is chosen, of `scene_zoos` for tasks of pixels,
    of `text_zoos` for tasks of words; those of `encoder_zoos` are Hugging Face's. `device` is what a run computes on if
    it is not told: a scale of small networks gains nothing from a GPU.
    """

    recipe: Recipe
    tasks: tuple[str, ...]
    train_per_class: int | None
    test_per_class: int | None
    seeds: tuple[int, ...]
    watched: int
    fine_tuning: FineTuning
    geometry: Geometry
    zoos: tuple[Zoo, ...]
    scene_zoos: tuple[Zoo, ...]
    text_zoos: tuple[Zoo, ...]
    other_sources: tuple[Source, ...] = ()
    models: tuple[str, ...] = ()
    model_tasks: tuple[Task, ...] = ()
    encoder_zoos: tuple[Zoo, ...] = ()
    device: str = "auto"
