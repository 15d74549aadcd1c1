"""Texts that every installation has: the docstrings of installed libraries, and labelled texts of files."""

import ast
import csv
import hashlib
import inspect
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from nclib.augmentation import seeded
from nclib.data import find_path

LIBRARIES = ("numpy", "pandas", "matplotlib", "scipy", "sklearn", "timm")  # whose docstrings are told apart
_SHORTEST = 40  # characters: less says nothing
_LONGEST = 400  # of a docstring, from its start
_MOST = 200  # docstrings of a class that are looked for: parsing takes time
_NO_PARTS = {"tests", "test", "testing", "conftest", "externals", "_vendor", "site-packages", "idlelib", "__pycache__"}


@dataclass(frozen=True)
class Texts:
    """Texts (N), their labels, int64 (N,), and the names of the K classes."""

    texts: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def digest(self) -> str:
        """Of texts and labels, hexadecimal."""
        return hashlib.blake2b(repr((self.texts, self.labels.tolist())).encode(), digest_size=16).hexdigest()


def texts(
    name: str, split: str = "train", *, per_class: int | None = None, data_root: str | Path | None = None
) -> Texts:
    """Labelled texts by name, as many of every class.

    ``docstrings/libraries`` asks from which of `LIBRARIES` a docstring comes, ``docstrings/PACKAGE`` from which part of
    an installed package, of those that have enough of them, and ``docstrings/python`` from which module of the
    standard library. ``file:PATH`` is a table with a header, ``text,label``, in which ``{split}`` stands for train or
    test; it may lie in the data root. Every other docstring is in the test split.

    Docstrings differ between versions of the libraries, so the texts do.

    Examples
    --------
    >>> found = texts("docstrings/libraries", per_class=3)
    >>> found.classes[:2], len(found)
    (('numpy', 'pandas'), 18)
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
    if name.startswith("file:"):
        by_class = _of_table(name, split, data_root)
    elif name.startswith("docstrings/"):
        by_class = {label: _part(found, split) for label, found in docstrings(name.partition("/")[2]).items()}
    else:
        raise ValueError(f"{name!r} is no name of texts; there are docstrings/PACKAGE and file:PATH")
    return _drawn(name, split, by_class, per_class)


def _drawn(name: str, split: str, by_class: dict[str, list[str]], per_class: int | None) -> Texts:
    chosen, labels = [], []
    for k, (label, found) in enumerate(by_class.items()):
        number = len(found) if per_class is None else per_class
        if len(found) < number:
            raise ValueError(f"per_class is {per_class}; class {label} of {name} has {len(found)} texts to {split}")
        order = torch.randperm(len(found), generator=seeded("texts", name, label, split))[:number]
        chosen += [found[i] for i in order.tolist()]
        labels += [k] * number
    return Texts(tuple(chosen), torch.tensor(labels), tuple(by_class))


def _part(found: list[str], split: str) -> list[str]:
    return found[split == "test" :: 2]


@lru_cache
def docstrings(package: str, least: int = 100) -> dict[str, list[str]]:
    """Docstrings by the part of a package that they come from, of parts that have at least so many.

    Sources are parsed, never imported. Texts that occur twice are left out.
    """
    if package == "libraries":
        return {library: _distinct(_parsed(_root(library))) for library in LIBRARIES}
    root = Path(sysconfig.get_path("stdlib")) if package == "python" else _root(package)
    parts = sorted(part for part in root.iterdir() if part.name not in _NO_PARTS and _is_source(part))
    found = {part.stem.lstrip("_"): _distinct(_parsed(part)) for part in parts}
    found = {part: texts for part, texts in found.items() if len(texts) >= least}
    if len(found) < 2:
        raise ValueError(f"{package} has {len(found)} parts with {least} docstrings; at least 2 are needed")
    return found


def _root(package: str) -> Path:
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package!r} is no installed package")
    return Path(next(iter(spec.submodule_search_locations)))


def _is_source(path: Path) -> bool:
    return path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))


def _distinct(found: Iterator[str]) -> list[str]:
    kept: dict[str, None] = {}
    for text in found:
        kept.setdefault(text)
        if len(kept) == _MOST:
            break
    return list(kept)


def _parsed(root: Path) -> Iterator[str]:
    """The docstrings below a folder, or of a file, in the order of paths and lines."""
    files = [root] if root.is_file() else sorted(root.rglob("*.py"))
    for file in files:
        if _NO_PARTS.isdisjoint(file.relative_to(root.parent).parts):
            try:
                tree = ast.parse(file.read_bytes())
            except (SyntaxError, ValueError):  # templates, and sources of another Python
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = inspect.cleandoc(ast.get_docstring(node) or "")[:_LONGEST]
                    if len(text) >= _SHORTEST:
                        yield text


def _of_table(name: str, split: str, data_root: str | Path | None) -> dict[str, list[str]]:
    file = find_path(name.replace("{split}", split), data_root, "a table with the header text,label", Path.is_file)
    by_class: dict[str, list[str]] = {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.reader(lines)
        header = next(rows, [])
        if len(header) != 2:
            raise ValueError(f"{file} begins with {', '.join(header)!r}; it must have two columns, text and label")
        for text, label in rows:
            by_class.setdefault(label, []).append(text)
    return dict(sorted(by_class.items()))


def tokens(texts: tuple[str, ...] | list[str], *, vocabulary: int = 8192, length: int = 64) -> Tensor:
    """Words and numbers of texts as hashed indices from 1 on, int64 (N, length), filled up with 0.

    A word has the same index everywhere; two words may share one.
    """
    from zlib import crc32

    rows = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        words = re.findall(r"[^\W\d_]+|\d+", text.lower())[:length]
        row[: len(words)] = torch.tensor([1 + crc32(word.encode()) % vocabulary for word in words], dtype=torch.int64)
    return rows
