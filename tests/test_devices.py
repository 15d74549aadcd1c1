"""Whatever the device, the numbers are those of the CPU: on simulated ones, of which mps has no float64."""

import ast
import inspect
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributed, nn

import nclib
from nclib.devices import process_group
from nclib.experiments.run import start
from nclib.features.backbones import AsTrained
from nclib.peft.methods import METHODS
from nclib.probing.probe import to_numpy
from nclib.transferability.registry import SCORES
from tests.clusters import clusters
from tests.simulated import simulated, waits_a_step

KINDS = ("cuda", "mps")
FEATURES, LABELS = map(torch.from_numpy, clusters(samples=60, width=6, classes=3))
PROBABILITIES = FEATURES[:, :4].softmax(1)
DIGITS = nclib.load("digits", per_class=6)
SOURCE = nclib.Recipe("digits", per_class=8, width=2, epochs=2, batch_size=20)


# What takes no tensors, or reads files and tables on the CPU.
ON_CPU = {"arrow_batches", "arrow_statistics", "judge", "layers", "model_names", "over_models", "rank_correlation"}
ON_CPU |= {"trainable_share"}
# What others here stand for: networks of recipes, and tuning that `finetune` of each method is.
IN_OTHERS = {"small_resnet", "small_vgg", *(f"{name}_tuning" for name in METHODS), "linear_probe"}


def test_every_public_function_is_simulated():
    called = {node.attr for node in ast.walk(ast.parse(Path(__file__).read_text())) if isinstance(node, ast.Attribute)}
    called |= {*nclib.METRICS, *nclib.SCORES, "start"}
    functions = {name for name in nclib.__all__ if inspect.isfunction(getattr(nclib, name))}
    assert sorted(functions - called - ON_CPU - IN_OTHERS) == []
    assert functions >= ON_CPU | IN_OTHERS - {"linear_tuning"}


@pytest.fixture(params=KINDS)
def device(request):
    with simulated(request.param) as device:
        yield device


def metrics(features, labels):
    weight = features[:3] - features[:3].mean(0)
    return dict(nclib.measure(features, labels, weight, weight.sum(1), metrics="all"))


def ranks(features, labels):
    return {name: values.tolist() for name, values in nclib.class_ranks(features, labels).items()}


def statistics(features, labels):
    stats = nclib.ClassStatistics.from_batches([(features[:9], labels[:9]), (features[9:], labels[9:])], 3)
    return {"nc1": nclib.nc1(stats), "h": nclib.h_score(stats), "logme": nclib.logme(stats)}


def scores(features, labels):
    probabilities = features[:, :4].softmax(1)
    return dict(nclib.score(features, labels, probabilities=probabilities, source_accuracy=0.5, scores="all"))


def few_shot(features, labels):
    options = {"ways": 3, "queries": 5, "episodes": 4}
    found = nclib.few_shot(features, labels, **options), nclib.few_shot(features, labels, probe=nclib.KNN(1), **options)
    return {"mean": [each.value for each in found]}


def poincare(features, labels):
    return {"constant": nclib.poincare_constant(features, labels)}


def by_pairs_and_parts(features, labels):
    stats, other = nclib.class_statistics(features, labels), nclib.class_statistics(2 * features, labels)
    found = {"spectrum": nclib.between_spectrum(stats)[0]}
    found |= {"cdnv": nclib.cdnv_pairs(stats), "overlap": nclib.overlap_pairs(stats)}
    found |= {"pairs": nclib.directional_cdnv_pairs(stats, features, labels), "scatter": nclib.total_scatter(stats)}
    found |= {"face": nclib.face([stats, other]), "collapse": nclib.geometric_collapse(stats, torch.ones(3))}
    found |= {"parts": nclib.ncti_parts(features, labels), "cut off": nclib.cut_off(stats)}
    return {name: to_numpy(value) for name, value in found.items()}


