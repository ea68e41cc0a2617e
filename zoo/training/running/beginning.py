"""From a recipe and a model's name to a run that can go: tokenizer, model, data, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.loading import load
from zoo.errors import CheckpointError, UsageError
from zoo.models.construction import build
from zoo.registry import installed
from zoo.text import Tokenizer
from zoo.training.loop import Trainee, Update
from zoo.training.objectives import Ground, Objective, make_objective
from zoo.training.optimizers import make_optimizer
from zoo.training.preparing import prepare
from zoo.training.running.calling import named_function
from zoo.training.running.page import page
from zoo.training.running.run import Run, go, save
from zoo.training.running.snapshot import RunFolder, read_facts, restore
from zoo.training.running.speaking import samples
from zoo.training.running.words import adapted, words_for
from zoo.training.settings import Recipe


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, how, and where it goes."""

    recipe: Recipe
    save: str  # the run's folder
    source: str | None = None  # a checkpoint to go on from; None: random weights for `config`
    config: ModelConfig | None = None
    typed: frozenset[str] = field(default_factory=frozenset)  # fields of the config that a tokenizer does not change
    device: str = "cpu"
    dtype: str = "float32"
    format: str | None = None  # of the folder; None: hf where the family has it, else zoo
    words: tuple[str, ...] = ()  # as typed, for the run's folder


def train(
    job: TrainingJob, *, resume: bool = False, force: bool = False, tell: Callable[[str], None] = lambda text: None
) -> tuple[Run, Update]:
    """Begin a run, or go on with the one in the folder; the run, and the record of its last step.

    Raises UsageError or ZooError for what cannot be trained, before anything is written.
    """
    run, done = resumed(job, tell) if resume else begun(job, tell, force=force)
    return run, go(run, done=done)


def begun(job: TrainingJob, tell: Callable[[str], None], *, force: bool = False) -> tuple[Run, int]:
    """A run at step 0, its folder written, so that there is a checkpoint from the beginning."""
    RunFolder(Path(job.save), "").check(force=force)
    run = made(job, *starting(job, tell), tell)
    save(run, 0)
    return run, 0


def resumed(job: TrainingJob, tell: Callable[[str], None]) -> tuple[Run, int]:
    """The run in the folder, where it stopped. Raises UsageError where its data are not those that it began with."""
    folder = Path(job.save)
    facts = read_facts(folder)
    model = load(folder, device=job.device)
    run = made(job, model, _own_tokenizer(model), None, tell)
    if run.facts["data"] != facts["data"]:
        what = f"{folder} was begun on other data: {facts['data']}, not {run.facts['data']}"
        raise UsageError(what, hint="give the same files, tokenizer and data settings")
    restore(run.trainee, folder, facts)
    run.best = None if facts["best"] is None else tuple(facts["best"])
    run.folder.drop_records(facts["step"])
    tell(f"going on after step {facts['step']}")
    return run, facts["step"]


def starting(job: TrainingJob, tell: Callable[[str], None]) -> tuple[nn.Module, Tokenizer | None, Any]:
    """The model before the first step, its tokenizer, and the files beside it where they are not its source's."""
    if job.source is not None:
        model = load(job.source, dtype=job.dtype, device=job.device)
        return model, _own_tokenizer(model), None
    assert job.config is not None
    words, config = words_for(job.recipe, job.config), job.config
    if words.is_chosen and words.tokenizer is not None:
        config = adapted(config, words.tokenizer, job.typed)
    tell(words.told)
    return build(config, device=job.device, dtype=job.dtype, seed=job.recipe.seed), words.tokenizer, words.files


def made(
    job: TrainingJob, model: nn.Module, tokenizer: Tokenizer | None, files: Any, tell: Callable[[str], None]
) -> Run:
    """The run of a model that is as its step wants it, but for the optimizer's state."""
    recipe, config = job.recipe, model.config
    assert isinstance(config, ModelConfig)
    if not recipe.data.files:
        raise UsageError("no data", hint="type data=FILE: a .txt, a .jsonl or a token file")
    formats = installed()[config.family].formats
    folder = RunFolder(Path(job.save), job.format or ("hf" if "hf" in formats else "zoo"), files)

    def objective(names: list[str]) -> Objective:
        return make_objective(
            Ground(recipe.objective, recipe.data, names, config, model, tokenizer, lambda: starting(job, tell)[0])
        )

    learnt = objective(recipe.data.files)
    held_out = objective(recipe.data.validation) if recipe.data.validation else None
    extra = getattr(learnt, "extra", None)
    model = prepare(model, recipe)
    trainee = Trainee(model, make_optimizer(model, recipe.optimizer), extra=extra)
    if recipe.train.ema is not None:
        trainee.mean = {name: p.detach().clone() for name, p in model.named_parameters()}
    facts = {"words": list(job.words), "recipe": recipe.to_dict(), "data": learnt.fingerprint}
    callback = None if recipe.train.callback is None else named_function(recipe.train.callback, "train.callback")

    def report(records: list[Update]) -> str:
        said = samples(model, tokenizer, learnt) if records else []
        return page(folder.path.name, records, facts["recipe"], said)

    return Run(trainee, learnt, recipe, folder, facts, held_out, callback, report, tell)


def _own_tokenizer(model: Any) -> Tokenizer | None:
    try:
        return model.tokenizer
    except CheckpointError:
        return None
