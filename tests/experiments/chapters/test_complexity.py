"""Statistics of geometric complexity, on tables whose answer is known; the studies' cells; penalised training."""

import math
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import nclib
from nclib.experiments.cells import recipe_of
from nclib.experiments.chapters import complexity
from nclib.experiments.chapters.complexity import SWEPT
from nclib.experiments.claims import judge
from nclib.experiments.scales import SCALES, check, settings
from nclib.experiments.studies import STUDIES
from nclib.models.networks import NETWORKS
from nclib.models.recipes import Recipe, train
from workflow.measures import ROOT, measures

TINY = Recipe(source="digits", per_class=8, width=4, epochs=3, batch_size=20, learning_rate=0.02, network="vgg")


def rows(complexity, cdnv, accuracy=lambda cell: 0.5):
    """The cells of the demo's study; at the end complexity and CDNV are twice what they are at matched loss."""
    cells = STUDIES["geometric_complexity"](settings("demo"), [0, 1])
    values = (("complexity", complexity), ("cdnv", cdnv), ("target_cdnv", cdnv), ("accuracy_5", accuracy))
    return pd.DataFrame(
        asdict(recipe_of(cell))
        | cell
        | {"poincare": 2.0, "loss": [1.0, 0.01], "nc1": [9.0, 1.0], "geometric_collapse": [9.0, 2.0]}
        | {"variance_by_class": [1.0, 3.0, 2.0, 4.0], "complexity_by_class": [1.0, 2.0, 3.0, 4.0]}
        | {name: [9.0, 2 * value(cell)] for name, value in values[:2]}
        | {"target_cdnv": 9.0, "accuracy_5": 0.9, "accuracy_5_half": 0.1}
        | {"matched_loss": [1.0, 0.1], "matched_nc1": [9.0, 1.0], "matched_geometric_collapse": [9.0, complexity(cell)]}
        | {f"matched_{name}": [9.0, value(cell)] for name, value in values}
        | {"matched_accuracy_5_half": [0.1, 0.1]}
        for cell in cells
    )


def falling(cell):
    """Lower with the rate and L2, higher with the batch, not the same for two kinds of network."""
    scale = {"resnet": 1e-3, "vgg": 1e-2, "vgg_bn": 1e-1}[recipe_of(cell).network]
    return scale * cell["batch_size"] ** 0.3 / cell["learning_rate"] ** 0.4 / (1 + 100 * cell["weight_decay"])


def claim(key):
    return next(claim for claim in complexity.CLAIMS if claim.key == key)


def words(table):
    return {claim.key: judge(claim, table).word for claim in complexity.CLAIMS if claim.study == "geometric_complexity"}


def test_claims_hold_where_everything_follows_the_complexity():
    table = rows(falling, falling, lambda cell: 1 / (1 + falling(cell)))
    others = {key: word for key, word in words(table).items() if word != "holds"}
    assert not others, "claims of geometric_complexity that do not follow the complexity need a test of their own"


def test_claims_fail_where_collapse_and_complexity_go_apart():
    verdicts = words(rows(falling, lambda cell: 1 / falling(cell), falling))
    assert {key for key, word in verdicts.items() if word == "holds"} == {
        "B1-rate-complexity",
        "B1-batch-complexity",
        "B1-l2-complexity",
        "B3-classes",
    }
    assert set(verdicts.values()) == {"holds", "fails"}


def test_networks_are_compared_at_matched_loss_and_those_that_never_got_there_left_out():
    table = rows(falling, falling)
    for name in [column for column in table if column.startswith("matched_")]:
        table.at[3, name] = []
    matched, end = complexity.at_matched_loss(table), complexity.at_the_end(table)
    assert len(matched) == len(table) - 1
    assert matched.loc[0, "complexity"] == table.loc[0, "matched_complexity"][1]
    assert matched.loc[0, "loss"] == 0.1
    assert end.loc[0, "complexity"] == table.loc[0, "complexity"][1]
    assert end.loc[3, "target_cdnv"] == 9.0


def test_between_two_epochs_all_is_interpolated_on_the_logarithm_of_the_loss():
    table = rows(falling, falling)
    table.at[0, "matched_loss"] = [1.0, 0.001]
    table.at[0, "matched_complexity"] = [3.0, 6.0]
    table.at[0, "matched_accuracy_5"] = [0.6, 0.9]
    matched = complexity.at_matched_loss(table).loc[0]
    assert matched["complexity"] == pytest.approx(4.0)  # a third of three decades
    assert matched["accuracy_5"] == pytest.approx(0.7)


