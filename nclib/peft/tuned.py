"""Models prepared for fine-tuning: a body that computes features, a linear head, and a choice of what is trained."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from nclib.checks import check_whole
from nclib.features.backbones import LAST, Backbone
from nclib.features.encoders import TextEncoder
from nclib.features.forward import captured, checked, evaluating, pooled
from nclib.features.inputs import precision
from nclib.seeds import seeded
from nclib.storage import digest_of

Match = Literal["pad", "project"]


class Skip(nn.Module):
    """The sum of last-layer features (N, d) and the pooled output (N, c) of a block, brought to one width.

    With `match="pad"` the shorter vector is padded with zeros, so the sum is (N, max(c, d)). With "project" a fixed
    random map, orthogonal as far as the widths allow, brings the block's output to (N, d).
    """

    projection: Tensor | None

    def __init__(self, width: int, block_width: int, match: Match):
        super().__init__()
        if match not in ("pad", "project"):
            raise ValueError(f"match is {match!r}; it must be 'pad' or 'project'")
        self.width = max(width, block_width) if match == "pad" else width
        projection = nn.init.orthogonal_(torch.empty(block_width, width), generator=seeded("skip", block_width, width))
        self.register_buffer("projection", projection if match == "project" else None)

    def forward(self, features: Tensor, skipped: Tensor) -> Tensor:
        if self.projection is not None:
            skipped = skipped @ self.projection.to(skipped)
        return self._padded(features) + self._padded(skipped)

    def _padded(self, features: Tensor) -> Tensor:
        return pad(features, (0, self.width - features.shape[1]))


class Head(nn.Linear):
    """A linear classifier that converts features of any floating type to its own."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.to(self.weight.dtype))


class Tuned(nn.Module):
    """A classifier with a part that is trained; `linear_probe`, `skip_tuning` and the others return it.

    Called with inputs (N, C, H, W) of any floating type, it returns logits (N, K). Only the trained parameters require
    a gradient. In train mode all other modules stay in eval mode, including their batch norm and dropout.

    Attributes
    ----------
    body
        A copy of the model without its classifier: from inputs to last-layer features (N, d).
    head
        The linear classifier of K classes.
    skip
        Adds the output of the tuned layer to the features; None without a skip connection.
    spec
        The method and its arguments, by name, as `save_tuned` stores them.
    base
        The digest of the model before tuning.
    transform
        From a PIL image to an input of the body, if it was made from a `Backbone` that has one.
    trained
        The names of the modules that enter train mode.

    Examples
    --------
    >>> from nclib import linear_probe
    >>> tuned = linear_probe(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)), num_classes=2)
    >>> tuned.features(torch.rand(4, 3, 8, 8)).shape, tuned(torch.rand(4, 3, 8, 8)).shape, tuned.trained
    (torch.Size([4, 3]), torch.Size([4, 2]), ('head',))
    """

    def __init__(self, body: nn.Module, head: Head, skip: Skip | None, spec: dict[str, Any], base: str):
        super().__init__()
        self.body, self.head, self.skip, self.spec, self.base = body, head, skip, spec, base
        self.trained: tuple[str, ...] = ("head",)
        self.transform: Callable[[Any], Tensor] | None = None
        self.register_state_dict_post_hook(_contiguous)

    def extra_repr(self) -> str:
        """The method and its arguments, since weights do not tell which layer a skip connection adds."""
        return ", ".join(f"{name}={value!r}" for name, value in self.spec.items())

    def features(self, inputs: Tensor) -> Tensor:
        """What the head sees, (N, d): last-layer features, with what the skip connection adds."""
        inputs = self.taken(inputs)
        if self.skip is None:
            features = self.body(inputs)
            if not isinstance(features, Tensor):
                raise TypeError(
                    f"the model returns {type(features).__name__} in training; build it without auxiliary heads"
                )
            return features
        layer = self.spec["layer"]
        with captured(self.body, [layer], partial(pooled, self.body)) as outputs:
            features = self.body(inputs)
        return self.skip(features, outputs[layer][0])

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) of inputs (N, C, H, W)."""
        return self.head(self.features(inputs))

    def taken(self, inputs: Tensor) -> Tensor:
        """Inputs as the body takes them: floats in its precision; integers stay integers."""
        own = precision(self.body, torch.get_default_dtype())
        return inputs.to(own) if inputs.is_floating_point() else inputs

    def pooled(self, output: Tensor) -> Tensor:
        """The tuned layer's output as the skip connection takes it, pooled as in `extract_layers`."""
        return pooled(self.body, self.spec["layer"], output)

    @property
    def backbone(self) -> Backbone:
        """The model as a `Backbone`, for `extract` and what builds on it; ``last`` is what the head sees."""
        return Backbone(f"tuned {self.spec['method']}", self, self.transform, self.features, self.head)

    def train(self, mode: bool = True) -> "Tuned":
        """Put what is trained into train mode, and all else into eval mode."""
        super().train(False)
        self.training = mode
        for name in self.trained:
            self.get_submodule(name).train(mode)
        return self


