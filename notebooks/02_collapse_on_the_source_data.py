# %% [markdown]
# (source)=
# # Ask whether collapse on the source data hurts transfer
#
# **The claims.** A network that has collapsed on its {term}`source` data may have thrown away what another task needs. Li et
# al. first claimed (A1) that networks transfer better if, during pre-training, the variability within classes is kept *to a
# certain extent* from collapsing, and that this explains why some losses, data augmentation and projection heads help
# {cite}`li2022`. The later version of their paper calls the relation more nuanced (A3) {cite}`li2024`.
#
# **What we find.** Changing collapse alone hardly ever helps. On letters and clothes, transfer is best near plain training:
# preventing collapse a little costs one or two points, and forcing it far enough costs two points on letters and twenty on
# clothes (*lab* scale). On photographs, forcing it costs one or two points, and preventing it gains half a point at most. Data
# augmentation gains four points on letters and eight on clothes, and collapse does not explain the gain. The claim that losses
# with less collapse transfer better rests on a single one of ten losses. In practice, choose augmentation, loss and length of
# training by how well the network transfers; source NC1 does not tell you which to choose.
#
# **How we test it.** We train each network on one source, freeze it, remove its projection head and classifier, and probe it:
# a logistic regression on its features learns each downstream task. At *demo* scale the source is Latin letters, and the tasks
# are other scripts and digits. At *lab* scale there are two sources: Fashion-MNIST, with digits and letters as tasks, and
# CIFAR-10 (a JPEG copy), with classes of Tiny ImageNet and textures as tasks. We ask, in this order,
#
# 1. whether collapse on the source hurts, by changing a penalty on collapse and no other setting,
# 2. whether the heuristics that are said to prevent collapse help,
# 3. whether they help *because* they prevent it.

# %% tags=["parameters"]
scale: str = "demo"  # demo: data that needs no download, minutes on two cores
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
recompute: bool = False  # True: all, beside the records; failed: those that failed
smoke: bool = False  # a cell of each kind, with few images, to see whether all works

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
import matplotlib.pyplot as plt
import pandas as pd

import nclib
from nclib.estimates import mean_spearman
from nclib.experiments import studies
from nclib.experiments.cells import recipe_of
from nclib.experiments.chapters import source
from nclib.experiments.claims import POINT
from nclib.experiments.inference import summary
from nclib.experiments.figures import schematics
from nclib.experiments.figures import source as figures
from nclib.experiments.figures.parts import contrasts
from nclib.experiments.prose import glue
from nclib.experiments.studies import score_card

own = {"recompute": recompute, "smoke": smoke}
run = nclib.start(scale, device=device, seeds=seeds, data_root=data_root, **own)

# %% [markdown]
# ## How transfer is measured
#
# A network learns the source and is frozen; then a linear probe of its features learns a new task
# ({numref}`fig-scheme-transfer`). Collapse is measured on the source; transfer is the accuracy of the probe. If less collapse
# always meant better transfer, accuracy would rise all the way as collapse is prevented; we call this a *law*. If preventing
# collapse helps *to a certain extent*, as the first claim says, transfer follows an inverted U, and is best with somewhat less
# collapse than plain training gives.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A network is trained on the source, frozen, and probed on a new task; its accuracy there could rise all the way as collapse is prevented (a law), or follow an inverted U. The two curves are sketches of these answers, not measurements.", "name": "fig-scheme-transfer"}, "image": {"alt": "The network stays the same from the source to the new task, and only a linear probe is trained there. Two chains of boxes, one above the other; below them a curve that rises all the way, and one that rises and then falls."}}
schematics.transfer()
plt.show()

# %% [markdown]
# ## The networks
#
# The base network is trained with cross-entropy, without a projection head or augmentation. We vary the settings that are said
# to prevent collapse, one at a time, and finally collapse itself.

# %%
base = run.settings.recipe
cells = run.cells("source_collapse")
pd.Series(
    {
        name: ", ".join(str(getattr(each, name)) for each in panel)
        for name, panel in source.panels(base).items()
    },
    name="varied to",
).to_frame()

# %% [markdown]
# ## Measure
#
# In this study, a cell is one network. We measure its collapse on the source images that it was trained on.


