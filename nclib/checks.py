"""What metrics, scores and probes can be computed from, and what is said about anything else."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeGuard
from unicodedata import normalize

import numpy as np
import torch
from torch import Tensor

from nclib.devices import double_device

_BLOCK = 2**18  # numbers converted to float64 at once: 2 MB stay in a processor's cache
_LEAST_ROWS, _MOST_ROWS = 64, 2048  # of a block
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Names = Sequence[str] | None  # of the K classes, in the order of their numbers; None if nobody named them
LARGEST = 1e60  # of a feature: sums of its fourth power still fit into a float64


class SetupError(ValueError):
    """Data or a model cannot be had as they are asked for, so that nothing was computed yet."""


@contextmanager
def setting_up() -> Iterator[None]:
    """Within it a ValueError is a `SetupError`.

    >>> with setting_up():
    ...     raise ValueError("there is no such data set")
    Traceback (most recent call last):
    nclib.checks.SetupError: there is no such data set
    """
    try:
        yield
    except ValueError as error:
        raise SetupError(str(error)) from error.__cause__


def as_tensor(values: Any) -> Tensor:
    """A tensor without a gradient, sharing memory where it can; on the CPU if its own device has no float64."""
    given = type(values).__name__
    _check_dense(values)
    if isinstance(values, np.ma.MaskedArray):
        values = unmasked(values)
    if hasattr(values, "to_numpy"):
        values = _of_table(values)
    if isinstance(values, np.ndarray) and values.dtype == object:
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
    """What an array of objects holds that is no number, and what makes numbers of it."""
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
    return values if isinstance(values, np.ndarray) and values.dtype != object else as_tensor(values)


@dataclass(frozen=True)
class Samples:
    """Features (N, d), which may lie on disk, and labels int64 (N,) of the right shapes, N at least 1.

    What takes features and labels takes this in the place of both, so that nothing is checked twice: labels, and the
    number or names of classes, beside it are not looked at. `checked` says whether the values of the features were,
    too, `stats` are their class statistics, where these were gathered, `rounding` is what was noted of them, and
    `classes` are the K names of classes, if they have any.
    """

    features: Any
    labels: Tensor
    checked: bool = False
    stats: Any = None
    rounding: float = 0.0
    classes: tuple[str, ...] = ()


def samples_of(features: Any, labels: Any, *, num_classes: int | None = None, classes: Names = None) -> Samples:
    """Features and labels as samples, or what is wrong with them; samples as they are."""
    if isinstance(features, Samples):
        return features
    rounding, features, found = noted_rounding(features), as_array(features), one_each(labels)
    check_shapes(features, found)
    if not len(features):
        raise ValueError("there are no samples: features has 0 rows")
    numbers, names = numbered_labels(found, num_classes=num_classes, classes=classes)
    return Samples(features, numbers, rounding=rounding, classes=names)


def check_features(
    features: Any, labels: Any, *, num_classes: int | None = None, classes: Names = None
) -> tuple[Tensor, Tensor]:
    """Return features (N, d) and labels (N,) as tensors on one device, or say what is wrong with them."""
    if isinstance(features, Samples):
        rows = as_tensor(features.features)
        return rows if features.checked else check_values(rows), features.labels.to(rows.device)
    features, found = as_tensor(features), one_each(labels)
    check_shapes(features, found)
    numbers = numbered_labels(found, num_classes=num_classes, classes=classes).labels
    return check_values(features), numbers.to(features.device)


def check_shapes(features: Any, labels: Any) -> None:
    """Refuse what is not (N, d) with d >= 1 and (N,)."""
    if features.ndim != 2 or labels.ndim != 1 or len(features) != len(labels):
        cure = "; features.reshape(-1, 1) is (N, 1)" if features.ndim == 1 else shape_cure(labels)
        raise ValueError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)} must be (N, d) and (N,){cure}"
        )


def row_blocks(features: Any, *, checked: bool = False) -> Iterator[tuple[int, Tensor]]:
    """Consecutive rows of features (N, d), checked unless they are, each block with the number of its first row.

    A block fits into a processor's cache once it is float64, and an array on disk is read block by block.
    """
    rows = min(_MOST_ROWS, max(_LEAST_ROWS, _BLOCK // max(1, features.shape[1])))
    for start in range(0, len(features), rows):
        block = as_tensor(features[start : start + rows])
        yield start, block if checked else check_values(block, first_row=start)


def with_bar(blocks: Iterable[tuple[int, Tensor]], total: int) -> Iterator[tuple[int, Tensor]]:
    """The same blocks, with a progress bar in samples if they take more than a second."""
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="samples", unit_scale=True, delay=1, leave=False) as bar:
        for start, block in blocks:
            yield start, block
            bar.update(len(block))


def check_values(features: Tensor, *, first_row: int = 0) -> Tensor:
    """Return the features if they are floating point, finite and of a size that can be squared."""
    if features.dtype not in _FLOATS:
        whole = not (features.is_complex() or features.is_floating_point() or features.is_quantized)
        cure = "; if they are numbers, give features.float(), or astype(float)" if whole else ""
        raise TypeError(f"features are {features.dtype}; they must be floating point of 16 to 64 bits{cure}")
    if not torch.isfinite(features.sum()):  # cheap; a sum can also overflow, so only the rows decide
        bad = (~torch.isfinite(features).all(1)).nonzero().flatten()
        if len(bad):
            half = f"; {features.dtype} has none above 65504: compute them in float32"
            cure = half if features.dtype == torch.float16 else ""
            raise ValueError(f"features hold NaN or infinity, the first in row {first_row + int(bad[0])}{cure}")
    if features.dtype == torch.float64 and features.numel() and features.abs().max() > LARGEST:
        raise ValueError(f"features reach {features.abs().max():.1e}, more than {LARGEST:.0e}; scale them down")
    return features


def as_labels(values: Any, name: str = "labels") -> Tensor | np.ndarray:
    """Labels of any shape as a tensor, if they are one, or an array of numbers or texts, or what is wrong with them.

    Nothing is guessed: entries that are missing or masked, texts among numbers, and bytes are errors. Their messages
    call the labels by the name.
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
    """Numbers without NaN, or texts, or what is wrong with them."""
    if array.dtype.kind in "OT":  # objects, or numpy's texts of any length
        return _of_objects(array.astype(object), name)
    if array.dtype.kind not in "biufU":
        cure = ": astype(str) makes texts of bytes" if array.dtype.kind == "S" else ""
        raise TypeError(f"{name} are {array.dtype}; they must be integers or texts{cure}")
    if array.dtype.kind == "f":
        _refuse_missing(array.ravel(), np.flatnonzero(np.isnan(array)).tolist(), name)
    return array


