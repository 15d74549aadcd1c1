"""Collapse metrics: known values, invariances, and agreement with the formulas written out."""

import math
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import nclib
from nclib import METRICS
from nclib.metrics.linalg import svd_of_centred
from tests.ranges import ends
from tests.reference import written_out

OF_FEATURES = [n for n in METRICS if "weight" not in METRICS[n].inputs]
OF_STATISTICS = [n for n in METRICS if METRICS[n].inputs == ("stats",)]
OF_STATISTICS_ELSEWHERE = [
    *("cdnv_pairs", "overlap_pairs", "between_spectrum", "cut_off", "total_scatter"),
    *("variance_collapse", "class_fairness", "h_score", "gbc", "logme"),
]
# Those that a shift, a rotation or the scale of the features may change; their docstrings say so.
CHANGED: set[str] = set()


@pytest.mark.parametrize(
    "name", [*(n for n in OF_STATISTICS if not n.startswith(("nc2", "gnc2"))), "nc3", "nc4", *OF_STATISTICS_ELSEWHERE]
)  # NC2 is of a weight, too
@pytest.mark.parametrize(
    "given", [torch.eye(3), np.eye(3), None, "stats.safetensors"], ids=lambda given: type(given).__name__
)
def test_what_is_no_class_statistics_says_so(name, given):
    compute = METRICS[name].compute if name in METRICS else getattr(nclib, name)
    more = {"nc3": (torch.eye(3),), "nc4": (torch.eye(3), torch.eye(3))}
    with pytest.raises(TypeError, match=r"they must be class statistics: nclib\.class_statistics\(features, labels\)"):
        compute(given, *more.get(name, ()))


def simplex(num_classes: int, dim: int) -> torch.Tensor:
    """The corners of a simplex ETF around 0, at distance 1, in `dim` dimensions, (K, d)."""
    corners = torch.eye(num_classes).double() - 1 / num_classes
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(1)).double()).Q
    return corners / torch.linalg.norm(corners[0]) @ rotation[:num_classes]


