"""`zoo chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from zoo.anatomy.size import human_count
from zoo.cli.inspect import complete
from zoo.cli.sights import image_option, video_option
from zoo.cli.speaker import (
    Speaker,
    open_speaker,
    sampling_options,
    settings,
    tell_notes,
    tell_ways,
    text_options,
)
from zoo.cli.spoken import engine_of, pieces_of
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.generation import GenerationConfig

EPILOG = """\b
Examples:
  zoo chat
  zoo chat ./SmolLM2-135M-Instruct.Q4_1.gguf
  echo "What is the capital of France?" | zoo chat ./SmolLM2-135M-Instruct.Q4_1.gguf
"""

SHARED_BYTES = 512 << 20  # kept of the conversation so far
HELP = "/reset starts again, /help shows this, ctrl-d quits"


@click.command(epilog=EPILOG)
@click.argument("source", default="tiny", shell_complete=complete)
@text_options
@click.option("--system", help="Instructions for the model before the conversation.")
@image_option
@video_option
@sampling_options
def command(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    system: str | None,
    images: tuple[str, ...],
    videos: tuple[str, ...],
    device: str,
    dtype: str | None,
    quantize: str | None,
    keep_packed: bool,
    adapter: str | None,
    ignore_settings: bool,
    compile: bool,
    draft: str | None,
    **chosen: object,
) -> None:
    """Talk with the model SOURCE (default: tiny, which comes with zoo), also about pictures and videos.

    A model without a chat template is asked in its family's own format where that is known, which is told; any other
    continues the text without changes. Settings of generation as in zoo generate.
    """
    speaker = open_speaker(
        source, choices, allow, allow_pickle, device, dtype, images, videos, ignore_settings=ignore_settings,
        draft=draft, is_compiled=compile, quantize=quantize, keep_packed=keep_packed, adapter=adapter,
    )  # fmt: skip
    tell_notes(speaker)
    has_template = speaker.tokenizer.has_chat
    if system and not has_template:
        raise UsageError("--system needs a chat template, and this model has none")
    if (images or videos) and not has_template:
        what = "--image" if images else "--video"
        raise UsageError(f"{what} needs a chat template, and this model has none", hint="use zoo generate")
    manner = "chat" if has_template else "no chat template: it continues your text"
    if format := speaker.tokenizer.chat_format:
        manner = f"no chat template: {format.name}, which a model that was not trained to chat does not know"
    click.echo(f"{source} · {human_count(speaker.ledger.num_parameters)} parameters · {manner} · {HELP}", err=True)
    config = ending(speaker, settings(speaker, **chosen))
    conversation = Conversation(speaker, config, system)
    for line in _lines():
        if line == "/help":
            click.echo(HELP, err=True)
        elif line == "/reset":
            conversation = Conversation(speaker, config, system)
        elif line:
            conversation.answer(line)


def ending(speaker: Speaker, config: GenerationConfig) -> GenerationConfig:
    """The settings with the tokens at which a turn ends in the family's own format, where that words the chat."""
    if (format := speaker.tokenizer.chat_format) is None:
        return config
    known = (speaker.tokenizer.token_to_id(token) for token in format.ends)
    ends = [*(config.eos_token_id or ()), *(index for index in known if index is not None)]
    return config.updated(eos_token_id=list(dict.fromkeys(ends)))


class Conversation:
    """The messages so far, and the model's turn at the end of them."""

    def __init__(self, speaker: Speaker, config: GenerationConfig, system: str | None = None) -> None:
        self.speaker, self.config = speaker, config
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self._engine: Any = None

    def answer(self, line: str) -> str:
        """Print the model's answer piece by piece, and return it."""
        self.messages.append({"role": "user", "content": self._content(line)})
        start = time.perf_counter()
        tokens, inputs = self._prompt(line)
        self._engine = self._engine or engine_of(self.speaker, kept=SHARED_BYTES)
        pieces = pieces_of(self.speaker, tokens, self.config, inputs, engine=self._engine)
        said = ""
        for piece in pieces:
            said += piece
            click.echo(piece, nl=False)
        click.echo()
        speed = len(pieces.new_tokens) / (time.perf_counter() - start - (getattr(pieces, "compile_seconds", None) or 0))
        click.echo(f"[{len(pieces.new_tokens)} tok, {speed:.0f} tok/s]", err=True)
        tell_ways(pieces)
        self.messages.append({"role": "assistant", "content": said})
        return said

    def _content(self, line: str) -> str | list[dict[str, Any]]:
        """What the user says; pictures are shown with the first line, since then all messages are repeated."""
        speaker = self.speaker
        if not speaker.sees or any(message["role"] == "user" for message in self.messages):
            return line
        kinds = ["image"] * len(speaker.images) + ["video"] * len(speaker.videos)
        return [*({"type": kind} for kind in kinds), {"type": "text", "text": line}]

    def _prompt(self, line: str) -> tuple[list[int], dict[str, Any]]:
        """Token ids of the conversation, and further arguments of the model's first pass."""
        speaker, tokenizer = self.speaker, self.speaker.tokenizer
        if speaker.sees:
            from zoo.vision.illustration import illustrate

            folder = speaker.ledger.checkpoint.folder
            shown = speaker.videos
            made = illustrate(
                speaker.model, self.messages, speaker.images, videos=shown, tokenizer=tokenizer, folder=folder
            )
            return made.tokens, made.inputs
        return (tokenizer.encode_chat(self.messages) if tokenizer.has_chat else tokenizer.encode(line)), {}


def _lines() -> Iterator[str]:
    """What the user types, or what is piped in, line by line."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin)
        return
    while True:
        try:
            yield input("> ").strip()
        except EOFError:
            click.echo(err=True)
            return
