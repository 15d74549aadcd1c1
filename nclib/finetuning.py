"""The training of tuned models: one loop for all methods. What is frozen before the tuned layer is computed once."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from nclib.augmentation import distort, seeded
from nclib.image_sets import ImageFiles, ImageSet
from nclib.inputs import Inputs, Labelled
from nclib.prefix import Suffix, split
from nclib.probing import LinearProbe
from nclib.storage import load_tensors, save_tensors
from nclib.training import SCHEDULES
from nclib.tuned import Tuned
from nclib.tuned_files import changed

_SAVE_EVERY = 30.0  # seconds between saved states of an unfinished training


@dataclass(frozen=True)
class Tuning:
    """How a model is fine-tuned, the same for every method: by AdamW, on the cross-entropy.

    `learning_rate` is the peak of the `schedule`. An epoch is cut into batches of one size, as near as it goes, and at
    most `batch_size`, for batch norm learns nothing good of a small remainder. `augmentation` is the strength of
    random distortion, 0 is none. With `probe_first` the head begins as a linear probe of inverse strength `C` of the
    features as they are at first, so that no method has to learn the head from nothing (Kumar et al. 2022).
    """

    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    epochs: int = 10
    batch_size: int = 64
    schedule: str = "one-cycle"
    augmentation: float = 0.0
    probe_first: bool = True
    C: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; there are {', '.join(SCHEDULES)}")
        least = {"learning_rate": 0, "weight_decay": 0, "epochs": 0, "batch_size": 2, "augmentation": 0}
        for name, least_value in least.items():
            if not getattr(self, name) >= least_value:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least_value}")


class Validation(NamedTuple):
    """What was measured on the validation images before the first epoch and after each: accuracies and losses."""

    accuracies: list[float]
    losses: list[float]

    @property
    def best(self) -> int:
        """The number of epochs of the best accuracy, and of equal ones that of the least loss."""
        return max(range(len(self.losses)), key=lambda epoch: (self.accuracies[epoch], -self.losses[epoch]))


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
        Epochs without a better one on `validation`, after which training stops; None goes on to the end.
    stop
        After how many epochs to stop, the schedule being that of all of them.
    checkpoint
        A file for the state of an unfinished training, saved every half minute, read if it is there, and removed in
        the end. ValueError if it is of other settings or another model.

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
    prefix, part = (None if settings.augmentation else split(tuned)) or (None, tuned)
    tuned.eval()
    data = Inputs(train, tuned, prefix, memory)
    held = None if validation is None else Inputs(validation, tuned, prefix, memory)
    if settings.probe_first:
        _begin(tuned, data.through(part.features), data.labels, settings.C)
    training = _Training(tuned, part, settings)
    path = None if checkpoint is None else Path(checkpoint)
    done = training.resume(path) if path and path.exists() else 0
    if held and not done:
        training.score(held)
    saved = time.monotonic()
    for epoch in tqdm(
        range(done, settings.epochs if stop is None else stop),
        f"tune {tuned.spec['method']}",
        disable=not progress,
        leave=False,
    ):
        if patience is not None and epoch - training.scores.best > patience:
            break
        with torch.random.fork_rng([data.device] if data.device.type == "cuda" else []):
            torch.manual_seed(settings.seed + epoch)  # dropout, if any, is the same again
            training.run_epoch(data, epoch)
        if held:
            training.score(held)
        if path and time.monotonic() - saved > _SAVE_EVERY:
            training.save(path, epoch + 1)
            saved = time.monotonic()
    return training.finish(path)


def _begin(tuned: Tuned, features: Tensor, labels: Tensor, C: float) -> None:
    """Make the head a linear probe of features (N, d); a class without a sample keeps its row."""
    probe = LinearProbe(C=C).fit(features, labels)
    weight = probe.weight_.double() / probe.scale_
    with torch.no_grad():
        tuned.head.weight[probe.classes_] = weight.to(tuned.head.weight)
        tuned.head.bias[probe.classes_] = (probe.bias_ - weight @ probe.mean_).to(tuned.head.bias)


class _Training:
    """The state of a training: what changes of the tuned model, its optimiser, and the best epoch so far."""

    def __init__(self, tuned: Tuned, part: Tuned | Suffix, settings: Tuning):
        self.tuned, self.part, self.settings = tuned, part, settings
        self.parameters = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, settings.learning_rate, weight_decay=settings.weight_decay)
        self.scores = Validation([], [])
        self.best: dict[str, Tensor] = {}

    def run_epoch(self, data: Inputs, epoch: int) -> None:
        """One pass in an order, and with distortions, that depend on nothing but the seed and the epoch."""
        generator = seeded("tune", self.settings.seed, epoch)
        order = torch.randperm(len(data.labels), generator=generator).to(data.device)
        rows = order.chunk(max(1, math.ceil(len(order) / self.settings.batch_size)))
        self.part.train()
        for step, (inputs, labels) in enumerate(data.batches(rows)):
            progress = (epoch + (step + 0.5) / len(rows)) / self.settings.epochs
            rate = self.settings.learning_rate * SCHEDULES[self.settings.schedule](progress)
            self.optimizer.param_groups[0]["lr"] = rate
            with torch.autocast(data.device.type, torch.bfloat16, enabled=data.device.type == "cuda"):
                logits = self.part(distort(inputs, self.settings.augmentation, generator))
            self.optimizer.zero_grad()
            cross_entropy(logits.float(), labels).backward()
            self.optimizer.step()
        self.part.eval()

    def score(self, held: Inputs) -> None:
        """Measure the validation images, and keep the weights if they are the best."""
        logits = held.through(self.part)
        self.scores.accuracies.append(float((logits.argmax(1) == held.labels).double().mean()))
        self.scores.losses.append(float(cross_entropy(logits, held.labels)))
        if self.scores.best == len(self.scores.losses) - 1:
            self.best = {name: tensor.clone() for name, tensor in changed(self.tuned).items()}

    def finish(self, path: Path | None) -> Validation:
        """Take the weights of the best epoch, if there was validation, and remove the checkpoint."""
        _copy(self.best, changed(self.tuned))
        if path:
            path.unlink(missing_ok=True)
        return self.scores

    def save(self, path: Path, epoch: int) -> None:
        parts = {"now": changed(self.tuned), "best": self.best} | {
            f"optimizer{i}": self.optimizer.state[parameter] for i, parameter in enumerate(self.parameters)
        }
        tensors = {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        save_tensors(path, tensors, self._identity() | {"epoch": epoch, "scores": list(self.scores)})

    def resume(self, path: Path) -> int:
        """Take up the state of a file; the number of epochs done."""
        tensors, metadata = load_tensors(path)
        if any(metadata.get(name) != value for name, value in self._identity().items()):
            raise ValueError(f"{path} is the checkpoint of another fine-tuning than this one; delete it to begin anew")
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = tensor.to(self.tuned.head.weight.device)
        _copy(parts["now"], changed(self.tuned))
        self.best = parts.get("best", {})
        for i, parameter in enumerate(self.parameters):
            self.optimizer.state[parameter] = parts[f"optimizer{i}"]
        self.scores = Validation(*metadata["scores"])
        return int(metadata["epoch"])

    def _identity(self) -> dict[str, Any]:
        return {"spec": self.tuned.spec, "base": self.tuned.base, "settings": asdict(self.settings)}


def _copy(tensors: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in tensors.items():
            into[name].copy_(tensor)


class Choice(NamedTuple):
    """A tuned model, which of the candidates it is, and the epochs that it was trained for."""

    tuned: Tuned
    candidate: int
    epochs: int


def finetune_best(
    candidates: Sequence[tuple[Callable[[], Tuned], Tuning]],
    train: ImageSet | ImageFiles,
    *,
    share: float = 0.2,
    **options: Any,
) -> Choice:
    """Fine-tune on all images as the candidate, and for the epochs, that do best on images held out for that.

    `candidates` are functions that make a model to tune, and settings. The `share` of every class, at least one
    image, is held out; of equally accurate ones the least loss there decides. `options` are those of `finetune`.
    """
    rest, held = train.split_off(share)
    scores = [finetune(make(), rest, settings, validation=held, **options) for make, settings in candidates]

    def merit(i: int) -> tuple[float, float]:
        best = scores[i].best
        return scores[i].accuracies[best], -scores[i].losses[best]

    chosen = max(range(len(candidates)), key=merit)
    make, settings = candidates[chosen]
    tuned, epochs = make(), scores[chosen].best
    finetune(tuned, train, settings, stop=epochs, **options)
    return Choice(tuned, chosen, epochs)
