"""The training of tuned models: one loop for all methods. What is frozen before the tuned layer is computed once."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from nclib.augmentation import seeded
from nclib.fitting import probe_layer
from nclib.image_sets import ImageFiles, ImageSet
from nclib.inputs import Inputs, Labelled
from nclib.prefix import split
from nclib.tuned import Tuned
from nclib.tuning import Tuning, TuningState, Validation

_SAVE_EVERY = 30.0  # seconds between saved states of an unfinished training


def finetune(
    tuned: Tuned,
    train: Labelled,
    settings: Tuning | None = None,
    *,
    validation: Labelled | None = None,
    patience: int | None = None,
    stop: int | None = None,
    checkpoint: str | Path | None = None,
    memory: float = 2e9,
    progress: bool = False,
) -> Validation:
    """Train what is trained of a model, in place.

    For a linear probe, layer and skip tuning without augmentation what is before the tuned layer is computed once, and
    kept if it takes at most `memory` bytes.

    Parameters
    ----------
    tuned
        Of `linear_probe`, `skip_tuning` and the others, on its device.
    train, validation
        Labelled images, which the backbone's transform prepares, or inputs (N, C, H, W) and labels (N,). With
        `validation` the weights of its best epoch are kept, the first being that before training.
    patience
        Epochs without a better one on `validation` after which training stops; None goes on to the end.
    stop
        After how many epochs to stop, the schedule being that of all of them.
    checkpoint
        A file for the state of an unfinished training, saved every half minute, read if it is there, and removed in
        the end. ValueError if it is of other settings, data or another model.

    Returns
    -------
    `Validation`, empty without images to validate on.

    Examples
    --------
    >>> from nclib import backbone, load, skip_tuning
    >>> train, test = (load("digits", split, per_class=20) for split in ("train", "test"))
    >>> tuned = skip_tuning(backbone("test_resnet", weights="random", device="cpu"), -2, num_classes=10)
    >>> scores = finetune(tuned, train, Tuning(epochs=2), validation=test)
    >>> len(scores.accuracies)  # before the first epoch, and after each
    3
    """
    settings = settings or Tuning()
    if not isinstance(tuned, Tuned) or not isinstance(settings, Tuning):
        raise TypeError(
            f"tuned and settings are {type(tuned).__name__} and {type(settings).__name__}; give what skip_tuning and "
            "the others make, and a Tuning"
        )
    epochs = _checked_epochs(settings, stop, patience, validation)
    prefix, part = (None if settings.augmentation else split(tuned)) or (None, tuned)
    tuned.eval()
    data = Inputs(train, tuned, prefix, memory)
    held = None if validation is None else Inputs(validation, tuned, prefix, memory)
    if settings.probe_first and tuned.spec["num_classes"] is not None:
        features = data.through(part.features)
        head = probe_layer(features, data.labels, tuned.spec["num_classes"], C=settings.C)
        tuned.head.load_state_dict(head.state_dict())
    path = None if checkpoint is None else Path(checkpoint)
    state = TuningState(tuned, part, settings, [part.digest for part in (data, held) if part] if path else None)
    done = state.resume(path) if path and path.exists() else 0
    if held and not done:
        state.score(held)
    bar = tqdm(range(done, epochs), f"tune {tuned.spec['method']}", disable=not progress, leave=False)
    saved = time.monotonic()
    for epoch in bar:
        if patience is not None and epoch - state.scores.best >= patience:
            break
        with torch.random.fork_rng([data.device] if data.device.type == "cuda" else []):
            torch.manual_seed(seeded("dropout", settings.seed, epoch).initial_seed())  # the same again
            state.run_epoch(data, epoch)
        if held:
            state.score(held)
        if path and time.monotonic() - saved > _SAVE_EVERY:
            state.save(path, epoch + 1)
            saved = time.monotonic()
    return state.finish(path)


def _checked_epochs(settings: Tuning, stop: int | None, patience: int | None, validation: Labelled | None) -> int:
    """How many epochs are trained at most."""
    if stop is not None and not 0 <= stop <= settings.epochs:
        raise ValueError(f"stop is {stop}; it must be from 0 to {settings.epochs}, the epochs of the schedule")
    if patience is not None and (patience < 1 or validation is None):
        raise ValueError(f"patience is {patience}; it must be at least 1, and needs images to validate on")
    return settings.epochs if stop is None else stop


class Choice(NamedTuple):
    """A tuned model, which of the candidates it is, and the epochs that it was trained for.

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


def finetune_best(
    candidates: Sequence[tuple[Callable[[], Tuned], Tuning]],
    train: ImageSet | ImageFiles,
    *,
    share: float = 0.2,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> Choice:
    """Fine-tune on all images as the candidate, and for the epochs, that do best on images held out for that.

    `candidates` are functions that make a model to tune, and settings. The `share` of every class, at least one image
    of two or more, is held out; of equally accurate candidates the least loss there decides. `patience` is that of the
    trials. `checkpoint` is a file for the training that is under way; finished trials are run again after a kill.
    Further `options` are those of `finetune`.

    Examples
    --------
    >>> from nclib import backbone, linear_probe, load
    >>> model = backbone("test_resnet", weights="random", device="cpu")
    >>> tunings = (Tuning(epochs=0, probe_first=False), Tuning(epochs=0))  # a head of zeros, or a linear probe
    >>> candidates = [(lambda: linear_probe(model, 10), tuning) for tuning in tunings]
    >>> finetune_best(candidates, load("digits", per_class=4))[1:]  # the candidate, and its epochs
    (1, 0)
    """
    if not candidates:
        raise ValueError("there are no candidates; give at least one")
    if not isinstance(train, ImageSet | ImageFiles):
        raise TypeError(f"train is {type(train).__name__}; it must be an ImageSet or ImageFiles, to hold images out of")
    counts = train.labels.bincount(minlength=len(train.classes))
    if counts.min() < 2:
        few = train.classes[int(counts.argmin())]
        raise ValueError(f"there are {int(counts.min())} images of class {few}; two images of every class are needed")
    rest, held = train.split_off(share)

    def tried(number: int, images: Any, **more: Any) -> tuple[Tuned, Validation]:
        make, settings = candidates[number]
        tuned, path = make(), None if checkpoint is None else Path(f"{checkpoint}.{number}")
        return tuned, finetune(tuned, images, settings, checkpoint=path, **options, **more)

    scores = [tried(i, rest, validation=held, patience=patience)[1] for i in range(len(candidates))]
    merits = [(score.accuracies[score.best], -score.losses[score.best]) for score in scores]
    chosen = max(range(len(candidates)), key=merits.__getitem__)
    epochs = scores[chosen].best
    return Choice(tried(chosen, train, stop=epochs)[0], chosen, epochs)