def _contiguous(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Make a module's state contiguous, which safetensors, and so Hugging Face's Trainer, needs to save it."""
    own = {name: value for name, value in state.items() if name.startswith(prefix) and isinstance(value, Tensor)}
    state.update((name, value.contiguous()) for name, value in own.items() if value.layout is torch.strided)


class Base:
    """A model taken apart, ready to be tuned: its body, the width of its features, and its classifier.

    `model` is a timm or torchvision classifier, any module that ends in a linear layer, or a `Backbone`. It is copied.
    Numbers coarser than torch's default precision, such as bfloat16, are converted to it, or small steps would be lost.
    """

    def __init__(self, model: nn.Module | Backbone):
        backbone = backbone_of(model)
        self.transform = backbone.transform
        self.body, self.classifier = _copied(backbone)
        if not isinstance(model, Backbone) or backbone.last is not None:
            self.classifier = _take_classifier(self.body, backbone.name)
        self.named = Backbone(backbone.name, self.body)
        self._digest = digest_of(self.body.state_dict())
        self._blank = _blank(backbone)
        (self.width,) = self.widths()
        self._check_features(backbone)
        self._refine()
        _renew((tensor for tensor in _tensors(self.body) if not _dense(tensor)), Tensor.contiguous)
        self.body.requires_grad_(False)

    def digest(self, num_classes: int | None) -> str:
        """The digest of a tuned model's initial weights: the body's, and the classifier's if that is kept."""
        if num_classes is not None or self.classifier is None:
            return self._digest
        return f"{self._digest}-{digest_of(self.classifier.state_dict())}"

    def _check_features(self, backbone: Backbone) -> None:
        """Refuse a backbone whose features differ from what its model returns without the classifier."""
        if backbone.last is None:
            return
        noise = torch.rand(self._blank.shape, generator=seeded("features")).to(self._blank)
        with evaluating(self.body), evaluating(backbone.model), torch.no_grad():
            ours, theirs = self.body(noise), backbone.last(noise)
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5):
            raise ValueError(
                f"the features that {backbone.name} names differ from what its model returns without its classifier; "
                "give a Backbone without `last` whose model returns the features"
            )

    def _refine(self) -> None:
        """Convert the numbers to torch's default precision; undo it if the model, which may cast itself, then fails."""
        default = torch.get_default_dtype()
        coarse = [tensor for tensor in _tensors(self.body) if _coarser(tensor, default)]
        before = [(tensor, tensor.data) for tensor in coarse]
        if not any(isinstance(tensor, nn.Parameter) for tensor in coarse):
            return
        try:
            _renew(coarse, lambda numbers: numbers.to(default))
            blank = self._blank.to(precision(self.body, default))
            with evaluating(self.body), torch.no_grad():
                self.body(blank)
            self._blank = blank
        except RuntimeError:
            for tensor, numbers in before:
                tensor.data = numbers

    def widths(self, *layers: str) -> list[int]:
        """The widths of the pooled outputs of layers, followed by the width of the last-layer features."""
        as_they_are = captured(self.body, layers, lambda layer, output: output)
        with evaluating(self.body), torch.no_grad(), as_they_are as outputs:
            cure = ": give a module that returns only the features"
            features = checked(self.body(self._blank), f"without its classifier {self.named.name}", cure)
        return [self._width(layer, taken) for layer, taken in outputs.items()] + [features.shape[1]]

    def _width(self, layer: str, outputs: Sequence[Any]) -> int:
        blocks = ", ".join(self.named.layers)
        if len(outputs) != 1:
            raise ValueError(f"layer {layer} is used {len(outputs)} times in a forward pass, not once; use {blocks}")
        if isinstance(outputs[0], Tensor) and outputs[0].ndim == 2:
            raise ValueError(f"layer {layer} comes after the pooling and cannot be tuned alone; use {blocks}")
        return pooled(self.body, layer, outputs[0]).shape[1]

    def layer(self, layer: str | int) -> str:
        """The name of a layer, given by its name or place in `Backbone.layers`, checked to be tunable."""
        name = self.named.layer(layer)
        if name == LAST:
            raise ValueError(f"the last layer is what the head sees; tune one of {', '.join(self.named.layers)}")
        if not any(True for _ in self.body.get_submodule(name).parameters()):
            raise ValueError(f"layer {name} has no parameters to tune; use {', '.join(self.named.layers)}")
        return name

    def tuned(self, num_classes: int | None, spec: dict[str, Any], skip: Skip | None = None) -> Tuned:
        """The tuned module, of which so far only the head is trained."""
        head = self._head(skip.width if skip else self.width, num_classes).to(self.named.device)
        number = None if num_classes is None else int(num_classes)  # numpy's integers cannot be written to a file
        tuned = Tuned(self.body, head, skip, spec | {"num_classes": number}, self.digest(number))
        tuned.transform = self.transform
        return tuned.to(head.weight.device).eval()

    def _head(self, width: int, num_classes: int | None) -> Head:
        """A classifier of zeros, or the model's own, padded with zeros for the width that the skip connection adds."""
        old = self.classifier
        if num_classes is not None:
            check_whole(2, num_classes=num_classes)
        if num_classes is None and old is None:
            raise ValueError(f"{self.named.name} has no classifier to keep; give num_classes for a new one")
        outputs = old.out_features if num_classes is None and old else int(num_classes or 0)
        default = torch.get_default_dtype()
        head = Head(width, outputs, dtype=torch.promote_types(default, precision(self.body, default)))
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        if num_classes is None and old is not None:
            weight = pad(old.weight, (0, width - old.in_features))
            head.load_state_dict({"weight": weight, "bias": head.bias if old.bias is None else old.bias})
        return head