def _as_label_array(values: Any, name: str) -> np.ndarray:
    """An array of what is no tensor; of a list of texts and other things, an array of these objects."""
    if isinstance(values, np.ma.MaskedArray):
        values = unmasked(values)
    if hasattr(values, "to_numpy"):  # columns of pandas, categorical ones too
        values = values.to_numpy()
    try:
        array = np.asarray(values)
        if array.dtype.kind != "U" or isinstance(values, np.ndarray):
            return array
        objects = np.asarray(values, dtype=object)  # numpy makes "1" of 1 among texts, and "nan" of NaN
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{type(values).__name__} holds no {name} (N,): {error}") from error
    return array if all(isinstance(entry, str) for entry in objects.flat) else objects


def _of_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Objects that are all texts as they are, objects that are all numbers as numbers."""
    entries, kinds = array.ravel(), {type(entry) for entry in array.flat}
    if all(issubclass(kind, str) for kind in kinds):
        return array
    missing = [i for i, entry in enumerate(entries) if entry is None or _differs_from_itself(entry)]
    _refuse_missing(entries, missing, name)
    if all(issubclass(kind, int | np.integer | np.bool_ | float | np.floating) for kind in kinds):
        numbers = np.array(array.tolist())
        if numbers.dtype.kind != "O":  # as they are beyond 64 bits
            return numbers
    given = " and ".join(sorted(kind.__name__ for kind in kinds))
    raise TypeError(f"Unknown label type: {name} are {given}; they must be all integers, or all texts")


def _refuse_missing(entries: Any, missing: Sequence[int], name: str) -> None:
    """Refuse labels, if the rows of those that are missing are not empty."""
    if len(missing):
        row, entry = missing[0], entries[missing[0]]
        raise ValueError(
            f"{name} hold {_shown(entry)} in row {row}, which is no class; leave out the "
            f"{counted(len(missing), 'sample')} without a label, or give them a class of their own"
        )


def _shown(entry: Any) -> Any:
    """A label, for a message."""
    return entry.item() if isinstance(entry, Tensor) else repr(str(entry)) if isinstance(entry, str) else entry


def _differs_from_itself(entry: Any) -> bool:
    """Whether an entry is NaN, or what pandas has for it, whose comparison is neither true nor false."""
    try:
        return bool(entry != entry)
    except (TypeError, ValueError):
        return True


def class_names(labels: Any, name: str = "labels") -> np.ndarray:
    """Labels (N,) of samples as an array of the names of classes: integers, booleans, or texts; as of `one_each`.

    Texts are as they were given, so that two forms of Unicode of one, which would be two classes, are an error.
    """
    found = one_each(labels, name)
    if is_text(found) and len(texts := {*found.tolist()}) > len({normalize("NFC", text) for text in texts}):
        raise ValueError(
            f"{name} hold one text in two forms of Unicode; give unicodedata.normalize('NFC', label) of each"
        )
    return found.numpy(force=True) if isinstance(found, Tensor) else found


def one_each(labels: Any, name: str = "labels") -> Tensor | np.ndarray:
    """The class of each sample (N,): a tensor, if labels are one, or an array of integers, booleans or texts.

    A real number is a class if it is a whole one, and has the bits for it. Labels (N, 1) are taken with a warning. A
    blank text is no class, and two that differ only in the space around them are an error.
    """
    given, found = labels, as_labels(labels, name)
    real = found.is_floating_point() if isinstance(found, Tensor) else found.dtype.kind == "f"
    if real and found.dtype.itemsize < 4:  # bfloat16 makes 256 of 257
        raise TypeError(
            f"{name} are {found.dtype}, which rounds large whole numbers, so that classes may have become one; make "
            "them integers where they come from"
        )
    if found.ndim == 2 and found.shape[1] == 1:
        found = _column(found, name)
    if found.ndim != 1:
        table = f"a {type(given).__name__} " if hasattr(given, "iloc") else ""
        raise ValueError(
            f"{name} are {table}{tuple(found.shape)}; y should be a 1d array, a class for each sample (N,)"
            f"{shape_cure(found, given)}"
        )
    if found.is_complex() if isinstance(found, Tensor) else found.dtype.kind == "c":
        raise TypeError(f"{name} are {found.dtype}; they must be integers or texts")
    if real:
        _check_whole(found.numpy(force=True) if isinstance(found, Tensor) else found, name)
    if is_text(found):
        _check_spelling(found, name)
    return found


def is_text(labels: Tensor | np.ndarray) -> TypeGuard[np.ndarray]:
    """Whether labels of `one_each` are texts."""
    return isinstance(labels, np.ndarray) and labels.dtype.kind in "UO" and labels.size > 0


def _check_spelling(texts: np.ndarray, name: str) -> None:
    """Refuse texts (N,) that are blank, and two that look alike."""
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
    """The labels (N,) of a column (N, 1), with scikit-learn's warning."""
    from sklearn.exceptions import DataConversionWarning

    warnings.warn(
        f"A column-vector y was passed when a 1d array was expected: {name} are {tuple(array.shape)}; give (N,), for "
        "example with ravel()",
        DataConversionWarning,
        stacklevel=4,
    )
    return array[:, 0]


