"""Ranking of models: what is found of each, how failures are told, and the command line."""

import json

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from typer.testing import CliRunner

import nclib
from nclib import SCORES, Backbone, class_statistics, load, rank_models
from nclib.cli import app
from nclib.features.backbones import AsTrained
from nclib.transferability.ranking import Ranking
from nclib.transferability.registry import OVER_MODELS, score

AS_DIGITS = AsTrained(1, 28)


def pooled(size):
    """Pixels averaged over squares: the larger, the less is left of them."""
    return Backbone(f"pool{size}", torch.nn.Sequential(torch.nn.AvgPool2d(size), torch.nn.Flatten()), AS_DIGITS)


@pytest.fixture(scope="module")
def digits():
    return load("digits", per_class=30)


@pytest.fixture(scope="module")
def ranking(digits):
    return rank_models([pooled(14), pooled(4), Backbone("bare", torch.nn.Flatten()), pooled(7)], digits)


def test_the_best_comes_first_and_every_score_has_a_column(ranking):
    assert ranking.by == "face"
    assert ranking.best == "pool4"
    assert ranking.table["face"].is_monotonic_decreasing
    unknown = {"probabilities", "source_accuracy"}
    usual = {name for name, entry in SCORES.items() if not entry.on_request and unknown.isdisjoint(entry.inputs)}
    assert set(ranking.table) == usual | {"face", "seconds"}
    assert (ranking.table["seconds"] > 0).all()


def test_source_accuracy_is_a_score_where_it_is_known(digits):
    models, known = [pooled(14), pooled(7), pooled(4)], {"pool14": 0.9, "pool4": 0.7}
    table = rank_models(models, digits, by="source_accuracy", source_accuracy=known).table
    assert list(table.index) == ["pool14", "pool4", "pool7"]
    assert table["source_accuracy"].isna().tolist() == [False, False, True]
    with pytest.raises(ValueError, match="resnet18, which is not among the models"):
        rank_models(models, digits, source_accuracy={"resnet18": 0.7})


def test_face_is_the_sum_of_its_parts_over_the_models(ranking):
    parts = ranking.table[[*OVER_MODELS["face"]]]
    assert ranking.table["face"].to_numpy() == pytest.approx(
        ((parts - parts.min()) / np.ptp(parts, axis=0)).sum(axis=1)
    )


def test_a_model_that_fails_is_told_and_the_others_go_on(ranking):
    assert list(ranking.failures) == ["bare"]
    assert "bare has no transform to prepare images with" in ranking.failures["bare"]
    assert len(ranking.table) == 3
    assert "bare failed: bare has no transform" in str(ranking)


def test_scores_that_agree_are_seen_to(ranking):
    agreement = ranking.agreement()
    assert agreement.loc["logme", "h_score"] == pytest.approx(1)
    assert agreement.loc["cdnv", "vci"] >= -1  # both turned so that higher is better
    assert ranking.relative.loc[ranking.best, "vci"] == 1
    assert ranking.relative.min().min() == 0


def test_rounding_is_not_stretched_to_best_and_worst():
    table = pd.DataFrame({"logme": [1.0, 2.0, 3.0], "vci": [0.0, 3e-14, 1e-13], "nc": [5.0, 5.0 + 1e-12, 5.0]})
    values = nclib.transferability.ranking.Ranking(table.assign(seconds=1.0), by="logme").relative
    assert values["logme"].tolist() == [0, 0.5, 1]
    assert values[["vci", "nc"]].isna().all(axis=None)


def test_scores_that_say_nothing_are_nan_and_hatched(tmp_path):
    few = load("digits", per_class=3)  # 30 images, of 784, 49 and 4 features
    found = rank_models([pooled(1), pooled(4), pooled(14)], few)
    assert found.table["vci"].isna().tolist() == found.table.index.isin(["pool1", "pool4"]).tolist()
    assert found.table["cdnv"].notna().all()
    assert {"vci", "h_score", "sfda"}.isdisjoint(found.to_dict()["models"][found.table.index.get_loc("pool1")])
    told = "note on pool1, pool4: h_score, vci, sfda say nothing with 30 samples: two more samples than"
    assert told in str(found)  # once for both, though they have 784 and 49 features
    assert found.agreement().loc["vci"].drop("vci").isna().all()  # of one model there is no order
    found.draw(tmp_path / "ranking.png")
    assert (tmp_path / "ranking.png").stat().st_size > 1000
    assert rank_models([pooled(1), pooled(14)], few, by="vci").best == "pool14"
    with pytest.raises(
        ValueError, match=r"vci, sfda say nothing with 30 samples.*give more images, or sort by another"
    ):
        rank_models([pooled(1), pooled(4)], few, by="vci")


