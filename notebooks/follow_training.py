# %% [markdown]
# (own-training)=
# # Follow collapse while you train
#
# **What you'll do.** Measure collapse after every epoch of your own training loop, at the last layer and at earlier layers.
# Print it as a training log, and plot it.
#
# **What you need.** A training loop in PyTorch, and the labels of the training images.
#
# **How long it takes.** Each measured epoch takes one more pass over the training set, without gradients. This page takes
# seconds.
#
# {ref}`in-frameworks` shows the same in Lightning and in the Hugging Face Trainer.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "How this page is set up"}
import matplotlib.pyplot as plt
import pandas as pd
import torch

import nclib
from nclib.experiments.scratch import workplace

# %matplotlib inline
workplace()

# %% [markdown]
# ## A network and its training
#
# This is an ordinary loop. It trains a small ResNet and a classifier on handwritten digits with SGD.

# %%
digits = nclib.load("digits", per_class=40)
inputs, labels = digits.inputs(), digits.labels  # (400, 1, 28, 28), (400,)
torch.manual_seed(0)
body, head = nclib.small_resnet(width=8), torch.nn.Linear(64, 10)
parameters = [*body.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=5e-4)


def train_epoch():
    """One pass over the training images; returns the mean loss."""
    losses = []
    body.train()
    for rows in torch.randperm(len(labels)).split(40):
        optimizer.zero_grad()
        logits = head(body(inputs[rows]))
        loss = torch.nn.functional.cross_entropy(logits, labels[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


# %% [markdown]
# ## Measure after every epoch
#
# Pass over the training set in eval mode and without gradients, collect class statistics batch by batch, and compute the
# metrics from them. The statistics take the same memory for any number of images. (This short loop keeps all features as well,
# to count errors.)


# %%
def collapse():
    """Collapse of the features on all training images, and the training error."""
    body.eval()
    batches = torch.arange(len(labels)).split(50)
    with torch.no_grad():
        features = [body(inputs[rows]) for rows in batches]
        wrong = head(torch.cat(features)).argmax(1) != labels
    metrics = ["nc1", "cdnv", "nc2", "nc3"]
    stats = nclib.ClassStatistics.from_batches(
        ((f, labels[rows]) for f, rows in zip(features, batches, strict=True)),
        num_classes=10,
    )
    found = nclib.measure(stats, weight=head.weight, metrics=metrics)
    return {"training error": wrong.double().mean().item(), **found}


def by_layer(names=("layer1", "layer2", "layer3", "layer4")):
    """The trace ratio of each stage; `extract_layers` does the pass by itself."""
    layers = nclib.extract_layers(body, inputs, names)
    return {
        name: nclib.nc1_ratio(nclib.class_statistics(values, labels))
        for name, values in layers.items()
    }


history, depths = {}, {}
for epoch in range(1, 25):
    history[epoch] = {"loss": train_epoch(), **collapse()}
    depths[epoch] = by_layer()

log = pd.DataFrame(history).T.rename_axis("epoch")
log[2::3].round(4)

# %% mystnb={"figure": {"caption": "The features are more collapsed at the end than when the training error first reached zero. Left, on a logarithmic axis: loss, NC1 and CDNV. Right: NC2 and NC3. The grey line marks the first epoch without a training error.", "name": "fig-own-history"}, "image": {"alt": "Curves over 24 epochs. NC1 and CDNV fall fast at first, then more slowly. To the right of the grey line, which marks the first epoch without training errors, the curves rise for a few epochs; then they fall again, to below their values at the line. NC2 and NC3 end at about two fifths."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
log[["loss", "nc1", "cdnv"]].plot(ax=left, logy=True)
log[["nc2", "nc3"]].plot(ax=right, ylim=(0, None))
for axis in (left, right):
    axis.axvline((log["training error"] == 0).idxmax(), color="0.6", linewidth=0.8)
plt.show()

# %% [markdown]
# **How to read it.** For each of the metrics, lower is more collapsed. While there are training errors, collapse and loss fall
# together. The first epoch without errors roughly begins the *terminal phase* of training. Here some errors return for a few
# epochs, and NC1 rises with them. Watch NC1 in this phase: if it still falls, as in the last epochs here, the features of each
# class are still shrinking to their mean. NC2 says how far the class means are from a simplex, and NC3 how far the classifier
# is from lining up with them; in training runs of ordinary length both stay far from zero ({ref}`watch`).
#
# Each entry of `history` is a dict. `wandb.log(history[epoch], step=epoch)` logs it to W&B, and
# `writer.add_scalars("collapse", history[epoch], epoch)` to TensorBoard. Epochs are numbered as everywhere in `nclib`: 0 is the
# network before training, and 1 is the network after its first epoch.

# %% [markdown]
# ## Layer by layer
#
# After each epoch, `by_layer` above measured the {term}`trace ratio` of each of the four stages of the network.

# %% mystnb={"figure": {"caption": "Deeper stages collapse further. The figure shows the trace ratio of each stage after each epoch: the total variance within classes divided by the total variance of the class means.", "name": "fig-own-depths"}, "image": {"alt": "Four curves over 24 epochs on a logarithmic axis, one for each stage of the network. The deeper the stage, the lower its curve. All four curves end well below where they began; after the tenth epoch only the fourth stage still falls clearly."}}
axis = pd.DataFrame(depths).T.plot(logy=True, figsize=(5, 3), xlabel="epoch")
axis.set(
    ylabel="trace ratio", yticks=[0.2, 0.5, 1, 2, 4], yticklabels=[0.2, 0.5, 1, 2, 4]
)
axis.minorticks_off()
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# **What to do with it.** If an early layer is as collapsed as the last one, the layers after it probably add little for these
# classes. To choose a layer for other data, measure the layers on that data ({ref}`own-measure`): collapse on the training data
# does not tell you which layer transfers best.
#
# ## Next
#
# - Log a metric from a framework's own training loop: {ref}`in-frameworks`.
# - Merge class statistics of several processes, or keep them in files: {ref}`in-statistics`.
# - Keep the weights of every epoch, for a training run that may be interrupted: `nclib.train(..., on_epoch=, trail=)` and
#   [](../book/files.md).
