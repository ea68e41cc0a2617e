"""From prompts to continuations: greedy, sampled, by beam search or with a draft, all at once or piece by piece.

The names below are resolved on first use: what a checkpoint says of generation is read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {  # public name -> the module that defines it
    "DraftModel": "zoo.generation.speculation",
    "DraftReport": "zoo.generation.speculation",
    "Generation": "zoo.generation.result",
    "GenerationConfig": "zoo.generation.config",
    "Guess": "zoo.generation.speculation",
    "PromptLookup": "zoo.generation.speculation",
    "Sampler": "zoo.generation.decoding.sampling",
    "Stream": "zoo.generation.result",
    "config_from_hf": "zoo.generation.hf",
    "generate": "zoo.generation.front",
    "settings_in": "zoo.generation.hf",
    "stream": "zoo.generation.front",
}

__all__ = [
    "DraftModel", "DraftReport", "Generation", "GenerationConfig", "Guess", "PromptLookup", "Sampler", "Stream",
    "config_from_hf", "generate", "settings_in", "stream",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo.generation' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from zoo.generation.config import GenerationConfig
    from zoo.generation.decoding.sampling import Sampler
    from zoo.generation.front import generate, stream
    from zoo.generation.hf import config_from_hf, settings_in
    from zoo.generation.result import Generation, Stream
    from zoo.generation.speculation import DraftModel, DraftReport, Guess, PromptLookup
