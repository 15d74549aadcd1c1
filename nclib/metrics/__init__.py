"""Collapse metrics: class statistics of features, and every metric as a function of them."""

import lazy_loader as _lazy_loader

_NAMES = {
    "measurement": ["Measurement", "measure"],
    "pairs": [
        "cdnv",
        "cdnv_pairs",
        "directional_cdnv",
        "directional_cdnv_pairs",
        "directional_cdnv_pooled",
        "overlap",
        "overlap_pairs",
    ],
    "ranks": ["class_ranks", "effective_rank", "stable_rank"],
    "registry": ["METRICS", "Metric"],
    "simplex": ["nc2", "nc2_equiangularity", "nc2_equinorm", "nc3", "nc4"],
    "statistics": ["ClassStatistics", "class_statistics"],
    "variability": ["between_spectrum", "cut_off", "nc1", "nc1_ratio", "total_scatter", "vci"],
}
__getattr__, __dir__, __all__ = _lazy_loader.attach(__name__, submod_attrs=_NAMES)
