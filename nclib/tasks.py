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


@dataclass(frozen=True)
class SceneTask:
    """A task of pixels: what `nclib.scenes` makes or reads, and how many scenes there are to train and test.

    Of each class so many pixels are scored.
    """

    title: str
    data: str
    train: int
    test: int
    pixels_per_class: int = 100
