"""What an epoch of fine-tuning costs: everything, or one layer behind a prefix that is computed once."""

import pytest
import torch
from torchvision.models import resnet18

from nclib import Tuning, full_tuning, skip_tuning
from nclib.peft.finetuning import TuningState
from nclib.peft.prefix import Inputs, split

GROUP = "128 images of 128 px, ResNet-18"
LAYER = "layer3.1"  # a tenth of the parameters


@pytest.fixture(scope="module")
def images():
    g = torch.Generator().manual_seed(0)
    return torch.rand(128, 3, 128, 128, generator=g), torch.randint(10, (128,), generator=g)


def epochs(benchmark, tuned, images, *, cut):
    prefix, part = split(tuned) if cut else (None, tuned)
    data = Inputs(images, tuned, prefix, memory=1e10)
    training = TuningState(tuned, part, Tuning(batch_size=32))
    benchmark.group = GROUP
    benchmark.pedantic(training.run_epoch, (data, 0), rounds=5, warmup_rounds=1)


def test_full_epoch(benchmark, images):
    epochs(benchmark, full_tuning(resnet18(), 10), images, cut=False)


def test_skip_epoch(benchmark, images):
    epochs(benchmark, skip_tuning(resnet18(), LAYER, 10), images, cut=True)


def test_skip_epoch_without_cache(benchmark, images):
    epochs(benchmark, skip_tuning(resnet18(), LAYER, 10), images, cut=False)


def test_prefix(benchmark, images):
    tuned = skip_tuning(resnet18(), LAYER, 10)
    prefix, _ = split(tuned)
    benchmark.group = GROUP
    benchmark.pedantic(Inputs, (images, tuned, prefix, 1e10), rounds=5, warmup_rounds=1)
