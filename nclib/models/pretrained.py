"""Backbones by name: models of timm and torchvision, and networks trained by a recipe, with their preprocessing."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nclib.checks import counted, few
from nclib.features.backbones import Backbone
from nclib.features.heads import TIMMS
from nclib.models.hub import hub
from nclib.models.names import import_module as import_module, model_name
from nclib.models.recipes import checkpoint_backbone


def backbone(
    name: str, *, weights: str | Path = "pretrained", imports: Sequence[str] = (), device: str | torch.device = "auto"
) -> Backbone:
    """A pre-trained model by name, in eval mode, with the preprocessing it was trained with.

    Parameters
    ----------
    name
        One of: a timm model (``resnet18.a1_in1k``), also as ``hf-hub:OWNER/NAME`` or ``local-dir:PATH``;
        ``torchvision:`` and the name of a classifier (``torchvision:resnet50``); ``recipe:`` and the path of a
        checkpoint that `nclib.train` wrote; or a wildcard as in `model_names` that matches a single model.
    weights
        ``pretrained`` (from the hub, or its cache on this machine), ``random`` (the same every time), the name of
        torchvision weights (``IMAGENET1K_V1``), or the path of a ``.safetensors`` file. In a file the classifier may
        have any width, or be missing (unless it is a convolution). Prefixes that training adds to names (``module.``,
        ``_orig_mod.``, ``backbone.``, ``model.``, or several of them) are removed, and a missing
        ``num_batches_tracked`` is 0; a warning says so.
    imports
        Modules that register models with timm when imported: names, or paths of ``.py`` files.
    device
        ``auto`` is a GPU if there is one; see `resolve_device`.

    Raises
    ------
    ValueError
        For an unknown name, a wildcard that matches several models, weights that do not fit the model, or an unknown
        device.
    FileNotFoundError
        If a file of weights or a checkpoint is missing, or the hub cannot be reached.
    TypeError
        If the name is not a text.

    Examples
    --------
    >>> resnet = backbone("resnet18", weights="random", device="cpu")
    >>> resnet.layers
    ('layer1.0', 'layer1.1', 'layer2.0', 'layer2.1', 'layer3.0', 'layer3.1', 'layer4.0', 'layer4.1')
    >>> resnet.classifier
    Linear(in_features=512, out_features=1000, bias=True)
    """
    from nclib.devices import resolve_device

    name = model_name(name, weights=weights, imports=imports)
    library, colon, rest = name.partition(":")
    makers = {"timm": _timm, "torchvision": _torchvision, "recipe": checkpoint_backbone}
    make, rest = (makers[library], rest) if colon and library in makers else (_timm, name)
    made = make(rest, str(weights))
    made.model.eval().to(resolve_device(device)).to(memory_format=torch.channels_last)
    return made


def _timm(name: str, weights: str) -> Backbone:
    import timm

    model: Any
    with _asking_hub(name, weights):
        model, classifies = weighted(name, partial(timm.create_model, name), _timms_classifier, weights)
    config = timm.data.resolve_model_data_config(model)
    classifier = model.get_classifier()
    return Backbone(
        name,
        model,
        timm.data.create_transform(**config, is_training=False),
        lambda x: model.forward_head(model.forward_features(x), pre_logits=True),
        classifier if classifies and isinstance(classifier, nn.Linear) else None,
    )


def _asking_hub(name: str, weights: str) -> AbstractContextManager[None]:
    """The `hub` context for a timm model if it, or its weights, come from the hub; else an empty one."""
    import timm

    source, colon, place = name.partition(":")
    if not colon:
        known = timm.get_pretrained_cfg(name)
        place = str(known.hf_hub_id) if weights == "pretrained" and known and known.hf_hub_id else ""
    cure = "" if colon else ", or give weights= (--weights) the path of a .safetensors file"
    return hub(place, cure) if place and source != "local-dir" else nullcontext()


def _timms_classifier(model: Any) -> Any:
    if lacking := [method for method in TIMMS if not hasattr(model, method)]:
        raise TypeError(
            f"{type(model).__name__} lacks {', '.join(lacking)}, which a model registered with timm must have"
        )
    return model.get_classifier()


def _torchvision(name: str, weights: str) -> Backbone:
    from torchvision import models

    known = models.get_model_weights(name)
    chosen = known[weights] if weights in known.__members__ else known.DEFAULT

    def make(pretrained: bool = False, **options: Any) -> nn.Module:
        if name in ("googlenet", "inception_v3"):
            options["transform_input"] = True  # as with torchvision's own weights, wherever these come from
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


def _last_linear(model: nn.Module) -> nn.Linear | None:
    return next((m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear)), None)


# Auxiliary classifiers of torchvision's Inception networks, and torch's count of averaged weights: not needed here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.", "n_averaged")


def weighted(
    name: str, make: Callable[..., nn.Module], classifier_of: Callable[[Any], Any], weights: str
) -> tuple[nn.Module, bool]:
    """The model with weights from the hub, random, or from a file; and whether they include a classifier."""
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make(), True
    if weights == "pretrained":
        try:
            with _weights_only(), redirect_stdout(sys.stderr):  # where torch's hub says that it downloads
                return make(pretrained=True), True
        except OSError as error:  # what both hubs raise without a network
            raise FileNotFoundError(
                f"the weights of {name} could not be fetched ({type(error).__name__}: {error}); "
                "give weights= (--weights) the path of a .safetensors file, for this model alone"
            ) from error
    return _from_file(name, make, classifier_of, weights)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Let torch.load unpickle only tensors in this block, even where torchvision does not ask for that."""
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    finally:
        del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        if before is not None:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before


