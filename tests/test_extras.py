"""Packages of extras: each that is missing is named with the command that installs it, and nothing else is needed."""

import ast
import builtins
import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

import nclib
from nclib.extras import DISTRIBUTION, EXTRAS, optional

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nclib"
MODEL = torch.nn.Sequential(
    torch.nn.Conv2d(3, 3, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 5)
)
FROZEN = {"nclib/experiments/inference.py"}  # start asks for what it imports


def a_table(folder: Path) -> Path:
    from nclib.features.files import write_arrow

    write_arrow(folder / "t.parquet", [(torch.eye(2).numpy(), torch.arange(2).numpy())])
    return folder / "t.parquet"


def torchmetric(folder):
    sys.modules.pop("nclib.metrics.torchmetric", None)
    importlib.import_module("nclib.metrics.torchmetric")


def glued(folder):
    from nclib.experiments.prose import glue

    glue("name", 1)


TAKERS = {
    "lora_tuning": ("peft", lambda folder: nclib.lora_tuning(MODEL, 2)),
    "adapter_tuning": ("peft", lambda folder: nclib.adapter_tuning(MODEL, None, 2)),
    "text_encoder": ("transformers", lambda folder: nclib.text_encoder("folder:none")),
    "NeuralCollapse": ("torchmetrics", torchmetric),
    "arrow_statistics": ("pyarrow", lambda folder: nclib.arrow_statistics(folder / "t.parquet")),
    "arrow_batches": ("pyarrow", lambda folder: list(nclib.arrow_batches(folder / "t.parquet"))),
    "texts": ("pyarrow", lambda folder: nclib.texts(f"file:{folder / 't.parquet'}")),
    "load": ("datasets", lambda folder: nclib.load("hf:pets")),
    "start": ("statsmodels", lambda folder: nclib.start(root=folder)),
    "glue": ("myst_nb", glued),
}


@pytest.fixture
def hide(monkeypatch):
    """Hides a package as if it were not installed."""
    usual = builtins.__import__

    def hidden(package):
        def missing(name, *more, **options):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return usual(name, *more, **options)

        monkeypatch.setattr(builtins, "__import__", missing)
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, package, None)

    return hidden


@pytest.mark.parametrize(("package", "take"), TAKERS.values(), ids=TAKERS.keys())
def test_what_is_missing_is_named_with_the_command_that_installs_it(package, take, hide, tmp_path):
    before = sys.modules.get("nclib.metrics.torchmetric")
    if package == "pyarrow":
        a_table(tmp_path)
    hide(package)
    cure = re.escape(f'{package} is needed, and is not installed: pip install "nctransfer[{EXTRAS[package]}]"')
    try:
        with pytest.raises(ModuleNotFoundError, match=cure):
            take(tmp_path)
    finally:
        if before:
            sys.modules["nclib.metrics.torchmetric"] = before


def test_a_tuned_file_of_an_adapter_and_the_command_line_say_it_too(hide, tmp_path):
    from typer.testing import CliRunner

    from nclib.cli import app

    nclib.save_tuned(tmp_path / "tuned.safetensors", nclib.lora_tuning(MODEL, 2))
    file = a_table(tmp_path)
    hide("peft")
    with pytest.raises(ImportError, match=r'pip install "nctransfer\[peft\]"'):
        nclib.load_tuned(tmp_path / "tuned.safetensors", MODEL)
    hide("pyarrow")
    done = CliRunner().invoke(app, ["measure", str(file)])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert 'pip install "nctransfer[arrow]"' in done.stderr


def test_a_package_that_is_there_but_broken_says_why():
    with (
        pytest.raises(
            ImportError, match=r"peft is needed, and cannot be imported \(no libfoo\): pip install"
        ) as caught,
        optional("peft"),
    ):
        raise ImportError("no libfoo")
    assert not isinstance(caught.value, ModuleNotFoundError)


def distribution(package: str) -> str:
    return package.replace("_", "-")


def test_every_extra_installs_what_it_is_named_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert distribution(package) in {Requirement(line).name for line in extras[extra]}, package


@pytest.mark.skipif(not any(distributions(name=DISTRIBUTION)), reason="nclib is imported, but not installed")
def test_the_command_finds_the_extras_of_what_is_installed():
    """And takes no other package of the name from an index."""
    asked = f"{DISTRIBUTION}[peft,arrow]"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", asked]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "does not provide the extra" not in done.stderr


def imports(node: ast.AST, within: tuple[str, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """The packages that code imports, each with those that it asks for around it; what is for type checkers is none."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return []
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        within += tuple(c.args[0].value for c in calls if getattr(c.func, "id", "") == "optional")
    found = [(alias.name.partition(".")[0], within) for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        found.append((node.module.partition(".")[0], within))
    return found + [each for child in ast.iter_child_nodes(node) for each in imports(child, within)]


def test_the_library_imports_what_is_optional_by_one_way_and_nothing_undeclared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = {"pillow": "PIL", "scikit-learn": "sklearn", "lazy-loader": "lazy_loader"}
    modules |= {"huggingface-hub": "huggingface_hub"}
    always = {modules.get(name, name) for name in (Requirement(line).name for line in project["dependencies"])}
    found = 0
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(ROOT).as_posix() in FROZEN:
            continue
        for package, within in imports(ast.parse(path.read_text())):
            if package not in sys.stdlib_module_names | always | {"nclib"}:
                assert package in within, f"{path.name}: {package}"
                found += 1
    assert found >= 6
