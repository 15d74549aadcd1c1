"""Batches of images as a model takes them: transformed one by one, in other processes if that helps."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from nclib.checks import counted, few
from nclib.data.images import Labelled

Images = Labelled | Tensor


@dataclass(frozen=True)
class Prepared(Dataset):
    """Images as a model takes them, one by one; `name` is the model's name, for messages."""

    images: Labelled
    transform: Callable[[Any], Tensor] | None
    name: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        if self.images.prepared:
            return self.images.image(i)  # type: ignore[return-value]  # prepared images are tensors
        if self.transform is None:
            raise ValueError(
                f"{self.name} has no transform to prepare images with; give it inputs (N, C, H, W), or the transform: "
                "nclib.Backbone(name, model, transform)"
            )
        return self.transform(self.images.image(i).convert("RGB"))


Read = Callable[[Sequence[Sequence[int]]], Iterator[Tensor]]  # a batch (n, C, H, W) for each list of indices


def batches(
    images: Images, rows: Sequence[Sequence[int]], transform: Callable[[Any], Tensor] | None, **options: Any
) -> Iterator[Tensor]:
    """A batch for each list of indices, in one pass; options as in `reading`."""
    with reading(images, transform, **options) as read:
        yield from read(rows)


@contextmanager
def reading(
    images: Images,
    transform: Callable[[Any], Tensor] | None,
    *,
    device: torch.device,
    workers: int | None = None,
    name: str = "the model",
) -> Iterator[Read]:
    """Yield a function that reads images: from lists of indices to batches (n, C, H, W) on the CPU.

    Inputs (N, C, H, W) are used unchanged; those read one by one must be finite. `workers` is the number of processes
    that read and transform images, by default 0 for a CPU, which they would slow down, and up to 8 for a GPU. They
    start with the first pass and live until the block ends. A pass must end before the next begins.
    """
    if isinstance(images, Tensor):
        yield lambda rows: (images[torch.as_tensor(batch)] for batch in rows)
        return
    on_gpu, workers = device.type == "cuda", images.workers if workers is None else workers
    workers = (min(8, joblib.cpu_count()) if on_gpu else 0) if workers is None else workers
    sampler: Any = []  # the batches to read; torch's annotation allows only samplers
    options: dict[str, Any] = {"num_workers": workers, "pin_memory": on_gpu, "persistent_workers": workers > 0}
    loader = DataLoader(Prepared(images, transform, name), batch_sampler=sampler, collate_fn=_stacked, **options)
    passes, first = 0, getattr(images, "first", 0)

    def read(rows: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        nonlocal passes
        passes, sampler[:] = passes + 1, rows
        this = passes
        for batch, numbers in zip(loader, rows, strict=True):
            yield finite(batch, [first + i for i in numbers]) if images.prepared else batch
            if passes != this:
                raise RuntimeError("another pass over these images has begun; a pass must end before the next begins")

    try:
        yield read
    finally:
        _end_workers(loader)


def finite(inputs: Tensor, rows: Sequence[int] | None = None) -> Tensor:
    """Inputs (N, ...) unchanged; ValueError for NaN or infinity, with the rows that hold some, numbered by `rows`."""
    if not len(inputs) or not (inputs.is_floating_point() or inputs.is_complex()) or inputs.sum().isfinite():
        return inputs  # a cheap test; a sum can also overflow, so the rows decide
    bad = (~inputs.reshape(len(inputs), -1).isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        among = len(inputs) if rows is None else f"the {len(rows)} from row {rows[0]} on"
        found = few(bad if rows is None else [rows[i] for i in bad])
        raise ValueError(
            f"inputs hold NaN or infinity in {counted(len(bad), 'row')} of {among}: {found}; leave out such rows, or "
            "fill them: torch.nan_to_num(inputs)"
        )
    return inputs


def needed_transform(images: Images, transform: Callable[[Any], Tensor] | None) -> Callable[[Any], Tensor] | None:
    """The transform, if these images need it; None for inputs, which are used unchanged."""
    return None if isinstance(images, Tensor) or images.prepared else transform


def _stacked(inputs: list[Tensor]) -> Tensor:
    """Inputs as a batch; ValueError if they differ in size."""
    if sizes := {tuple(each.shape) for each in inputs[1:]} - {tuple(inputs[0].shape)}:
        raise ValueError(
            f"inputs differ in size, {tuple(inputs[0].shape)} and {min(sizes)}; floats must be prepared, of the same "
            "size: give PIL images or bytes (uint8), which a backbone's transform brings to one size"
        )
    return default_collate(inputs)


def _end_workers(loader: DataLoader) -> None:
    """End the processes now; torch waits until nothing refers to them, which a traceback may do for long."""
    iterator: Any = loader._iterator  # torch has no public name for it; None without processes
    if iterator is not None:
        iterator._shutdown_workers()