def without_labels(features, labels):
    found = {"rankme": nclib.rankme(features), "alpha": nclib.alpha_req(features), "energy": nclib.energy(features)}
    found |= {"cka": nclib.cka(features, features[:, :3].square(), labels=labels, other_labels=labels.cpu())}
    found |= {"nc5": nclib.nc5(nclib.class_statistics(features, labels), features[:9])}
    return found | {"logme": nclib.logme_targets(features, features[:, :2].square())}


def probe(made):
    def measured(features, labels):
        fitted = made().fit(features, labels)
        decisions = fitted.decision_function(features).numpy(force=True).tolist()
        return {"score": fitted.score(features, labels), "decisions": decisions}

    return measured


PROBES = {
    "linear": nclib.LinearProbe,
    "linear of float64": lambda: nclib.LinearProbe(dtype="float64"),
    "linear, chosen": lambda: nclib.LinearProbe(C=[0.1, 1.0]),
    "ridge": nclib.RidgeProbe,
    "ridge, chosen": lambda: nclib.RidgeProbe(alpha=[0.1, 1.0]),
    "ridge of few": lambda: nclib.RidgeProbe(),
    "nearest class mean": nclib.NearestClassMean,
    "neighbours": nclib.KNN,
    "euclidean": lambda: nclib.KNN(metric="euclidean"),
}
MEASURES = {
    each.__name__: each
    for each in (metrics, ranks, statistics, scores, few_shot, poincare, by_pairs_and_parts, without_labels)
}
MEASURES |= {name: probe(made) for name, made in PROBES.items()}


@pytest.mark.parametrize("name", MEASURES)
def test_features_on_a_device_give_what_they_give_on_the_cpu(name, device):
    features, labels = FEATURES.to(device.kind), LABELS.to(device.kind)
    if name == "ridge of few":
        features, labels = (given[:4] for given in (features, labels))
    found = MEASURES[name](features, labels)
    expected = MEASURES[name](features.cpu(), labels.cpu())
    assert list(found) == list(expected)
    for part, value in expected.items():
        np.testing.assert_allclose(found[part], value, rtol=1e-5, atol=1e-5, err_msg=part)


def test_a_metric_follows_its_module_to_a_device(device):
    metric = pytest.importorskip("nclib.metrics.torchmetric").NeuralCollapse(6, 3, metrics=["nc1", "cdnv"])
    before = nclib.measure(FEATURES, LABELS, metrics=["nc1", "cdnv"])
    metric.to(device.kind)
    metric.update(FEATURES.to(device.kind), LABELS.to(device.kind))
    assert {name: float(value) for name, value in metric.compute().items()} == pytest.approx(dict(before), rel=1e-6)
    metric.reset()
    assert metric.statistics.num_samples == 0


@pytest.mark.parametrize("name", ["leep", "nce", "pactran_dirichlet"])
def test_probabilities_on_a_device_give_what_they_give_on_the_cpu(name, device):
    score = getattr(nclib, name)
    found = score(probabilities=PROBABILITIES.to(device.kind), labels=LABELS.to(device.kind))
    assert found == pytest.approx(score(probabilities=PROBABILITIES, labels=LABELS))


def test_a_device_goes_by_its_name(device):
    assert nclib.resolve_device("auto").type == nclib.resolve_device(device.kind).type == device.kind
    other = {"cuda": "mps", "mps": "cuda"}[device.kind]
    with pytest.raises(ValueError, match=f"device '{other}' was asked for, but torch finds no GPU here"):
        nclib.resolve_device(other)


