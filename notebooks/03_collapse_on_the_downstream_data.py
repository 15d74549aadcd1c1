# %% [markdown]
# (downstream)=
# # Find the model that transfers by its collapse on your data
#
# **The claim.** Chapter 2 looked at collapse on the data a network was trained on. Li et al. found something more
# useful: the more the features of a pre-trained model collapse on the {term}`downstream` training data, the higher the
# accuracy after transfer, across pre-trained models under linear probing ({term}`probe`; A2) {cite}`li2022,li2024`. Their second
# half of the claim, across ways of fine-tuning, belongs to the chapter on fine-tuning.
#
# **How we test it.** Each model is frozen and shown the training images of a task. We measure how far its last-layer
# features collapse on them, and fit a linear probe to the same features; its accuracy is that on the task's test
# images. Four measures of collapse compete, all lower where features are more collapsed. *NC1*, of which the claim
# speaks, measures the within-class variance along each direction in which class means differ, divided by their variance
# there; the *trace ratio* divides total within-class by total between-class variance; *CDNV* is the mean over pairs of
# classes of their variances over the squared distance of their means; *VCI* says how much of the total variance is not
# between classes.
# [Which NC1 is that?](../book/metrics.md) has the formulas. Here we
#
# 1. measure all models on all tasks, and ask for the rank correlation of NC1 and accuracy,
# 2. ask whether NC1 ranks models better than the others do,
# 3. go through the layers of a model, and ask whether the least collapse finds the best one,
# 4. ask whether NC1 on all data says what a few labelled images will do.
#
# Two banks of models stand side by side. At **demo** scale they are the networks of {ref}`source`, and a few of other
# widths and depths, on letters and digits: each is made by a *recipe*, which differs in one setting from the *base*,
# and has three seeds. At **lab** scale they are small convolutional networks trained on ImageNet (two of them on
# iNaturalist), on photographs, textures, clothes and digits.

# %% tags=["parameters"]
scale: str = "demo"  # demo: data that needs no download; lab, paper: models and data of a data root
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
imports: list = None  # modules that register models of yours with timm
models: list = None  # pre-trained models by name, in place of the scale's
tasks: list = None  # data sets by name, or folder:path, in place of the scale's
recompute: bool = False  # True: all, beside the records; failed: those that failed
smoke: bool = False  # a cell of each kind, with few images, to see whether all works

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
import matplotlib.pyplot as plt
import pandas as pd

import nclib
from nclib.experiments import figures
from nclib.experiments.chapters import downstream
from nclib.experiments.prose import glue
from nclib.experiments.studies import score_card

own = {"imports": imports, "models": models, "tasks": tasks, "smoke": smoke}
run = nclib.start(
    scale, device=device, seeds=seeds, data_root=data_root, recompute=recompute, **own
)

# %% [markdown]
# ## Measure
#
# A cell of the study is one model on one task. The strength of the probe's penalty is chosen on a fifth of the
# training images. For few shots, `shots` training images of every class are drawn (or as many as the smallest class
# has) and each test image goes to the nearest of their means; `episodes` draws are averaged.

# %%
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


def measure(cell, cache):
    """Collapse of a model's features on a task's training images, and the test accuracy of probes."""
    model, (train, test) = run.backbone(cell, cache), run.task(cell)
    kept = cache and cache / "features"
    features = nclib.extract(model, train, cache=kept)
    tested = nclib.extract(model, test, cache=kept), test.labels
    collapse = nclib.measure(features, train.labels, metrics=downstream.RIVALS)
    parameters = sum(each.numel() for each in model.model.parameters())
    probe = nclib.LinearProbe(C=STRENGTHS).fit(features, train.labels)
    smallest = int(train.labels.bincount().min())
    few = {
        f"accuracy_{shots}": nclib.few_shot(
            features,
            train.labels,
            shots=min(shots, smallest),
            ways=None,
            queries=None,
            episodes=cell["episodes"],
            test=tested,
        ).value
        for shots in cell["shots"]
    }
    width = features.shape[1]
    size = {"num_features": width, "parameters": parameters}
    return {**collapse, **size, "accuracy": probe.score(*tested), **few}


# %% [markdown]
# The same for every block of a model, from one forward pass: `nclib.layerwise` averages each feature map over its
# positions.


