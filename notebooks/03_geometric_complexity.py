# %% [markdown]
# (geometric-complexity)=
# # Does geometric complexity control collapse?
#
# **The claims.** The {term}`geometric complexity` of an embedding says how far the features of an image move when the image
# moves a little. Munn, Dherin and Gonzalvo report that what changes it during pre-training changes collapse the same way: a
# higher learning rate, a smaller batch and more L2 regularisation each lower complexity and make features collapse more (B1).
# This carries over to classes never seen, with higher {term}`few-shot` accuracy (B2). Low complexity forces some collapse, for
# complexity bounds how far features spread (B3), and it is cheap to estimate (B4). A penalty on complexity lowers it and makes
# features collapse more (B5) {cite}`munn2024`.
#
# **What we find.** When a setting of training changes, complexity and collapse change together, on letters and, in most
# networks, on real images (B1). But we find no sign that complexity is the cause. In VGGs without normalisation, the only
# networks that we penalise, a penalty that lowers complexity to {glue:text}`lab B5-complexity mean:.0%` of what it was at lab
# changes collapse by less than our smallest effect, while forcing collapse lowers complexity where there is normalisation (B5,
# and B6, which is ours). On new classes lower complexity helps on letters; on real images the networks disagree (B2). The bound
# holds, but by too wide a margin to say much (B3). In practice, estimate complexity from two random projections of each of
# about 64 images (B4), and do not take it for a measure of collapse or of transfer.
#
# **How we test it.** Small networks learn one source, and we vary one setting of their training at a time. At *demo* scale the
# source is Greek letters. Comparing a ResNet, a VGG, and a VGG with batch norm separates the effect of depth from that of
# normalisation. At *lab* scale the source is clothes, digits or photographs. After a fixed number of epochs networks are not
# equally well trained: one with a small learning rate is simply undertrained. So we compare them at {term}`matched loss`: when
# their training loss has fallen to the same value, the *loss of comparison*. We ask, in this order,
#
# 1. whether rate, batch size and L2 change complexity and collapse of the source together, and what that does to new classes,
# 2. whether complexity bounds collapse, along the training and class by class,
# 3. how little work an estimate of complexity takes,
# 4. which causes which: we penalise complexity, and we force collapse.

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
from nclib.experiments.figures import schematics
from nclib.experiments.figures import complexity as figures
from nclib.experiments.inference import by_panel
from nclib.experiments.prose import glue
from nclib.experiments.studies import score_card, verdicts_by_scale

own = {"recompute": recompute, "smoke": smoke}
run = nclib.start(scale, device=device, seeds=seeds, data_root=data_root, **own)

# %% [markdown]
# ## Complexity and CDNV
#
# Let $J(x)$ be the {term}`Jacobian` of the features of an image $x$: their derivatives by its pixels. Geometric complexity is
# the mean of $\lVert J(x) \rVert_F^2$ over the training images. It is large if features move far where images move a little
# ({numref}`fig-scheme-complexity`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Geometric complexity says how far the features of an image move when the image moves a little. Left: an image, and the same image moved by a small step epsilon. Right: where the features of two networks go, J epsilon, for steps in twelve directions.", "name": "fig-scheme-complexity"}, "image": {"alt": "Features stay near their place in one network and go far in the other, for the same small steps of the image. Two pictures of a digit that hardly differ; then two panels with arrows, which end on a small ellipse and on a large one."}}
schematics.moved_image()
plt.show()

