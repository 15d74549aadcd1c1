"""Tables of features on disk, as the command line reads and writes them; no file can run code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nclib.storage import replacing, save_tensors

NAMES = ("features", "labels", "weight", "bias")


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


def write_table(path: Path, table: Mapping[str, torch.Tensor]) -> None:
    """Write tensors by name to a .safetensors or .npz file, atomically."""
    check_output(path)
    if path.suffix == ".safetensors":
        return save_tensors(path, dict(table), {"kind": "table"})
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {name: values.numpy(force=True) for name, values in table.items()}
        np.savez(file, **arrays)


def check_output(path: Path) -> None:
    """Refuse what a table cannot be written to, before there is a table."""
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"{path} ends in {path.suffix!r}; a table is written to .safetensors or .npz")


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
    from safetensors.torch import load_file

    return load_file(path)


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".npz": _read_npz,
    ".npy": lambda path: np.load(path, mmap_mode="r", allow_pickle=False),
    ".safetensors": _read_safetensors,
    ".pt": lambda path: torch.load(path, map_location="cpu", weights_only=True),
}
