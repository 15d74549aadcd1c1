"""Resolve a device by name, and set its precision and threads."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed


@contextmanager
def double_precision() -> Iterator[None]:
    """Set torch's default dtype to float64 in this block, so networks and images are made in it.

    Examples
    --------
    >>> with double_precision():
    ...     torch.nn.Linear(2, 2).weight.dtype
    torch.float64
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def precision_suffix(dtype: torch.dtype | None = None) -> str:
    """The suffix for names of cached files: "" for float32, else "-" and the dtype; None is torch's default dtype."""
    dtype = dtype or torch.get_default_dtype()
    return "" if dtype == torch.float32 else f"-{str(dtype).removeprefix('torch.')}"


def in_half(device: torch.device) -> bool:
    """Whether networks compute in half precision by default: on a CUDA GPU, unless in `double_precision`."""
    return device.type == "cuda" and torch.get_default_dtype() != torch.float64


def features_in_half(device: torch.device) -> bool:
    """Whether features are computed in half precision: NCLIB_HALF (1 or 0) decides; without it, see `in_half`."""
    chosen = os.environ.get("NCLIB_HALF", "")
    if chosen not in ("", "0", "1"):
        raise ValueError(
            f"NCLIB_HALF is {chosen!r}; it must be 1 (features in half precision), 0 (in full precision) or empty"
        )
    return chosen == "1" if chosen else in_half(device)


def double_device(device: torch.device | str) -> torch.device:
    """The device itself if it has float64, else the CPU (Apple's mps has no float64).

    Examples
    --------
    >>> double_device("cuda"), double_device("mps")
    (device(type='cuda'), device(type='cpu'))
    """
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


def in_double(tensor: Tensor) -> Tensor:
    """The tensor in float64, on its own device, or on the CPU if that has no float64.

    Examples
    --------
    >>> in_double(torch.ones(1))
    tensor([1.], dtype=torch.float64)
    """
    return tensor.to(double_device(tensor.device)).double()


def free_memory(device: torch.device) -> float:
    """The free memory of a CUDA GPU in bytes; infinite for other devices, which use the machine's memory."""
    if device.type != "cuda":
        return math.inf
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch keeps freed memory
    return torch.cuda.mem_get_info(device)[0] + unused


def sent(tensor: Tensor, device: torch.device, **options: Any) -> Tensor:
    """Copy the tensor to a device, to CUDA without waiting for the copy to finish; `options` go to Tensor.to.

    On mps it waits: the source may be freed before a copy that does not wait is finished.
    """
    return tensor.to(device, non_blocking=device.type == "cuda", **options)


def wait_passively(*, one_thread: bool) -> None:
    """Stop waiting threads from spinning, which slows everything else on the machine many times.

    Processes started from now on wait passively. This process has already started its threads: with `one_thread`,
    which suits small networks, it uses a single one, unless OMP_WAIT_POLICY or OMP_NUM_THREADS is set.
    """
    if one_thread and not {"OMP_WAIT_POLICY", "OMP_NUM_THREADS"} & os.environ.keys():
        torch.set_num_threads(1)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device of this name; ``auto`` is a CUDA GPU if there is one, else Apple's mps, else the CPU.

    Raises ValueError for an unknown device, or a GPU that torch does not find.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device(next((name for name, there in _FOUND.items() if there()), "cpu"))
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:  # TypeError for None, and other things that name no device
        raise ValueError(f"device {device!r} is not known; use {_NAMES}") from error
    if device.type not in ("cpu", *_FOUND):
        raise ValueError(f"device {str(device)!r} is not supported; use {_NAMES}")
    if device.type != "cpu" and not _FOUND[device.type]():
        raise ValueError(f"device {str(device)!r} was asked for, but torch finds no GPU here; use 'auto' or 'cpu'")
    return device


# By device name, whether torch finds it; "auto" is the first that it finds.
_FOUND = {"cuda": lambda: torch.cuda.is_available(), "mps": lambda: torch.backends.mps.is_available()}
_NAMES = "'auto', 'cpu', 'cuda' or 'mps'"


@contextmanager
def process_group(device: str | torch.device = "auto") -> Iterator[tuple[torch.device, int]]:
    """Join the processes that torchrun started, and yield the device and rank of this one; without torchrun rank 0.

    ValueError if some of the environment variables that torchrun sets are missing or wrong.
    """
    device = resolve_device(device)
    if not os.environ.get("LOCAL_RANK"):
        yield device, 0
        return
    rank, on_gpu = _local_rank(), device.type == "cuda"
    if on_gpu and rank >= torch.cuda.device_count():
        raise ValueError(
            f"{rank + 1} or more processes were started for {torch.cuda.device_count()} GPU(s); start one per GPU"
        )
    if on_gpu:
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)  # otherwise tensors on plain "cuda" go to the first GPU, in every process
    backend, of_device = ("nccl", device) if on_gpu else ("gloo", None)
    # In a resumed run a single process may have all of the remaining work, and the others wait for it.
    distributed.init_process_group(backend, device_id=of_device, timeout=timedelta(days=7))
    try:
        yield device, distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def _local_rank() -> int:
    """The number of this process on its machine, once the variables that torchrun sets are checked."""
    numbers = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_PORT")
    given = {name: os.environ.get(name, "") for name in (*numbers, "MASTER_ADDR")}
    if wrong := [name for name, value in given.items() if not (value.isdecimal() if name in numbers else value)]:
        said = ", ".join(f"{name} is {given[name]!r}" if given[name] else f"there is no {name}" for name in wrong)
        raise ValueError(
            f"LOCAL_RANK is set, but {said}; start the processes by torchrun, which sets them all, or unset LOCAL_RANK"
        )
    return int(given["LOCAL_RANK"])
