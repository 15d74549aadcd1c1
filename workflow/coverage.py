"""How often the book's 95% intervals hold the truth, on data like the records': the table of the evidence page.

Each design draws what its replicates are, with as many units, seeds and ties as the studies have. The truth is the mean
of many of them. Two designs draw from the records themselves: from how far their replicates are off their means.
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy.stats import rankdata, t

from nclib.estimates import fisher, student
from nclib.experiments.protocols import in_force
from nclib.experiments.studies import CLAIMS, declared
from nclib.storage import replacing
from workflow.measures import RECORDS, ROOT

TABLE = ROOT / "book" / "coverage.csv"
SIMULATIONS = 20_000
_TRUTH = 200_000

# Each gives replicates (*shape,) of one panel.
Draw = Callable[[Generator, tuple[int, ...]], np.ndarray]


def accuracies(rng: Generator, chances: np.ndarray, images: int) -> np.ndarray:
    """Test accuracies of networks with these chances, each on so many images."""
    return rng.binomial(images, np.clip(chances, 0, 1)) / images


def contrast(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Differences of two recipes on 960 images: 4 points on average, and 2 points between networks."""
    better, worse = (mean + 0.02 * rng.standard_normal(shape) for mean in (0.86, 0.82))
    return accuracies(rng, better, 960) - accuracies(rng, worse, 960)


def few_images(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Differences of two methods on 400 images, with draws of training images that help or hurt both."""
    draw = 0.05 * rng.standard_normal(shape)
    better, worse = (mean + draw + 0.03 * rng.standard_normal(shape) for mean in (0.6, 0.57))
    return accuracies(rng, better, 400) - accuracies(rng, worse, 400)


def log_ratio(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Ratios of NC1 of two recipes: lognormal, a tenth apart from network to network, and now and then far off."""
    far = rng.random(shape) < 0.05
    return 0.3 + np.where(far, 0.4, 0.1) * rng.standard_normal(shape)


def slope(rng: Generator, shape: tuple[int, ...], values: int = 5) -> np.ndarray:
    """Slopes of a metric along five values of a setting."""
    x = np.linspace(-0.5, 0.5, values)
    return (0.3 * x + 0.15 * rng.standard_normal((*shape, values))) @ x / (x @ x)


def correlation(rng: Generator, shape: tuple[int, ...], models: int, strength: float) -> np.ndarray:
    """Spearman's, as Fisher's z, over models, of a metric and an accuracy on 200 images, which has ties."""
    metric = rng.standard_normal((*shape, models))
    latent = strength * metric + np.sqrt(1 - strength**2) * rng.standard_normal((*shape, models))
    x, y = (rankdata(side, axis=-1) - (models + 1) / 2 for side in (metric, np.round(0.7 + 0.1 * latent, 3)))
    return fisher((x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1)))


def spread(rng: Generator, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    """A contrast of networks that are so far apart."""
    return deviation * rng.standard_normal(shape)


def crossed(draw: Draw, panels: int) -> Draw:
    """The mean over panels of what each seed has in all of them."""
    return lambda rng, shape: draw(rng, (*shape, panels)).mean(-1)


@cache
def residuals() -> np.ndarray:
    """How far the confirming replicates of the claims are off their means, in standard deviations of each."""
    found = []
    for claim in CLAIMS:
        for scale in ("demo", "lab"):
            table = declared(RECORDS, claim.study, scale, claim.key)
            if in_force(claim.study, scale) and table is not None:
                for _, values in claim.replicates(table).groupby(["contrast", "panel"])["value"]:
                    if len(values) > 3 and values.std() > 0:
                        spread = np.sqrt(len(values) / (len(values) - 1)) / values.std()
                        found.append((values - values.mean()) * spread)
    return np.concatenate(found)


def recorded(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Any of the `residuals`."""
    return rng.choice(residuals(), shape)


def strong(models: int) -> Draw:
    return lambda rng, shape: correlation(rng, shape, models, 0.8)


def weak(models: int) -> Draw:
    return lambda rng, shape: correlation(rng, shape, models, 0.2)


# What is simulated: what all panels draw or, one after the other, each; replicates of a panel; panels.
DESIGNS: dict[str, tuple[Draw | tuple[Draw, ...], int, int]] = {
    "two recipes, 3 seeds": (contrast, 3, 1),
    "two recipes, 8 seeds": (contrast, 8, 1),
    "two recipes, 16 seeds": (contrast, 16, 1),
    "two recipes, 10 seeds on each of 2 sources": (contrast, 10, 2),
    "two methods, 15 draws": (few_images, 15, 1),
    "two methods, 10 draws on each of 3 tasks": (few_images, 10, 3),
    "two recipes, 10 seeds on each of 2 sources, one of which spreads more": (
        (partial(spread, deviation=1.0), partial(spread, deviation=2.5)),
        10,
        2,
    ),
    "as the records of chapters 1 and 2 spread, 8 seeds": (recorded, 8, 1),
    "as the records of chapters 1 and 2 spread, 10 seeds on each of 2 sources": (recorded, 10, 2),
    "log ratio of NC1, 8 seeds": (log_ratio, 8, 1),
    "log ratio of NC1, 6 seeds in each of 5 panels": (log_ratio, 6, 5),
    "slope over 5 values, 3 seeds in each of 2 panels": (slope, 3, 2),
    "slope over 5 values, 8 seeds": (slope, 8, 1),
    "slope over 5 values, 8 seeds in each of 7 panels": (slope, 8, 7),
    "slope over 10 values, 10 seeds": (partial(slope, values=10), 10, 1),
    "slope over 10 values, 16 seeds": (partial(slope, values=10), 16, 1),
    "strong correlation over 10 values, 8 seeds": (strong(10), 8, 1),
    "weak correlation over 10 values, 8 seeds": (weak(10), 8, 1),
    "strong correlation over 14 models, 5 tasks": (strong(14), 5, 1),
    "weak correlation over 14 models, 5 tasks": (weak(14), 5, 1),
    "strong correlation over 12 recipes, 6 seeds in each of 5 panels": (strong(12), 6, 5),
    "weak correlation over 7 models, 4 seeds": (weak(7), 4, 1),
    "strong correlation over 21 models, 3 seeds, the same on 5 tasks": (crossed(strong(21), 5), 3, 1),
    "weak correlation over 7 models, 2 seeds, the same on 9 tasks": (crossed(weak(7), 9), 2, 1),
}


def covered(design: str, simulations: int = SIMULATIONS) -> float:
    """The share of simulated intervals that hold the truth."""
    drawn, number, panels = DESIGNS[design]
    draws = drawn if isinstance(drawn, tuple) else (drawn,) * panels
    rng = np.random.default_rng(0)
    truth = draws[0](rng, (_TRUTH,)).mean()
    value, error, freedom = student([draw(rng, (simulations, number)) for draw in draws])
    return float((abs(value - truth) <= t.ppf(0.975, freedom) * error).mean())


def main() -> None:
    """Simulate all designs, and write the table."""
    rows = [{"design": design, "covered": round(covered(design), 3)} for design in DESIGNS]
    with replacing(TABLE) as path:
        pd.DataFrame(rows).to_csv(path, index=False)


if __name__ == "__main__":
    main()
