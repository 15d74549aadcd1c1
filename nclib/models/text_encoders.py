"""Encoders of texts by name: Hugging Face models with their tokenizers, from the hub or a folder."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nclib.checks import counted, few
from nclib.data.places import find_path
from nclib.data.text_sets import Texts
from nclib.devices import resolve_device
from nclib.extras import optional
from nclib.features.backbones import LAST
from nclib.features.encoders import TextEncoder as TextEncoder, encoded
from nclib.features.forward import Outputs
from nclib.models.hub import hub
from nclib.models.names import refuse_all

_FIRST_LAYERS = re.compile(r"(.+)\[:(\d+)\]")  # the name of a model, and a number of layers
_WILD = "*?"

# Widely used, and small enough for a laptop: at most 110 million parameters.
POPULAR_ENCODERS = (
    "sentence-transformers/all-MiniLM-L6-v2",
    "sentence-transformers/all-mpnet-base-v2",
    "BAAI/bge-small-en-v1.5",
    "intfloat/e5-small-v2",
    "distilbert/distilbert-base-uncased",
    "google-bert/bert-base-uncased",
)


def encoder_names(names: str | Iterable[str], data_root: str | Path | None = None) -> list[str]:
    """The encoders that names and ``popular`` stand for, each once; an error lists all names known to be wrong."""
    asked = [names] if isinstance(names, str) else names
    found = list(dict.fromkeys(e for name in asked for e in (POPULAR_ENCODERS if name == "popular" else [name])))
    refuse_all([why for name in found if (why := _wrong(name, data_root)) is not None])
    return found


def encoder_name(name: str, data_root: str | Path | None = None) -> str:
    """The single encoder that a name stands for; ValueError if there are several."""
    names = encoder_names([name], data_root)
    if len(names) > 1:
        raise ValueError(f"{name!r} stands for {len(names)} encoders, {few(names)}; give one of them")
    return names[0]


def _wrong(name: str, data_root: str | Path | None) -> Exception | None:
    source = _parts(name)[0]
    if source.startswith("folder:"):
        try:
            _folder(source, data_root)
        except (FileNotFoundError, ValueError) as error:
            return error
    elif any(mark in source for mark in _WILD) or not source:
        return ValueError(
            f"{name!r} is not the name of an encoder; give OWNER/NAME for one of the hub, without wildcards"
        )
    return None


def encoder_repository(name: str) -> str | None:
    """The repository of an encoder on the Hugging Face hub; None for one in a folder.

    >>> encoder_repository("google-bert/bert-base-uncased[:2]")
    'google-bert/bert-base-uncased'
    """
    source = _parts(name)[0]
    return None if source.startswith("folder:") or Path(source).is_dir() else source


def _parts(name: str) -> tuple[str, int | None]:
    """The place of a model, and the number of layers that a name asks for, or None."""
    some = _FIRST_LAYERS.fullmatch(name)
    return (some[1], int(some[2])) if some else (name, None)


def _folder(source: str, data_root: str | Path | None) -> str:
    return str(find_path(source, data_root, "the files of a Hugging Face model"))


def text_encoder(
    name: str,
    *,
    pooling: Literal["mean", "first"] = "mean",
    device: str | torch.device = "auto",
    data_root: str | Path | None = None,
) -> TextEncoder:
    """A Hugging Face model as an encoder of texts, in eval mode. Needs the extra ``transformers``.

    Of a model with an encoder and a decoder (T5, BART) only the encoder is used.

    Parameters
    ----------
    name
        A model of the hub, such as ``sentence-transformers/all-MiniLM-L6-v2``, or ``folder:PATH``, a folder with its
        files, which may lie in the data root. ``[:n]`` after the name keeps only the first n layers. Weights are read
        only from safetensors, and no code of the model's authors is run.
    pooling
        How the last states become a text's features: the ``mean`` over its tokens, as in most sentence encoders, or the
        ``first`` token's state, as in BERT's classifier. What sentence-transformers adds (a layer, normalisation) is
        left out; to include it, pass the result of its own ``encode`` to the scores.
    device
        ``auto`` is a GPU if there is one.
    data_root
        The folder of the data sets; None is the environment variable ``NCLIB_DATA``.

    Raises
    ------
    ImportError
        Without transformers; it names the command that installs it.
    ValueError
        For a model without token states, or with fewer layers than asked for.
    OSError
        From transformers for a model that does not exist; FileNotFoundError if the hub cannot be reached.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from transformers import BertConfig, BertModel
    >>> with TemporaryDirectory() as folder:  # a small model, not trained, with a vocabulary of two words
    ...     BertModel(BertConfig(vocab_size=7, hidden_size=24, num_hidden_layers=2)).save_pretrained(folder)
    ...     _ = Path(folder, "vocab.txt").write_text("[PAD]\\n[UNK]\\n[CLS]\\n[SEP]\\n[MASK]\\na\\ntext", "utf-8")
    ...     encoder = text_encoder(f"folder:{folder}[:1]", device="cpu")
    >>> text_features(encoder, ["a text", "text"]).shape
    torch.Size([2, 24])
    """
    with optional("transformers"):
        from transformers import AutoModel, AutoTokenizer
    if pooling not in ("mean", "first"):
        raise ValueError(f"pooling is {pooling!r}; it must be 'mean' or 'first'")
    source, first = _parts(encoder_name(name, data_root))
    folder = _folder(source, data_root) if source.startswith("folder:") else source if Path(source).is_dir() else None
    with nullcontext() if folder else hub(source), _without_bars():
        tokenizer = AutoTokenizer.from_pretrained(folder or source, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            folder or source, use_safetensors=True, dtype=torch.float32, trust_remote_code=False
        )
    if model.config.is_encoder_decoder:  # the whole model returns the decoder's states
        model = model.get_encoder()
    if first is not None:
        _cut(model, first, name)
    encoder = TextEncoder(name, model, tokenizer, pooling).to(resolve_device(device)).eval()
    try:
        text_features(encoder, ["a text"])
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{name} returns no token states, which features need ({error})") from error
    return encoder


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the progress bar of loading weights, which takes only a moment."""
    with optional("transformers"):
        from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _cut(model: nn.Module, number: int, name: str) -> None:
    """Keep only the first layers."""
    config: Any = model.config
    layers = getattr(config, "num_hidden_layers", None)
    stack = next((part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == layers), None)
    if stack is None:
        raise ValueError(f"the layers of {name} cannot be found, so none can be left out; give the name without [:n]")
    if number > len(stack):
        raise ValueError(f"{name} asks for {counted(number, 'layer')}; the model has {layers}")
    del stack[number:]
    config.num_hidden_layers = number


