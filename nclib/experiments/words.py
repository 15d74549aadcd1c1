"""Small encoders of texts, made from a recipe as the networks of images are: the mean of word vectors."""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nclib.checks import check_known
from nclib.data.text_sets import texts, tokens
from nclib.devices import precision_suffix
from nclib.models.losses import LOSSES, VIEWS
from nclib.models.networks import Network
from nclib.models.recipes import config_of
from nclib.models.schedules import run_epoch
from nclib.peft.finetuning import Tuning
from nclib.seeds import seeded
from nclib.storage import digest_of_text, load_tensors, save_tensors


def fit(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], settings: Tuning
) -> None:
    """Train a module in place, on its device, with AdamW on `loss(inputs, targets)` of batches; left in eval mode.

    Of the settings only rate, weight decay, epochs, batch size, schedule and seed are used. A last batch of one sample
    is left out, because batch norm needs two. On one kind of processor equal settings give equal weights.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    device = parameters[0].device

    def of_rows(rows: Tensor) -> Tensor:
        return loss(inputs[rows].to(device), targets[rows].to(device))

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)  # of dropout
        module.train()
        for epoch in range(settings.epochs):
            order = torch.randperm(len(inputs), generator=seeded("fit", settings.seed, epoch))
            batches = [rows for rows in order.split(settings.batch_size) if len(rows) > 1]
            passes = {"steps": len(batches), "epoch": epoch, "epochs": settings.epochs}
            run_epoch(optimizer, batches, of_rows, schedule=settings.schedule, **passes)
    module.eval()


Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def fit_best(
    make: Callable[[Tensor, Tensor], nn.Module],
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    candidates: Sequence[Tuning],
    merit: Callable[[nn.Module, Tensor, Tensor], float],
) -> nn.Module:
    """A new module, fitted to all inputs with the settings that do best on a fifth of the inputs that is held out.

    `make(inputs, targets)` receives the data that the module will be fitted to: its first weights may be a probe of
    them. `merit(module, inputs, targets)` is higher for better modules. Every fifth input, in their order, is held out.
    A single candidate is used without a trial.
    """
    held = torch.arange(len(inputs)) % 5 == 4

    def fitted(settings: Tuning, rows: Tensor) -> nn.Module:
        module = make(inputs[rows], targets[rows])
        fit(module, inputs[rows], targets[rows], partial(loss, module), settings)
        return module

    if len(candidates) > 1:
        merits = [merit(fitted(settings, ~held), inputs[held], targets[held]) for settings in candidates]
        candidates = [candidates[max(range(len(candidates)), key=merits.__getitem__)]]
    return fitted(candidates[0], torch.ones_like(held))


VOCABULARY = 8192  # hashed words


@dataclass(frozen=True)
class TextRecipe:
    """How an encoder is pre-trained; equal recipes give equal encoders (on one kind of processor, of equal texts).

    `source` and `per_class` name the texts as for `nclib.texts`; `width` and `depth` are those of the encoder.
    `projection`, `loss`, `epochs`, the rates and `seed` are as in `nclib.Recipe`.
    """

    source: str = "docstrings/sympy"
    per_class: int | None = None
    width: int = 64
    depth: int = 0
    projection: int = 0
    loss: str = "cross-entropy"
    epochs: int = 20
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        check_known([loss for loss in LOSSES if loss not in VIEWS], loss=self.loss)  # texts are not distorted

    @property
    def config(self) -> dict[str, Any]:
        """The settings by name; see `config_of`."""
        return config_of(self)

    @property
    def key(self) -> str:
        """A digest of the recipe, which names its checkpoint."""
        return digest_of_text(json.dumps(["words", 1, self.config], sort_keys=True), 10)


class MeanOfWords(nn.Module):
    """Word indices (N, length) to features (N, width): the mean of their vectors, then layers with ReLU."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.words = nn.EmbeddingBag(VOCABULARY + 1, width, padding_idx=0, mode="mean")
        layers = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())]
        self.layers = nn.Sequential(*layers)

    def forward(self, words: Tensor) -> Tensor:
        return self.layers(self.words(words))


def train_words(recipe: TextRecipe, *, cache: Path | str | None = None, data_root: str | Path | None = None) -> Network:
    """The encoder of a recipe with its source classifier, trained or read from `cache`; in eval mode, on the CPU."""
    source = texts(recipe.source, "train", per_class=recipe.per_class, data_root=data_root)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        encoder = MeanOfWords(recipe.width, recipe.depth)
        network = Network(encoder, recipe.width, len(source.classes), projection=recipe.projection)
    done = Path(cache) / f"{recipe.key}-{source.digest[:12]}{precision_suffix()}.safetensors" if cache else None
    if done and done.exists():
        try:
            network.load_state_dict(load_tensors(done)[0])
            return network.eval()
        except ValueError as error:
            warnings.warn(f"{error}; training again", stacklevel=2)
    settings = Tuning(recipe.learning_rate, recipe.weight_decay, recipe.epochs, batch_size=128, seed=recipe.seed)
    fit(network, tokens(source.texts, vocabulary=VOCABULARY), source.labels, partial(_loss, network, recipe), settings)
    if done:
        save_tensors(done, network.state_dict(), {"recipe": recipe.config})
    return network


def _loss(network: Network, recipe: TextRecipe, words: Tensor, labels: Tensor) -> Tensor:
    return LOSSES[recipe.loss](network, network.embed(words), labels)
