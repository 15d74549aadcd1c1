"""`nclib measure`: every format, and a message and an exit code for every bad file."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import nclib
from nclib.cli import app
from nclib.features.files import write_features
from nclib.storage import replacing
from nclib.transferability.ranked import Ranking

FEATURES = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)) + torch.arange(3).repeat(10).unsqueeze(1)
TABLE = {"features": FEATURES, "labels": torch.arange(3).repeat(10), "weight": torch.eye(3, 4), "bias": torch.zeros(3)}
ARRAYS = {name: tensor.numpy() for name, tensor in TABLE.items()}
SAVE = {
    ".npz": lambda path: np.savez(path, **ARRAYS),
    ".safetensors": lambda path: save_file(TABLE, path),
    ".pt": lambda path: torch.save(TABLE, path),
}


def run(*arguments: object):
    return CliRunner().invoke(app, ["measure", *map(str, arguments)])


@pytest.mark.parametrize("suffix", SAVE)
def test_every_format_gives_the_table(tmp_path, suffix):
    SAVE[suffix](tmp_path / f"x{suffix}")
    result = run(tmp_path / f"x{suffix}")
    assert (result.exit_code, result.stdout) == (0, f"{nclib.measure(**TABLE)}\n")


def test_a_pair_of_arrays_gives_the_table_without_a_classifier(tmp_path):
    for name in ("features", "labels"):
        np.save(tmp_path / f"{name}.npy", ARRAYS[name])
    result = run(tmp_path / "features.npy", tmp_path / "labels.npy", "--metrics", "nc1, cdnv")
    expected = nclib.measure(TABLE["features"], TABLE["labels"], metrics=["nc1", "cdnv"])
    assert (result.exit_code, result.stdout) == (0, f"{expected}\n")


def test_json_is_the_dictionary_and_infinity_is_null(tmp_path):
    np.savez(tmp_path / "x.npz", features=np.eye(4)[[0, 1, 0, 1, 2, 3]], labels=np.array([0, 0, 1, 1, 2, 2]))
    printed = run(tmp_path / "x.npz", "--json").stdout
    assert "Infinity" not in printed
    found = json.loads(printed)
    assert found["metrics"]["cdnv"] is None
    assert found["metrics"]["nc1_ratio"] > 0
    assert found["num_samples"] == 6


class Harmful:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("gone.npz", lambda path: None, "there is no file"),
        ("x.csv", lambda path: path.write_text("1,2"), "it must be one of .npz, .npy, .safetensors, .pt, .parquet"),
        ("x.npz", lambda path: path.write_bytes(b"PK"), "not a readable .npz file"),
        ("x.safetensors", lambda path: path.write_bytes(b"12345678"), "not a readable .safetensors file"),
        (
            "x.npz",
            lambda path: np.savez(path, labels=np.zeros(3, int), rows=np.eye(3)),
            "it must hold features and labels",
        ),
        ("x.npz", lambda path: np.savez(path, **ARRAYS | {"labels": np.zeros(4, int)}), "must be (N, d) and (N,)"),
        ("x.npz", lambda path: np.savez(path, **ARRAYS | {"features": np.full((30, 4), np.nan)}), "NaN or infinity"),
        (
            "x.npz",
            lambda path: np.savez(path, **ARRAYS | {"features": np.ones((30, 4), int)}),
            "must be floating point",
        ),
        ("x.npz", lambda path: np.savez(path, **ARRAYS | {"features": np.array([Harmful()])}), "not a readable .npz"),
        ("x.pt", lambda path: torch.save({"features": Harmful()}, path), "not a readable .pt file"),
        (
            "x.pt",
            lambda path: torch.save(ARRAYS, path),
            "torch.save({'features': torch.as_tensor(features), ...}, path)",
        ),
        ("x.pt", lambda path: torch.save(torch.nn.Linear(2, 2), path), "it holds more than tensors, which could run"),
        ("x.pt", lambda path: path.write_bytes(pickle.dumps(ARRAYS)), "it holds more than tensors, which could run"),
        ("x.pt", lambda path: path.write_bytes(b"abc"), "it holds more than tensors, which could run"),
        ("x.npz", lambda path: path.write_bytes(pickle.dumps(ARRAYS)), "it holds more than arrays of numbers"),
        (
            "x.npz",
            lambda path: np.savez(path, **ARRAYS | {"labels": np.array(["a"], object)}),
            "np.savez(path, features",
        ),
        ("x.pt", lambda path: torch.save(torch.eye(3), path), "holds no dict"),
        ("x.npy", lambda path: np.save(path, np.eye(3)), "is given with no file of labels; an .npy file of features"),
    ],
)
def test_a_bad_file_ends_with_one_line_and_exit_code_1(tmp_path, name, write, message):
    write(tmp_path / name)
    result = run(tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith("nclib: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr
    assert "weights_only" not in result.stderr
    assert "allow_pickle" not in result.stderr
    assert "unpickled" not in result.output


def test_a_truncated_file_is_a_bad_file(tmp_path):
    for suffix, save in SAVE.items():
        path = tmp_path / f"x{suffix}"
        save(path)
        path.write_bytes(path.read_bytes()[:-40])
        assert run(path).exit_code == 1


def test_bad_usage_ends_with_exit_code_2():
    assert run().exit_code == 2
    assert run("x.npz", "--colour").exit_code == 2


def test_the_version_is_printed():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"nclib {nclib.__version__}\n")


def test_a_table_of_many_classes_fits_a_hundred_columns(tmp_path):
    features, labels = torch.randn(1500, 4), torch.arange(1500) % 900  # of 1200 classes
    table = {"features": features, "labels": labels, "weight": torch.randn(1200, 4), "bias": torch.zeros(1200)}
    np.savez(tmp_path / "x.npz", **{name: tensor.numpy() for name, tensor in table.items()})
    printed = run(tmp_path / "x.npz").stdout
    assert max(map(len, printed.splitlines())) <= 100
    assert "300 of 1200 classes have no samples" in printed


def test_the_command_is_installed():
    command = Path(sys.executable).with_name("nclib")
    assert "measure" in subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_extract_writes_what_measure_reads(tmp_path, suffix):
    file = tmp_path / f"features.{suffix}"
    arguments = ["test_vit", "digits", str(file), "--weights", "random", "--device", "cpu", "--per-class", "5"]
    result = CliRunner().invoke(app, ["extract", *arguments, "--layer", "-1"])
    assert result.exit_code == 0, result.output
    assert "50 images, 10 classes, 64 features" in result.output
    measured = CliRunner().invoke(app, ["measure", str(file)])
    assert "50 samples, 10 classes, 64 features" in measured.output


def test_a_table_that_nclib_wrote_is_refused_if_it_has_changed(tmp_path):
    file = tmp_path / "features.safetensors"
    write_features(file, [(torch.eye(2), torch.tensor([0, 1]))])
    assert "2 samples, 2 classes, 2 features" in run(str(file)).output
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "does not match its digest" in run(str(file)).output


def test_metadata_of_others_may_be_anything(tmp_path):
    save_file(TABLE, tmp_path / "x.safetensors", metadata={"metadata": "not JSON"})
    assert run(str(tmp_path / "x.safetensors")).exit_code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: "no_such_model"}, "timm has no model 'no_such_model'"),
        ({1: "folder:no/such"}, "no/such"),
        ({2: "out.pt"}, "out.pt ends in '.pt'; it must be one of .safetensors, .npz, .parquet"),
        ({1: ""}, "name is '', which is empty; it must be a text, such as 'folder:PATH'"),
        ({1: "folder:"}, "folder: names no path; give one, folder:PATH"),
    ],
)
def test_extract_says_what_is_wrong(change, message):
    arguments = {0: "test_vit", 1: "digits", 2: "out.npz"} | change
    result = CliRunner().invoke(app, ["extract", *arguments.values(), "--weights", "random"])
    assert result.exit_code == 1
    assert message in result.output


def test_what_statistics_are_written_to_is_one_kind_of_file():
    done = CliRunner().invoke(app, ["statistics", "test_vit", "digits", "out.npz", "--weights", "random"])
    assert (done.exit_code, done.stderr) == (1, "nclib: out.npz ends in '.npz'; it must be .safetensors\n")


def test_labels_of_their_own_are_an_npy_file(tmp_path):
    np.save(tmp_path / "x.npy", ARRAYS["features"])
    np.save(tmp_path / "y.npy", np.array(["cat", None] * 15, dtype=object))
    (tmp_path / "y.csv").write_text("0\n1")
    assert (
        "y.csv ends in '.csv'; labels are an .npy file: np.save(" in run(tmp_path / "x.npy", tmp_path / "y.csv").stderr
    )
    assert "arrays of numbers, or texts after astype(str)" in run(tmp_path / "x.npy", tmp_path / "y.npy").stderr


def test_nobody_is_told_to_delete_a_file_of_their_own(tmp_path):
    (tmp_path / "mine.csv").write_text("text,label\n")
    done = CliRunner().invoke(app, ["extract", f"recipe:{tmp_path / 'mine.csv'}", "digits", str(tmp_path / "x.npz")])
    assert done.exit_code == 1
    assert "is not a whole safetensors file" in done.stderr
    assert "; delete it" not in done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp437"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_every_terminal_can_show_the_table(tmp_path, encoding, more):
    SAVE[".npz"](tmp_path / "x.npz")
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "nclib", "measure", str(tmp_path / "x.npz"), *more]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    if encoding == "cp1252" and not more:
        lines = done.stdout.decode("cp1252").splitlines()
        assert any(line.endswith("[0, inf), lower is more collapsed") for line in lines)
        assert any("[0, sqrt2]" in line for line in lines)


def test_what_a_terminal_lacks_is_told_by_its_number(tmp_path):
    done = CliRunner(charset="cp1252").invoke(app, ["measure", str(tmp_path / "Москва é.npz")])
    assert done.exit_code == 1
    assert "\\u041c\\u043e\\u0441\\u043a\\u0432\\u0430 é.npz" in done.stderr


@pytest.fixture
def pictures(tmp_path):
    """Pictures of two digits, one of them broken."""
    digits = nclib.load("digits", per_class=6)
    for i, label in enumerate(digits.labels.tolist()):
        if label < 2:
            (tmp_path / "pictures" / str(label)).mkdir(parents=True, exist_ok=True)
            digits.image(i).save(tmp_path / "pictures" / str(label) / f"{i}.png")
    (tmp_path / "pictures" / "1" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "pictures"


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("command", ["extract", "statistics"])
def test_a_broken_picture_is_left_out_and_told(pictures, tmp_path, command, suffix):
    file = tmp_path / f"x.{suffix if command == 'extract' else 'safetensors'}"
    arguments = [command, "test_vit", str(pictures), str(file), "--weights", "random", "--device", "cpu"]
    done = CliRunner().invoke(app, [*arguments, "--split", "all"])
    assert done.exit_code == 0, done.output
    assert "nclib: 1 image could not be read and was left out: " in done.stderr
    assert "broken.png" in done.stderr
    assert "12 images, 2 classes" in done.stdout
    assert "12 samples, 2 classes, 64 features" in run(file).stdout


@pytest.mark.parametrize("command", ["extract", "statistics"])
def test_a_split_of_our_own_is_told(pictures, tmp_path, command):
    arguments = [command, "test_vit", str(pictures), str(tmp_path / "x.safetensors"), "--weights", "random"]
    said = "has no split 'train', so 80% of each class are taken; the split 'all' takes every image"
    assert said in " ".join(CliRunner().invoke(app, arguments).stderr.split())
    for chosen in ("all", "train"):
        assert "are taken" not in CliRunner().invoke(app, [*arguments, "--split", chosen]).stderr


def test_a_class_of_broken_pictures_is_an_error(pictures, tmp_path):
    (pictures / "2").mkdir()
    (pictures / "2" / "also.png").write_bytes(b"no picture")
    arguments = ["extract", "test_vit", str(pictures), str(tmp_path / "x.npz"), "--weights", "random", "--split", "all"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "no image of class 2 can be read" in done.stderr
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize("command", ["extract", "statistics"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("test_vit*", "'test_vit*' stands for"),
        ("popular", "'popular' stands for 10 models"),
        ("resnt18", "timm has no model 'resnt18'; similar names are resnet18"),
    ],
)
def test_one_model_is_taken_and_its_name_checked_first(command, model, message):
    done = CliRunner().invoke(app, [command, model, "folder:no/such", "x.safetensors", "--weights", "random"])
    assert done.exit_code == 1
    assert message in done.stderr
    assert "no/such" not in done.stderr


def test_what_is_for_images_only_is_refused_for_texts():
    arguments = ["extract", "some/encoder", "docstrings/libraries", "x.npz", "--weights", "random", "--seed", "3"]
    done = CliRunner().invoke(app, arguments)
    assert "--weights, --seed can be given only for images, and docstrings/libraries holds texts" in done.stderr


def test_what_is_for_texts_only_is_refused_for_images():
    done = CliRunner().invoke(app, ["extract", "test_vit", "digits", "x.npz", "--text-column", "review"])
    assert done.exit_code == 1
    assert "--text-column and --label-column can be given only for texts; digits holds images" in done.stderr


@pytest.mark.parametrize(("layers", "asked"), [("all", "all"), ("--2", "--2"), ("-1,nope", "nope")])
def test_layers_that_are_not_there_are_named_as_they_were_given(layers, asked):
    arguments = ["--data", "digits", "--per-class", "2", "--models", "test_vit", "--weights", "random"]
    done = CliRunner().invoke(app, ["rank", *arguments, f"--layers={layers}"])
    assert done.exit_code == 1
    assert f"has no layer {asked!r}" in done.stderr


def test_a_file_that_cannot_be_written_in_the_end_is_one_line(tmp_path, monkeypatch):
    def full(self, path):
        with replacing(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Ranking, "write", full)
    arguments = ["--data", "digits", "--per-class", "2", "--models", "test_vit", "--weights", "random", "--no-sure"]
    done = CliRunner().invoke(app, ["rank", *arguments, "--csv", str(tmp_path / "x.csv")])
    assert done.exit_code == 1
    assert done.stdout.startswith("test_vit leads")
    assert "No space left on device; while writing" in done.stderr


@pytest.mark.parametrize("mark", ["utf-16", "latin-1"])
def test_a_list_of_models_that_is_no_utf_8_is_told(tmp_path, mark):
    (tmp_path / "models.txt").write_text("test_vit # für mich", encoding=mark)
    done = CliRunner().invoke(app, ["rank", "--data", "digits", "--models-from", str(tmp_path / "models.txt")])
    assert done.exit_code == 1
    assert "models.txt is not a text in UTF-8" in done.stderr


@pytest.mark.parametrize("file", ["texts.csv", "gone.csv", "texts.jsonl", "texts.parquet", "notes.md"])
@pytest.mark.parametrize("command", ["extract", "statistics", "rank"])
def test_a_file_in_the_place_of_data_says_how_data_is_named(tmp_path, monkeypatch, command, file):
    monkeypatch.chdir(tmp_path)
    for name in ("texts.csv", "notes.md"):
        (tmp_path / name).write_text("text,label\na,b\n")
    arguments = {"rank": ["--data", file, "--models", "bert"]}.get(command, ["bert", file, "x.safetensors"])
    done = CliRunner().invoke(app, [command, *arguments])
    assert done.exit_code == 1
    assert (
        f"{file} is the path of a file, not the name of a data set: a table of texts is file:{file}, for" in done.stderr
    )
    assert f"nclib.labelled(pandas.read_csv('{file}'))" in done.stderr
    assert "timm" not in done.stderr
    with pytest.raises(ValueError, match=f"a table of texts is file:{file}"):
        nclib.load(file)


def test_a_table_of_texts_without_its_prefix_is_told_in_python():
    with pytest.raises(ValueError, match=r"'t\.csv' does not name texts; .* a table is named 'file:t\.csv'"):
        nclib.texts("t.csv")


def test_brackets_behind_a_folder_take_classes_but_for_a_folder_that_is_called_so(pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    (pictures / "1" / "broken.png").unlink()
    for name in ("pictures[0:1]", "folder:pictures[0:1]"):
        arguments = ["extract", "test_vit", name, "x.npz", "--weights", "random", "--device", "cpu", "--split", "all"]
        assert "x.npz: 6 images, 1 class, 64 features" in CliRunner().invoke(app, arguments).output
    (pictures.parent / "pictures[0:1]").symlink_to(pictures)
    with pytest.warns(UserWarning, match=r"folder:pictures\[0:1\] is the folder of this name, not some classes of"):
        assert nclib.load("folder:pictures[0:1]", "all").classes == ("0", "1")


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_table_fits_the_terminal_and_nothing_is_lost(tmp_path, columns):
    np.savez(tmp_path / "x.npz", **ARRAYS)
    done = CliRunner().invoke(
        app, ["measure", str(tmp_path / "x.npz"), "--metrics", "all"], env={"COLUMNS": str(columns)}
    )
    assert max(map(len, done.stdout.splitlines())) <= columns
    printed = "".join(done.stdout.split())
    for name, value in nclib.measure(**TABLE, metrics="all").items():
        assert name in printed
        assert f"{value:.6g}" in printed
        assert "".join(nclib.METRICS[name].reading.split()) in printed


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_messages_fit_the_terminal_and_stay_one_line_in_a_pipe(columns):
    arguments = ["measure", "x.csv"]
    plain = CliRunner().invoke(app, arguments).stderr
    wrapped = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)}).stderr
    assert plain.count("\n") == 1
    assert max(map(len, wrapped.splitlines())) <= columns
    assert "".join(wrapped.split()) == "".join(plain.split())
