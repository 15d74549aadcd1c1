"""Chapter 3: geometric complexity and collapse, over settings of training, at one training loss (Munn et al. 2024)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nclib.estimates import Estimate, bootstrap, fisher, mean_spearman
from nclib.experiments.chapters.source import BALANCED
from nclib.experiments.claims import FACTOR, POINT, RANKS, Claim
from nclib.experiments.inference import by_panel, rows_of
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale, Sweep
from nclib.models.recipes import Recipe

SWEPT = ("learning_rate", "batch_size", "weight_decay")
DIALLED = (-0.1, 0.0, 0.1, 0.3)  # what is added to the loss, times the logarithm of the trace ratio


def _along_training(scale: Scale, seeds: Iterable[int], recipes: Callable[[Sweep], Iterable[Recipe]]) -> list[Cell]:
    """The recipes of each sweep and seed, with when and on what their networks are measured."""
    given, seeds = scale.geometry, list(seeds)
    return [
        replace(recipe, seed=seed).config
        | {
            "measured_epochs": sorted({round(recipe.epochs * part / 8) for part in range(9)}),
            "panel": sweep.panel,
            "new": list(sweep.new),
            "new_per_class": given.new_per_class,
            "of_class": given.per_class,
            "loss_of_comparison": given.loss,
            "episodes": given.episodes,
        }
        for sweep in given.sweeps
        for recipe in recipes(sweep)
        for seed in seeds
    ]


def geometric_complexity(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell: the base of each sweep, and what differs from it in one setting."""
    return _along_training(scale, seeds, _swept)


def _swept(sweep: Sweep) -> Iterable[Recipe]:
    return dict.fromkeys(replace(sweep.recipe, **{name: value}) for name in SWEPT for value in getattr(sweep, name))


