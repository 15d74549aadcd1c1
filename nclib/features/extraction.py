"""Features of images: any layers of a backbone in one pass, kept in a cache from which a killed run resumes."""

import itertools
import json
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from tqdm import tqdm

from nclib.arrays import note_rounding, noted_rounding
from nclib.checks import check_whole, counted, few
from nclib.data.batches import Images, Prepared, finite, needed_transform, reading
from nclib.data.items import passes
from nclib.data.kinds import labelled
from nclib.devices import features_in_half, precision_suffix
from nclib.features.backbones import LAST, Backbone, listed
from nclib.features.encoders import TextEncoder
from nclib.features.forward import Outputs, evaluating, half_type, outputs_of
from nclib.features.heads import ask_about, headless
from nclib.features.identity import identity
from nclib.features.inputs import coarsest, precision, rounding_of, warn_of_bytes
from nclib.features.preparation import as_it_is, in_two
from nclib.storage import digest_of, digest_of_text, load_tensors, save_tensors

_SHARD = 512  # images in a file of the cache: the most that a killed extraction loses


@dataclass(frozen=True)
class Extraction:
    """Options of extraction, checked; `extract_layers` describes them. ValueError or TypeError for a wrong one.

    Examples
    --------
    >>> Extraction(batch_size=64, cache="features")
    Extraction(batch_size=64, cache='features', workers=None, half=None, progress=False)
    """

    batch_size: int | None = None
    cache: Path | str | None = None
    workers: int | None = None
    half: bool | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        check_whole(1, batch_size=1 if self.batch_size is None else self.batch_size)
        check_whole(0, workers=0 if self.workers is None else self.workers)
        if not isinstance(self.half, bool | None):
            raise ValueError(f"half is {self.half!r}; it must be True, False or None")
        if not isinstance(self.cache, str | PathLike | None):
            raise TypeError(f"cache is {self.cache!r}; it must be the path of a folder, or None")
        if self.cache is not None and Path(self.cache).is_file():
            raise ValueError(f"cache is {self.cache}, a file; it must be the path of a folder, which may be new")


