"""Records: whole or not there, read back as written, resumed, and safe with several writers."""

import json
import math
import multiprocessing
import os
import re
import time
from dataclasses import dataclass, field

import pytest
import torch
from joblib import Parallel, delayed

import nclib
from nclib.experiments import records as module
from nclib.experiments.records import Records, as_table, fill, record_of, whole_table

CELLS = [{"width": 2, "seed": seed} for seed in range(4)]


def double(cell):
    return {"value": 2.0 * cell["seed"], "trace": [0, 1 / 3]}


def test_a_study_is_measured_once_and_then_read(tmp_path):
    records, calls = Records(tmp_path), []

    def measure(cell):
        calls.append(cell["seed"])
        return double(cell)

    first = fill(records, "toy", "demo", CELLS[:2], measure)
    again = fill(records, "toy", "demo", CELLS, measure)
    assert calls == [0, 1, 2, 3]
    assert again["value"].tolist() == [0, 2, 4, 6]
    assert first.equals(again[:2])
    assert as_table(records.select("toy", "demo", CELLS)).equals(again)
    assert [r["seed"] for r in records.select("toy", "demo", [{"width": 2, "seed": 9}, CELLS[3]])] == [3]


def test_a_stopped_study_loses_only_the_cell_it_was_at(tmp_path):
    records = Records(tmp_path)

    def stop_at_two(cell):
        if cell["seed"] == 2:
            raise KeyboardInterrupt
        return double(cell)

    with pytest.raises(KeyboardInterrupt):
        fill(records, "toy", "demo", CELLS, stop_at_two)
    assert [r["seed"] for r in records.read("toy", "demo")] == [0, 1]
    assert len(fill(records, "toy", "demo", CELLS, double)) == 4


def test_workers_measure_the_same_table_and_keep_what_was_done_before_an_error(tmp_path):
    def fail_at_three(cell):
        if cell["seed"] == 3:
            for _ in range(600):  # until another worker has done something
                if Records(tmp_path).read("toy", "demo"):
                    break
                time.sleep(0.1)
            raise KeyError("no three")
        return double(cell) | {"process": os.getpid()}

    with pytest.raises(KeyError, match="no three"):
        fill(Records(tmp_path), "toy", "demo", CELLS, fail_at_three, workers=2)
    kept = Records(tmp_path).read("toy", "demo")
    assert kept
    assert all(record["metrics"]["process"] != os.getpid() for record in kept)
    table = fill(Records(tmp_path), "toy", "demo", CELLS, double, workers=2)
    assert table["seed"].tolist() == [0, 1, 2, 3]
    assert table["value"].tolist() == [0, 2, 4, 6]


def failing(error, *seeds):
    def measure(cell):
        if cell["seed"] in seeds:
            raise error
        return double(cell)

    return measure


EXPECTED = [ValueError("features hold NaN\nin row 3"), FloatingPointError("overflow"), torch.OutOfMemoryError("full")]


@pytest.mark.parametrize("error", EXPECTED, ids=repr)
def test_a_cell_that_fails_is_noted_and_the_study_goes_on(tmp_path, capsys, error):
    records, settled = Records(tmp_path), []
    said = rf"1 of 4 cells of toy at demo scale failed: {type(error).__name__}: .*-p recompute failed"
    with pytest.warns(UserWarning, match=said):
        table = fill(records, "toy", "demo", CELLS, failing(error, 2), settled=settled.append)
    assert "a cell of toy failed: " in capsys.readouterr().out
    assert table["seed"].tolist() == [record["seed"] for record in records.read("toy", "demo")] == [0, 1, 3]
    assert settled == CELLS
    (failure,) = records.failed("toy", "demo", CELLS)
    assert failure["reason"] == f"{type(error).__name__}: {error}".splitlines()[0]
    assert failure["config"] | {"seed": failure["seed"]} == CELLS[2]
    assert failure["provenance"].keys() == {"commit", "processor", "date"}
    assert len(records.failures_path("toy", "demo").read_text().splitlines()) == 1


