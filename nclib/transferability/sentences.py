"""What a ranking comes to, in a sentence: which models lead, which cannot be told apart, and what would tell them."""

import math
from collections.abc import Sequence

from nclib.checks import few
from nclib.transferability.certainty import Certainty
from nclib.transferability.probes import Probes


def by_score(found: Certainty, by: str, kind: str, *, probed: bool = False) -> str:
    """Which models lead by a score, of images or texts, as `kind` says; a probe is advised unless there was one.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"among_first": [True, True, False], "p_shuffled": 0.05}, ["ours", "theirs", "other"])
    >>> by_score(Certainty(table, 60, 60, 312.4), "face", "images", probed=True)
    'ours leads by face, but 60 images do not tell it apart from theirs: about 320 would'
    >>> by_score(Certainty(table, 60, 60, 312.4), "face", "images")[78:]
    'would, or a linear probe of the first 2 (--verify 2, verify=2 in Python)'
    """
    first, number = str(found.table.index[0]), f"{found.images:,} {kind}"
    poor = f", no better than with shuffled labels (p = {found.poor[first]:.2g})" if first in found.poor else ""
    if len(found.table) == 1:
        return f"{first} is the only model that has {by}{poor}: give others to rank it among"
    if not found.rivals:
        return f"{first} leads by {by}{poor}: {number} tell it apart from the others"
    last = 1 + max(found.table.index.get_loc(name) for name in found.rivals[:4])
    probe = "" if probed else f", or a linear probe of the first {last} (--verify {last}, verify={last} in Python)"
    next_one = "" if len(found.rivals) == 1 else ", of the next"
    apart = f"{number} do not tell it apart from {_and(found.rivals)}"
    return f"{first} leads by {by}{poor}, but {apart}: {_enough(found)} would{next_one}{probe}"


def _enough(found: Certainty) -> str:
    """How many images it takes, to two digits, upwards."""
    if math.isinf(found.images_needed):
        return "not even 100 times as many"
    unit = 10 ** max(0, math.floor(math.log10(found.images_needed)) - 1)
    return f"about {math.ceil(found.images_needed / unit) * unit:,}"


def by_probes(found: Probes, kind: str) -> str:
    """Which models lead by their probes.

    Examples
    --------
    >>> import torch
    >>> from nclib.transferability.probes import compared
    >>> right = torch.ones(20)
    >>> hits = {"ours": right, "theirs": right.index_fill(0, torch.arange(3), 0)}
    >>> by_probes(compared(hits), "images")[:75]
    'a linear probe of ours is right on 1 [0.839, 1] of 20 held-out images, the '
    >>> by_probes(compared(hits), "images")[75:]
    "most, but these do not tell it apart from theirs (McNemar's exact test): more images would"
    """
    row, number = found.table.iloc[0], f"{found.held_out:,} held-out {kind}"
    right = f"{row['accuracy']:.3g} [{row['low']:.3g}, {row['high']:.3g}] of {number}"
    probe = f"a linear probe of {found.table.index[0]} is right on {right}"
    if len(found.table) == 1:
        return probe
    if not found.rivals:
        return f"{probe}, more than that of any other probed (McNemar's exact test)"
    apart = f"these do not tell it apart from {_and(found.rivals)} (McNemar's exact test)"
    return f"{probe}, the most, but {apart}: more {kind} would"


def _and(names: Sequence[str]) -> str:
    return few(names) if len(names) != 2 else " and ".join(names)
