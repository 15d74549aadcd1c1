"""Pixels as samples: features of the pixels of scenes, and networks that classify every pixel."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate
from torch.nn.utils import skip_init

from nclib.arrays import note_rounding
from nclib.checks import check_whole, checked_seed
from nclib.data.scene_sets import UNLABELLED, Scenes
from nclib.features.backbones import LAST, AsTrained, Backbone
from nclib.features.forward import captured, described, evaluating
from nclib.features.inputs import fed, rounding_of, widened
from nclib.seeds import seeded

_BATCH = 16  # scenes at once


def pixel_features(
    model: Backbone, scenes: Scenes, *, per_class: int = 200, layer: str | None = None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Features, float (M, d), and labels, int64 (M,), of random pixels: `per_class` of each class, or all it has.

    A pixel's features are the layer's map at its place, interpolated linearly. If `layer` is None, `pixel_layer`
    chooses it. The positions of a map are taken to divide the picture evenly, as in `interpolate`; strides that shift
    them, by up to half a position, shift the features by as much. ValueError if no pixel is labelled. Metrics and
    scores take pixels as they take images.

    Examples
    --------
    >>> from nclib import backbone, scenes
    >>> model = backbone("test_resnet", weights="random", device="cpu")
    >>> features, labels = pixel_features(model, scenes("digits", number=4), per_class=5)
    >>> features.shape[0] == len(labels), labels.bincount()[0].item()
    (True, 5)
    """
    if not isinstance(model, Backbone) or not isinstance(scenes, Scenes):
        given = f"{type(model).__name__} and {type(scenes).__name__}"
        raise TypeError(f"model and scenes are {given}; give a Backbone, as nclib.backbone returns, and Scenes")
    chosen = _drawn(scenes.masks, per_class, seed)
    height, width = scenes.masks.shape[1:]
    inputs, parts = prepared(model, scenes.images), []
    layer = pixel_layer(model, scenes.images) if layer is None else layer
    with evaluating(model.model), torch.no_grad():
        for start in range(0, len(inputs), _BATCH):
            rows = chosen[(chosen[:, 0] >= start) & (chosen[:, 0] < start + _BATCH)]
            maps = feature_maps(model, inputs[start : start + _BATCH].to(model.device), layer)
            parts.append(_at(maps, rows[:, 0] - start, rows[:, 1:], (height, width)))
    return note_rounding(widened(torch.cat(parts)), rounding_of(model.model)), scenes.masks[tuple(chosen.T)]


def _drawn(masks: Tensor, per_class: int, seed: int) -> Tensor:
    """Scene, row and column of the drawn pixels, int64 (M, 3), in the order of scenes."""
    check_whole(1, per_class=per_class)
    generator, parts = seeded("pixels", checked_seed(seed)), []
    flat = masks.flatten()
    for k in flat[flat != UNLABELLED].unique().tolist():
        of_class = (flat == k).nonzero().squeeze(1)
        parts.append(of_class[torch.randperm(len(of_class), generator=generator)[:per_class]])
    if not parts:
        raise ValueError("no pixel is labelled, so there is none to draw; give masks with classes from 0 on")
    return torch.stack(torch.unravel_index(torch.cat(parts).sort().values, masks.shape), 1)


