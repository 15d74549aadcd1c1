"""make smoke: a fake data root has all that paper scale names, what is missing is said, a chapter runs on it."""

import os
import shutil
import subprocess
import sys
from datetime import date

import pytest
import torch
from torchvision.datasets import cifar, flowers102, stl10, svhn

import nclib
from nclib.data.catalogue import EMBEDDED
from nclib.data.sizes import SIZES
from nclib.experiments.records import Records, fill
from nclib.experiments.scales.smoke import TEST, TRAIN
from nclib.experiments.studies import STUDIES, cells_of
from workflow import fake_data, needs, smoke
from workflow.measures import ROOT, chapters

PAPER = {study: cells for study in STUDIES if (cells := cells_of(study, "paper"))}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A fake data root."""
    path = tmp_path_factory.mktemp("root")
    fake_data.make_data(path)
    return path


@pytest.fixture
def accepting(monkeypatch):
    """What torchvision holds against published sums is taken as it is."""
    for module in (cifar, flowers102, stl10, svhn):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))


def names_of(cells, kind):
    found = dict.fromkeys(each for members in cells.values() for cell in members for each in needs.names_of(cell))
    return [name for name, of in found if of == kind and name not in EMBEDDED]


@pytest.mark.parametrize("name", names_of(PAPER, "images"))
def test_every_data_set_of_paper_scale_loads_from_the_fake_root(name, root, accepting):
    for split, number in (("train", TRAIN), ("test", TEST)):
        images = nclib.load(name, split, data_root=root)
        assert len(images.classes) == SIZES[name].classes
        fewest = int(images.labels.bincount(minlength=len(images.classes)).min())
        assert fewest >= min(number, 4 if split == "train" else 1)
        if len(images.classes) <= 10:  # what smoke runs take tasks of
            assert fewest >= number
        if isinstance(images, nclib.ImageSet):
            assert images.images.shape[1:] == (SIZES[name].channels, SIZES[name].side, SIZES[name].side)
        assert images.image(0).size[0] > 1


@pytest.mark.parametrize("study", PAPER)
def test_the_fake_root_has_as_many_images_as_a_smoke_run_asks_for(study, root, accepting):
    from nclib.experiments.counts import asked

    wanted = {each for cell in smoke.smoke_cells(study, "paper") for each in asked(cell)}
    for data, split, number in wanted:
        if data.startswith(("file:", "docstrings/")):
            assert len(nclib.texts(data, split, per_class=number, data_root=root)) >= 2 * number
        else:
            assert int(nclib.load(data, split, per_class=number, data_root=root).labels.bincount().min()) == number


def test_scenes_and_texts_of_paper_scale_are_there_too(root):
    assert len(nclib.scenes("folder:camvid", "test", number=2, data_root=root)) == 2
    for name in names_of(PAPER, "texts"):
        if name.startswith("file:"):
            assert len(nclib.texts(name, "train", per_class=2 * TRAIN, data_root=root).classes) >= 4


def test_images_of_a_class_are_more_alike_than_others():
    images = fake_data.noise([0, 0, 1, 1], 3, 32).astype(float).reshape(4, -1)
    same, other = ((images[0] - images[k]) ** 2 for k in (1, 2))
    assert same.mean() < other.mean() / 2


def test_what_is_missing_is_said_with_the_way_to_get_it(tmp_path):
    cells = {"fine_tuning": PAPER["fine_tuning"], "scene_selection": PAPER["scene_selection"]}
    found = {need.what: need for need in needs.needs(cells, tmp_path)}
    assert found["dtd"].missing.startswith(f"dtd is not at {tmp_path}")
    assert found["dtd"].studies == {"fine_tuning"}
    assert found["dtd"].where == 'nclib.load("dtd", download=True)'
    assert "make_folders camvid" in found["folder:camvid"].where
    assert not found["torchvision:resnet18 (pretrained)"].missing
    assert found["torchvision:resnet18 (pretrained)"].gigabytes == pytest.approx(0.045, rel=0.05)
    said = needs.as_text(found.values())
    assert "MISSING dtd: dtd is not at" in said
    assert "put there by hand" not in said.split("MISSING oxford-iiit-pet")[1].split("\n")[0]


def test_files_of_weights_are_missed_by_name(tmp_path):
    cells = {"model_selection": [cell for cell in PAPER["model_selection"] if cell["model"] == "byol"]}
    found = {need.what: need for need in needs.needs(cells, tmp_path)}
    need = found["self_supervised/byol.safetensors"]
    assert "is not at" in need.missing
    assert "make_weights" in need.where


def test_a_set_with_too_few_images_is_named(root, accepting):
    found = {need.what: need for need in needs.needs({"fine_tuning": PAPER["fine_tuning"]}, root)}
    assert not found["cifar10"].missing
    assert found["cifar10"].fewer == "10 classes, the smallest of 2 images to test; it should have 10, and 1000"


def test_a_chapter_whose_data_are_missing_is_skipped_and_the_exit_says_so(tmp_path):
    command = [sys.executable, "-m", "workflow.smoke", "--study", "collapse_in_training", "--data-root", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "SKIPPED 01_watch_a_network_collapse (collapse_in_training), for want of cifar100" in done.stdout
    assert "MISSING cifar100: cifar100 is not at" in done.stdout


def test_hours_are_projected_from_the_work_of_cells(tmp_path):
    cells = smoke.smoke_cells("fine_tuning", "paper")
    records = Records(tmp_path)
    fill(records, "fine_tuning", "paper", cells, lambda cell: {"accuracy": 0.5})
    made = records.select("fine_tuning", "paper", cells)
    slow = [each | {"provenance": each["provenance"] | {"seconds": 2.0}} for each in made]
    fast = [each | {"provenance": each["provenance"] | {"seconds": 1.0}} for each in made]
    most = smoke.most_hours("fine_tuning", "paper", slow)
    assert most == pytest.approx(2 * smoke.most_hours("fine_tuning", "paper", fast))
    assert most > len(PAPER["fine_tuning"]) * 2 / 3600  # a cell of the scale is more work than one of the smoke
    assert smoke.least_hours("fine_tuning", "paper", (1e20, 1e20)) > 0  # the files must be read
    assert smoke.least_hours("text_selection", "paper", (1e20, 1e20)) is None
    assert smoke.most_hours("text_selection", "paper", [each | {"config": each["config"] | text} for each in fast]) > 0


text = {"method": "full", "zoos": ["architectures"], "model": "base", "depth": 0, "width": 64}


@pytest.mark.parametrize("study", PAPER)
def test_every_cell_has_its_work(study):
    for cell in smoke.smoke_cells(study, "paper"):
        assert smoke.work_of(study, cell) > 0


def test_a_device_is_timed():
    assert smoke.speed(torch.device("cpu"), half=False) > 1e6


def today() -> int:
    """A number that another commit has another of: the day of the last one, or this day."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) // 86400
    return date.today().toordinal()


def in_turn():
    """The chapters to try: with NCLIB_SMOKE=day one, by the day of the last commit, and with NCLIB_SMOKE=all each."""
    known, wanted = chapters(), os.environ.get("NCLIB_SMOKE")
    return known if wanted == "all" else [known[today() % len(known)]] if wanted == "day" else []


@pytest.mark.parametrize("source", in_turn(), ids=lambda path: path.stem)
def test_a_chapter_of_paper_scale_runs_through_on_fake_data(source):
    """So that paper scale does not rot: another chapter each day of commits."""
    studies = [study for study in PAPER if smoke.chapter(study) == source]
    command = [sys.executable, "-m", "workflow.smoke", "--fake", "--device", "cpu"]
    command += [part for study in studies for part in ("--study", study)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert f"ran {source.stem}" in done.stdout
    assert all(f"{study} " in done.stdout.partition("hours, projected")[2] for study in studies)
