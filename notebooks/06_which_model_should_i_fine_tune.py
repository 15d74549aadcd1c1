# %% [markdown]
# (selection)=
# # Which model should I fine-tune?
#
# **The claims.** It is expensive to fine-tune every pre-trained model and keep the best. It is cheap to score each from its
# features on the target's training images. Ding et al. observe that collapse on the target data before fine-tuning correlates
# strongly with collapse after it (C1). On this observation they build a {term}`transferability score`, {term}`FaCe`, and
# report that it ranks pre-trained models better than earlier scores (*estimators*) do, whether the models differ in
# architecture, source data set or training loss (C2) {cite}`ding2023`.
#
# **What we find.** At demo all of this holds. Models that collapse a task more before fine-tuning also do so after it. In each
# of our three sets of models ({term}`zoos <zoo>`) FaCe ranks better than nine earlier estimators do on average, though only
# slightly better over sources. Over all zoos it beats {glue:text}`demo ahead of:.0f` of the nine beyond chance. Two things
# qualify this. NC1, one of FaCe's two parts, ranks as well by itself: we see no gain from the other part, class fairness. And
# three other estimators rank as well: NCTI, PARC and the shrunk H-score. Lab has not run under this protocol yet. In practice,
# rank by FaCe or by NC1, and fine-tune the first few models. The first is often not the best of its zoo, but on average it is
# only {glue:text}`demo lost face:.1f` points of accuracy behind.
#
# **FaCe** is the sum of two parts, each brought to [0, 1] over the models. *Variance collapse* is minus the {term}`NC1` of the
# target's classes. *Class fairness* says how evenly each class overlaps with the others. Each class is treated as a Gaussian,
# and a softmax turns its overlaps with the other classes into shares. Class fairness is the entropy of these shares. It is
# highest where all shares are equal, that is, where no class is closer than the others. The paper leaves open what kind of
# Gaussians these are and which temperature the softmax has; ours are spherical, and our temperature, set beforehand, is one
# twentieth.
#
# **How we test it.** A {term}`zoo` is a set of pre-trained models that differ in one thing: in architecture, in source data
# set, or in training loss. We score every model of a zoo on a task's training images, fine-tune it on them at one learning rate
# for a fixed number of epochs, and test it on other images. A score is good if it ranks the models as their accuracies do. We
# measure that by {term}`weighted tau`: 1 for the same order, 0 for no relation, -1 for the opposite order; mistakes at the top
# count most. At *demo* every model is trained anew with every seed. At *lab* there are fourteen small models pre-trained by
# others, and networks that we train on real images. We
#
# 1. compare collapse before fine-tuning with collapse after it,
# 2. compare FaCe with its rivals on all zoos,
# 3. ask how likely the model that comes first is to be the best,
# 4. take FaCe apart,
# 5. ask what the scores cost.

# %% tags=["parameters"]
scale: str = "demo"  # demo: data that needs no download; lab, paper: models and data of a data root
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
imports: list = None  # modules that register models of yours with timm
models: list = None  # pre-trained models by name, in place of the scale's zoos
tasks: list = None  # data sets by name, or folder:path, in place of the scale's
recompute: bool = False  # True: all, beside the records; failed: those that failed
smoke: bool = False  # a cell of each kind, with few images, to see whether all works

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
import time
from functools import partial
from timeit import repeat

import matplotlib.pyplot as plt
import pandas as pd
import torch

import nclib
from nclib import estimates
from nclib.experiments.cells import candidates
from nclib.experiments.chapters import selection
from nclib.experiments.figures import schematics
from nclib.experiments.figures import selection as figures
from nclib.experiments.prose import glue
from nclib.experiments.run import book_root
from nclib.experiments.studies import score_card
from nclib.features.backbones import Backbone
from nclib.peft.methods import folded_norms
from nclib.transferability.source_scores import source_probabilities