# %%
def measure_layers(cell, cache):
    """Collapse and probe accuracy of every block of a model, from the first to the last layer."""
    model, (train, test) = run.backbone(cell, cache), run.task(cell)
    probe = nclib.LinearProbe(C=STRENGTHS)
    kept = cache and cache / "features"
    layers = nclib.layerwise(model, train, test, probe=probe, cache=kept)
    found = {name: values.tolist() for name, values in layers.items()}
    return {**found, "num_classes": len(train.classes)}


tables = run.study_by_scale("downstream_collapse", measure)
layers = run.study_by_scale("collapse_by_layer", measure_layers)

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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Downstream NC1 (on the training images, log scale; left is more collapsed) against the test accuracy of a linear probe. One point a model, one panel a task; the rows are the scales. Colours and markers are what a recipe varies (demo) or models (lab).", "name": "fig-models"}, "image": {"alt": "A grid of scatter plots, one row a scale and one column a task. In most panels accuracy falls as downstream NC1 grows."}}
figures.task_panels(tables, "nc1", "accuracy")
plt.show()

# %% [markdown]
# ## Which measure ranks models best?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Spearman rank correlation over models of four measures of downstream collapse with probe accuracy: each task, and (black) the mean over the tasks, with 95% bootstrap intervals that resample models. Left is better: collapse finds the accurate model.", "name": "fig-rivals"}, "image": {"alt": "For each scale four groups of points with horizontal error bars, one group for each of NC1, trace ratio, CDNV and VCI."}}
LABELS = {
    "nc1": "NC1",
    "nc1_ratio": "trace ratio",
    "cdnv": "CDNV",
    "vci": "VCI",
    "directional_cdnv": "directional CDNV",
}
SIZES = {"num_features": "width", "parameters": "parameters"}  # which need no data
figures.correlations_across_models(tables, LABELS)
plt.show()

# %% tags=["hide-input"]
pd.DataFrame(
    {
        name: {
            label: str(downstream.lead(rows, rival))
            for rival, label in LABELS.items()
            if rival != "nc1"
        }
        for name, rows in tables.items()
    }
).rename_axis("by how much NC1 ranks better than")

# %% [markdown]
# Some models are poor for a reason that any measure would find: the barely trained ones, and those whose source data
# were birds or insects. So once more without them, and beside the measures a thing that needs no data: how many
# features a model has.


# %% tags=["hide-input"]
def groups(rows):
    """All models, and the part of them without those that are plainly worse."""
    yield "all models", rows
    if "epochs" in rows:
        usual = rows["epochs"].mode()[0]  # what differs is how, not how far
        yield "trained as long as the base", rows[rows["epochs"] == usual]
    elsewhere = rows["model"].str.contains("inat")
    if elsewhere.any():
        yield "without iNaturalist", rows[~elsewhere]


by_group = {}
for name, rows in tables.items():
    for group, part in groups(rows):
        row = by_group[name, group] = {}
        for measured_by, label in {**LABELS, **SIZES}.items():
            estimate = downstream.across_models(part, measured_by)
            row[label] = str(estimate)
            glue(f"{name} {group} {label}", estimate)
pd.DataFrame(by_group).T

