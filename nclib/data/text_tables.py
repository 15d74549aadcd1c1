"""Tables of labelled texts: CSV with any of the usual separators, tab-separated, JSON lines and Parquet."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unicodedata import normalize

from nclib.checks import counted
from nclib.extras import optional

SEPARATORS = (",", "\t", ";", "|")
LINES, PARQUET = (".jsonl", ".ndjson"), ".parquet"  # suffixes of files that are not separated values
TABLES = (".csv", ".tsv", ".txt", *LINES, PARQUET)
TEXTS = ("text", "sentence", "content", "review", "document")  # usual names of the column of texts
_LONGEST = 2**31 - 1  # characters of a text; the csv module's default limit is 131,072


Row = tuple[str, Any, Any]  # its place, text and label


def read_texts(file: Path, text: str = "text", label: str = "label") -> list[tuple[str, str]]:
    """The texts and labels of a table, from the columns with these names; other columns are ignored.

    Labels are texts or whole numbers, stripped of the space around them and in Unicode's composed form. ValueError,
    with the line, for anything else.
    """
    readers = {PARQUET: _of_parquet} | dict.fromkeys(LINES, _of_lines)
    rows = readers.get(file.suffix.lower(), _of_csv)(file, text, label)
    return [(text_of(where, value, text), _label(where, name, label)) for where, value, name in rows]


def text_of(where: str, value: Any, column: str) -> str:
    """A text of a table; ValueError, with its place, for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{where} has {value!r} for {column}; it must be a text: leave the row out, or give it one")
    return value


def _label(where: str, value: Any, column: str) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"{where} has no {column}; leave the row out, or give it one")
    if not isinstance(value, str | int):
        raise ValueError(f"{where} has {value!r} for {column}; it must be a text or a whole number")
    return normalize("NFC", str(value)).strip()


def _of_csv(file: Path, text: str, label: str) -> list[Row]:
    with file.open(newline="", encoding="utf-8-sig") as opened, _long_fields():
        lines = _in_utf8(file, opened)
        header = next(lines, "")
        separator = _separator(file, header, text, label)
        names = _cells(header, separator)
        rows = list(_rows(file, csv.reader(lines, delimiter=separator, strict=True), names, separator))
    _check_quotes(rows, separator, names, text, label)
    return [(where, row[text], row[label]) for where, row in rows]


def _rows(file: Path, reader: Any, names: list[str], separator: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The place and the cells by column of each row; empty lines are skipped."""
    while True:
        where = f"{file}, line {reader.line_num + 2}"  # the header is the first
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{where}: {error}; write a quote within a quoted text twice") from None
        if row is None:
            return
        if any(cell.strip() for cell in row):
            if len(row) != len(names):
                raise ValueError(
                    f"{where} has {counted(len(row), 'column')}; there must be {len(names)}, {separator.join(names)}: "
                    f"a text that holds {separator!r} must be in quotes"
                )
            yield where, dict(zip(names, row, strict=True))


def _check_quotes(
    rows: list[tuple[str, dict[str, str]]], separator: str, names: list[str], text: str, label: str
) -> None:
    """Refuse a text that contains what looks like a row of the table, which an open quote must have swallowed."""
    place, labels = names.index(label), {row[label].strip() for _, row in rows}
    for where, row in rows:
        for line in row[text].splitlines()[:-1]:
            cells = [cell.strip() for cell in line.split(separator)]
            if len(cells) == len(names) and cells[place] in labels:
                raise ValueError(
                    f"{where} begins a text that runs over what looks like a row, {line[:60]!r}: a quote seems to be "
                    "open; close it, or write it twice"
                )


def _separator(file: Path, header: str, text: str, label: str) -> str:
    """The separator that splits the header into columns that include these two."""
    for separator in SEPARATORS:
        names = _cells(header, separator)
        if {text, label} <= set(names):
            if len(set(names)) < len(names):
                raise ValueError(f"{file} has two columns of the same name: {', '.join(names)}; rename one")
            return separator
    most = max(SEPARATORS, key=header.count)
    raise ValueError(about_columns(file, _cells(header, most), text, label))


def _cells(header: str, separator: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([header.rstrip("\r\n")], delimiter=separator), [])]


def about_columns(where: Path | str, names: list[str], text: str, label: str) -> str:
    """The message for a table without columns of these names."""
    return (
        f"{where} has the columns {', '.join(names) or 'none'}; it must have {text} and {label}, or name yours: "
        "text_column=... and label_column=..., on the command line --text-column and --label-column"
    )


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _in_utf8(file: Path, lines: Iterable[str]) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error}); save it in UTF-8") from None


def _of_lines(file: Path, text: str, label: str) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(_in_utf8(file, lines), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}, line {number} is not JSON: {error}; each line must be an object") from None
            if not isinstance(row, dict) or not {text, label} <= row.keys():
                raise ValueError(
                    about_columns(f"{file}, line {number}", list(row) if isinstance(row, dict) else [], text, label)
                )
            yield f"{file}, line {number}", row[text], row[label]


def _of_parquet(file: Path, text: str, label: str) -> Iterator[Row]:
    with optional("pyarrow"):
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    try:
        names = parquet.read_schema(file).names
    except (arrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{file} is not a Parquet file: {str(error).splitlines()[0]}") from error
    if not {text, label} <= set(names):
        raise ValueError(about_columns(file, names, text, label))
    columns = parquet.read_table(file, columns=[text, label])
    for number, row in enumerate(zip(columns[text].to_pylist(), columns[label].to_pylist(), strict=True), 1):
        yield f"{file}, row {number}", *row
