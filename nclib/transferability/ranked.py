"""The result of ranking models: a table of scores that can be printed, written and drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nclib.checks import few
from nclib.metrics.measurement import WIDTH, about_names, longest_name, shortened, wrapped
from nclib.models.names import common_ends
from nclib.storage import replacing
from nclib.transferability.calibration import FITTED, likely_best
from nclib.transferability.certainty import Certainty
from nclib.transferability.probes import Probes
from nclib.transferability.registry import higher_is_better
from nclib.transferability.sentences import by_probes, by_score

_ROUNDING = 1e-9  # of a score's values, or of 1 if these are smaller: differences that mean nothing
_HATCHED = "hatched: no value, or values that do not tell these models apart"
_FILLED = "filled: the first model, and models that cannot be told apart from it at 95% confidence"
_NO_SCORES = ["seconds", "layer"]  # columns of the table


@dataclass(frozen=True)
class Ranking:
    """The result of `rank_models`: a table of models, the best first, that prints with its notes.

    Attributes
    ----------
    table
        One row per model, the best first; one column per score, and ``seconds``, how long its features and scores took.
        NaN stands for a score that a model does not have, or that says nothing about so few images.
    by, verified
        The score that the table is sorted by, and how many of the first models are sorted by the accuracy of a linear
        probe instead.
    failures
        Why a model is not in the table, by the model's name.
    notes
        Remarks on the scores, and on models that tie, by the model's name.
    layers
        If scores are the best over layers: the layer of each best score, by the names of the model and of the score.
        For the score that the table is sorted by, its column ``layer`` has the layer, too.
    by_layer
        The scores of every model and layer, one row each, if several layers were scored; else None.
    certainty
        How certain the order by the score is, given that other images of the same kind could have been drawn; None if
        this was not asked for, or is unknown.
    probes
        How certain the accuracies of the linear probes are; None if there were no probes.
    kind
        What the samples are: images or texts.

    Examples
    --------
    >>> found = Ranking(pd.DataFrame({"gbc": [-2.0, -9.0], "seconds": 1.0}, index=["ours", "theirs"]), by="gbc")
    >>> found.best, found.order
    ('ours', 'sorted by gbc, higher is better')
    """

    table: pd.DataFrame
    by: str
    verified: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    by_layer: pd.DataFrame | None = None
    certainty: Certainty | None = None
    probes: Probes | None = None
    kind: str = "images"

    @property
    def best(self) -> str:
        """The name of the first model.

        >>> Ranking(pd.DataFrame({"gbc": [-2.0, -9.0], "seconds": 1.0}, index=["ours", "theirs"]), by="gbc").best
        'ours'
        """
        return str(self.table.index[0])

    @property
    def short_names(self) -> dict[str, str]:
        """A dict from each model's name to a short form, without the beginning and ending that all names share.

        >>> names = ["torchvision:vgg11", "torchvision:vgg13"]
        >>> Ranking(pd.DataFrame({"gbc": [-2.0, -9.0], "seconds": 1.0}, names), by="gbc").short_names
        {'torchvision:vgg11': 'vgg11', 'torchvision:vgg13': 'vgg13'}
        """
        start, end = self._ends
        return {name: name[len(start) :].removesuffix(end) for name in (*self.table.index, *self.failures)}

    @property
    def sentence(self) -> str:
        """Which models lead, which cannot be told apart with these images, and what would tell them apart.

        >>> Ranking(pd.DataFrame({"gbc": [-2.0, -9.0], "seconds": 1.0}, index=["ours", "theirs"]), "gbc").sentence
        'ours leads by gbc; it is not known how sure this is'
        """
        said = [] if self.probes is None else [by_probes(self.probes, self.kind)]
        if self.certainty is not None:
            said.append(by_score(self.certainty, self.by, self.kind, probed=bool(said)))
        return ". ".join(said) or f"{self.best} leads by {self.by}; it is not known how sure this is"

    @property
    def p_best(self) -> pd.Series | None:
        """The probability that each model is best after fine-tuning, from its FaCe; None if sorted by another score.

        `nclib.transferability.calibration` says what it rests on. It takes into account neither the uncertainty of the
        scores nor the probes. None, too, if several layers were scored.

        >>> table = pd.DataFrame({"face": [1.9, 1.2, 0.3], "seconds": 1.0}, index=["ours", "theirs", "other"])
        >>> Ranking(table, by="face").p_best.round(2).to_dict()
        {'ours': 0.67, 'theirs': 0.26, 'other': 0.07}
        """
        if self.by != "face" or self.by_layer is not None:
            return None
        known = self.table["face"].dropna()
        return pd.Series(likely_best(known), index=known.index, name="p_best")

    def agreement(self) -> pd.DataFrame:
        """Kendall's rank correlation of every two scores over the models: a table (scores, scores) in [-1, 1].

        Scores where lower is better count with the opposite sign.
        """
        return self.relative.round(9).corr("kendall")

    def to_dict(self) -> dict[str, Any]:
        """The models with their scores, best first, and everything else, in plain Python types, ready for `json.dumps`.

        ``certainty`` has the 95% intervals of each model's score and rank, ``p_first``, ``p_top3`` and ``p_shuffled``,
        and ``images_needed``, which is infinite if it exceeds 100 times the number of images. Models have ``p_best`` if
        it is known.
        """
        table = self.table if self.p_best is None else self.table.join(self.p_best)
        models = [
            {"model": name}
            | {column: value if column == "layer" else float(value) for column, value in row.dropna().items()}
            for name, row in table.iterrows()
        ]
        notes = {name: list(lines) for name, lines in self.notes.items()}
        layers = {"layers": {name: dict(chosen) for name, chosen in self.layers.items()}} if self.layers else {}
        sure = {name: part.to_dict() for name, part in self._sure.items()}
        told = {"sentence": self.sentence, "by": self.by, "models": models}
        return told | {"failures": dict(self.failures), "notes": notes} | layers | sure

    def __str__(self) -> str:
        return self.text(WIDTH)

    def text(self, width: int) -> str:
        """The sentence, the table and its notes as text, `width` columns wide."""
        return self._shortly._text(width, "NAME".join(self._ends))

    def _text(self, width: int, pattern: str) -> str:
        """The `text` of a ranking whose names are already short; `pattern` shows with NAME what they were cut from."""
        table = self._with_intervals
        names = shortened([*table.index, *table], longest_name(width))
        table = table.rename(index=names, columns=names)
        shown = table.to_string(float_format=lambda value: f"{value:.4g}", na_rep="", line_width=width)
        about: dict[str, list[str]] = {}
        for name, lines in self.notes.items():
            for note in lines:
                about.setdefault(note, []).append(name)
        below = [
            self.order,
            *self._meaning,
            *(f"layers of {name}: {_by_layer(chosen)}" for name, chosen in self.layers.items()),
            *(f"note on {', '.join(models)}: {note}" for note, models in about.items()),
            *(f"{name} failed: {why}" for name, why in self.failures.items()),
            *about_names(names),
            *([] if pattern == "NAME" else [f"models are named {pattern}"]),
        ]
        lines = [line.rstrip("\\ ") for line in shown.splitlines()]
        return "\n".join([wrapped(self.sentence, width=width), *lines, *(wrapped(line, width=width) for line in below)])

    @property
    def _ends(self) -> tuple[str, str]:
        """The beginning and the ending that the names of all models share."""
        return common_ends([*self.table.index, *self.failures])

    @property
    def _shortly(self) -> "Ranking":
        """This ranking with the short names of its models."""
        short = self.short_names

        def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
            return {short[name]: value for name, value in values.items()}

        def said(note: str) -> str:
            for name in sorted(short, key=len, reverse=True):
                note = note.replace(name, short[name])
            return note

        sure: dict[str, Any] = {
            name: replace(part, table=part.table.rename(index=short)) for name, part in self._sure.items()
        }
        return replace(
            self,
            table=self.table.rename(index=short),
            failures=renamed(self.failures),
            notes=renamed({name: [*map(said, lines)] for name, lines in self.notes.items()}),
            layers=renamed(self.layers),
            **sure,
        )

    @property
    def _sure(self) -> dict[str, Certainty | Probes]:
        """The certainty and the probes, by name, as far as they are known."""
        parts = {"certainty": self.certainty, "probes": self.probes}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def _with_intervals(self) -> pd.DataFrame:
        """The table as it is printed: first the score that it is sorted by, with its interval and probabilities."""
        first = self.table[[self.by, *(["layer"] if self.layers else [])]]
        rest = self.table.drop(columns=[*first])
        if self.certainty is not None:
            sure = self.certainty.table
            first = first.assign(interval=_intervals(sure), p_first=sure["p_first"].map("{:.2f}".format))
        if self.p_best is not None:
            first = first.assign(p_best=self.p_best.map("{:.2f}".format))
        if self.probes is not None:
            place = rest.columns.get_loc("probe_accuracy") + 1
            rest.insert(place, "probe_interval", _intervals(self.probes.table))
        return first.join(rest).fillna({"interval": "", "p_first": "", "p_best": "", "probe_interval": ""})

    @property
    def _meaning(self) -> list[str]:
        """What the intervals are, in words."""
        said = []
        if self.certainty is not None:
            said.append(
                f"interval: 95% interval of the score over samples of as many {self.kind}; "
                "p_first: the probability of being first in such a sample"
            )
        if self.p_best is not None:
            said.append(
                "p_best: the probability of being the best after fine-tuning, estimated from FaCe on the book's zoos"
                + _beyond_fit(len(self.p_best))
            )
        return said

    @property
    def order(self) -> str:
        """What the models are sorted by, in words."""
        direction = "higher" if higher_is_better(self.by) else "lower"
        number = f"the first {self.verified}" if self.verified > 1 else "the first"
        first = f"; {number} by the accuracy of a linear probe" if self.verified else ""
        return f"sorted by {self.by}, {direction} is better{first}{self._over}"

    @property
    def _over(self) -> str:
        """How scores of several layers were combined, in words; empty if there is one layer."""
        if self.by_layer is None:
            return ""
        return "; each score is the best over layers" if self.layers else "; each score is the mean over layers"

    def write(self, path: Path | str) -> None:
        """Write the table, with `p_best` and the certainty by model, to a .csv file; ValueError for another ending.

        The columns after the scores are those of ``certainty.table``, such as ``low``, ``high`` and ``p_first``.
        """
        if Path(path).suffix.lower() != ".csv":
            raise ValueError(f"{path} does not end in .csv; give a name that does, or use `to_dict` for JSON")
        with replacing(Path(path)) as temporary:
            known = [self.p_best, None if self.certainty is None else self.certainty.table]
            pd.concat([self.table, *known], axis=1).to_csv(temporary, index_label="model")

    def draw(self, path: Path | str) -> None:
        """Draw the models with all scores, each from its worst (0) to its best (1) value, to an image file.

        Beside them is the score that they are sorted by, with its intervals, if these are known. A filled mark means
        that the model cannot be told apart from the first.
        """
        import matplotlib.pyplot as plt

        values, labels = self.relative, self._shortly._labels
        sure, beside = self.certainty is not None, 3.5 if self.certainty is not None else 0
        names = max(1.0, 0.09 * max(map(len, labels)))  # inches
        size = (1.8 + names + beside + 0.5 * values.shape[1], 2.2 + 0.32 * len(values) + 0.4 * sure)
        widths = [beside, 0.5 * values.shape[1] + 0.8][not sure :]
        figure, axes = plt.subplots(1, 1 + sure, figsize=size, width_ratios=widths, layout="constrained", squeeze=False)
        axis = axes[0, -1]
        axis.patch.set(hatch="////", edgecolor="0.7")  # seen where there is no value
        shades = axis.imshow(values.to_numpy(dtype=float), cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(values.shape[1]), values.columns, rotation=60, ha="right")
        axis.set_yticks([] if sure else range(len(values)), [] if sure else labels)
        axis.grid(False)
        figure.colorbar(shades, label="0 worst, 1 best", ax=axis)
        if self.certainty is not None:
            _draw_intervals(axes[0, 0], self.table[self.by], self.certainty.table, labels)
            axes[0, 0].set_xlabel(f"{self.by}, with its 95% interval")
        figure.suptitle(self.order, fontsize="medium")
        below = [_FILLED] * sure + [_HATCHED] * bool(values.isna().any(axis=None))
        if below:
            figure.supxlabel("\n".join(below), fontsize="small")
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, format=Path(path).suffix.lstrip("."))
        plt.close(figure)

    @property
    def _labels(self) -> list[str]:
        """The models' names, with the layer that they are sorted by."""
        if not self.layers:
            return [*self.table.index]
        return [f"{name} ({layer})" for name, layer in self.table["layer"].items()]

    @property
    def relative(self) -> pd.DataFrame:
        """Every score, scaled from 0 (the worst model) to 1 (the best); NaN if the models differ only by rounding."""
        scores = self.table.drop(columns=_NO_SCORES, errors="ignore")
        scores = scores[[self.by, *scores.columns.drop(self.by)]]
        values = pd.DataFrame({name: v if higher_is_better(name) else -v for name, v in scores.items()})
        spread = values.max() - values.min()
        return (values - values.min()) / spread.where(spread > _ROUNDING * values.abs().max().clip(lower=1))


