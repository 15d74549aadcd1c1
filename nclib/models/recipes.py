"""Pre-training: a recipe determines a network, which is trained once and then read from a cache."""

import json
import math
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from torch import Tensor
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from nclib.checks import check_known, check_least, check_whole, setting_up
from nclib.complexity.geometric import geometric_complexity
from nclib.data.augmentation import distort
from nclib.data.catalogue import load
from nclib.data.images import ImageSet
from nclib.data.text_sets import Texts
from nclib.devices import in_half, precision_suffix, resolve_device, sent
from nclib.features.backbones import Backbone, recipe_backbone
from nclib.models.batches import balanced, check_balance, in_order
from nclib.models.losses import LOSSES, VIEWS, collapse_term
from nclib.models.networks import NETWORKS, Network
from nclib.models.schedules import SCHEDULES, run_epoch
from nclib.seeds import seeded
from nclib.storage import digest_of_text, load_tensors, save_tensors

_VERSION = 2  # raise it when training changes, so that no older checkpoint passes for a new one
_SAVE_EVERY = 30.0  # seconds between saved states of an unfinished training
_LAST = "last.safetensors"  # the saved state of a trail
_MOMENTUM = 0.9
_PENALISED = 4  # images of a batch that the penalty uses: all would take four times as long as training without it

# Marks a setting that was added to recipes later: `config` names it only if it is not the default, so that older
# records and checkpoints stay valid.
ADDED = {"added": True}

OnEpoch = Callable[[int, Network], None]


def config_of(recipe: Any) -> dict[str, Any]:
    """The settings of a recipe, a dataclass, by name; those marked `ADDED` only if they are not the default."""
    values = ((field, getattr(recipe, field.name)) for field in fields(recipe))
    return {field.name: value for field, value in values if field.metadata != ADDED or value != field.default}


@dataclass(frozen=True)
class Recipe:
    """How a network is pre-trained; equal recipes give equal networks (on one kind of processor).

    - `source` is the name of a data set, and `per_class` the number of training images of each class, both as in
      `nclib.load`; images are resized to `size` pixels a side if that is given.
    - `network` is a name in `nclib.models.networks.NETWORKS`; `width` and `blocks` (per stage) set its size, and
      `projection` the number of layers of the head that transfer drops.
    - `loss` is a name in `nclib.models.losses.LOSSES`. `augmentation` is the strength of random distortion, 0 for none;
      the loss "two views" needs some.
    - The optimiser is SGD with Nesterov momentum 0.9; `learning_rate` is the peak of the `schedule`. On a GPU features
      are computed in bfloat16, all else in torch's default dtype (float32).
    - `penalty` times the geometric complexity of each batch, in eval mode, is added to the loss; it is estimated by one
      projection of 4 images. With batch norm, scaling weights can lower it without changing what is trained.
    - With `balanced` above 0 a batch holds that many images of each of ``batch_size // balanced`` classes. Then
      `collapse` times the logarithm of the trace ratio of its features is added to the loss, see
      `nclib.models.losses.collapse_term`.

    ValueError if a name is unknown or a number is out of its range. `key` is a digest of all settings:

    >>> Recipe(epochs=2).key == Recipe(epochs=2).key != Recipe(epochs=3).key
    True
    """

    source: str = "glyphs/latin"
    per_class: int | None = 60
    width: int = 16
    blocks: int = 1
    projection: int = 0
    loss: str = "cross-entropy"
    epochs: int = 16
    batch_size: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    augmentation: float = 0.0
    seed: int = 0
    network: str = field(default="resnet", metadata=ADDED)
    penalty: float = field(default=0.0, metadata=ADDED)
    collapse: float = field(default=0.0, metadata=ADDED)
    balanced: int = field(default=0, metadata=ADDED)
    size: int | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        check_known(LOSSES, loss=self.loss)
        check_known(SCHEDULES, schedule=self.schedule)
        check_known(NETWORKS, network=self.network)
        floats: dict[str, float] = dict.fromkeys(("learning_rate", "weight_decay", "augmentation", "penalty"), 0)
        for name, least in (floats | {"collapse": -math.inf}).items():  # NaN fails this check, too
            object.__setattr__(self, name, float(getattr(self, name)))  # 0 and 0.0 are one recipe
            check_least(least, **{name: getattr(self, name)})
        check_whole(0, projection=self.projection, epochs=self.epochs, balanced=self.balanced, seed=self.seed)
        check_whole(1, width=self.width, blocks=self.blocks)
        check_whole(2, batch_size=self.batch_size)
        for name in ("per_class", "size"):
            check_whole(1, **{name: 1 if getattr(self, name) is None else getattr(self, name)})
        check_balance(self.batch_size, self.balanced, self.collapse)
        if self.loss in VIEWS and not self.augmentation:
            raise ValueError(
                f"loss {self.loss!r} needs augmentation above 0; without it all views of an image are the same"
            )

    @classmethod
    def of(cls, **settings: object) -> "Recipe":
        """A recipe from settings by name; a misspelt name is an error that lists the right ones."""
        names = [field.name for field in fields(cls)]
        if unknown := settings.keys() - set(names):
            raise ValueError(f"unknown setting {', '.join(sorted(unknown))}; a recipe has {', '.join(names)}")
        return cls(**settings)  # type: ignore[arg-type]  # the values are checked in __post_init__

    @property
    def config(self) -> dict[str, Any]:
        """The settings by name, see `config_of`: they describe a network in a cell, and `key` is their digest."""
        return config_of(self)

    @property
    def key(self) -> str:
        """A digest of the recipe, which names its checkpoint."""
        text = json.dumps([_VERSION, self.config, *([_PENALISED] if self.penalty else [])], sort_keys=True)
        return digest_of_text(text, 10)


