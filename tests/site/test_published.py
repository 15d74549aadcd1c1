"""The page of published numbers: what it says of them is so, and its tables are those of the files and records."""

import pytest

from workflow import pages, published
from workflow.measures import ROOT


@pytest.mark.parametrize("name", ["shares_table", "rankings_table"])
def test_the_table_is_that_of_the_records(name):
    assert (ROOT / "book" / f"{name}.md").read_text() == pages.PAGES[name](), f"run python -m workflow.pages {name}"


@pytest.mark.parametrize(
    ("network", "block", "share"),
    [("resnet18", "layer3.0", 0.0827), ("resnet18", "layer4.0", 0.329), ("resnet50", "layer3.0", 0.0652)],
)
def test_shares_are_those_that_one_counts_by_hand(network, block, share):
    assert published.share(network, block) == pytest.approx(share, abs=5e-4)


def test_blocks_fit_what_the_page_says_of_them():
    found = {pair: published.share(*pair) for pair in published.BLOCKS}
    assert all(share < 0.1 for (_, block), share in found.items() if "layer4" not in block)
    assert found["resnet50", "layer4.0"] < 0.3 < found["resnet18", "layer4.0"]


def test_the_order_of_the_scores_is_that_of_the_page():
    found = published.published_tau()
    assert all(len(values) == 11 for values in found.values())
    assert [*found][:2] == ["sfda", "source_accuracy"]
    means = {score: values.mean() for score, values in found.items()}
    assert means["source_accuracy"] > max(means[score] for score in ("nleep", "logme", "parc", "leep"))
    assert means["parameters"] > max(means[score] for score in ("logme", "parc", "leep"))
    assert found["leep"]["aircraft"] == -0.234  # as the file states it
