"""Labelled texts: the docstrings of installed libraries, which need no download, and texts from files and the hub."""

import ast
import inspect
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from nclib.arrays import columns_of
from nclib.checks import as_name, check_whole, counted, few, setting_up
from nclib.data.folders import SPLIT_NAMES, TEST_SHARE
from nclib.data.hub import hub_splits
from nclib.data.items import IMAGES, LABELS
from nclib.data.pictures import numbered, plain
from nclib.data.places import find_path
from nclib.data.text_tables import TABLES, TEXTS, about_columns, read_texts, text_of
from nclib.labels import numbered_labels
from nclib.seeds import seeded
from nclib.storage import digest_of_text

LIBRARIES = ("numpy", "pandas", "matplotlib", "scipy", "sklearn", "timm")  # the classes of docstrings/libraries
_SHORTEST = 40  # characters of a docstring: shorter ones say too little
_LONGEST = 400  # characters of a docstring that are used, from its start
_MOST = 100  # docstrings per class and split: parsing takes time
_NO_PARTS = {"tests", "test", "testing", "conftest", "externals", "extern", "_vendor", "_external", "idlelib"}
_NO_PARTS |= {"array_api_compat", "array_api_extra", "_lib", "site-packages", "__pycache__"}  # tests, and vendored code


@dataclass(frozen=True)
class Texts:
    """N texts, their labels, int64 (N,), and the K class names.

    It accepts labels of any kind and numbers them: text labels in the order of `classes`, or, without it, in
    alphabetical order. ValueError or TypeError for invalid texts or labels, or if their numbers differ.

    Examples
    --------
    >>> Texts(("it purrs", "it barks", "it barked"), torch.tensor([0, 1, 1]), ("cat", "dog"))
    Texts(3 texts, 2 classes)
    >>> Texts(["it purrs", "it barks"], ["cat", "dog"]).labels
    tensor([0, 1])
    """

    texts: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts, (labels, classes) = listed_texts(self.texts), numbered_labels(self.labels, classes=self.classes)
        if len(texts) != len(labels):
            given = f"{counted(len(texts), 'text')} and {counted(len(labels), 'label')}"
            raise ValueError(f"there are {given}; give one label for each text")
        names = classes or tuple(map(str, range(int(labels.max()) + 1)))
        parts = {"texts": tuple(texts), "labels": labels, "classes": names}
        for name, value in parts.items():
            object.__setattr__(self, name, value)  # frozen for everyone else

    def __repr__(self) -> str:
        return f"Texts({counted(len(self), 'text')}, {counted(len(self.classes), 'class', 'classes')})"

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def digest(self) -> str:
        """The hexadecimal digest of the texts and labels."""
        return digest_of_text(repr((self.texts, self.labels.tolist())))


def listed_texts(texts: Any) -> list[str]:
    """Texts, or the texts of `Texts`, as a list of at least one string.

    >>> listed_texts(text for text in ("it purrs", "it barks"))
    ['it purrs', 'it barks']
    """
    if isinstance(texts, Texts):
        return list(texts.texts)
    if isinstance(texts, Tensor):
        raise TypeError(f"texts are a tensor {tuple(texts.shape)}; nclib.extract computes features of images")
    if columns := columns_of(texts):  # iterating over a table would give the names of its columns
        kind = type(texts).__name__
        raise TypeError(f"texts are a table, {kind}, of columns {few(columns)}; give one column: table[{columns[0]!r}]")
    unordered = isinstance(texts, str | set | frozenset) or not isinstance(texts, Iterable)
    rows = [] if unordered else texts.to_pylist() if hasattr(type(texts), "to_pylist") else list(texts)
    if not rows:
        raise ValueError(f"texts are {texts!r:.60}; give a list of at least one text")
    if wrong := [row for row, text in enumerate(rows) if not isinstance(text, str)]:
        without = counted(len(wrong), "row without a text", "rows without a text")
        cure = f": leave out {without}" if len(wrong) < len(rows) else ""
        raise TypeError(f"texts hold {rows[wrong[0]]!r:.60} in row {wrong[0]}; they must be strings{cure}")
    return rows


