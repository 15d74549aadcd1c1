# %% [markdown]
# (downstream)=
# # Choose the model whose features collapse most on your data
#
# **The claims.** Chapter 2 looked at collapse on the data that a network was trained on. Li et al. found something more useful:
# the more the features of a pre-trained model collapse on the {term}`downstream` training data, the higher the accuracy of a
# linear {term}`probe` on these features (A2) {cite}`li2022,li2024`. The second half of the claim is about methods of
# fine-tuning; the next chapter tests it.
#
# **What we find.** For models the claim holds: on every task at both scales, models with lower {term}`NC1` tend to be more
# accurate, with a mean rank correlation of {glue:text}`demo all NC1 value:.2f` at demo and
# {glue:text}`lab all NC1 value:.2f` at lab. At demo the number of features (their width) does not explain this correlation.
# At lab we cannot tell: among the twelve models trained on ImageNet width ranks as well as NC1; only the two models trained on
# birds and insects tell the two apart. For the layers of one model the claim fails at demo, where on three of five tasks the
# last blocks go on collapsing and lose accuracy, and holds weakly at lab, where depth explains most of it. In practice, choose
# the model with the lowest NC1 or directional CDNV: by NC1 you lose {glue:text}`demo lost lowest NC1:.1f` points against the
# best model at demo and {glue:text}`lab lost lowest NC1:.1f` at lab; with a model drawn at random you lose
# {glue:text}`demo lost at random:.1f` and {glue:text}`lab lost at random:.1f`. If you can afford to probe every model,
# do: computing the features takes longer than the probe
# ({ref}`selection`).
#
# **How we test it.** We freeze each model and compute its last-layer features of the training images of a task. We measure how
# far these features collapse, and fit a linear probe to them; the probe's accuracy is measured on the task's test images. At
# *demo* scale the models are networks like those of {ref}`source`: each is made by a {term}`recipe` that differs in one setting
# from the {term}`base`, and the tasks are scripts and digits. At *lab* scale they are fourteen small convolutional networks,
# twelve trained on ImageNet and two on iNaturalist. Their tasks are photographs, textures, clothes, digits, and five alphabets
# of Omniglot that we did not use in {term}`exploration`. We ask, in this order,
#
# 1. whether the models with the lowest NC1 transfer best, and whether something else ranks them as well: other measures of
#    collapse, the {term}`width` of the features, the number of parameters, accuracy on the source,
# 2. how much accuracy you gain if you choose by NC1,
# 3. whether NC1 also ranks models that learn from a few labelled images,
# 4. whether the most collapsed layer of a model is the best one.
#
# All correlations in this chapter are rank correlations of accuracy with an *order* of the models: lowest NC1 first, widest
# first, and so on. A correlation of 1 means that this is also their order by accuracy, highest first. In the figures the claim
# holds on the right. (The verdicts keep the sign of NC1, so there the claim holds below zero.)

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
from nclib.experiments import plots
from nclib.experiments.chapters import downstream
from nclib.experiments.figures import schematics
from nclib.experiments.figures import downstream as figures
from nclib.experiments.prose import glue
from nclib.experiments.studies import declared, score_card

own = {"imports": imports, "models": models, "tasks": tasks, "smoke": smoke}
run = nclib.start(
    scale, device=device, seeds=seeds, data_root=data_root, recompute=recompute, **own
)

# %% [markdown]
# ## Measure
#
# A {term}`cell` of the study is one model on one task. A fifth of the training images is held out to choose the strength of the
# probe's penalty. For {term}`few-shot` accuracy, `shots` training images of every class are drawn (or as many as the smallest
# class has), and each test image gets the class of the nearest mean. We average over `episodes` draws.

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
# The next function does the same for every block of a model, with one forward pass: `nclib.layerwise` averages each feature map
# over its positions.


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
            "tasks": "; ".join(map(plots.short, rows["task"].unique())),
            "cells": len(rows),
        }
        for name, rows in tables.items()
    }
).T

