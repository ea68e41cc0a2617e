"""`zoo build`: a preset and overrides composed by Hydra, the module built, its size told; `-m` sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from zoo.cli import own_presets

EPILOG = """\b
Examples:
  zoo build llama3 model.num_layers=4
  zoo build llama3 rope=yarn model.max_seq_len=32768 model.rope.original_max_seq_len=8192
  zoo build -m model=llama3,llama3.2-1b model.num_layers=2,4
"""

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a word of the command line may become."""
    from zoo.cli.completion import overrides

    return overrides("build", ctx.params.get("words") or (), incomplete)


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[MODEL] [KEY=VALUE]...", shell_complete=complete)
@click.option("-m", "--multirun", is_flag=True, help="Build every combination of values given with commas.")
@own_presets.options
@click.option("--cfg", "-c", type=click.Choice(["job", "hydra", "all"]), help="Print the config instead of building.")
@click.option("--package", "-p", metavar="PACKAGE", help="The part of the config that --cfg prints, as model.rope.")
@click.option("--resolve", is_flag=True, help="With --cfg: resolve interpolations.")
@click.option("--info", "-i", is_flag=False, flag_value="all", metavar="[WHAT]", help=f"Print {', '.join(INFO)}.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object with every number.")
def command(
    words: tuple[str, ...],
    multirun: bool,
    config_dir: str | None,
    trust_config_dir: bool,
    cfg: str | None,
    package: str | None,
    resolve: bool,
    info: str | None,
    is_json: bool,
) -> None:
    """Compose MODEL with overrides, build it and show what it costs.

    By default nothing is allocated (device=meta). device=cpu save=FOLDER writes the model with random weights drawn
    from seed=0, in dtype=float32, as format=hf. Overrides are those of Hydra: groups such as rope=yarn, keys
    such as model.num_layers=4, and sweeps with -m.
    """
    if info is not None and info not in INFO:  # an override that followed a bare --info
        words, info = (info, *words), "all"
    own = own_presets.OwnPresets.of(config_dir, trust_config_dir)
    expanded = own.expanded("build", words, needs_model=not (cfg or info))
    from zoo.cli.building import one, sweep  # Hydra: only once the words are known to be right

    with own.serving():
        if cfg or info:
            _show(expanded, own.flags, cfg=cfg, package=package, resolve=resolve, info=info)
            return
        own.tell()
        if multirun:
            sweep(expanded, own.flags, is_json=is_json)
        else:
            one(expanded, own.flags, is_json=is_json)


def _show(words: Sequence[str], flags: Sequence[str], **shown: Any) -> None:
    from zoo.cli.building import check
    from zoo.cli.hydra_front import run_once, show

    if shown["cfg"] and any(word.startswith("+") for word in words):  # the only way to a key that is no field
        run_once("build", words, flags, check)
    given = [f"--{name}={value}" for name, value in shown.items() if value and value is not True]
    show("build", words, [*flags, *given, *(["--resolve"] if shown["resolve"] else [])])
