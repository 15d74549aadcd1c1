"""Encoders of texts: frozen language models with their tokenizers, which compute features of any layers in one pass."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nclib.arrays import note_rounding
from nclib.checks import check_whole, counted, few
from nclib.data.text_sets import Texts, listed_texts
from nclib.features.backbones import LAST, listed, nth_layer
from nclib.features.forward import Outputs, evaluating
from nclib.features.inputs import rounding_of, widened

_NONE = -1  # fills the places after the end of a text


class TextEncoder(nn.Module):
    """Maps token indices int64 (N, length), made by `tokens`, to features (N, d). `text_encoder` makes one by name.

    Parameters
    ----------
    name
        Its name in messages and in rankings.
    model
        A module that takes `input_ids` and `attention_mask`, both int64 (N, length), and returns an object with
        `last_hidden_state` (N, length, d), as the models of transformers do.
    tokenizer
        Its tokenizer, as transformers makes it.
    pooling
        How the states of the tokens become the features of a text: "mean", or "first" for the first token's state.

    Raises
    ------
    ValueError
        If `pooling` is neither "mean" nor "first".

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
        if pooling not in ("mean", "first"):
            raise ValueError(f"pooling is {pooling!r}; it must be 'mean' or 'first'")
        self.name, self.model, self.tokenizer, self.pooling = name, model, tokenizer, pooling

    def tokens(self, texts: Sequence[str], *, length: int = 256) -> Tensor:
        """The token indices of texts, at most `length` of each: int64 (N, longest), filled up with -1.

        If the model has fewer positions than that, it is at most those minus 2, since some models count from 2.
        """
        positions = getattr(self.model.config, "max_position_embeddings", None) or length + 2
        most = min(length, self.tokenizer.model_max_length, positions - 2)
        rows = self.tokenizer(list(texts), truncation=True, max_length=most)["input_ids"]
        if empty := [number for number, row in enumerate(rows) if not row]:
            raise ValueError(
                f"{self.name} makes no token of {counted(len(empty), 'text')} ({few(empty)}); leave out texts "
                "without tokens"
            )
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=_NONE)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers, in order of depth; empty if the model's config does not give their number."""
        config = getattr(self.model, "config", None)
        return tuple(f"layers.{i}" for i in range(getattr(config, "num_hidden_layers", None) or 0))

    def layer(self, layer: str | int) -> str:
        """The name of a layer given by its name or by its place in `layers` (negative from the end)."""
        if isinstance(layer, int):
            return nth_layer(self.name, self.layers, layer)
        if layer not in (*self.layers, LAST):
            raise ValueError(f"{self.name} has no layer {layer!r}; there are {', '.join((*self.layers, LAST))}")
        return layer

    def forward(self, tokens: Tensor) -> Tensor:
        """The features (N, d) of the last layer for token indices int64 (N, length)."""
        return self.outputs(tokens, [LAST])[LAST]

    def outputs(self, tokens: Tensor, layers: Sequence[str]) -> Outputs:
        """Features (N, d) by layer name: the pooled states of the tokens."""
        kept = tokens != _NONE
        longest = max(1, int(kept.sum(1).max()))  # places that no text of the batch reaches are cut off
        tokens, kept = tokens[:, :longest], kept[:, :longest]
        inner = {"output_hidden_states": True} if set(layers) - {LAST} else {}
        made = self.model(input_ids=tokens.clamp(min=0), attention_mask=kept.long(), **inner)
        states = {LAST: made.last_hidden_state}
        if inner:  # the first are the token embeddings, before any layer
            states |= zip(self.layers, made.hidden_states[1:], strict=True)
        return {name: self._pooled(states[name], kept) for name in layers}

    def _pooled(self, states: Tensor, kept: Tensor) -> Tensor:
        states = widened(states)
        if self.pooling == "first":
            return states[:, 0]
        weights = kept.to(states).unsqueeze(2)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _check_encoder(encoder: Any) -> None:
    if not isinstance(encoder, TextEncoder):
        cure = (
            "for a model with its tokenizer, nclib.TextEncoder(name, model, tokenizer, 'mean')"
            if hasattr(encoder, "config")
            else "nclib.extract(model, images) computes features of images"
        )
        raise TypeError(f"encoder is {type(encoder).__name__}; it must be a TextEncoder, or the name of one: {cure}")


def encoded(
    encoder: TextEncoder,
    texts: Texts | Iterable[str],
    layers: Sequence[str | int],
    *,
    length: int = 256,
    batch_size: int = 32,
    progress: bool = False,
) -> Outputs:
    """Features of texts at several layers in one pass, by layer name; see `text_layers`."""
    _check_encoder(encoder)
    check_whole(1, length=length, batch_size=batch_size)
    names = list(dict.fromkeys(map(encoder.layer, listed(layers))))
    tokens = encoder.tokens(listed_texts(texts), length=length)
    order = (tokens != _NONE).sum(1).argsort(stable=True)
    device = next(encoder.parameters()).device
    batches = tqdm(order.split(batch_size), f"encode {encoder.name}", disable=not progress, leave=False)
    with evaluating(encoder), torch.no_grad():
        parts = [encoder.outputs(tokens[rows].to(device), names) for rows in batches]
    back = order.argsort().to(device)
    rounding = rounding_of(encoder)
    return {name: note_rounding(torch.cat([part[name] for part in parts])[back], rounding) for name in names}
