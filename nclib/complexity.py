"""Geometric complexity: how far the features of an image move when the image moves a little.

The mean over x of ||J_x f||_F^2, with J_x f the Jacobian of the last-layer features with respect to the
input: Munn, Dherin, Gonzalvo 2024 (arXiv 2405.15706). How it is estimated, and its standard error, are ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nclib.augmentation import seeded
from nclib.complexity_passes import Complexity, Passes
from nclib.forward import evaluating
from nclib.image_sets import ImageFiles, ImageSet
from nclib.jacobian_norms import METHODS, way
from nclib.jacobians import Embedding
from nclib.loading import Images
from nclib.models import Backbone

_SEVERAL = 8  # projections of a sample, where no number is given


def geometric_complexity(
    model: Backbone | nn.Module | Embedding,
    images: Images,
    *,
    method: str = "exact",
    number: int | None = None,
    share: float = 0.1,
    relative_error: float | None = None,
    samples: int | None = None,
    differentiable: bool = False,
    seed: int = 0,
    memory: float = 1e9,
    progress: bool = False,
) -> Complexity:
    """Geometric complexity of the last-layer features, in eval mode: the mean squared norm of their Jacobian.

    Lower is flatter, and the papers' link is that flatter features collapse more. It is not unchanged by a scale of
    the features or of the inputs.

    Parameters
    ----------
    model
        A `Backbone`; a module that returns features (N, d); or any function from inputs to features, each of its own
        input alone.
    images
        Labelled images, which the backbone's transform prepares, or floating-point inputs (N, ...) as they are.
    method
        "exact": the whole Jacobian, row by row, or column by column where the inputs are smaller than the features.
        Unbiased estimates: "rademacher" and "gaussian", ||v^T J||^2 for random v, `number` of them a sample;
        "outputs", that many rows of the Jacobian, at random without replacement, times d / `number`; "entries", the
        `share` of its entries, at random, divided by it (which costs as much as to be exact).
    number
        Of projections or outputs a sample; by default 8. One gives no standard error.
    relative_error
        Take more projections, twice as many each time, until the standard error is at most this part of the value
        (stopping there makes it a little too small). What as many projections as rows or columns do not reach is
        computed exactly; what `samples` are short of stays, with a warning.
    samples
        How many of the samples to measure, at random without replacement; None is all.
    differentiable
        Whether ``per_sample`` can be differentiated with respect to the model's parameters, as a penalty is.
    memory
        Bytes, about, that a pass may take, which is found out first (infinity: it is not); at most 64 samples are in
        one.

    Returns
    -------
    `Complexity`, whose ``value`` has a ``standard_error``.

    Examples
    --------
    >>> weight = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> geometric_complexity(lambda x: x @ weight.T, torch.zeros(5, 3)).value  # 1 + 4 + 9
    14.0
    >>> penalty = geometric_complexity(
    ...     torch.nn.Linear(3, 2), torch.rand(5, 3), method="rademacher", number=1, differentiable=True
    ... ).per_sample.mean()
    >>> penalty.backward()
    """
    number = _checked_number(method, number, share, relative_error, memory)
    backbone, indices = _backbone(model), _chosen(images, samples, seed)
    with torch.inference_mode(False), evaluating(backbone.model), _fixed(backbone.model, not differentiable):
        passes = Passes(backbone, images, indices, differentiable, memory, progress)
        if relative_error is None:
            return passes.measure(way(method, number, share), seed, number)
        return passes.refine(method, number, relative_error, seed)


def _backbone(model: Any) -> Backbone:
    """A module as it is, and a function as what its module, or one without parameters, ends in."""
    if isinstance(model, Backbone):
        return model
    if not callable(model):
        raise TypeError(f"model is {model!r}; it must be a Backbone, a module or a function")
    if isinstance(model, nn.Module):
        return Backbone(type(model).__name__, model)
    module = getattr(model, "__self__", None)  # of a bound method
    module = module if isinstance(module, nn.Module) else nn.Identity()
    return Backbone(getattr(model, "__name__", "function"), module, last=model)


@contextmanager
def _fixed(model: nn.Module, fixed: bool) -> Iterator[None]:
    """Parameters without gradients, for which autograd would keep what it need not; then as they were."""
    free = [parameter for parameter in model.parameters() if fixed and parameter.requires_grad]
    for parameter in free:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in free:
            parameter.requires_grad_(True)


def _chosen(images: Images, samples: int | None, seed: int) -> Tensor:
    """Which samples are measured, in order."""
    if not isinstance(images, ImageSet | ImageFiles | Tensor):
        raise TypeError(f"images are {type(images).__name__}; they must be an ImageSet, ImageFiles or a tensor")
    if isinstance(images, Tensor) and not images.is_floating_point():
        raise TypeError(f"inputs are {images.dtype}; they must be floating-point, as the model takes them")
    if isinstance(images, Tensor) and not images.isfinite().all():
        raise ValueError("inputs hold NaN or infinity")
    if not len(images) or (isinstance(images, Tensor) and (images.ndim < 2 or not images[0].numel())):
        given = f" in {tuple(images.shape)}" if isinstance(images, Tensor) else ""
        raise ValueError(f"there are no inputs{given}; give (N, ...) with at least one number each")
    if samples is None:
        return torch.arange(len(images))
    if type(samples) is not int or not 2 <= samples <= len(images):
        raise ValueError(f"samples is {samples}; it must be from 2 to {len(images)}, as many as there are")
    return torch.randperm(len(images), generator=seeded("samples", seed))[:samples].sort().values


def _checked_number(method: str, number: int | None, share: float, relative_error: float | None, memory: float) -> int:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    if number is not None and (type(number) is not int or number < 1):
        raise ValueError(f"number is {number}; it must be a whole number, at least 1")
    if not memory > 0:
        raise ValueError(f"memory is {memory}; it must be above 0, in bytes")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it must be above 0 and at most 1")
    if relative_error is not None and (method not in ("rademacher", "gaussian") or number == 1):
        raise ValueError(
            f"relative_error is given with method {method!r} and number {number}; it takes 'rademacher' or 'gaussian' "
            "and at least 2"
        )
    if relative_error is not None and not relative_error > 0:
        raise ValueError(f"relative_error is {relative_error}; it must be above 0")
    return number or _SEVERAL
