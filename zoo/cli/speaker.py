"""A model with its tokenizer and generation settings, opened for the commands that make text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.cli.inspect import chosen, shared_options
from zoo.cli.ranks import over_ranks
from zoo.cli.sights import checked_videos, read_pictures
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger
    from zoo.generation import GenerationConfig
    from zoo.text import Tokenizer

F = TypeVar("F", bound=Callable[..., Any])
PROBE = "Two draft models, 1 or 2 words: naïve Überprüfung."  # which tokenizers that differ read differently
GROUP = "generation"  # what the words begin with that set one of its settings


@dataclass
class Speaker:
    """What `generate` and `chat` work with."""

    model: Any  # an nn.Module under the contract of decoders
    tokenizer: Tokenizer
    config: GenerationConfig
    ledger: Ledger
    notes: list[str] = field(default_factory=list)  # what was assumed or left out of the checkpoint's settings
    images: list[Any] = field(default_factory=list)  # pictures that were given, read
    videos: list[str] = field(default_factory=list)  # files of videos that were given
    draft: Any = None  # who guesses: "ngram" or a smaller model
    is_compiled: bool = False
    is_over_ranks: bool = False  # whether other processes hold parts of the model, and make the same text meanwhile
    words: dict[str, Any] = field(default_factory=dict)  # settings that were given as words

    @property
    def sees(self) -> bool:
        """Whether the prompt comes with pictures or videos."""
        return bool(self.images or self.videos)

    @property
    def ways(self) -> dict[str, Any]:
        """What of `generate`'s arguments changes its speed alone, where it was asked for."""
        asked = {"draft": self.draft, "compile": self.is_compiled}
        return {name: value for name, value in asked.items() if value}

    @property
    def answers(self) -> bool:
        """Whether a prompt is read by an encoder, and what is generated is no continuation of it."""
        return hasattr(self.model, "conditioned")


def text_options(function: F) -> F:
    """The options of every command that opens a checkpoint, and the words that set generation."""
    return shared_options(function, others=" [generation.SETTING=VALUE]")


ADAPTER = click.option("--adapter", metavar="FOLDER", help="A folder of peft, for this model, beside its weights.")
PACKING = (
    click.option("--quantize", metavar="FORM", help="Round the layers' matrices: int8, int4, int4-64, int4-128."),
    click.option("--keep-packed", "--packed", is_flag=True, help="Leave weights packed that the file has packed."),
)


def packing_options(function: F) -> F:
    """The options that decide in what form the layers' matrices are held."""
    for option in PACKING:
        function = option(function)
    return function


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
        click.option("--regex", metavar="PATTERN", help="The whole text matches this regular expression."),
        click.option("--json-schema", metavar="JSON|FILE", help="The text is JSON of this schema."),
        click.option(
            "--ignore-settings", is_flag=True, help="Ignore settings of the checkpoint that zoo does not know."
        ),
        click.option("--cache", metavar="FORM", help="int8: keep keys and values in 8 bits."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ..."),
        click.option("--dtype", help="Cast the weights, to float32 for example."),
        *PACKING,
        ADAPTER,
        click.option("--compile", is_flag=True, help="Compile the step of one token; the first time takes a while."),
        click.option(
            "--draft",
            metavar="ngram|mtp|SOURCE",
            help="Guess from the text so far, with own modules, or a small model.",
        ),
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
    videos: tuple[str, ...] = (),
    *,
    ignore_settings: bool = False,
    quantize: str | None = None,
    keep_packed: bool = False,
    draft: str | None = None,
    is_compiled: bool = False,
    adapter: str | None = None,
) -> Speaker:
    """Load model, tokenizer and settings, of which `choices` may set some. Raises ZooError for what is wrong."""
    from zoo.checkpoint.adapted import fit_of
    from zoo.checkpoint.loading import realise
    from zoo.presets.settings import parted, settings_of

    choices, mesh = over_ranks(choices, device)
    words, others = parted(choices, GROUP)
    given = settings_of(words, GROUP)
    overrides, family = chosen(tuple(others))
    look = partial(_looked, source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    if mesh is not None:
        from zoo.parallel.agreement import together

        look = partial(together, look)
    ledger = look()
    fit = None if adapter is None else fit_of(ledger, adapter, allow=allow, allow_pickle=allow_pickle)
    tokenizer = ledger.tokenizer
    for line in tokenizer.notes:
        click.echo(f"note: tokenizer: {line}", err=True)
    config, notes = ledger.settings(ignore=ignore_settings)
    seen = read_pictures(ledger, images), checked_videos(ledger, videos)
    model = realise(ledger, dtype=dtype, device=device, quantize=quantize, keep_packed=keep_packed, mesh=mesh, fit=fit)
    if not hasattr(model, "new_cache"):
        raise UsageError(f"{source} is a {ledger.config.family_in_words}, which does not generate text")
    parts = (ledger, notes, *seen, open_draft(draft, model, dtype=dtype), is_compiled, mesh is not None)
    return Speaker(model, tokenizer, config, *parts, words=given)


def _looked(source: str, *overrides: str, **options: Any) -> Ledger:
    from zoo.checkpoint.inspection import inspect

    ledger = inspect(source, *overrides, **options)
    ledger.check()  # before torch is imported
    return ledger


def open_draft(draft: str | None, model: Any, *, dtype: str | None = None) -> Any:
    """What guesses beside the model: "ngram", or the small model at this place, which reads texts as the model does."""
    from zoo.generation.speculation.choice import NAMED

    if draft is None or draft in NAMED:
        return draft
    from zoo.checkpoint.loading import load

    small = load(draft, dtype=dtype, device=next(model.parameters()).device)
    if small.ledger.tokenizer.encode(PROBE) != model.ledger.tokenizer.encode(PROBE):
        click.echo(f"note: {draft} has another tokenizer: few of its guesses will be right", err=True)
    return small


def tell_ways(out: Any) -> None:
    """Say on stderr what a draft was good for, and how long compiling took."""
    if (draft := getattr(out, "draft", None)) is not None:
        click.echo(f"[draft: {draft}]", err=True)
    if seconds := getattr(out, "compile_seconds", None):
        click.echo(f"[compiled in {seconds:.0f} s]", err=True)


def settings(speaker: Speaker, **chosen: Any) -> GenerationConfig:
    """The file's settings with the user's before them."""
    given = {name: value for name, value in chosen.items() if value not in (None, ())}
    if schema := given.get("json_schema"):
        given["json_schema"] = schema if schema.lstrip().startswith(("{", "true")) else _read_schema(schema)
    return speaker.config.replaced(**{**speaker.words, **given})  # at once: some go together alone


def tell_notes(speaker: Speaker) -> None:
    """Say on stderr what of the checkpoint's settings was assumed or left out, and what takes long."""
    file = speaker.ledger.checkpoint.folder / "generation_config.json"
    name = file.name if file.is_file() else speaker.ledger.checkpoint.config_name
    for note in speaker.notes:
        click.echo(f"note: {name}: {note}", err=True)
    if speaker.is_compiled:
        click.echo("note: the first tokens wait for the compiler, for seconds to minutes", err=True)


def _read_schema(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{file}: {why}", hint="--json-schema takes a file, or JSON that begins with {") from None