def train(
    recipe: Recipe,
    *,
    device: str | torch.device = "auto",
    cache: Path | str | None = None,
    data_root: Path | str | None = None,
    on_epoch: OnEpoch | None = None,
    trail: Path | str | None = None,
    progress: bool = True,
) -> Network:
    """Train the recipe's network, or read it from the folder `cache`; returns it in eval mode on the device.

    A killed training resumes from its last saved state and returns the same network as without the interruption. Files
    that are damaged, or were trained on other images under the source's name, are made again, with a warning.

    `on_epoch(epoch, network)` is called before training (epoch 0) and after each epoch (1, 2, ...), with the network in
    eval mode; the cache is then not read. What it saw is lost with a killed process, so a training with it resumes only
    from a `trail`, a folder that keeps the weights of every epoch: `on_epoch` first sees the networks of the earlier
    epochs again, in order. The trail remains after the training; remove it once what was seen is safe.

    Raises ValueError if the source is unknown or holds texts, if `trail` is given without `on_epoch`, or if a file in
    the cache has the weights of another network. Raises FileNotFoundError if the source is not in the data root.

    >>> network = train(Recipe("digits", per_class=2, width=2, epochs=1), device="cpu", progress=False)
    >>> network.backbone(torch.zeros(3, 1, 28, 28)).shape, network(torch.zeros(3, 1, 28, 28)).shape
    (torch.Size([3, 16]), torch.Size([3, 10]))
    """
    device = resolve_device(device)
    with setting_up():
        images = load(recipe.source, "train", per_class=recipe.per_class, data_root=data_root)
        if isinstance(images, Texts):
            raise ValueError(f"source is {recipe.source!r}, which holds texts; a recipe trains on images")
    source = images.in_memory(recipe.size)
    network = network_of(recipe, source.images.shape[1], len(source.classes))
    network.to(device).to(memory_format=torch.channels_last)
    done, partial = _files(recipe, cache, trail, watched=on_epoch is not None)
    made = _Made(recipe, source.digest if done or partial else "")

    def is_read() -> bool:
        return bool(on_epoch is None and done and made.read(done, network.state_dict()))

    if is_read():
        return network.eval()
    with _locked(done or partial):  # one of several processes trains it, the others wait
        if is_read():
            return network.eval()
        _run_epochs(made, network, source, partial, on_epoch, progress)
        if done:
            made.save(done, network.state_dict(), image=list(source.images.shape[1:]))
        if partial and on_epoch is None:
            partial.unlink(missing_ok=True)
    return network.eval()


def _files(
    recipe: Recipe, cache: Path | str | None, trail: Path | str | None, *, watched: bool
) -> tuple[Path | None, Path | None]:
    """The paths of the trained network and of the state of an unfinished training; None if they are not kept."""
    name = f"{recipe.key}{precision_suffix()}"
    done = Path(cache) / f"{name}.safetensors" if cache else None
    if watched:
        return done, Path(trail) / name / _LAST if trail else None
    if trail:
        raise ValueError(f"trail is {str(trail)!r} without on_epoch; give on_epoch, or cache instead of trail")
    return done, done.with_suffix(".partial") if done else None


def _locked(path: Path | None) -> AbstractContextManager[Any]:
    """The lock of a file, or an empty context without a file."""
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_suffix(".lock"))


