"""What of labelled images is kept, where, in how many bits; and that training does not depend on it."""

import copy
from contextlib import closing
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess

import pytest
import torch

import nclib
from nclib.data.batches import Prepared, reading
from nclib.devices import double_precision
from nclib.features.backbones import AsTrained
from nclib.peft import methods, prefix
from nclib.peft.finetuning import TuningState
from nclib.peft.prefix import Inputs, split
from tests.simulated import simulated, waits_a_step

DIGITS = nclib.load("digits", per_class=3)
BYTES = 30 * 3 * 32 * 32  # of all, as the model takes them
SHORT = nclib.Tuning(epochs=2, batch_size=10)
LAYER = "layer4.0"


@pytest.fixture(scope="module")
def model():
    return replace(nclib.backbone("test_resnet", weights="random", device="cpu"), transform=AsTrained(3, 32))


def on(kind, model):
    return replace(model, model=copy.deepcopy(model.model).to(kind), last=None)


def trained(tuned, **options):
    scores = nclib.finetune(tuned, DIGITS, SHORT, validation=DIGITS.take(1), **options)
    return scores, [tensor.clone() for tensor in tuned.state_dict().values()]


def same(one, other):
    return one[0] == other[0] and all(map(torch.equal, one[1], other[1]))


TUNED = {
    "full": lambda model: methods.full_tuning(model, 10),
    "skip": lambda model: methods.skip_tuning(model, LAYER, 10),
}


@pytest.fixture
def two_readers(monkeypatch):
    """Two processes read for each set of images; they are listed here when they start."""
    started, start = [], BaseProcess.start
    monkeypatch.setattr(prefix, "reading", partial(reading, workers=2))
    monkeypatch.setattr(BaseProcess, "start", lambda process: (started.append(process), start(process)))
    return started


@pytest.mark.parametrize("method", TUNED)
def test_training_is_the_same_to_the_last_bit_whatever_is_kept(method, model):
    whole = replace(model, transform=partial(model.transform))  # of which it is not known what it does last
    wanted = trained(TUNED[method](whole), memory=1e9)  # floats are kept, as they always were
    for given, memory in ((model, 1e9), (model, BYTES), (model, 0), (whole, 0)):
        assert same(trained(TUNED[method](given), memory=memory), wanted)


def kept(tuned, memory, cut=True):
    before = split(tuned)[0] if cut else None
    with closing(Inputs(DIGITS, tuned, before, memory)) as data:
        return data, data.kept


def test_the_budget_counts_what_is_kept(model):
    full = TUNED["full"](model)
    data, images = kept(full, BYTES, cut=False)
    assert (images.dtype, images.nbytes) == (torch.uint8, BYTES)
    assert kept(full, BYTES - 1, cut=False)[1] is None
    expected = torch.stack([model.transform(DIGITS.image(i)) for i in range(30)])
    assert torch.equal(data.through(lambda inputs: inputs), expected)
    skip = TUNED["skip"](model)
    with torch.no_grad():
        features = split(skip)[0](expected)
    assert torch.equal(kept(skip, features.nbytes)[1], features)


def test_images_are_kept_where_what_a_prefix_makes_of_them_is_too_large(model):
    early = methods.skip_tuning(model, "layer1.0", 10)
    before, _ = split(early)
    with torch.no_grad():
        size = before(model.transform(DIGITS.image(0))[None]).nbytes * 30
    assert size > BYTES
    data, images = kept(early, size - 1)
    assert images.dtype == torch.uint8
    floats, features = kept(early, size)
    assert features.dtype == torch.float32
    assert torch.equal(data.through(lambda inputs: inputs), floats.through(lambda inputs: inputs))


def test_images_are_read_once_if_they_are_kept(model, monkeypatch):
    read, get = [], Prepared.__getitem__
    monkeypatch.setattr(Prepared, "__getitem__", lambda self, i: (read.append(i), get(self, i))[1])
    tuned = TUNED["full"](model)
    nclib.finetune(tuned, DIGITS, SHORT, memory=BYTES)
    assert len(read) == 31  # the first tells how much they are
    nclib.finetune(tuned, DIGITS, SHORT, memory=BYTES - 1)
    assert len(read) == 31 + 1 + 30 * (1 + SHORT.epochs)  # the probe that the head begins as, and the epochs


