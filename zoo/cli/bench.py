"""`zoo bench`: prefill and decode speed, first token, peak memory and cache of a model; `-m` sweeps."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from zoo.cli import own_presets

EPILOG = """\b
Examples:
  zoo bench tiny --prompt 128 --new 64
  zoo bench ./folder --against transformers --json
  zoo bench -m decoder/llama3 model.num_layers=2 attention=gqa,mla --prompt 512 > ./sweep.tsv
"""


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a word of the command line may become."""
    from zoo.cli.completion import overrides

    found = overrides("bench", ctx.params.get("words") or (), incomplete)
    return found if "=" in incomplete else [*found, CompletionItem(incomplete, type="file")]


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="SOURCE|MODEL [KEY=VALUE]...", shell_complete=complete)
@click.option("-m", "--multirun", is_flag=True, help="Run every combination of values given with commas.")
@click.option("--prompt", type=int, help="Tokens that are read in one pass.  [default: 128]")
@click.option("--new", type=int, help="Tokens that follow, one by one.  [default: 64]")
@click.option("--batch", type=int, help="Rows.  [default: 1]")
@click.option("--repeats", type=int, help="Runs that count, after one that does not.  [default: 5]")
@click.option("--against", metavar="LIBRARY", help="transformers: the same model there, alternating with ours.")
@click.option("--device", help="cpu, cuda, ...  [default: cpu]")
@click.option("--dtype", help="Cast the weights, to float32 for example.")
@click.option("--compile", type=bool, is_flag=True, default=None, help="Compile zoo's step of one token.")
@own_presets.options
@click.option("--json", "is_json", is_flag=True, help="Every number of every run, with machine, versions and commit.")
def command(
    words: tuple[str, ...],
    multirun: bool,
    config_dir: str | None,
    trust_config_dir: bool,
    is_json: bool,
    **given: int | str | bool | None,
) -> None:
    """Time a checkpoint with its own weights, or a preset with random ones.

    Every option except the flags is also a key: `prompt=128,512 -m` runs both. Each model runs in its own process; the
    first run does not count, and of the others the median, the minimum and the maximum are shown. All runs are greedy.
    With --against the two libraries alternate, on the same weights, and there is a ratio for each pair of runs.
    """
    from zoo.cli.benching import one, sourced, sweep
    from zoo.cli.building import check
    from zoo.cli.hydra_front import run_once

    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    own = own_presets.OwnPresets.of(config_dir, trust_config_dir)
    expanded = own.expanded("bench", [*sourced(words, own.names), *options])
    with own.serving():
        if multirun:
            sweep(expanded, own.flags, is_json=is_json)
            return
        if any(word.startswith("+") for word in expanded):  # the only way to a key that is no field
            run_once("bench", expanded, own.flags, check)
        one(expanded, own.flags, is_json=is_json)
