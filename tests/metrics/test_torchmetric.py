"""The torchmetrics metric: the same numbers as `measure`, in batches, saved, and over two processes."""

import copy
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing import spawn
from torchmetrics import MetricCollection

import nclib
from nclib.metrics.torchmetric import NeuralCollapse

FEATURES = torch.randn(90, 6, generator=torch.Generator().manual_seed(0)) + torch.arange(3).repeat(30).unsqueeze(1)
LABELS = torch.arange(3).repeat(30)


def fed(metric: NeuralCollapse, rows: slice = slice(None)) -> NeuralCollapse:
    for features, labels in zip(FEATURES[rows].split(16), LABELS[rows].split(16), strict=True):
        metric.update(features, labels)
    return metric


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_batches_give_what_measure_gives(covariance):
    found = fed(NeuralCollapse(6, 3, covariance=covariance)).compute()
    expected = nclib.measure(nclib.class_statistics(FEATURES, LABELS, covariance=covariance))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(dict(expected), rel=1e-10)


def test_reset_forgets_and_forward_gives_the_value_of_the_batch():
    metric = fed(NeuralCollapse(6, 3, metrics=["nc1"]))
    before = metric.compute()
    batch = metric(FEATURES[:30] + 5, LABELS[:30])
    assert float(batch["nc1"]) == pytest.approx(nclib.measure(FEATURES[:30], LABELS[:30], metrics=["nc1"])["nc1"])
    assert metric.compute() != before
    metric.reset()
    assert metric.statistics.num_samples == 0
    assert fed(metric).compute() == before


def test_the_precision_of_the_features_is_kept():
    metric = NeuralCollapse(6, 3)
    metric.update(FEATURES.half(), LABELS)
    assert metric.statistics.precision == torch.finfo(torch.float16).eps


def test_a_saved_metric_goes_on():
    metric = NeuralCollapse(6, 3)
    metric.persistent(True)
    fed(metric, slice(0, 48))
    resumed = NeuralCollapse(6, 3)
    resumed.persistent(True)
    resumed.load_state_dict(metric.state_dict())
    assert float(fed(resumed, slice(48, None)).compute()["nc1"]) == pytest.approx(
        float(fed(NeuralCollapse(6, 3)).compute()["nc1"])
    )


def test_it_works_in_a_collection_and_with_what_statistics_give():
    collection = MetricCollection({"collapse": NeuralCollapse(6, 3, metrics=["nc1", "cdnv"])})
    collection.update(FEATURES, LABELS)
    assert set(collection.compute()) == {"nc1", "cdnv"}
    stats = fed(NeuralCollapse(6, 3)).statistics
    assert nclib.nc3(stats, torch.eye(3, 6)) == pytest.approx(nclib.measure(FEATURES, LABELS, torch.eye(3, 6))["nc3"])


def test_one_class_is_an_error():
    metric = NeuralCollapse(6, 3)
    metric.update(FEATURES, LABELS * 0)
    with pytest.raises(ValueError, match="at least 2 are needed, 1 was given"):
        metric.compute()


def test_a_batch_of_one_class_is_nan_and_loses_nothing():
    metric = NeuralCollapse(6, 3, metrics=["nc1", "cdnv"])
    metric(FEATURES[LABELS < 2], LABELS[LABELS < 2])
    batch = metric(FEATURES[LABELS == 2], LABELS[LABELS == 2])
    assert set(batch) == {"nc1", "cdnv"}
    assert all(value.isnan() for value in batch.values())
    expected = nclib.measure(FEATURES, LABELS, metrics=["nc1", "cdnv"])
    assert {name: float(value) for name, value in metric.compute().items()} == pytest.approx(dict(expected))
    assert all(value.isnan() for value in NeuralCollapse(6, 3)(FEATURES[:1], LABELS[:1]).values())
    with pytest.raises(ValueError, match="labels"):
        metric(FEATURES[:2], torch.tensor([0, 9]))
    assert metric.statistics.num_samples == 90


def test_a_classifier_gives_nc3_of_its_weight_as_it_is():
    head = torch.nn.Linear(6, 3)
    metric = fed(NeuralCollapse(6, 3, metrics=["nc3", "nc2_weight"], classifier=head))
    for copied in (metric, metric.clone(), copy.deepcopy(metric)):
        assert float(copied.compute()["nc3"]) == pytest.approx(nclib.measure(FEATURES, LABELS, head.weight)["nc3"])
    copies = [metric.clone(), copy.deepcopy(metric)]
    with torch.no_grad():
        head.weight.copy_(torch.eye(3, 6))
    for copied in copies:
        assert float(copied.compute()["nc3"]) == pytest.approx(nclib.measure(FEATURES, LABELS, torch.eye(3, 6))["nc3"])
    assert not list(metric.parameters())
    module = torch.nn.ModuleDict({"head": head, "collapse": metric})
    assert copy.deepcopy(module)["collapse"]._head.layer is not head
    with pytest.raises(ValueError, match=r"weight is \(3, 5\); it must be \(3, 6\), classes by features"):
        NeuralCollapse(6, 3, classifier=torch.nn.Linear(5, 3))


def test_it_is_drawn():
    metric = fed(NeuralCollapse(6, 3, metrics=["nc1", "cdnv"]))
    figure, _ = metric.plot()
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {"nc1", "cdnv"}
    several, _ = metric.plot([metric.compute(), metric.compute()])
    assert len(several.axes[0].lines) == 2


def _worker(rank: int, store: str, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    metric = fed(NeuralCollapse(6, 3), slice(0, 20) if rank == 0 else slice(20, None))
    torch.save(metric.compute(), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_compute_what_one_would(tmp_path):
    spawn(_worker, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    expected = fed(NeuralCollapse(6, 3)).compute()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert {n: float(v) for n, v in found.items()} == pytest.approx(
            {n: float(v) for n, v in expected.items()}, rel=1e-10
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_stays_float64_in_a_module_of_another_type(dtype):
    module = torch.nn.ModuleDict({"collapse": NeuralCollapse(6, 3)}).to(dtype)
    expected = fed(NeuralCollapse(6, 3)).compute()
    assert fed(module["collapse"]).compute() == expected
    module["collapse"].reset()
    assert fed(module["collapse"]).compute() == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["nc9"]}, "'nc9' is not a metric"),
        ({"metrics": ["nc3"]}, "nc3 needs weight"),
        ({"metrics": "nc1", "covariance": "diagonal"}, "nc1 needs covariance='full'"),
    ],
)
def test_what_it_cannot_compute_is_said_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        NeuralCollapse(6, 3, **options)


def test_labels_may_be_names_of_classes_in_any_order_of_batches():
    names = ["eel", "cat", "dog"]
    texts = [names[label] for label in LABELS.tolist()]
    expected = fed(NeuralCollapse(6, 3)).compute()
    metric = NeuralCollapse(6, classes=names)
    for rows in reversed(torch.arange(90).split(16)):  # the last class comes first
        metric.update(FEATURES[rows], [texts[row] for row in rows.tolist()])
    found = metric.compute()
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}
    )
    assert metric.statistics.classes == ("eel", "cat", "dog")
    assert metric(FEATURES[:30], texts[:30]).keys() == found.keys()
    with pytest.raises(TypeError, match="it is unknown which of 3 classes each of them is"):
        NeuralCollapse(6, 3).update(FEATURES, texts)