# %%
def measure(cell, cache):
    """Train or load the network, freeze it, and measure it on the source and on every task."""
    recipe = recipe_of(cell)
    network = run.train(recipe, cache=cache, progress=False)
    features, labels = seen(network, cell, recipe.source, "train", recipe.per_class)
    stats = nclib.class_statistics(features, labels)
    return {
        "nc1": nclib.nc1(stats),
        "nc1_ratio": nclib.nc1_ratio(stats),
        "cdnv": nclib.cdnv(stats),
        "norm": features.double().norm(dim=1).mean().item(),
        "source_accuracy": probed(network, recipe.source, recipe.per_class, cell),
        "accuracy": [
            probed(network, task, cell["train_per_class"], cell)
            for task in cell["tasks"]
        ],
    }


def probed(network, task, number, cell):
    """Test accuracy of a linear probe of the frozen features, fitted to a number of images of each class."""
    probe = nclib.LinearProbe().fit(*seen(network, cell, task, "train", number))
    return probe.score(*seen(network, cell, task, "test", cell["test_per_class"]))


def seen(network, cell, data, split, number):
    """The features and labels of a number of images of each class, of the size that the network was trained on."""
    images = run.load(data, split, per_class=number).in_memory(cell.get("size"))
    return nclib.extract(network.backbone, images.inputs()), images.labels


tables = run.study_by_scale("source_collapse", measure)

# %% [markdown]
# ## Does collapse on the source hurt?
#
# We change collapse itself. To the cross-entropy of each batch we add the penalty
# $\lambda \log(\operatorname{tr} \Sigma_W / \operatorname{tr} \Sigma_B)$, computed from the features of that batch. A negative
# $\lambda$ prevents collapse, a positive $\lambda$ forces it, and no other setting changes. (In all these networks, every batch
# has four images of each class it contains.) The horizontal axis is the {term}`trace ratio`, not NC1. When collapse is forced,
# the class means span fewer directions, and NC1 rises again, because it divides by the variance of the class means along each
# direction, however small.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Forcing collapse costs accuracy on new tasks; preventing it gains next to nothing. Top: mean accuracy of linear probes on the downstream tasks. Bottom: accuracy on the source. Each column is one source. A thin line is one seed; the thick line is the mean over seeds, labelled with the values of lambda. Left is more collapsed.", "name": "fig-dial"}, "image": {"alt": "Where collapse is forced, at the left, downstream accuracy falls: a little on letters and photographs, steeply on clothes. Where it is prevented, at the right, downstream accuracy falls on letters, falls a little on clothes, and rises a little on photographs. Source accuracy falls to the right on letters only."}}
figures.dial(tables)
plt.show()

# %% tags=["remove-cell"]
for table in tables.values():
    for of, rows in source.by_source(table, "collapse").items():
        means = rows.groupby("collapse")[["transfer", "source_accuracy", "norm"]].mean()
        plain = means.reindex([0.0]).iloc[0]  # not there in a smoke run
        for value, row in means.iterrows():
            for metric, mean in row.items():
                glue(f"{of} {value} {metric}", mean)
            glue(f"{of} {value} norms", row["norm"] / plain["norm"])
            glue(f"{of} lost at {value}", 100 * (plain["transfer"] - row["transfer"]))

