"""The book's colours and markers: one of each for one thing, in every figure."""

from functools import cache
from itertools import chain
from zlib import crc32

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# What studies vary, in the order of their styles.
SETTINGS = (
    "epochs",
    "loss",
    "projection",
    "augmentation",
    "weight_decay",
    "learning_rate",
    "batch_size",
    "blocks",
    "width",
)


@cache
def _tasks() -> tuple[str, ...]:
    """The titles of all tasks, in an order that no chapter changes."""
    from nclib.scales import SCALES

    zoos = [zoo for scale in SCALES.values() for zoo in (*scale.zoos, *scale.scene_zoos, *scale.text_zoos)]
    of_scales = [(*scale.tasks, *(task.title for task in scale.model_tasks)) for scale in SCALES.values()]
    return tuple(dict.fromkeys(chain(*of_scales, *([task.title for task in zoo.tasks] for zoo in zoos))))


def task_style(task: str) -> dict[str, str]:
    """The colour and marker of a task, the same in every figure; no two that a scale names have both in common."""
    i = _tasks().index(task) if task in _tasks() else crc32(task.encode())
    return {"color": COLOURS[i % 6], "marker": MARKERS[i % 7]}


def numbered_style(i: int) -> dict[str, str]:
    """The colour and marker of the i-th of many things, none like another up to the 42nd."""
    return {"color": COLOURS[i % 7], "marker": MARKERS[(i + i // 7) % 7]}


def setting_style(setting: str) -> dict[str, str]:
    """The colour and marker of a setting that studies vary, the same in every figure; those of "base" are its own."""
    return {"color": "black", "marker": "*"} if setting == "base" else numbered_style(SETTINGS.index(setting))
