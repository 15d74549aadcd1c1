# %% [markdown]
# (watch)=
# # Watch a network collapse
#
# **The claim.** Train a classifier until it makes almost no errors on its training images, and then go on. Its
# {term}`features` keep changing and approach a simple geometry {cite}`papyan2020`: the features of each class shrink to their
# mean (NC1), the class means spread out as evenly as they can (NC2), the classifier lines up with them (NC3), and so it assigns
# each sample to the nearest class mean (NC4).
#
# **What we find.** Once at most one training image in a thousand is misclassified, NC1 still falls by about half, at both
# scales. NC2 and NC3 also keep falling, but only by a few per cent on letters (*demo*) and by about a seventh on clothes
# (*lab*), and they stay well above zero. In practice, watch NC1 to see how far a network has collapsed, and do not expect NC2
# and NC3 to approach zero in a training run of ordinary length.
#
# **How we test it.** We train a small ResNet on rendered Latin letters (52 classes) well past zero training error. As it
# trains, we pass all training images through it and measure NC1 to NC4. At *lab* scale we repeat this on images of clothes. In
# this chapter we
#
# 1. look at the data,
# 2. define the four measures, with the code that computes them,
# 3. train and watch,
# 4. see three classes move to the corners of a triangle.

# %% tags=["parameters"]
scale: str = "demo"  # demo: data that needs no download, minutes on two cores
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
import torch

import nclib
from nclib.data import EMBEDDED
from nclib.experiments.cells import recipe_of
from nclib.experiments.chapters import in_training
from nclib.experiments.inference import summary
from nclib.experiments.figures import schematics
from nclib.experiments.figures import in_training as figures
from nclib.experiments.prose import glue
from nclib.experiments.studies import score_card

own = {"recompute": recompute, "smoke": smoke}
run = nclib.start(scale, device=device, seeds=seeds, data_root=data_root, **own)

# %% [markdown]
# ## The data
#
# Nothing is downloaded. The letters are drawn from the fonts that come with matplotlib, in twelve styles; each image has its
# own distortion, contrast and noise. At demo scale, Latin letters are the *source* task of this book. The other scripts, and
# scikit-learn's real handwritten digits, are the *downstream* tasks of the next chapters.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The demo scale has letters of five scripts and handwritten digits. Each row shows sixteen random training images of one task, grey, 28 x 28 pixels.", "name": "fig-data"}, "image": {"alt": "Letters differ in font, slant, contrast and noise from image to image; the handwritten digits are blurred and have no noise. Six rows of sixteen small grey images, of Latin, Greek, Cyrillic, Armenian and Georgian letters and of digits."}}
sets = [nclib.load(name, per_class=40) for name in EMBEDDED]
picks = [
    torch.randperm(len(s), generator=torch.Generator().manual_seed(0))[:16]
    for s in sets
]
figures.contact_sheet(
    torch.stack([s.images[pick, 0] for s, pick in zip(sets, picks, strict=True)]),
    [
        f"{name}\n{len(s.classes)} classes"
        for name, s in zip(EMBEDDED, sets, strict=True)
    ],
)
plt.show()

# %% [markdown]
# ## What is measured
#
# Neural collapse has four signs ({numref}`fig-scheme-collapse`). NC1 is about the spread within classes, NC2 about the
# positions of the class means, NC3 about the classifier, and NC4 about its decisions.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Neural collapse is four things at once: classes shrink to their means, the means spread evenly, the rows of the classifier's weight matrix line up with the means, and each sample goes to the nearest mean. This is a sketch of three classes in the plane; in the third panel, the arrows from the centre are rows of the weight matrix.", "name": "fig-scheme-collapse"}, "image": {"alt": "Each of three classes is a cloud that shrinks to a point; the points are the corners of a triangle, three arrows from its centre turn towards the corners, and a new sample goes to the nearest corner. Four panels, one each for NC1 to NC4."}}
schematics.neural_collapse()
plt.show()

