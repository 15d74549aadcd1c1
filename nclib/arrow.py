"""Tables of features in Parquet files, read and written batch by batch, so that none need fit into memory."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from nclib.statistics import ClassStatistics
from nclib.storage import replacing

_AHEAD = {"batch_readahead": 1, "fragment_readahead": 1}  # batches and files that are read ahead: memory is what counts


def arrow_batches(
    path: Path | str, *, features: str = "features", labels: str = "labels", batch_size: int = 16_384
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features (B, d) and labels (B,) of a Parquet file, or a folder of them. Needs the extra ``arrow``.

    `features` names a column of lists of d numbers each, `labels` one of integers. A batch has at most `batch_size`
    rows, which is what `ClassStatistics.from_batches` takes; a row group, as it was written, is decoded as a whole.
    ValueError for columns that are not so.

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
                raise ValueError(f"{path} has {features} with numbers missing; leave these rows out")
            if len(set(compute.list_value_length(rows).to_pylist())) > 1:
                raise ValueError(f"{path} has {features} of several lengths; all must be of one")
            yield values.to_numpy().reshape(len(rows), -1), numbers.to_numpy()


def arrow_statistics(
    path: Path | str, *, features: str = "features", labels: str = "labels", batch_size: int = 16_384
) -> ClassStatistics:
    """Class statistics of a Parquet file, or a folder of them, in one pass over its features; as of `arrow_batches`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = write_arrow(Path(folder, "features.parquet"), [(np.eye(2), np.array([0, 1]))])
    ...     arrow_statistics(folder).means.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    _, compute = _arrow("compute")
    numbers = _dataset(path, features, labels).to_table(columns=[labels])[labels]
    most = compute.max(numbers).as_py()
    if most is None or most < 0:
        raise ValueError(f"{path} has no rows with {labels} of 0 or more")
    batches = arrow_batches(path, features=features, labels=labels, batch_size=batch_size)
    return ClassStatistics.from_batches(batches, most + 1)


def write_arrow(path: Path, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Write batches of features (B, d) and labels (B,) to a Parquet file, atomically; the number of features d."""
    arrow, parquet = _arrow("parquet")
    batches = iter(batches)
    if (first := next(batches, None)) is None:
        raise ValueError(f"there are no features to write to {path}")
    kind = arrow.list_(arrow.from_numpy_dtype(first[0].dtype), first[0].shape[1])
    schema = arrow.schema([("features", kind), ("labels", arrow.int64())])
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
            f"{path} is not a Parquet file, or a folder of them (of pictures nclib extract makes one): "
            f"{str(error).splitlines()[0]}"
        ) from error
    if not {features, labels} <= held.keys():
        raise ValueError(f"{path} has columns {', '.join(held)}; it must have {features} and {labels}")
    kinds = (arrow.types.is_fixed_size_list, arrow.types.is_list, arrow.types.is_large_list)
    lists = any(kind(held[features]) for kind in kinds)
    if not (lists and arrow.types.is_floating(held[features].value_type) and arrow.types.is_integer(held[labels])):
        given = f"{held[features]} and {held[labels]}"
        raise ValueError(f"{features} and {labels} of {path} are {given}; they must be lists of floats, and integers")
    return table


def _arrow(part: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.dataset
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow, nclib's extra arrow") from error
    return pyarrow, getattr(pyarrow, part)
