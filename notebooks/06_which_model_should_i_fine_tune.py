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
# (selection)=
# # Which model should I fine-tune?
#
# **The claims.** Fine-tuning every pre-trained model to find the best one is dear; scoring each from its features on
# the target's training images is cheap. Ding et al. observe that collapse on the target data before fine-tuning
# correlates strongly with collapse after it (C1), and build on that a score, FaCe, which they report to rank
# pre-trained models better than earlier estimators, over architectures, source data sets and training losses (C2)
# {cite}`ding2023`.
#
# **FaCe** is the sum of two parts, each brought to [0, 1] over the models. *Variance collapse* is minus NC1 of the
# target's classes. *Class fairness* is how evenly each class overlaps with the others: classes are taken as Gaussians,
# and the softmax of a class's overlaps with the others should have a high entropy. What kind of Gaussians, and which
# temperature the softmax has, we do not know from the paper; ours are spherical, and 0.05, set beforehand.
#
# **How we test it.** A *zoo* is a set of pre-trained models that differ in one thing: in architecture, in what they
# learned from, or in the loss. Every model of a zoo is scored on a task's training images, then fine-tuned on them,
# and tested on others. A score is good if it ranks the models as their accuracies do: *weighted Kendall tau*, 1 for
# the same order, 0 for none, -1 for the opposite, in which mistakes at the top weigh most. We
#
# 1. hold collapse before fine-tuning against collapse after it,
# 2. compare FaCe with its rivals on all zoos,
# 3. take FaCe apart,
# 4. ask what the scores cost,
# 5. look at what was published for full-sized networks.

# %% tags=["parameters"]
scale: str = "demo"  # demo: embedded data; lab, paper: models and data of a data root
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
imports: list = None  # modules that register models of yours with timm
models: list = None  # pre-trained models by name, in place of the scale's zoos
tasks: list = None  # data sets by name, or folder:path, in place of the scale's
recompute: bool = False  # measure every cell again, beside the records

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
import time

import pandas as pd
import torch

import nclib
from nclib import ranking, selection
from nclib.models import Backbone
from nclib.tuning_studies import candidates

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
PUBLISHED = nclib.run.book_root() / "book" / "published"

# %% [markdown]
# ## Measure
#
# A cell of the study is one model on one task. Its scores are all those of `nclib.SCORES`. LEEP and NCE also need
# what the source classifier says of the images, which a network trained by contrast does not have; accuracy on the
# source, a score that looks at no target image, is known of the networks trained here. Then the model is fine-tuned as
# in {ref}`finetuning`: validation on a fifth of the training images chooses learning rate and number of epochs.


# %%
def source_of(cell, cache, images):
    """The model of a cell, and what its source classifier says: probabilities of images, accuracy on the source."""
    model, network = run.pretrained(cell, cache)
    if network is None:
        features = nclib.extract(model, images)
        return model, {"probabilities": ranking.source_probabilities(model, features)}
    if cell["loss"] == "contrastive":
        return model, {}
    logits = Backbone("source", network, model.transform)
    source = run.load(cell["source"], "test", per_class=20)
    right = nclib.extract(logits, source).argmax(1) == source.labels
    return model, {
        "probabilities": nclib.extract(logits, images).softmax(1),
        "source_accuracy": float(right.double().mean()),
    }


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


def fine_tuned(cell, model, train, test):
    """Accuracy of the model after fine-tuning, and collapse on the training images."""
    start = time.perf_counter()
    choice = nclib.finetune_best(candidates(cell, model, len(train.classes)), train)
    seconds = time.perf_counter() - start
    body, head = choice.tuned.backbone, choice.tuned.head
    right = head(nclib.extract(body, test)).argmax(1).cpu() == test.labels
    after = nclib.measure(nclib.extract(body, train), train.labels, metrics=["nc1"])
    return {
        "accuracy": float(right.double().mean()),
        "nc1_tuned": after["nc1"],
        "seconds_tuning": seconds,
    }


def published(cell):
    """Accuracy of a fully fine-tuned model as others measured it."""
    table = pd.read_csv(PUBLISHED / "fine_tuned_supervised_cnns.csv")
    names = {"fgvc-aircraft": "aircraft", "stanford-cars": "cars", "food101": "food"}
    names |= {"flowers102": "flowers", "oxford-iiit-pet": "pets"}
    dataset = names.get(cell["data"], cell["data"])
    row = table[(table["dataset"] == dataset)].set_index("model")
    model = cell["model"].rpartition(":")[2]
    return {"accuracy": float(row.loc[model, "accuracy"]) / 100}


def measure(cell, cache):
    """Every score of a model on a task, and its accuracy after fine-tuning."""
    train, test = run.task(cell)
    model, source = source_of(cell, cache, train)
    start = time.perf_counter()
    features = nclib.extract(model, train)
    seconds = {"seconds_features": time.perf_counter() - start}
    scores = nclib.score(features, train.labels, scores="all", **source)
    truth = (
        published(cell)
        if cell["method"] == "published"
        else fine_tuned(cell, model, train, test)
    )
    return {**scores, **unfairness(features, train.labels), **seconds, **truth}


table = run.study("model_selection", measure)
tables = {
    name: selection.in_zoos(rows)
    for name, rows in run.beside("model_selection", table).items()
}
for scale_name in tables:
    print(run.describe("model_selection", scale_name))

# %% [markdown]
# The cost of the scores is measured on random features, each score by itself.


# %%
def measure_cost(cell, cache):
    """Seconds that each score takes on features of so many samples, numbers and classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(cell["samples"]) % cell["classes"]
    means = torch.randn(cell["classes"], cell["features"], generator=generator)
    noise = torch.randn(cell["samples"], cell["features"], generator=generator)
    features = means[labels] + 2 * noise
    probabilities = torch.rand(cell["samples"], 100, generator=generator)
    probabilities /= probabilities.sum(1, keepdim=True)
    seconds = {}
    for name in SCORED:
        start = time.perf_counter()
        nclib.score(features, labels, probabilities=probabilities, scores=[name])
        seconds[name] = time.perf_counter() - start
    return seconds


SCORED = [name for name in nclib.SCORES if name != "source_accuracy"]
costs = run.study("score_cost", measure_cost)
print(run.describe("score_cost"))
