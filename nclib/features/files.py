"""Tables of features on disk, as the command line reads and writes them; none of the formats can run code."""

import contextlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from nclib.extras import optional
from nclib.metrics.statistics import ClassStatistics
from nclib.storage import load_tensors, replacing, save_tensors

NAMES = ("features", "labels", "weight", "bias", "classes")
WRITTEN = (".safetensors", ".npz", ".parquet")  # the suffixes of tables that we write


def read_features(path: Path, labels: Path | None = None) -> dict[str, Any]:
    """The arguments of `nclib.measure` from a file: a table, see `read_table`, or class statistics.

    Class statistics are read from a file, or gathered batch by batch from a .parquet file or a folder of them, which
    may be larger than memory.
    """
    if labels is None and (path.suffix == ".parquet" or path.is_dir()):
        return {"features": arrow_statistics(path)}
    if path.suffix == ".safetensors" and path.is_file() and _kind(path) == "class statistics":
        return {"features": ClassStatistics.load(path)}
    return read_table(path, labels)


def _kind(path: Path) -> str | None:
    """The kind of a safetensors file that nclib wrote; None for other files."""
    return _metadata(path).get("kind")


def _metadata(path: Path) -> dict[str, Any]:
    """The metadata that nclib wrote into a safetensors file; empty for other files."""
    from safetensors import SafetensorError, safe_open

    with contextlib.suppress(SafetensorError, ValueError), safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("metadata", "{}"))
    return {}


def read_table(path: Path, labels: Path | None = None) -> dict[str, Any]:
    """Read features and labels, and, if stored, a classifier's weight and bias and the class names, by name.

    `path` is an .npz, .safetensors or .pt file that holds them under these names, or an .npy file of features with
    another of `labels`. An .npy file is mapped, not read, so it may be larger than memory. Labels are integers, or,
    except in .safetensors, texts.

    ValueError for any other file; it says what was found and what is needed.
    """
    if (path.suffix == ".npy") != (labels is not None):
        raise ValueError(
            f"{path} is given with {f'labels {labels}' if labels else 'no file of labels'}; an .npy file of features "
            "needs one of labels (features.npy labels.npy), and no other file takes one"
        )
    if path.suffix not in READERS:
        kinds = ", ".join([*READERS, ".parquet"])
        raise ValueError(
            f"{path} ends in {path.suffix!r}; it must be one of {kinds}: np.savez('features.npz', features=..., "
            "labels=...) writes one"
        )
    if labels is not None and labels.suffix != ".npy":
        raise ValueError(f"{labels} ends in {labels.suffix!r}; labels are an .npy file: np.save('labels.npy', labels)")
    table = _read(path) if labels is None else {"features": _read(path), "labels": _read(labels)}
    if not isinstance(table, Mapping) or not {"features", "labels"} <= table.keys():
        held = f"holds {', '.join(map(str, table)) or 'nothing'}" if isinstance(table, Mapping) else "holds no dict"
        raise ValueError(f"{path} {held}; it must hold features and labels, and may hold weight and bias")
    classes = _texts_in(table.get("classes"))
    named = {"classes": classes} if classes else {}
    return {name: table[name] for name in NAMES if name in table and name != "classes"} | named


def _texts_in(held: Any) -> tuple[str, ...]:
    """Class names as a file holds them; () if the entry is something else, such as numbers."""
    names = np.asarray(held).tolist() if isinstance(held, np.ndarray | list | tuple) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def write_features(
    path: Path, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], classes: Sequence[str] = ()
) -> int:
    """Write batches of features (B, d) and labels (B,) to one file, atomically; returns d.

    The class names are stored, too; `read_classes` reads them. A .parquet file is written batch by batch; .safetensors
    and .npz files are written at the end, from memory.
    """
    if path.suffix not in WRITTEN:
        raise ValueError(f"{path} ends in {path.suffix!r}; it must end in {', '.join(WRITTEN)}")
    if path.suffix == ".parquet":
        return write_arrow(path, ((values.numpy(force=True), labels.numpy()) for values, labels in batches), classes)
    features, labels = map(torch.cat, zip(*batches, strict=True))
    if path.suffix == ".safetensors":
        save_tensors(path, {"features": features, "labels": labels}, {"kind": "table", "classes": list(classes)})
    else:
        with replacing(path) as temporary, temporary.open("wb") as file:
            named: dict[str, Any] = {"classes": np.array(classes, dtype=str)} if classes else {}
            np.savez(file, features=features.numpy(force=True), labels=labels.numpy(), **named)
    return features.shape[1]


