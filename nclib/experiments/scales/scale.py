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

    `title` is its name in figures and records, and `data` its name for `nclib.load`. A number of None takes all images.
    `digest` identifies the images of a task that no scale declares, since they may change under the same name.
    """

    title: str
    data: str
    train_per_class: int | None
    test_per_class: int | None
    digest: str | None = None


@dataclass(frozen=True)
class Source:
    """A source: the `recipe` of its networks, and the downstream data sets, `tasks`, on which they are tried.

    Each class has `train_per_class` images for training and `test_per_class` for testing; None is all.
    """

    recipe: Recipe
    tasks: tuple[str, ...]
    train_per_class: int | None
    test_per_class: int | None


@dataclass(frozen=True)
class SceneTask:
    """A task of pixels: the scenes that `nclib.scenes` makes or reads, and their numbers for training and testing.

    Scores use `pixels_per_class` pixels of each class.
    """

    title: str
    data: str
    train: int
    test: int
    pixels_per_class: int = 100


@dataclass(frozen=True)
class Zoo:
    """Models to choose from, named after what they differ in.

    They are `models` by name, with `weights` as in `nclib.backbone`, or networks trained by `recipes`. A model that was
    trained on the data of a task is left out for that task. If `architecture` is given, all models have it and are
    named after the files of their weights, NAME.safetensors in the folder of the data root that `weights` names.

    `method` is one of `peft.methods.METHODS`, or "published" for accuracies that others measured. If there are several
    learning `rates` or, where one layer is tuned, several `layers`, validation chooses among them. `repeats` is the
    number of a study's seeds that are tried; None is all. They seed the networks or, for named models, the draws of
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
    """A kind of network on a source (a `panel` of a figure), and the values that each of three settings takes.

    One setting varies at a time; the others keep the values of the `recipe`. The networks are tried on the classes of
    the `new` data sets. If there are `penalties` on complexity, they are tried with the recipe, or with `penalised`.
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

    The networks are `models` by name, or networks trained by the `recipe`. Validation chooses the tuned layer from
    `layers` (places in `Backbone.layers`) and the learning rate of every method from `rates`. Without `rates` nothing
    is chosen: the `rate` of each method and the `layer` are fixed, as they always are in the study of scarce images.
    That study trains on each number of images per class in `scarce`, on the `scarce_tasks`, for `length` epochs.
    `all_layers` are the layers that are compared. `repeats` is the number of seeds with which every method is tried
    (seeds of the networks, the images and the training), except in the study of scarce images.
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

    The networks of the `sweeps` are compared when their training loss has fallen to `loss`. They are tried in
    `episodes` few-shot episodes on each new data set, with `new_per_class` images per class. Complexity is measured on
    `per_class` training images per class, and estimates are tried on `estimated_per_class` (None: equally many). The
    reference for estimates is the exact complexity. With a `truth_error` it is known from projections to this relative
    error instead, and is checked against the exact value on one image of each class.
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

    `recipe` is the base that the studies of networks trained here vary. `tasks` are the downstream data sets of these
    networks, with `train_per_class` and `test_per_class` images per class (None is all), and `seeds` are their seeds.
    `watched` is the number of epochs for which chapter 1 watches a network. The study of collapse on the source is
    repeated on `other_sources`. `models` are names of pre-trained models for `nclib.backbone`, and `model_tasks` are
    their tasks; without `models` the networks trained here stand in for them. The studies of model selection choose
    from each of the `zoos`, from `scene_zoos` for pixels, and from `text_zoos` and `encoder_zoos` (Hugging Face's
    encoders) for texts. `device` is the default device of a run: a scale of small networks gains nothing from a GPU.
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