own = {"imports": imports, "models": models, "tasks": tasks, "smoke": smoke}
run = nclib.start(
    scale, device=device, seeds=seeds, data_root=data_root, recompute=recompute, **own
)
PUBLISHED = book_root() / "book" / "published"

# %% [markdown]
# ## How FaCe and weighted tau are computed
#
# {numref}`fig-scheme-face` computes FaCe of three small models. Why should even overlaps be good? In model A two classes
# overlap almost only with each other, so images of the one are mistaken for the other and rarely for the third class: the
# features do not treat all pairs of classes alike.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "FaCe prefers model C, which is the best at neither part, but good at both. Features of three classes in three models; the radius of each circle is two standard deviations. Each bar shows how the overlap of a class is divided between the other two; the dotted line marks equal shares. Arrows: the parts are brought to [0, 1] over the three models, so that the worst has 0 and the best 1.", "name": "fig-scheme-face"}, "image": {"alt": "Model A is the most collapsed, but two of its classes lie close together; model B is the most even, but its classes are wide; model C is nearly even and nearly as collapsed as A, and its FaCe is the highest. Each model has a column with clouds, bars and numbers."}}
schematics.face_by_steps()
plt.show()

# %% [markdown]
# Weighted tau compares two orders of models, by accuracy and by score, pair by pair ({numref}`fig-scheme-tau`). A pair weighs
# more the nearer its models are to the top. Add up the weights of the pairs whose order differs, and divide by the weight of
# all pairs: tau is 1 minus twice this share.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Weighted tau charges a score more for a mistake among the best models than for one among the last. Each score swaps two of five models. A pair weighs the sum of the weights of its two places. (Weights may be taken from the places by accuracy or from those by score. Tau is the mean of the two results, which are equal here.) Without weights both scores would have the same tau.", "name": "fig-scheme-tau"}, "image": {"alt": "Tau is lower where a score swaps the best two models than where it swaps the last two. Letters A to E in two columns, joined by lines; two lines cross, at the top on the left and at the bottom on the right."}}
schematics.weighted_tau()
plt.show()

# %% [markdown]
# ## Measure
#
# A {term}`cell` of the study is one model on one task with one seed. We compute all scores of `nclib.SCORES`. LEEP and NCE also
# need the probabilities that the source classifier gives for the images. (For a network pre-trained with a contrastive loss, we
# train a classifier beside it.) Two scores look at no target image: accuracy on the source, which is known for the networks
# trained here, and the number of parameters.


# %% tags=["hide-input"]
def model_of(cell, cache):
    """The model of a cell and, of one that is trained here, the whole network."""
    model, network = run.pretrained(cell, cache)
    if folded_norms(model.model):
        from timm.layers import freeze_batch_norm_2d

        freeze_batch_norm_2d(model.model)
    return model, network


def seen_by(model, network, images):
    """Features of images, what the source classifier says of them, and the seconds that one pass for both takes."""
    start = time.perf_counter()
    if network is None:
        features = nclib.extract(model, images)
        seconds = time.perf_counter() - start
        return features, source_probabilities(model, features), seconds
    whole = Backbone("source", network, model.transform, network)
    made = nclib.extract_layers(whole, images, ["backbone", "last"])
    seconds = time.perf_counter() - start
    return made["backbone"], made["last"].softmax(1), seconds


def on_source(cell, model, network):
    """Accuracy of a network that is trained here on its source."""
    if network is None:
        return {}
    source = run.load(cell["source"], "test")
    logits = nclib.extract(
        Backbone("source", network, model.transform, network), source
    )
    right = logits.argmax(1) == source.labels
    return {"source_accuracy": float(right.double().mean())}


def unfairness(features, labels):
    """One less class fairness, which is often next to 1; with other temperatures, and a variance for each feature."""
    stats = nclib.class_statistics(features, labels, covariance="diagonal")
    options = {
        "": {},
        "_sharp": {"temperature": 0.005},
        "_soft": {"temperature": 0.5},
        "_diagonal": {"covariance": "diagonal"},
    }
    return {
        f"class_unfairness{name}": 1 - nclib.class_fairness(stats, **option)
        for name, option in options.items()
    }


