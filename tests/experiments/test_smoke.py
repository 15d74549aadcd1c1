"""A smoke run: a scale of few images that keeps its networks, data sets and panels; its records are thrown away."""

from dataclasses import replace

import pytest

import nclib
from nclib.experiments.chapters.fine_tuning import COMPARED
from nclib.experiments.chapters.source import LOSSES
from nclib.experiments.counts import impossible
from nclib.experiments.records import Records, cell_digest, fill
from nclib.experiments.run import RECORDS_AT, SMOKE_FOLDER, start
from nclib.experiments.scales import SCALES
from nclib.experiments.scales.smoke import EPOCHS, kind_of, reduced, representatives, some_classes
from nclib.experiments.studies import STUDIES, cells_of


def small(study, scale="paper"):
    given = reduced(SCALES[scale])
    return representatives(STUDIES[study](given, given.seeds))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("study", STUDIES)
def test_a_smoke_run_has_few_cells_of_few_epochs_that_the_data_can_give(study, scale):
    cells = small(study, scale)
    assert bool(cells) == bool(cells_of(study, scale))
    assert len(cells) <= 20
    assert impossible(cells) == []
    assert all(cell.get(name, 0) <= EPOCHS for cell in cells for name in ("epochs", "epochs_tuned"))
    assert {cell["seed"] for cell in cells} <= {SCALES[scale].seeds[0]}
    kinds = [kind_of(cell) for cell in cells]
    assert len(set(kinds)) == len(kinds)


def test_every_panel_method_loss_and_zoo_of_paper_scale_is_tried():
    paper = SCALES["paper"]
    panels = [sweep.panel for sweep in paper.geometry.sweeps]
    for study in ("geometric_complexity", "complexity_estimates"):
        assert [cell["panel"] for cell in small(study)] == panels
    assert {cell["penalty"] > 0 for cell in small("complexity_penalty") if "penalty" in cell} == {True}
    assert len(small("complexity_penalty")) == 2
    assert {cell["loss"] for cell in small("source_collapse")} == set(LOSSES)
    assert {cell["method"] for cell in small("fine_tuning")} == set(COMPARED)
    for study, zoos in (("model_selection", paper.zoos), ("text_selection", paper.text_zoos)):
        assert {cell["zoos"][0] for cell in small(study)} == {zoo.title for zoo in zoos}
    for setting in ("loss", "projection", "augmentation", "epochs", "collapse"):
        assert any(setting in cell["panels"] for cell in small("source_collapse"))


def test_networks_and_models_are_those_of_the_scale():
    for study in ("geometric_complexity", "complexity_penalty", "source_collapse", "model_selection"):
        full = {(cell.get("model"), cell.get("network"), cell.get("width")) for cell in cells_of(study, "paper")}
        of_shape = {(model, network, width) for model, network, width in full if model is None or width is None}
        found = {(cell.get("model"), cell.get("network"), cell.get("width")) for cell in small(study)}
        assert {each for each in found if each[0] is None or each[2] is None} <= of_shape


def test_every_kind_of_cell_that_is_named_by_its_model_is_a_kind_of_the_scale():
    for study in ("downstream_collapse", "fine_tuning", "scene_selection"):
        assert {kind_of(cell) for cell in small(study)} == {kind_of(cell) for cell in cells_of(study, "paper")}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ({"model": "torchvision:swin_t", "weights": "pretrained"}, "torchvision, transformer"),
        ({"model": "torchvision:resnet18", "weights": "IMAGENET1K_V1"}, "torchvision, CNN"),
        ({"model": "vit_small_patch14_dinov2.lvd142m", "weights": "pretrained"}, "timm, transformer"),
        ({"model": "resnet50.a1_in1k", "weights": "pretrained"}, "timm, CNN"),
        ({"model": "google-bert/bert-base-uncased", "weights": "pretrained"}, "Hugging Face"),
        (
            {"model": "byol", "architecture": "torchvision:resnet50", "weights": "self_supervised/byol.safetensors"},
            None,
        ),
        ({"model": "base", "blocks": 2, "network": "cifar_resnet"}, "network cifar_resnet"),
        ({"model": "base", "depth": 0}, "words"),
    ],
)
def test_kinds_of_models(model, kind):
    assert kind_of(model) == (kind or "torchvision:resnet50, weights of a file",)


