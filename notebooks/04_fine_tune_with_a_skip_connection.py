# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (finetuning)=
# # Fine-tune with a skip connection
#
# INTRO

# %% tags=["parameters"]
scale: str = "demo"  # demo: embedded data; lab, paper: models and data of a data root
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
imports: list = None  # modules that register models of yours with timm
recompute: bool = False  # measure every cell again, beside the records

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
import time
from functools import partial


import nclib
from nclib import peft

run = nclib.start(
    scale,
    device=device,
    seeds=seeds,
    data_root=data_root,
    imports=imports,
    recompute=recompute,
)

# %% [markdown]
# ## Measure
#
# MEASURE


# %%
def candidates(cell, model, num_classes):
    """What validation chooses of: learning rates, and layers where one is tuned."""
    make = peft.METHODS[cell["method"].split()[0]]
    options = [{"layer": layer} for layer in cell.get("layers", [])] or [{}]
    options = [
        option | ({"match": cell["match"]} if "match" in cell else {})
        for option in options
    ]
    settings = [
        nclib.Tuning(
            learning_rate=rate,
            epochs=cell["epochs_tuned"],
            augmentation=cell["augmentation_tuned"],
            seed=cell["seed"],
        )
        for rate in cell["rates"]
    ]
    return [
        (partial(make, model, num_classes=num_classes, **option), setting)
        for option in options
        for setting in settings
    ]


def measure(cell, cache):
    """Accuracy of a method, and collapse on the images it was tuned on and on others."""
    model, (train, test) = run.backbone(cell, cache), run.task(cell)
    start = time.perf_counter()
    tried = candidates(cell, model, len(train.classes))
    choice = nclib.finetune_best(tried, train)
    seconds = time.perf_counter() - start
    tuned, settings = choice.tuned, tried[choice.candidate][1]
    metrics = {}
    for suffix, images in (("", test), ("train_", train)):
        features = nclib.extract(tuned.backbone, images)
        right = tuned.head(features).argmax(1) == images.labels
        metrics[f"{suffix}accuracy"] = float(right.double().mean())
        metrics[f"{suffix}nc1"] = nclib.measure(
            features, images.labels, metrics=["nc1"]
        )["nc1"]
    return {
        "accuracy": metrics["accuracy"],
        "train_accuracy": metrics["train_accuracy"],
        "nc1": metrics["train_nc1"],
        "nc1_test": metrics["nc1"],
        "share": nclib.trainable_share(tuned),
        "rate": settings.learning_rate,
        "candidate": choice.candidate,
        "epochs_kept": choice.epochs,
        "seconds": seconds,
    }


table = run.study("fine_tuning", measure)
scarce = run.study("data_scarcity", measure)
layers = run.study("tuned_layer", measure)
