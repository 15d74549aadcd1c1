"""The ratios that `make benchmark` ends with, and the rows that are kept."""

import pandas as pd
import pytest

from benchmarks import page, rows


def pytest_addoption(parser):
    parser.addoption("--emulated", default="", help="the processor that is emulated, for the rows")
    parser.addoption("--keep-rows", action="store_true", help=f"take what was timed into {rows.PATH.name}")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    for each in config._benchmarksession.benchmarks:
        rows.note(each.group, each.name.removeprefix("test_").split("[")[0], each.stats.median)
    found = rows.noted(config.getoption("emulated"))
    if found.empty:
        return
    terminalreporter.section("ratios of medians")
    terminalreporter.write_line(f"a float64 product runs at {found['gflops'][0]:.3g} GFLOP/s here")
    for row in rows.ratios(found).itertuples():
        wanted = "no target" if pd.isna(row.most) else f"at most {row.most:.3g}{'  MISSED' * (row.ratio > row.most)}"
        times = f"{row.what} {row.seconds:.3g} s / {row.against} {row.seconds_against:.3g} s"
        terminalreporter.write_line(f"{row.group}: {times} = {row.ratio:.3g}, {wanted}")
    if config.getoption("keep_rows"):
        rows.keep(found)
        page.draw(page.read())
