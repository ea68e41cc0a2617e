"""The texts of a speaker: made by the engine that serves them too, or by a plain loop where that cannot be.

Drafts, guidance and compiled steps have passes of their own, caches in 8 bits cannot be joined, a beam search knows its
text only at its end, and where several processes hold a model, all of them must take the same steps: these take the
loop, which makes all texts of a call at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.cli.speaker import Speaker

if TYPE_CHECKING:
    from zoo.generation import Generation, GenerationConfig

Given = Any  # texts or token ids


def takes_engine(speaker: Speaker, config: GenerationConfig) -> bool:
    """Whether the engine makes what is asked for."""
    is_plain = config.num_beams == 1 and config.guidance_scale in (None, 1) and config.cache is None
    return is_plain and not (speaker.ways or speaker.is_over_ranks)


def pieces_of(
    speaker: Speaker, prompt: list[int], config: GenerationConfig, inputs: dict[str, Any], *, engine: Any = None
) -> Any:
    """One text piece by piece; an `engine` is one of `engine_of`, that has made others before."""
    from zoo.generation import stream
    from zoo.generation.batching import Utterance

    if not takes_engine(speaker, config):
        ways = speaker.ways
        return stream(speaker.model, prompt, tokenizer=speaker.tokenizer, config=config, inputs=inputs, **ways)
    return Utterance(engine or engine_of(speaker), prompt, config, inputs=inputs)


def engine_of(speaker: Speaker, *, kept: int = 0) -> Any:
    """An engine for one text at a time, which keeps so many bytes of what it has read for the next."""
    from zoo.generation.batching import Beginnings, Engine

    beginnings = Beginnings(kept) if kept else None
    return Engine(speaker.model, speaker.tokenizer, max_rows=1, beginnings=beginnings)


def texts_of(speaker: Speaker, prompts: Given, config: GenerationConfig, inputs: dict[str, Any]) -> Generation:
    """All texts of all prompts."""
    from zoo.generation import generate
    from zoo.generation.batching import generate_all

    if takes_engine(speaker, config):
        return generate_all(speaker.model, prompts, config, tokenizer=speaker.tokenizer, inputs=inputs)
    return generate(speaker.model, prompts, tokenizer=speaker.tokenizer, config=config, inputs=inputs, **speaker.ways)
