"""The page of times: rows of a run become ratios, a table for each reader's processor, and a sentence of README.md."""

import pandas as pd
import pytest

from benchmarks import page, rows
from workflow import pages

PAIR = next(pair for pair in rows.PAIRS if pair.most == 0.2)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Two processors, and on the first as on another; the pair of the first target, and one of growth."""
    monkeypatch.setattr(page, "PATH", tmp_path / "benchmarks.csv")
    monkeypatch.setattr(rows, "PATH", tmp_path / "benchmarks.csv")
    monkeypatch.setattr(rows, "_gflops", lambda: 40.0)
    for processor, factor in (("one", 1), ("two", 2)):
        monkeypatch.setattr(rows, "_noted", [])
        monkeypatch.setattr(rows, "processor", lambda processor=processor: processor)
        rows.note(PAIR.group, PAIR.what, 0.1 * factor)
        rows.note(PAIR.group, PAIR.against, 0.6)
        for number in (10, 100, 1000):
            rows.note("N=100,000 d=64", f"K={number:,}", number / 1000, peak=12.4)
        rows.keep(rows.noted())
    return page.read()


def test_rows_are_kept_by_place_and_the_last_counts(table, monkeypatch):
    assert len(table) == 10
    assert sorted(table["place"].unique()) == ["(1)", "(2)"]
    monkeypatch.setattr(rows, "_noted", [])
    rows.note(PAIR.group, PAIR.what, 0.123456)
    rows.keep(rows.noted())
    again = page.read()
    assert len(again) == 10
    assert again.query("processor == 'two' and what == @PAIR.what")["seconds"].tolist() == [0.123]


def test_parts_of_fine_tuning_are_images_a_second(table, monkeypatch):
    monkeypatch.setattr(rows, "_noted", [])
    for part, seconds in (("step", 0.2), ("load", 0.01), ("take_kept", 0.0004)):
        rows.note("16 JPEG files of 500 x 375 px, ResNet-18 at 128 px", part, seconds)
    rows.keep(rows.noted())
    found = page.throughput_table(page.read())
    assert found["part"].tolist() == [
        "read and decode a file",
        "take images kept as bytes",
        "forward and backward pass",
    ]
    assert found["(2)"].tolist() == ["1,600", "40,000", "80"]


def test_ratios_are_of_one_place_and_say_what_is_missed(table):
    found = rows.ratios(table).set_index("place")["ratio"]
    assert found.to_dict() == pytest.approx({"(1)": 1 / 6, "(2)": 1 / 3})
    shown = page.ratio_table(table)
    assert shown["(1)"].tolist() == ["0.17"]
    assert shown["(2)"].tolist() == ["0.33 (missed)"]
    assert shown["wanted"].tolist() == ["at most 0.2"]


def test_a_sentence_gives_the_range_over_processors(table):
    said = page.sentence(table)
    assert f"3 to 6 times faster at {PAIR.group}\n" in said
    assert "40 to 40 GFLOP/s" in said


def test_growth_is_drawn_and_listed(table, tmp_path):
    listed = page.growth_table(table)
    assert listed["what"].tolist() == ["K=10", "K=100", "K=1,000"]
    assert listed["MiB"].tolist() == ["12"] * 3
    page.draw(table, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"


def test_the_emulated_processor_is_named(table):
    rows.keep(rows.noted("AVX2"))
    said = page.places(page.read()).tolist()
    assert [name.partition(", as ")[2].partition(",")[0] for name in said] == ["", "", "AVX2"]


def test_every_pair_has_both_of_its_times_on_some_processor():
    known = page.read()
    times = set(zip(known["group"], known["what"], strict=True))
    for pair in rows.PAIRS:
        assert {(pair.group, pair.what), (pair.group, pair.against)} <= times, pair


def test_the_page_is_that_of_the_table():
    assert (pages.BOOK / "speed_table.md").read_text() == pages.speed_page()
    assert isinstance(page.read(), pd.DataFrame)
