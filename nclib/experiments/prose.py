"""Numbers and texts that the prose of a chapter shows by name."""

from typing import Any

from nclib.estimates import Estimate
from nclib.extras import optional


def glue(name: str, value: Any) -> None:
    """Keep a number or text under a name.

    An estimate is kept as a text, and its numbers as "NAME value", "NAME low" and "NAME high".
    """
    with optional("myst_nb"):
        from myst_nb import glue as keep  # type: ignore[import-untyped]  # it has no type hints

    if isinstance(value, Estimate):
        keep(name, str(value), display=False)
        for end in ("value", "low", "high"):
            glue(f"{name} {end}", getattr(value, end))
    else:
        keep(name, _plain(value), display=False)


def _plain(value: Any) -> Any:
    """A scalar of numpy or torch as a number of Python, to nine digits, on which processors agree."""
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.9g}") if isinstance(value, float) else value