def network_of(recipe: Recipe, in_channels: int, num_classes: int) -> Network:
    """The untrained network of a recipe; the same for all recipes of the same seed and shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        backbone = NETWORKS[recipe.network](recipe.width, in_channels=in_channels, blocks=recipe.blocks)
        width: int = backbone.num_features  # type: ignore[assignment]  # timm sets an int on a Module
        return Network(backbone, width, num_classes, projection=recipe.projection)


def _run_epochs(
    made: "_Made",
    network: Network,
    source: ImageSet,
    partial: Path | None,
    on_epoch: OnEpoch | None,
    progress: bool,
) -> None:
    recipe, device = made.recipe, next(network.parameters()).device
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, _MOMENTUM, weight_decay=recipe.weight_decay, nesterov=True
    )
    unfinished = _Unfinished(partial, made, network, _state(network, optimizer), on_epoch)
    start = unfinished.resume()
    images, labels = source.inputs(device), source.labels.to(device)
    if start == 0:  # gives the batch norm of an untrained network statistics of its inputs
        update_bn((images[batch] for batch in in_order(torch.arange(len(images)), recipe.batch_size)), network)
        unfinished.reached(0)
    epochs = tqdm(
        range(start, recipe.epochs),
        f"train {recipe.source}",
        initial=start,
        total=recipe.epochs,
        disable=not progress,
        leave=False,
    )
    for epoch in epochs:
        _run_epoch(recipe, network.train(), optimizer, images, labels, epoch)
        unfinished.reached(epoch + 1)


class _Unfinished:
    """Saves the state of a training now and then; with `on_epoch`, also the weights of every epoch in files beside it.

    Weights are written before the state. So whenever the process is killed, all epochs up to the state's are there, and
    later ones are trained and written again.
    """

    def __init__(
        self,
        path: Path | None,
        made: "_Made",
        network: Network,
        state: dict[str, Tensor],
        on_epoch: OnEpoch | None,
    ):
        self.path, self.made, self.network, self.state, self.on_epoch = path, made, network, state, on_epoch
        self.unsaved: dict[int, dict[str, Tensor]] = {}  # weights by epoch, until the state is saved
        self.saved = time.monotonic()

    def reached(self, epoch: int) -> None:
        """Save what is due after an epoch, and call `on_epoch`."""
        if self.path:
            if self.on_epoch:
                weights = self.network.state_dict().items()
                self.unsaved[epoch] = {name: tensor.to("cpu", copy=True) for name, tensor in weights}
            if epoch and time.monotonic() - self.saved > _SAVE_EVERY:
                self._save(self.path, epoch)
        if self.on_epoch:
            self.on_epoch(epoch, self.network.eval())

    def _save(self, path: Path, epoch: int) -> None:
        for earlier, weights in self.unsaved.items():
            self.made.save(_of_epoch(path, earlier), weights)
        self.made.save(path, self.state, epoch=epoch)
        self.unsaved.clear()
        self.saved = time.monotonic()

    def resume(self) -> int:
        """Call `on_epoch` for the epochs up to the saved state, and load it; returns the number of epochs done."""
        if self.path is None or (found := self.made.found(self.path, self.state)) is None:
            return 0
        tensors, metadata = found
        files = [_of_epoch(self.path, epoch) for epoch in range(metadata["epoch"] + 1)] if self.on_epoch else []
        if not all(self._is_whole(path) for path in files):  # before any is shown
            return 0
        for epoch, path in enumerate(files):
            weights, _ = load_tensors(path)
            self.network.load_state_dict(weights)
            self.on_epoch(epoch, self.network.eval())  # type: ignore[misc]  # there are files for it alone
        _copy(tensors, self.state)
        return metadata["epoch"]

    def _is_whole(self, path: Path) -> bool:
        """Whether the weights of an epoch can be read; a warning says why not."""
        if not path.exists():
            warnings.warn(f"{path} is missing; training again", stacklevel=3)
        return self.made.found(path, self.network.state_dict()) is not None


def _of_epoch(state: Path, epoch: int) -> Path:
    """The file of an epoch's weights, beside the state's."""
    return state.with_name(f"{epoch:05d}.safetensors")


def _run_epoch(recipe: Recipe, network: Network, optimizer, images: Tensor, labels: Tensor, epoch: int) -> None:
    """One pass over the images; its order and distortions depend only on the seed and the epoch."""
    generator = seeded("epoch", recipe.seed, epoch)
    batches = [sent(batch, images.device) for batch in _batches(recipe, labels, generator)]

    def loss(numbered: tuple[int, Tensor]) -> Tensor:
        step, batch = numbered
        batch = batch.repeat(VIEWS.get(recipe.loss, 1))
        inputs = distort(images[batch], recipe.augmentation, generator)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=in_half(images.device)):
            features = network.backbone(inputs.contiguous(memory_format=torch.channels_last))
            embedding = network.projection(features)
        features, embedding = (seen.to(torch.get_default_dtype()) for seen in (features, embedding))
        loss = LOSSES[recipe.loss](network, embedding, labels[batch])
        if recipe.collapse:
            loss = loss + collapse_term(features, labels[batch], recipe.collapse)
        if recipe.penalty:
            complexity = _complexity(network, inputs, seeded("penalty", recipe.seed, epoch, step))
            if complexity.device != loss.device:  # it is float64, which the network's device does not have
                complexity = complexity.to(loss)
            loss = loss + recipe.penalty * complexity
        return loss

    passes = {"steps": len(batches), "epoch": epoch, "epochs": recipe.epochs}
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
        torch.manual_seed(seeded("dropout", recipe.seed, epoch).initial_seed())  # for losses with random parts
        run_epoch(optimizer, enumerate(batches), loss, schedule=recipe.schedule, **passes)


def _complexity(network: Network, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """An unbiased, differentiable estimate of a batch's geometric complexity, from a projection of a few images."""
    few = inputs[:_PENALISED]  # their order is random already
    seed = int(torch.randint(2**31, (), generator=generator))
    found = geometric_complexity(
        network.backbone, few, method="rademacher", number=1, differentiable=True, seed=seed, memory=math.inf
    )
    return found.per_sample.mean()