def texts(
    name: str,
    split: str = "train",
    *,
    per_class: int | None = None,
    data_root: str | Path | None = None,
    text_column: str = "text",
    label_column: str = "label",
) -> Texts:
    """Labelled texts by name.

    ``docstrings/libraries`` are docstrings labelled by the library, among `LIBRARIES`, that they come from;
    ``docstrings/PACKAGE`` by the part of an installed package, among parts with enough docstrings; and
    ``docstrings/python`` by the module of the standard library. Files are taken in a fixed pseudo-random order,
    alternately for the training and the test split, until there are enough texts. The texts differ between versions of
    the libraries.

    ``file:PATH`` is a table, in the data root or elsewhere, with the columns `text_column` and `label_column`, in a
    format of `nclib.data.text_tables`: separated values, JSON lines (.jsonl) or Parquet. ``{split}`` in the path stands
    for train or test, or another name of these splits (`nclib.data.folders.SPLIT_NAMES`). The classes are those of the
    training file, in alphabetical order; a class that only the test file has is a ValueError. ``all`` is the texts of
    both files, or of a single file for all.

    ``hf:NAME`` or ``hf:NAME:CONFIGURATION`` is a data set of the Hugging Face hub, or a folder that `save_to_disk` of
    its library wrote, with its own splits; a set without splits is split by us, 80 % of each class to train. If it has
    no columns of these names, the usual names are tried (`nclib.data.text_tables.TEXTS` and
    `nclib.data.items.LABELS`). Needs ``pip install "nctransfer[datasets]"``.

    `per_class` texts of every class are drawn; None takes all, in the order of the table. `split` is train, test or
    all, or another split of a set of the hub. `data_root` is the folder of the data sets; None is the environment
    variable ``NCLIB_DATA``.

    Raises ValueError for a name, split, number or table that is not allowed, and FileNotFoundError for a file that is
    not there.

    Examples
    --------
    >>> found = texts("docstrings/libraries", per_class=3)
    >>> found.classes[:2], len(found)
    (('numpy', 'pandas'), 18)
    """
    with setting_up():
        return _found(as_name(name, "file:PATH"), split, per_class, data_root, (text_column, label_column))


def _found(name: str, split: str, per_class: int | None, data_root: str | Path | None, columns: tuple) -> Texts:
    check_whole(1, per_class=1 if per_class is None else per_class)
    if split not in ("train", "test", "all") and not name.startswith("hf:"):
        raise ValueError(f"split is {split!r}; it must be 'train', 'test' or 'all'")
    if name.startswith(("file:", "hf:")):
        rows, classes = (_of_tables if name.startswith("file:") else _of_hub)(name, split, data_root, columns)
        if per_class is None:
            numbers = {label: k for k, label in enumerate(classes)}
            return Texts(tuple(text for text, _ in rows), torch.tensor([numbers[label] for _, label in rows]), classes)
        by_class: dict[str, list[str]] = {label: [] for label in classes}
        for text, label in rows:
            by_class[label].append(text)
    elif name.startswith("docstrings/"):
        by_split = docstrings(name.partition("/")[2])
        by_class = by_split.get(split) or {
            part: [*of_train, *by_split["test"][part]] for part, of_train in by_split["train"].items()
        }
    else:
        cure = f"; a table is named 'file:{name}'" if Path(name).suffix.lower() in TABLES else ""
        raise ValueError(f"{name!r} does not name texts; the names are docstrings/PACKAGE, file:PATH and hf:NAME{cure}")
    return _drawn(name, split, by_class, per_class)


def _drawn(name: str, split: str, by_class: dict[str, list[str]], per_class: int | None) -> Texts:
    chosen, labels = [], []
    for k, (label, found) in enumerate(by_class.items()):
        number = len(found) if per_class is None else per_class
        if len(found) < number:
            raise ValueError(
                f"per_class is {per_class}; class {label} of {name} has {counted(len(found), 'text')} for {split}: "
                f"give at most {len(found)}, or None for all"
            )
        order = torch.randperm(len(found), generator=seeded("texts", name, label, split))[:number]
        chosen += [found[i] for i in order.tolist()]
        labels += [k] * number
    return Texts(tuple(chosen), torch.tensor(labels), tuple(by_class))


