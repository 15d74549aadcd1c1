# %% [markdown]
# (geometric-complexity)=
# # Ask whether complexity is the dial behind collapse
#
# **The claims.** The *geometric complexity* of an embedding says how far the features of an image move when the image moves a
# little. Munn, Dherin and Gonzalvo report that what changes it during pre-training changes collapse the same way: a higher
# learning rate, a smaller batch and more L2 regularisation each lower both (B1). This carries over to classes never seen, with
# higher {term}`few-shot` accuracy (B2). Complexity bounds collapse (B3), is cheap to estimate (B4), and a penalty on it lowers
# both (B5) {cite}`munn2024`.
#
# **What we find.** Over settings of training complexity and collapse do go together: a higher rate or a smaller batch lowers
# both, on letters and on real images. But complexity is not the dial. A penalty that lowers complexity a hundredfold hardly moves
# collapse, while forcing collapse lowers complexity threefold with every kind of network (B6, ours). Whether lower complexity
# goes with better transfer depends on the network: with batch norm it does; without it we see no such link on letters, and the
# opposite on real images. The bound holds, but is so loose that it says little: it does not tell which classes of a network
# spread more. In practice, estimate complexity from two random projections of a few images, and do not take it for a measure of
# collapse or of transfer.
#
# **How we test it.** Small networks learn one source, each setting of their training varied while the others stay. At *demo*
# scale it is a script; a ResNet, a VGG, and a VGG with batch norm tell depth from normalisation. At *lab* scale it is clothes,
# digits or photographs. Networks that learned for a fixed time are not equally far: one with a small rate is simply undertrained.
# So we compare them at {term}`matched loss`, where their training loss has fallen to the same value. We ask, in this order,
#
# 1. whether rate, batch size and L2 turn complexity and collapse of the source together, and what that does to new classes,
# 2. whether collapse is bounded by complexity, along the training and class by class,
# 3. how little it takes to estimate complexity,
# 4. which moves which: complexity is penalised, and collapse is forced.

# %% tags=["parameters"]
scale: str = (
    "demo"  # demo: data that needs no download; lab, paper: real data of a data root
)
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
recompute: bool = False  # True: all, beside the records; failed: those that failed
smoke: bool = False  # a cell of each kind, with few images, to see whether all works

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from torch.nn.functional import cross_entropy

import nclib
from nclib.experiments.cells import recipe_of
from nclib.experiments.chapters import complexity
from nclib.experiments.claims import FACTOR, POINT
from nclib.experiments.figures import complexity as figures
from nclib.experiments.inference import by_panel
from nclib.experiments.prose import glue
from nclib.experiments.studies import score_card, verdicts_by_scale

own = {"recompute": recompute, "smoke": smoke}
run = nclib.start(scale, device=device, seeds=seeds, data_root=data_root, **own)

# %% [markdown]
# ## Complexity and CDNV
#
# Let $J(x)$ be the {term}`Jacobian` of the features of an image $x$: their derivatives by its pixels. Geometric complexity is the
# mean of $\lVert J(x) \rVert_F^2$ over the training images. We measure collapse by {term}`CDNV`, the mean over pairs of classes
# of
#
# $$ \frac{V_i + V_j}{2 \lVert \mu_i - \mu_j \rVert^2}, $$
#
# where $\mu_i$ is the mean of the features of class $i$ and $V_i$ their mean squared distance from it. Less is more collapsed.
#
# Why not NC1, as in the chapters before? Because the claim is about variances. A Poincaré inequality bounds $V_i$ by a constant
# times the complexity $G_i$ on images of class $i$, so it bounds CDNV: by that constant times the *geometric collapse*, which is
# CDNV with $G_i$ in the place of $V_i$. NC1 has no such bound. It divides by the variance between class means direction by
# direction, so that one direction in which these hardly differ makes it large, however little features spread. We measure NC1,
# too, and say where it disagrees.
#
# Complexity depends on the scale of features, and CDNV does not: double all features, and complexity is four times as large.
# Geometric collapse is free of scale. We therefore ask for the link of CDNV with either (B1-link and B1-scaled).
#
# ## Measure
#
# A cell of the study is one network, trained from nothing. Along its training we measure its training loss, the collapse of its
# features on the training images, and their complexity on a few of these a class. At the two epochs that the loss of comparison
# falls between, and at the end, we try it on new classes, too: in episodes of five classes with five images each to learn from,
# and all others of these classes as queries.


# %% tags=["hide-input"]
def features_and_loss(network, images):
    """The features of the training images, and the cross-entropy on them."""
    features = nclib.extract(network.backbone, images.inputs(run.device))
    logits = network.classifier(features).detach()
    return features, float(cross_entropy(logits, images.labels.to(run.device)))


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def loaded(network, state):
    network.load_state_dict(state)
    return network


