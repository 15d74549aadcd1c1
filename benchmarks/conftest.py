"""The ratios that `make benchmark` ends with."""

import pytest

# In float32 the plain pseudo-inverse gives no NC1 (it is off by seven decades, and negative), so float64 it is.
TARGETS = [  # size, what, against what, the ratio of medians wanted
    ("N=10,000 d=512 K=100", "three", "plain_float64", "at most 1/5", 1 / 5),
    ("N=10,000 d=512 K=100", "table", "three", "at most 2", 2),
    ("N=10,000 d=512 K=100", "classifier", "three", "no target", float("inf")),
    ("N=10,000 d=512 K=100", "everything", "three", "no target", float("inf")),
    ("N=50,000 d=2,048 K=1,000", "three", "plain_float64", "at most 1/1.5", 1 / 1.5),
    ("N=50,000 d=2,048 K=1,000", "table", "three", "at most 2", 2),
    ("N=50,000 d=2,048 K=1,000", "streamed", "three", "at most 2", 2),
    ("N=20,000 d=2,048 K=100", "finished_nc1", "finished_pseudo_inverse", "at most 1/15", 1 / 15),
    ("N=10,000 d=512 K=100, correlated", "linear_probe", "sklearn_float32", "at most 1/5", 1 / 5),
    ("N=10,000 d=512 K=100, correlated", "linear_probe", "sklearn_float64", "at most 1/5", 1 / 5),
    ("N=10,000 d=512 K=100, isotropic", "linear_probe", "sklearn_converged", "no target", float("inf")),
    ("N=10,000 d=512 K=100, isotropic", "linear_probe", "sklearn_float32", "no target", float("inf")),
    ("128 images of 128 px, ResNet-18", "skip_epoch", "full_epoch", "at most 1/3", 1 / 3),
    ("128 images of 128 px, ResNet-18", "skip_epoch_without_cache", "full_epoch", "no target", float("inf")),
    ("128 images of 128 px, ResNet-18", "prefix", "full_epoch", "no target", float("inf")),
    ("8 images of 32 px, ResNet-18 of 512 features", "exact_few", "plain_loop", "at most 1/5", 1 / 5),
    ("64 images of 32 px, ResNet-18 of 512 features", "estimate_to_a_twentieth", "exact_many", "at most 1/20", 1 / 20),
    ("N=50,000 d=2,048 K=100, scores", "all_from_statistics", "public_logme", "at most 1/10", 1 / 10),
    ("N=50,000 d=2,048 K=100, scores", "all_from_features", "public_logme", "no target", float("inf")),
    ("901 images of 224 px, MobileNetV2, whole commands", "two_processes", "one_process", "no target", float("inf")),
    (
        "901 images of 224 px, MobileNetV2, whole commands",
        "two_processes",
        "one_process_of_two_threads",
        "no target",
        float("inf"),
    ),
    ("512 images of 96 px, MobileNetV2", "extract", "bare", "at most 1.1", 1.1),
    ("512 images of 96 px, MobileNetV2", "all_layers", "bare", "at most 1.1", 1.1),
    ("512 images of 96 px, MobileNetV2", "into_cache", "bare", "at most 1.1", 1.1),
    ("512 images of 96 px, MobileNetV2", "extract_images", "bare_from_images", "at most 1.1", 1.1),
]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    medians = {(b.group, b.name.removeprefix("test_").split("[")[0]): b.stats.median for b in session.benchmarks}
    if not medians:
        return
    terminalreporter.section("ratios of medians")
    for size, what, against, wanted, limit in TARGETS:
        pair = medians.get((size, what)), medians.get((size, against))
        if None not in pair:
            ratio = pair[0] / pair[1]
            verdict = "" if ratio <= limit else "  MISSED"
            terminalreporter.write_line(
                f"{size}: {what} {pair[0]:.3g} s / {against} {pair[1]:.3g} s = {ratio:.3g}, {wanted}{verdict}"
            )
