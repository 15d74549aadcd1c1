"""The forward pass that computes features: hooks on the layers, pooling, and smaller batches when memory runs out."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nclib.checks import counted
from nclib.devices import sent
from nclib.features.backbones import LAST, Backbone
from nclib.features.inputs import fed, out_of_memory, widened
from nclib.features.preparation import as_it_is

Outputs = dict[str, Tensor]  # features (N, d) by the name of their layer


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode in this block; then every module returns to its mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def outputs_of(
    model: Backbone, names: list[str], half: bool, finish: Callable[[Tensor], Tensor] = as_it_is
) -> Iterator[Callable[[Tensor], Outputs]]:
    """Yield a function from a batch to the features of the layers; it splits the batch if memory runs out.

    `finish` completes the preparation of a batch, on the model's device.
    """
    limit = None

    def in_pieces(batch: Tensor) -> Outputs:
        nonlocal limit
        while True:
            try:
                pieces = batch.split(limit or len(batch))
                parts = [_forward(model, names, half, finish(_sent(model, piece))) for piece in pieces]
                return {name: torch.cat([part[name] for part in parts]) for name in names}
            except RuntimeError as error:
                size = min(limit or len(batch), len(batch))
                if size == 1 or not out_of_memory(error):
                    raise
                limit = size // 2
                tqdm.write(f"{model.name}: out of memory with {size} images at once; continuing with {limit}")
            torch.cuda.empty_cache()  # here the error, and all that it refers to, has been freed

    yield in_pieces


def half_type(model: Backbone) -> torch.dtype:
    """The dtype of autocast on the model's device."""
    return torch.get_autocast_dtype(model.device.type)


def _sent(model: Backbone, batch: Tensor) -> Tensor:
    order = torch.channels_last if batch.ndim == 4 else torch.preserve_format
    return sent(batch, model.device, memory_format=order)


def _forward(model: Backbone, names: list[str], half: bool, batch: Tensor) -> Outputs:
    """The features of the layers for a batch on the model's device, in one pass.

    The model may return anything if its last layer is not asked for.
    """
    layers = captured(model.model, [name for name in names if name != LAST], partial(pooled, model.model))
    with torch.autocast(model.device.type, enabled=half), layers as kept:
        last = fed(model, batch)
    if uncalled := [name for name, outputs in kept.items() if not outputs]:
        others = ", ".join((*model.layers, LAST))
        raise ValueError(f"{model.name} does not use layer {uncalled[0]!r} to make its features; there are {others}")
    made = {name: outputs[-1] for name, outputs in kept.items()}
    if LAST in names:
        cure = (
            "" if model.last or isinstance(last, Tensor) else ": nclib.Backbone(name, model, transform, last=function)"
        )
        made[LAST] = checked(last, f"the last layer of {model.name}", cure)
    return {name: _kept(made[name], f"layer {name} of {model.name}", len(batch)) for name in names}


def _kept(features: Tensor, giver: str, number: int) -> Tensor:
    """Features as the user gets them, checked to be real numbers with one row for each input."""
    if len(features) != number:
        raise ValueError(f"{giver} gives {counted(len(features), 'row')} for {counted(number, 'input')}, not one each")
    if features.is_complex():
        raise ValueError(f"{giver} gives {features.dtype}; features must be real numbers, such as their abs()")
    return widened(features.dequantize() if features.is_quantized else features)


@contextmanager
def captured(model: nn.Module, layers: Iterable[str], take: Callable[[str, Any], Any]) -> Iterator[dict[str, list]]:
    """Collect `take(layer, output)` for every output of the layers in this block, in order, by layer name.

    It is called at once, since later layers may overwrite the output.
    """
    taken: dict[str, list] = {name: [] for name in layers}

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        taken[name].append(take(name, output))

    with ExitStack() as hooks:
        for name in taken:
            hooks.callback(model.get_submodule(name).register_forward_hook(partial(keep, name)).remove)
        yield taken


def checked(features: Any, giver: str, cure: str = "") -> Tensor:
    """The features, if they are (N, d); else a ValueError that names the giver and the cure."""
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise ValueError(f"{giver} gives {described(features)}; it must be features (N, d){cure}")
    return features


def described(output: Any) -> str:
    """An output for a message: the shape of a tensor, the type of anything else."""
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def pooled(model: nn.Module, name: str, output: Any) -> Tensor:
    """One vector per image: the mean over the positions of a map, or over the tokens other than class tokens."""
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        given = described(output)
        raise ValueError(f"layer {name} returns {given}; it must return (N, d), (N, tokens, d) or (N, d, H, W)")
    output = output.dequantize() if output.is_quantized else output
    if output.ndim == 4:
        return output.mean((1, 2) if _channels_come_last(model.get_submodule(name), output) else (2, 3))
    if output.ndim == 3:
        return output[:, _class_tokens(model, output) :].mean(1)
    return output.clone()


def _channels_come_last(layer: nn.Module, output: Tensor) -> bool:
    """Whether a map is (N, H, W, d), like Swin's: a module of the layer outputs its last size, none its second."""
    modules = list(layer.modules())
    first = {module.out_channels for module in modules if isinstance(module, nn.Conv2d)}
    last = {module.out_features for module in modules if isinstance(module, nn.Linear)}
    last |= {module.normalized_shape[-1] for module in modules if isinstance(module, nn.LayerNorm)}
    return output.shape[1] not in first and output.shape[-1] in first | last


def _class_tokens(model: nn.Module, output: Tensor) -> int:
    """The number of tokens before those of the image; 0 if class tokens are not added yet."""
    if output.shape[1] == getattr(getattr(model, "patch_embed", None), "num_patches", None):
        return 0
    return getattr(model, "num_prefix_tokens", int(hasattr(model, "class_token")))
