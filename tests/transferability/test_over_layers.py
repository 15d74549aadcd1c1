"""Rankings over layers: the best and the mean of each score, against each layer alone; for images and texts."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import nclib
from nclib import Backbone, load, rank_models, score
from nclib.cli import app
from nclib.features.backbones import AsTrained
from nclib.transferability.over_layers import over_layers
from nclib.transferability.registry import with_sums

SOME = ["cdnv", "gbc", "logme"]


class Counting(nn.Module):
    """Counts how many images it has seen."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, 0

    def forward(self, x):
        self.seen += len(x)
        return self.model(x)


def network(name, width, seed=0, classifier=None):
    """Four layers: a map, a map of one position, what is flat, and half of it."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 26), nn.Flatten(), nn.Linear(width, width // 2)
    )
    given = Counting(layers)
    return Backbone(name, given, AsTrained(1, 28), last=given, classifier=classifier)


@pytest.fixture(scope="module")
def digits():
    return load("digits", per_class=15)


@pytest.fixture(scope="module")
def models():
    return [network("narrow", 12, classifier=nn.Linear(6, 5)), network("wide", 16, seed=1), network("third", 8, seed=2)]


@pytest.fixture(scope="module")
def alone(models, digits):
    """Every score of every model and layer, one by one."""
    rows = {}
    for model in models:
        for layer, features in nclib.extract_layers(model, digits, [*model.layers, "last"]).items():
            rows[model.name, layer] = dict(score(features, digits.labels, scores=[*SOME, "variance_collapse"]))
            rows[model.name, layer] |= dict(score(features, digits.labels, scores=["class_fairness"]))
    return with_sums(pd.DataFrame(rows).T.rename_axis(["model", "layer"]))


def test_the_best_layer_of_each_score_and_the_mean(models, digits, alone):
    best = rank_models(models, digits, scores=[*SOME, "face"], by="logme", layers="best")
    mean = rank_models(models, digits, scores=[*SOME, "face"], by="logme", layers="mean")
    for name in [*SOME, "face"]:
        grouped = alone[name].groupby(level="model")
        expected = grouped.min() if name == "cdnv" else grouped.max()
        assert best.table[name].to_dict() == pytest.approx(expected.to_dict(), rel=1e-4)
        assert mean.table[name].to_dict() == pytest.approx(grouped.mean().to_dict(), rel=1e-4)
        for model, chosen in best.layers.items():
            assert alone.loc[(model, chosen[name]), name] == pytest.approx(expected[model], rel=1e-4)
    assert best.table["layer"].to_dict() == {name: chosen["logme"] for name, chosen in best.layers.items()}
    assert best.table["logme"].is_monotonic_decreasing
    assert mean.layers == {}
    assert "layer" not in mean.table
    pd.testing.assert_frame_equal(best.by_layer[[*alone]], alone, rtol=1e-4)


def test_the_last_layer_is_what_it_was(models, digits, alone):
    usual = rank_models(models, digits, scores=SOME, by="logme")
    assert (usual.layers, usual.by_layer) == ({}, None)
    assert set(usual.table) == {*SOME, "seconds"}
    assert usual.table["logme"].to_dict() == pytest.approx(alone["logme"].xs("last", level="layer").to_dict(), rel=1e-4)
    assert "layer" not in str(usual)
    assert "layers" not in usual.to_dict()


def test_all_layers_take_one_pass(digits):
    model = network("one", 8)
    rank_models([model], digits, scores=["logme"], layers="best")
    assert model.model.seen == len(digits)


def test_layers_by_name_and_place_and_one_that_a_model_lacks(models, digits, alone):
    first, last = models[0].layers[0], models[0].layers[-1]
    found = rank_models(models, digits, scores=["logme"], layers=[0, -1, first])
    assert {layer for _, layer in found.by_layer.index} == {first, last}
    expected = alone["logme"].loc[:, [first, last]].groupby(level="model").max()
    assert found.table["logme"].to_dict() == pytest.approx(expected.to_dict(), rel=1e-4)
    pixels = Backbone("pixels", nn.Flatten(), AsTrained(1, 28))
    found = rank_models([*models, pixels], digits, scores=["logme"], layers=[first])
    assert list(found.failures) == ["pixels"]
    assert f"pixels has no layer '{first}'" in found.failures["pixels"]
    assert set(found.table["layer"]) == {first}
    assert "its layers are not known" in rank_models([*models, pixels], digits, layers=[0]).failures["pixels"]
    assert rank_models([pixels], digits, scores=["logme"], layers="best").table["layer"].tolist() == ["last"]


@pytest.mark.parametrize("layers", ["bset", [], "", [1.5], None, 3])
def test_layers_that_are_none_say_what_is_allowed(models, digits, layers):
    with pytest.raises(ValueError, match="they must be 'last', 'best', 'mean', or a list"):
        rank_models(models, digits, layers=layers)


def test_the_chosen_layer_is_told_everywhere(models, digits, tmp_path):
    found = rank_models(models, digits, scores=SOME, by="gbc", layers="best")
    name, layer = found.best, found.table["layer"].iloc[0]
    assert found.order.endswith("each score is the best over layers")
    assert f"layers of {name}: " in str(found)
    assert found.to_dict()["models"][0]["layer"] == layer == found.to_dict()["layers"][name]["gbc"]
    json.dumps(found.to_dict())
    found.write(tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv", index_col="model").loc[name, "layer"] == layer
    with pytest.raises(ValueError, match=r"a\.json does not end in \.csv"):
        found.write(tmp_path / "a.json")
    assert found._labels[0] == f"{name} ({layer})"
    found.draw(tmp_path / "a.png")
    assert set(found.relative) == set(SOME)
    assert found.agreement().shape == (3, 3)
    assert rank_models(models, digits, scores=SOME, layers="mean").order.endswith("each score is the mean over layers")


def test_what_only_the_last_layer_has_is_of_it(models, digits):
    found = rank_models(models, digits, scores=["leep", "logme"], by="logme", layers="best")
    assert found.layers["narrow"]["leep"] == "last"
    mean = rank_models(models, digits, scores=["leep", "logme"], by="logme", layers="mean")
    assert mean.table.loc["narrow", "leep"] == pytest.approx(found.table.loc["narrow", "leep"])
    assert np.isnan(found.table.loc["wide", "leep"])
    known = rank_models(models, digits, scores=["logme"], layers="best", source_accuracy={"wide": 0.5})
    assert set(known.table) == {"layer", "logme", "seconds"}


def test_the_best_are_verified_over_their_layers(models, digits):
    found = rank_models(models, digits, scores=["logme"], layers="best", verify=2)
    for name in found.table.index[:2]:
        layer = found.layers[name]["probe_accuracy"]
        features = nclib.extract_layers(next(m for m in models if m.name == name), digits, [layer])[layer]
        assert found.table.loc[name, "probe_accuracy"] == pytest.approx(
            score(features, digits.labels, scores=["probe_accuracy"])["probe_accuracy"]
        )
    assert found.table["probe_accuracy"].isna().tolist() == [False, False, True]


def test_a_probe_that_cannot_be_tried_is_a_note_and_no_value(models):
    few = load("digits", per_class=1)
    found = rank_models(models, few, scores=["gbc"], verify=1)
    assert found.table["probe_accuracy"].isna().all()
    assert any(note.startswith("probe_accuracy") for note in found.notes[found.best])


def test_layers_of_tokens_and_of_classes_of_several_sizes():
    found = rank_models(
        ["test_vit"],
        load("digits", per_class=4),
        scores=["logme", "gbc"],
        layers="best",
        weights="random",
        device="cpu",
    )
    assert {layer for _, layer in found.by_layer.index} == {
        *nclib.backbone("test_vit", weights="random").layers,
        "last",
    }


def test_a_layer_without_a_value_does_not_count():
    rows = pd.MultiIndex.from_product([["a", "b"], ["x", "y"]], names=["model", "layer"])
    table = pd.DataFrame({"gbc": [np.nan, -3.0, np.nan, np.nan], "logme": [1.0, 1.0, 2.0, 1.0]}, index=rows)
    best, chosen = over_layers(table, "best")
    assert best["gbc"].tolist() == pytest.approx([-3.0, np.nan], nan_ok=True)
    assert chosen == {"a": {"gbc": "y", "logme": "y"}, "b": {"logme": "x"}}  # the deeper of two as good
    mean, _ = over_layers(table, "mean")
    assert mean["gbc"].tolist() == pytest.approx([-3.0, np.nan], nan_ok=True)
    assert mean["logme"].tolist() == [1.0, 1.5]


def run(*arguments):
    return CliRunner().invoke(app, ["rank", "--device", "cpu", "--weights", "random", "--data", "digits", *arguments])


@pytest.mark.parametrize(
    ("layers", "number"), [("best", None), ("layer1, layer2.0,-1", 3), ("mean", None), ("last", 1)]
)
def test_the_command_line_ranks_over_layers(layers, number):
    options = ["--per-class", "8", "--models", "test_resnet", "--scores", "logme,gbc"]
    done = run(*options, "--layers", layers, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert ("layer" in found["models"][0]) == (layers not in ("mean", "last"))
    assert set(found["models"][0]) - {"layer"} == {"model", "logme", "gbc", "seconds"}


def test_wildcards_and_lists_of_them_on_the_command_line():
    done = run("--per-class", "5", "--models", "test_res*, test_resnet,test_v?t", "--scores", "gbc", "--json")
    assert done.exit_code == 0, done.output
    expected = nclib.model_names(["test_res*", "test_v?t"], weights="random")
    assert {model["model"] for model in json.loads(done.stdout)["models"]} == {*expected}
    done = run("--models", "resnt18,test_vit,vitt*")
    assert done.exit_code == 1
    assert "timm has no model 'resnt18'" in done.stderr
    assert "'vitt*' matches no model of timm" in done.stderr
