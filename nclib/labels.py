"""Turn labels of any kind into class numbers and class names, or say what is wrong: one rule for the whole library."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard
from unicodedata import normalize

import numpy as np
import torch
from torch import Tensor

from nclib.arrays import as_tensor, unmasked
from nclib.checks import check_whole, counted, few

Names = Sequence[str] | None  # of the K classes, in the order of their numbers; None if they have no names


def as_labels(values: Any, name: str = "labels") -> Tensor | np.ndarray:
    """Labels of any shape: a tensor for a tensor, else an array of numbers or texts.

    Nothing is guessed: missing or masked entries, texts among numbers, and bytes are errors. Messages call the labels
    by `name`.
    """
    if isinstance(values, Tensor):
        if values.layout != torch.strided:
            raise TypeError(f"{name} are {values.layout}; they must be dense: give their to_dense()")
        if values.is_floating_point():
            _refuse_missing(values.flatten(), values.isnan().flatten().nonzero().flatten().tolist(), name)
        return values.detach()
    if values is None:
        raise ValueError(f"{name} are None; give one for each sample (N,)")
    if hasattr(values, "toarray") and not isinstance(values, np.ndarray):  # np.asarray would take it for one object
        cure = "ravel()" if len(values.shape) < 2 or min(values.shape) <= 1 else "argmax(1), if its rows are one-hot"
        raise TypeError(f"{name} are a sparse {type(values).__name__}; they must be dense: give toarray().{cure}")
    return _of_one_kind(_as_label_array(values, name), name)


def _of_one_kind(array: np.ndarray, name: str) -> np.ndarray:
    """The array if it holds texts, or numbers without NaN; else an error."""
    if array.dtype.kind in "OT":  # objects, or numpy's texts of any length
        return _of_objects(array.astype(object), name)
    if array.dtype.kind not in "biufU":
        kinds = {"S": "bytes", "M": "dates", "m": "times"}
        cure = f": astype(str) makes texts of {kinds[array.dtype.kind]}" if array.dtype.kind in kinds else ""
        raise TypeError(f"{name} are {array.dtype}; they must be integers or texts{cure}")
    if array.dtype.kind == "f":
        _refuse_missing(array.ravel(), np.flatnonzero(np.isnan(array)).tolist(), name)
    return array


def _as_label_array(values: Any, name: str) -> np.ndarray:
    """Labels that are not a tensor, as an array: of objects if a list mixes texts and other things."""
    if isinstance(values, np.ma.MaskedArray):
        values = unmasked(values)
    if isinstance(values, str | set | frozenset | Mapping) or hasattr(values, "__next__"):
        raise TypeError(f"{name} are a {type(values).__name__}; give a list of them, one for each sample (N,)")
    if hasattr(type(values), "to_pylist"):  # Arrow's own arrays cannot hold missing numbers
        values = values.to_pylist()
    if hasattr(values, "to_numpy"):  # pandas columns, also categorical ones
        values = values.to_numpy()
    try:
        array = np.asarray(values)
        if array.dtype.kind != "U" or isinstance(values, np.ndarray):
            return array
        objects = np.asarray(values, dtype=object)  # among texts, numpy turns 1 into "1" and NaN into "nan"
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{type(values).__name__} holds no {name} (N,): {error}") from error
    return array if all(isinstance(entry, str) for entry in objects.flat) else objects


def _of_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Objects that are all texts unchanged; objects that are all numbers as an array of numbers."""
    entries, kinds = array.ravel(), {type(entry) for entry in array.flat}
    if all(issubclass(kind, str) for kind in kinds):
        return array
    missing = [i for i, entry in enumerate(entries) if entry is None or _differs_from_itself(entry)]
    _refuse_missing(entries, missing, name)
    if all(issubclass(kind, int | np.integer | np.bool_ | float | np.floating) for kind in kinds):
        numbers = np.array(array.tolist())
        if numbers.dtype.kind != "O":  # numbers beyond 64 bits remain objects
            return numbers
    given = " and ".join(sorted({kind.__name__ for kind in kinds}))
    raise TypeError(f"Unknown label type: {name} are {given}; they must be all integers, or all texts")


def _refuse_missing(entries: Any, missing: Sequence[int], name: str) -> None:
    """Refuse labels if `missing`, the rows without a label, is not empty."""
    if len(missing):
        row, entry = missing[0], entries[missing[0]]
        raise ValueError(
            f"{name} hold {_shown(entry)} in row {row}, which is not a class; leave out the "
            f"{counted(len(missing), 'sample')} without a label, or give them a class of their own"
        )


def _shown(entry: Any) -> Any:
    """A label, for a message."""
    return entry.item() if isinstance(entry, Tensor) else repr(str(entry)) if isinstance(entry, str) else entry


