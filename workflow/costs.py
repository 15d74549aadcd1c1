"""What studies cost: read from their records or, at paper scale, estimated from counted arithmetic."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import timm
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nclib.data.catalogue import classes_of, split_name
from nclib.experiments.cells import recipe_of
from nclib.experiments.chapters.selection import ON_CPU
from nclib.experiments.records import Cell, Records
from nclib.experiments.scales import SCALES
from nclib.experiments.sizes import SIZES, Size
from nclib.experiments.studies import STUDIES, every_cell
from nclib.models.losses import VIEWS
from nclib.models.networks import NETWORKS
from nclib.models.recipes import Recipe
from workflow.measures import RECORDS

# What one GPU of a data centre is taken to sustain, from slow to fast: operations a second of networks in bfloat16 (its
# peak is 3e14 to 1e15) and of Jacobians in float32, and images that its processes decode from files.
HALF, SINGLE, DECODED = (3e13, 1.5e14), (1e13, 5e13), (800, 4000)
BACKWARDS = 2  # operations of a backward pass over those of a forward pass
PENALISED = 4 * 9  # images of a penalised batch, and operations of a penalty over those of a forward pass
PROJECTIONS = 8  # from which a relative error of 0.01 is reached, with hundreds of images


@dataclass(frozen=True)
class Work:
    """Operations in half and in single precision, and images that are decoded."""

    half: float = 0.0
    single: float = 0.0
    decoded: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.half + other.half, self.single + other.single, self.decoded + other.decoded)

    @property
    def hours(self) -> tuple[float, float]:
        """The fewest and the most that one GPU takes; it computes while images are decoded."""
        fewest, most = (
            max(self.half / HALF[fast] + self.single / SINGLE[fast], self.decoded / DECODED[fast]) / 3600
            for fast in (1, 0)
        )
        return fewest, most


def size_of(name: str) -> Size:
    """The size of the whole data set that a name is about."""
    whole, _ = split_name(name)
    if whole not in SIZES:
        row = "add its images to train and to test, its classes and its GB"
        where = f"SIZES of nclib/experiments/sizes.py has no row {whole}"
        raise ValueError(f"{name} has costs to be estimated, and {where}: {row}")
    return SIZES[whole]


def images(name: str, split: int, per_class: int | None) -> float:
    """How many there are of a data set, as a cell uses it; 0 = train, 1 = test."""
    size = size_of(name)
    number = classes_of(name, size.classes)
    most = (size.train, size.test)[split] * number / size.classes
    return most if per_class is None else min(most, per_class * number)


def operations(model: nn.Module, channels: int, side: int) -> float:
    """The operations of one forward pass of an image, additions and multiplications each, from shapes alone."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, channels, side, side, device="meta"))
    return float(counter.get_total_flops())


@cache
def trained(network: str, width: int, blocks: int, channels: int, side: int) -> tuple[float, int]:
    """Operations of a network of recipes, and the width of its features."""
    with torch.device("meta"):
        made = NETWORKS[network](width, in_channels=channels, blocks=blocks)
    return operations(made, channels, side), int(made.num_features)  # type: ignore[arg-type]  # an int on a Module


def of_recipe(recipe: Recipe) -> tuple[float, int]:
    """Operations of a recipe's network, and the width of its features."""
    size = size_of(recipe.source)
    return trained(recipe.network, recipe.width, recipe.blocks, size.channels, recipe.size or size.side)


@cache
def named(name: str) -> float:
    """Operations of a pre-trained model by name, at the size it was trained at."""
    library, _, name = name.rpartition(":")
    with torch.device("meta"):
        if not library:
            model = timm.create_model(name)
            return operations(model, *timm.data.resolve_model_data_config(model)["input_size"][:2])
        options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, **options)
    weights = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]  # an enumeration's
    return operations(model, 3, weights.transforms().crop_size[0])


def forward(cell: Cell) -> float:
    """Operations of a forward pass of the model that a cell is about."""
    return named(cell.get("architecture", cell["model"])) if "weights" in cell else of_recipe(recipe_of(cell))[0]


def training(recipe: Recipe) -> Work:
    """The work of training a network from scratch, its penalty included."""
    number = images(recipe.source, 0, recipe.per_class)
    once = of_recipe(recipe)[0]
    steps = number / recipe.batch_size
    penalty = bool(recipe.penalty) * recipe.epochs * steps * PENALISED * once
    return Work(recipe.epochs * number * VIEWS.get(recipe.loss, 1) * (1 + BACKWARDS) * once, penalty)


def watched(cell: Cell) -> Work:
    """Passes of chapter 1, which looks at all images after every other epoch."""
    seen = 2 * images(cell["source"], 0, cell["per_class"]) + images(cell["source"], 1, cell["test_per_class"])
    return Work((5 + cell["epochs"] / 2) * seen * forward(cell))


def tried_on_tasks(cell: Cell) -> Work:
    """Passes of chapter 2, over the source and its tasks."""
    counts = cell["train_per_class"], cell["test_per_class"]
    source = 2 * images(cell["source"], 0, cell["per_class"]) + images(cell["source"], 1, counts[1])
    tasks = sum(images(task, split, counts[split]) for task in cell["tasks"] for split in (0, 1))
    return Work((source + tasks) * forward(cell))


def along_training(cell: Cell) -> Work:
    """Passes of chapter 3: over all images in every epoch until losses are compared, and complexity at some."""
    looks, once = len(cell["measured_epochs"]) + 2, forward(cell)
    number = images(cell["source"], 0, cell["per_class"])
    new = sum(images(name, 0, cell["new_per_class"]) for name in cell["new"])
    few = images(cell["source"], 0, cell["of_class"])
    return Work(((cell["epochs"] + looks) * number + 3 * new) * once, looks * few * (1 + 2 * BACKWARDS) * once)