# %% [markdown]
# We measure collapse by {term}`CDNV`, the mean over pairs of classes of
#
# $$ \frac{V_i + V_j}{2 \lVert \mu_i - \mu_j \rVert^2}, $$
#
# where $\mu_i$ is the mean of the features of class $i$ and $V_i$ their mean squared distance from it. Lower is more collapsed.
#
# Why not NC1, as in the chapters before? Because the claim is about variances. A Poincaré inequality bounds $V_i$ by a constant
# times the complexity $G_i$ on images of class $i$. So it bounds CDNV, by that constant times the *geometric collapse*: CDNV
# with $G_i$ in place of $V_i$. NC1 has no such bound. It divides by the variance of the class means direction by direction, so
# a single direction in which the means hardly differ makes it large, however little features spread. We measure NC1, too, and
# say where it disagrees with CDNV.
#
# Complexity depends on the scale of features, and CDNV does not: if all features double, complexity is four times as large and
# CDNV is the same. Geometric collapse is free of scale, too. We therefore ask two questions: does CDNV go with complexity
# (B1-link), and does it go with geometric collapse (B1-scaled)?
#
# ## Measure
#
# A {term}`cell` of the study is one network, trained from scratch. Along its training we measure its training loss, the
# collapse of its features on the training images, and its complexity on a few images of each class. At the end, and at the two
# epochs between which the training loss falls below the loss of comparison, we also test the network on new classes. Each
# episode has five classes, with five images of each to learn from; all their other images are queries.
# {numref}`fig-scheme-matched` shows why we compare networks at one loss.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At matched loss two networks are compared where their training loss is the same, and not at the same epoch. Two training curves, sketched and not measured.", "name": "fig-scheme-matched"}, "image": {"alt": "With a high learning rate the training loss falls to the dashed line early, and with a low one late. Filled markers stand where the dashed line cuts the two curves; at one epoch in between, two open markers are far apart."}}
schematics.matched_loss()
plt.show()


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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A higher learning rate and a smaller batch lower CDNV in every network, and complexity in networks with normalisation; L2 does less. Complexity and CDNV of the source against each setting, at matched training loss and demo scale. Geometric means over seeds, with 95% t intervals.", "name": "fig-dials"}, "image": {"alt": "Complexity falls with the learning rate, rises with the batch size and falls a little with L2; so does CDNV, less steeply. Without normalisation complexity hardly moves. There are three columns of line charts."}}
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "On the source the settings mostly do what the paper says; on new classes of letters they do so, too. On new classes of real images they change collapse little in networks with normalisation, and without it a higher rate does the opposite. Each setting goes through its sweep in the direction that is said to lower complexity. The panels show by what factor this changes complexity and CDNV (left of 1: lower), and by how many points it changes 5-way 5-shot accuracy (right of 0: higher). Each row is a source with a kind of network; black is their mean at a scale. Intervals are 95%; the grey band is the smallest effect.", "name": "fig-dial-contrasts"}, "image": {"alt": "On the source most points lie on the side of the paper, to the left. On new classes those of letters do so, too, while those of real images mostly lie near the middle with normalisation; with a higher rate and without normalisation they lie on the other side. Three rows of panels show learning rate, batch size and L2."}}
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

# %% tags=["hide-input"]
BY_PANEL = (  # claims whose panels the text names
    "B1-link",
    "B1-batch-complexity",
    "B2-rate-collapse",
    "B2-rate-accuracy",
    "B2-accuracy",
    "B3-classes",
    "B5-collapse",
    "B6-complexity",
)
L2 = {"complexity": "B1-l2-complexity", "cdnv": "B1-l2-collapse"}
for name, verdicts in judged.items():
    for each in filter(lambda verdict: verdict.defined, verdicts):
        panels = each.panels if each.claim.key in BY_PANEL else {}
        for panel, value in {"mean": each.estimate, **panels}.items():
            shown = {FACTOR: np.exp(value.value), POINT: 100 * value.value}
            found = shown.get(each.claim.smallest, value.value)
            glue(f"{name} {each.claim.key} {panel}", found)