def new_classes(name, like, per_class):
    """Images of classes that a network has not seen, in the form of those it has."""
    images = run.load(name, "train", per_class=per_class)
    return images.in_memory(like.images.shape[-1])


# %%
def look_at(network, images, few):
    """Loss, complexity and collapse on the source."""
    features, loss = features_and_loss(network, images)
    stats = nclib.class_statistics(features, images.labels)
    complexity = nclib.geometric_complexity(
        network.backbone, few.inputs(run.device), method="rademacher", number=2
    )
    by_class = complexity.by_class(few.labels)
    return {
        "loss": loss,
        "complexity": complexity.value,
        "cdnv": nclib.cdnv(stats),
        "nc1": nclib.nc1(stats),
        "geometric_collapse": nclib.geometric_collapse(stats, by_class),
    }


def each_class(network, images):
    """The variance of the features of each class of the source, and their complexity, on all its images."""
    inputs = images.inputs(run.device)
    stats = nclib.class_statistics(
        nclib.extract(network.backbone, inputs), images.labels
    )
    found = nclib.geometric_complexity(
        network.backbone, inputs, method="rademacher", number=4
    )
    return {
        "variance_by_class": stats.class_variances.tolist(),
        "complexity_by_class": found.by_class(images.labels).tolist(),
    }


def transfer(network, new, episodes):
    """Collapse and few-shot accuracy on new classes, means over the sets of them, and half the accuracy's interval."""
    collapse, accuracy = [], []
    for images in new:
        features = nclib.extract(network.backbone, images.inputs(run.device))
        collapse.append(nclib.cdnv(nclib.class_statistics(features, images.labels)))
        options = {"shots": 5, "queries": None, "episodes": episodes}
        accuracy.append(nclib.few_shot(features, images.labels, **options))
    halves = [each.high - each.value for each in accuracy]
    return {
        "target_cdnv": float(np.mean(collapse)),
        "accuracy_5": float(np.mean([each.value for each in accuracy])),
        "accuracy_5_half": float(np.linalg.norm(halves)) / len(new),
    }


def trained(cell, recipe, images):
    """The network of a recipe, its weights at the epochs measured, and on both sides of the loss of comparison."""
    seen, comparison, before = [], [], None

    def keep(epoch, network):
        nonlocal comparison, before
        if epoch in cell["measured_epochs"]:
            seen.append(weights(network))
        if not comparison:
            now = weights(network)
            if features_and_loss(network, images)[1] <= cell["loss_of_comparison"]:
                comparison = [before, now]
            before = now

    return run.train(recipe, on_epoch=keep, progress=False), seen, comparison


def measure(cell, cache):
    """Curves along the training of a network, what it is about the loss of comparison, and transfer there and then."""
    recipe = recipe_of(cell)
    images = run.load(recipe.source, "train", per_class=recipe.per_class).in_memory(
        recipe.size
    )
    few = images.take(cell["of_class"])
    new = [new_classes(name, images, cell["new_per_class"]) for name in cell["new"]]
    network, seen, comparison = trained(cell, recipe, images)
    curves = [look_at(loaded(network, each), images, few) for each in seen]
    matched = [
        look_at(loaded(network, each), images, few)
        | transfer(network, new, cell["episodes"])
        for each in comparison
    ]
    loaded(network, seen[-1])
    names = (*complexity.CURVES, *complexity.TRANSFER)
    return {
        **pd.DataFrame(curves).to_dict("list"),
        **{f"matched_{name}": [each[name] for each in matched] for name in names},
        **transfer(network, new, cell["episodes"]),
        **each_class(network, images),
        "poincare": nclib.poincare_constant(
            images.inputs(run.device), images.labels, cache=cache
        ),
    }


# %% tags=["hide-input"]
WAYS = {
    "samples": lambda n: {"samples": n},
    "entries": lambda share: {"method": "entries", "share": share},
    "outputs": lambda n: {"method": "outputs", "number": n},
    "rademacher": lambda n: {"method": "rademacher", "number": n},
}


def true_complexity(cell, network, inputs):
    """Exact or, where the cell says so, from projections to a small relative error."""
    if "truth_error" not in cell:
        return nclib.geometric_complexity(network, inputs).value
    options = {"method": "rademacher", "relative_error": cell["truth_error"]}
    return nclib.geometric_complexity(network, inputs, **options).value


def truth_checked(cell, network, inputs):
    """How far projections are from what is exact, of a few images, where they stand in for it."""
    if "truth_error" not in cell:
        return {}
    exact = nclib.geometric_complexity(network, inputs).value
    return {"truth_apart": true_complexity(cell, network, inputs) / exact - 1}