def _at(maps: Tensor, scene: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """The maps (N, d, h, w) at pixels (M, d): `scene` (M,), and row and column `places` (M, 2) in a picture's size."""
    centres = (2 * places + 1) / torch.tensor(size) - 1  # of the pixels, from -1 to 1
    found = []
    for i, each in enumerate(maps):
        grid = centres[scene == i].flip(1).to(maps).view(1, 1, -1, 2)
        found.append(grid_sample(each[None], grid, padding_mode="border", align_corners=False)[0, :, 0].T)
    return torch.cat(found)


def feature_maps(model: Backbone, inputs: Tensor, layer: str) -> Tensor:
    """The maps, float (N, d, h, w), of a layer for inputs, float (N, C, H, W); ValueError if it gives no map.

    Examples
    --------
    >>> own = Backbone("own", nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()))
    >>> feature_maps(own, torch.zeros(2, 3, 9, 9), "0").shape
    torch.Size([2, 8, 4, 4])
    """
    if layer == LAST:
        raise ValueError(f"layer {LAST!r} gives a vector for a whole image; pixels need the name of a layer with a map")
    made = _outputs(model, inputs, [model.layer(layer)])[model.layer(layer)]
    if not isinstance(made, Tensor) or made.ndim != 4:
        raise ValueError(f"layer {layer} of {model.name} gives {described(made)}; pixels need maps (N, d, h, w)")
    return made


def _outputs(model: Backbone, inputs: Tensor, layers: Iterable[str]) -> dict[str, Any]:
    """The last output of each layer that the forward pass reaches."""
    with captured(model.model, layers, lambda name, output: output) as outputs:
        fed(model, inputs)
    return {name: taken[-1] for name, taken in outputs.items() if taken}


@torch.no_grad()
def pixel_layer(model: Backbone, images: Tensor, *, stride: int = 16) -> str:
    """The deepest of `Backbone.layers` whose map has at least one row per `stride` rows of the images (N, C, H, W).

    Deeper maps of a classification network are too coarse for pixels. ValueError if there is none.

    Examples
    --------
    >>> layers = (nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 4, 3, stride=2), nn.Conv2d(4, 4, 3, stride=8))
    >>> own = Backbone("own", nn.Sequential(*layers), AsTrained(1, 64))  # its maps have 31, 15 and 2 rows
    >>> pixel_layer(own, torch.zeros(1, 1, 64, 64, dtype=torch.uint8))  # 64 rows need at least 4
    '1'
    """
    with evaluating(model.model):
        found = _outputs(model, prepared(model, images[:1]).to(model.device), model.layers)
    fine = [
        name
        for name, output in found.items()
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * stride >= images.shape[2]
    ]
    if not fine:
        raise ValueError(
            f"{model.name} has no layer with a map (N, d, h, w) that has a row for every {stride} rows; give a layer "
            "by name, or a larger stride"
        )
    return max(fine, key=model.layers.index)


def prepared(model: Backbone, images: Tensor) -> Tensor:
    """Images uint8 (N, C, H, W) normalised as by the model's transform, with its channels, but in their own size.

    Float (N, C, H, W) in torch's default dtype. ValueError if the transform has no mean and deviation.

    Examples
    --------
    >>> white = torch.full((1, 3, 1, 2), 255, dtype=torch.uint8)
    >>> prepared(Backbone("own", nn.Flatten(), AsTrained(1, 28)), white).tolist()  # one channel, but not 28 x 28
    [[[[1.0, 1.0]]]]
    """
    transform = model.transform
    if isinstance(transform, AsTrained):
        return _channels(images, transform.channels).to(torch.get_default_dtype()).div(127.5).sub(1)
    steps = [transform, *getattr(transform, "transforms", [])]
    how = next((step for step in reversed(steps) if hasattr(step, "mean") and hasattr(step, "std")), None)
    if how is None:
        raise ValueError(
            f"the transform of {model.name} does not say mean and std, so pixels cannot be prepared; give one with a "
            "Normalize step"
        )
    mean, std = (torch.as_tensor(side, dtype=torch.get_default_dtype()).view(-1, 1, 1) for side in (how.mean, how.std))
    return (_channels(images, len(mean)).to(torch.get_default_dtype()) / 255 - mean) / std


def _channels(images: Tensor, number: int) -> Tensor:
    if images.shape[1] == number:
        return images
    return images.expand(-1, number, -1, -1) if images.shape[1] == 1 else images.float().mean(1, keepdim=True)


class Segmenter(nn.Module):
    """A backbone's maps with a linear classifier of each position: inputs (N, C, H, W) to logits (N, K, H, W).

    `head` is the initial classifier, such as a probe of pixels.
    """

    def __init__(self, model: Backbone, head: nn.Linear, layer: str):
        super().__init__()
        self.body, self._backbone, self._layer = model.model, model, layer
        self.head = skip_init(nn.Conv2d, head.in_features, head.out_features, 1).to(model.device)
        self.head.load_state_dict({"weight": head.weight[:, :, None, None], "bias": head.bias})

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.head(feature_maps(self._backbone, inputs, self._layer).to(self.head.weight.dtype))
        return interpolate(logits, size=inputs.shape[2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def mean_iou(segmenter: nn.Module, inputs: Tensor, masks: Tensor) -> float:
    """Intersection over union of predicted and true pixels, the mean over the classes that occur in the masks.

    `segmenter` maps inputs, float (N, C, H, W), to logits (N, K, H, W), as `Segmenter` does. `masks` int64 (N, H, W)
    hold the class of each pixel; pixels of class -1 are unlabelled and do not count. Range [0, 1]; higher is better.
    Source: the measure of PASCAL VOC (Everingham et al. 2010), over all pixels together.

    Raises ValueError if no pixel is labelled.

    Examples
    --------
    >>> segmenter = nn.Conv2d(2, 2, 1, bias=False)
    >>> segmenter.weight.data = torch.eye(2).view(2, 2, 1, 1)  # each pixel has the class of its larger channel
    >>> inputs = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]]]])
    >>> mean_iou(segmenter, inputs, torch.tensor([[[0, 0, 1]]]))  # of each class 1 pixel of 2
    0.5
    """
    from sklearn.metrics import jaccard_score

    known = (masks := masks.cpu()) != UNLABELLED
    if not known.any():
        raise ValueError(f"masks {tuple(masks.shape)} have no labelled pixel; give masks with classes from 0 on")
    device = next(segmenter.parameters()).device
    with evaluating(segmenter):
        found = torch.cat([segmenter(part.to(device)).argmax(1).cpu() for part in inputs.split(_BATCH)])
    true = masks[known].numpy()
    return float(jaccard_score(true, found[known].numpy(), labels=np.unique(true), average="macro", zero_division=0))