@lru_cache
def docstrings(package: str, least: int = 50) -> dict[str, dict[str, list[str]]]:
    """Docstrings by split and by part of a package; parts have at least `least` docstrings in each split.

    Sources are parsed, never imported. A text that occurs in two parts, or in both splits, is left out. ValueError if
    the package is not installed, or fewer than two parts have enough docstrings.

    Examples
    --------
    >>> by_split = docstrings("libraries")
    >>> list(by_split), list(by_split["train"])[:2]
    (['train', 'test'], ['numpy', 'pandas'])
    """
    if package == "libraries":
        roots = {library: _root(library) for library in LIBRARIES}
    else:
        root = Path(sysconfig.get_path("stdlib")) if package == "python" else _root(package)
        parts = sorted(part for part in root.iterdir() if part.is_dir() and any(part.glob("*.py")))
        roots = {part.name.strip("_"): part for part in parts if part.name not in _NO_PARTS}
    found = {part: _by_split(root) for part, root in roots.items()}
    times = Counter(text for splits in found.values() for texts in splits for text in texts)
    single = {part: [[t for t in texts if times[t] == 1] for texts in splits] for part, splits in found.items()}
    kept = {part: splits for part, splits in single.items() if min(map(len, splits)) >= least}
    if len(kept) < 2:
        raise ValueError(
            f"{package} has {counted(len(kept), 'part')} with {least} docstrings in each split; it needs at least 2: "
            "give a larger package, or docstrings/libraries"
        )
    return {split: {part: splits[i] for part, splits in kept.items()} for i, split in enumerate(("train", "test"))}


def _root(package: str) -> Path:
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package!r} is not an installed package; install it, or use docstrings/libraries")
    return Path(next(iter(spec.submodule_search_locations)))


def _by_split(root: Path) -> tuple[list[str], list[str]]:
    """The distinct docstrings of the files below a folder, in two halves of alternate files, at most `_MOST` each."""
    files = [
        file for file in root.rglob("*.py") if _NO_PARTS.isdisjoint((*file.parent.relative_to(root).parts, file.stem))
    ]
    files.sort(key=lambda file: crc32(file.relative_to(root).as_posix().encode()))
    halves = []
    for half in (files[::2], files[1::2]):
        texts = dict.fromkeys(islice((text for file in half for text in _parsed(file)), 2 * _MOST))
        halves.append(list(texts)[:_MOST])
    return halves[0], halves[1]


def _parsed(file: Path) -> Iterator[str]:
    """The docstrings of a file that are long enough, in the order of its syntax tree."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # templates, and sources of another Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = inspect.cleandoc(ast.get_docstring(node) or "")[:_LONGEST]
            if len(text) >= _SHORTEST:
                yield text


def _of_tables(
    name: str, split: str, data_root: str | Path | None, columns: tuple[str, str]
) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The texts of a split with their labels, and the classes of the training file, which number all splits."""
    parted = "{split}" in name
    if not parted and split == "test":
        raise ValueError(f"{name} is one file, without a test split; use {{split}} in the path for train or test")
    train = read_texts(_table(name, data_root, "train" if parted else ""), *columns)
    classes = tuple(sorted({label for _, label in train}))
    test = read_texts(_table(name, data_root, "test"), *columns) if parted and split != "train" else []
    if new := sorted({label for _, label in test} - set(classes)):
        raise ValueError(
            f"{name} has texts of {few(new)} in the test split but not in the training split; add some there, or leave "
            "these classes out"
        )
    if len(classes) < 2:
        raise ValueError(f"{name} has texts of {counted(len(classes), 'class', 'classes')}; at least 2 are needed")
    return {"train": train, "test": test, "all": train + test}[split], classes


def _table(name: str, data_root: str | Path | None, split: str = "") -> Path:
    """The path of a table, for a split under any of the split's names."""
    names = [*SPLIT_NAMES.get(split, [""]), *(SPLIT_NAMES["val"] if split == "test" else ())]
    for each in [*names, *(each.capitalize() for each in names)]:
        with suppress(FileNotFoundError):
            return find_path(name.replace("{split}", each), data_root, "", Path.is_file)
    return find_path(name.replace("{split}", split), data_root, "a table with columns text and label", Path.is_file)


