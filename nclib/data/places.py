"""Find data that is named by a path: in the data root, or from the working directory."""

import os
from collections.abc import Callable
from pathlib import Path


def find_path(
    name: str, data_root: str | Path | None, contents: str, kind: Callable[[Path], bool] = Path.is_dir
) -> Path:
    """The path of ``folder:path`` or ``file:path``, in the data root or not; `contents` says what it must hold."""
    prefix, _, path = name.partition(":")
    if not path.strip():  # an empty path would mean the working directory
        raise ValueError(f"{name} names no path; give one, {prefix}:PATH")
    given = Path(path).expanduser()
    places = [given.absolute()]
    if not given.is_absolute() and given_root(data_root):
        places.insert(0, root_of(name, data_root) / given)
    found = next(filter(kind, places), None)
    if other := next((place for place in places if found is None and place.exists()), None):
        what = "a folder" if other.is_dir() else "a file"
        raise FileNotFoundError(f"{name} is {what}, {other}; it must be {contents}")
    if found is None:
        raise FileNotFoundError(f"{name} is not at {' or '.join(map(str, places))}; put {contents} there by hand")
    return found


def given_root(data_root: str | Path | None) -> str | Path | None:
    """The data root as given, or by the variable NCLIB_DATA; None without either."""
    return data_root or os.environ.get("NCLIB_DATA")


def root_of(name: str, data_root: str | Path | None) -> Path:
    """The data root as an absolute path."""
    given = given_root(data_root)
    if not given:
        raise FileNotFoundError(
            f"{name} needs the folder of the data sets; give data_root=... (--data-root), or set the environment "
            "variable NCLIB_DATA"
        )
    root = Path(given).expanduser().absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"the data root {root} is not a folder; give one that holds {name}")
    return root