def _from_file(
    name: str, make: Callable[..., nn.Module], classifier_of: Callable[[Any], Any], path: str
) -> tuple[nn.Module, bool]:
    model = make()
    given = _read(path)
    state = {key: value for key, value in _renamed(given, model, path).items() if not key.startswith(_AUXILIARY)}
    classifier = classifier_of(model)
    place = next((f"{n}." for n, module in model.named_modules() if module is classifier), "none.")
    rows = state.get(f"{place}weight")
    if rows is not None and len(rows) != len(getattr(classifier, "weight", ())):
        model = make(num_classes=len(rows))
    if rows is None:  # a backbone alone: the classifier keeps its random weights, and is not used
        state |= {key: value for key, value in model.state_dict().items() if key.startswith(place)}
    _fit(model, state, name, path, [*given])
    return model, rows is not None


def _read(path: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if Path(path).suffix != ".safetensors":
        raise ValueError(
            f"weights are {path!r}; they must be 'pretrained', 'random' or the path of a .safetensors file, as "
            "safetensors.torch.save_file(model.state_dict(), path) writes"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file of weights {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error


_PREFIXES = ("module.", "backbone.", "model.")  # from DataParallel and common wrappers


def _bare(key: str) -> str:
    """A name without wrappers' prefixes, and without what torch.compile inserts."""
    key = key.replace("_orig_mod.", "")
    while prefix := next((prefix for prefix in _PREFIXES if key.startswith(prefix)), ""):
        key = key.removeprefix(prefix)
    return key


def _renamed(given: dict[str, Tensor], model: nn.Module, path: str) -> dict[str, Tensor]:
    """The tensors of a file under the model's names, which may differ by prefixes; a warning says so."""
    own = model.state_dict().keys()
    known = {_bare(key): key for key in own}
    names = {key: key if key in own else known.get(_bare(key), _bare(key)) for key in given}
    of = {name: key for key, name in names.items()}
    if twice := [key for key, name in names.items() if of[name] != key]:
        raise ValueError(
            f"{path} holds {names[twice[0]]} twice, as {twice[0]} and {of[names[twice[0]]]}; keep one network's weights"
        )
    if other := [f"{key} as {name}" for key, name in names.items() if key != name]:
        warnings.warn(f"{path}: names were taken without their prefixes, {few(other)}", stacklevel=6)
    return {names[key]: value for key, value in given.items()}


def _fit(model: nn.Module, state: dict[str, Tensor], name: str, path: str, given: list[str]) -> None:
    """Load the state into the model; names and shapes must agree, except that batch counts may be missing."""
    values = model.state_dict()
    counts = [key for key in values.keys() - state.keys() if key.endswith("num_batches_tracked")]
    state = state | {key: values[key] for key in counts}
    own, found = ({key: tuple(value.shape) for key, value in part.items()} for part in (values, state))
    if own != found:
        keys = [key for key in own | found if own.get(key) != found.get(key)]
        different = [f"{key} is {found.get(key, 'missing')}, not {own.get(key, 'there')}" for key in keys]
        raise ValueError(
            f"{path} does not fit {name} in {counted(len(different), 'place')}: {'; '.join(different[:4])}. The file "
            f"holds {few(sorted(given)) or 'nothing'}; {name} has {few(sorted(own))}: save it with these names"
        )
    if counts:
        warnings.warn(
            f"{path} has no num_batches_tracked of {counted(len(counts), 'layer')}, which is taken as 0", stacklevel=6
        )
    model.load_state_dict(state)