def estimate(cell, cache):
    """Relative errors of estimates of a network's complexity, and those they state."""
    recipe = recipe_of(cell)
    network = run.train(recipe, cache=cache, progress=False).backbone
    images = run.load(recipe.source, "train", per_class=recipe.per_class).in_memory(
        recipe.size
    )
    few, many = (
        each.inputs(run.device) for each in (images.take(cell["of_class"]), images)
    )
    first = int(recipe.key[:7], 16)  # every network has draws of its own
    of_all = {"method": "rademacher", "number": cell["projections_of_all"]}
    truth = [
        true_complexity(cell, network, few),
        nclib.geometric_complexity(network, many, **of_all).value,
    ]
    metrics = defaultdict(list)
    for way, option in WAYS.items():
        inputs, exact = (many, truth[1]) if way == "samples" else (few, truth[0])
        for amount in cell[way]:
            found = [
                nclib.geometric_complexity(network, inputs, seed=seed, **option(amount))
                for seed in range(first, first + cell["repeats"])
            ]
            errors = [each.value / exact - 1 for each in found]
            stated = [each.standard_error / exact for each in found]
            metrics[f"{way}_error"].append(complexity.rms(errors))
            metrics[f"{way}_stated"].append(complexity.rms(stated))
    one = images.take(1).inputs(run.device)
    return dict(metrics) | truth_checked(cell, network, one)


STUDIES = {
    "geometric_complexity": measure,
    "complexity_penalty": measure,
    "dialled_complexity": measure,
    "complexity_estimates": estimate,
}
studies = {study: run.study_by_scale(study, how) for study, how in STUDIES.items()}

# %% [markdown]
# ## Three settings of training

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A higher learning rate and a smaller batch lower CDNV in every network, and complexity where there is normalisation; L2 does less. Complexity and CDNV of the source over each setting, at matched training loss and demo scale; geometric means over seeds, with 95% t intervals.", "name": "fig-dials"}, "image": {"alt": "Complexity falls with the learning rate, rises with the batch size and falls a little with L2; so does CDNV, less steeply. Where there is no normalisation, complexity hardly moves. Three columns of line charts."}}
NAMES = {
    "learning_rate": "learning rate",
    "batch_size": "batch size",
    "weight_decay": "L2 strength",
    "complexity": "complexity",
    "cdnv": "CDNV, source",
}
tables = studies["geometric_complexity"]
matched = {name: complexity.at_matched_loss(rows) for name, rows in tables.items()}
figures.dials({run.scale: matched[run.scale]}, NAMES)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "On the source the settings mostly do what the paper says; on new classes only in networks with normalisation. What a setting changes over its sweep, turned the way that is said to lower complexity: complexity, CDNV of the source and of new classes, each as a factor (left of 1: lower), and 5-way 5-shot accuracy on new classes (right of 0: higher). A row a source and kind of network, black their mean at a scale, with 95% intervals; the grey band is the smallest effect.", "name": "fig-dial-contrasts"}, "image": {"alt": "On the source most points lie on the side of the paper, to the left. On new classes those of ResNets and of VGGs with batch norm do so, too, while those of VGGs without it lie on the other side. Three rows, for learning rate, batch size and L2."}}
judged = verdicts_by_scale(run.records, [*STUDIES])
DIALS = {
    "higher learning rate": "rate",
    "smaller batch": "batch",
    "more L2": "l2",
}
EFFECTS = {
    "B1-{}-complexity": "complexity",
    "B1-{}-collapse": "CDNV, source",
    "B2-{}-collapse": "CDNV, new classes",
    "B2-{}-accuracy": "accuracy, new classes",
}
grid = {
    title: [key.format(setting) for key in EFFECTS] for title, setting in DIALS.items()
}
figures.claims_by_panel(judged, grid, [*EFFECTS.values()])
plt.show()

# %% tags=["remove-cell"]
BY_PANEL = (  # what the text tells apart
    "B1-link",
    "B2-rate-collapse",
    "B2-rate-accuracy",
    "B2-accuracy",
    "B3-classes",
    "B5-collapse",
)
for name, verdicts in judged.items():
    for each in filter(lambda verdict: verdict.defined, verdicts):
        panels = each.panels if each.claim.key in BY_PANEL else {}
        for panel, value in {"mean": each.estimate, **panels}.items():
            shown = {FACTOR: np.exp(value.value), POINT: 100 * value.value}
            found = shown.get(each.claim.smallest, value.value)
            glue(f"{name} {each.claim.key} {panel}", found)