def test_it_is_sorted_by_any_score_in_its_direction(digits):
    found = rank_models([pooled(14), pooled(4)], digits, scores=["gbc"], by="vci")
    assert list(found.table) == ["gbc", "vci", "seconds"]
    assert found.table["vci"].is_monotonic_increasing
    assert found.best == "pool4"


def test_the_best_are_verified_by_a_probe(digits):
    worse = rank_models([pooled(14), pooled(4), pooled(7)], digits, by="class_fairness", verify=3)
    assert worse.table["probe_accuracy"].is_monotonic_decreasing
    assert "the first 3 by the accuracy of a linear probe" in str(worse)
    found = rank_models([pooled(14), pooled(4)], digits, by="logme", verify=1)
    assert "; the first by the accuracy of a linear probe" in str(found)
    assert 0.5 < found.table.loc["pool4", "probe_accuracy"] <= 1
    assert np.isnan(found.table.loc["pool14", "probe_accuracy"])
    assert [set(model) >= {"model", "logme"} for model in found.to_dict()["models"]] == [True, True]


def test_a_classifier_gives_leep_and_nce(digits):
    classifier = torch.nn.Linear(16, 5)
    known = Backbone("known", pooled(7).model, AS_DIGITS, classifier=classifier)
    found = rank_models([known, pooled(4)], digits, scores=["leep", "cdnv"], by="cdnv")
    features = nclib.extract(known, digits)
    expected = nclib.leep(probabilities=classifier(features).detach().softmax(1), labels=digits.labels)
    assert found.table.loc["known", "leep"] == pytest.approx(expected)
    assert np.isnan(found.table.loc["pool4", "leep"])


def test_of_two_classes_or_one_model_there_is_no_face(digits):
    assert rank_models(pooled(4), digits).by == "logme"
    assert rank_models([pooled(4), pooled(7)], digits).by == "logme"
    two = digits.of_classes(0, 2)
    assert rank_models([pooled(4), pooled(7)], two).by == "logme"
    with pytest.raises(ValueError, match="face is not among the scores found"):
        rank_models([pooled(4), pooled(7)], two, by="face")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": [Backbone("bare", torch.nn.Flatten())]}, "no model could be scored: bare: bare has no transform"),
        ({"models": ["nothing"]}, "timm has no model 'nothing'"),
        (
            {"scores": ["logmee"]},
            "'logmee' is not a score; similar names are logme, .*the scores are variance_collapse",
        ),
        ({"by": "best"}, "'best' is not a score"),
        ({"models": []}, "there are no models to rank"),
        ({"models": "nothing"}, "timm has no model 'nothing'"),
        ({"verify": -1}, "verify is -1"),
        ({"data_root": "data"}, "data_root is 'data'; models of images do not use it"),
    ],
)
def test_what_cannot_be_ranked_says_why(options, message, digits):
    with pytest.raises(ValueError, match=message):
        rank_models(**({"models": [pooled(4)], "images": digits} | options))
    with pytest.raises(ValueError, match="of one class, 3; a ranking needs at least 2"):
        rank_models([pooled(4)], digits.of_classes(3, 4))


def test_a_model_of_another_kind_of_data_is_told(digits):
    texts = nclib.texts("docstrings/libraries", per_class=5)
    with pytest.raises(ValueError, match="pool4: it is a Backbone; texts need a TextEncoder, or the name of one"):
        rank_models([pooled(4)], texts)


def test_differences_by_rounding_are_none():
    table = pd.DataFrame({"gbc": [-1.0, -1.0 + 1e-13], "cdnv": [1.0, 2.0], "seconds": [1.0, 1.0]}, index=["a", "b"])
    relative = nclib.Ranking(table, "cdnv").relative
    assert relative["gbc"].isna().all()
    assert relative["cdnv"].tolist() == [1, 0]
    with pytest.raises(TypeError, match="images are str"):
        rank_models([pooled(4)], "digits")