@pytest.mark.filterwarnings("ignore:1 of 4 cells")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(""), "RuntimeError"),
        (ValueError("\n  the reason\nand more"), "ValueError: the reason"),
        (ZeroDivisionError(" \n"), "ZeroDivisionError"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_what_an_error_says_first_and_else_its_kind(error, reason, tmp_path):
    fill(Records(tmp_path), "toy", "demo", CELLS, failing(error, 2))
    assert [each["reason"] for each in Records(tmp_path).failed("toy", "demo", CELLS)] == [reason]


def test_a_failed_cell_is_tried_again_only_when_told(tmp_path):
    records, calls = Records(tmp_path), []

    def measure(cell):
        calls.append(cell["seed"])
        return failing(ValueError("no"), 1, 2)(cell)

    for retry, tried in ((False, [0, 1, 2, 3]), (False, []), (True, [1, 2])):
        calls.clear()
        with pytest.warns(UserWarning, match=r"2 of 4 cells .* failed: ValueError: no \(2 times\)"):
            fill(records, "toy", "demo", CELLS, measure, retry=retry)
        assert calls == tried
    assert len(records.failures_path("toy", "demo").read_text().splitlines()) == 2
    assert len(fill(records, "toy", "demo", CELLS, double, retry=True)) == 4
    assert records.failed("toy", "demo", CELLS) == []


def test_a_study_whose_cells_all_fail_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"4 of 4 cells .* failed: ValueError: no \(4 times\); fix the cause"):
        fill(Records(tmp_path), "toy", "demo", CELLS, failing(ValueError("no"), *range(4)))
    assert Records(tmp_path).read("toy", "demo") == []


def test_what_is_not_finite_fails_its_cell(tmp_path):
    with pytest.warns(UserWarning, match="ValueError: metric value is nan; only finite numbers are recorded"):
        table = fill(Records(tmp_path), "toy", "demo", CELLS, lambda cell: {"value": math.nan if cell["seed"] else 1})
    assert table["seed"].tolist() == [0]


@pytest.mark.parametrize("error", [TypeError, KeyError, FileNotFoundError, ImportError, NotImplementedError])
def test_a_fault_of_the_program_or_missing_data_ends_the_study(tmp_path, error):
    with pytest.raises(error):
        fill(Records(tmp_path), "toy", "demo", CELLS, failing(error("here"), 1))
    assert [record["seed"] for record in Records(tmp_path).read("toy", "demo")] == [0]
    assert Records(tmp_path).failed("toy", "demo", CELLS) == []


def test_the_package_travels_to_a_worker_by_its_name():
    assert Parallel(2)(delayed(lambda: nclib.nc1.__name__)() for _ in range(2)) == ["nc1", "nc1"]


def test_a_record_says_where_it_comes_from(tmp_path):
    record = record_of("toy", "demo", CELLS[1], double)
    assert record["config"] == {"width": 2}
    assert record["metrics"] == {"value": 2.0, "trace": [0, 0.333333]}
    assert record["provenance"].keys() == {
        "nclib",
        "commit",
        "torch",
        "machine",
        "threads",
        "device",
        "date",
        "seconds",
        "memory",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["provenance"]["date"])


def test_the_digest_covers_every_digit(tmp_path):
    records = Records(tmp_path)
    fill(records, "toy", "demo", CELLS, double)
    before = records.describe("toy", "demo", CELLS)
    path = records.path("toy", "demo")
    path.write_text(path.read_text().replace("0.333333", "0.333334", 1))
    assert records.describe("toy", "demo", CELLS) != before
    assert records.describe("toy", "demo", CELLS[2:]) == records.describe("toy", "demo", CELLS[2:])
    assert records.describe("other", "demo", CELLS) == "other at demo scale: not run yet"


def test_further_cells_do_not_change_the_digest(tmp_path):
    records = Records(tmp_path)
    fill(records, "toy", "demo", CELLS[:2], double)
    before = records.describe("toy", "demo", CELLS[:2])
    fill(records, "toy", "demo", CELLS, double)
    assert records.describe("toy", "demo", CELLS[:2]) == before


def test_a_file_without_a_last_line_end_is_no_trouble(tmp_path):
    records = Records(tmp_path)
    fill(records, "toy", "demo", CELLS[:1], double)
    path = records.path("toy", "demo")
    path.write_text(path.read_text().rstrip())
    fill(records, "toy", "demo", CELLS, double)
    assert [r["seed"] for r in records.read("toy", "demo")] == [0, 1, 2, 3]


@pytest.fixture(params=[module.Recipe, module.TextRecipe])
def recipe(request, monkeypatch):
    """The recipes of images and of texts, to which a setting was added later."""

    @dataclass(frozen=True)
    class Later(request.param):
        dropout: float = field(default=0.25, metadata=module.ADDED)

    monkeypatch.setattr(module, request.param.__name__, Later)
    return request.param


def test_a_table_names_a_setting_that_was_added_to_a_recipe_of_images_or_texts(recipe):
    config = recipe(seed=3).config
    cells = [config | {"data": "digits"}, config | {"dropout": 0.5}, {"data": "digits", "seed": 3}]
    table = as_table(record_of("toy", "demo", cell, lambda cell: {"value": 1}) for cell in cells)
    assert table["dropout"].fillna(-1).tolist() == [0.25, 0.5, -1]


