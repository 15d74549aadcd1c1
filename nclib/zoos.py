"""Zoos: pre-trained models that differ in one thing, the tasks that one is chosen for, and how they are fine-tuned."""

from dataclasses import dataclass, replace

from nclib.peft import METHODS
from nclib.tasks import SceneTask, Task
from nclib.training import Recipe
from nclib.words import TextRecipe


@dataclass(frozen=True)
class Zoo:
    """Models to choose from, named after what they differ in.

    They are `models` by name, with their `weights` as of `nclib.backbone`, or made by `recipes`; those that learned on
    the data of a task are left out there.
    `method` is one of `nclib.peft.METHODS`, and validation chooses of the learning `rates` and, where one layer is
    tuned, of the `layers`; or it is "published", for accuracies that others measured. So many of the seeds, which
    are those of the networks or, of named models, those of the fine-tuning, are tried: its `repeats`.
    """

    title: str
    tasks: tuple[Task | SceneTask, ...]
    recipes: tuple[Recipe | TextRecipe, ...] = ()
    models: tuple[str, ...] = ()
    weights: str = "pretrained"
    method: str = "full"
    rates: tuple[float, ...] = (2e-3, 1e-2)
    layers: tuple[int, ...] = ()
    epochs: int = 6
    repeats: int = 2

    def __post_init__(self) -> None:
        if self.method not in ("published", *METHODS):
            raise ValueError(f"unknown method {self.method!r}; there are published, {', '.join(METHODS)}")


def title(recipe: Recipe | TextRecipe, base: Recipe | TextRecipe) -> str:
    """What a recipe is called among those that differ from a base."""
    differences = [f"{name} {value}" for name, value in recipe.config.items() if value != getattr(base, name)]
    return ", ".join(differences) or "base"