def test_a_chapter_runs_where_its_frozen_protocol_can(device, tmp_path):
    assert start("paper", root=tmp_path).device.type == {"cuda": "cuda", "mps": "cpu"}[device.kind]
    if device.kind == "mps":
        with pytest.raises(ValueError, match="device 'mps' has no float64, which the chapters compute in; use"):
            start("paper", device="mps", root=tmp_path)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_of_torchrun_takes_its_own_gpu(rank, monkeypatch):
    taken = []
    with simulated("cuda") as device, monkeypatch.context() as patch:  # undone before the simulation is
        torchrun = {"LOCAL_RANK": rank, "RANK": 4 + rank, "WORLD_SIZE": 8, "MASTER_PORT": 1, "MASTER_ADDR": "here"}
        for name, value in torchrun.items():
            patch.setenv(name, str(value))
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        patch.setattr(torch.cuda, "set_device", taken.append)
        patch.setattr(distributed, "init_process_group", lambda *args, **options: taken.append(args[0]))
        patch.setattr(distributed, "destroy_process_group", lambda: None)
        patch.setattr(distributed, "get_rank", lambda: 4 + rank)
        with process_group(device.kind) as found:
            assert found == (torch.device("cuda", rank), 4 + rank)
    assert taken == [torch.device("cuda", rank), "nccl"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"LOCAL_RANK": "0"},
            "there is no RANK, there is no WORLD_SIZE, there is no MASTER_PORT, there is no MASTER_A",
        ),
        ({"LOCAL_RANK": "abc", "RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "1"}, "LOCAL_RANK is 'abc', there is no"),
    ],
)
def test_a_process_that_torchrun_did_not_start_says_so(given, said, monkeypatch):
    for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{said}.*start the processes by torchrun"), process_group("cpu"):
        pass
    monkeypatch.setenv("LOCAL_RANK", "")
    with process_group("cpu") as found:
        assert found == (torch.device("cpu"), 0)


def small_model(device):
    """A residual network of timm's, on the device, and the images that it takes."""
    made = nclib.backbone("test_resnet", weights="random", device=device)
    return replace(made, transform=AsTrained(3, 32))


def test_extraction_gives_what_it_gives_on_the_cpu(device, tmp_path):
    here = nclib.extract_layers(small_model("cpu"), DIGITS, [0, "last"])
    model = small_model(device.kind)
    found = nclib.extract_layers(model, DIGITS, [0, "last"], half=False, cache=tmp_path)
    again = nclib.extract_layers(model, DIGITS, [0, "last"], half=False, cache=tmp_path)
    for name, features in found.items():
        assert features.device == again[name].device == device.device
        torch.testing.assert_close(features.cpu(), here[name])
        assert torch.equal(features.cpu(), again[name].cpu())
    table = nclib.layerwise(model, DIGITS, DIGITS, layers=[0, "last"], half=False)
    expected = nclib.layerwise(small_model("cpu"), DIGITS, DIGITS, layers=[0, "last"])
    np.testing.assert_allclose(table, expected, rtol=1e-3)


def test_images_of_a_device_give_what_they_give_on_the_cpu(device):
    images, labels = torch.rand(6, 3, 32, 32), torch.arange(6) % 2
    expected = nclib.extract(small_model("cpu"), nclib.labelled((images, labels)))
    data = nclib.labelled((images.to(device.kind), labels.to(device.kind)))
    found = nclib.extract(small_model(device.kind), data, half=False)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)
    assert nclib.class_statistics(found, data.labels).num_samples == 6


def test_statistics_of_a_model_come_from_a_device(device):
    stats = nclib.feature_statistics(small_model(device.kind), DIGITS, half=False)
    expected = nclib.feature_statistics(small_model("cpu"), DIGITS)
    assert nclib.nc1(stats) == pytest.approx(nclib.nc1(expected), rel=1e-3)


@pytest.mark.parametrize(("kind", "half"), [("cuda", None), ("cuda", False), ("cpu", True), ("cpu", None)])
def test_statistics_know_what_precision_features_were_computed_in(kind, half, tmp_path):
    with simulated(kind):
        model, known = small_model(kind), {("cuda", None): torch.float16, ("cpu", True): torch.bfloat16}
        epsilon = torch.finfo(known.get((kind, half), torch.float32)).eps
        for _ in range(2):  # computed, and read
            features = nclib.extract(model, DIGITS, half=half, cache=tmp_path)
            assert features.dtype == torch.float32
            assert nclib.class_statistics(features, DIGITS.labels).precision == epsilon
            assert nclib.ClassStatistics.from_batches([(features, DIGITS.labels)], 10).precision == epsilon
            assert nclib.feature_statistics(model, DIGITS, half=half, cache=tmp_path).precision == epsilon