def isotropic(means: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """2 d samples a class whose covariance is exactly sigma^2 I: mean +- sigma sqrt(d) e_j."""
    dim = means.shape[1]
    offsets = sigma * math.sqrt(dim) * torch.cat([torch.eye(dim), -torch.eye(dim)]).double()
    features = (means.unsqueeze(1) + offsets).flatten(0, 1)
    return features, torch.arange(len(means)).repeat_interleave(2 * dim)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_isotropic_classes_on_a_simplex_have_closed_forms(num_classes):
    dim, sigma, radius = 12, 0.3, 2.0
    stats = nclib.class_statistics(*isotropic(radius * simplex(num_classes, dim), sigma))
    k, ratio = num_classes, (sigma / radius) ** 2
    assert nclib.nc1(stats) == pytest.approx(ratio * (k - 1) ** 2 / k)
    assert nclib.nc1_ratio(stats) == pytest.approx(dim * ratio)
    assert nclib.cdnv(stats) == pytest.approx(dim * ratio * (k - 1) / (2 * k))
    assert nclib.nc2(stats) == pytest.approx(0, abs=1e-12)
    assert len(nclib.between_spectrum(stats)[0]) == k - 1


def test_a_collapsed_network_is_recognised_by_all_four():
    means = simplex(5, 8)
    labels = torch.arange(5).repeat_interleave(3)
    stats = nclib.class_statistics(means[labels], labels)
    assert nclib.nc1(stats) == pytest.approx(0, abs=1e-25)
    assert nclib.nc3(stats, 7 * means) == pytest.approx(0, abs=1e-12)
    assert nclib.nc3(stats, -means) == pytest.approx(2)
    assert nclib.nc4(stats, means[labels], means) == 1.0


def test_the_other_metrics_of_isotropic_classes_on_a_simplex_have_closed_forms_too():
    k, dim, sigma, radius = 4, 12, 0.3, 2.0
    features, labels = isotropic(radius * simplex(k, dim), sigma)
    found = nclib.measure(features, labels, metrics="all")
    squared = 2 * radius**2 * k / (k - 1)  # between two class means
    total = np.array([sigma**2] * (dim - k + 1) + [sigma**2 + radius**2 / (k - 1)] * (k - 1))
    assert found["vci"] == pytest.approx(1 - (radius**2 / (k - 1)) / total[-1])
    assert found["directional_cdnv"] == pytest.approx(sigma**2 / squared)
    assert found["directional_cdnv_pooled"] == pytest.approx(sigma**2 / squared)
    assert found["overlap"] == pytest.approx(math.exp(-squared / (8 * sigma**2)))
    assert found["nc2_equinorm"] == pytest.approx(0, abs=1e-12)
    assert found["nc2_equiangularity"] == pytest.approx(0, abs=1e-12)
    assert found["stable_rank"] == pytest.approx(total.sum() / total[-1])
    shares = np.sqrt(total) / np.sqrt(total).sum()
    assert found["effective_rank"] == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert [found[f"class_{kind}_rank"] for kind in ("stable", "numerical", "effective")] == pytest.approx([dim] * 3)


def test_overlap_by_features_is_that_of_the_definition():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(20)
    features = torch.randn(60, 4, generator=g).double() * torch.tensor([1.0, 2.0, 0.5, 0.0]) + labels.unsqueeze(1)
    stats = nclib.class_statistics(features, labels)
    a, b = (features[labels == k].var(0, correction=0) for k in (0, 2))
    delta, middle = (stats.means[0] - stats.means[2]).square(), (a + b) / 2
    seen = middle > 0
    distance = (delta[:3] / middle[:3]).sum() / 8 + 0.5 * (middle[:3] / (a[:3] * b[:3]).sqrt()).log().sum()
    assert not seen[3]
    assert nclib.overlap_pairs(stats, covariance="diagonal")[0, 2] == 0.0  # the fourth feature tells them apart
    flat = nclib.class_statistics(features[:, :3], labels)
    assert nclib.overlap_pairs(flat, covariance="diagonal")[0, 2] == pytest.approx(float((-distance).exp()))
    same = nclib.class_statistics(features[:, :3].repeat(2, 1), torch.cat([labels, 3 + labels]))
    assert nclib.overlap_pairs(same, covariance="diagonal")[0, 3] == pytest.approx(1)


def test_classes_without_spread_overlap_with_none():
    stats = nclib.class_statistics(CORNERS, [0, 1, 2])
    assert nclib.overlap(stats) == nclib.overlap(stats, covariance="diagonal") == 0.0


def test_ranks_of_classes_are_ordered_and_a_single_sample_has_none():
    g = torch.Generator().manual_seed(0)
    ranks = nclib.class_ranks(torch.randn(31, 8, generator=g), torch.arange(31) // 10)
    assert (ranks["stable"][:3] <= ranks["numerical"][:3]).all()
    assert (ranks["numerical"][:3] <= ranks["effective"][:3]).all()
    assert ranks["effective"].max() <= 8
    assert [rank[3].item() for rank in ranks.values()] == [0.0, 0.0, 0.0]


def test_directional_cdnv_pairs_are_not_symmetric_and_stay_below_the_spread():
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, 1.0], [9.0, -1.0]])
    labels = [0, 0, 1, 1]
    stats = nclib.class_statistics(features, labels)
    pairs = nclib.directional_cdnv_pairs(stats, features, labels)
    torch.testing.assert_close(pairs, torch.tensor([[0.0, 1 / 64], [0.0, 0.0]]).double())
    assert nclib.directional_cdnv(stats, features, labels) <= nclib.cdnv(stats)
    with pytest.raises(ValueError, match="not those of the statistics"):
        nclib.directional_cdnv(stats, features, [0, 1, 1, 1])
    with pytest.raises(ValueError, match="their classes have other means"):
        nclib.directional_cdnv(stats, features + 1, labels)


def test_close_class_means_far_from_the_others_keep_their_distance():
    means = torch.tensor([[0.0, 0.0], [1e-7, 0.0], [1e3, 0.0]]).double()
    features = torch.cat([means + torch.tensor([0.0, s]).double() for s in (1e-8, -1e-8)])
    stats = nclib.class_statistics(features, [0, 1, 2] * 2)
    assert stats.squared_distances[0, 1] == pytest.approx(1e-14, rel=1e-9)
    assert nclib.cdnv_pairs(stats)[0, 1] == pytest.approx(1e-2, rel=1e-6)


def test_vci_warns_when_there_are_too_few_samples_to_say_anything():
    with pytest.warns(UserWarning, match="vci says nothing with 3 samples of 3 features"):
        assert nclib.vci(nclib.class_statistics(CORNERS, [0, 1, 1])) == pytest.approx(0, abs=1e-12)