factors = {}
for name, rows in matched.items():
    whole = len(tables[name])
    estimates = {each.claim.key: each.estimate for each in judged.get(name, ())}
    glue(
        f"{name} came",
        f"all {whole}" if len(rows) == whole else f"{len(rows)} of {whole}",
    )
    for metric in ("complexity", "cdnv"):
        by_rate = complexity.doubled(rows, "learning_rate", metric)
        by_batch = complexity.doubled(rows, "batch_size", metric)
        twice, half = np.exp(np.log(by_rate).mean()), np.exp(-np.log(by_batch).mean())
        glue(f"{name} {metric} at twice the rate", twice)
        glue(f"{name} {metric} at half the batch", half)
        found = {"twice the learning rate": twice, "half the batch": half}
        if l2 := estimates.get(L2[metric]):
            found["L2, from the least to the most"] = np.exp(l2.value)
        factors[name, NAMES[metric]] = {way: f"{x:.2f}" for way, x in found.items()}
        for panel, factor in by_rate.items():
            glue(f"{name} {metric} at twice the rate, {panel}", factor)
pd.DataFrame(factors).fillna("").rename_axis("times as large with")

# %% [markdown]
# **What we see** ({numref}`fig-dials`, {numref}`fig-dial-contrasts`, and the table above).
#
# - *Rate and batch* mostly do what the paper says. Twice the learning rate multiplies complexity by
#   {glue:text}`demo complexity at twice the rate:.2f` at demo and {glue:text}`lab complexity at twice the rate:.2f`
#   at lab, and CDNV by {glue:text}`demo cdnv at twice the rate:.2f` and {glue:text}`lab cdnv at twice the rate:.2f`;
#   half the batch lowers CDNV in every network. It lowers complexity, too, on letters and wherever there is normalisation. In
#   VGGs without it the opposite holds on two sources, so that the verdict at lab is *mixed*: the largest batch gives
#   {glue:text}`lab B1-batch-complexity CIFAR-10 (JPEG copy), VGG-11:.2f` times the complexity of the smallest on
#   photographs, and {glue:text}`lab B1-batch-complexity Fashion-MNIST, VGG-11:.2f` times on clothes. Where there is
#   normalisation, complexity changes by a much larger factor than CDNV.
# - *L2* does less: its whole sweep changes complexity and CDNV about as much as one doubling of the rate.
# - *Depth or normalisation?* On letters twice the rate multiplies the complexity of the ResNet by
#   {glue:text}`demo complexity at twice the rate, Greek, ResNet:.2f`, of the VGG by
#   {glue:text}`demo complexity at twice the rate, Greek, VGG:.2f`, and of the VGG with batch norm by
#   {glue:text}`demo complexity at twice the rate, Greek, VGG with batch norm:.2f`. With batch norm the VGG behaves as
#   the ResNet does: it is normalisation that sets the plain VGG apart, not depth. The VGG without it collapses further with a
#   higher rate, too (CDNV times {glue:text}`demo cdnv at twice the rate, Greek, VGG:.2f`), at nearly the same
#   complexity.
# - *New classes of letters* collapse more with the highest rate than with the lowest. Few-shot accuracy gains
#   {glue:text}`demo B2-rate-accuracy Greek, ResNet:.1f` points in the ResNet,
#   {glue:text}`demo B2-rate-accuracy Greek, VGG with batch norm:.1f` in the VGG with batch norm, and
#   {glue:text}`demo B2-rate-accuracy Greek, VGG:.1f` in the VGG.
# - *New classes of real images* collapse *less* with a higher rate in VGGs without normalisation. In those that learned digits,
#   CDNV on new classes is {glue:text}`lab B2-rate-collapse MNIST, VGG-11:.2f` times as large. Accuracy changes by
#   {glue:text}`lab B2-rate-accuracy MNIST, VGG-11:.0f` points on digits,
#   {glue:text}`lab B2-rate-accuracy Fashion-MNIST, VGG-11:.0f` on clothes, and
#   {glue:text}`lab B2-rate-accuracy CIFAR-10 (JPEG copy), VGG-11:.0f` on photographs. With normalisation collapse changes
#   little, but on clothes the accuracy of the VGG with batch norm changes by
#   {glue:text}`lab B2-rate-accuracy Fashion-MNIST, VGG-11 with batch norm:.0f` points. On average, more L2 changes new
#   classes of real images by less than our smallest effect.
#
# At demo {glue:text}`demo came` networks reached the loss of comparison, and at lab {glue:text}`lab came`; we leave out the
# others.
#
# ## Do they go together over all settings?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Networks of lower complexity are more collapsed on the source; on new classes this holds for letters, and for real images it depends on the network. CDNV of the source and of new classes, and 5-way 5-shot accuracy on new classes, against source complexity at matched training loss. Each point is a setting of training, the mean over its seeds; each row is a scale. Colours show the kind of network, markers the source (at lab: circles CIFAR-10, squares Fashion-MNIST, triangles MNIST).", "name": "fig-link"}, "image": {"alt": "CDNV of the source rises with complexity, except in VGGs without normalisation on photographs. On new classes some clouds of points rise and others fall, in CDNV and in accuracy. Two rows of three panels have three colours for kinds of networks."}}
COLUMNS = {
    "cdnv": "CDNV, source",
    "target_cdnv": "CDNV, new classes",
    "accuracy_5": "5-shot accuracy, new classes",
}
figures.against_complexity(matched, COLUMNS, NAMES)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "In nearly every kind of network lower complexity goes with more collapse on the source. On new classes it goes with higher accuracy for letters, but for real images the direction differs between networks. Rank correlations over all settings, for each source and kind of network; black is their mean at a scale. Intervals are 95%, over seeds. Full marks are at matched loss, where the claims are judged, and open marks after the same number of epochs. The grey band is the smallest effect.", "name": "fig-links"}, "image": {"alt": "On the source nearly all correlations of complexity and CDNV are positive. On new classes the correlations of networks with normalisation stay positive for CDNV and mostly negative for accuracy, while on real images those of VGGs without it come near zero or change sign. The exception is the VGG with batch norm on clothes, whose correlation with accuracy is positive."}}
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
# - *On the source* complexity and CDNV go together over all settings. Averaged over {term}`panels <panel>`, the rank
#   correlation is {glue:text}`demo B1-link mean:.2f` at demo and {glue:text}`lab B1-link mean:.2f` at lab, and
#   {glue:text}`demo B1-scaled mean:.2f` and {glue:text}`lab B1-scaled mean:.2f` with geometric collapse, which is free of
#   the scale of the features. The exception is the VGG on photographs
#   ({glue:text}`lab B1-link CIFAR-10 (JPEG copy), VGG-11:.2f`).
# - *NC1* follows complexity less: on letters its rank correlation is {glue:text}`demo nc1 Greek, ResNet:.2f` in the ResNet
#   and {glue:text}`demo nc1 Greek, VGG:.2f` in the VGG; in the VGG with batch norm its sign is the opposite
#   ({glue:text}`demo nc1 Greek, VGG with batch norm:.2f`).
# - *On new classes of letters* lower complexity goes with more collapse and higher accuracy, most where there is normalisation:
#   a ResNet with a tenth of the complexity is {glue:text}`demo decade Greek, ResNet:.0f` points more accurate, and a VGG
#   with batch norm {glue:text}`demo decade Greek, VGG with batch norm:.0f`.
# - *On new classes of real images* kinds of networks disagree. (B2-collapse holds at lab, but the mean correlation over panels
#   is weak, and in VGGs on digits its sign is the opposite.) At a tenth of the complexity, accuracy changes by
#   {glue:text}`lab decade Fashion-MNIST, ResNet:.1f` points on clothes and
#   {glue:text}`lab decade CIFAR-10 (JPEG copy), ResNet:.1f` on photographs in ResNets, and in VGGs with batch norm by
#   {glue:text}`lab decade Fashion-MNIST, VGG-11 with batch norm:.1f` and
#   {glue:text}`lab decade CIFAR-10 (JPEG copy), VGG-11 with batch norm:.1f`. In some VGGs accuracy is higher where
#   complexity is higher, with a rank correlation of {glue:text}`lab B2-accuracy MNIST, VGG-11:.2f` on digits and, with batch
#   norm, of {glue:text}`lab B2-accuracy Fashion-MNIST, VGG-11 with batch norm:.2f` on clothes. A mean over the panels
#   hides such differences, so look at each panel.
# - *After a fixed number of epochs* the link on the source is weaker in most VGGs without normalisation: on letters the
#   correlation falls from {glue:text}`demo B1-link Greek, VGG:.2f` to {glue:text}`demo end Greek, VGG:.2f` (on digits it
#   rises). With normalisation it stays much the same, except in ResNets on photographs, where it halves. Note that networks
#   then also differ in how far they are trained.
#
# ## Along the training

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Along the training of one network complexity and collapse need not go together: CDNV always falls, but complexity rises manyfold in VGGs without normalisation. Complexity and CDNV of the source against the share of the training, for the base networks of each scale. Geometric means over seeds; colours and markers are those of the figures above.", "name": "fig-along"}, "image": {"alt": "CDNV falls in all lines. Complexity falls in ResNets; in VGGs with batch norm it stays at demo and falls at lab; in VGGs without it, it rises manyfold. Four line charts go from the start to the end of training."}}
figures.along_training(tables, NAMES)
plt.show()

