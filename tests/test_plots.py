"""The book's figures: one colour and marker for one thing."""

from nclib import plots


def test_every_task_has_a_style_of_its_own():
    tasks = plots._tasks()
    assert len(tasks) > 15
    styles = {tuple(plots.task_style(task).values()) for task in (*tasks, "folder:photos")}
    assert len(styles) == len(tasks) + 1
    assert plots.task_style("digits") == plots.task_style("digits")
