"""From a recipe and a model's name to a run that can go: tokenizer, model, data, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.address_space import memory_bytes
from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.loading import load
from zoo.errors import CheckpointError, UsageError
from zoo.files.staging import held
from zoo.models.construction import build
from zoo.parallel.agreement import of_first, together
from zoo.parallel.layout import Layout
from zoo.registry import installed
from zoo.text import Tokenizer
from zoo.training.loop import Trainee, Update, learnt_weights, wide
from zoo.training.objectives import Ground, make_objective
from zoo.training.optimizers import make_optimizer
from zoo.training.preparing import prepare
from zoo.training.ranks.refusals import check_rows
from zoo.training.running.beside import base_fingerprint, check_base, check_beside
from zoo.training.running.calling import named_function
from zoo.training.running.job import TrainingJob
from zoo.training.running.memory import needed
from zoo.training.running.page import page
from zoo.training.running.resuming import check_same, nothing_left, other_layout
from zoo.training.running.rewarding import reward_format, trunk_of
from zoo.training.running.run import Run, go, save
from zoo.training.running.snapshot import RunFolder, read_facts
from zoo.training.running.speaking import samples
from zoo.training.running.stages import steps_before
from zoo.training.running.state import restore
from zoo.training.running.words import adapted, words_for

__all__ = ["TrainingJob", "begun", "made", "resumed", "train"]


def train(
    job: TrainingJob, *, resume: bool = False, force: bool = False, tell: Callable[[str], None] = lambda text: None
) -> tuple[Run, Update]:
    """Begin a run, or go on with the one in the folder; the run, and the record of its last step.

    Raises UsageError or ZooError, before anything is written, for what cannot be trained or another process trains.
    """
    with ExitStack() as stack:
        hold = partial(_hold, stack, job)
        hold() if job.division is None else together(hold)
        return _trained(job, *(resumed(job, tell) if resume else begun(job, tell, force=force)), tell)


def _hold(stack: ExitStack, job: TrainingJob) -> None:
    if job.division is None or job.division.is_first:
        stack.enter_context(held(Path(job.save).absolute()))


def _trained(job: TrainingJob, run: Run, done: int, tell: Callable[[str], None]) -> tuple[Run, Update]:
    while True:
        record = go(run, done=done)
        t, number = run.recipe.train, run.stage + 1
        if t.last < t.steps or number >= len(job.stages):
            return run, record
        tell(f"stage {number + 1} of {len(job.stages)}")
        run, done = following(job, run, tell), 0


def following(job: TrainingJob, run: Run, tell: Callable[[str], None]) -> Run:
    """The stage after this one, which goes on from the weights that this one keeps."""
    kept = run.trainee.kept()
    with torch.no_grad():
        for name, parameter in run.trainee.named_parameters():
            if name in kept:
                parameter.copy_(kept[name])
    later = made(job, run.trainee.model, run.tokenizer, run.folder.files, tell, stage=run.stage + 1)
    if run.trainee.extra is not None:
        later.trainee.load_extra(run.trainee.extra_state())
    return later


def begun(job: TrainingJob, tell: Callable[[str], None], *, force: bool = False) -> tuple[Run, int]:
    """A run at step 0, its folder written, so that there is a checkpoint from the beginning."""
    RunFolder(Path(job.save), "", division=job.division).check(force=force)
    run = made(job, *starting(job, tell), tell)
    part = 0 if job.division is None else job.division.number
    torch.manual_seed(job.recipe.seed + part)  # of what modules draw, as dropout does
    save(run, 0)
    return run, 0


def resumed(job: TrainingJob, tell: Callable[[str], None]) -> tuple[Run, int]:
    """The run in the folder, where it stopped. Raises UsageError where its data are not those that it began with."""
    folder = Path(job.save)
    facts = read_facts(folder)
    check_beside(folder, job.recipe, facts)
    RunFolder(folder, "", division=job.division).check(force=True)  # now, and not when the work of hours is to be kept
    is_whole = job.recipe.lora.rank is None
    model: Any = load(folder, device=job.device, mesh=job.mesh) if is_whole else starting(job, tell)[0]
    run = made(job, trunk_of(model), _own_tokenizer(model), None, tell, stage=facts["stage"])
    check_base(folder, job.source, facts, run.facts.get("base"))
    check_same(folder, facts, run.facts)
    restore(run.trainee, folder, facts)
    run.best = None if facts["best"] is None else tuple(facts["best"])
    run.folder.drop_records(run.offset + facts["step"])
    left = nothing_left(run.recipe.train, facts["step"], is_last=run.stage + 1 >= len(job.stages))
    tell(f"going on after step {run.offset + facts['step']}{other_layout(facts, run.facts)}{left}")
    return run, facts["step"]


def starting(job: TrainingJob, tell: Callable[[str], None]) -> tuple[nn.Module, Tokenizer | None, Any]:
    """The model before the first step, its tokenizer, and the files beside it where they are not its source's."""
    chosen = job.recipe.tokenizer
    if job.source is not None:
        if chosen.source is not None or chosen.train is not None:
            what = f"{job.source} brings its tokenizer, and its embedding is made for that"
            raise UsageError(what, hint="leave tokenizer.* out, or begin a preset from random weights")
        packing: Any = {"quantize": job.quantize, "keep_packed": job.keep_packed}
        model = load(job.source, dtype=job.dtype, device=job.device, mesh=job.mesh, **packing)
        return model, _own_tokenizer(model), None
    assert job.config is not None
    words, config = words_for(job.recipe, job.config, *(() if job.mesh is None else (of_first,))), job.config
    if words.is_chosen and words.tokenizer is not None:
        config = adapted(config, words.tokenizer, job.typed)
        rows = getattr(config, "vocab_size", None)
        if rows is not None and rows < words.tokenizer.vocab_size:
            what = f"model.vocab_size={rows} is less than the {words.tokenizer.vocab_size} tokens of the tokenizer"
            raise UsageError(what, hint="leave model.vocab_size out: it follows the tokenizer")
    tell(words.told)
    model = build(config, device=job.device, dtype=job.dtype, seed=job.recipe.seed, mesh=job.mesh)
    return model, words.tokenizer, words.files


