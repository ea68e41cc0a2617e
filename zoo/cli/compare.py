"""`zoo compare`: what differs between models, in words and by arithmetic; with --html in pictures too."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from zoo.anatomy.adapters import RANK
from zoo.cli import output
from zoo.comparison import Comparison, compare
from zoo.comparison.record import LENGTH
from zoo.errors import UsageError, clean

EPILOG = """\b
Examples:
  zoo compare gpt2 llama3 deepseek-v2-lite
  zoo compare -m 'llama3 model.num_kv_heads=1,2,4' gpt2 hydra/launcher=joblib
  zoo compare gpt2 llama3 gemma2-9b --html report.html
"""


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a word that names a model may become: its name or a path."""
    from zoo.cli.completion import sources

    return sources(incomplete)


@click.command(epilog=EPILOG)
@click.argument("subjects", nargs=-1, metavar="A B [C]...", shell_complete=complete)
@click.option("--length", type=click.IntRange(1), default=LENGTH, show_default=True, help="Tokens of the text.")
@click.option("--lora-rank", type=click.IntRange(1), default=RANK, show_default=True, help="Rank of the LoRA adapters.")
@click.option("--bytes-dtype", metavar="DTYPE", help="Count the bytes of all in this type, not in the released one.")
@click.option(
    "--text",
    type=click.Path(),
    metavar="FILE",
    help="Measure the weights on a text file, or on sample, the text that zoo ships.",
)
@click.option("--adapter", metavar="FOLDER", help="Add the first model with this folder of peft beside its weights.")
@click.option("--speed", is_flag=True, help="With --text: time them too, each in a process of its own.")
@click.option(
    "--window", type=click.IntRange(1), metavar="TOKENS", help="Tokens of the text that the model sees at once."
)
@click.option("--stride", type=click.IntRange(1), metavar="TOKENS", help="Tokens from one window to the next.")
@click.option("--dtype", metavar="DTYPE", help="With --text: cast the weights before they are measured.")
@click.option("--device", default="cpu", show_default=True, help="What measures: cpu, cuda, ...")
@click.option("--only", type=click.Choice(["differing"]), help="Only rows that differ, in --json and in pipes too.")
@click.option("--multirun", "-m", is_flag=True, help="Run every combination of values given with commas.")
@click.option("--json", "is_json", is_flag=True, help="Configs, traits and exact numbers as JSON.")
@click.option("--md", "is_markdown", is_flag=True, help="The table as Markdown.")
@click.option(
    "--html", "page", type=click.Path(), metavar="FILE", help="Write a page with pictures to FILE; needs torch."
)
def command(
    subjects: tuple[str, ...],
    length: int,
    lora_rank: int,
    bytes_dtype: str | None,
    text: str | None,
    adapter: str | None,
    speed: bool,
    window: int | None,
    stride: int | None,
    dtype: str | None,
    device: str,
    only: str | None,
    multirun: bool,
    is_json: bool,
    is_markdown: bool,
    page: str | None,
) -> None:
    """Show what differs between models: architecture, parameters, memory, compute, training.

    A, B, C are models that `zoo list` shows, or checkpoints (folders, files, org/name, hf://org/name@rev). Overrides
    go in quotes: 'llama3 model.num_kv_heads=4'. Of weights only headers are read, unless --text asks for perplexity,
    agreement and KL with the first model, and text; then one model is in memory at a time.
    """
    if is_json and is_markdown:
        raise UsageError("--json and --md cannot be used together", hint="leave one of them out")
    file = output.html_file(page) if page is not None else None
    measuring: dict[str, Any] = {"speed": speed, "window": window, "stride": stride, "dtype": dtype}
    if text is None and any(measuring.values()):
        raise UsageError(
            "--speed, --window, --stride and --dtype need --text",
            hint="add --text sample; to count bytes in another type: --bytes-dtype",
        )
    if multirun:
        if is_markdown or page is not None:
            raise UsageError("-m and --md or --html cannot be used together", hint="each job's result is in its folder")
        from zoo.cli.sweeping import sweep

        options: dict[str, Any] = {
            "length": length,
            "lora_rank": lora_rank,
            "bytes_dtype": bytes_dtype,
            "adapter": adapter,
        }
        options |= {} if text is None else {"text": text, "device": device, **measuring}
        hydra = [word for word in subjects if word.startswith(("hydra.", "hydra/"))]
        models = [word for word in subjects if word not in hydra]
        sweep(models, hydra, lambda words: told_of(compare(*words, **options)), is_json=is_json)
        return
    subjects, mesh = laid_out(subjects, device, is_measured=text is not None)
    refuse_loose(subjects)
    if text is not None:
        measuring |= {"device": device, "tell": output.note if sys.stderr.isatty() else None}
        measuring |= {} if mesh is None else {"mesh": mesh}
    found = compare(
        *subjects, length=length, lora_rank=lora_rank, bytes_dtype=bytes_dtype, text=text, adapter=adapter,
        **(measuring if text is not None else {}),
    )  # fmt: skip
    if file is not None:
        output.write_page(file, found.html())
    if is_json:
        output.as_json(_shortened(found.to_dict()) if only else found.to_dict())
    elif is_markdown:
        click.echo(found.markdown(is_short=only is not None))
    elif file is None:
        _print(found, is_short=only is not None)