def text_features(encoder: TextEncoder | str, texts: Texts | Iterable[str], **options: Any) -> Tensor:
    """Features of texts, (N, d) in torch's default dtype on the encoder's device; options as in `text_layers`.

    `encoder` is a `TextEncoder`, or a name that `text_encoder` takes.

    Examples
    --------
    >>> import nclib
    >>> found = nclib.texts("docstrings/libraries", per_class=20)
    >>> features = text_features("sentence-transformers/all-MiniLM-L6-v2", found.texts)  # doctest: +SKIP
    >>> nclib.nc1(nclib.class_statistics(features, found.labels))  # doctest: +SKIP
    """
    return text_layers(encoder, texts, [LAST], **options)[LAST]


def text_layers(
    encoder: TextEncoder | str,
    texts: Texts | Iterable[str],
    layers: Sequence[str | int],
    *,
    length: int = 256,
    batch_size: int = 32,
    progress: bool = False,
) -> Outputs:
    """Features of texts at several layers in one pass, by layer name: (N, d) on the encoder's device.

    Parameters
    ----------
    encoder
        A `TextEncoder`, or a name that `text_encoder` takes.
    texts
        A list of strings, or `Texts`; texts of similar length are encoded together.
    layers
        Names or places of `TextEncoder.layers` (negative from the end), whose states are pooled like the last ones; or
        ``"last"``: the features of `text_features`, which for most models is the last layer.
    length
        The most tokens of each text that count.
    batch_size
        Number of texts at once.
    progress
        Show a progress bar.

    Raises
    ------
    ValueError
        For layers that the model does not have, or if there are no texts.
    TypeError
        For anything but an encoder, texts that are not strings, and layers that are not a list.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from transformers import BertConfig, BertModel
    >>> model = BertModel(BertConfig(vocab_size=7, hidden_size=24, num_hidden_layers=2))  # small, and not trained
    >>> words = lambda texts, **options: {"input_ids": [[len(word) for word in text.split()] for text in texts]}
    >>> words.model_max_length = 9
    >>> found = text_layers(TextEncoder("own", model, words, "mean"), ["a text", "text"], [0, "last"])
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'layers.0': (2, 24), 'last': (2, 24)}
    """
    encoder = text_encoder(encoder) if isinstance(encoder, str) else encoder
    return encoded(encoder, texts, layers, length=length, batch_size=batch_size, progress=progress)
