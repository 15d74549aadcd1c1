"""The training of tuned models: the cached prefix, validation, interruption, the choice of settings."""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torchvision import models

import nclib
from nclib.features.backbones import AsTrained
from nclib.peft import finetuning, methods
from nclib.peft.finetuning import TuningState
from nclib.peft.prefix import split

SHORT = nclib.Tuning(epochs=3, batch_size=16)
pytestmark = pytest.mark.filterwarnings("ignore:no epoch did better")  # of three


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A network that has seen letters, for digits."""
    folder = tmp_path_factory.mktemp("cache")
    nclib.train(nclib.Recipe(per_class=20, width=8, blocks=2, epochs=2), cache=folder, device="cpu", progress=False)
    (checkpoint,) = folder.glob("*.safetensors")
    return nclib.backbone(f"recipe:{checkpoint}", device="cpu")


@pytest.fixture(scope="module")
def digits():
    return nclib.load("digits", per_class=6), nclib.load("digits", "test", per_class=20)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("make", "size", "layer"),
    [
        (lambda: timm.create_model("test_resnet"), 64, "layer3.0"),
        (lambda: timm.create_model("test_vit"), 160, "blocks.3"),
        (lambda: timm.create_model("mobilenetv3_small_050"), 64, "blocks.3.0"),
        (lambda: models.vit_b_32(image_size=64), 64, "encoder.layers.encoder_layer_9"),
        (models.swin_t, 64, "features.5.4"),
        (models.densenet121, 64, "features.denseblock4"),
        (models.vgg11, 64, "features.8"),  # what follows overwrites the layer's output
        (models.alexnet, 64, "features.3"),
        (lambda: timm.create_model("test_nfnet"), 64, "stem.conv1"),
    ],
)
@pytest.mark.parametrize("tune", [methods.layer_tuning, methods.skip_tuning])
def test_prefix_and_rest_are_the_model(make, size, layer, tune):
    tuned = tune(make(), layer, 3)
    nn.init.normal_(tuned.head.weight)
    inputs = torch.randn(2, 3, size, size)
    prefix, rest = split(tuned)
    with torch.no_grad():
        torch.testing.assert_close(rest(prefix(inputs)), tuned(inputs), atol=1e-4, rtol=1e-4)
    trained = {parameter for parameter in tuned.parameters() if parameter.requires_grad}
    assert not trained & set(prefix.parameters())
    assert trained <= set(rest.parameters())


def test_what_cannot_be_cut_off_is_left_whole():
    assert split(methods.full_tuning(timm.create_model("test_resnet"), 3)) is None
    parallel = models.googlenet(init_weights=False)
    assert split(methods.layer_tuning(parallel, "inception5b.branch3.1", 3)) is None  # beside it are others


@pytest.mark.parametrize(
    "make",
    [
        lambda model: methods.linear_probe(model, 10),
        lambda model: methods.skip_tuning(model, "layer3.0", 10),
        lambda model: methods.full_tuning(model, 10),
    ],
)
def test_kept_or_made_again_a_prefix_gives_the_same_training(make, backbone, digits):
    train, test = digits
    kept, streamed = make(backbone), make(backbone)
    scores = nclib.finetune(kept, train, SHORT, validation=test)
    assert nclib.finetune(streamed, train, SHORT, validation=test, memory=0) == scores
    assert same(kept, streamed)
    inputs = (train.inputs(), train.labels)
    given = make(backbone)
    nclib.finetune(given, inputs, SHORT, validation=(test.inputs(), test.labels))
    assert same(kept, given)


def test_training_with_the_prefix_is_training_without(backbone, digits):
    """An augmentation of next to nothing makes the whole model run."""
    train, _ = digits
    cut, whole = (methods.skip_tuning(backbone, "layer3.0", 10) for _ in range(2))
    nclib.finetune(cut, train, SHORT)
    nclib.finetune(whole, train, replace(SHORT, augmentation=1e-9))
    for one, other in zip(cut.state_dict().values(), whole.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-2)


def test_the_head_begins_as_a_probe(backbone, digits):
    train, test = digits
    tuned = methods.skip_tuning(backbone, "layer3.0", 10)
    with torch.no_grad():
        features, tested = tuned.features(train.inputs()), tuned.features(test.inputs())
    scores = nclib.finetune(tuned, train, replace(SHORT, epochs=0), validation=test)
    probe = nclib.LinearProbe(C=SHORT.C).fit(features, train.labels)
    assert scores.accuracies == [pytest.approx(probe.score(tested, test.labels), abs=0.011)]
    from_zero = methods.linear_probe(backbone, 10)
    nclib.finetune(from_zero, train, replace(SHORT, epochs=0, probe_first=False))
    assert not from_zero.head.weight.any()


def test_the_weights_of_the_best_epoch_are_kept(backbone, digits):
    train, test = digits
    tuned = methods.full_tuning(backbone, 10)
    wild = nclib.Tuning(learning_rate=0.5, epochs=4, schedule="constant")
    with pytest.warns(UserWarning, match=r"no epoch did better .* try a learning_rate below 0\.5, another layer"):
        scores = nclib.finetune(tuned, train, wild, validation=test)
    assert scores.best == 0  # at such a rate all is lost
    with torch.no_grad():
        accuracy = (tuned(test.inputs()).argmax(1) == test.labels).double().mean()
    assert accuracy == scores.accuracies[0] == max(scores.accuracies)
    with pytest.warns(UserWarning, match="no epoch did better"):
        patient = nclib.finetune(methods.full_tuning(backbone, 10), train, wild, validation=test, patience=1)
    assert len(patient.accuracies) == 2


def scored(accuracies, losses):
    return finetuning.Validation(accuracies, losses)


@pytest.mark.parametrize(
    ("scores", "rates", "said"),
    [
        (
            scored([0.8, 0.7], [0.5, 0.9]),
            [0.01],
            r"accuracy was 0\.800, and at best 0\.700 .* a learning_rate below 0\.01,",
        ),
        (scored([0.8, 0.7], [0.5, float("nan")]), [0.01], r"try a learning_rate below 0\.01,"),
        (scored([0.8, 0.7], [0.5, 0.4]), [0.01], r"try more epochs or a learning_rate above 0\.01, another layer"),
        (scored([0.8, 0.8], [0.5, 0.500001]), [1e-9], r"try more epochs or a learning_rate above 1e-09,"),
        (
            scored([0.8, 0.7], [0.5, 0.9]),
            [0.1, 0.01, 0.1],
            r"try more epochs or a learning_rate other than 0\.01, 0\.1,",
        ),
    ],
)
def test_training_that_did_no_good_says_what_to_try(scores, rates, said):
    with pytest.warns(UserWarning, match=said):
        finetuning._warn_of_no_gain(scores, [nclib.Tuning(learning_rate=rate) for rate in rates])


@pytest.mark.parametrize("scores", [scored([], []), scored([0.8], [0.5]), scored([0.8, 0.8], [0.5, 0.4])])
def test_training_that_did_good_or_was_none_says_nothing(scores, recwarn):
    finetuning._warn_of_no_gain(scores, [nclib.Tuning()])
    assert not recwarn


def test_a_choice_of_no_training_says_so(backbone, digits):
    wild = [(lambda: methods.full_tuning(backbone, 10), nclib.Tuning(learning_rate=rate, epochs=1)) for rate in (5, 50)]
    with pytest.warns(
        UserWarning, match="no epoch did better .* a learning_rate other than 5, 50, another layer"
    ) as said:
        assert nclib.finetune_best(wild, digits[0]).epochs == 0
    assert said[0].filename == __file__


class StoppedError(Exception):
    pass


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(backbone, digits, tmp_path, monkeypatch):
    train, test = digits
    path = tmp_path / "partial.safetensors"
    monkeypatch.setattr(finetuning, "_SAVE_EVERY", 0.0)
    run_epoch = TuningState.run_epoch

    def stopping(self, data, epoch):
        if epoch == 2:
            raise StoppedError
        run_epoch(self, data, epoch)

    def make():
        return methods.skip_tuning(backbone, "layer3.0", 10)

    with monkeypatch.context() as patch:
        patch.setattr(TuningState, "run_epoch", stopping)
        with pytest.raises(StoppedError):
            nclib.finetune(make(), train, SHORT, validation=test, checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint of another fine-tuning than this one; delete it"):
        nclib.finetune(make(), train, replace(SHORT, seed=1), validation=test, checkpoint=path)
    for other in ({"validation": None}, {"validation": train}):
        with pytest.raises(ValueError, match="checkpoint of another fine-tuning"):
            nclib.finetune(make(), train, SHORT, checkpoint=path, **other)
    again, fresh = make(), make()
    bars = []
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "tqdm", lambda rows, *_, **options: bars.append(options) or rows)
        scores = nclib.finetune(again, train, SHORT, validation=test, checkpoint=path)
    assert (bars[0]["initial"], bars[0]["total"]) == (2, SHORT.epochs)  # the bar goes on with the third epoch
    assert scores == nclib.finetune(fresh, train, SHORT, validation=test)
    assert len(scores.accuracies) == 1 + SHORT.epochs
    assert same(again, fresh)
    assert not path.exists()


def test_a_seed_says_all(backbone, digits):
    train, _ = digits
    one, other, third = (methods.lora_tuning(backbone, 10, rank=2) for _ in range(3))
    for tuned, seed in ((one, 0), (other, 0), (third, 1)):
        torch.manual_seed(torch.seed())
        nclib.finetune(tuned, train, replace(SHORT, seed=seed))
    assert same(one, other)
    assert not same(one, third)


def test_the_best_candidate_is_chosen_on_held_out_images_and_trained_on_all(backbone, digits):
    train, _ = digits
    rates = (1e-9, 3e-3, 10.0)
    candidates = [
        (lambda: methods.full_tuning(backbone, 10), nclib.Tuning(learning_rate=rate, epochs=3)) for rate in rates
    ]
    choice = nclib.finetune_best(candidates, train)
    assert rates[choice.candidate] < 10
    rest, held = train.split_off(0.2)
    scores = [nclib.finetune(make(), rest, settings, validation=held) for make, settings in candidates]
    assert max(scores[choice.candidate].accuracies) == max(max(score.accuracies) for score in scores)
    again = methods.full_tuning(backbone, 10)
    nclib.finetune(again, train, candidates[choice.candidate][1], stop=choice.epochs)
    assert same(again, choice.tuned)


def by_rate(model, *rates):
    return [(partial(methods.linear_probe, model, 10), replace(SHORT, learning_rate=rate)) for rate in rates]


@pytest.mark.parametrize("moment", [(0.1, 1), (0.01, 1), ("last", 0)], ids=str)
def test_a_killed_choice_goes_on(backbone, digits, tmp_path, monkeypatch, moment):
    """In the first trial, in the second, or in the last training, on all images; each epoch is trained once."""
    train, _ = digits
    # A probe to begin with may be the best, and then there is no last training.
    candidates = [(make, replace(each, probe_first=False)) for make, each in by_rate(backbone, 0.1, 0.01)]
    wanted = nclib.finetune_best(candidates, train, patience=3)
    assert wanted.epochs
    monkeypatch.setattr(finetuning, "_SAVE_EVERY", 0.0)
    run_epoch, seen = TuningState.run_epoch, []

    def stopping(self, data, epoch):
        seen.append(("last" if len(data.labels) == len(train) else self.settings.learning_rate, epoch))
        if seen[-1] == moment and seen.count(moment) == 1:
            raise StoppedError
        run_epoch(self, data, epoch)

    monkeypatch.setattr(TuningState, "run_epoch", stopping)
    path = tmp_path / "made" / "choice"
    with pytest.raises(StoppedError):
        nclib.finetune_best(candidates, train, patience=3, checkpoint=path)
    again = nclib.finetune_best(candidates, train, patience=3, checkpoint=path)
    assert not list(path.parent.iterdir())
    assert len(seen) == len(set(seen)) + 1
    assert again[1:3] == wanted[1:3]
    assert again.seconds > 0
    assert same(again.tuned, wanted.tuned)


@contextmanager
def stopped(of, way, number, before=lambda: None):
    """Within it a class of finetuning stops after it has written, in its way, so often."""
    write, written = getattr(of, way), []

    def counted(*given):
        written.append(given)
        if len(written) == number:
            before()
        write(*given)
        if len(written) == number:
            raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "_SAVE_EVERY", -1.0)
        patch.setattr(of, way, counted)
        with pytest.raises(StoppedError):
            yield


def test_a_checkpoint_of_another_transform_is_refused(digits, tmp_path):
    train, _ = digits
    model = nclib.backbone("test_resnet", weights="random", device="cpu")
    model, other = (replace(model, transform=AsTrained(3, side)) for side in (32, 24))
    with stopped(TuningState, "save", 1):
        nclib.finetune(nclib.full_tuning(model, 10), train, SHORT, checkpoint=tmp_path / "state")
    with pytest.raises(ValueError, match="checkpoint of another fine-tuning"):
        nclib.finetune(nclib.full_tuning(other, 10), train, SHORT, checkpoint=tmp_path / "state")
    with stopped(finetuning._Trials, "write", 1):
        nclib.finetune_best(by_rate(model, 0.1), train, checkpoint=tmp_path / "choice")
    with pytest.raises(ValueError, match="checkpoint of another choice"):
        nclib.finetune_best(by_rate(other, 0.1), train, checkpoint=tmp_path / "choice")


def test_a_transform_is_the_same_in_every_process_and_another_is_not(backbone):
    def function(value):
        return lambda image: torch.full((1, 28, 28), value)

    made = [nclib.linear_probe(replace(backbone, transform=function(value)), 10) for value in (0.0, 0.0, 1.0)]
    assert repr(made[0].transform) != repr(made[1].transform)  # as in two processes
    assert finetuning._made_of(made[0]) == finetuning._made_of(made[1]) != finetuning._made_of(made[2])


def test_who_else_makes_a_choice_may_remove_its_file_at_any_time(backbone, digits, tmp_path):
    train, _ = digits
    path, candidates = tmp_path / "choice", by_rate(backbone, 0.1, 0.01, 0.001)
    expected = nclib.finetune_best(candidates, train)
    with stopped(finetuning._Trials, "write", 2, before=path.unlink):
        nclib.finetune_best(candidates, train, checkpoint=path)
    found = nclib.finetune_best(candidates, train, checkpoint=path)
    assert found[1:3] == expected[1:3]
    assert same(found.tuned, expected.tuned)


@pytest.mark.parametrize("content", ["", "{}", "null", "[{}]", "[1]", '{"of": 1}'])
def test_a_file_that_holds_no_trials_says_so(content, backbone, digits, tmp_path):
    (tmp_path / "choice").write_text(content)
    with pytest.raises(
        ValueError, match=r"choice holds no finished trials; delete it, and .*choice\.\*, to start again"
    ):
        nclib.finetune_best(by_rate(backbone, 0.1), digits[0], checkpoint=tmp_path / "choice")


def test_finished_trials_of_another_choice_are_refused(backbone, digits, tmp_path, monkeypatch):
    train, test = digits
    path, run_epoch = tmp_path / "choice", TuningState.run_epoch

    def stop_in_the_second(self, data, epoch):
        if self.settings.learning_rate == 0.01:
            raise StoppedError
        run_epoch(self, data, epoch)

    monkeypatch.setattr(TuningState, "run_epoch", stop_in_the_second)
    with pytest.raises(StoppedError):
        nclib.finetune_best(by_rate(backbone, 0.1, 0.01), train, checkpoint=path)
    others = [(by_rate(backbone, 0.2, 0.01), train, {}), (by_rate(backbone, 0.1, 0.01), test, {})]
    others += [(by_rate(backbone, 0.1, 0.01), train, {"share": 0.3}), (by_rate(backbone, 0.1), train, {"patience": 1})]
    for candidates, images, options in others:
        with pytest.raises(ValueError, match=r"checkpoint of another choice .* delete it, and .*choice\.\*"):
            nclib.finetune_best(candidates, images, checkpoint=path, **options)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="holds no finished trials; delete it"):
        nclib.finetune_best(by_rate(backbone, 0.1), train, checkpoint=path)


@pytest.mark.parametrize(("number", "batch_size", "sizes"), [(4097, 64, {63, 64}), (101, 10, {9, 10}), (5, 2, {2, 3})])
def test_batches_are_of_one_size_as_near_as_it_goes(number, batch_size, sizes):
    settings = nclib.Tuning(batch_size=batch_size, epochs=1)
    tuned = methods.linear_probe(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), 2)
    seen = []
    tuned.head.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    data = type("Data", (), {"labels": torch.arange(number) % 2, "device": torch.device("cpu")})()
    data.batches = lambda rows: ((torch.rand(len(row), 3, 1, 1), data.labels[row]) for row in rows)
    TuningState(tuned, tuned, settings).run_epoch(data, 0)
    assert set(seen) == sizes
    assert sum(seen) == number


def test_balanced_batches_hold_as_many_images_of_each_of_their_classes(digits):
    tuned = methods.linear_probe(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)), 10)
    state = TuningState(tuned, tuned, nclib.Tuning(batch_size=12, balanced=3))
    for rows in state.batches(digits[0].labels, torch.Generator().manual_seed(0)):
        assert digits[0].labels[rows].bincount().unique().tolist() == [0, 3]
        assert len(rows) == 12


def test_collapse_is_forced_and_prevented(backbone, digits):
    """The trace ratio of the images that were tuned on falls and rises; a weight of 0 is training without it."""

    def trained(**options):
        tuned = methods.full_tuning(backbone, 10)
        nclib.finetune(tuned, digits[0], nclib.Tuning(epochs=10, batch_size=20, **options))
        return nclib.measure(nclib.extract(tuned.backbone, digits[0]), digits[0].labels, metrics=["nc1_ratio"])

    prevented, plain, forced = (trained(collapse=weight, balanced=4)["nc1_ratio"] for weight in (-0.3, 0.0, 0.3))
    assert forced < 0.7 * plain < 0.5 * prevented


def test_a_classifier_that_is_kept_is_trained_on_from_where_it_is(digits):
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1).eval()
    tuned = methods.linear_probe(model)
    inputs, labels = nn.functional.interpolate(digits[0].inputs(), 64), digits[0].labels
    nclib.finetune(tuned, (inputs, labels), replace(SHORT, epochs=0))
    assert torch.equal(tuned.head.weight, model.fc.weight)


def test_records_of_chapter_5_were_made_with_these_settings():
    """They are not in its cells: who changes one has to measure again."""
    assert nclib.Tuning() == nclib.Tuning(
        learning_rate=3e-3, weight_decay=0.01, epochs=10, batch_size=64, schedule="one-cycle", augmentation=0.0, C=0.1
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": 4}, "stop is 4; it must be from 0 to 3"),
        ({"stop": -1}, "stop is -1"),
        ({"stop": 2.5}, "stop is 2.5; it must be a whole number"),
        ({"patience": 1}, "needs validation images"),
        ({"patience": 0}, "patience is 0; it must be at least 1"),
    ],
)
def test_epochs_that_cannot_be(options, message, backbone, digits):
    with pytest.raises(ValueError, match=message):
        nclib.finetune(methods.linear_probe(backbone, 10), digits[0], SHORT, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": -1}, "learning_rate is -1; it must be at least 0"),
        ({"epochs": 1.5}, "epochs is 1.5; it must be a whole number"),
        ({"batch_size": 1}, "batch_size is 1; it must be at least 2"),
        ({"schedule": "none"}, "unknown schedule 'none'; there are one-cycle, cosine, constant"),
        ({"collapse": 0.1}, "collapse is 0.1 and balanced 0; balanced must be at least 2"),
        ({"collapse": float("nan"), "balanced": 4}, "collapse is nan; it must be a finite number"),
        ({"balanced": 33}, "balanced is 33; a batch of 64 must hold that many images of two classes"),
        ({"balanced": -1}, "balanced is -1; it must be at least 0"),
        ({"C": -1}, "C is -1; it must be above 0"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        nclib.Tuning(**settings)


def test_wrong_types_are_named(backbone, digits):
    tuned = methods.linear_probe(backbone, 10)
    for arguments, message in (
        ((backbone, digits[0]), "tuned and settings are Backbone and Tuning"),
        ((tuned, digits[0], {"epochs": 1}), "tuned and settings are Tuned and dict"),
        ((tuned, "photos"), r"images are str 'photos'; nclib.load\(name\) loads"),
    ):
        with pytest.raises(TypeError, match=message):
            nclib.finetune(*arguments)
    with pytest.raises(TypeError, match="train are a tensor of inputs, without labels"):
        nclib.finetune_best([(lambda: tuned, SHORT)], digits[0].inputs())
    with pytest.raises(ValueError, match="there are no candidates"):
        nclib.finetune_best([], digits[0])


def test_images_that_do_not_fit_the_head_are_refused(backbone, digits):
    train, test = digits
    tuned = methods.linear_probe(backbone, 5)
    with pytest.raises(ValueError, match="the images have 10 classes, the head 5"):
        nclib.finetune(tuned, train, SHORT)
    with pytest.raises(ValueError, match=r"labels run from 0 to 9; they must be 0\.\.4"):
        nclib.finetune(tuned, (train.inputs(), train.labels), SHORT)
    with pytest.raises(ValueError, match="the images have 10 classes, the head 12"):
        nclib.finetune(methods.linear_probe(backbone, 12), train, SHORT)
    with pytest.raises(ValueError, match="there are no images"):
        nclib.finetune(tuned, (train.inputs()[:0], train.labels[:0]), SHORT)
    with pytest.raises(ValueError, match="two images of every class"):
        nclib.finetune_best([(lambda: tuned, SHORT)], train.take(1))
    with pytest.raises(ValueError, match="60 images and 200 labels; give one label for each image"):
        nclib.finetune(methods.linear_probe(backbone, 10), (train.inputs(), test.labels), SHORT)
    with pytest.raises(ValueError, match="has no transform to prepare images with"):
        nclib.finetune(methods.linear_probe(timm.create_model("test_resnet"), 10), train, SHORT)
