"""Class statistics of features that are never in memory at once: by one process, by several, and after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed
from typer.testing import CliRunner

import nclib
from nclib import ClassStatistics, class_statistics, extract, feature_statistics, load
from nclib.cli import app
from nclib.features.extraction import Extraction, each_shard

MODEL = "test_resnet"
OPTIONS = {"weights": "random", "device": "cpu"}


@pytest.fixture(scope="module")
def digits():
    return load("digits")  # 901 images: two shards


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nclib.backbone(MODEL, **OPTIONS)


def assert_equal(found, expected):
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=1e-10, atol=1e-10)


def test_one_pass_gives_what_a_table_does(model, digits):
    expected = class_statistics(extract(model, digits), digits.labels)
    assert_equal(feature_statistics(model, digits), expected)
    layer = nclib.extract_layers(model, digits, [0])
    found = feature_statistics(model, digits, layer=0, covariance="diagonal")
    assert_equal(found, class_statistics(*layer.values(), digits.labels, covariance="diagonal"))


def test_a_cache_is_filled_and_read(model, digits, tmp_path):
    first = feature_statistics(model, digits, cache=tmp_path)
    files = list(tmp_path.rglob("*.safetensors"))
    assert len(files) == 2
    files[0].unlink()
    assert_equal(feature_statistics(model, digits, cache=tmp_path), first)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_two_runs_on_one_cache_do_not_mix_their_shards(model, tmp_path, monkeypatch):
    monkeypatch.setattr("nclib.features.extraction._SHARD", 4)
    images = load("digits", per_class=2)
    expected = extract(model, images)
    first, second = (each_shard(model, images, ["last"], Extraction(cache=tmp_path)) for _ in range(2))
    parts = [next(first), *second, *first]
    shards = sorted({shard: found["last"] for shard, found in parts}.items(), key=lambda pair: pair[0].start)
    torch.testing.assert_close(torch.cat([features for _, features in shards]), expected)
    torch.testing.assert_close(extract(model, images, cache=tmp_path), expected)


def test_a_process_without_a_share_adds_nothing(model, monkeypatch):
    """Of a single image, too, whose shard looks as the one that such a process passes over."""
    one = nclib.ImageSet(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.tensor([0]), ("a",))
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(ClassStatistics, "all_reduce", lambda stats: stats)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        assert feature_statistics(model, one).num_samples == 1 - rank


def test_a_file_of_statistics_is_named_so_before_any_work(tmp_path):
    for name in ("stats.npz", "no/stats.safetensors"):
        result = CliRunner().invoke(app, ["statistics", "no_such_model", "digits", str(tmp_path / name)])
        assert result.exit_code == 1
        assert "stats" in result.output
        assert "no_such_model" not in result.output


def test_images_need_labels(model):
    with pytest.raises(TypeError, match=r"images are a tensor of inputs, without labels; give \(inputs, labels\)"):
        feature_statistics(model, torch.zeros(2, 3, 32, 32))


def torchrun(folder, *arguments, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "nclib", "statistics", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # the test holds CPUs together
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipe)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, model):
    """A recipe's checkpoint, which every process reads alike."""
    folder = tmp_path_factory.mktemp("cache")
    nclib.train(nclib.Recipe(epochs=0, width=8, per_class=4), device="cpu", cache=folder, progress=False)
    return next(folder.glob("*.safetensors"))


def test_processes_have_together_what_one_has(weights, tmp_path, digits):
    run = torchrun(tmp_path, f"recipe:{weights}", "digits", "stats.safetensors", processes=3)  # one has no shard
    said, _ = run.communicate()
    assert run.returncode == 0, said
    assert "stats.safetensors: 901 images, 10 classes" in said
    expected = feature_statistics(nclib.backbone(f"recipe:{weights}", device="cpu"), digits)
    assert_equal(ClassStatistics.load(tmp_path / "stats.safetensors"), expected)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are looked up in /proc")
def test_a_killed_worker_ends_the_run_and_its_shards_are_kept(weights, tmp_path):
    cache = tmp_path / "cache"
    arguments = (f"recipe:{weights}", "glyphs/latin", "stats.safetensors", "--cache", cache)  # seven shards
    run = torchrun(tmp_path, *arguments)
    while not list(cache.rglob("*-*.safetensors")) and run.poll() is None:
        time.sleep(0.01)
    assert run.poll() is None, run.communicate()
    workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(workers[0]), signal.SIGKILL)
    said, _ = run.communicate(timeout=120)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*-*.safetensors")}
    assert run.returncode != 0
    assert "SIGKILL" in said
    assert not (tmp_path / "stats.safetensors").exists()
    again = torchrun(tmp_path, *arguments)
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert kept
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())


def test_what_is_wrong_ends_all_workers(tmp_path):
    run = torchrun(tmp_path, "no_such_model", "digits", "stats.safetensors")
    said, _ = run.communicate(timeout=120)
    assert run.returncode != 0
    assert "no model" in said
    assert not (tmp_path / "stats.safetensors").exists()


def test_the_command_line_writes_what_measure_reads(weights, tmp_path):
    stats, table = tmp_path / "stats.safetensors", tmp_path / "table.safetensors"
    for command, path in (("statistics", stats), ("extract", table)):
        result = CliRunner().invoke(app, [command, f"recipe:{weights}", "digits", str(path), "--per-class", "5"])
        assert result.exit_code == 0, result.output
    found, expected = (
        CliRunner().invoke(app, ["measure", str(path), "--metrics", "nc1,cdnv"]) for path in (stats, table)
    )
    assert found.output == expected.output
    assert "50 samples, 10 classes" in found.output
