"""From prompts to continuations: greedy, sampled, by beam search or with a draft, all at once or piece by piece."""

from __future__ import annotations

from zoo.generation.config import GenerationConfig
from zoo.generation.decoding.sampling import Sampler
from zoo.generation.front import generate, stream
from zoo.generation.hf import config_from_hf, settings_in
from zoo.generation.result import Generation, Stream
from zoo.generation.speculation import DraftModel, DraftReport, Guess, PromptLookup

__all__ = [
    "DraftModel", "DraftReport", "Generation", "GenerationConfig", "Guess", "PromptLookup", "Sampler", "Stream",
    "config_from_hf", "generate", "settings_in", "stream",
]  # fmt: skip
