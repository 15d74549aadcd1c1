"""Make a file of weights of a ResNet-50 from a checkpoint that the authors of a self-supervised training published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import resnet50

from nclib.storage import replacing
from workflow.make_folders import Given, check, checksum


def tensors_of(checkpoint: Any) -> dict[str, Tensor]:
    """All tensors of a checkpoint by their names; those of dicts in it by the names of both."""
    found: dict[str, Tensor] = {}
    for name, value in checkpoint.items():
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            found |= {f"{name}.{inner}": each for inner, each in tensors_of(value).items()}
    return found


def resnet50_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone of torchvision's ResNet-50 in a checkpoint, wherever in it that lies."""
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in resnet50().state_dict().items() if not name.startswith("fc.")}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # which some leave out
    prefixes = [name.removesuffix("conv1.weight") for name in tensors if name.endswith("conv1.weight")]
    for prefix in sorted(prefixes, key=len):
        found = {name: tensors[f"{prefix}{name}"] for name in wanted if f"{prefix}{name}" in tensors}
        if wanted.keys() - counters <= found.keys() and all(found[name].shape == wanted[name] for name in found):
            return {name: found.get(name, torch.tensor(0)).clone() for name in wanted}
    raise typer.BadParameter(
        "the checkpoint holds no ResNet-50 by torchvision's names (conv1.weight, layer1.0.conv1.weight and so on, "
        "behind any prefix); convert it to these first, as the authors' code or a public converter does"
    )


def main(
    checkpoint: Annotated[Path, typer.Argument(help="as downloaded: .pth, .pth.tar, .pt or .tar")],
    out: Annotated[Path, typer.Argument(help="the file, self_supervised/NAME.safetensors of the data root")],
    sha256: Given = None,
) -> None:
    """Write the backbone of a checkpoint as a safetensors file, without unpickling anything but tensors.

    We know no published sum of these checkpoints: that of what was read is printed.
    """
    check(f"sha256 of {checkpoint.name}", checksum([checkpoint]), sha256)
    backbone = resnet50_of(tensors_of(torch.load(checkpoint, map_location="cpu", weights_only=True)))
    with replacing(out) as path:
        save_file(backbone, path)
    typer.echo(f"{len(backbone)} tensors are in {out}")


if __name__ == "__main__":
    typer.run(main)