def test_a_later_record_of_a_cell_wins(tmp_path):
    records = Records(tmp_path)
    for value in (1.0, 5.0):
        records.append(record_of("toy", "demo", CELLS[0], lambda cell, value=value: {"value": value}))
    assert as_table(records.select("toy", "demo", CELLS))["value"].tolist() == [5.0]


def _write(folder, first):
    records = Records(folder)
    for seed in range(first, first + 20):
        records.append(record_of("toy", "demo", {"seed": seed}, double))


def test_two_writers_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, first)) for first in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    seeds = {record["seed"] for record in Records(tmp_path).read("toy", "demo")}
    assert seeds == {*range(20), *range(100, 120)}


@pytest.mark.parametrize(("keep", "message"), [(40, "line 2 is not a whole record"), (0, None)])
def test_a_truncated_record_is_named(tmp_path, keep, message):
    records = Records(tmp_path)
    fill(records, "toy", "demo", CELLS[:2], double)
    path = records.path("toy", "demo")
    first, second = path.read_text().splitlines()
    path.write_text(first + "\n" + second[:keep])
    if message is None:
        assert len(records.read("toy", "demo")) == 1
    else:
        with pytest.raises(ValueError, match=message):
            records.read("toy", "demo")


def test_a_record_that_lacks_a_field_is_named(tmp_path):
    records = Records(tmp_path)
    records.path("toy", "demo").write_text(json.dumps({"study": "toy"}) + "\n")
    with pytest.raises(ValueError, match="line 1 lacks config, metrics, provenance, scale, seed"):
        records.read("toy", "demo")


def test_only_finite_metrics_are_recorded():
    with pytest.raises(ValueError, match="metric value is inf; only finite numbers are recorded"):
        record_of("toy", "demo", CELLS[0], lambda cell: {"value": float("inf")})


def test_a_cell_needs_a_seed(tmp_path):
    with pytest.raises(ValueError, match="a cell needs a seed; this one has width"):
        fill(Records(tmp_path), "toy", "demo", [{"width": 2}], double)


def test_merging_takes_each_cell_once_and_keeps_what_is_there(tmp_path):
    book, grid = Records(tmp_path / "book"), Records(tmp_path / "grid")
    fill(book, "toy", "demo", CELLS[:1], double)
    fill(grid, "toy", "demo", CELLS, lambda cell: {"value": -1.0})
    fill(grid, "toy", "lab", CELLS[:2], double)
    given = grid.read("toy", "demo") + grid.read("toy", "lab")
    assert [book.merge(given + given[:2]), book.merge(given)] == [5, 0]
    values = [record["metrics"]["value"] for record in book.select("toy", "demo", CELLS)]
    assert values == [0.0, -1.0, -1.0, -1.0]
    assert len(book.read("toy", "lab")) == 2


def merge_slowly(folder, name):
    Records(folder).merge([record_of("toy", "demo", {"grid": name, "seed": seed}, double) for seed in range(20)])


def test_several_writers_lose_nothing(tmp_path):
    processes = [multiprocessing.Process(target=merge_slowly, args=(tmp_path, name)) for name in (0, 0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(Records(tmp_path).read("toy", "demo")) == 40


def test_a_table_names_the_commit_that_measured_each_row(tmp_path):
    record = record_of("toy", "demo", CELLS[0], double)
    known = record | {"provenance": record["provenance"] | {"commit": "abc1234"}}
    unknown = record | {"provenance": {}}
    assert as_table([known, unknown])["commit"].fillna("unknown").tolist() == ["abc1234", "unknown"]


def test_the_whole_table_keeps_names_that_config_and_metrics_share_and_lists():
    record = record_of("toy", "demo", {"loss": "MSE", "seed": 1}, lambda cell: {"loss": [0.5, 0.25]})
    (row,) = whole_table([record]).to_dict("records")
    assert (row["study"], row["scale"], row["seed"]) == ("toy", "demo", 1)
    assert (row["config.loss"], row["metrics.loss"]) == ("MSE", "[0.5, 0.25]")
    assert {"provenance.commit", "provenance.date", "provenance.machine"} <= row.keys()


def test_the_whole_table_has_the_defaults_of_later_settings(recipe):
    record = record_of("toy", "demo", recipe(seed=3).config, lambda cell: {"value": 1})
    assert whole_table([record])["config.dropout"].tolist() == [0.25]