def test_all_scores_are_asked_for_by_one_word(digits):
    classifier = torch.nn.Linear(16, 5)
    models = [Backbone(name, pooled(7).model, AS_DIGITS, classifier=classifier) for name in "ab"]
    known = {"a": 0.5, "b": 0.6}
    table = rank_models(models, digits, scores="all", source_accuracy=known).table
    assert set(table) == {*SCORES, *OVER_MODELS, "seconds"}


def test_all_scores_of_one_model(digits):
    features, probabilities = nclib.extract(pooled(7), digits), torch.rand(300, 7).softmax(1)
    given = {"probabilities": probabilities, "source_accuracy": 0.5}
    table = score(features, digits.labels, **given, scores="all")
    with pytest.raises(ValueError, match=r"source_accuracy is 71\.3; it must be from 0 to 1"):
        score(features, digits.labels, source_accuracy=71.3, scores=["source_accuracy"])
    assert set(table) == set(SCORES)
    assert table["logme"] == pytest.approx(nclib.logme(class_statistics(features, digits.labels)))
    assert "higher is likelier to transfer" in str(table)
    assert set(score(class_statistics(features, digits.labels), scores="all")) == {
        name for name, entry in SCORES.items() if entry.inputs == ("stats",)
    }
    with pytest.raises(ValueError, match=r"leep needs probabilities; give probabilities=\.\.\."):
        score(features, digits.labels, scores=["leep"])


@pytest.fixture
def folder(tmp_path, digits):
    """Pictures of three digits, one of them broken and one of them alone in its class."""
    for k in range(3):
        (tmp_path / "pictures" / str(k)).mkdir(parents=True)
        for i, index in enumerate((digits.labels == k).nonzero().flatten().tolist()[: 12 if k else 1]):
            digits.image(index).save(tmp_path / "pictures" / str(k) / f"{i}.png")
    (tmp_path / "pictures" / "1" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "pictures"


def run(*arguments):
    return CliRunner().invoke(app, ["rank", "--device", "cpu", "--weights", "random", *map(str, arguments)])


def test_the_command_line_ranks_a_folder(folder, tmp_path):
    names = tmp_path / "models.txt"
    names.write_text("\ufefftest_resnet  # timm's smallest, of a file as Windows writes it\n\ntest_vi?\n", "utf-8")
    done = run("--data", folder, "--models-from", names, "--csv", tmp_path / "a.csv", "--figure", tmp_path / "a.png")
    assert done.exit_code == 0, done.output
    assert "1 image could not be read and was left out" in done.output
    assert "broken.png" in done.output
    table = pd.read_csv(tmp_path / "a.csv", index_col="model")
    assert set(table.index) == {"test_resnet", "test_vit"}
    assert {"logme", "low", "high", "p_first", "among_first"} <= set(table)
    assert table["p_first"].sum() == pytest.approx(1, abs=0.01)
    assert Image.open(tmp_path / "a.png").size[0] > 300


def test_the_command_line_prints_json(folder):
    done = run("--data", folder, "--models", "test_resnet,test_vit", "--scores", "cdnv,face", "--by", "cdnv", "--json")
    found = json.loads(done.stdout)
    assert found["by"] == "cdnv"
    assert [set(model) for model in found["models"]] == [
        {"model", "cdnv", "variance_collapse", "class_fairness", "face", "seconds"}
    ] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --models a,b,c or --models-from FILE"),
        (["--models", " , "], "no model is named in ' , '; give at least one"),
        (["--models-from", "no.txt"], "there is no file no.txt; give the path of a text"),
        (["--models", "test_resnet", "--split", "val"], "unknown split 'val'"),
        (["--models", "test_resnet", "--csv", "no/a.csv"], "no/a.csv cannot be written: its folder is missing"),
        (["--models", "test_resnet", "--figure", "a.xyz"], "a.xyz ends in '.xyz'; it must be one of .png, .pdf, .svg"),
    ],
)
def test_the_command_line_says_what_is_wrong(arguments, message, folder):
    done = run("--data", folder, *arguments)
    assert done.exit_code == 1
    assert message in done.output


def test_a_file_of_models_has_one_name_a_line(tmp_path, folder):
    (tmp_path / "models.csv").write_text("test_resnet # mine\ntest_vit, test_convnext\n")
    done = run("--data", folder, "--models-from", tmp_path / "models.csv")
    assert done.exit_code == 1
    assert "models.csv holds 'test_vit, test_convnext'; it must have one name in each line" in "".join(
        done.output.split("\n")
    )


