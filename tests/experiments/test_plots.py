"""The book's figures: one colour and marker for one thing."""

from nclib.experiments import plots


def test_every_task_has_a_style_of_its_own():
    tasks = plots._tasks()
    assert len(tasks) > 15
    assert len({tuple(plots.task_style(task).values()) for task in tasks}) == len(tasks)


def test_every_setting_has_a_style_of_its_own():
    found = [tuple(plots.setting_style(name).values()) for name in (*plots.SETTINGS, "base")]
    assert len(set(found)) == len(found)
    assert len({tuple(plots.numbered_style(i).values()) for i in range(42)}) == 42


def test_tasks_of_a_reader_are_told_apart():
    found = [plots.task_style(f"folder:photos{i}") for i in range(5)]
    assert len({tuple(style.values()) for style in found}) > 1
    assert found[0] == plots.task_style("folder:photos0")