def _differs_from_itself(entry: Any) -> bool:
    """Whether an entry is NaN, or pandas' NA, whose comparisons are neither true nor false."""
    try:
        return bool(entry != entry)
    except (TypeError, ValueError):
        return True


def class_names(labels: Any, name: str = "labels") -> np.ndarray:
    """Labels (N,) as an array of integers, booleans or texts, checked by `one_each`.

    Texts stay as given. The same text in two Unicode forms would make two classes, and is an error.
    """
    found = one_each(labels, name)
    if is_text(found) and len(texts := {*found.tolist()}) > len({normalize("NFC", text) for text in texts}):
        raise ValueError(
            f"{name} hold one text in two forms of Unicode; give unicodedata.normalize('NFC', label) of each"
        )
    return found.numpy(force=True) if isinstance(found, Tensor) else found


def one_each(labels: Any, name: str = "labels") -> Tensor | np.ndarray:
    """The class of each sample (N,): a tensor for a tensor, else an array of integers, booleans or texts.

    Real numbers must be whole, of at least 32 bits. Labels (N, 1) are accepted with a warning. A blank text is not a
    class, and two texts that differ only in the space around them are an error.
    """
    given, found = labels, as_labels(labels, name)
    real = found.is_floating_point() if isinstance(found, Tensor) else found.dtype.kind == "f"
    if real and found.dtype.itemsize < 4:  # bfloat16 rounds 257 to 256
        raise TypeError(
            f"{name} are {found.dtype}, which rounds large whole numbers, so two classes may have become one; give "
            "the original integers"
        )
    if found.ndim == 2 and found.shape[1] == 1:
        found = _column(found, name)
    if found.ndim != 1:
        table = f"a {type(given).__name__} " if hasattr(given, "iloc") else ""
        raise ValueError(
            f"{name} are {table}{tuple(found.shape)}; y should be a 1d array, a class for each sample (N,)"
            f"{_shape_cure(found, given)}"
        )
    if isinstance(found, Tensor) and found.is_complex():
        raise TypeError(f"{name} are {found.dtype}; they must be integers or texts")
    if real:
        _check_classes(found.numpy(force=True) if isinstance(found, Tensor) else found, name)
    if is_text(found):
        _check_spelling(found, name)
    return found


def is_text(labels: Tensor | np.ndarray) -> TypeGuard[np.ndarray]:
    """Whether labels that `one_each` returned are texts."""
    return isinstance(labels, np.ndarray) and labels.dtype.kind in "UO" and labels.size > 0


def _check_spelling(texts: np.ndarray, name: str) -> None:
    """Refuse blank texts (N,), and texts that differ only in the space around them."""
    spelled: dict[str, str] = {}
    for text in sorted({normalize("NFC", each) for each in {*texts.tolist()}}):
        if not text.strip():
            _refuse_missing(texts, [row for row, each in enumerate(texts.tolist()) if not each.strip()], name)
        alike = spelled.setdefault(text.strip(), text)
        if alike != text:
            raise ValueError(
                f"{name} hold {alike!r} and {text!r}, which differ only in the space around them; give label.strip() "
                "of each"
            )


def _column(array: Any, name: str) -> Any:
    """Labels (N, 1) as (N,), with scikit-learn's warning."""
    from sklearn.exceptions import DataConversionWarning

    warnings.warn(
        f"A column-vector y was passed when a 1d array was expected: {name} are {tuple(array.shape)}; give (N,), for "
        "example with ravel()",
        DataConversionWarning,
        stacklevel=4,
    )
    return array[:, 0]


def _check_classes(array: np.ndarray, name: str) -> None:
    """Refuse real numbers (N,) that are not whole."""
    wrong = np.flatnonzero(~np.isfinite(array) | (array != np.rint(array)))
    if len(wrong):
        raise ValueError(
            f"Unknown label type: {name} hold {array[wrong[0]]} in row {wrong[0]}, which is continuous; "
            "they must be integers or texts: np.digitize(values, edges) makes classes of intervals"
        )


def check_same_kind(labels: np.ndarray, classes: np.ndarray, name: str = "labels") -> None:
    """Refuse texts if the classes are numbers, and numbers if the classes are texts: they could never be equal."""
    given, known = ("texts" if array.dtype.kind in "UO" else "numbers" for array in (labels, classes))
    if len(labels) and given != known:
        raise TypeError(
            f"{name} are {given} ({few(labels[:3].tolist())}, ...), and the classes {known} ({few(classes.tolist())}); "
            "give labels of the same kind as those fitted"
        )


def _shape_cure(labels: Any, given: Any) -> str:
    """How to turn a single row or one-hot rows into labels (N,), for a message; `given` may be a table."""
    if labels.ndim != 2 or not labels.shape[1]:
        return ""
    table = hasattr(given, "iloc")
    if labels.shape[0] == 1:
        return f"; labels{'.iloc' if table else ''}[0] is (N,)"
    return f"; labels{'.to_numpy()' if table else ''}.argmax(1) makes classes of one-hot rows"