def test_a_table_of_many_scores_and_long_names_fits_a_hundred_columns():
    names = [f"sentence-transformers/a-model-with-a-long-name-of-some-hub.version-{k}" for k in range(3)]
    scores = ["face", *SCORES, "a score of mine whose name is longer than anybody would have it", "seconds"]
    table = pd.DataFrame(1e5 / 3, index=names, columns=scores)
    found = Ranking(table, "face", 2, {"x" * 150: "because " * 30}, {names[0]: ["so it is " * 20]})
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    printed = "".join(str(found).split())
    assert all(score in printed for score in SCORES)
    assert all(name in printed for name in names), "what is shortened is said"
    assert len({line.split()[0] for line in lines if line.startswith("sentence-") and "3.333e+04" in line}) == 3


def test_the_dictionary_is_json_whatever_the_columns_hold():
    table = pd.DataFrame({"cdnv": np.float32([1.5, np.inf]), "seconds": [1, 2]}, index=["a", "b"])
    found = json.loads(json.dumps(Ranking(table.astype(object), "cdnv").to_dict()))
    assert found["models"][0] == {"model": "a", "cdnv": 1.5, "seconds": 1.0}
    assert found["models"][1]["cdnv"] == float("inf")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_ranking_fits_the_terminal_and_nothing_is_lost(width):
    names = [f"sentence-transformers/a-model-with-a-long-name-of-some-hub.version-{k}" for k in range(3)]
    table = pd.DataFrame(1e5 / 3, index=names, columns=["face", *SCORES, "seconds"])
    text = Ranking(table, "face", 2, {"mine": "because " * 30}, {names[0]: ["so it is " * 20]}).text(width)
    assert max(map(len, text.splitlines())) <= width
    printed = "".join(text.split())
    assert all(name in printed for name in [*names, *SCORES])
    assert printed.count("because") == 30


def test_a_model_that_fails_is_an_exit_code_of_1_beside_the_table(folder, tmp_path, monkeypatch):
    from nclib.transferability import ranking as module

    def made(name, **options):
        if name == "test_vit":
            raise RuntimeError("it is broken")
        return nclib.backbone(name, **options)

    monkeypatch.setattr(module, "backbone", made)
    done = run("--data", folder, "--models", "test_resnet,test_vit", "--scores", "gbc", "--csv", tmp_path / "a.csv")
    assert done.exit_code == 1
    assert "test_vit failed: it is broken" in done.stdout
    assert list(pd.read_csv(tmp_path / "a.csv")["model"]) == ["test_resnet"]


@pytest.mark.parametrize("of", ["images", "texts"])
def test_names_of_the_hub_are_looked_for_before_the_first_model_is_read(of, digits, monkeypatch):
    from nclib.transferability import ranking as module

    def missing(repository):
        return None if repository == "some/model" else FileNotFoundError(f"there is no {repository}")

    def read(*given, **options):
        raise AssertionError("a model was read")

    monkeypatch.setattr(module, "missing", missing)
    monkeypatch.setattr(module, "_features", read)
    given = digits if of == "images" else nclib.texts("docstrings/libraries", per_class=2)
    prefix = "hf-hub:" if of == "images" else ""
    with pytest.raises(FileNotFoundError, match="there is no no/such; there is no nor/this"):
        rank_models([f"{prefix}{name}" for name in ("some/model", "no/such", "nor/this")], given)


def test_why_a_model_of_the_hub_cannot_be_had_is_said(monkeypatch):
    from nclib.models.hub import missing

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "no/such is not among the hub's files on this machine, and HF_HUB_OFFLINE is set" in str(missing("no/such"))
    assert "Repo id must use alphanumeric chars" in str(missing("no such name!"))


def test_notes_on_scores_call_classes_by_their_names(folder):
    done = run("--data", folder, "--models", "test_resnet", "--scores", "gbc")
    assert "1 of 3 classes has one sample, whose spread is taken as 0 (0)" in done.stdout
    (folder / "0").rename(folder / "zero")
    done = run("--data", folder, "--models", "test_resnet", "--scores", "gbc")
    assert "1 of 3 classes has one sample, whose spread is taken as 0 (zero)" in done.stdout


def module():
    return torch.nn.Sequential(torch.nn.AvgPool2d(7), torch.nn.Flatten())