def test_an_overflow_of_half_precision_says_so(monkeypatch):
    with simulated("cuda"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU()).to("cuda")
        inputs = torch.full((3, 4), 5e4, device="cuda")
        nn.init.ones_(model[1].weight)
        with pytest.raises(ValueError, match=r"layer last of Sequential .* torch.float16, .*; give half=False"):
            nclib.extract(model, inputs)
        assert nclib.extract(model, inputs, half=False).isfinite().all()
        monkeypatch.setenv("NCLIB_HALF", "0")
        assert nclib.extract(model, inputs).isfinite().all()
        monkeypatch.setenv("NCLIB_HALF", "no")
        with pytest.raises(ValueError, match="NCLIB_HALF is 'no'; it must be 1"):
            nclib.extract(model, inputs)
    with pytest.raises(ValueError, match=r"infinity, the first in row 1; torch.float16 holds no number above 65504"):
        nclib.class_statistics(torch.tensor([[1.0], [torch.inf]]).half(), [0, 1])


def test_pixels_have_features_on_a_device(device):
    scenes = nclib.scenes("digits", number=4)
    found, labels = nclib.pixel_features(nclib.backbone("test_resnet", weights="random", device=device.kind), scenes)
    expected, _ = nclib.pixel_features(nclib.backbone("test_resnet", weights="random", device="cpu"), scenes)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)
    assert nclib.measure(found, labels)


@pytest.mark.parametrize("place", ["there", "here"])
def test_intersections_of_masks_on_a_device_or_not(place, device):
    segmenter, inputs, masks = nn.Conv2d(2, 3, 1), torch.rand(4, 2, 5, 5), torch.randint(-1, 3, (4, 5, 5))
    expected = nclib.mean_iou(segmenter, inputs, masks)
    there = (inputs.to(device.kind), masks.to(device.kind)) if place == "there" else (inputs, masks)
    assert nclib.mean_iou(segmenter.to(device.kind), *there) == pytest.approx(expected)


ASKED = {"linear": nclib.LinearProbe, "ridge": nclib.RidgeProbe, "nearest class mean": nclib.NearestClassMean}
ASKED |= {"neighbours": nclib.KNN, "euclidean": lambda: nclib.KNN(metric="euclidean")}


@pytest.mark.parametrize(("fitted", "asked"), [("here", "there"), ("there", "here"), ("there", "array")])
@pytest.mark.parametrize("name", ASKED)
def test_a_probe_is_asked_on_another_device_than_it_was_fitted_on(name, fitted, asked, device):
    given = {"here": FEATURES, "there": FEATURES.to(device.kind), "array": FEATURES.numpy()}
    probe = ASKED[name]().fit(given[fitted], LABELS.to(given[fitted].device))
    expected = ASKED[name]().fit(FEATURES, LABELS).decision_function(FEATURES)
    for found in filter(None, (getattr(probe, way, None) for way in ("decision_function", "predict_proba"))):
        answer = found(given[asked])
        assert isinstance(answer, np.ndarray if asked == "array" else torch.Tensor)
        has_double = device.kind == "cuda" or asked != "there" or answer.dtype != torch.float64
        assert asked == "array" or answer.device == (given[asked].device if has_double else torch.device("cpu"))
    answer = probe.decision_function(given[asked])
    np.testing.assert_allclose(torch.as_tensor(answer).cpu(), expected, rtol=1e-4, atol=1e-4)
    assert probe.score(given[asked], LABELS) == pytest.approx(np.mean(expected.argmax(1).numpy() == LABELS.numpy()))