def _architectures(base: Recipe) -> tuple[Recipe, ...]:
    resnets = [base, *(replace(base, width=width) for width in (base.width // 2, 3 * base.width // 2))]
    vgg = replace(base, network="vgg", learning_rate=0.028)  # its rate as in `sweeps`
    return *resnets, replace(base, blocks=3 * base.blocks), vgg


def _losses(base: Recipe) -> tuple[Recipe, ...]:
    """With other losses, and with projection heads, which change what of a loss comes to the features."""
    losses = ("cross-entropy", "label smoothing", "squared error", "contrastive")
    return *(replace(base, loss=loss) for loss in losses), *(replace(base, projection=depth) for depth in (1, 2, 3))


_LETTERS = Recipe()
_SCRIPTS = ("latin[0:26]", "greek", "cyrillic", "armenian", "georgian")
_ON_LETTERS = (
    Task("glyphs/greek", "glyphs/greek", 20, 40),
    Task("glyphs/georgian", "glyphs/georgian", 10, 40),
    Task("digits", "digits", 20, 40),
)
DEMO = (
    Zoo("architectures", _ON_LETTERS, _architectures(_LETTERS)),
    Zoo(
        "source data sets",
        _ON_LETTERS,
        (_LETTERS, *(replace(_LETTERS, source=name) for name in (*(f"glyphs/{s}" for s in _SCRIPTS), "digits"))),
    ),
    Zoo("training losses", _ON_LETTERS, _losses(_LETTERS)),
)

# For tasks of pixels the same models; for tasks of words encoders that differ in the same three ways.
_ON_SCENES = (
    SceneTask("scenes of digits", "digits[0:6]", 60, 40),
    SceneTask("scenes of Greek letters", "glyphs/greek[0:6]", 60, 40),
)
DEMO_SCENES = tuple(replace(zoo, tasks=_ON_SCENES, rates=(1e-2,), epochs=12, repeats=1) for zoo in DEMO)


def _encoders(
    base: TextRecipe, sources: tuple[tuple[str, int | None], ...], tasks: tuple[Task, ...]
) -> tuple[Zoo, ...]:
    """The base and others of its kind; `sources` are other texts, and how many of a class."""
    shapes = ((64, 0), (32, 0), (128, 0), (64, 1), (128, 1))
    losses = ("cross-entropy", "label smoothing", "squared error", "contrastive")
    recipes = {
        "architectures": tuple(replace(base, width=width, depth=depth) for width, depth in shapes),
        "source data sets": (base, *(replace(base, source=name, per_class=number) for name, number in sources)),
        "training losses": (
            *(replace(base, loss=loss) for loss in losses),
            *(replace(base, projection=depth) for depth in (1, 2)),
        ),
    }
    return tuple(Zoo(name, tasks, found, epochs=15) for name, found in recipes.items())


DEMO_TEXTS = _encoders(
    TextRecipe(),
    tuple((f"docstrings/{name}", None) for name in ("python", "networkx", "docutils", "IPython")),
    (
        Task("docstrings, which library", "docstrings/libraries", 20, 95),
        Task("docstrings, which part of scipy", "docstrings/scipy", 20, 50),
    ),
)

_CLOTHES = Recipe(source="fashion-mnist", per_class=600)
_SOURCES = (
    *(("glyphs/latin", 60), ("mnist", 600), ("folder:cifar10", 600)),
    *((f"folder:omniglot/{alphabet}", None) for alphabet in ("Balinese", "Sanskrit")),
    ("folder:tiny_imagenet[0:60]", None),
)
_ON_SMALL = (
    Task("glyphs/greek", "glyphs/greek", 20, 40),
    Task("digits", "digits", 20, 40),
    Task("omniglot, Korean", "folder:omniglot/Korean", None, None),
)
_BANK = tuple(
    f"bank_{name}"
    for name in (
        *("mobilenet_v1_025_128", "mobilenet_v1_050_160", "mobilenet_v1_075_192", "mobilenet_v1_100_224"),
        *("mobilenet_v2_100_224", "mobilenet_v2_100_224_tf2", "mobilenet_v2_100_224_gluon"),
        *("mobilenet_v2_100_224_inat_bird", "mobilenet_v2_100_224_inat_insect"),
        *("mbv2_w035", "mcunet_5fps", "proxyless_w030", "squeezenet1_0_dc", "squeezenet1_1"),
    )
)
LAB = (
    Zoo(
        "architectures",
        (
            Task("flowers102 (4 + 4, 160 px)", "folder:flowers102", 4, 4),
            Task("dtd (10 classes, 160 px)", "folder:dtd10", 40, 40),
        ),
        models=_BANK,
        method="skip",  # of one late block: full fine-tuning of the bank takes hours
        rates=(1e-4, 1e-3),
        layers=(-2,),  # what comes before it is computed once
        repeats=1,
    ),
    Zoo(
        "source data sets",
        _ON_SMALL,
        (_CLOTHES, *(replace(_CLOTHES, source=name, per_class=number) for name, number in _SOURCES)),
        repeats=1,
    ),
    Zoo("training losses", _ON_SMALL, _losses(_CLOTHES), repeats=1),
)
LAB_SCENES = (
    Zoo(
        "architectures",
        (SceneTask("CamVid (180 x 240)", "folder:camvid", 150, 100, 400),),
        models=_BANK,
        method="linear",  # a linear classifier of a map's places: fine-tuning the bank takes hours
        repeats=1,
    ),
)
_ON_TEXTS = tuple(
    Task(name, f"file:text/{name}_{{split}}.csv", *numbers)
    for name, numbers in (("ag_news", (50, 300)), ("banking77", (20, 30)), ("sst1", (50, 200)))
)
LAB_TEXTS = _encoders(
    TextRecipe(source="file:text/clinc150_{split}.csv", per_class=40),
    (("file:text/ag_news_{split}.csv", 1000), ("docstrings/sympy", None), ("docstrings/python", None)),
    _ON_TEXTS,
)
LAB_ENCODERS = (
    Zoo(
        "depths of a sentence encoder",
        _ON_TEXTS,
        models=tuple(f"folder:text_models/all-MiniLM-L6-v2[:{number}]" for number in range(7)),
        method="linear",
        repeats=1,
    ),
)

# The 11 supervised networks and the data sets of the published accuracies; and ResNet-50s of other data and trainings.
_PUBLISHED = (
    *("resnet34", "resnet50", "resnet101", "resnet152", "densenet121", "densenet169", "densenet201"),
    *("mnasnet1_0", "mobilenet_v2", "googlenet", "inception_v3"),
)
_DATA_SETS = (
    *("fgvc-aircraft", "caltech101", "stanford-cars", "cifar10", "cifar100", "dtd", "flowers102", "food101"),
    *("oxford-iiit-pet", "sun397"),
)
_RESNET50S = (
    *("resnet50.tv_in1k", "resnet50.tv2_in1k", "resnet50.a1_in1k", "resnet50.a3_in1k", "resnet50.gluon_in1k"),
    *("resnet50.fb_ssl_yfcc100m_ft_in1k", "resnet50.fb_swsl_ig1b_ft_in1k", "resnet50.ram_in1k", "resnet50.am_in1k"),
)
PAPER = (
    Zoo(
        "architectures",
        tuple(Task(name, name, None, None) for name in _DATA_SETS),
        models=tuple(f"torchvision:{name}" for name in _PUBLISHED),
        weights="IMAGENET1K_V1",  # those that were fine-tuned
        method="published",
        repeats=1,
    ),
    Zoo(
        "source data sets",
        tuple(Task(name, name, None, None) for name in ("cifar10", "dtd", "oxford-iiit-pet")),
        models=_RESNET50S,
        rates=(1e-4, 1e-3),
        epochs=30,
        repeats=1,
    ),
)
PAPER_SCENES = (replace(LAB_SCENES[0], models=PAPER[0].models, method="full", rates=(1e-4, 1e-3), epochs=30),)
PAPER_TEXTS = tuple(replace(zoo, repeats=3) for zoo in LAB_TEXTS)
PAPER_ENCODERS = (
    Zoo(
        "architectures",
        _ON_TEXTS,
        models=(
            *(f"sentence-transformers/all-{name}" for name in ("MiniLM-L6-v2", "MiniLM-L12-v2", "mpnet-base-v2")),
            *("google-bert/bert-base-uncased", "FacebookAI/roberta-base", "distilbert/distilbert-base-uncased"),
        ),
        rates=(1e-5, 5e-5),
        epochs=5,
        repeats=1,
    ),
)