# %% [markdown]
# **What we see** ({numref}`fig-dial`). On letters, transfer is an inverted U with a flat top. Plain training ($\lambda = 0$)
# reaches {glue:text}`glyphs/latin 0.0 transfer:.3f`, and so do networks that are a little more collapsed. Preventing collapse
# ($\lambda = -0.1$) gives {glue:text}`glyphs/latin -0.1 transfer:.3f`, and forcing it ($\lambda = 0.3$) gives
# {glue:text}`glyphs/latin 0.3 transfer:.3f`. Source accuracy rises all the way to the most collapsed network
# ({glue:text}`glyphs/latin 0.3 source_accuracy:.3f`), so collapse costs accuracy only on new tasks. (We tried $\lambda = 1$ and
# left it out: class means merge, and source accuracy falls, too.)
#
# On clothes the inverted U falls steeply where collapse is forced. At $\lambda = 0.05$, $0.1$ and $0.3$, forcing collapse costs
# {glue:text}`fashion-mnist lost at 0.05:.0f`, {glue:text}`fashion-mnist lost at 0.1:.0f` and
# {glue:text}`fashion-mnist lost at 0.3:.0f` points of accuracy on new tasks, at about the same accuracy on the source. At
# $\lambda = 0.3$ the trace ratio is no lower than at $0.1$, and NC1 and CDNV have risen again, as at $\lambda = 1$ on letters.
# Even if we leave out $\lambda = 0.3$, forcing collapse costs transfer.
#
# On photographs there is no inverted U. Forcing collapse costs {glue:text}`folder:cifar10 lost at 0.3:.1f` points, and the
# least collapsed networks are at least as good as plain training. So at *lab* scale the claim that preventing collapse helps
# (A1-dial) is undecided over the two sources together. Of the two sources at this scale, the claim that transfer is best
# between the extremes (A1-extent) holds on clothes and not on photographs; the score card shows their mean, which holds. On
# letters and clothes, A1-extent holds because plain or slightly more collapsed networks beat both extremes. This does not show
# that preventing collapse helps.
#
# Does the penalty act as a learning rate in disguise? It could, if it made the features larger or smaller. From $\lambda = 0$
# to $0.3$, the mean norm of the features becomes {glue:text}`glyphs/latin 0.3 norms:.2f` times as large on letters,
# {glue:text}`fashion-mnist 0.3 norms:.2f` times on clothes and {glue:text}`folder:cifar10 0.3 norms:.2f` times on photographs.
# On letters this change is small; at *lab* scale it may explain part of the effect.
#
# ## Do the heuristics work?
#
# Li et al. say that some losses, projection heads and data augmentation transfer better because they prevent collapse. We vary
# each of them on its own, and also the length of training.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same NC1 goes with better or worse transfer, depending on what was varied. Each point is one network; each panel varies one setting. If the setting is a number, the line joins the means over the seeds, in the order of that number. NC1 is measured on the source's training images, on a log axis; left is more collapsed.", "name": "fig-panels"}, "image": {"alt": "NC1 and accuracy go together in a different way in each panel. Squared error has the lowest NC1 and a low accuracy. At demo, deeper heads raise NC1 and lower accuracy. Moderate augmentation is best; stronger augmentation raises NC1 and lowers accuracy. Longer training lowers NC1, while accuracy first rises, and then levels off at demo and falls at lab."}}
titles = {
    "loss": "loss",
    "projection": "projection head, layers",
    "augmentation": "augmentation, strength",
    "epochs": "training, epochs",
}
figures.heuristics(tables, titles)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Augmentation helps, and forcing collapse hurts. Preventing collapse, alone or by projection heads, hurts on letters; preventing it alone gains nothing on average at lab scale, where projection heads do not test the claim. The figure shows the differences in mean downstream accuracy that the claims are about, with 95% intervals; each scale has its own marker, and the faint points below an interval are single seeds. In the grey band, differences are below one point, the smallest that we count as an effect. The labels are the claims of the score card below. A claim that the best value lies between two ends has two differences; the less favourable one is shown.", "name": "fig-contrasts"}, "image": {"alt": "Augmentation gains accuracy and forced collapse costs accuracy at both scales, and forced collapse costs most at lab: both intervals lie to the right of zero. Preventing collapse and projection heads lose accuracy at demo: their intervals lie to the left of zero. At lab the interval for preventing collapse reaches over zero."}}
judged = studies.verdicts_by_scale(run.records, "source_collapse")
in_points = {
    name: [each for each in verdicts if each.claim.smallest == POINT]
    for name, verdicts in judged.items()
}
contrasts(in_points, {"source_collapse": tables})
plt.show()

# %% tags=["remove-cell"]
for name, table in tables.items():
    for setting in titles:
        panel = source.panel(table, setting)
        for value, row in panel.groupby(setting)[["nc1", "transfer"]].mean().iterrows():
            for metric, mean in row.items():
                glue(f"{name} {setting} {value} {metric}", mean)