RECIPES = [
    {},
    {"augmentation": 1.0},
    {"loss": "dropout", "projection": 1},
    {"loss": "two views", "augmentation": 1.0},
    {"balanced": 4, "collapse": 0.1},
    {"penalty": 0.01, "network": "vgg"},
]


@pytest.mark.parametrize("settings", RECIPES, ids=lambda settings: "+".join(settings))
def test_networks_train_on_a_device(settings, device, tmp_path):
    recipe = replace(SOURCE, **settings)
    network = nclib.train(recipe, device=device.kind, cache=tmp_path, progress=False)
    again = nclib.train(recipe, device=device.kind, cache=tmp_path, progress=False)
    for found, kept in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert found.device == kept.device == device.device
        assert found.isfinite().all()
        assert torch.equal(found, kept)


# A trace ratio asks which classes are in a batch (and an epoch for the labels), the penalty looks whether what it
# differentiates is finite, and takes its images by indices from the CPU.
KNOWN = {("balanced", "collapse"): {"_unique2", "to"}}
KNOWN |= {("penalty", "network"): {"_local_scalar_dense", "index", "to"}}


@pytest.mark.parametrize("settings", RECIPES, ids=lambda settings: "+".join(settings))
def test_a_step_of_a_recipe_does_not_wait(settings):
    def run(epochs):
        nclib.train(replace(SOURCE, batch_size=10, epochs=epochs, **settings), device="cuda", progress=False)

    with simulated("cuda") as device:
        assert waits_a_step(device, run).keys() <= KNOWN.get(tuple(settings), set())


@pytest.mark.parametrize("memory", [2e9, 0])
@pytest.mark.parametrize("augmentation", [0.0, 1.0])
def test_a_step_of_fine_tuning_does_not_wait(augmentation, memory):
    settings = nclib.Tuning(batch_size=10, augmentation=augmentation)

    def run(epochs):
        tuned = nclib.full_tuning(small_model("cuda"), 10)
        nclib.finetune(tuned, DIGITS, replace(settings, epochs=epochs), memory=memory)

    with simulated("cuda") as device:
        assert not waits_a_step(device, run)


@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_tuning_trains_on_a_device(method, device, tmp_path):
    pytest.importorskip("peft")
    options = {"layer": -1} if method in ("layer", "skip") else {}
    if method == "adapter":
        options = {"config": {"peft_type": "LORA", "r": 2, "target_modules": ["fc"]}}
    model = small_model(device.kind)
    if method in ("lora", "adapter"):
        model = replace(model, model=nn.Sequential(nn.Flatten(), nn.Linear(3072, 8)), last=None, classifier=None)
        model.model.to(device.kind)
        options |= {"targets": ["1"]} if method == "lora" else {"config": options["config"] | {"target_modules": ["1"]}}
    tuned = METHODS[method](model, num_classes=10, **options)
    settings = nclib.Tuning(epochs=2, batch_size=20)
    scores = nclib.finetune(tuned, DIGITS, settings, validation=DIGITS, checkpoint=tmp_path / "now.safetensors")
    assert len(scores.accuracies) == 3
    assert tuned.head.weight.device == device.device
    nclib.save_tuned(tmp_path / "tuned.safetensors", tuned)
    again = nclib.load_tuned(tmp_path / "tuned.safetensors", model)
    assert again.head.weight.device == device.device
    assert torch.equal(again.head.weight, tuned.head.weight)


def test_a_choice_is_made_on_a_device(device):
    tried = [(lambda: nclib.linear_probe(small_model(device.kind), 10), nclib.Tuning(epochs=1, batch_size=20))]
    assert nclib.finetune_best(tried, DIGITS).tuned.head.weight.device == device.device


