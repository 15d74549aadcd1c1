"""Downstream tasks: a data set each, and how much of it is used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A downstream task of the pre-trained models: a data set, and how many images of each class are used.

    `title` is what figures and records call it, `data` what `nclib.load` does; None is all images. `digest` names
    the images of a task that no scale declares, which may change under one name.
    """

    title: str
    data: str
    train_per_class: int | None
    test_per_class: int | None
    digest: str | None = None
