"""`zoo show`: what a model is and what it costs, by arithmetic. Reads no weights and imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.costs import costs
from zoo.anatomy.glossary import meanings
from zoo.anatomy.size import Size
from zoo.cli import hub_cache, output
from zoo.cli.datasheet import fewer, rows, weights
from zoo.errors import UsageError, ZooError, clean
from zoo.presets import config as read_preset
from zoo.presets.homes import tell_preset
from zoo.presets.hub_ids import preset_of
from zoo.presets.named import FILES, is_path, rounding_of
from zoo.registry import Plugin, find_preset, installed
from zoo.units import parse_bytes

if TYPE_CHECKING:
    from zoo.parallel.layout import Layout

EPILOG = """\b
Examples:
  zoo show llama3
  zoo show llama3 rope=yarn model.rope.factor=4
  zoo show llama3.1-405b parallel.tp=8 parallel.pp=2
"""


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A model's name, and behind it what may be overridden."""
    from zoo.cli import completion

    if (model := ctx.params.get("model")) is None:
        return completion.models(incomplete)
    return completion.overrides("build", [model, *(ctx.params.get("overrides") or ())], incomplete, with_keys=False)


@click.command(epilog=EPILOG)
@click.argument("model", shell_complete=complete)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=complete)
@click.option("--fits", metavar="BYTES", help="The fewest devices of so many bytes that hold it: 80GiB, 24GB.")
@click.option("--json", "is_json", is_flag=True, help="The config, the traits and every number as JSON.")
def command(model: str, overrides: tuple[str, ...], fits: str | None, is_json: bool) -> None:
    """Show what MODEL is and what it costs: shape, parameters, memory, compute, and where its weights are.

    MODEL is one that `zoo list` shows, the name of its weights on the hub, or a checkpoint on this machine (a folder, a
    GGUF file): of that, also its bytes on disk and the bits of a weight by type. Overrides are those of `zoo build`:
    model.num_layers=4, rope=yarn, quantize=int4 for what the weights take with the layers' matrices rounded,
    and parallel.tp=8 (sp=true, ep, pp, dp, cp) for what each of several devices takes; the last two go together.
    """
    model = preset_of(model.removeprefix("model="))
    if model not in installed().presets() and (model.endswith(FILES) or is_path(model)):
        _stored(model, overrides, fits, is_json=is_json)
        return
    if "/" in model and model not in installed().presets():
        raise UsageError(f"{model!r} is not a model that zoo list shows", hint=f"a checkpoint: zoo inspect {model}")
    tell_preset(model)
    overrides, form = _parted(overrides)
    ways, overrides = _over_devices(overrides)
    config = _composed(model, overrides)
    layout = _layout(config, ways, fits, form)
    if is_json:
        output.as_json(to_dict(model, config, form) | _of_devices(config, layout, form))
        return
    causes = _causes(model, overrides, rows(config)) if overrides else {}
    title = f"{clean(find_preset(model).description, 200)} · {_provider(config)}"
    told = [
        (model, title),
        *rows(config, form),
        *_over(config, layout, fits, form),
        *_words(config),
        *_ends(model, config),
    ]
    output.fields([(name, text + causes.get(name, "")) for name, text in told])


def _stored(source: str, overrides: Sequence[str], fits: str | None, *, is_json: bool) -> None:
    """Show a checkpoint."""
    from zoo.cli import stored

    words, form = _parted(overrides)
    ways, words = _over_devices(words)
    ledger = stored.opened(source, words)
    layout = _layout(ledger.config, ways, fits, form)
    if is_json:
        output.as_json(stored.to_dict(source, ledger, form) | _of_devices(ledger.config, layout, form))
    else:
        output.fields([*stored.fields(source, ledger, form), *_over(ledger.config, layout, fits, form)])


