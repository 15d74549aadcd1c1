"""Jacobians of features with respect to inputs, a few rows or columns of many samples at a time."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nclib.checks import counted
from nclib.devices import double_device, in_double
from nclib.seeds import moved, seeded

Embedding = Callable[[Tensor], Tensor]  # from inputs (B, ...) to features (B, d), each from its own input alone

TOGETHER = 64  # samples in a pass, including copies: fewer would not keep a processor busy


@dataclass(frozen=True)
class Jacobians:
    """The Jacobians (d, D) of an embedding at inputs (B, ...), where D is the size of one input.

    A pass computes one row or column for each sample in it, so small batches are repeated, up to `together` samples in
    all. With `graph` the results can be differentiated.
    """

    embedding: Embedding
    inputs: Tensor
    graph: bool = False
    together: int = TOGETHER

    @property
    def input_size(self) -> int:
        return self.inputs[0].numel()

    @cached_property
    def width(self) -> int:
        with torch.no_grad():
            return embedded(self.embedding, self.inputs[:1].clone()).shape[1]

    def rows(self, cotangents: Tensor) -> Iterator[Tensor]:
        """Products of cotangents (m, B, d) and the Jacobians, by reverse mode, in parts (c, B, D) of all m."""
        copies = self._copies(len(cotangents))
        inputs = self._repeated(copies)
        with torch.enable_grad():
            features = embedded(self.embedding, inputs.requires_grad_().clone())  # which the model may change in place
        for piece in cotangents.split(copies):
            vectors = piece.flatten(0, 1).to(features)
            yield self._pulled(features, inputs, vectors).unflatten(0, piece.shape[:2]).flatten(2)

    def _pulled(self, features: Tensor, inputs: Tensor, vectors: Tensor) -> Tensor:
        number, gradient = len(vectors), None
        if features.requires_grad:
            options = {"retain_graph": True, "create_graph": self.graph, "allow_unused": True}
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(features[:number], inputs, vectors, **options)
        if gradient is None:  # the features have no graph, or one that leads only to parameters
            self._check_constant()
            return torch.zeros_like(inputs[:number])
        return gradient[:number]

    def columns(self) -> Iterator[Tensor]:
        """The columns of the Jacobians, by forward mode, in parts (c, B, d) of all D."""
        copies = self._copies(self.input_size)
        for tangents in torch.eye(self.input_size, device=self.inputs.device).to(self.inputs).split(copies):
            inputs = self._repeated(len(tangents))
            moving = tangents.repeat_interleave(len(self.inputs), 0).view_as(inputs)
            with torch.set_grad_enabled(self.graph), forward_ad.dual_level():
                features = embedded(self.embedding, forward_ad.make_dual(inputs, moving))
                still, moved = forward_ad.unpack_dual(features)
            if moved is None:
                self._check_constant()
            moved = torch.zeros_like(still) if moved is None else moved
            yield moved.unflatten(0, (len(tangents), -1))

    def _copies(self, most: int) -> int:
        return max(1, min(most, self.together // len(self.inputs)))

    def _repeated(self, copies: int) -> Tensor:
        return self.inputs.detach().repeat(copies, *[1] * (self.inputs.ndim - 1))

    def _check_constant(self) -> None:
        """Refuse features without a gradient, unless they do not depend on the inputs."""
        noise = torch.randn(self.inputs.shape, generator=seeded("elsewhere")).to(self.inputs)
        with torch.no_grad():
            here, there = (embedded(self.embedding, inputs) for inputs in (self.inputs.clone(), self.inputs + noise))
        if not torch.equal(here, there):
            raise ValueError(
                "the features change with the inputs but have no gradient: the function cuts it off, as .detach(), "
                "no_grad(), argmax and .numpy() do; leave those out"
            )


def embedded(embedding: Embedding, inputs: Tensor) -> Tensor:
    """The features of inputs, checked to be finite floats (N, d)."""
    features = embedding(inputs)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(inputs):
        what = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"the model gives {what} for {counted(len(inputs), 'input')}; it must give features (N, d): "
            "nclib.Backbone(name, model, last=function) selects them"
        )
    if not features.is_floating_point():
        raise TypeError(f"the features are {features.dtype}; only floating-point features have a Jacobian")
    if not features.shape[1] or not features.detach().isfinite().all():
        holding = f"are {tuple(features.shape)}" if not features.shape[1] else "hold NaN or infinity"
        raise ValueError(f"the features {holding}; they must be finite (N, d), d at least 1")
    return features


def batch_size(embedding: Embedding, one: Tensor, memory: float) -> int:
    """The number of samples that fit into a pass, at twice the bytes that autograd keeps for a sample.

    `one` is the input of one sample, (1, ...). `memory` is in bytes; if it is infinite, nothing is measured.
    """
    if memory == math.inf:
        return TOGETHER
    single, double = (_kept_bytes(embedding, torch.cat([one] * number)) for number in (1, 2))
    return int(max(1, min(TOGETHER, memory // max(1, 2 * (double - single)))))


def _kept_bytes(embedding: Embedding, inputs: Tensor) -> int:
    sizes = [inputs.nbytes]

    def weigh(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        embedded(embedding, inputs.detach().requires_grad_().clone())
    return sum(sizes)


Estimates = tuple[Tensor, Tensor]  # estimates of ||J||_F^2 and their variances, float64 (B,)
Way = Callable[[Jacobians, torch.Generator], Estimates]

WAYS = ("exact", "rademacher", "gaussian", "outputs", "entries")


def way(method: str, number: int, share: float) -> Way:
    """The function of a method, with its number of projections or outputs, or its share of the entries."""
    if method == "exact":
        return exact
    if method == "entries":
        return partial(_entries, share)
    return partial(_outputs, number) if method == "outputs" else partial(_projections, method, number)


def exact(jacobians: Jacobians, generator: torch.Generator) -> Estimates:
    """The exact sum of the squares of all entries, with variance 0."""
    squares = sum((in_double(part).square().sum((0, 2)) for part in _all(jacobians)), torch.zeros(()))
    return squares, torch.zeros_like(squares)


def _all(jacobians: Jacobians) -> Iterator[Tensor]:
    """The Jacobians by columns or by rows, whichever are fewer."""
    if jacobians.input_size < jacobians.width:
        try:
            yield from jacobians.columns()
            return
        except NotImplementedError as error:  # raised at the first column, before any was returned
            warnings.warn(f"forward mode does not go through this model; using reverse mode: {error}", stacklevel=2)
    yield from _rows(jacobians)


def _rows(jacobians: Jacobians) -> Iterator[Tensor]:
    one_by_one = torch.eye(jacobians.width, device=jacobians.inputs.device).unsqueeze(1)
    return jacobians.rows(one_by_one.expand(-1, len(jacobians.inputs), -1))


def _projections(law: str, number: int, jacobians: Jacobians, generator: torch.Generator) -> Estimates:
    """||v^T J||^2, whose mean is ||J||_F^2, since E v v^T = I."""
    size = (number, len(jacobians.inputs), jacobians.width)
    if law == "gaussian":
        vectors = torch.randn(size, generator=generator)
    else:
        vectors = torch.randint(2, size, generator=generator).float() * 2 - 1
    return _mean(_squares(jacobians, vectors))


def _outputs(number: int, jacobians: Jacobians, generator: torch.Generator) -> Estimates:
    """The squares of `number` random rows, at most d, drawn for each sample, times d / number."""
    width = jacobians.width
    number = min(number, width)
    chosen = torch.rand(len(jacobians.inputs), width, generator=generator).argsort(1)[:, :number]
    vectors = torch.nn.functional.one_hot(chosen.T, width).float()
    mean, variance = _mean(width * _squares(jacobians, vectors))
    return mean, torch.zeros_like(mean) if number == width else variance * (1 - number / width)


def _entries(share: float, jacobians: Jacobians, generator: torch.Generator) -> Estimates:
    """The squares of a share of all entries, over that share."""
    device = double_device(jacobians.inputs.device)
    totals = torch.zeros(2, len(jacobians.inputs), dtype=torch.float64, device=device)
    generator = moved(generator, device)  # it draws a number for every entry
    for part in _rows(jacobians):
        squares = in_double(part).square()
        kept = squares * (torch.rand(squares.shape, generator=generator, device=device) < share).to(squares)
        totals += torch.stack([kept.sum((0, 2)) / share, kept.square().sum((0, 2)) * (1 - share) / share**2])
    return totals[0], totals[1]


def _squares(jacobians: Jacobians, vectors: Tensor) -> Tensor:
    """||v^T J||^2 for vectors (m, B, d), float64 (m, B)."""
    return torch.cat([in_double(part).square().sum(2) for part in jacobians.rows(vectors)])


def _mean(values: Tensor) -> Estimates:
    """The mean over m of values (m, B), and its variance, NaN if m is 1."""
    number = len(values)
    unknown = torch.full_like(values[0], math.nan)
    return values.mean(0), values.var(0) / number if number > 1 else unknown
