"""The trunk that every decoder-only family shares.

Shapes: B batch, T queries, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor, nn

from zoo.anatomy.cuts import TRUNK, Cut
from zoo.nn.cache import Cache, LayerCache
from zoo.nn.init import initialise
from zoo.nn.span import Span


class Layer(Protocol):
    """What a stack is made of."""

    def __call__(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        ...

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        """An empty cache for this layer."""
        ...


class Decoder(nn.Module):
    """Token ids to next-token logits: embed, a stack of layers, norm, head.

    Families subclass this and pass their own layers; `encode` and `decode` are the places to change what enters and
    what leaves the stack.
    """

    cuts: tuple[Cut, ...] = TRUNK
    is_plain_stack = True
    layers: Any  # nn.ModuleList of Layer

    def __init__(self, config: Any, layers: Iterable[nn.Module], norm: nn.Module, *, head_bias: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=head_bias)
        if config.tie_embeddings:
            self.lm_head.weight = self.embed.weight

    def forward(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: Cache | None = None, last: bool = False
    ) -> Tensor:
        """Logits [B, T, V] for tokens [B, T], or [B, 1, V] for each row's last with `last`.

        `attention_mask` [B, T] is True for real tokens of these T; `cache` holds and takes up the tokens before.
        Raises UsageError when the cache is full.
        """
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask, cache=cache)
        return self.read(self.encode(tokens, span), span, cache=cache, last=last)

    def read(self, x: Tensor, span: Span, *, cache: Cache | None = None, last: bool = False) -> Tensor:
        """Logits of the states x [B, T, D] that enter the stack, of tokens or of something else."""
        for i, layer in enumerate(self.layers):
            x = layer(x, span, None if cache is None else cache.layers[i])
        if cache is not None:
            cache.advance(span)
        return self.decode(self.norm(span.last(x) if last else x))

    def states(self, *args: Any, **kwargs: Any) -> Tensor:
        """What `decode` makes logits of, [B, T, D], for the arguments of `forward`: a loss may take it in chunks."""
        self.__dict__["decode"] = lambda x: x  # of this object alone, and the pass is the usual one, hooks included
        try:
            return self(*args, **kwargs)
        finally:
            del self.__dict__["decode"]

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """What enters the stack, [B, T, D]."""
        return self.embed(tokens)

    def decode(self, x: Tensor) -> Tensor:
        """Logits of what left the stack and was normed."""
        return self.lm_head(x)

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache for `batch_size` rows of at most `max_len` tokens, padding included."""
        return Cache([layer.new_cache(batch_size, max_len) for layer in self.layers], batch_size, max_len)

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)


class PreNormLayer(nn.Module):
    """x + attn(norm(x)), then x + mlp(norm(x)): the block of GPT-2, LLaMA, DeepSeek and most since."""

    is_by_token = True

    attn: Any  # a module that attends and makes its own cache

    def __init__(self, attn: nn.Module, mlp: nn.Module, attn_norm: nn.Module, mlp_norm: nn.Module) -> None:
        super().__init__()
        self.attn_norm, self.attn, self.mlp_norm, self.mlp = attn_norm, attn, mlp_norm, mlp

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = x + self.attn(self.attn_norm(x), span, cache)
        return x + self.mlp(self.mlp_norm(x))

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        return self.attn.new_cache(batch_size, max_len)


class SandwichLayer(nn.Module):
    """x + post(attn(pre(x))), then the same with the MLP: a norm on both sides of each branch, each made by `norm`."""

    is_by_token = True

    attn: Any  # a module that attends and makes its own cache

    def __init__(self, attn: nn.Module, mlp: nn.Module, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.attn_norm, self.attn, self.attn_post_norm = norm(), attn, norm()
        self.mlp_norm, self.mlp, self.mlp_post_norm = norm(), mlp, norm()

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = x + self.attn_post_norm(self.attn(self.attn_norm(x), span, cache))
        return x + self.mlp_post_norm(self.mlp(self.mlp_norm(x)))

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        return self.attn.new_cache(batch_size, max_len)


class PostNormLayer(nn.Module):
    """norm(x + attn(x)), then norm(x + mlp(x)): the block of the 2017 Transformer and of BERT."""

    is_by_token = True

    attn: Any  # a module that attends and makes its own cache

    def __init__(self, attn: nn.Module, mlp: nn.Module, attn_norm: nn.Module, mlp_norm: nn.Module) -> None:
        super().__init__()
        self.attn, self.attn_norm, self.mlp, self.mlp_norm = attn, attn_norm, mlp, mlp_norm

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = self.attn_norm(x + self.attn(x, span, cache))
        return self.mlp_norm(x + self.mlp(x))

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        return self.attn.new_cache(batch_size, max_len)