def test_processes_read_for_all_epochs_and_end_with_the_training(model, two_readers):
    wanted = trained(TUNED["full"](model))
    assert len(two_readers) == 4  # two for each set of images, once
    assert not any(process.is_alive() for process in two_readers)
    two_readers.clear()
    assert same(trained(TUNED["full"](model), memory=0), wanted)
    assert len(two_readers) == 4  # two for each set of images, in three passes and more
    assert not any(process.is_alive() for process in two_readers)


def test_processes_end_with_a_training_that_fails(model, two_readers, monkeypatch):
    def failing(self, data, epoch):
        next(data.batches([torch.tensor([0, 1])] * 5))
        assert all(process.is_alive() for process in two_readers)
        raise KeyboardInterrupt

    monkeypatch.setattr(TuningState, "run_epoch", failing)
    with pytest.raises(KeyboardInterrupt):
        nclib.finetune(TUNED["full"](model), DIGITS, replace(SHORT, probe_first=False), memory=0)
    assert len(two_readers) == 2
    assert not any(process.is_alive() for process in two_readers)


def test_processes_end_if_an_image_cannot_be_read(model, two_readers, tmp_path):
    for number in range(8):
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        DIGITS.image(number).save(tmp_path / str(number % 2) / f"{number}.png")
    photos = nclib.load(f"folder:{tmp_path}")
    photos.paths[5].write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        Inputs(photos, methods.full_tuning(model, 2), None, 1e9)
    assert len(two_readers) == 2
    assert not any(process.is_alive() for process in two_readers)


def test_what_does_not_fit_on_a_gpu_is_kept_on_the_host_and_no_step_waits(model, monkeypatch):
    with simulated("cuda") as device:
        there = on("cuda", model)
        wanted = trained(TUNED["full"](there))
        assert kept(TUNED["full"](there), BYTES, cut=False)[1].device == device.device
        monkeypatch.setattr(prefix, "free_memory", lambda device: 0.0)
        for method, cut in (("full", False), ("skip", True)):
            assert kept(TUNED[method](there), BYTES, cut=cut)[1].device.type == "cpu"

            def run(epochs, tuned=TUNED[method]):
                nclib.finetune(tuned(there), DIGITS, replace(SHORT, epochs=epochs))

            assert not waits_a_step(device, run)
        assert same(trained(TUNED["full"](there)), wanted)


def test_a_small_share_of_what_is_free_on_a_gpu_is_taken(model, monkeypatch):
    with simulated("cuda") as device:
        tuned = TUNED["full"](on("cuda", model))
        for free, kind in ((BYTES, "cpu"), (4 * BYTES, "cuda")):
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
            assert kept(tuned, 1e9, cut=False)[1].device.type == kind
        assert device.device.type == "cuda"


def test_a_prefix_computes_and_is_kept_with_half_the_bits_on_a_gpu(model):
    here, _ = kept(TUNED["skip"](model), 1e9)
    expected = here.through(lambda inputs: inputs)
    with simulated("cuda") as device:
        there = on("cuda", model)
        data, features = kept(TUNED["skip"](there), 1e9)
        assert features.dtype == torch.bfloat16
        assert features.nbytes * 2 == expected.nbytes
        given = data.through(lambda inputs: inputs)
        assert (given.dtype, given.device) == (torch.float32, device.device)
        assert torch.equal(given, features.float())
        assert not torch.equal(given.cpu(), expected)
        torch.testing.assert_close(given.cpu(), expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))
        wanted = trained(TUNED["skip"](there))
        assert same(trained(TUNED["skip"](there), memory=BYTES // 100), wanted)  # computed for every batch anew


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_in_double_precision_nothing_is_halved(kind):
    with double_precision(), simulated(kind) as device:
        made = nclib.backbone("test_resnet", weights="random", device=kind)
        tuned = TUNED["skip"](replace(made, transform=AsTrained(3, 32)))
        data, features = kept(tuned, 1e9)
        assert (features.dtype, features.device.type) == (torch.float64, device.kind)
        assert torch.equal(data.through(lambda inputs: inputs), features)
