"""Streams of random numbers, each from a seed that says what it is for."""

import torch

from nclib.storage import digest_of_text


def seeded(*parts: object) -> torch.Generator:
    """Return a CPU generator whose seed is a hash of the parts, so that streams never overlap by accident."""
    return torch.Generator().manual_seed(int(digest_of_text(repr(parts), 7), 16))
