"""A model with its tokenizer and generation settings, opened for the commands that make text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.cli.inspect import chosen
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger
    from zoo.generation import GenerationConfig
    from zoo.text import Tokenizer

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_NEW_TOKENS = 128


@dataclass
class Speaker:
    """What `generate` and `chat` work with."""

    model: Any  # an nn.Module under the contract of decoders
    tokenizer: Tokenizer
    config: GenerationConfig
    ledger: Ledger
    notes: list[str] = field(default_factory=list)  # what was assumed or left unread in generation_config.json
    images: list[Any] = field(default_factory=list)  # pictures that were given, read

    @property
    def answers(self) -> bool:
        """Whether a prompt is read by an encoder, and what is generated is no continuation of it."""
        return hasattr(self.model, "conditioned")


def image_option(function: F) -> F:
    """Pictures, in the order in which the prompt speaks of them."""
    text = "A picture for the prompt; may be given more than once."
    return click.option("--image", "images", multiple=True, type=click.Path(), metavar="FILE", help=text)(function)


def sampling_options(function: F) -> F:
    """The options that decide how a text is continued."""
    for option in (
        click.option("--tokens", "max_new_tokens", type=int, help="Tokens to add at most."),
        click.option("--temperature", type=float, help="0: always the most likely token."),
        click.option("--top-k", type=int, help="Draw from the k most likely tokens."),
        click.option("--top-p", type=float, help="Draw from the smallest set of tokens with this total probability."),
        click.option(
            "--min-p", type=float, help="Draw from tokens with at least this share of the highest probability."
        ),
        click.option(
            "--repetition-penalty", type=float, help="Above 1: tokens that are already there become less likely."
        ),
        click.option("--seed", type=int, help="The same seed gives the same text."),
        click.option("--stop", multiple=True, help="Stop before this text; may be given more than once."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ..."),
        click.option("--dtype", help="Cast the weights, to float32 for example."),
    ):
        function = option(function)
    return function


def open_speaker(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    device: str,
    dtype: str | None,
    images: tuple[str, ...] = (),
) -> Speaker:
    """Load model, tokenizer and settings. Raises ZooError for what is wrong with any of them."""
    from zoo.checkpoint.companions import read_settings, read_tokenizer
    from zoo.checkpoint.inspection import inspect
    from zoo.checkpoint.loading import realise

    overrides, family = chosen(choices)
    ledger = inspect(source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    ledger.check()  # before torch is imported
    tokenizer = read_tokenizer(ledger)
    for line in tokenizer.notes:
        click.echo(f"note: tokenizer: {line}", err=True)
    config, notes = read_settings(ledger)
    seen = read_pictures(ledger, images)
    model = realise(ledger, dtype=dtype, device=device)
    if not hasattr(model, "new_cache"):
        raise UsageError(f"{source} is a {ledger.family.name}, which does not generate text")
    return Speaker(model, tokenizer, config, ledger, notes, seen)


def read_pictures(ledger: Ledger, images: tuple[str, ...]) -> list[Any]:
    """The pictures in these files. Raises UsageError for a model that reads none."""
    if not images:
        return []
    from zoo.vision import read_image
    from zoo.vision.illustration import seeing

    seeing(ledger.family)
    return [read_image(image) for image in images]


def settings(speaker: Speaker, **chosen: Any) -> GenerationConfig:
    """The file's settings with the user's before them, and an end in sight."""
    config = speaker.config.updated(**{name: value for name, value in chosen.items() if value not in (None, ())})
    if config.max_new_tokens is None:
        config = config.updated(max_new_tokens=DEFAULT_NEW_TOKENS)
    return config
