"""Class statistics of a model's features on a data set, which are never in memory at once; by several processes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn

from nclib.data.items import Stream
from nclib.data.kinds import labelled, with_labels
from nclib.data.pictures import numbered
from nclib.features.backbones import LAST, Backbone
from nclib.features.extraction import Extraction, each_shard, shards_of
from nclib.metrics.statistics import ClassStatistics, Covariance


def feature_statistics(
    model: Backbone | nn.Module,
    images: Any,
    *,
    layer: str | int = LAST,
    covariance: Covariance = "full",
    **options: Any,
) -> ClassStatistics:
    """Class statistics of a layer's features, gathered while they are computed; options as of `extract_layers`.

    `images` are of any kind that `nclib.labelled` takes, with labels. A stream is passed over once.

    Under torch.distributed each process passes over its share of the images, and all have the statistics of all: what
    one process would have, but for rounding in float64. A stream is copied into the memory of each. With a `cache`,
    which the processes may share, a run that was killed goes on where it was, on any number of processes.

    Examples
    --------
    >>> from nclib import backbone, load, nc1
    >>> digits = load("digits", per_class=2)
    >>> stats = feature_statistics(backbone("test_resnet", weights="random", device="cpu"), digits)
    >>> stats.num_samples, stats.num_classes
    (20, 10)
    """
    several = distributed.is_available() and distributed.is_initialized()
    images = labelled(images)
    if isinstance(images, Stream) and not several:
        shards = each_shard(model, images, [layer], Extraction(**options))
        return _of_stream(images, ((rows, next(iter(found.values()))) for rows, found in shards), covariance)
    images = with_labels(images)
    rank, number = (distributed.get_rank(), distributed.get_world_size()) if several else (0, 1)
    mine = shards_of(images)[rank::number]
    how = Extraction(**options) if mine else Extraction()
    one = [range(1)]  # a process without a share needs to know the number of features all the same
    shards = each_shard(model, images, [layer], how, mine or one)
    rows = ((next(iter(found.values())), images.labels[part.start : part.stop]) for part, found in shards)
    if not mine:
        rows = ((features[:0], labels[:0]) for features, labels in rows)
    stats = ClassStatistics.from_batches(rows, len(images.classes), covariance=covariance)
    return stats.all_reduce() if several else stats


def _of_stream(images: Stream, shards: Iterator[tuple[range, Tensor]], covariance: Covariance) -> ClassStatistics:
    """Of images whose classes are not known before the last: they are numbered as they come, and then in order."""
    places: dict[str | int, int] = {}
    stats: ClassStatistics | None = None
    for rows, features in shards:
        names = images.names_of(rows.start, rows.stop)
        labels = torch.tensor([places.setdefault(name, len(places)) for name in names])
        new = ClassStatistics.from_batches([(features, labels)], len(places), covariance=covariance)
        stats = new if stats is None else _placed(stats, torch.arange(stats.num_classes), len(places)).merge(new)
    assert stats is not None  # a stream without images is an error
    order, classes = numbered(list(places), images.names)
    return _placed(stats, order, len(classes))


def _placed(stats: ClassStatistics, places: Tensor, num_classes: int) -> ClassStatistics:
    """The same statistics, in which class k is class places[k] of so many."""
    state, device = stats.state_dict(), stats.counts.device
    for name in ("counts", "means", "squares"):
        whole = state[name].new_zeros(num_classes, *state[name].shape[1:])
        state[name] = whole.index_copy(0, places.to(device), state[name])
    empty = ClassStatistics(stats.num_features, num_classes, covariance=stats.covariance, device=device)
    return empty.load_state_dict(state)