def tune(cell, model, train):
    """The model fine-tuned for all epochs or, where several rates are tried, as validation chooses."""
    tried = candidates(cell, model, len(train.classes))
    if len(tried) > 1:
        return nclib.finetune_best(
            tried, train, checkpoint=run.unfinished("choice")
        ).tuned
    ((make, settings),) = tried
    tuned = make()
    nclib.finetune(tuned, train, settings, checkpoint=run.unfinished("tuning"))
    return tuned


def fine_tuned(cell, model, train, test):
    """Accuracy of the model after fine-tuning, and collapse on the training images."""
    start = time.perf_counter()
    tuned = tune(cell, model, train)
    seconds = time.perf_counter() - start
    body = tuned.backbone
    right = tuned.head(nclib.extract(body, test)).argmax(1).cpu() == test.labels
    after = nclib.measure(nclib.extract(body, train), train.labels, metrics=["nc1"])
    return {
        "accuracy": float(right.double().mean()),
        "nc1_tuned": after["nc1"],
        "seconds_tuning": seconds,
    }


def published(cell):
    """Accuracy of a fully fine-tuned model as others measured it."""
    files = sorted(PUBLISHED.glob("fine_tuned_*.csv"))  # supervised, self-supervised
    table = pd.concat([pd.read_csv(file) for file in files])
    names = {"fgvc-aircraft": "aircraft", "stanford-cars": "cars", "food101": "food"}
    names |= {"flowers102": "flowers", "oxford-iiit-pet": "pets"}
    dataset = names.get(cell["data"], cell["data"])
    row = table[(table["dataset"] == dataset)].set_index("model")
    model = cell["model"].rpartition(":")[2]
    return {"accuracy": float(row.loc[model, "accuracy"]) / 100}


# %%
def measure(cell, cache):
    """Every score of a model on a task, and its accuracy after fine-tuning."""
    train, test = run.task(cell)
    model, network = model_of(cell, cache)
    features, probabilities, seconds = seen_by(model, network, train)
    scores = nclib.score(
        features,
        train.labels,
        scores="all",
        probabilities=probabilities,
        **on_source(cell, model, network),
    )
    truth = (
        published(cell)
        if cell["method"] == "published"
        else fine_tuned(cell, model, train, test)
    )
    parameters = sum(each.numel() for each in model.model.parameters())
    others = {**unfairness(features, train.labels), "parameters": parameters}
    others["seconds_features"] = seconds
    return {**scores, **others, **truth}


# %% [markdown]
# We measure how long each score takes, by itself, on random features.