def _layout(config: ModelConfig, ways: Sequence[str], fits: str | None, form: str | None) -> Layout | None:
    """What the words ask for, or what fits; None: one device."""
    if fits is None and not ways:
        return None
    from zoo.cli import devices
    from zoo.parallel.layout import layout_of

    if fits is None:
        return layout_of(ways)
    if ways:
        raise UsageError("--fits and parallel.* do not go together: --fits finds the layout", hint="leave one out")
    return devices.smallest(config, parse_bytes(fits), form)


def _of_devices(config: ModelConfig, layout: Layout | None, form: str | None) -> dict[str, Any]:
    if layout is None:
        return {}
    from zoo.cli import devices

    return {"parallel": devices.facts(config, layout, form)}


def _over(config: ModelConfig, layout: Layout | None, fits: str | None, form: str | None) -> list[tuple[str, str]]:
    """The lines of several devices."""
    if layout is None:
        return []
    from zoo.cli import devices

    found = [("Fits", f"{layout} in {fits} each")] if fits else []
    return [*found, *devices.rows(config, layout, form)]


def to_dict(model: str, config: ModelConfig, quantize: str | None = None) -> dict[str, Any]:
    """All that is known of a model, as JSON values."""
    preset, plugin = find_preset(model), installed().origin[config.family]
    known: dict[str, Any] = {
        "name": model,
        "description": preset.description,
        "family": config.family,
        "plugin": {"name": plugin.name, "package": plugin.distribution, "version": plugin.version},
        "config": config.to_dict(),
    }
    cached = hub_cache.find(config.hub) if config.hub else None
    known["cached"] = None if cached is None else {"files": cached.num_files, "bytes": cached.nbytes}
    try:
        size = Size.of(config)
    except ZooError:
        return known | {"traits": {}, "size": None}
    return known | {"traits": size.anatomy.traits, "size": costs(size, None, quantize=quantize)}


def _parted(words: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The overrides, and to what the layers' matrices are rounded, if a word says so."""
    return tuple(word for word in words if not word.startswith("quantize=")), rounding_of(words)


def _over_devices(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words that say over how many devices, and the others."""
    if not words:
        return (), ()
    from zoo.parallel.layout import GROUP
    from zoo.presets.settings import parted

    ways, others = parted(words, GROUP)
    return tuple(ways), tuple(others)


def _composed(model: str, overrides: Sequence[str]) -> ModelConfig:
    config = read_preset(model)  # before Hydra sees a stranger's file
    if not overrides:
        return config
    from zoo.presets.composition import compose

    return compose(model, *overrides)


def _causes(model: str, overrides: Sequence[str], told: list[tuple[str, str]]) -> dict[str, str]:
    """Behind each line that would read otherwise without some override: which one that is."""
    import shlex

    found: dict[str, list[str]] = {}
    for i, override in enumerate(overrides):
        try:
            without = dict(rows(_composed(model, [*overrides[:i], *overrides[i + 1 :]])))
        except ZooError:  # the others make no sense without it
            without = {}
        for name, text in told:
            if without.get(name) != text:
                found.setdefault(name, []).append(shlex.quote(override))
    return {name: f"   ← {' '.join(words)} (command line)" for name, words in found.items()}


def _provider(config: ModelConfig) -> str:
    plugin: Plugin = installed().origin[config.family]
    where = "built in" if plugin.state == "built in" else plugin.distribution
    return f"plugin {plugin.name} {plugin.version} ({where})"


def _words(config: ModelConfig) -> list[tuple[str, str]]:
    """What the short forms above stand for."""
    try:
        told = " · ".join(meanings(Size.of(config).anatomy.traits))
    except ZooError:
        return []
    return [("In words", told)] if told else []


def _ends(model: str, config: ModelConfig) -> list[tuple[str, str]]:
    source = [("Source", clean(config.source, 200))] if config.source else []
    released = weights(model, read_preset(model))  # whatever overrides made of it: it is these that can be fetched
    return [*source, ("Weights", released), ("Try", " ".join(["zoo build", model, *fewer(config)]))]
