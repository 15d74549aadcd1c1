"""Identity: what tells functions and objects apart, and that it is the same in every process."""

import subprocess
import sys
from functools import cached_property, partial

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import transforms

from nclib.features.identity import identity

LONG = torch.arange(20_000.0)  # the repr of a tensor leaves out what is between its ends


def changed(values):
    values = values.clone()
    values[len(values) // 2] += 1
    return values


def returning(value):
    return lambda image: value


def nested(number):
    return (lambda image: [each + 1 for each in image]) if number == 1 else (lambda image: [each + 2 for each in image])


class Scaled:
    def __init__(self, by):
        self.by = by

    def __call__(self, image):
        return self.by * image

    def method(self, image):
        return self.by * image

    @cached_property
    def twice(self):
        return 2 * self.by


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by):
        self.by = by

    def __call__(self, image):
        return self.by * image


def one(image):
    return image + 1


def two(image):
    return image + 2


def through(image, way):
    return way(image)


def calls_one(image):
    return one(image)


def calls_two(image):
    return two(image)


def countdown(number):
    def again(image, left=number):
        return image if left == 0 else again(image, left - 1)

    return again


def linear(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(3, 2)


class Gated(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, x):
        return self.gate(x)


PAIRS = {
    "constants": (lambda image: image + 1, lambda image: image + 2),
    "closures": (returning(1), returning(2)),
    "tensors": (returning(LONG), returning(changed(LONG))),
    "arrays": (returning(LONG.numpy()), returning(changed(LONG).numpy())),
    "arrays of objects": (np.array([1, "a"], object), np.array([1, "b"], object)),
    "dtypes": (returning(torch.zeros(2)), returning(torch.zeros(2).double())),
    "defaults": (lambda image, by=1: by, lambda image, by=2: by),
    "keyword defaults": (lambda image, *, by=1: by, lambda image, *, by=2: by),
    "partials": (partial(through, way=one), partial(through, way=two)),
    "positional partials": (partial(one, 1), partial(one, 2)),
    "callable objects": (Scaled(1), Scaled(2)),
    "objects with slots": (Slotted(1), Slotted(2)),
    "methods": (Scaled(1).method, Scaled(2).method),
    "names": (one, two),
    "called functions": (calls_one, calls_two),
    "inner functions": (nested(1), nested(2)),
    "recursion": (countdown(1), countdown(2)),
    "modules": (linear(0), linear(1)),
    "methods of modules": (linear(0).forward, linear(1).forward),
    "modules that hold functions": (Gated(torch.relu), Gated(torch.tanh)),
    "compositions": tuple(transforms.Compose([transforms.Lambda(each)]) for each in (one, two)),
    "sequences": ([1, 2], (1, 2)),
    "mappings": ({"a": 1}, {"a": 2}),
    "sets": ({"a", "b"}, {"a", "c"}),
    "classes": (Scaled, Gated),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_has_another_identity(name):
    first, second = PAIRS[name]
    assert identity(first) == identity(first) != identity(second)


def test_a_caller_identifies_what_is_known_by_other_means():
    first, second = linear(0), linear(1)
    assert identity(first.forward, first) == identity(second.forward, second)


def test_what_an_object_computes_on_demand_changes_nothing():
    made = Scaled(1)
    before = identity(made)
    assert made.twice == 2
    assert identity(made) == before


def test_a_function_of_the_module_counts_by_what_it_does():
    text = "def helper(x): return x + {}\ndef given(x): return helper(x)\ndef unused(x): return 0"
    found = []
    for number in (1, 1, 2):
        exec(text.format(number), names := {"__name__": "made"})
        found.append(identity(names["given"]))
    assert found[0] == found[1] != found[2]


def test_what_contains_itself_has_an_identity():
    ring: list = [1]
    ring.append(ring)
    assert identity(ring) == identity(ring)


def test_an_identity_is_the_same_in_every_process():
    code = (
        "from nclib.features.identity import identity; import torch; from functools import partial;"
        "held = [{'d', 'e', 'f'}, partial(torch.relu), torch.nn.ReLU(), object()];"
        "print(identity([lambda x: {x, 'a', 'b', 'c'}, *held]))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""
