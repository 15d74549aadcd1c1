"""Training: cached, resumable, deterministic; losses and networks."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

import nclib
from nclib.devices import double_precision
from nclib.models import losses, recipes, schedules
from nclib.storage import load_tensors, save_tensors
from tests.layouts import picture

# Width 8: the gradient of a 1x1 convolution of 4 channels, last, differs from call to call on some processors.
TINY = nclib.Recipe(source="digits", per_class=8, width=8, epochs=3, batch_size=32)
UNLIKE_OTHERS = {"balanced": 3, "collapse": -0.1, "loss": "dropout", "augmentation": 0.5}  # all that is random


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def trained():
    return weights(nclib.train(TINY, progress=False))


def test_training_learns():
    recipe = replace(TINY, per_class=40, width=4, epochs=12)
    network = nclib.train(recipe, progress=False)
    digits = nclib.load("digits", per_class=40)
    accuracy = (network(digits.inputs()).argmax(1) == digits.labels).float().mean()
    assert accuracy > 0.9
    assert not network.training


def test_equal_recipes_give_equal_networks(trained):
    assert_equal(weights(nclib.train(TINY, progress=False)), trained)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"loss": "squared error"}, {"augmentation": 0.5}, {"weight_decay": 0.1}, {"balanced": 2}]
)
def test_every_setting_matters(trained, change):
    other = replace(TINY, **change)
    assert other.key != TINY.key
    network = weights(nclib.train(other, progress=False))
    assert not torch.equal(network["classifier.weight"], trained["classifier.weight"])


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_every_loss_trains_with_a_projection_head(loss):
    network = nclib.train(replace(TINY, loss=loss, projection=2, augmentation=0.5), progress=False)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert network.backbone(torch.zeros(2, 1, 28, 28)).shape == (2, 64)


def test_the_random_numbers_of_the_user_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    nclib.train(TINY, progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_a_cached_network_is_loaded_not_trained(tmp_path, trained, monkeypatch):
    nclib.train(TINY, cache=tmp_path, progress=False)
    monkeypatch.setattr(recipes, "_run_epoch", lambda *args: pytest.fail("trained again"))
    assert_equal(weights(nclib.train(TINY, cache=tmp_path, progress=False)), trained)
    assert {path.name for path in tmp_path.iterdir()} <= {f"{TINY.key}.safetensors", f"{TINY.key}.lock"}


def test_who_wants_a_network_that_another_trains_waits_for_it(tmp_path, trained, monkeypatch):
    nclib.train(TINY, cache=tmp_path / "other", progress=False)
    monkeypatch.setattr(recipes, "_run_epoch", lambda *args: pytest.fail("trained again"))
    with ThreadPoolExecutor(1) as pool:
        with FileLock(tmp_path / f"{TINY.key}.lock"):
            network = pool.submit(nclib.train, TINY, cache=tmp_path, progress=False)
            time.sleep(1)
            assert not network.done()
            shutil.copy(tmp_path / "other" / f"{TINY.key}.safetensors", tmp_path)
        assert_equal(weights(network.result()), trained)


@pytest.mark.parametrize("settings", [{}, UNLIKE_OTHERS])
def test_a_stopped_training_goes_on_where_it_was(tmp_path, settings, monkeypatch):
    recipe = replace(TINY, **settings)
    expected = weights(nclib.train(recipe, progress=False))
    monkeypatch.setattr(recipes, "_SAVE_EVERY", 0.0)
    run_epoch, ran = recipes._run_epoch, []

    def stop_before_the_last(*args):
        if args[-1] == 2 and len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(args[-1])
        run_epoch(*args)

    monkeypatch.setattr(recipes, "_run_epoch", stop_before_the_last)
    with pytest.raises(KeyboardInterrupt):
        nclib.train(recipe, cache=tmp_path, progress=False)
    ran.append("stopped")
    assert_equal(weights(nclib.train(recipe, cache=tmp_path, progress=False)), expected)
    assert ran == [0, 1, "stopped", 2]


@pytest.mark.parametrize("settings", [{}, UNLIKE_OTHERS])
def test_a_training_that_was_killed_gives_the_same_network(tmp_path, settings, monkeypatch):
    """kill -9 in the middle, then again."""
    recipe = replace(TINY, epochs=150, **settings)
    code = (
        "import nclib, nclib.models.recipes as t, tests.models.test_recipes as here\n"
        "t._SAVE_EVERY = 0.0\n"
        f"nclib.train(here.replace(here.TINY, epochs=150, **{settings}), cache={str(tmp_path)!r}, progress=False)"
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=os.environ | {"PYTHONPATH": root})
    while not list(tmp_path.glob("*.partial")):
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run_epoch, ran = recipes._run_epoch, []
    monkeypatch.setattr(recipes, "_run_epoch", lambda *args: (ran.append(args[-1]), run_epoch(*args)))
    resumed = weights(nclib.train(recipe, cache=tmp_path, progress=False))
    assert 0 < ran[0] < ran[-1] == 149
    assert_equal(weights(nclib.train(recipe, progress=False)), resumed)


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_damaged_checkpoint_is_noticed_and_trained_again(tmp_path, trained, damage):
    nclib.train(TINY, cache=tmp_path, progress=False)
    path = tmp_path / f"{TINY.key}.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        content = content[: len(content) // 2]
    else:
        content[-9] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="training again"):
        network = nclib.train(TINY, cache=tmp_path, progress=False)
    assert_equal(weights(network), trained)


def test_a_checkpoint_whose_metadata_changed_is_noticed(tmp_path):
    path = tmp_path / "state.safetensors"
    save_tensors(path, {"weight": torch.zeros(2)}, {"epoch": 3})
    path.write_bytes(path.read_bytes().replace(b'epoch\\": 3', b'epoch\\": 7'))
    with pytest.raises(ValueError, match="does not match its digest"):
        load_tensors(path)


def test_a_foreign_file_is_told_from_a_changed_one(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="was not written by nclib"):
        load_tensors(path)


@pytest.mark.parametrize("metadata", [{}, {"recipe": asdict(TINY)}])
def test_weights_that_do_not_fit_are_an_error(tmp_path, metadata):
    path = tmp_path / f"{TINY.key}.safetensors"
    save_tensors(path, {"weight": torch.zeros(2)}, metadata)
    with pytest.raises(ValueError, match="holds the weights of another network"):
        nclib.train(TINY, cache=tmp_path, progress=False)


def test_on_epoch_sees_every_epoch_in_eval_mode():
    seen = []
    nclib.train(TINY, on_epoch=lambda epoch, network: seen.append((epoch, network.training)), progress=False)
    assert seen == [(0, False), (1, False), (2, False), (3, False)]


def shown(into):
    """An `on_epoch` that keeps the epochs, and what the network makes of an image."""
    return lambda epoch, network: into.append((epoch, network.training, network(torch.ones(1, 1, 28, 28)).tolist()))


@pytest.mark.parametrize("moment", [(1, "train"), (2, "train"), (1, "see"), (2, "see"), (3, "see")])
def test_a_watched_training_that_was_stopped_goes_on_and_is_seen_whole(tmp_path, moment, monkeypatch):
    monkeypatch.setattr(recipes, "_SAVE_EVERY", 0.0)
    expected = []
    network = weights(nclib.train(TINY, on_epoch=shown(expected), progress=False))
    run_epoch, ran, stopped = recipes._run_epoch, [], []

    def stop(*now):
        if now == moment and not stopped:
            stopped.append(now)
            raise KeyboardInterrupt

    def train_epoch(*args):
        stop(args[-1], "train")
        ran.append(args[-1])
        run_epoch(*args)

    def attempt():
        seen = []
        look = shown(seen)
        watch = {"on_epoch": lambda epoch, network: (stop(epoch, "see"), look(epoch, network)), "trail": tmp_path}
        return weights(nclib.train(TINY, progress=False, **watch)), seen

    monkeypatch.setattr(recipes, "_run_epoch", train_epoch)
    with pytest.raises(KeyboardInterrupt):
        attempt()
    resumed, seen = attempt()
    assert ran == [0, 1, 2]  # each once
    assert seen == expected
    assert_equal(resumed, network)


def test_a_trail_is_shown_again_until_it_is_removed_and_holds_what_its_recipe_gave(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(recipes, "_SAVE_EVERY", 0.0)
    first, again = [], []
    nclib.train(TINY, on_epoch=shown(first), trail=tmp_path, progress=False)
    monkeypatch.setattr(recipes, "_run_epoch", None)
    assert_equal(weights(nclib.train(TINY, on_epoch=shown(again), trail=tmp_path, progress=False)), trained)
    assert again == first
    folder = tmp_path / TINY.key
    folder.rename(tmp_path / replace(TINY, seed=7).key)
    with pytest.raises(ValueError, match="holds the weights of another network"):
        nclib.train(replace(TINY, seed=7), on_epoch=shown([]), trail=tmp_path, progress=False)


@pytest.mark.parametrize("damage", ["last", "gone", "empty"])
def test_a_damaged_trail_is_begun_anew_and_no_epoch_is_shown_twice(damage, tmp_path, trained, monkeypatch):
    monkeypatch.setattr(recipes, "_SAVE_EVERY", 0.0)
    first, again = [], []
    nclib.train(TINY, on_epoch=shown(first), trail=tmp_path, progress=False)
    path = tmp_path / TINY.key / ("last.safetensors" if damage == "last" else "00001.safetensors")
    path.unlink() if damage == "gone" else path.write_bytes(b"")
    with pytest.warns(UserWarning, match="training again"):
        network = nclib.train(TINY, on_epoch=shown(again), trail=tmp_path, progress=False)
    assert again == first
    assert_equal(weights(network), trained)


@pytest.fixture
def own(tmp_path):
    """A recipe, and two data roots in which its source has other images of the same classes."""
    for root, part in (("a", "train"), ("b", "test")):
        for k, name in enumerate(("cat", "dog")):
            for i in range(8):
                picture(tmp_path / root / "own" / name / f"{i}.png", k, part, size=(16, 16))
    return replace(TINY, source="folder:own", per_class=4, size=16)


def test_a_network_of_other_images_is_not_taken_from_a_cache(own, tmp_path):
    given = {"cache": tmp_path / "cache", "progress": False}
    alone = {root: weights(nclib.train(own, data_root=tmp_path / root, progress=False)) for root in "ab"}
    assert_equal(weights(nclib.train(own, data_root=tmp_path / "a", **given)), alone["a"])
    with pytest.warns(UserWarning, match="was trained on other images of folder:own; training again"):
        assert_equal(weights(nclib.train(own, data_root=tmp_path / "b", **given)), alone["b"])
    assert_equal(weights(nclib.train(own, data_root=tmp_path / "b", **given)), alone["b"])


@pytest.mark.parametrize("way", ["trail", "partial"])
def test_a_training_does_not_go_on_with_other_images(way, own, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "_SAVE_EVERY", 0.0)
    run_epoch = recipes._run_epoch

    def stopped(*args):
        if args[-1] == 2:
            raise KeyboardInterrupt
        run_epoch(*args)

    def train(root, into, **options):
        watch = {"on_epoch": lambda epoch, network: into.append(network(torch.ones(1, 3, 16, 16)).tolist())}
        kept = watch | {"trail": tmp_path / "kept"} if way == "trail" else {"cache": tmp_path / "kept"}
        return weights(nclib.train(own, data_root=tmp_path / root, progress=False, **kept | options))

    with monkeypatch.context() as patch:
        patch.setattr(recipes, "_run_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            train("a", [])
    seen, expected = [], []
    with pytest.warns(UserWarning, match="other images of folder:own; training again"):
        found = train("b", seen)
    alone = {"trail": None} if way == "trail" else {"cache": None}
    assert_equal(found, train("b", expected, **alone))
    assert seen == expected


def test_an_older_network_that_does_not_name_its_images_is_read(tmp_path, trained, monkeypatch):
    nclib.train(TINY, cache=tmp_path, progress=False)
    path = tmp_path / f"{TINY.key}.safetensors"
    tensors, metadata = load_tensors(path)
    assert len(metadata.pop("source")) == 32
    save_tensors(path, tensors, metadata)
    monkeypatch.setattr(recipes, "_run_epoch", lambda *args: pytest.fail("trained again"))
    assert_equal(weights(nclib.train(TINY, cache=tmp_path, progress=False)), trained)


def test_a_short_training_leaves_no_trail(tmp_path, trained):
    network = nclib.train(TINY, on_epoch=shown([]), trail=tmp_path, progress=False)
    assert_equal(weights(network), trained)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_trail_is_for_what_is_watched(tmp_path):
    with pytest.raises(ValueError, match="without on_epoch; give on_epoch, or cache instead of trail"):
        nclib.train(TINY, trail=tmp_path)


@pytest.mark.parametrize("schedule", schedules.SCHEDULES)
def test_schedules_stay_between_zero_and_one(schedule):
    values = [schedules.SCHEDULES[schedule](i / 100) for i in range(100)]
    assert 0 <= min(values) <= max(values) <= 1
    assert max(values) > 0.99


def test_supervised_contrastive_is_the_formula_written_out():
    g = torch.Generator().manual_seed(0)
    embedding, labels = torch.randn(7, 4, generator=g).double(), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    z = embedding / embedding.norm(dim=1, keepdim=True)
    terms = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        same = [j for j in others if labels[j] == labels[i]]
        below = math.log(sum(math.exp(z[i] @ z[j] / 0.1) for j in others))
        if same:
            terms.append(-sum(float(z[i] @ z[j] / 0.1) - below for j in same) / len(same))
    expected = sum(terms) / len(terms)
    assert losses.supervised_contrastive(embedding, labels).item() == pytest.approx(expected)


def test_supervised_contrastive_without_a_pair_is_zero_with_a_gradient():
    embedding = torch.randn(3, 4, requires_grad=True)
    loss = losses.supervised_contrastive(embedding, torch.arange(3))
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad is not None
    assert torch.isfinite(embedding.grad).all()


def test_the_contrastive_loss_hides_the_classifier_from_the_backbone():
    network = nclib.Network(torch.nn.Identity(), 4, 3)
    embedding = torch.randn(6, 4, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    losses.LOSSES["contrastive"](network, embedding, labels).backward()
    alone = torch.autograd.grad(losses.supervised_contrastive(embedding, labels), embedding)[0]
    torch.testing.assert_close(embedding.grad, alone)
    assert network.classifier.weight.grad.abs().sum() > 0


def test_a_last_batch_of_one_is_left_out():
    network = nclib.train(replace(TINY, per_class=10, batch_size=33), progress=False)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_one_step_of_training_changes_the_network():
    untrained, trained = (nclib.train(replace(TINY, epochs=n, batch_size=500), progress=False) for n in (0, 1))
    assert not torch.equal(untrained.classifier.weight, trained.classifier.weight)


def test_zero_and_its_float_are_one_recipe():
    assert replace(TINY, augmentation=0).key == replace(TINY, augmentation=0.0).key


def test_extract_leaves_every_mode_alone_and_batches():
    backbone = nclib.small_resnet(2).train()
    backbone.layer1.eval()
    modes = [module.training for module in backbone.modules()]
    inputs = torch.randn(5, 1, 28, 28)
    features = nclib.extract(backbone, inputs, batch_size=2)
    assert [module.training for module in backbone.modules()] == modes
    assert torch.equal(nclib.extract(torch.nn.Flatten(), inputs), inputs.flatten(1))
    assert features.shape == (5, 16)
    torch.testing.assert_close(features, nclib.extract(backbone.eval(), inputs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nclib.Recipe(loss="hinge"), "unknown loss 'hinge'; there are cross-entropy, "),
        (lambda: nclib.Recipe(schedule="step"), "unknown schedule 'step'; there are one-cycle, "),
        (lambda: nclib.Recipe(epochs=-1), "epochs is -1; it must be at least 0"),
        (lambda: nclib.Recipe(weight_decay=float("nan")), "weight_decay is nan; it must be at least 0"),
        (lambda: nclib.Recipe(collapse=float("nan"), balanced=4), "collapse is nan; it must be at least -inf"),
        (lambda: nclib.Recipe(collapse=-0.1), r"collapse is -0\.1 and balanced 0; balanced must be at least 2"),
        (lambda: nclib.Recipe(collapse=0.1, balanced=1), r"collapse is 0\.1 and balanced 1; balanced must be at"),
        (lambda: nclib.Recipe.of(epoch=3), "unknown setting epoch; a recipe has source, "),
        (lambda: nclib.train(TINY.of(source="docstrings/libraries")), "source is 'docstrings/libraries', which holds"),
        (lambda: nclib.small_resnet(2, stages=(1, 1)), r"stages are \(1, 1\); give the number of blocks of each of 4"),
        (
            lambda: nclib.small_vgg(2, stages=(1, 1)),
            r"stages are \(1, 1\); give the number of convolutions",
        ),
        (lambda: nclib.small_resnet(3), "width is 3 and blocks 1; width must be even"),
        (lambda: nclib.Network(torch.nn.Identity(), 4, 3, projection=-1), "projection is -1"),
        (lambda: nclib.extract(nclib.small_resnet(2), torch.zeros(1, 1, 28, 28), batch_size=0), "batch_size is 0"),
        (lambda: losses.supervised_contrastive(torch.eye(2), torch.arange(2), temperature=0), "temperature is 0"),
    ],
)
def test_bad_settings_say_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="torch finds no GPU here"):
        nclib.train(TINY, device="cuda")


def test_a_device_of_another_kind_is_an_error():
    with pytest.raises(ValueError, match="device 'meta' is not supported; use 'auto', 'cpu', 'cuda' or 'mps'"):
        nclib.resolve_device("meta")
    with pytest.raises(ValueError, match="None"):
        nclib.resolve_device(None)


def test_a_setting_that_is_added_leaves_older_recipes_and_records_as_they_are():
    @dataclass(frozen=True)
    class Later(nclib.Recipe):
        dropout: float = field(default=0.0, metadata=recipes.ADDED)

    assert Later(**asdict(TINY)).config == TINY.config
    assert Later(**asdict(TINY)).key == TINY.key
    other = Later(**asdict(TINY), dropout=0.1)
    assert other.config == TINY.config | {"dropout": 0.1}
    assert other.key != TINY.key
    assert Later.of(**TINY.config).dropout == 0.0


def test_the_loop_gives_every_step_its_part_of_the_peak():
    weight = torch.ones(1, requires_grad=True)
    optimizer, rates = torch.optim.SGD([weight], 0.5), []

    def loss(batch):
        rates.append(optimizer.param_groups[0]["lr"])
        return batch * weight.sum()

    schedules.run_epoch(optimizer, [1.0, 2.0], loss, steps=2, epoch=1, epochs=2, schedule="cosine")
    assert rates == [0.5 * schedules.SCHEDULES["cosine"]((1 + (step + 0.5) / 2) / 2) for step in (0, 1)]
    assert weight.item() == pytest.approx(1 - rates[0] * 1 - rates[1] * 2)


def test_a_cache_is_of_one_precision(tmp_path):
    single = nclib.train(TINY, cache=tmp_path, device="cpu", progress=False)
    with double_precision():
        double = nclib.train(TINY, cache=tmp_path, device="cpu", progress=False)
    weights = [each.classifier.weight for each in (single, double)]
    assert not torch.equal(weights[0].double(), weights[1])
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "e38ad237c18bdefc59b5"),
        ({"loss": "contrastive", "projection": 2, "augmentation": 0.5, "seed": 3}, "2f4dec2267b3b2dd914f"),
        ({"network": "vgg", "penalty": 0.1}, "9cac7cd5d1c5f6f265cb"),
    ],
)
def test_recipes_of_before_the_latest_settings_keep_their_keys(settings, key):
    assert nclib.Recipe(**settings).key == key


def test_the_latest_settings_are_named_where_they_are_set():
    assert not {"collapse", "balanced"} & nclib.Recipe(collapse=0).config.keys()
    recipe = nclib.Recipe(collapse=-1, balanced=4)
    assert recipe.config == nclib.Recipe().config | {"collapse": -1.0, "balanced": 4}
    assert len({recipe.key, replace(recipe, collapse=0).key, nclib.Recipe().key}) == 3
