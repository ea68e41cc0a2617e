"""`zoo generate`: text from a model, in one go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import output
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
from zoo.cli.spoken import pieces_of, texts_of
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.generation import GenerationConfig

EPILOG = """\b
Examples:
  zoo generate tiny -p "She had been" --temperature 0.8 --seed 1 --tokens 40
  zoo generate tiny -p "She said" --regex '"[a-z ]+[.!?]"' generation.no_repeat_ngram_size=3
  zoo generate ./Qwen2.5-VL-3B-Instruct --image cat.png -p "What is this?"
"""


@click.command(epilog=EPILOG)
@click.argument("source", default="tiny", shell_complete=complete)
@text_options
@click.option(
    "-p", "--prompt", "prompts", multiple=True, required=True, help="Text to continue; may be given more than once."
)
@image_option
@video_option
@click.option("--beams", "num_beams", type=int, help="Beam search that keeps this many texts.")
@click.option("--length-penalty", type=float, help="Beam search: above 0 favours longer texts.")
@sampling_options
@click.option("--json", "as_json", is_flag=True, help="Texts, token ids and why each ended, as JSON.")
def command(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    prompts: tuple[str, ...],
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
    as_json: bool,
    **chosen: object,
) -> None:
    """Continue texts with the model SOURCE (default: tiny, which comes with zoo); an encoder-decoder answers them.

    With pictures or videos the prompt becomes a message in the chat template, if there is one, unless the prompt
    already has markers for them; without a template they come first.

    Other settings come from the checkpoint's generation_config.json, or from its config.json; if there are none,
    decoding is greedy and adds at most 128 tokens. Settings without an option are given as words:
    generation.bad_words_ids=[[5]], generation.typical_p=0.9, generation.forced_eos_token_id=null.
    """
    if (images or videos) and len(prompts) > 1:
        raise UsageError(f"pictures and videos need one prompt, not {len(prompts)}", hint="give -p once")
    speaker = open_speaker(
        source, choices, allow, allow_pickle, device, dtype, images, videos, ignore_settings=ignore_settings,
        draft=draft, is_compiled=compile, quantize=quantize, keep_packed=keep_packed, adapter=adapter,
    )  # fmt: skip
    tell_notes(speaker)
    config = settings(speaker, **chosen)
    if len(prompts) == 1 and config.num_beams == config.num_return_sequences == 1 and not as_json:
        _stream(speaker, prompts[0], config)
        return
    given, inputs = _illustrated(speaker, prompts[0]) if speaker.sees else (list(prompts), {})
    out = texts_of(speaker, given, config, inputs)
    tell_ways(out)
    texts = out.texts or []
    prompts = tuple(prompt for prompt in prompts for _ in range(config.num_return_sequences))
    if as_json:
        rows = zip(prompts, texts, out.new_tokens, out.finish_reasons, strict=True)
        keys = ("prompt", "text", "tokens", "finish_reason")
        output.as_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    for prompt, text in zip(prompts, texts, strict=True):
        click.echo(text if speaker.sees or speaker.answers else prompt + text)


def _illustrated(speaker: Speaker, prompt: str) -> tuple[list[int], dict[str, Any]]:
    """The prompt with its pictures and videos: token ids, and the arguments of the model's first pass."""
    from zoo.vision.illustration import illustrate

    folder = speaker.ledger.checkpoint.folder
    shown, tokenizer = speaker.videos, speaker.tokenizer
    made = illustrate(speaker.model, prompt, speaker.images, videos=shown, tokenizer=tokenizer, folder=folder)
    return made.tokens, made.inputs


def _stream(speaker: Speaker, prompt: str, config: GenerationConfig) -> None:
    if not prompt:
        raise UsageError("the prompt is empty", hint="-p 'Some text'")
    start = time.perf_counter()
    given, inputs = _illustrated(speaker, prompt) if speaker.sees else (speaker.tokenizer.encode(prompt), {})
    pieces = pieces_of(speaker, given, config, inputs)
    first = next(pieces, "")  # what cannot be generated says so before anything is printed
    if not speaker.sees and not speaker.answers:  # of an answer the prompt is not the beginning
        click.echo(prompt, nl=False)
    click.echo(first, nl=False)
    for piece in pieces:
        click.echo(piece, nl=False)
    click.echo()
    seconds = time.perf_counter() - start - (getattr(pieces, "compile_seconds", None) or 0)
    count = len(pieces.new_tokens)
    click.echo(f"[{count} tok, {count / seconds:.0f} tok/s, {pieces.finish_reason}]", err=True)
    tell_ways(pieces)