def test_directions_within_the_rounding_of_the_features_do_not_count():
    """A class mean halfway between two others, in a precision that cannot hold it exactly."""
    g = torch.Generator().manual_seed(0)
    means = torch.randn(4, 16, generator=g).double()
    means[3] = (means[0] + means[1]) / 2
    labels = torch.arange(4).repeat_interleave(50)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        stats = nclib.class_statistics(means[labels].to(dtype), labels)
        assert len(nclib.between_spectrum(stats)[0]) == 2, dtype
        assert nclib.nc1(stats) == 0.0
    spread = 0.1 * torch.randn(200, 16, generator=g)
    assert len(nclib.between_spectrum(nclib.class_statistics(means[labels].float() + spread, labels))[0]) == 3


def test_class_means_that_differ_by_rounding_only_are_an_error():
    with pytest.raises(ValueError, match="differ by no more than rounding"):
        nclib.nc1(nclib.class_statistics(torch.tensor([[1000.0, 0.0], [1000.5, 0.0]]).half(), [0, 1]))


def test_nc4_uses_the_bias():
    means = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    stats = nclib.class_statistics(means, [0, 1])
    assert nclib.nc4(stats, means, means, bias=[0.0, 0.0]) == 1.0
    assert nclib.nc4(stats, means, means, bias=[5.0, 0.0]) == 0.5


@st.composite
def labelled_features(draw, dtypes=(np.float64,), offsets=(0.0, 100.0), distance=1.0):
    """Random classes, some of one sample or one of 1,000, K and N above or below d, far from 0 or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_classes, dim = draw(st.integers(2, 9)), draw(st.integers(2, 40))
    counts = rng.integers(1, 12, num_classes)
    if draw(st.booleans()):
        counts[0] = 1000
    labels = rng.permutation(np.repeat(np.arange(num_classes), counts))
    means = distance * (rng.normal(size=(num_classes, dim)) + draw(st.sampled_from(offsets)))
    features = means[labels] + 0.5 * rng.normal(size=(len(labels), dim))
    return features.astype(draw(st.sampled_from(dtypes))), labels


def classifier_of(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A weight and a bias that have something to do with the classes, and are none of their own."""
    rng, scale = np.random.default_rng(1), np.abs(features.astype(np.float64)).max()
    means = np.stack([features[labels == k].astype(np.float64).mean(0) for k in range(labels.max() + 1)])
    return means + scale * rng.normal(size=means.shape), scale**2 * rng.normal(size=len(means))


def values(features: np.ndarray, labels: np.ndarray, *classifier: np.ndarray) -> dict[str, float]:
    """Every metric, or without a classifier every one of features, once it is sure that it is in its range."""
    table = nclib.measure(features, labels, *classifier, metrics=list(METRICS) if classifier else OF_FEATURES)
    for name, value in table.items():
        low, high = ends(METRICS[name].range, table.num_classes, table.num_features, table["cdnv"])
        said = f"{name} is {value}, and METRICS says that its range is {METRICS[name].range}: correct one of them"
        assert math.isfinite(value), said
        assert low - (low != 0) * 1e-9 <= value <= high * (1 + 1e-9) + 1e-12, said
    return dict(table)


def assert_near(found: dict[str, float], expected: dict[str, float], rel: float, cure: str = "") -> None:
    for name, value in expected.items():
        # What is one minus something, and what is 0 for a perfect simplex, has digits after the point.
        after_the_point = name == "vci" or name.startswith(("nc2", "nc3", "gnc2", "unc3"))
        assert found[name] == pytest.approx(value, rel=rel, abs=rel if after_the_point else 1e-200), f"{name} {cure}"


def test_every_metric_is_written_out():
    features, labels = np.random.default_rng(0).normal(size=(12, 4)), np.arange(12) % 3
    known = written_out(features, labels, *classifier_of(features, labels)).keys()
    missing = sorted(METRICS.keys() - known)
    assert not missing, f"write the definition of {missing} into the dict of written_out in tests/reference.py"
    assert not known - METRICS.keys(), f"METRICS lacks {sorted(known - METRICS.keys())} of tests/reference.py"


@given(labelled_features())
@settings(max_examples=150, deadline=None)
def test_metrics_agree_with_the_formulas_written_out(data):
    classifier = classifier_of(*data)
    assert_near(values(*data, *classifier), written_out(*data, *classifier), rel=1e-8)


@given(labelled_features(dtypes=(np.float32, np.float16), offsets=(0.0,)))
@settings(max_examples=100, deadline=None)
def test_short_floats_agree_with_the_formulas_in_float64(data):
    assert_near(values(*data), written_out(*data), rel=1e-8)


@given(labelled_features(distance=1e4))
@settings(max_examples=60, deadline=None)
def test_means_ten_thousand_times_the_spread_lose_no_digits(data):
    found, expected = values(*data), written_out(*data)
    # Singular values from a covariance lose digits where they are 1e-5 of the largest.
    assert found.pop("effective_rank") == pytest.approx(expected.pop("effective_rank"), rel=1e-5)
    assert_near(found, expected, rel=1e-8)