def _batches(recipe: Recipe, labels: Tensor, generator: torch.Generator) -> list[Tensor]:
    if recipe.balanced:
        return balanced(labels.cpu(), recipe.batch_size, recipe.balanced, generator)
    return in_order(torch.randperm(len(labels), generator=generator), recipe.batch_size)


def _state(network: Network, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The tensors that training changes, by name and not copied: weights, batch-norm statistics, momentum."""
    for parameter in network.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    momentum = {f"momentum.{name}": optimizer.state[p]["momentum_buffer"] for name, p in network.named_parameters()}
    return network.state_dict() | momentum


class _Made(NamedTuple):
    """What a network, or the state of its training, is made from: a recipe, and the digest of its images."""

    recipe: Recipe
    source: str

    def save(self, path: Path, tensors: dict[str, Tensor], **metadata: Any) -> None:
        save_tensors(path, tensors, {"recipe": self.recipe.config, "source": self.source, **metadata})

    def found(self, path: Path, like: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict] | None:
        """The tensors of a file, shaped `like` these, and its metadata; None if it is missing, damaged, or outdated."""
        if not path.exists():
            return None
        try:
            tensors, metadata = load_tensors(path)
        except ValueError as error:
            warnings.warn(f"{error}; training again", stacklevel=3)
            return None
        if metadata.get("source", self.source) != self.source:  # older files do not state it
            warnings.warn(f"{path} was trained on other images of {self.recipe.source}; training again", stacklevel=3)
            return None
        shapes = {name: tensor.shape for name, tensor in like.items()}
        if metadata.get("recipe") != self.recipe.config or shapes != {name: t.shape for name, t in tensors.items()}:
            raise ValueError(f"{path} holds the weights of another network than its recipe's; delete it to train again")
        return tensors, metadata

    def read(self, path: Path, into: dict[str, Tensor]) -> bool:
        """Copy the tensors of a valid file; whether there was one."""
        if found := self.found(path, into):
            _copy(found[0], into)
        return found is not None


def _copy(tensors: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    for name, tensor in into.items():
        tensor.copy_(tensors[name])


def checkpoint_backbone(path: str, weights: str) -> Backbone:
    if weights != "pretrained":
        raise ValueError(f"weights are {weights!r}; a recipe's checkpoint has its own: give weights='pretrained'")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    state, metadata = load_tensors(Path(path))
    if not {"recipe", "image"} <= metadata.keys():
        raise ValueError(f"{path} is not the checkpoint of a recipe; nclib.train writes one")
    channels, size = metadata["image"][0], metadata["image"][-1]
    network = network_of(Recipe.of(**metadata["recipe"]), channels, len(state["classifier.bias"]))
    network.load_state_dict(state)
    return recipe_backbone(network.backbone, channels, size, name=f"recipe:{Path(path).stem}")