def test_a_link_is_of_each_panel_and_what_a_seed_shifts_is_none():
    table = complexity.at_matched_loss(rows(falling, falling))
    assert [link.value for link in complexity.linked(table, "complexity", "cdnv").values()] == pytest.approx(
        [0.995] * 3
    )
    noise = np.random.default_rng(0).normal(size=(2, len(table)))
    table["complexity"], table["cdnv"] = 9 * table["seed"].to_numpy() + noise
    found = complexity.linked(table, "complexity", "cdnv")
    assert [*found] == ["Greek, ResNet", "Greek, VGG", "Greek, VGG with batch norm"]
    assert all(link.low < 0 < link.high for link in found.values())
    assert complexity.linked(table[:0], "complexity", "cdnv") == {}


def test_the_mean_of_correlations_is_of_fishers_z():
    table = complexity.at_matched_loss(rows(falling, falling)).query("panel == 'Greek, VGG'")
    table.loc[table["seed"].eq(1), "cdnv"] = table["complexity"].rank() % 5
    r = [complexity.linked(table[table["seed"] == seed], "complexity", "cdnv")["Greek, VGG"].value for seed in (0, 1)]
    found = complexity.linked(table, "complexity", "cdnv")["Greek, VGG"]
    assert found.value == pytest.approx(np.tanh(np.mean(np.arctanh(r))))


def test_the_base_of_a_panel_is_what_its_sweeps_share():
    base = complexity.base(rows(falling, falling))
    assert base.groupby("panel").size().tolist() == [2, 2, 2]  # seeds
    for setting in SWEPT:
        assert set(base.index) <= set(complexity.sweep(rows(falling, falling), setting).index)


def test_where_no_network_came_to_the_matched_loss_there_is_nothing_to_compare():
    never = rows(falling, falling).assign(matched_loss=[[]] * len(rows(falling, falling)))
    matched = complexity.stages(never)["matched"]
    assert {*complexity.CURVES, *complexity.TRANSFER} <= set(matched)
    assert len(complexity.base(matched)) == len(complexity.changes(matched, "learning_rate", "cdnv")) == 0
    assert complexity.doubled(matched, "learning_rate", "cdnv").empty


def test_a_sweep_varies_one_setting_of_each_panel():
    table = rows(falling, falling)
    for setting in SWEPT:
        part = complexity.sweep(table, setting)
        assert part.groupby("panel")[setting].nunique().tolist() == [5, 5, 5]
        for other in set(SWEPT) - {setting}:
            assert part.groupby("panel")[other].nunique().tolist() == [1, 1, 1]


def test_a_setting_twice_as_large_changes_a_metric_by_a_factor_of_its_panel():
    """Complexity falls with the rate to the power of 0.4 and rises with the batch to that of 0.3."""
    table = complexity.at_matched_loss(rows(falling, falling))
    assert complexity.doubled(table, "learning_rate", "complexity").tolist() == pytest.approx([2**-0.4] * 3)
    assert complexity.doubled(table, "batch_size", "cdnv").tolist() == pytest.approx([2**0.3] * 3)
    table["cdnv"] = 3 * (table["weight_decay"] + (table["weight_decay"] == 0)) ** 0.5
    found = complexity.doubled(table, "weight_decay", "cdnv")  # without the networks that have none
    assert found.to_dict() == pytest.approx(dict.fromkeys(table["panel"].unique(), 2**0.5))
    assert complexity.doubled(table[table["batch_size"] == 60], "batch_size", "cdnv").empty


def test_interventions_are_held_against_none_of_the_same_panel_and_seed():
    table = pd.DataFrame(
        {"panel": panel, "seed": seed, "penalty": penalty, "cdnv": (1 + seed) * 2.0 ** (place * penalty)}
        for place, panel in enumerate(["a", "b"])
        for seed in (0, 1)
        for penalty in (1.0, 0.0)
    )
    assert complexity.against_none(table, "penalty", "cdnv").tolist() == pytest.approx(
        [0.0] * 4 + [math.log(2), 0.0] * 2
    )
    assert complexity.against_none(table, "penalty", "cdnv", of=np.asarray).tolist() == [0.0] * 4 + [1.0, 0.0, 2.0, 0.0]
    without = table[table["penalty"] > 0]
    assert complexity.against_none(without, "penalty", "cdnv").isna().all()


def test_panels_are_not_pooled():
    """Within each panel CDNV falls with complexity; over both together it rises."""
    offset = {"resnet": 0.0, "vgg": 1e6, "vgg_bn": 2e6}
    table = rows(falling, lambda cell: offset[recipe_of(cell).network] - falling(cell) + 1e3)
    assert claim("B1-link").replicates(table)["value"].tolist() == pytest.approx([-1.0] * 6)  # two seeds of each panel


