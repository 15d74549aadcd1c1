"""Odd arguments end in an error that says what was given and what is allowed, never in one of torch or scikit-learn."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

import nclib
from nclib.features.backbones import AsTrained

LABELS = torch.arange(3).repeat(8)
FEATURES = torch.randn(24, 4, generator=torch.Generator().manual_seed(0)) + LABELS.unsqueeze(1)
STATS = nclib.class_statistics(FEATURES, LABELS)
DIGITS = nclib.load("digits", per_class=2)
FAST = nclib.Tuning(epochs=1, batch_size=16)


def backbone() -> nclib.Backbone:
    return nclib.Backbone("small", nclib.small_resnet(2), AsTrained(1, 28))


def probe() -> nclib.Tuned:
    return nclib.linear_probe(backbone(), 10)


@pytest.mark.parametrize("name", ["lidar", "pactran", "parc", "tmi", "nleep", "probe_accuracy", "ncti_parts"])
def test_no_samples_and_no_features_are_errors(name):
    with pytest.raises(ValueError, match="there are no samples: features has 0 rows"):
        getattr(nclib, name)(FEATURES[:0], LABELS[:0])
    with pytest.raises(ValueError, match=r"features are \(24, 0\); they must be \(N, d\), with N and d at least 1"):
        getattr(nclib, name)(FEATURES[:, :0], LABELS)


@pytest.mark.parametrize("probe", [nclib.LinearProbe(), nclib.KNN(), nclib.NearestClassMean()])
def test_probes_need_features_to_fit_and_samples_to_score(probe):
    with pytest.raises(ValueError, match=r"features are \(24, 0\)"):
        probe.fit(FEATURES[:, :0], LABELS)
    with pytest.raises(ValueError, match="there are no samples"):
        probe.fit(FEATURES, LABELS).score(FEATURES[:0], LABELS[:0])


def seeded(name: str, seed: object) -> object:
    calls = {
        "few_shot": lambda: nclib.few_shot(FEATURES, LABELS, ways=3, shots=2, queries=2, episodes=3, seed=seed).value,
        "parc": lambda: nclib.parc(FEATURES, LABELS, most=12, seed=seed),
        "nleep": lambda: nclib.nleep(FEATURES, LABELS, per_class=2, seed=seed),
        "probe_accuracy": lambda: nclib.probe_accuracy(FEATURES, LABELS, seed=seed),
        "Tuning": lambda: nclib.Tuning(seed=seed),
    }
    return calls[name]()


@pytest.mark.filterwarnings("ignore:parc uses")
@pytest.mark.parametrize("name", ["few_shot", "parc", "nleep", "probe_accuracy", "Tuning"])
def test_a_seed_may_be_an_integer_of_numpy_or_torch(name):
    wanted = seeded(name, 3)
    assert all(seeded(name, seed) == wanted for seed in (np.int64(3), np.array(3), torch.tensor(3)))


@pytest.mark.parametrize(("name", "bits"), [("parc", 64), ("nleep", 32)])
def test_a_seed_too_large_for_the_library_that_draws_is_an_error(name, bits):
    with pytest.raises(ValueError, match=rf"seed is {2**bits}; it must be at least 0 and below 2\*\*{bits}"):
        seeded(name, 2**bits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nclib.nleep(FEATURES, LABELS, per_class=2, energy=1), "energy is 1; it must be above 0 and below 1"),
        (lambda: nclib.ncti_parts(FEATURES, LABELS, components=0.5), "components is 0.5; it must be a whole number"),
        (lambda: nclib.transrate(FEATURES, LABELS, epsilon="x"), "epsilon is 'x'; it must be above 0, and finite"),
        (lambda: nclib.class_fairness(STATS, temperature=np.inf), "temperature is inf; it must be above 0, and finite"),
        (lambda: nclib.gbc(STATS, floor=np.inf), "floor is inf; it must be finite"),
        (lambda: nclib.directional_cdnv(STATS, FEATURES[:, :2], LABELS), "features have 2 columns; these .* have 4"),
        (lambda: nclib.poincare_constant(LABELS, FEATURES), r"inputs are \(24,\); they must be \(N, ...\)"),
        (lambda: nclib.effective_rank(nclib.ClassStatistics(3, 5)), "these statistics have no samples"),
        (lambda: nclib.face(None), "models are NoneType; give the class statistics of each"),
        (lambda: nclib.over_models([1.0, 2.0]), r"values are \(2,\); they must be \(models, parts\)"),
        (
            lambda: nclib.score(FEATURES, LABELS, source_accuracy="a", scores=["source_accuracy"]),
            "source_accuracy is 'a'",
        ),
        (lambda: nclib.leep(probabilities=torch.full((24, 3), 0.332).half(), labels=LABELS), "softmax in float32"),
        (lambda: nclib.load("hf:"), "hf: names no data set"),
        (lambda: nclib.load("digits[3]"), r"digits is one, and digits\[first:end\] some classes of it"),
        (lambda: nclib.load("digits", ["train"]), r"unknown split \['train'\] of digits"),
        (lambda: nclib.extract(backbone(), DIGITS, layer="x"), "layer is not an option; there are batch_size"),
        (lambda: nclib.layer_tuning(backbone(), True, 10), "layers hold True"),
        (lambda: nclib.trainable_share(None), "model is None; it must be a module"),
        (lambda: nclib.Tuning(learning_rate=np.inf), "learning_rate is inf; it must be finite"),
        (lambda: nclib.Tuning(collapse="x"), "collapse is 'x'; it must be a finite number"),
        (
            lambda: nclib.finetune(probe().requires_grad_(False), DIGITS, FAST),
            "no parameter of tuned requires a gradient",
        ),
        (lambda: nclib.finetune_best([(probe, FAST)], DIGITS, share=1), "share is 1; it must be above 0 and below 1"),
        (lambda: nclib.finetune_best([(probe, FAST)], DIGITS, share=0.9), "takes every image of class 0"),
        (lambda: nclib.finetune_best([probe], DIGITS), "candidates hold a function; each must be a pair"),
        (lambda: nclib.finetune_best([(probe(), FAST)], DIGITS), "a candidate's model is a Tuned; give a function"),
        (lambda: nclib.finetune_best([(probe, FAST)], DIGITS, validation=DIGITS), "validation is not an option"),
    ],
)
def test_the_message_names_the_argument(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_numbers_of_numpy_are_numbers():
    tuned = nclib.linear_probe(backbone(), np.int64(4))
    assert json.dumps(tuned.spec) == json.dumps(nclib.linear_probe(backbone(), 4).spec)
    inputs, options = torch.rand(5, 3), {"method": "rademacher"}
    wanted = nclib.geometric_complexity(torch.nn.Tanh(), inputs, samples=3, number=4, **options).value
    given = {"samples": np.int64(3), "number": np.int64(4)}
    assert nclib.geometric_complexity(torch.nn.Tanh(), inputs, **given, **options).value == wanted
    settings = nclib.Tuning(learning_rate=np.float32(1e-3), weight_decay=np.float64(0.1))
    assert json.loads(json.dumps(asdict(settings)))["weight_decay"] == 0.1
    pair = nclib.few_shot(FEATURES, LABELS, ways=3, shots=2, queries=2, episodes=3, test=[FEATURES, LABELS])
    assert 0 <= pair.value <= 1


def test_the_targets_of_lora_are_modules():
    pytest.importorskip("peft")
    for targets, message in (([], r"targets are \[\]"), ("nope", "there are no modules nope")):
        with pytest.raises(ValueError, match=message):
            nclib.lora_tuning(backbone(), 10, targets=targets)
    one, several = (nclib.lora_tuning(backbone(), 10, targets=targets) for targets in ("conv1", ["conv1"]))
    assert one.trained == several.trained


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    for call in (STATS.save, nclib.ClassStatistics.load):
        with pytest.raises(IsADirectoryError, match="is a folder; give the path of a file"):
            call(tmp_path)


def test_features_too_small_to_square_have_a_pactran():
    assert np.isfinite(nclib.pactran(FEATURES.double() * 1e-200, LABELS))


def test_weights_that_are_nan_after_training_are_told():
    with pytest.warns(UserWarning, match="the trained weights hold NaN or infinity; try a learning_rate below"):
        nclib.finetune(probe(), DIGITS, nclib.Tuning(epochs=2, learning_rate=1e30, batch_size=16))


def test_an_epoch_whose_loss_is_nan_is_never_the_best_of_equals():
    from nclib.peft.finetuning import Validation

    assert Validation([0.5, 0.5], [float("nan"), 2.0]).best == 1
