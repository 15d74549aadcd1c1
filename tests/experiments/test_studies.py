"""What each study is made of, at every scale."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision

import nclib
from nclib.experiments.cells import candidates, recipe_of
from nclib.experiments.chapters import source
from nclib.experiments.chapters.downstream import zoo
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.studies import STUDIES, by_name
from nclib.models.recipes import Recipe
from tests.layouts import class_folders, picture


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("study", STUDIES)
def test_cells_are_different_and_say_their_seed(scale, study):
    cells = STUDIES[study](settings(scale), settings(scale).seeds)
    different = {str(sorted(cell.items())) for cell in cells}
    assert len(different) == len(cells), f"of {len(cells)} cells of {study} at {scale}, {len(different)} are different"
    assert all("seed" in cell for cell in cells), f"a cell of {study} at {scale} has no seed"


def collapse_in_tuning(cell):
    """The strengths of the dial of collapse with which a cell's network is fine-tuned."""
    model = nclib.backbone("test_resnet", weights="random", device="cpu")
    return {tuning.collapse for _, tuning in candidates(cell, model, 2)}


def test_a_network_that_is_pre_trained_with_a_dial_is_fine_tuned_without_it():
    dialled = [cell for cell in STUDIES["model_selection"](settings("demo"), [0]) if recipe_of(cell).collapse]
    assert {recipe_of(cell).collapse for cell in dialled} == {-0.2, 0.1, 0.3}
    assert set().union(*map(collapse_in_tuning, dialled)) == {0.0}


def test_a_network_that_is_fine_tuned_with_a_dial_is_pre_trained_without_it():
    forced = STUDIES["forced_collapse"](settings("demo"), [0])
    assert {recipe_of(cell).collapse for cell in forced} == {0.0}
    assert set().union(*map(collapse_in_tuning, forced)) == {-0.1, 0.0, 0.1, 0.3}


def test_two_studies_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two studies are called source_collapse"):
        by_name([*STUDIES.values(), STUDIES["source_collapse"]])


def test_without_models_the_zoo_is_one_setting_after_another_and_other_shapes():
    models = zoo(settings("demo"), [0, 1])
    varied = {replace(recipe, seed=seed) for recipe in source.recipes(settings("demo").recipe) for seed in (0, 1)}
    others = {recipe_of(model) for model in models} - varied
    assert {(recipe.width, recipe.blocks) for recipe in others} == {(8, 1), (24, 1), (16, 3)}
    titles = [model["model"] for model in models if model["seed"] == 0]
    assert len(set(titles)) == len(titles)
    assert {"base", "loss contrastive", "blocks 3"} < set(titles)


def test_layers_are_those_of_the_deepest_recipe_or_of_every_named_model():
    by_layer = STUDIES["collapse_by_layer"]
    assert {cell["model"] for cell in by_layer(settings("demo"), [0])} == {"blocks 3"}
    assert len({cell["model"] for cell in by_layer(settings("lab"), [0])}) == len(settings("lab").models) >= 10
    assert len(settings("lab").model_tasks) >= 4


@pytest.mark.parametrize("model", settings("paper").models)
def test_the_models_of_paper_scale_exist(model):
    import timm
    import torchvision

    library, _, name = model.rpartition(":")
    if library:
        assert name in torchvision.models.list_models(module=torchvision.models)
    else:
        assert model in timm.list_models(pretrained=True)


@pytest.mark.parametrize("scale", SCALES)
def test_the_data_sets_of_every_scale_have_names_that_load_knows(scale, tmp_path):
    chosen = settings(scale)
    for name in (chosen.recipe.source, *chosen.tasks, *(task.data for task in chosen.model_tasks)):
        if name.partition("[")[0] not in nclib.data.catalogue.EMBEDDED:
            with pytest.raises(FileNotFoundError):  # ValueError: no name that nclib.load knows
                nclib.load(name, data_root=tmp_path)


@pytest.mark.parametrize("given", [["a", "b"], '["a", "b"]', ("a", "b")])
def test_models_and_tasks_can_be_named_by_the_user(given, tmp_path):
    run = nclib.start("lab", models=given, tasks="digits", imports="json", root=tmp_path, device="cpu")
    cells = run.cells("downstream_collapse")
    named = dict.fromkeys((cell["model"], cell["task"], cell["train_per_class"]) for cell in cells)  # of each draw
    assert [*named] == [("a", "digits", None), ("b", "digits", None)]
    assert run.imports == ("json",)


def test_other_images_under_one_name_are_another_cell(tmp_path):
    """Else their record would be that of the old ones."""
    folder = f"folder:{tmp_path / 'pets'}"

    def cells():
        return nclib.start("lab", models="a", tasks=folder, root=tmp_path, device="cpu").cells("downstream_collapse")

    class_folders("pets", {"train": "train", "test": "test"}, ("cat", "dog"))(tmp_path)
    before = cells()
    assert cells() == before
    picture(tmp_path / "pets/test/cat/image_0001.jpg", 1, size=(9, 9))
    assert cells() != before


def test_a_task_of_two_kinds_of_classes_is_refused(tmp_path, monkeypatch):
    run = nclib.start("demo", root=tmp_path, device="cpu")
    sets = {"train": nclib.load("digits", per_class=1), "test": nclib.load("glyphs/greek", per_class=1)}
    monkeypatch.setattr(type(run), "load", lambda self, name, split, **options: sets[split])
    with pytest.raises(ValueError, match="the test images of digits have other classes than its training images"):
        run.task({"data": "digits", "train_per_class": 1, "test_per_class": 1})


@pytest.mark.parametrize("name", settings("paper").models)
def test_the_blocks_of_the_paper_scale_s_models_are_used_once_in_a_forward_pass(name):
    """On the meta device: shapes without weights or arithmetic."""
    with torch.device("meta"):
        model, size = made_on_meta(name)
    calls = []
    for layer in nclib.Backbone(name, model).layers:
        module = model.get_submodule(layer)
        module.register_forward_hook(lambda m, i, output, layer=layer: calls.append((layer, output.ndim)))
    model(torch.zeros(2, *size, device="meta"))
    names = [layer for layer, _ in calls]
    assert len(set(names)) == len(names) >= 6
    assert {ndim for _, ndim in calls} <= {2, 3, 4}


def made_on_meta(name):
    library, _, name = name.rpartition(":")
    if not library:
        model = timm.create_model(name, num_classes=0).eval()
        return model, timm.data.resolve_model_data_config(model)["input_size"]
    options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, **options).eval(), (3, 224, 224)


@pytest.mark.parametrize("given", [7, [], [1, 2], "[]"])
def test_models_that_are_no_names_are_refused(given, tmp_path):
    with pytest.raises(ValueError, match=r"models are .*; they must be names"):
        nclib.start("lab", models=given, root=tmp_path, device="cpu")


def test_a_run_makes_backbones_of_both_kinds(tmp_path):
    recipe = Recipe(source="digits", per_class=2, width=8, epochs=0)
    run = nclib.start("demo", models=["test_vit"], root=tmp_path, device="cpu")
    named = run.backbone({"model": "test_vit", "weights": "random"}, None)
    trained = run.backbone({"model": "mine", **vars(recipe)}, tmp_path)
    images = nclib.load("digits", per_class=1)
    assert nclib.extract(named, images).shape == (10, 64)
    assert nclib.extract(trained, images).shape == (10, 64)
    assert trained.layers == ("layer1.0", "layer2.0", "layer3.0", "layer4.0")
