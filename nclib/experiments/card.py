"""The small figures of the score card, as SVG: what the records of each scale say about one claim."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from nclib.experiments.claims import Verdict
from nclib.experiments.plots import COLOURS

_WIDTH, _ROW = 130, 12  # pixels
_EDGE = 8  # pixels that are left free at the sides
_MARKS = (  # one for each scale, in their order; they differ in shape, too
    '<circle cx="{x:.1f}" cy="{y}" r="3.5" fill="{fill}" stroke="{colour}"/>',
    '<rect x="{x:.1f}" y="{y}" width="7" height="7" transform="translate(-3.5 -3.5)" fill="{fill}" stroke="{colour}"/>',
    '<path d="M{x:.1f} {y}m-4.5 3.5h9l-4.5 -8z" fill="{fill}" stroke="{colour}"/>',
)
_HOLLOW = "var(--pst-color-background, white)"  # the page's own


def strip(judged: Mapping[str, Verdict]) -> str:
    """One claim's estimates and intervals by scale, as SVG; right of the line the claim holds.

    The widest interval fills the width, so each claim has a range of its own. Estimates from exploration have hollow
    marks.
    """
    places = {scale: _beyond(verdict) for scale, verdict in judged.items() if verdict.defined}
    reach = max((abs(end) for ends in places.values() for end in ends if not math.isnan(end)), default=1.0) or 1.0
    height, middle = _ROW * len(judged) + 4, _WIDTH / 2
    parts = [f'<line x1="{middle}" x2="{middle}" y1="0" y2="{height}" stroke="currentColor" stroke-width="1"/>']
    for i, (scale, verdict) in enumerate(judged.items()):
        if scale in places:
            x = [middle + (middle - _EDGE) * end / reach for end in places[scale]]
            parts += _estimate(x, i, hollow=not verdict.confirmed)
    said = escape("; ".join(f"{scale} {verdict}" for scale, verdict in judged.items()))
    return f'<svg role="img" aria-label="{said}" width="{_WIDTH}" height="{height}">{"".join(parts)}</svg>'


def _beyond(verdict: Verdict) -> list[float]:
    """Low end, value and high end of a verdict's interval, minus the threshold; where the claim holds is positive."""
    sign, found = 1 if verdict.claim.side == "above" else -1, verdict.estimate
    return [sign * (end - verdict.claim.threshold) for end in (found.low, found.value, found.high)] if found else []


def _estimate(x: Sequence[float], row: int, *, hollow: bool) -> list[str]:
    """The mark of a scale at x[1], and the line of its interval, x[0] to x[2], if it has one."""
    y, colour = row * _ROW + 8, COLOURS[row % len(COLOURS)]
    line = f'<line x1="{x[0]:.1f}" x2="{x[2]:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    mark = _MARKS[row % len(_MARKS)].format(x=x[1], y=y, colour=colour, fill=_HOLLOW if hollow else colour)
    return [mark] if math.isnan(x[0]) else [line, mark]
