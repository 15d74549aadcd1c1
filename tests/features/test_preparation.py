"""Transforms cut in two: bytes of every image, then batches on the device; both together to the last bit the whole."""

import pickle
from functools import partial

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation, ResizeKeepRatio
from torchvision import models, transforms

from nclib.devices import double_precision
from nclib.features.backbones import AsTrained
from nclib.features.preparation import as_it_is, in_two
from tests.simulated import simulated

CPU = torch.device("cpu")
SIDES = [(40, 30), (33, 47), (24, 24)]


def images(mode="RGB"):
    g = np.random.default_rng(0)
    return [Image.fromarray(g.integers(0, 256, (h, w, 3), dtype=np.uint8)).convert(mode) for w, h in SIDES]


def of_timm(**options):
    return timm.data.create_transform((3, 32, 32), is_training=False, **options)


KNOWN = {
    "recipe, grey": lambda: AsTrained(1, 28),
    "recipe, colour": lambda: AsTrained(3, 24),
    "torchvision": lambda: models.ResNet18_Weights.DEFAULT.transforms(),
    "torchvision, bicubic": lambda: models.EfficientNet_B0_Weights.DEFAULT.transforms(),
    "timm": of_timm,
    "timm, squashed": lambda: of_timm(crop_mode="squash", interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3),
    "timm, with a border": lambda: of_timm(crop_mode="border"),
    "timm, trimmed": lambda: of_timm(crop_border_pixels=2),
    "one's own": lambda: transforms.Compose([transforms.Resize((16, 20)), transforms.ToTensor()]),
    "one's own, grey": lambda: transforms.Compose(
        [transforms.Grayscale(), transforms.Resize((9, 9)), transforms.ToTensor(), transforms.Normalize(0.1, 0.3)]
    ),
}


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("name", KNOWN)
def test_both_parts_are_the_whole_to_the_last_bit(name, precision):
    transform = KNOWN[name]()
    with double_precision() if precision == "double" else torch.no_grad():
        whole = torch.stack([transform(image) for image in images()])
        prepare, finish = in_two(transform, CPU)
        pixels = torch.stack([pickle.loads(pickle.dumps(prepare))(image) for image in images()])
        made = finish(pixels)
    assert pixels.dtype == torch.uint8
    assert finish is not as_it_is
    assert made.dtype == whole.dtype
    assert made.stride() == whole.stride()  # kernels choose by it how they round
    assert torch.equal(made, whole)


def test_every_byte_in_every_channel_is_finished_as_by_the_whole():
    every = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229] * 3)])
    prepare, finish = in_two(transform, CPU)
    assert len(prepare(every).unique()) == 256
    assert torch.equal(finish(prepare(every)[None])[0], transform(every))


def test_bytes_stay_what_they_are():
    prepare, finish = in_two(KNOWN["timm"](), CPU)
    pixels = prepare(images()[0])[None]
    before = pixels.clone()
    assert torch.equal(finish(pixels), finish(pixels))
    assert torch.equal(pixels, before)


class Own(AsTrained):
    def __call__(self, image):
        return -super().__call__(image)


def by_chance(step):
    return transforms.Compose([step, transforms.ToTensor()])


UNKNOWN = {
    "a function": lambda image: torch.zeros(3, 2, 2),
    "a class derived from one that is known": Own(3, 8),
    "nothing after bytes": transforms.Compose([transforms.Resize(8), transforms.PILToTensor()]),
    "no step": transforms.Compose([]),
    "only the last": transforms.Compose([transforms.Normalize(0.5, 0.5)]),
    "a step of one's own": by_chance(lambda image: image.rotate(1)),
    "a step after it": transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5), as_it_is]),
    "chance": by_chance(transforms.RandomHorizontalFlip()),
    "chance, timm": by_chance(RandomResizedCropAndInterpolation(8)),
    "a random scale": by_chance(ResizeKeepRatio(8, random_scale_prob=0.5)),
    "a random interpolation": by_chance(ResizeKeepRatio(8, interpolation="random")),
    "no deviation": transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.0)]),
    "a part": partial(AsTrained(3, 8)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_done_whole(name):
    transform = UNKNOWN[name]
    prepare, finish = in_two(transform, CPU)
    assert prepare is transform
    assert finish is as_it_is


def test_inputs_without_a_transform_are_left_alone():
    prepare, finish = in_two(None, CPU)
    assert prepare is None
    assert finish is as_it_is


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_batch_is_finished_on_its_device_without_waiting(kind):
    transform = KNOWN["torchvision"]()
    whole = torch.stack([transform(image) for image in images()])
    with simulated(kind) as device:
        prepare, finish = in_two(transform, device.device)
        pixels = torch.stack([prepare(image) for image in images()]).to(kind)
        device.waits.clear()
        made = finish(pixels)
        assert not device.waits
        assert made.device == device.device
        assert torch.equal(made.cpu(), whole)
