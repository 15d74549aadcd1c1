"""The device that is meant by a name, and how many threads and digits it computes with."""

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
    """Within it, networks are made and images prepared in float64: torch's default dtype.

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
    """The precision that networks compute in, torch's default, as names of cached files have it; empty for float32."""
    dtype = dtype or torch.get_default_dtype()
    return "" if dtype == torch.float32 else f"-{str(dtype).removeprefix('torch.')}"


def in_half(device: torch.device) -> bool:
    """Whether networks compute with half the bits by default: on a GPU, but not within `double_precision`."""
    return device.type == "cuda" and torch.get_default_dtype() != torch.float64


def features_in_half(device: torch.device) -> bool:
    """Whether features are computed with half the bits: as NCLIB_HALF says, 1 or 0, and without it as `in_half`."""
    chosen = os.environ.get("NCLIB_HALF", "")
    if chosen not in ("", "0", "1"):
        raise ValueError(f"NCLIB_HALF is {chosen!r}; it must be 1 (features in half precision), 0 (not) or empty")
    return chosen == "1" if chosen else in_half(device)


def double_device(device: torch.device | str) -> torch.device:
    """Where numbers of a device can be float64: there, or on the CPU for Apple's mps, which has none.

    Examples
    --------
    >>> double_device("cuda"), double_device("mps")
    (device(type='cuda'), device(type='cpu'))
    """
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


def in_double(tensor: Tensor) -> Tensor:
    """The numbers in float64, on their device where it has that and else on the CPU.

    Examples
    --------
    >>> in_double(torch.ones(1))
    tensor([1.], dtype=torch.float64)
    """
    return tensor.to(double_device(tensor.device)).double()


def free_memory(device: torch.device) -> float:
    """Bytes that tensors may still take on a CUDA GPU; without end elsewhere, where they take the machine's own."""
    if device.type != "cuda":
        return math.inf
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch keeps what was freed
    return torch.cuda.mem_get_info(device)[0] + unused


def sent(tensor: Tensor, device: torch.device, **options: Any) -> Tensor:
    """The tensor on a device, to which it may still be on its way, so that nothing waits; options as of Tensor.to.

    On mps it is there: a copy that is on its way there may find that its source has been freed.
    """
    return tensor.to(device, non_blocking=device.type == "cuda", **options)


def wait_passively(*, one_thread: bool) -> None:
    """Keep threads that wait from spinning, which makes whatever else runs on the machine many times slower.

    Processes that are started from now on wait passively. This one has loaded its threads already: where small
    networks need no more than `one_thread`, it takes one, unless OMP_WAIT_POLICY or OMP_NUM_THREADS is set.
    """
    if one_thread and not {"OMP_WAIT_POLICY", "OMP_NUM_THREADS"} & os.environ.keys():
        torch.set_num_threads(1)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device by name; ``auto`` is a GPU where there is one, and else Apple's mps where there is that.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device(next((name for name, there in _FOUND.items() if there()), "cpu"))
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is not known; use {_NAMES}") from error
    if device.type not in ("cpu", *_FOUND):
        raise ValueError(f"device {str(device)!r} is not supported; use {_NAMES}")
    if device.type != "cpu" and not _FOUND[device.type]():
        raise ValueError(f"device {str(device)!r} was asked for, but torch finds no GPU here; use 'auto' or 'cpu'")
    return device


# Whether torch finds a device, by its name: the first that it finds is "auto".
_FOUND = {"cuda": lambda: torch.cuda.is_available(), "mps": lambda: torch.backends.mps.is_available()}
_NAMES = "'auto', 'cpu', 'cuda' or 'mps'"


@contextmanager
def process_group(device: str | torch.device = "auto") -> Iterator[tuple[torch.device, int]]:
    """Among the processes that torchrun started: the device and the rank of this one. Without it the device, and 0.

    ValueError if the environment is not whole, as torchrun sets it.
    """
    device = resolve_device(device)
    if not os.environ.get("LOCAL_RANK"):
        yield device, 0
        return
    rank, on_gpu = _local_rank(), device.type == "cuda"
    if on_gpu and rank >= torch.cuda.device_count():
        raise ValueError(f"there are {torch.cuda.device_count()} GPUs for {rank + 1} processes or more; start as many")
    if on_gpu:
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)  # else what does not say where it goes, goes to the first GPU, for each process
    backend, of_device = ("nccl", device) if on_gpu else ("gloo", None)
    # Of a run that goes on one process may have all that is left to do, and the others wait for it.
    distributed.init_process_group(backend, device_id=of_device, timeout=timedelta(days=7))
    try:
        yield device, distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def _local_rank() -> int:
    """The number of this process on its machine."""
    numbers = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_PORT")
    given = {name: os.environ.get(name, "") for name in (*numbers, "MASTER_ADDR")}
    if wrong := [name for name, value in given.items() if not (value.isdecimal() if name in numbers else value)]:
        said = ", ".join(f"{name} is {given[name]!r}" if given[name] else f"there is no {name}" for name in wrong)
        raise ValueError(f"{said}, and LOCAL_RANK is set; start the processes by torchrun, which sets all, or unset it")
    return int(given["LOCAL_RANK"])
