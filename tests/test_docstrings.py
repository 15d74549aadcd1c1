"""The examples in the docstrings run."""

import doctest
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import nclib

MODULES = [module.name for module in pkgutil.walk_packages(nclib.__path__, "nclib.")]


def test_every_file_is_among_the_modules():
    folder = Path(nclib.__file__).parent
    files = {".".join(("nclib", *path.relative_to(folder).with_suffix("").parts)) for path in folder.rglob("*.py")}
    assert {name.removesuffix(".__init__") for name in files} == {"nclib", *MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.parametrize("name", [name for name in nclib.__all__ if callable(getattr(nclib, name))])
def test_every_public_name_has_an_example(name):
    tests = doctest.DocTestFinder().find(inspect.unwrap(getattr(nclib, name)), name)
    assert any(test.examples for test in tests)
