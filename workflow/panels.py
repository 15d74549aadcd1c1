"""The panels of the papers, and what of paper scale is about each: looked up in its cells, not claimed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from nclib.experiments.cells import recipe_of
from nclib.experiments.records import Cell
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES


@dataclass(frozen=True)
class Panel:
    """What a paper shows or says, the study that tests it, and which of its cells do."""

    paper: str
    title: str
    study: str
    holds: Callable[[Cell], bool] = lambda cell: True
    names: str = "data"  # of the setting of these cells that says what they are of


def has(name: str, *values: object) -> Callable[[Cell], bool]:
    """Whether a cell has one of these values of a setting, or among those of one that is a list."""

    def holds(cell: Cell) -> bool:
        found = cell.get(name)
        return any(value in found if isinstance(found, list) else value == found for value in values)

    return holds


def varied(panel: str, setting: str) -> Callable[[Cell], bool]:
    """Whether a network of a sweep differs from its base in this setting."""
    sweep = next(each for each in SCALES["paper"].geometry.sweeps if each.panel == panel)
    base = getattr(sweep.recipe, setting)
    return lambda cell: cell["panel"] == panel and getattr(recipe_of(cell), setting) != base


MUNN, LI, DING = "Munn et al. 2024", "Li et al. 2022, 2024", "Ding et al. 2023"
SETTINGS = {"learning_rate": "learning rate", "batch_size": "batch size", "weight_decay": "L2"}
# Of each sweep the settings that the names of the paper's figures say it varies; ours varies all three of all.
SWEEPS: dict[str, Iterable[str]] = {
    "CIFAR-10, ResNet-18": SETTINGS,
    "CIFAR-10, VGG-13": SETTINGS,
    "MNIST, VGG-11": SETTINGS,
    "Fashion-MNIST, VGG-11": ("learning_rate", "weight_decay"),
    "CIFAR-100, ResNet-50": ("learning_rate", "weight_decay"),
    "CIFAR-FS, ResNet-18": SETTINGS,
    "mini-ImageNet, ResNet-18": SETTINGS,
}
# What the paper penalises, and how.
PENALTY = {"network": "vgg", "learning_rate": 0.01, "batch_size": 256}

PANELS = (
    Panel("Papyan et al. 2020", "collapse in the terminal phase", "collapse_in_training", names="source"),
    *(
        Panel(LI, f"source collapse and transfer, by {title}", "source_collapse", has("panels", key), "tasks")
        for key, title in (
            ("loss", "loss"),
            ("projection", "projection head"),
            ("augmentation", "augmentation"),
            ("epochs", "length of training"),
            ("collapse", "collapse itself (ours)"),
        )
    ),
    Panel(LI, "downstream collapse and transfer, over models", "downstream_collapse"),
    Panel(LI, "the same, over layers", "collapse_by_layer"),
    Panel(LI, "ways of fine-tuning, and skip connections", "fine_tuning"),
    Panel(LI, "which layer is tuned", "tuned_layer"),
    Panel(LI, "scarce data", "data_scarcity", has("train_per_class", 2)),
    Panel(LI, "collapse forced in fine-tuning (ours)", "forced_collapse"),
    *(
        Panel(MUNN, f"{panel}: {SETTINGS[setting]}", "geometric_complexity", varied(panel, setting), "new")
        for panel, settings in SWEEPS.items()
        for setting in settings
    ),
    *(
        Panel(MUNN, f"robustness of the estimate: {title}", "complexity_estimates", has(name, least), "source")
        for name, title, least in (
            ("samples", "few samples", 8),
            ("entries", "a masked Jacobian", 0.01),
            ("outputs", "few outputs", 2),
        )
    ),
    Panel(
        MUNN,
        "a penalty on CIFAR-10, VGG-13, at rate 0.01 and batch 256",
        "complexity_penalty",
        lambda cell: all(cell[name] == value for name, value in PENALTY.items()),
        "source",
    ),
    Panel(MUNN, "complexity where collapse is forced (ours)", "dialled_complexity", names="source"),
    Panel(DING, "architectures: 11 supervised CNNs", "model_selection", has("zoos", "architectures")),
    Panel(
        DING,
        "trainings: 12 self-supervised ResNet-50s",
        "model_selection",
        has("zoos", "self-supervised trainings"),
    ),
    Panel(DING, "source data sets", "model_selection", has("zoos", "source data sets")),
    Panel(DING, "training losses", "model_selection", has("zoos", "training losses")),
    Panel(DING, "voc2007", "model_selection", has("data", "voc2007")),
    Panel(DING, "semantic segmentation", "scene_selection"),
    Panel(
        DING, "text classification: encoders of the hub", "text_selection", has("zoos", "encoders of the hub"), "task"
    ),
)


@cache
def cells_at_paper_scale(study: str) -> tuple[Cell, ...]:
    """The cells of a study at the scale's seeds."""
    scale = SCALES["paper"]
    return tuple(STUDIES[study](scale, scale.seeds))


def row(panel: Panel) -> list[str]:
    """The row of a panel: the paper, its title, the study, how many cells it has and what these are of."""
    cells = [cell for cell in cells_at_paper_scale(panel.study) if panel.holds(cell)]
    values = [cell[panel.names] for cell in cells]
    names = dict.fromkeys(str(name) for value in values for name in (value if isinstance(value, list) else [value]))
    return [panel.paper, panel.title, panel.study, str(len(cells)), ", ".join(names)]


def rows() -> list[list[str]]:
    """All panels, each with what of paper scale is about it."""
    return [row(panel) for panel in PANELS]
