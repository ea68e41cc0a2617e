"""`zoo eval`: how well a model predicts texts, says what it should, and what it scores on tasks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import output
from zoo.cli.inspect import chosen, complete
from zoo.cli.ranks import over_ranks
from zoo.cli.speaker import GROUP, packing_options, text_options
from zoo.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from zoo.measurement.evaluation import Evaluation, Score
    from zoo.measurement.perplexity import Reading
    from zoo.measurement.references import ReferenceScores

EPILOG = """\b
Examples:
  zoo eval ./opus-mt-en-de --references ./pairs.jsonl generation.num_beams=4
  zoo eval -m ./one,./two --window 256 hydra/launcher=joblib
  zoo eval ./folder --tasks lambada_openai,hellaswag --limit 100 --json
"""


@click.command(epilog=EPILOG)
@click.argument("source", shell_complete=complete)
@text_options
@click.option(
    "--text",
    "texts",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="A text file in UTF-8, or sample, the text that zoo ships.",
)
@click.option(
    "--window",
    type=int,
    metavar="TOKENS",
    help="Tokens that the model sees at once.  [default: the model's context, 1024 at most]",
)
@click.option("--stride", type=int, metavar="TOKENS", help="Tokens from one window to the next.  [default: the window]")
@click.option(
    "--references",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help='Prompts and what the model should say, one per line: {"prompt": "…", "reference": "…"}.',
)
@click.option("--metrics", metavar="NAMES", help="Scores against references: bleu, rouge, exact.  [default: all]")
@click.option("--bleu-tokens", default="13a", show_default=True, help="How BLEU cuts texts: 13a, intl, zh, char, none.")
@click.option("--ignore-settings", is_flag=True, help="Ignore settings of the checkpoint that zoo does not know.")
@click.option("--tasks", metavar="NAMES", help="Tasks of lm-evaluation-harness, separated by commas.")
@click.option(
    "--include-path", type=click.Path(), metavar="DIR", help="A folder with your own tasks; zoo runs the code in it."
)
@click.option("--limit", type=int, help="Examples of each task at most.")
@click.option("--num-fewshot", type=int, help="Examples shown before each question.  [default: the task's]")
@click.option("--batch", "batch_size", type=int, default=8, show_default=True, help="Rows at once.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...")
@click.option("--dtype", help="Cast the weights, to float32 for example.")
@packing_options
@click.option("--compile", is_flag=True, help="Compile the model; the first time takes a while.")
@click.option("--multirun", "-m", is_flag=True, help="Run every combination of values given with commas.")
@click.option("--json", "is_json", is_flag=True, help="Every number, with machine, versions and commit.")
def command(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    texts: tuple[str, ...],
    window: int | None,
    stride: int | None,
    references: tuple[str, ...],
    metrics: str | None,
    bleu_tokens: str,
    ignore_settings: bool,
    tasks: str | None,
    include_path: str | None,
    limit: int | None,
    num_fewshot: int | None,
    batch_size: int,
    device: str,
    dtype: str | None,
    quantize: str | None,
    keep_packed: bool,
    compile: bool,
    multirun: bool,
    is_json: bool,
) -> None:
    """Perplexity of SOURCE on texts (default: the text that zoo ships), or its scores on references or tasks.

    A text's tokens are predicted one by one, in windows that do not see each other unless --stride is less than
    --window; BOS is read first if the tokenizer adds it, and is not predicted. Compare models by bits per byte:
    perplexity is per token of a model's own vocabulary. What it says against references is generated with the
    checkpoint's settings; words such as generation.max_new_tokens=40 go before them. Tasks of the harness download
    their data from the hub, unless it is in the cache.
    """
    names = [name.strip() for name in tasks.split(",") if name.strip()] if tasks is not None else []
    if tasks is not None and not names:
        raise UsageError("--tasks has no task name", hint="--tasks lambada_openai")
    if not names and (include_path or limit is not None or num_fewshot is not None):
        raise UsageError("--include-path, --limit and --num-fewshot need --tasks")
    for name, value in (("limit", limit), ("window", window), ("stride", stride), ("batch", batch_size)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value} is not at least 1")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the harness would fill a log with bars
    from zoo.measurement.evaluation import evaluate
    from zoo.presets.settings import parted, settings_of

    measured = measured_by(metrics)

    def evaluated(source: str, choices: Sequence[str], mesh: DeviceMesh | None = None) -> Evaluation:
        words, others = parted(tuple(choices), GROUP)
        if (words or metrics is not None) and not references:
            raise UsageError("--metrics and generation.SETTING=VALUE need --references")
        overrides, family = chosen(tuple(others))
        return evaluate(
            source, *overrides, text=texts, references=references, metrics=measured, bleu_tokens=bleu_tokens,
            settings=settings_of(words, GROUP), ignore_settings=ignore_settings, tasks=names, include_path=include_path,
            window=window, stride=stride, limit=limit, num_fewshot=num_fewshot, batch_size=batch_size, dtype=dtype,
            device=device, compile=compile, quantize=quantize, keep_packed=keep_packed, family=family, allow=allow,
            allow_pickle=allow_pickle, mesh=mesh,
            tell=output.note if sys.stderr.isatty() and not multirun else None,
        )  # fmt: skip

    if multirun:
        from zoo.cli.sweeping import sweep

        sweep([source], choices, lambda words: told_of(evaluated(words[0], words[1:])), is_json=is_json)
        return
    choices, mesh = over_ranks(choices, device)
    found = evaluated(source, choices, mesh)
    if is_json:
        output.as_json(found.to_dict())
        return
    output.note(f"{source} · {found.family} · computed in {found.dtype}")
    if found.compile_seconds is not None:
        output.note(f"compiled in {found.compile_seconds:.0f} s")
    if found.texts:
        _print_texts(found.texts)
    if found.references:
        _print_references(found.references)
    if found.scores:
        _print_scores(found.scores)


def told_of(found: Evaluation) -> dict[str, Any]:
    """What a job of a sweep leaves: everything, and the numbers of its line."""
    numbers: dict[str, float] = {}
    for name, reading in found.texts.items():
        told, of = reading.to_dict(), "" if len(found.texts) == 1 else f" of {name}"
        numbers |= {f"perplexity{of}": told["perplexity"], f"bits/byte{of}": told["bits_per_byte"]}
    for name, scores in found.references.items():
        of = "" if len(found.references) == 1 else f" of {name}"
        numbers |= {f"{metric}{of}": value for metric, value in scores.scores.items()}
    numbers |= {f"{s.task} {s.metric}": s.value for s in found.scores}
    return {**found.to_dict(), "numbers": numbers}


def measured_by(metrics: str | None) -> list[str]:
    """The metrics that are named, all of them by default. Raises UsageError where none is."""
    from zoo.measurement.references import METRICS

    names = list(METRICS) if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    if not names:
        raise UsageError("--metrics names none", hint="--metrics bleu,rouge,exact")
    return names


def _print_references(references: dict[str, ReferenceScores]) -> None:
    names = list(next(iter(references.values())).scores)
    columns = [
        output.Column("references"),
        output.Column("examples", "{:,}".format, is_number=True),
        *(output.Column(name, ("{:.2f}" if name == "bleu" else "{:.4f}").format, is_number=True) for name in names),
    ]
    output.table(columns, ([file, c.examples, *(c.scores[n] for n in names)] for file, c in references.items()))
    for signature in dict.fromkeys(c.signature for c in references.values() if c.signature):
        output.note(f"BLEU: {signature}")


def _print_texts(texts: dict[str, Reading]) -> None:
    columns = [
        output.Column("text"),
        output.Column("tokens", "{:,}".format, is_number=True),
        output.Column("bytes", "{:,}".format, is_number=True),
        output.Column("perplexity", "{:.2f}".format, is_number=True),
        output.Column("bits/byte", "{:.4f}".format, is_number=True),
        output.Column("nats/token", "{:.4f}".format, is_number=True),
        output.Column("right", "{:.1%}".format, is_number=True),
    ]
    keys = ("tokens", "bytes", "perplexity", "bits_per_byte", "loss", "accuracy")
    told = {name: reading.to_dict() for name, reading in texts.items()}
    output.table(columns, ([name, *(facts[key] for key in keys)] for name, facts in told.items()))
    facts = next(iter(told.values()))
    output.note(f"windows of {facts['window']} tokens, {facts['stride']} apart; begins with {facts['begins_with']}")


def _print_scores(scores: list[Score]) -> None:
    columns = [
        output.Column("task"),
        output.Column("metric"),
        output.Column("filter"),
        output.Column("value", "{:.4f}".format, is_number=True),
        output.Column("stderr", "{:.4f}".format, is_number=True),
    ]
    output.table(columns, ([s.task, s.metric, s.filter, s.value, s.stderr] for s in scores))
