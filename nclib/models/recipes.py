"""Pre-training: a recipe says everything about a network; trained once, it is read from a cache."""

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

from nclib.checks import check_known, check_least, setting_up
from nclib.complexity.geometric import geometric_complexity
from nclib.data.augmentation import distort
from nclib.data.catalogue import load
from nclib.data.images import ImageSet
from nclib.devices import in_half, precision_suffix, resolve_device, sent
from nclib.features.backbones import Backbone, recipe_backbone
from nclib.models.batches import balanced, check_balance, in_order
from nclib.models.losses import LOSSES, VIEWS, collapse_term
from nclib.models.networks import NETWORKS, Network
from nclib.models.schedules import SCHEDULES, run_epoch
from nclib.seeds import seeded
from nclib.storage import digest_of_text, load_tensors, save_tensors

_VERSION = 2  # raise it when training changes, so that no older checkpoint is taken for a new one
_SAVE_EVERY = 30.0  # seconds between saved states of an unfinished training
_LAST = "last.safetensors"  # the saved state of a trail
_MOMENTUM = 0.9
_PENALISED = 4  # images of a batch: all of them would take four times as long as training without penalty

# Metadata of a setting that is added to a recipe: `config` names it only where it is not the default, so that records
# and checkpoints which are older than the setting stay valid.
ADDED = {"added": True}

OnEpoch = Callable[[int, Network], None]


def config_of(recipe: Any) -> dict[str, Any]:
    """The settings of a recipe, a dataclass, by name; those marked `ADDED` where they are not the default."""
    values = ((field, getattr(recipe, field.name)) for field in fields(recipe))
    return {field.name: value for field, value in values if field.metadata != ADDED or value != field.default}


@dataclass(frozen=True)
class Recipe:
    """How a network is pre-trained; equal recipes give equal networks (on one kind of processor).

    `source` and `per_class` name the data, whose images are brought to `size` pixels a side if it is given, `width`
    and `blocks` (a stage) the network, `projection` the layers of the head that transfer drops, `augmentation` the
    strength of random distortion (0 is none), of which the loss "two views" needs some.
    The optimiser is SGD with Nesterov momentum 0.9; `learning_rate` is its peak under the `schedule`. On a GPU features
    are computed in bfloat16, all else in torch's default dtype (float32). `penalty` times the geometric complexity of
    each batch, in eval mode, estimated by one projection of 4 of its images, is added to the loss; with batch norm it
    can be lowered by the scale of weights that makes no difference in training. With `balanced` above 0 a batch holds
    so many images of each of ``batch_size // balanced`` classes; then `collapse` times the logarithm of the trace ratio
    of its features is added to the loss, see `nclib.models.losses.collapse_term`. `key` is a digest of it all:

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
        for name, least in (floats | {"collapse": -math.inf}).items():  # NaN is not even at least that
            object.__setattr__(self, name, float(getattr(self, name)))  # 0 and 0.0 are one recipe
            check_least(least, **{name: getattr(self, name)})
        check_least(0, projection=self.projection, epochs=self.epochs, balanced=self.balanced)
        check_least(2, batch_size=self.batch_size)
        check_least(1, size=1 if self.size is None else self.size)
        check_balance(self.batch_size, self.balanced, self.collapse)
        if self.loss in VIEWS and not self.augmentation:
            raise ValueError(f"loss {self.loss!r} needs augmentation above 0; without it all views of an image are one")

    @classmethod
    def of(cls, **settings: object) -> "Recipe":
        """A recipe from settings by name; a misspelt name is an error that lists the right ones."""
        names = [field.name for field in fields(cls)]
        if unknown := settings.keys() - set(names):
            raise ValueError(f"unknown setting {', '.join(sorted(unknown))}; a recipe has {', '.join(names)}")
        return cls(**settings)  # type: ignore[arg-type]  # the values are checked in __post_init__

    @property
    def config(self) -> dict[str, Any]:
        """The settings by name, see `config_of`: what a cell says of a network, and `key` is a digest of."""
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
    """Train the recipe's network, or read it from `cache`.

    `on_epoch(epoch, network)` is called before the first epoch (0) and after each; it sees a network in
    eval mode, and with it the cache is not read. A training that was killed goes on from its last saved
    state and gives the network that it would have given. Files that are damaged, or of other images of the
    source's name, are made anew, and a warning says so. Returned in eval mode on the device.

    What `on_epoch` saw is lost with a killed process. So a training with it goes on only from a `trail`, a folder
    that keeps the weights of every epoch: `on_epoch` is shown the networks of the earlier epochs again, in
    their order, before training goes on. The trail stays after the training; remove it once what was seen is safe.

    >>> network = train(Recipe("digits", per_class=2, width=2, epochs=1), device="cpu", progress=False)
    >>> network.backbone(torch.zeros(3, 1, 28, 28)).shape, network(torch.zeros(3, 1, 28, 28)).shape
    (torch.Size([3, 16]), torch.Size([3, 10]))
    """
    device = resolve_device(device)
    with setting_up():
        images = load(recipe.source, "train", per_class=recipe.per_class, data_root=data_root)
    source = images.in_memory(recipe.size)
    network = network_of(recipe, source.images.shape[1], len(source.classes))
    network.to(device).to(memory_format=torch.channels_last)
    done, partial = _files(recipe, cache, trail, watched=on_epoch is not None)
    made = _Made(recipe, source.digest if done or partial else "")

    def is_read() -> bool:
        return bool(on_epoch is None and done and made.read(done, network.state_dict()))

    if is_read():
        return network.eval()
    with _locked(done or partial):  # of several who want it one trains it, and the others wait
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
    """Where the trained network and the state of an unfinished training are kept, if they are."""
    name = f"{recipe.key}{precision_suffix()}"
    done = Path(cache) / f"{name}.safetensors" if cache else None
    if watched:
        return done, Path(trail) / name / _LAST if trail else None
    if trail:
        raise ValueError(f"trail is {str(trail)!r} without on_epoch; give on_epoch, or cache in place of trail")
    return done, done.with_suffix(".partial") if done else None


def _locked(path: Path | None) -> AbstractContextManager[Any]:
    """The lock of a file, waited for; nothing without one."""
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_suffix(".lock"))


def network_of(recipe: Recipe, in_channels: int, num_classes: int) -> Network:
    """The untrained network of a recipe; the same for every recipe of one seed and shape."""
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
    if start == 0:  # an untrained network's batch norm knows nothing of its inputs yet
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
    """Saves the state of a training now and then; with `on_epoch` the weights of every epoch, too, in files beside it.

    These are written before the state. So all epochs up to that of the state are there, whenever the process is killed,
    and those after it are trained, and written, again.
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
        """Save what is due after an epoch, and show the network."""
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
        """Take up the saved state, after `on_epoch` was shown the epochs up to it; the number of epochs done."""
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
        """Whether the weights of an epoch can be shown; a warning says why not."""
        if not path.exists():
            warnings.warn(f"{path} is missing; training again", stacklevel=3)
        return self.made.found(path, self.network.state_dict()) is not None


