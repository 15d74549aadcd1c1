"""Data sets of the Hugging Face hub, or saved by its library `datasets`, which this module needs."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from nclib.data.folders import SPLIT_NAMES
from nclib.data.places import given_root
from nclib.extras import optional

_SAVED = ("dataset_dict.json", "state.json")  # `save_to_disk` writes one of them


def hub_splits(name: str, data_root: str | Path | None = None) -> dict[str, Any]:
    """The splits of ``hf:NAME`` or ``hf:NAME:CONFIGURATION``, by our names for them if we have one, else their own.

    NAME is a name on the hub, or a folder, in the data root or elsewhere, that `save_to_disk` wrote. `val` stands in
    for a missing `test`; a set without splits is ``all``.
    """
    with optional("datasets"):
        datasets = import_module("datasets")
    place, _, configuration = name.removeprefix("hf:").partition(":")
    if not place.strip():  # an empty name would mean the working directory
        raise ValueError(f"{name} names no data set; give one, hf:NAME")
    given = Path(place).expanduser()
    folder = next((path for path in (Path(given_root(data_root) or ".") / given, given) if path.is_dir()), None)
    if folder is not None and any((folder / file).exists() for file in _SAVED):
        data = datasets.load_from_disk(str(folder))
    else:
        data = datasets.load_dataset(str(folder or place), configuration or None)
    if not isinstance(data, Mapping):
        return {"all": data}
    splits = {_ours(split): each for split, each in data.items()}
    if len(splits) < len(data):
        raise ValueError(f"{name} has the splits {', '.join(data)}; two of them name the same split: keep one")
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    return splits if len(splits) > 1 else {"all": next(iter(splits.values()))}


def _ours(split: str) -> str:
    """Our name for a split, or its own if we have none."""
    return next((ours for ours, names in SPLIT_NAMES.items() if split.lower() in names), split)
