"""Inputs as a model takes them: in its precision; and, of those that it does not take, what is wrong and the cure."""

import warnings
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from nclib.features.backbones import Backbone

_PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what inputs can be brought into
_COLOURS = (1, 3, 4)  # channels of pictures
_BRIGHT = 32  # what is above it is no normalised input, but for tiny deviations


def precision(model: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    """What a model computes in: the type of its first kernel, or else of its first numbers."""
    floats = [parameter for parameter in model.parameters() if parameter.dtype in _PLAIN]
    kernels = [parameter for parameter in floats if parameter.ndim == 4]
    return (kernels or floats)[0].dtype if floats else otherwise


def coarsest(model: nn.Module) -> torch.dtype:
    """The type of the coarsest numbers that a model computes with, float32 if it has none."""
    kinds = {parameter.dtype for parameter in model.parameters()}
    return max(kinds.intersection(_PLAIN), key=lambda kind: torch.finfo(kind).eps, default=torch.float32)


def rounding_of(model: nn.Module) -> float:
    """The machine epsilon of numbers coarser than float32 that a model computes with; 0 if there are none."""
    numbers = torch.finfo(coarsest(model))
    return numbers.eps if numbers.bits < 32 else 0.0


def widened(features: Tensor) -> Tensor:
    """Features in torch's default dtype, or in their own if that is finer."""
    return features.to(torch.promote_types(features.dtype, torch.get_default_dtype()))


def fed(model: Backbone, inputs: Tensor, kind: torch.dtype | None = None) -> Any:
    """What a model makes of inputs: as they are or, if it does not take them so, in what it computes in.

    Of mixed precisions a model may cast by itself, so that no type is right before it was tried; `kind` is the one to
    try. ValueError if it takes neither, with what was given, which layer does not take it, and the cure.
    """
    try:
        return (model.last or model.model)(inputs if kind is None else inputs.to(kind))
    except Exception as error:  # whatever a model may raise
        if out_of_memory(error) or _is_ours(error) or _is_of_forward_mode(inputs, error):
            raise
        own = precision(model.model, inputs.dtype)
        if kind is not None or own == inputs.dtype or not inputs.is_floating_point():
            raise ValueError(_refusal(model, inputs, error)) from error
    return fed(model, inputs, own)


def warn_of_bytes(model: Backbone, inputs: Tensor) -> None:
    """Warn if inputs look like bytes as floats, of a model that says how its inputs are to be prepared."""
    if not (_prepares(model) and inputs.ndim == 4 and inputs.is_floating_point() and inputs.numel()):
        return
    low, high = (float(end) for end in inputs.aminmax())
    if low >= 0 and _BRIGHT < high <= 255:
        warnings.warn(
            f"inputs run from {low:g} to {high:g}, as bytes do; floats are taken as prepared, and {model.name} was "
            "trained on scaled and normalised ones: give bytes (uint8), which its transform prepares",
            stacklevel=3,
        )


def _prepares(model: Backbone) -> bool:
    kind = type(model.model)
    return bool(
        model.transform or hasattr(model.model, "pretrained_cfg") or kind.__module__.startswith("torchvision.models.")
    )


def out_of_memory(error: Exception) -> bool:
    """Whether this is how torch says so, on a GPU or a CPU."""
    said = ("not enough memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")  # Windows, Linux, CUDA's libraries
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )


def _is_of_forward_mode(inputs: Tensor, error: Exception) -> bool:
    """Whether forward mode does not go through the model, which says nothing of the inputs."""
    return isinstance(error, NotImplementedError) and forward_ad.unpack_dual(inputs).tangent is not None


def _is_ours(error: Exception) -> bool:
    """Whether nclib raised it, as of a layer that gives no features, and so has said what there is to say.

    What a function without frames of its own raises, as those of torch, looks as if its caller did.
    """
    inner = _frames(error)[1:]  # but for the one that called the model
    return bool(inner) and str(inner[-1].tb_frame.f_globals.get("__name__", "")).startswith("nclib.")


def _frames(error: Exception) -> list[TracebackType]:
    found, here = [], error.__traceback__
    while here is not None:
        found.append(here)
        here = here.tb_next
    return found