def test_a_link_that_turns_between_panels_is_mixed():
    """In ResNets CDNV rises with complexity, in VGGs it falls; the noise is the same for both."""
    rng = np.random.default_rng(0)
    sign = {"resnet": 1, "vgg": -1, "vgg_bn": 1}

    def cdnv(cell):
        return np.exp(sign[recipe_of(cell).network] * np.log(falling(cell)) + rng.normal(0, 0.1))

    table = pd.concat([rows(falling, cdnv).assign(seed=lambda t, i=i: t["seed"] + 2 * i) for i in range(3)])
    verdict = judge(claim("B1-link"), table.reset_index(drop=True))
    assert verdict.word == "mixed"
    assert verdict.panels["Greek, VGG"].high < 0 < verdict.panels["Greek, ResNet"].low


def test_a_dial_is_the_change_over_its_sweep():
    """From one end of five evenly spaced values to the other the logarithm goes by four steps of a tenth."""
    rate = {value: i for i, value in enumerate(sorted(set(rows(falling, falling)["learning_rate"])))}
    table = rows(lambda cell: math.exp(-0.1 * rate.get(cell["learning_rate"], 0)), falling)
    for _, of_panel in table.groupby("panel"):
        order = {
            value: i
            for i, value in enumerate(sorted(complexity.sweep(of_panel, "learning_rate")["learning_rate"].unique()))
        }
        values = of_panel["learning_rate"].map(order).map(lambda i: [9.0, math.exp(-0.1 * i)])
        table.loc[of_panel.index, "matched_complexity"] = values
    found = complexity.changes(complexity.at_matched_loss(table), "learning_rate", "complexity")
    assert found["value"].tolist() == pytest.approx([-0.4] * 6)
    panels = ("Greek, ResNet", "Greek, VGG", "Greek, VGG with batch norm")
    assert found["panel"].tolist() == [panel for panel in panels for _ in range(2)]
    assert judge(claim("B1-rate-complexity"), table).word == "holds"
    few = complexity.at_matched_loss(rows(falling, falling).query("batch_size in (60, 72)"))
    assert complexity.changes(few, "batch_size", "cdnv").empty


def test_what_dials_do_to_accuracy_is_counted_in_points():
    table = rows(falling, falling, lambda cell: 0.5 + 0.01 * math.log(cell["learning_rate"]))
    matched = complexity.at_matched_loss(table)
    resnet = complexity.changes(matched, "learning_rate", "accuracy_5", of=np.asarray)["value"].iloc[0]
    assert resnet == pytest.approx(0.01 * math.log(16))
    assert judge(claim("B2-rate-accuracy"), table).estimate.value < math.log(0.54 / 0.46)
    assert judge(claim("B2-rate-accuracy"), table).word == "holds"


def test_classes_of_lower_complexity_spread_less_if_the_bound_is_of_each():
    table = rows(falling, falling)
    rng = np.random.default_rng(0)
    assert complexity.over_classes(table)["value"].tolist() == pytest.approx([0.8] * 6)
    dealt = [rng.permutation(24).astype(float).tolist() for _ in range(len(table))]
    shuffled = table.assign(complexity_by_class=dealt, variance_by_class=[list(range(24))] * len(table))
    assert judge(claim("B3-classes"), shuffled).word in ("undecided", "fails: no effect")


def test_complexities_dealt_out_are_those_of_the_network_and_say_nothing():
    classes = [float(i) for i in range(24)]
    table = rows(falling, falling)
    table = table.assign(**dict.fromkeys(("variance_by_class", "complexity_by_class"), [classes] * len(table)))
    dealt = complexity.dealt_out(table)
    assert [sorted(values) for values in dealt["complexity_by_class"]] == [classes] * len(table)
    assert len({tuple(values) for values in dealt["complexity_by_class"]}) == len(table)
    assert table["complexity_by_class"].tolist() == [classes] * len(table)  # as it was
    assert complexity.over_classes(dealt)["value"].abs().max() < 0.2
    assert complexity.over_classes(dealt)["value"].equals(complexity.over_classes(complexity.dealt_out(table))["value"])


def test_the_bound_is_held_against_the_worst_network_and_epoch():
    table = rows(lambda cell: 1.0, lambda cell: 1.0)
    assert complexity.bound_ratio(table).max() == pytest.approx(0.5)
    table.at[7, "cdnv"] = [1.0, 4.5]
    assert judge(claim("B3"), table).word == "fails"


