"""What distinguishes a function or an object in every process, for files that outlive the process that wrote them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nclib.storage import digest_of, digest_of_text

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # differs in every process


def identity(value: Any, *known: Any) -> str:
    """The hexadecimal digest of all that distinguishes a value: of a function its bytecode and what it holds.

    What it holds are constants, defaults, closures, the object that it is a method of, and functions of its own module.
    Functions of other modules count by name, and so do the `known` objects, which the caller identifies by other means.

    Examples
    --------
    >>> def times(number):
    ...     return lambda value: number * value
    >>> identity(times(2)) == identity(times(2)), identity(times(2)) == identity(times(3))
    (True, False)
    """
    return digest_of_text(json.dumps(_parts(value, frozenset(map(id, known))), sort_keys=True))


def _parts(value: Any, above: frozenset[int]) -> Any:
    """What a value consists of, as JSON; objects whose ids are in `above` contain it, and are left out."""
    if id(value) in above:
        return "above"
    inside = partial(_parts, above=above | {id(value)})
    match value:
        case Tensor() | np.ndarray():
            return _digest_of_array(value)
        case nn.Module():
            return [_name_of(value), [[name, _held(each, inside)] for name, each in value.named_modules()]]
        case partial():
            return ["partial", *map(inside, (value.func, value.args, value.keywords))]
        case MethodType():
            return ["method", inside(value.__func__), inside(value.__self__)]
        case FunctionType():
            return ["function", *_parts_of_function(value, inside)]
        case CodeType():
            return [value.co_qualname, value.co_code.hex(), [*value.co_names], inside(value.co_consts)]
        case Mapping():
            return ["mapping", [[inside(name), inside(each)] for name, each in value.items()]]
        case list() | tuple():
            return [type(value).__name__, *map(inside, value)]
        case set() | frozenset():
            return ["set", *sorted(json.dumps(inside(each), sort_keys=True) for each in value)]
    named = isinstance(value, type | ModuleType)  # an import finds it, whatever it holds
    return [_name_of(value), _ADDRESS.sub("", repr(value)), {} if named else inside(_attributes(value))]


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, slots among them, without what it computes from others when it is asked."""
    state = object.__getstate__(value)
    parts = state if isinstance(state, tuple) else (state,)
    held = {name: each for part in parts if part for name, each in part.items()}
    return {name: each for name, each in held.items() if not isinstance(getattr(type(value), name, 0), cached_property)}


def _name_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _digest_of_array(value: Tensor | np.ndarray) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        return ["array", str(value.dtype), repr(value.tolist())]
    return ["array", digest_of({"": torch.as_tensor(value)})]


def _held(module: nn.Module, inside: Callable[[Any], Any]) -> dict[str, Any]:
    """The type of a module, its own tensors, and its attributes, without those that change as it is used."""
    tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    held = {name: each for name, each in vars(module).items() if not name.startswith("_") and name != "training"}
    return {"type": _name_of(module), "tensors": inside(tensors), "held": inside(held)}


def _parts_of_function(function: FunctionType, inside: Callable[[Any], Any]) -> Iterator[Any]:
    yield inside(function.__code__)
    yield inside([function.__defaults__, function.__kwdefaults__])
    yield [inside(_content(cell)) for cell in function.__closure__ or ()]
    called = (function.__globals__.get(name) for name in _names(function.__code__))
    own = (each for each in called if isinstance(each, FunctionType) and each.__module__ == function.__module__)
    yield [inside(each) for each in own]


def _names(code: CodeType) -> list[str]:
    """The global names and attributes of a function, and of those that it defines."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return [*code.co_names, *(name for each in inner for name in _names(each))]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is still empty
        return None
