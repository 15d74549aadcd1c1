"""The book's figures: one colour and marker for one thing."""

from nclib import plots


def test_every_task_has_a_style_of_its_own():
    tasks = plots._tasks()
    assert len(tasks) > 15
    assert len({tuple(plots.task_style(task).values()) for task in tasks}) == len(tasks)


def test_tasks_of_a_reader_are_told_apart():
    styles = [plots.task_style(f"folder:photos{i}") for i in range(5)]
    assert len({tuple(style.values()) for style in styles}) > 1
    assert styles[0] == plots.task_style("folder:photos0")