def names_texts(name: str, data_root: str | Path | None = None, text_column: str = "text") -> bool:
    """Whether a name stands for texts; for a set of the hub, whether it has a column of texts and none of images."""
    if not name.startswith("hf:"):
        return name.startswith(("file:", "docstrings/"))
    first = next(iter(hub_splits(name, data_root).values()))
    columns = getattr(first, "features", None) or {}
    texts = _column(columns, text_column, TEXTS)
    return texts is not None and (texts not in TEXTS or not any(image in columns for image in IMAGES))


def _column(columns: Iterable[str], asked: str, usual: Sequence[str]) -> str | None:
    """The column asked for, or None; if that is the first usual name, any of the usual names counts."""
    names = usual if asked == usual[0] else (asked,)
    return next((name for name in names if name in columns), None)


def _of_hub(
    name: str, split: str, data_root: str | Path | None, columns: tuple[str, str]
) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The texts of a split with their labels, and the classes of the training texts."""
    splits = hub_splits(name, data_root)
    allowed = ["train", "test"] if (undivided := splits.keys() == {"all"}) else list(splits)
    if split not in (*allowed, "all"):
        raise ValueError(f"unknown split {split!r} of {name}; there are {', '.join([*allowed, 'all'])}")
    first = "train" if "train" in splits else next(iter(splits))
    wanted = [each for each in splits if undivided or split in (each, "all")]
    read = {each: _columns_of_hub(name, splits[each], columns) for each in dict.fromkeys([first, *wanted])}
    classes = numbered(*read[first][1:]).classes
    rows = []
    for each in wanted:
        texts, labels, _ = read[each]
        rows += [(text, classes[k]) for text, k in zip(texts, numbered(labels, classes).labels.tolist(), strict=True)]
    return (_own_split(name, rows, split) if undivided and split != "all" else rows), classes


def _columns_of_hub(name: str, data: Any, columns: tuple[str, str]) -> tuple[list[str], list, tuple[str, ...] | None]:
    """Texts, labels as given, and the class names, or None."""
    text, label = _column(data.features, columns[0], TEXTS), _column(data.features, columns[1], LABELS)
    if text is None or label is None:
        raise ValueError(about_columns(name, list(data.features), *columns))
    held, names = data.with_format(None), getattr(data.features[label], "names", None)
    texts = [text_of(f"{name}, row {row}", value, text) for row, value in enumerate(held[text])]
    return texts, [plain((value,), row) for row, value in enumerate(held[label])], names and tuple(names)


def _own_split(name: str, rows: list[tuple[str, str]], split: str) -> list[tuple[str, str]]:
    """Our split of texts without splits: a fixed fifth of each class for the test, the rest for training."""
    places: dict[str, list[int]] = {}
    for row, (_, label) in enumerate(rows):
        places.setdefault(label, []).append(row)
    if lone := [label for label, found in places.items() if len(found) < 2]:
        raise ValueError(f"{name} has classes of one text, too few for train and test: {few(lone)}; use split 'all'")
    test = set[int]()
    for label, found in places.items():
        order = torch.randperm(len(found), generator=seeded("texts", name, label, "split")).tolist()
        test |= {found[i] for i in order[: max(1, round(TEST_SHARE * len(found)))]}
    return [row for i, row in enumerate(rows) if (i in test) == (split == "test")]


def tokens(texts: tuple[str, ...] | list[str], *, vocabulary: int = 8192, length: int = 64) -> Tensor:
    """Words and numbers of texts as hashed indices from 1 on, int64 (N, length), padded with 0.

    A word has the same index everywhere; two words may share an index.

    Examples
    --------
    >>> found = tokens(["It purrs, it purrs", "42"], length=5)
    >>> found.shape, (found > 0).sum(1).tolist(), bool(found[0, 0] == found[0, 2])
    (torch.Size([2, 5]), [4, 1], True)
    """
    rows = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        words = re.findall(r"[^\W\d_]+|\d+", text.lower())[:length]
        row[: len(words)] = torch.tensor([1 + crc32(word.encode()) % vocabulary for word in words], dtype=torch.int64)
    return rows
