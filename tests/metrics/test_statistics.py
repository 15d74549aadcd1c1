"""Class statistics: one pass in any order, batches and parts gives what one array gives."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import distributed
from torch.multiprocessing import spawn
from torch.utils.data import DataLoader, TensorDataset

import nclib
from nclib import ClassStatistics, class_statistics
from nclib.metrics.samples import with_bar
from nclib.storage import save_tensors

FIELDS = ("counts", "means", "squares", "scatter")


def sample(seed: int, num_samples: int = 60, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_samples, 5)) + shift
    return torch.from_numpy(features), torch.from_numpy(rng.integers(0, 4, num_samples))


def assert_same(a: ClassStatistics, b: ClassStatistics, rtol: float = 1e-9) -> None:
    for field in FIELDS:
        torch.testing.assert_close(getattr(a, field), getattr(b, field), rtol=rtol, atol=1e-9)


def test_statistics_are_those_of_the_definition():
    features, labels = sample(0)
    stats = class_statistics(features, labels)
    for k in range(4):
        own = features[labels == k]
        assert stats.counts[k] == len(own)
        torch.testing.assert_close(stats.means[k], own.mean(0))
        torch.testing.assert_close(stats.class_variances[k], (own - own.mean(0)).square().sum(1).mean())
    centred = features - stats.means[labels]
    torch.testing.assert_close(stats.within_covariance, centred.T @ centred / 60)
    torch.testing.assert_close(stats.global_mean, features.mean(0))


@given(st.integers(0, 1000), st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_cut_into_batches_gives_the_same(seed, cuts):
    features, labels = sample(seed)
    stats = ClassStatistics(5, 4)
    edges = [0, *sorted(cuts), 60]
    for start, stop in pairwise(edges):
        stats.update(features[start:stop], labels[start:stop])
    assert_same(stats, class_statistics(features, labels, num_classes=4))


@given(st.integers(0, 1000), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_merged_parts_in_any_order_give_the_same(seed, cut):
    features, labels = sample(seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    left = ClassStatistics(5, 4).update(features[order[:cut]], labels[order[:cut]])
    right = ClassStatistics(5, 4).update(features[order[cut:]], labels[order[cut:]])
    assert_same(right.merge(left), class_statistics(features, labels, num_classes=4))


def test_features_far_from_zero_lose_nothing():
    near, labels = sample(3)
    far = ClassStatistics(5, 4)
    for rows, classes in zip((near + 1e6).split(7), labels.split(7), strict=True):
        far.update(rows, classes)
    stats = class_statistics(near, labels)
    torch.testing.assert_close(far.scatter, stats.scatter, rtol=1e-7, atol=1e-7)
    assert nclib.nc1(far) == pytest.approx(nclib.nc1(stats), rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_floats_are_accumulated_in_float64(dtype):
    features, labels = sample(4)
    short = features.to(dtype)
    assert_same(class_statistics(short, labels), class_statistics(short.double(), labels))


def test_large_arrays_are_handled_in_blocks(monkeypatch):
    features, labels = sample(5)
    whole = class_statistics(features, labels)
    monkeypatch.setattr("nclib.metrics.samples._BLOCK", 0)
    monkeypatch.setattr("nclib.metrics.samples._LEAST_ROWS", 7)
    monkeypatch.setattr("nclib.metrics.statistics._SLAB", 11)
    assert_same(class_statistics(features, labels), whole)


def test_empty_classes_can_be_left_out():
    features, labels = sample(6)
    holey = class_statistics(features, labels * 2)
    assert_same(holey.without_empty_classes(), class_statistics(features, labels))


def test_a_class_of_one_sample_has_no_variance():
    assert class_statistics(torch.eye(2), [0, 1]).class_variances.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("features", "labels", "error", "message"),
    [
        (torch.tensor([[1.0, float("nan")]]), [0], ValueError, "features hold NaN or infinity, the first in row 0"),
        (torch.tensor([[1.0, float("inf")]]), [0], ValueError, "NaN or infinity"),
        (
            torch.tensor([[1, 2]]),
            [0],
            TypeError,
            "features are torch.int64; they must be floating point",
        ),
        (torch.eye(2), [0.0, 1.5], ValueError, "labels hold 1.5 in row 1, which is continuous"),
        (torch.eye(2), [0], ValueError, r"features \(2, 2\) and labels \(1,\) must be"),
        (torch.ones(2), [0, 1], ValueError, r"must be \(N, d\) and \(N,\)"),
        (torch.eye(2), [-1, 0], ValueError, "labels run from -1 to 0; they must be 0 or more"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), ValueError, "there are no samples"),
    ],
)
def test_bad_input_says_what_was_given_and_what_is_allowed(features, labels, error, message):
    with pytest.raises(error, match=message):
        class_statistics(features, labels)


def test_labels_outside_the_range_are_an_error():
    with pytest.raises(ValueError, match=r"labels run from 0 to 3; they must be 0\.\.2"):
        ClassStatistics(2, 3).update(torch.eye(2), [0, 3])


def test_features_of_another_width_are_an_error():
    with pytest.raises(ValueError, match="features have 2 columns; these statistics have 3"):
        ClassStatistics(3, 2).update(torch.eye(2), [0, 1])


def test_statistics_of_another_shape_do_not_merge():
    with pytest.raises(ValueError, match="2 classes x 3 features> do not merge with <full statistics of 0"):
        ClassStatistics(3, 2).merge(ClassStatistics(4, 2))
    with pytest.raises(ValueError, match=r"full statistics of .* do not merge with <diagonal statistics of"):
        ClassStatistics(3, 2).merge(ClassStatistics(3, 2, covariance="diagonal"))


def test_every_integer_type_will_do_for_labels():
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.uint16, torch.uint32):
        assert class_statistics(torch.eye(2), torch.tensor([0, 1], dtype=dtype)).counts.tolist() == [1, 1]


def test_features_with_a_gradient_give_statistics_without():
    assert not class_statistics(torch.eye(2, requires_grad=True), [0, 1]).means.requires_grad


def test_too_few_classes_are_an_error():
    with pytest.raises(ValueError, match="num_classes is 0; it must be at least 1"):
        class_statistics(torch.eye(2), [0, 1], num_classes=0)
    with pytest.raises(ValueError, match=r"num_classes is 2\.0; it must be a whole number, at least 1"):
        nclib.measure(torch.eye(2), [0, 1], num_classes=2.0)
    with pytest.raises(ValueError, match="no class was seen"):
        ClassStatistics(2, 3).update(torch.zeros(0, 2), []).without_empty_classes()


def test_a_shape_without_features_is_an_error():
    with pytest.raises(ValueError, match="num_features is 0; it must be at least 1"):
        ClassStatistics(0, 2)
    with pytest.raises(ValueError, match="num_features is '3'; it must be a whole number"):
        ClassStatistics("3", 2)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2,), "neither num_classes nor classes is given; give the number of classes, or their names"),
        ((2, 2.5), "num_classes is 2.5; it must be a whole number, at least 1"),
        (("2", 2), "num_features is '2'; it must be a whole number, at least 1"),
    ],
)
def test_sizes_that_are_none_are_an_error(sizes, message):
    with pytest.raises(ValueError, match=message):
        ClassStatistics(*sizes)


def test_a_drifting_class_loses_at_most_the_digits_of_the_number_of_samples():
    """The first sample of the class is an outlier, a million times the spread away from the others."""
    features = torch.cat([torch.full((1, 3), 1e6), sample(7, 999)[0][:, :3]]).double()
    stats = ClassStatistics(3, 1)
    for row in features:
        stats.update(row.unsqueeze(0), [0])
    centred = features - features.mean(0)
    torch.testing.assert_close(stats.scatter, centred.T @ centred, rtol=1e-10, atol=0)


def test_diagonal_statistics_are_the_full_ones_without_the_covariance():
    features, labels = sample(8)
    diagonal, full = class_statistics(features, labels, covariance="diagonal"), class_statistics(features, labels)
    assert "scatter" not in diagonal.state_dict()
    for field in ("counts", "means", "squares"):
        assert torch.equal(getattr(diagonal, field), getattr(full, field))
    assert nclib.cdnv(diagonal) == nclib.cdnv(full)
    with pytest.raises(ValueError, match="covariance='diagonal'; this metric needs 'full'"):
        nclib.nc1(diagonal)


def test_statistics_of_the_span_know_nc1_and_cannot_go_on():
    features, labels = sample(9)
    stats = class_statistics(features, labels, covariance="span")
    assert nclib.nc1(stats) == pytest.approx(nclib.nc1(class_statistics(features, labels)), rel=1e-12)
    assert nclib.cdnv(stats) == pytest.approx(nclib.cdnv(class_statistics(features, labels)), rel=1e-12)
    for action in (lambda: stats.update(features, labels), stats.state_dict, lambda: nclib.vci(stats)):
        with pytest.raises(ValueError, match="covariance='span'"):
            action()
    with pytest.raises(ValueError, match="know the variance along the span of the class means only"):
        stats.variances_along(torch.eye(5).double())
    with pytest.raises(ValueError, match="covariance is 'spam'; it must be 'full', 'diagonal' or 'span'"):
        class_statistics(features, labels, covariance="spam")


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_saved_statistics_go_on_as_if_nothing_had_happened(tmp_path, covariance):
    features, labels = sample(10)
    whole = class_statistics(features.float(), labels, covariance=covariance)
    class_statistics(features[:30].float(), labels[:30], num_classes=4, covariance=covariance).save(tmp_path / "s")
    resumed = ClassStatistics.load(tmp_path / "s").update(features[30:], labels[30:])
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=1e-6, atol=1e-6)
    assert resumed.precision == torch.finfo(torch.float32).eps
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_what_is_not_a_state_is_refused(tmp_path):
    state = class_statistics(*sample(11)).state_dict()
    with pytest.raises(ValueError, match=r"the state holds .* need"):
        ClassStatistics(5, 3).load_state_dict(state)
    with pytest.raises(ValueError, match="negative counts"):
        ClassStatistics(5, 4).load_state_dict(state | {"counts": -state["counts"]})
    save_tensors(tmp_path / "other", {"x": torch.zeros(1)}, {"kind": "features"})
    with pytest.raises(ValueError, match="does not hold class statistics but features"):
        ClassStatistics.load(tmp_path / "other")


def test_a_loader_a_generator_and_a_memory_map_give_what_one_array_gives(tmp_path):
    features, labels = sample(12, 1000)
    whole = class_statistics(features, labels)
    loader = DataLoader(TensorDataset(features, labels), batch_size=64)
    assert_same(ClassStatistics.from_batches(loader, 4), whole)
    assert_same(ClassStatistics.from_batches(((f, y) for f, y in loader), 4), whole)
    np.save(tmp_path / "features.npy", features.numpy())
    on_disk = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert_same(class_statistics(on_disk, labels, progress=True), whole)
    with pytest.raises(ValueError, match="there are no batches"):
        ClassStatistics.from_batches([], 4)


def test_a_bad_row_far_down_is_named_by_its_place_in_the_whole(tmp_path):
    features = np.zeros((6000, 128), np.float32)
    features[5001, 3] = np.inf
    with pytest.raises(ValueError, match="the first in row 5001"):
        class_statistics(features, np.zeros(6000, int))


def test_a_bad_batch_leaves_the_statistics_as_they_were():
    features, labels = sample(13)
    stats = class_statistics(features, labels)
    bad = features.clone()
    bad[-1, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        stats.update(bad, labels)
    assert_same(stats, class_statistics(features, labels), rtol=0)


def test_features_whose_squares_overflow_are_an_error_and_long_sums_are_not():
    with pytest.raises(ValueError, match=r"features reach 1.0e\+200, more than 1e\+60"):
        class_statistics(torch.full((2, 2), 1e200, dtype=torch.float64), [0, 1])
    largest = torch.full((4, 2), 3e38)  # as float32 their sum is infinite, they are not
    assert class_statistics(largest, [0, 0, 1, 1]).means.isfinite().all()


def test_a_long_pass_shows_its_progress(capsys):
    def slowly():
        for start in (0, 2):
            time.sleep(0.6)
            yield start, torch.zeros(2, 3)

    assert [start for start, _ in with_bar(slowly(), total=4)] == [0, 2]
    assert "4.00/4.00" in capsys.readouterr().err
    assert [start for start, _ in with_bar(iter([(0, torch.zeros(4, 3))]), total=4)] == [0]
    assert capsys.readouterr().err == ""


def test_classes_not_seen_are_reported():
    assert ClassStatistics(2, 4).update(torch.eye(2), [1, 3]).unseen == [0, 2]


def with_a_class_of_mean_0(features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    extra = features[:5] - features[:5].mean(0)
    return torch.cat([features, extra]), torch.cat([labels, labels.new_full((5,), 4)])


def _reduce(rank: int, file: str, covariance: str, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    features, labels = with_a_class_of_mean_0(*sample(14, 101))
    mine = slice(0, 40) if rank == 0 else slice(40, None)  # class 4, of mean 0, is on the second process alone
    stats = ClassStatistics(5, 5, covariance=covariance).update(features[mine], labels[mine])
    stats.all_reduce().save(Path(folder) / f"{rank}")
    distributed.destroy_process_group()


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_two_processes_have_what_one_would_have(tmp_path, covariance):
    spawn(_reduce, (str(tmp_path / "store"), covariance, str(tmp_path)), nprocs=2)
    first, second = (ClassStatistics.load(tmp_path / name) for name in "01")
    features, labels = with_a_class_of_mean_0(*sample(14, 101))
    whole = class_statistics(features, labels, covariance=covariance)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(first.state_dict()[name], second.state_dict()[name])
        torch.testing.assert_close(first.state_dict()[name], tensor, rtol=1e-10, atol=1e-10)


def test_labels_far_beyond_the_samples_are_an_error_and_not_a_huge_array():
    with pytest.raises(ValueError, match="the largest label is 100000000 for 2 labels; renumber the labels"):
        nclib.measure(torch.eye(2), [0, 10**8])


def test_huge_values_that_cancel_are_noticed_in_two_passes():
    features = torch.tensor([[1e160, 1.0], [-1e160, 1.0], [0.0, 2.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"features reach 1.0e\+160"):
        class_statistics(features, [0, 0, 1], covariance="span")


def test_reversed_and_foreign_arrays_are_read():
    features, labels = sample(15)
    whole = class_statistics(features, labels)
    assert_same(class_statistics(features.numpy()[::-1], labels.numpy()[::-1]), whole)
    assert_same(class_statistics(features.numpy().astype(">f8"), labels), whole)


def test_statistics_merge_with_themselves():
    features, labels = sample(16)
    stats = class_statistics(features, labels)
    assert_same(stats.merge(stats), class_statistics(features.repeat(2, 1), labels.repeat(2)))
    assert repr(stats) == "<full statistics of 120 samples, 4 classes x 5 features>"


NAMED = [  # batches of which each has other classes, the first not that of the alphabet
    (torch.tensor([[5.0, 1.0], [6.0, 2.0]]), ["eel", "dog"]),
    (torch.tensor([[0.0, 0.0], [2.0, 0.0], [7.0, 1.0]]), ["cat", "cat", "dog"]),
    (torch.tensor([[1.0, 3.0]]), np.array(["eel"])),
]


@pytest.mark.parametrize("options", [{}, {"num_classes": 2}])
@pytest.mark.parametrize(
    ("batch", "given"),
    [((torch.eye(2), [0, 1], [0, 1]), "tuple of 3 parts"), (torch.eye(2), "Tensor"), ({"features": 0}, "dict")],
)
def test_batches_that_are_no_pairs_are_an_error(batch, given, options):
    with pytest.raises(TypeError, match=rf"a batch is a {given}; it must be a pair: \(features, labels\)"):
        ClassStatistics.from_batches([batch], **options)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("classes", [None, ["cat", "dog", "eel"]])
def test_batches_of_texts_are_numbered_alike_whichever_class_comes_first(covariance, classes):
    features, labels = torch.cat([rows for rows, _ in NAMED]), [name for _, names in NAMED for name in names]
    expected = class_statistics(features, labels, covariance=covariance)
    for batches in (NAMED, NAMED[::-1]):
        found = ClassStatistics.from_batches(batches, classes=classes, covariance=covariance)
        assert found.classes == expected.classes == ("cat", "dog", "eel")
        for field in ("counts", "means", "squares"):
            torch.testing.assert_close(getattr(found, field), getattr(expected, field))
        assert found.covariance == covariance


def test_batches_of_numbers_need_no_number_of_classes():
    features, labels = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20).flip(0) // 4
    batches = zip(features.split(3), labels.split(3), strict=True)  # the last class comes first
    assert_same(ClassStatistics.from_batches(batches), class_statistics(features, labels))


def test_a_batch_of_texts_needs_the_names_of_all_classes():
    with pytest.raises(TypeError, match="it is unknown which of 3 classes each of them is; give the names in order"):
        ClassStatistics(2, 3).update(*NAMED[0])
    stats = ClassStatistics(2, classes=["eel", "dog", "cat"]).update(*NAMED[0]).update(NAMED[2][0], [0])
    assert (stats.num_classes, stats.counts.tolist()) == (3, [2, 1, 0])
    with pytest.raises(ValueError, match="labels hold cow, which is not among the classes eel, dog, cat"):
        stats.update(torch.ones(1, 2), ["cow"])
    with pytest.raises(TypeError, match="labels are int and str"):
        ClassStatistics.from_batches([(torch.ones(1, 2), [0]), (torch.ones(1, 2), ["cat"])])


def test_names_of_classes_are_kept_and_must_agree(tmp_path):
    stats = ClassStatistics(2, classes=["eel", "dog"]).update(*NAMED[0])
    stats.save(tmp_path / "stats.safetensors")
    assert ClassStatistics.load(tmp_path / "stats.safetensors").classes == ("eel", "dog")
    assert ClassStatistics(2, 2).merge(stats).classes == ("eel", "dog")
    with pytest.raises(ValueError, match="have the classes dog, eel, the others eel, dog; only"):
        ClassStatistics(2, classes=["dog", "eel"]).merge(stats)
    nameless = ClassStatistics(2, 2).update(NAMED[0][0], [0, 1])
    nameless.save(tmp_path / "stats.safetensors")
    assert ClassStatistics.load(tmp_path / "stats.safetensors").classes == ()