def unwrapped(module: Any) -> Any:
    """The module without the wrappers of torch.compile, DataParallel, DistributedDataParallel or AveragedModel."""
    while isinstance(module, nn.Module):
        inner = module.module if isinstance(module, _WRAPPERS) else dict(module.named_children()).get("_orig_mod")
        if inner is None:
            break
        module = inner
    return module


_WRAPPERS = (DataParallel, DistributedDataParallel, AveragedModel)


def backbone_of(model: nn.Module | Backbone) -> Backbone:
    """A model as a backbone, unwrapped: hooks do not reach compiled modules, and parallel ones cannot be copied."""
    if isinstance(model, TextEncoder):
        raise TypeError(f"{model.name} is an encoder of texts; only models of images can be tuned")
    if not isinstance(model, nn.Module | Backbone):
        raise TypeError(f"model is {model!r}; it must be a module or a Backbone, as nclib.backbone(name) returns")
    backbone = Backbone.of(unwrapped(model))
    return replace(backbone, model=unwrapped(backbone.model))


def _copied(backbone: Backbone) -> tuple[nn.Module, nn.Linear | None]:
    """Copies of the model and its classifier; computed tensors, such as normalised weights, are copied as numbers."""
    held = chain.from_iterable([*vars(each).values(), *each.buffers(False)] for each in backbone.model.modules())
    computed = {id(value): value.detach().clone() for value in held if isinstance(value, Tensor) and not value.is_leaf}
    try:
        return copy.deepcopy((backbone.model, backbone.classifier), computed)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{backbone.name} must be copied, but copy.deepcopy fails: {error}") from error


def _tensors(model: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a model, each once, without sparse ones."""
    return [tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.layout == torch.strided]


def _coarser(tensor: Tensor, dtype: torch.dtype) -> bool:
    return tensor.is_floating_point() and torch.finfo(tensor.dtype).bits < torch.finfo(dtype).bits


def _renew(tensors: Iterable[Tensor], make: Callable[[Tensor], Tensor]) -> None:
    """Replace the numbers of each tensor by what `make` returns for them; tensors that share numbers still do."""
    made: dict[Any, Tensor] = {}
    for tensor in tensors:
        numbers = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if numbers not in made:
            made[numbers] = make(tensor.data)
        tensor.data = made[numbers]


def _dense(tensor: Tensor) -> bool:
    """Whether a tensor is contiguous, or channels-last."""
    return tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _take_classifier(body: nn.Module, name: str) -> nn.Linear | None:
    """Replace the model's last linear layer by an identity, under all of its names, and return the layer."""
    timms: Callable[[], nn.Module] | None = getattr(body, "get_classifier", None)
    places = [(path, module) for path, module in body.named_modules(remove_duplicate=False) if path]
    layers = [module for path, module in places if "parametrizations" not in path.split(".")]
    own = timms() if timms else (layers or [body])[-1]
    if timms and isinstance(own, nn.Identity):
        return None  # a timm model without classes already returns features
    if not isinstance(own, nn.Linear):
        raise ValueError(
            f"{name} has no linear classifier, but ends in {type(own).__name__}; give a Backbone without `last` whose "
            "model returns the features"
        )
    for path in [path for path, module in places if module is own]:
        body.set_submodule(path, nn.Identity())
    return own


def _blank(backbone: Backbone) -> Tensor:
    """A batch of one black image as the model takes it; 224 px a side without a transform or a config."""
    if backbone.transform is not None:
        image = backbone.transform(Image.new("RGB", (256, 256)))[None].to(backbone.device)
        return image.to(precision(backbone.model, image.dtype)) if image.is_floating_point() else image
    side = getattr(backbone.model, "image_size", 224)  # of torchvision's transformers
    size = (getattr(backbone.model, "pretrained_cfg", None) or {}).get("input_size", (3, side, side))
    kernel = next((p for p in backbone.model.parameters() if p.ndim == 4), torch.empty(0, size[0], 0, 0))
    return torch.zeros(1, kernel.shape[1], *size[1:], device=backbone.device, dtype=kernel.dtype)