# %% [markdown]
# Features $h_i \in \mathbb{R}^d$ with labels $y_i \in \{0, \dots, K - 1\}$ have class means $\mu_k$ and a global
# mean $\mu_G$. One covariance says how far the features lie from their class mean, another how far the class means lie from the
# global mean:
#
# ```{math}
# :label: covariances
# \Sigma_W = \frac1N \sum_{i=1}^N (h_i - \mu_{y_i})(h_i - \mu_{y_i})^\top, \qquad
# \Sigma_B = \frac1K \sum_{k=0}^{K-1} (\mu_k - \mu_G)(\mu_k - \mu_G)^\top .
# ```
#
# ````{prf:definition} Neural collapse, as measured here
# :label: def-nc
#
# Let $M$ ($K \times d$) be the matrix of centred class means $\mu_k - \mu_G$, and $W$ ($K \times d$) the weights of the
# classifier. Let $E = I - \frac1K \mathbf{1}\mathbf{1}^\top$: up to scale, this is the Gram matrix of a centred simplex, whose
# $K$ corners are all equally far from each other. Then
#
# $$
# \begin{aligned}
# \mathrm{NC1} &= \frac1K \operatorname{tr}\bigl(\Sigma_W \Sigma_B^{+}\bigr), \\
# \mathrm{NC2} &= \Bigl\| \tfrac{MM^\top}{\|MM^\top\|_F} - \tfrac{E}{\|E\|_F} \Bigr\|_F, \\
# \mathrm{NC3} &= \Bigl\| \tfrac{WM^\top}{\|WM^\top\|_F} - \tfrac{E}{\|E\|_F} \Bigr\|_F ,
# \end{aligned}
# $$
#
# and NC4 is the share of samples on which the classifier and the nearest class mean agree. Here $\Sigma_B^{+}$ is the
# pseudo-inverse of $\Sigma_B$, and $\|\cdot\|_F$ is the Frobenius norm. For a network that has fully collapsed, the first three
# are 0 and NC4 is 1.
# ````
#
# The next cell writes out each formula for a toy example of four classes, and compares it with the value from `nclib`. (The
# library computes all of them in one pass over the data, and never inverts a $d \times d$ matrix.)

# %%
g = torch.Generator().manual_seed(0)
K, d, n = 4, 8, 50
labels = torch.arange(K).repeat_interleave(n)
h = torch.randn(K, d, generator=g)[labels] + 0.3 * torch.randn(K * n, d, generator=g)
W = torch.randn(K, d, generator=g)

# %%
mu = torch.stack([h[labels == k].mean(0) for k in range(K)])
M = mu - h.mean(0)
sigma_W = (h - mu[labels]).T @ (h - mu[labels]) / len(h)
sigma_B = M.T @ M / K
E = torch.eye(K) - 1 / K


def distance(gram):
    return torch.linalg.norm(gram / torch.linalg.norm(gram) - E / torch.linalg.norm(E))


by_hand = {
    "NC1": torch.trace(sigma_W @ torch.linalg.pinv(sigma_B, rtol=1e-5)) / K,
    "NC2": distance(M @ M.T),
    "NC3": distance(W @ M.T),
    "NC4": ((h @ W.T).argmax(1) == torch.cdist(h, mu).argmin(1)).float().mean(),
}
stats = nclib.class_statistics(h, labels)
by_nclib = {
    "NC1": nclib.nc1(stats),
    "NC2": nclib.nc2(stats),
    "NC3": nclib.nc3(stats, W),
    "NC4": nclib.nc4(stats, h, W),
}
for name in by_hand:
    print(f"{name}  by hand {by_hand[name]:.3f}  nclib {by_nclib[name]:.3f}")

# %% [markdown]
# ## Train and watch
#
# We train networks by one {term}`recipe`, with several seeds. After each of the first four epochs, and then after every second
# epoch, training pauses and all training images go through the network.

# %%
cells = run.cells("collapse_in_training")
pd.Series(cells[0], name="the first cell").to_frame()


# %% tags=["hide-input"]
def accuracy(network, images):
    """Share of the images that the network's classifier gets right."""
    predictions = nclib.extract(network, images.inputs()).argmax(1).cpu()
    return (predictions == images.labels).double().mean().item()


def in_the_plane(three, each=30):
    """Samples of three classes in the plane through their means, (3, each, 2).

    Turned and scaled so that the means fit an equilateral triangle of radius 1 best.
    """
    means = torch.stack([features.double().mean(0) for features in three])
    centre = means.mean(0)
    _, _, plane = torch.linalg.svd(means - centre, full_matrices=False)
    flat = (means - centre) @ plane[:2].T  # (3, 2)
    angles = torch.pi / 2 + torch.arange(3).double() * 2 * torch.pi / 3
    triangle = torch.stack([angles.cos(), angles.sin()], 1)
    left, sizes, right = torch.linalg.svd(flat.T @ triangle)
    turn = 3 / sizes.sum() * plane[:2].T @ left @ right  # (d, 2)
    return torch.stack(
        [(features[:each].double() - centre) @ turn for features in three]
    )


