"""What cells ask of data sets: no scale asks for more than there is, and a run that would is refused at once."""

from dataclasses import replace

import pytest

from nclib.data.torchvision_sets import TORCHVISION
from nclib.experiments.counts import asked, impossible
from nclib.experiments.records import Records
from nclib.experiments.run import start
from nclib.experiments.scales import SCALES, check, settings
from nclib.experiments.sizes import SIZES, fewest_of
from nclib.experiments.studies import STUDIES, cells_of


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("scale", SCALES)
def test_no_cell_asks_for_more_images_than_there_are(scale, study):
    assert impossible(STUDIES[study](settings(scale), settings(scale).seeds)) == []
    assert impossible(cells_of(study, scale)) == []


def test_no_live_cell_asks_for_more_images_than_there_are():
    assert not [each for study in STUDIES.values() for each in impossible(study(check.SCALE, check.SCALE.seeds))]


def test_the_size_of_every_set_that_cells_take_a_number_of_is_known():
    """But for folders of one's own, whose sizes are whatever they hold."""
    wanted = {
        data.partition("[")[0]
        for study in STUDIES
        for scale in SCALES
        for cell in cells_of(study, scale)
        for data, _, _ in asked(cell)
    }
    assert wanted & TORCHVISION.keys()
    assert not [name for name in wanted & TORCHVISION.keys() if SIZES[name].fewest is None]


@pytest.mark.parametrize("name", [name for name, size in SIZES.items() if size.fewest])
def test_no_class_is_smaller_than_the_smallest(name):
    size = SIZES[name]
    assert size.classes * size.fewest[0] <= size.train
    assert size.classes * size.fewest[1] <= size.test


def test_the_smallest_class_is_that_of_the_images_at_hand():
    import nclib

    for split in ("train", "test"):
        images = nclib.load("digits", split)
        assert images.labels.bincount().min() == fewest_of("digits", split)
        assert len(images) == getattr(SIZES["digits"], split)


def test_a_study_that_asks_for_too_much_is_refused_before_anything_is_measured(tmp_path):
    run = start("paper", root=tmp_path, device="cpu")
    run = replace(run, settings=replace(run.settings, train_per_class=900, test_per_class=500))
    for study in ("collapse_in_training", "source_collapse"):
        with pytest.raises(ValueError, match=f"{study} at paper scale") as refused:
            run.study(study, lambda cell, cache: pytest.fail("measured"))
        said = str(refused.value)
        assert "500 test images per class of cifar100 are requested, but its smallest class has 100" in said
        assert "give at most that number, or None for all" in said
    assert "900 train images per class of stl10 are requested, but its smallest class has 500" in said
    assert not Records(tmp_path).read("source_collapse", "paper")


def test_a_chapter_is_refused_before_its_first_study_if_a_later_one_asks_for_too_much(tmp_path):
    run = start("paper", root=tmp_path, device="cpu")
    few = replace(run.settings.fine_tuning, scarce=(9999,))
    run = replace(run, settings=replace(run.settings, fine_tuning=few))
    with pytest.raises(ValueError, match="data_scarcity at paper scale cannot be measured: 9999 train images"):
        run.study("fine_tuning", lambda cell, cache: pytest.fail("measured"))


def test_classes_of_a_set_are_held_against_it_where_all_are_alike():
    cell = {"data": "cifar100[80:100]", "train_per_class": 501, "test_per_class": None}
    assert impossible([cell]) == [
        "501 train images per class of cifar100[80:100] are requested, but its smallest class has 500"
    ]
    assert impossible([cell | {"data": "svhn[0:2]", "train_per_class": 9999}]) == []
