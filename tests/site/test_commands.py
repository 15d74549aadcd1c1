"""The commands that the book and the README give: those that a new reader pastes run, and all others name what is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jupytext
import papermill
import pytest
import typer
import yaml

from nclib.cli import app
from nclib.experiments.records import Records
from nclib.experiments.run import LIVE_AT, ONLY, RECORDS_AT
from workflow.execute import agreements

ROOT = Path(__file__).parents[2]
FRONT = ROOT / "notebooks" / "00_score_card.py"
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.py"))]


def commands(page: Path) -> list[str]:
    """The lines of a page's bash blocks; those that go on are one."""
    text = re.sub(r"^# ?", "", page.read_text(), flags=re.MULTILINE) if page.suffix == ".py" else page.read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


GIVEN = [(page.name, line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize("kind", ["papermill ", "nclib ", "make "])
def test_pages_give_commands_of_every_kind(kind):
    """Else the tests below would look at nothing."""
    assert len({page for page, line in GIVEN if kind in line}) >= 2


@pytest.mark.parametrize(("page", "line"), [pair for pair in GIVEN if "papermill " in pair[1]])
def test_parameters_of_a_notebook_are_its_own(page, line):
    words = shlex.split(line)
    notebook = ROOT / words[1 + next(i for i, word in enumerate(words) if word.endswith("papermill"))]
    given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
    known = papermill.inspect_notebook(str(notebook))
    assert given.keys() <= known.keys()
    assert given.get("scale", "demo") in ("demo", "lab", "paper")


@pytest.mark.parametrize(("page", "line"), [pair for pair in GIVEN if re.search(r"(^|-m )nclib ", pair[1])])
def test_options_of_the_command_line_are_known(page, line):
    name, *words = shlex.split(re.split(r"(?:^|-m )nclib ", line)[1])
    command = typer.main.get_command(app).commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    command.make_context(name, words)  # raises for what it cannot understand


@pytest.mark.parametrize(("page", "line"), [pair for pair in GIVEN if pair[1].startswith("make ")])
def test_what_is_made_can_be_made(page, line):
    targets = [word for word in shlex.split(line)[1:] if "=" not in word]
    rules = re.findall(r"^([\w./]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) <= set(rules)


@pytest.mark.parametrize(("page", "line"), [pair for pair in GIVEN if "snakemake " in pair[1]])
def test_settings_of_a_grid_are_known(page, line):
    words = shlex.split(line)
    given = dict(word.split("=", 1) for word in words[words.index("--config") + 1 :])
    settings = yaml.safe_load((ROOT / "workflow" / "grid.yaml").read_text())
    assert given.keys() <= settings.keys()
    assert all(isinstance(yaml.safe_load(text), type(settings[name])) for name, text in given.items())


PINNED = f"typer=={version('typer')}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.skipif(not PINNED, reason="another typer writes the page in another way")
def test_the_page_of_commands_is_that_of_the_program(tmp_path):
    command = [Path(sys.executable).with_name("typer"), "nclib.cli", "utils", "docs", "--name", "nclib"]
    subprocess.run([*command, "--title", "Commands", "--output", tmp_path / "cli.md"], check=True, capture_output=True)
    assert (tmp_path / "cli.md").read_text() == (ROOT / "book" / "cli.md").read_text()


def test_what_a_grid_tells_its_runs_is_not_taken_from_a_user(tmp_path):
    (tmp_path / "said.mk").write_text(f"include {ROOT / 'Makefile'}\nsaid:\n\t@env\n")
    told = dict.fromkeys((ONLY, RECORDS_AT, LIVE_AT), "mine") | {"NCLIB_CACHE": "mine"}
    command = ["make", "-C", str(ROOT), "-f", str(tmp_path / "said.mk"), "said"]
    said = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^(NCLIB_\w+)=mine$", said, re.MULTILINE) == ["NCLIB_CACHE"]


def test_a_notebook_runs_again_when_the_form_it_is_written_in_has_changed():
    needed = re.search(r"^_build/executed/%:(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert {"workflow/execute.py", "workflow/plain.py", "notebooks/jupytext.toml"} <= {*needed}


def test_workflows_make_what_can_be_made():
    rules = re.findall(r"^([\w./]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = set()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        steps = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
        made |= {line.split()[1] for line in steps if line.startswith("make ")}
    assert {"test", "lint", "book", "links", "reproduce"} <= made <= set(rules)


def test_a_new_reader_reruns_a_finding_by_copy_and_paste(tmp_path):
    """In a copy of the checkout: what the front page says, word by word."""
    if subprocess.run(["make", "-q", ".venv/installed"], cwd=ROOT).returncode:
        pytest.skip("make would install anew into .venv, from the copy")
    for part in ("book", "notebooks", "workflow"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for part in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / part, tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    records = Records(tmp_path / "book" / "records")
    before = [each for each in records.read("collapse_in_training", "demo") if each["seed"] != 3]  # a reader's, perhaps
    records.path("collapse_in_training", "demo").unlink()
    records.merge(before)
    pasted, said = commands(FRONT), ""
    assert [line.split()[0] for line in pasted] == ["make", "make", ".venv/bin/papermill"]
    for line in pasted:
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    assert "the live check agrees with the records: True" in said
    for run in (tmp_path / "_build" / "runs" / "01_watch_a_network_collapse.ipynb", tmp_path / "out.ipynb"):
        assert agreements(jupytext.read(run)) == ["the live check agrees with the records: True"]
    after = records.read("collapse_in_training", "demo")
    assert after[:-1] == before
    assert after[-1]["seed"] == 3
