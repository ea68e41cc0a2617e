"""What a caller gives as `draft`, as something that guesses."""

from __future__ import annotations

from typing import Any

import torch

from zoo.errors import UnknownName, UsageError
from zoo.generation.config import GenerationConfig
from zoo.generation.prompts import Batch
from zoo.generation.protocols import Draft, LanguageModel
from zoo.generation.speculation.drafts import DraftModel, PromptLookup
from zoo.generation.speculation.modules import ModulesDraft

NAMED = ("ngram", "mtp")


def draft_of(
    draft: Draft | LanguageModel | str | None, model: LanguageModel, sources: Batch, config: GenerationConfig
) -> Draft | None:
    """The draft for `model`, which continues, or has read as an encoder-decoder does, the `sources`.

    Raises UsageError for what cannot guess.
    """
    given: Any = draft
    if given is None or hasattr(given, "propose"):
        return given
    if isinstance(given, str):
        if given not in NAMED:
            raise UnknownName(f"there is no draft {given!r}", given, NAMED, hint="or give a model as draft=")
        if given == "mtp":
            return _own(model, config)
        return PromptLookup(config.num_draft_tokens, config.draft_ngram_size)
    reads_sources = hasattr(given, "conditioned")
    if not reads_sources and not hasattr(given, "new_cache"):
        raise UsageError(
            f"a draft of type {type(given).__name__} cannot guess",
            hint="give a model, 'ngram' or a zoo.generation.DraftModel",
        )
    if reads_sources != hasattr(model, "conditioned"):
        kinds = ("a decoder", "an encoder-decoder")
        raise UsageError(
            f"the draft is of another kind: {kinds[reads_sources]}, where the model is {kinds[not reads_sources]}",
            hint="give a smaller model of the same kind",
        )
    markers = getattr(given, "markers", frozenset())
    if sources.inputs and any(not markers.isdisjoint(row) for row in sources.rows):
        what = f"the draft reads {', '.join(sorted(sources.inputs))} as well, and is given the text alone"
        raise UsageError(what, hint="draft='ngram', or a draft that reads no pictures")
    if reads_sources:
        with torch.inference_mode():
            given = given.conditioned(sources.tokens, sources.mask)
    return DraftModel(given, config.num_draft_tokens)


def _own(model: Any, config: GenerationConfig) -> Draft:
    if not getattr(model, "num_ahead", 0):
        raise UsageError(
            "draft='mtp' needs a model with multi-token prediction modules, and this one has none",
            hint="model.num_mtp_layers=1 behind the source loads those that the files of DeepSeek-V3 and V3.2, GLM-4.5 "
            "and 5, Qwen3-Next and Qwen3.5 have; the draft ngram needs none",
        )
    return ModulesDraft(model, config.num_draft_tokens)