# %% [markdown]
# **What we see** ({numref}`fig-panels`, {numref}`fig-contrasts`).
#
# - *Losses.* All networks of this panel are trained on distorted images, since one of the losses, the supervised contrastive
#   loss (*two views* in the figure), compares two distorted views of each image. Squared error collapses features most and
#   transfers worst, on letters and on clothes. So, fitted over the ten losses, accuracy rises with NC1: for each doubling by
#   less than a point on letters, and by more on clothes. But label smoothing, which has the second strongest collapse on
#   clothes, transfers best there.
# - *Projection heads* keep the features of letters from collapsing, as the paper says: NC1 is
#   {glue:text}`demo projection 0 nc1:.2f` without a head and {glue:text}`demo projection 6 nc1:.2f` with six layers. But
#   transfer falls with their depth, from {glue:text}`demo projection 0 transfer:.3f` to
#   {glue:text}`demo projection 6 transfer:.3f`. On clothes they hardly change NC1, so they do not test the claim.
# - *Augmentation* improves transfer more than anything else, on letters from {glue:text}`demo augmentation 0.0 transfer:.3f` to
#   {glue:text}`demo augmentation 1.0 transfer:.3f` at strength 1. Beyond that, accuracy falls again, on the source and on the
#   tasks.
# - *Length of training.* A barely trained network is neither collapsed nor useful: a high NC1 may mean only that training was
#   too short. On letters, training for 32 epochs instead of 16 collapses features further and does not change transfer. On an
#   emulated older processor it costs half a point, so A3 (transfer first rises and then falls) counts as undecided at demo. On
#   clothes, and on photographs (not shown in the figure), networks trained for three to eight epochs transfer best, and those
#   trained longest lose one to three points.
#
# ## Do they work because they prevent collapse?
#
# If augmentation works because it prevents collapse, a network trained with it transfers only as well as a network in which
# collapse alone was changed, to the same trace ratio.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At one trace ratio, transfer differs by many points: what was varied matters, not how far the features collapsed. The black line shows networks in which collapse alone was changed, the mean over seeds. A coloured point is the mean of the networks with one value of a setting, at their own trace ratio. Each column is one scale. All networks with different losses are trained on distorted images. Points below the lowest point of the curve are not shown.", "name": "fig-mechanism"}, "image": {"alt": "Most coloured points stand in a narrow column, at nearly the same trace ratio. Losses and most strengths of augmentation are well above the black curve of collapse alone; at demo, deep projection heads are well below it."}}
figures.at_equal_collapse(tables, titles)
plt.show()

# %% [markdown]
# **What we see** ({numref}`fig-mechanism`). Up to moderate strength, the heuristics hardly change the trace ratio, but they
# change transfer by many points. Networks with moderate augmentation transfer better than any network obtained by changing
# collapse alone. So do networks with any of the losses; but these are trained on distorted images, and the networks with the
# penalty are not. Networks that are hardly trained, or trained with too strong augmentation, transfer worse; on letters, so do
# networks with deep projection heads. What a heuristic does to collapse does not explain what it does to transfer.
#
# ## Do the verdicts depend on our choices?
#
# Each claim needed choices: a penalty, a depth, a strength, a length, a set of losses, a measure of collapse, and whether to
# require that collapse was prevented at all. We judge each claim again with other choices, one at a time, and list those that
# change the verdict.

# %% tags=["hide-input"]
others = {name: source.other_choices(tables[name]) for name in judged}
changed = {
    name: {
        choice: f"{ours.word} → {other}"
        for choice, (ours, other) in found.items()
        if other.word != ours.word
    }
    for name, found in others.items()
}
for name, found in others.items():
    glue(f"{name} choices", len(found))
    glue(f"{name} choices that matter", len(changed[name]))
    glue(
        f"{name} without squared error",
        found["A1-loss", "without squared error"][1].estimate,
    )
pd.DataFrame(changed).rename_axis(["claim", "chosen instead"]).fillna("")

