"""The ranges that metrics and scores say, as numbers."""

import math


def ends(written: str, classes: int, features: int, cdnv: float = math.inf) -> tuple[float, float]:
    """The least and the largest value that a range such as `[0, K − 1]` allows."""
    known = {"−∞": -math.inf, "−1": -1, "0": 0, "1": 1, "√2": 2**0.5, "2": 2, "d": features, "∞": math.inf}
    known |= {"K − 1": classes - 1, "√(K − 1)": (classes - 1) ** 0.5, "K / (K − 1)": classes / (classes - 1)}
    known |= {"−K(K − 1)": -classes * (classes - 1), "ln K": math.log(classes), "−ln K": -math.log(classes)}
    known |= {"cdnv": cdnv, "−ln(2K / (K − 1)) / 2": -math.log(2 * classes / (classes - 1)) / 2}
    parts = written[1:-1].split(", ")
    right = written[:1] in ("[", "(") and written[-1:] in ("]", ")") and len(parts) == 2 and known.keys() >= set(parts)
    assert right, (
        f"the range {written!r} is not known: write it with two of {list(known)}, or add to these in tests/ranges.py"
    )
    return known[parts[0]], known[parts[1]]
