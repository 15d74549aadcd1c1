"""Files that are complete or absent: atomic writes, and tensors with a digest of their content."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

_OF_A_CACHE = "if it belongs to a cache, delete it and it is computed again"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` if the block succeeds, else remove it and say so."""
    _refuse_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except Exception as error:  # any error of the writer: re-raised, with the fate of the file
        error.add_note(f"while writing {path}; {path.name} is unchanged")
        raise
    finally:
        temporary.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict) -> None:
    """Write tensors and JSON metadata as safetensors, atomically, with a digest of the content."""
    from safetensors.torch import save_file

    written = {name: _in_a_row(name, tensor) for name, tensor in tensors.items()}
    text = json.dumps(metadata, sort_keys=True)
    header = {"metadata": text, "digest": digest_of(written, text)}
    with replacing(path) as temporary:
        try:
            save_file(written, temporary, metadata=header)
        except KeyError as error:  # safetensors does not know the dtype
            kind = str(error.args[0])
            names = [name for name, tensor in written.items() if str(tensor.dtype) == kind]
            raise ValueError(f"{', '.join(names[:5])} is {kind}, which safetensors cannot hold") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `save_tensors` wrote; ValueError if it is truncated or any byte of it has changed."""
    from safetensors import SafetensorError, safe_open

    _refuse_folder(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); {_OF_A_CACHE}") from error
    if not {"digest", "metadata"} <= header.keys():
        raise ValueError(f"{path} was not written by nclib: it has no digest; {_OF_A_CACHE}")
    if header["digest"] != digest_of(tensors, header["metadata"]):
        raise ValueError(f"{path} does not match its digest, so its content has changed; {_OF_A_CACHE}")
    return tensors, json.loads(header["metadata"])


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the path of a file")


def digest_of_text(text: str, size: int = 16) -> str:
    """The hexadecimal digest of a text, `size` bytes long."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def digest_of(tensors: Mapping[str, Any], metadata: str = "") -> str:
    """The hexadecimal digest of the metadata and of the names, types, shapes and every byte of the tensors.

    It does not depend on the memory layout. Values that are not tensors, such as a module's extra state, enter by the
    `repr` of their parts. ValueError for a tensor without numbers.
    """
    digest = hashlib.blake2b(metadata.encode(), digest_size=16)
    for name, value in _leaves("", dict(sorted(tensors.items()))):
        if not isinstance(value, Tensor):
            digest.update(f"{name} {value!r}".encode())
            continue
        row = _in_a_row(name, value)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(row.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values of nested mappings and sequences, each with its path as a dotted name."""
    if not isinstance(value, Mapping | list | tuple):
        yield name, value
        return
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _leaves(f"{name}.{key}" if name else str(key), item)


def _in_a_row(name: str, tensor: Tensor) -> Tensor:
    """A tensor ready for a file: dense, contiguous, on the CPU, sharing memory with no other."""
    if is_lazy(tensor) or tensor.is_meta:
        raise ValueError(f"{name} has no numbers yet; load weights into the model, or run it once if it is lazy")
    tensor = tensor.detach().cpu()
    if tensor.is_quantized or tensor.layout != torch.strided:
        tensor = tensor.dequantize() if tensor.is_quantized else tensor.to_dense()
    return tensor.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
