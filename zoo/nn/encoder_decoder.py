"""Encoder-decoders: two stacks, the second of which looks at what the first made of the source.

Shapes: B batch, S source tokens, U target tokens, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy.cuts import TRUNK
from zoo.errors import UsageError
from zoo.nn.cache import Cache, LayerCache
from zoo.nn.cross import CrossAttention, CrossCache, DecoderLayerCache, Memory
from zoo.nn.span import ColumnSpan, Span


class DecoderLayer(nn.Module):
    """Self-attention, attention to the source, MLP; `is_post_norm` norms after each addition instead of before."""

    is_by_token = True

    def __init__(self, attn: nn.Module, cross: CrossAttention, mlp: nn.Module, norms: Iterable[nn.Module], *,
                 is_post_norm: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.attn, self.cross, self.mlp, self.is_post_norm = attn, cross, mlp, is_post_norm
        self.attn_norm, self.cross_norm, self.mlp_norm = norms

    def forward(self, x: Tensor, span: Span, cache: DecoderLayerCache | None, source: CrossCache) -> Tensor:
        own = None if cache is None else cache.own
        if self.is_post_norm:
            x = self.attn_norm(x + self.attn(x, span, own))
            x = self.cross_norm(x + self.cross(x, source))
            return self.mlp_norm(x + self.mlp(x))
        x = x + self.attn(self.attn_norm(x), span, own)
        x = x + self.cross(self.cross_norm(x), source)
        return x + self.mlp(self.mlp_norm(x))


class Stack(nn.Module):
    """Layers under one name."""

    layers: Any  # nn.ModuleList

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class EncoderDecoder(nn.Module):
    """Source and target tokens to next-token logits. Families give the stacks and what enters and leaves them."""

    cuts = TRUNK
    is_plain_stack = True

    def __init__(self, config: Any, encoder: Iterable[nn.Module], decoder: Iterable[DecoderLayer]) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Stack(encoder), Stack(decoder)

    def embed_source(self, tokens: Tensor, span: Span) -> Tensor:
        """What enters the encoder, [B, S, D]."""
        raise NotImplementedError

    def embed_target(self, tokens: Tensor, span: Span) -> Tensor:
        """What enters the decoder, [B, U, D]."""
        return self.embed_source(tokens, span)

    def leave_encoder(self, x: Tensor) -> Tensor:
        """The encoder's final norm, where there is one."""
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The decoder's final norm, where there is one, and the head."""
        raise NotImplementedError

    def forward(
        self,
        tokens: Tensor,
        decoder_tokens: Tensor,
        *,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, U, V] for decoder_tokens [B, U], given the source [B, S]; masks are True for real tokens."""
        memory = self.encode(tokens, attention_mask)
        return self.decode(decoder_tokens, memory, attention_mask=decoder_attention_mask)

    def encode(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Memory:
        """What the encoder makes of tokens [B, S]."""
        span = ColumnSpan(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask)
        x = self.embed_source(tokens, span)
        for layer in self.encoder.layers:
            x = layer(x, span)
        return Memory(self.leave_encoder(x), span.padding)

    def decode(
        self,
        tokens: Tensor,
        memory: Memory,
        *,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits [B, U, V] of target tokens [B, U]; a `cache` made for this memory holds and takes up those before."""
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask, cache=cache)
        x = self.embed_target(tokens, span)
        for i, layer in enumerate(self.decoder.layers):
            held: Any = None if cache is None else cache.layers[i]
            source = layer.cross.keys_and_values(memory) if held is None else held.source_of(layer.cross, memory)
            x = layer(x, span, held, source)
        if cache is not None:
            cache.advance(span)
        return self.logits(span.last(x) if last else x)

    def new_cache(self, batch_size: int, max_len: int, memory: Memory | None = None) -> Cache:
        """A cache for the target tokens; it holds the source's keys and values too, from the first `decode` at last."""
        layers: list[LayerCache] = [
            DecoderLayerCache(
                layer.attn.new_cache(batch_size, max_len),
                None if memory is None else layer.cross.keys_and_values(memory),
            )
            for layer in self.decoder.layers
        ]
        return Cache(layers, batch_size, max_len)

    def conditioned(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Conditioned:
        """A decoder of target tokens alone, given these source tokens: what generation works with."""
        return Conditioned(self, self.encode(tokens, attention_mask))


class Conditioned(nn.Module):
    """An encoder-decoder with its source fixed, under the contract of decoders."""

    def __init__(self, model: EncoderDecoder, memory: Memory) -> None:
        super().__init__()
        self.model, self.memory, self.config = model, memory, model.config

    def forward(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: Cache | None = None, last: bool = False
    ) -> Tensor:
        return self.model.decode(tokens, self.memory, attention_mask=attention_mask, cache=cache, last=last)

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache for as many rows as there are sources, or for as many of each source, one after the other.

        Raises UsageError for any other number of rows.
        """
        memory = self.memory
        if memory.states.shape[0] != batch_size:  # one source for several rows, as beams have it
            if batch_size % memory.states.shape[0]:
                raise UsageError(f"{batch_size} rows cannot share {memory.states.shape[0]} sources evenly")
            index = torch.arange(batch_size, device=memory.states.device) * memory.states.shape[0] // batch_size
            memory = Memory(memory.states[index], None if memory.is_real is None else memory.is_real[index])
        return self.model.new_cache(batch_size, max_len, memory)