for name, rows in matched.items():
    whole = len(tables[name])
    glue(
        f"{name} came",
        f"all {whole}" if len(rows) == whole else f"{len(rows)} of {whole}",
    )
    for metric in ("complexity", "cdnv"):
        by_rate = complexity.doubled(rows, "learning_rate", metric)
        by_batch = complexity.doubled(rows, "batch_size", metric)
        glue(f"{name} {metric} at twice the rate", np.exp(np.log(by_rate).mean()))
        glue(f"{name} {metric} at half the batch", np.exp(-np.log(by_batch).mean()))
        for panel, factor in by_rate.items():
            glue(f"{name} {metric} at twice the rate, {panel}", factor)

# %% [markdown]
# **What we see** ({numref}`fig-dials`, {numref}`fig-dial-contrasts`).
#
# - *Rate and batch* do what the paper says. At demo scale twice the learning rate multiplies complexity by
#   {glue:text}`demo complexity at twice the rate:.2f` and CDNV by {glue:text}`demo cdnv at twice the rate:.2f`; half the batch
#   multiplies them by {glue:text}`demo complexity at half the batch:.2f` and {glue:text}`demo cdnv at half the batch:.2f`. At lab
#   scale twice the rate does so by {glue:text}`lab complexity at twice the rate:.2f` and
#   {glue:text}`lab cdnv at twice the rate:.2f`, half the batch by {glue:text}`lab complexity at half the batch:.2f` and
#   {glue:text}`lab cdnv at half the batch:.2f`. Complexity moves much further than collapse.
# - *L2* does less. Over its whole sweep it multiplies complexity by {glue:text}`demo B1-l2-complexity mean:.2f` at demo and
#   {glue:text}`lab B1-l2-complexity mean:.2f` at lab, and CDNV by {glue:text}`demo B1-l2-collapse mean:.2f` and
#   {glue:text}`lab B1-l2-collapse mean:.2f`.
# - *Depth or normalisation?* On letters twice the rate multiplies the complexity of the ResNet by
#   {glue:text}`demo complexity at twice the rate, Greek, ResNet:.2f`, of the VGG by
#   {glue:text}`demo complexity at twice the rate, Greek, VGG:.2f`, and of the VGG with batch norm by
#   {glue:text}`demo complexity at twice the rate, Greek, VGG with batch norm:.2f`. With batch norm the VGG behaves as the ResNet
#   does: normalisation sets them apart, not depth. The VGG without it collapses further with a higher rate, too (CDNV times
#   {glue:text}`demo cdnv at twice the rate, Greek, VGG:.2f`), at nearly the same complexity.
# - *New classes.* On letters the highest rate, against the lowest, makes them collapse more and gains the ResNet
#   {glue:text}`demo B2-rate-accuracy Greek, ResNet:.0f` points of few-shot accuracy, the VGG with batch norm
#   {glue:text}`demo B2-rate-accuracy Greek, VGG with batch norm:.0f`, and the VGG
#   {glue:text}`demo B2-rate-accuracy Greek, VGG:.0f`. On real images a higher rate makes new classes collapse *less* in VGGs
#   without normalisation (for digits as the source CDNV is {glue:text}`lab B2-rate-collapse MNIST, VGG-11:.2f` times as large)
#   and changes their accuracy by {glue:text}`lab B2-rate-accuracy MNIST, VGG-11:.0f` points. L2 does nothing here that we can
#   see.
#
# Of the networks, {glue:text}`demo came` at demo and {glue:text}`lab came` at lab came to the loss of comparison; any others are
# left out of what is said of it.
#
# ## Do they go together over all settings?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Networks of lower complexity are more collapsed on the source; on new classes that holds on letters, and depends on the network on real images. CDNV of the source and of new classes, and 5-way 5-shot accuracy on new classes, against source complexity at matched training loss. One point a setting of training, its mean over seeds; one row a scale. Colours are kinds of networks, markers sources (at lab: circles CIFAR-10, squares Fashion-MNIST, triangles MNIST).", "name": "fig-link"}, "image": {"alt": "CDNV of the source rises with complexity in every colour. On new classes some clouds rise and others fall, and so does accuracy. Two rows of three panels, in three colours for kinds of networks."}}
COLUMNS = {
    "cdnv": "CDNV, source",
    "target_cdnv": "CDNV, new classes",
    "accuracy_5": "5-shot accuracy, new classes",
}
figures.against_complexity(matched, COLUMNS, NAMES)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Complexity goes with source collapse in nearly every kind of network, and with transfer only in those with normalisation. Rank correlations over all settings, by source and kind of network, black their mean at a scale, with 95% intervals over seeds. Full: at matched loss, as the claims are judged; open: after the same number of epochs. The grey band is the smallest effect.", "name": "fig-links"}, "image": {"alt": "On the source nearly all correlations of complexity and CDNV are positive. On new classes those of networks with normalisation stay positive for CDNV and negative for accuracy, while those of VGGs without it come near zero or change sign."}}
LINKS = {
    "B1-link": ("complexity and\nCDNV, source", "complexity", "cdnv"),
    "B1-scaled": (
        "geometric collapse\nand CDNV, source",
        "geometric_collapse",
        "cdnv",
    ),
    "B2-collapse": ("complexity and\nCDNV, new", "complexity", "target_cdnv"),
    "B2-accuracy": ("complexity and\naccuracy, new", "complexity", "accuracy_5"),
}
at_the_end = {name: complexity.at_the_end(rows) for name, rows in tables.items()}
later = {
    key: {name: complexity.linked(rows, x, y) for name, rows in at_the_end.items()}
    for key, (_, x, y) in LINKS.items()
}
figures.claims_by_panel(
    judged, {"": [*LINKS]}, [title for title, *_ in LINKS.values()], later
)
plt.show()