def _check_whole(array: np.ndarray, name: str) -> None:
    """Refuse real numbers (N,) that are no whole ones."""
    wrong = np.flatnonzero(~np.isfinite(array) | (array != np.rint(array)))
    if len(wrong):
        raise ValueError(
            f"Unknown label type: {name} hold {array[wrong[0]]} in row {wrong[0]}, which is continuous; "
            "they must be integers or texts: np.digitize(values, edges) makes classes of intervals"
        )


def check_same_kind(labels: np.ndarray, classes: np.ndarray, name: str = "labels") -> None:
    """Refuse texts where the classes are numbers, and numbers where they are texts: none could be equal."""
    given, known = ("texts" if array.dtype.kind in "UO" else "numbers" for array in (labels, classes))
    if len(labels) and given != known:
        raise TypeError(
            f"{name} are {given} ({few(labels[:3].tolist())}, ...), and the classes {known} ({few(classes.tolist())}); "
            "give labels of the kind that was fitted"
        )


def shape_cure(labels: Any, given: Any = None) -> str:
    """What makes labels (N,) of a column, a row or one-hot rows, for a message; `given` may have been a table."""
    if labels.ndim != 2 or not labels.shape[1]:
        return ""
    table = hasattr(given, "iloc")
    if labels.shape[1] == 1:
        return f"; labels{'.iloc' if table else ''}[:, 0] is (N,)"
    if labels.shape[0] == 1:
        return f"; labels{'.iloc' if table else ''}[0] is (N,)"
    return f"; labels{'.to_numpy()' if table else ''}.argmax(1) makes classes of one-hot rows"


