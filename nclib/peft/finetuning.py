"""Train tuned models: one loop for all methods. The frozen part before the tuned layer is computed only once."""

import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from nclib.checks import check_known, check_least, check_positive, check_whole, counted, few
from nclib.data.augmentation import distort
from nclib.data.images import Labelled
from nclib.data.kinds import with_labels
from nclib.devices import in_double, in_half
from nclib.features.identity import identity
from nclib.models.batches import balanced, check_balance
from nclib.models.losses import collapse_term
from nclib.models.schedules import SCHEDULES, run_epoch
from nclib.peft.files import changed, restore
from nclib.peft.prefix import Inputs, LabelledInputs, Suffix, ready, split
from nclib.peft.tuned import Tuned
from nclib.probing.linear import probe_layer
from nclib.probing.probe import check_choice
from nclib.seeds import seeded
from nclib.storage import load_tensors, replacing, save_tensors


@dataclass(frozen=True)
class Tuning:
    """Settings of fine-tuning, the same for every method: AdamW on the cross-entropy.

    - `learning_rate` is the peak rate of the `schedule`, a name in `nclib.models.schedules.SCHEDULES`. Too high a rate
      ruins a model when data is scarce, so give `finetune` images to validate on, or let `finetune_best` choose.
    - `batch_size` is the largest size of a batch. An epoch is cut into batches as equal as possible (of up to 3 images
      if `batch_size` is 2), because a small remainder gives batch norm poor statistics.
    - `augmentation` is the strength of random distortion; 0 is none.
    - With `probe_first` the head starts as a linear probe, of inverse penalty `C`, of the initial features, so that no
      method has to learn the head from scratch (Kumar et al. 2022).

    With `balanced` above 0 a batch holds that many images of each of ``batch_size // balanced`` classes. Then
    `collapse` times the logarithm of the trace ratio of its features is added to the loss: above 0 it forces collapse,
    below 0 it prevents it, see `nclib.models.losses.collapse_term`.

    >>> Tuning(epochs=20, learning_rate=1e-3).schedule
    'one-cycle'
    """

    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    epochs: int = 10
    batch_size: int = 64
    schedule: str = "one-cycle"
    augmentation: float = 0.0
    collapse: float = 0.0
    balanced: int = 0
    probe_first: bool = True
    C: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_known(SCHEDULES, schedule=self.schedule)
        for name, least in {"epochs": 0, "batch_size": 2, "balanced": 0, "seed": 0}.items():
            check_whole(least, **{name: getattr(self, name)})
            object.__setattr__(self, name, int(getattr(self, name)))  # numpy's integers cannot be written to a file
        for name in ("learning_rate", "weight_decay", "augmentation"):
            check_least(0, **{name: getattr(self, name)})
            if getattr(self, name) == math.inf:
                raise ValueError(f"{name} is inf; it must be finite")
            object.__setattr__(self, name, float(getattr(self, name)))
        check_positive(C=self.C)
        check_balance(self.batch_size, self.balanced, self.collapse)


class Validation(NamedTuple):
    """Accuracies and losses on the validation images by epoch: before training (0), and after each epoch.

    Examples
    --------
    >>> Validation(accuracies=[0.5, 0.9, 0.9], losses=[0.7, 0.3, 0.2]).best  # the lower loss decides
    2
    """

    accuracies: list[float]
    losses: list[float]

    @property
    def best(self) -> int:
        """The number of epochs with the best accuracy; among equal accuracies, with the lowest loss."""
        return max(range(len(self.losses)), key=self.merit)

    def merit(self, epoch: int) -> tuple[float, float]:
        """What epochs and candidates are compared by: the accuracy, then the loss, which is worst if it is NaN."""
        loss = self.losses[epoch]
        return self.accuracies[epoch], -math.inf if math.isnan(loss) else -loss


