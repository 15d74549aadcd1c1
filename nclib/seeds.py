"""Streams of random numbers, each from a seed that says what it is for."""

import hashlib

import torch


def seeded(*parts: object) -> torch.Generator:
    """Return a CPU generator whose seed is a hash of the parts, so that streams never overlap by accident."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
