"""A cell that is killed, and killed again, ends with the record of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from torch.optim.optimizer import register_optimizer_step_pre_hook

from nclib.devices import double_precision
from nclib.experiments.run import Run, start
from nclib.experiments.scales import check
from nclib.experiments.studies import LIVE, live_cell
from nclib.models import recipes
from nclib.peft import finetuning
from workflow.measures import ROOT, chapter, measures

STUDIES = ("collapse_in_training", "fine_tuning", "geometric_complexity", "model_selection")


def stop():
    raise KeyboardInterrupt


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def attempt(study, root, moment=0, end=stop):
    """Measure the live cell of a study, up to a step of an optimizer at which all ends; how many steps were made."""
    steps, measure = [], measure_of(study)

    def step(*given):
        steps.append(given)
        if len(steps) == moment:
            end()

    run = replace(start(root=root, device="cpu"), scale="check", settings=check.SCALE, seeds=(0,), cache=root / "cache")
    hook = register_optimizer_step_pre_hook(step)
    with ExitStack() as stack:
        stack.callback(hook.remove)
        stack.enter_context(patch.object(Run, "cells", lambda self, name: [live_cell(name)] if name in LIVE else []))
        for module in (recipes, finetuning):
            stack.enter_context(patch.object(module, "_SAVE_EVERY", 0.0))
        stack.enter_context(double_precision())
        run.study(study, measure)
    return len(steps)


@cache
def measure_of(study):
    return measures(chapter(study))[study]


def metrics(study, root):
    """What was recorded, but for the time that it took."""
    (record,) = start(root=root, device="cpu").records.read(study, "check")
    return {name: value for name, value in record["metrics"].items() if not name.startswith("seconds")}


@cache
def undisturbed(study):
    """What is recorded, and how many steps it takes."""
    with TemporaryDirectory() as folder:
        steps = attempt(study, Path(folder))
        return metrics(study, Path(folder)), steps


@pytest.mark.parametrize("study", STUDIES)
def test_a_cell_that_is_stopped_three_times_ends_with_the_record_of_an_undisturbed_run(study, tmp_path):
    wanted, steps = undisturbed(study)
    chance = random.Random(study)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            attempt(study, tmp_path, chance.randint(1, steps // 3))
    assert attempt(study, tmp_path) <= steps
    assert metrics(study, tmp_path) == wanted
    assert list((tmp_path / "cache" / "unfinished").iterdir()) == []


@pytest.mark.parametrize("study", ["collapse_in_training", "fine_tuning"])
def test_a_cell_that_was_killed_goes_on(study, tmp_path):
    """kill -9 in the second half."""
    wanted, steps = undisturbed(study)
    moment = random.Random(study).randint(steps // 2 + 1, steps)
    code = f"from tests.experiments import test_killed as here; here.attempt({study!r}, here.Path({str(tmp_path)!r}), "
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", f"{code}{moment}, here.kill)"], cwd=ROOT, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert attempt(study, tmp_path) < steps
    assert metrics(study, tmp_path) == wanted