def test_classes_are_left_out_of_names_that_say_nothing_of_classes():
    assert some_classes("cifar100", 5) == "cifar100[0:5]"
    assert some_classes("cifar100[80:100]", 5) == "cifar100[80:100]"
    assert some_classes("mnist", 10) == "mnist"


def test_reducing_is_pure_and_leaves_the_scale_alone():
    before = replace(SCALES["paper"])
    assert reduced(SCALES["paper"]) == reduced(SCALES["paper"]) != SCALES["paper"]
    assert SCALES["paper"] == before


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book with records of a study of its own at demo scale, and at paper scale."""
    monkeypatch.setitem(STUDIES, "toy", lambda scale, seeds: [{"seed": seed} for seed in seeds])
    for scale in ("demo", "paper"):
        fill(
            Records(tmp_path / "book" / "records"),
            "toy",
            scale,
            [{"seed": k} for k in range(3)],
            lambda cell: {"accuracy": 0.25},
        )
    return tmp_path


def test_records_of_a_smoke_run_are_thrown_away_and_the_book_s_are_not_touched(book, capsys):
    before = {path: path.read_bytes() for path in (book / "book").rglob("*") if path.is_file()}
    seen = []

    def measure(cell, cache):
        seen.append(cache)
        return {"accuracy": 0.5}

    for _ in range(2):  # the second run measures again
        run = start("paper", root=book, device="cpu", smoke=True)
        tables = run.study_by_scale("toy", measure)
        found = {scale: rows["accuracy"].tolist() for scale, rows in tables.items()}
        assert found == {"demo": [0.25] * 3, "paper": [0.5]}
    assert run.records.folder == book / SMOKE_FOLDER / "records"
    assert seen == [book / SMOKE_FOLDER / "cache"] * 2
    assert "paper scale, a smoke run, seeds [0]" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (book / "book").rglob("*") if path.is_file()} == before


def test_failures_of_the_scale_itself_are_not_those_of_its_smoke_run(book):
    failed = {"study": "toy", "scale": "paper", "config": {}, "seed": 0, "reason": "no memory", "provenance": {}}
    Records(book / "book" / "records").fail(failed | {"seed": 7})
    Records(book / "book" / "records").fail(failed | {"scale": "demo", "seed": 7})
    found = {path.name for path in start("paper", root=book, device="cpu", smoke=True).records.folder.iterdir()}
    assert {name for name in found if name.endswith("jsonl")} == {"toy-demo.jsonl", "toy-demo.failed.jsonl"}


def test_whether_it_is_a_smoke_run_is_checked(book):
    with pytest.raises(ValueError, match="smoke is 'False'; it must be True or False"):
        start("paper", root=book, smoke="False")


def test_composed_scenes_of_a_smoke_run_show_every_class():
    for cell in small("scene_selection", "demo"):
        made = nclib.scenes(cell["data"], number=cell["train"])
        assert made.masks.unique().tolist() == list(range(len(made.classes)))


@pytest.mark.parametrize("scale", ["demo", "lab"])
def test_texts_of_a_smoke_run_are_named_as_their_scale_names_them(scale):
    for study in ("text_selection", "encoder_selection"):
        assert {cell["data"] for cell in small(study, scale)} <= {cell["data"] for cell in cells_of(study, scale)}


def test_a_smoke_run_takes_no_other_folder(book, monkeypatch):
    with pytest.raises(ValueError, match="recompute measures into a folder of its own; give either that or smoke"):
        start("paper", root=book, smoke=True, recompute=True)
    monkeypatch.setenv(RECORDS_AT, str(book / "elsewhere"))
    with pytest.raises(ValueError, match=f"smoke measures into a folder of its own; give either that or {RECORDS_AT}"):
        start("paper", root=book, smoke=True)


def test_cells_of_a_scale_stay_what_they_are_without_it(book):
    cells = start("paper", root=book, device="cpu").cells("fine_tuning")
    assert [cell_digest(cell) for cell in cells] == [cell_digest(cell) for cell in cells_of("fine_tuning", "paper")]