# %% [markdown]
# **What we see** ({numref}`fig-models`, {numref}`fig-rivals`). At both scales, and on every task, NC1 ranks the
# models as the claim says: the mean correlation over tasks is {glue:text}`demo all models NC1 value:.2f` at demo and
# {glue:text}`lab all models NC1 value:.2f` at lab scale. How much that means is another question.
#
# - *Training length* does part of it at demo scale. A barely trained network neither collapses nor transfers. Among
#   the networks trained as long as the base the correlation is
#   {glue:text}`demo trained as long as the base NC1 value:.2f`
#   [{glue:text}`demo trained as long as the base NC1 low:.2f`,
#   {glue:text}`demo trained as long as the base NC1 high:.2f`]: weaker, and still there.
#
# - *Width* does part of it at both. At demo scale the number of features alone has
#   {glue:text}`demo trained as long as the base width value:.2f` among those networks. At lab scale, without the two
#   iNaturalist models, it has {glue:text}`lab without iNaturalist width value:.2f` where NC1 has
#   {glue:text}`lab without iNaturalist NC1 value:.2f`: the wide models are the better ones, and twelve models cannot
#   tell the two apart. What width does not explain are the two iNaturalist models. They are as wide as any, transfer
#   worst on four of the five tasks, and have among the highest NC1 on most; with them in, width falls to
#   {glue:text}`lab all models width value:.2f` and NC1 stays.
#
# - *The trace ratio and CDNV* do not rank the lab models at all ({glue:text}`lab all models trace ratio value:.2f`
#   [{glue:text}`lab all models trace ratio low:.2f`, {glue:text}`lab all models trace ratio high:.2f`] and
#   {glue:text}`lab all models CDNV value:.2f` [{glue:text}`lab all models CDNV low:.2f`,
#   {glue:text}`lab all models CDNV high:.2f`]); those trained on ImageNet they rank rather in the wrong direction
#   ({glue:text}`lab without iNaturalist trace ratio value:.2f`
#   [{glue:text}`lab without iNaturalist trace ratio low:.2f`,
#   {glue:text}`lab without iNaturalist trace ratio high:.2f`] and {glue:text}`lab without iNaturalist CDNV value:.2f`
#   [{glue:text}`lab without iNaturalist CDNV low:.2f`, {glue:text}`lab without iNaturalist CDNV high:.2f`]). Our
#   explanation: both compare variances summed over all directions of feature space, as plain distance does, whereas
#   NC1 weighs each direction by the inverse of the variance between the classes. A linear probe scales directions as
#   it likes, and so sides with NC1. At demo scale, where the networks are alike, the trace ratio ranks worse than
#   NC1, too, and CDNV about as well.
#
# - *VCI* is not told apart from NC1 at either scale: the interval of NC1's advantage reaches over zero. But it is
#   zero, whatever the features are, where there are fewer images than features, as on the textures here for every
#   model of a thousand features and more; so at lab scale it ranks by little but the width, and without the
#   iNaturalist models it does that as well as width does ({glue:text}`lab without iNaturalist VCI value:.2f`
#   [{glue:text}`lab without iNaturalist VCI low:.2f`, {glue:text}`lab without iNaturalist VCI high:.2f`]).
#
# So NC1 is the only one of the four whose interval lies on the claim's side at both scales. That interval resamples
# models as if they were independent; the lab's fourteen are of five or six families. Whether NC1 would choose among
# models of one width these two banks are too small to say.
#
# ## Across layers
#
# The same measurement for every block of a model: at demo scale of the deepest recipe, at lab scale of each of the
# bank.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Along the depth of a model, from its first block (0) to its last layer (1): probe accuracy and, below it, downstream NC1 and CDNV (log scale; lower is more collapsed). Lines are medians over models and seeds, bands reach from the lowest to the highest; one column a task, two rows a scale.", "name": "fig-layers"}, "image": {"alt": "A grid of line plots, two rows a scale and one column a task: with depth accuracy rises and CDNV mostly falls. NC1 falls too, but for high peaks early in the networks on two scripts, and on the flowers, where it rises."}}
figures.depth_panels(layers, "accuracy", ["nc1", "cdnv"])
plt.show()

# %% tags=["hide-input"]
BY_LAYER = {"nc1": "NC1", "nc1_ratio": "trace ratio", "cdnv": "CDNV", "left": "depth"}


layer_table = {}
for name, rows in layers.items():
    left = rows["nc1"].map(lambda values: list(range(len(values)))[::-1])
    rows = rows.assign(left=left)  # the layers still to come: the last has the least
    flowers = rows["task"].str.contains("flowers")
    parts = dict(iter(rows.groupby("task", sort=False)))
    parts |= {"mean over tasks": rows, "others": rows[~flowers]}
    for part, members in parts.items():
        row = {}
        for metric, label in BY_LAYER.items():
            ranks = downstream.across_layers(members, metric)
            lost = downstream.lost_by(members, metric)
            row["rank correlation", label] = str(ranks)
            row["accuracy lost", label] = str(lost)
            glue(f"layers {name} {part} {label}", ranks.value)
            glue(f"lost {name} {part} {label}", lost.value)
        given = downstream.given_depth(members)
        row["rank correlation", "NC1 given depth"] = f"{given.mean():.2f}"
        glue(f"given depth {name} {part}", given.mean())
        if part != "others":
            layer_table[name, part] = row
    # of equally good layers the deepest: for some models the last block is the last layer
    best = rows["accuracy"].map(lambda a: 1 - a[::-1].index(max(a)) / (len(a) - 1))
    glue(f"best depth {name}", best.mean())
    glue(f"best last {name}", (best == 1).mean())