# %% [markdown]
# At demo every seed trains the networks anew, and the verdicts have an interval over ten seeds. At lab the models are the same
# with every seed, and a seed draws other images of each task. The lab's verdicts take the mean of two draws, and have an
# interval over tasks.
#
# ## Do models with lower NC1 transfer better?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "On every task models with lower NC1 tend to be more accurate. Test accuracy of a linear probe against NC1 on the task's training images. Each point is a model, the mean over its seeds; each panel is a task. Colours and markers show what a recipe varies (demo) or the family of a model (lab). Left is more collapsed.", "name": "fig-models"}, "image": {"alt": "Accuracy falls as downstream NC1 grows, in every panel, most evenly on the letters of the demo. There are five tasks of the demo and ten of the lab."}}
figures.task_panels(tables, "nc1", "accuracy")
plt.show()

# %% [markdown]
# Five measures of collapse could rank the models; all are lower where features are more collapsed. *NC1* measures the
# within-class variance along each direction in which class means differ, divided by the variance of the class means there.
# *Directional CDNV* compares two classes at a time: their variance along the line between their means, divided by the squared
# distance of the means. The *trace ratio* divides the total within-class variance by the total between-class variance, and
# *CDNV* does much the same for pairs of classes. {term}`VCI` is the share of the variance of the labels that a linear probe
# cannot explain. [Which NC1 is that?](../book/metrics.md) has the formulas, and {numref}`fig-scheme-spread` shows where the
# measures disagree.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Spread along the line between two class means hinders a linear probe, spread across it does not. NC1 and directional CDNV tell the two apart; the trace ratio and CDNV do not. Each panel shows two classes in a plane, with their means; the numbers are measured on these points.", "name": "fig-scheme-spread"}, "image": {"alt": "NC1 is high on the left, where two classes spread towards each other and overlap, and low on the right, where they spread side by side. Their distance and how far they spread are the same on both sides, and so are the trace ratio and CDNV."}}
schematics.two_spreads()
plt.show()

# %% [markdown]
# We compare them with three orders that need no downstream data: the number of features (width), the number of parameters and,
# at demo, accuracy on the source. Chapter 2 measured source accuracy; we have it for the recipes and seeds that both chapters
# share. Wide models may be both more collapsed and more accurate, so we also compare models at equal width, as far as a partial
# correlation allows.

# %% tags=["hide-input"]
LABELS = {
    "nc1": "NC1",
    "directional_cdnv": "directional CDNV",
    "cdnv": "CDNV",
    "nc1_ratio": "trace ratio",
    "vci": "VCI",
}
SIZES = {  # need no downstream data
    "num_features": "width",
    "parameters": "parameters",
    "source_accuracy": "source accuracy",
}
networks = declared(run.records, "source_collapse", "demo")
if networks is not None:
    tables = {
        name: downstream.with_source_accuracy(rows, networks)
        for name, rows in tables.items()
    }


def groups(rows):
    """All models, and a part of them: those trained as long as the base or, of named models, the wide ones."""
    yield "all", "all", rows
    if "epochs" in rows:
        usual = rows["epochs"].mode()[0]
        yield "usual", f"{usual} epochs", rows[rows["epochs"] == usual]
    else:
        yield "wide", "above 1,000 features", rows[rows["num_features"] > 1000]


parts, shown = {}, {}
for name, rows in tables.items():
    for group, title, part in groups(rows):
        number = part["model"].nunique()
        if number > 3:
            parts[name, group] = part
            shown[f"{name}: {title}\n{number} models"] = part
            glue(f"{name} {group} models", number)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At both scales NC1 and directional CDNV rank models well, and width and the number of parameters much worse; at lab that difference rests on two models (see the table below). Panels: all models of the demo; those trained for 16 epochs, like the base; all models of the lab; those with more than 1,000 features. Rank correlation of accuracy with orders of the models: lowest first for measures of collapse, highest first for the three at the bottom. Large points are means over tasks, with the 95% intervals of the verdicts; faint points are tasks. Source accuracy is known only for models of chapter 2.", "name": "fig-orders"}, "image": {"alt": "NC1 and directional CDNV lie far to the right of zero in all four panels, as they are and at equal width. CDNV does so in three, but not over all models of the lab. VCI lies as far right as NC1 at demo, and further left at lab. The trace ratio, width and the number of parameters lie further left. Each row is a way to order models."}}
