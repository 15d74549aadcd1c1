"""Scales: one file each, so that no notebook branches on how large it runs; your own is a copy of lab.py."""

from nclib.checks import check_known
from nclib.experiments.scales import demo, lab, paper
from nclib.experiments.scales.scale import Scale

SCALES = {"demo": demo.SCALE, "lab": lab.SCALE, "paper": paper.SCALE}


def settings(scale: str) -> Scale:
    """The settings of a scale by name."""
    check_known(SCALES, scale=scale)
    return SCALES[scale]
