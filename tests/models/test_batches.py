"""Balanced batches hold what is said, in turns, and in an order that depends on the generator alone."""

from collections import Counter

import pytest
import torch
from hypothesis import given, strategies as st

import nclib
from nclib.models.batches import balanced, in_order


def batches_of(labels, batch_size, least, seed=0):
    return balanced(torch.as_tensor(labels), batch_size, least, torch.Generator().manual_seed(seed))


@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=12),
    least=st.integers(1, 5),
    room=st.integers(0, 40),
    seed=st.integers(0, 99),
)
def test_batches_hold_equally_many_of_as_many_classes_as_there_can_be(sizes, least, room, seed):
    batch_size = 2 * least + room
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    classes = min(batch_size // least, len(sizes))
    batches = batches_of(labels, batch_size, least, seed)
    drawn: Counter[int] = Counter()
    for batch in batches:
        counts = Counter(labels[batch].tolist())
        assert len(counts) == classes
        assert len(set(counts.values())) == 1
        each = counts.most_common(1)[0][1]
        assert least <= each <= batch_size // classes
        assert each == least or classes == len(sizes)
        assert all(n == min(each, sizes[label]) for label, n in Counter(labels[batch.unique()].tolist()).items())
        drawn.update(counts.keys())
    turns = [drawn[label] for label in range(len(sizes))]
    assert max(turns) - min(turns) <= 1
    assert len(batches) == 1 or abs(sum(map(len, batches)) - len(labels)) <= len(batches[0]) / 2


@given(st.integers(0, 99))
def test_of_equal_classes_an_epoch_sees_every_image_once(seed):
    labels = torch.arange(8).repeat(12)
    assert torch.cat(batches_of(labels, 12, 3, seed)).sort().values.tolist() == list(range(96))


def test_few_classes_fill_the_batch_with_more_images_of_each():
    labels = torch.arange(10).repeat(60)
    assert {len(batch) for batch in batches_of(labels, 128, 4)} == {120}
    assert {len(batch) for batch in batches_of(torch.arange(52).repeat(60), 128, 4)} == {128}


def test_the_generator_alone_decides():
    labels = torch.arange(6).repeat(9)
    one, same, other = (torch.cat(batches_of(labels, 12, 3, seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_part_of_a_batch_is_not_of_one_class():
    labels = torch.arange(6).repeat(9)
    assert any(len(labels[batch[:3]].unique()) > 1 for batch in batches_of(labels, 12, 3))


def test_in_order_leaves_out_a_last_batch_of_one():
    assert [batch.tolist() for batch in in_order(torch.arange(7), 3)] == [[0, 1, 2], [3, 4, 5]]


def test_a_batch_that_cannot_hold_two_classes_is_refused():
    with pytest.raises(ValueError, match="balanced is 5; a batch of 8 must hold that many images of two classes"):
        nclib.Recipe(batch_size=8, balanced=5)
    with pytest.raises(ValueError, match="balanced is -1; it must be at least 0"):
        nclib.Recipe(balanced=-1)
