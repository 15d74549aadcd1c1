# %% [markdown]
# (own-ranking)=
# # Rank models for your images
#
# **What you'll do.** Rank pre-trained models by how well they may transfer to your images, without fine-tuning any of them. See
# how certain the ranking is, and check its first few models with a linear probe.
#
# **What you need.** A folder with a sub-folder of images for each class, and the names of some models.
#
# **How long it takes.** Ranking takes one pass of the images through each model; fine-tuning takes many. This page takes about
# a minute, most of it to train its small models.
#
# Here `photos/train` holds twenty handwritten images of each digit, and `photos/test` twice as many. Five small networks stand
# in for the models that you would download: three were trained on Latin, Greek and Georgian letters; `brief` was trained on
# Latin letters for one epoch; `untrained` has random weights.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "How this page makes its models and its images"}
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import nclib
from nclib.experiments.scratch import MODELS, pretrain, workplace, write_images

# %matplotlib inline
workplace()
pretrain(*MODELS)
names = [f"recipe:{name}.safetensors" for name in MODELS]
Path("models.txt").write_text("\n".join([*names, ""]))
for split, number in {"train": 20, "test": 40}.items():
    write_images(nclib.load("digits", split, per_class=number), f"photos/{split}")

# %% [markdown]
# ## On the command line
#
# `models.txt` has the name of one model on each line. Replace these names with your own, such as `resnet50.a1_in1k` and
# `torchvision:resnet18`. You can also list the names on the command line: `--models a,b`. Here `--scores` keeps the table
# short. Without it, all scores except the slow ones are computed.

# %% language="bash"
# cat models.txt
# nclib rank --data folder:photos --models-from models.txt --scores face,logme,gbc,sfda \
#     --cache cache --csv scores.csv --figure scores.png

# %% mystnb={"figure": {"caption": "Any of the five models may be first by FaCe: these images cannot tell them apart. This is what `--figure` draws. Left: FaCe with its interval; an open circle would mark a model that is behind the first beyond chance. Right: every computed score, scaled from the worst (0) to the best (1) of these models.", "name": "fig-own-ranking"}, "image": {"alt": "Five models with their FaCe and its interval; the intervals overlap, and all circles are filled. Beside them a grid of scores, in which the model trained on Latin letters is best by most scores."}}
from IPython.display import Image, display

display(Image("scores.png"))

# %% [markdown]
# **How to read it.** First read the sentence above the table. It says which models lead, which models these images cannot tell
# apart, and how many images would be enough to separate them. In the figure, a filled circle marks a model that cannot be told
# apart from the first when both are compared on the same images; an open circle marks a model that is behind beyond chance.
# `p_first` is the probability of being first *by this score* on other images of the same kind; it can be small for a filled
# circle. It is not the probability of being the best after fine-tuning; `p_best` estimates that probability from how well FaCe
# ranked the book's sets of models
# (its *zoos*).
#
# **What to do next.** If one model leads, fine-tune it ({ref}`own-finetuning`). If several lead, let the linear probe decide
# among them: `--verify 3` sorts the first three by accuracy on held-out images, with Wilson's intervals, and McNemar's exact
# test compares each with the first. If the probe cannot tell them apart either, take the smallest model.

# %% [markdown]
# ## In Python

# %%
train, test = nclib.load("folder:photos"), nclib.load("folder:photos", "test")
names = Path("models.txt").read_text().split()
scores = ["face", "logme", "gbc", "sfda"]
ranking = nclib.rank_models(names, train, scores=scores, device="cpu", cache="cache")
short = ranking.short_names  # without what all the names have in common
ranking.table.rename(short).round(3)

# %% [markdown]
# For each model, `ranking.certainty` says whether it may be the first. It also gives the 95% intervals of the model's score and
# rank, and a p-value, `p_shuffled`, which is small if the score is better than with shuffled labels. With 19 shuffles the
# p-value cannot be below one twentieth.

# %%
ranking.certainty.table.rename(short).round(2)

# %% [markdown]
# Do the scores agree? This is Kendall's rank correlation of each pair of scores:

# %%
ranking.agreement().round(2)

# %% [markdown]
# **How to read it.** Where scores disagree, do not trust any of them much on your images: check with a probe. Many scores say
# nothing if you have no more images than the model has features; a note below the printed table then says so. The table of all
# scores is in {ref}`own-scores`.

# %% [markdown]
# ## Was the ranking right?
#
# These models are small, so we can train a linear probe and fine-tune the whole network for each of the five, and test both on
# the images in `photos/test`.