# %% tags=["remove-cell"]
for name, rows in matched.items():
    for panel, value in complexity.linked(rows, "complexity", "nc1").items():
        glue(f"{name} nc1 {panel}", value.value)
    for panel, of_panel in rows.groupby("panel"):
        decades, points = np.log10(of_panel["complexity"]), 100 * of_panel["accuracy_5"]
        glue(f"{name} decade {panel}", -np.polyfit(decades, points, 1)[0])
for name, found in later["B1-link"].items():
    for panel, value in found.items():
        glue(f"{name} end {panel}", value.value)

# %% [markdown]
# **What we see** ({numref}`fig-link`, {numref}`fig-links`).
#
# - *On the source* complexity and CDNV go together: over all settings, in the mean over panels, the rank correlation is
#   {glue:text}`demo B1-link mean:.2f` at demo and {glue:text}`lab B1-link mean:.2f` at lab. Freed of the scale of the features,
#   it is {glue:text}`demo B1-scaled mean:.2f` and {glue:text}`lab B1-scaled mean:.2f`. The exception is the VGG on photographs
#   ({glue:text}`lab B1-link CIFAR-10 (JPEG copy), VGG-11:.2f`).
# - *NC1* follows complexity less: {glue:text}`demo nc1 Greek, ResNet:.2f` in the ResNet, {glue:text}`demo nc1 Greek, VGG:.2f` in
#   the VGG, and {glue:text}`demo nc1 Greek, VGG with batch norm:.2f` in the VGG with batch norm.
# - *On new classes* of letters lower complexity goes with more collapse and higher accuracy where there is normalisation: a tenth
#   of the complexity is worth {glue:text}`demo decade Greek, ResNet:.0f` points in the ResNet and
#   {glue:text}`demo decade Greek, VGG with batch norm:.0f` in the VGG with batch norm. On real images kinds disagree. With
#   normalisation a tenth of the complexity is worth {glue:text}`lab decade Fashion-MNIST, ResNet:.1f` points on clothes and
#   {glue:text}`lab decade CIFAR-10 (JPEG copy), ResNet:.1f` on photographs in ResNets, and
#   {glue:text}`lab decade Fashion-MNIST, VGG-11 with batch norm:.1f` and
#   {glue:text}`lab decade CIFAR-10 (JPEG copy), VGG-11 with batch norm:.1f` in VGGs with batch norm. In VGGs without
#   normalisation accuracy is higher where complexity is, by a rank correlation of {glue:text}`lab B2-accuracy MNIST, VGG-11:.2f`
#   on digits. Their mean says nothing: read the panels.
# - *After a fixed time* the link on the source is much the same with normalisation, and weaker without: from
#   {glue:text}`demo B1-link Greek, VGG:.2f` it goes to {glue:text}`demo end Greek, VGG:.2f` in the VGG on letters. These networks
#   then differ in how far they are trained.
#
# ## Along the training

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Along one training complexity and collapse need not go together: CDNV always falls, but complexity rises manyfold in VGGs without normalisation. Complexity and CDNV of the source of the base networks over the share of their training, by scale; geometric means over seeds. Colours are kinds of networks, markers sources as in the figures above.", "name": "fig-along"}, "image": {"alt": "CDNV falls in all lines. Complexity falls in ResNets, stays in VGGs with batch norm, and rises manyfold in VGGs without it. Four line charts over the share of the training."}}
figures.along_training(tables, NAMES)
plt.show()

# %% [markdown]
# **What we see** ({numref}`fig-along`). Without normalisation complexity grows while features collapse. So the link above is one
# between networks that are equally far, not one of time.
#
# ## The bound, and whether it says anything

