"""Backbones by name: timm's and torchvision's models, and networks trained by a recipe, each with its preprocessing."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nclib.imports import import_module
from nclib.storage import digest_of, load_tensors
from nclib.weights import weighted

LAST = "last"  # the layer that a classifier sees
_TIMMS = ("get_classifier", "forward_features", "forward_head")


@dataclass(frozen=True)
class Backbone:
    """A frozen model that gives features, and what an image must be made into for it.

    Parameters
    ----------
    name
        What it is called, in messages and in the cache.
    model
        In eval mode, on its device.
    transform
        From a PIL image of mode RGB to what the model takes, float (C, H, W). Its `repr` says all that it does.
    last
        From a batch (N, C, H, W) to the last-layer features (N, d); None is the model itself.
    classifier
        The linear layer on those features, if there is one: its weight and bias are what NC3 and NC4 need.

    Examples
    --------
    >>> from nclib import extract
    >>> layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> own = Backbone("own", nn.Sequential(*layers))
    >>> own.layers, extract(own, torch.zeros(2, 3, 32, 32)).shape
    (('0', '2'), torch.Size([2, 16]))
    """

    name: str
    model: nn.Module
    transform: Callable[[Any], Tensor] | None = None
    last: Callable[[Tensor], Tensor] | None = None
    classifier: nn.Linear | None = None

    @property
    def device(self) -> torch.device:
        return next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))

    @property
    def digest(self) -> str:
        """Of all weights and buffers as they are now, hexadecimal."""
        return digest_of(self.model.state_dict())

    @property
    def layers(self) -> tuple[str, ...]:
        """The module names of the intermediate layers, the blocks of the model, in order of depth."""
        return tuple(_blocks(self.model))

    def layer(self, layer: str | int) -> str:
        """The name of a layer given by its name or by its place in `layers` (negative from the end)."""
        if isinstance(layer, int):
            if not -len(self.layers) <= layer < len(self.layers):
                raise ValueError(
                    f"{self.name} has no layer {layer}; there are 0..{len(self.layers) - 1}, or -1 for the last"
                )
            return self.layers[layer]
        if layer != LAST and layer not in dict(self.model.named_modules()):
            raise ValueError(f"{self.name} has no layer {layer!r}; its blocks are {', '.join(self.layers)}, {LAST}")
        return layer


def _blocks(model: nn.Module, prefix: str = "", inside: bool = False) -> list[str]:
    """The members of the model's sequences, and of sequences in them unless these are made of single operations.

    Of a model without a sequence, or with many modules that have their own side by side, the blocks are its parts.
    """
    parts = {name: child for name, child in model.named_children() if any(True for _ in child.parameters())}
    if not prefix and sum(map(_holds_sequence, parts.values())) != 1 and not any(map(_is_sequence, parts.values())):
        return [f"{prefix}{name}" for name, part in parts.items() if not isinstance(part, nn.Linear)]
    names = []
    for name, child in parts.items():
        path = f"{prefix}{name}"
        is_whole = inside and not (_is_sequence(child) and any(len(list(part.children())) for part in child.children()))
        names += [path] if is_whole else _blocks(child, f"{path}.", inside or _is_sequence(child))
    return names


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList)


def _holds_sequence(module: nn.Module) -> bool:
    return any(map(_is_sequence, module.modules()))


def backbone(
    name: str, *, weights: str | Path = "pretrained", imports: Sequence[str] = (), device: str | torch.device = "auto"
) -> Backbone:
    """A pre-trained model by name, in eval mode, with the preprocessing it was trained with.

    Parameters
    ----------
    name
        A timm model (``resnet18.a1_in1k``), ``torchvision:`` and one of torchvision's classifiers
        (``torchvision:resnet50``), or ``recipe:`` and the path of a checkpoint that `nclib.train` wrote.
    weights
        ``pretrained`` (from the hub, or its cache on this machine), ``random`` (the same ones every time),
        the name of one of torchvision's weights (``IMAGENET1K_V1``), or the path of a ``.safetensors`` file.
        The classifier may be of any width there, or missing (but for those that classify by a convolution).
    imports
        Modules that register models with timm when they are imported: names, or paths of ``.py`` files.
    device
        ``auto`` is a GPU where there is one.

    Examples
    --------
    >>> resnet = backbone("resnet18", weights="random", device="cpu")
    >>> resnet.layers
    ('layer1.0', 'layer1.1', 'layer2.0', 'layer2.1', 'layer3.0', 'layer3.1', 'layer4.0', 'layer4.1')
    >>> resnet.classifier
    Linear(in_features=512, out_features=1000, bias=True)
    """
    from nclib.devices import resolve_device

    for module in [imports] if isinstance(imports, str) else imports:
        import_module(module)
    if not isinstance(name, str):
        raise TypeError(
            f"name is a {type(name).__name__}; for a model of your own it is Backbone(name, model, transform)"
        )
    library, colon, rest = name.partition(":")
    makers = {"timm": _timm, "torchvision": _torchvision, "recipe": _recipe}
    make, rest = (makers[library], rest) if colon and library in makers else (_timm, name)
    made = make(rest, str(weights))
    made.model.eval().to(resolve_device(device)).to(memory_format=torch.channels_last)
    return made


def _timm(name: str, weights: str) -> Backbone:
    import timm

    if not timm.is_model(name) and not name.startswith(("hf_hub:", "hf-hub:", "local-dir:")):
        raise ValueError(_unknown(name, "timm", timm.list_models()))

    def make(pretrained: bool = False, **options: Any) -> nn.Module:
        return timm.create_model(name, pretrained=pretrained, **options)

    model: Any
    model, classifies = weighted(name, make, _timms_classifier, weights)
    config = timm.data.resolve_model_data_config(model)
    classifier = model.get_classifier()
    return Backbone(
        name,
        model,
        timm.data.create_transform(**config, is_training=False),
        lambda x: model.forward_head(model.forward_features(x), pre_logits=True),
        classifier if classifies and isinstance(classifier, nn.Linear) else None,
    )


def _timms_classifier(model: Any) -> Any:
    if lacking := [method for method in _TIMMS if not hasattr(model, method)]:
        raise TypeError(
            f"{type(model).__name__} lacks {', '.join(lacking)}, which a model registered with timm must have"
        )
    return model.get_classifier()


def _torchvision(name: str, weights: str) -> Backbone:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(_unknown(name, "torchvision", models.list_models(module=models)))
    known = models.get_model_weights(name)
    chosen = known[weights] if weights in known.__members__ else known.DEFAULT

    def make(pretrained: bool = False, **options: Any) -> nn.Module:
        if name in ("googlenet", "inception_v3"):
            options["transform_input"] = True  # as with the hub's weights, wherever these come from
            options |= {} if pretrained else {"aux_logits": False, "init_weights": True}  # else torchvision warns
        return models.get_model(name, weights=chosen if pretrained else None, **options)

    weights = "pretrained" if weights in known.__members__ else weights
    model, classifies = weighted(name, make, _last_linear, weights)
    classifier = _last_linear(model)
    if classifier is None:  # SqueezeNet classifies by a convolution, whose input is pooled for the features
        model.classifier = nn.AdaptiveAvgPool2d(1)
    else:
        model.set_submodule(next(n for n, m in model.named_modules() if m is classifier), nn.Identity())
    return Backbone(f"torchvision:{name}", model, chosen.transforms(), None, classifier if classifies else None)


def _unknown(name: str, library: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 5)
    hint = f"names near it are {', '.join(close)}" if close else f"it has {len(known)}, such as {known[0]}"
    return f"{library} has no model {name!r}; {hint}"


def _last_linear(model: nn.Module) -> nn.Linear | None:
    return next((m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear)), None)


def _recipe(path: str, weights: str) -> Backbone:
    from nclib.training import Recipe, network_of

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


def recipe_backbone(model: nn.Module, channels: int, size: int, *, name: str) -> Backbone:
    """What transfer keeps of a network trained by a recipe, for images of the channels and size it was trained on."""
    return Backbone(name, model, AsTrained(channels, size))


@dataclass(frozen=True)
class AsTrained:
    """From a PIL image of any kind and size to what a recipe's network was trained on; see `ImageSet.inputs`."""

    channels: int
    size: int

    def __call__(self, image: Any) -> Tensor:
        image = image.convert("L" if self.channels == 1 else "RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size))
        pixels = torch.from_numpy(np.array(image, dtype=np.float32)).reshape(self.size, self.size, self.channels)
        return pixels.permute(2, 0, 1).to(torch.get_default_dtype()).div(127.5).sub(1)
