"""The models behind one port, and which of them are in memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, did_you_mean
from zoo.generation import GenerationConfig
from zoo.generation.batching import Beginnings, Engine
from zoo.serving.bounds import Bounds
from zoo.serving.failures import Refusal

if TYPE_CHECKING:
    from zoo.embedding.embedder import Embedder
    from zoo.text import Tokenizer

DEFAULT_CONTEXT = 2048  # tokens, where a config does not say


@dataclass(eq=False)
class Volume:
    """One model: what is known of it without its weights, how they are loaded, and its engine while they are."""

    name: str
    tokenizer: Tokenizer
    settings: GenerationConfig  # the checkpoint's own
    context: int  # tokens of prompt and answer
    nbytes: int  # of weights, about
    load: Callable[[], Any]
    folder: Any = None
    sees: bool = False  # whether it reads pictures
    embedder: Embedder | None = None  # of a model that writes no text; its vectors are what it is asked for
    pooling: str = "mean"  # how the states of one that writes become a vector
    engine: Engine | None = None
    dtype: str = ""  # what it computes in, once it was loaded


class Roster:
    """Models by name; those that fit are all in memory, else one at a time."""

    def __init__(self, volumes: Sequence[Volume], bounds: Bounds, *, memory_bytes: int | None = None) -> None:
        """`memory_bytes` are what weights may take in all; None: as many as they need."""
        names = [volume.name for volume in volumes]
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"two models are called {doubled!r}", hint="give their folders names that differ")
        self.volumes = {volume.name: volume for volume in volumes}
        self.bounds = bounds
        total = sum(volume.nbytes for volume in volumes)
        self.holds_all = memory_bytes is None or total <= memory_bytes

    def find(self, name: object) -> Volume:
        """The model of this name; of the only one, clients need not say it. Raises Refusal for one that is not here."""
        if name is None and len(self.volumes) == 1:
            return next(iter(self.volumes.values()))
        if isinstance(name, str) and name in self.volumes:
            return self.volumes[name]
        if name is None:
            raise Refusal(400, "model is not said, and there are several", hint=f"known: {', '.join(self.volumes)}")
        shown = name[:80] if isinstance(name, str) else name
        why = did_you_mean(str(shown), self.volumes)
        raise Refusal(404, f"there is no model {shown!r} here", code="model_not_found", hint=why)

    def writer(self, name: object) -> Volume:
        """The same, for texts. Raises Refusal for a model that writes none."""
        volume = self.find(name)
        if volume.embedder is not None:
            raise Refusal(400, f"{volume.name} writes no text", hint="ask for its vectors at /v1/embeddings")
        return volume

    @property
    def engines(self) -> list[Engine]:
        """Those of the models that are in memory."""
        return [volume.engine for volume in self.volumes.values() if volume.engine is not None]

    def open(self, volume: Volume) -> Engine:
        """The engine of a model, which is loaded if it is not; where they do not fit, others are put away before."""
        if volume.engine is not None:
            return volume.engine
        if not self.holds_all:
            for other in self.volumes.values():
                self._put_away(other)
        model = volume.load()
        volume.dtype = next((str(p.dtype).removeprefix("torch.") for p in model.parameters()), "")
        volume.engine = Engine(
            model, volume.tokenizer, max_rows=self.bounds.rows, max_waiting=1 << 20,
            beginnings=Beginnings(self.bounds.shared_bytes) if self.bounds.shared_bytes else None,
        )  # fmt: skip
        return volume.engine

    def can_open(self, volume: Volume) -> bool:
        """Whether its texts can begin now: it is in memory, or nothing that is has to be put away in the middle."""
        return volume.engine is not None or self.holds_all or all(engine.is_idle for engine in self.engines)

    def _put_away(self, volume: Volume) -> None:
        volume.engine = None
        gc.collect()  # before the next one is loaded beside it
