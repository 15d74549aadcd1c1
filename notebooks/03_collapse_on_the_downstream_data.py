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
# (downstream)=
# # Find the model that transfers by its collapse on your data
#
# **The claim.** Chapter 2 looked at collapse on the data a network was trained on. Li et al. found something more
# useful: the more the features of a pre-trained model collapse on the *downstream* training data, the higher the
# accuracy after transfer, across pre-trained models under linear probing (A2) {cite}`li2022,li2024`. Their second
# half of the claim, across ways of fine-tuning, belongs to the chapter on fine-tuning.
#
# **How we test it.** Each model is frozen and shown the training images of a task. We measure how far its last-layer
# features collapse on them, and fit a linear probe to the same features; its accuracy is that on the task's test
# images. Here we
#
# 1. measure all models on all tasks, and ask for the rank correlation of NC1 and accuracy,
# 2. ask whether NC1 ranks models better than the trace ratio, CDNV and VCI do,
# 3. go through the layers of a model, and ask whether the least collapse finds the best one,
# 4. ask whether NC1 on all data says what a few labelled images will do.
#
# Two banks of models stand side by side. At **demo** scale they are the networks of {ref}`source`, and a few of other
# widths and depths, on letters and digits. At **lab** scale they are small convolutional networks trained on ImageNet
# (two of them on iNaturalist), on photographs, textures and digits.

# %% tags=["parameters"]
scale: str = "demo"  # demo: embedded data; lab, paper: models and data of a data root
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
imports: list = None  # modules that register models of yours with timm
models: list = None  # pre-trained models by name, in place of the scale's
tasks: list = None  # data sets by name, or folder:path, in place of the scale's
recompute: bool = False  # measure every cell again, beside the records

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
import matplotlib.pyplot as plt
import pandas as pd
from myst_nb import glue

import nclib
from nclib import downstream, findings, plots

run = nclib.start(
    scale,
    device=device,
    seeds=seeds,
    data_root=data_root,
    imports=imports,
    models=models,
    tasks=tasks,
    recompute=recompute,
)

# %% [markdown]
# ## Measure
#
# A cell of the study is one model on one task. The strength of the probe's penalty is chosen on a fifth of the
# training images. For few shots, `shots` training images of every class are drawn and each test image goes to the
# nearest of their means; `episodes` draws are averaged.

# %%
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


def measure(cell, cache):
    """Collapse of a model's features on a task's training images, and the test accuracy of probes."""
    model, (train, test) = run.backbone(cell, cache), run.task(cell)
    kept = cache and cache / "features"
    features = nclib.extract(model, train, cache=kept)
    tested = nclib.extract(model, test, cache=kept), test.labels
    collapse = nclib.measure(features, train.labels, metrics=downstream.RIVALS)
    probe = nclib.LinearProbe(C=STRENGTHS).fit(features, train.labels)
    few = {
        f"accuracy_{shots}": nclib.few_shot(
            features,
            train.labels,
            shots=shots,
            ways=None,
            queries=None,
            episodes=cell["episodes"],
            test=tested,
        ).value
        for shots in cell["shots"]
    }
    width = features.shape[1]
    return {**collapse, "num_features": width, "accuracy": probe.score(*tested), **few}


table = run.study("downstream_collapse", measure)
tables = run.beside("downstream_collapse", table)
for scale_name in tables:
    print(run.describe("downstream_collapse", scale_name))

# %% tags=["hide-input"]
pd.DataFrame(
    {
        name: {
            "models": rows["model"].nunique(),
            "tasks": ", ".join(rows["task"].unique()),
            "cells": len(rows),
        }
        for name, rows in tables.items()
    }
).T

# %% [markdown]
# ## Across models

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Downstream NC1 (on the training images, log scale; left is more collapsed) against the test accuracy of a linear probe. One point a model, one panel a task; the rows are the scales. Colours are what a recipe varies (demo) or families of networks (lab).", "name": "fig-models"}, "image": {"alt": "A grid of scatter plots, one row a scale and one column a task. In most panels accuracy falls as downstream NC1 grows."}}
fig = plots.task_panels(tables, "nc1", "accuracy")
plt.show()

# %% [markdown]
# ## Which measure ranks models best?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Spearman rank correlation over models of four measures of downstream collapse with probe accuracy: each task, and (black) the mean over the tasks, with 95% bootstrap intervals that resample models. Left is better: collapse finds the accurate model.", "name": "fig-rivals"}, "image": {"alt": "For each scale four groups of points with horizontal error bars, one group for each of NC1, trace ratio, CDNV and VCI."}}
fig, axes = plt.subplots(
    1, len(tables), figsize=(8, 3.6), squeeze=False, sharey=True, sharex=True
)
for ax, (name, rows) in zip(axes.flat, tables.items(), strict=True):
    for place, rival in enumerate(downstream.RIVALS):
        by_task = {
            task: downstream.over_models(part, rival)
            for task, part in rows.groupby("task", sort=False)
        }
        overall = downstream.over_models(rows, rival)
        plots.interval_group(
            ax, place, by_task | {"transfer": overall}, labelled=place == 0
        )
        glue(f"rho {name} {rival}", overall.value, display=False)
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.set(title=name, xlim=(-1.05, 1.05), xlabel="rank correlation with accuracy")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize="small")
axes[0, 0].set(
    yticks=range(len(downstream.RIVALS)),
    yticklabels=["NC1", "trace ratio", "CDNV", "VCI"],
)
axes[0, 0].invert_yaxis()
plt.show()