pd.DataFrame(layer_table).T.sort_index(
    axis=1, level=0, ascending=False, sort_remaining=False
)

# %% [markdown]
# **What we see** ({numref}`fig-layers`). *Rank correlation* in the table is that of a measure and accuracy over the
# layers of a model; *accuracy lost* is by how much the layer of its least falls short of the best one. *Depth* stands
# for no measure at all: the deeper, the better, and the last layer for the choice. On the mean over tasks NC1 has the
# claimed sign at both scales ({glue:text}`layers demo mean over tasks NC1:.2f` and
# {glue:text}`layers lab mean over tasks NC1:.2f`). Depth explains it: among layers of one depth, so far as a partial
# correlation can tell, little or nothing of it is left, and on the scripts of the demo the sign turns
# ({glue:text}`given depth demo mean over tasks:.2f` at demo and {glue:text}`given depth lab mean over tasks:.2f` at lab
# scale; the claim is about this one). The mean hides two cases, too.
#
# - *Layers wider than the number of classes*, which most are on four of the lab's tasks: NC1 falls with depth as
#   accuracy rises, and ranks the layers as well as depth does ({glue:text}`layers lab others NC1:.2f` and
#   {glue:text}`layers lab others depth:.2f`). The layer of least NC1 loses {glue:text}`lost lab others NC1:.3f` of
#   accuracy, the last layer {glue:text}`lost lab others depth:.3f`.
#
# - *Layers narrower than that*: it fails. On the hundred kinds of flowers the correlation is
#   {glue:text}`layers lab flowers102 (22 + 8, 160 px) NC1:.2f`, of the other sign, and the layer of least NC1, one of
#   the first, loses {glue:text}`lost lab flowers102 (22 + 8, 160 px) NC1:.2f` of accuracy. NC1 is a sum over the
#   directions in which class means differ. There are at most as many of these as features, or as classes less one. A
#   layer narrower than that has few terms to sum and looks collapsed. Where the two numbers meet, the variance
#   between classes is hardly any in some directions, its inverse explodes, and NC1 with it: the peaks of
#   Cyrillic and Georgian are at layers of one feature less than the script has letters. The same befalls the last
#   layers of the two narrowest models on the flowers, on the far right of {numref}`fig-models`.
#
# - *CDNV* takes no inverse: it did not rank the lab's models, but its correlation over layers has the claimed sign on
#   every task ({glue:text}`layers lab mean over tasks CDNV:.2f` and {glue:text}`layers demo mean over tasks CDNV:.2f`
#   on the mean). Its least layer may still be a poor choice, as on CIFAR-10, where it loses
#   {glue:text}`lost lab cifar10 (JPEG copy) CDNV:.2f`. Depth alone has
#   {glue:text}`layers lab mean over tasks depth:.2f` and {glue:text}`layers demo mean over tasks depth:.2f`.
#
# - *The best layer* lies on average at {glue:text}`best depth demo:.2f` of the depth at demo scale and at
#   {glue:text}`best depth lab:.2f` at lab scale; in {glue:text}`best last lab:.0%` of the lab's cases it is the last.
#   Presumably the last blocks of a network collapse away, for their own task, what another needs. At demo scale NC1
#   hardly shows that.
#
# ## Few shots

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Rank correlation over models of NC1 on all training images with accuracy from 1, 5 and 20 images of a class (nearest class mean) and from all (linear probe), the mean over the tasks, with 95% bootstrap intervals that resample models.", "name": "fig-shots"}, "image": {"alt": "For each scale four points with error bars, for 1, 5, 20 shots and all images."}}
SHOTS = {
    "accuracy_1": "1 shot",
    "accuracy_5": "5 shots",
    "accuracy_20": "20 shots",
    "accuracy": "all, probe",
}
by_shots = {
    name: {column: downstream.across_models(rows, "nc1", column) for column in SHOTS}
    for name, rows in tables.items()
}
figures.correlations_by_shots(by_shots, SHOTS)
plt.show()

# %% tags=["remove-cell"]
for name, found in by_shots.items():
    for column, estimate in found.items():
        glue(f"shots {name} {column}", estimate.value)