def complexity_penalty(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell: the base of a sweep, with penalties on its complexity."""
    return _along_training(scale, seeds, _penalised)


def _penalised(sweep: Sweep) -> Iterable[Recipe]:
    return [replace(sweep.penalised or sweep.recipe, penalty=penalty) for penalty in sweep.penalties]


def dialled_complexity(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell: the base of a sweep, with collapse itself prevented and forced."""
    return _along_training(scale, seeds, _dialled)


def _dialled(sweep: Sweep) -> Iterable[Recipe]:
    equally = replace(sweep.recipe, balanced=BALANCED)
    return [replace(equally, collapse=strength) for strength in DIALLED]


def complexity_estimates(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell, the base of a sweep, whose complexity is estimated over and over.

    What few samples tell is held against all training images, each known from 16 random projections.
    """
    amounts = {"samples": [8, 16, 32, 64], "entries": [0.001, 0.01], "outputs": [2, 4, 16], "rademacher": [2, 4, 16]}
    given = scale.geometry
    of_class = given.estimated_per_class or given.per_class
    more = {"repeats": 3, "of_class": of_class, "projections_of_all": 16} | amounts
    more |= {"truth_error": given.truth_error} if given.truth_error else {}
    return [
        replace(sweep.recipe, seed=seed).config | {"panel": sweep.panel} | more
        for sweep in given.sweeps
        for seed in seeds
    ]


CURVES = ("loss", "complexity", "cdnv", "nc1", "geometric_collapse")  # one value a measured epoch
TRANSFER = ("target_cdnv", "accuracy_5", "accuracy_5_half")  # one value, at the end


def at_matched_loss(table: pd.DataFrame) -> pd.DataFrame:
    """The networks whose training loss fell to the matched one, with what they were there in place of curves.

    That is between two epochs, where `matched_` columns were measured; we interpolate on the logarithm of the loss.
    """
    reached = table[table["matched_loss"].str.len() > 0]
    names = [*CURVES, *TRANSFER]
    at = [{name: _at(row["loss_of_comparison"], row, name) for name in names} for _, row in reached.iterrows()]
    return reached.assign(**pd.DataFrame(at, index=reached.index, columns=names))


def _at(loss: float, row: pd.Series, name: str) -> float:
    if name == "loss":
        return loss
    return float(np.interp(np.log(loss), np.log(row["matched_loss"])[::-1], row[f"matched_{name}"][::-1]))


def at_the_end(table: pd.DataFrame) -> pd.DataFrame:
    """All networks, with what was measured last in place of curves."""
    return table.assign(**{name: table[name].str[-1] for name in CURVES})


def stages(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The networks at matched loss, and at the end of training."""
    return {"matched": at_matched_loss(table), "end": at_the_end(table)}


def base(table: pd.DataFrame, but: str = "") -> pd.DataFrame:
    """The networks that all settings of a panel start from, and those that differ from them in one setting."""
    if table.empty:  # no network came to the matched loss, and pandas finds nothing to put together
        return table
    names = [name for name in SWEPT if name != but]
    usual = table.groupby("panel")[names].transform(lambda column: column.mode()[0])
    return table[(table[names] == usual).all(axis=1)]


def sweep(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The networks that differ from the base of their panel in no setting but this one, sorted by it."""
    return base(table, but=setting).sort_values(["panel", setting, "seed"])


def bounds(table: pd.DataFrame) -> np.ndarray:
    """The bound on CDNV, the constant times the geometric collapse, of every measured epoch of every network."""
    return np.concatenate([row["poincare"] * np.array(row["geometric_collapse"]) for _, row in table.iterrows()])


def bound_ratio(table: pd.DataFrame) -> np.ndarray:
    """CDNV over its bound, of every measured epoch of every network."""
    return np.concatenate(table["cdnv"].tolist()) / bounds(table)


def linked(table: pd.DataFrame, x: str, y: str) -> dict[str, Estimate]:
    """By panel the rank correlation of two columns over its recipes: the mean over seeds, of Fisher's z."""
    if table.empty:  # of which pandas makes no rows
        return {}
    found = _correlations(table, x, y)
    of_panels = by_panel(found.assign(value=fisher(found["value"])))
    return {panel: Estimate(*np.tanh([z.value, z.low, z.high]).tolist()) for panel, z in of_panels.items()}


def doubled(table: pd.DataFrame, setting: str, metric: str) -> pd.Series:
    """By panel the factor by which a metric changes where a setting is twice as large.

    It follows a line through their logarithms, whose slope is averaged over seeds. A setting of 0 has no logarithm, and
    is left out, as are sweeps of fewer than two other values.
    """
    swept = np.log2(sweep(table, setting).query(f"{setting} > 0").set_index(["panel", "seed"])[[setting, metric]])
    slopes = {
        key: np.polyfit(rows[setting], rows[metric], 1)[0]
        for key, rows in swept.groupby(["panel", "seed"])
        if rows[setting].nunique() > 1
    }
    return 2 ** pd.Series(slopes, dtype=float).groupby(level=0).mean()


def against_none(
    table: pd.DataFrame, setting: str, metric: str, *, of: Callable[..., np.ndarray] = np.log
) -> pd.Series:
    """What `of` makes of a metric of each network, minus the same of its panel's and seed's with the setting at 0."""
    keys = pd.MultiIndex.from_frame(table[["panel", "seed"]])
    none = table[table[setting] == 0].set_index(["panel", "seed"])[metric].reindex(keys)
    return of(table[metric]) - of(none.to_numpy())


def dealt_out(table: pd.DataFrame) -> pd.DataFrame:
    """The networks with the complexities of their classes dealt out to other classes: what chance makes of them."""
    rng = np.random.default_rng(0)
    return table.assign(complexity_by_class=[rng.permutation(values) for values in table["complexity_by_class"]])


def relative_errors(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """One row an amount: root mean square relative error of an estimate over networks, resampled for the interval."""
    amounts, networks = table[method].iloc[0], np.arange(len(table))
    errors = np.array(table[f"{method}_error"].tolist())
    return pd.DataFrame({"amount": amounts, "error": [bootstrap(rms, column, groups=networks) for column in errors.T]})


def rms(values: ArrayLike) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def over_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation over classes of the variance of their features and their complexity, at the end.

    The mean over the networks of a seed. Where complexities are dealt out to other classes it is 0 on average.
    """
    pairs = zip(table["variance_by_class"], table["complexity_by_class"], strict=True)
    found = table.assign(value=[mean_spearman(np.array(x), np.array(y)) for x, y in pairs])
    means = found.groupby(["panel", "seed"])["value"].mean().reset_index()
    return means.assign(replicate=means["panel"] + "/" + means["seed"].astype(str), contrast="")


def changes(table: pd.DataFrame, setting: str, metric: str, *, of: Callable[..., np.ndarray] = np.log) -> pd.DataFrame:
    """By how much a metric (or what `of` makes of it) changes along a sweep, from its first value to its last.

    It is the slope of a straight line through the values of the sweep, which are taken to be evenly spaced: some start
    at 0. A sweep of fewer than three values is left out.
    """
    found = []
    for (panel, seed), rows in sweep(table, setting).groupby(["panel", "seed"]):
        if len(rows) > 2:
            slope = np.polyfit(np.linspace(0, 1, len(rows)), of(rows[metric].to_numpy()), 1)[0]
            found.append((f"{panel}/{seed}", panel, slope))
    return rows_of([row[2] for row in found], replicate=[row[0] for row in found], panel=[row[1] for row in found])


def strongest(table: pd.DataFrame, setting: str, metric: str) -> pd.DataFrame:
    """The logarithm of a metric at the greatest value of a setting over that at 0, of each network."""
    values = np.log(table.pivot(index=["panel", "seed"], columns=setting, values=metric))
    found = (values[values.columns.max()] - values[0.0]).dropna().rename("value").reset_index()
    return found.assign(replicate=found["panel"] + "/" + found["seed"].astype(str), contrast="")


def _correlations(table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Rank correlation of two columns over the recipes of a panel, of each seed."""

    def correlation(rows: pd.DataFrame) -> float:
        return mean_spearman(rows[x].to_numpy(), rows[y].to_numpy())

    found = table.groupby(["panel", "seed"])[[x, y]].apply(correlation).rename("value").reset_index()
    return found.assign(replicate=found["panel"] + "/" + found["seed"].astype(str), contrast="")


def _errors(method: str, amount: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The size of an estimate's relative error, of each network."""

    def replicates(table: pd.DataFrame) -> pd.DataFrame:
        errors = np.abs(np.array(table[f"{method}_error"].tolist()))[:, table[method].iloc[0].index(amount)]
        return rows_of(errors, panel=table["panel"].to_numpy())

    return replicates


def _link(x: str, y: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: _correlations(at_matched_loss(table), x, y)


def _turned(setting: str, metric: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    of = np.asarray if metric == "accuracy_5" else np.log
    return lambda table: changes(at_matched_loss(table), setting, metric, of=of)


_munn = partial(Claim, paper="munn2024", study="geometric_complexity", threshold=0.0)
_link_claim = partial(_munn, smallest=RANKS, kind="correlation")
_AT = ", at matched training loss, mean over seeds and panels"


@dataclass(frozen=True)
class _Effect:
    """What a setting, a penalty or another intervention is said to do to a metric."""

    key: str
    metric: str
    statistic: str  # the metric, in words
    does: str  # of what lowers complexity
    lowers: bool = True
    smallest: float = FACTOR


_COMPLEXITY = _Effect("complexity", "complexity", "ln complexity", "lowers complexity")
_COLLAPSE = _Effect("collapse", "cdnv", "ln CDNV", "makes the source collapse more")
_EFFECTS = {
    "B1": (_COMPLEXITY, _COLLAPSE),
    "B2": (
        _Effect("collapse", "target_cdnv", "ln CDNV on new classes", "makes new classes collapse more"),
        _Effect(
            *("accuracy", "accuracy_5", "5-way 5-shot accuracy", "gives higher few-shot accuracy on new classes"),
            lowers=False,
            smallest=POINT,
        ),
    ),
}
_DIALS = (  # key, what is said to lower complexity, the setting, and whether that is more of it
    ("rate", "A higher learning rate", "learning_rate", True),
    ("batch", "A smaller batch", "batch_size", False),
    ("l2", "More L2 regularisation", "weight_decay", True),
)


def _dials(chapter: str) -> Iterator[Claim]:
    """What each setting is said to do: six claims."""
    for (key, more, setting, rises), effect in product(_DIALS, _EFFECTS[chapter]):
        yield _munn(
            key=f"{chapter}-{key}-{effect.key}",
            sentence=f"{more} {effect.does}.",
            statistic=f"change of {effect.statistic} over the sweep of the {setting.replace('_', ' ')}{_AT}",
            side="below" if effect.lowers == rises else "above",
            smallest=effect.smallest,
            replicates=_turned(setting, effect.metric),
        )


def _intervention(key: str, study: str, what: str, setting: str, effect: _Effect) -> Claim:
    """What the strongest intervention is said to do, against none."""
    return _munn(
        key=key,
        study=study,
        sentence=f"{what} {effect.does}.",
        statistic=f"{effect.statistic} with the strongest {setting} less that with none, at the end of training",
        side="below",
        smallest=effect.smallest,
        replicates=lambda table: strongest(at_the_end(table), setting, effect.metric),
    )


_penalty = partial(_intervention, study="complexity_penalty", what="A penalty on complexity", setting="penalty")
_force = partial(
    _intervention,
    study="dialled_complexity",
    what="Forcing collapse, by a penalty on it (our intervention),",
    setting="collapse",
)
_QUICKLY = partial(Claim, paper="munn2024", study="complexity_estimates", side="below", threshold=0.1)
_ERROR = "size of the relative error of an estimate {}, mean over networks"

CLAIMS = (
    _link_claim(
        key="B1-link",
        sentence="What changes the geometric complexity of the embedding changes its collapse the same way.",
        statistic="rank correlation of source complexity and source CDNV over all settings" + _AT,
        side="above",
        replicates=_link("complexity", "cdnv"),
    ),
    _link_claim(
        key="B1-scaled",
        sentence="So does what changes complexity measured by the distances of class means. (Our reading: raw "
        "complexity grows with the scale of the features.)",
        statistic="rank correlation of geometric collapse and CDNV of the source over all settings" + _AT,
        side="above",
        replicates=_link("geometric_collapse", "cdnv"),
    ),
    *_dials("B1"),
    _link_claim(
        key="B2-collapse",
        sentence="The effect carries over: lower source complexity, more collapse on new classes.",
        statistic="rank correlation of source complexity and CDNV on new classes over all settings" + _AT,
        side="above",
        replicates=_link("complexity", "target_cdnv"),
    ),
    _link_claim(
        key="B2-accuracy",
        sentence="Lower source complexity goes with higher few-shot accuracy on new classes.",
        statistic="rank correlation of source complexity and 5-way 5-shot accuracy over all settings" + _AT,
        side="below",
        replicates=_link("complexity", "accuracy_5"),
    ),
    *_dials("B2"),
    _munn(
        key="B3",
        sentence="Collapse is bounded by complexity, through a Poincare inequality.",
        statistic="the largest CDNV over its bound, with the constant of a Gaussian, of all networks and epochs",
        side="below",
        threshold=1.0,
        kind="exact",
        replicates=lambda table: rows_of([bound_ratio(table).max()]),
    ),
    _link_claim(
        key="B3-classes",
        sentence="The bound is of each class: features of a class of lower complexity spread less. (Our severer test.)",
        statistic="rank correlation over classes of complexity and variance at the end, mean over networks",
        side="above",
        replicates=over_classes,
    ),
    *(
        _QUICKLY(key=f"B4-{method}", sentence=sentence, statistic=_ERROR.format(words), replicates=_errors(method, n))
        for method, n, sentence, words in (
            ("samples", 64, "Complexity can be estimated from few samples.", "from 64 images"),
            ("entries", 0.01, "It survives an extreme masking of the Jacobian.", "from a hundredth of the entries"),
            ("outputs", 16, "It can be estimated from a few of the outputs.", "from 16 outputs of each sample"),
        )
    ),
    _penalty("B5-complexity", effect=_COMPLEXITY),
    _penalty("B5-collapse", effect=_COLLAPSE),
    _force("B6-collapse", effect=_COLLAPSE),
    _force("B6-complexity", effect=_COMPLEXITY),
)

STUDIES = (geometric_complexity, complexity_penalty, dialled_complexity, complexity_estimates)
LIVE: dict[str, Cell] = {
    "geometric_complexity": {},
    "complexity_penalty": {},
    "dialled_complexity": {"collapse": 0.1},
    "complexity_estimates": {},
}