def estimates(cell: Cell) -> Work:
    """Jacobians of chapter 3, of which an exact one takes a backward pass for each feature."""
    once, width = of_recipe(recipe_of(cell))
    few, many = (images(cell["source"], 0, cell[name]) for name in ("of_class", "per_class"))
    rows = few * (PROJECTIONS if "truth_error" in cell else width) + many * cell["projections_of_all"]
    rows += images(cell["source"], 0, 1) * width if "truth_error" in cell else 0
    tried = sum(cell["samples"]) * width + few * (
        len(cell["entries"]) * width + sum(cell["outputs"]) + sum(cell["rademacher"])
    )
    return Work(single=(rows + cell["repeats"] * tried) * BACKWARDS * once)


def on_task(cell: Cell) -> Work:
    """The work of a pre-trained model on one task: passes and, if it is tuned, trials and training."""
    once, data = forward(cell), str(cell["data"])
    train = images(data, 0, cell.get("train_per_class"))
    number = 2 * train + images(data, 1, cell.get("test_per_class"))
    work = Work(number * once, decoded=number if "weights" in cell else 0.0)  # pre-trained at 224 x 224, or so
    if "epochs_tuned" not in cell or cell["method"] == "linear":
        return work
    candidates = max(1, len(cell.get("rates", ()))) * max(1, len(cell.get("layers", ())))
    seen = cell["epochs_tuned"] * train * (1 if candidates == 1 else 1 + 0.8 * candidates)
    return work + Work(seen * (1 + BACKWARDS) * once, decoded=seen if "weights" in cell else 0.0)


def work_of(cells: list[Cell]) -> Work:
    """The work of all cells; each network of a recipe is trained once."""
    kinds = {"pictured_epochs": watched, "tasks": tried_on_tasks, "measured_epochs": along_training}
    kinds |= {"projections_of_all": estimates, "data": on_task}
    total = sum((training(recipe) for recipe in {recipe_of(cell) for cell in cells if "blocks" in cell}), Work())
    return sum((next(work for name, work in kinds.items() if name in cell)(cell) for cell in cells), total)


def disk(cells: Iterable[Cell]) -> str:
    """What the data of cells takes in a data root; nothing if they are embedded or few texts."""
    used = [[cell[name]] for cell in cells for name in ("data", "source") if name in cell]
    used += [cell[name] for cell in cells for name in ("tasks", "new") if name in cell]
    names = {split_name(str(name))[0] for each in used for name in each}
    total = sum(SIZES[name].gigabytes for name in names & SIZES.keys())
    return f"{two_digits(total)} GB" if total else ""


def two_digits(number: float) -> str:
    return f"{float(f'{number:.2g}'):g}"


def cost_of(study: str, scale: str, records: Records) -> list[str]:
    """One study at one scale: measured from its records, or estimated."""
    cells = every_cell(study, scale)
    made = [record["provenance"] for record in records.select(study, scale, cells)]
    if len(made) < len(cells):
        return [study, scale, str(len(cells)), _estimated(study, scale, cells), "", disk(cells), "not run yet"]
    memory = [each["memory"] for each in made if each.get("memory")]
    most = f"{max(memory) / 1024:.1f} GiB" if len(memory) == len(made) else ""
    devices = ", ".join(sorted({each["device"] for each in made}))
    hours = two_digits(sum(each["seconds"] for each in made) / 3600)
    return [study, scale, str(len(cells)), hours, most, disk(cells), devices]


def of_scale(scale: str, records: Records) -> list[str]:
    """A whole scale: how many of its cells have a record, what these took in sequence, and where they were made."""
    cells = {study: each for study in STUDIES if (each := every_cell(study, scale))}
    made = [row["provenance"] for study, each in cells.items() for row in records.select(study, scale, each)]
    every = [cell for each in cells.values() for cell in each]
    number = f"{len(made)} of {len(every)}"
    if not made:
        estimates = [work_of(each).hours for study, each in cells.items() if not _is_on_cpu(study)]
        fewest, most = (two_digits(sum(each)) for each in zip(*estimates, strict=True))
        return [scale, number, f"{fewest} to {most} on a GPU, estimated", "", disk(every), "not run yet"]
    hours = two_digits(sum(each["seconds"] for each in made) / 3600)
    memory = max(each.get("memory") or 0 for each in made)
    machines = sorted({f"{each['machine']}, {each['device']}" for each in made})
    return [scale, number, hours, f"{memory / 1024:.1f} GiB", disk(every), "; ".join(machines)]


def _is_on_cpu(study: str) -> bool:
    """Whether no GPU works on a study, or its operations are not counted."""
    return study in ON_CPU or study == "scene_selection"


def _estimated(study: str, scale: str, cells: list[Cell]) -> str:
    if scale != "paper" or _is_on_cpu(study):
        return "not estimated"
    fewest, most = map(two_digits, work_of(cells).hours)
    return f"{fewest} to {most} on a GPU, estimated"


def scale_rows() -> list[list[str]]:
    """What every scale costs."""
    return [of_scale(scale, RECORDS) for scale in SCALES]


def cost_rows() -> list[list[str]]:
    """What every study costs at every scale."""
    return [cost_of(study, scale, RECORDS) for scale in SCALES for study in STUDIES if every_cell(study, scale)]
