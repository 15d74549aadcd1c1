# %% [markdown]
# (downstream)=
# # Find the model that transfers by its collapse on your data
#
# **The claims.** Chapter 2 looked at collapse on the data a network was trained on. Li et al. found something more
# useful: the more the features of a pre-trained model collapse on the {term}`downstream` training data, the higher the
# accuracy of a linear {term}`probe` of them (A2) {cite}`li2022,li2024`. The second half of the claim, on ways of
# fine-tuning, belongs to the next chapter.
#
# **What we find.** For models it holds: on every task of both scales models with lower NC1 tend to be more accurate,
# with a mean rank correlation of {glue:text}`demo all NC1 value:.2f` at demo and {glue:text}`lab all NC1 value:.2f` at
# lab, and {glue:text}`demo all NC1 given value:.2f` and {glue:text}`lab all NC1 given value:.2f` at equal width. (At
# lab two models that were trained on birds and insects decide that; among those trained on ImageNet width ranks as
# well as NC1.) NC1 is one of several things that say so. Directional CDNV, which like NC1 looks only where class means
# differ, ranks models at least as well; among networks of one kind accuracy on the source chooses as well. The trace
# ratio and CDNV rank models of different architectures poorly. For the layers of a network the claim fails at demo, where
# the last blocks go on collapsing and lose accuracy, and holds weakly at lab, where depth explains most of it. In
# practice, choose a model by the lowest NC1 or directional CDNV: it falls {glue:text}`demo lost lowest NC1:.1f` points short of the best at demo and
# {glue:text}`lab lost lowest NC1:.1f` at lab; the widest model falls {glue:text}`demo lost widest:.1f` and
# {glue:text}`lab lost widest:.1f` short, the one with the most parameters {glue:text}`demo lost most parameters:.1f`
# and {glue:text}`lab lost most parameters:.1f`, one at random {glue:text}`demo lost at random:.1f` and
# {glue:text}`lab lost at random:.1f`. If you can afford to probe all of them, do: that takes no more than the same
# features.
#
# **How we test it.** Each model is frozen and shown the training images of a task. We measure how far its last-layer
# features collapse on them, and fit a linear probe to the same features; its accuracy is that on the task's test
# images. At *demo* the models are networks like those of {ref}`source`, each made by a *recipe* that differs in one
# setting from the *base*, and the tasks are scripts and digits. At *lab* they are fourteen small convolutional networks
# trained on ImageNet (two of them on iNaturalist); the tasks are photographs, textures, clothes, digits, and
# five alphabets of Omniglot, which we did not explore. We ask, in this order,
#
# 1. whether the models with the lowest NC1 transfer best, and whether a simpler thing says the same: other measures of
#    collapse, the width of the features, the number of parameters, accuracy on the source,
# 2. how much accuracy a user gains by choosing so,
# 3. whether NC1 says what a few labelled images will do,
# 4. whether the least collapse finds the best layer of a model.
#
# All correlations of this chapter are rank correlations of accuracy and an *order*: lowest NC1 first, widest first, and
# so on. So 1 is the order of accuracy, and in the figures the claim holds on the right. (The verdicts keep the sign of
# NC1, by which the claim holds below zero.)

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
import torch

import nclib
from nclib.experiments.chapters import downstream
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
# A seed of the demo is a network trained anew, and its verdicts have an interval over ten of them. The lab's models are
# the same with every seed, which is a draw of the images of each task; its verdicts take the mean of two draws, and have
# an interval over tasks.
#
# ## Do models with lower NC1 transfer better?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "On every task models with lower NC1 tend to be more accurate. Test accuracy of a linear probe against NC1 on the task's training images. One point a model, the mean over its seeds; one panel a task. Colours and markers are what a recipe varies (demo) or families of models (lab). Left is more collapsed.", "name": "fig-models"}, "image": {"alt": "Accuracy falls as downstream NC1 grows, in every panel, most evenly on the letters of the demo. One panel a task: five of the demo and ten of the lab."}}
figures.task_panels(tables, "nc1", "accuracy")
plt.show()

