"""Devices that are not there: the CPU under the name of another, which refuses what the other would refuse.

A tensor is on the simulated device if its memory is marked so; all of it is an ordinary tensor on the CPU, so that
autograd, hooks and C++ take it as such. Below autograd every operation is looked at: what is made of tensors there is
there, tensors of two devices do not mix (but for numbers, and indices from the CPU), "mps" has no float64, and what
waits for the device is counted. What a kernel of the other device rounds or lacks is not simulated.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
import torch._dynamo  # optimisers import it, which takes what is patched here as it is
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.data import DataLoader

_DOUBLE = (torch.float64, torch.complex128)
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# Their sizes, or whether they have failed, is known once the device has computed them.
_WAITING = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "equal"}
_WAITING |= {"_local_scalar_dense", "_linalg_eigh", "_linalg_svd", "linalg_cholesky", "linalg_qr"}
_READ = (Tensor.numpy, Tensor.__array__, Tensor.tolist)


class Simulated:
    """A device by its kind, "cuda" or "mps", and `waits`: the names of what waited for it so far."""

    def __init__(self, kind: str):
        self.kind, self.device, self.waits = kind, torch.device(kind, 0), []
        self.generators = set[torch.Generator]()
        self.inside = False  # a function of tensors there: what it allocates is there, too
        self._there = set[StorageWeakRef]()  # as long as a weak reference lives no other memory has its address

    def has(self, tensor: Tensor) -> bool:
        return StorageWeakRef(tensor.untyped_storage()) in self._there

    def names(self, device: object) -> bool:
        """Whether this is what is meant by a device, or the name of one."""
        return device is not None and not isinstance(device, int) and torch.device(device).type == self.kind

    def mark(self, tensor: Tensor, there: bool = True) -> Tensor:
        if there and self.kind == "mps" and tensor.dtype in _DOUBLE:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        (self._there.add if there else self._there.discard)(StorageWeakRef(tensor.untyped_storage()))
        return tensor

    def moved(self, tensor: Tensor, *args, copy: bool = False, **options) -> Tensor:
        """As Tensor.to, whose arguments these are."""
        if args and isinstance(args[0], Tensor):
            args = (self.device if self.has(args[0]) else "cpu", args[0].dtype, *args[1:])
        device, dtype, passes_on, order = torch._C._nn._parse_to(*args, **options)
        if passes_on and self.kind == "mps":
            raise RuntimeError("a copy to mps that is on its way may find that its source has been freed")
        before = self.has(tensor)
        there = before if device is None else self.names(device)
        if before and not there:
            tensor = _Crossing.apply(tensor, self, there)
        tensor = tensor.to(dtype or tensor.dtype, copy=copy, memory_format=order or torch.preserve_format)
        if before != there and not (passes_on and there):
            self.waits.append("to")
        return _Crossing.apply(tensor, self, there) if there and not before else tensor


class _Crossing(torch.autograd.Function):
    """A copy on the other device, whose gradient comes back."""

    @staticmethod
    def forward(context, tensor, simulated, there):
        context.simulated, context.there = simulated, there
        return simulated.mark(tensor.clone(), there)

    @staticmethod
    def backward(context, gradient):
        return context.simulated.mark(gradient.clone(), not context.there), None, None


class _Names(TorchFunctionMode):
    """What code says of devices: the CPU does it, and the result is marked."""

    def __init__(self, simulated: Simulated):
        self.of = simulated

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return self.of.device if self.of.has(args[0]) else func(*args)
        if func == Tensor.is_cpu.__get__:
            return not self.of.has(args[0])
        if func == Tensor.is_cuda.__get__:
            return self.of.kind == "cuda" and self.of.has(args[0])
        if func is Tensor.to:
            return self.of.moved(*args, **kwargs)
        if func is Tensor.cpu:
            return self.of.moved(args[0], "cpu")
        if func in _READ and self.of.has(args[0]):
            return self._read(func, args, kwargs)
        if func is torch.nn.functional.one_hot and (len(args) > 1 or kwargs):
            with _uncounted(self.of):  # on a GPU it does not look whether there are as many classes
                return self._made(func, args, kwargs)
        if func is Tensor.__deepcopy__ and self.of.has(args[0]):
            with _uncounted(self.of):
                return self.of.mark(func(*args, **kwargs))
        return self._made(func, args, kwargs)

    def _read(self, func, args, kwargs):
        if func is not Tensor.tolist and not kwargs.get("force"):
            raise TypeError(f"can't convert {self.of.device} device type tensor to numpy. Use Tensor.cpu()")
        self.of.waits.append(func.__name__)
        return func(*args, **kwargs)

    def _made(self, func, args, kwargs):
        given = kwargs.get("device")
        there = self.of.names(given) if given is not None else any(map(self.of.has, _tensors((args, kwargs))))
        generator = kwargs.get("generator")
        if generator is not None and (generator in self.of.generators) != there:
            raise RuntimeError(f"Expected a generator of {given}, found one of another device")
        if given is not None and there:
            return tree_map_only(Tensor, self.of.mark, func(*args, **kwargs | {"device": "cpu"}))
        self.of.inside = there
        try:
            return func(*args, **kwargs)
        finally:
            self.of.inside = False


class _Kernels(TorchDispatchMode):
    """Every operation below autograd, those of backward passes and optimisers too."""

    def __init__(self, simulated: Simulated):
        super().__init__()
        self.of = simulated

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        given = _tensors((args, kwargs))
        there = [self.of.has(tensor) for tensor in given]
        if not any(there):
            made = func(*args, **kwargs)
            doubles = self.of.kind == "mps" and any(tensor.dtype in _DOUBLE for tensor in _tensors(made))
            inside = self.of.inside and not given and not doubles  # a backward pass may go through the CPU, too
            return tree_map_only(Tensor, self.of.mark, made) if inside else made
        if name == "copy_":
            if not all(there) and not (there[0] and len(args) > 2 and args[2]):
                self.of.waits.append(name)
            return func(*args, **kwargs)
        self._check(name, given, there)
        return tree_map_only(Tensor, self.of.mark, func(*args, **kwargs))

    def _check(self, name, given, there):
        outside = [tensor for tensor, inside in zip(given, there, strict=True) if not inside and tensor.ndim]
        indices = name in _INDEXED and there[0]
        if outside and not (indices and all(tensor.dtype in (torch.int64, torch.bool) for tensor in outside)):
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} of {self.of.device} and cpu")
        masked = indices and any(tensor.dtype == torch.bool for tensor in given[1:])
        if name in _WAITING or (indices and outside) or masked:
            self.of.waits.append(name)


def _tensors(given) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]


@contextmanager
def _uncounted(simulated: Simulated) -> Iterator[None]:
    before = len(simulated.waits)
    yield
    del simulated.waits[before:]


@contextmanager
def simulated(kind: str) -> Iterator[Simulated]:
    """Within it there is such a device; "cpu" is the one that there is."""
    device = Simulated(kind)
    if kind == "cpu":
        yield device
        return
    with pytest.MonkeyPatch.context() as patch, _Kernels(device), _Names(device):
        patch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
        patch.setattr(torch.cuda, "device_count", lambda: int(kind == "cuda"))
        patch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
        patch.setattr(torch.mps, "manual_seed", lambda seed: None)
        patch.setattr(torch.cuda, "get_device_name", lambda device=None: "simulated")
        patch.setattr(torch.cuda, "get_rng_state", lambda device: None)
        patch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
        patch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda self: None)
        # Processes that read, and memory that is pinned, ask the driver.
        alone = {"num_workers": 0, "pin_memory": False, "persistent_workers": False}
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**40, 2**40))
        patch.setattr("nclib.data.batches.DataLoader", lambda data, **options: DataLoader(data, **options | alone))
        patch.setattr(torch, "autocast", _autocast(torch.autocast))
        patch.setattr(torch, "Generator", _generator(torch.Generator, device))
        yield device


def _autocast(real):
    def cast(kind, dtype=None, enabled=True):
        lower = dtype or (torch.bfloat16 if kind == "cpu" else torch.float16)
        return real("cpu", lower) if enabled else nullcontext()

    return cast


def _generator(real, simulated: Simulated):
    class Generator:  # a class, for torch annotates with it
        def __new__(cls, device="cpu"):
            made = real()
            if simulated.names(device):
                simulated.generators.add(made)
            return made

    return Generator


def waits_a_step(device, run):
    """What waits for the device in a step, by name: in two epochs more than in one, whose steps are as many."""
    counts = []
    for epochs in (1, 2):
        device.waits.clear()
        run(epochs)
        counts.append(Counter(device.waits))
    return counts[1] - counts[0]