# %%
def measure(cell, cache):
    """Train a network and follow its collapse on its own training images."""
    recipe = recipe_of(cell)
    train = run.load(recipe.source, "train", per_class=recipe.per_class).in_memory(
        recipe.size
    )
    test = run.load(recipe.source, "test", per_class=cell["test_per_class"]).in_memory(
        recipe.size
    )
    seen = defaultdict(list)

    def look(epoch, network):
        if epoch > 4 and epoch % 2:
            return
        weight, bias = network.classifier.weight, network.classifier.bias
        features = nclib.extract(network.backbone, train.inputs())
        stats = nclib.class_statistics(features, train.labels)
        seen["epoch"].append(epoch)
        seen["train_error"].append(1 - accuracy(network, train))
        seen["test_accuracy"].append(accuracy(network, test))
        seen["nc1"].append(nclib.nc1(stats))
        seen["nc2"].append(nclib.nc2(stats))
        seen["nc3"].append(nclib.nc3(stats, weight))
        seen["nc4"].append(nclib.nc4(stats, features, weight, bias))
        if epoch in cell["pictured_epochs"]:
            chosen = [
                features.cpu()[train.labels == k] for k in cell["pictured_classes"]
            ]
            seen["picture"].append(in_the_plane(chosen).tolist())

    run.train(recipe, on_epoch=look, progress=False)
    return dict(seen)


tables = run.study_by_scale("collapse_in_training", measure)
table = tables[scale]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "NC1 keeps falling when almost no training errors are left; NC2 and NC3 hardly move on letters. The panels show error, NC1 to NC4 on the training images, and test accuracy, one colour for each scale: the line is the mean over the seeds, and the band goes from the lowest to the highest seed. Dotted lines: NC2 of random class means, as many and with as many features as the networks have. A dashed line marks the epoch by which every seed has begun its terminal phase: a training error of at most one in a thousand. More collapsed is lower for NC1 to NC3, and higher for NC4.", "name": "fig-trajectories"}, "image": {"alt": "Training error falls to zero, and NC1 goes on falling after that, at both scales. NC2 and NC3 come far down at lab, and stay high at demo. NC4 and test accuracy rise and level off. Six line charts over epochs."}}
shown = {  # title, and which side is more collapsed
    "train_error": ("training error, share of images", ""),
    "nc1": ("NC1: within-class variability", "lower"),
    "nc2": ("NC2: distance to simplex", "lower"),
    "nc3": ("NC3: classifier to class means", "lower"),
    "nc4": ("NC4: nearest-mean agreement, share", "higher"),
    "test_accuracy": ("test accuracy, share of images", ""),
}
at_random = {
    name: nclib.nc2(nclib.class_statistics(torch.randn(k, d, generator=g), range(k)))
    for name, (k, d) in {
        "demo": (52, 128),
        "lab": (10, 128),
        "paper": (100, 512),
    }.items()
}
figures.trajectories_by_scale(tables, shown, at_random={"nc2": at_random})
plt.show()

# %% tags=["remove-cell"]
for name, rows in tables.items():
    epochs = rows["epoch"].iloc[0]
    starts = [in_training.phase_start(errors) for errors in rows["train_error"]]
    begun = len(epochs) - 1 if None in starts else max(starts)
    for metric in shown:
        mean = np.mean(rows[metric].tolist(), axis=0)
        glue(f"{name} {metric} begun", mean[begun])
        glue(f"{name} {metric} end", mean[-1])
    glue(f"{name} random nc2", at_random[name])
    glue(f"{name} epoch begun", epochs[begun])
    glue(f"{name} last epoch", epochs[-1])

# %% [markdown]
# **What we see** ({numref}`fig-trajectories`). The *terminal phase* begins at the first measured epoch with a training
# error of at most one in a thousand. On letters all networks have reached it by epoch {glue:text}`demo epoch begun`, on
# clothes (*lab*, Fashion-MNIST) by epoch {glue:text}`lab epoch begun`. From there to the end of training, the averages over
# the networks change as follows:
#
# | | NC1 | NC2 | NC3 | NC4, at the end |
# |---|---|---|---|---|
# | letters | {glue:text}`demo nc1 begun:.2f` to {glue:text}`demo nc1 end:.2f` | {glue:text}`demo nc2 begun:.2f` to {glue:text}`demo nc2 end:.2f` | {glue:text}`demo nc3 begun:.2f` to {glue:text}`demo nc3 end:.2f` | {glue:text}`demo nc4 end:.4f` |
# | clothes | {glue:text}`lab nc1 begun:.3f` to {glue:text}`lab nc1 end:.3f` | {glue:text}`lab nc2 begun:.2f` to {glue:text}`lab nc2 end:.2f` | {glue:text}`lab nc3 begun:.2f` to {glue:text}`lab nc3 end:.2f` | {glue:text}`lab nc4 end:.4f` |
#
# All changes have the direction that the paper reports, but NC2 and NC3 stay well above zero, the value of an exact simplex.
# For comparison, we compute NC2 for random class means. For 52 random means it is {glue:text}`demo random nc2:.2f`, lower than
# for the networks trained on letters, whose class means share directions. For ten random means it is
# {glue:text}`lab random nc2:.2f`, higher than for the networks trained on clothes.
#
# ## Three classes become a triangle
#
# A {term}`simplex` of three corners is an equilateral triangle. {numref}`fig-triangle` shows three of the classes in the plane
# through their means. Each panel is rotated and scaled so that the means fit the triangle as well as possible.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Three classes shrink to the corners of a triangle. Each panel shows thirty training images of each of three classes, in the plane through their class means, at one of four epochs of training with the first seed. Grey: the equilateral triangle, which is the simplex of three classes. The unit of length is the distance from the triangle's centre to a corner.", "name": "fig-triangle"}, "image": {"alt": "At first the points of three classes lie mixed and spread far; after four epochs they are apart; at the end each class is a tight cluster at a corner of an equilateral triangle. Four panels."}}
source = run.load(cells[0]["source"], "train", per_class=1)
names = [source.classes[k] for k in cells[0]["pictured_classes"]]
epochs = [e for e in table["epoch"][0] if e in cells[0]["pictured_epochs"]]
figures.classes_in_a_plane(table["picture"][0], epochs, names)
plt.show()

