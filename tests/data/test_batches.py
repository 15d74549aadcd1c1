"""Passes over images: who reads them, how long that lives, and what is done about two passes at once."""

import multiprocessing
import os
from multiprocessing.process import BaseProcess

import pytest
import torch

from nclib import load
from nclib.data import batches
from nclib.data.batches import reading

CPU = torch.device("cpu")
ROWS = [[3, 1], [0], [2, 4, 5]]


@pytest.fixture(scope="module")
def digits():
    return load("digits", per_class=1)


@pytest.fixture
def started(monkeypatch):
    """The processes that were started since."""
    found, start = [], BaseProcess.start

    def counted(self):
        found.append(self)
        start(self)

    monkeypatch.setattr(BaseProcess, "start", counted)
    return found


def numbered(image):
    """Something of the image, and who read it."""
    return torch.tensor([image.getpixel((14, 14))[0], os.getpid()])


def broken(image):
    raise ValueError("this image is broken")


@pytest.mark.parametrize("workers", [0, 2])
def test_passes_give_the_rows_asked_for(workers, digits):
    with reading(digits, numbered, device=CPU, workers=workers) as read:
        passes = [list(read(rows)) for rows in (ROWS, ROWS[::-1], [], ROWS[:1])]
    wanted = [[numbered(digits.image(i).convert("RGB"))[0].item() for i in batch] for batch in ROWS]
    found = [[batch[:, 0].tolist() for batch in each] for each in passes]
    assert found == [wanted, wanted[::-1], [], wanted[:1]]


def test_processes_outlive_a_pass_and_end_with_the_block(digits, started):
    with reading(digits, numbered, device=CPU, workers=2) as read:
        assert not started
        readers = {int(number) for _ in range(3) for batch in read(ROWS) for number in batch[:, 1]}
        assert len(started) == 2
        assert readers <= {process.pid for process in started}
        assert set(started) <= set(multiprocessing.active_children())
    assert not any(process.is_alive() for process in started)


def test_processes_end_when_something_fails_though_its_traceback_is_kept(digits, started):
    kept = []
    try:
        with reading(digits, numbered, device=CPU, workers=2) as read:
            for _ in read(ROWS):
                raise KeyError("what takes the batch fails")
    except KeyError as error:
        kept.append(error)
    with pytest.raises(ValueError, match="this image is broken") as failed:  # noqa: SIM117
        with reading(digits, broken, device=CPU, workers=2) as read:
            list(read(ROWS))
    kept.append(failed.value)
    assert all(error.__traceback__ is not None for error in kept)
    assert len(started) == 4
    assert not any(process.is_alive() for process in started)


def test_a_pass_that_is_left_does_not_mix_with_the_next(digits):
    with reading(digits, numbered, device=CPU, workers=1) as read:
        left = read(ROWS)
        next(left)
        again = [batch[:, 0].tolist() for batch in read(ROWS)]
        assert [len(batch) for batch in again] == [2, 1, 3]
        with pytest.raises(RuntimeError, match="another pass over these images has begun"):
            next(left)


def test_inputs_are_taken_as_they_are(started):
    inputs = torch.rand(6, 1, 2, 2)
    with reading(inputs, None, device=CPU, workers=2) as read:
        assert all(torch.equal(batch, inputs[rows]) for batch, rows in zip(read(ROWS), ROWS, strict=True))
    assert not started


def test_one_pass_ends_its_processes(digits, started):
    found = batches.batches(digits, ROWS, numbered, device=CPU, workers=1)
    assert next(found)[:, 1].tolist() == [started[0].pid] * 2
    found.close()
    assert not started[0].is_alive()