class TuningState:
    """Trains a model in place, epoch by epoch; `data` holds digests of the training and validation data."""

    def __init__(self, tuned: Tuned, part: Tuned | Suffix, settings: Tuning, data: list[str] | None = None):
        self.tuned, self.part, self.settings, self.data = tuned, part, settings, data
        self.parameters = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, settings.learning_rate, weight_decay=settings.weight_decay)
        self.scores = Validation([], [])
        self.best: dict[str, Tensor] = {}
        self.earlier, self.since = 0.0, time.perf_counter()

    def run(
        self, epochs: Iterable[int], data: Inputs, held: Inputs | None, *, patience: int | None, path: Path | None
    ) -> None:
        """Run the epochs until they or the patience end, saving the state now and then."""
        saved = time.monotonic()
        for epoch in epochs:
            if patience is not None and epoch - self.scores.best >= patience:
                break
            with torch.random.fork_rng([data.device] if data.device.type == "cuda" else []):
                torch.manual_seed(seeded("dropout", self.settings.seed, epoch).initial_seed())  # repeatable
                self.run_epoch(data, epoch)
            if held:
                self.score(held)
            if path and time.monotonic() - saved > _SAVE_EVERY:
                self.save(path, epoch + 1)
                saved = time.monotonic()

    def run_epoch(self, data: Inputs, epoch: int) -> None:
        """One pass over the data; its order and distortions depend only on the seed and the epoch."""
        generator, settings = seeded("tune", self.settings.seed, epoch), self.settings
        rows = self.batches(data.labels, generator)

        def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
            inputs, labels = batch
            with torch.autocast(data.device.type, torch.bfloat16, enabled=in_half(data.device)):
                features = self.part.features(distort(inputs, settings.augmentation, generator))
                logits = self.tuned.head(features)
            found = cross_entropy(logits.to(self.tuned.head.weight.dtype), labels)
            if not settings.collapse:
                return found
            return found + collapse_term(features.to(found.dtype), labels, settings.collapse)

        self.part.train()
        passes = {"steps": len(rows), "epoch": epoch, "epochs": settings.epochs}
        run_epoch(self.optimizer, data.batches(rows), loss, schedule=settings.schedule, **passes)
        self.part.eval()

    def batches(self, labels: Tensor, generator: torch.Generator) -> Sequence[Tensor]:
        """The rows of the batches of an epoch."""
        if self.settings.balanced:
            return balanced(labels.cpu(), self.settings.batch_size, self.settings.balanced, generator)
        order = torch.randperm(len(labels), generator=generator)
        number = math.ceil(len(order) / self.settings.batch_size)
        return order.tensor_split(max(1, min(number, len(order) // 2)))  # batch norm needs two

    def score(self, held: Inputs) -> None:
        """Measure the validation images, and keep the weights if they are the best so far."""
        logits = held.through(self.part)
        self.scores.accuracies.append(float(in_double(logits.argmax(1) == held.labels).mean()))
        self.scores.losses.append(float(cross_entropy(logits, held.labels)))
        if self.scores.best == len(self.scores.losses) - 1:
            self.best = {name: tensor.clone() for name, tensor in changed(self.tuned).items()}

    def finish(self, path: Path | None) -> None:
        """Restore the weights of the best epoch, if there was validation, and remove the checkpoint."""
        restore(self.tuned, self.best)
        if path:
            path.unlink(missing_ok=True)

    @property
    def seconds(self) -> float:
        """The duration of the training in seconds, including killed processes up to their last save."""
        return self.earlier + time.perf_counter() - self.since

    def save(self, path: Path, epoch: int) -> None:
        parts = {"now": changed(self.tuned), "best": self.best} | {
            f"optimizer{i}": self.optimizer.state[parameter] for i, parameter in enumerate(self.parameters)
        }
        tensors = {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        now = {"epoch": epoch, "scores": list(self.scores), "seconds": self.seconds}
        save_tensors(path, tensors, self._identity() | now)

    def resume(self, path: Path) -> int:
        """Load the state of a file; returns the number of epochs done."""
        tensors, metadata = load_tensors(path)
        if any(metadata.get(name) != value for name, value in self._identity().items()):
            raise ValueError(f"{path} is the checkpoint of another fine-tuning than this one; delete it to start again")
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = tensor.to(self.tuned.head.weight.device)
        restore(self.tuned, parts["now"])
        self.best = parts.get("best", {})
        for i, parameter in enumerate(self.parameters):
            self.optimizer.state[parameter] = parts.get(f"optimizer{i}", {})  # none without a gradient
        self.scores = Validation(*metadata["scores"])
        self.earlier, self.since = metadata.get("seconds", 0.0), time.perf_counter()
        return int(metadata["epoch"])

    def _identity(self) -> dict[str, Any]:
        return _made_of(self.tuned) | {"data": self.data, "settings": asdict(self.settings)}


def _made_of(tuned: Tuned) -> dict[str, Any]:
    """What identifies a model to be tuned, and its transform of images."""
    return {"spec": tuned.spec, "base": tuned.base, "transform": identity(tuned.transform)}


_SAVE_EVERY = 30.0  # seconds between saved states of an unfinished training


def finetune(
    tuned: Tuned,
    train: LabelledInputs,
    settings: Tuning | None = None,
    *,
    validation: LabelledInputs | None = None,
    patience: int | None = None,
    stop: int | None = None,
    checkpoint: str | Path | None = None,
    memory: float = 2e9,
    progress: bool = False,
) -> Validation:
    """Train the trainable parts of a tuned model, in place.

    For a linear probe, layer tuning and skip tuning without augmentation, the output of the frozen part before the
    tuned layer is computed once and kept if it takes at most `memory` bytes (in half precision on a GPU). Otherwise
    the images are kept as bytes if those take at most `memory`; if not, they are read in every epoch.

    Parameters
    ----------
    tuned
        A model from `linear_probe`, `skip_tuning` or the others, on its device.
    train, validation
        Labelled images of any kind that `nclib.labelled` takes, such as inputs (N, C, H, W) with labels (N,). With
        `validation` the weights of the best epoch on it are kept. Epoch 0 is the model before training; if that is
        the best, a warning says what to try.
    patience
        Number of epochs without improvement on `validation` after which training stops; None never stops early.
    stop
        Number of epochs after which to stop, on the schedule of all epochs; None runs them all.
    checkpoint
        A file for the state of an unfinished training: saved every half minute, resumed from if it exists, and removed
        at the end. ValueError if it is of other settings, data, or another model.
    memory
        The most bytes that may be kept, as above.
    progress
        Show a progress bar.

    Returns
    -------
    Validation
        The accuracy and loss on the validation images by epoch; empty without such images.

    Raises
    ------
    ValueError
        If there are no images, an image is invalid, labels do not fit the head, nothing can be trained, an option is
        out of its range, or `patience` is given without `validation`.
    TypeError
        If `tuned` is not a `Tuned`, `settings` is not a `Tuning`, or inputs come without labels.

    Examples
    --------
    >>> from nclib import backbone, linear_probe, load
    >>> train, test = (load("digits", split, per_class=20) for split in ("train", "test"))
    >>> tuned = linear_probe(backbone("test_resnet", weights="random", device="cpu"), num_classes=10)
    >>> scores = finetune(tuned, train, Tuning(epochs=2, probe_first=False), validation=test)
    >>> len(scores.accuracies)  # before the first epoch, and after each
    3
    """
    settings = settings or Tuning()
    _warn_of_coarse(tuned)
    scores = _finetuned(
        tuned,
        train,
        settings,
        validation=validation,
        patience=patience,
        stop=stop,
        checkpoint=checkpoint,
        memory=memory,
        progress=progress,
    ).scores
    _warn_of_no_gain(scores, [settings])
    _warn_of_ruin(tuned, settings)
    return scores


def _warn_of_coarse(tuned: Any) -> None:
    """Warn if trained parameters have half precision, because the user or the model's forward pass cast them."""
    named = tuned.named_parameters() if isinstance(tuned, Tuned) else ()
    coarse = {name: each.dtype for name, each in named if each.requires_grad and torch.finfo(each.dtype).bits < 32}
    if coarse:
        warnings.warn(
            f"{few([*coarse])} are trained in {next(iter(coarse.values()))}, where small steps are lost; tuned.float() "
            "puts them in float32",
            stacklevel=3,
        )


def _warn_of_ruin(tuned: Tuned, settings: Tuning) -> None:
    """Warn if trained weights are NaN or infinite, which only validation images would have kept out."""
    if not all(each.isfinite().all() for each in tuned.parameters() if each.requires_grad):
        warnings.warn(
            f"the trained weights hold NaN or infinity; try a learning_rate below {settings.learning_rate}, or give "
            "images to validate on",
            stacklevel=3,
        )


def _warn_of_no_gain(scores: Validation, tried: Sequence[Tuning]) -> None:
    """Warn if training did not help, and say what may; with one rate, the loss tells whether it was too high."""
    if len(scores.losses) < 2 or scores.best:
        return
    rates = sorted({settings.learning_rate for settings in tried})
    first, *later = scores.losses
    if len(rates) > 1:
        cure = f"more epochs or a learning_rate other than {few([f'{rate:g}' for rate in rates])}"
    elif min(later) < 1.01 * first:  # also if nothing moved
        cure = f"more epochs or a learning_rate above {rates[0]}"
    else:
        cure = f"a learning_rate below {rates[0]}"
    warnings.warn(
        f"no epoch did better on the validation images than epoch 0, before training: accuracy was "
        f"{scores.accuracies[0]:.3f}, and at best {max(scores.accuracies[1:]):.3f} after, so the initial weights were "
        f"kept; try {cure}, another layer (nclib.layers), or another method",
        stacklevel=3,
    )


def _finetuned(
    tuned: Tuned,
    train: LabelledInputs,
    settings: Tuning,
    *,
    validation: LabelledInputs | None = None,
    patience: int | None = None,
    stop: int | None = None,
    checkpoint: str | Path | None = None,
    memory: float = 2e9,
    progress: bool = False,
) -> TuningState:
    """The work of `finetune`; returns the final state, with its scores and seconds."""
    since = time.perf_counter()
    _check_trainable(tuned, settings)
    epochs = _checked_epochs(settings, stop, patience, validation)
    train = ready(train, "train", tuned.head.out_features)
    if validation is not None:
        validation = ready(validation, "validation", getattr(train, "classes", tuned.head.out_features))
    prefix, part = (None if settings.augmentation else split(tuned)) or (None, tuned)
    tuned.eval()
    with (
        closing(Inputs(train, tuned, prefix, memory)) as data,
        nullcontext() if validation is None else closing(Inputs(validation, tuned, prefix, memory)) as held,
    ):
        if settings.probe_first and tuned.spec["num_classes"] is not None:
            features = data.through(part.features)
            head = probe_layer(features, data.labels, tuned.spec["num_classes"], C=settings.C)
            tuned.head.load_state_dict(head.state_dict())
        path = None if checkpoint is None else Path(checkpoint)
        state = TuningState(tuned, part, settings, [part.digest for part in (data, held) if part] if path else None)
        state.since = since  # counts the preparation; a resumed state sets its own
        done = state.resume(path) if path and path.exists() else 0
        if held and not done:
            state.score(held)
        told: Any = {"desc": f"tune {tuned.spec['method']}", "disable": not progress, "leave": False}
        bar = tqdm(range(done, epochs), initial=done, total=epochs, **told)  # a resumed training counts on
        state.run(bar, data, held, patience=patience, path=path)
    state.finish(path)
    return state


def _check_trainable(tuned: Any, settings: Any) -> None:
    """Raise an error unless this is a tuned model with something to train, and settings of a training."""
    if not isinstance(tuned, Tuned) or not isinstance(settings, Tuning):
        raise TypeError(
            f"tuned and settings are {type(tuned).__name__} and {type(settings).__name__}; they must be a tuned model, "
            "as skip_tuning and the others return, and a Tuning"
        )
    if not any(parameter.requires_grad for parameter in tuned.parameters()):
        raise ValueError(
            "no parameter of tuned requires a gradient, so nothing would be trained; make the tuned model again"
        )


def _checked_epochs(settings: Tuning, stop: int | None, patience: int | None, validation: LabelledInputs | None) -> int:
    """The most epochs to train, after a check of stop and patience."""
    check_whole(0, stop=0 if stop is None else stop)
    if stop is not None and stop > settings.epochs:
        raise ValueError(f"stop is {stop}; it must be from 0 to {settings.epochs}, the epochs of the schedule")
    check_whole(1, patience=1 if patience is None else patience)
    if patience is not None and validation is None:
        raise ValueError(f"patience is {patience}; it needs validation images: validation=...")
    return settings.epochs if stop is None else stop


class Choice(NamedTuple):
    """The result of `finetune_best`: the tuned model, the number of its candidate, and its number of epochs.

    `seconds` is the duration of all trials and the last training, including killed processes up to their last save.

    Examples
    --------
    >>> from nclib import linear_probe
    >>> model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    >>> choice = Choice(linear_probe(model), candidate=1, epochs=5)
    >>> choice.tuned.spec["method"], choice.candidate, choice.epochs
    ('linear', 1, 5)
    """

    tuned: Tuned
    candidate: int
    epochs: int
    seconds: float = 0.0


def finetune_best(
    candidates: Sequence[tuple[Callable[[], Tuned], Tuning]],
    train: Any,
    *,
    share: float = 0.2,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> Choice:
    """Choose the best candidate and number of epochs on held-out images, then fine-tune it on all images.

    Parameters
    ----------
    candidates
        Pairs of a function that makes a model to tune, and settings.
    train
        Labelled images of any kind that `nclib.labelled` takes, at least two of every class.
    share
        The share of every class to hold out, at least one image. The lowest loss on the held-out images decides
        between equally accurate candidates.
    patience
        As in `finetune`, for the trials.
    checkpoint
        A file from which a killed choice resumes. It keeps the scores of finished trials, and a file beside it keeps
        the unfinished training; both are removed at the end. ValueError if it is of another choice.
    options
        `memory` and `progress`, as in `finetune`.

    Returns
    -------
    Choice
        The tuned model, the number of its candidate, and its number of epochs.

    Raises
    ------
    ValueError
        If there are no candidates, a class has fewer than two images, `share` is not in (0, 1), or as in `finetune`.
    TypeError
        If a candidate is not a pair of a function and a `Tuning`, or images have no labels.

    Examples
    --------
    >>> from nclib import backbone, linear_probe, load
    >>> model = backbone("test_resnet", weights="random", device="cpu")
    >>> tunings = (Tuning(epochs=0, probe_first=False), Tuning(epochs=0))  # a head of zeros, or a linear probe
    >>> candidates = [(lambda: linear_probe(model, 10), tuning) for tuning in tunings]
    >>> finetune_best(candidates, load("digits", per_class=4))[1:3]  # the candidate, and its epochs
    (1, 0)
    """
    if unknown := options.keys() - {"memory", "progress"}:
        raise TypeError(f"{', '.join(sorted(unknown))} is not an option; there are memory and progress")
    candidates = _pairs_of(candidates)
    train = with_labels(train, "train")
    _check_two_of_each(train)
    check_choice(share, 0, name="share")
    rest, held = train.split_off(share)
    path = None if checkpoint is None else Path(checkpoint)
    same = {"share": share, "patience": patience, "data": train.digest if path else None}
    kept = None if path is None else _Trials(path)

    def tune(tuned: Tuned, number: int, images: Any, **more: Any) -> TuningState:
        under_way = path and path.with_name(f"{path.name}.{number}")
        return _finetuned(tuned, images, candidates[number][1], checkpoint=under_way, **options, **more)

    def tried(number: int) -> tuple[Validation, float]:
        make, settings = candidates[number]
        tuned = make()
        made_of = _made_of(tuned) | {"settings": asdict(settings), **same}
        if kept and (found := kept.read(number, made_of)):
            return found
        state = tune(tuned, number, rest, validation=held, patience=patience)
        if kept:
            kept.write(number, made_of, state)
        return state.scores, state.seconds

    trials = [tried(number) for number in range(len(candidates))]
    scores = [score for score, _ in trials]
    merits = [score.merit(score.best) for score in scores]
    chosen = max(range(len(candidates)), key=merits.__getitem__)
    _warn_of_no_gain(scores[chosen], [settings for _, settings in candidates])
    epochs, tuned = scores[chosen].best, candidates[chosen][0]()
    last = tune(tuned, chosen, train, stop=epochs)
    if path:
        path.unlink(missing_ok=True)
    return Choice(tuned, chosen, epochs, sum(seconds for _, seconds in trials) + last.seconds)


def _pairs_of(candidates: Any) -> list[tuple[Callable[[], Tuned], Tuning]]:
    """The candidates as a list; an error says what is wrong with them."""
    given = list(candidates) if isinstance(candidates, Iterable) else [candidates]
    if not given:
        raise ValueError("there are no candidates; give at least one")
    for pair in given:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[1], Tuning)):
            raise TypeError(
                f"candidates hold {_kind(pair)}; each must be a pair: (function that makes a model, Tuning)"
            )
        if isinstance(pair[0], nn.Module) or not callable(pair[0]):
            raise TypeError(
                f"a candidate's model is {_kind(pair[0])}; give a function that makes it anew, such as "
                "lambda: nclib.linear_probe(model, num_classes)"
            )
    return given


def _kind(given: Any) -> str:
    return f"a {type(given).__name__}"


def _check_two_of_each(train: Labelled) -> None:
    """Refuse classes with fewer than two images, which leave none to hold out."""
    counts = train.labels.bincount(minlength=len(train.classes))
    if counts.min() < 2:
        name = train.classes[int(counts.argmin())]
        raise ValueError(
            f"class {name} has {counted(int(counts.min()), 'image')}; two images of every class are needed"
        )


class _Trials:
    """The finished trials of a choice, in the order of candidates, in a file.

    The file is rewritten as a whole, since another process with the same choice may have removed it.
    """

    def __init__(self, path: Path):
        self.path, self.finished = path, _finished(path)

    def read(self, number: int, identity: dict[str, Any]) -> tuple[Validation, float] | None:
        """Scores and seconds of a trial; None if it is unfinished. ValueError if the file is of another choice."""
        if number >= len(self.finished):
            return None
        found = self.finished[number]
        if found["of"] != json.loads(json.dumps(identity)):
            raise ValueError(
                f"{self.path} is the checkpoint of another choice than this one: candidate {number} has other "
                f"settings, another model or other data; delete it, and {self.path}.*, to start again"
            )
        return Validation(*found["scores"]), found["seconds"]

    def write(self, number: int, identity: dict[str, Any], state: TuningState) -> None:
        """Add the scores and seconds of a trial after those of earlier trials."""
        now = {"of": identity, "scores": list(state.scores), "seconds": state.seconds}
        self.finished = [*self.finished[:number], now]
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.finished), encoding="utf-8")


def _finished(path: Path) -> list[dict[str, Any]]:
    """The trials in a file; [] if it does not exist."""
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list):
            raise TypeError(f"it holds a {type(found).__name__}")
        return [{name: each[name] for name in ("of", "scores", "seconds")} for each in found]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} holds no finished trials; delete it, and {path}.*, to start again") from error