@given(labelled_features(), st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_rotation_shift_and_scale_change_nothing(data, scale):
    features, labels = data
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(features.shape[1],) * 2)).Q
    expected = {name: value for name, value in values(features, labels).items() if name not in CHANGED}
    cure = "is changed by a shift, a rotation or the scale; if it may be, add it to CHANGED of tests/metrics"
    assert_near(values(scale * features @ rotation + 3.0, labels), expected, rel=1e-7, cure=cure)


@given(labelled_features(offsets=(0.0,)))
@settings(max_examples=60, deadline=None)
def test_vci_is_unchanged_by_any_invertible_linear_map(data):
    features, labels = data
    linear = np.random.default_rng(1).normal(size=(features.shape[1],) * 2) + 3 * np.eye(features.shape[1])
    expected = nclib.measure(features, labels, metrics=["vci"])["vci"]
    assert nclib.measure(features @ linear, labels, metrics=["vci"])["vci"] == pytest.approx(expected, abs=1e-7)


@given(labelled_features())
@settings(max_examples=40, deadline=None)
def test_the_names_of_the_classes_do_not_matter(data):
    features, labels = data
    renamed = np.random.default_rng(0).permutation(labels.max() + 1)[labels]
    assert_near(values(features, renamed), values(features, labels), rel=1e-9)


@given(labelled_features(), st.data())
@settings(max_examples=60, deadline=None)
def test_parts_cut_anywhere_and_merged_give_the_same(data, cuts):
    features, labels = data
    edges = sorted(cuts.draw(st.lists(st.integers(0, len(labels)), min_size=1, max_size=4)))
    parts = [
        nclib.ClassStatistics(features.shape[1], labels.max() + 1).update(features[start:stop], labels[start:stop])
        for start, stop in pairwise([0, *edges, len(labels)])
    ]
    merged = reduce(nclib.ClassStatistics.merge, parts)
    found, expected = nclib.measure(merged, metrics=OF_STATISTICS), written_out(features, labels)
    assert_near(dict(found), {name: expected[name] for name in expected.keys() & set(OF_STATISTICS)}, rel=1e-8)


def test_a_cut_off_leaves_out_a_direction_that_is_null_but_for_noise():
    """Twenty means in five dimensions: the sixth direction is noise, and NC1 explodes if it counts."""
    g = torch.Generator().manual_seed(0)
    means = torch.randn(20, 5, generator=g) @ torch.randn(5, 64, generator=g)
    labels = torch.arange(20).repeat_interleave(30)
    stats = nclib.class_statistics(means[labels] + 1e-5 * torch.randn(600, 64, generator=g), labels)
    assert len(nclib.between_spectrum(stats)[0]) == 19
    assert len(nclib.between_spectrum(stats, rtol=1e-4)[0]) == 5
    assert nclib.nc1(stats, rtol=1e-4) < 1e-9 < 1 < nclib.nc1(stats)


def test_cdnv_pairs_are_symmetric_and_average_to_cdnv():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(5)
    stats = nclib.class_statistics(torch.randn(20, 3, generator=g), labels)
    pairs = nclib.cdnv_pairs(stats)
    assert torch.equal(pairs, pairs.T)
    assert pairs.sum() / 12 == pytest.approx(nclib.cdnv(stats))


def test_two_classes_that_share_their_mean_make_cdnv_infinite():
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [5.0, 5.0]])
    assert nclib.cdnv(nclib.class_statistics(features, [0, 0, 1, 1, 2])) == math.inf
    assert nclib.cdnv(nclib.class_statistics(features[[0, 0, 4]], [0, 1, 2])) == math.inf


@pytest.mark.parametrize("metric", [name for name in OF_STATISTICS if "rank" not in name])
@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], [0, 0], "at least 2 are needed"),
        ([[1.0, 2.0], [2.0, 1.0]], [0, 2], r"1 of 3 classes has no samples \(1\)"),
        ([[1.0, 2.0], [1.0, 2.0]], [0, 1], "all class means coincide"),
    ],
)
def test_what_has_no_collapse_is_an_error(metric, features, labels, message):
    with pytest.raises(ValueError, match=message):  # checked_means of metrics/variability.py says so
        METRICS[metric].compute(nclib.class_statistics(torch.tensor(features), labels))


