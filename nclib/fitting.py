"""Training of any module on tensors in memory: what networks of pixels and of words are trained with."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nclib.augmentation import seeded
from nclib.probing import LinearProbe
from nclib.schedules import SCHEDULES
from nclib.tuning import Tuning


def fit(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], settings: Tuning
) -> None:
    """Train a module in place, on its device, by AdamW on `loss(inputs, targets)` of batches; left in eval mode.

    Of the settings rate, weight decay, epochs, batch size, schedule and seed count; a last batch of one is left out,
    for batch norm needs two. On one kind of processor equal settings give equal weights.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    device = parameters[0].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)  # of dropout
        module.train()
        for epoch in range(settings.epochs):
            order = torch.randperm(len(inputs), generator=seeded("fit", settings.seed, epoch))
            batches = [rows for rows in order.split(settings.batch_size) if len(rows) > 1]
            for step, rows in enumerate(batches):
                progress = (epoch + (step + 0.5) / len(batches)) / settings.epochs
                optimizer.param_groups[0]["lr"] = settings.learning_rate * SCHEDULES[settings.schedule](progress)
                optimizer.zero_grad()
                loss(inputs[rows].to(device), targets[rows].to(device)).backward()
                optimizer.step()
    module.eval()


def probe_layer(features: Tensor, labels: Tensor, num_classes: int, *, C: float = 0.1) -> nn.Linear:
    """A linear layer that is a `LinearProbe` of features (N, d), float32; a class without a sample has zeros."""
    probe = LinearProbe(C=C).fit(features, labels)
    layer = skip_init(nn.Linear, features.shape[1], num_classes)  # no random number is drawn
    weight = probe.weight_.double() / probe.scale_
    with torch.no_grad():
        for parameter, rows in ((layer.weight, weight), (layer.bias, probe.bias_ - weight @ probe.mean_)):
            parameter.zero_()
            parameter[probe.classes_] = rows.to(parameter)
    return layer


Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def fit_best(
    make: Callable[[Tensor, Tensor], nn.Module],
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    candidates: Sequence[Tuning],
    merit: Callable[[nn.Module, Tensor, Tensor], float],
) -> nn.Module:
    """A module made anew and fitted to all inputs with the settings that do best on the fifth that is held out.

    `make(inputs, targets)` is given what it will be fitted to, of which its first weights may be a probe.
    `merit(module, inputs, targets)` is higher for the better; every fifth of the inputs, in their order, is held out.
    There is nothing to choose, and no trial, of a single candidate.
    """
    held = torch.arange(len(inputs)) % 5 == 4

    def fitted(settings: Tuning, rows: Tensor) -> nn.Module:
        module = make(inputs[rows], targets[rows])
        fit(module, inputs[rows], targets[rows], partial(loss, module), settings)
        return module

    if len(candidates) > 1:
        merits = [merit(fitted(settings, ~held), inputs[held], targets[held]) for settings in candidates]
        candidates = [candidates[max(range(len(candidates)), key=merits.__getitem__)]]
    return fitted(candidates[0], torch.ones_like(held))
