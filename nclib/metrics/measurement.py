"""Tables of metrics or scores for one set of features."""

import html
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from nclib.arrays import as_array, as_tensor, check_parameter
from nclib.checks import counted, few, listed_names, similar
from nclib.labels import Names, called, check_labels, checked_names
from nclib.metrics.ranks import class_ranks
from nclib.metrics.registry import METRICS, Metric
from nclib.metrics.samples import Samples, samples_of
from nclib.metrics.statistics import ClassStatistics, Covariance, gathered
from nclib.metrics.variability import SaysNothing, about_few, between_spectrum, checked_means

Registry = Mapping[str, Metric]
WIDTH, _LONGEST, _SHORTEST = 100, 40, 20  # columns of a printed table; the most and fewest for a name
_READING = 24  # the fewest columns in which the reading of a value is printed beside it


@dataclass(frozen=True, repr=False, eq=False)
class Measurement(Mapping[str, float]):
    """The result of `nclib.measure` or `nclib.score`: a mapping from metric or score to value that prints as a table.

    `notes` says what a reader of the numbers should know: classes without samples, metrics that are not defined here,
    class means that span fewer than K - 1 directions. `empty` names the values that say nothing because there are too
    few samples. `classes` are the names of the classes measured, or () if they have none.

    Examples
    --------
    >>> from nclib import measure
    >>> features = torch.tensor([[1.0, 0.5], [1.0, -0.5], [-1.0, 0.5], [-1.0, -0.5]])
    >>> found = measure(features, [0, 0, 1, 1], metrics=["nc1_ratio", "cdnv"])
    >>> found["cdnv"], list(found), found.num_samples
    (0.0625, ['nc1_ratio', 'cdnv'], 4)
    """

    values_: Mapping[str, float]
    num_samples: int
    num_classes: int
    num_features: int
    notes: tuple[str, ...] = ()
    registry: Registry = field(default_factory=lambda: METRICS)
    empty: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def to_dict(self) -> dict[str, Any]:
        """Sizes, class names, metrics and notes in plain Python types, ready for `json.dumps`.

        NaN and infinity stay floats.
        """
        sizes = {name: getattr(self, name) for name in ("num_samples", "num_classes", "num_features")}
        named = {"classes": list(self.classes)} if self.classes else {}
        return sizes | named | {"metrics": dict(self.values_), "notes": list(self.notes)}

    def __str__(self) -> str:
        return self.text(WIDTH)

    __repr__ = __str__

    def text(self, width: int) -> str:
        """The table, `width` columns wide; if that is narrow, each reading gets a line of its own.

        >>> print(Measurement({"cdnv": 0.5}, 4, 2, 2).text(30))
        4 samples, 2 classes, 2
          features
        cdnv  0.5
          [0, ∞], lower is more
          collapsed
        """
        names = shortened(self, longest_name(width))
        rows = [(short, f"{self[name]:.6g}", self.registry[name].reading) for name, short in names.items()]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
        indent = sum(widths) + 4
        beside = width - indent >= _READING
        lines = [self._title()]
        for name, value, reading in rows:
            start = f"{name:<{widths[0]}}  {value:>{widths[1]}}"
            lines += [f"{start}  {reading}"] if beside else [start, f"  {reading}"]
        notes = [*(f"note: {note}" for note in self.notes), *about_names(names)]
        shown = [wrapped(line, indent if beside else 2, width) for line in lines]
        return "\n".join([*shown, *(wrapped(note, width=width) for note in notes)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{name}</td><td>{value:.6g}</td><td>{html.escape(self.registry[name].formula)}</td>"
            f"<td>{html.escape(self.registry[name].reading)}</td></tr>"
            for name, value in self.items()
        )
        head = "<tr><th>metric</th><th>value</th><th>formula</th><th>range and direction</th></tr>"
        notes = "".join(f"<p>Note: {html.escape(note)}</p>" for note in self.notes)
        return f"<table><caption>{self._title()}</caption><thead>{head}</thead><tbody>{rows}</tbody></table>{notes}"

    def _title(self) -> str:
        classes = counted(self.num_classes, "class", "classes")
        return f"{counted(self.num_samples, 'sample')}, {classes}, {counted(self.num_features, 'feature')}"


def wrapped(line: str, indent: int = 2, width: int = WIDTH) -> str:
    """The line broken to fit the width, with all but the first part indented.

    >>> [len(part) for part in wrapped("x " * 100).splitlines()]
    [99, 99, 3]
    """
    if len(line) <= width:
        return line
    own = len(line) - len(line.lstrip())  # the indent that the line has already
    more = " " * min(max(indent, own), width // 2)
    return textwrap.fill(line.strip(), width, initial_indent=" " * own, subsequent_indent=more, break_on_hyphens=False)


def longest_name(width: int) -> int:
    """The longest a name may be in a table that is `width` columns wide."""
    return max(_SHORTEST, min(_LONGEST, width // 2))


def shortened(names: Iterable[str], longest: int = _LONGEST) -> dict[str, str]:
    """A dict from each name to a form of at most `longest` characters; no two forms are the same.

    >>> shortened(["nc1", "a name that is as long as two lines of a table"], 20)
    {'nc1': 'nc1', 'a name that is as long as two lines of a table': 'a name tha…f a table'}
    """
    short: dict[str, str] = {}
    end = min(15, (longest - 1) // 2)
    for number, name in enumerate(names, 1):
        short[name] = name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}"
        if list(short.values()).count(short[name]) > 1:
            short[name] = f"{name[: longest - 6]}… {number}"
    return short


def about_names(names: Mapping[str, str]) -> list[str]:
    """Lines that give the full form of each shortened name."""
    return [f"{short} is {name}" for name, short in names.items() if name != short]


def measured(
    registry: Registry,
    names: Iterable[str] | Literal["all"] | None,
    features: Any,
    labels: Any,
    more: Mapping[str, Any],
    *,
    num_classes: int | None = None,
    classes: Names = None,
    strict: bool | None = None,
    progress: bool = False,
) -> Measurement:
    """Compute the named metrics of a registry, as `measure` describes; `more` maps further inputs to values or None.

    If strict, an undefined metric is an error, else a note. None is strict only if names were given.
    """
    given: dict[str, Any]
    if isinstance(features, ClassStatistics):
        if labels is not None or num_classes is not None or (classes is not None and features.classes):
            raise ValueError(
                "class statistics contain their labels and classes; leave those out, and give other arguments by name"
            )
        given, counts, width = {"stats": features}, features.counts, features.num_features
        classes = features.classes or checked_names(classes, features.num_classes)
    elif labels is None:
        raise ValueError("labels are missing: give features and labels, or class statistics")
    else:
        samples = samples_of(features, labels, num_classes=num_classes, classes=classes)
        classes, width = samples.classes, samples.features.shape[1]
        counts = samples.labels.bincount(minlength=num_classes or len(classes))
        given = {"features": samples, "labels": samples.labels}
    given |= more
    for name, size in (("weight", (len(counts), width)), ("bias", (len(counts),))):
        given[name] = _parameter(given.get(name), name, size)
    chosen_names = chosen(names, given, registry)
    given = _of_seen_classes(given, counts > 0)
    if "stats" not in given:
        given["stats"] = _statistics(given["features"], [registry[name] for name in chosen_names], progress)
        given["features"] = replace(given["features"], checked=True, stats=given["stats"])
    strict = names not in (None, "all") if strict is None else strict
    values, notes, empty = _computed(chosen_names, given, registry, strict=strict)
    stats = given["stats"]
    sizes = (stats.num_samples, stats.num_classes, stats.num_features)
    kept = tuple(name for name, count in zip(classes, counts.tolist(), strict=False) if count)
    return Measurement(values, *sizes, (*_about_counts(counts.tolist(), classes), *notes), registry, empty, kept)


def chosen(
    metrics: Iterable[str] | Literal["all"] | None, given: Mapping[str, Any], registry: Registry = METRICS
) -> list[str]:
    """The names asked for, once it is checked that they exist and can be computed."""
    known = {"stats", *(name for name, value in given.items() if value is not None)}
    known |= {"class_ranks"} if "features" in known else set()
    possible = [name for name, metric in registry.items() if known.issuperset(metric.inputs)]
    if metrics is None or metrics == "all":
        return [name for name in possible if metrics == "all" or not registry[name].on_request]
    kind = "metric" if registry is METRICS else "score"
    names = listed_names(metrics, f"{kind}s")
    for name in names:
        if name not in registry:
            raise ValueError(
                f"{name!r} is not a {kind}{similar(name, registry)}; the {kind}s are {', '.join(registry)}"
            )
        if name not in possible:
            missing = [part.replace("class_ranks", "features") for part in registry[name].inputs if part not in known]
            give = [f"{part}=..." for part in missing if part not in ("features", "labels")]
            give += ["features and labels in place of class statistics"] if len(give) < len(missing) else []
            raise ValueError(f"{name} needs {' and '.join(missing)}; give {', and '.join(give)}")
    if not names:
        raise ValueError(f"no {kind} was asked for; {kind}s='all' computes all of them")
    return names


def _statistics(samples: Samples, metrics: Iterable[Metric], progress: bool) -> ClassStatistics:
    """Class statistics with as much of the covariance as the metrics need."""
    takes = {metric.covariance for metric in metrics}
    wide = samples.features.shape[1] >= 4 * (int(samples.labels.max()) + 1)  # otherwise the span is not cheaper
    kind: Covariance = "diagonal" if takes == {"diagonal"} else "full" if "full" in takes or not wide else "span"
    return gathered(samples, covariance=kind, progress=progress)


def _parameter(value: Any, name: str, size: tuple[int, ...]) -> Tensor | None:
    return None if value is None else check_parameter(value, name, torch.empty(size, dtype=torch.float64))


def _of_seen_classes(given: dict[str, Any], seen: Tensor) -> dict[str, Any]:
    """The inputs without empty classes; the other classes are renumbered in order."""
    if seen.all() or not seen.any():
        return given
    kept = {name: given[name][seen.cpu()] for name in ("weight", "bias") if given[name] is not None}
    if "stats" in given:
        return given | kept | {"stats": given["stats"].without_empty_classes()}
    labels, names = (seen.cumsum(0) - 1)[given["labels"]], given["features"].classes
    names = tuple(name for name, has in zip(names, seen.tolist(), strict=False) if has)
    return given | kept | {"labels": labels, "features": replace(given["features"], labels=labels, classes=names)}


def _about_counts(counts: list[int], names: Sequence[str]) -> Iterator[str]:
    """Notes on classes with no sample or one."""
    for number, words in ((0, "no samples and {are} left out"), (1, "one sample, whose spread is taken as 0")):
        if classes := [k for k, count in enumerate(counts) if count == number]:
            have, are = ("has", "is") if len(classes) == 1 else ("have", "are")
            what = f"{have} {words.format(are=are)} ({few(called(classes, names))})"
            yield f"{len(classes)} of {len(counts)} classes {what}"


def _computed(
    names: list[str], given: Mapping[str, Any], registry: Registry, *, strict: bool
) -> tuple[dict[str, float], list[str], tuple[str, ...]]:
    """The values of the defined metrics, notes on all metrics, and the names of values that say nothing."""
    stats, values, notes, empty = given["stats"], {}, [], []
    checked_means(stats)  # an error if no metric at all is defined
    if any("class_ranks" in registry[name].inputs for name in names):
        given = {**given, "class_ranks": class_ranks(given["features"], given["labels"])}
    for name in names:
        metric = registry[name]
        arguments = {part: given.get(part) for part in (*metric.inputs, *metric.optional)}
        if not metric.takes_samples and isinstance(samples := arguments.get("features"), Samples):
            arguments["features"] = samples.features
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                values[name] = _number(name, metric.compute(*arguments.values()))
            silent = [warning for warning in caught if issubclass(warning.category, SaysNothing)]
            notes += [str(warning.message) for warning in caught if warning not in silent]
            empty += [name for _ in silent]
        except ValueError as error:
            if strict:
                raise
            notes.append(f"{name} is left out: {error}")
    if {"nc1", "vci"} & values.keys():
        rank, possible = len(between_spectrum(stats)[0]), min(stats.num_classes - 1, stats.num_features)
        if rank < possible:
            notes.append(f"the class means span {rank} of {possible} directions; nc1 and vci count only those")
    return values, [*notes, *_about_empty(empty, stats.num_samples)], tuple(empty)


def _about_empty(names: Sequence[str], samples: int) -> list[str]:
    """One note for all values that say nothing. It leaves out the width, so that models of any width share it."""
    return [about_few(names, counted(samples, "sample"))] if names else []


def _number(name: str, value: Any) -> float:
    """A metric's result as a plain number; a user's metric may return a tensor, or something that is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} gave a {type(value).__name__}; a metric must give one number") from error


def measure(
    features: Any,
    labels: Any = None,
    weight: Any = None,
    bias: Any = None,
    *,
    metrics: Iterable[str] | Literal["all"] | None = None,
    num_classes: int | None = None,
    classes: Names = None,
    progress: bool = False,
) -> Measurement:
    """Measure the collapse of features (N, d) with labels (N,), and of a classifier if one is given.

    Returns a `Measurement`: a mapping from the name of each metric to its value, which prints as a table.

    Parameters
    ----------
    features, labels
        Float (N, d), and integers or texts (N,): tensors, arrays, or a memory map larger than memory. Or
        `ClassStatistics` alone, for the metrics that follow from them.
    weight, bias
        The linear classifier on the features, (K, d) and (K,). NC3, NC4 and the NC2 of the weight need the weight.
    metrics
        Names from `nclib.METRICS`; only what they need is computed. None computes every metric that the arguments
        allow, except those marked `on_request`, most of which need a d x d matrix or another pass over the features
        (vci, directional CDNV, the ranks, GNC2, UNC3). "all" includes them.
    num_classes
        K, if the last classes may have no samples; by default the number of rows of the weight, if given. Classes
        without samples are left out, with a note.
    classes
        The names of the K classes, in the order of their numbers; notes use them. Without it, text labels are numbered
        alphabetically. Text labels with a weight need it, since the rows of the weight have their own order.
    progress
        Show a progress bar if the pass over the features takes more than a second.

    Raises
    ------
    ValueError
        If a metric is unknown, undefined here although it was named, or needs what was not given; if fewer than two
        classes have samples, or all class means coincide; if shapes do not fit, or a value is NaN or infinite.
    TypeError
        If features are not floating point, labels mix texts and numbers, or text labels come with a weight but without
        `classes`.

    Examples
    --------
    >>> import torch
    >>> from nclib import measure
    >>> features = torch.tensor([[1.0, 0.5], [1.0, -0.5], [-1.0, 0.5], [-1.0, -0.5]])
    >>> print(measure(features, [0, 0, 1, 1], metrics=["nc1_ratio", "cdnv", "nc2"]))
    4 samples, 2 classes, 2 features
    nc1_ratio    0.25  [0, ∞), lower is more collapsed
    cdnv       0.0625  [0, ∞], lower is more collapsed
    nc2             0  [0, √2], lower is more collapsed
    """
    classifier = {"weight": weight, "bias": bias}
    if num_classes is None and classes is None and weight is not None and not isinstance(features, ClassStatistics):
        num_classes = _classes_of(weight, features, labels)
    options: Any = {"num_classes": num_classes, "classes": classes, "progress": progress}
    return measured(METRICS, metrics, features, labels, classifier, **options)


def _classes_of(weight: Any, features: Any, labels: Any) -> int | None:
    """The number of rows of a weight that fits the features, or more if the labels need more."""
    if labels is None:
        return None
    weight, labels = as_tensor(weight), check_labels(labels)
    if not labels.numel() or weight.shape[1:] != as_array(features).shape[1:]:
        return None
    return max(len(weight), int(labels.max()) + 1)