figures.orders_of_models(shown, LABELS | SIZES)
plt.show()

# %% tags=["hide-input"]
for (name, group), part in parts.items():
    nc1 = downstream.ranked_by(part, "nc1")
    for rival, label in (LABELS | SIZES).items():
        if rival in part and part[rival].notna().any():
            ranks = downstream.ranked_by(part, rival)
            given = downstream.ranked_by(part, rival, given="num_features")
            glue(f"{name} {group} {label}", downstream.correlation(ranks))
            glue(f"{name} {group} {label} given", downstream.correlation(given))
            if rival != "source_accuracy":
                glue(
                    f"{name} {group} behind {label}", downstream.difference(ranks, nc1)
                )
            else:
                known = part[part[rival].notna()]
                glue(f"{name} {group} known", known["model"].nunique())
                same = downstream.ranked_by(known, "nc1")
                glue(f"{name} {group} known NC1", downstream.correlation(same))
for name, rows in tables.items():
    new = rows[rows["task"].str.contains("omniglot")]  # not explored
    if len(new):
        glue(
            f"{name} new NC1", downstream.correlation(downstream.ranked_by(new, "nc1"))
        )

# %% [markdown]
# The next table shows the correlations at lab for each family of at least four models, and for all models but the two of
# iNaturalist, whose source data are birds and insects:


# %% tags=["hide-input"]
def families(rows):
    """The families of at least four models, and all models but those of iNaturalist."""
    if "weights" in rows:
        names = rows["model"].map(downstream.family)
        yield "without iNaturalist", rows[~names.str.contains("iNaturalist")]
        for family, part in rows.groupby(names, sort=False):
            if part["model"].nunique() > 3:
                yield family, part


by_family = {}
for name, rows in tables.items():
    for family, part in families(rows):
        row = by_family[family] = {"models": part["model"].nunique()}
        orders = {
            "NC1": ("nc1", None),
            "NC1 at equal width": ("nc1", "num_features"),
            "directional CDNV": ("directional_cdnv", None),
            "width": ("num_features", None),
            "parameters": ("parameters", None),
        }
        for label, (order, given) in orders.items():
            if (
                given is None or row["models"] > 8
            ):  # four models would leave nothing to correlate
                ranks = downstream.ranked_by(part, order, given=given)
                row[label] = str(downstream.correlation(ranks))
                glue(f"{name} {family} {label}", downstream.correlation(ranks))
pd.DataFrame(by_family).T.fillna("").rename_axis("rank correlation with accuracy")

