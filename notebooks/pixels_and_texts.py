# %% [markdown]
# (own-pixels)=
# # Rank models for pixels and texts
#
# **What you'll do.** Measure and rank models for samples that are not images: pixels of a scene (for semantic segmentation), or
# texts.
#
# **What you need.** Scenes with a label for every pixel, or a table of texts and labels. Metrics and scores work on features
# and labels, so they suit any kind of sample.
#
# **How long it takes.** One pass of the scenes or texts through each model. This page takes less than a minute.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "How this page makes its models"}
import matplotlib.pyplot as plt
import pandas as pd

import nclib
from nclib.experiments.scratch import pretrain, workplace

# %matplotlib inline
workplace()
pretrain("latin", "greek", "untrained")

# %% [markdown]
# ## Pixels
#
# `nclib.scenes("digits[0:2]")` composes scenes of handwritten zeros and ones, so there are three classes: the background
# (called `ground`), zero and one. To use your own scenes, name `folder:PATH`, a folder that contains `train/images` and
# `train/labels`. The labels are PNG images that hold the class index of each pixel, or 255 for a pixel without a class;
# `classes.txt` may name the classes, one on each line.

# %% mystnb={"figure": {"caption": "A scene and its labels: every pixel has a class, and the background is a class, too.", "name": "fig-own-scene"}, "image": {"alt": "Two square pictures side by side: handwritten zeros and ones on black discs, on a mottled grey background; and the same discs in one colour for zeros and another for ones."}}
scenes = nclib.scenes("digits[0:2]", number=60)
figure, axes = plt.subplots(1, 2, figsize=(5, 2.5))
axes[0].imshow(scenes.images[0, 0], cmap="gray")
axes[1].imshow(scenes.masks[0], cmap="viridis")
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# `pixel_features` draws pixels of every class at random, and reads the model's feature map at their positions. It works with
# convolutional networks, not with vision transformers. If you do not name a `layer`, it uses the deepest layer whose feature
# map has at least one row for every sixteen rows of the scene; deeper feature maps are too coarse. These scenes are small, so
# we take an earlier layer.
# (`rank_models` and `nclib rank` take images and texts, not scenes.)

# %%
models = {
    name: nclib.backbone(f"recipe:{name}.safetensors", device="cpu")
    for name in ["latin", "greek", "untrained"]
}
pixels = {
    name: nclib.pixel_features(model, scenes, per_class=200, layer="layer2.0")
    for name, model in models.items()
}
print(nclib.measure(*pixels["latin"], metrics=["nc1", "cdnv"]))

# %% [markdown]
# All models are scored on the same pixels. FaCe is scaled over the models, so it needs the class statistics of all of them at
# once. To check the scores, we fit a linear probe to these pixels, and test it on pixels of other scenes:

# %%
others = nclib.scenes("digits[0:2]", "test", number=60)
table = pd.DataFrame(
    {name: dict(nclib.score(*each, scores=["logme"])) for name, each in pixels.items()}
).T
table["face"] = nclib.face([nclib.class_statistics(*each) for each in pixels.values()])
table["probe"] = [
    nclib.LinearProbe(C=[0.1, 1.0, 10.0])
    .fit(*pixels[name])
    .score(*nclib.pixel_features(model, others, per_class=200, layer="layer2.0"))
    for name, model in models.items()
]
table.round(3)

# %% [markdown]
# **How to read it.** Higher is better in every column; guessing is right on one pixel in three. If the scores and the probe put
# the same model first, take it. If not, trust the probe, or fine-tune the first few models. Here FaCe and the probe put the
# Latin model first; LogME puts the Greek model first. {ref}`pixels` shows how far scores can be trusted for pixels.

# %% [markdown]
# ## Texts
#
# Texts come from a table with the columns `text` and `label`, as in `nclib.texts("file:reviews_{split}.csv")`, or from the
# Hugging Face hub, as in `nclib.texts("hf:stanfordnlp/imdb")`; [](../book/files.md) says which other formats can be read. Here
# the texts are docstrings of six libraries, and the task is to tell which library a docstring comes from.

# %%
train = nclib.texts("docstrings/libraries", per_class=40)
test = nclib.texts("docstrings/libraries", "test", per_class=40)
print(train, train.classes)

# %% [markdown]
# Any encoder will do, as long as it turns each text into a row of numbers. Ours need no download: they count words, and keep
# the main directions of the counts (by a truncated SVD):

# %% tags=["hide-input"]
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline


def encoder(width, **words):
    """An encoder that counts words, or parts of words, and keeps `width` numbers."""
    counts = TfidfVectorizer(sublinear_tf=True, **words)
    return make_pipeline(
        counts, TruncatedSVD(width, algorithm="arpack", random_state=0)
    )


encoders = {
    "words, 8 numbers": encoder(8),
    "words, 64 numbers": encoder(64),
    "parts of words, 64 numbers": encoder(64, analyzer="char_wb", ngram_range=(2, 4)),
}

# %%
found = {}
for name, made in encoders.items():
    features = made.fit_transform(train.texts)
    probe = nclib.LinearProbe(C=[1.0, 10.0, 100.0]).fit(features, train.labels)
    found[name] = {
        **nclib.score(features, train.labels, scores=["logme", "sfda"]),
        "probe": probe.score(made.transform(test.texts), test.labels),
    }
pd.DataFrame(found).T.round(3)

# %% [markdown]
# **How to read it.** The scores look at the training texts only; `probe` is the accuracy of a linear probe on the test texts,
# where guessing is right on one text in six. `SentenceTransformer(name).encode(texts)` gives features for the same use.
#
# ### Encoders from the hub
#
# After `pip install '.[transformers]'` you can name encoders, in Python and on the command line. A name is that of a model on
# the Hugging Face hub; `folder:PATH` names a folder with the files of a model; `[:4]` after a name keeps the first four layers:
#
# ```bash
# nclib extract sentence-transformers/all-MiniLM-L6-v2 'file:reviews_{split}.csv' features.npz --layer 3
# nclib rank --data 'file:reviews_{split}.csv' --by logme \
#     --models 'sentence-transformers/all-MiniLM-L6-v2,sentence-transformers/all-MiniLM-L6-v2[:4]'
# ```
#
# ```python
# texts = nclib.texts("file:reviews_{split}.csv")
# held_out = nclib.texts("file:reviews_{split}.csv", "test")
# names = ["sentence-transformers/all-MiniLM-L6-v2", "microsoft/deberta-v3-small"]
# print(nclib.rank_models(names, texts))
# encoder = nclib.text_encoder(names[0])
# print(nclib.layerwise(encoder, texts, held_out))
# ```
#
# `nclib.text_features(encoder, texts)` gives the features alone, and `nclib.text_layers(encoder, texts, [0, "last"])` gives the
# features of any layers in one pass; `encoder.layers` lists the names of the layers.
