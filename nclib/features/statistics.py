"""Class statistics of a model's features on a data set, without holding them in memory, and by several processes."""

from typing import Any

from torch import distributed, nn

from nclib.data.items import Stream
from nclib.data.kinds import labelled, with_labels
from nclib.data.pictures import numbered
from nclib.features.backbones import LAST, Backbone
from nclib.features.extraction import Extraction, each_shard, shards_of
from nclib.metrics.statistics import ClassStatistics, Covariance, grown


def feature_statistics(
    model: Backbone | nn.Module,
    images: Any,
    *,
    layer: str | int = LAST,
    covariance: Covariance = "full",
    **options: Any,
) -> ClassStatistics:
    """Class statistics of a layer's features, gathered while they are computed; options as in `extract_layers`.

    `images` are labelled images of any kind that `nclib.labelled` takes. A stream is passed over once. `layer` is the
    name of a module, a place in `Backbone.layers`, or "last". `covariance` is "full", or "diagonal" for features so
    wide that a d x d matrix is too large. Raises the errors of `extract_layers`, and TypeError for images without
    labels.

    Under torch.distributed each process passes over its share of the images, and every process gets the statistics of
    all images, equal to those of a single process up to float64 rounding. A stream is copied into each process's
    memory. With a `cache`, which the processes may share, a killed run resumes, on any number of processes.

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
        rows = ((next(iter(found.values())), images.names_of(part.start, part.stop)) for part, found in shards)
        return grown(rows, lambda labels: numbered(labels, images.names), covariance)
    images = with_labels(images)
    rank, number = (distributed.get_rank(), distributed.get_world_size()) if several else (0, 1)
    mine = shards_of(images)[rank::number]
    how = Extraction(**options) if mine else Extraction()
    one = [range(1)]  # a process without a share still needs the number of features
    shards = each_shard(model, images, [layer], how, mine or one)
    rows = ((next(iter(found.values())), images.labels[part.start : part.stop]) for part, found in shards)
    if not mine:
        rows = ((features[:0], labels[:0]) for features, labels in rows)
    stats = ClassStatistics.from_batches(rows, classes=images.classes, covariance=covariance)
    return stats.all_reduce() if several else stats