# %% [markdown]
# **What we see** ({numref}`fig-shots`). NC1 on all training images says what a few of them will do about as well as
# what all of them do: from one image of a class {glue:text}`shots demo accuracy_1:.2f` (demo) and
# {glue:text}`shots lab accuracy_1:.2f` (lab), from twenty {glue:text}`shots demo accuracy_20:.2f` and
# {glue:text}`shots lab accuracy_20:.2f`. It needs the labels of all images, though: this is a relation, not a way to
# choose a model with twenty labels.
#
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study=("downstream_collapse", "collapse_by_layer"))

# %% [markdown]
# The estimates are means of rank correlations: at demo scale over seeds of the whole bank (each the mean over tasks), at
# lab scale, where a model has no seeds, over the tasks. So they speak of these models, and of no others. Layers are
# compared given their depth: the claim asks for more than that deep layers collapse more and transfer better.
#
# ## Is it so on your machine?
#
# Here we measure a small cell of each study again, now and from nothing, and compare it with their records.
# {ref}`processors` explains the tolerances, and why the numbers just measured stand on the built page only.

# %% tags=["live"]
run.live({"downstream_collapse": measure, "collapse_by_layer": measure_layers})

# %% [markdown]
# ## What differs from the paper
#
# The paper's sentence is about pre-trained networks of full size; its tables are not reproduced here. Ours are small:
# at demo scale networks of about a hundred features on letters, at lab scale MobileNets, SqueezeNets and their
# relatives, most of them with weights of 8 bits, on reduced versions of the data sets (of Flowers102 22 + 8 images a
# class, of CIFAR-10 a JPEG copy). Fourteen models are few, and not independent: they share architectures, and most of
# them the source data. The intervals of the figures resample models as if they were independent, and keep the tasks; the
# verdicts take the models as they are, and say nothing of others. The probe, its
# strengths and the few-shot protocol are our choice; layers and few shots are our extensions of the claim.
#
# NC1 follows the formula of the authors' code, with the pseudo-inverse of the variance between the classes. It
# compares models on the same classes only, and with care where they differ in width.
#
# ## On your own
#
# 1. On each task, take the model with the lowest NC1. How much accuracy do you lose against the best model, and how much
#    would a model drawn at random lose?


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def lost(part):
    """By how much the model of lowest NC1, and one at random, fall short of the best."""
    best = part["accuracy"].max()
    chosen = part.loc[part["nc1"].idxmin(), "accuracy"]
    return {"lowest NC1": best - chosen, "at random": best - part["accuracy"].mean()}


pd.DataFrame(
    {
        (name, task): lost(part)
        for name, rows in tables.items()
        for task, part in rows.groupby("task", sort=False)
    }
).T.round(3)
# On every task the lowest NC1 loses less than chance does, though not always by much.

# %% [markdown]
# 2. Correlate NC1 and accuracy over all models and all tasks together, in place of within each task. What do you measure
#    then?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
for name, rows in tables.items():
    pooled = rows["nc1"].corr(rows["accuracy"], method="spearman")
    within = downstream.across_models(rows, "nc1").value
    print(f"{name}: {pooled:.2f} over everything, {within:.2f} within tasks")
# Also how tasks differ, which does not help to choose a model: where easy tasks collapse
# more it flatters, where they do not it hides what there is within tasks.

# %% [markdown]
# ## Rerun it at scale
#
# With your own models and data: a module that registers the models with timm, by its name or the path of its file,
# and folders of images with a sub-folder for each class. The models of the lab are no part of this book: they are
# small public ones, registered by such a module. What you measure is kept as records by the names of the models and
# by the images; give new weights a new name.
#
# ```bash
# .venv/bin/papermill notebooks/03_collapse_on_the_downstream_data.ipynb out.ipynb -p scale lab \
#     -p imports '["my_models.py"]' -p models '["my_resnet", "torchvision:resnet50"]' \
#     -p tasks '["folder:~/photos", "flowers102"]' -p data_root ~/data -p device cuda
# ```
#
# The verdicts stay those of the scale's own models.
# `-p scale paper` takes the ImageNet models of torchvision and timm, by their usual names, on ten data sets of
# torchvision. The data root must hold the data sets; `nclib.load(name, download=True)` fetches one.