def read_classes(path: Path | str) -> tuple[str, ...]:
    """The class names stored in a file of features or class statistics, in the order of the labels; () if none.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "features.npz")
    ...     _ = write_features(path, [(torch.eye(2), torch.tensor([0, 1]))], ["cat", "dog"])
    ...     read_classes(path)
    ('cat', 'dog')
    """
    path = Path(path)
    if path.suffix == ".parquet":
        return _classes_of(_dataset(path, "features", "labels"))
    if path.suffix == ".safetensors" and path.is_file():
        return tuple(_metadata(path).get("classes", ()))
    if path.suffix != ".npz":
        raise ValueError(f"{path} keeps no names of classes; only files that end in {', '.join(WRITTEN)} do")
    return _texts_in(_read(path, partial(_read_npz, names=["classes"])).get("classes"))


def _read(path: Path, reader: Callable[[Path], Any] | None = None) -> Any:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        return (reader or READERS[path.suffix])(path)
    except Exception as error:  # each reader has its own errors, and all mean the same here
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a readable {path.suffix} file: {reason}") from error


@contextmanager
def _without_objects(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Replace a reader's refusal of pickled objects by a short message without advice to unpickle them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warnings say the same
            yield
    except errors as error:
        if isinstance(error, ValueError) and "bject" not in str(error):
            raise
        raise ValueError(
            f"it holds more than {what}, which could run code, or is damaged; save arrays of numbers, or texts after "
            "astype(str), by np.savez(path, features=..., labels=...), or tensors by torch.save({'features': "
            "torch.as_tensor(features), ...}, path)"
        ) from None


def _read_npz(path: Path, names: Sequence[str] = NAMES) -> dict[str, np.ndarray | None]:
    """The arrays with these names; other entries are None and not read."""
    with _without_objects("arrays of numbers or texts", ValueError), np.load(path, allow_pickle=False) as file:
        return {name: file[name] if name in names else None for name in file.files}


def _read_safetensors(path: Path) -> dict[str, Any]:
    if _kind(path):  # then it has a digest
        tensors, metadata = load_tensors(path)
        return tensors | {"classes": metadata.get("classes")}
    from safetensors.torch import load_file

    return load_file(path)


def _read_npy(path: Path) -> np.ndarray:
    with _without_objects("arrays of numbers or texts", ValueError):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_pt(path: Path) -> Any:
    with _without_objects("tensors", UnpicklingError, IndexError, EOFError, RuntimeError):
        return torch.load(path, map_location="cpu", weights_only=True)


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".safetensors": _read_safetensors,
    ".pt": _read_pt,
}

_AHEAD = {"batch_readahead": 1, "fragment_readahead": 1}  # batches and files to read ahead: few, to save memory


