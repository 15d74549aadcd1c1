"""Weights of a model: from a hub, random, or from a safetensors file; never unpickled."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers of torchvision's Inception networks for training them


def weighted(
    name: str, make: Callable[..., nn.Module], classifier_of: Callable[[Any], Any], weights: str
) -> tuple[nn.Module, bool]:
    """The model with the weights asked for, of the hub, random, or of a file; and whether they have a classifier."""
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make(), True
    if weights == "pretrained":
        try:
            with _weights_only():
                return make(pretrained=True), True
        except OSError as error:  # what both hubs raise without a network
            raise FileNotFoundError(
                f"the weights of {name} could not be fetched ({type(error).__name__}: {error}); "
                "give weights= the path of a .safetensors file"
            ) from error
    return _from_file(name, make, classifier_of, weights)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Have torch.load unpickle nothing but tensors, also where torchvision calls it without saying so."""
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
    state = {key: value for key, value in _read(path).items() if not key.startswith(_AUXILIARY)}
    classifier = classifier_of(model)
    place = next((f"{n}." for n, module in model.named_modules() if module is classifier), "none.")
    rows = state.get(f"{place}weight")
    if rows is not None and len(rows) != len(getattr(classifier, "weight", ())):
        model = make(num_classes=len(rows))
    if rows is None:  # only the backbone: the classifier keeps its random weights, and is not to be used
        state |= {key: value for key, value in model.state_dict().items() if key.startswith(place)}
    _fit(model, state, name, path)
    return model, rows is not None


def _read(path: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if Path(path).suffix != ".safetensors":
        raise ValueError(
            f"weights are {path!r}; they must be 'pretrained', 'random' or the path of a .safetensors file"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file of weights {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error


def _fit(model: nn.Module, state: dict[str, Tensor], name: str, path: str) -> None:
    """Load the state into the model, all of it and nothing else."""
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    if own != given:
        keys = [key for key in own | given if own.get(key) != given.get(key)]
        different = [f"{key} is {given.get(key, 'missing')}, not {own.get(key, 'there')}" for key in keys]
        raise ValueError(f"{path} does not fit {name} in {len(different)} places: {'; '.join(different[:4])}")
    model.load_state_dict(state)