# %% tags=["hide-input"] mystnb={"figure": {"caption": "CDNV stays a hundredfold and more below its bound. CDNV of the source against the Poincaré constant times the geometric collapse, for all epochs of the base networks; on the line they would be equal.", "name": "fig-bound"}, "image": {"alt": "All points lie a hundredfold and more below the line of the bound, and the distance grows with the bound. Two panels on log axes."}}
figures.bound(tables, "CDNV, source")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Within a network the complexity of a class hardly tells how far the class spreads. Rank correlation over classes of complexity and variance at the end of training, mean over networks, by source and kind of network, with 95% intervals over seeds. Open: the negative control, complexities dealt out to other classes. The grey band is the smallest effect.", "name": "fig-classes"}, "image": {"alt": "Most correlations are within or near the smallest effect, and few intervals differ from those of the open points, of complexities dealt out to other classes."}}
control = {
    name: by_panel(complexity.over_classes(complexity.dealt_out(rows)))
    for name, rows in tables.items()
}
title = "complexity and\nvariance of classes"
figures.claims_by_panel(judged, {"": ["B3-classes"]}, [title], {"B3-classes": control})
plt.show()

# %% tags=["remove-cell"]
for name, rows in tables.items():
    ratios = complexity.bound_ratio(rows)
    glue(f"{name} below", 1 / ratios.max())
    glue(f"{name} usually below", 1 / np.median(ratios))

# %% [markdown]
# **What we see** ({numref}`fig-bound`, {numref}`fig-classes`). The bound holds in every network and epoch, by a factor of
# {glue:text}`demo below:.0f` at the nearest and {glue:text}`demo usually below:.0f` in the median at demo,
# {glue:text}`lab below:.0f` and {glue:text}`lab usually below:.0f` at lab. A bound that is met so easily would be met by almost
# anything. If it did say something, it would say it of each class: a class on whose images features hardly move would spread
# little. We therefore order the classes of each network by complexity and by variance. On letters the rank correlation is
# {glue:text}`demo B3-classes Greek, ResNet:.2f` in ResNets, {glue:text}`demo B3-classes Greek, VGG:.2f` in VGGs and
# {glue:text}`demo B3-classes Greek, VGG with batch norm:.2f` in VGGs with batch norm; at lab it is
# {glue:text}`lab B3-classes mean:.2f` in the mean over panels; dealt out at random it is none. So the bound explains little of
# why complexity and collapse go together.
#
# The constant is the largest variance of a class of images along a direction. It is right for a Gaussian with the covariance of
# the class; images are no Gaussians, so the bound is measured here, not proven.
#
# ## How little it takes to estimate it

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A few projections of each image suffice; it is the images that should not be too few. Root mean square relative error of estimates of complexity against how much they take: so many images; such a share of the Jacobian's entries; so many of its rows; so many random projections of each image (log scales). Points: measured, with 95% bootstrap intervals over networks; dashed: the standard error that the estimates state.", "name": "fig-estimates"}, "image": {"alt": "All errors fall as more is taken, from about a tenth to a few hundredths, and full and dashed lines are close together. Four line charts on log axes."}}
WAY_NAMES = {
    "samples": "images",
    "entries": "share of entries",
    "outputs": "outputs",
    "rademacher": "projections",
}
figures.errors_of_estimates(studies["complexity_estimates"], WAY_NAMES)
plt.show()

# %% tags=["remove-cell"]
for name, rows in studies["complexity_estimates"].items():
    for way in WAY_NAMES:
        found = complexity.relative_errors(rows, way)
        for amount, error in zip(found["amount"], found["error"], strict=True):
            glue(f"{name} {way} {amount:g}", 100 * error.value)

# %% [markdown]
# **What we see** ({numref}`fig-estimates`). Two random projections of each image, a thirtieth of the work, give complexity to
# {glue:text}`demo rademacher 2:.0f` per cent at demo and {glue:text}`lab rademacher 2:.0f` at lab. Sixteen of its 64 rows, a
# quarter of the work, give it to {glue:text}`demo outputs 16:.0f` and {glue:text}`lab outputs 16:.0f` per cent. A hundredth of
# the entries gives it to {glue:text}`demo entries 0.01:.0f` and {glue:text}`lab entries 0.01:.0f` per cent, which shows how
# robust it is, but saves no work here. Eight images leave {glue:text}`demo samples 8:.0f` and {glue:text}`lab samples 8:.0f` per
# cent, 64 images {glue:text}`demo samples 64:.0f` and {glue:text}`lab samples 64:.0f`. The stated standard errors are about what
# the errors are. All figures above use two projections of a few images of each class.
#
# ## Which moves which?
#
# Over settings complexity and collapse go together. Is complexity the cause? We turn each alone. A *penalty* on complexity is
# added to the loss, as in the paper (B5). And, as in {ref}`source`, $\lambda$ times the logarithm of the trace ratio is added,
# which prevents collapse ($\lambda < 0$) or forces it (B6). If complexity were the dial, a penalty on it would move collapse.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Forced collapse lowers complexity; a penalty on complexity leaves collapse where it was. By how much CDNV of the source (above) and few-shot accuracy on new classes (below) change with complexity, at the end of training and relative to the same networks without intervention, where the grey lines cross. A line is a source and kind of network, its points strengths of the intervention, the strongest large, with 95% intervals over seeds. One column a scale.", "name": "fig-interventions"}, "image": {"alt": "Blue lines, of forced collapse, go down steeply and some way to the left. Orange lines, of penalised complexity, go far to the left and stay level. Below, forced collapse costs few-shot accuracy."}}
INTERVENTIONS = {
    "collapse forced": ("dialled_complexity", "collapse"),
    "complexity penalised": ("complexity_penalty", "penalty"),
}
figures.interventions(
    {name: studies[study] for name, (study, _) in INTERVENTIONS.items()},
    {name: setting for name, (_, setting) in INTERVENTIONS.items()},
    {
        "cdnv": "CDNV, source: times that without",
        "accuracy_5": "5-shot accuracy, new classes:\npoints above that without",
    },
)
plt.show()