# %% [markdown]
# **What we see.** Of {glue:text}`demo choices` other choices, {glue:text}`demo choices that matter` change a verdict at demo,
# and {glue:text}`lab choices that matter` at lab.
#
# - *A1-loss* rests on one loss. Without squared error, the gain for each doubling of NC1 is
#   {glue:text}`demo without squared error value:.3f` [{glue:text}`demo without squared error low:.3f`,
#   {glue:text}`demo without squared error high:.3f`] on letters and {glue:text}`lab without squared error value:.3f`
#   [{glue:text}`lab without squared error low:.3f`, {glue:text}`lab without squared error high:.3f`] on clothes, so the claim
#   fails. If we leave out any other loss, the claim holds. Do not read it as a rule for choosing losses.
# - *A1-mechanism* (augmentation prevents collapse) depends on the measure of collapse. Augmentation raises NC1. It does not
#   raise the trace ratio, and on letters it does not raise CDNV.
# - *A1-augmentation* holds up to strength 2; stronger distortion spoils the images. This claim is about augmentation, whatever
#   it does to collapse. If we had required, as for projection heads, that NC1 rise by a factor of $1.5$, it would not have
#   been tested on letters.
# - *A1-projection*: on letters, deep heads raise NC1, but they raise the trace ratio only by a tenth; by the trace ratio the
#   claim is not tested. We detect no cost of a head with two layers; deeper heads lower transfer accuracy.
# - *A1-mediation* (augmentation helps because it prevents collapse) fails at strength 1, whether networks are compared at the
#   same trace ratio or at the same NC1. At strength 2 it is undecided on letters by the trace ratio, and on clothes by NC1.
# - *A1-dial*: at *lab* scale, other penalties cost transfer on clothes; on photographs the strongest penalty gains half a
#   point.
# - *A1-force* is about strong penalties. Penalties up to $\lambda = 0.1$ cost nothing on letters.
# - *A1-extent* and *A3* compare the best value of a setting with the values at both ends of its range. If another value takes
#   the place of the best one, the claim tends to fail. On photographs no penalty is better than both ends.
#
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study="source_collapse")

# %% [markdown]
# ## Is it the same on your machine?
#
# Here we repeat one small measurement of this study from scratch, and compare the result with its record. {ref}`processors`
# explains the tolerances, and why the new numbers appear only on the built page of the book.

# %% tags=["live"]
run.live({"source_collapse": measure})

# %% [markdown]
# ## What differs from the paper
#
# The paper pre-trains standard networks on image data sets and probes them on others. We test its claims, but do not reproduce
# its recipes, learning rates or tables. Our choices are:
#
# - *Networks*: a ResNet of 16 to 128 channels, small sources, one learning rate for all.
# - *Losses*: we take the losses of Kornblith et al. {cite}`kornblith2021`, with constants of our choice. Squared error has
#   targets of 10 instead of 1 {cite}`hui2021`. The supervised contrastive loss {cite}`khosla2020` has a classifier trained in
#   parallel.
# - *The penalty on collapse* is ours; the nearest published penalty is by Harun et al. {cite}`harun2025`.
# - *NC1* is measured on the training images, on the features that are transferred, before the projection head.
# - *The probe's penalty* is fixed (C = 1 on standardised features).
# - *Tasks*: letters of different scripts resemble each other, so those tasks are close to the source. CIFAR-10 is the second
#   source and Tiny ImageNet its task, not the other way round, because we have only a hundred images a class of Tiny ImageNet.
#   A network of this size learns little from them and does not collapse.
#
# ## On your own
#
# 1. Would another measure of collapse have given a different result for the losses? Replace NC1 by the trace ratio and CDNV,
#    and the slope by a rank correlation.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
pd.Series(
    {
        metric: str(summary(source.over_losses(tables[scale], metric)))
        for metric in ("nc1", "nc1_ratio", "cdnv")
    },
    name="accuracy gained for each doubling, over the losses",
).to_frame().assign(
    **{
        "mean rank correlation": [
            source.panel(tables[scale], "loss")
            .groupby("seed")[[metric, "transfer"]]
            .apply(lambda rows: mean_spearman(*rows.to_numpy().T))
            .mean()
            for metric in ("nc1", "nc1_ratio", "cdnv")
        ]
    }
)

# %% [markdown]
# 2. Does changing collapse alone have the same effect on every downstream task? Look at them one by one.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
dialled, *_ = source.by_source(tables[scale], "collapse").values()
by_task = pd.DataFrame(
    dialled["accuracy"].tolist(), dialled.index, columns=dialled["tasks"].iloc[0]
)
by_task.groupby(dialled["collapse"]).mean().round(3)

# %% [markdown]
# ## Rerun it at scale
#
# ```bash
# .venv/bin/papermill notebooks/02_collapse_on_the_source_data.ipynb out.ipynb -p seeds "[0, 1, 2, 3, 4]"
# .venv/bin/papermill notebooks/02_collapse_on_the_source_data.ipynb out.ipynb -p scale paper \
#     -p data_root ~/data -p device cuda
# ```
#
# The first command trains networks with seeds that have no record yet; the second trains the networks of *paper* scale. Only
# cells without a record are measured; `-p recompute True` measures all of them again. The verdicts still use the scale's own
# seeds.
