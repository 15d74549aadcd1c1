"""Names of models: resolve wildcards and "popular", and refuse unknown names before anything is loaded."""

import glob
import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from nclib.checks import counted, few, similar

# Widely used, from several families, and small enough for a laptop: at most 90 million parameters each, 1 GB in all.
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
_WEIGHTS = ".safetensors"
_HUB = ("hf-hub:", "hf_hub:")
_FOLDER = "local-dir:"
_UNKNOWN = "timm has no model"
_OWN = "a model of your own needs the module that registers it: imports=[...], --import on the command line"


def model_names(
    names: str | Iterable[str], *, weights: str | Path = "pretrained", imports: Sequence[str] = ()
) -> list[str]:
    """The names of models that names and wildcards stand for, as `backbone` takes them, each once.

    Parameters
    ----------
    names
        One or several of: names; wildcards as in `timm.list_models`, such as ``resnet18*``, ``torchvision:vit_?_16`` or
        ``recipe:runs/*.safetensors``; and ``popular``, ten widely used models that a laptop can run.
    weights
        As in `backbone`. With ``pretrained`` a wildcard of timm stands for all pretrained weights, such as
        ``resnet18.a1_in1k``; otherwise for architectures.
    imports
        As in `backbone`: modules that register models with timm.

    Raises
    ------
    ValueError
        For unknown names, all listed with similar names, and for wildcards that match nothing.
    FileNotFoundError
        If the only errors are missing files.

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
            f"name is a {type(strange[0]).__name__}; for a model of your own give Backbone(name, model, transform)"
        )
    pretrained = str(weights) == "pretrained"
    found = [each for name in asked for each in _meant(name, pretrained)]
    wrong = [why for name in dict.fromkeys(found) if (why := _wrong(name, pretrained)) is not None]
    refuse_all(wrong, _OWN if any(_UNKNOWN in str(why) for why in wrong) else "")
    return list(dict.fromkeys(found))


def common_ends(names: Sequence[str]) -> tuple[str, str]:
    """The beginning and the ending that several names share, which a comparison can leave out; "" if there is none.

    The beginning reaches up to a colon or a slash. The ending is the suffix of a file of weights.

    >>> common_ends(["recipe:runs/latin.safetensors", "recipe:runs/greek.safetensors"])
    ('recipe:runs/', '.safetensors')
    >>> common_ends(["torchvision:resnet18", "resnet18.a1_in1k"])
    ('', '')
    """
    cuts = [names[0][: i + 1] for i, mark in enumerate(names[0]) if mark in ":/\\"] if len(names) > 1 else []
    start = next((cut for cut in reversed(cuts) if all(name.startswith(cut) for name in names)), "")
    return start, _WEIGHTS if start and all(name.endswith(_WEIGHTS) for name in names) else ""


def model_name(name: str, *, weights: str | Path = "pretrained", imports: Sequence[str] = ()) -> str:
    """The single model that a name or wildcard stands for; ValueError if there are several."""
    names = model_names([name], weights=weights, imports=imports)
    if len(names) > 1:
        raise ValueError(f"{name!r} stands for {len(names)} models, {few(names)}; give one of them")
    return names[0]


def repository(name: str) -> str | None:
    """The repository on the Hugging Face hub of an ``hf-hub:`` model; None for other models.

    >>> repository("hf-hub:someone/net"), repository("resnet18")
    ('someone/net', None)
    """
    return name.partition(":")[2] if name.startswith(_HUB) else None


def refuse_all(wrong: Sequence[Exception], hint: str = "") -> None:
    """Raise all errors as one, of their own type if they share it, else ValueError; the hint comes last."""
    kinds = {type(each) for each in wrong}
    if wrong:
        raise (kinds.pop() if len(kinds) == 1 else ValueError)("; ".join([*map(str, wrong), *([hint] if hint else [])]))


def _meant(name: str, pretrained: bool) -> Sequence[str]:
    """The names that a name stands for; a wildcard without a match stands for itself."""
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
    """The library of a model, and its name there."""
    library, colon, rest = name.partition(":")
    return (library, rest) if colon and library in ("timm", "torchvision", "recipe") else ("timm", name)


def _listed(library: str, pattern: str, pretrained: bool) -> list[str]:
    """The names in a library that match a pattern."""
    if library == "torchvision":
        from torchvision import models

        return models.list_models(module=models, include=pattern)
    import timm

    if not pretrained:
        return timm.list_models(pattern, include_tags="." in pattern)
    own = [name for name in timm.list_models(pattern) if timm.get_pretrained_cfg(name) is None]  # no weights
    return timm.list_models(pattern, pretrained=True) + own


def _wrong(name: str, pretrained: bool) -> Exception | None:
    """What is wrong with a name, as far as this machine can tell, or None."""
    library, rest = _parts(name)
    if name.startswith(_HUB):
        return ValueError(f"{name!r} is a wildcard; models of the hub need their full name") if "*" in name else None
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
        return ValueError(
            f"timm has no model {name!r}; use 'hf-hub:{name}' for one of the hub, 'local-dir:PATH' for one in a folder"
        )
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
            f"{pattern!r} matches {counted(number, 'model')} of {library}, but none with pretrained weights"
        )
    return ValueError(f"{pattern!r} matches no model of {library}{_hint(pattern.strip(_WILD), library)}")


def _unknown(name: str, library: str) -> ValueError:
    return ValueError(f"{library} has no model {name!r}{_hint(name, library)}")


def _hint(name: str, library: str) -> str:
    known = _listed(library, "*", False)
    return similar(name.lower(), known) or f"; it has {len(known)}, such as {known[0]}"


def import_module(name: str) -> None:
    """Import a module, once: by name, also from the working directory, or by the path of its file.

    FileNotFoundError if there is no such file; ModuleNotFoundError for a name that is not found.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "own_models.py")
    ...     _ = path.write_text("print('imported')")
    ...     for _ in range(2):  # the second time nothing is left to do
    ...         import_module(str(path))
    imported
    """
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
    """Import a file as a module named after its whole path, since another module may have its stem."""
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