def integer_labels(labels: Any) -> Tensor:
    """Numeric labels (N,) as an int64 tensor, which may hold negative numbers; TypeError for texts."""
    found = one_each(labels)
    if is_text(found):
        raise TypeError(
            f"labels are texts ({few([*dict.fromkeys(found.tolist())])}); they must be integers: np.unique(labels, "
            "return_inverse=True)[1] makes numbers of texts"
        )
    return as_tensor(found if isinstance(found, Tensor) or found.size else np.zeros(0, dtype=np.int64)).long()


class Numbered(NamedTuple):
    """Labels int64 (N,) in 0..K-1, and the names of the K classes, or () if they have no names."""

    labels: Tensor
    classes: tuple[str, ...]


def numbered_labels(labels: Any, *, num_classes: int | None = None, classes: Names = None) -> Numbered:
    """Labels (N,) of any kind as class numbers, with the names of the classes.

    Whole numbers keep their value; False is 0 and True is 1. Texts are numbered in the order of `classes`, which may
    include classes that do not occur, or else alphabetically. Texts with `num_classes` but no `classes` are an error.

    >>> numbered_labels(["dog", "cat", "dog"])
    Numbered(labels=tensor([1, 0, 1]), classes=('cat', 'dog'))
    """
    check_whole(1, num_classes=1 if num_classes is None else num_classes)
    found, names = one_each(labels), checked_names(classes, num_classes)
    if is_text(found):
        return _of_texts(found, names, num_classes)
    if not names and num_classes in (None, 2) and found.dtype in (bool, torch.bool):
        names = ("False", "True")
    return Numbered(_in_range(integer_labels(found), len(names) or num_classes, names), names)


def _of_texts(texts: np.ndarray, names: tuple[str, ...], num_classes: int | None) -> Numbered:
    """Texts (N,) as their places among the names."""
    if not names and num_classes is not None:
        raise TypeError(
            f"labels are texts ({few([*dict.fromkeys(texts.tolist())])}), and it is unknown which of "
            f"{counted(num_classes, 'class', 'classes')} each of them is; give the names in order: classes=[...]"
        )
    found, codes = np.unique(texts, return_inverse=True)
    known = [normalize("NFC", text) for text in found.tolist()]
    names = names or tuple(sorted({*known}))
    if strays := sorted({*known} - {*names}):
        raise ValueError(f"labels hold {few(strays)}, which is not among the classes {few(names)}")
    if len({*names}) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"two classes are called {twice!r}, so text labels cannot tell them apart; rename one")
    places = {name: place for place, name in enumerate(names)}
    return Numbered(torch.tensor([places[text] for text in known])[torch.as_tensor(codes)], names)


def checked_names(classes: Names, num_classes: int | None = None) -> tuple[str, ...]:
    """The class names in Unicode's composed form; () for None."""
    if classes is None:
        return ()
    unordered = isinstance(classes, str | set | frozenset | Mapping)  # a dict may number them otherwise
    if unordered or not isinstance(classes, Iterable):
        raise TypeError(f"classes are {classes!r}; give a list of their names, in order")
    names = list(classes)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"classes hold {wrong[0]!r}; their names must be texts")
    if names and num_classes is not None and num_classes != len(names):
        raise ValueError(f"classes are {len(names)} names ({few(names)}), and num_classes is {num_classes}; give one")
    return tuple(normalize("NFC", name) for name in names)


def called(numbers: Sequence[int], names: Sequence[str]) -> list[str] | Sequence[int]:
    """The names of the classes with these numbers; the numbers themselves if there are no names.

    >>> called([1], ["cat", "dog"]), called([1], [])
    (['dog'], [1])
    """
    return [names[number] for number in numbers] if names else numbers


def check_labels(labels: Any, *, num_classes: int | None = None) -> Tensor:
    """Labels (N,) of any kind as int64 in 0..num_classes-1, or from 0 on for None; see `numbered_labels`."""
    return numbered_labels(labels, num_classes=num_classes).labels


def _in_range(labels: Tensor, num_classes: int | None, names: tuple[str, ...]) -> Tensor:
    """The integer labels, if they lie in 0..num_classes-1; else ValueError."""
    if not labels.numel():
        return labels
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        allowed = "0 or more" if num_classes is None else f"0..{num_classes - 1}"
        cure = f" for the classes {few(names)}" if names else ""
        cure += "; leave out samples without a class, or renumber them" if low < 0 else ""
        raise ValueError(f"labels run from {low} to {high}; they must be {allowed}{cure}")
    if num_classes is None and high > 100 * len(labels) + 10_000:
        raise ValueError(
            f"the largest label is {high} for {counted(len(labels), 'label')}; renumber the labels, or give num_classes"
        )
    return labels
