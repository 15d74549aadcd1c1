"""Check the names and numbers that people give, and word the messages."""

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from typing import Any


class SetupError(ValueError):
    """The data or model asked for cannot be provided; nothing has been computed yet."""


@contextmanager
def setting_up() -> Iterator[None]:
    """Turn a ValueError in this block into a `SetupError`.

    >>> with setting_up():
    ...     raise ValueError("there is no such data set")
    Traceback (most recent call last):
    nclib.checks.SetupError: there is no such data set
    """
    try:
        yield
    except ValueError as error:
        raise SetupError(str(error)) from error.__cause__


def counted(number: int, one: str, several: str = "") -> str:
    """A number with its noun, in the singular or plural.

    >>> counted(1, "image"), counted(2_000, "image"), counted(2, "class", "classes")
    ('1 image', '2,000 images', '2 classes')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def check_least(least: float, **numbers: Any) -> None:
    """Refuse values, given by name, that are not numbers or are below `least`."""
    for name, number in numbers.items():
        if not is_number(number):
            raise ValueError(f"{name} is {number!r}; it must be a number, at least {least}")
        if not number >= least:
            raise ValueError(f"{name} is {number}; it must be at least {least}")


def check_whole(least: int, **numbers: Any) -> None:
    """Refuse values, given by name, that are not whole numbers or are below `least`."""
    for name, number in numbers.items():
        if not (is_number(number) and isinstance(_plain(number), Integral)):
            raise ValueError(f"{name} is {number!r}; it must be a whole number, at least {least}")
    check_least(least, **numbers)


def check_positive(**numbers: Any) -> None:
    """Refuse values, given by name, that are not numbers above 0, or are infinite."""
    for name, number in numbers.items():
        if not (is_number(number) and 0 < number < math.inf):
            raise ValueError(f"{name} is {number!r}; it must be above 0, and finite")


def check_share(**shares: Any) -> None:
    """Refuse shares, given by name, that are not above 0 and at most 1."""
    for name, share in shares.items():
        if not (is_number(share) and 0 < share <= 1):
            raise ValueError(f"{name} is {share!r}; it must be above 0 and at most 1")


def checked_seed(seed: Any, bits: int | None = None) -> int:
    """The seed as Python's own integer, so that equal seeds draw the same; refuse all but whole numbers from 0.

    `bits` is the size of the largest seed that the drawing library takes; None is no limit.

    >>> import numpy as np
    >>> checked_seed(np.int64(3))
    3
    """
    check_whole(0, seed=seed)
    if bits is not None and int(seed) >= 2**bits:
        raise ValueError(f"seed is {seed}; it must be at least 0 and below 2**{bits}")
    return int(seed)


def is_number(value: Any) -> bool:
    """Whether this is a real number of Python, numpy or torch; a boolean is not.

    >>> is_number(2), is_number(0.5), is_number("2"), is_number(True)
    (True, True, False, False)
    """
    return isinstance(_plain(value), Real) and not isinstance(_plain(value), bool)


def _plain(value: Any) -> Any:
    """A tensor or array without dimensions as a Python number; anything else unchanged."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def check_known(known: Iterable[str], **names: str) -> None:
    """Refuse a name that is not among the known ones, and list those."""
    for what, name in names.items():
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")


def similar(name: Any, known: Iterable[str]) -> str:
    """The known names that look like a name, as the end of a message, or nothing.

    >>> similar("logmee", ["nc1", "logme"]), similar("?", ["nc1"])
    ('; similar names are logme', '')
    """
    near = difflib.get_close_matches(str(name), [*known], 3)
    return f"; similar names are {', '.join(near)}" if near else ""


def as_name(given: Any, example: str) -> str:
    """A name, or a path in its place, as a string; an error if it is something else, or empty."""
    if not isinstance(given, str | PathLike):
        raise TypeError(f"name is {given!r:.60}; it must be a text, such as {example!r}")
    if not str(given).strip():
        raise ValueError(f"name is {given!r}, which is empty; it must be a text, such as {example!r}")
    return str(given)


def listed_names(given: Any, name: str) -> list[str]:
    """One or several names as a list; errors call the argument by `name`.

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
    """The first five names and the number of others, for a message.

    >>> few(range(8))
    '0, 1, 2, 3, 4 and 3 more'
    """
    return ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
