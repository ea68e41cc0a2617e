"""`zoo chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from zoo.cli.inspect import shared_options
from zoo.cli.speaker import Speaker, open_speaker, sampling_options, settings
from zoo.errors import UsageError
from zoo.size import human_count

if TYPE_CHECKING:
    from zoo.generation import GenerationConfig

EPILOG = """\b
Examples:
  zoo chat
  zoo chat ./SmolLM2-135M-Instruct.Q4_1.gguf
  echo "What is the capital of France?" | zoo chat ./SmolLM2-135M-Instruct.Q4_1.gguf
"""

HELP = "/reset starts again, /help says this, ctrl-d leaves"


@click.command(epilog=EPILOG)
@click.argument("source", default="tiny")
@shared_options
@click.option("--system", help="What the model is told before the conversation.")
@sampling_options
def command(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    system: str | None,
    device: str,
    dtype: str | None,
    **chosen: object,
) -> None:
    """Talk with the model SOURCE (default: the one in the box).

    A model without a chat template continues the text as it stands.
    """
    speaker = open_speaker(source, choices, allow, allow_pickle, device, dtype)
    has_template = bool(speaker.tokenizer.chat_templates)
    if system and not has_template:
        raise UsageError("--system needs a chat template, and this model has none")
    manner = "chat" if has_template else "no chat template: it continues your text"
    click.echo(f"{source} · {human_count(speaker.ledger.num_parameters)} parameters · {manner} · {HELP}", err=True)
    config = settings(speaker, **chosen)
    conversation = Conversation(speaker, config, system)
    for line in _lines():
        if line == "/help":
            click.echo(HELP, err=True)
        elif line == "/reset":
            conversation = Conversation(speaker, config, system)
        elif line:
            conversation.answer(line)


class Conversation:
    """The messages so far, and the model's turn at the end of them."""

    def __init__(self, speaker: Speaker, config: GenerationConfig, system: str | None = None) -> None:
        self.speaker, self.config = speaker, config
        self.messages = [{"role": "system", "content": system}] if system else []

    def answer(self, line: str) -> str:
        """Print the model's answer piece by piece, and return it."""
        from zoo.generation import stream

        self.messages.append({"role": "user", "content": line})
        start = time.perf_counter()
        pieces = stream(self.speaker.model, self._prompt(line), tokenizer=self.speaker.tokenizer, config=self.config)
        said = ""
        for piece in pieces:
            said += piece
            click.echo(piece, nl=False)
        click.echo()
        speed = len(pieces.new_tokens) / (time.perf_counter() - start)
        click.echo(f"[{len(pieces.new_tokens)} tok, {speed:.0f} tok/s]", err=True)
        self.messages.append({"role": "assistant", "content": said})
        return said

    def _prompt(self, line: str) -> list[int]:
        tokenizer = self.speaker.tokenizer
        if tokenizer.chat_templates:
            return tokenizer.encode_chat(self.messages)
        return tokenizer.encode(line)


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