# %%
def tested(tuned):
    """Tune a model on the training images; returns its accuracy on the test images."""
    nclib.finetune(tuned, train, nclib.Tuning(epochs=8))
    logits = tuned.head(nclib.extract(tuned.backbone, test))
    return float((logits.argmax(1) == test.labels).double().mean())


found = {}
for name in names:
    model = nclib.backbone(name, device="cpu")
    found[name] = {
        "linear probe": tested(nclib.linear_probe(model, num_classes=10)),
        "full fine-tuning": tested(nclib.full_tuning(model, num_classes=10)),
    }
together = ranking.table[["face", "logme"]].join(pd.DataFrame(found).T)
together.rename(short).round(3)

# %% mystnb={"figure": {"caption": "LogME orders the models nearly as a linear probe does. After full fine-tuning the order is lost: the untrained network comes second. Each point is a model: its LogME, computed from the features as they are, and its test accuracy after training on the digits.", "name": "fig-own-truth"}, "image": {"alt": "Two scatter plots of five models, LogME against test accuracy. For the linear probe, accuracy rises with LogME from the untrained network to the network trained on Latin letters. After full fine-tuning there is no such order: the Latin and the untrained model are the best, and the briefly trained one is the worst."}}
figure, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True)
for axis, way in zip(axes, ["linear probe", "full fine-tuning"], strict=True):
    axis.scatter(together["logme"], together[way])
    for label, row in together.rename(short).iterrows():
        beside = {"georgian": (-12, 6), "greek": (-8, 7)}.get(label, (4, -11))
        place = row["logme"], row[way]
        axis.annotate(label, place, beside, textcoords="offset points")
    axis.set(title=way, xlabel="LogME")
    axis.margins(0.2)
axes[0].set(ylabel="test accuracy")
plt.show()

# %% [markdown]
# **How to read it.** Scores describe the features before any tuning, so they say most about methods that do not change the
# features, such as a linear probe. Here, after full fine-tuning, the untrained network beats most of the others. Where that
# happens, pre-training matters little, and a score of the pre-trained features cannot be expected to order the models well.
# Five models and one data set only show how to read a ranking, not how good it is: {ref}`selection` tests that on many models
# and data sets.

# %% [markdown]
# ## Is an earlier layer better?
#
# With `layers="best"` every score is computed at all layers in the same pass, and the best value counts:

# %%
over = nclib.rank_models(names, train, layers="best", scores=["logme"], device="cpu")
over.table.rename(short).round(3)

# %% [markdown]
# **How to read it.** The column `layer` names the layer with the best score. The best of many scores is a little too
# optimistic, and more so with fewer images. Take it as a hint about which layer to try: {ref}`own-finetuning` tunes one. On the
# command line, use `--layers best`. `--layers mean` takes the mean over layers; with a list of layers, the best of the list
# counts.

# %% [markdown]
# ## Names of models
#
# A name may contain wildcards, as in timm's `list_models`: `--models 'resnet18*,torchvision:vgg1?'`; `nclib.model_names` lists
# the models that match. `--models popular` is a short list to start with on a laptop; its weights take about a gigabyte. For
# images it holds ResNet-18 and -50, MobileNetV3, EfficientNet-B0, DenseNet-121, ConvNeXt-T, ViT-S, DeiT-S, Swin-T and CLIP's
# ViT-B/32; for texts it holds six encoders of 20 to 110 million parameters. All names are checked, on the hub too, before the
# first model is loaded. You can rank a model of your own beside them; see {ref}`own-backbone`.
#
# If a model fails, or an image cannot be read, the output names it, and the ranking goes on without it. The exit code is 1 if a
# model failed. `nclib rank` takes all images of a folder unless `--split` says otherwise; in Python,
# `train, broken = train.readable()` leaves broken images out.
#
# ## How the intervals are made
#
# The images are split into twenty blocks, and each score is computed again without each block in turn (a jackknife). The blocks
# are the same for all models, so the comparison of two models is paired. FaCe and NCTI are sums of parts that are scaled over
# the models; their `p_shuffled` tests only the first part of the sum. The interval describes other images of the same kind, in
# the same number. It need not contain the score that many more images would give, because many scores, LogME above all, grow
# with the number of images. With only two or three images of each class, the interval covers the mean score less often than 95%
# of the time. Intervals take little time compared with the forward passes; `--no-sure`, in Python `sure=False`, turns it off.
