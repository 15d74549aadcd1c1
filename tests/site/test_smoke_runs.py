"""make smoke: a fake data root has all that paper scale names, what is missing is said, a chapter runs on it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save_file
from torchvision.datasets import cifar, flowers102, stl10, svhn
from typer.testing import CliRunner

import nclib
from nclib.data.catalogue import EMBEDDED
from nclib.experiments.records import Records, fill
from nclib.experiments.scales import SCALES
from nclib.experiments.scales.smoke import TEST, TRAIN
from nclib.experiments.sizes import SIZES
from nclib.experiments.studies import STUDIES, cells_of
from nclib.storage import digest_of_text
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


def test_a_scale_that_needs_nothing_says_so():
    assert needs.as_text(needs.needs({"fine_tuning": cells_of("fine_tuning", "demo")}, None)) == (
        "nothing that is not installed"
    )


def test_files_of_weights_are_missed_by_name(tmp_path):
    cells = {"model_selection": [cell for cell in PAPER["model_selection"] if cell["model"] == "byol"]}
    found = {need.what: need for need in needs.needs(cells, tmp_path)}
    need = found["self_supervised/byol.safetensors"]
    assert "is not at" in need.missing
    assert "make_weights" in need.where


def test_a_set_with_too_few_images_is_named(root, accepting):
    found = {need.what: need for need in needs.needs({"fine_tuning": PAPER["fine_tuning"]}, root)}
    assert not found["cifar10"].missing
    assert found["cifar10"].fewer == "10 classes, the smallest of 8 images to train; it should have 10, and 5000"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stanford-cars", "196 classes, 1568 images to train; it should have 196, and 8144"),
        ("voc2007", "20 classes, 160 images to train; it should have 20, and 5011"),
    ],
)
def test_totals_are_held_against_those_of_sets_whose_smallest_class_nobody_knows(name, said, root, accepting):
    assert needs._data(name, "images", root).fewer == said


def copied(root, tmp_path, folder):
    """A data root with one folder of the fake one, to be damaged."""
    shutil.copytree(root / folder, tmp_path / folder)
    return tmp_path


HALF = {
    "dtd": "dtd/dtd/images/*/*.jpg",
    "flowers102": "flowers-102/jpg/*",
    "oxford-iiit-pet": "oxford-iiit-pet/images/*",
    "fgvc-aircraft": "fgvc-aircraft-2013b/data/images/*.jpg",
    "stanford-cars": "stanford_cars/*/*.jpg",
    "voc2007": "VOCdevkit/VOC2007/JPEGImages/*.jpg",
}


@pytest.mark.parametrize("end", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "empty"])
@pytest.mark.parametrize("name", HALF)
def test_a_set_of_which_some_images_were_extracted_is_missing(name, end, root, accepting, tmp_path):
    there = copied(root, tmp_path, HALF[name].split("/")[0])
    kept = {nclib.load(name, split, data_root=there).paths[0] for split in ("train", "test")}
    for path in set(there.glob(HALF[name])) - kept:
        end(path)
    assert "images to train are not there: " in needs._data(name, "images", there).missing


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("fgvc-aircraft", "fgvc-aircraft-2013b/data/images_variant_train.txt", "half"),
        ("fgvc-aircraft", "fgvc-aircraft-2013b/data/variants.txt", ""),
        ("fgvc-aircraft", "fgvc-aircraft-2013b/data/images_variant_train.txt", ""),
        ("voc2007", "VOCdevkit/VOC2007/Annotations/train00000.xml", "half"),
        ("sun397", "SUN397/ClassName.txt", "half"),
        ("stl10", "stl10_binary/class_names.txt", None),
        ("food101", "food-101/meta/train.json", "half"),
        ("cifar10", "cifar-10-batches-py/data_batch_1", "half"),
        ("flowers102", "flowers-102/setid.mat", ""),
    ],
)
def test_a_damaged_list_is_a_set_that_is_not_whole(name, file, content, root, accepting, tmp_path):
    path = copied(root, tmp_path, file.split("/")[0]) / file
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else b"")
    assert "not whole" in needs._data(name, "images", tmp_path).missing
    with pytest.raises(FileNotFoundError, match="not whole"):
        nclib.load(name, data_root=tmp_path)


def test_weights_that_are_empty_or_cut_off_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    name = needs.torchvision_weights("torchvision:resnet18", "pretrained").url.rpartition("/")[2]
    path = tmp_path / "checkpoints" / name
    path.parent.mkdir()
    torch.save(torch.zeros(1000), path)
    whole = path.read_bytes()
    assert needs._weights("torchvision:resnet18", "pretrained", None).state == "there"
    for content, said in ((b"", "is empty"), (whole[:600], "is not whole")):
        path.write_bytes(content)
        need = needs._weights("torchvision:resnet18", "pretrained", None)
        assert (need.missing, need.where) == (f"{path} {said}", f"delete {path}; it is {needs.FETCHED}")
    save_file({"a": torch.zeros(1000)}, tmp_path / "byol.safetensors")
    whole = (tmp_path / "byol.safetensors").read_bytes()
    assert not needs._weights("byol", "byol.safetensors", tmp_path).missing
    for content, said in ((b"", "is empty"), (whole[:600], "is not whole")):
        (tmp_path / "byol.safetensors").write_bytes(content)
        assert said in needs._weights("byol", "byol.safetensors", tmp_path).missing


def test_a_folder_of_a_model_has_its_files(tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    need = needs._weights("folder:encoder[:2]", "pretrained", tmp_path)
    assert need.missing == f"{folder} has no config.json; {folder} has no *.safetensors"
    (folder / "config.json").write_text("{}")
    save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
    assert needs._weights("folder:encoder[:2]", "pretrained", tmp_path).state == "there"


def test_a_fake_root_of_an_older_source_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(fake_data, "WRITERS", {"some": lambda root: fake_data._lines(root / "some", [])})
    (tmp_path / "whole").touch()
    (tmp_path / "old").touch()
    fake_data.make_data(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"some", "accepting", "whole"}
    monkeypatch.setattr(fake_data, "WRITERS", {"some": lambda root: pytest.fail("made again")})
    fake_data.make_data(tmp_path)


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


@pytest.mark.parametrize(("scale", "study"), [(scale, study) for scale in SCALES for study in STUDIES])
def test_every_cell_of_every_scale_has_its_work_and_hours(scale, study):
    if not (cells := smoke.smoke_cells(study, scale)):
        return
    work = smoke.work_of(study, [*cells_of(study, scale), *cells])
    assert all(work(cell) > 0 for cell in cells)
    made = {"provenance": {"seconds": 1.0}}
    tried = [made | {"config": {k: v for k, v in cell.items() if k != "seed"}, "seed": 0} for cell in cells]
    assert smoke.most_hours(study, scale, tried) > 0
    least = smoke.least_hours(study, scale, (1e13, 1e13))
    assert least is None or least > 0


def test_operations_of_paper_scale_are_counted_where_it_is_about_images():
    counted = {study for study, cells in PAPER.items() if smoke.is_counted(study, cells)}
    assert PAPER.keys() - counted == {"score_cost", "scene_selection", "text_selection"}


def test_a_device_is_timed():
    assert smoke.speed(torch.device("cpu"), half=False) > 1e6


SMOKE = typer.Typer()
SMOKE.command()(smoke.main)


@pytest.fixture
def trying(monkeypatch, tmp_path):
    """Smoke runs of chapters that record what they are told: `measure(cell)` of each of a study's small cells."""
    monkeypatch.setattr(smoke, "FOLDER", tmp_path / "smoke")
    monkeypatch.setattr(smoke, "speed", lambda device, half: 1e11)
    monkeypatch.setattr(smoke, "lacking", lambda cells, data_root: [])
    monkeypatch.setattr(smoke, "tell_needs", lambda cells, scale, data_root: (False, False))

    def told(measure, studies=(), said=""):
        def chapter(source, parameters):
            for study in studies:
                fill(Records(smoke.FOLDER / "records"), study, "paper", smoke.smoke_cells(study, "paper"), measure)
            return said

        monkeypatch.setattr(smoke, "run_chapter", chapter)
        return CliRunner().invoke(SMOKE, ["--study", "fine_tuning", "--device", "cpu"])

    return told


