"""Where the how-to pages run: what they print has neither times nor this machine in it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

import nclib
from nclib.experiments import scratch
from nclib.transferability.ranked import Ranking

TINY = nclib.Recipe("digits", per_class=2, width=2, epochs=1)

# What a page does, with a smaller model.
PAGE = r"""
import os, subprocess
from pathlib import Path
import nclib
from nclib.experiments import scratch

scratch.workplace()
scratch.MODELS["tiny"] = nclib.Recipe("digits", per_class=2, width=2, epochs=1)
scratch.pretrain("tiny")
scratch.write_images(nclib.load("digits", per_class=4), "photos")
asked = "nclib rank --data folder:photos --models recipe:tiny.safetensors --scores logme --device cpu"
print(subprocess.run(asked, shell=True, check=True, capture_output=True, text=True).stdout.strip(), end="\n---\n")
photos = nclib.load("folder:photos", "all")
print(nclib.rank_models(["recipe:tiny.safetensors"], photos, scores=["logme"], device="cpu"), end="\n---\n")
print(Path.cwd())
"""


def test_a_ranking_without_seconds_is_otherwise_the_same():
    table = pd.DataFrame({"gbc": [-2.0, -9.0], "seconds": [0.1, 0.2]}, index=["ours", "theirs"])
    found = scratch.without_seconds(lambda by: Ranking(table, by))("gbc")
    assert list(found.table) == ["gbc"]
    assert found.best == "ours"
    assert "seconds" not in str(found)
    assert list(table) == ["gbc", "seconds"]


def test_what_is_trained_and_written_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(scratch.MODELS, "tiny", TINY)
    scratch.pretrain("tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]
    images = nclib.load("digits", per_class=3)
    scratch.write_images(images, "photos")
    written = nclib.load("folder:photos", "all")
    assert written.classes == images.classes
    assert written.labels.bincount().tolist() == [3] * 10
    features = nclib.extract(nclib.backbone("recipe:tiny.safetensors", device="cpu"), written)
    network = nclib.train(TINY, device="cpu", progress=False)
    order = images.labels.argsort(stable=True)  # a folder's images come class by class
    torch.testing.assert_close(features, nclib.extract(network.backbone, images.inputs()[order]))


def test_the_command_and_python_print_the_same_in_a_folder_that_is_removed(tmp_path):
    done = subprocess.run([sys.executable, "-c", PAGE], cwd=tmp_path, capture_output=True, text=True, check=True)
    by_command, by_python, folder = done.stdout.strip().split("\n---\n")
    assert by_command.split() == by_python.split()  # the lines are broken for a page, or not
    assert "recipe:tiny.safetensors" in done.stdout
    assert "seconds" not in done.stdout
    assert not Path(folder).exists()
    assert not list(tmp_path.iterdir())
