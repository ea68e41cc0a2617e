"""What `zoo train` does with a composed config: begins a run or goes on with one, and says what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from zoo.anatomy.config import typed
from zoo.cli import output
from zoo.cli.building import check_jobs, swept, values_of
from zoo.cli.hydra_front import run_once, run_sweep
from zoo.cli.own_presets import OwnPresets
from zoo.cli.ranks import over_ranks
from zoo.cli.sources import head, quoted, sourced
from zoo.errors import UsageError, clean
from zoo.parallel.layout import GROUP
from zoo.presets.composition import checked
from zoo.training.running.snapshot import read_facts
from zoo.training.settings import SECTIONS, Recipe

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

KEYS = (
    "source", "save", "device", "dtype", "format", "quantize", "keep_packed", "seed", "freeze", "stages", "objective",
    *SECTIONS,
)  # fmt: skip

WAYS = ("dp", "tp")  # of `parallel`, in which training runs over several processes
FIXED = ("source", "model", "tokenizer", "dtype")  # what made the model that a run goes on with


def one(words: Sequence[str], own: OwnPresets, *, resume: bool, force: bool, is_json: bool) -> None:
    """Run what the words say, and print what it came to."""
    words = _typed(words)
    if resume:
        words = _with_earlier(words)
    alone, mesh = over_ranks(words, _device(words), WAYS)
    expanded = own.expanded("train", sourced("train", alone, KEYS, own.names))
    with own.serving():
        own.tell()
        facts = run_once("train", expanded, own.flags, lambda composed: trained(composed, words, resume, force, mesh))
    if is_json:
        output.as_json(facts)
        return
    told = "" if facts["loss"] is None else f", loss {facts['loss']:.4f}"
    click.echo(f"{facts['saved']['folder']}: step {facts['step']} of {facts['steps']}{told}")


def sweep(words: Sequence[str], own: OwnPresets, *, resume: bool, force: bool, is_json: bool) -> None:
    """Run every combination, one after the other, and print a line for each."""
    if resume:
        raise UsageError("--resume goes on with one run", hint="name it: zoo train --resume save=FOLDER")
    words = _typed(words)
    if parted := [word for word in words if head(word) == GROUP]:
        raise UsageError(f"-m and {parted[0]}", why="each run of a sweep has one process", hint="leave one of them out")
    saves = [word for word in words if word.startswith("save=") and "${" not in word]
    if saves:
        hint = f"give each its own folder: '{saves[0]}/${{hydra:job.num}}'"
        raise UsageError(f"{saves[0]} would write all runs to the same folder", hint=hint)
    expanded = own.expanded("train", sourced("train", words, KEYS, own.names))
    with own.serving():
        folder, results = run_sweep(
            "train", expanded, own.flags, lambda composed: trained(composed, words, resume, force)
        )
    if is_json:
        output.as_json({"folder": str(folder), "jobs": results})
    else:
        keys = [key for key in swept(results) if key not in ("save", "source")]
        columns = [output.Column("#", is_number=True), *map(output.Column, keys), *COLUMNS]
        told = ("step", "loss", "validation")
        output.table(columns, ([r["job"], *values_of(r, keys), *(r.get(key) for key in told)] for r in results))
    check_jobs(results)


COLUMNS = [output.Column(name, is_number=True) for name in ("step", "loss", "validation")]


def trained(
    composed: DictConfig, words: Sequence[str], resume: bool, force: bool, mesh: DeviceMesh | None = None
) -> dict[str, Any]:
    """Run what a composed config describes; what it came to as JSON values."""
    values: Any = OmegaConf.to_container(composed, resolve=True)
    source = typed(str | None, values["source"], "source")
    save = typed(str | None, values["save"], "save")
    if not save:
        raise UsageError("where does it go?", hint="type save=FOLDER")
    if source is not None and composed.get("model") is not None:
        raise UsageError(f"two models: {source} and the preset", hint="name one of them")
    config = None if source is not None else checked(composed, HydraConfig.get().overrides.task)
    recipe = Recipe.of(values)
    from zoo.training.running.beginning import TrainingJob, train  # torch: once the words are known to be right

    fields = frozenset(w.removeprefix("model.").partition("=")[0] for w in words if w.startswith("model."))
    job = TrainingJob(
        recipe, save, source, config, fields, typed(str, values["device"], "device"),
        typed(str, values["dtype"], "dtype"), typed(str | None, values["format"], "format"), tuple(words),
        typed(str | None, values["quantize"], "quantize"), typed(bool, values["keep_packed"], "keep_packed"), mesh,
    )  # fmt: skip
    run, record = train(job, resume=resume, force=force, tell=output.note)
    trained_model: Any = run.trainee.model
    return {
        "model": source or trained_model.config.family,
        **{key: record.get(key) for key in ("step", "loss", "validation", "grad_norm", "tokens_per_second")},
        "steps": sum(stage.train.steps for stage in job.stages),
        "data": run.facts["data"],
        "saved": {"folder": save, "format": run.folder.format},
        "recipe": recipe.to_dict(),
    }


def _typed(words: Sequence[str]) -> list[str]:
    """The words in full. Raises UsageError for a section without a value, which would be taken for a model."""
    for word in words:
        if word in KEYS:
            raise UsageError(f"{word!r} has no value", hint=f"type: {word}=VALUE")
    return [_whole(word) for word in words]


def _device(words: Sequence[str]) -> str:
    """Where the words say that it runs."""
    return next((word.partition("=")[2] for word in reversed(words) if word.startswith("device=")), "cpu")


def _whole(word: str) -> str:
    """`data=FILE`, `tokenizer=SOURCE` and `lora=RANK` in full: their sections have other keys beside these."""
    if word.startswith("lora=") and not word.startswith("lora={"):
        return f"lora.rank={word.removeprefix('lora=')}"
    for section, key in (("data", "data.files"), ("tokenizer", "tokenizer.source")):
        if word.startswith(f"{section}="):
            value = word.removeprefix(f"{section}=")
            return f"{key}={value if value.startswith(('[', chr(39), chr(34))) else quoted(value)}"
    return word


def _with_earlier(words: Sequence[str]) -> list[str]:
    """The words that the run in save=FOLDER began with, and these, which replace those of the same key."""
    saves = [word.removeprefix("save=").strip("'\"") for word in words if word.startswith("save=")]
    if not saves:
        raise UsageError("--resume: which run?", hint="type save=FOLDER")
    earlier: list[str] = read_facts(Path(saves[-1]).expanduser())["words"]
    _check_fixed(words, earlier)
    given = {word.partition("=")[0] for word in words}
    is_named = any("=" not in word or word.startswith(("model=", "source=")) for word in words)
    kept = [w for w in earlier if w.partition("=")[0] not in given and not (is_named and _names_model(w))]
    return [*kept, *words]


def _check_fixed(words: Sequence[str], earlier: Sequence[str]) -> None:
    """Refuse words that would make another model, for a run goes on with the one in its folder."""
    for word in words:
        section = word.partition("=")[0].lstrip("+~").partition(".")[0] if "=" in word else "source"
        if section in FIXED and word not in earlier:
            what = f"--resume: {clean(word)} is not what the run began with, and its model is made already"
            raise UsageError(what, hint="leave it out, or begin another run")


def _names_model(word: str) -> bool:
    return "=" not in word or head(word) == "source" or word.startswith("model=")
