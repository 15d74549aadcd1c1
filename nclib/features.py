"""Last-layer features of a model, in batches, on its device."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def extract(model: nn.Module, inputs: Tensor, *, batch_size: int = 512) -> Tensor:
    """What the model returns for inputs float (N, C, H, W), in eval mode: of a backbone, features (N, d).

    They stay on the model's device. Every module is left in the mode it was in.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    device = next((parameter.device for parameter in model.parameters()), inputs.device)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        return torch.cat([model(batch.to(device)) for batch in inputs.split(batch_size)])
    finally:
        for module in training:
            module.training = True
