"""Disks that are full and folders that nobody may write: a clear error, and nothing lost."""

import errno
import os
import subprocess

import pytest
import torch

import nclib
from nclib.experiments.records import Records, fill
from nclib.storage import load_tensors, save_tensors

CELLS = [{"width": 2, "seed": seed} for seed in range(4)]


def double(cell):
    return {"value": 2.0 * cell["seed"]}


def long(cell):
    return {"values": [1 / 3] * 5000}


@pytest.fixture
def disk(tmp_path):
    """A disk of 32 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "none", tmp_path]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk, and not everywhere")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_records_outlive_a_full_disk(disk):
    records = Records(disk)
    fill(records, "toy", "demo", CELLS[:2], double)
    before = records.path("toy", "demo").read_bytes()
    with pytest.raises(OSError, match="No space left on device") as error:
        fill(records, "toy", "demo", CELLS, long)
    assert "toy-demo.jsonl is unchanged" in "".join(error.value.__notes__)
    assert records.path("toy", "demo").read_bytes() == before
    assert {path.name for path in disk.iterdir()} <= {"toy-demo.jsonl", "toy-demo.lock"}
    assert len(fill(records, "toy", "demo", CELLS, double)) == 4  # with room again, it goes on


def test_tensors_outlive_a_full_disk(disk):
    path = disk / "stats.safetensors"
    save_tensors(path, {"mean": torch.ones(100)}, {})
    with pytest.raises(Exception, match=r"(?i)no space left|bus") as error:
        save_tensors(path, {"mean": torch.zeros(100_000)}, {})
    assert "stats.safetensors is unchanged" in "".join(error.value.__notes__)
    assert torch.equal(load_tensors(path)[0]["mean"], torch.ones(100))
    assert [each.name for each in disk.iterdir()] == ["stats.safetensors"]


def test_a_cache_that_is_read_only_is_an_error_that_names_it(disk):
    backbone, digits = nclib.backbone("test_resnet", weights="random", device="cpu"), nclib.load("digits", per_class=1)
    kept = nclib.extract(backbone, digits, cache=disk / "kept")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(OSError, match=rf"Read-only file system: .*{disk.name}/new"):
        nclib.extract(backbone, digits, cache=disk / "new")
    assert torch.equal(nclib.extract(backbone, digits, cache=disk / "kept"), kept)


def test_nothing_is_measured_for_a_folder_that_is_read_only(disk):
    records, calls = Records(disk), []
    fill(records, "toy", "demo", CELLS[:2], double)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(OSError, match=r"Read-only file system: .*toy-demo"):
        fill(records, "toy", "demo", CELLS, lambda cell: calls.append(cell) or {})
    assert calls == []
    assert len(fill(records, "toy", "demo", CELLS[:2], double)) == 2  # what is there can still be read


def test_a_file_in_the_place_of_a_folder_is_noticed_before_measuring(tmp_path):
    (tmp_path / "file").write_text("no folder")
    calls = []
    with pytest.raises(OSError, match="file"):
        fill(Records(tmp_path / "file"), "toy", "demo", CELLS, lambda cell: calls.append(cell) or {})
    assert calls == []


def test_a_disk_that_fails_leaves_the_records_as_they_were(tmp_path, monkeypatch):
    records = Records(tmp_path)
    fill(records, "toy", "demo", CELLS[:2], double)
    before = records.path("toy", "demo").read_bytes()

    def fails(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        fill(records, "toy", "demo", CELLS, double)
    assert records.path("toy", "demo").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"toy-demo.jsonl", "toy-demo.lock"}