def made(
    job: TrainingJob,
    model: Any,
    tokenizer: Tokenizer | None,
    files: Any,
    tell: Callable[[str], None],
    *,
    stage: int = 0,
) -> Run:
    """The run, or one stage of it, of a model that is as its step wants it, but for the optimizer's state."""
    recipe, config = job.stages[stage], model.config
    if not recipe.data.files:
        raise UsageError("no data", hint="type data=FILE: a .txt, a .jsonl or a token file")

    # The base with its adapter off is the model as it was: no second one is needed.
    initial = partial(_initial, job) if recipe.lora.rank is None else None

    def ground(names: list[str]) -> Ground:
        return Ground(recipe.objective, recipe.data, names, config, model, tokenizer, initial, recipe.seed)

    learnt: Any = make_objective(over := ground(recipe.data.files))
    held_out: Any = make_objective(held_out_of(ground(recipe.data.validation))) if recipe.data.validation else None
    if job.division is not None:
        check_rows(learnt, job.division.layout)
    head = getattr(learnt, "extra", None)
    if held_out is not None and head is not None:
        held_out = replace(held_out, extra=head)
    folder = _folder(job, config, over.end if head is not None else None, files, has_head=head is not None)
    model = prepare(model, recipe)
    base = base_fingerprint(model) if recipe.lora.rank is not None else None
    if job.division is not None:
        job.division.spread(model)
    trainee = Trainee(model, make_optimizer(model, recipe.optimizer), extra=head, division=job.division)
    trainee.add_extra()
    if recipe.train.ema is not None:
        trainee.mean = wide(learnt_weights(trainee))
    copies = int(getattr(learnt, "reference", None) is not None)
    layout = Layout() if job.division is None else job.division.layout
    if (need := needed(model, recipe, over.length, copies=copies, layout=layout)) is not None:
        tell(need.in_words(layout, memory_bytes() if job.device == "cpu" else None))
    facts = {
        "words": list(job.words), "recipe": recipe.to_dict(), "data": learnt.fingerprint, "length": over.length,
        "layout": vars(layout),
    }  # fmt: skip
    if base is not None:
        facts["base"] = base
    callback = None if recipe.train.callback is None else named_function(recipe.train.callback, "train.callback")

    def report(records: list[Update]) -> str:
        said = samples(model, tokenizer, learnt) if records and job.division is None else []
        return page(folder.path.name, records, facts["recipe"], said)

    return Run(
        trainee, learnt, recipe, folder, facts, held_out, callback, report, tell, tokenizer,
        stage=stage, offset=steps_before(job.stages, stage),
    )  # fmt: skip


def _folder(job: TrainingJob, config: ModelConfig, end: int | None, files: Any, *, has_head: bool) -> RunFolder:
    if has_head:
        return RunFolder(Path(job.save), reward_format(config, end, job.format), files, end)
    formats = installed()[config.family].formats
    format = job.format or ("hf" if "hf" in formats else "zoo")
    return RunFolder(Path(job.save), format, files, division=job.division)


def held_out_of(ground: Ground) -> Ground:
    """The same over other data, read from the first row to the last."""
    return replace(ground, data=replace(ground.data, order="sequential"))


def _initial(job: TrainingJob) -> nn.Module:
    """The model as it was before the first step, once more."""
    return starting(job, lambda text: None)[0]


def _own_tokenizer(model: Any) -> Tokenizer | None:
    try:
        return model.tokenizer
    except CheckpointError:
        return None