CHAPTER_5 = ("fine_tuning", "data_scarcity", "tuned_layer", "forced_collapse")


@pytest.mark.filterwarnings("ignore:.* cells of")
def test_a_method_that_fails_in_every_cell_is_said_and_fails_the_run(trying):
    def measure(cell):
        if cell["method"] == "full" and "collapse_tuned" not in cell:
            raise RuntimeError("out of memory")
        return {"accuracy": 0.5}

    assert trying(lambda cell: {"accuracy": 0.5}, CHAPTER_5).exit_code == 0
    done = trying(measure, CHAPTER_5)
    assert done.exit_code == 1
    assert "FAILED 05_fine_tune" in done.output
    assert "a cell of fine_tuning failed: RuntimeError: out of memory: {'" in done.output
    assert "hours, projected" in done.output


def test_a_study_that_was_not_measured_fails_the_run(trying):
    done = trying(lambda cell: {"accuracy": 0.5}, [study for study in CHAPTER_5 if study != "tuned_layer"])
    assert done.exit_code == 1
    number = len(smoke.smoke_cells("tuned_layer", "paper"))
    assert f"cells of tuned_layer that were not measured: {number}" in done.output


def test_a_chapter_that_ends_before_it_begins_has_no_seconds_of_another(trying):
    trying(lambda cell: {"accuracy": 0.5}, CHAPTER_5)
    done = trying(None, said="the kernel died")
    assert done.exit_code == 1
    assert "the kernel died" in done.output
    assert "hours" not in done.output


