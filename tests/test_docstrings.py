"""The examples in the docstrings run."""

import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest

import nclib

MODULES = [f"nclib.{module.name}" for module in pkgutil.iter_modules(nclib.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.parametrize("name", [name for name in nclib.__all__ if callable(getattr(nclib, name))])
def test_every_public_name_has_an_example(name):
    tests = doctest.DocTestFinder().find(inspect.unwrap(getattr(nclib, name)), name)
    assert any(test.examples for test in tests)
