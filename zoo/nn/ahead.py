"""Multi-token prediction: modules behind the stack that guess tokens further on (arXiv:2412.19437).

Module k guesses from what the stack, or module k - 1, has made of each token, and from the token k + 1 places on.
Shapes: B batch, T tokens, P pairs of a state and a later token, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn.cache import Cache, LayerCache
from zoo.nn.decoder import Decoder
from zoo.nn.norm import RMSNorm
from zoo.nn.places import Places
from zoo.nn.span import Span


class AheadDecoder(Decoder):
    """A decoder that has modules for multi-token prediction, `mtp`, where `model.num_mtp_layers` asks for them."""

    is_plain_stack = True
    mtp: Any  # a list of modules, each as MTP is, or what a family's own `ahead` and `ahead_layer` know

    @property
    def num_ahead(self) -> int:
        """Modules that were loaded."""
        return self.config.num_mtp_layers

    def ahead(self, number: int, x: Tensor, tokens: Tensor, span: Span, cache: Any = None) -> tuple[Tensor, Tensor]:
        """Module `number` on states x [B, P, D] and the tokens [B, P] behind them; `cache` is that of its layer.

        Gives normed states [B, P, D] and logits [B, P, V].
        """
        return self.mtp[number](x, tokens, span, cache)

    def ahead_layer(self, number: int) -> Any:
        """The layer of module `number`, which has a cache of its own."""
        return self.mtp[number].layer

    def new_ahead_cache(self, number: int, max_len: int) -> Cache:
        """An empty cache of module `number` for one row of at most `max_len` pairs."""
        return Cache([self.ahead_layer(number).new_cache(1, max_len)], 1, max_len)

    def read_ahead(self, number: int, x: Tensor, tokens: Sequence[int], cache: Cache) -> tuple[Tensor, Tensor]:
        """The same as `ahead` for one row that goes on from a cache: x [P, D], and the logits of the last, [V]."""
        span = Span(1, len(x), x.device, cache=cache)
        behind = torch.tensor([[*tokens]], device=x.device)
        out, logits = self.ahead(number, x[None], behind, span, cache.layers[0])
        cache.advance(span)
        return out[0], logits[0, -1]

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache, which can keep the states that the modules guess from."""
        kind = StatesCache if self.num_ahead else Cache
        return kind([block.new_cache(batch_size, max_len) for block in self.layers], batch_size, max_len)

    def read(self, x: Tensor, span: Span, *, cache: Cache | None = None, last: bool = False) -> Tensor:
        """Logits as of any decoder; a cache that is asked to keeps the states of the last norm."""
        if not isinstance(cache, StatesCache) or cache.states is None:
            return super().read(x, span, cache=cache, last=last)
        for block, held in zip(self.layers, cache.layers, strict=True):
            x = block(x, span, held)
        cache.advance(span)
        x = self.norm(x)
        cache.keep(x, span)
        return self.decode(span.last(x) if last else x)

    def predict_ahead(self, tokens: Tensor, *, attention_mask: Tensor | None = None) -> list[Tensor]:
        """Logits of the multi-token prediction modules for tokens [B, T]: [B, T - 1, V], [B, T - 2, V], ...

        Where `forward` guesses token t + 1 from position t, column t of module k's logits guesses token t + k + 2 from
        tokens 0 to t + k + 1. Module 0 takes up the main model's states after its final norm, each further module those
        that the one before has normed for its own head. Computed without a cache.
        Raises UsageError for a model that was loaded without modules, and for fewer tokens than those need.
        """
        if not self.num_ahead:
            hint = "load them: zoo.load(source, 'model.num_mtp_layers=1')"
            raise UsageError("the model has no multi-token prediction modules", hint=hint)
        if tokens.shape[1] <= self.num_ahead:
            raise UsageError(f"{tokens.shape[1]} tokens are too few to predict {self.num_ahead} tokens ahead")
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
        x = self.encode(tokens, span)
        for block in self.layers:
            x = block(x, span)
        x, logits = self.norm(x), []
        for number in range(self.num_ahead):
            tokens, x = tokens[:, 1:], x[:, :-1]
            if attention_mask is not None:  # a pair of state and token is real where both are
                attention_mask = attention_mask[:, :-1].bool() & attention_mask[:, 1:].bool()
            span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
            x, guess = self.ahead(number, x, tokens, span)
            logits.append(guess)
        return logits


class MTP(nn.Module):
    """DeepSeek-V3's module: one more layer, on what the last has made of a token and on a later token.

    Embedding and head are copies of the main model's in the released weights; they are kept apart, as in the files.
    """

    def __init__(self, vocab_size: int, hidden_size: int, norm_eps: float, block: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, hidden_size)
        self.embed_norm = RMSNorm(hidden_size, norm_eps)
        self.hidden_norm = RMSNorm(hidden_size, norm_eps)
        self.proj = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.layer = block
        self.norm = RMSNorm(hidden_size, norm_eps)
        self.lm_head = nn.Linear(hidden_size, vocab_size, bias=False)

    def forward(self, x: Tensor, tokens: Tensor, span: Span, cache: Any = None) -> tuple[Tensor, Tensor]:
        """States x [B, P, D] and the tokens [B, P] behind them to normed states [B, P, D] and logits [B, P, V]."""
        pair = torch.cat((self.embed_norm(self.embed(tokens)), self.hidden_norm(x)), -1)
        x = self.norm(self.layer(self.proj(pair), span, cache))
        return x, self.lm_head(x)


class StatesCache(Cache):
    """Keeps what the last norm made of every token besides, once it is told to."""

    def __init__(self, layers: list[LayerCache], batch_size: int, max_len: int) -> None:
        super().__init__(layers, batch_size, max_len)
        self.states: list[Tensor] | None = None  # [T, D] of each row, padding left out; None: nobody asked

    def watch(self) -> None:
        """Keep states from now on."""
        self.states = []

    def keep(self, x: Tensor, span: Places) -> None:
        """Take in the normed states x [B, T, D] of a pass."""
        assert self.states is not None
        padding = span.padding
        new = [*x] if padding is None else [row[real] for row, real in zip(x, padding, strict=True)]
        self.states = [torch.cat(pair) for pair in zip(self.states, new, strict=True)] if self.states else new

    def reorder(self, index: Tensor) -> None:
        super().reorder(index)
        if self.states:
            self.states = [self.states[i] for i in index.tolist()]

    def joined(self, others: Sequence[Self], index: Sequence[int], *, max_len: int) -> Self:
        assert all(cache.states is None for cache in (self, *others)), "the rows of a draft are its own"
        return super().joined(others, index, max_len=max_len)

    def rewind(self, length: int) -> None:
        super().rewind(length)
        self._forget([length] * self.batch_size)

    def rewind_rows(self, lengths: Sequence[int]) -> None:
        super().rewind_rows(lengths)
        self._forget(lengths)

    def _forget(self, lengths: Sequence[int]) -> None:
        if self.states:
            self.states = [row[:length] for row, length in zip(self.states, lengths, strict=True)]
