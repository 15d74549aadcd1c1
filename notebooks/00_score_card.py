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
# (score-card)=
# # Neural collapse and transfer learning: four papers, claim by claim
#
# Late in training something simple happens to a classifier: the features of a class shrink to their mean, and the
# means spread out evenly. This is *neural collapse* {cite}`papyan2020`. Four papers tie it to transfer learning,
# the reuse of a trained network for another task {cite}`li2022,li2024,munn2024,ding2023`. This book tests what they
# claim, sentence by sentence, and `nclib` is the small library it is written with.
#
# ## What was claimed, and what we find
#
# Every claim is a statistic of measured results, which is our choice, and a threshold that follows from the paper's
# sentence and does not move when results come in. A claim *holds*, or *fails*, if the whole 95% interval, in brackets,
# lies on that side of the threshold; if it reaches over, the records leave the claim *undecided*.

# %% tags=["hide-input"]
from nclib.findings import score_card
from nclib.plots import use_style
from nclib.records import Records
from nclib.run import book_root
from nclib.scales import SCALES, settings
from nclib.studies import STUDIES

use_style()
records = Records(book_root() / "book" / "records")
score_card(records).drop(columns="statistic")

# %% [markdown]
# {ref}`watch` has the claims P1 to P4, {ref}`source` has A1 and A3, {ref}`downstream` and {ref}`finetuning` have A2,
# the latter A4 and A5 too, {ref}`geometric-complexity` has B1 to B5, {ref}`selection` C1 and C2, and {ref}`pixels` C3.
#
# ## How the evidence is made
#
# Nothing has to be downloaded: the demo scale trains small networks on letters drawn from matplotlib's fonts and on
# scikit-learn's handwritten digits. Each measured result is a *record*, a line of a file that comes with the book,
# and every number and figure is made from records. A digest covers all digits of a file.

# %% tags=["hide-input"]
for scale in SCALES:
    for study, cells in STUDIES.items():
        declared = cells(settings(scale), settings(scale).seeds)
        if records.select(study, scale, declared):
            print(records.describe(study, scale, declared))

# %% [markdown]
# Each chapter measures one of its records again, from nothing, whenever the book is built; `make reproduce`
# measures all of them again and says where they differ. {doc}`/book/evidence` has the details.
#
# ## How to read
#
# Start with {ref}`watch` if neural collapse is new to you: it shows one network collapse, and defines the four
# measures beside the code that computes them. Then each chapter takes one finding: the claim, how it is tested, the
# code, the figure, the verdict, and what differs from the paper.