def test_models_of_every_kind_are_ranked_together(digits):
    inputs = (torch.rand(30, 3, 64, 64), torch.arange(30) % 3)
    body = (torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    tuned = nclib.linear_probe(torch.nn.Sequential(*body, torch.nn.Linear(12, 3)))
    own, vit = torch.nn.Sequential(*body), timm.create_model("test_convnext", num_classes=0)
    models = ["test_resnet", Backbone("mine", own), own, tuned, vit]
    found = rank_models(models, inputs, scores=["logme"], weights="random", device="cpu")
    assert not found.failures
    assert set(found.table.index) == {"test_resnet", "mine", "Sequential", "tuned linear", "ConvNeXt"}
    same = found.table.loc[["mine", "Sequential", "tuned linear"], "logme"]
    assert same.nunique() == 1
    assert list(rank_models(own, inputs, scores=["logme"]).table.index) == ["Sequential"]
    assert len(rank_models(torch.nn.ModuleList([own]), inputs, scores=["logme"]).table) == 1


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ([3], TypeError, "models hold 3; each must be a name, a Backbone or a module"),
        (None, TypeError, "models hold None; each must be"),
        ([("a", module())], TypeError, "models hold a tuple; each must be a name"),
        ({"a": module()}, TypeError, r"models are a dict; give a list of them: \[nclib\.Backbone"),
        ([module(), module()], ValueError, r"several models are called Sequential; .*nclib\.Backbone\(name"),
        ("test_resnet,test_vit", ValueError, r"give a list: \['test_resnet', 'test_vit'\]"),
    ],
)
def test_what_is_no_list_of_models_says_why(models, error, message, digits):
    with pytest.raises(error, match=message):
        rank_models(models, digits)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scores": "gbc,cdnv"}, ValueError, r"give a list: \['gbc', 'cdnv'\]"),
        ({"scores": 3}, TypeError, "scores hold 3; give a name"),
        ({"by": ["gbc"]}, TypeError, r"by is \['gbc'\]; it must be the name of one score"),
        ({"layers": "0,last"}, ValueError, "layers are '0,last'; they must be 'last'"),
        ({"layers": [None]}, ValueError, r"layers are \[None\]; they must be"),
        ({"verify": "2"}, ValueError, "verify is '2'; it must be a whole number, at least 0"),
    ],
)
def test_options_of_another_type_say_what_they_must_be(options, error, message, digits):
    with pytest.raises(error, match=message):
        rank_models([pooled(7)], digits, **options)


def test_texts_of_one_class_and_a_bare_language_model_are_told(digits):
    alone = nclib.Texts(("it purrs", "it sleeps"), torch.tensor([1, 1]), ("dog", "cat"))
    with pytest.raises(ValueError, match="the texts are all of one class, cat; a ranking needs at least 2"):
        rank_models([module()], alone)
    two = nclib.Texts(("it purrs", "it barks"), torch.tensor([1, 0]), ("dog", "cat"))
    with pytest.raises(ValueError, match=r"Sequential: .*: nclib\.TextEncoder\(name, model, tokenizer, 'mean'\)"):
        rank_models([module()], two)


def test_models_that_are_as_good_as_each_other_are_noted(digits):
    twins = [Backbone(name, pooled(7).model, AS_DIGITS) for name in "ab"]
    found = rank_models([*twins, pooled(14)], digits, scores=["gbc"], by="cdnv")
    value = f"{found.table.loc['a', 'cdnv']:.4g}"
    assert found.notes["a"] == found.notes["b"] == [f"a, b have the same cdnv, {value}: their order says nothing"]
    assert "pool14" not in found.notes
    assert f"note on a, b: a, b have the same cdnv, {value}: their" in " ".join(str(found).split())
    probed = rank_models([*twins, pooled(14)], digits, scores=["gbc"], by="cdnv", verify=2)
    assert any(line.startswith("a, b have the same probe_accuracy") for line in probed.notes["a"])
    ties = nclib.transferability.ranked.ties
    table = pd.DataFrame({"gbc": [1e6, 1e6 + 1e-6, 1.0, float("nan"), float("nan")]}, index=[*"abcde"])
    assert [*ties(table, "gbc", 0)] == ["a", "b"]
    assert ties(table[:0], "gbc", 0) == {}
    endless = pd.DataFrame({"gbc": [2.0, 1.0, float("-inf"), float("-inf")]}, index=[*"abcd"])
    assert [*ties(endless, "gbc", 0)] == ["c", "d"]  # infinity is no scale, by which all would be the same