# %% [markdown]
# NC1 is one of five measures of collapse that could rank models, all lower where features are more collapsed. The
# *trace ratio* divides total within-class by total between-class variance, *CDNV* does so for pairs of classes, and *VCI*
# says how much of the total variance is not between classes. *NC1* measures the within-class variance along each
# direction in which class means differ, divided by their variance there, and *directional CDNV* the variance of two
# classes along the line between their means only. [Which NC1 is that?](../book/metrics.md) has the formulas.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Spread along the line between two class means is in the way of a linear probe, spread across it is not: NC1 and directional CDNV tell the two apart, the trace ratio and CDNV do not. Two classes in a plane, with their means.", "name": "fig-clouds"}, "image": {"alt": "Two classes have the same distance and the same spread twice. On the left they spread towards each other, and NC1 is high; on the right they spread side by side, and NC1 is low. The trace ratio and CDNV are the same."}}
angles = torch.arange(24) * torch.pi / 12
ring = torch.stack([angles.cos(), angles.sin()], dim=1)
means = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
samples = {}
for where, spread in {"along": [0.8, 0.2], "across": [0.2, 0.8]}.items():
    points = means[:, None] + torch.cat([ring, ring / 2]) * torch.tensor(spread)
    found = nclib.measure(
        points.flatten(0, 1),
        torch.arange(2).repeat_interleave(48),
        metrics=("nc1", "directional_cdnv", "nc1_ratio", "cdnv"),
    )
    said = "NC1 {:.3f}, directional CDNV {:.3f}\ntrace ratio {:.2f}, CDNV {:.2f}"
    samples[f"spread {where} the line\n{said.format(*found.values())}"] = points
figures.clouds(samples)
plt.show()

# %% [markdown]
# Beside them stand three things that need no downstream data: the number of features (width), the number of parameters,
# and for networks of the demo accuracy on the source, which chapter 2 measured for those recipes and seeds that both
# chapters have. The wide models may be both more collapsed and better; so we compare models at equal width, too, as far as
# a partial correlation can tell.

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
    """All models, and the part of them that differs in how, not how far, they were trained, or that is wide."""
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At every scale NC1 ranks models, at equal width as well; directional CDNV does at least as well, sizes rank them much worse. Rank correlation of accuracy with orders of the models: lowest first for measures of collapse, highest first for the three below. Large points are means over tasks with 95% intervals, as of the verdicts; faint points are tasks. Source accuracy is that of the models that chapter 2 has, too.", "name": "fig-orders"}, "image": {"alt": "NC1, directional CDNV and CDNV lie far to the right of zero in all four panels, as they are and at equal width. The trace ratio, VCI, width and the number of parameters lie further left. Each row is a way to order models."}}
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
# The families of the lab, one by one, and all models but those of iNaturalist, whose source data are birds and insects:


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
            ):  # of four models nothing would be left
                ranks = downstream.ranked_by(part, order, given=given)
                row[label] = str(downstream.correlation(ranks))
                glue(f"{name} {family} {label}", downstream.correlation(ranks))
pd.DataFrame(by_family).T.fillna("").rename_axis("rank correlation with accuracy")

