"""The examples in the docstrings run."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import nclib

MODULES = [f"nclib.{module.name}" for module in pkgutil.iter_modules(nclib.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    assert sum(bool(test.examples) for name in MODULES for test in finder.find(import_module(name))) >= 4
