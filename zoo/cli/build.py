"""`zoo build`: a preset and overrides composed by Hydra, the module built, its size told; `-m` sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

EPILOG = """\b
Examples:
  zoo build llama3 model.num_layers=4
  zoo build llama3 rope=yarn model.max_seq_len=32768 --json
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
@click.option(
    "-cd", "--config-dir", type=click.Path(exists=True, file_okay=False), help="A folder of your own presets."
)
@click.option("--cfg", "-c", type=click.Choice(["job", "hydra", "all"]), help="Print the config instead of building.")
@click.option("--package", "-p", metavar="PACKAGE", help="The part of the config that --cfg prints, as model.rope.")
@click.option("--resolve", is_flag=True, help="With --cfg: resolve interpolations.")
@click.option("--info", "-i", is_flag=False, flag_value="all", metavar="[WHAT]", help=f"Print {', '.join(INFO)}.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object with every number.")
def command(
    words: tuple[str, ...],
    multirun: bool,
    config_dir: str | None,
    cfg: str | None,
    package: str | None,
    resolve: bool,
    info: str | None,
    is_json: bool,
) -> None:
    """Compose MODEL with overrides, build it and tell what it costs.

    By default nothing is allocated (device=meta). device=cpu save=FOLDER writes the model with random weights drawn
    from seed=0, in dtype=float32, as format=hf. Everything left of = is Hydra's: groups as rope=yarn, keys as
    model.num_layers=4, and sweeps with -m.
    """
    from zoo.cli.building import one, sweep
    from zoo.presets.overrides import expand, grammar, vet

    if info is not None and info not in INFO:  # an override that followed a bare --info
        words, info = (info, *words), "all"
    folder = Path(config_dir) if config_dir else None
    expanded = expand(words, grammar("build", folder=folder), needs_model=not (cfg or info))
    vet(expanded)
    flags = [f"--config-dir={config_dir}"] if config_dir else []
    if cfg or info:
        _show(expanded, flags, cfg=cfg, package=package, resolve=resolve, info=info)
        return
    _notes(expanded, folder)
    if multirun:
        sweep(expanded, flags, is_json=is_json)
    else:
        one(expanded, flags, is_json=is_json)


def _show(words: Sequence[str], flags: Sequence[str], **shown: Any) -> None:
    from zoo.cli.building import check
    from zoo.cli.hydra_front import run_once, show

    if shown["cfg"] and any(word.startswith("+") for word in words):  # the only way to a key that is no field
        run_once("build", words, flags, check)
    given = [f"--{name}={value}" for name, value in shown.items() if value and value is not True]
    show("build", words, [*flags, *given, *(["--resolve"] if shown["resolve"] else [])])


def _notes(words: Sequence[str], folder: Path | None) -> None:
    """Refuse a folder of presets that are none, and tell of presets that hide each other."""
    from zoo.cli import output
    from zoo.presets.file import check
    from zoo.presets.mistakes import hidden_preset
    from zoo.registry import installed

    presets = installed().presets()
    for kept, hidden in installed().preset_clashes():
        output.note(f"note: {hidden_preset(kept.name, kept.plugin, hidden.plugin)}")
    for file in sorted((folder / "model").rglob("*.yaml")) if folder else []:
        check(file.read_bytes(), file)
        name = file.relative_to(folder / "model").with_suffix("").as_posix() if folder else ""
        if name in presets:
            output.note(f"note: {hidden_preset(name, presets[name].plugin, str(folder))}")
