"""What a scale needs before it is run: data sets and weights, whether they are there, and where each is had."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import pandas as pd
import torch

from nclib.checks import few
from nclib.data.catalogue import EMBEDDED, load, split_name
from nclib.data.images import ImageFiles, ImageSet, Labelled
from nclib.data.places import find_path
from nclib.data.scene_sets import scenes
from nclib.data.text_sets import texts
from nclib.data.torchvision_sets import TORCHVISION
from nclib.experiments.records import Cell
from nclib.experiments.sizes import SIZES, fewest_of

FETCHED = "fetched when it is first used"
# What no one can download as it is, by the beginning of its name, and how it is made.
_BY_HAND = {
    "folder:mini_imagenet": "python -m workflow.make_folders mini-imagenet --help",
    "folder:camvid": "python -m workflow.make_folders camvid --help",
    "folder:": "put a folder of images there by hand",
    "file:text/": "python -m workflow.make_folders texts --help",
    "file:": "put a table with the header text,label there by hand",
    "docstrings/": "pip install the package",
}
# Images of voc2007 with objects of several classes are left out, but its lists name them, too.
_LISTS = {
    "voc2007": {
        split: f"VOCdevkit/VOC2007/ImageSets/Main/{theirs}.txt"
        for split, theirs in (("train", "trainval"), ("test", "test"))
    }
}


@dataclass
class Need:
    """A data set or weights: whether it is there, or why not, its size in GB, and the studies that need it.

    `memory` is what its images take as bytes, in GB, if they are held in memory. `fewer` says that it is there, with
    less than it should have.
    """

    what: str
    where: str
    missing: str = ""
    state: str = "there"
    gigabytes: float | None = None
    memory: float | None = None
    fewer: str = ""
    of_weights: bool = False
    studies: set[str] = field(default_factory=set)


def names_of(cell: Cell) -> Iterator[tuple[str, str]]:
    """The whole data sets that a cell is about, each with its kind: images, scenes or texts."""
    given = [cell[name] for name in ("data", "source") if name in cell]
    given += [each for name in ("tasks", "new") for each in cell.get(name, ())]
    for name in given:
        kind = "scenes" if "pixels_per_class" in cell and name == cell["data"] else "images"
        yield split_name(name)[0], "texts" if name.startswith(("file:", "docstrings/")) else kind


def weights_of(cell: Cell) -> tuple[str, str]:
    """The model and the weights of a cell, by names; empty where it trains its own."""
    if "weights" not in cell:
        return "", ""
    return str(cell.get("architecture", cell["model"])), str(cell["weights"])


def needs(cells: Mapping[str, Collection[Cell]], data_root: Path | None) -> list[Need]:
    """What the cells of studies need, data before weights; what every installation has is left out."""
    found: dict[tuple[str, str], Need] = {}
    for study, members in cells.items():
        wanted: dict[tuple[str, str], Callable[[str, str, Path | None], Need]] = {}
        wanted |= {each: _data for cell in members for each in names_of(cell) if each[0] not in EMBEDDED}
        wanted |= {each: _weights for cell in members if (each := weights_of(cell))[0]}
        for key, kind in wanted.items():
            if key not in found:
                found[key] = kind(*key, data_root)
            found[key].studies.add(study)
    return sorted(found.values(), key=lambda need: need.of_weights)


def _data(name: str, kind: str, data_root: Path | None) -> Need:
    size = SIZES.get(name)
    need = Need(name, _where(name), gigabytes=size.gigabytes if size else None)
    try:
        if kind == "texts":
            _ = [texts(name, split, per_class=1, data_root=data_root) for split in ("train", "test")]
        elif kind == "scenes":
            _ = [scenes(name, split, number=1, data_root=data_root) for split in ("train", "test")]
        else:
            _look(need, data_root)
    except (OSError, ValueError, ImportError) as error:
        need.missing, need.state = str(error) or repr(error), "missing"
    return need


def _look(need: Need, data_root: Path | None) -> None:
    """Load both splits of a set, look for all files, open an image of each, and count."""
    size = SIZES.get(need.what)
    for split in ("train", "test"):
        found = load(need.what, split, data_root=data_root)
        if isinstance(found, ImageFiles) and (gone := [path for path in found.paths if _is_empty(path)]):
            raise FileNotFoundError(f"{len(gone)} of {len(found)} images to {split} are not there: {few(gone)}")
        found.image(0)
        need.fewer = need.fewer or _fewer(need.what, split, found, data_root)
        if size and isinstance(found, ImageSet):
            need.memory = (size.train + size.test) * size.channels * size.side**2 / 1e9


def _is_empty(path: Path) -> bool:
    """Whether a file is not there, or has nothing in it, as when its archive was extracted in part."""
    return not path.is_file() or path.stat().st_size == 0


def _fewer(name: str, split: str, found: Labelled, data_root: Path | None) -> str:
    """How a split is less than it should be, as far as that is known."""
    size, wanted = SIZES.get(name), fewest_of(name, split)
    if size is None:
        return ""
    fewest, number = int(found.labels.bincount(minlength=len(found.classes)).min()), len(found)
    if name in _LISTS:
        number = len(
            find_path(f"file:{_LISTS[name][split]}", data_root, "a list of images", Path.is_file)
            .read_text(encoding="utf-8")
            .split()
        )
    total = size.test if split == "test" else size.train
    if len(found.classes) == size.classes and (number >= total if wanted is None else fewest >= wanted):
        return ""
    if wanted is None:
        return f"{len(found.classes)} classes, {number} images to {split}; it should have {size.classes}, and {total}"
    said = f"{len(found.classes)} classes, the smallest of {fewest} images to {split}"
    return f"{said}; it should have {size.classes}, and {wanted}"


def _where(name: str) -> str:
    """How a data set is had."""
    if name in TORCHVISION:
        return TORCHVISION[name].by_hand or f'nclib.load("{name}", download=True)'
    return next(how for start, how in _BY_HAND.items() if name.startswith(start))


def _weights(model: str, weights: str, data_root: Path | None) -> Need:
    import timm

    if weights.endswith(".safetensors"):
        need = Need(weights, "python -m workflow.make_weights --help", gigabytes=0.1, of_weights=True)
        return _found(need, f"file:{weights}", data_root, "a file of weights", Path.is_file, _broken)
    if model.startswith("folder:"):
        need = Need(model, "put the files of a Hugging Face model there by hand", of_weights=True)
        return _found(
            need, split_name(model)[0], data_root, "the files of a Hugging Face model", Path.is_dir, _incomplete
        )
    if ":" not in model and "/" not in model and not timm.is_model(model):
        return Need(model, "register it with timm in a module of your own", state="of your imports", of_weights=True)
    file, gigabytes = _in_cache(model, weights)
    need = Need(f"{model} ({weights})", FETCHED, gigabytes=gigabytes, of_weights=True)
    if file is None:
        need.state = FETCHED
    elif broken := _broken(file):
        need.missing, need.state, need.where = broken, "missing", f"delete {file}; it is {FETCHED}"
    return need


def _found(
    need: Need, name: str, data_root: Path | None, what: str, kind: Callable[[Path], bool], fault: Callable[[Path], str]
) -> Need:
    """A need, marked as missing if its file or folder is not in the data root, or has a fault."""
    try:
        need.missing = fault(find_path(name, data_root, what, kind))
    except (OSError, ValueError) as error:
        need.missing = str(error)
    need.state = "missing" if need.missing else need.state
    return need


def _broken(file: Path) -> str:
    """What is wrong with a file of weights, as far as its ends tell; nothing, if they do not."""
    from safetensors import SafetensorError, safe_open

    if _is_empty(file):
        return f"{file} is empty"
    if file.suffix != ".safetensors":
        with file.open("rb") as opened:
            begins = opened.read(4)
        return f"{file} is not whole" if begins == b"PK\x03\x04" and not is_zipfile(file) else ""
    try:
        with safe_open(file, framework="pt"):
            return ""
    except SafetensorError as error:
        return f"{file} is not whole ({error})"


def _incomplete(folder: Path) -> str:
    """What a folder of a Hugging Face model lacks: a configuration, and weights."""
    lacking = [name for name in ("config.json",) if _is_empty(folder / name)]
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    if not weights:
        lacking.append("*.safetensors")
    faults = [*(f"{folder} has no {name}" for name in lacking), *map(_broken, weights)]
    return "; ".join(filter(None, faults))


def _in_cache(model: str, weights: str) -> tuple[Path | None, float | None]:
    """The file of the weights of a named model, if it is on this machine, and how large it is, in GB."""
    from huggingface_hub import try_to_load_from_cache

    if model.startswith("torchvision:"):
        entry = torchvision_weights(model, weights)
        file = Path(torch.hub.get_dir(), "checkpoints", entry.url.rpartition("/")[2])
        return file if file.exists() else None, entry.meta["_file_size"] / 1000
    # As it is set now: huggingface_hub looks at the variable when it is imported.
    cache = Path(os.environ["HF_HOME"], "hub") if "HF_HOME" in os.environ else None
    if "/" in model:
        found = try_to_load_from_cache(model, "config.json", cache_dir=cache)
        whole = isinstance(found, str) and not _incomplete(Path(found).parent)
        return Path(str(found)) if whole else None, None
    found = try_to_load_from_cache(timm_hub(model), "model.safetensors", cache_dir=cache)
    return Path(found) if isinstance(found, str) else None, _parameters(model) * 4 / 1e9


def torchvision_weights(name: str, weights: str) -> Any:
    """The entry of torchvision for the weights that a cell asks for."""
    from torchvision.models import get_model_weights

    known: Any = get_model_weights(name.partition(":")[2])
    return known[weights] if weights in known.__members__ else known.DEFAULT


def timm_hub(name: str) -> str:
    """The repository of timm's weights on the hub."""
    import timm

    return str(timm.get_pretrained_cfg(name).hf_hub_id)  # type: ignore[union-attr]  # timm knows the name


def _parameters(name: str) -> int:
    import timm

    with torch.device("meta"):
        return sum(each.numel() for each in timm.create_model(name).parameters())


def as_text(found: Iterable[Need]) -> str:
    """The needs as a table, and below it what is missing or less than it should be."""
    found = list(found)
    rows = [
        {
            "what": need.what,
            "state": "fewer" if need.fewer else need.state,
            "images": f"{size.train + size.test:,} of {size.classes}" if (size := SIZES.get(need.what)) else "",
            "GB": "" if need.gigabytes is None else f"{need.gigabytes:.2g}",
            "in memory": "" if need.memory is None else f"{need.memory:.2g} GB",
            "studies": ", ".join(sorted(need.studies)),
        }
        for need in found
    ]
    total = sum(need.gigabytes or 0 for need in found)
    if not rows:
        return "nothing that is not installed"
    lines = [pd.DataFrame(rows).to_string(index=False), f"{total:.3g} GB in all, of what is known"]
    lines += [f"MISSING {need.what}: {need.missing}. How to get it: {need.where}" for need in found if need.missing]
    lines += [f"FEWER {need.what}: {need.fewer}" for need in found if need.fewer]
    return "\n".join(lines)
