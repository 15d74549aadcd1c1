"""Chapter 2: contrasts and peaks over panels of networks, on tables whose answer is known."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from nclib.experiments.chapters import source
from nclib.experiments.claims import judge
from nclib.experiments.records import as_table, record_of
from nclib.experiments.scales import SCALES, settings

DEMO = settings("demo")


def table(transfer, nc1=lambda cell: 1.0, seeds=(10, 11, 12), scale="demo"):
    """A scale's networks, with what they are to have; seeds differ by thousandths."""

    def measured(cell):
        shift = cell["seed"] / 1000
        collapse = {"nc1": nc1(cell) * (1 + shift), "nc1_ratio": nc1(cell), "cdnv": nc1(cell)}
        return collapse | {"accuracy": [transfer(cell) + shift] * 5}

    cells = source.source_collapse(settings(scale), seeds)
    return as_table([record_of("source_collapse", scale, cell, measured) for cell in cells])


def word(key, rows):
    return judge(next(claim for claim in source.CLAIMS if claim.key == key), rows).word


def test_a_panel_has_the_networks_that_belong_to_it():
    rows = table(lambda cell: 0.5)
    assert source.panel(rows, "projection")["projection"].tolist() == [depth for depth in range(7) for _ in range(3)]
    assert set(source.panel(rows, "loss")["loss"]) == set(source.LOSSES)
    assert source.panel(rows, "loss")["augmentation"].unique().tolist() == [1.0]
    base = replace(DEMO.recipe, seed=10).config
    both = [cell["panels"] for cell in source.source_collapse(DEMO, [10]) if base.items() <= cell.items()]
    assert both[0] == ["projection", "augmentation", "epochs"]
    assert both[1:] == [["collapse"]] * 9  # whose batches are balanced


@pytest.mark.parametrize("scale", SCALES)
def test_what_the_claims_compare_is_among_what_is_varied(scale):
    base = settings(scale).recipe
    assert 0.0 in source.DIAL
    assert -0.1 in source.DIAL
    assert {0.0, 1.0} <= set(source.STRENGTHS)
    assert source.BEST_DIAL.get(base.source, 0.0) in source.DIAL[1:-1]
    assert source.BEST_LENGTH.get(base.source, base.epochs) in source.lengths(base)[1:-1]
    found = source.by_source(table(lambda cell: 0.5, seeds=(10,), scale=scale), "collapse")
    assert list(found) == [base.source, *(other.recipe.source for other in settings(scale).other_sources)]
    for dialled in found.values():
        assert dialled["collapse"].tolist() == list(source.DIAL)
        assert set(dialled["balanced"]) == {source.BALANCED}


def test_a_dial_that_helps_where_it_prevents_and_costs_where_it_forces():
    def transfer(cell):
        return 0.8 - 0.1 * (cell.get("collapse", 0.0) - 0.0)

    def nc1(cell):
        return math.exp(-10 * cell.get("collapse", 0.0))

    rows = table(transfer, nc1)
    assert word("A1-dial", rows) == word("A1-force", rows) == "holds"
    assert word("A1-extent", rows) == "fails"  # the best is at an end
    assert word("A1-dial", table(transfer)).startswith("not tested")


def test_an_inverted_u_has_a_peak_between_the_ends():
    def transfer(cell):
        return 0.8 - (cell.get("collapse", 0.0) - source.BEST_DIAL["glyphs/latin"]) ** 2

    rows = table(transfer)
    assert word("A1-extent", rows) == "holds"
    longest = table(lambda cell: 0.5 + cell["epochs"] / 100)
    assert word("A3", longest) == "fails"
    best = source.BEST_LENGTH["glyphs/latin"]
    assert word("A3", table(lambda cell: 0.5 - abs(cell["epochs"] - best) / 100)) == "holds"


def test_heuristics_are_held_against_none():
    def prevented(cell):
        return 2.0 if cell["projection"] else 1.0

    rows = table(lambda cell: 0.8 + 0.05 * (cell["augmentation"] == 1.0), prevented)
    assert word("A1-augmentation", rows) == "holds"
    assert word("A1-projection", rows) == "fails: no effect"
    assert word("A1-mechanism", rows) == "fails: no effect"
    assert word("A1-projection", table(lambda cell: 0.8)) == "not tested"


