"""Tables of features on disk, as the command line reads and writes them; no file can run code."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nclib.statistics import ClassStatistics
from nclib.storage import load_tensors, replacing, save_tensors

NAMES = ("features", "labels", "weight", "bias")
WRITTEN = (".safetensors", ".npz", ".parquet")  # how files of tables end that are written here


def read_features(path: Path, labels: Path | None = None) -> dict[str, Any]:
    """What `nclib.measure` takes of a file: a table as of `read_table`, or class statistics, read or gathered.

    A .parquet file, or a folder of them, is passed over batch by batch and may be larger than memory.
    """
    if labels is None and (path.suffix == ".parquet" or path.is_dir()):
        from nclib.arrow import arrow_statistics

        return {"features": arrow_statistics(path)}
    if path.suffix == ".safetensors" and path.is_file() and _kind(path) == "class statistics":
        return {"features": ClassStatistics.load(path)}
    return read_table(path, labels)


def _kind(path: Path) -> str | None:
    """What nclib wrote a safetensors file for; None if it did not."""
    from safetensors import SafetensorError, safe_open

    with contextlib.suppress(SafetensorError, ValueError), safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("metadata", "{}")).get("kind")
    return None


def read_table(path: Path, labels: Path | None = None) -> dict[str, Any]:
    """Features and labels, and weight and bias of a classifier where they are stored, by name.

    `path` is an .npz, .safetensors or .pt file that holds them by these names, or an .npy file of features with
    another one of labels. An .npy file is mapped, not read, so it may be larger than memory.

    Raises ValueError, saying what was found and what is needed, for anything else.
    """
    if path.suffix not in READERS:
        raise ValueError(f"{path} ends in {path.suffix!r}; it must be one of {', '.join(READERS)}")
    if (path.suffix == ".npy") != (labels is not None):
        raise ValueError("a file of labels goes with features in an .npy file, and only there: features.npy labels.npy")
    table = _read(path) if labels is None else {"features": _read(path), "labels": _read(labels)}
    if not isinstance(table, Mapping) or not {"features", "labels"} <= table.keys():
        held = f"holds {', '.join(map(str, table)) or 'nothing'}" if isinstance(table, Mapping) else "is no mapping"
        raise ValueError(f"{path} {held}; it must hold features and labels, and may hold weight and bias")
    return {name: table[name] for name in NAMES if name in table}


def write_features(path: Path, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> int:
    """Write batches of features (B, d) and labels (B,) to one file, atomically; the number of features d.

    Those for a .parquet file are not in memory at once; .safetensors and .npz are written in the end.
    """
    check_output(path)
    if path.suffix == ".parquet":
        from nclib.arrow import write_arrow

        return write_arrow(path, ((values.numpy(force=True), labels.numpy()) for values, labels in batches))
    features, labels = map(torch.cat, zip(*batches, strict=True))
    if path.suffix == ".safetensors":
        save_tensors(path, {"features": features, "labels": labels}, {"kind": "table"})
    else:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, features=features.numpy(force=True), labels=labels.numpy())
    return features.shape[1]


def check_output(path: Path) -> None:
    """Refuse what a table cannot be written to, before there is a table."""
    if path.suffix not in WRITTEN:
        raise ValueError(f"{path} ends in {path.suffix!r}; a table is written to {', '.join(WRITTEN)}")


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        return READERS[path.suffix](path)
    except Exception as error:  # each reader has errors of its own, and all mean the same here
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a readable {path.suffix} file: {reason}") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name in NAMES} | dict.fromkeys(set(file.files) - set(NAMES))


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    if _kind(path):  # then it has a digest
        return load_tensors(path)[0]
    from safetensors.torch import load_file

    return load_file(path)


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".npz": _read_npz,
    ".npy": lambda path: np.load(path, mmap_mode="r", allow_pickle=False),
    ".safetensors": _read_safetensors,
    ".pt": lambda path: torch.load(path, map_location="cpu", weights_only=True),
}
