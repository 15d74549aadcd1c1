# %% [markdown]
# (own-measure)=
# # Measure a model on your images
#
# **What you'll do.** Take a pre-trained model and a folder of images. Measure how far the features of your images have
# collapsed, and find out how well simple classifiers work on these features, at the last layer and at the layers before it.
#
# **What you need.** A folder with a sub-folder of images for each class. You need neither training nor a GPU.
#
# **How long it takes.** One pass of the images through the model. This page takes seconds.
#
# Here the folder `photos` holds handwritten digits, and the model is a small network that we trained on Latin letters, so that
# this page downloads nothing. Replace `photos` with your own folder, and `recipe:latin.safetensors` with the name of a model,
# such as `resnet50.a1_in1k` (timm) or `torchvision:resnet18`.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "How this page makes its model and its images"}
import matplotlib.pyplot as plt

import nclib
from nclib.experiments.scratch import pretrain, workplace, write_images

# %matplotlib inline
workplace()
pretrain("latin")
write_images(nclib.load("digits", per_class=80), "photos")

# %% [markdown]
# ## On the command line
#
# Each class is a folder:

# %% language="bash"
# ls photos
# ls photos/3 | head -3

# %% [markdown]
# `nclib extract` writes the features of the images, with their labels; `nclib measure` prints their collapse metrics:

# %% language="bash"
# nclib extract recipe:latin.safetensors folder:photos features.safetensors --split train
# nclib measure features.safetensors

# %% [markdown]
# **How to read it.** The last column says whether lower or higher values mean more collapse. Begin with `cdnv`. For two
# classes, CDNV is the mean of their two variances divided by the squared distance between their class means; `cdnv` is its
# average over all pairs of classes. If it is far below one, classes are much farther apart than they are wide. If it is near
# one, as here, they are about as wide as they are far apart. (`overlap`, which says how much two classes overlap if they are
# taken as spherical Gaussians, is still small: in 64 dimensions such clouds hardly meet.) `nc1` gives most weight to the
# directions in which class means differ least, so one pair of similar classes can make it large. [](../book/metrics.md) defines
# every metric, and `--metrics all` prints them all.
#
# A folder without `train` and `test` inside is split for you: a fifth of every class is the test split, and `nclib extract`
# takes the rest unless you say `--split test` or `--split all`.

# %% [markdown]
# ## In Python
#
# The same steps take a few lines. With `cache`, features are kept in a folder: a second run reads them, and an interrupted run
# continues where it stopped.

# %%
train, test = nclib.load("folder:photos"), nclib.load("folder:photos", "test")
model = nclib.backbone("recipe:latin.safetensors", device="cpu")
features = nclib.extract(model, train, cache="cache")  # (N, d)
tested = nclib.extract(model, test, cache="cache")
print(nclib.measure(features, train.labels, metrics=["nc1", "cdnv"]))

# %% [markdown]
# ## How well do classifiers work on these features?
#
# We fit three classifiers to the features of the training images. The linear probe holds out a fifth of the training
# images, tries several strengths of its penalty on them, and keeps the best.

# %%
import pandas as pd

probes = {
    "linear probe": nclib.LinearProbe(C=[0.01, 0.1, 1.0]),
    "nearest class mean": nclib.NearestClassMean(),
    "nearest neighbours": nclib.KNN(),
}
accuracy = {
    name: probe.fit(features, train.labels).score(tested, test.labels)
    for name, probe in probes.items()
}
pd.Series(accuracy, name="test accuracy").round(3).to_frame()

# %% [markdown]
# **How to read it.** The linear probe shows how accurate a trained classifier of these features is. When features have
# collapsed, it is just as accurate to choose the nearest class mean. Here the nearest class mean is far less accurate than the
# probe: the classes are spread wide, but a linear classifier can still separate them.
#
# What if there are only five images of each class? `few_shot` draws many small tasks (*episodes*), here of five classes, and
# reports the mean accuracy with its 95% interval:

# %%
episodes = nclib.few_shot(
    features, train.labels, ways=5, shots=5, queries=10, episodes=200
)
print(f"{episodes.value:.3f} [{episodes.low:.3f}, {episodes.high:.3f}]")

# %% [markdown]
# ## Which classes are close to each other?
#
# A mean over pairs hides which classes are close. `cdnv_pairs` gives the CDNV of each pair.

# %% mystnb={"figure": {"caption": "0 and 6 are the easiest to separate from the other digits; 2 and 7 are the hardest to separate from each other. Each square is a pair of digits; a darker square means a higher CDNV, so less collapse.", "name": "fig-own-pairs"}, "image": {"alt": "Heat map of the ten digits against each other: the rows of 0 and 6 are the palest; the pair of 2 and 7 is by far the darkest, then come 5 and 9, 4 and 8, 3 and 5, and 3 and 9."}}
pairs = nclib.cdnv_pairs(nclib.class_statistics(features, train.labels))
figure, axis = plt.subplots(figsize=(4.2, 3.5))
shades = axis.imshow(pairs, cmap="Blues", vmin=0)
axis.set(xticks=range(10), yticks=range(10))
axis.set(xticklabels=train.classes, yticklabels=train.classes)
axis.grid(False)
figure.colorbar(shades, label="CDNV of the pair")
plt.show()

# %% [markdown]
# **What to do next.** Look at images of the darkest pairs. If people confuse them too, merge the classes or collect more
# images; if not, fine-tune ({ref}`own-finetuning`), or try a model that was trained on finer distinctions ({ref}`own-ranking`).

# %% [markdown]
# ## Which layer is best?
#
# The last layer is adapted to the classes that the model was trained on. `layerwise` measures every layer in one pass, and fits
# a linear probe to each. All these probes have the same penalty strength, so the last row differs from the probe above:

# %%
table = nclib.layerwise(model, train, test)
table.round(3)

# %% mystnb={"figure": {"caption": "In this run a linear probe of the last stage is the most accurate, by a few test images, although by CDNV the stage before it is more collapsed. Left: collapse along the layers. Right: the test accuracy of a linear probe of each layer.", "name": "fig-own-layers"}, "image": {"alt": "Two curves over the layers of the network. CDNV falls up to the third stage and rises a little at the fourth. The accuracy of a linear probe rises up to the fourth stage. The last layer equals the fourth stage in both."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
left.plot(table.index, table["cdnv"], marker="o")
left.set(title="CDNV (lower is more collapsed)", ylim=(0, None))
right.plot(table.index, table["accuracy"], marker="o", color="C1")
right.set(title="test accuracy of a linear probe", ylim=(0, 1))
plt.show()

# %% [markdown]
# **How to read it.** Here accuracy rises to the end. Where accuracy falls towards the end, the last layers have probably lost
# what your classes need: take the features of an earlier layer, `nclib.extract_layers(model, images, ["layer3.0"])`, or tune
# the last layers. Do not pick the layer by its collapse alone: metrics may disagree, as `nc1` and `cdnv` do here on the last
# two stages, and {ref}`downstream` shows that the most collapsed layer is often not the best.

# %% [markdown]
# ## Next
#
# - Which of several models should you take? {ref}`own-ranking`
# - How much does it help to tune one layer? {ref}`own-finetuning`
# - If the features of all images do not fit in memory, `nclib statistics MODEL DATA OUTPUT` keeps only class statistics,
#   also on several GPUs. In Python it is `nclib.feature_statistics(model, images)`.
# - Folders, names of data and models, images that are not sorted into folders, a model of your own: [](../book/own_models.md).
