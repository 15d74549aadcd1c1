"""The networks that we train: small ResNets and VGGs, with a projection head that transfer drops."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn


class Network(nn.Module):
    """A backbone, a projection head of any depth, and a linear classifier.

    `backbone(x)` returns the last-layer features (N, d), and is what transfer keeps; the projection head and the
    classifier only serve to train it. With `projection=0` the classifier sees the features themselves.

    Examples
    --------
    >>> import torch
    >>> network = Network(small_resnet(width=8), num_features=64, num_classes=10, projection=1)
    >>> images = torch.zeros(2, 1, 28, 28)
    >>> network.backbone(images).shape, network(images).shape
    (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: int, *, projection: int = 0):
        super().__init__()
        if projection < 0:
            raise ValueError(f"projection is {projection}; it must be a number of layers, 0 or more")
        layers = [layer for _ in range(projection) for layer in _projection_layer(num_features)]
        self.backbone = backbone
        self.projection = nn.Sequential(*layers)
        self.classifier = nn.Linear(num_features, num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """What the loss sees: the features after the projection head, (N, d)."""
        return self.projection(self.backbone(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.classifier(self.embed(x))


def _projection_layer(width: int) -> list[nn.Module]:
    return [nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]


def small_resnet(
    width: int = 16,
    *,
    in_channels: int = 1,
    blocks: int = 1,
    stages: tuple[int, ...] = (1, 1, 1, 1),
    bottleneck: bool = False,
) -> nn.Module:
    """timm's ResNet for small images: stages of `width` x 1, 2, 4, 8 channels and `blocks` x `stages` basic blocks.

    Its features are (N, 8 * width), or (N, 32 * width) with bottleneck blocks. The stem is as wide as the first stage
    (timm's is 64 wide).

    Examples
    --------
    >>> import torch
    >>> small_resnet(width=8)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 64])
    """
    from timm.models.resnet import BasicBlock, Bottleneck, ResNet

    if width < 2 or width % 2 or blocks < 1:
        raise ValueError(f"width is {width} and blocks {blocks}; width must be even and positive, blocks at least 1")
    if len(stages) != 4:
        raise ValueError(f"stages are {stages}; give the number of blocks of each of 4, such as (3, 4, 6, 3)")
    channels = (width, 2 * width, 4 * width, 8 * width)
    network = ResNet(
        Bottleneck if bottleneck else BasicBlock,  # type: ignore[arg-type]  # timm means the class, not an instance
        tuple(blocks * number for number in stages),
        num_classes=0,
        in_chans=in_channels,
        channels=channels,
        stem_type="deep",
        stem_width=width // 2,
        zero_init_last=False,  # otherwise an untrained network sees one corner of the image
    )
    # Only the deep stem's width can be set; a single 5 x 5 layer does the same in a third of the time.
    stem = nn.Conv2d(in_channels, width, 5, stride=2, padding=2, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    network.add_module("conv1", stem)
    return network


def cifar_resnet(width: int = 64, *, in_channels: int = 3, **shape: Any) -> nn.Module:
    """`small_resnet` with the stem used for CIFAR: 3 x 3, stride 1, no max-pooling, for images of 32 x 32.

    Its last map for such an image is 4 x 4, instead of 1 x 1 in `small_resnet`, at 16 times the work.

    Examples
    --------
    >>> import torch
    >>> cifar_resnet(width=8, blocks=2).forward_features(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64, 4, 4])
    """
    network = small_resnet(width, in_channels=in_channels, **shape)
    stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    network.add_module("conv1", stem)
    network.add_module("maxpool", nn.Identity())
    return network


def small_vgg(
    width: int = 16,
    *,
    in_channels: int = 1,
    blocks: int = 1,
    stages: tuple[int, ...] = (1, 1, 1, 1, 1),
    norm: bool = False,
) -> nn.Module:
    """A VGG: stages of `width` x 1, 2, 4, 8, 8 channels and `blocks` x `stages` convolutions.

    There is no normalisation, or, with `norm`, batch norm after each convolution.

    Its features are (N, 8 * width), the last map averaged over its positions. With width 64 and two blocks it is VGG-13
    without the fully connected layers. Pooling rounds up, so images may have any size.

    Examples
    --------
    >>> import torch
    >>> small_vgg(width=4, in_channels=3)(torch.zeros(2, 3, 28, 28)).shape
    torch.Size([2, 32])
    """
    if width < 1 or blocks < 1:
        raise ValueError(f"width is {width} and blocks {blocks}; both must be at least 1")
    if len(stages) != 5:
        raise ValueError(f"stages are {stages}; give the number of convolutions of each of 5, such as (1, 1, 2, 2, 2)")
    layers: list[nn.Module] = []
    for channels, number in zip((width, 2 * width, 4 * width, 8 * width, 8 * width), stages, strict=True):
        for _ in range(blocks * number):
            convolution = nn.Conv2d(in_channels, channels, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight)
            nn.init.constant_(convolution.get_parameter("bias"), 0.0)
            layers += [convolution, *([nn.BatchNorm2d(channels)] if norm else []), nn.ReLU(inplace=True)]
            in_channels = channels
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.num_features = in_channels  # type: ignore[assignment]  # the name in timm's models
    return network


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet": small_resnet,
    "vgg": small_vgg,
    "vgg11": partial(small_vgg, stages=(1, 1, 2, 2, 2)),
    "vgg_bn": partial(small_vgg, norm=True),
    "vgg11_bn": partial(small_vgg, stages=(1, 1, 2, 2, 2), norm=True),
    "resnet50": partial(small_resnet, stages=(3, 4, 6, 3), bottleneck=True),
    "cifar_resnet": cifar_resnet,
    "cifar_resnet50": partial(cifar_resnet, stages=(3, 4, 6, 3), bottleneck=True),
}
