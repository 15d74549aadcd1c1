"""How a model is fine-tuned, and the state of its training: what changes, its optimiser, and the best epoch so far."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nclib.augmentation import distort, seeded
from nclib.devices import in_half
from nclib.inputs import Inputs
from nclib.prefix import Suffix
from nclib.schedules import SCHEDULES
from nclib.storage import load_tensors, save_tensors
from nclib.tuned import Tuned
from nclib.tuned_files import changed


@dataclass(frozen=True)
class Tuning:
    """How a model is fine-tuned, the same for every method: by AdamW, on the cross-entropy.

    `learning_rate` is the peak of the `schedule`, of `nclib.schedules.SCHEDULES`; too high a rate ruins a model with
    little data, so give `finetune` images to validate on, or let `finetune_best` choose. An epoch is cut into
    batches of one size, as near as it goes, and at most `batch_size` (or 3), for batch norm learns nothing good of a
    small remainder. `augmentation` is the strength of random distortion, 0 is none. With `probe_first` the head begins
    as a linear probe of inverse strength `C` of the features as they are at first, so that no method has to learn the
    head from nothing (Kumar et al. 2022).

    >>> Tuning(epochs=20, learning_rate=1e-3).schedule
    'one-cycle'
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
        for name in ("epochs", "batch_size", "seed"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a whole number")
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


class TuningState:
    """Trains a model in place, epoch by epoch; `data` names what it is trained and validated on."""

    def __init__(self, tuned: Tuned, part: Tuned | Suffix, settings: Tuning, data: list[str] | None = None):
        self.tuned, self.part, self.settings, self.data = tuned, part, settings, data
        self.parameters = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, settings.learning_rate, weight_decay=settings.weight_decay)
        self.scores = Validation([], [])
        self.best: dict[str, Tensor] = {}

    def run_epoch(self, data: Inputs, epoch: int) -> None:
        """One pass in an order, and with distortions, that depend on nothing but the seed and the epoch."""
        generator = seeded("tune", self.settings.seed, epoch)
        order = torch.randperm(len(data.labels), generator=generator).to(data.device)
        number = math.ceil(len(order) / self.settings.batch_size)
        rows = order.tensor_split(max(1, min(number, len(order) // 2)))  # batch norm needs two
        self.part.train()
        for step, (inputs, labels) in enumerate(data.batches(rows)):
            progress = (epoch + (step + 0.5) / len(rows)) / self.settings.epochs
            rate = self.settings.learning_rate * SCHEDULES[self.settings.schedule](progress)
            self.optimizer.param_groups[0]["lr"] = rate
            with torch.autocast(data.device.type, torch.bfloat16, enabled=in_half(data.device)):
                logits = self.part(distort(inputs, self.settings.augmentation, generator))
            self.optimizer.zero_grad()
            cross_entropy(logits.to(torch.get_default_dtype()), labels).backward()
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
            self.optimizer.state[parameter] = parts.get(f"optimizer{i}", {})  # none had it without a gradient
        self.scores = Validation(*metadata["scores"])
        return int(metadata["epoch"])

    def _identity(self) -> dict[str, Any]:
        what = {"spec": self.tuned.spec, "base": self.tuned.base, "data": self.data}
        return what | {"settings": asdict(self.settings)}


def _copy(tensors: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in tensors.items():
            into[name].copy_(tensor)
