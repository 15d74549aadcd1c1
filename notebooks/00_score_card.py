# %% [markdown]
# (score-card)=
# # Neural collapse and transfer learning, claim by claim
#
# Late in training, something simple happens to a classifier: the features of each class shrink to their mean, and the class
# means spread out evenly. This is {term}`neural collapse` {cite}`papyan2020`. Four papers, two of them versions of the same
# work, relate it to transfer learning, the reuse of a trained network for another task {cite}`li2022,li2024,munn2024,ding2023`.
# This book tests the original finding and the claims of these papers, sentence by sentence, on data that needs no download and
# on real data. Its code uses `nclib`, a small library.

# %% tags=["remove-cell"]
from typing import get_args

from IPython.display import Markdown

from nclib.experiments import card, studies
from nclib.experiments.claims import Word
from nclib.experiments.records import Records
from nclib.experiments.run import book_root
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES

LINKS = {
    "collapse_in_training": "01_watch_a_network_collapse.ipynb#train-and-watch",
    "source_collapse": "02_collapse_on_the_source_data.ipynb#measure",
    "downstream_collapse": "04_collapse_on_the_downstream_data.ipynb#measure",
    "collapse_by_layer": "04_collapse_on_the_downstream_data.ipynb#measure",
    "fine_tuning": "05_fine_tune_with_a_skip_connection.ipynb#measure",
    "data_scarcity": "05_fine_tune_with_a_skip_connection.ipynb#measure",
    "forced_collapse": "05_fine_tune_with_a_skip_connection.ipynb#measure",
    "geometric_complexity": "03_geometric_complexity.ipynb#measure",
    "complexity_penalty": "03_geometric_complexity.ipynb#measure",
    "dialled_complexity": "03_geometric_complexity.ipynb#measure",
    "complexity_estimates": "03_geometric_complexity.ipynb#measure",
    "model_selection": "06_which_model_should_i_fine_tune.ipynb#measure",
    "scene_selection": "07_pixels_and_words.ipynb#measure-pixels",
    "text_selection": "07_pixels_and_words.ipynb#measure-words",
}
records = Records(book_root() / "book" / "records")
judged = studies.verdicts_by_scale(records)


def markdown(rows):
    """A table, its head first."""
    head, *others = rows
    lines = [head, ["---"] * len(head), *others]
    return Markdown("".join(f"| {' | '.join(line)} |\n" for line in lines))


def counts():
    """How many claims earn each word, a row a word that occurs, a column a scale."""
    rows = [["", *judged]]
    for word in get_args(Word):
        found = [
            sum(each.word == word for each in verdicts) for verdicts in judged.values()
        ]
        if any(found):
            rows.append([f"*{word}*", *map(str, found)])
    for what, mark in (("✓ survive Holm", "survives"), ("confirmed", "confirmed")):
        found = [
            sum(getattr(each, mark) for each in verdicts)
            for verdicts in judged.values()
        ]
        rows.append([what, *map(str, found)])
    return markdown(
        [*rows, ["claims", *(str(len(verdicts)) for verdicts in judged.values())]]
    )


def evidence(claim, verdicts):
    """Links to the chapter, the code and the records that a claim is judged by."""
    code = LINKS[claim.study]
    files = [
        f"[{scale}](../book/records/{claim.study}-{scale}.jsonl)"
        for scale, verdict in verdicts.items()
        if verdict.word != "not run yet"
    ]
    chapter = f"[chapter]({code.partition('#')[0]}#verdict)"
    links = f"{chapter}, [code]({code})"
    return f"{links}, records: {' '.join(files)}" if files else links


def says(verdict):
    """The word, why or how many would do, the estimate; what survives Holm, is exploration, differs; and how many."""
    notes = (
        [] if verdict.confirmed or verdict.word == "not run yet" else ["*exploration*"]
    )
    notes += [
        f"{panel}: {estimate}"
        for panel, estimate in verdict.panels.items()
        if verdict.word == "mixed" or len(verdict.panels) == 2
    ]
    notes += [f"n = {verdict.number}"] if verdict.defined else []
    mark = " ✓" if verdict.survives else ""
    return "<br>".join(
        [f"**{verdict.word}**{str(verdict).removeprefix(verdict.word)}{mark}", *notes]
    )


def table(group):
    """The claims whose key begins with the group, a row each."""
    rows = [["claim, and how it is tested", "fails \\| holds", *judged, "evidence"]]
    for claim, *of_claim in zip(studies.CLAIMS, *judged.values(), strict=True):
        if claim.key.startswith(group):
            verdicts = dict(zip(judged, of_claim, strict=True))
            tested = f"*{claim.statistic}: holds if {claim.needed}*"
            sentence = f"**{claim.key}** {claim.sentence}<br>{tested}"
            words = map(says, of_claim)
            rows.append(
                [sentence, card.strip(verdicts), *words, evidence(claim, verdicts)]
            )
    return markdown(rows)


# %% [markdown]
# ## What was claimed, and what we find
#
# Each claim is tested at two scales. *Demo* uses small networks on letters and digits that need no download; *lab* uses small
# pre-trained models, and networks trained on real images. (A third scale, *paper*, has not been run.) The tests give each
# claim a verdict. This table counts the verdicts:

# %% tags=["remove-input"]
counts()