def ties(table: pd.DataFrame, by: str, verified: int) -> dict[str, list[str]]:
    """A note, by name, on each model that ties with another in the score that both are sorted by.

    >>> ties(pd.DataFrame({"gbc": [0.0, 0.0, -2.0]}, index=["ours", "theirs", "other"]), "gbc", 0)["theirs"]
    ['ours, theirs have the same gbc, 0: their order says nothing']
    """
    found: dict[str, list[str]] = {}
    for score, part in (("probe_accuracy", table[:verified]), (by, table[verified:])):
        values = part[score].astype(float).dropna() if len(part) else pd.Series(dtype=float)
        largest = values.abs()[lambda sizes: sizes < math.inf].max()  # NaN if there is none
        apart = values.diff().abs() > _ROUNDING * max(1.0, largest)
        for _, same in values.groupby(apart.cumsum()):
            if len(same) > 1:
                note = f"{few(same.index)} have the same {score}, {same.iloc[0]:.4g}: their order says nothing"
                found |= {name: [note] for name in same.index}
    return found


def _beyond_fit(number: int) -> str:
    """A warning about `p_best` for fewer or more models than it was fitted to; else empty.

    >>> _beyond_fit(11), _beyond_fit(40)
    ('', ', of 3 to 11 models; for 40 models it is a guess')
    """
    least, most = FITTED
    return "" if least <= number <= most else f", of {least} to {most} models; for {number} models it is a guess"


def _intervals(table: pd.DataFrame) -> pd.Series:
    """Intervals in words, by model."""
    return pd.Series({name: f"[{row['low']:.3g}, {row['high']:.3g}]" for name, row in table.iterrows()}, dtype=object)


def _draw_intervals(axis: Any, scores: pd.Series, sure: pd.DataFrame, labels: Sequence[str]) -> None:
    """The scores from the first model downwards, with their intervals."""
    from matplotlib.ticker import MaxNLocator

    for place, (name, score) in enumerate(scores.items()):
        if name in sure.index:
            row = sure.loc[name]
            axis.plot([row["low"], row["high"]], [place, place], color="C0", lw=1.5)
            axis.plot(score, place, "o", color="C0", mfc="C0" if row["among_first"] else "white")
    axis.set_yticks(range(len(labels)), labels)
    axis.xaxis.set_major_locator(MaxNLocator(3))  # values such as -0.000125 are wide
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)


def _by_layer(chosen: Mapping[str, str]) -> str:
    """Which layer is best for which scores, in words."""
    layers = dict.fromkeys(chosen.values())
    return "; ".join(f"{layer} for {', '.join(s for s, own in chosen.items() if own == layer)}" for layer in layers)