def arrow_batches(
    path: Path | str, *, features: str = "features", labels: str = "labels", batch_size: int = 16_384
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of features (B, d) and labels (B,) from a Parquet file or a folder of them. Needs the extra ``arrow``.

    `features` names a column of lists of d floats each, and `labels` a column of integers, texts or booleans. Both
    come as numpy arrays of the column's type, texts as objects. A batch has at most `batch_size` rows, and
    `ClassStatistics.from_batches` takes it. Row groups are decoded as a whole, as they were written.

    Raises ValueError for other columns, a missing number or label, or lists of several lengths.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = write_arrow(Path(folder, "features.parquet"), [(np.eye(2), np.array([0, 1]))])
    ...     [(features.tolist(), labels.tolist()) for features, labels in arrow_batches(folder)]
    [([[1.0, 0.0], [0.0, 1.0]], [0, 1])]
    """
    table, (_, compute) = _dataset(path, features, labels), _arrow("compute")
    for batch in table.to_batches(columns=[features, labels], batch_size=batch_size, **_AHEAD):
        if batch.num_rows:
            rows, numbers = batch.column(features), batch.column(labels)
            if rows.null_count or numbers.null_count:
                raise ValueError(f"{path} has rows without {features} or {labels}; leave them out")
            values = rows.flatten()
            if values.null_count:
                raise ValueError(f"{path} has {features} with missing numbers; leave out these rows")
            if len(set(compute.list_value_length(rows).to_pylist())) > 1:
                raise ValueError(f"{path} has {features} of several lengths; all must have the same length")
            labels_of = numbers.dictionary_decode() if hasattr(numbers, "dictionary_decode") else numbers
            yield values.to_numpy().reshape(len(rows), -1), labels_of.to_numpy(zero_copy_only=False)


def arrow_statistics(
    path: Path | str, *, features: str = "features", labels: str = "labels", batch_size: int = 16_384
) -> ClassStatistics:
    """Class statistics of a Parquet file or a folder of them, in one pass; columns as in `arrow_batches`.

    Classes have the names that the file stores, or are the labels that are texts, in alphabetical order.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = write_arrow(Path(folder, "features.parquet"), [(np.eye(2), np.array([0, 1]))])
    ...     arrow_statistics(folder).means.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    table = _dataset(path, features, labels)
    if not table.count_rows():
        raise ValueError(f"{path} has no rows")
    batches = arrow_batches(path, features=features, labels=labels, batch_size=batch_size)
    return ClassStatistics.from_batches(batches, classes=_classes_of(table) or None)


def _classes_of(table: Any) -> tuple[str, ...]:
    """The class names that a Parquet file stores."""
    return tuple(json.loads((table.schema.metadata or {}).get(b"classes", b"[]")))


def write_arrow(path: Path, batches: Iterable[tuple[np.ndarray, np.ndarray]], classes: Sequence[str] = ()) -> int:
    """Write batches of features, float (B, d), and labels, integers (B,), to a Parquet file, atomically; returns d.

    `classes` are the class names, which `read_classes` reads. Needs the extra ``arrow``. ValueError if there is no
    batch.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "features.parquet")
    ...     write_arrow(path, [(np.eye(3), np.array([0, 1, 1]))], ["cat", "dog"]), read_classes(path)
    (3, ('cat', 'dog'))
    """
    arrow, parquet = _arrow("parquet")
    batches = iter(batches)
    if (first := next(batches, None)) is None:
        raise ValueError(f"there are no features to write to {path}")
    kind = arrow.list_(arrow.from_numpy_dtype(first[0].dtype), first[0].shape[1])
    named = {"classes": json.dumps(list(classes))} if classes else None
    schema = arrow.schema([("features", kind), ("labels", arrow.int64())], named)
    with replacing(Path(path)) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for values, labels in chain([first], batches):
            rows = arrow.FixedSizeListArray.from_arrays(arrow.array(values.ravel()), values.shape[1])
            writer.write_table(arrow.table([rows, arrow.array(labels)], schema=schema))
    return first[0].shape[1]


def _dataset(path: Path | str, features: str, labels: str) -> Any:
    arrow, dataset = _arrow("dataset")
    try:
        table = dataset.dataset(path, format="parquet")
        held = dict(zip(table.schema.names, table.schema.types, strict=True))
    except (arrow.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path} is not a Parquet file or a folder of them (for pictures, `nclib extract` makes one): "
            f"{str(error).splitlines()[0]}"
        ) from error
    if not {features, labels} <= held.keys():
        raise ValueError(
            f"{path} has columns {', '.join(held)}; it must have {features} and {labels}: rename yours or, in Python, "
            "name them: features=..., labels=..."
        )
    types = arrow.types
    lists = any(kind(held[features]) for kind in (types.is_fixed_size_list, types.is_list, types.is_large_list))
    label = held[labels].value_type if types.is_dictionary(held[labels]) else held[labels]
    classes = any(kind(label) for kind in (types.is_integer, types.is_string, types.is_large_string, types.is_boolean))
    if not (lists and types.is_floating(held[features].value_type) and classes):
        given = f"{held[features]} and {held[labels]}"
        raise ValueError(
            f"{features} and {labels} of {path} are {given}; they must be lists of floats, and integers or texts"
        )
    return table


def _arrow(part: str) -> tuple[Any, Any]:
    with optional("pyarrow"):
        return import_module("pyarrow"), import_module(f"pyarrow.{part}")