def test_estimates_are_judged_by_their_error_at_one_amount():
    ways = {"samples": [8, 64], "entries": [0.01, 0.1], "outputs": [4, 16]}
    errors = dict(zip(ways, (0.3, 0.05, 0.1), strict=True))
    table = pd.DataFrame(
        {"panel": "one"} | ways | {f"{way}_error": [error + jitter, error + jitter] for way, error in errors.items()}
        for jitter in (-0.01, 0.0, 0.01)
    )
    verdicts = {key: judge(claim(f"B4-{key}"), table) for key in ways}
    assert {key: verdict.word for key, verdict in verdicts.items()} == {
        "samples": "fails",
        "entries": "holds",
        "outputs": "undecided",
    }
    assert (
        judge(claim("B4-entries"), table.assign(entries_error=[[-0.3, 9.0], [-0.31, 9.0], [-0.29, 9.0]])).word
        == "fails"
    )


@pytest.mark.parametrize(
    ("study", "setting", "key"), [("complexity_penalty", "penalty", "B5"), ("dialled_complexity", "collapse", "B6")]
)
def test_an_intervention_is_judged_at_the_end_strongest_over_none(study, setting, key):
    cells = STUDIES[study](settings("demo"), [0, 1, 2])
    strongest = max(getattr(recipe_of(cell), setting) for cell in cells)

    def end(cell):  # of complexity: a factor of e, but for 1% a seed
        return math.exp(-(getattr(recipe_of(cell), setting) == strongest) * (1 + cell["seed"] / 100))

    table = pd.DataFrame(
        cell
        | {setting: getattr(recipe_of(cell), setting)}
        | {name: [1.0] for name in complexity.CURVES}
        | {"complexity": [9.0, end(cell)], "cdnv": [1.0, 1 / end(cell)]}
        for cell in cells
    )
    verdict = judge(claim(f"{key}-complexity"), table)
    assert (verdict.word, verdict.estimate.value) == ("holds", pytest.approx(-1.01))
    assert judge(claim(f"{key}-collapse"), table).word == "fails"


@pytest.mark.parametrize("scale", SCALES)
def test_every_sweep_has_its_base_five_values_and_measured_epochs(scale):
    for sweep in settings(scale).geometry.sweeps:
        for name in SWEPT:
            values, base = set(getattr(sweep, name)), getattr(sweep.recipe, name)
            where = f"{name} of the sweep {sweep.panel!r} at {scale}"
            assert len(values) >= 5, f"{where} takes {len(values)} values, and needs 5 for a rank correlation"
            assert base in values, f"{where} does not take the value of its recipe, {base}: add it"
    panels = [sweep.panel for sweep in settings(scale).geometry.sweeps]
    assert len(set(panels)) == len(panels)
    for cell in STUDIES["geometric_complexity"](settings(scale), [0]):
        assert cell["measured_epochs"][0] == 0
        assert cell["measured_epochs"][-1] == recipe_of(cell).epochs
        assert sorted(set(cell["measured_epochs"])) == cell["measured_epochs"]


def test_later_settings_leave_older_recipes_as_they_were():
    assert "network" not in Recipe().config
    assert Recipe().key == "e38ad237c18bdefc59b5"  # of checkpoints made before there were VGGs and penalties
    assert {"network", "penalty"} <= replace(TINY, penalty=1.0).config.keys()
    assert recipe_of(TINY.config) == TINY
    with pytest.raises(
        ValueError, match="unknown network 'mlp'; there are resnet, vgg, vgg11, vgg_bn, vgg11_bn, resnet50"
    ):
        Recipe(network="mlp")
    with pytest.raises(ValueError, match=r"penalty is -1\.0"):
        Recipe(penalty=-1)


def test_a_penalty_lowers_the_complexity_of_what_is_trained():
    images = nclib.load("digits", "train", per_class=8).inputs()
    free, penalised = (
        nclib.geometric_complexity(
            train(replace(TINY, penalty=penalty), device="cpu", progress=False).backbone, images
        ).value
        for penalty in (0.0, 0.1)
    )
    assert penalised < 0.5 * free


CLASSES = {"glyphs/greek": 24, "cifar100": 100}  # else 10
CLASSES |= {"cifar100[cifar-fs/train]": 64, "folder:mini_imagenet[mini-imagenet/train]": 64}


