# %% [markdown]
# (own-finetuning)=
# # Fine-tune one layer
#
# **What you'll do.** Tune one layer of a pre-trained model on your images, follow the training, and see how the features
# change. Then save what was trained.
#
# **What you need.** A folder with a sub-folder of images for each class, and some images held out to validate on.
#
# **How long it takes.** The images pass once through the layers before the tuned one; each epoch then runs only the rest of the
# network. This page takes less than a minute.
#
# Here `photos` holds handwritten digits, and the model is a small network that we trained on Latin letters. Replace both with
# your own: a folder of images, and a model such as `nclib.backbone("resnet50.a1_in1k")`.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "How this page makes its model and its images"}
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

import nclib
from nclib.experiments.scratch import pretrain, workplace, write_images

# %matplotlib inline
workplace()
pretrain("latin")
for split, number in {"train": 20, "test": 40}.items():
    write_images(nclib.load("digits", split, per_class=number), f"photos/{split}")

# %% [markdown]
# ## Which layer?
#
# `layers` lists the layers that can be tuned, and the share of the model's parameters that each one has:

# %%
train, test = nclib.load("folder:photos"), nclib.load("folder:photos", "test")
model = nclib.backbone("recipe:latin.safetensors", device="cpu")
nclib.layers(model).round(3)

# %% [markdown]
# Layers near the end are the usual choice. {ref}`own-measure` shows how to compare the layers on your images, and
# {ref}`finetuning` compares layers and ways of tuning on many data sets.

# %% [markdown]
# ## Train it
#
# `skip_tuning` makes a copy of the model in which one block is trained, together with a new classifier. A skip connection adds
# the tuned block's output to the features. The model itself stays as it is.

# %%
tuned = nclib.skip_tuning(model, "layer3.0", num_classes=10)
print(f"{nclib.trainable_share(tuned):.1%} of the parameters are trained")

# %% [markdown]
# `finetune` first fits the classifier as a linear probe, so epoch 0 shows the result before tuning. If you give `validation`
# images, it keeps the weights of the epoch that is best on them. To keep this page short, we validate on the test images; for
# real results, hold out other images.

# %%
scores = nclib.finetune(tuned, train, nclib.Tuning(epochs=8), validation=test)
log = pd.DataFrame({"accuracy": scores.accuracies, "loss": scores.losses})
log.rename_axis("epoch").round(3)

# %% [markdown]
# **How to read it.** Accuracy should end above its value at epoch 0. It may fall while the learning rate is high, and recover
# later, as here. If it stays below, the rate is probably too high for so few images, and a warning says what to try. `patience`
# stops training when accuracy no longer improves, `nclib.finetune_best` chooses the settings on held-out images, and
# `checkpoint` names a file from which an interrupted training run continues.

# %% [markdown]
# ## Compare ways of tuning
#
# Each way of tuning gives a torch module that `finetune` trains. At epoch 0 nothing is tuned yet, so we see the accuracy of a
# linear probe. With the skip connection, the probe uses the sum of the features and the block's output; without it, the
# features alone.

# %%
ways = {
    "one layer, with skip": nclib.skip_tuning(model, "layer3.0", num_classes=10),
    "one layer": nclib.layer_tuning(model, "layer3.0", num_classes=10),
    "everything": nclib.full_tuning(model, num_classes=10),
}
settings = nclib.Tuning(epochs=8)
logs = {
    name: nclib.finetune(way, train, settings, validation=test)
    for name, way in ways.items()
}
compared = pd.DataFrame(
    {
        "share trained": {n: nclib.trainable_share(way) for n, way in ways.items()},
        "epoch 0": {n: found.accuracies[0] for n, found in logs.items()},
        "best epoch": {n: found.accuracies[found.best] for n, found in logs.items()},
    }
)
compared.round(3)

# %% mystnb={"figure": {"caption": "With twenty images of each digit, tuning one layer with a skip connection comes close to tuning everything, in this one run. Left: accuracy on the test images after each epoch. Right: the loss.", "name": "fig-own-log"}, "image": {"alt": "Curves of accuracy and loss over eight epochs for three ways of tuning. With one layer tuned, with or without the skip connection, accuracy falls in the second and third epoch, and then climbs above its value at the start. With everything tuned it rises, dips in the third epoch, though not below its value at the start, and ends highest. One layer without the skip connection falls furthest and ends lowest."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 3))
for name, found in logs.items():
    axes[0].plot(found.accuracies, marker=".", label=name)
    axes[1].plot(found.losses, marker=".", label=name)
