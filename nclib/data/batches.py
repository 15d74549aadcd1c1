"""Batches of images as a model takes them: transformed one by one, in other processes where that helps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nclib.data.images import ImageFiles, ImageSet

Images = ImageSet | ImageFiles | Tensor


@dataclass(frozen=True)
class Prepared(Dataset):
    """Images as a model takes them, one by one; `name` is the model's, for messages."""

    images: ImageSet | ImageFiles
    transform: Callable[[Any], Tensor] | None
    name: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        if self.transform is None:
            raise ValueError(
                f"{self.name} has no transform to prepare images with; give it inputs (N, C, H, W), or the transform: "
                "nclib.Backbone(name, model, transform)"
            )
        return self.transform(self.images.image(i).convert("RGB"))


def batches(
    images: Images,
    rows: Sequence[Sequence[int]],
    transform: Callable[[Any], Tensor] | None,
    *,
    device: torch.device,
    workers: int | None = None,
    name: str = "the model",
) -> Iterator[Tensor]:
    """A batch (n, C, H, W) for each of the rows of indices, on the CPU.

    Inputs (N, C, H, W) are taken as they are. `workers` are the processes that read and transform images; by
    default none for a CPU, which they would slow down, and up to 8 for a GPU.
    """
    if isinstance(images, Tensor):
        return (images[torch.as_tensor(batch)] for batch in rows)
    on_gpu = device.type == "cuda"
    workers = (min(8, joblib.cpu_count()) if on_gpu else 0) if workers is None else workers
    prepared = Prepared(images, transform, name)
    sampler: Any = rows  # torch's annotation knows samplers only
    return iter(DataLoader(prepared, batch_sampler=sampler, num_workers=workers, pin_memory=on_gpu))