def test_losses_gain_by_the_doubling_of_nc1():
    order = {loss: place for place, loss in enumerate(source.LOSSES)}
    rows = table(lambda cell: 0.5 + order[cell["loss"]] / 50, lambda cell: 2.0 ** order[cell["loss"]])
    assert source.over_losses(rows)["value"].tolist() == pytest.approx([0.02] * 3)
    assert word("A1-loss", rows) == "holds"
    assert word("A1-loss", rows.assign(nc1=1 / rows["nc1"])) == "fails"
    assert word("A1-loss", rows.assign(accuracy=[[0.5]] * len(rows))) == "fails: no effect"


@pytest.mark.parametrize(("beyond", "found"), [(0.0, "holds"), (0.05, "fails")])
def test_augmentation_is_held_against_a_network_that_is_dialled_to_its_collapse(beyond, found):
    def nc1(cell):
        return math.exp(cell["augmentation"] - cell.get("collapse", 0.0))

    def transfer(cell):
        return 0.5 + 0.1 * math.log(nc1(cell)) + beyond * (cell["augmentation"] == 1.0)

    rows = table(lambda cell: min(transfer(cell), 0.5 + 0.1 * 0.3 + beyond * (cell["augmentation"] == 1.0)), nc1)
    # The dial ends at a trace ratio of exp(0.3), and stays level from there. Another source says nothing of it.
    other = rows.assign(source="photographs", accuracy=[[0.9]] * len(rows), panels=[["collapse"]] * len(rows))
    rows = pd.concat([rows, other])
    assert source.unexplained(rows)["value"].tolist() == pytest.approx([beyond] * 3)
    assert word("A1-mediation", rows) == found


def test_sources_are_panels_with_networks_of_their_own():
    def transfer(cell):
        return 0.8 + (1 if cell["source"] == "fashion-mnist" else -1) * cell.get("collapse", 0.0)

    rows = table(transfer, lambda cell: math.exp(-10 * cell.get("collapse", 0.0)), scale="lab")
    verdict = judge(next(claim for claim in source.CLAIMS if claim.key == "A1-dial"), rows)
    assert list(verdict.panels) == ["fashion-mnist", settings("lab").other_sources[0].recipe.source]
    assert (verdict.word, verdict.number) == ("mixed", 6)


def test_an_unknown_source_has_its_best_in_the_middle():
    rows = table(lambda cell: 0.5 - abs(cell.get("collapse", 0.0)) / 10).assign(source="letters of your own")
    assert word("A1-extent", rows) == "holds"


def test_other_choices_are_judged_beside_ours():
    def transfer(cell):
        if "loss" in cell["panels"]:
            return 0.5 if cell["loss"] == "squared error" else 0.8
        return 0.8 - 0.1 * max(cell.get("collapse", 0.0) - 0.1, 0)

    def nc1(cell):
        return 0.1 if cell["loss"] == "squared error" else 1 + source.LOSSES.index(cell["loss"]) / 10

    found = source.other_choices(table(transfer, nc1))
    assert {key for key, _ in found} <= {claim.key for claim in source.CLAIMS}
    words = {choice: (ours.word, other.word) for choice, (ours, other) in found.items()}
    assert words["A1-loss", "without squared error"] == ("holds", "fails: no effect")  # the claim rests on one loss
    assert words["A1-loss", "without sigmoid"] == ("holds", "holds")
    assert words["A1-force", "penalty 0.1"] == ("holds", "fails: no effect")
    assert sum(key == "A1-extent" for key, _ in found) == len(source.DIAL) - 3  # between the ends, but for ours
    assert not any("fashion" in choice for _, choice in found)  # of which the table has no network
    augmentation = found["A1-augmentation", "only if it prevents collapse"][1]
    assert augmentation.word == "not tested"
    assert "NC1 is 1.00" in augmentation.why


def test_no_other_choice_is_the_one_of_the_claim():
    rows = table(lambda cell: 0.5 + cell.get("collapse", 0.0) - 0.1 * cell["augmentation"] - 0.01 * cell["projection"])
    for (key, choice), other in source.CHOICES.items():
        ours = next(claim for claim in source.CLAIMS if claim.key == key).replicates(rows)
        if key in ("A1-dial", "A1-force", "A1-augmentation") and "replicates" in other:
            assert other["replicates"](rows)["value"].tolist() != pytest.approx(ours["value"].tolist()), choice


def test_what_is_chosen_instead_is_tested_by_its_own_value():
    """A head of one layer prevents no collapse here, the others do."""
    rows = table(lambda cell: 0.5 + cell["seed"] / 1000, lambda cell: 9.0 if cell["projection"] > 1 else 1.0)
    found = source.other_choices(rows)
    assert found["A1-projection", "depth 1"][1].word == "not tested"
    assert found["A1-projection", "depth 2"][1].word != "not tested"