# %% [markdown]
# **What we see** ({numref}`fig-models`, {numref}`fig-orders`). The order by NC1 has a rank correlation with accuracy of
# {glue:text}`demo all NC1 value:.2f` [{glue:text}`demo all NC1 low:.2f`, {glue:text}`demo all NC1 high:.2f`] at demo
# and {glue:text}`lab all NC1 value:.2f` [{glue:text}`lab all NC1 low:.2f`, {glue:text}`lab all NC1 high:.2f`] at lab.
# On the five new alphabets alone it is {glue:text}`lab new NC1 value:.2f`.
#
# - *Training length* explains part of this correlation at demo: a barely trained network neither collapses nor transfers. Among
#   the {glue:text}`demo usual models:.0f` models that were trained as long as the base, the correlation is
#   {glue:text}`demo usual NC1 value:.2f`.
#
# - *Width* does not explain it at demo: the order by width has a correlation of only {glue:text}`demo all width value:.2f`,
#   and at equal width NC1 keeps {glue:text}`demo all NC1 given value:.2f`. At lab the numbers are similar
#   ({glue:text}`lab all width value:.2f` and {glue:text}`lab all NC1 given value:.2f`), but they depend on two models.
#   The iNaturalist models are less collapsed than others of their width, and they are the worst on most tasks. Without them
#   width ranks models as well as NC1 does
#   ({glue:text}`lab without iNaturalist width value:.2f` and {glue:text}`lab without iNaturalist NC1 value:.2f`), and at equal
#   width NC1 keeps {glue:text}`lab without iNaturalist NC1 at equal width value:.2f`
#   [{glue:text}`lab without iNaturalist NC1 at equal width low:.2f`,
#   {glue:text}`lab without iNaturalist NC1 at equal width high:.2f`]. Among the twelve ImageNet models the wide ones are
#   both better and more collapsed, so these twelve cannot tell us whether NC1 chooses well among models of one width. Within
#   each of the two families of four, too, NC1 ranks models no better than width does.
#
# - *The number of parameters* is a poor guide ({glue:text}`demo all parameters value:.2f` at demo,
#   {glue:text}`lab all parameters value:.2f` at lab). The largest network of the demo, which is the deepest, transfers worse
#   than most; the largest of the lab is among the best.
#
# - *Source accuracy* is known for {glue:text}`demo all known:.0f` of the demo's models. It ranks these models nearly as well
#   ({glue:text}`demo all source accuracy value:.2f`) as NC1 does ({glue:text}`demo all known NC1 value:.2f`). If you
#   have the source data, you can rank networks of one kind without looking at the task.
#
# - *Directional CDNV* ranks models better than NC1 at demo, by {glue:text}`demo all behind directional CDNV value:.2f`
#   [{glue:text}`demo all behind directional CDNV low:.2f`, {glue:text}`demo all behind directional CDNV high:.2f`], and about
#   as well at lab ({glue:text}`lab all directional CDNV value:.2f`). Like NC1, it counts spread only where class means differ,
#   but it needs no inverse of a covariance. That inverse makes NC1 unreliable where there are few images, or about as many
#   classes as features.
#
# - *The trace ratio and CDNV* count spread in all directions, even where it does not hinder a probe
#   ({numref}`fig-scheme-spread`). Among the demo's networks, which are alike, CDNV ranks models about as well as NC1, and the
#   trace ratio ranks them worse. At lab the trace ratio hardly ranks the models ({glue:text}`lab all trace ratio value:.2f`
#   [{glue:text}`lab all trace ratio low:.2f`, {glue:text}`lab all trace ratio high:.2f`]), and CDNV ranks them poorly
#   ({glue:text}`lab all CDNV value:.2f` [{glue:text}`lab all CDNV low:.2f`, {glue:text}`lab all CDNV high:.2f`]). A
#   linear probe can rescale each direction; NC1, too, compares spread and means in each direction separately.
#
# - *VCI* ranks the demo's models at least as well as NC1, and the lab's worse ({glue:text}`lab all VCI value:.2f`). Where a
#   model has more features than there are images, VCI is zero whatever the features are, so wide models come first.
#
# So lower collapse goes with better transfer if it is measured where class means differ. We cannot tell whether NC1 itself
# matters, or only what it shares with directional CDNV.
#
# ## What do you gain by choosing by NC1?
#
# On each task we take the model with the lowest NC1, and ask by how many points of accuracy it falls short of the best model.
# We do the same for the other orders, and for a model drawn at random. Where several models come first, such as the widest, we
# take their mean.


# %% tags=["hide-input"]
def points(estimate):
    """An estimate of accuracy in points, with its interval."""
    value, low, high = (
        100 * end for end in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value:.1f}" if low != low else f"{value:.1f} [{low:.1f}, {high:.1f}]"


choices = {f"lowest {label}": name for name, label in LABELS.items()}
choices |= {"widest": "num_features", "most parameters": "parameters"}
choices |= {"highest source accuracy": "source_accuracy", "at random": None}
lost = {}
for name, rows in tables.items():
    for choice, order in choices.items():
        known = rows if order is None else rows[rows[order].notna()]
        if len(known):
            own, nc1 = (downstream.lost_by(known, each) for each in (order, "nc1"))
            short, more = downstream.average(own), downstream.difference(own, nc1)
            lost.setdefault((name, "falls short by"), {})[choice] = points(short)
            lost.setdefault((name, "more than NC1"), {})[choice] = points(more)
            glue(f"{name} lost {choice}", 100 * short.value)
            glue(f"{name} more lost {choice}", points(more))