@pytest.mark.parametrize("scale", SCALES)
def test_batches_divide_the_images(scale):
    for cell in STUDIES["geometric_complexity"](settings(scale), [0]):
        number, source = cell["per_class"] * CLASSES.get(cell["source"], 10), cell["source"]
        cure = f"choose another, or, if {source} has not {CLASSES.get(source, 10)} classes, add it to CLASSES here"
        said = f"batch_size {cell['batch_size']} at {scale} does not divide the {number} images of {source}"
        assert number % cell["batch_size"] == 0, f"{said}: {cure}"


@pytest.mark.parametrize(
    ("name", "blocks", "convolutions", "features"),
    [
        *[("vgg", 2, 10, 32), ("vgg11", 1, 8, 32), ("resnet", 2, 20, 32), ("resnet50", 1, 53, 128)],
        *[("cifar_resnet", 2, 20, 32), ("cifar_resnet50", 1, 53, 128)],
    ],
)
def test_networks_are_as_deep_as_their_names_say(name, blocks, convolutions, features):
    network = NETWORKS[name](4, in_channels=3, blocks=blocks)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.modules()) == convolutions
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, features) == (2, network.num_features)


@pytest.mark.parametrize("name", ["resnet", "resnet50"])
def test_the_stem_of_cifar_leaves_maps_of_four_places_a_side_and_takes_more_work(name):
    work, sides = {}, {}
    for kind in (name, f"cifar_{name}"):
        network = NETWORKS[kind](8, in_channels=3, blocks=1).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            sides[kind] = network.forward_features(torch.rand(1, 3, 32, 32)).shape[-1]
        work[kind] = counter.get_total_flops()
    assert sides == {name: 1, f"cifar_{name}": 4}
    assert 10 < work[f"cifar_{name}"] / work[name] < 20


@pytest.mark.parametrize("size", [28, 32, 33])
def test_a_vgg_takes_images_of_any_size(size):
    network = nclib.small_vgg(4, in_channels=3, blocks=2)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 32) == (2, network.num_features)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network) == 10
    with pytest.raises(ValueError, match="width is 0"):
        nclib.small_vgg(0)


def test_relative_errors_are_those_of_each_amount():
    table = pd.DataFrame({"samples": [[8, 64]] * 2, "samples_error": [[0.4, 0.1], [0.2, 0.1]]})
    found = complexity.relative_errors(table, "samples")
    assert found["amount"].tolist() == [8, 64]
    assert np.array([error.value for error in found["error"]]) == pytest.approx([np.sqrt(0.1), 0.1])
    assert (found["error"][0].low, found["error"][0].high) == pytest.approx((0.2, 0.4))


def test_penalised_images_name_a_network_and_its_seed_draws_the_projections(monkeypatch):
    free, penalised = TINY.key, replace(TINY, penalty=1.0).key
    monkeypatch.setattr("nclib.models.recipes._PENALISED", 3)
    assert TINY.key == free
    assert replace(TINY, penalty=1.0).key != penalised
    seeds = []
    none = torch.zeros(())
    monkeypatch.setattr(
        "nclib.models.recipes._complexity", lambda net, x, gen: seeds.append(gen.initial_seed()) or none
    )
    for seed in (0, 1):
        train(replace(TINY, penalty=1.0, epochs=1, seed=seed), device="cpu", progress=False)
    assert len(set(seeds)) == len(seeds)


def test_the_truth_of_estimates_is_exact_but_at_paper_scale():
    for scale in SCALES:
        cells = STUDIES["complexity_estimates"](settings(scale), [0])
        assert {cell.get("truth_error") for cell in cells} == {0.01 if scale == "paper" else None}


def test_what_stands_in_for_the_truth_is_within_its_error():
    measure = measures(ROOT / "notebooks" / "03_geometric_complexity.py")["complexity_estimates"]
    cell = STUDIES["complexity_estimates"](check.SCALE, check.SCALE.seeds)[0]
    exact, projected = measure(cell, None), measure(cell | {"truth_error": 0.01}, None)
    assert abs(projected.pop("truth_apart")) < 0.03
    assert projected.keys() == exact.keys()
    assert projected["outputs_error"] == pytest.approx(exact["outputs_error"], abs=0.03)


def test_the_penalty_is_tried_at_the_paper_s_rate_and_batch():
    found = {recipe_of(cell) for cell in STUDIES["complexity_penalty"](settings("paper"), [0])}
    assert {(each.learning_rate, each.batch_size, each.network) for each in found} == {(0.01, 256, "vgg")}
    assert {each.penalty for each in found} == {0.0, 1e-7, 1e-6, 1e-5, 1e-4}
    assert {each.per_class * 10 % each.batch_size for each in found} == {0}