# %% [markdown]
# **What we see** ({numref}`fig-models`, {numref}`fig-orders`). The order of NC1 has a rank correlation with accuracy
# of {glue:text}`demo all NC1 value:.2f` [{glue:text}`demo all NC1 low:.2f`, {glue:text}`demo all NC1 high:.2f`] at
# demo and {glue:text}`lab all NC1 value:.2f` [{glue:text}`lab all NC1 low:.2f`, {glue:text}`lab all NC1 high:.2f`] at
# lab. The five alphabets, which we did not explore, have {glue:text}`lab new NC1 value:.2f`.
#
# - *Training length* does part of it at demo: a barely trained network neither collapses nor transfers. Among the
#   {glue:text}`demo usual models` models that were trained as long as the base the correlation is
#   {glue:text}`demo usual NC1 value:.2f`.
#
# - *Width* does not explain it: at equal width NC1 has {glue:text}`demo all NC1 given value:.2f` at demo and
#   {glue:text}`lab all NC1 given value:.2f` at lab, where width alone has {glue:text}`demo all width value:.2f` and
#   {glue:text}`lab all width value:.2f`. But at lab that rests on the two iNaturalist models, which are less collapsed
#   than the others of their width, and the worst on most tasks. Without them width has
#   {glue:text}`lab without iNaturalist width value:.2f` beside NC1's
#   {glue:text}`lab without iNaturalist NC1 value:.2f`, and at equal width NC1 keeps
#   {glue:text}`lab without iNaturalist NC1 at equal width value:.2f`
#   [{glue:text}`lab without iNaturalist NC1 at equal width low:.2f`,
#   {glue:text}`lab without iNaturalist NC1 at equal width high:.2f`]: the wide models are the better and the more
#   collapsed ones, and among ImageNet models of one width these twelve cannot say whether NC1 chooses. Within either
#   family of four, too, NC1 orders the models no better than width does.
#
# - *The number of parameters* has {glue:text}`demo all parameters value:.2f` and
#   {glue:text}`lab all parameters value:.2f`. The largest network of the demo, which is the deepest, transfers worse
#   than most; the largest of the lab is among the best.
#
# - *Source accuracy*, which chapter 2 measured for {glue:text}`demo all known` of the demo's models, has
#   {glue:text}`demo all source accuracy value:.2f` [{glue:text}`demo all source accuracy low:.2f`,
#   {glue:text}`demo all source accuracy high:.2f`]; among the same models NC1 has
#   {glue:text}`demo all known NC1 value:.2f` [{glue:text}`demo all known NC1 low:.2f`,
#   {glue:text}`demo all known NC1 high:.2f`]. Whoever has the source data can rank networks of one kind nearly as well
#   without a look at the task.
#
# - *Directional CDNV* ranks models better than NC1 at demo, by {glue:text}`demo all behind directional CDNV value:.2f`
#   [{glue:text}`demo all behind directional CDNV low:.2f`, {glue:text}`demo all behind directional CDNV high:.2f`],
#   and at lab has {glue:text}`lab all directional CDNV value:.2f` [{glue:text}`lab all directional CDNV low:.2f`,
#   {glue:text}`lab all directional CDNV high:.2f`]. It looks at the line between two means, too, and needs no inverse,
#   which NC1 pays for where there are few images or as many classes as features.
#
# - *The trace ratio and CDNV* count spread in all directions, also where it is in nobody's way ({numref}`fig-clouds`).
#   Among the demo's networks, which are alike, CDNV ranks about as well as NC1 and the trace ratio worse. The lab's
#   models the trace ratio hardly ranks ({glue:text}`lab all trace ratio value:.2f`
#   [{glue:text}`lab all trace ratio low:.2f`, {glue:text}`lab all trace ratio high:.2f`]), and CDNV poorly
#   ({glue:text}`lab all CDNV value:.2f` [{glue:text}`lab all CDNV low:.2f`, {glue:text}`lab all CDNV high:.2f`]). A
#   linear probe scales directions as it likes, and so sides with NC1.
#
# - *VCI* ranks the demo's models at least as well as NC1, the lab's worse ({glue:text}`lab all VCI value:.2f`). Where
#   there are fewer images than features it is zero whatever the features are, and ranks by width.
#
# So lower collapse goes with better transfer, measured where class means differ. That it is NC1 that counts, and not
# what NC1 and directional CDNV share, nothing here says.
#
# ## What do you gain by choosing so?
#
# On each task we take the model with the lowest NC1, and ask by how many points of accuracy it falls short of the best
# model. We do the same with the other orders, and with a model drawn at random; of several models that come first, such as
# the widest, we take the mean.


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
# **What we see.** At demo the model of lowest NC1 falls {glue:text}`demo lost lowest NC1:.1f` points short of the best
# one, the widest {glue:text}`demo lost widest:.1f`, and a model at random {glue:text}`demo lost at random:.1f`, much
# of it by those that were barely trained. Directional CDNV, CDNV and source accuracy lose about as little as NC1. At
# lab NC1 loses {glue:text}`lab lost lowest NC1:.1f` points, the widest model {glue:text}`lab lost widest:.1f`, and one
# at random {glue:text}`lab lost at random:.1f`. (The two iNaturalist models are among the widest.) The model with the
# most parameters loses {glue:text}`lab lost most parameters:.1f` there, which is
# {glue:text}`lab more lost most parameters` more than NC1. So choosing by NC1 is worth several points against chance,
# and protects against the wrong notion of size: width is a poor guess at lab, the number of parameters at demo.
# Against directional CDNV we see no gain. Its cost is one pass over the training images; a probe of the same features,
# whose validation says directly which model is best, costs little more.
#
# ## Few shots

