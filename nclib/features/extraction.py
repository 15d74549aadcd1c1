"""Features of images: any layers of a backbone in one pass, kept in a cache that a killed run fills on."""

import itertools
import json
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nclib.checks import check_least, note_rounding, noted_rounding
from nclib.data.batches import Images, Prepared, lacking, reading
from nclib.data.items import passes
from nclib.data.kinds import labelled
from nclib.devices import features_in_half, precision_suffix
from nclib.features.backbones import LAST, Backbone
from nclib.features.forward import Outputs, evaluating, half_type, outputs_of
from nclib.features.heads import headless
from nclib.features.preparation import in_two
from nclib.storage import digest_of, digest_of_text, load_tensors, save_tensors

_SHARD = 512  # images in a file of the cache, which are what a killed extraction loses at most


@dataclass(frozen=True)
class Extraction:
    """How features are extracted; see `extract_layers`."""

    batch_size: int | None = None
    cache: Path | str | None = None
    workers: int | None = None
    half: bool | None = None
    progress: bool = False


def extract(model: Backbone | nn.Module, images: Any, **options: Any) -> Tensor:
    """Last-layer features of images, (N, d) on the model's device; options as of `extract_layers`.

    Examples
    --------
    >>> from nclib import backbone, load
    >>> extract(backbone("resnet18", weights="random", device="cpu"), load("digits", per_class=1)).shape
    torch.Size([10, 512])
    """
    return extract_layers(model, images, [LAST], **options)[LAST]


def extract_layers(
    model: Backbone | nn.Module,
    images: Any,
    layers: Sequence[str | int],
    *,
    batch_size: int | None = None,
    cache: Path | str | None = None,
    workers: int | None = None,
    half: bool | None = None,
    progress: bool = False,
) -> Outputs:
    """Features of several layers in one pass, in eval mode and without gradients, by the layers' names.

    Each is (N, d) on the model's device, in torch's default dtype (float32): feature maps are averaged over their
    positions, tokens over all but class tokens.

    Parameters
    ----------
    model
        A `Backbone`, or any module that returns features (N, d).
    images
        Images of any kind that `nclib.labelled` takes, with labels or without: pictures, which the backbone's transform
        prepares, or inputs float (N, C, H, W), taken as they are. The rows are in its order, which is that of the data
        set where a ``DataLoader`` shuffles.
    layers
        Names of modules, places in `Backbone.layers` (negative from the end), or ``"last"``: what the classifier
        sees.
    batch_size
        Images at once; halved, as often as it takes, when memory runs out. None is 128 on a GPU, and on a CPU
        as few as stay near its caches: 6 images of 224 x 224, more of smaller ones.
    cache
        A folder that keeps features by model, weights, images, transform and layer. What is there and whole is
        read; what is missing or has changed is computed, and a killed run goes on where it was.
    workers
        Processes that read and transform images; by default those of a ``DataLoader``, else none on a CPU, which they
        would slow down, and up to 8 beside a GPU.
    half
        Whether to compute with half the bits (autocast: float16 on a GPU, bfloat16 on a CPU); by default as the
        environment's NCLIB_HALF says, 1 or 0, and without it on a CUDA GPU only. Class statistics of the features know
        it by their `precision`.
    progress
        Show a progress bar.

    Examples
    --------
    >>> from nclib import backbone, load
    >>> model = backbone("resnet18", weights="random", device="cpu")
    >>> features = extract_layers(model, load("digits", per_class=1), ["layer1", 3, "last"])
    >>> {name: tuple(values.shape) for name, values in features.items()}
    {'layer1': (10, 64), 'layer2.1': (10, 128), 'last': (10, 512)}
    """
    how = Extraction(batch_size, cache, workers, half, progress)
    shards = list(each_shard(model, images, layers, how))
    return {
        name: note_rounding(torch.cat([outputs[name] for _, outputs in shards]), noted_rounding(first))
        for name, first in shards[0][1].items()
    }


def shards_of(images: Images) -> list[range]:
    """The rows of images that are extracted, kept and shared out together."""
    return [range(start, min(start + _SHARD, len(images))) for start in range(0, len(images), _SHARD)]


def each_shard(
    model: Backbone | nn.Module,
    images: Any,
    layers: Sequence[str | int],
    how: Extraction | None = None,
    shards: Sequence[range] | None = None,
) -> Iterator[tuple[range, Outputs]]:
    """The features of several layers of `shards_of` images, or of some of them, one shard after the other.

    What `extract_layers` puts together; here only one shard is in memory. The model is in eval mode until the last.
    """
    how, start = how or Extraction(), 0
    _check_given(model, layers, how.batch_size)
    images, model = labelled(images), headless(model, ask=LAST in layers)
    for part in passes(images):
        for shard, outputs in _shards(model, part, layers, how, shards):
            yield range(start + shard.start, start + shard.stop), outputs
        start += len(part)


