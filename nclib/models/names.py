"""Names of models: what wildcards and "popular" stand for, and which names nobody knows, before anything is loaded."""

import difflib
import glob
import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from nclib.checks import counted, few

# Widely used, of several families, and small enough for a laptop: 90 million parameters at most, 1 GB in all.
POPULAR = (
    "resnet18.a1_in1k",
    "resnet50.a1_in1k",
    "mobilenetv3_large_100.ra_in1k",
    "efficientnet_b0.ra_in1k",
    "densenet121.ra_in1k",
    "convnext_tiny.fb_in1k",
    "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "deit_small_patch16_224.fb_in1k",
    "swin_tiny_patch4_window7_224.ms_in1k",
    "vit_base_patch32_clip_224.openai",
)
_WILD = "*?["
_HUB = ("hf-hub:", "hf_hub:")
_FOLDER = "local-dir:"
_UNKNOWN = "timm has no model"
_OWN = "a model of your own needs the module that registers it: imports=[...], --import on the command line"


def model_names(
    names: str | Iterable[str], *, weights: str | Path = "pretrained", imports: Sequence[str] = ()
) -> list[str]:
    """Names of models as `backbone` takes them, each once, of names, wildcards and lists of names.

    Parameters
    ----------
    names
        Names; wildcards by the rules of `timm.list_models`, such as ``resnet18*``, ``torchvision:vit_?_16`` or
        ``recipe:runs/*.safetensors``; and ``popular``, ten widely used models that a laptop can do with. One, or
        several.
    weights
        As of `backbone`: for ``pretrained`` a wildcard of timm stands for all weights that there are, such as
        ``resnet18.a1_in1k``, otherwise for architectures.
    imports
        As of `backbone`: modules that register models with timm.

    Raises
    ------
    ValueError
        For names that nobody knows, of which all are named, with names near them; and for wildcards that match nothing.
    FileNotFoundError
        If all that is wrong is that files are not there.

    Examples
    --------
    >>> model_names(["resnet18.a?_in1k", "torchvision:resnet1*", "resnet18.a1_in1k"])[1:]
    ['resnet18.a2_in1k', 'resnet18.a3_in1k', 'torchvision:resnet101', 'torchvision:resnet152', 'torchvision:resnet18']
    >>> len(model_names("popular"))
    10
    """
    for module in [imports] if isinstance(imports, str) else imports:
        import_module(module)
    asked = [names] if isinstance(names, str) else list(names)
    if strange := [name for name in asked if not isinstance(name, str)]:
        raise TypeError(
            f"name is a {type(strange[0]).__name__}; for a model of your own it is Backbone(name, model, transform)"
        )
    pretrained = str(weights) == "pretrained"
    found = [each for name in asked for each in _meant(name, pretrained)]
    wrong = [why for name in dict.fromkeys(found) if (why := _wrong(name, pretrained)) is not None]
    refuse_all(wrong, _OWN if any(_UNKNOWN in str(why) for why in wrong) else "")
    return list(dict.fromkeys(found))


def model_name(name: str, *, weights: str | Path = "pretrained", imports: Sequence[str] = ()) -> str:
    """The one name of a model that a name, or a wildcard, stands for."""
    names = model_names([name], weights=weights, imports=imports)
    if len(names) > 1:
        raise ValueError(f"{name!r} is {len(names)} models, {few(names)}; give one of them")
    return names[0]


def repository(name: str) -> str | None:
    """Where on the Hugging Face hub a model of images is; None of a model that is elsewhere.

    >>> repository("hf-hub:someone/net"), repository("resnet18")
    ('someone/net', None)
    """
    return name.partition(":")[2] if name.startswith(_HUB) else None


def refuse_all(wrong: Sequence[Exception], hint: str = "") -> None:
    """Raise all that is wrong at once, as what it is where it is all of one kind; the hint comes last."""
    kinds = {type(each) for each in wrong}
    if wrong:
        raise (kinds.pop() if len(kinds) == 1 else ValueError)("; ".join([*map(str, wrong), *([hint] if hint else [])]))


