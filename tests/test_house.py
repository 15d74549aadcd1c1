"""The house stands: every public name has one room, no module bears the name of one, and old paths lead to the new."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nclib
from nclib.naming import LEFT, MOVED

PACKAGE = Path(nclib.__file__).parent
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
LIBRARY = [room for room in ROOMS if room != "experiments"]


def test_there_are_nine_rooms_and_about_ten_files():
    assert len(ROOMS) == 9
    assert 8 <= len(list(PACKAGE.glob("*.py"))) <= 12


def test_no_module_bears_the_name_of_a_public_one():
    modules = {path.stem for path in PACKAGE.rglob("*.py")} | set(ROOMS)
    assert sorted(modules & set(nclib.__all__)) == []


@pytest.mark.parametrize("room", LIBRARY)
def test_a_room_has_its_public_names(room):
    module = importlib.import_module(f"nclib.{room}")
    stub = re.findall(rf"^from \.{room}\.\w+ import (\([^)]*\)|.*)", PACKAGE.joinpath("__init__.pyi").read_text(), re.M)
    own = {name for names in stub for name in re.findall(r" as (\w+)", names)}
    assert own
    assert own <= set(module.__all__)
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert all(getattr(module, name) is getattr(nclib, name) for name in own)


def test_a_room_needs_no_import_of_its_own():
    asked = ("metrics.pairs", "metrics.torchmetric", "estimates.mean", "experiments.records", "experiments.start")
    code = "; ".join(["import nclib", *(f"nclib.{name}" for name in asked)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_of_a_room_is_its_names_and_no_module():
    """A module may need a package that is not there, as nclib.metrics.torchmetric does."""
    assert "torchmetric" in dir(nclib.metrics)
    assert "torchmetric" not in nclib.metrics.__all__


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_leads_to_the_new_module(old, monkeypatch):
    monkeypatch.delitem(sys.modules, f"nclib.{old}", raising=False)
    new = [f"nclib.{name}" for name in MOVED[old].split()]
    with pytest.warns(DeprecationWarning, match=re.escape(f"nclib.{old} is {' and '.join(new)} now")):
        found = importlib.import_module(f"nclib.{old}")
    known = set()
    for module in map(importlib.import_module, new):
        names = {name for name in vars(module) if not name.startswith("_")}
        assert names - known
        assert all(getattr(found, name) is getattr(module, name) for name in names - known)
        known |= names
    assert known <= set(dir(found))
    with pytest.raises(AttributeError, match="which has no 'nonsense'"):
        found.nonsense  # noqa: B018


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_old_book_imported_is_still_found():
    from nclib.arrow import write_arrow  # noqa: F401
    from nclib.card import strip  # noqa: F401
    from nclib.catalogue import TORCHVISION  # noqa: F401
    from nclib.claims import Claim, judge, mean, rank_correlation  # noqa: F401
    from nclib.findings import panel, score_card  # noqa: F401
    from nclib.provenance import processor, versions  # noqa: F401
    from nclib.registry import METRICS, Metric  # noqa: F401
    from nclib.ridge import fit_ridge  # noqa: F401
    from nclib.run import book_root, start  # noqa: F401
    from nclib.studies import collapse_in_training, downstream_collapse, recipe_of, score_cost, zoo  # noqa: F401
    from nclib.styles import COLOURS, task_style  # noqa: F401
    from nclib.torchmetric import NeuralCollapse  # noqa: F401
    from nclib.tuning_studies import candidates  # noqa: F401
    from nclib.validation import held_out  # noqa: F401
    from nclib.zoos import Zoo, title  # noqa: F401

    from nclib.data import EMBEDDED, load  # noqa: F401


@pytest.mark.parametrize("old", LEFT)
def test_a_name_that_left_its_room_is_still_found_there(old):
    room, _, name = old.partition(".")
    with pytest.warns(DeprecationWarning, match=re.escape(f"nclib.{old} is in nclib.{LEFT[old]} now")):
        found = getattr(importlib.import_module(f"nclib.{room}"), name)
    assert found is getattr(importlib.import_module(f"nclib.{LEFT[old]}"), name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_old_path_gives_all_of_its_names_and_no_second_copy_of_a_module():
    names = {}
    exec("from nclib.claims import *", names)
    assert {"Claim", "judge", "rank_correlation"} <= names.keys()
    assert {"Claim", "judge", "rank_correlation"} <= set(dir(importlib.import_module("nclib.claims")))
    with pytest.raises(ModuleNotFoundError, match=r"'nclib\.scales' is not a package"):
        importlib.import_module("nclib.scales.demo")


def test_nothing_else_is_found_by_an_old_path():
    with pytest.raises(ModuleNotFoundError, match=r"nclib\.nonsense"):
        importlib.import_module("nclib.nonsense")


def test_the_library_does_not_name_the_experiments():
    """Imports are held by import-linter; here it is words, but for the table of old paths and the lazy names."""
    files = [path for room in LIBRARY for path in (PACKAGE / room).rglob("*.py")]
    files += [path for path in PACKAGE.glob("*.py") if path.stem not in ("cli", "naming")]
    assert len(files) > 60
    assert [path for path in files if "experiments" in path.read_text()] == []


def test_the_library_takes_nothing_through_its_root():
    """Which loads lazily what it is asked for, experiments too, so that import-linter would not see it."""
    found, own = [], {*ROOMS, "__version__"}
    files = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "experiments"]
    assert len(files) > 60
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "nclib":
                found += [f"{path.name}: {alias.name}" for alias in node.names if alias.name not in own]
            if isinstance(node, ast.Import):
                found += [f"{path.name}: {alias.name}" for alias in node.names if alias.name == "nclib"]
    assert found == []


def unpicklers(path: Path) -> list[str]:
    """What a file calls or imports that could unpickle an object."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "pd.read_pickle"):
            safe = {f"{keyword.arg}={ast.unparse(keyword.value)}" for keyword in node.keywords}
            found += [] if safe & {"weights_only=True", "allow_pickle=False"} else [ast.unparse(node)]
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = {f"{module}.{alias.name}" if module else alias.name for alias in node.names}
            kinds = ("pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib.load", "torch.load", "numpy.load")
            found += sorted(name for name in names - {"pickle.UnpicklingError"} if name.startswith(kinds))
    return found


