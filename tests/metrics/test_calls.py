"""Calls of metrics with other arguments than they take: the cure is a call that works."""

import inspect

import pytest
import torch

import nclib

FEATURES, LABELS = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4
STATISTICS = nclib.class_statistics(FEATURES, LABELS)
HOMES = ("nclib.metrics", "nclib.transferability.class_scores", "nclib.transferability.feature_scores")
HOMES += ("nclib.transferability.pair_scores", "nclib.transferability.source_scores", "nclib.complexity.bound")
NOT_METRICS = {"class_statistics", "measure", "over_models", "poincare_constant"}  # more is said of these elsewhere
METRICS = [
    name
    for name in nclib.__all__
    if inspect.isfunction(getattr(nclib, name)) and getattr(nclib, name).__module__.startswith(HOMES)
    if name not in NOT_METRICS
]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_shows_its_call(name):
    with pytest.raises(TypeError, match=rf"^{name} takes other arguments: nclib\.{name}\(.+\)$"):
        getattr(nclib, name)(*[FEATURES] * 9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: nclib.nc1(FEATURES, LABELS),
        lambda: nclib.nc2(FEATURES, LABELS),
        lambda: nclib.cdnv(features=FEATURES, labels=LABELS),
        lambda: nclib.logme(FEATURES.numpy(), LABELS.numpy()),
        lambda: nclib.directional_cdnv(FEATURES, LABELS),
        lambda: nclib.sfda(STATISTICS),
        lambda: nclib.class_ranks(STATISTICS),
        lambda: nclib.leep(FEATURES.softmax(1), LABELS),
        lambda: nclib.nce(FEATURES.softmax(1), LABELS),
    ],
)
def test_what_an_error_says_works(call):
    given = {"features": FEATURES, "labels": LABELS, "probabilities": FEATURES.softmax(1), "nclib": nclib}
    with pytest.raises(TypeError, match="takes other arguments") as raised:
        call()
    eval(str(raised.value).partition(": ")[2], given)


def test_a_slip_of_another_kind_is_pythons_own_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'rtoll'"):
        nclib.nc1(STATISTICS, rtoll=0.1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'delt'"):
        nclib.lidar(FEATURES, LABELS, delt=0.1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'weight'"):
        nclib.nc4(STATISTICS, FEATURES)
    with pytest.raises(TypeError, match=r"^stats are Tensor; they must be class statistics"):
        nclib.nc3(FEATURES, LABELS)


def test_a_ridge_probe_of_features_in_place_of_statistics_says_so():
    with pytest.raises(TypeError, match="stats are Tensor; they must be class statistics"):
        nclib.RidgeProbe().fit_statistics(FEATURES)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("call", [lambda: nclib.vci(STATISTICS.merge(STATISTICS)), lambda: nclib.nc1(STATISTICS)])
def test_what_fits_is_as_it_was(call):
    assert call() >= 0


@pytest.mark.parametrize("score", [lambda: nclib.vci(LITTLE), lambda: nclib.sfda(torch.eye(4), [0, 0, 1, 1])])
def test_a_warning_is_of_the_line_that_calls_the_metric(score):
    with pytest.warns(UserWarning, match="says nothing") as caught:
        score()
    assert [each.filename for each in caught] == [__file__]


LITTLE = nclib.class_statistics(torch.eye(4), [0, 0, 1, 1])
