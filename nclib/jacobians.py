"""Jacobians of features with respect to inputs, a few rows or columns of many samples at a time."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nclib.augmentation import seeded

Embedding = Callable[[Tensor], Tensor]  # from inputs (B, ...) to features (B, d), each of its own input alone

TOGETHER = 64  # samples in a pass, copies of them counted in: with fewer a processor has too little to do


@dataclass(frozen=True)
class Jacobians:
    """The Jacobians (d, D) of an embedding at inputs (B, ...), D being the size of one input.

    A pass gives one row or column for each sample in it, so few samples are put in as several copies, up to `together`
    samples in all. With `graph` what is given can be differentiated.
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
        """Products (c, B, D) of cotangents (m, B, d) and the Jacobians, until all m are given: by reverse mode."""
        copies = self._copies(len(cotangents))
        inputs = self._repeated(copies)
        with torch.enable_grad():
            features = embedded(self.embedding, inputs.requires_grad_().clone())  # which may be changed in place
        if not features.requires_grad:
            self._check_constant()
        for piece in cotangents.split(copies):
            vectors = piece.flatten(0, 1).to(features)
            yield self._pulled(features, inputs, vectors).unflatten(0, piece.shape[:2]).flatten(2)

    def _pulled(self, features: Tensor, inputs: Tensor, vectors: Tensor) -> Tensor:
        number = len(vectors)
        if not features.requires_grad:
            return torch.zeros_like(inputs[:number])
        options = {"retain_graph": True, "create_graph": self.graph, "allow_unused": True}
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(features[:number], inputs, vectors, **options)
        if gradient is None:  # it is parameters that the features' graph leads to
            self._check_constant()
            return torch.zeros_like(inputs[:number])
        return gradient[:number]

    def columns(self) -> Iterator[Tensor]:
        """The columns (c, B, d) of the Jacobians, until all D are given: by forward mode."""
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
        """Refuse features without a gradient, unless they are the same for other inputs."""
        noise = torch.randn(self.inputs.shape, generator=seeded("elsewhere")).to(self.inputs)
        with torch.no_grad():
            here, there = (embedded(self.embedding, inputs) for inputs in (self.inputs.clone(), self.inputs + noise))
        if not torch.equal(here, there):
            raise ValueError(
                "the features change with the inputs but have no gradient: the function cuts it off, as .detach(), "
                "no_grad(), argmax and .numpy() do"
            )


def embedded(embedding: Embedding, inputs: Tensor) -> Tensor:
    """The features of inputs, checked."""
    features = embedding(inputs)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(inputs):
        what = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"the model gives {what} for {len(inputs)} inputs; it must give features (N, d)")
    if not features.is_floating_point():
        raise TypeError(f"the features are {features.dtype}; only floating-point ones have a Jacobian")
    if not features.shape[1] or not features.detach().isfinite().all():
        holding = f"are {tuple(features.shape)}" if not features.shape[1] else "hold NaN or infinity"
        raise ValueError(f"the features {holding}; they must be finite (N, d), d at least 1")
    return features


def batch_size(embedding: Embedding, one: Tensor, memory: float) -> int:
    """How many samples fit into a pass: what autograd keeps, and as much again for what passes through.

    `one` is the input of one sample, (1, ...); `memory` is in bytes, and if infinite not looked at.
    """
    if memory == math.inf:
        return TOGETHER
    single, double = (_kept_bytes(embedding, torch.cat([one] * number)) for number in (1, 2))
    return int(max(1, min(TOGETHER, memory // max(1, 2 * (double - single)))))


def _kept_bytes(embedding: Embedding, inputs: Tensor) -> int:
    sizes = [inputs.numel() * inputs.element_size()]

    def weigh(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        embedded(embedding, inputs.detach().requires_grad_().clone())
    return sum(sizes)
