"""What the trained part of a model takes of labelled images: made once if it fits into memory, else batch by batch."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from nclib.checks import as_tensor, check_labels
from nclib.image_sets import ImageFiles, ImageSet
from nclib.loading import Images, batches
from nclib.storage import digest_of
from nclib.tuned import Tuned

Labelled = ImageSet | ImageFiles | tuple[Tensor, Tensor]  # the last: inputs (N, C, H, W), labels (N,)

_AT_ONCE = 256  # images, when all are gone through


class Inputs:
    """Labelled images as the part of a model after a frozen prefix takes them.

    `labels` are int64 (N,) on the model's device. `kept` says whether all is in memory: it is if that takes at most
    `memory` bytes.
    """

    def __init__(self, given: Labelled, tuned: Tuned, prefix: nn.Module | None, memory: float):
        self.images: Images
        if not isinstance(given, ImageSet | ImageFiles | tuple):
            raise TypeError(
                f"images are {type(given).__name__}; they must be an ImageSet, ImageFiles, or inputs and labels"
            )
        self.images, labels = given if isinstance(given, tuple) else (given, given.labels)
        labels = as_tensor(labels)
        _check_given(given, len(self.images), tuned.head.out_features)
        self.device = tuned.head.weight.device
        if len(self.images) != len(labels):
            raise ValueError(f"there are {len(self.images)} images and {len(labels)} labels; there must be as many")
        self.labels = check_labels(labels, num_classes=tuned.head.out_features).to(self.device)
        self._transform, self._prefix = tuned.transform, prefix
        (first,) = self._made([[0]])
        self.kept = None
        if first.numel() * first.element_size() * len(labels) <= memory:
            self.kept = torch.cat(list(self._made(self._all())))

    @property
    def digest(self) -> str:
        """Of the images and labels, hexadecimal."""
        if isinstance(self.images, Tensor):
            return digest_of({"inputs": self.images, "labels": self.labels})
        return self.images.digest

    def batches(self, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels for each of the rows of indices, on the model's device."""
        made = self._made([batch.tolist() for batch in rows]) if self.kept is None else map(self.kept.__getitem__, rows)
        return zip(made, map(self.labels.__getitem__, rows), strict=True)

    @torch.no_grad()
    def through(self, part: Callable[[Tensor], Tensor]) -> Tensor:
        """What a part of a model in eval mode makes of all images."""
        rows = [torch.tensor(batch, device=self.device) for batch in self._all()]
        return torch.cat([part(inputs) for inputs, _ in self.batches(rows)])

    def _all(self) -> list[range]:
        number = len(self.labels)
        return [range(start, min(start + _AT_ONCE, number)) for start in range(0, number, _AT_ONCE)]

    def _made(self, rows: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        for batch in batches(self.images, rows, self._transform, device=self.device):
            batch = batch.to(self.device, non_blocking=True)
            if self._prefix is not None:
                with torch.no_grad():  # not around the yield: it would hold for who takes the batch
                    batch = self._prefix(batch)
            yield batch


def _check_given(given: Labelled, number: int, num_classes: int) -> None:
    """Refuse no images, and images of more or fewer classes than the head has."""
    if number == 0:
        raise ValueError("there are no images; at least one is needed")
    if not isinstance(given, tuple) and len(given.classes) != num_classes:
        raise ValueError(f"the images are of {len(given.classes)} classes, the head of {num_classes}; they must agree")
