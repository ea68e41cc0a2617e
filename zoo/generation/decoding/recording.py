"""Steps of one token as a CUDA graph: recorded once, then played back without a word from Python.

A recording must read what changes from step to step out of tensors that stay where they are. Rows that were padded
already do: their places stand in `cache.counts`. So every row is read as if it had been padded, with as many keys as
the recording has room for, of which those behind a row's last token are hidden.

Shapes: R rows, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.generation.protocols import LanguageModel
from zoo.nn.cache import Cache
from zoo.nn.cross import DecoderLayerCache
from zoo.nn.kv_cache import KVCache

ROOM = 256  # keys that a recording has room for, or twice as many, or four times: all are read


class RecordedReader:
    """The contract of a decoder over one that runs on a GPU, whose steps of one token are recorded and played back.

    Where a model cannot be recorded, as one that looks at its numbers or keeps a state, its steps are what they were.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.config = model, model.config
        self._recording: Recording | None = None
        self._is_possible = True

    def __call__(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: Any = None, last: bool = False,
        **inputs: Any,
    ) -> Tensor:  # fmt: skip
        if self._is_possible and tokens.shape[1] == 1 and attention_mask is None and not inputs and can_record(cache):
            if self._recording is None or not self._recording.holds(cache):
                self._recording = self._recorded(tokens, cache)
            if self._recording is not None:
                return self._recording.play(tokens)
        return self.model(tokens, attention_mask=attention_mask, cache=cache, last=last, **inputs)

    def _recorded(self, tokens: Tensor, cache: Cache) -> Recording | None:
        was = self._recording
        if was is not None and was.cache is cache and not was.is_full:
            self._is_possible = False  # rows of the cache are moved between steps, as beams do
            return None
        length, counts = cache.length, cache.counts
        try:
            return Recording(self.model, tokens, cache)
        except (RuntimeError, NotImplementedError):  # it waits for the GPU, which a graph cannot
            self._is_possible, cache.length, cache.counts = False, length, counts
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def can_record(cache: Any) -> bool:
    """Whether all that a cache holds are keys and values, and it has read something."""
    if type(cache) is not Cache or cache.length == 0:
        return False
    own = [layer.own if isinstance(layer, DecoderLayerCache) else layer for layer in cache.layers]
    return all(isinstance(layer, KVCache) and isinstance(layer.k, Tensor) for layer in own)


class Recording:
    """A step of R rows with a cache, for as long as there is room in it for another key."""

    def __init__(self, model: LanguageModel, tokens: Tensor, cache: Cache) -> None:
        self.model, self.cache, self._tokens = model, cache, tokens.clone()
        self._first, self._length = _keys(cache), cache.length
        self._room = room_for(cache, getattr(model.config, "max_seq_len", None))
        filled = torch.full((len(tokens),), cache.length, device=tokens.device)
        self.counts = filled if cache.counts is None else cache.counts.clone()
        self._logits: Tensor
        self._replay = self._record()
        cache.length, cache.counts = self._length, self.counts

    @property
    def is_full(self) -> bool:
        """Whether another token has no place among the keys that are read."""
        return self._length >= self._room

    def holds(self, cache: Cache) -> bool:
        """Whether the next step with this cache is the recorded one."""
        is_same = cache is self.cache and cache.counts is self.counts and _keys(cache) is self._first
        return is_same and cache.length == self._length and not self.is_full

    def play(self, tokens: Tensor) -> Tensor:
        """Logits [R, 1, V] of the next tokens [R, 1]."""
        self._tokens.copy_(tokens)
        self._replay()
        self._length += 1
        self.cache.length = self._length
        return self._logits.clone()  # the next step writes over them

    def _step(self) -> None:
        """What is recorded: the places of the tokens are read from `counts` and counted there."""
        cache = self.cache
        cache.length, cache.counts = self._room - 1, self.counts
        self._logits = self.model(self._tokens, cache=cache, last=True)
        assert cache.counts is not None
        self.counts.copy_(cache.counts)
        cache.length, cache.counts = self._length, self.counts

    def _record(self) -> Callable[[], None]:
        """The steps before are for what libraries set up at first; they write what the recorded one writes again."""
        if self._tokens.device.type != "cuda":
            return self._step
        side, before = torch.cuda.Stream(), self.counts.clone()
        side.wait_stream(torch.cuda.current_stream())
        mode = torch.cuda.get_sync_debug_mode()
        with torch.cuda.stream(side):
            self._step()
            self.counts.copy_(before)
            torch.cuda.set_sync_debug_mode("error")  # a step that waits ends here, and not within a recording
            try:
                self._step()
            finally:
                torch.cuda.set_sync_debug_mode(mode)
            self.counts.copy_(before)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._step()
        self._graph = graph
        return graph.replay


def room_for(cache: Cache, longest: int | None) -> int:
    """Keys that a recording of the next step reads: more than there are, and fewer than have no place."""
    room = ROOM
    while room <= cache.length:
        room *= 2
    most = [most for most in (cache.max_len - 1, longest) if most is not None and most > cache.length]
    return min([room, cache.max_len, *most])


def _keys(cache: Cache) -> Tensor:
    """The keys of the first layer, a tensor for as long as no row moves."""
    first: Any = cache.layers[0]
    return (first.own if isinstance(first, DecoderLayerCache) else first).k
