"""A cache of features: a folder for what made them, a file for each shard of the images, whole or not there."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nclib.models import Backbone
from nclib.storage import digest_of, load_tensors, save_tensors


@dataclass(frozen=True)
class FeatureCache:
    """Features in files of one shard and layer; what made them names their folder."""

    folder: Path
    made_of: dict[str, Any]

    @classmethod
    def of(cls, cache: Path | str, model: Backbone, images: Any, half: bool) -> "FeatureCache":
        data = digest_of({"inputs": images}) if isinstance(images, Tensor) else images.digest
        transform = "none" if isinstance(images, Tensor) else repr(model.transform)
        if " at 0x" in transform:  # where it is in memory says nothing of what it does
            raise ValueError(
                f"the transform of {model.name} is {transform}; a cache needs one whose repr says what it does"
            )
        made_of = {"model": model.name, "weights": model.digest, "images": data, "transform": transform, "half": half}
        return cls(Path(cache), made_of | {"network": repr(model.model), "last": _code(model.last)})

    def path(self, shard: range, name: str) -> Path:
        text = json.dumps([self.made_of, name], sort_keys=True)
        key = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
        return self.folder / key / f"{shard.start:08d}-{shard.stop:08d}.safetensors"

    def holds(self, shard: range, names: Iterable[str]) -> bool:
        """Whether there is a file of each layer."""
        return all(self.path(shard, name).exists() for name in names)

    def read(self, shard: range, names: Iterable[str]) -> dict[str, Tensor]:
        """What is there and whole of a shard."""
        found = {}
        for name in names:
            path = self.path(shard, name)
            if path.exists():
                try:
                    found[name] = load_tensors(path)[0]["features"]
                except (ValueError, KeyError) as error:
                    warnings.warn(f"{error}; computing its features again", stacklevel=3)
        return found

    def write(self, shard: range, outputs: dict[str, Tensor]) -> None:
        for name, features in outputs.items():
            save_tensors(self.path(shard, name), {"features": features}, self.made_of | {"layer": name})


def _code(function: Callable[..., Any] | None) -> list[str]:
    """What tells a function from another of the same name: the operations it is made of."""
    code = getattr(function, "__code__", None)
    return [repr(type(function))] if code is None else [code.co_qualname, code.co_code.hex(), *code.co_names]