def _of_epoch(state: Path, epoch: int) -> Path:
    """The file of an epoch's weights, beside that of the state."""
    return state.with_name(f"{epoch:05d}.safetensors")


def _run_epoch(recipe: Recipe, network: Network, optimizer, images: Tensor, labels: Tensor, epoch: int) -> None:
    """One pass in an order, and with distortions, that depend on nothing but the seed and the epoch."""
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
            if complexity.device != loss.device:  # it is float64, which the network's device lacks
                complexity = complexity.to(loss)
            loss = loss + recipe.penalty * complexity
        return loss

    passes = {"steps": len(batches), "epoch": epoch, "epochs": recipe.epochs}
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
        torch.manual_seed(seeded("dropout", recipe.seed, epoch).initial_seed())  # of losses that are random
        run_epoch(optimizer, enumerate(batches), loss, schedule=recipe.schedule, **passes)


def _complexity(network: Network, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Geometric complexity of a batch, estimated without bias by a projection of a few images, to be differentiated."""
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
    """The tensors that training changes, by name, as views: weights, batch-norm statistics, momentum."""
    for parameter in network.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    momentum = {f"momentum.{name}": optimizer.state[p]["momentum_buffer"] for name, p in network.named_parameters()}
    return network.state_dict() | momentum


class _Made(NamedTuple):
    """What a network, or a state on the way to it, is made of: a recipe, and images of a digest."""

    recipe: Recipe
    source: str

    def save(self, path: Path, tensors: dict[str, Tensor], **metadata: Any) -> None:
        save_tensors(path, tensors, {"recipe": self.recipe.config, "source": self.source, **metadata})

    def found(self, path: Path, like: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict] | None:
        """The tensors of a file, of these shapes, and its metadata; None if no whole file of the images is there."""
        if not path.exists():
            return None
        try:
            tensors, metadata = load_tensors(path)
        except ValueError as error:
            warnings.warn(f"{error}; training again", stacklevel=3)
            return None
        if metadata.get("source", self.source) != self.source:  # older files do not say
            warnings.warn(f"{path} was trained on other images of {self.recipe.source}; training again", stacklevel=3)
            return None
        shapes = {name: tensor.shape for name, tensor in like.items()}
        if metadata.get("recipe") != self.recipe.config or shapes != {name: t.shape for name, t in tensors.items()}:
            raise ValueError(f"{path} holds the weights of another network than its recipe's; delete it to train anew")
        return tensors, metadata

    def read(self, path: Path, into: dict[str, Tensor]) -> bool:
        """Copy the tensors of a file, if there is a whole one."""
        if found := self.found(path, into):
            _copy(found[0], into)
        return found is not None


def _copy(tensors: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    for name, tensor in into.items():
        tensor.copy_(tensors[name])


def _recipe(path: str, weights: str) -> Backbone:
    if weights != "pretrained":
        raise ValueError(f"a recipe's checkpoint has its own weights; weights are {weights!r}")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    state, metadata = load_tensors(Path(path))
    if not {"recipe", "image"} <= metadata.keys():
        raise ValueError(f"{path} is no checkpoint of a recipe; nclib.train writes one")
    channels, size = metadata["image"][0], metadata["image"][-1]
    network = network_of(Recipe.of(**metadata["recipe"]), channels, len(state["classifier.bias"]))
    network.load_state_dict(state)
    return recipe_backbone(network.backbone, channels, size, name=f"recipe:{Path(path).stem}")
