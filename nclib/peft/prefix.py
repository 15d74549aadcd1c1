"""Split a tuned model before its tuned layer, so that the frozen prefix is computed once for all epochs."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, fx, nn

from nclib.checks import counted
from nclib.data.batches import Images, Prepared, finite, needed_transform, reading
from nclib.data.items import Classes
from nclib.data.kinds import with_labels
from nclib.devices import free_memory, in_half, sent
from nclib.features.forward import evaluating
from nclib.features.inputs import fed, warn_of_bytes
from nclib.features.preparation import as_it_is, in_two
from nclib.labels import check_labels, integer_labels
from nclib.peft.tuned import Tuned
from nclib.storage import digest_of


class Suffix(nn.Module):
    """The part of a tuned model after the cut: from the prefix's output to logits. It shares the model's parameters."""

    def __init__(self, tuned: Tuned, rest: nn.Module | None):
        super().__init__()
        self.tuned, self.rest = tuned, rest

    def features(self, inputs: Tensor) -> Tensor:
        """The features that the head sees, as `Tuned.features`."""
        if self.rest is None:
            return inputs
        if self.tuned.skip is None:
            return self.rest(inputs)
        skipped, features = self.rest(inputs)
        return self.tuned.skip(features, skipped)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.tuned.head(self.features(inputs))

    def train(self, mode: bool = True) -> "Suffix":
        """As `Tuned.train`."""
        self.training = mode
        self.tuned.train(mode)
        return self


def split(tuned: Tuned) -> tuple[nn.Module, Suffix] | None:
    """The frozen prefix of a tuned model, and the rest; None if it cannot be cut.

    For a linear probe the prefix returns what the head sees; for layer and skip tuning, the input of the tuned layer.
    It cannot be cut if the prefix has trained parameters (such as a weight tied to the layer's), if torch.fx cannot
    follow the forward pass, or if a part after the tuned layer needs something from before it.
    """
    parts = _parts(tuned)
    if parts is None or any(parameter.requires_grad for parameter in parts[0].parameters()):
        return None
    return parts


def _parts(tuned: Tuned) -> tuple[nn.Module, Suffix] | None:
    if tuned.spec["method"] == "linear":
        return tuned.body, Suffix(tuned, None)
    if tuned.spec["method"] not in ("layer", "skip"):
        return None
    try:
        tracer = _Tracer(tuned.body.get_submodule(tuned.spec["layer"]))
        before, after = _cut(tracer.trace(tuned.body, _defaults(tuned.body)), tuned)
    except (_NoCutError, fx.proxy.TraceError, TypeError, ValueError, RuntimeError):
        return None
    return fx.GraphModule(tuned.body, before), Suffix(tuned, fx.GraphModule(tuned.body, after))


class _NoCutError(Exception):
    """The graph cannot be cut before the layer."""


class _Tracer(fx.Tracer):
    """Follows the forward pass, but not into the layer, nor into what timm marks as not traceable."""

    def __init__(self, layer: nn.Module):
        from timm.models import get_notrace_functions, get_notrace_modules

        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.layer, self.leaves = layer, tuple(get_notrace_modules())

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return module is self.layer or isinstance(module, self.leaves) or super().is_leaf_module(module, path)


def _defaults(body: nn.Module) -> dict[str, Any]:
    """The default values of the forward pass's arguments other than the images."""
    _, *others = inspect.signature(body.forward).parameters.values()
    return {parameter.name: parameter.default for parameter in others if parameter.default is not parameter.empty}


def _cut(graph: fx.Graph, tuned: Tuned) -> tuple[fx.Graph, fx.Graph]:
    """Two graphs: from the images to the layer's input, and from there to the features (and the skip's input)."""
    images, *_ = graph.find_nodes(op="placeholder")
    (block,) = graph.find_nodes(op="call_module", target=tuned.spec["layer"])
    (entry, *_), features = block.args, graph.output_node().args[0]
    if tuned.skip is None:
        return _between(graph, images, entry), _between(graph, entry, features)
    with graph.inserting_after(block):  # at once, since later steps may overwrite the output
        skipped = graph.call_function(tuned.pooled, (block,))
    return _between(graph, images, entry), _between(graph, entry, (skipped, features))


def _between(graph: fx.Graph, start: fx.Node, ends: Any) -> fx.Graph:
    """The graph that computes the ends, one node or several, from the start alone."""
    needed, waiting = set[fx.Node](), [ends] if isinstance(ends, fx.Node) else list(ends)
    while waiting:
        node = waiting.pop()
        if node is start or node in needed:
            continue
        if node.op == "placeholder":
            raise _NoCutError  # the images are needed on both sides of the cut
        needed.add(node)
        waiting += node.all_input_nodes
    new = fx.Graph()
    copies = {start: new.placeholder("inputs")}
    for node in graph.nodes:
        if node in needed:
            copies[node] = new.node_copy(node, copies.__getitem__)
    new.output(fx.node.map_arg(ends, copies.__getitem__))
    return new


LabelledInputs = Any  # anything with labels that `nclib.labelled` takes, such as inputs (N, C, H, W) and labels (N,)

_AT_ONCE = 256  # images per batch in a pass over all of them
_SHARE = 0.25  # the share of a GPU's free memory that kept data may take; the rest is for the training


class Inputs:
    """Labelled images as the part of a model after its frozen prefix takes them.

    `labels` are int64 (N,) on the model's device. `kept` is the prefix's output for all images if it takes at most
    `memory` bytes, else all images as bytes if they do, else None. It lies on the model's device if it takes a small
    share of the memory there, else on the host. If nothing is kept, processes that live until `close` read the images
    in every pass.
    """

    def __init__(self, given: LabelledInputs, tuned: Tuned, prefix: nn.Module | None, memory: float):
        self.images: Images
        given = ready(given, "images", tuned.head.out_features)
        self.images, labels = given if isinstance(given, tuple) else (given, given.labels)
        labels = integer_labels(labels)
        _check_given(given, len(self.images), tuned.head.out_features)
        self.device = tuned.head.weight.device
        if len(self.images) != len(labels):
            given = f"{counted(len(self.images), 'image')} and {counted(len(labels), 'label')}"
            raise ValueError(f"there are {given}; give one label for each image")
        self.labels = check_labels(labels, num_classes=tuned.head.out_features).to(self.device)
        self._prefix, self._tuned = prefix, tuned
        self._half = prefix is not None and in_half(self.device) and tuned.head.weight.dtype != torch.float64
        self._ending = ExitStack()
        with ExitStack() as ending:  # ends the reading processes if they are not needed or something fails
            self._open(tuned.transform, ending)
            self._try()
            self.kept, self._rest = self._keep(memory)
            if self.kept is None:
                self._ending = ending.pop_all()

    def close(self) -> None:
        """End the processes that read images."""
        self._ending.close()

    @property
    def digest(self) -> str:
        """The hexadecimal digest of the images and labels."""
        if isinstance(self.images, Tensor):
            return digest_of({"inputs": self.images, "labels": self.labels})
        return self.images.digest

    def batches(self, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels, on the model's device, for each tensor of row numbers, which lie on the CPU."""
        there = [sent(part, self.device) for part in rows]
        return zip(map(self._rest, self._taken(rows, there)), map(self.labels.__getitem__, there), strict=True)

    @torch.no_grad()
    def through(self, part: Callable[[Tensor], Tensor]) -> Tensor:
        """The output of a part of a model, in eval mode, for all images."""
        return torch.cat([part(inputs) for inputs, _ in self.batches(self._all())])

    def _all(self) -> Sequence[Tensor]:
        return torch.arange(len(self.labels)).split(_AT_ONCE)

    def _open(self, transform: Callable[[Any], Tensor] | None, ending: ExitStack) -> None:
        """Start reading images, and read the first one in this process."""
        prepare, self._finish = in_two(needed_transform(self.images, transform), self.device)
        self._read = ending.enter_context(reading(self.images, prepare, device=self.device))
        images = finite(self.images) if isinstance(self.images, Tensor) else self.images
        self._first = images[:1] if isinstance(images, Tensor) else Prepared(images, prepare, "the model")[0][None]

    @torch.no_grad()
    def _try(self) -> None:
        """Pass one image through the model, so that errors of either are raised before training."""
        with evaluating(self._tuned):
            if needed_transform(self.images, as_it_is) is None:
                warn_of_bytes(self._tuned.backbone, self._first)
            fed(self._tuned.backbone, self._finish(sent(self._first, self.device)))

    def _taken(self, rows: Sequence[Tensor], there: Sequence[Tensor]) -> Iterator[Tensor]:
        """Batches of what is kept, or of images read now, on the host or the device."""
        if self.kept is None:
            return self._read([part.tolist() for part in rows])
        if self.kept.device == self.device:
            return map(self.kept.__getitem__, there)
        kept, pinned = self.kept, self.device.type == "cuda"  # copies from pinned memory run in the background
        return (kept[part].pin_memory() if pinned else kept[part] for part in rows)

    def _keep(self, memory: float) -> tuple[Tensor | None, Callable[[Tensor], Tensor]]:
        """What to keep, and the function that remains to be applied to a batch of it."""
        ways = (
            [(as_it_is, self._whole)] if self._prefix is None else [(self._made, self._full), (as_it_is, self._whole)]
        )
        for before, after in ways:
            size = before(self._first).nbytes * len(self.labels)
            if size <= memory:
                fits = size <= _SHARE * free_memory(self.device)
                return self._gathered(before, self.device if fits else torch.device("cpu")), after
        return None, self._whole

    def _gathered(self, before: Callable[[Tensor], Tensor], device: torch.device) -> Tensor:
        """The outputs for all images in one tensor, never in memory twice, with the strides that torch.cat gives."""
        rows, kept, start = self._all(), None, 0
        for batch in map(before, self._read([part.tolist() for part in rows])):
            if kept is None:
                shape, strides = (len(self.labels), *batch.shape[1:]), torch.cat([batch, batch]).stride()
                kept = torch.empty_strided(shape, strides, dtype=batch.dtype, device=device)
            kept[start : start + len(batch)] = batch
            start += len(batch)
        assert kept is not None  # there is an image
        return kept

    @torch.no_grad()
    def _made(self, batch: Tensor) -> Tensor:
        """The prefix's output for images, in half precision where networks compute in that."""
        batch = self._tuned.taken(self._finish(sent(batch, self.device)))
        if self._prefix is None:
            return batch
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            made = self._prefix(batch)
        return made.to(torch.bfloat16) if self._half else made

    def _full(self, made: Tensor) -> Tensor:
        """The prefix's output on the device, in the precision of the parameters and of probes."""
        made = sent(made, self.device)
        return made.to(torch.get_default_dtype()) if self._half else made

    def _whole(self, batch: Tensor) -> Tensor:
        return self._full(self._made(batch))


def ready(given: LabelledInputs, name: str, classes: Classes) -> LabelledInputs:
    """Images with labels; a pair of tensors, float inputs (N, ...) and labels, is unchanged.

    `classes` are used if the images name none.
    """
    inputs = isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, Tensor) for part in given)
    return given if inputs and given[0].is_floating_point() else with_labels(given, name, classes)


def _check_given(given: LabelledInputs, number: int, num_classes: int) -> None:
    """Refuse an empty set of images, and images whose number of classes differs from the head's."""
    if number == 0:
        raise ValueError("there are no images; at least one is needed")
    if not isinstance(given, tuple) and len(given.classes) != num_classes:
        raise ValueError(
            f"the images have {counted(len(given.classes), 'class', 'classes')}, the head {num_classes}; they must "
            "agree: nclib.labelled(images, classes=...) names the classes"
        )