def integer_labels(labels: Any) -> Tensor:
    """Labels (N,) that are numbers as integers, which may be negative, or what is wrong with them."""
    found = one_each(labels)
    if is_text(found):
        raise TypeError(
            f"labels are texts ({few(found.tolist())}); they must be integers: np.unique(labels, "
            "return_inverse=True)[1] makes numbers of texts"
        )
    return as_tensor(found if isinstance(found, Tensor) or found.size else np.zeros(0, dtype=np.int64)).long()


class Numbered(NamedTuple):
    """Labels int64 (N,) in 0..K-1, and the names of the K classes; none of numbers that nobody named."""

    labels: Tensor
    classes: tuple[str, ...]


def numbered_labels(labels: Any, *, num_classes: int | None = None, classes: Names = None) -> Numbered:
    """Labels (N,) of any kind as numbers, with the names of their classes, or what is wrong with them.

    Integers and whole numbers are as they are, booleans 0 and 1. Texts are numbered in the order of `classes`, which
    may be more than occur, else in that of the alphabet; an error among `num_classes` that have no names.

    >>> numbered_labels(["dog", "cat", "dog"])
    Numbered(labels=tensor([1, 0, 1]), classes=('cat', 'dog'))
    """
    check_least(1, num_classes=1 if num_classes is None else num_classes)
    found, names = one_each(labels), checked_names(classes, num_classes)
    if is_text(found):
        return _of_texts(found, names, num_classes)
    if not names and num_classes in (None, 2) and found.dtype in (bool, torch.bool):
        names = ("False", "True")
    return Numbered(_in_range(integer_labels(found), len(names) or num_classes, names), names)


def _of_texts(texts: np.ndarray, names: tuple[str, ...], num_classes: int | None) -> Numbered:
    """Texts (N,) by their places among the names."""
    if not names and num_classes is not None:
        raise TypeError(
            f"labels are texts ({few(texts.tolist())}), and nobody knows which of "
            f"{counted(num_classes, 'class', 'classes')} each of them is; give the names in order: classes=[...]"
        )
    found, codes = np.unique(texts, return_inverse=True)
    known = [normalize("NFC", text) for text in found.tolist()]
    names = names or tuple(sorted({*known}))
    if strays := sorted({*known} - {*names}):
        raise ValueError(f"labels hold {few(strays)}, which is not among the classes {few(names)}")
    if len({*names}) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"two classes are called {twice!r}, so that texts do not tell them apart; rename one")
    places = {name: place for place, name in enumerate(names)}
    return Numbered(torch.tensor([places[text] for text in known])[torch.as_tensor(codes)], names)


