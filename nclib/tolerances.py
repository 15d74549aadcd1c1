"""How far a number measured again may be from its record: three times what processors were measured to differ by."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from nclib.records import cell_digest

# A row for every processor, combination, cell and metric: how far apart what it measured is from the record.
FIELDS = ["processor", "combination", "study", "scale", "cell", "metric", "apart"]
CHANGES = ("one epoch less", "rates a tenth lower")  # of a live cell's recipe: what a check must notice

_MARGIN = 3.0  # the largest spread of the few processors that were tried, times this
_SHARES = ("accuracy", "train_error", "iou", "nc4")  # counted images: absolute, and one of 200 is no difference
_BOUNDED = ("vci", "class_", "sfda", "logme", "leep", "nleep", "nce", "gbc", "ncti")  # or of either sign: absolute
_LEAST = {"share": 5e-3, "difference": 1e-4, "ratio": 1e-4}
# What says how a cell was measured, not what was found.
_NOT_COMPARED = ("seconds", "picture", "rate", "candidate", "epochs_kept", "epoch")


def kind(metric: str) -> str | None:
    """How two values of a metric are compared: as a share of images, a difference, a ratio, or not at all."""
    if metric in _NOT_COMPARED or metric.startswith("seconds"):
        return None
    if any(word in metric for word in _SHARES):
        return "share"
    return "difference" if metric.startswith(_BOUNDED) or metric.endswith(("_error", "_stated")) else "ratio"


def apart(metric: str, recorded: Any, now: Any) -> float:
    """How far two values of a metric are apart, of lists the most: an absolute difference, or the log of a ratio.

    Infinity where they cannot be compared: lists of other lengths, a ratio of other signs.

    Examples
    --------
    >>> apart("accuracy", [0.5, 0.5], [0.5, 0.25]), round(apart("nc1", 1.0, 1.1), 3), apart("nc1", [1.0], [])
    (0.25, 0.095, inf)
    """
    if isinstance(recorded, list) or isinstance(now, list):
        if not (isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now)):
            return math.inf
        return max((apart(metric, *pair) for pair in zip(recorded, now, strict=True)), default=0.0)
    if kind(metric) != "ratio":
        return abs(recorded - now)
    if recorded * now <= 0:
        return 0.0 if recorded == now else math.inf
    return abs(math.log(recorded / now))


def read_spreads(path: Path) -> pd.DataFrame:
    """The table of spreads; FileNotFoundError says how it is made."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing, the table of what processors differ by; make processors measures it"
        )
    return pd.read_csv(path, comment="#")


def tolerances(spreads: pd.DataFrame, studies: Iterable[str], scale: str, cells: Iterable[dict]) -> dict[str, float]:
    """The tolerance of every metric of the studies' cells; ValueError if nothing is known of them.

    It is three times the largest spread of any processor and cell, and not less than what rounding may do to a record.
    Of the one live cell of a study, a metric whose tolerance is above a third of what a change of the recipe moves is
    left out: held to that, it would check nothing.
    """
    studies = list(studies)
    rows = spreads[spreads["study"].isin(studies) & (spreads["scale"] == scale)]
    rows = rows[rows["cell"].isin({cell_digest(cell) for cell in cells})]
    changed = rows["combination"].isin(CHANGES)
    largest = rows[~changed].groupby("metric")["apart"].max()
    if largest.empty:
        what = f"{' and '.join(studies)} at {scale} scale"
        raise ValueError(f"nobody has measured what processors differ by in {what}; make processors does")
    found = {name: max(_MARGIN * value, _LEAST[str(kind(name))]) for name, value in largest.items()}
    if not changed.any():
        return found
    moved = rows[changed].groupby("metric")["apart"].min()
    return {name: value for name, value in found.items() if _MARGIN * value <= moved.get(name, 0.0)}


def differences(old: pd.DataFrame, new: pd.DataFrame, tolerance: dict[str, float]) -> pd.DataFrame:
    """Where two tables of the same cells, in the same order, differ most: one row a metric that has a tolerance.

    Columns: the two values (of a list the last), how far they are apart, the `tolerance`, and whether they agree.
    """
    if len(old) != len(new):
        raise ValueError(f"the tables have {len(old)} and {len(new)} rows; they must be of the same cells")
    rows = {}
    for name in sorted(tolerance.keys() & set(old.columns) & set(new.columns)):
        pairs = list(zip(old[name], new[name], strict=True))
        recorded, now = max(pairs, key=lambda pair: apart(name, *pair))
        largest = apart(name, recorded, now)
        rows[name] = {"recorded": _last(recorded), "now": _last(now), "compared as": kind(name), "apart": largest}
        rows[name] |= {"tolerance": tolerance[name], "agrees": largest <= tolerance[name]}
    columns = ["recorded", "now", "compared as", "apart", "tolerance", "agrees"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _last(value: Any) -> Any:
    return _last(value[-1]) if isinstance(value, list) and value else value
