"""Arrays, tensors, tables and lists that people give, as tensors of numbers or an error that names the cure."""

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
    """A tensor without a gradient, sharing memory where it can; on the CPU if its own device has no float64."""
    given = type(values).__name__
    _check_dense(values)
    if values is None or isinstance(values, str | PathLike | Mapping):
        raise TypeError(f"{given} is no tensor or array of numbers; give (N, d) of them{_about_others(values)}")
    if hasattr(type(values), "to_pylist"):  # of Arrow, whose own arrays have no missing numbers
        values = _of_arrow(values)
    if isinstance(values, np.ma.MaskedArray):
        values = unmasked(values)
    if hasattr(values, "to_numpy"):
        values = _of_table(values)
    if isinstance(values, np.ndarray) and values.dtype.kind not in _NUMBERS:
        raise TypeError(f"{given} is no tensor or array of numbers: {_about_objects(values)}")
    if isinstance(values, np.ndarray) and (
        not values.flags.writeable or min(values.strides, default=0) < 0 or not values.dtype.isnative
    ):  # torch has no read-only tensors (a memory map is one), nor reversed or foreign ones
        values = np.array(values, dtype=values.dtype.newbyteorder("="))
    try:
        tensor = torch.as_tensor(_stacked(values)).detach()
        return tensor.to(double_device(tensor.device))
    except (RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{given} is no tensor or array of numbers: {error}") from error


def _check_dense(values: Any) -> None:
    """Refuse what does not hold a number for each entry."""
    if isinstance(values, Tensor):
        if values.is_nested or values.is_meta:
            what = "is nested; its rows must be of one length" if values.is_nested else "is on the device meta"
            raise TypeError(f"a tensor {what}, so that it holds no array of numbers")
        if values.layout != torch.strided:
            raise TypeError(f"a tensor is {values.layout}; it must be dense: give its to_dense()")
    elif hasattr(values, "toarray") and not isinstance(values, np.ndarray):
        raise TypeError(
            f"{type(values).__name__} is no tensor or array of numbers: it is sparse, and must be dense; give its "
            "toarray()"
        )


def _about_others(values: Any) -> str:
    """How numbers are had of what holds them under a name."""
    if isinstance(values, Mapping):
        return f", such as values[{next(iter(values))!r}]" if values else ""
    return "" if values is None else ", such as numpy.load(path)"


def columns_of(values: Any) -> list[str] | None:
    """The names of the columns of a table (pandas, polars, Arrow, Hugging Face's) or dict; None of what is none.

    >>> columns_of({"text": ["it purrs"], "label": ["cat"]}), columns_of(["it purrs"])
    (['text', 'label'], None)
    """
    if isinstance(values, Mapping):
        return [str(name) for name in values]
    of_arrow = hasattr(type(values), "column_names")  # a column of pandas may be called so, too
    names = values.column_names if of_arrow else getattr(values, "columns", None)
    return None if names is None else [str(name) for name in names]


def _of_arrow(values: Any) -> Any:
    """A table or column of Arrow as pandas has it; of a column of lists a list of arrays."""
    found = values.to_pandas()
    lists = found.ndim == 1 and found.map(type).eq(np.ndarray).all()
    return found.tolist() if lists else found


def _of_table(values: Any) -> np.ndarray:
    """The numbers of a table or column of pandas, NaN where one is missing, in one type for all columns.

    Of columns that know missing numbers (Float64, double[pyarrow]) pandas itself makes objects.
    """
    array = values.to_numpy()
    if array.dtype != object or not hasattr(values, "dtypes"):
        return array
    columns = values.dtypes if values.ndim == 2 else [values.dtypes]
    try:
        common = np.result_type(*(getattr(dtype, "numpy_dtype", dtype) for dtype in columns))
        return values.to_numpy(dtype=common, na_value=np.nan) if common.kind == "f" else values.to_numpy(dtype=common)
    except (TypeError, ValueError):  # texts, or integers that are missing
        return array


def _stacked(rows: Any) -> Any:
    """A list of tensors, or of arrays, as one: torch takes those for numbers, and is slow with these."""
    if isinstance(rows, list | tuple) and rows:
        for kind, stack in ((Tensor, torch.stack), (np.ndarray, np.stack)):
            if all(isinstance(row, kind) for row in rows):
                return stack(rows)
    return rows


def _about_objects(array: np.ndarray) -> str:
    """What an array holds that is no number, and what makes numbers of it."""
    if array.dtype != object:
        return f"it holds {array.dtype}; if these are numbers, give its astype(float)"
    others = [entry for entry in array.flat if not isinstance(entry, int | float | np.number)]
    if not others:
        return "it holds numbers as objects; give its astype(float)"
    if isinstance(others[0], np.ndarray | Tensor | list | tuple):
        return f"it holds objects, such as a {type(others[0]).__name__}; np.stack(list(rows)) makes (N, d) of rows"
    return f"it holds {others[0]!r:.40}, which is no number; leave out such samples or columns"


def unmasked(values: np.ma.MaskedArray) -> np.ndarray:
    """The plain array of a masked one without a masked entry. (What is below a mask would count as any other.)"""
    if np.ma.is_masked(values):
        row = int(np.argwhere(np.ma.getmaskarray(values))[0][0])
        raise ValueError(
            f"{counted(int(np.ma.count_masked(values)), 'entry is', 'entries are')} masked, the first in row {row}; "
            "leave out the samples that have masked entries, or fill these"
        )
    return np.asarray(values)


def note_rounding(features: Tensor, epsilon: float) -> Tensor:
    """The features themselves, with a note: numbers of this machine epsilon went into them, whatever their dtype.

    Class statistics take it for their precision. A part of the features, or a copy, does not have it.
    """
    features.rounding = epsilon  # type: ignore[attr-defined]  # a tensor takes attributes
    return features


def noted_rounding(features: Any) -> float:
    """What `note_rounding` noted of features, or 0."""
    return getattr(features, "rounding", 0.0) if isinstance(features, Tensor) else 0.0


def as_array(values: Any) -> np.ndarray | Tensor:
    """Arrays of numbers as they are, for they may lie on disk, and anything else as a tensor."""
    return values if isinstance(values, np.ndarray) and values.dtype.kind in _NUMBERS else as_tensor(values)


def check_parameter(value: Any, name: str, like: Tensor) -> Tensor:
    """A classifier's weight or bias as a float64 tensor, once its shape and numbers are right."""
    value = as_tensor(value).to(like)
    if value.shape != like.shape or not torch.isfinite(value).all():
        finite = "finite" if torch.isfinite(value).all() else "not finite"
        raise ValueError(f"{name} is {tuple(value.shape)}, {finite}; these statistics need {tuple(like.shape)}, finite")
    return value
