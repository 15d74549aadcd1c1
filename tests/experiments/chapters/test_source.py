"""Chapter 2: panels of networks that differ in one setting, and which of them a claim is about."""

import numpy as np
import pandas as pd
import pytest

from nclib.experiments import studies
from nclib.experiments.chapters import source
from nclib.experiments.claims import judge


def toy_study() -> pd.DataFrame:
    """Four epochs x two seeds of one recipe and three weight decays, on the source and two tasks."""
    base = {"source": "s", "per_class": None, "width": 2, "projection": 0, "loss": "l", "batch_size": 2}
    base |= {"learning_rate": 0.1, "schedule": "c", "augmentation": 0.0, "blocks": 1}
    varied = [(epochs, 0.0) for epochs in (0, 1, 2, 4)] + [(2, decay) for decay in (0.1, 0.2, 0.3)]
    rows = []
    for epochs, decay in varied:
        for seed in (0, 1):
            recipe = base | {"epochs": epochs, "weight_decay": decay, "seed": seed}
            for task, accuracy in (("s", 1.0), ("a", epochs / 10), ("b", epochs / 5)):
                rows.append(recipe | {"task": task, "nc1": 10.0 - epochs + decay, "accuracy": accuracy})
    return pd.DataFrame(rows)


def test_a_panel_varies_one_setting_and_keeps_the_base():
    nets = source.networks(toy_study())
    assert len(nets) == 14
    assert source.panel(nets, "epochs")["epochs"].tolist() == [0, 0, 1, 1, 2, 2, 4, 4]
    assert source.panel(nets, "weight_decay")["weight_decay"].unique().tolist() == [0.0, 0.1, 0.2, 0.3]
    assert source.panel(nets, "epochs")["transfer"].tolist() == pytest.approx([0, 0, 0.15, 0.15, 0.3, 0.3, 0.6, 0.6])


def test_longer_training_with_lower_nc1_and_better_transfer_makes_a3_hold():
    a3 = next(c for c in studies.CLAIMS if c.key == "A3")
    verdict = judge(a3, toy_study())
    assert verdict.word == "holds"
    assert verdict.estimate.value == pytest.approx(-1)


def test_only_networks_trained_in_full_speak_of_the_extent():
    nets = source.networks(toy_study())
    assert source.fully_trained(nets)["epochs"].unique().tolist() == [2]
    parts = source.thirds(np.array([5.0, 1.0, 3.0, 2.0, 4.0, 0.0]))
    assert [part.tolist() for part in parts] == [[5, 1], [3, 2], [4, 0]]
