"""`zoo inspect`: which family a checkpoint is, and the ledger of every config key and tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from zoo.adapters.file.folder import is_adapter
from zoo.anatomy.size import human_bytes, human_count
from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.notes import MOST, PACKED
from zoo.checkpoint.own_names import GIVEN
from zoo.cli import output
from zoo.errors import UsageError, clean, some
from zoo.units import ITEM_BYTES
from zoo.weights.foreign.config import ForeignConfig

F = TypeVar("F", bound=Callable[..., Any])

EPILOG = """\b
Examples:
  zoo inspect tiny --json
  zoo inspect ./adapter --base ./Qwen2.5-0.5B
  zoo inspect ./folder model.tie_embeddings=true --allow 'v_head.*'
"""


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a word that names a checkpoint may become: a model's name or a path."""
    from zoo.cli.completion import sources

    return sources(incomplete)


def shared_options(function: F, *, others: str = "") -> F:
    """The options of every command that opens a checkpoint; `others` are words that one takes besides."""
    for option in (
        click.argument("choices", nargs=-1, metavar=f"[family=NAME] [model.FIELD=VALUE]{others}..."),
        click.option(
            "--allow", multiple=True, metavar="PATTERN,...", help="Allow tensors or config keys that match the pattern."
        ),
        click.option(
            "--allow-pickle", is_flag=True, help="Open .bin and .pth files as data only; code in them is refused."
        ),
    ):
        function = option(function)
    return function


def writing_options(function: F) -> F:
    """The options of every command that writes a checkpoint."""
    size = "Cut the weights into files of at most this: 5GB, 200MB or a number of bytes."
    for option in (
        click.option("--dry-run", is_flag=True, help="Check everything and say what would be written."),
        click.option("--force", is_flag=True, help="Replace a folder that zoo wrote."),
        click.option("--max-shard-size", default="5GB", show_default=True, metavar="SIZE", help=size),
    ):
        function = option(function)
    return function