# %% [markdown]
# In the tables below, each row begins with a claim. Below the claim, in italics, are the statistic that tests it, the
# threshold, and the side of the threshold on which the statistic must fall. An estimate is the mean over *n*
# {term}`replicates <replicate>` (networks, draws of images or tasks), with its 95% interval. (An exact number, such as a
# largest share, has *n* = 1 and no interval.) If a claim has two {term}`panels <panel>`, or its panels disagree, the estimate
# of each panel follows.
#
# - *holds*: the whole interval lies on that side. *fails*: the whole interval lies on the other side. Both may be *small*: the
#   interval also lies within the {term}`smallest effect` of the threshold.
# - *fails: no effect*: the interval contains the threshold, and all of it is closer to the threshold than the smallest effect.
# - *mixed*: the claim holds in some panels and fails in others.
# - *undecided*: none of these, and we say how many replicates would decide the claim; or the verdict differs on another
#   processor.
# - *not tested*: the experiment did not produce the condition that the claim is about (such as forced collapse); the reason is
#   given. *undefined*: the statistic has no finite value. *not run yet*: some results are missing.
# - ✓: the verdict stands after {term}`Holm`'s adjustment for testing all claims of the scale.
# - *exploration*: we used these networks to choose the statistics, so only new networks can confirm the verdict. In the small
#   figures such a verdict has a hollow mark.
#
# In the small figures, the vertical line is the threshold, and the claim holds to the right of it. A disc marks demo, a square
# lab; each row has its own axis range. {doc}`/book/evidence` has the details, and the power of each test.
#
# ### Neural collapse in training
#
# Papyan, Han and Donoho first described neural collapse {cite}`papyan2020`; {ref}`watch` repeats their observation. {term}`NC1`
# compares the spread within classes with the spread between them. {term}`NC2` says how far the class means are from a
# {term}`simplex`, and {term}`NC3` how far the classifier is from lining up with them. All three are 0 for a network that has
# fully collapsed. {term}`NC4` is the share of images that the classifier assigns to the nearest class mean.

# %% tags=["remove-input"]
table("P")

# %% [markdown]
# ### Collapse and transfer
#
# Li et al. {cite}`li2022,li2024` ask how collapse on the {term}`source` data affects transfer ({ref}`source`). They report that
# networks that are more collapsed on the {term}`downstream` data are more accurate there ({ref}`downstream`), and they
# fine-tune one block with a skip connection ({ref}`finetuning`). The statistics are differences in accuracy (one point is a
# hundredth), logarithms of ratios, and {term}`rank correlations <rank correlation>`.

# %% tags=["remove-input"]
table("A")

# %% [markdown]
# ### Geometric complexity
#
# Munn, Dherin and Gonzalvo {cite}`munn2024` say that {term}`geometric complexity` controls collapse
# ({ref}`geometric-complexity`). We compare networks at the moment when their training loss has fallen to the same value. Here a
# {term}`panel` is one source with one kind of network. {term}`CDNV` is another measure of collapse.

# %% tags=["remove-input"]
table("B")

# %% [markdown]
# ### Choosing a pre-trained model
#
# Ding et al. {cite}`ding2023` rank models by a score called {term}`FaCe`, the sum of collapse and {term}`class fairness`, for
# images ({ref}`selection`), pixels and words ({ref}`pixels`). {term}`Weighted tau <weighted tau>` compares the order that a
# score gives the models of a {term}`zoo` with their order by accuracy.

# %% tags=["remove-input"]
table("C")

# %% [markdown]
# ## How to read
#
# If neural collapse is new to you, start with {ref}`watch`: it shows one network collapse, and defines the four measures, NC1
# to NC4, next to the code that computes them. All chapters have the same parts: the claims, what we find, how we test it, the
# code, the figures, what we see, the verdict, what differs from the paper, and two exercises. The
# [glossary](../book/glossary.md) explains new words, and [](../book/notation.md) explains symbols and shapes. To measure your
# own models and images, go to [](../book/own_models.md). [](../book/published.md) compares the few published numbers with ours,
# and [](../book/related.md) says what other work adds.
#
# ## Rerun one finding
#
# In a checkout of the repository (`git clone`, then `cd` into it), with `make` and Python `3.11` or newer:
#
# ```bash
# make .venv/installed
# make rerun NN=01 SCALE=demo
# ```
#
# The first command installs everything, including torch; this takes about three minutes and 7 GB. The second runs {ref}`watch`
# in one or two minutes: it reads the records, trains one of the networks again, from scratch, and says whether the result
# agrees with its record. (Jupyter's warning about TCP is harmless.) It writes `_build/runs/01_watch_a_network_collapse.ipynb`,
# which opens in Jupyter or an editor such as VS Code. The next command takes about two more minutes. It trains a network with a
# seed that has no record yet, adds the result to the figures, and writes `out.ipynb`.
#
# ```bash
# .venv/bin/papermill notebooks/01_watch_a_network_collapse.ipynb out.ipynb -p seeds "[0, 1, 2, 3]"
# ```
#
# It adds the seed's record to `book/records`, which git tracks; `git checkout book/records` removes it again.
#
# ## How the evidence is made
#
# The demo scale needs no downloaded data: it trains small networks on letters drawn from matplotlib's fonts and on
# scikit-learn's handwritten digits. Each measured result is a *record*, a line of a file that comes with the book. Our results
# and figures are made from these records. Whenever a chapter runs, it measures a small {term}`cell` of each of its
# {term}`studies <study>` again, from scratch. `make reproduce SEEDS=all` measures all demo records again, and says where the
# new values differ. {doc}`/book/evidence` has the details, and {doc}`/book/status` says when and where the chapters last ran.
# The list below gives, for each study, a digest (a hash) of the numbers in its records:

# %% tags=["hide-input"]
for scale in SCALES:
    for study in STUDIES:
        cells = studies.every_cell(study, scale)
        if records.select(study, scale, cells):
            print(records.describe(study, scale, cells))