def _shards(
    model: Backbone, images: Images, layers: Sequence[str | int], how: Extraction, shards: Sequence[range] | None
) -> Iterator[tuple[range, Outputs]]:
    """The features of images that are read by number."""
    if not len(images):
        raise ValueError("there are no images; at least one is needed")
    half = features_in_half(model.device) if how.half is None else how.half
    names = list(dict.fromkeys(map(model.layer, layers)))
    store = FeatureCache.of(how.cache, model, images, half) if how.cache else None
    shards = shards_of(images) if shards is None else shards
    missing = {shard for shard in shards if store is None or not store.holds(shard, names)}

    def computed(shards: Sequence[range]) -> Generator[Outputs]:
        return _computed(model, images, shards, names, how, half)

    with closing(computed([shard for shard in shards if shard in missing])) as anew:
        for shard in shards:
            found = store.read(shard, names) if store else {}
            if shard in missing or len(found) < len(names):
                # Of those missing each is computed, in order, even if another run has written one since.
                (outputs,) = [next(anew)] if shard in missing else computed([shard])
                if store:
                    store.write(shard, {name: outputs[name] for name in names if name not in found})
                found = outputs
            rounding = torch.finfo(half_type(model)).eps if half else 0.0
            yield shard, {name: note_rounding(found[name].to(model.device), rounding) for name in names}


def _check_given(model: object, layers: Sequence[str | int], batch_size: int | None) -> None:
    check_least(1, batch_size=1 if batch_size is None else batch_size)
    if not len(layers):
        raise ValueError("there are no layers; at least one is needed")
    if not isinstance(model, Backbone | nn.Module):
        raise TypeError(f"model is {type(model).__name__}; it must be a Backbone or a module")
    if isinstance(layers, str):
        raise TypeError(f"layers are {layers!r}; give a list of names and places, such as [{layers!r}]")


@torch.no_grad()
def _computed(
    model: Backbone, images: Images, shards: Sequence[range], names: list[str], how: Extraction, half: bool
) -> Generator[Outputs]:
    """The features of every shard."""
    if not shards:
        return
    size = how.batch_size or _batch_size(model, images)
    cut = [[shard[i : i + size] for i in range(0, len(shard), size)] for shard in shards]
    rows = list(itertools.chain.from_iterable(cut))
    prepare, finish = in_two(lacking(images, model.transform), model.device)
    bar = partial(tqdm, desc=f"extract {model.name}", total=len(rows), unit="batch", leave=False)
    with (
        reading(images, prepare, device=model.device, workers=how.workers, name=model.name) as read,
        evaluating(model.model),
        outputs_of(model, names, half, finish) as forward,
    ):
        made = iter(bar(read(rows), disable=not how.progress))
        for number in map(len, cut):
            parts = [forward(batch) for batch in itertools.islice(made, number)]
            outputs = {name: torch.cat([part[name] for part in parts]) for name in names}
            if half:
                _check_range(model, outputs)
            yield outputs


def _check_range(model: Backbone, outputs: Outputs) -> None:
    """Refuse what half precision made infinite, and tell it from other features with NaN or infinity by its words."""
    for name, features in outputs.items():
        if not features.isfinite().all():
            kind = half_type(model)
            raise ValueError(
                f"layer {name} of {model.name} gives NaN or infinity in half precision, {kind}, which ends at "
                f"{torch.finfo(kind).max:.3g}; give half=False, or set NCLIB_HALF=0, to compute in float32"
            )


def _batch_size(model: Backbone, images: Any) -> int:
    """Measured on a MobileNetV2 at 224 x 224: batches of 4 take 15 ms an image, of 64 they take 39 ms."""
    if model.device.type != "cpu":
        return 128
    first = images[0] if isinstance(images, Tensor) else Prepared(images, model.transform, model.name)[0]
    return min(256, max(1, 2**20 // first.numel()))


@dataclass(frozen=True)
class FeatureCache:
    """Features in files of one shard and layer; what made them names their folder."""

    folder: Path
    made_of: dict[str, Any]

    @classmethod
    def of(cls, cache: Path | str, model: Backbone, images: Any, half: bool) -> "FeatureCache":
        data = digest_of({"inputs": images}) if isinstance(images, Tensor) else images.digest
        transform = "none" if isinstance(images, Tensor) or images.prepared else repr(model.transform)
        if " at 0x" in transform:  # where it is in memory says nothing of what it does
            raise ValueError(
                f"the transform of {model.name} is {transform}; a cache needs one whose repr says what it does"
            )
        made_of = {"model": model.name, "weights": model.digest, "images": data, "transform": transform, "half": half}
        made_of |= {"precision": words} if (words := precision_suffix()) else {}
        return cls(Path(cache), made_of | {"network": repr(model.model), "last": _code(model.last)})

    def path(self, shard: range, name: str) -> Path:
        text = json.dumps([self.made_of, name], sort_keys=True)
        key = digest_of_text(text, 10)
        return self.folder / key / f"{shard.start:08d}-{shard.stop:08d}.safetensors"

    def holds(self, shard: range, names: Iterable[str]) -> bool:
        """Whether there is a file of each layer."""
        return all(self.path(shard, name).exists() for name in names)

    def read(self, shard: range, names: Iterable[str]) -> dict[str, Tensor]:
        """What is there and whole of a shard."""
        found = {}
        for name in names:
            path = self.path(shard, name)
            if path.exists():
                try:
                    found[name] = load_tensors(path)[0]["features"]
                except (ValueError, KeyError) as error:
                    warnings.warn(f"{error}; computing its features again", stacklevel=3)
        return found

    def write(self, shard: range, outputs: dict[str, Tensor]) -> None:
        for name, features in outputs.items():
            save_tensors(self.path(shard, name), {"features": features}, self.made_of | {"layer": name})


def _code(function: Callable[..., Any] | None) -> list[str]:
    """What tells a function from another of the same name: the operations it is made of."""
    code = getattr(function, "__code__", None)
    return [repr(type(function))] if code is None else [code.co_qualname, code.co_code.hex(), *code.co_names]