CORNERS = torch.eye(3)
NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: nclib.nc3(s, torch.zeros(2, 3)), r"weight is \(2, 3\); it must be \(3, 3\)"),
        (lambda s: nclib.nc3(s, CORNERS * NAN), "weight holds NaN or infinity; give finite numbers"),
        (lambda s: nclib.nc3(s, torch.zeros(3, 3)), "all weights are 0"),
        (lambda s: nclib.nc4(s, CORNERS, CORNERS, bias=[0.0]), r"bias is \(1,\); it must be \(3,\)"),
        (
            lambda s: nclib.nc4(s, CORNERS, CORNERS, bias=[0.0, NAN, 0.0]),
            "bias holds NaN or infinity; give finite numbers",
        ),
        (
            lambda s: nclib.nc2(torch.zeros(3, 3)),
            r"weight is \(3, 3\); it must be \(K, d\) with K >= 2, finite and not all 0",
        ),
        (lambda s: nclib.nc2(torch.ones(1, 3)), r"weight is \(1, 3\); it must be"),
        (lambda s: nclib.nc2_equiangularity(torch.diag(torch.tensor([1.0, 0.0]))), "1 of 2 vectors have length 0"),
        (lambda s: nclib.nc1(s, rtol=-1), "rtol is -1; it must be at least 0 and below 1"),
        (lambda s: nclib.overlap(s, covariance="full"), "covariance is 'full'; it must be 'spherical' or 'diagonal'"),
        (lambda s: nclib.nc4(s, torch.eye(4), CORNERS), r"features are \(4, 4\); they must be \(N, 3\)"),
        (
            lambda s: nclib.nc4(s, torch.zeros(0, 3), CORNERS),
            r"features are \(0, 3\); they must be \(N, 3\) with N > 0",
        ),
    ],
)
def test_bad_features_weights_and_biases_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(nclib.class_statistics(CORNERS, [0, 1, 2]))


def test_classes_of_the_same_samples_in_another_order_share_their_mean():
    g = torch.Generator().manual_seed(0)
    rows, other = torch.randn(300, 8, generator=g).double(), torch.randn(300, 8, generator=g).double() + 3
    features = torch.cat([rows, rows[torch.randperm(300, generator=g)], other])
    labels = torch.arange(3).repeat_interleave(300)
    stats = nclib.class_statistics(features, labels)
    assert nclib.cdnv(stats) == nclib.directional_cdnv(stats, features, labels) == math.inf
    parts = nclib.class_statistics(features[:450], labels[:450], num_classes=3)
    assert nclib.cdnv(parts.merge(nclib.class_statistics(features[450:], labels[450:], num_classes=3))) == math.inf


