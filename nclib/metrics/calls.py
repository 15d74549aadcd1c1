"""The error of a metric that is called with the wrong arguments."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar

from nclib.metrics.statistics import ClassStatistics

_P = ParamSpec("_P")
_R = TypeVar("_R")
_STATISTICS = "nclib.class_statistics(features, labels)"
_GIVEN = {"stats": _STATISTICS, "vectors": _STATISTICS, "models": f"[{_STATISTICS}, ...]"}  # by name of the parameter


def with_cure(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, with an error that shows how to call it if features are given for class statistics, or the reverse.

    Python would say only that there is one argument too many, or one too few.

    Examples
    --------
    >>> @with_cure
    ... def spread(stats):
    ...     return stats.within_trace
    >>> spread([[0.0], [1.0]], [0, 0])
    Traceback (most recent call last):
    TypeError: spread takes other arguments: nclib.spread(nclib.class_statistics(features, labels))
    """

    @wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            if not _fits(function, args, kwargs):
                raise TypeError(f"{function.__name__} takes other arguments: {_example(function)}") from None
            raise

    return called


def _fits(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the call is of the right kind: then its error, such as one on a misspelt option, says what is wrong."""
    known = signature(function).parameters
    if next(iter(known)) not in _GIVEN:
        kwargs = {name: value for name, value in kwargs.items() if name in known}
    elif any(isinstance(each, ClassStatistics) for each in (*args, *kwargs.values())):
        return True
    try:
        signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _example(function: Callable[..., Any]) -> str:
    """A call of a function with the arguments that it must have."""
    needed = [
        f"{name}={name}" if parameter.kind is Parameter.KEYWORD_ONLY else _GIVEN.get(name, name)
        for name, parameter in signature(function).parameters.items()
        if parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_KEYWORD
    ]
    return f"nclib.{function.__name__}({', '.join(needed)})"