def _refusal(model: Backbone, inputs: Tensor, error: Exception) -> str:
    """What was given, which layer does not take it, and the cure."""
    name, layer, seen = _failed(model, error)
    where = f" in its layer {name!r}, {_short(layer)}" if name else ""
    said = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    cure = _cure(model, inputs, layer, seen) or _size_cure(model, inputs)
    given = f"inputs {tuple(inputs.shape)}, {str(inputs.dtype).removeprefix('torch.')}"
    return f"{model.name} cannot take {given}{cure and f': {cure}'}. It fails{where}: {said}"


def _short(layer: Any) -> str:
    """A layer of its own as torch prints it, and any other by its class."""
    return type(layer).__name__ if any(True for _ in layer.children()) else repr(layer)


def _failed(model: Backbone, error: Exception) -> tuple[str, Any, Tensor | None]:
    """The innermost layer of the pass that failed, with its name, and what it was given."""
    names = {id(module): name for name, module in model.model.named_modules()}
    for each in reversed(_frames(error)):
        known = each.tb_frame.f_locals
        if isinstance(layer := known.get("self"), nn.Module) and id(layer) in names:
            given = (value for name, value in known.items() if name != "self" and isinstance(value, Tensor))
            return names[id(layer)], layer, next(given, None)
    return "", None, None


def _cure(model: Backbone, inputs: Tensor, layer: Any, seen: Tensor | None) -> str:
    """What makes of inputs what the layer takes, if they are what it was given."""
    if inputs.is_complex():
        return "it takes real numbers: inputs.abs(), or torch.view_as_real(inputs), which has two for each"
    if not inputs.is_floating_point():
        return (
            "give floats that are prepared as the model was trained, such as inputs.float(), or pictures as bytes, "
            "uint8, which the transform of a Backbone prepares"
        )
    first = next((module for module in model.model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and inputs.ndim != 4:
        return _axes_cure(inputs, first.in_channels)
    if isinstance(layer, nn.Conv2d) and seen is not None and seen.shape[:2] == inputs.shape[:2]:
        return _channel_cure(inputs, layer.in_channels)
    return _width_cure(inputs, layer, seen)


def _channel_cure(inputs: Tensor, channels: int) -> str:
    _, first, _, last = inputs.shape
    if first == channels:
        return ""
    wanted, turn = f"it takes (N, {channels}, H, W)", ""
    if last == channels or (last in _COLOURS and first not in _COLOURS):
        turn, first = ".permute(0, 3, 1, 2)", last
    made = {(1, 3): ".expand(-1, 3, -1, -1)", (4, 3): "[:, :3]", (3, 1): ".mean(1, keepdim=True)"}
    adapted = "" if first == channels else made.get((first, channels))
    return wanted if adapted is None else f"{wanted}, which inputs{turn}{adapted} is"


def _axes_cure(inputs: Tensor, channels: int) -> str:
    """Of what is no batch of images: one image, or several without an axis for channels."""
    wanted, spread = f"it takes (N, {channels}, H, W)", "" if channels == 1 else f".expand(-1, {channels}, -1, -1)"
    if inputs.ndim != 3:
        return wanted
    return f"{wanted}: inputs[None] of a single image, inputs.unsqueeze(1){spread} of images (N, H, W)"


def _width_cure(inputs: Tensor, layer: Any, seen: Tensor | None) -> str:
    """Of a linear layer that was given the inputs themselves, or what is left of images of another size."""
    if not isinstance(layer, nn.Linear) or seen is None:
        return ""
    if seen.shape == inputs.shape:
        return f"it takes (N, {layer.in_features})"
    return (
        f"they leave {seen.shape[-1]} numbers for a linear layer that takes {layer.in_features}, so they are not of "
        "the size or channels that it was made for"
    )


def _size_cure(model: Backbone, inputs: Tensor) -> str:
    """Of a model that says its size."""
    config = getattr(model.model, "pretrained_cfg", None) or {}
    side = getattr(model.model, "image_size", None)  # of torchvision's transformers
    size = config.get("input_size") or ((3, side, side) if isinstance(side, int) else None)
    if size is None or inputs.ndim != 4 or tuple(inputs.shape[1:]) == tuple(size):
        return ""
    resize = f"torch.nn.functional.interpolate(inputs, {tuple(size[1:])}) resizes them"
    return f"it was made for {tuple(size)}{f'; {resize}' if inputs.shape[1] == size[0] else ''}"