# %% tags=["remove-cell"]
WATCHED = {
    "collapse": ["geometric_collapse", "accuracy_5"],
    "penalty": ["geometric_collapse", "accuracy_5", "nc1", "loss"],
}
for study, setting in INTERVENTIONS.values():
    for name, rows in studies[study].items():
        found = complexity.at_the_end(rows).assign(
            strongest=lambda table, setting=setting: (
                table[setting] == table[setting].max()
            )
        )
        at_ends = found[found["strongest"] | (found[setting] == 0)]
        means = at_ends.groupby(["panel", "strongest"])[WATCHED[setting]].mean()
        for (panel, strongest), row in means.iterrows():
            for metric, value in row.items():
                when = "strongest" if strongest else "none"
                glue(f"{name} {setting} {when} {metric} {panel}", value)

# %% [markdown]
# **What we see** ({numref}`fig-interventions`).
#
# - *Forced collapse* lowers CDNV and complexity in every panel, and preventing it raises both. At the strongest CDNV is
#   {glue:text}`demo B6-collapse mean:.2f` times as large at demo and complexity {glue:text}`demo B6-complexity mean:.2f` times;
#   at lab {glue:text}`lab B6-collapse mean:.2f` and {glue:text}`lab B6-complexity mean:.2f` times. In the VGG features become
#   smaller with it: its geometric collapse, which is free of their scale, goes from
#   {glue:text}`demo collapse none geometric_collapse Greek, VGG:.1f` to
#   {glue:text}`demo collapse strongest geometric_collapse Greek, VGG:.1f`; in the ResNet from
#   {glue:text}`demo collapse none geometric_collapse Greek, ResNet:.1f` to
#   {glue:text}`demo collapse strongest geometric_collapse Greek, ResNet:.1f`.
# - *Penalised complexity* is, at the strongest, {glue:text}`demo B5-complexity mean:.3f` times as large at demo and
#   {glue:text}`lab B5-complexity mean:.3f` at lab, yet CDNV on letters {glue:text}`demo B5-collapse mean:.2f` times, on clothes
#   {glue:text}`lab B5-collapse Fashion-MNIST, VGG-11:.2f` and on photographs
#   {glue:text}`lab B5-collapse CIFAR-10 (JPEG copy), VGG-11:.2f` times. Much of what the penalty does is to make features
#   smaller: geometric collapse goes from {glue:text}`demo penalty none geometric_collapse Greek, VGG:.2f` to
#   {glue:text}`demo penalty strongest geometric_collapse Greek, VGG:.2f` on letters. NC1 even rises there, from
#   {glue:text}`demo penalty none nc1 Greek, VGG:.1f` to {glue:text}`demo penalty strongest nc1 Greek, VGG:.1f`.
# - *On new classes* neither does what collapse would have it do. On letters forced collapse costs the ResNet few-shot accuracy
#   ({glue:text}`demo collapse none accuracy_5 Greek, ResNet:.2f` to
#   {glue:text}`demo collapse strongest accuracy_5 Greek, ResNet:.2f`); penalised complexity gains the VGG some
#   ({glue:text}`demo penalty none accuracy_5 Greek, VGG:.2f` to {glue:text}`demo penalty strongest accuracy_5 Greek, VGG:.2f`),
#   at the same CDNV of the source.
#
# So collapse moves complexity, and complexity hardly moves collapse. A caution: either intervention changes more than what it is
# named for. The strongest penalty keeps the training loss of the VGG on letters at
# {glue:text}`demo penalty strongest loss Greek, VGG:.2f`, against {glue:text}`demo penalty none loss Greek, VGG:.3f` without.
# Such a network is less far trained, which by itself means less collapse. We penalise VGGs without batch norm only: the penalty
# is taken in evaluation mode, where batch norm uses running statistics, so it need not be that of the network in training.
#
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study=[*STUDIES])