# %%
def measure_cost(cell, cache):
    """Seconds that each score takes on features of a number of samples, numbers and classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(cell["samples"]) % cell["classes"]
    means = torch.randn(cell["classes"], cell["features"], generator=generator)
    noise = torch.randn(cell["samples"], cell["features"], generator=generator)
    features = means[labels] + 2 * noise
    probabilities = torch.rand(cell["samples"], 100, generator=generator)
    probabilities /= probabilities.sum(1, keepdim=True)

    def seconds(name):
        score = partial(nclib.score, probabilities=probabilities, scores=[name])
        tries = repeat(partial(score, features, labels), number=1, repeat=3)
        return min(tries)  # the first may have to load code

    return {name: seconds(name) for name in SCORED}


SCORED = [name for name in nclib.SCORES if name != "source_accuracy"]
costs = run.study("score_cost", measure_cost)
tables = {
    name: selection.in_zoos(rows)
    for name, rows in run.study_by_scale("model_selection", measure).items()
}
print(run.describe("score_cost"))

# %% tags=["hide-input"]
selection.overview(tables, ["scale"], "fine-tuning", "accuracy")

# %% [markdown]
# A score cannot predict an order of models that changes from seed to seed. So we first ask how far two seeds of a zoo agree on
# the order of its models. The table shows the rank correlation of accuracies between seeds, the mean over tasks. In
# {term}`exploration` we chose zoos and tasks for which it was {glue:text}`reliable:.1f` or more. Over losses the new seeds
# agree less: their correlation is {glue:text}`agreement demo training losses:.2f`.

# %% tags=["hide-input"]
repeats = {}
for name, every in tables.items():
    for zoo, rows in [*every.groupby("zoo", sort=False), ("mean over zoos", every)]:
        agreed = selection.reliability(rows)
        repeats[name, zoo] = (
            f"{agreed:.2f}" if rows["seed"].nunique() > 1 else "one seed"
        )
        glue(f"agreement {name} {zoo}", agreed)
glue("reliable", selection.RELIABLE)
pd.Series(repeats, name="agreement of seeds").to_frame()

# %% [markdown]
# ## Collapse before and after

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Fine-tuning lowers NC1 but keeps much of the order of the models. NC1 of a task's classes on its training images before fine-tuning (horizontal) and after it (vertical); on the line NC1 is the same before and after. Each point is a model and seed, each colour a task, each panel a zoo; the rows are the scales.", "name": "fig-before-after"}, "image": {"alt": "Nearly all points lie below the diagonal, since fine-tuning lowers NC1, and they mostly rise from left to right within a colour, since the models keep much of their order. Among architectures a few points, on Cyrillic and Georgian letters, lie far above the others. Each panel is a zoo."}}
figures.collapse_before_and_after(tables)
plt.show()

# %% tags=["hide-input"]
before_after = {}
for name, every in tables.items():
    whole = every[every["method"] == "full"]
    for zoo, rows in [*every.groupby("zoo", sort=False), ("all, tuned whole", whole)]:
        kept = selection.of_correlations(
            selection.blocks(rows, selection.collapse_kept)
        )
        before_after[name, zoo] = str(kept)
        glue(f"after {name} {zoo}", kept)
pd.Series(before_after, name="rank correlation").to_frame()

# %% [markdown]
# **What we see** ({numref}`fig-before-after`). Fine-tuning lowers the NC1 of nearly every model, and keeps much of the order.
# The rank correlation of collapse before and after is lowest over losses, {glue:text}`after demo training losses`, where the
# models differ little in NC1 before fine-tuning. It is highest over sources, {glue:text}`after demo source data sets`,
# where some models learned nothing that the tasks need. So C1 holds.
#
# ## Which score finds the best model?


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Most scores rank the models well over architectures and sources, but none does over losses; FaCe is among the best, and no score is best in every zoo. Weighted Kendall tau of each score with accuracy after fine-tuning, the mean over tasks, with 95% intervals over seeds. Each panel is a zoo, each colour a scale. Right is better: at 1 a score ranks the models as their accuracies do. Scores are sorted by their mean; FaCe is bold.", "name": "fig-taus"}, "image": {"alt": "FaCe is fifth of 24 scores by its mean tau, behind NCTI, PARC, variance collapse and the shrunk H-score. Tau is near 0.9 for most scores over source data sets, often about 0.6 over architectures, and less than one half over training losses. Each panel is a zoo, each row a score."}}
def scored(rows):
    """The names of the scores that some model of the table has."""
    return [
        name for name in selection.LABELS if name in rows and rows[name].notna().any()
    ]


panels = {}
for name, every in tables.items():
    for zoo, rows in every.groupby("zoo", sort=False):
        panels.setdefault(zoo, {})[name] = selection.all_ranks(rows)
figures.score_panels(panels, selection.LABELS)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "FaCe ranks better than seven of nine earlier estimators, but four of these leads are below the smallest effect; its differences from N-LEEP and the shrunk H-score are within chance. On average it is far ahead of source accuracy, but only because of the zoo of source data sets. FaCe's tau minus the tau of each rival: nine earlier estimators, and two scores that look at no image. Means over zoos and tasks, with 95% intervals over seeds (the number of parameters differs among architectures only). Filled marks are beyond chance after {term}`Holm`'s adjustment for the number of rivals. Differences in the grey band are below the smallest effect.", "name": "fig-ahead"}, "image": {"alt": "FaCe is ahead of seven of the nine earlier estimators beyond chance, by 0.05 to 0.2, and of accuracy on the source and the number of parameters by 0.3 or more. Its small lead over N-LEEP and its gap to the shrunk H-score are not beyond chance after Holm's adjustment. Each row is a rival."}}
RIVALS = (*selection.DISTINCT, "source_accuracy", "parameters")
ahead = {name: selection.ahead(every, RIVALS) for name, every in tables.items()}
figures.ahead_of_rivals(ahead, selection.LABELS)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "By mean ranks alone, FaCe is clearly better only than the three weakest estimators. Mean rank of FaCe and nine earlier estimators over zoos and tasks; 1 is best. Scores in the grey band are not distinguishable from FaCe (Nemenyi's critical difference, 5%).", "name": "fig-mean-ranks"}, "image": {"alt": "The shrunk H-score and FaCe have the best mean ranks, and all scores but TransRate, NCE and LEEP lie in the grey band around FaCe. Each row is a score."}}
places = {
    name: selection.mean_ranks(every, ("face", *selection.DISTINCT))
    for name, every in tables.items()
}
figures.mean_ranks(places, selection.LABELS)
plt.show()

# %% tags=["hide-input"]
compared = {}
for name, every in tables.items():
    earlier = ahead[name].loc[list(selection.DISTINCT)]
    clear = earlier["difference"].map(lambda each: each.value > 0) & (
        earlier["p"] <= 0.05
    )
    glue(f"{name} ahead of", clear.sum())
    glue(f"{name} Friedman", places[name][1])
    for score in scored(every):
        row = compared[name, selection.LABELS[score]] = {}
        tau = selection.ranks(every, score)
        lost = selection.over_blocks(every, partial(selection.regret, score=score))
        row["weighted tau, mean over zoos"] = str(tau)
        row["accuracy lost (regret)"] = f"{lost.value:.3f}"
        glue(f"{name} mean {score}", tau)
        glue(f"{name} lost {score}", 100 * lost.value)
    for zoo, rows in every.groupby("zoo", sort=False):
        for score, tau in panels[zoo][name].items():
            glue(f"{name} {zoo} {score}", tau)
        for score in ("face", "source_accuracy"):
            lost = selection.over_blocks(rows, partial(selection.regret, score=score))
            glue(f"{name} {zoo} lost {score}", 100 * lost.value)
        average = selection.over_blocks(rows, selection.ahead_of_the_average)
        glue(f"{name} {zoo} ahead", average)
pd.DataFrame(compared).T.rename_axis(["scale", "score"])

# %% [markdown]
# **What we see** ({numref}`fig-taus`, {numref}`fig-ahead`, {numref}`fig-mean-ranks`).
#
# - *FaCe is good.* Its tau is {glue:text}`demo mean face` over the three zoos. It is ahead of the average of the nine by
#   {glue:text}`demo architectures ahead` over architectures, {glue:text}`demo source data sets ahead` over sources and
#   {glue:text}`demo training losses ahead` over losses.
#
# - *It is not alone.* NC1 has a tau of {glue:text}`demo mean variance_collapse`, NCTI of {glue:text}`demo mean ncti` and
#   PARC of {glue:text}`demo mean parc`. We did not ask beforehand whether these are better than FaCe.
#
# - *Scores that ignore the images are unreliable.* Accuracy on the source ranks architectures better than any other score, and
#   losses as well as FaCe. But it ranks sources worse than chance, since it says how easy a source is, not how useful. Hence
#   C2-static, our comparison of FaCe with source accuracy, is mixed. The number of parameters ranks architectures poorly.
#
# - *Losses are the hardest.* Models trained with different losses are nearly equally good, so two seeds often disagree on their
#   order. The rank correlation between seeds is only {glue:text}`agreement demo training losses:.2f`, below the
#   {glue:text}`reliable:.1f` that we asked for in exploration. We cannot expect any score to rank such models well.
#
# - *What one loses.* The model that FaCe puts first is {glue:text}`demo lost face:.1f` points behind the best of its zoo, on
#   average. The model that accuracy on the source puts first is {glue:text}`demo lost source_accuracy:.0f` points behind,
#   nearly all of them lost among source data sets. Among architectures source accuracy loses
#   {glue:text}`demo architectures lost source_accuracy:.1f` points and FaCe
#   {glue:text}`demo architectures lost face:.1f`.
#
# ## How likely is the first to be the best?
#
# It is tempting to assume that the first model of a ranking is the best. How often is that true? From every zoo we draw a few
# models at random, and compute FaCe among these. We turn a model's FaCe into the probability that it is the best,
#
# $$p_i = \frac{\exp(a\, m^b\, \mathrm{FaCe}_i)}{\sum_j \exp(a\, m^b\, \mathrm{FaCe}_j)},$$
#
# where $m$ is the number of models drawn. For each zoo we fit $a$ and $b$ by maximum likelihood to the best models of all
# *other* zoos, so the probabilities of a zoo use none of its own accuracies.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Over all zoos together, FaCe's probabilities are about right up to sixty per cent, and much too high above that. In a choice among many models of different losses, they are worse than equal chances. Left: how often models were the best after fine-tuning, against the probability that FaCe gave them, with 95% intervals over seeds; on the line probabilities are right. Right: how much better these probabilities are than equal chances (by the Brier score, the mean squared error of probabilities), against the number of models. Each line is a zoo.", "name": "fig-calibration"}, "image": {"alt": "Points on the left lie near the diagonal up to a probability of 0.6; of the models with a probability of about 0.8, half are the best. On the right the lines of architectures and sources stay above zero; that of losses falls below it from eight models on."}}
zoos = [rows.assign(zoo=f"{name}: " + rows["zoo"]) for name, rows in tables.items()]
chosen = selection.choices(pd.concat(zoos))
judged = selection.with_likely_best(chosen)
figures.calibration(judged)
plt.show()

# %% tags=["remove-cell"]
for name, value in zip(("scale", "power"), selection.calibration(chosen), strict=True):
    glue(f"calibration {name}", value)
for size, part in judged.groupby("size"):
    first = [p.max() for p in part["likely"]]
    right = [
        best[p.argmax()] for p, best in zip(part["likely"], part["best"], strict=True)
    ]
    glue(f"first of {size} said", pd.Series(first).mean())
    glue(f"first of {size} right", pd.Series(right).mean())
    gained = estimates.mean(part.groupby("seed")["skill"].mean().to_numpy())
    glue(f"skill of {size}", gained)

# %% [markdown]
# **What we see** ({numref}`fig-calibration`). When one chooses among three models, the first has a probability of
# {glue:text}`first of 3 said:.0%` and is the best in {glue:text}`first of 3 right:.0%` of cases. Among eight it has
# {glue:text}`first of 8 said:.0%`, and is the best in {glue:text}`first of 8 right:.0%`. So on average over zoos the
# first model is the best more often than its probability says. Nevertheless the largest probabilities are too high
# ({numref}`fig-calibration`). Over losses the models are nearly equally good, which FaCe cannot see; in a choice among many of
# them its probabilities are worse than equal chances. `nclib rank` gives these probabilities as `p_best`, fitted on all zoos.
# Trust them less where your models share one source and one architecture.
#
# ## FaCe taken apart

# %% tags=["hide-input"]
PARTS = {
    "face": "both, temperature 0.05, spherical (ours)",
    "variance_collapse": "variance collapse alone",
    "class_fairness": "class fairness alone",
    "face, temperature 0.005": "both, temperature 0.005",
    "face, temperature 0.5": "both, temperature 0.5",
    "class_fairness_sharp": "fairness alone, temperature 0.005",
    "face, diagonal": "both, diagonal covariances",
    "face, z-scores": "both, as z-scores over the models",
}
ablation = {}
for name, every in tables.items():
    for part, label in PARTS.items():
        row = ablation[name, label] = {}
        for zoo, rows in [*every.groupby("zoo", sort=False), ("mean", every)]:
            tau = selection.ranks(rows, part)
            row[zoo] = str(tau)
            glue(f"{name} {zoo} part {part}", tau.value)
    fairness = every["class_unfairness"]
    glue(f"{name} unfairness median", fairness.median())
    glue(f"{name} unfairness largest", fairness.max())
pd.DataFrame(ablation).T.rename_axis(["scale", "FaCe of"])

# %% [markdown]
# **What we see.** In every zoo class fairness alone ranks worse than variance collapse alone, and the two together rank no
# better than variance collapse alone. This stays so with other temperatures, with diagonal covariances, and with the parts
# scaled as z-scores. On these features class fairness is often close to one, its maximum: in half of the cells the difference
# is at most about {glue:text}`demo unfairness median:.0e`.
#
# ## What it costs

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Scores computed from class statistics take milliseconds; N-LEEP, the slowest, takes up to two seconds. Seconds that a score takes on one thread, the fastest of three runs, against the number of samples, features and classes. Where one of these varies, the others stay at 1,000 samples, 128 features and 10 classes.", "name": "fig-cost"}, "image": {"alt": "N-LEEP lies far above all other scores, and its time rises with samples, features and classes. For the others time mostly rises with samples and features, and hardly with classes. There are three panels."}}
base = costs[["samples", "features", "classes"]].mode().iloc[0]
by_size = {}
for size in base.index:
    others = base.drop(size)
    rows = costs[(costs[others.index] == others).all(axis=1)]
    by_size[size] = rows.sort_values(size)
figures.seconds_of_scores(by_size)
plt.show()

# %% tags=["remove-cell"]
for size, rows in by_size.items():
    for score in [name for name in selection.LABELS if name in rows]:
        for number, seconds in zip(rows[size], rows[score], strict=True):
            glue(f"cost {score} {size} {number}", seconds)

# %% tags=["hide-input"]
spent = {}
for name, every in tables.items():
    if "seconds_tuning" in every:
        for zoo, rows in every.groupby("zoo", sort=False):
            medians = rows[["seconds_features", "seconds_tuning"]].median()
            spent[name, zoo] = {
                "features of a model": f"{medians['seconds_features']:.2f}",
                "fine-tuning it": f"{medians['seconds_tuning']:.1f}",
            }
            for column, seconds in medians.items():
                glue(f"{name} {zoo} {column}", seconds)
pd.DataFrame(spent).T.rename_axis(["scale", "seconds (median)"])

# %% [markdown]
# **What we see** ({numref}`fig-cost`). With all scores but N-LEEP, ranking costs little beside fine-tuning: the features of a
# model take {glue:text}`demo architectures seconds_features:.2f` seconds, fine-tuning it
# {glue:text}`demo architectures seconds_tuning:.1f`. For 1,000 samples with 128 features LEEP takes
# {glue:text}`cost leep samples 1000:.4f` seconds, variance collapse {glue:text}`cost variance_collapse samples 1000:.4f`,
# LogME {glue:text}`cost logme samples 1000:.4f`, and N-LEEP, which fits a mixture of Gaussians,
# {glue:text}`cost nleep samples 1000:.2f`. The time of N-LEEP grows with samples, features and classes. Scores from class
# statistics need only one pass over the samples. LogME, H-score, VCI, SFDA and NCTI factorise a matrix whose size is the number
# of features, so their time grows with it.
#
# ## Verdict

# %% tags=["hide-input"]
score_card(run.records, study="model_selection")

# %% [markdown]
# A correlation or tau is taken over the models of one zoo, on one task, with one seed. {term}`Replicates <replicate>` are the
# seeds, each averaged over zoos and tasks. Intervals are Student's. Correlations and taus, but not their differences, are
# averaged by {term}`Fisher's z`; so a mean over zoos is not the plain mean of their values. The models, zoos and tasks are
# fixed: the intervals say nothing about other models. At demo, and for the networks that we train at lab, each seed has other
# networks and other images; for the fourteen pre-trained models only the images differ.
#
# We take "better than earlier estimators" to mean better than their average. From FaCe's tau we subtract the mean tau of LEEP,
# NCE, N-LEEP, H-score and its shrunk form, LogME, GBC, TransRate and SFDA. C1 leaves out the zoo in which one late block is
# tuned, since little can change there.
#
# ## Is it the same on your machine?
#
# Here we measure a small cell of the study again, now and from scratch, and compare it with its record. {ref}`processors`
# explains the tolerances, and why the new numbers appear only on the built page of the book.

# %% tags=["live"]
run.live({"model_selection": measure})

# %% [markdown]
# ## What differs from the paper
#
# {ref}`published` compares our numbers with those that others published for full-sized networks.
#
# The paper's networks and data sets are full-sized; ours are small. We do not know FaCe's covariances, temperature and
# normaliser. All models of a zoo are fine-tuned with one learning rate and for one number of epochs, set in exploration; we do
# not reproduce the paper's protocol. At lab scale one late block of the fourteen models is tuned with a skip connection, with
# batch norms frozen, since full fine-tuning of all of them takes hours. Six of them also form a zoo of their own, in which they
# are tuned whole.
#
# What was changed, and why:
#
# - *Learning rates and numbers of epochs* are fixed. In earlier versions validation chose them and often kept no epoch, so that
#   seeds did not agree on the order of the models.
# - *Zoos* have 13 to 17 models on five tasks at demo, with eight seeds. Before, they had five to seven models with two seeds,
#   too few to decide whether FaCe is ahead of its rivals.
# - *The rival* in C2 is the average of nine estimators. In earlier versions FaCe had to beat the best of ten rivals, chosen
#   anew in each resample, and later all ten at once. In zoos as small as ours a nearly perfect score would fail both tests.
# - *Intervals* are over seeds; before, they were over models.
#
# ## On your own
#
# 1. What does it cost to trust a score? Fine-tune the model that it puts first, and see how far its accuracy is behind the best
#    model of the zoo.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
pd.DataFrame(
    {
        (name, zoo): {
            selection.LABELS[score]: selection.over_blocks(
                rows, partial(selection.regret, score=score)
            ).value
            for score in scored(rows)
        }
        for name, every in tables.items()
        for zoo, rows in every.groupby("zoo", sort=False)
    }
).round(3)
# FaCe never loses much. But a zoo has few models, and where two are about as good a score may rank
# badly and lose nothing.

# %% [markdown]
# 2. Split one class in two at random, so that no model can tell its halves apart. How do NC1 and class fairness change?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
generator = torch.Generator().manual_seed(0)
labels = torch.arange(4).repeat_interleave(50)
means = 3 * torch.randn(4, 8, generator=generator)
features = means[labels] + torch.randn(200, 8, generator=generator)
halves = torch.where((labels == 0) & (torch.arange(200) % 2 == 0), 4, labels)
for name, given in (("as they are", labels), ("one in two", halves)):
    stats = nclib.class_statistics(features, given)
    fair = nclib.class_fairness(stats)
    print(f"{name}: NC1 {nclib.nc1(stats):.2f}, class fairness {fair:.2f}")
# The halves overlap only with each other, so their overlaps are uneven and fairness falls. NC1
# rises, since it divides by the variance between the halves, which is next to nothing.

# %% [markdown]
# ## Rerun it at scale
#
# This command runs paper scale: ImageNet models on ten data sets, on a GPU. Lab scale needs small ImageNet models of your own
# in place of ours: name the module that registers them with timm in `imports`, and the models in `models`.
#
# ```bash
# .venv/bin/papermill notebooks/06_which_model_should_i_fine_tune.ipynb out.ipynb -p scale paper \
#     -p data_root ~/data -p device cuda
# ```