gain = pd.DataFrame(lost).fillna("").reindex(choices)
gain.loc["lowest NC1", gain.columns.get_level_values(1) == "more than NC1"] = ""
gain.rename_axis("chosen model")

# %% [markdown]
# **What we see.** The model with the lowest NC1 falls {glue:text}`demo lost lowest NC1:.1f` points short of the best one at
# demo and {glue:text}`lab lost lowest NC1:.1f` at lab; a model at random falls {glue:text}`demo lost at random:.1f` and
# {glue:text}`lab lost at random:.1f` short. (At demo much of this loss is due to models that were barely trained.)
# Directional CDNV loses about as little as NC1 at both scales, and so do CDNV and source accuracy at demo. Size misleads: the
# widest model loses {glue:text}`lab lost widest:.1f` points at lab, where the two iNaturalist models are among the widest,
# and the model with the most parameters loses {glue:text}`demo lost most parameters:.1f` at demo. At lab the model with the
# most parameters is a good choice: it loses {glue:text}`lab more lost most parameters` points more than the choice by NC1,
# which is within noise.
#
# So the choice by NC1 is several points better than a random one, and avoids the mistakes of choosing by size. NC1 takes one
# pass over the training images. A probe needs the same features and a fraction of a second more ({ref}`selection`), and its
# accuracy on held-out images says directly which model is best.
#
# ## Few shots

# %% tags=["hide-input"] mystnb={"figure": {"caption": "NC1 of all training images ranks models about as well when they learn from a few labelled images as when they learn from all. Rank correlation of the orders by NC1 and by width with accuracy from 1, 5 and 20 images of a class (nearest class mean) and from all (linear probe). Means over tasks, with the 95% intervals of the verdicts.", "name": "fig-shots"}, "image": {"alt": "At both scales the correlation of NC1 stays about as high for 1, 5 and 20 images as for all, and lies far above that for width."}}
SHOTS = {
    "accuracy_1": "1 shot",
    "accuracy_5": "5 shots",
    "accuracy_20": "20 shots",
    "accuracy": "all, probe",
}
by_shots = {
    f"{name}, {label}": {
        column: downstream.correlation(downstream.ranked_by(rows, order, [column]))
        for column in SHOTS
    }
    for name, rows in tables.items()
    for order, label in (("nc1", "NC1"), ("num_features", "width"))
}
figures.correlations_by_shots(by_shots, SHOTS)
plt.show()

# %% tags=["remove-cell"]
for title, found in by_shots.items():
    for column, estimate in found.items():
        glue(f"shots {title} {column}", estimate.value)

# %% [markdown]
# **What we see** ({numref}`fig-shots`). With one image of a class the rank correlation is
# {glue:text}`shots demo, NC1 accuracy_1:.2f` at demo and {glue:text}`shots lab, NC1 accuracy_1:.2f` at lab, with twenty
# it is {glue:text}`shots demo, NC1 accuracy_20:.2f` and {glue:text}`shots lab, NC1 accuracy_20:.2f`. But this NC1 needs
# the labels of all training images, so it is no way to choose a model when you have only a few labels.
#
# ## Across layers
#
# Does the most collapsed layer of a model transfer best? At demo we take the deepest recipe, and at lab each of the fourteen
# models.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "CDNV mostly falls with depth; NC1 explodes where the width of a layer meets the number of classes. Probe accuracy and, below it, NC1 and CDNV from the first block (0) to the last layer (1), for five tasks of each scale. Lines are medians over models and seeds; bands reach from the lowest value to the highest.", "name": "fig-layers"}, "image": {"alt": "With depth accuracy rises and CDNV mostly falls. NC1 falls, too, except for high peaks early in the networks on some scripts, and on the flowers, where it rises. Each column is a task; each scale has two rows."}}
figures.depth_panels(layers, "accuracy", ["nc1", "cdnv"])
plt.show()

