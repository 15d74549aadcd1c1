"""Write the table of what the studies cost for the book: measured where records are complete, estimated elsewhere."""

import re
from pathlib import Path

from nclib.experiments.cells import recipe_of
from nclib.experiments.chapters.selection import ON_CPU
from nclib.experiments.records import Cell, Records
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES
from nclib.storage import replacing

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "book" / "cost_table.md"
_SOME = re.compile(r"(.+)\[(\d*):(\d*)\]")  # of a data set's classes

# The data sets of images of the paper scale: images to train and to test, classes; GB on disk, about.
SIZES = {
    "caltech101": (6942, 1735, 101, 0.13),
    "cifar10": (50_000, 10_000, 10, 0.18),
    "cifar100": (50_000, 10_000, 100, 0.18),
    "dtd": (1880, 1880, 47, 0.6),
    "emnist/letters": (124_800, 20_800, 26, 0.5),
    "eurosat": (21_600, 5400, 10, 0.1),
    "fashion-mnist": (60_000, 10_000, 10, 0.06),
    "folder:cifar10": (50_000, 10_000, 10, 0.24),
    "folder:dtd10": (400, 400, 10, 0.01),
    "folder:flowers102": (3060, 4000, 102, 0.03),
    "folder:omniglot/Korean": (400, 400, 40, 0.02),
    "fgvc-aircraft": (3334, 3333, 100, 2.7),
    "flowers102": (1020, 6149, 102, 0.35),
    "food101": (75_750, 25_250, 101, 5),
    "folder:mini_imagenet": (48_000, 12_000, 100, 3),
    "mnist": (60_000, 10_000, 10, 0.06),
    "oxford-iiit-pet": (3680, 3669, 37, 0.8),
    "stanford-cars": (8144, 8041, 196, 1.9),
    "stl10": (5000, 8000, 10, 2.6),
    "sun397": (87_003, 21_751, 397, 37),
    "svhn": (73_257, 26_032, 10, 0.25),
}
# What one GPU of a data centre is taken to do, images a second: small ones, and those of 224 x 224.
TRAINED = {"small": 10_000, "large": 800}
PASSED = {"small": 30_000, "large": 2500}


def images(name: str, split: int, per_class: int | None) -> float:
    """How many there are of a data set, as a cell uses it; 0 = train, 1 = test."""
    some = _SOME.fullmatch(name)
    whole = SIZES[_whole(name)]
    number = int(some[3] or whole[2]) - int(some[2] or 0) if some else whole[2]
    most = whole[split] * number / whole[2]
    return most if per_class is None else min(most, per_class * number)


def seconds(cell: Cell) -> float:
    """What a cell may take at paper scale, the pre-training of its network left out."""
    size = "small" if "source" in cell else "large"
    data = str(cell.get("data", cell.get("task", cell.get("source"))))
    train = images(data, 0, cell.get("train_per_class"))
    passed = train + images(data, 1, cell.get("test_per_class"))
    if "epochs_tuned" not in cell or cell["method"] == "linear":
        return passed / PASSED[size]
    candidates = len(cell["rates"]) * max(1, len(cell.get("layers", ())))
    trials = 1 if candidates == 1 else 1 + 0.8 * candidates
    return cell["epochs_tuned"] * train * trials / TRAINED[size] + passed / PASSED[size]


def estimated_hours(cells: list[Cell]) -> float:
    """GPU hours of cells, each network of a recipe being trained once."""
    recipes = {recipe_of(cell) for cell in cells if "blocks" in cell}
    training = sum(r.epochs * images(r.source, 0, r.per_class) for r in recipes) / TRAINED["small"]
    return (training + sum(map(seconds, cells))) / 3600


def disk(cells: list[Cell]) -> str:
    """What the data of cells takes in a data root; nothing if they are embedded or few texts."""
    names = {_whole(str(cell.get("data", cell.get("task", "")))) for cell in cells}
    names |= {_whole(str(cell["source"])) for cell in cells if "source" in cell}
    total = sum(SIZES[name][3] for name in names & SIZES.keys())
    return f"{two_digits(total)} GB" if total else ""


def _whole(name: str) -> str:
    """The name of a data set without the choice of some classes."""
    some = _SOME.fullmatch(name)
    return some[1] if some else name


def two_digits(number: float) -> str:
    return f"{float(f'{number:.2g}'):g}"


def row(study: str, scale: str, records: Records) -> list[str]:
    """One study at one scale: measured from its records, or estimated."""
    cells = [dict(cell) for cell in STUDIES[study](SCALES[scale], SCALES[scale].seeds)]
    made = [record["provenance"] for record in records.select(study, scale, cells)]
    if len(made) < len(cells):
        vague = study in ON_CPU or study == "scene_selection"
        hours = "not estimated" if vague else f"{two_digits(estimated_hours(cells))} on a GPU, estimated"
        return [study, scale, str(len(cells)), hours, "", disk(cells), "not run yet"]
    memory = [each["memory"] for each in made if each.get("memory")]
    most = f"{max(memory) / 1024:.1f} GiB" if len(memory) == len(made) else ""
    devices = ", ".join(sorted({each["device"] for each in made}))
    hours = two_digits(sum(each["seconds"] for each in made) / 3600)
    return [study, scale, str(len(cells)), hours, most, disk(cells), devices]


def table() -> str:
    records = Records(ROOT / "book" / "records")
    rows = [row(study, scale, records) for scale in SCALES for study in STUDIES if STUDIES[study](SCALES[scale], [0])]
    head = ["study", "scale", "cells", "hours, all cells one after the other", "memory of a process", "data", "made on"]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    with replacing(PAGE) as path:
        path.write_text(table())
