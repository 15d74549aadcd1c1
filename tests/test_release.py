"""What is released, under which name and version, and by workflows that may do no more than they must."""

import email
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import nclib
from nclib.extras import DISTRIBUTION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = {path.stem: path.read_text() for path in sorted((ROOT / ".github" / "workflows").iterdir())}
JOBS = {f"{name}.{key}": job for name, text in WORKFLOWS.items() for key, job in yaml.safe_load(text)["jobs"].items()}
# What a job may do beyond reading the repository, and none of these checks it out.
RIGHTS = {
    "book.publish": {"pages": "write", "id-token": "write"},
    "release.attest": {"id-token": "write", "attestations": "write"},
    "release.publish": {"id-token": "write"},
    "release.announce": {"contents": "write"},
}


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


def test_the_package_is_whole_and_typed_and_nothing_else(built, tmp_path_factory):
    sdist, wheel, modules = built
    assert wheel.name == f"nctransfer-{nclib.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        told = {name: archive.read(name) for name in names}
    assert {"nclib/py.typed", "nclib/__init__.pyi"} < modules <= names
    assert {name.split("/")[0] for name in names} == {"nclib", f"{wheel.name.split('-py3')[0]}.dist-info"}
    assert [name for name in names if bytes(tmp_path_factory.getbasetemp()) in told[name]] == []
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    beside = {"pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "setup.cfg", "setup.py", ""}
    assert modules | beside <= held
    assert {name for name in held if name.split("/")[0] not in ("nclib", "nctransfer.egg-info")} == beside


@pytest.mark.parametrize("url", ["", "https://github.com/someone/toy"])
def test_the_links_of_the_readme_lead_somewhere_on_a_package_index(url, tmp_path):
    for name in ("README.md", "LICENSE", "setup.py", "pyproject.toml", "nclib/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    without = re.sub(r"^\[project\.urls\]\n(?:.+\n)*", "", (ROOT / "pyproject.toml").read_text(), flags=re.M)
    (tmp_path / "pyproject.toml").write_text(without + (f'[project.urls]\nRepository = "{url}"\n' if url else ""))
    code = f"import os; os.chdir({str(tmp_path)!r}); import setuptools.build_meta as b"
    run(sys.executable, "-c", f"{code}; b.prepare_metadata_for_build_wheel({str(tmp_path)!r})")
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    told = email.message_from_string(metadata.read_text(encoding="utf-8"))
    assert told["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", told.get_payload())
    inside = [link for link in links if not link[1].startswith("https://arxiv.org")]
    assert len(inside) >= 12
    for picture, link in inside:
        start = f"{url}/{'raw' if picture else 'blob'}/main/" if url else ""
        assert link.startswith(start)
        assert (ROOT / link.removeprefix(start)).exists()


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


def test_it_is_installed_as_nctransfer_and_imported_as_nclib():
    """And no page or message says to install nclib, which is another project's on the package index."""
    assert PROJECT["name"] == DISTRIBUTION == "nctransfer"
    assert PROJECT["scripts"] == {"nclib": "nclib.cli:app"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    texts = (".py", ".pyi", ".md", ".yml", ".toml", ".ipynb", ".cff", ".txt", "Makefile", "Dockerfile")
    files = [ROOT / name for name in listed.split("\n") if name.endswith(texts) and name != "tests/test_release.py"]
    extras = "|".join(PROJECT["optional-dependencies"])
    asked = re.compile(rf"pip install [^`\n]*\bnclib\b(?![./])|\bnclib\[({extras})[],]")
    assert len(files) > 200
    assert [path.name for path in files if path.exists() and asked.search(path.read_text(encoding="utf-8"))] == []


def test_there_is_one_version():
    assert "version" not in PROJECT
    assert nclib.__version__ == yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert nclib.__version__ == re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]


def test_the_version_does_not_hang_on_what_is_installed():
    """A checkout on the path has none installed, or that of another project of the name."""
    code = "import importlib.metadata as m; m.version = None; from nclib.cli import app; app(['--version'])"
    assert run(sys.executable, "-c", code, PYTHONPATH=str(ROOT)) == f"nclib {nclib.__version__}\n"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_workflow_uses_is_pinned_to_a_commit(name):
    used = [line.partition("uses:")[2].strip() for line in WORKFLOWS[name].splitlines() if "uses:" in line]
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []
    everywhere = set(re.findall(r"uses: (\S+@.*)", "\n".join(WORKFLOWS.values())))
    assert len({use.split("@")[0] for use in everywhere}) == len(everywhere), "one action in two versions"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_itself_may_do_nothing(name):
    assert yaml.safe_load(WORKFLOWS[name])["permissions"] == {}
    assert "pull_request_target" not in WORKFLOWS[name]
    assert "secrets." not in WORKFLOWS[name]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_may_do_no_more_than_it_must(name):
    job = JOBS[name]
    checkouts = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert job.get("permissions", {}) == RIGHTS.get(name, {"contents": "read"} if checkouts else {})
    assert not (name in RIGHTS and checkouts), "what can write runs no code of the repository"
    assert all(options["persist-credentials"] is False for options in checkouts)
    assert [step["run"] for step in job["steps"] if "${{" in step.get("run", "")] == []


def test_a_release_is_tried_on_every_python_that_is_named_before_it_is_published():
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if each.startswith("Programming Language")]
    assert JOBS["release.try"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"
    order = ["build", "try", "attest", "publish", "announce"]
    assert [JOBS[f"release.{job}"].get("needs") for job in order] == [None, *order[:-1]]


def test_the_tools_of_a_release_are_pinned_and_those_of_pre_commit():
    lines = (ROOT / ".github" / "requirements.txt").read_text().splitlines()
    pins = {each.name: str(each.specifier) for each in map(Requirement, lines[1:])}
    assert pins.keys() >= {"build", "twine", "zizmor", "cyclonedx-bom"}
    assert all(re.fullmatch(r"==[\d.]+", pin) for pin in pins.values())
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][-1]["hooks"]
    (zizmor,) = (hook for hook in hooks if hook["id"] == "zizmor")
    assert zizmor["additional_dependencies"] == [f"zizmor{pins['zizmor']}"]