@pytest.mark.parametrize("options", [[], ["--fake"]])
@pytest.mark.parametrize(
    ("missing", "beyond", "said"), [(["cifar10"], False, "SKIPPED 05"), ([], True, "ran 05")], ids=["skip", "vain"]
)
def test_a_chapter_that_is_skipped_or_asks_for_too_much_fails_the_run(
    missing, beyond, said, options, trying, monkeypatch
):
    monkeypatch.setattr(smoke, "lacking", lambda cells, data_root: missing)
    monkeypatch.setattr(smoke, "tell_needs", lambda cells, scale, data_root: (beyond, False))
    monkeypatch.setattr(fake_data, "make", lambda root, cells: None)
    monkeypatch.setattr(smoke, "run_chapter", lambda *given: "")
    monkeypatch.setattr(smoke, "failures", lambda *given: [])
    done = CliRunner().invoke(SMOKE, ["--study", "fine_tuning", "--device", "cpu", *options])
    assert done.exit_code == 1
    assert said in done.output


def test_more_than_there_is_is_said(capsys):
    cell = {"data": "cifar100", "train_per_class": 900, "test_per_class": None}
    assert smoke.tell_needs({"fine_tuning": [cell]}, "paper", None) == (True, True)
    assert "MORE THAN THERE IS fine_tuning: 900 train images per class of cifar100" in capsys.readouterr().out


def test_a_chapter_is_tried_with_all_its_studies_and_what_they_need(tmp_path):
    done = CliRunner().invoke(SMOKE, ["--study", "score_cost", "--data-root", str(tmp_path), "--device", "cpu"])
    assert done.exit_code == 1
    assert "SKIPPED 06_which_model_should_i_fine_tune (model_selection, score_cost), for want of" in done.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--study", "nonsense"], "paper scale has no study nonsense; it has "),
        (["--study", "encoder_selection"], "paper scale has no study encoder_selection; it has "),
        (["--scale", "nonsense"], "there is no scale 'nonsense'; there are demo, lab, paper"),
        (["--device", "nonsense"], "device 'nonsense' is not known"),
        (["--imports", "no_such_module"], "no_such_module could not be imported"),
        (["--imports", "no_such_file.py"], "to import"),
    ],
)
def test_bad_options_say_what_there_is_before_anything_is_made(options, said, monkeypatch):
    monkeypatch.setattr(smoke, "tell_needs", lambda *given: pytest.fail("begun"))
    done = CliRunner().invoke(SMOKE, options, terminal_width=300)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())


def commit() -> int:
    """A number that another commit has another of, whatever the day; 0 outside a repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    there = shutil.which("git") and (ROOT / ".git").exists()
    return int(digest_of_text(subprocess.check_output(command, text=True)), 16) if there else 0


def in_turn():
    """The chapters to try: with NCLIB_SMOKE=one that of the last commit, and with NCLIB_SMOKE=all each."""
    known, wanted = chapters(), os.environ.get("NCLIB_SMOKE")
    return known if wanted == "all" else [known[commit() % len(known)]] if wanted == "one" else []


@pytest.mark.parametrize("source", in_turn(), ids=lambda path: path.stem)
def test_a_chapter_of_paper_scale_runs_through_on_fake_data(source):
    """So that paper scale does not rot: another commit tries another chapter."""
    studies = [study for study in PAPER if smoke.chapter(study) == source]
    command = [sys.executable, "-m", "workflow.smoke", "--fake", "--device", "cpu"]
    command += [part for study in studies for part in ("--study", study)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert f"ran {source.stem}" in done.stdout
    assert all(f"{study} " in done.stdout.partition("hours, projected")[2] for study in studies)