def _meant(name: str, pretrained: bool) -> Sequence[str]:
    """What a name stands for: itself, too, if it is a wildcard that matches nothing."""
    if name == "popular":
        return POPULAR
    library, rest = _parts(name)
    if name.startswith((*_HUB, _FOLDER)) or not any(mark in rest for mark in _WILD):
        return [name]
    if library == "recipe":
        return [f"recipe:{path}" for path in sorted(glob.glob(rest))] or [name]
    prefix = f"{library}:" if name.startswith(f"{library}:") else ""
    return [f"{prefix}{each}" for each in _listed(library, rest, pretrained)] or [name]


def _parts(name: str) -> tuple[str, str]:
    """The library that has a model, and its name there."""
    library, colon, rest = name.partition(":")
    return (library, rest) if colon and library in ("timm", "torchvision", "recipe") else ("timm", name)


def _listed(library: str, pattern: str, pretrained: bool) -> list[str]:
    """What a library has that matches."""
    if library == "torchvision":
        from torchvision import models

        return models.list_models(module=models, include=pattern)
    import timm

    if not pretrained:
        return timm.list_models(pattern, include_tags="." in pattern)
    own = [name for name in timm.list_models(pattern) if timm.get_pretrained_cfg(name) is None]  # it knows no weights
    return timm.list_models(pattern, pretrained=True) + own


def _wrong(name: str, pretrained: bool) -> Exception | None:
    """What is wrong with a name, as far as this machine knows."""
    library, rest = _parts(name)
    if name.startswith(_HUB):
        return ValueError(f"{name!r} is a wildcard; models of the hub go by their names") if "*" in name else None
    if name.startswith(_FOLDER) or library == "recipe":
        kind, place = ("checkpoint", Path(rest)) if library == "recipe" else ("folder", Path(name[len(_FOLDER) :]))
        return FileNotFoundError(f"there is no {kind} {place}") if pretrained and not place.exists() else None
    if any(mark in rest for mark in _WILD):
        return _unmatched(rest, library, pretrained)
    if library == "torchvision":
        return None if _listed(library, rest, pretrained) == [rest] else _unknown(rest, library)
    return _wrong_for_timm(rest, pretrained)


def _wrong_for_timm(name: str, pretrained: bool) -> ValueError | None:
    import timm

    if "/" in name:
        return ValueError(f"timm has no model {name!r}; of the hub it is 'hf-hub:{name}', of a folder 'local-dir:PATH'")
    if not timm.is_model(name):
        return _unknown(name, "timm")
    architecture, _, tag = name.partition(".")
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = [each.partition(".")[2] for each in timm.list_models(f"{architecture}.*", pretrained=True)]
        return ValueError(f"timm has no weights {tag!r} of {architecture}; there are {', '.join(tags) or 'none'}")
    if pretrained and known is not None and not known.has_weights:
        return ValueError(f"timm has no pretrained weights of {name!r}; give weights='random', or the path of a file")
    return None


def _unmatched(pattern: str, library: str, pretrained: bool) -> ValueError:
    if pretrained and (number := len(_listed(library, pattern, False))):
        return ValueError(
            f"{pattern!r} matches {counted(number, 'model')} of {library}, but none that has pretrained weights"
        )
    return ValueError(f"{pattern!r} matches no model of {library}; {_hint(pattern.strip(_WILD), library)}")


def _unknown(name: str, library: str) -> ValueError:
    return ValueError(f"{library} has no model {name!r}; {_hint(name, library)}")


def _hint(name: str, library: str) -> str:
    known = _listed(library, "*", False)
    close = difflib.get_close_matches(name.lower(), known, 5)
    return f"names near it are {', '.join(close)}" if close else f"it has {len(known)}, such as {known[0]}"


def import_module(name: str) -> None:
    """Import a module by name, as seen from the working directory too, or by the path of its file, once."""
    path = Path(name)
    if path.suffix == ".py" and not path.is_file():
        raise FileNotFoundError(f"there is no file {path} to import")
    folder = str(path.parent.resolve() if path.suffix == ".py" else Path.cwd())
    sys.path.insert(0, folder)
    try:
        if path.suffix == ".py":
            _import_file(path.resolve())
        else:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{name} could not be imported ({error}); is it on PYTHONPATH?") from error
    finally:
        sys.path.remove(folder)


def _import_file(path: Path) -> None:
    """As a module of the name of its whole path, for others may have its stem."""
    if str(path) in sys.modules:
        return
    loader = SourceFileLoader(str(path), str(path))
    module = sys.modules[str(path)] = ModuleType(str(path))
    module.__file__ = str(path)
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[str(path)]
        raise
