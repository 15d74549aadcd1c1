"""A ranking in sentences: which models lead, which cannot be told apart, and what would tell them apart."""

import math
from collections.abc import Sequence

from nclib.checks import few
from nclib.transferability.certainty import Certainty, parts_of
from nclib.transferability.probes import Probes


def by_score(found: Certainty, by: str, kind: str, *, probed: bool = False) -> str:
    """Sentences on which models lead by a score of "images" or "texts" (`kind`); they advise a probe unless `probed`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"among_first": [True, True, False], "p_shuffled": 0.05}, ["ours", "theirs", "other"])
    >>> sentences = by_score(Certainty(table, 60, 60, 312.4), "face", "images").split(". ")
    >>> sentences[0]
    'ours leads by face, but 60 images are too few to tell it apart from theirs'
    >>> sentences[1:]
    ['About 320 would be enough', 'A linear probe of the first 2 may decide (--verify 2, in Python verify=2)']
    """
    said = [_lead(found, by, kind)]
    first = str(found.table.index[0])
    if first in found.poor:
        said.append(f"Its {parts_of(by)[0]} is no better than with shuffled labels (p = {found.poor[first]:.2g})")
    if found.rivals:
        said.append(_enough(found))
    if found.rivals and not probed:
        last = 1 + max(found.table.index.get_loc(name) for name in found.rivals[:4])
        said.append(f"A linear probe of the first {last} may decide (--verify {last}, in Python verify={last})")
    return ". ".join(said)


def _lead(found: Certainty, by: str, kind: str) -> str:
    """A sentence on the first model, and on whether this number of images tells it apart from the others."""
    first, number = str(found.table.index[0]), f"{found.images:,} {kind}"
    if len(found.table) == 1:
        return f"{first} is the only model with a value of {by}; a ranking needs at least 2"
    if not found.rivals:
        return f"{first} leads by {by}: {number} are enough to tell it apart from the others"
    return f"{first} leads by {by}, but {number} are too few to tell it apart from {_and(found.rivals)}"


def _enough(found: Certainty) -> str:
    """A sentence on how many images it takes, rounded up to two digits; of several rivals, the closest counts."""
    closest = f" to tell it apart from {found.rivals[0]}" if len(found.rivals) > 1 else ""
    if math.isinf(found.images_needed):
        return f"Even 100 times as many would be too few{closest}"
    unit = 10 ** max(0, math.floor(math.log10(found.images_needed)) - 1)
    return f"About {math.ceil(found.images_needed / unit) * unit:,} would be enough{closest}"


def by_probes(found: Probes, kind: str) -> str:
    """Sentences on which models lead by the accuracy of their probes.

    Examples
    --------
    >>> import torch
    >>> from nclib.transferability.probes import compared
    >>> right = torch.ones(20)
    >>> hits = {"ours": right, "theirs": right.index_fill(0, torch.arange(3), 0)}
    >>> sentences = by_probes(compared(hits), "images").split(". ")
    >>> sentences[0]
    'A linear probe of ours has an accuracy of 1 [0.839, 1] on 20 held-out images, the best of the models probed'
    >>> sentences[1]
    "These images are too few to tell it apart from theirs (McNemar's exact test); more may do so"
    """
    row, number = found.table.iloc[0], f"{found.held_out:,} held-out {kind}"
    accuracy = f"{row['accuracy']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    probe = f"A linear probe of {found.table.index[0]} has an accuracy of {accuracy} on {number}"
    if len(found.table) == 1:
        return probe
    test = "McNemar's exact test"
    if not found.rivals:
        return f"{probe}, the best of the models probed. {test} tells it apart from the others"
    apart = f"These {kind} are too few to tell it apart from {_and(found.rivals)} ({test}); more may do so"
    return f"{probe}, the best of the models probed. {apart}"


def _and(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> _and(["ours"]), _and(["ours", "theirs", "other"])
    ('ours', 'ours, theirs and other')
    """
    return few(names) if len(names) == 1 or len(names) > 5 else f"{', '.join(names[:-1])} and {names[-1]}"
