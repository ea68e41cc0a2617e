"""What `zoo build` does with a composed config: builds the module, measures, saves, and prints one model or a sweep."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from zoo.anatomy.config import ModelConfig, typed
from zoo.cli import output
from zoo.cli.hydra_front import run_once, run_sweep
from zoo.cli.summary import changes, lines, numbers, tree
from zoo.errors import UsageError, ZooError, did_you_mean
from zoo.presets import config as read_preset
from zoo.presets.composition import checked
from zoo.registry import installed
from zoo.registry.family import OURS
from zoo.units import human_bytes, human_count, human_flops


@dataclass(frozen=True)
class Settings:
    """The keys of conf/build.yaml that are not the model's."""

    device: str
    dtype: str | None
    seed: int
    save: str | None
    format: str
    quantize: str | None = None

    @classmethod
    def of(cls, composed: DictConfig, config: ModelConfig) -> Settings:
        """Checked against each other and the model's family. Raises ConfigError or UsageError."""
        formats = [*OURS, *installed()[config.family].formats]
        kinds = {"device": str, "dtype": str | None, "seed": int, "save": str | None, "format": str}
        kinds |= {"quantize": str | None}
        given = {name: composed.get(name) for name in kinds}
        if given["format"] is None:
            given["format"] = "hf" if "hf" in formats else "zoo"
        settings = cls(**{name: typed(kind, given[name], name) for name, kind in kinds.items()})
        if settings.save == "":
            raise UsageError("save= has no folder", hint="type: save=FOLDER")
        if settings.quantize is not None and settings.save is not None:
            hint = "zoo quantize writes packed weights: save without quantize=, then zoo quantize FOLDER DST --to int8"
            raise UsageError(f"save={settings.save} writes the weights as they are", hint=hint)
        if settings.save is not None and settings.device == "meta":
            raise UsageError(f"save={settings.save} needs weights, but device=meta has none", hint="add device=cpu")
        if settings.format not in formats:
            why = did_you_mean(settings.format, formats)
            raise UsageError(f"format={settings.format!r} is not a format of {config.family}", why=why)
        return settings


def one(words: Sequence[str], flags: Sequence[str], *, is_json: bool) -> None:
    """Build one model and print what it is."""
    facts = run_once("build", words, flags, built_and_compared)
    if is_json:
        output.as_json(facts)
    else:
        click.echo("\n".join(lines(facts, is_table=sys.stdout.isatty())))


def sweep(words: Sequence[str], flags: Sequence[str], *, is_json: bool) -> None:
    """Build every combination and print a line for each. Leaves with the exit code of the first that failed."""
    saves = [word for word in words if word.startswith("save=") and "${" not in word]
    if saves and saves[0] not in ("save=", "save=null"):
        hint = f"give each its own folder: '{saves[0]}/${{hydra:job.num}}'"
        raise UsageError(f"{saves[0]} would write all models to the same folder", hint=hint)
    folder, results = run_sweep("build", words, flags, built)
    if is_json:
        output.as_json({"folder": str(folder), "jobs": results})
    else:
        keys = swept(results)
        columns = [output.Column("#", is_number=True), *map(output.Column, keys), *COSTS]
        output.table(columns, ([r["job"], *values_of(r, keys), *_costs(r)] for r in results))
        output.note(f"{len(results)} jobs, each with its config and result.json in {folder}")
    check_jobs(results)


def check_jobs(results: Sequence[dict[str, Any]]) -> None:
    """Tell which jobs of a sweep failed, and leave with the exit code of the first of them."""
    failed = [result for result in results if "error" in result]
    for result in failed:
        output.note(f"error: job {result['job']}: {result['error']}")
    if failed:
        sys.exit(failed[0]["exit_code"])


COSTS = [
    output.Column("params", human_count, is_number=True),
    output.Column("cache/token", human_bytes, is_number=True),
    output.Column("FLOPs, first token", human_flops, is_number=True),
    output.Column("build", lambda seconds: f"{seconds:.2f} s", is_number=True),
]


def check(composed: DictConfig) -> dict[str, Any]:
    """Refuse a config with unknown keys; one without a model is a question about the defaults."""
    if composed.get("model") is not None:
        checked(composed)
    return {}


def built_and_compared(composed: DictConfig) -> dict[str, Any]:
    """`built`, and what differs from the preset as it stands."""
    facts = built(composed)
    plain = _preset(facts["model"])
    device = {} if facts["device"] == "meta" else {"device": ["meta", facts["device"]]}
    return facts | {"changed": changes(plain, checked(composed)) | device}


def built(composed: DictConfig) -> dict[str, Any]:
    """Build the module that a composed config describes, save it if asked to, and tell its numbers as JSON values."""
    config = checked(composed, HydraConfig.get().overrides.task)
    settings = Settings.of(composed, config)
    from zoo.models.construction import (
        count,
        materialise,
        model_class,
        on_meta,
    )  # torch: only once the words are known to be right
    from zoo.models.rounding import round_model

    model_class(config.family)  # what is timed is building, not importing
    start = time.perf_counter()
    model = materialise(on_meta(config, dtype=settings.dtype), device=settings.device, seed=settings.seed)
    seconds = time.perf_counter() - start
    total = count(model)
    parts = tree(model.named_parameters())
    rounded = None if settings.quantize is None else round_model(model, settings.quantize)
    facts: dict[str, Any] = {
        "model": HydraConfig.get().runtime.choices.get("model"),
        "device": settings.device,
        "dtype": settings.dtype or "float32",
        "seed": settings.seed,
        "parameters": total,
        **numbers(config),
        "seconds": round(seconds, 4),
        "tree": parts,
        "rounded": None if rounded is None else rounded.to_dict(),
        "config": config.to_dict(),
        "saved": None,
    }
    if facts["size"] and facts["size"]["parameters"] != total:
        told = f"its anatomy has {facts['size']['parameters']:,} parameters, but its module has {total:,}"
        raise ZooError(f"the family {config.family!r} contradicts itself", why=told)
    if settings.save is not None:
        from zoo.checkpoint.saving import save

        facts["saved"] = {"folder": str(save(model, settings.save, format=settings.format)), "format": settings.format}
    return facts


def _preset(name: str) -> ModelConfig:
    """The config of a preset as it stands; one from the user's folder is known to Hydra alone."""
    if name in installed().presets():
        return read_preset(name)
    return checked(compose("build", overrides=[f"model='{name}'"]))


def swept(results: Sequence[dict[str, Any]]) -> list[str]:
    """The keys whose values differ between jobs."""
    seen: dict[str, set[str]] = {}
    for result in results:
        for key, value in _assignments(result).items():
            seen.setdefault(key, set()).add(value)
    return [key for key, values in seen.items() if len(values) > 1 or (len(results) == 1 and key == "model")]


def _assignments(result: dict[str, Any]) -> dict[str, str]:
    return dict(override.lstrip("+").split("=", 1) for override in result["overrides"] if "=" in override)


def values_of(result: dict[str, Any], keys: Sequence[str]) -> list[str]:
    """What a job set these keys to."""
    return [_assignments(result).get(key, "") for key in keys]


def _costs(result: dict[str, Any]) -> list[Any]:
    size = result.get("size") or {}
    told = (size.get(key) for key in ("cache_bytes_per_token", "first_token_flops"))
    return [result.get("parameters"), *told, result.get("seconds")]
