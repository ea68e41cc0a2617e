"""What a model costs: parameters, memory and compute, by arithmetic on its anatomy. Needs no torch.

Bytes are bytes, lengths are tokens, FLOPs count a multiplication and an addition as two.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from zoo.anatomy.activations import is_head, kept_numbers, recomputed_numbers
from zoo.anatomy.builder import Anatomy, AttentionSpec, Weight
from zoo.anatomy.config import ModelConfig, NoAnatomy
from zoo.anatomy.records import ROLES
from zoo.errors import UsageError, ZooError, did_you_mean
from zoo.units import ITEM_BYTES
from zoo.units import human_bytes as human_bytes
from zoo.units import human_count as human_count

TOKENS_PER_PARAMETER = 20  # about what is best for a given compute (arXiv:2203.15556)


@dataclass(frozen=True)
class Training:
    """Bytes that one training step needs at least, by what they hold."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Size:
    """A model's size; `dtype` is that of its released weights, in which bytes are counted unless told otherwise."""

    anatomy: Anatomy
    dtype: str = "float32"

    @classmethod
    def of(cls, config: ModelConfig) -> Size:
        """The size of a config's model. Raises ZooError where the family describes no anatomy."""
        try:
            return cls(config.anatomy(), config.dtype)
        except NoAnatomy as error:
            raise ZooError(f"the family {config.family!r} has no arithmetic for its size", why=str(error)) from None

    @property
    def parameters(self) -> int:
        """Parameters, tied ones once."""
        return sum(weight.numel for weight in self.anatomy.weights)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through: all but those of the experts it is not sent to, each once."""
        return sum(min(_used(weight), weight.numel) for weight in self.anatomy.weights)

    @property
    def by_role(self) -> dict[str, int]:
        """Parameters by what they are for; roles that the model has none of are left out."""
        counts = dict.fromkeys(ROLES, 0)
        for weight in self.anatomy.weights:
            counts[weight.role] += weight.numel
        return {role: count for role, count in counts.items() if count}

    @property
    def optimal_tokens(self) -> int:
        """Tokens to train on that make the best of a compute budget, after Chinchilla (arXiv:2203.15556)."""
        return TOKENS_PER_PARAMETER * self.parameters

    def weight_bytes(self, dtype: str | None = None) -> int:
        """Bytes of the weights."""
        return self.parameters * item_bytes(dtype or self.dtype)

    def cache_bytes(self, length: int, batch: int = 1, dtype: str | None = None, *, is_rounded: bool = False) -> int:
        """Bytes of `model.new_cache(batch, length)`: a layer with a window keeps no more than its window.

        `is_rounded` counts that of generation with cache=int8: a byte a number, and two for the scale of each token's
        keys, and of its values, in each head.
        """
        if is_rounded:
            each = sum(len(a.layers) * (a.cached + 2 * a.num_scales) * _kept(a, length) for a in self.anatomy.attention)
            return batch * (each + self.state_bytes(dtype))
        numbers = sum(len(a.layers) * a.cached * _kept(a, length) for a in self.anatomy.attention)
        return batch * (numbers * item_bytes(dtype or self.dtype) + self.state_bytes(dtype))

    def state_bytes(self, dtype: str | None = None) -> int:
        """Bytes of the cache of one row that do not depend on the length: the states of recurrent layers."""
        width = item_bytes(dtype or self.dtype)
        return sum(len(s.layers) * s.numbers * (max(width, 4) if s.is_wide else width) for s in self.anatomy.states)

    def cache_bytes_per_token(self, dtype: str | None = None) -> int:
        """Bytes that one more token adds to the cache of one row while no window is full."""
        return self.cache_bytes(1, dtype=dtype) - self.state_bytes(dtype)

    def source_cache_bytes(self, length: int, batch: int = 1, dtype: str | None = None) -> int:
        """Bytes that the keys and values of a source of `length` tokens add to an encoder-decoder's cache."""
        numbers = sum(len(c.layers) * c.cached for c in self.anatomy.cross)
        return batch * length * numbers * item_bytes(dtype or self.dtype)

    def flops_per_token(self, context: int = 0) -> int:
        """FLOPs of a forward pass of one token with `context` tokens before it, in the cache.

        2 for every matrix element that the token is multiplied by, the output head's included even if tied, and 2 for
        every query-key and weight-value product: 2 * heads * (qk_dim + v_dim) per key seen, its own among them. What a
        state costs, the family says. In an encoder-decoder the token is one that is written, and the source, read
        before, as long as all that is written.
        """
        attention = (_per_key(a, a.decode_dims) * _keys(a, context + 1) for a in self._attention(of_source=False))
        cross = (len(c.layers) * 4 * c.num_heads * c.head_dim * (context + 1) for c in self.anatomy.cross)
        seen = context + 1
        indexed = (_indexed(a, seen, 1, seen) for a in self._attention(of_source=False))
        return self._fixed_flops(of_source=False) + sum(attention) + sum(cross) + sum(indexed)

    def prefill_flops(self, length: int) -> int:
        """FLOPs of a forward pass of a whole text with logits at every position; masked keys are not counted.

        An encoder-decoder reads the text as its source: the encoder, and the keys and values of it for the decoder.
        """
        is_source = bool(self.anatomy.cross)
        attention = sum(
            _per_key(a) * _pairs(a, length) + _indexed(a, length, length, _pairs(a, length))
            for a in self._attention(of_source=is_source)
        )
        return length * self._fixed_flops(of_source=is_source) + attention

    def training_bytes(self, batch: int, length: int, dtype: str | None = None, *, parts: int = 1) -> Training:
        """Bytes of a training step with AdamW on `batch` texts of `length` tokens, without sharding or recomputation.

        Weights and gradients in `dtype`; AdamW's two moments in float32, beside a float32 copy of the weights if those
        are narrower (mixed precision, arXiv:1710.03740): 16 bytes per parameter in all, as in ZeRO (arXiv:1910.02054).
        Activations are what the backward pass reads, counted as in arXiv:2205.05198 (eq. 1) without dropout and with
        fused attention, which keeps no scores: see `zoo.anatomy.activations`, also for `parts`.
        """
        width = item_bytes(dtype or self.dtype)
        tokens = batch * length
        return Training(
            weights=self.parameters * width,
            gradients=self.parameters * width,
            optimizer=self.parameters * (8 if width >= 4 else 12),
            activations=round(tokens * (kept_numbers(self.anatomy, parts) * width + self._vocab_size * 4)),
        )

    def recomputed_activations(self, batch: int, length: int, dtype: str | None = None, *, parts: int = 1) -> int:
        """Bytes of the activations of `training_bytes` where each layer is computed again in the backward pass."""
        width = item_bytes(dtype or self.dtype)
        return round(batch * length * (recomputed_numbers(self.anatomy, parts) * width + self._vocab_size * 4))

    def _attention(self, *, of_source: bool) -> list[AttentionSpec]:
        return [a for a in self.anatomy.attention if a.is_of_source == of_source]

    def _fixed_flops(self, *, of_source: bool) -> int:
        """FLOPs per token, of the source or of the text, that do not depend on how many came before."""
        read = [w for w in self.anatomy.weights if w.is_matmul and w.is_of_source == of_source]
        flops = sum(2 * _used(weight) for weight in read)
        if of_source:
            return flops
        head = self.anatomy.tied_head
        return flops + (2 * prod(head) if head else 0) + sum(len(s.layers) * s.flops for s in self.anatomy.states)

    @property
    def _vocab_size(self) -> int:
        """Rows of the head: the loss keeps a float32 probability for each."""
        heads = [w.shape[0] for w in self.anatomy.weights if is_head(w)]
        return self.anatomy.tied_head[0] if self.anatomy.tied_head else sum(heads)