# %% tags=["hide-input"] mystnb={"figure": {"caption": "NC1 of all training images ranks models about as well for a few labelled images as for all of them. Rank correlation of accuracy from 1, 5 and 20 images of a class (nearest class mean) and from all (linear probe) with the order of NC1 and of width, the mean over tasks, with 95% intervals as of the verdicts.", "name": "fig-shots"}, "image": {"alt": "For each scale NC1 stays about as high for 1, 5 and 20 shots as for all images, and lies far above width."}}
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
# **What we see** ({numref}`fig-shots`). From one image of a class NC1 has {glue:text}`shots demo, NC1 accuracy_1:.2f`
# (demo) and {glue:text}`shots lab, NC1 accuracy_1:.2f` (lab), from twenty {glue:text}`shots demo, NC1 accuracy_20:.2f`
# and {glue:text}`shots lab, NC1 accuracy_20:.2f`. It needs the labels of all images, though: this is a relation, not a
# way to choose a model with twenty labels.
#
# ## Across layers
#
# The same for the blocks of one model: does the most collapsed layer transfer best? At demo the model is the deepest
# recipe, at lab each of the bank in turn.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "CDNV mostly falls with depth; NC1 explodes where the width of a layer meets the number of classes. Probe accuracy and, below it, NC1 and CDNV from the first block (0) to the last layer (1), for five tasks of each scale. Lines are medians over models and seeds, bands reach from the lowest to the highest.", "name": "fig-layers"}, "image": {"alt": "With depth accuracy rises and CDNV mostly falls. NC1 falls too, but for high peaks early in the networks on some scripts, and on the flowers, where it rises. One column a task, two rows a scale."}}
figures.depth_panels(layers, "accuracy", ["nc1", "cdnv"])
plt.show()

# %% [markdown]
# NC1 is a sum over the directions in which class means differ. There are at most as many as features, or as classes less
# one, so a layer narrower than that has few terms to sum and looks collapsed. Where the two numbers meet some directions
# have hardly any variance between classes; its inverse explodes, and NC1 with it. So from here on only layers with more
# features than classes count. Depth is the null rival: deeper layers collapse more, and transfer better, whether or not the
# one has to do with the other.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At equal depth NC1 says little about which layer transfers best: weakly the right thing at lab, and the wrong thing on two scripts of the demo. Rank correlation of accuracy with the order of a model's layers by NC1, lowest first: as they are, and at equal depth. Intervals of tasks are over networks (demo) or models (lab), those of their mean as of the verdict.", "name": "fig-depth"}, "image": {"alt": "As they are, layers that collapse more are the more accurate on all tasks of the lab, and the less accurate on three scripts of the demo. At equal depth all intervals come close to zero."}}
figures.orders_of_layers(layers)
plt.show()