def checked_names(classes: Names, num_classes: int | None = None) -> tuple[str, ...]:
    """Names of classes in Unicode's composed form, or what is wrong with them; () of None."""
    if classes is None:
        return ()
    names = [] if isinstance(classes, str | int) else list(classes)
    if not names and isinstance(classes, str | int):
        raise TypeError(f"classes are {classes!r}; give a list of their names, in order")
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"classes hold {wrong[0]!r}, a {type(wrong[0]).__name__}; their names must be texts")
    if names and num_classes is not None and num_classes != len(names):
        raise ValueError(f"classes are {len(names)} names ({few(names)}), and num_classes is {num_classes}; give one")
    return tuple(normalize("NFC", name) for name in names)


def called(numbers: Sequence[int], names: Sequence[str]) -> list[str] | Sequence[int]:
    """The names of classes of these numbers; the numbers themselves without names.

    >>> called([1], ["cat", "dog"]), called([1], [])
    (['dog'], [1])
    """
    return [names[number] for number in numbers] if names else numbers


def check_labels(labels: Any, *, num_classes: int | None = None) -> Tensor:
    """Labels (N,) of any kind as int64 in 0..num_classes-1, or of any number of classes; see `numbered_labels`."""
    return numbered_labels(labels, num_classes=num_classes).labels


def _in_range(labels: Tensor, num_classes: int | None, names: tuple[str, ...]) -> Tensor:
    """The integers if they are in 0..num_classes-1."""
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
            f"the largest label is {high} for {counted(len(labels), 'sample')}; renumber the labels, or give "
            "num_classes"
        )
    return labels


def counted(number: int, one: str, several: str = "") -> str:
    """How many there are, in words.

    >>> counted(1, "image"), counted(2_000, "image"), counted(2, "class", "classes")
    ('1 image', '2,000 images', '2 classes')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def check_least(least: float, **numbers: Any) -> None:
    """Refuse numbers, by their names, below the least, and what is no number."""
    for name, number in numbers.items():
        if not is_number(number):
            raise ValueError(f"{name} is {number!r}; it must be a number, at least {least}")
        if not number >= least:
            raise ValueError(f"{name} is {number}; it must be at least {least}")


def check_whole(least: int, **numbers: Any) -> None:
    """Refuse numbers, by their names, that are no whole ones, or below the least."""
    for name, number in numbers.items():
        if not (is_number(number) and isinstance(_plain(number), Integral)):
            raise ValueError(f"{name} is {number!r}; it must be a whole number, at least {least}")
    check_least(least, **numbers)


def is_number(value: Any) -> bool:
    """Whether this is a real number, of Python, numpy or torch, and neither true nor false.

    >>> is_number(2), is_number(np.float32(0.5)), is_number("2"), is_number(True)
    (True, True, False, False)
    """
    return isinstance(_plain(value), Real) and not isinstance(_plain(value), bool)


def _plain(value: Any) -> Any:
    """The number of Python in a tensor or array without dimensions."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def check_known(known: Iterable[str], **names: str) -> None:
    """Refuse what is not among the known names, and list these."""
    for what, name in names.items():
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")


def listed_names(given: Any, name: str) -> list[str]:
    """Names, one or several, as a list, or what is wrong with what was given under this name.

    >>> listed_names("nc1", "metrics"), listed_names(("nc1", "cdnv"), "metrics")
    (['nc1'], ['nc1', 'cdnv'])
    """
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if wrong := [each for each in names if not isinstance(each, str)]:
        raise TypeError(f"{name} hold {wrong[0]!r}; give a name, or a list of names")
    if joined := [each for each in names if "," in each]:
        parts = [part.strip() for part in joined[0].split(",")]
        raise ValueError(f"{name} hold {joined[0]!r}, which is several names in one; give a list: {parts}")
    return names


def few(names: Sequence[object]) -> str:
    """The first five names, for a message, and how many more there are.

    >>> few(range(8))
    '0, 1, 2, 3, 4 and 3 more'
    """
    return ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def check_parameter(value: Any, name: str, like: Tensor) -> Tensor:
    """A classifier's weight or bias as a float64 tensor, once its shape and numbers are right."""
    value = as_tensor(value).to(like)
    if value.shape != like.shape or not torch.isfinite(value).all():
        finite = "finite" if torch.isfinite(value).all() else "not finite"
        raise ValueError(f"{name} is {tuple(value.shape)}, {finite}; these statistics need {tuple(like.shape)}, finite")
    return value
