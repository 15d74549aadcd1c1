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
# (pixels)=
# # Choose a model for pixels and words
#
# **The claim.** FaCe also ranks pre-trained models for semantic segmentation and for text classification (C3)
# {cite}`ding2023`. Nothing in a score says that a sample is an image: a pixel's features, or a text's, have class
# means and variances as well.
#
# **How we test it.** As in {ref}`selection`: zoos of models that differ in architecture, source data or loss are scored
# on a task's training data and then fine-tuned, and a score is good if it orders models as their quality does.
#
# - *Pixels.* A scene shows four digits, or letters, each in a disc on a grainy ground, and every pixel has the class of
#   its disc, or is ground. The features of a pixel are those of the network's last map at its place; so many pixels of
#   every class are drawn at random. Quality is mean intersection over union (IoU) after all of the network has been
#   fine-tuned together with a linear classifier of the map's places.
#
# - *Words.* A docstring belongs to the library, or the part of scipy, that it comes from. Encoders give a text the mean
#   of its words' vectors, some with layers above; they have learned to tell parts of another library apart. Quality is
#   accuracy after fine-tuning on twenty docstrings of every class.

# %% tags=["parameters"]
scale: str = "demo"  # demo: embedded data; lab, paper: models and data of a data root
device: str = "auto"  # auto, cpu, or cuda
seeds: list = None  # such as [0, 1]; None is what the scale says
data_root: str = None  # of real data; None is the variable NCLIB_DATA
imports: list = None  # modules that register models of yours with timm
recompute: bool = False  # measure every cell again, beside the records

# %% tags=["hide-input", "nbval-ignore-output"]
# %matplotlib inline
import copy
import time

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import cross_entropy

import nclib
from nclib.fitting import fit_best, probe_layer
from nclib.models import Backbone
from nclib.scene_sets import UNLABELLED
from nclib.segmentation import Segmenter, mean_iou, pixel_layer, prepared
from nclib.text_sets import tokens
from nclib.words import TextRecipe, train_words

run = nclib.start(
    scale,
    device=device,
    seeds=seeds,
    data_root=data_root,
    imports=imports,
    recompute=recompute,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Scenes of digits and of Greek letters, and the classes of their pixels, one shade a class; black is ground.", "name": "fig-scenes"}, "image": {"alt": "Two rows of grey pictures, each with four discs that show a digit or letter, beside maps of four coloured discs."}}
fig, axes = plt.subplots(2, 6, figsize=(9, 3.2))
for row, name in zip(axes, ("digits", "glyphs/greek[0:12]"), strict=True):
    shown = nclib.scenes(name, number=3)
    for i, (picture, mask) in enumerate(zip(shown.images, shown.masks, strict=True)):
        row[2 * i].imshow(picture[0], cmap="gray", vmin=0, vmax=255)
        row[2 * i + 1].imshow(mask, cmap="nipy_spectral", vmin=0, vmax=13)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
plt.show()

# %% [markdown]
# ## Measure pixels
#
# The classifier of a segmentation network begins as a linear probe of the drawn pixels. A fifth of the scenes chooses
# the learning rate.


# %%
def settings_of(cell, batch_size):
    """What is chosen of: the learning rates of a cell."""
    common = {"epochs": cell["epochs_tuned"], "seed": cell["seed"]}
    return [
        nclib.Tuning(learning_rate=rate, batch_size=batch_size, **common)
        for rate in cell["rates"]
    ]


def loss_of_pixels(module, inputs, masks):
    """Cross-entropy of every labelled pixel."""
    return cross_entropy(module(inputs), masks, ignore_index=UNLABELLED)


def measure_scenes(cell, cache):
    """Scores of pixels, and mean IoU on test scenes after fine-tuning."""
    model = run.backbone(cell, cache)
    train, test = (
        nclib.scenes(cell["data"], split, number=cell[split], data_root=run.data_root)
        for split in ("train", "test")
    )
    layer = pixel_layer(model, train.images)
    features, labels = nclib.pixel_features(
        model, train, per_class=cell["pixels_per_class"], layer=layer
    )
    scores = nclib.score(features, labels, scores=SCORED)
    head = probe_layer(features, labels, len(train.classes))

    def make():
        body = copy.deepcopy(model.model).requires_grad_(cell["method"] == "full")
        own = Backbone(model.name, body, model.transform)
        return Segmenter(own, head, layer)

    start = time.perf_counter()
    inputs = prepared(model, train.images)
    tuned = (
        make().eval()
        if cell["method"] == "linear"
        else fit_best(
            make, inputs, train.masks, loss_of_pixels, settings_of(cell, 8), mean_iou
        )
    )
    return {
        **scores,
        "class_unfairness": 1
        - nclib.class_fairness(nclib.class_statistics(features, labels)),
        "accuracy": mean_iou(tuned, prepared(model, test.images), test.masks),
        "probe_iou": mean_iou(make().eval(), prepared(model, test.images), test.masks),
        "seconds_tuning": time.perf_counter() - start,
    }


SCORED = [
    name
    for name in nclib.SCORES
    if name not in ("leep", "nce", "source_accuracy", "nleep")
]
tables = {
    "pixels": run.beside(
        "scene_selection", run.study("scene_selection", measure_scenes)
    )
}
for scale_name in tables["pixels"]:
    print(run.describe("scene_selection", scale_name))

# %% [markdown]
# ## Measure words


# %%
def accuracy(module, words, labels):
    """Share of texts that a classifier gives their label."""
    with torch.no_grad():
        return float((module(words).argmax(1) == labels).double().mean())


def loss_of_texts(module, words, labels):
    """Cross-entropy of texts."""
    return cross_entropy(module(words), labels)


def measure_texts(cell, cache):
    """Scores of texts, and accuracy on test texts after fine-tuning."""
    recipe = TextRecipe(
        **{name: cell[name] for name in TextRecipe().config if name in cell}
    )
    network = train_words(recipe, cache=cache, data_root=run.data_root)
    train, test, source = (
        nclib.texts(name, split, per_class=number, data_root=run.data_root)
        for name, split, number in (
            (cell["data"], "train", cell["train_per_class"]),
            (cell["data"], "test", cell["test_per_class"]),
            (recipe.source, "test", None),
        )
    )
    words = tokens(train.texts)
    order = torch.randperm(
        len(words), generator=torch.Generator().manual_seed(0)
    )  # a fifth is held out
    words, labels = words[order], train.labels[order]
    with torch.no_grad():
        features = network.backbone(words)
        said = network(words).softmax(1)
    right = accuracy(network, tokens(source.texts), source.labels)
    scores = nclib.score(
        features, labels, scores="all", probabilities=said, source_accuracy=right
    )
    head = probe_layer(features, labels, len(train.classes))

    def make():
        return torch.nn.Sequential(*copy.deepcopy([network.backbone, head]))

    start = time.perf_counter()
    tuned = fit_best(
        make, words, labels, loss_of_texts, settings_of(cell, 32), accuracy
    )
    seconds = time.perf_counter() - start
    with torch.no_grad():
        after = nclib.measure(tuned[0](words), labels, metrics=["nc1"])
    return {
        **scores,
        "class_unfairness": 1
        - nclib.class_fairness(nclib.class_statistics(features, labels)),
        "accuracy": accuracy(tuned, tokens(test.texts), test.labels),
        "nc1_tuned": after["nc1"],
        "seconds_tuning": seconds,
    }


tables["words"] = run.beside(
    "text_selection", run.study("text_selection", measure_texts)
)
for scale_name in tables["words"]:
    print(run.describe("text_selection", scale_name))