# %% [markdown]
# **What we see** ({numref}`fig-along`). Without normalisation complexity grows while features collapse. So the link above,
# which these networks show on all sources but photographs, holds between networks at the same training loss, but not along the
# training of a single network.
#
# ## The bound, and whether it says anything

# %% tags=["hide-input"] mystnb={"figure": {"caption": "CDNV stays far below its bound. CDNV of the source against the bound, the Poincaré constant times the geometric collapse, at all epochs of the base networks. On the line the two would be equal.", "name": "fig-bound"}, "image": {"alt": "All points lie far below the line of the bound, and the distance grows with the bound. Two panels on log axes."}}
figures.bound(tables, "CDNV, source")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "On real images, classes of higher complexity spread more in most kinds of network; on letters this depends on the network. Rank correlation over classes of complexity and variance at the end of training, the mean over networks, for each source and kind of network. Intervals are 95%, over seeds. Open marks are the negative control: the complexities are shuffled among the classes. The grey band is the smallest effect.", "name": "fig-classes"}, "image": {"alt": "At lab the correlations are from near zero, on photographs with normalisation, to three quarters, on clothes. At demo that of the ResNet is positive and those of the VGGs are negative. Open points, where complexities are shuffled among the classes, lie at zero."}}
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
# **What we see** ({numref}`fig-bound`, {numref}`fig-classes`). The bound holds in every network and epoch. At demo the bound is
# at least {glue:text}`demo below:.0f` times CDNV, and {glue:text}`demo usually below:.0f` times in the median; at lab these
# factors are {glue:text}`lab below:.0f` and {glue:text}`lab usually below:.0f`. With so wide a margin, the bound constrains
# collapse very little.
#
# The bound also makes a sharper prediction: within a network, the features of classes with lower complexity should spread less.
# We therefore order the classes of each network by complexity and by variance. On letters the rank correlation is
# {glue:text}`demo B3-classes Greek, ResNet:.2f` in ResNets, but {glue:text}`demo B3-classes Greek, VGG:.2f` in VGGs and
# {glue:text}`demo B3-classes Greek, VGG with batch norm:.2f` in VGGs with batch norm. At lab it is
# {glue:text}`lab B3-classes mean:.2f` on average over panels: up to {glue:text}`lab B3-classes Fashion-MNIST, ResNet:.2f`
# on clothes, but only {glue:text}`lab B3-classes CIFAR-10 (JPEG copy), ResNet:.2f` in ResNets on photographs, and
# {glue:text}`lab B3-classes CIFAR-10 (JPEG copy), VGG-11 with batch norm:.2f` in VGGs with batch norm. If we shuffle
# the complexities among the classes, the correlation is zero, as it should be. So the bound says something about classes, but
# not in every network, and it is too loose to explain why complexity and collapse go together.
#
# As Poincaré constant we take the largest variance of the images of any class along any direction. For Gaussian images this
# constant is large enough. Images are not Gaussian, so we measure that the bound holds, and do not prove it.
#
# ## How little it takes to estimate it

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A few projections of each image suffice, but you need enough images. Root mean square relative error of estimates of complexity against what they use: a number of images, a share of the Jacobian's entries, a number of its rows, or a number of random projections of each image (log scales). Points are measured, with 95% bootstrap intervals over networks; dashed lines are the standard errors that the estimates state.", "name": "fig-estimates"}, "image": {"alt": "All errors fall as more is used, from about a tenth to a few hundredths, and full and dashed lines are close together. The four line charts have log axes."}}
WAY_NAMES = {
    "samples": "images",
    "entries": "share of entries",
    "outputs": "rows",
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
# **What we see** ({numref}`fig-estimates`). Two random projections of each image, a thirtieth of the work, give complexity with
# an error of {glue:text}`demo rademacher 2:.0f` per cent at demo and {glue:text}`lab rademacher 2:.0f` at lab. With sixteen of
# the 64 rows of the Jacobian, a quarter of the work, the error is {glue:text}`demo outputs 16:.0f` and
# {glue:text}`lab outputs 16:.0f` per cent. The number of images matters more: eight leave {glue:text}`demo samples 8:.0f` and
# {glue:text}`lab samples 8:.0f` per cent, 64 leave {glue:text}`demo samples 64:.0f` and {glue:text}`lab samples 64:.0f`. The
# standard errors that the estimates state are about as large as the errors that we measure. The other figures use two
# projections of a few images of each class; {numref}`fig-classes` uses four of every image.
#
# ## Which moves which?
#
# Over settings complexity and collapse go together. Is complexity the cause? To find out, we act on each of the two directly.
# As in the paper, a *penalty* on complexity is added to the loss (B5). And as in {ref}`source`, $\lambda$ times the logarithm
# of the {term}`trace ratio` is added, which prevents collapse ($\lambda < 0$) or forces it (B6). If complexity were the
# cause, a penalty on it would change collapse.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Forced collapse lowers complexity in networks with normalisation; a penalty on complexity hardly changes collapse. Change of CDNV of the source (top) and of few-shot accuracy on new classes (bottom) against the change of complexity, at the end of training. The grey lines cross where the same network lies without intervention. Each line is a source with a kind of network, and its points are strengths of the intervention; the strongest is large, with 95% intervals over seeds. Blue points above the horizontal line are networks in which collapse is prevented. Each column is a scale.", "name": "fig-interventions"}, "image": {"alt": "Blue lines, of forced collapse, go down steeply and most of them some way to the left; at lab three, of VGGs without normalisation, go to the right. Orange lines, of penalised complexity, go far to the left and stay nearly level. Blue lines also go up, where collapse is prevented. Below, forcing collapse costs few-shot accuracy, and so, in several networks, does preventing it."}}
INTERVENTIONS = {
    "collapse forced": ("dialled_complexity", "collapse"),
    "complexity penalised": ("complexity_penalty", "penalty"),
}
figures.interventions(
    {name: studies[study] for name, (study, _) in INTERVENTIONS.items()},
    {name: setting for name, (_, setting) in INTERVENTIONS.items()},
    {
        "cdnv": "CDNV, source,\nas a multiple of that without",
        "accuracy_5": "5-shot accuracy, new classes,\nchange in points",
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
        # of one network in twelve geometric collapse explodes
        medians = at_ends.groupby(["panel", "strongest"])[WATCHED[setting]].median()
        for (panel, strongest), row in medians.iterrows():
            for metric, value in row.items():
                when = "strongest" if strongest else "none"
                glue(f"{name} {setting} {when} {metric} {panel}", value)

# %% [markdown]
# **What we see** ({numref}`fig-interventions`).
#
# - *Forced collapse* lowers complexity where there is normalisation, on letters and on real images. In the VGG on letters
#   complexity seems to fall, too, but within noise. With the strongest force CDNV is {glue:text}`demo B6-collapse mean:.2f`
#   times as large and complexity {glue:text}`demo B6-complexity mean:.2f` times at demo; at lab it is
#   {glue:text}`lab B6-collapse mean:.2f` and {glue:text}`lab B6-complexity mean:.2f` times. In VGGs without normalisation
#   complexity rises on photographs
#   ({glue:text}`lab B6-complexity CIFAR-10 (JPEG copy), VGG-11:.1f` times) and digits
#   ({glue:text}`lab B6-complexity MNIST, VGG-11:.1f` times), although they collapse further. Where complexity falls, part of
#   the reason is scale: features become smaller. Geometric collapse, which is free of their scale, even goes up in the VGG on
#   letters, from {glue:text}`demo collapse none geometric_collapse Greek, VGG:.1f` to
#   {glue:text}`demo collapse strongest geometric_collapse Greek, VGG:.1f` (medians over networks). In the ResNet it goes
#   down from {glue:text}`demo collapse none geometric_collapse Greek, ResNet:.1f` to
#   {glue:text}`demo collapse strongest geometric_collapse Greek, ResNet:.1f`.
# - *Penalised complexity* hardly changes collapse: on letters the claim (B5-collapse) holds, but by less than our smallest
#   effect, and at lab the verdict is *fails: no effect*. The strongest penalty makes complexity
#   {glue:text}`demo B5-complexity mean:.3f` times as large at demo and {glue:text}`lab B5-complexity mean:.3f` at lab, but
#   CDNV {glue:text}`demo B5-collapse mean:.2f` times on letters, {glue:text}`lab B5-collapse Fashion-MNIST, VGG-11:.2f` on
#   clothes and {glue:text}`lab B5-collapse CIFAR-10 (JPEG copy), VGG-11:.2f` on photographs. Much of the fall in
#   complexity comes from smaller features: on letters geometric collapse only goes from
#   {glue:text}`demo penalty none geometric_collapse Greek, VGG:.2f` to
#   {glue:text}`demo penalty strongest geometric_collapse Greek, VGG:.2f`, and NC1 even rises, from
#   {glue:text}`demo penalty none nc1 Greek, VGG:.1f` to {glue:text}`demo penalty strongest nc1 Greek, VGG:.1f`.
# - *On new classes* neither intervention has the effect that the claim predicts. More collapse should help, but on letters
#   forced collapse lowers the few-shot accuracy of the ResNet from
#   {glue:text}`demo collapse none accuracy_5 Greek, ResNet:.2f` to
#   {glue:text}`demo collapse strongest accuracy_5 Greek, ResNet:.2f`. The strongest penalty on complexity raises the
#   few-shot accuracy of the VGG from {glue:text}`demo penalty none accuracy_5 Greek, VGG:.2f` to
#   {glue:text}`demo penalty strongest accuracy_5 Greek, VGG:.2f`, and on clothes from
#   {glue:text}`lab penalty none accuracy_5 Fashion-MNIST, VGG-11:.2f` to
#   {glue:text}`lab penalty strongest accuracy_5 Fashion-MNIST, VGG-11:.2f`, although the CDNV of the source is nearly the
#   same. We had not planned to test the effect of the penalty on accuracy.
#
# So forcing collapse lowers complexity where there is normalisation, and penalising complexity hardly changes collapse in
# networks without it. We have not penalised networks with normalisation. One more caution: both interventions change more than
# their names say. The strongest penalty keeps the training loss of the VGG on letters at
# {glue:text}`demo penalty strongest loss Greek, VGG:.2f`, against {glue:text}`demo penalty none loss Greek, VGG:.3f`
# without it. Such a network has been trained less far, and would collapse less for that reason alone. We penalise only VGGs
# without batch norm: the penalty is computed in evaluation mode, where batch norm uses running statistics, so it need not be
# the complexity of the network in training.
#
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study=[*STUDIES])

# %% [markdown]
# A {term}`replicate` is one seed of one panel, and a panel is a source with one kind of network. Its value is a rank
# correlation for a link, the change over the sweep for a setting (the slope of a straight line through its values), and the
# difference between the strongest intervention and none for a penalty or force. Estimates are means over seeds and then over
# panels. Intervals are Student's, from the seeds within each panel; they say nothing about other panels. Correlations are
# averaged by {term}`Fisher's z`. Where some panels lie above the threshold and others below it, beyond chance (after
# {term}`Holm`'s adjustment), the verdict is *mixed*. Interventions are judged at the end of training, since some penalised
# networks never reach the loss of comparison.
#
# ## Is it the same on your machine?
#
# Here we measure a small cell of each study again, now and from scratch, and compare it with its record. {ref}`processors`
# explains the tolerances, and why the new numbers appear only on the built page of the book.

# %% tags=["live"]
run.live(STUDIES)

# %% [markdown]
# ## What differs from the paper
#
# The paper's networks are full-sized, on CIFAR and the like. Ours have eight channels in the first stage, and learn hundreds of
# images by SGD with momentum and a one-cycle schedule. We do not know the paper's formula of geometric collapse (ours puts
# complexity in place of variance), its constants, its episodes, or the values that it tried for each setting. The usual
# few-shot protocol also fits ridge regression; here it is the nearest class mean alone. Comparing networks at matched loss is
# our choice: we interpolate on the logarithm of the loss between the two epochs on either side of it. The learning rate at that
# moment differs between networks, since it follows a schedule. A VGG without normalisation trains only in a narrow range of
# settings, so we vary them less than for other networks. B1-scaled, B3-classes and B6 are ours.
#
# What was changed, and why:
#
# - *Batches* now divide the images evenly. At first they left a remainder, one small batch in every epoch, which lowers
#   complexity by itself.
# - *Matched loss* lies between two epochs. At first we took the first epoch below the loss, at which fast networks were already
#   further trained.
# - *Links* are rank correlations within each seed. Over all seeds at once, differences between seeds alone made complexity and
#   accuracy go together among VGGs.
# - *Settings and penalties* are judged by the change of a logarithm. At first we used rank correlations over five values, which
#   reach 1 too easily.
# - *B1-scaled* is new, since raw complexity grows with the scale of features. The claims on what each setting does to new
#   classes are new, and so is *B3-classes*, since the bound itself holds by a wide margin.
# - *VGGs with batch norm* were added. Before, ResNets and VGGs differed both in depth and in normalisation.
# - *B6* forces collapse, and there are two stronger penalties. That complexity and collapse go together over settings does not
#   say which moves which.
# - *Estimates* from few images are compared with all training images. At first there were too few training images to draw from.
# - *Shorter training*, higher rates for VGGs (chosen by the training loss alone), and penalties on fewer images of a batch make
#   a demo take less time.
#
# The thresholds did not change.
#
# ## On your own
#
# 1. What is the geometric complexity of an embedding that is a matrix, $f(x) = Ax$? Answer it on paper first, then with code.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from torch import nn, rand

linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
images = rand(4, 3, 2, 2)
complexity = nclib.geometric_complexity(linear, images).value
squared = linear[1].weight.detach().square().sum()  # its Jacobian is A everywhere
print("it is the squared norm of A:", abs(complexity / float(squared) - 1) < 1e-5)

# %% [markdown]
# 2. Double all features. What becomes of complexity, of NC1, and of geometric collapse? Which of them would you compare between
#    networks?

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
# Complexity also depends on how large features are. So compare networks by geometric collapse,
# unless you know that their features are of one size.

# %% [markdown]
# ## Rerun it at scale
#
# ```bash
# .venv/bin/papermill notebooks/03_geometric_complexity.ipynb out.ipynb -p scale paper \
#     -p data_root ~/data -p device cuda
# ```
