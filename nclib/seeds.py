"""Streams of random numbers, each seeded by a description of its purpose."""

import torch

from nclib.storage import digest_of_text


def seeded(*parts: object) -> torch.Generator:
    """Return a CPU generator whose seed is a hash of the parts, so that streams never overlap by accident."""
    return torch.Generator().manual_seed(int(digest_of_text(repr(parts), 7), 16))


def moved(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """The same generator for the CPU; for another device a generator there, whose seed is drawn from this one.

    The other device draws different numbers. Use it for numbers too many to draw on the CPU and copy.
    """
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**31, (), generator=generator)))