# %% tags=["hide-input"]
layer_choices = {
    "with the lowest NC1": "nc1",
    "with the lowest NC1, of those wider than the classes": "wide_nc1",
    "with the lowest CDNV": "cdnv",
    "that is last": "left",
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
# **What we see** ({numref}`fig-layers`, {numref}`fig-depth`). At demo the claim fails. Among the wide layers, which
# are those of the last stages, the order of NC1 has {glue:text}`layers demo wide_nc1 value:.2f`
# [{glue:text}`layers demo wide_nc1 low:.2f`, {glue:text}`layers demo wide_nc1 high:.2f`], and at equal depth
# {glue:text}`layers demo given depth value:.2f` [{glue:text}`layers demo given depth low:.2f`,
# {glue:text}`layers demo given depth high:.2f`]. On three scripts NC1 still falls when accuracy has turned down: the
# best layer lies at {glue:text}`best depth demo:.2f` of the depth, and in {glue:text}`best last demo:.0%` of the cases
# it is the last. Presumably the last blocks collapse, for the letters they were trained on, what another script needs.
#
# At lab the claim holds. Most layers are wider than the number of classes, and among these NC1 falls with depth as
# accuracy rises ({glue:text}`layers lab wide_nc1 value:.2f`). But the number of layers still to come says more
# ({glue:text}`layers lab left value:.2f`), and at equal depth NC1 keeps only
# {glue:text}`layers lab given depth value:.2f` [{glue:text}`layers lab given depth low:.2f`,
# {glue:text}`layers lab given depth high:.2f`].
#
# As a choice of a layer none of these does well at lab. The layer with the lowest NC1 loses
# {glue:text}`layer lost lab nc1:.1f` points there, mostly since it may be a narrow one; of the layers wider than the
# number of classes it loses {glue:text}`layer lost lab wide_nc1:.1f`, the layer with the lowest CDNV
# {glue:text}`layer lost lab cdnv:.1f`, and the last layer {glue:text}`layer lost lab left:.1f`. At demo they lose about
# as much as each other ({glue:text}`layer lost demo nc1:.1f`, {glue:text}`layer lost demo cdnv:.1f` and
# {glue:text}`layer lost demo left:.1f` for NC1, CDNV and the last). In practice, probe the last few blocks.
#
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study=("downstream_collapse", "collapse_by_layer"))

# %% [markdown]
# The intervals speak of these models, and of no others: at demo of other networks made by the same recipes, at lab of other
# tasks. Fourteen models of five or six families are too few to speak of families.
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
# at demo networks of about a hundred features on letters, at lab MobileNets, SqueezeNets and their relatives, most of
# them with weights of 8 bits, on reduced versions of the data sets (of Flowers102 18 + 8 images a class, of CIFAR-10 a JPEG
# copy). Draws of flowers and of textures overlap, since most of these images are used. Layers, few shots, width and the
# other null rivals are ours, as are the probe, its strengths and the few-shot protocol.
#
# NC1 follows the formula of the authors' code, with the pseudo-inverse of the variance between the classes. It
# compares models on the same classes only, and with care where they differ in width. VCI is zero, whatever the features
# are, where there are fewer images than features.
#
# ## On your own
#
# 1. Suppose you can afford to probe some of the models. How many must you probe, those of the lowest NC1 first, until one is
#    within a point of the best? And by the other orders?


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def probes(part, order):
    """The place of the first model within a point of the best."""
    ordered = part.sort_values(order, ascending=order not in SIZES)["accuracy"]
    return (ordered >= ordered.max() - 0.01).to_numpy().argmax() + 1


def at_random(part):
    """The same on average over all orders."""
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
# 2. Correlate NC1 and accuracy over all models and all tasks together, in place of within each task. What do you measure
#    then?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
for name, rows in tables.items():
    pooled = -rows["nc1"].corr(rows["accuracy"], method="spearman")
    within = downstream.correlation(downstream.ranked_by(rows, "nc1")).value
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
