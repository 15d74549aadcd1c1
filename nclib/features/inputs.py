"""Feed inputs to a model in its precision, and explain inputs that it cannot take, with the cure."""

import warnings
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from nclib.features.backbones import Backbone

_PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # types that inputs can be converted to
_COLOURS = (1, 3, 4)  # channels of pictures
_BRIGHT = 32  # normalised inputs stay below it, unless the deviation is tiny


def precision(model: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    """The dtype that a model computes in: the dtype of its first kernel, or else of its first float parameter."""
    floats = [parameter for parameter in model.parameters() if parameter.dtype in _PLAIN]
    kernels = [parameter for parameter in floats if parameter.ndim == 4]
    return (kernels or floats)[0].dtype if floats else otherwise


def coarsest(model: nn.Module) -> torch.dtype:
    """The coarsest float dtype among a model's parameters; float32 if it has none."""
    kinds = {parameter.dtype for parameter in model.parameters()}
    return max(kinds.intersection(_PLAIN), key=lambda kind: torch.finfo(kind).eps, default=torch.float32)


def rounding_of(model: nn.Module) -> float:
    """The machine epsilon of a model's coarsest parameters if they are coarser than float32; else 0."""
    numbers = torch.finfo(coarsest(model))
    return numbers.eps if numbers.bits < 32 else 0.0


def widened(features: Tensor) -> Tensor:
    """Features in torch's default dtype, or their own if that is finer."""
    return features.to(torch.promote_types(features.dtype, torch.get_default_dtype()))


def fed(model: Backbone, inputs: Tensor, kind: torch.dtype | None = None) -> Any:
    """The model's output for inputs, first in their own dtype, then, if that fails, in the model's.

    A model of mixed precisions may cast by itself, so only trying shows which dtype works; `kind` is the one to try.
    ValueError if neither works; it says what was given, which layer failed, and the cure.
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
    """Warn if float inputs look like bytes and the model is one whose preprocessing is known."""
    if not (_prepares(model) and inputs.ndim == 4 and inputs.is_floating_point() and inputs.numel()):
        return
    low, high = (float(end) for end in inputs.aminmax())
    if low >= 0 and _BRIGHT < high <= 255:
        warnings.warn(
            f"inputs run from {low:g} to {high:g}, as bytes do; floats are taken as prepared, but {model.name} was "
            "trained on scaled and normalised inputs: give bytes (uint8), which its transform prepares",
            stacklevel=3,
        )


def _prepares(model: Backbone) -> bool:
    kind = type(model.model)
    return bool(
        model.transform or hasattr(model.model, "pretrained_cfg") or kind.__module__.startswith("torchvision.models.")
    )


def out_of_memory(error: Exception) -> bool:
    """Whether torch ran out of memory, on a GPU or a CPU."""
    said = ("not enough memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")  # Windows, Linux, CUDA's libraries
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )


def _is_of_forward_mode(inputs: Tensor, error: Exception) -> bool:
    """Whether the model lacks forward-mode derivatives, for which the inputs are not to blame."""
    return isinstance(error, NotImplementedError) and forward_ad.unpack_dual(inputs).tangent is not None


def _is_ours(error: Exception) -> bool:
    """Whether nclib itself raised the error, such as for a layer without features; then its message suffices.

    Functions without Python frames, such as torch's, look as if their caller had raised the error.
    """
    inner = _frames(error)[1:]  # without the frame that called the model
    return bool(inner) and str(inner[-1].tb_frame.f_globals.get("__name__", "")).startswith("nclib.")


def _frames(error: Exception) -> list[TracebackType]:
    found, here = [], error.__traceback__
    while here is not None:
        found.append(here)
        here = here.tb_next
    return found


def _refusal(model: Backbone, inputs: Tensor, error: Exception) -> str:
    """The message: what was given, the cure, and which layer failed."""
    name, layer, seen = _failed(model, error)
    where = f" in its layer {name!r}, {_short(layer)}" if name else ""
    said = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    cure = _cure(model, inputs, layer, seen) or _size_cure(model, inputs)
    given = f"inputs {tuple(inputs.shape)}, {str(inputs.dtype).removeprefix('torch.')}"
    return f"{model.name} cannot take {given}{cure and f': {cure}'}. It fails{where}: {said}"


def _short(layer: Any) -> str:
    """A layer without children as torch prints it; any other by its class."""
    return type(layer).__name__ if any(True for _ in layer.children()) else repr(layer)


def _failed(model: Backbone, error: Exception) -> tuple[str, Any, Tensor | None]:
    """The name of the innermost layer that failed, the layer, and its input."""
    names = {id(module): name for name, module in model.model.named_modules()}
    for each in reversed(_frames(error)):
        known = each.tb_frame.f_locals
        if isinstance(layer := known.get("self"), nn.Module) and id(layer) in names:
            given = (value for name, value in known.items() if name != "self" and isinstance(value, Tensor))
            return names[id(layer)], layer, next(given, None)
    return "", None, None


def _cure(model: Backbone, inputs: Tensor, layer: Any, seen: Tensor | None) -> str:
    """How to turn the inputs into what the layer takes, if they went into it unchanged; else empty."""
    if inputs.is_complex():
        return "it takes real numbers: inputs.abs(), or torch.view_as_real(inputs), which has two for each"
    if not inputs.is_floating_point():
        return (
            "give floats prepared as in training, such as inputs.float(), or pictures as bytes, uint8, which the "
            "transform of a Backbone prepares"
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
    """The cure for inputs that are not a batch of images: a single image, or images without a channel axis."""
    wanted, spread = f"it takes (N, {channels}, H, W)", "" if channels == 1 else f".expand(-1, {channels}, -1, -1)"
    if inputs.ndim != 3:
        return wanted
    return f"{wanted}: inputs[None] for a single image, inputs.unsqueeze(1){spread} for images (N, H, W)"


def _width_cure(inputs: Tensor, layer: Any, seen: Tensor | None) -> str:
    """The cure for a linear layer that got inputs of another width, or features of images of another size."""
    if not isinstance(layer, nn.Linear) or seen is None:
        return ""
    if seen.shape == inputs.shape:
        return f"it takes (N, {layer.in_features})"
    return (
        f"they leave {seen.shape[-1]} numbers for a linear layer that takes {layer.in_features}, so they have another "
        "size or other channels than the model was made for"
    )


def _size_cure(model: Backbone, inputs: Tensor) -> str:
    """The cure for images of another size than the model states."""
    config = getattr(model.model, "pretrained_cfg", None) or {}
    side = getattr(model.model, "image_size", None)  # of torchvision's transformers
    size = config.get("input_size") or ((3, side, side) if isinstance(side, int) else None)
    if size is None or inputs.ndim != 4 or tuple(inputs.shape[1:]) == tuple(size):
        return ""
    resize = f"torch.nn.functional.interpolate(inputs, {tuple(size[1:])}) resizes them"
    return f"it was made for {tuple(size)}{f'; {resize}' if inputs.shape[1] == size[0] else ''}"