def test_no_file_is_unpickled(tmp_path):
    """Which SECURITY.md promises."""
    files = list(PACKAGE.rglob("*.py"))
    assert {path.name: calls for path in files if (calls := unpicklers(path))} == {}
    bad = tmp_path / "bad.py"
    bad.write_text("import pickle\nfrom joblib import load\ntorch.load(path)\nnp.load(path, mmap_mode='r')\n")
    assert len(unpicklers(bad)) == 4


def texts_without_encoding(path: Path) -> list[int]:
    """The lines of a file in which a text file is read or written in whatever encoding the machine has."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and "encoding" not in {keyword.arg for keyword in node.keywords}:
            given = len(node.args) + len(node.keywords)
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            # Those of Pillow, tarfile and safetensors give no text; a mode of bytes has a b.
            words = {name, *(arg.value for arg in node.args if isinstance(arg, ast.Constant))}
            opened = name == "open" and ast.unparse(node.func) not in ("Image.open", "tarfile.open", "self._open")
            binary = any("b" in str(word) for word in words - {name})
            if (name == "read_text" and not given) or (name == "write_text" and given < 2) or (opened and not binary):
                found.append(node.lineno)
    return found


def test_text_files_are_utf_8_on_every_machine():
    files = [path for folder in ("nclib", "workflow", "benchmarks") for path in (PACKAGE.parent / folder).rglob("*.py")]
    assert len(files) > 100
    assert {path.name: lines for path in files if (lines := texts_without_encoding(path))} == {}


def test_who_imports_whom_is_as_it_should_be():
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-logo"], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