# %% tags=["hide-input"]
advantages = pd.DataFrame(
    {
        name: {
            rival: str(downstream.advantage(rows, rival))
            for rival in downstream.RIVALS[1:]
        }
        for name, rows in tables.items()
    }
)
advantages.rename_axis("by how much NC1 ranks better than")

# %% tags=["remove-cell"]
for name, rows in tables.items():
    if "epochs" in rows:
        trained = downstream.over_models(
            rows[rows["epochs"] == rows["epochs"].mode()[0]]
        )
        glue("rho trained", trained.value, display=False)
        glue("rho trained low", trained.low, display=False)
        glue("rho trained high", trained.high, display=False)
    for task, part in rows.groupby("task"):
        glue(f"rho {name} {task}", downstream.over_models(part).value, display=False)

# %% [markdown]
# WORDS-1
#
# ## Across layers
#
# The same measurement for every block of a model, from one forward pass: `nclib.layerwise` averages each feature map
# over its positions. At demo scale the model is the deepest recipe, at lab scale each of the bank.


# %%
def measure_layers(cell, cache):
    """Collapse and probe accuracy of every block of a model, from the first to the last layer."""
    model, (train, test) = run.backbone(cell, cache), run.task(cell)
    probe = nclib.LinearProbe(C=STRENGTHS)
    kept = cache and cache / "features"
    layers = nclib.layerwise(model, train, test, probe=probe, cache=kept)
    return {name: values.tolist() for name, values in layers.items()}


layers = run.beside("collapse_by_layer", run.study("collapse_by_layer", measure_layers))
for scale_name in layers:
    print(run.describe("collapse_by_layer", scale_name))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Along the depth of a model, from its first block (0) to its last layer (1): downstream NC1 (orange, log scale) and probe accuracy (blue). Lines are means over models and seeds, bands reach from the lowest to the highest, one panel a task; the rows are the scales.", "name": "fig-layers"}, "image": {"alt": "A grid of line plots, one row a scale and one column a task: with depth accuracy mostly rises and NC1 mostly falls."}}
fig = plots.depth_panels(layers, "nc1", "accuracy")
plt.show()

# %% tags=["hide-input"]
by_layer = {}
for name, rows in layers.items():
    best = [
        max(range(len(a)), key=a.__getitem__) / (len(a) - 1) for a in rows["accuracy"]
    ]
    by_layer[name] = {
        "rank correlation of NC1 and accuracy over layers": str(
            downstream.over_layers(rows)
        ),
        "accuracy lost by the layer of least NC1": str(downstream.regret(rows)),
        "accuracy lost by the last layer": str(
            nclib.claims.mean(rows["accuracy"].map(lambda a: max(a) - a[-1]).to_numpy())
        ),
        "mean depth of the best layer": f"{sum(best) / len(best):.2f}",
    }
pd.DataFrame(by_layer)

# %% [markdown]
# WORDS-2
#
# ## Few shots

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Rank correlation over models of NC1 on all training images with accuracy from 1, 5 and 20 images of a class (nearest class mean) and from all (linear probe), the mean over the tasks, with 95% bootstrap intervals that resample models.", "name": "fig-shots"}, "image": {"alt": "For each scale four points with error bars, for 1, 5, 20 shots and all images."}}
fig, ax = plt.subplots(figsize=(4.5, 2.8))
for i, (name, rows) in enumerate(tables.items()):
    for place, column in enumerate(
        ["accuracy_1", "accuracy_5", "accuracy_20", "accuracy"]
    ):
        estimate = downstream.over_models(rows, "nc1", column)
        x = place + 0.12 * (i - 0.5)
        ax.plot(
            [x, x], [estimate.low, estimate.high], color=plots.COLOURS[i], linewidth=1
        )
        label = name if place == 0 else None
        ax.plot(
            x, estimate.value, plots.MARKERS[i], color=plots.COLOURS[i], label=label
        )
        glue(f"shots {name} {column}", estimate.value, display=False)
ax.axhline(0, color="0.4", linewidth=0.8)
ax.set(
    xticks=range(4),
    xticklabels=["1 shot", "5 shots", "20 shots", "all, probe"],
    ylim=(-1.05, 1.05),
    ylabel="rank correlation\nof NC1 and accuracy",
)
ax.legend()
plt.show()

# %% [markdown]
# WORDS-3
#
# ## Verdict

# %% tags=["hide-input"]
pd.concat(
    findings.score_card(run.records, study=study)
    for study in ("downstream_collapse", "collapse_by_layer")
)

# %% [markdown]
# ## Once more, from nothing
#
# One cell of the study, measured now without any cache, beside its record:

# %% tags=["nbval-ignore-output", "hide-input"]
live = run.live("downstream_collapse", run.cells("downstream_collapse")[0], measure)
live

# %%
assert live["agrees"].all(), live

# %% [markdown]
# ## What differs from the paper
#
# WORDS-4
#
# ## Rerun it at scale
#
# With your own models and data: a module that registers the models with timm, and folders of images with a
# sub-folder for each class.
#
# ```bash
# papermill notebooks/03_collapse_on_the_downstream_data.ipynb out.ipynb -p scale lab \
#     -p imports '["my_models"]' -p models '["my_resnet", "torchvision:resnet50"]' \
#     -p tasks '["folder:~/photos", "flowers102"]' -p data_root ~/data -p device cuda
# ```
#
# `-p scale paper` takes the ImageNet models of torchvision and timm, by their usual names, on ten data sets of
# torchvision. The data root must hold the data sets; `nclib.load(name, download=True)` fetches one.