def told_of(found: Comparison) -> dict[str, Any]:
    """What a job of a sweep leaves: everything, and the numbers of its line."""
    rows = [*found.rows, *(found.measurements.rows if found.measurements else ())]
    measured = set() if found.measurements is None else {row.label for row in found.measurements.rows}
    numbers: dict[str, float] = {}
    for row in rows:
        if row.label in measured or row.label == "parameters":
            told = [value if isinstance(value, int | float) else None for value in row.values]
            numbers |= {f"{row.label} {i + 1}": value for i, value in enumerate(told) if value is not None}
    return {**found.to_dict(), "numbers": numbers, "parameters": None}


def laid_out(subjects: tuple[str, ...], device: str, *, is_measured: bool) -> tuple[tuple[str, ...], Any]:
    """The models, and the mesh that words such as parallel.tp=2 ask for, where there is something to run."""
    from zoo.parallel.layout import is_of_group

    words = [word for word in subjects if is_of_group(word)]
    if is_measured:
        from zoo.cli.ranks import over_ranks

        return over_ranks(subjects, device, ("tp",))
    if words:
        raise UsageError(f"{words[0]} needs --text: without it nothing is run", hint="add --text sample")
    return subjects, None


def _shortened(told: dict[str, Any]) -> dict[str, Any]:
    """The JSON values without the rows in which all are alike."""
    return told | {"rows": [row for row in told["rows"] if not row["same"]]}


def refuse_loose(subjects: tuple[str, ...]) -> None:
    """Overrides belong to one model, and here there are several: they stand within its quotes."""
    for i, word in enumerate(subjects):
        key, equals, _ = word.partition("=")
        is_model = key == "model" or any(c in key for c in " /") or Path(word).exists()
        if not equals or is_model:
            continue
        end = next((k for k in range(i, len(subjects)) if "=" not in subjects[k]), len(subjects))
        what = f"{clean(word)!r} is an override, and it is not said of which model"
        if i == 0:
            raise UsageError(what, hint=f"type it in quotes behind a model: 'MODEL {clean(word)}'")
        quoted = shlex.quote(" ".join(subjects[i - 1 : end]))
        words = [*map(shlex.quote, subjects[: i - 1]), quoted, *map(shlex.quote, subjects[end:])]
        raise UsageError(what, hint=f"put it in quotes with its model: zoo compare {clean(' '.join(words), 200)}")


def _print(found: Comparison, *, is_short: bool) -> None:
    if not sys.stdout.isatty():
        from zoo.comparison.table import as_tsv

        click.echo(as_tsv(found, is_short=is_short))
        return
    click.echo(found.table(shutil.get_terminal_size((100, 24)).columns, is_short=is_short))
    names = " ".join(shlex.quote(s.name) for s in found.subjects)
    output.note(f"Pictures: zoo compare {names} --html out.html")
