"""`nclib measure`: every format, and a message and an exit code for every bad file."""

import json
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


def test_json_is_the_dictionary_and_infinity_is_text(tmp_path):
    np.savez(tmp_path / "x.npz", features=np.eye(4)[[0, 1, 0, 1, 2, 3]], labels=np.array([0, 0, 1, 1, 2, 2]))
    found = json.loads(run(tmp_path / "x.npz", "--json").stdout)
    assert found["metrics"]["cdnv"] == "inf"
    assert found["num_samples"] == 6


class Harmful:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("gone.npz", lambda path: None, "there is no file"),
        ("x.csv", lambda path: path.write_text("1,2"), "it must be one of .npz, .npy, .safetensors, .pt"),
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
        ("x.pt", lambda path: torch.save(torch.eye(3), path), "is no mapping"),
        ("x.npy", lambda path: np.save(path, np.eye(3)), "a file of labels goes with features in an .npy file"),
    ],
)
def test_a_bad_file_ends_with_one_line_and_exit_code_1(tmp_path, name, write, message):
    write(tmp_path / name)
    result = run(tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith("nclib: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
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
    ],
)
def test_extract_says_what_is_wrong(change, message):
    arguments = {0: "test_vit", 1: "digits", 2: "out.npz"} | change
    result = CliRunner().invoke(app, ["extract", *arguments.values(), "--weights", "random"])
    assert result.exit_code == 1
    assert message in result.output
