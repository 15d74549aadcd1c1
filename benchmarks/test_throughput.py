"""What bounds fine-tuning on photographs: images a second of each of its parts, measured and on paper.

On paper a part takes the longer of two times: its operations at the speed of a float32 matrix product here, and the
bytes that it cannot but move at the speed of a copy of a batch here. Far below that speed it is bound by neither, but
by how it is written. Read in every epoch, images come no faster than a process can decode and resize them; kept as
bytes, no faster than they are finished and trained on.
"""

import time
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18
from torchvision.transforms._presets import ImageClassification

from benchmarks.cases import PHOTO, photographs
from nclib import ImageFiles
from nclib.features.preparation import in_two

NUMBER, SIDE, RESIZED = 16, 128, 146
GROUP = f"{NUMBER} JPEG files of {PHOTO[0]} x {PHOTO[1]} px, ResNet-18 at {SIDE} px"
FLOAT, VALUES = 4, 3 * SIDE * SIDE  # bytes of a number, and numbers of an image as the network takes it


class Part(NamedTuple):
    """What is done for all images, and for one of them its operations and the bytes that it moves."""

    call: Callable[[], object]
    operations: float
    moved: float


def step(network, batch, labels):
    network.zero_grad()
    cross_entropy(network(batch), labels).backward()


def resizing() -> float:
    """Multiplications and additions of an image's resizing: along rows, then along columns, with a triangle of taps."""
    width, height = PHOTO
    taps = ceil(2 * height / RESIZED) + 1
    return 2.0 * 3 * taps * (height + RESIZED) * (width * RESIZED / height)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    paths = tuple(sorted(photographs(tmp_path_factory.mktemp("photos"), NUMBER).rglob("*.jpg")))
    photos = ImageFiles(paths, torch.arange(NUMBER) * 2 // NUMBER, ("class0", "class1"))
    transform = ImageClassification(crop_size=SIDE, resize_size=RESIZED)
    prepare, finish = in_two(transform, torch.device("cpu"))
    images = [photos.image(i) for i in range(NUMBER)]
    pixels = torch.stack([prepare(image) for image in images])
    order, batch = torch.randperm(NUMBER), finish(pixels)
    network = resnet18(num_classes=2)
    with FlopCounterMode(display=False) as counter:
        step(network, batch[:1].expand(2, -1, -1, -1), photos.labels[:2])
    decoded, stored = 3 * PHOTO[0] * PHOTO[1], sum(path.stat().st_size for path in photos.paths) / NUMBER
    weights = FLOAT * sum(each.numel() for each in network.parameters())
    return {
        "load": Part(lambda: [photos.image(i) for i in range(NUMBER)], 0, stored + decoded),
        "transform": Part(lambda: [prepare(image) for image in images], resizing(), decoded + VALUES),
        "take_kept": Part(lambda: pixels[order], 0, 2 * VALUES),
        "finish": Part(lambda: finish(pixels), 3 * VALUES, (1 + FLOAT) * VALUES),
        "step": Part(lambda: step(network, batch, photos.labels), counter.get_total_flops() / 2, 3 * weights / NUMBER),
    }


@pytest.fixture(scope="module")
def seconds():
    """Measured, of all images, by the name of the part."""
    return {}


@pytest.mark.parametrize("what", ["load", "transform", "take_kept", "finish", "step"])
def test_part(benchmark, parts, seconds, what):
    benchmark.group, benchmark.name = GROUP, what
    benchmark.pedantic(parts[what].call, rounds=3, warmup_rounds=1)
    seconds[what] = benchmark.stats.stats.median


def fastest(call: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def test_what_bounds_it(parts, seconds):
    """Prints images a second; a time is no test, but what is taken for the bound has to be one of the parts."""
    if not seconds.keys() >= parts.keys():
        pytest.skip("needs the times of all parts: run the whole file")
    a, batch, room = torch.rand(1024, 1024), torch.zeros(NUMBER, VALUES), torch.zeros(NUMBER, VALUES)
    speed, bandwidth = 2 * 1024**3 / fastest(lambda: a @ a), 2 * batch.nbytes / fastest(lambda: room.copy_(batch))
    print(f"\n{GROUP}, {torch.get_num_threads()} threads; {speed / 1e9:.3g} GFLOP/s, {bandwidth / 1e9:.3g} GB/s")
    for what, part in parts.items():
        paper = 1 / max(part.operations / speed, part.moved / bandwidth)
        print(f"{what:>10}: {NUMBER / seconds[what]:10,.0f} images a second, {paper:10,.0f} on paper")
    for way, chain in (
        ("read in every epoch", ("load", "transform", "finish", "step")),
        ("kept as bytes", ("take_kept", "finish", "step")),
    ):
        slowest = max(chain, key=seconds.__getitem__)
        together = NUMBER / sum(seconds[what] for what in chain)
        print(f"{way}: {together:,.0f} images a second by one process, {NUMBER / seconds[slowest]:,.0f} if all but the")
        print(f"  slowest part were done beside it, which is {slowest}")
        assert NUMBER / seconds[slowest] >= together
