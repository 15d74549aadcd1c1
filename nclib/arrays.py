"""Turn the arrays, tensors, tables and lists that people give into tensors, or raise an error that names the cure."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.checks import counted
from nclib.devices import double_device

_NUMBERS = "biufc"  # kinds of numpy's types that are numbers


def as_tensor(values: Any) -> Tensor:
    """The values as a tensor without a gradient; it shares their memory where possible.

    It moves to the CPU if its own device has no float64. TypeError for what is not an array of numbers.
    """
    given = type(values).__name__
    _check_dense(values)
    if values is None or isinstance(values, str | PathLike | Mapping):
        raise TypeError(f"{given} is not a tensor or array of numbers; give an array (N, d){_about_others(values)}")
    if hasattr(type(values), "to_pylist"):  # Arrow's own arrays cannot hold missing numbers
        values = _of_arrow(values)
    if isinstance(values, np.ma.MaskedArray):
        values = unmasked(values)
    if hasattr(values, "to_numpy"):
        values = _of_table(values)
    if isinstance(values, np.ndarray) and values.dtype.kind not in _NUMBERS:
        raise TypeError(f"{given} is not a tensor or array of numbers: {_about_objects(values)}")
    if isinstance(values, np.ndarray) and (
        not values.flags.writeable or min(values.strides, default=0) < 0 or not values.dtype.isnative
    ):  # torch has no read-only tensors (memory maps are read-only), no negative strides, no foreign byte order
        values = np.array(values, dtype=values.dtype.newbyteorder("="))
    try:
        tensor = torch.as_tensor(_stacked(values)).detach()
        return tensor.to(double_device(tensor.device))
    except (RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{given} is not a tensor or array of numbers: {error}; give an array (N, d)") from error


def _check_dense(values: Any) -> None:
    """Refuse tensors and arrays that do not store a number for each entry."""
    if isinstance(values, Tensor):
        if values.is_nested or values.is_meta:
            what = "is nested; its rows differ in length" if values.is_nested else "on the device meta has no numbers"
            raise TypeError(f"a tensor {what}; give a dense tensor of numbers")
        if values.layout != torch.strided:
            raise TypeError(f"a tensor is {values.layout}; it must be dense: give its to_dense()")
    elif hasattr(values, "toarray") and not isinstance(values, np.ndarray):
        raise TypeError(
            f"{type(values).__name__} is not a tensor or array of numbers: it is sparse, and must be dense; give its "
            "toarray()"
        )


def _about_others(values: Any) -> str:
    """How to get the numbers out of a mapping or a file, for a message."""
    if isinstance(values, Mapping):
        return f", such as values[{next(iter(values))!r}]" if values else ""
    return "" if values is None else ", such as numpy.load(path)"


def columns_of(values: Any) -> list[str] | None:
    """The column names of a table (pandas, polars, Arrow, Hugging Face) or dict; None for anything else.

    >>> columns_of({"text": ["it purrs"], "label": ["cat"]}), columns_of(["it purrs"])
    (['text', 'label'], None)
    """
    if isinstance(values, Mapping):
        return [str(name) for name in values]
    of_arrow = hasattr(type(values), "column_names")  # a pandas column may have this name, too
    names = values.column_names if of_arrow else getattr(values, "columns", None)
    return None if names is None else [str(name) for name in names]


def _of_arrow(values: Any) -> Any:
    """An Arrow table or column as a pandas one; a column of lists becomes a list of arrays."""
    found = values.to_pandas()
    lists = found.ndim == 1 and found.map(type).eq(np.ndarray).all()
    return found.tolist() if lists else found


def _of_table(values: Any) -> np.ndarray:
    """The numbers of a pandas table or column in one type for all columns, NaN where a number is missing.

    pandas itself turns columns with missing values (Float64, double[pyarrow]) into objects.
    """
    array = values.to_numpy()
    if array.dtype != object or not hasattr(values, "dtypes"):
        return array
    columns = values.dtypes if values.ndim == 2 else [values.dtypes]
    try:
        common = np.result_type(*(getattr(dtype, "numpy_dtype", dtype) for dtype in columns))
        return values.to_numpy(dtype=common, na_value=np.nan) if common.kind == "f" else values.to_numpy(dtype=common)
    except (TypeError, ValueError):  # texts, or missing integers
        return array


def _stacked(rows: Any) -> Any:
    """A list of tensors or arrays as one; torch fails on a list of tensors and is slow on a list of arrays."""
    if isinstance(rows, list | tuple) and rows:
        for kind, stack in ((Tensor, torch.stack), (np.ndarray, np.stack)):
            if all(isinstance(row, kind) for row in rows):
                return stack(rows)
    return rows


def _about_objects(array: np.ndarray) -> str:
    """What the array holds instead of numbers, and how to convert it, for a message."""
    if array.dtype != object:
        return f"it holds {array.dtype}; if these are numbers, give its astype(float)"
    others = [entry for entry in array.flat if not isinstance(entry, int | float | np.number)]
    if not others:
        return "it holds numbers as objects; give its astype(float)"
    if isinstance(others[0], np.ndarray | Tensor | list | tuple):
        return f"it holds objects, such as a {type(others[0]).__name__}; np.stack(list(rows)) makes (N, d) of rows"
    return f"it holds {others[0]!r:.40}, which is not a number; leave out such samples or columns"


def unmasked(values: np.ma.MaskedArray) -> np.ndarray:
    """A masked array as a plain one; ValueError if an entry is masked, since its hidden value would count."""
    if np.ma.is_masked(values):
        row = int(np.argwhere(np.ma.getmaskarray(values))[0][0])
        raise ValueError(
            f"{counted(int(np.ma.count_masked(values)), 'entry is', 'entries are')} masked, the first in row {row}; "
            "leave out the samples that have masked entries, or fill these"
        )
    return np.asarray(values)


def note_rounding(features: Tensor, epsilon: float) -> Tensor:
    """The same features, marked as computed with this machine epsilon, whatever their dtype.

    Class statistics use it as their precision. Slices and copies of the features lose the mark.
    """
    features.rounding = epsilon  # type: ignore[attr-defined]  # a tensor takes attributes
    return features


def noted_rounding(features: Any) -> float:
    """The machine epsilon that `note_rounding` attached to the features, or 0."""
    return getattr(features, "rounding", 0.0) if isinstance(features, Tensor) else 0.0


def as_array(values: Any) -> np.ndarray | Tensor:
    """Arrays of numbers unchanged, since they may lie on disk; anything else as a tensor."""
    return values if isinstance(values, np.ndarray) and values.dtype.kind in _NUMBERS else as_tensor(values)


def check_parameter(value: Any, name: str, like: Tensor) -> Tensor:
    """A classifier's weight or bias as a float64 tensor; ValueError if its shape is wrong or it is not finite."""
    value = as_tensor(value).to(like)
    if value.shape != like.shape:
        needed = tuple(like.shape)
        raise ValueError(f"{name} is {tuple(value.shape)}; it must be {needed}, as the classes and features are")
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinity; give finite numbers, or leave the {name} out")
    return value
