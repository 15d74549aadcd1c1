"""Files that are whole or not there: atomic writes, and tensors with a digest of their content."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it there if the block ends well, else remove it and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except Exception as error:  # of whoever writes; it goes on, and says what became of the file
        error.add_note(f"while writing {path}; {path.name} is as it was")
        raise
    finally:
        temporary.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict) -> None:
    """Write tensors and JSON metadata as safetensors, atomically, with a digest of the content."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(metadata, sort_keys=True)
    header = {"metadata": text, "digest": digest_of(tensors, text)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `save_tensors` wrote; ValueError if it is truncated or any byte of it has changed."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); delete it to have it made anew") from error
    if not {"digest", "metadata"} <= header.keys():
        raise ValueError(f"{path} was not written by nclib: it has no digest; delete it to have it made anew")
    if header["digest"] != digest_of(tensors, header["metadata"]):
        raise ValueError(
            f"{path} does not match its digest, so its content has changed; delete it to have it made anew"
        )
    return tensors, json.loads(header["metadata"])


def digest_of_text(text: str, size: int = 16) -> str:
    """A digest of a text, of `size` bytes, in hexadecimal."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def digest_of(tensors: dict[str, Tensor], metadata: str = "") -> str:
    """A digest of names, types, shapes and every byte of the tensors, and of the metadata; hexadecimal."""
    digest = hashlib.blake2b(metadata.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