# %% [markdown]
# NC1 is a sum over the directions in which class means differ. There are at most as many of these as features, and at most one
# fewer than classes. In a narrow layer the sum therefore has few terms, and the layer looks collapsed. Where the number of
# features is close to the number of classes, class means hardly differ in some directions. NC1 divides by their variance there,
# and explodes. So from here on we count only layers with more features than classes, unless we say otherwise.
#
# The simplest rival is depth: deeper layers collapse more and transfer better, whether or not collapse causes the better
# transfer. So we also compare layers at equal depth.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At equal depth NC1 says little about which layer transfers best: it is weakly right at lab, and wrong on two scripts of the demo. Rank correlation of accuracy with the order of a model's layers by NC1, lowest first: as they are, and at equal depth. The intervals of a task are over networks (demo) or models (lab); that of the mean is the verdict's.", "name": "fig-depth"}, "image": {"alt": "As they are, layers that collapse more are more accurate on all tasks of the lab, and less accurate on three scripts of the demo. At equal depth the correlations shrink: most intervals touch zero, those of Armenian and Georgian lie below it, and those of a few lab tasks above."}}
figures.orders_of_layers(layers)
plt.show()

# %% tags=["hide-input"]
layer_choices = {
    "with the lowest NC1": "nc1",
    "with the lowest NC1, of those wider than the classes": "wide_nc1",
    "with the lowest CDNV": "cdnv",
    "at the end": "left",
}
lost = {}
for name, rows in layers.items():
    whole = downstream.with_orders(rows)
    for choice, order in layer_choices.items():
        short = downstream.over_tasks(rows, downstream.lost_by_layer(whole, order))
        lost.setdefault(name, {})[choice] = points(downstream.average(short))
        glue(f"layer lost {name} {order}", 100 * downstream.average(short).value)
    for order in ("wide_nc1", "cdnv", "left"):
        ranks = downstream.over_tasks(rows, downstream.layers_ranked_by(whole, order))
        glue(f"layers {name} {order}", downstream.correlation(ranks))
    given = downstream.over_tasks(rows, -downstream.given_depth(rows))
    glue(f"layers {name} given depth", downstream.correlation(given))
    # of equally good layers the deepest: for some models the last block is the last layer
    best = rows["accuracy"].map(lambda a: 1 - a[::-1].index(max(a)) / (len(a) - 1))
    glue(f"best depth {name}", best.mean())
    glue(f"best last {name}", (best == 1).mean())
pd.DataFrame(lost).rename_axis("points by which a layer falls short of the best")

# %% [markdown]
# **What we see** ({numref}`fig-layers`, {numref}`fig-depth`). At demo the claim fails. Among layers wider than the number of
# classes, which belong to the last stages, lower NC1 goes with lower accuracy: the rank correlation is
# {glue:text}`layers demo wide_nc1 value:.2f` [{glue:text}`layers demo wide_nc1 low:.2f`,
# {glue:text}`layers demo wide_nc1 high:.2f`], and {glue:text}`layers demo given depth value:.2f`
# [{glue:text}`layers demo given depth low:.2f`, {glue:text}`layers demo given depth high:.2f`] at equal depth. On three
# scripts NC1 goes on falling after accuracy has begun to fall. On average over the five tasks the best layer lies at
# {glue:text}`best depth demo:.2f` of the depth, and the last layer is the best in {glue:text}`best last demo:.0%` of all
# cases. Presumably the last blocks discard what another script needs, since the letters they were trained on do not need it.
#
# At lab the claim holds. Most layers are wider than the number of classes, and among these NC1 falls with depth as accuracy
# rises ({glue:text}`layers lab wide_nc1 value:.2f`). But depth alone ranks layers better
# ({glue:text}`layers lab left value:.2f`), and at equal depth NC1 keeps only {glue:text}`layers lab given depth value:.2f`
# [{glue:text}`layers lab given depth low:.2f`, {glue:text}`layers lab given depth high:.2f`].
#
# At lab no measure of collapse is a good way to choose a layer. The layer with the lowest NC1 loses
# {glue:text}`layer lost lab nc1:.1f` points, mostly because it may be a narrow one. Among layers wider than the number of
# classes the one with the lowest NC1 loses {glue:text}`layer lost lab wide_nc1:.1f`, and the last layer of the model loses
# {glue:text}`layer lost lab left:.1f`. At demo these choices differ by less than a point. In practice, probe the layers of
# the second half.
#
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study=("downstream_collapse", "collapse_by_layer"))

