"""Encoders of texts by name: Hugging Face models with their tokenizers, from the hub or a folder."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nclib.checks import few
from nclib.data.catalogue import find_path
from nclib.devices import resolve_device
from nclib.features.forward import evaluating

_FIRST_LAYERS = re.compile(r"(.+)\[:(\d+)\]")  # of a name: the rest, and how many layers
_NONE = -1  # in place of a token, behind a text's end


class TextEncoder(nn.Module):
    """Token indices, int64 (N, length), as of `tokens`, to features (N, d). Made by `text_encoder`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> states = torch.eye(3)  # of three tokens, in a model that looks at each alone
    >>> look_up = lambda input_ids, attention_mask: SimpleNamespace(last_hidden_state=states[input_ids])
    >>> TextEncoder("own", look_up, None, "mean")(torch.tensor([[0, 1], [2, -1]])).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: Any, pooling: Literal["mean", "first"]):
        super().__init__()
        self.name, self.model, self.tokenizer, self.pooling = name, model, tokenizer, pooling

    def tokens(self, texts: Sequence[str], *, length: int = 256) -> Tensor:
        """The tokens of texts as the model knows them, at most `length` of each: int64 (N, longest), filled with -1.

        Where the model has fewer positions, at most as many as these (less 2, from which some models count).
        """
        positions = getattr(self.model.config, "max_position_embeddings", None) or length + 2
        most = min(length, self.tokenizer.model_max_length, positions - 2)
        rows = self.tokenizer(list(texts), truncation=True, max_length=most)["input_ids"]
        if empty := [number for number, row in enumerate(rows) if not row]:
            raise ValueError(
                f"{self.name} makes no token of {len(empty)} texts, by number {few(empty)}; leave them out"
            )
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=_NONE)

    def forward(self, tokens: Tensor) -> Tensor:
        kept = tokens != _NONE
        longest = max(1, int(kept.sum(1).max()))  # what no text of the batch reaches costs nothing
        tokens, kept = tokens[:, :longest], kept[:, :longest]
        states = self.model(input_ids=tokens.clamp(min=0), attention_mask=kept.long()).last_hidden_state
        if self.pooling == "first":
            return states[:, 0]
        weights = kept.to(states).unsqueeze(2)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def text_encoder(
    name: str,
    *,
    pooling: Literal["mean", "first"] = "mean",
    device: str | torch.device = "auto",
    data_root: str | Path | None = None,
) -> TextEncoder:
    """A Hugging Face model as an encoder of texts, in eval mode. Needs the extra ``transformers``.

    Of a model with an encoder and a decoder (T5, BART) it is the encoder.

    Parameters
    ----------
    name
        One of the hub, such as ``sentence-transformers/all-MiniLM-L6-v2``, or ``folder:PATH``, a folder with its files,
        which may lie in the data root; with ``[:n]`` behind it only the first n of its layers. Weights are read from
        safetensors only, and no code of the model's authors is run.
    pooling
        What of the last states is a text's features: the ``mean`` over its tokens, as most sentence encoders take, or
        the ``first`` token's, as BERT's classifier does. What sentence-transformers adds (a layer, normalisation) is
        left out; give the scores what its own ``encode`` returns if you want it.

    Raises
    ------
    ImportError
        Without transformers.
    ValueError
        For a model without states of tokens, or with fewer layers than asked for.
    OSError
        As transformers does for a model that is not there.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from transformers import BertConfig, BertModel
    >>> with TemporaryDirectory() as folder:  # a small model, not trained, with a vocabulary of two words
    ...     BertModel(BertConfig(vocab_size=7, hidden_size=24, num_hidden_layers=2)).save_pretrained(folder)
    ...     _ = Path(folder, "vocab.txt").write_text("[PAD]\\n[UNK]\\n[CLS]\\n[SEP]\\n[MASK]\\na\\ntext")
    ...     encoder = text_encoder(f"folder:{folder}[:1]", device="cpu")
    >>> text_features(encoder, ["a text", "text"]).shape
    torch.Size([2, 24])
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise ImportError("encoders by name need transformers: pip install transformers") from error
    if pooling not in ("mean", "first"):
        raise ValueError(f"pooling is {pooling!r}; it must be 'mean' or 'first'")
    some = _FIRST_LAYERS.fullmatch(name)
    source = some[1] if some else name
    if source.startswith("folder:"):
        source = str(find_path(source, data_root, "the files of a Hugging Face model"))
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    with _without_bars():
        model = AutoModel.from_pretrained(source, use_safetensors=True, dtype=torch.float32, trust_remote_code=False)
    if model.config.is_encoder_decoder:  # the states that it gives are those of its decoder
        model = model.get_encoder()
    if some:
        _cut(model, int(some[2]), name)
    encoder = TextEncoder(name, model, tokenizer, pooling).to(resolve_device(device)).eval()
    try:
        text_features(encoder, ["a text"])
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{name} gives no states of tokens to make features of ({error})") from error
    return encoder


@contextmanager
def _without_bars() -> Iterator[None]:
    """No progress bar of loading weights, which takes a moment."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _cut(model: nn.Module, number: int, name: str) -> None:
    """Leave the first layers only."""
    config: Any = model.config
    layers = getattr(config, "num_hidden_layers", None)
    stack = next((part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == layers), None)
    if stack is None:
        raise ValueError(f"the layers of {name} cannot be told apart, so that none can be left out")
    if number > len(stack):
        raise ValueError(f"{name} asks for {number} layers; the model has {layers}")
    del stack[number:]
    config.num_hidden_layers = number


def text_features(
    encoder: TextEncoder | str,
    texts: Sequence[str],
    *,
    length: int = 256,
    batch_size: int = 32,
    progress: bool = False,
) -> Tensor:
    """Features of texts, float32 (N, d) on the encoder's device; of at most `length` tokens of each.

    The encoder is one of `text_encoder`, or its name. Texts of like length are encoded together.

    Examples
    --------
    >>> import nclib
    >>> found = nclib.texts("docstrings/libraries", per_class=20)
    >>> features = text_features("sentence-transformers/all-MiniLM-L6-v2", found.texts)  # doctest: +SKIP
    >>> nclib.nc1(nclib.class_statistics(features, found.labels))  # doctest: +SKIP
    """
    if isinstance(texts, str) or not len(texts):
        raise ValueError(f"texts are {texts!r}; give a list of them, one at least")
    encoder = text_encoder(encoder) if isinstance(encoder, str) else encoder
    tokens = encoder.tokens(texts, length=length)
    order = (tokens != _NONE).sum(1).argsort(stable=True)
    device = next(encoder.parameters()).device
    batches = tqdm(order.split(batch_size), f"encode {encoder.name}", disable=not progress, leave=False)
    with evaluating(encoder), torch.no_grad():
        found = torch.cat([encoder(tokens[rows].to(device)) for rows in batches])
    return found[order.argsort().to(device)]