def item_bytes(dtype: str) -> int:
    """Bytes of one number of a type by its torch name. Raises UsageError for a name that is none."""
    if dtype not in ITEM_BYTES:
        raise UsageError(f"dtype={dtype!r} is not a number type", why=did_you_mean(dtype, ITEM_BYTES))
    return ITEM_BYTES[dtype]


def _used(weight: Weight) -> int:
    return round(weight.numel * weight.used)


def _kept(a: AttentionSpec, length: int) -> int:
    """Tokens that a layer's cache has room for."""
    return length if a.window is None or not a.is_causal else min(a.window, length)


def _per_key(a: AttentionSpec, dims: tuple[int, int] | None = None) -> int:
    """FLOPs of one query and one key, over all heads and layers; `dims` replace the widths of key and value."""
    return len(a.layers) * 2 * a.num_heads * sum(dims or (a.qk_dim, a.v_dim))


def _indexed(a: AttentionSpec, seen: int, tokens: int, pairs: int) -> int:
    """FLOPs of an indexer besides its matrices; where there is nothing to choose, those of its queries are spared."""
    if a.indexer is None or a.chosen is None:
        return 0
    heads, width, matrices = a.indexer
    return len(a.layers) * 2 * (heads * (width + 1) * pairs if seen > a.chosen else -matrices * tokens)


def _keys(a: AttentionSpec, seen: int) -> int:
    """Keys that one query attends to; a two-sided window reaches as far ahead as back."""
    if a.window is None:
        return seen
    if a.is_chunked:
        return (seen - 1) % a.window + 1
    return min(seen, a.window if a.is_causal else 2 * a.window - 1)


def _pairs(a: AttentionSpec, length: int) -> int:
    """Pairs of query and key over a text of `length` tokens."""
    if a.is_chunked and a.window is not None:
        chunks, rest = divmod(length, a.window)
        return chunks * (a.window * (a.window + 1) // 2) + rest * (rest + 1) // 2
    reach = length if a.window is None else min(a.window, length)  # keys at distance 0 to reach - 1 behind
    behind = reach * length - reach * (reach - 1) // 2
    return behind if a.is_causal else 2 * behind - length