# %% [markdown]
# Each seed of each panel, a source and kind of network, is one {term}`replicate`: a rank correlation for a link, the change over
# the sweep for a setting (the slope of a straight line through its values), the strongest penalty or force against none for an
# intervention. Estimates are means over seeds and then panels; intervals are Student's, from the seeds within each panel, and
# panels are taken as they are. Of correlations it is the mean of Fisher's z. Where panels lie on either side beyond chance, the
# verdict is *mixed*. Interventions are judged at the end of training, for not every penalised network comes to the loss of
# comparison.
#
# ## Is it so on your machine?
#
# Here we measure a small cell of each study again, now and from nothing, and compare it with their records. {ref}`processors`
# explains the tolerances, and why the numbers just measured stand on the built page only.

# %% tags=["live"]
run.live(STUDIES)

# %% [markdown]
# ## What differs from the paper
#
# The paper's networks are full-sized, on CIFAR and the like; ours have eight channels in the first stage, and learn hundreds of
# images by SGD with momentum and a one-cycle schedule. Which settings it swept, and to which values, we do not know; nor its
# formula of geometric collapse (ours puts complexity in the place of variance), its constants, and its episodes. The usual
# few-shot protocol fits ridge regression, too; here it is the nearest class mean alone. That networks are compared at matched
# loss is ours: we interpolate on the logarithm of the loss between the two epochs it falls in. The learning rate differs with the
# epoch. A VGG without normalisation trains in a narrow range, so its settings turn less far than the others'. B1-scaled,
# B3-classes and B6 are ours.
#
# What was changed, and why:
#
# - *Batches* divide the images. At first they left a remainder, one small batch in every epoch, which lowers complexity by
#   itself.
# - *Matched loss* lies between two epochs. At first it was the first epoch below, so that fast networks were compared when they
#   were further trained.
# - *Links* are correlated within each seed. Over all seeds together, the seeds alone made complexity and accuracy go together
#   among VGGs.
# - *Settings and penalties* are judged by the change of a logarithm. Rank correlations over five values, as at first, reach 1 too
#   easily.
# - *B1-scaled* is new, since raw complexity grows with the scale of features; so are the settings as claims on new classes, and
#   *B3-classes*, since the bound itself is met by a wide margin.
# - *VGGs with batch norm* were added. Before, ResNets and VGGs differed in depth and in normalisation.
# - *B6* forces collapse, and penalties go up by two more strengths. That both go together over settings does not say which moves
#   which.
# - *Estimates* from few images are held against all training images. At first these were too few to be drawn from.
# - *Shorter training*, higher rates for VGGs (chosen by the training loss alone), and penalties on fewer images of a batch, so
#   that a demo takes less time.
#
# Thresholds stayed as they were set before.
#
# ## On your own
#
# 1. What is the geometric complexity of an embedding that is a matrix, $f(x) = Ax$? Say it without a computer, then with.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from torch import nn, rand

linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
images = rand(4, 3, 2, 2)
complexity = nclib.geometric_complexity(linear, images).value
squared = linear[1].weight.detach().square().sum()  # its Jacobian is A everywhere
print("it is the squared norm of A:", abs(complexity / float(squared) - 1) < 1e-5)

# %% [markdown]
# 2. Double all features. What becomes of complexity, of NC1, and of complexity over the spread of the class means? Which of them
#    would you compare between networks?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from torch import arange, no_grad

labels = arange(40) % 4
images = rand(40, 3, 2, 2) + labels.view(-1, 1, 1, 1)
found = {}
for times in (1, 2):
    with no_grad():
        linear[1].weight.mul_(times)
        stats = nclib.class_statistics(linear(images), labels)
    complexity = nclib.geometric_complexity(linear, images)
    by_class = complexity.by_class(labels)
    found[times] = {
        "complexity": complexity.value,
        "NC1": nclib.nc1(stats),
        "geometric collapse": nclib.geometric_collapse(stats, by_class),
    }
for name in found[1]:
    print(f"{name}: {found[2][name] / found[1][name]:.2f} times as large")
# Complexity alone says how large features are, too; the last is what networks should be compared by,
# unless they are known to have features of one size.

# %% [markdown]
# ## Rerun it at scale
#
# ```bash
# .venv/bin/papermill notebooks/05_geometric_complexity.ipynb out.ipynb -p scale paper \
#     -p data_root ~/data -p device cuda
# ```
