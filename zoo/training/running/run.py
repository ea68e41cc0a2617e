"""A run: updates, lines, checkpoints and looks at held-out data, to the last step or to where it is stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zoo.measurement.speed.memory import peak_bytes
from zoo.progress import progress
from zoo.text import Tokenizer
from zoo.training.loop import Trainee, Update, learnt_weights, measured, updates
from zoo.training.objectives.batch import Objective
from zoo.training.running.snapshot import RunFolder
from zoo.training.settings import Recipe
from zoo.units import human_bytes, human_count

Callback = Callable[..., object]  # of yours: called with each record and the model


@dataclass
class Run:
    """What a run is made of; `facts` are what its folder says of it beside the step."""

    trainee: Trainee
    objective: Objective
    recipe: Recipe
    folder: RunFolder
    facts: Mapping[str, Any]
    held_out: Objective | None = None
    callback: Callback | None = None
    report: Callable[[list[Update]], str] | None = None  # the page about the records so far
    tell: Callable[[str], None] = lambda text: None
    tokenizer: Tokenizer | None = None
    stage: int = 0  # from 0 on, and the steps that were taken in those before
    offset: int = 0
    best: tuple[int, float] | None = None  # the step whose weights predicted held-out data best, and their loss


def go(run: Run, *, done: int = 0) -> Update:
    """Take the steps after `done`, and leave the run's folder at the last one; its record.

    Raises ZooError where a loss is no number or the disk refuses; the folder is then as the last checkpoint left it.
    """
    t, last = run.recipe.train, run.recipe.train.last
    record: Update = {"step": run.offset + done}
    is_over = done >= last
    run.trainee.model.train()
    clock = _Clock(last - done)
    with progress("train", max(last - done, 0), "steps") as advance:
        steps = updates(run.trainee, run.objective, run.recipe, done=done)
        while not is_over:
            record = clock.told(next(steps))
            step = record["step"]
            record["step"] += run.offset
            is_over = step >= last
            is_due = step >= t.steps or bool(t.evaluate_every and step % t.evaluate_every == 0)
            if run.held_out is not None and (is_over or is_due):
                is_over = _look(run, record, is_due=is_due) or is_over
            if run.offset or run.stage:
                record["stage"] = run.stage + 1
            run.folder.record(record)
            if run.callback is not None and run.folder.is_ours_to_write:
                run.callback(record, run.trainee.model)
            if step % t.log_every == 0 or is_over:
                run.tell(clock.line(record, run.offset + t.steps))
            if is_over or (t.save_every and step % t.save_every == 0):
                save(run, step)
            advance(1)
    run.trainee.model.eval()
    return record


def save(run: Run, step: int) -> None:
    """Put the run's folder at this step, whole or not at all."""
    is_told = run.report is not None and run.folder.is_ours_to_write
    report = run.report(run.folder.records()) if run.report is not None and is_told else None
    facts = {**run.facts, "step": step, "stage": run.stage, "offset": run.offset, "best": run.best}
    run.folder.write(run.trainee, facts, report)


def _look(run: Run, record: Update, *, is_due: bool) -> bool:
    """Measure on held-out data, keep the weights if they are the best; whether there is no use in going on.

    One that is not due, where a run is stopped to go on later, decides nothing: the run would be another one.
    """
    assert run.held_out is not None
    t, model = run.recipe.train, run.trainee.model
    model.eval()
    loss = measured(run.trainee, run.held_out, run.recipe)
    model.train()
    record["validation"] = loss
    if t.patience is None or not is_due or not math.isfinite(loss):
        return False
    step = record["step"] - run.offset
    if run.best is None or loss < run.best[1]:
        run.best = step, loss
        run.trainee.best = learnt_weights(run.trainee)
        return False
    return step - run.best[0] >= t.patience * (t.evaluate_every or t.steps)


class _Clock:
    """Seconds, tokens and what is left, counted from where this process began."""

    def __init__(self, steps: int) -> None:
        self.steps, self.tokens, self.taken = steps, 0, 0
        self.start = self.before = time.monotonic()

    def told(self, update: Update) -> Update:
        """The record of a step: with its seconds, the rate of tokens, and the memory at most so far."""
        now = time.monotonic()
        seconds, self.before = now - self.before, now
        self.tokens, self.taken = self.tokens + update["tokens"], self.taken + 1
        rate = update["tokens"] / seconds if seconds else 0.0
        memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_bytes()
        return {**update, "seconds": seconds, "tokens_per_second": rate, "memory_bytes": memory}

    def line(self, record: Update, steps: int) -> str:
        """step 100/200 · loss 3.21 · lr 0.001 · 12.3k tok/s · 2 min left · 512 MiB"""
        spent = max(self.before - self.start, 1e-9)
        left = spent / self.taken * (self.steps - self.taken)
        words = [f"step {record['step']}/{steps}", f"loss {record['loss']:.4f}"]
        words += [f"validation {record['validation']:.4f}"] if "validation" in record else []
        words += [f"{name} {record[name]:.4f}" for name in ("margin", "reward", "accuracy") if name in record]
        words += [f"lr {record['lr']:.3g}", f"{human_count(self.tokens / spent)} tok/s"]
        return " · ".join([*words, f"{_time(left)} left", human_bytes(record["memory_bytes"])])


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
