"""Statistics of fine-tuning: one method held against another, and collapse against accuracy over methods."""

import pandas as pd

from nclib import downstream
from nclib.claims import Estimate, mean

# What two methods are compared on: the same network, task and images.
_PLACE = ["model", "seed", "task", "train_per_class", "draw"]


def gap(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `gap`, by how much accuracy on the training images is above that on the test images."""
    return table.assign(gap=table["train_accuracy"] - table["accuracy"])


def paired(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric by method, one column each, one row for each network, task and set of images."""
    places = [name for name in _PLACE if name in table]
    return table.pivot(index=places, columns="method", values=metric)


def difference(table: pd.DataFrame, metric: str, method: str, other: str) -> Estimate:
    """The mean of a metric of a method less that of another, with Student's t interval over networks, tasks, images."""
    methods = paired(table, metric)
    return mean((methods[method] - methods[other]).to_numpy())


def over_methods(table: pd.DataFrame, metric: str = "nc1") -> Estimate:
    """Rank correlation of a metric and accuracy over methods, the mean over tasks; methods are resampled.

    Networks are averaged first: `seed` and `model` stand for the same thing in all methods.
    """
    values = table.groupby(["method", "task"], as_index=False)[[metric, "accuracy"]].mean()
    return downstream.over_models(values.rename(columns={"method": "model"}).assign(seed=0), metric)


def fewest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with the fewest training images a class."""
    return table[table["train_per_class"] == table["train_per_class"].min()]


def most(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with all training images: the most a class, or no number."""
    numbers = table["train_per_class"].fillna(float("inf"))
    return table[numbers == numbers.max()]


def growth(table: pd.DataFrame, method: str, other: str) -> Estimate:
    """By how much more a method is ahead of another with the fewest images than with all, on the same draw."""
    ahead = [paired(rows, "accuracy") for rows in (fewest(table), most(table))]
    few, all_ = ((rows[method] - rows[other]).droplevel("train_per_class") for rows in ahead)
    return mean((few - all_).to_numpy())
