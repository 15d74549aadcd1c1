"""One list of dependencies, and everything else in agreement with it."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import nclib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(line) for line in (*PROJECT["dependencies"], *chain.from_iterable(EXTRAS.values()))]
PINS = {
    requirement.name.lower().replace("_", "-"): next(iter(requirement.specifier)).version
    for requirement in (
        Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_every_dependency_is_pinned_within_its_range(requirement):
    assert requirement.specifier.contains(PINS[requirement.name])


def made_by_make() -> bool:
    """Whether this environment was installed with the constraints of today, as make does."""
    installed = Path(sys.prefix, "installed")
    return installed.exists() and installed.read_text() == (ROOT / "constraints.txt").read_text()


@pytest.mark.skipif(not made_by_make(), reason="an environment not made by make may have another torch")
@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_what_is_installed_is_what_is_pinned(requirement):
    assert Version(version(requirement.name)).public == PINS[requirement.name]


def test_the_conda_environment_installs_the_package_with_its_extras():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(line for line in environment["dependencies"] if isinstance(line, str) and line.startswith("python"))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    pip = next(line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    assert pip[0] == "-c constraints.txt"
    extras = re.fullmatch(r"-e \.\[(.+)\]", pip[1]).group(1).split(",")
    assert set(extras) == EXTRAS.keys()
    assert len(pip) == 2, "dependencies are listed in pyproject.toml only"


def test_make_takes_another_nclib_away_before_it_installs_ours():
    """Of two that are imported by one name the last installed would win, and its removal break the other."""
    recipe = re.search(r"^\.venv/installed:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    asked = re.findall(r"pip (uninstall|install) .*?(\S+)(?: #.*)?$", recipe, re.MULTILINE)
    assert [command for command, _ in asked] == ["uninstall", "install"]
    assert asked[0][1] == "nclib"


def imported(path: Path) -> set[str]:
    """The top-level names that a Python file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text().replace("%matplotlib", "#"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_everything_imported_is_declared():
    files = [path for folder in ("nclib", "workflow", "notebooks", "tests") for path in (ROOT / folder).rglob("*.py")]
    own = {"nclib", "tests", "workflow", "benchmarks", *(path.stem for path in files)}
    elsewhere = {"rocrate"}  # in an environment of its own: workflow/crate.txt
    names = set().union(*map(imported, files)) - own - elsewhere - sys.stdlib_module_names
    distributions = packages_distributions()
    declared = {requirement.name.lower().replace("_", "-") for requirement in REQUIREMENTS}
    for name in names:
        assert declared & {d.lower().replace("_", "-") for d in distributions[name]}, name


def test_the_book_extra_is_enough_to_open_and_run_a_notebook():
    files = [*(ROOT / "notebooks").glob("*.py"), *(ROOT / "workflow" / name for name in ("execute.py", "plain.py"))]
    names = set().union(*map(imported, files)) - sys.stdlib_module_names - {"nclib", "workflow"}
    enough = [Requirement(line).name for line in (*PROJECT["dependencies"], *EXTRAS["book"])]
    enough = {name.lower().replace("_", "-") for name in enough}
    distributions = packages_distributions()
    assert [name for name in names if not enough & {d.lower().replace("_", "-") for d in distributions[name]}] == []
    assert {"jupyterlab", "ipykernel"} <= enough
    assert not {name for path in (ROOT / "notebooks").glob("*.py") for name in imported(path)} & {"workflow", "tests"}


def test_jupyter_book_is_version_1():
    requirement = next(r for r in REQUIREMENTS if r.name == "jupyter-book")
    assert not requirement.specifier.contains("2.0")
    assert Version(PINS["jupyter-book"]) < Version("2")
    assert Version(version("jupyter-book")) < Version("2")


def test_every_public_name_is_there_and_documented():
    for name in nclib.__all__:
        assert getattr(nclib, name).__doc__, name
    with pytest.raises(AttributeError, match="nc9"):
        _ = nclib.nc9


@pytest.mark.parametrize("heavy", ["torch", "timm", "torchvision", "pandas", "scipy", "sklearn", "matplotlib"])
def test_importing_the_package_imports_nothing_heavy(heavy):
    code = f"import sys, nclib; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mathjax_is_shipped():
    shipped = re.search(r"mathjax_path: (\S+)", (ROOT / "_config.yml").read_text())[1]
    assert "MathJax" in (ROOT / "book" / "_static" / shipped).read_text()
