"""Texts over ranks: each computes a part of the tokens of every text, which see the keys and values of all before them.

The weights are whole on every rank. In each layer keys and values are gathered, in place of a ring of attention: it is
exact with every mask, window, softcap and latent, and runs on a CPU, for which torch's own context_parallel has no
kernel. What is cached is whole on every rank, so that tokens one by one are read as in one process.

Shapes: B batch, T tokens of a text, t those of this rank, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from zoo.anatomy.records import Shape
from zoo.errors import UsageError
from zoo.nn.cache import Cache
from zoo.nn.chunk_cache import ChunkKVCache
from zoo.nn.decoder import Decoder
from zoo.nn.kv_cache import KVCache, SlidingKVCache
from zoo.nn.span import Span
from zoo.parallel.cutting import cut_class
from zoo.parallel.exchange import gathered, heard, met
from zoo.parallel.parts import TextPart
from zoo.parallel.shares import Need, bounds
from zoo.parallel.sums import Ranks
from zoo.weights.table import Step

# The caches whose keys and values stand for their tokens, and for no others.
GATHERED = (KVCache, SlidingKVCache, ChunkKVCache)


@dataclass
class TextPlan:
    """The ranks that texts are parted over."""

    ranks: Ranks
    model: nn.Module

    @classmethod
    def of(cls, model: nn.Module, mesh: DeviceMesh) -> TextPlan:
        """The plan of a model. Raises UsageError, with the reason, for one whose texts are not parted."""
        kind, what = type(model).__name__, f"cp={mesh.size()}"
        if not isinstance(model, Decoder) or unwrap(type(model).forward) is not unwrap(Decoder.forward):
            raise UsageError(f"{what}: {kind} reads more than tokens, or otherwise than one stack of layers does")
        kept = {type(layer).__name__ for layer in model.new_cache(1, 2).layers if type(layer) not in GATHERED}
        if kept:
            raise UsageError(f"{what}: layers of {kind} keep a {min(kept)}, which is not keys and values of tokens")
        masks = [mask for module in model.modules() if (mask := getattr(module, "mask", None)) is not None]
        if getattr(model, "markers", ()) or not all(getattr(mask, "is_causal", True) for mask in masks):
            raise UsageError(f"{what}: tokens of {kind} see later ones")
        return cls(Ranks(mesh), model)

    def lighten(self) -> None:
        """Every rank has all weights."""

    def narrowed(self, step: Step) -> Step:
        """Every rank reads all."""
        return step

    def check(self, needs: Iterable[Need]) -> None:
        """No weight is cut, and no border is in the way."""

    def slices(self, name: str, shape: Shape) -> tuple[slice, ...]:
        """All of it."""
        return (slice(None),) * len(shape)

    def placed(self, name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """As it is."""
        return part

    def install(self) -> None:
        """Let the model read a part of each text."""
        model: Any = self.model
        model.__dict__["parted"] = Parted(self.ranks)
        model.__class__ = cut_class(type(model), _OverTexts, ())

    def __str__(self) -> str:
        return f"rank {self.ranks.number} of {self.ranks.count}: all weights, and a part of each text"


@dataclass
class Parted:
    """The ranks that texts are parted over, and what this one has learned of its part."""

    ranks: Ranks
    parameters: list[nn.Parameter] = field(default_factory=list)  # that learn
    is_learning: bool = False
    _learned: dict[int, Tensor] = field(default_factory=dict)

    def heed(self, parameters: Iterable[nn.Parameter]) -> None:
        """Notice what these learn from now on, of whatever learns by now: an adapter may have come to a model."""
        known = {id(parameter) for parameter in self.parameters}
        for parameter in parameters:
            if parameter.requires_grad and id(parameter) not in known:
                self.parameters.append(parameter)
                parameter.register_hook(partial(self._learn, id(parameter)))

    def begin(self) -> None:
        """Heed the gradients from here on: what was computed otherwise than by a call is whole on each rank."""
        self.is_learning = True

    def _learn(self, of: int, grad: Tensor) -> Tensor | None:
        if not self.is_learning:
            return None
        self._learned[of] = self._learned[of] + grad if of in self._learned else grad.clone()
        return torch.zeros_like(grad)  # `settle` adds all at once, in one order on all ranks

    def settle(self) -> None:
        """Add to the gradients what the other ranks have learned; all do so in the same order, once for a backward."""
        learned, self._learned, self.is_learning = self._learned, {}, False
        for parameter in self.parameters:
            if parameter.requires_grad:
                mine = learned.get(id(parameter))
                total = self.ranks.sum_into(torch.zeros_like(parameter) if mine is None else mine.clone())
                parameter.grad = total if parameter.grad is None else parameter.grad + total


class _OverTexts:
    """A decoder that computes a part of the tokens, and gives the logits of all."""

    def forward(
        self: Any,
        tokens: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """See Decoder.forward; fewer tokens than ranks are computed by each."""
        tokens = input_ids if tokens is None else tokens  # see zoo.models.pretrained
        assert tokens is not None
        parted: Parted = self.parted
        if torch.is_grad_enabled():
            parted.heed(self.parameters())
        ranks, length = parted.ranks, tokens.shape[1]
        if length < ranks.count:
            out = super().forward(tokens, attention_mask=attention_mask, cache=cache, last=last)  # pyrefly: ignore[missing-attribute]
            return heard(out, parted, ranks.count)
        whole = _places(tokens, attention_mask, cache)
        part = TextPart(whole, attention_mask, *bounds(length, ranks.count, ranks.number))
        x = self.encode(tokens[:, part.first : part.end], part)
        states = part.cache(ranks, [None] * len(self.layers) if cache is None else cache.layers)
        if last:
            x = met((_undecoded(self, x, part, states),), ranks, 1, length)[0]
            out = heard(self.decode(whole.last(x)), parted, ranks.count)
        else:
            out = heard(gathered(self.read(x, part, cache=states), ranks, 1, length), parted)
        if cache is not None:
            cache.advance(whole)
        return out


def _places(tokens: Tensor, attention_mask: Tensor | None, cache: Cache | None) -> Span:
    """Where all tokens stand. Raises UsageError, on every rank, for what is not read in parts."""
    batch_size, length = tokens.shape
    whole = Span(batch_size, length, tokens.device, attention_mask=attention_mask, cache=cache)
    if whole.documents is not None:
        raise UsageError("attention_mask numbers several documents, and texts over ranks hold one in each row")
    if getattr(cache, "states", None) is not None:
        raise UsageError("a cache that keeps states is of one process", hint="generate without draft=")
    return whole


def _undecoded(model: Any, x: Tensor, part: TextPart, states: Cache) -> Tensor:
    """What `read` gives, without the head; `decode` may stand in the model's own place already: see Decoder.states."""
    given = model.__dict__.get("decode")
    model.__dict__["decode"] = _as_it_is
    try:
        return model.read(x, part, cache=states)
    finally:
        del model.__dict__["decode"]
        if given is not None:
            model.__dict__["decode"] = given


def _as_it_is(x: Tensor) -> Tensor:
    return x