@click.command(epilog=EPILOG)
@click.argument("source", shell_complete=complete)
@shared_options
@click.option(
    "--base", metavar="SOURCE", help="Of an adapter: the model it may belong to. [default: as it says, if here]"
)
@click.option("--json", "as_json", is_flag=True, help="The ledger as JSON.")
def command(
    source: str, choices: tuple[str, ...], allow: tuple[str, ...], allow_pickle: bool, base: str | None, as_json: bool
) -> None:
    """Show what the checkpoint or adapter SOURCE is. Reads only headers.

    SOURCE is a folder, a file, tiny, org/name (from the cache), hf://org/name@rev or pkg://package/path.
    """
    from zoo.checkpoint.inspection import inspect
    from zoo.presets.homes import located

    overrides, family = chosen(choices)
    place = located(source, allow_pickle=allow_pickle)
    if is_adapter(place.path):
        _tell_adapter(place.path, base, choices, allow, allow_pickle, as_json=as_json)
        return
    if base is not None:
        raise UsageError(f"--base {base}: {source} is a model, not an adapter", hint="name the adapter first")
    ledger = inspect(source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    if as_json:
        output.as_json(ledger.to_dict())
    else:
        click.echo("\n".join(lines(ledger)))
    ledger.check()


def _tell_adapter(
    path: Path, base: str | None, choices: tuple[str, ...], allow: tuple[str, ...], allow_pickle: bool, *, as_json: bool
) -> None:
    """What an adapter is, and whether it fits its base, where that is given or named and here."""
    from zoo.adapters.file.folder import open_adapter
    from zoo.checkpoint.adapted import fit_of
    from zoo.checkpoint.inspection import inspect
    from zoo.cli import adapter as told

    found, fit = open_adapter(path, allow_pickle=allow_pickle), None
    if base is None and found.settings.base and Path(found.settings.base).is_dir():
        base = found.settings.base
    if base is not None:
        overrides, family = chosen(choices)
        ledger = inspect(base, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
        ledger.check()
        fit = fit_of(ledger, path, allow=allow, allow_pickle=allow_pickle)
    if as_json:
        output.as_json(told.as_dict(found, fit))
    else:
        click.echo("\n".join(told.lines(found, fit)))
    if fit is not None:
        fit.check()


def chosen(words: tuple[str, ...]) -> tuple[list[str], str | None]:
    """(overrides, family) as `inspect` takes them. Raises click's usage error for any other word."""
    from zoo.presets.overrides import grammar

    family: str | None = None
    overrides: list[str] = []
    groups = grammar("build", with_keys=False).groups if words else {}
    for word in words:
        key, equals, value = word.lstrip("+~").partition("=")
        is_ours = key.startswith("model.") or key.partition("@")[0] in groups
        if key == "family" and value:
            family = value
        elif (key == GIVEN and value) or (is_ours and (equals or word.startswith("~"))):
            overrides.append(word)
        else:
            raise click.UsageError(f"{word!r} is neither family=NAME nor model.FIELD=VALUE")
    return overrides, family


def packing(ledger: Ledger) -> list[str]:
    """What the blocks of a GGUF file come to; nothing where all numbers are stored as they are."""
    if all(kind in ITEM_BYTES for kind in ledger.dtypes):
        return []
    infos = [info for info in ledger.checkpoint.tensors.values() if info.numel]
    kinds = sorted({info.dtype: 8 * info.nbytes / info.numel for info in infos}.items(), key=lambda kind: kind[1])
    mean = 8 * sum(info.nbytes for info in infos) / sum(info.numel for info in infos)
    return [f"packed     {mean:.2f} bits per weight: {', '.join(f'{kind} {bits:.3g}' for kind, bits in kinds)}"]


def lines(ledger: Ledger) -> list[str]:
    """The ledger in words, a line per account."""
    keys = ledger.keys
    commit = f" @ {ledger.commit[:8]}" if ledger.commit else ""
    files = ledger.checkpoint.files
    dtypes = ", ".join(f"{dtype} ({count})" for dtype, count in ledger.dtypes.items())
    out = [
        f"source     {ledger.source}{commit} · {len(files)} weight file{'s' * (len(files) != 1)}, "
        f"{human_bytes(ledger.nbytes)}",
        f"family     {ledger.family.name} ({'; '.join(ledger.reasons)}) · format {ledger.dialect}",
        f"config     {keys_in_words(keys)}",
        *(f"           {group.name}: {keys_in_words(group)}" for group in keys.groups),
        f"tensors    {ledger.account.summary()}",
        f"dtype      {dtypes}",
        *packing(ledger),
        f"parameters {human_count(ledger.num_parameters)}",
    ]
    out += [f"packed     {note.removeprefix(PACKED)}" for note in ledger.notes if note.startswith(PACKED)]
    if assumed := [f"{name}={clean(repr(value))}" for name, value in ledger.assumed.items()]:
        out.append(f"assumed    {some(assumed, MOST)}")
    if allowed := [*keys.allowed, *(f"{g.name}.{name}" for g in keys.groups for name in g.allowed)]:
        out.append(f"allowed    {clean(some(allowed, 4), 200)}")
    notes = [note for note in ledger.notes[bool(assumed) :] if not note.startswith(PACKED)]  # a line of its own
    return out + [f"note       {note}" for note in notes]


def keys_in_words(keys: ForeignConfig) -> str:
    """29 keys: 17 used · 12 inert (bos_token_id, dtype and 10 more) · 0 unknown"""
    total, used, inert, allowed = map(len, (keys.raw, keys.used, keys.inert, keys.allowed))
    let_pass = f" · {allowed} allowed" if allowed else ""
    unknown = total - used - inert - allowed
    return f"{total} keys: {used} used · {inert} inert{_examples(keys.inert)}{let_pass} · {unknown} unknown"


def _examples(names: set[str]) -> str:
    return f" ({some(sorted(names), 2)})" if names else ""
