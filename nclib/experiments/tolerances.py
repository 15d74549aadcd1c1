"""How far a repeated measurement may be from its record: three times the largest spread on the processors tried."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from nclib.experiments.records import cell_digest

# A row for every processor, combination, cell and metric: how far its measurement is from the record.
FIELDS = ["processor", "combination", "study", "scale", "cell", "metric", "apart"]
CHANGES = ("one epoch less", "rates a tenth lower")  # of a live cell's recipe; a check must notice them

_MARGIN = 3.0  # the largest spread of the few processors that were tried, times this
_SHARPNESS = 3.0  # by how many tolerances a change of the recipe must move a metric to make its check worthwhile
_ONE_SAMPLE = {"probe_accuracy": 0.05, "centroid_accuracy": 0.05}  # of a fifth of few training samples
_ONE_IMAGE = 5e-3  # of two hundred, elsewhere
_LEAST = 2e-5  # two units of the last digit that a record keeps, of a number as large as 1 or, by a ratio, of any
_CHAOTIC = "ncti"  # its parts come from nearly singular matrices: in one study they differ even in double precision
_COUNTED = ("accuracy", "train_error", "iou", "nc4")  # shares of images or pixels
_BOUNDED = ("vci", "class_", "sfda", "logme", "leep", "nleep", "nce", "gbc", "ncti")  # or of either sign
_NOT_COMPARED = ("picture", "rate", "candidate", "epochs_kept", "epoch")  # settings of the measurement


def kind(metric: str) -> str | None:
    """How to compare two values of a metric: "counted" (shares), "difference", "ratio", or None for not at all."""
    if metric in _NOT_COMPARED or metric.startswith("seconds"):
        return None
    if any(word in metric for word in _COUNTED):
        return "counted"
    return "difference" if metric.startswith(_BOUNDED) or metric.endswith(("_error", "_stated")) else "ratio"


def apart(metric: str, recorded: Any, now: Any) -> float:
    """How far apart two values of a metric are: a difference, or the log of a ratio; for lists the largest.

    A difference of numbers beyond 1 is divided by the larger one, since records keep a number of significant digits.
    Infinity if they cannot be compared: lists of different lengths, or a ratio of numbers with different signs.

    Examples
    --------
    >>> apart("accuracy", [0.5, 0.5], [0.5, 0.25]), round(apart("nc1", 1.0, 1.1), 3), apart("nc1", [1.0], [])
    (0.25, 0.095, inf)
    """
    if isinstance(recorded, list) or isinstance(now, list):
        return max((apart(metric, *pair) for pair in _pairs(recorded, now)), default=0.0)
    if math.isnan(recorded) or math.isnan(now):
        return math.inf
    if kind(metric) != "ratio":
        return abs(recorded - now) / max(1.0, abs(recorded), abs(now))
    if recorded * now <= 0:
        return 0.0 if recorded == now else math.inf
    return abs(math.log(recorded / now))


def read_spreads(path: Path) -> pd.DataFrame:
    """The table of spreads; FileNotFoundError if it is missing, ValueError if damaged, with the cure."""
    if not path.exists():
        raise FileNotFoundError(f"{path}, the spreads between processors, is missing; `make processors` measures them")
    cure = f"each row must have {', '.join(FIELDS)}; restore it from git: no single machine can measure it all again"
    try:
        table = pd.read_csv(path, comment="#", dtype={"apart": float})
    except (ValueError, OSError) as error:  # pandas' own errors are among them
        raise ValueError(f"{path} is not a table ({str(error).strip()}): {cure}") from error
    whole = list(table.columns) == FIELDS and isinstance(table.index, pd.RangeIndex) and table.notna().all(axis=None)
    if not whole or (table["apart"] < 0).any():
        raise ValueError(f"{path} is not whole: {cure}")
    return table


def tolerances(spreads: pd.DataFrame, studies: Iterable[str], scale: str, cells: Iterable[dict]) -> dict[str, float]:
    """The tolerance of every metric of the studies' cells; ValueError if no spread of theirs is known.

    It is three times the largest spread of any processor and cell, and at least what rounding does to a record. For a
    live cell, a metric on which processors differ is left out if its tolerance exceeds a third of what a change of the
    recipe moves: its check would prove nothing. A metric that cannot be compared has no tolerance.
    """
    studies = list(studies)
    rows = spreads[spreads["study"].isin(studies) & (spreads["scale"] == scale)]
    rows = rows[rows["cell"].isin({cell_digest(cell) for cell in cells})]
    changed = rows["combination"].isin(CHANGES)
    largest = rows[~changed].groupby("metric")["apart"].max()
    if largest.empty:
        what = f"{' and '.join(studies)} at {scale} scale"
        raise ValueError(f"the spread between processors is unknown for {what}; `make processors` measures it")
    found = {name: max(_MARGIN * value, _LEAST) for name, value in largest.items() if math.isfinite(value)}
    if scale != "check":  # a sample of many cells, among which an image falls on the other side somewhere
        return {name: max(value, _of_one(name)) for name, value in found.items()}
    if not changed.any():
        raise ValueError(f"the effect of a change of {' and '.join(studies)} is unknown; `make processors` measures it")
    found = {name: value for name, value in found.items() if not name.startswith(_CHAOTIC)}
    moved = rows[changed].groupby("metric")["apart"].min()
    sharp = {name for name, value in found.items() if _SHARPNESS * value <= moved.get(name, 0.0)}
    return {name: value for name, value in found.items() if name in sharp or largest[name] == 0}


def _of_one(metric: str) -> float:
    """How much a share changes if one sample falls on the other side."""
    return _ONE_SAMPLE.get(metric, _ONE_IMAGE) if kind(metric) == "counted" else 0.0


def differences(old: pd.DataFrame, new: pd.DataFrame, tolerance: dict[str, float]) -> pd.DataFrame:
    """Where two tables of the same cells, in the same order, differ most: a row for each metric with a tolerance.

    Columns: the two values (for lists, the pair that is farthest apart), how they are compared, how far they are apart,
    the `tolerance`, and whether they agree. A metric that one table lacks does not agree.

    Examples
    --------
    >>> old, new = pd.DataFrame({"nc1": [1.0, 2.0]}), pd.DataFrame({"nc1": [1.0, 2.5]})
    >>> differences(old, new, {"nc1": 0.1})[["recorded", "now", "agrees"]]
         recorded  now  agrees
    nc1       2.0  2.5   False
    """
    if len(old) != len(new):
        raise ValueError(f"the tables have {len(old)} and {len(new)} rows; they must be of the same cells")
    rows = {name: _farthest(name, old, new) | {"tolerance": tolerance[name]} for name in sorted(tolerance)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.assign(agrees=table["apart"] <= table["tolerance"] * (1 + 1e-9)) if len(table) else table


def _farthest(name: str, old: pd.DataFrame, new: pd.DataFrame) -> dict[str, Any]:
    if name not in old or name not in new:
        return {"recorded": math.nan, "now": math.nan, "compared": kind(name), "apart": math.inf}
    pairs = [pair for both in zip(old[name], new[name], strict=True) for pair in _pairs(*both)]
    recorded, now = max(pairs, key=lambda pair: apart(name, *pair), default=(0.0, 0.0))
    return {"recorded": recorded, "now": now, "compared": kind(name), "apart": apart(name, recorded, now)}


def _pairs(recorded: Any, now: Any) -> list[tuple[Any, Any]]:
    """The pairs of two lists, at any depth; lists of different lengths give a pair that cannot be compared."""
    if isinstance(recorded, list) and isinstance(now, list):
        if len(recorded) != len(now):
            return [(math.nan, math.nan)]
        return [pair for both in zip(recorded, now, strict=True) for pair in _pairs(*both)]
    return [(recorded, now)] if not isinstance(recorded, list) and not isinstance(now, list) else [(math.nan, math.nan)]
