"""Check, before anything is computed, that data sets have as many images of a class as cells ask for."""

from collections.abc import Iterable, Iterator

from nclib.experiments.records import Cell
from nclib.experiments.sizes import fewest_of


def asked(cell: Cell) -> Iterator[tuple[str, str, int]]:
    """Data set, split and number of images per class, for every request of a cell that states a number."""
    train, test = cell.get("train_per_class"), cell.get("test_per_class")
    tasks = [cell["data"]] if "data" in cell else list(cell.get("tasks", ()))
    found = [(task, split, number) for task in tasks for split, number in (("train", train), ("test", test))]
    found += [(name, "train", cell.get("new_per_class")) for name in cell.get("new", ())]
    if "source" in cell:
        own = ("per_class", "of_class")
        found += [(cell["source"], "train", cell.get(name)) for name in own]
        # A network that is tried on a task of its own is measured on the test images of its source, too.
        found += [] if "data" in cell else [(cell["source"], "test", test)]
    return ((data, split, number) for data, split, number in found if number is not None)


def impossible(cells: Iterable[Cell]) -> list[str]:
    """One sentence for each request of the cells that a data set of known size cannot meet."""
    wanted = dict.fromkeys(each for cell in cells for each in asked(cell))
    return [
        f"{number} {split} images per class of {data} are requested, but its smallest class has {fewest}"
        for data, split, number in wanted
        if (fewest := fewest_of(data, split)) is not None and number > fewest
    ]


def check_counts(study: str, scale: str, cells: Iterable[Cell]) -> None:
    """Raise a ValueError if cells ask for more images than a data set of known size has; it lists all such requests."""
    if found := impossible(cells):
        cure = f"in nclib/experiments/scales/{scale}.py, give at most that number, or None for all images"
        raise ValueError(f"{study} at {scale} scale cannot be measured: {'; '.join(found)}. {cure}")
