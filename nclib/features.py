"""Last-layer features of a backbone, in batches, on its device."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def extract(backbone: nn.Module, inputs: Tensor, *, batch_size: int = 512) -> Tensor:
    """Features float32 (N, d) of inputs float (N, C, H, W); the backbone is used in eval mode.

    They stay on the backbone's device. Whatever mode the backbone was in, it is left in.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    try:
        return torch.cat([backbone(batch.to(device)) for batch in inputs.split(batch_size)])
    finally:
        backbone.train(was_training)
