"""Numbers that papers and their benchmarks state, beside those of this book."""

from collections.abc import Iterator
from functools import cache

import pandas as pd
from scipy.stats import weightedtau

import nclib
from nclib.experiments.chapters import fine_tuning, selection
from nclib.experiments.studies import declared
from workflow.measures import RECORDS, ROOT

FOLDER = ROOT / "book" / "published"
ESTIMATORS = ("sfda", "nleep", "logme", "parc", "leep")  # of the benchmark, which uses the same names
# Blocks of full-sized networks, whose share of the parameters follows from their architecture.
BLOCKS = (
    ("resnet18", "layer3.0"),
    ("resnet18", "layer4.0"),
    ("resnet50", "layer3.0"),
    ("resnet50", "layer4.0"),
    ("vit_b_32", "encoder.layers.encoder_layer_6"),
)


def share_rows() -> list[list[str]]:
    """What tuning a block with a skip connection trains: of full-sized networks, and of the book's, each a row."""
    rows = [
        [f"torchvision's {name}, `{block}`", "with a head for ten classes", f"{share(name, block):.1%}"]
        for name, block in BLOCKS
    ]
    for scale in ("demo", "lab"):
        table = declared(RECORDS, "fine_tuning", scale)
        if table is not None:
            largest = fine_tuning.paired(table, "body_share")["skip"].max()
            rows.append([f"the networks of chapter 5, {scale}", "without the head", f"{largest:.1%}"])
    return rows


def share(name: str, block: str) -> float:
    """The share of its parameters, in [0, 1], that skip tuning trains: a block of torchvision's network, and a head."""
    from torchvision.models import get_model

    return nclib.trainable_share(nclib.skip_tuning(get_model(name), block, num_classes=10))


def ranking_rows() -> tuple[list[str], list[list[str]]]:
    """The columns and rows of weighted tau by score: published for eleven networks, and found here in each zoo."""
    here = dict(_here())
    rows = [
        [selection.LABELS[score], _range(values), *(str(taus.get(score, "")) for taus in here.values())]
        for score, values in published_tau().items()
    ]
    return ["score", "published, mean [least, largest] of 11 data sets", *here], rows


def _range(values: pd.Series) -> str:
    return f"{values.mean():.2f} [{values.min():.2f}, {values.max():.2f}]"


def published_tau() -> dict[str, pd.Series]:
    """Weighted tau of each score by data set, over the benchmark's eleven networks; the best score on average is first.

    Estimators have the tau that the benchmark states. For scores that need no image we compute it, from the accuracies
    that the benchmark states and from what torchvision states of the same weights.
    """
    stated = pd.read_csv(FOLDER / "published_weighted_tau.csv").set_index("dataset").groupby("method")["weighted_tau"]
    found = {name: stated.get_group(name) for name in ESTIMATORS}
    truth = pd.read_csv(FOLDER / "fine_tuned_supervised_cnns.csv")
    for score in ("source_accuracy", "parameters"):
        known = {name: _stated(name)[score] for name in truth["model"].unique()}
        found[score] = pd.Series(
            {
                dataset: weightedtau(rows["model"].map(known), rows["accuracy"]).statistic
                for dataset, rows in truth.groupby("dataset")
            }
        )
    return dict(sorted(found.items(), key=lambda pair: -pair[1].mean()))


@cache
def _stated(name: str) -> dict[str, float]:
    """The accuracy on ImageNet and the number of parameters that torchvision states of its weights of 2022."""
    from torchvision.models import get_model_weights

    meta = get_model_weights(name)["IMAGENET1K_V1"].meta
    return {"source_accuracy": meta["_metrics"]["ImageNet-1K"]["acc@1"], "parameters": meta["num_params"]}


def _here() -> Iterator[tuple[str, dict]]:
    """A title and the weighted tau of all scores, for each zoo of images that was run."""
    for scale in ("demo", "lab"):
        table = declared(RECORDS, "model_selection", scale)
        if table is not None:
            for zoo, rows in selection.in_zoos(table).groupby("zoo", sort=False):
                yield f"{scale}: {zoo}", selection.all_ranks(rows)
