"""Streams of random numbers, each from a seed that says what it is for."""

import torch

from nclib.storage import digest_of_text


def seeded(*parts: object) -> torch.Generator:
    """Return a CPU generator whose seed is a hash of the parts, so that streams never overlap by accident."""
    return torch.Generator().manual_seed(int(digest_of_text(repr(parts), 7), 16))


def moved(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """The generator itself for the CPU, and for another device one there, whose seed it draws.

    Numbers drawn there are others than on the CPU: for those that are too many to be drawn here and carried over.
    """
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**31, (), generator=generator)))