# %% [markdown]
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study="collapse_in_training")

# %% [markdown]
# For each network we compare the beginning of its own terminal phase with the end of training, and take the mean over networks,
# with its 95% interval by Student's t. Where the phase begins is our choice (one error in a thousand). Other choices change the
# size of an effect, but not its sign:

# %% tags=["hide-input"]
by_start = {}
for name, rows in tables.items():
    for terminal in (0.01, 0.004, 0.001, 0.0003):
        row = by_start[f"{name}, error at most {terminal}"] = {}
        for metric in ("nc1", "nc2", "nc3"):
            found = in_training.gone_on(rows, metric, terminal)
            came = found["value"].notna().all()  # all networks, to that phase
            row[metric] = str(summary(found)) if came else "not begun"
pd.DataFrame(by_start).T

# %% [markdown]
# ## Is it the same on your machine?
#
# Here we repeat one small measurement of this study from scratch, and compare the result with its record. {ref}`processors`
# explains the tolerances, and why the new numbers appear only on the built page of the book.

# %% tags=["live"]
run.live({"collapse_in_training": measure})

# %% [markdown]
# ## What differs from the paper
#
# Papyan, Han and Donoho train standard networks on seven standard data sets for hundreds of epochs. We train a narrow
# ResNet on rendered letters for {glue:text}`demo last epoch` epochs; its test accuracy ends at
# {glue:text}`demo test_accuracy end:.2f`. Our NC2 and NC3 are Frobenius distances between normalised matrices, as in Zhu et
# al. {cite}`zhu2021`; the paper measures the deviations of norms and of angles separately.
#
# Our learning rate falls to zero by the last epoch, and during most of the terminal phase it is already low. So we cannot
# separate the effect of the phase from the effect of the falling rate. In the paper, the rate falls in steps.
#
# ## On your own
#
# 1. Multiply all features by ten. Separately, shift all of them by the same vector. Which of the four measures change? Guess
#    from the formulas, then try it on the toy example.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
moved = {"as they are": h, "times ten": 10 * h, "shifted": h + 5}
metrics = ["nc1", "nc2", "nc3", "nc4"]
pd.DataFrame(
    {
        name: {m: nclib.measure(x, labels, W, metrics=[m])[m] for m in metrics}
        for name, x in moved.items()
    }
).round(3)
# NC1, NC2 and NC3 stay the same: they depend on centred features, and on ratios. Without a
# bias, the classifier decides differently once features are shifted, so NC4 changes.

# %% [markdown]
# 2. The measures do not move at the same pace. Which of NC1, NC2 and NC3 is the first to complete half of its total change?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
epochs = np.array(table["epoch"][0])
for metric in ("nc1", "nc2", "nc3"):
    mean = np.mean(table[metric].tolist(), axis=0)
    half = np.argmax(mean <= (mean[0] + mean[-1]) / 2)
    print(f"{metric}: half of its fall by epoch {epochs[half]}")
# Classes contract, and the classifier lines up with them, long before NC2 gets halfway.

# %% [markdown]
# ## Rerun it at scale
#
# ```bash
# .venv/bin/papermill notebooks/01_watch_a_network_collapse.ipynb out.ipynb -p seeds "[0, 1, 2, 3, 4]"
# .venv/bin/papermill notebooks/01_watch_a_network_collapse.ipynb out.ipynb -p scale paper \
#     -p data_root ~/data -p device cuda
# ```
#
# The first command trains networks with seeds that have no record yet; the second trains the networks of *paper* scale. Only
# cells without a record are measured; `-p recompute True` measures all of them again. The verdicts still use the scale's own
# seeds.
