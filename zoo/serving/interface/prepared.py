"""A request that was read and checked: what is to be made of which prompts, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.generation import GenerationConfig
from zoo.generation.batching import Request
from zoo.serving.asked import Asked
from zoo.serving.bounds import Bounds
from zoo.serving.failures import BadField
from zoo.serving.roster import Volume
from zoo.serving.sampling import limited

MakePrompts = Callable[[Any], list[tuple[list[int], dict[str, Any]]]]  # the model -> tokens, and inputs besides


@dataclass(frozen=True)
class Prepared:
    """What both kinds of completions have in common."""

    volume: Volume
    prompts: MakePrompts
    config: GenerationConfig
    max_tokens: int | None  # None: what the checkpoint says, as far as there is room
    num_top: int | None
    is_chat: bool
    echo: bool = False
    is_streamed: bool = False
    tells_usage: bool = False

    @property
    def num_texts(self) -> int:
        """Texts of each prompt."""
        return self.config.num_return_sequences

    def requests(self, model: Any) -> list[Request]:
        """What the engine is asked for. Raises ZooError for prompts that cannot be."""
        self._check_biases(getattr(model.config, "vocab_size", None))
        made = []
        for number, (tokens, inputs) in enumerate(self.prompts(model)):
            made.append(
                Request(
                    tokens,
                    limited(self.config, self.max_tokens, len(tokens), self.volume.context),
                    inputs,
                    num_top=self.num_top,
                    number=number * self.num_texts,
                    scores_prompt=self.echo and self.num_top is not None,
                    only_reads=self.max_tokens == 0,
                )
            )
        return made

    def _check_biases(self, vocab_size: int | None) -> None:
        tokens = [token for run, _ in self.config.sequence_bias for token in run]
        if vocab_size is not None and (most := max(tokens, default=0)) >= vocab_size:
            told = f"logit_bias has the token {most}, outside the model's vocabulary of {vocab_size}"
            raise BadField("logit_bias", told)


def streaming(asked: Asked) -> tuple[bool, bool]:
    """Whether the answer comes in pieces, and whether the last of them counts its tokens."""
    is_streamed = asked.flag("stream")
    inner = asked.inside("stream_options")
    if inner is None:
        return is_streamed, False
    if not is_streamed:
        raise BadField("stream_options", "stream_options is for stream=true")
    inner.inert("include_obfuscation")
    tells_usage = inner.flag("include_usage")
    inner.finish()
    return True, tells_usage


def encoded(volume: Volume, text: str, bounds: Bounds) -> list[int]:
    """A text's tokens. Raises BadField for one that is longer than any prompt may be, before it is read."""
    if len(text) > 64 * volume.context:  # no vocabulary has tokens of so many characters on average
        raise BadField("prompt", f"a prompt of {len(text):,} characters does not fit into {volume.context:,} tokens")
    return volume.tokenizer.encode(text)