# %% [markdown]
# A2-width holds at lab only because of the two iNaturalist models: without them we detect no relation between NC1 and accuracy
# at equal width. At demo the intervals say what other networks made by the same recipes would give, at lab what other tasks
# would give. They say nothing about other models. Fourteen models of five or six families are too few for conclusions about
# families.
#
# ## Is it the same on your machine?
#
# Here we measure a small cell of each study again, now and from scratch, and compare it with its record. {ref}`processors`
# explains the tolerances, and why the new numbers appear only on the built page of the book.

# %% tags=["live"]
run.live({"downstream_collapse": measure, "collapse_by_layer": measure_layers})

# %% [markdown]
# ## What differs from the paper
#
# The paper's claim is about pre-trained networks of full size; its tables are not reproduced here. Our models are small. At
# demo they are networks with about a hundred features, trained on letters. At lab they are MobileNets, SqueezeNets and their
# relatives, most of them with weights of 8 bits, and the data sets are reduced: Flowers102 to 18 training and 8 test images a
# class, CIFAR-10 to a JPEG copy. Two draws of flowers or textures overlap, since each takes most of these images. The tests of
# layers, few shots, width and the other rivals are ours, and so are the probe, the strengths of its penalty and the few-shot
# protocol.
#
# NC1 follows the formula of the authors' code, with the pseudo-inverse of the variance between the classes. Use NC1 only to
# compare models on the same classes, and with care where they differ in width.
#
# ## On your own
#
# 1. Suppose you can afford to probe some of the models, those with the lowest NC1 first. How many must you probe until one is
#    within a point of the best? And how many if you follow another order?


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def probes(part, order):
    """The place of the first model within a point of the best."""
    ordered = part.sort_values(order, ascending=order not in SIZES)["accuracy"]
    return (ordered >= ordered.max() - 0.01).to_numpy().argmax() + 1


def at_random(part):
    """The same place, on average over all orders of the models."""
    near = (part["accuracy"] >= part["accuracy"].max() - 0.01).sum()
    return (len(part) + 1) / (near + 1)


by_order = {}
for name, rows in tables.items():
    each, found = rows.groupby(["task", "seed"])[[*rows]], by_order.setdefault(name, {})
    for order in ("nc1", "directional_cdnv", "cdnv", "parameters"):
        found[(LABELS | SIZES)[order]] = each.apply(probes, order).mean()
    found["at random"] = each.apply(at_random).mean()
pd.DataFrame(by_order).round(1)

# %% [markdown]
# 2. Correlate NC1 and accuracy over all models and all tasks at once instead of within each task. What do you measure then?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
for name, rows in tables.items():
    pooled = -rows["nc1"].corr(rows["accuracy"], method="spearman")
    within = downstream.correlation(downstream.ranked_by(rows, "nc1")).value
    print(f"{name}: {pooled:.2f} over everything, {within:.2f} within tasks")
# You also measure how tasks differ, which does not help to choose a model. It flatters NC1
# where easy tasks collapse more, and hides the relation within tasks where they do not.

# %% [markdown]
# ## Rerun it at scale
#
# To use your own models, give a module that registers them with timm (its name or its path) in `imports`, and their names in
# `models`. To use your own data, give folders of images with a sub-folder for each class in `tasks`. The lab's models do not
# come with this book: they are small public models, registered by such a module. Results are recorded by the names of the
# models and by the images, so give new weights a new name.
#
# ```bash
# .venv/bin/papermill notebooks/04_collapse_on_the_downstream_data.ipynb out.ipynb -p scale lab \
#     -p imports '["my_models.py"]' -p models '["my_resnet", "torchvision:resnet50"]' \
#     -p tasks '["folder:~/photos", "flowers102"]' -p data_root ~/data -p device cuda
# ```
#
# The verdicts stay those of the scale's own models. `-p scale paper` takes the ImageNet models of torchvision and timm, by
# their usual names, on ten data sets of torchvision. The data root must hold the data sets; `nclib.load(name, download=True)`
# fetches one.