axes[0].set(title="accuracy", xlabel="epoch")
axes[1].set(title="loss", xlabel="epoch")
axes[0].legend()
plt.show()

# %% [markdown]
# ## What tuning does to the features
#
# We measure collapse by {term}`CDNV` (lower is more collapsed), on the training images and on the test images, before and after
# tuning:


# %%
def collapse(backbone) -> dict[str, float]:
    """CDNV on both splits."""
    return {
        split: nclib.cdnv(nclib.feature_statistics(backbone, images))
        for split, images in {"train": train, "test": test}.items()
    }


pd.DataFrame({"before": collapse(model), "after": collapse(tuned.backbone)}).round(3)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "After tuning, images of the same digit lie closer together, relative to the distances between the class means. Each point is a test image of one of three digits that the model confuses, drawn in the plane through the three class means. Distances are in units of the root mean square distance between these means.", "name": "fig-own-features"}, "image": {"alt": "Two scatter plots of test images of the digits 3, 5 and 9. Before tuning the three clouds overlap; after tuning they are smaller, and overlap less."}}
from sklearn.decomposition import PCA

shown = ["3", "5", "9"]
rows = [i for i, k in enumerate(test.labels) if test.classes[k] in shown]
three = test.at(torch.tensor(rows))
digits = [three.classes[k] for k in three.labels]
figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), sharex=True, sharey=True)
for axis, (title, backbone) in zip(
    axes, {"before": model, "after": tuned.backbone}.items(), strict=True
):
    features = nclib.extract(backbone, three)
    stats = nclib.class_statistics(features, digits)
    flat = PCA(2).fit(stats.means).transform(features)
    flat /= torch.pdist(stats.means).square().mean().sqrt()
    for digit in shown:
        points = flat[[name == digit for name in digits]]
        axis.scatter(*points.T, s=12, alpha=0.8, label=digit)
    axis.set(title=title)
axes[1].legend(title="digit", loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# **How to read it.** CDNV falls on both splits, but more on the training images. Before tuning, CDNV was about the same on both
# splits, so the gap afterwards is a sign of some overfitting. If your test images do not collapse at all, more training is
# unlikely to help; more images may.

# %% [markdown]
# ## Use it, and save it
#
# What does the tuned model predict?

# %%
logits = tuned.head(nclib.extract(tuned.backbone, test))
predicted = [test.classes[i] for i in logits.argmax(1)]
wrong = [
    (i, answer, test.classes[k])
    for i, (answer, k) in enumerate(zip(predicted, test.labels, strict=True))
    if answer != test.classes[k]
]
print(f"{len(wrong)} of {len(test)} images are wrong")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Look at the errors before you tune further: they may show which classes need more images. Above each image are the model's answer and the right answer.", "name": "fig-own-errors"}, "image": {"alt": "A row of eight small grey images of handwritten digits that the tuned model gets wrong, each with the model's answer and the right one above it."}}
figure, axes = plt.subplots(1, 8, figsize=(8, 1.4))
for axis, (i, answer, right) in zip(axes, wrong[:: len(wrong) // 8], strict=False):
    axis.imshow(test.image(i), cmap="gray")
    axis.set(title=f"{answer} for {right}", xticks=[], yticks=[])
    axis.grid(False)
plt.show()

# %% [markdown]
# The file holds only the weights that were trained. To use it, load it into the same pre-trained model:

# %%
nclib.save_tuned("tuned.safetensors", tuned)
again = nclib.load_tuned("tuned.safetensors", model)
same = tuned.head(nclib.extract(again.backbone, test)).argmax(1) == logits.argmax(1)
print(f"the same answer on {int(same.sum())} of {len(test)} images")
size = (
    Path("tuned.safetensors").stat().st_size / Path("latin.safetensors").stat().st_size
)
print(f"the file is {size:.0%} as large as the whole model's")

# %% [markdown]
# ## Good to know
#
# - To tune with LoRA or adapters (both from PEFT), or to tune only the biases, use `nclib.lora_tuning`, `nclib.adapter_tuning`
#   or `nclib.bias_tuning`.
# - A model in bfloat16 or float16 is tuned in float32, because small steps would be lost otherwise. If `torch.compile` or
#   DataParallel has wrapped a model, it is tuned without the wrapper, and its layers keep their own names. Tied weights stay
#   tied and are saved once.
# - If the model is a torch module of your own, give it a transform that turns image files into its input: {ref}`own-backbone`.
# - `torch.export.export(tuned, (inputs,))` exports the tuned model; {ref}`own-export` makes an ONNX file of it.