@pytest.mark.parametrize("method", ["exact", "rademacher", "gaussian", "outputs"])
@pytest.mark.parametrize("outputs", [3, 20])  # fewer and more than the inputs are: rows, and columns
def test_complexity_is_that_of_the_cpu(method, outputs, device):
    function, inputs = nn.Sequential(nn.Linear(5, outputs), nn.Tanh()), torch.rand(4, 5)
    expected = nclib.geometric_complexity(function, inputs, method=method)
    found = nclib.geometric_complexity(function.to(device.kind), inputs.to(device.kind), method=method)
    assert found.value == pytest.approx(expected.value, rel=1e-5)
    assert found.by_class([0, 0, 1, 1]).shape == (2,)


def test_entries_are_drawn_where_they_are(device):
    """As many numbers as entries are neither drawn on the CPU nor carried over; they are others than there."""
    function, inputs = nn.Sequential(nn.Linear(5, 4), nn.Tanh()).to(device.kind), torch.rand(4, 5).to(device.kind)
    device.waits.clear()
    exact = nclib.geometric_complexity(function, inputs)
    carried = device.waits.count("to")
    found = nclib.geometric_complexity(function, inputs, method="entries", share=0.5)
    assert device.waits.count("to") <= 2 * carried
    assert abs(found.value - exact.value) < 4 * found.standard_error


def test_models_are_ranked_on_a_device(device):
    names = ("test_resnet", "test_vit", "test_mambaout")
    models = [nclib.backbone(name, weights="random", device=device.kind) for name in names]
    found = nclib.rank_models(
        models, DIGITS, scores="all", half=False, source_accuracy=dict.fromkeys(names, 0.5), verify=1
    )
    assert not found.failures
    assert SCORES.keys() <= {*found.table}


@pytest.fixture(scope="module")
def encoder_files(tmp_path_factory):
    """A small BERT that is not trained, with its tokenizer."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]))
    config = transformers.BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return f"folder:{folder}"


def test_encoders_of_texts_run_on_the_device_that_is_asked_for(encoder_files, device):
    said = [" ".join(letter * length) for length in range(1, 5) for letter in "abc"]
    found = nclib.text_features(nclib.text_encoder(encoder_files, device=device.kind), said)
    assert found.device == device.device
    expected = nclib.text_features(nclib.text_encoder(encoder_files, device="cpu"), said)
    torch.testing.assert_close(found.cpu(), expected)
    by_layer = nclib.text_layers(nclib.text_encoder(encoder_files, device=device.kind), said, [0, "last"])
    assert {features.device for features in by_layer.values()} == {device.device}
    torch.testing.assert_close(by_layer["last"].cpu(), expected)
    texts = nclib.Texts(tuple(said), torch.arange(12) % 3, ("a", "b", "c"))
    assert not nclib.rank_models([encoder_files], texts, device=device.kind).failures


def test_chapter_7_tunes_encoders_on_the_device_of_its_run(encoder_files):
    source = Path(__file__).parents[1] / "notebooks" / "07_pixels_and_words.py"
    defined = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    chapter = {}
    parts = [node for node in ast.parse(source.read_text()).body if isinstance(node, defined)]
    exec(compile(ast.Module(parts, []), str(source), "exec"), chapter)
    train = nclib.Texts(tuple("abc" * 4), torch.arange(12) % 3, ("a", "b", "c"))
    cell = {"weights": "pretrained", "model": encoder_files, "method": "full", "rates": [1e-3], "epochs": 1, "seed": 0}
    chapter["settings_of"] = lambda cell, size: [nclib.Tuning(epochs=1, batch_size=4)]
    with simulated("cuda") as device:
        chapter["run"] = SimpleNamespace(device=device.device, data_root=None)
        encoder, as_words, _ = chapter["encoder_of"](cell, None)
        tuned = chapter["tuned_encoder"](cell, encoder, as_words(train.texts), train)
        assert {parameter.device for parameter in tuned.parameters()} == {device.device}
        assert 0 <= chapter["accuracy"](tuned, as_words(train.texts), train.labels) <= 1