def extract(model: Backbone | nn.Module, images: Any, **options: Any) -> Tensor:
    """Last-layer features of images, (N, d) on the model's device; options as in `extract_layers`.

    Examples
    --------
    >>> from nclib import backbone, load
    >>> extract(backbone("resnet18", weights="random", device="cpu"), load("digits", per_class=1)).shape
    torch.Size([10, 512])
    """
    known = [field.name for field in fields(Extraction)]
    if unknown := options.keys() - {*known}:
        raise TypeError(
            f"{', '.join(sorted(unknown))} is not an option; there are {', '.join(known)}, and "
            "nclib.extract_layers(model, images, layers) takes layers"
        )
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
    """Features of images at several layers in one pass, by layer name, in eval mode and without gradients.

    Each is (N, d) on the model's device, in torch's default dtype (float32), or in float64 if the model is. Feature
    maps are averaged over their positions, and tokens over all but class tokens.

    Parameters
    ----------
    model
        A `Backbone`, or any module of any precision that returns features (N, d). Inputs that it does not accept are
        converted to its precision.
    images
        Images of any kind that `nclib.labelled` takes, with labels or without: pictures, which the backbone's transform
        prepares, or inputs, float (N, C, H, W), used unchanged. Rows keep the order of the images; for a ``DataLoader``
        that shuffles, the order of its data set.
    layers
        Names of modules, places in `Backbone.layers` (negative from the end), or ``"last"``: what the classifier
        sees.
    batch_size
        Number of images at once, halved whenever memory runs out. None is 128 on a GPU, and on a CPU as few as fit its
        caches: 6 images of 224 x 224, more if they are smaller.
    cache
        A folder that keeps features by model, weights, images, transform and layer. Valid features are read; missing or
        damaged ones are computed, so a killed run resumes, losing at most 512 images.
    workers
        Number of processes that read and transform images. By default a ``DataLoader`` keeps its own number; else there
        are none for a CPU, which they would slow down, and up to 8 for a GPU.
    half
        Whether to compute in half precision (autocast: float16 on a GPU, bfloat16 on a CPU). By default the environment
        variable NCLIB_HALF decides, 1 or 0; without it, only a CUDA GPU does. Models that are not float32 compute in
        their own precision. Class statistics of the features record which it was, as their `precision`.
    progress
        Show a progress bar.

    Raises
    ------
    ValueError
        If there are no images, an image or a layer is invalid, the model does not take the inputs or give features
        (N, d), half precision overflows, or an option is out of its range.
    TypeError
        For anything but a model of images, images, and a list of layers.

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
    """The ranges of images that are extracted, cached and distributed together, of at most 512 images each.

    Examples
    --------
    >>> shards_of(torch.zeros(600, 1, 2, 2))
    [range(0, 512), range(512, 600)]
    """
    return [range(start, min(start + _SHARD, len(images))) for start in range(0, len(images), _SHARD)]


def each_shard(
    model: Backbone | nn.Module,
    images: Any,
    layers: Sequence[str | int],
    how: Extraction | None = None,
    shards: Sequence[range] | None = None,
) -> Iterator[tuple[range, Outputs]]:
    """The features of several layers, one shard of `shards_of(images)` after another; `shards` selects some of them.

    Only one shard is in memory at a time; `extract_layers` puts them together. The model stays in eval mode until the
    last one.

    Examples
    --------
    >>> pixels, inputs = Backbone("pixels", nn.Flatten()), torch.zeros(600, 1, 2, 2)
    >>> [(rows, outputs["last"].shape) for rows, outputs in each_shard(pixels, inputs, ["last"])]
    [(range(0, 512), torch.Size([512, 4])), (range(512, 600), torch.Size([88, 4]))]
    """
    how, start = how or Extraction(), 0
    _check_given(model, images)
    layers = listed(layers)
    images, model = labelled(images), headless(model)
    for part in passes(images):
        for shard, outputs in _shards(model, part, layers, how, shards):
            if not (start or shard.start) and LAST in layers:  # only once the model is known to return features
                ask_about(model)
            yield range(start + shard.start, start + shard.stop), outputs
        start += len(part)


def _shards(
    model: Backbone, images: Images, layers: Sequence[str | int], how: Extraction, shards: Sequence[range] | None
) -> Iterator[tuple[range, Outputs]]:
    """The features of images that can be read by number, shard by shard."""
    if not len(images):
        raise ValueError("there are no images; at least one is needed")
    half = _in_half(model, how.half)
    names = list(dict.fromkeys(map(model.layer, layers)))
    store = FeatureCache.of(how.cache, model, images, half) if how.cache else None
    shards = shards_of(images) if shards is None else shards
    rounding = torch.finfo(half_type(model)).eps if half else rounding_of(model.model)
    missing = {shard for shard in shards if store is None or not store.holds(shard, names)}

    def computed(shards: Sequence[range]) -> Generator[Outputs]:
        return _computed(model, images, shards, names, how, half)

    with closing(computed([shard for shard in shards if shard in missing])) as anew:
        for shard in shards:
            found = store.read(shard, names) if store else {}
            if shard in missing or len(found) < len(names):
                # Every missing shard is computed, in order, even if another run has written it since.
                (outputs,) = [next(anew)] if shard in missing else computed([shard])
                if store:
                    store.write(shard, {name: outputs[name] for name in names if name not in found})
                found = outputs
            yield shard, {name: note_rounding(found[name].to(model.device), rounding) for name in names}


def _in_half(model: Backbone, asked: bool | None) -> bool:
    """Whether to use autocast, which only float32 models do."""
    own = precision(model.model, torch.float32)
    if asked and own == torch.float64:
        raise ValueError(f"half is True, but {model.name} is {own}; give half=False, or the model's float()")
    half = features_in_half(model.device) if asked is None else asked
    return half and own == torch.float32


def _check_given(model: object, images: Any) -> None:
    """Refuse anything but a model of images, and texts for such a model."""
    if not isinstance(model, Backbone | nn.Module):
        given, cure = type(model).__name__, ""
        if isinstance(model, str):
            cure = f": nclib.backbone({model!r})"
        elif isinstance(model, type):
            given, cure = f"the class {model.__name__}", f": {model.__name__}(...)"
        elif callable(model):
            cure = ": nclib.Backbone(name, module, last=function)"
        raise TypeError(f"model is {given}; it must be a Backbone or a module{cure}")
    if isinstance(model, TextEncoder) and not (isinstance(images, Tensor) and images.dtype == torch.int64):
        raise TypeError(
            f"{model.name} is an encoder of texts; nclib.text_features(encoder, texts) computes their features"
        )
    if any(each.is_meta or is_lazy(each) for each in Backbone.of(model).model.parameters()):
        raise ValueError("the model has no numbers yet; load weights into it, or run it once if it is lazy")


@torch.no_grad()
def _computed(
    model: Backbone, images: Images, shards: Sequence[range], names: list[str], how: Extraction, half: bool
) -> Generator[Outputs]:
    """Compute the features of every shard."""
    if not shards:
        return
    if needed_transform(images, as_it_is) is None:
        warn_of_bytes(
            model, finite(images)[:1] if isinstance(images, Tensor) else torch.as_tensor(images.image(0))[None]
        )
    size = how.batch_size or _batch_size(model, images)
    cut = [[shard[i : i + size] for i in range(0, len(shard), size)] for shard in shards]
    rows = list(itertools.chain.from_iterable(cut))
    prepare, finish = in_two(needed_transform(images, model.transform), model.device)
    first = getattr(images, "first", 0)  # the place of a part of a stream
    bar = partial(tqdm, desc=f"extract {model.name}", total=len(rows), unit="batch", leave=False)
    with (
        reading(images, prepare, device=model.device, workers=how.workers, name=model.name) as read,
        evaluating(model.model),
        outputs_of(model, names, half, finish) as forward,
    ):
        made = iter(bar(read(rows), disable=not how.progress))
        for shard, number in zip(shards, map(len, cut), strict=True):
            parts = [forward(batch) for batch in itertools.islice(made, number)]
            outputs = {name: torch.cat([part[name] for part in parts]) for name in names}
            _check_range(model, outputs, half, range(first + shard.start, first + shard.stop))
            yield outputs


def _check_range(model: Backbone, outputs: Outputs, half: bool, rows: range) -> None:
    """Refuse NaN or infinity from half precision, and warn of it in other features."""
    kind = half_type(model) if half else coarsest(model.model)
    for name, features in outputs.items():
        if features.isfinite().all():
            continue
        if torch.finfo(kind).bits < 32:
            cure = "give half=False, or set NCLIB_HALF=0," if half else "give the model's float()"
            raise ValueError(
                f"layer {name} of {model.name} gives NaN or infinity in half precision, {kind}, which ends at "
                f"{torch.finfo(kind).max:.3g}; {cure} to compute in float32"
            )
        bad = [rows[i] for i in (~features.isfinite().all(1)).nonzero().flatten().tolist()]
        warnings.warn(
            f"layer {name} of {model.name} gives NaN or infinity for {counted(len(bad), 'image')} of the {len(rows)} "
            f"from row {rows.start} on: {few(bad)}",
            stacklevel=4,
        )


def _batch_size(model: Backbone, images: Any) -> int:
    """The default batch size. (A MobileNetV2 at 224 x 224 takes 15 ms an image in batches of 4, 39 ms in 64.)"""
    if model.device.type != "cpu":
        return 128
    first = images[0] if isinstance(images, Tensor) else Prepared(images, model.transform, model.name)[0]
    return min(256, max(1, 2**20 // first.numel()))


@dataclass(frozen=True)
class FeatureCache:
    """Features in files, one per shard and layer, in folders named after what made them."""

    folder: Path
    made_of: dict[str, Any]

    @classmethod
    def of(cls, cache: Path | str, model: Backbone, images: Any, half: bool) -> "FeatureCache":
        data = digest_of({"inputs": images}) if isinstance(images, Tensor) else images.digest
        transform = "none" if isinstance(images, Tensor) or images.prepared else identity(model.transform)
        made_of = {"model": model.name, "weights": model.digest, "images": data, "transform": transform, "half": half}
        finest = torch.promote_types(torch.get_default_dtype(), precision(model.model, torch.float16))
        made_of |= {"precision": words} if (words := precision_suffix(finest)) else {}
        last = identity(model.last, model.model)
        return cls(Path(cache), made_of | {"network": repr(model.model), "last": last})

    def path(self, shard: range, name: str) -> Path:
        text = json.dumps([self.made_of, name], sort_keys=True)
        key = digest_of_text(text, 10)
        return self.folder / key / f"{shard.start:08d}-{shard.stop:08d}.safetensors"

    def holds(self, shard: range, names: Iterable[str]) -> bool:
        """Whether the shard has a file for each layer."""
        return all(self.path(shard, name).exists() for name in names)

    def read(self, shard: range, names: Iterable[str]) -> dict[str, Tensor]:
        """The features of a shard that are cached and undamaged, by layer."""
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