def test_means_that_are_equal_but_for_rounding_are_equal():
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).double().view(3, 100, 8)
    centred = (features - features.mean(1, keepdim=True)).flatten(0, 1)
    with pytest.raises(ValueError, match="all class means coincide"):
        nclib.nc1_ratio(nclib.class_statistics(centred, torch.arange(3).repeat_interleave(100)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_class_mean_on_the_global_mean_has_no_angle(dtype):
    line = torch.randn(6, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.arange(3).repeat(20)
    stats = nclib.class_statistics(((labels + 1).unsqueeze(1) * line).to(dtype), labels)
    with pytest.raises(ValueError, match="1 of 3 vectors have length 0 up to rounding"):
        nclib.nc2_equiangularity(stats)


@pytest.mark.parametrize("scale", [1e-55, 1e-30, 1e30, 1e55])
def test_any_size_that_is_allowed_gives_the_same(scale):
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(25)
    features = torch.randn(4, 6, generator=g).double()[labels] + 0.5 * torch.randn(100, 6, generator=g)
    expected = {name: value for name, value in values(features, labels).items() if name not in CHANGED}
    assert_near(values(scale * features, labels), expected, rel=1e-7)


def test_averaged_rounding_of_short_floats_far_from_zero_drops_no_direction():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(20).repeat(200)
    features = torch.randn(20, 64, generator=g)[labels] + torch.randn(4000, 64, generator=g) + 30
    short = features.bfloat16()
    stats = nclib.class_statistics(short, labels)
    assert len(nclib.between_spectrum(stats)[0]) == 19
    assert nclib.nc1(stats) == pytest.approx(nclib.nc1(nclib.class_statistics(short.double(), labels)), rel=1e-12)


def test_vci_does_not_depend_on_the_unit_of_a_feature():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(2).repeat(50)
    features = torch.randn(100, 5, generator=g).double()
    features[:, 0] += labels
    units = torch.tensor([1e-8, 1.0, 1e5, 1.0, 1.0])
    expected = nclib.vci(nclib.class_statistics(features, labels))
    assert nclib.vci(nclib.class_statistics(features * units, labels)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("width", [5, 40])
def test_many_classes_are_gone_through_in_parts_and_give_the_same(width, monkeypatch):
    """As where K x K numbers would not fit into memory: tiles of three classes, panels of two rows."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(20).repeat_interleave(4)
    features = torch.randn(20, width, generator=g)[labels] + torch.randn(80, width, generator=g)
    features[labels == 7] = features[labels == 3]  # two classes that share their mean
    weight = torch.randn(20, width, generator=g)
    names = ["cdnv", "overlap", "directional_cdnv_pooled", "nc2", "nc2_equiangularity", "nc2_weight", "nc3"]
    whole = nclib.measure(features, labels, weight, metrics=names)
    monkeypatch.setattr("nclib.metrics.statistics.TOGETHER", 3)
    monkeypatch.setattr("nclib.metrics.linalg._HELD", 2 * 20)
    assert dict(nclib.measure(features, labels, weight, metrics=names)) == pytest.approx(dict(whole), rel=1e-12)
    assert whole["cdnv"] == math.inf


@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 100))
def test_the_spectrum_of_means_is_that_of_a_singular_value_decomposition(number, width, seed):
    """Whichever of K and d is smaller, and where directions are missing."""
    means = torch.randn(number, width, generator=torch.Generator().manual_seed(seed)).double()
    if seed % 3 == 0:
        means[:, -1] = means[:, 0]
    centred = means - means.mean(0)
    values, directions = svd_of_centred(centred)
    expected = torch.linalg.svdvals(centred)
    kept = min(len(values), len(expected))
    assert values[:kept].tolist() == pytest.approx(expected[:kept].tolist(), abs=1e-9 * float(expected[0]))
    assert expected[kept:].tolist() == pytest.approx([0.0] * len(expected[kept:]), abs=1e-9 * float(expected[0]))
    solid = values > 1e-6 * values[0]
    rebuilt = (centred @ directions[solid].T) @ directions[solid]
    assert rebuilt.flatten().tolist() == pytest.approx(centred.flatten().tolist(), abs=1e-6 * float(expected[0]))


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_a_simplex_repels_itself_the_same_everywhere_and_the_least(num_classes):
    corners, squared = simplex(num_classes, 12), 2 * num_classes / (num_classes - 1)
    stats = nclib.class_statistics(3 * corners + 1, torch.arange(num_classes))
    for vectors in (stats, corners):
        assert nclib.gnc2(vectors) == pytest.approx(0, abs=1e-12)
        assert nclib.gnc2_energy(vectors) == pytest.approx(-math.log(squared) / 2)
        assert nclib.gnc2_energy(vectors, power=3) == pytest.approx(squared**-1.5)
        assert nclib.gnc2_energy(vectors, power=-1) == pytest.approx(-(squared**0.5))
    other = nclib.gnc2_energy(torch.randn(num_classes, 12, generator=torch.Generator().manual_seed(0)))
    assert other >= nclib.gnc2_energy(corners) - 1e-12


@pytest.mark.parametrize("number", [3, 5, 12])
def test_directions_even_on_a_circle_have_the_least_energy_that_more_than_three_can(number):
    """The product of the distances of a corner to the others is K, so that the mean of ln(1 / r) is -ln K / (K - 1)."""
    angles = 2 * math.pi * torch.arange(number, dtype=torch.float64) / number
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    energy = nclib.gnc2_energy(circle)
    assert energy == pytest.approx(-math.log(number) / (number - 1))
    assert (nclib.gnc2(circle) < 1e-12) == (number == 3)
    moved = circle + 0.1 * torch.randn(number, 2, generator=torch.Generator().manual_seed(0)).double()
    assert nclib.gnc2_energy(moved) > energy


def test_right_angles_are_as_even_as_a_simplex_with_more_energy():
    weight = torch.eye(4) * torch.tensor([[1.0], [2.0], [3.0], [0.1]])  # lengths do not count
    assert nclib.gnc2(weight) == 0.0
    assert nclib.gnc2_energy(weight) == pytest.approx(-math.log(2) / 2)
    sixty = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)  # 1 apart: the kernel is 0
    assert nclib.gnc2(sixty) == 0.0 or nclib.gnc2(sixty) == math.inf


@pytest.mark.parametrize("power", [0.0, 2.0, -1.0])
def test_many_directions_are_gone_through_in_parts(power, monkeypatch):
    """Two rows at a time; that the first pair is 1 apart, where the logarithm is 0, does not matter."""
    weight = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    weight[:2] = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.75**0.5, 0.0]])
    whole = nclib.gnc2(weight, power=power), nclib.gnc2_energy(weight, power=power)
    monkeypatch.setattr("nclib.metrics.linalg._HELD", 2 * 20)
    assert (nclib.gnc2(weight, power=power), nclib.gnc2_energy(weight, power=power)) == pytest.approx(whole, rel=1e-12)


def test_duality_is_uniform_whichever_angle_all_have():
    means = simplex(4, 6)
    stats = nclib.class_statistics(means, [0, 1, 2, 3])
    assert nclib.unc3(stats, 5 * means) == pytest.approx(0, abs=1e-12)
    assert nclib.unc3(stats, -means) == pytest.approx(0, abs=1e-12)  # which nc3 takes for the worst
    across = torch.cat([means[:3], -means[3:]])  # cosines of 1, 1, 1 and -1
    assert nclib.unc3(stats, across) == pytest.approx(3**0.5)
    assert nclib.unc3(nclib.class_statistics([[1.0], [-1.0]], [0, 1]), [[1.0], [1.0]]) == math.inf


def test_nc5_is_of_the_means_as_they_are():
    means = 2 * torch.eye(5)[:3].double()
    stats = nclib.class_statistics(means, [0, 1, 2])
    other = torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 5.0]])
    assert nclib.nc5(stats, other) == 0.0
    assert nclib.nc5(stats, means) == pytest.approx(3**-0.5)
    assert nclib.nc5(stats, -means[:1].float().numpy()) == pytest.approx(1 / 3)
    turned = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double()).Q
    some = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)).double()
    moved = nclib.nc5(nclib.class_statistics(means @ turned, [0, 1, 2]), 3 * some @ turned)
    assert moved == pytest.approx(nclib.nc5(stats, some))
    expected = np.abs([torch.cosine_similarity(mean, some.mean(0), dim=0) for mean in means]).mean()
    assert nclib.nc5(stats, some) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: nclib.gnc2([[1.0, 1.0], [2.0, 2.0], [0.0, 1.0]]), "vectors 0 and 1 have the same direction"),
        (lambda s: nclib.gnc2_energy([[1.0, 1.0], [0.0, 0.0]]), "1 of 2 vectors have length 0"),
        (lambda s: nclib.gnc2(s, power="log"), "power is 'log'; it must be a number"),
        (lambda s: nclib.gnc2_energy([[1.0, 0.0], [1.0, 1e-9]], power=99), "power is 99, with which the energy"),
        (lambda s: nclib.gnc2(nclib.class_statistics([[-1.0], [1.0], [2.0]], [0, 1, 2])), "have the same direction"),
        (lambda s: nclib.unc3(s, torch.eye(2)), r"weight is \(2, 2\); it must be \(3, 3\)"),
        (lambda s: nclib.unc3(s, torch.diag(torch.tensor([1.0, 1.0, 0.0]))), "1 of 3 vectors have length 0"),
        (lambda s: nclib.nc5(s, torch.ones(2, 4)), r"features are \(2, 4\); they must be \(N, 3\) with N > 0"),
        (lambda s: nclib.nc5(s, torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])), "the mean of the features has length 0"),
        (lambda s: nclib.nc5(nclib.class_statistics([[0.0], [1.0]], [0, 1]), [[1.0]]), "a class mean has length 0"),
        (lambda s: nclib.nc5(s, torch.full((2, 3), NAN)), "features hold NaN or infinity"),
    ],
)
def test_what_has_no_direction_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call(nclib.class_statistics(CORNERS, [0, 1, 2]))


def test_a_power_law_is_found_from_any_place():
    sizes = torch.arange(1, 9, dtype=torch.float64) ** -0.75  # eigenvalues j^-1.5
    features = torch.cat([torch.diag(sizes), -torch.diag(sizes)]) + 100
    turned = torch.linalg.qr(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)).double()).Q
    assert nclib.alpha_req(features) == pytest.approx(1.5)
    assert nclib.alpha_req(1e-3 * features @ turned.T) == pytest.approx(1.5, rel=1e-6)  # wide, of rank 8
    assert nclib.alpha_req(features, first=3, last=6) == pytest.approx(1.5)
    assert nclib.alpha_req(torch.cat([torch.eye(3), -torch.eye(3)])) == pytest.approx(0, abs=1e-12)
    expected = np.polyfit(np.log(np.arange(2, 6)), np.log(np.linalg.eigvalsh(np.cov(bent().T))[::-1][1:5]), 1)[0]
    assert nclib.alpha_req(bent(), first=2, last=5) == pytest.approx(-expected)


def bent() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(50, 6)) * np.array([9.0, 4.0, 2.0, 2.0, 1.0, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nclib.alpha_req([[1.0, 2.0], [2.0, 4.0]]), "1 of the eigenvalues from 1 to the last are above"),
        (lambda: nclib.alpha_req(bent(), first=5, last=5), "1 of the eigenvalues from 5 to 5 are above"),
        (lambda: nclib.alpha_req(bent(), first=0), "first is 0; it must be at least 1"),
        (lambda: nclib.alpha_req(bent(), last=2.5), "last is 2.5; it must be a whole number"),
        (lambda: nclib.rankme([1.0, 2.0]), r"features are \(2,\); they must be \(N, d\), .*features.reshape\(-1, 1\)"),
        (lambda: nclib.lidar(CORNERS, [0, 1, 2]), "every class has one sample; LiDAR needs classes with several"),
        (lambda: nclib.lidar(CORNERS, [0, 0, 0]), "at least 2 are needed, 1 was given"),
        (lambda: nclib.lidar(CORNERS, [0, 0, 2]), r"1 of 3 classes has no samples \(1\)"),
        (lambda: nclib.lidar(CORNERS, [0, 0, 1], delta=0), "delta is 0; it must be above 0"),
        (lambda: nclib.lidar(CORNERS, [0, 0, 1], delta=math.inf), "delta is inf; it must be above 0, and finite"),
        (
            lambda: nclib.lidar(1e20 * np.random.default_rng(0).normal(size=(4, 9)), [0, 0, 1, 1]),
            "delta is 0.0001, too small for features of this size",
        ),
    ],
)
def test_what_has_no_such_rank_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_ranks_without_centring_and_of_discriminants():
    assert nclib.rankme(7 * torch.eye(5)) == pytest.approx(5)
    assert nclib.rankme(torch.ones(6, 4)) == pytest.approx(1)  # the mean alone
    assert nclib.rankme(torch.zeros(2, 3)) == 0.0
    assert nclib.rankme(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(4 / 3**0.75)  # shares of 3/4 and 1/4
    views = isotropic(simplex(4, 6), 0.3)
    assert nclib.lidar(*views) == pytest.approx(3)  # corners of a simplex, whitened alike
    names = [f"picture {k}" for k in views[1].tolist()]
    assert nclib.lidar(views[0].tolist(), names) == pytest.approx(3)
    wide, labels = torch.randn(12, 40, generator=torch.Generator().manual_seed(0)).double(), torch.arange(12) % 4
    narrow = wide @ torch.linalg.qr(wide.T).Q
    assert nclib.lidar(wide, labels) == pytest.approx(nclib.lidar(narrow, labels))


def test_wide_features_of_few_samples_take_no_products_of_columns():
    """Which would be 80 GB."""
    wide = torch.randn(6, 100_000, generator=torch.Generator().manual_seed(0))
    assert 5 < nclib.rankme(wide) <= 6
    assert 1.9 < nclib.lidar(wide, [0, 0, 1, 1, 2, 2]) <= 2
    assert nclib.alpha_req(wide) >= 0


def test_angles_of_which_none_points_along_its_mean_are_equal():
    stats = nclib.class_statistics(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), [0, 1])
    assert nclib.unc3(stats, [[0.0, 2.0, 0.0], [0.0, 0.0, -3.0]]) == 0
    assert nclib.unc3(stats, [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]) == math.inf


def test_directions_without_a_product_are_no_simplex():
    stats = nclib.class_statistics(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), [0, 1])
    with pytest.raises(ValueError, match="all products are 0: the vectors have no direction in common"):
        nclib.nc3(stats, [[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]])


@pytest.mark.parametrize(
    ("features", "labels", "said"),
    [
        (torch.zeros(3, 2), [0, 1], r"features \(3, 2\) and labels \(2,\) must be \(N, d\) and \(N,\)$"),
        (torch.zeros(3), [0, 1, 1], r"must be \(N, d\) and \(N,\); features\.reshape\(-1, 1\) is \(N, 1\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(features, labels, said):
    with pytest.raises(ValueError, match=said):
        nclib.class_statistics(features, labels)


def test_complex_features_have_no_cure():
    with pytest.raises(
        TypeError, match=r"features are torch\.complex64; they must be floating point of 16 to 64 bits$"
    ):
        nclib.class_statistics(torch.zeros(4, 2, dtype=torch.complex64), [0, 0, 1, 1])
