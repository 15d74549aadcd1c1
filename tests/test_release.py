"""What is released: source distribution and wheel build, and install into an empty environment."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, **environment):
    # From a folder without the sources, so that what is installed is what is imported.
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=Path.home(), env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution of the committed files, the wheel that is built of it, and the package's files."""
    folder, clone = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("clone")
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    code = f"import os; os.chdir({str(clone)!r}); import setuptools.build_meta as b; b.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", code)
    (sdist,) = folder.glob("*.tar.gz")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, sdist)
    (wheel,) = folder.glob("*.whl")
    files = subprocess.run(["git", "ls-files", "nclib"], cwd=clone, check=True, capture_output=True, text=True)
    return sdist, wheel, set(files.stdout.split())


def test_the_package_is_whole_and_typed(built):
    sdist, wheel, modules = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "nclib/py.typed" in modules <= names
    assert {name.split("/")[0] for name in names} == {"nclib", f"{wheel.name.split('-py3')[0]}.dist-info"}
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert modules | {"pyproject.toml", "README.md", "LICENSE"} <= held


def test_the_wheel_works_in_an_empty_environment(built, tmp_path):
    """With the dependencies of this one, which take minutes to install."""
    venv.create(tmp_path, with_pip=False)
    bin_folder = tmp_path / ("Scripts" if os.name == "nt" else "bin")
    run(sys.executable, "-m", "pip", "--python", bin_folder / "python", "install", "-q", "--no-deps", built[1])
    packages = {"PYTHONPATH": sysconfig.get_paths()["purelib"]}  # there an editable nclib is not looked for
    where = run(bin_folder / "python", "-c", "import nclib; print(nclib.__file__)", **packages)
    assert Path(where.strip()).is_relative_to(tmp_path)
    code = "import nclib, torch; print(nclib.measure(torch.eye(4).repeat(3, 1), [0, 1, 2, 3] * 3)['nc1'])"
    assert float(run(bin_folder / "python", "-c", code, **packages)) == pytest.approx(0, abs=1e-12)
    assert "rank" in run(bin_folder / "nclib", "--help", **packages)
