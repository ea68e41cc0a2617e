"""The loop itself: one update after the other, each a function of the weights, the seed and its number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.errors import UsageError, ZooError
from zoo.training.corpus.order import Order, generator
from zoo.training.objectives.batch import Microbatch, Objective
from zoo.training.optimizers import shrink
from zoo.training.schedules import share
from zoo.training.settings import Recipe

if TYPE_CHECKING:
    from zoo.training.ranks.division import Division

Update = dict[str, Any]  # of one step: step, loss, lr, grad_norm, tokens, and what the objective tells


@dataclass
class Trainee:
    """What a run changes: the model, the optimizer's state, and weights that are kept beside the model's own."""

    model: nn.Module
    optimizer: Optimizer
    mean: dict[str, Tensor] | None = None  # by name: the exponential moving average of the weights
    best: dict[str, Tensor] | None = None  # those that predicted held-out data best
    extra: nn.Module | None = None  # what learns beside the model, as the head of a reward
    division: Division | None = None  # over several ranks: which rows and which weights are this one's

    def kept(self) -> dict[str, Tensor]:
        """The weights that are to be saved as the model's, in its type, where they are not those that it has."""
        found = self.best or self.mean or {}
        types = {name: p.dtype for name, p in self.named_parameters()} if found else {}
        return {name: value.to(types[name]) for name, value in found.items()}

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """All that may learn, by name; what is beside the model under `extra.`."""
        beside = [] if self.extra is None else [(f"extra.{name}", p) for name, p in self.extra.named_parameters()]
        return [*self.model.named_parameters(), *beside]

    def add_extra(self) -> None:
        """Let the optimizer teach what is beside the model too, without weight decay."""
        if self.extra is not None:
            group = {"params": [*self.extra.parameters()], "weight_decay": 0.0, "shrink": 0.0}
            self.optimizer.add_param_group(group)

    def extra_state(self) -> dict[str, Tensor]:
        """The weights of what learns beside the model."""
        return {} if self.extra is None else self.extra.state_dict()

    def load_extra(self, state: dict[str, Tensor]) -> None:
        """Put them there."""
        if self.extra is not None:
            self.extra.load_state_dict(state)


def wide(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """In 32 bits at least: a mean of fewer loses each step's small share of it."""
    return {name: value.to(torch.promote_types(value.dtype, torch.float32)) for name, value in weights.items()}


def learnt_weights(trainee: Trainee) -> dict[str, Tensor]:
    """What learns as it is now, by name, apart from it."""
    return {name: p.detach().clone() for name, p in trainee.named_parameters() if p.requires_grad}


def updates(trainee: Trainee, objective: Objective, recipe: Recipe, *, done: int = 0) -> Iterator[Update]:
    """The updates from `done` + 1 to `train.steps`, each taken when it is asked for.

    Rows and random numbers depend on the seed and the step alone. Raises ZooError, before the weights change, where a
    loss or gradient is no number, and UsageError where a step has nothing to learn from.
    """
    t = recipe.train
    is_shuffled = recipe.data.order == "shuffled"
    order = Order(len(objective.rows), t.batch_size, recipe.seed, is_shuffled)
    for step in range(done + 1, t.steps + 1):
        lr = recipe.optimizer.lr * share(recipe.schedule, step, t.steps)
        for group in trainee.optimizer.param_groups:
            group["lr"] = lr
        batches = [
            objective.batch(trainee.model, order.rows(i), generator(recipe.seed, i))
            for i in range((step - 1) * t.accumulate, step * t.accumulate)
        ]
        found = update(trainee, objective, batches, clip=t.clip, autocast=t.autocast)
        for name, value in found.items():
            if isinstance(value, float) and not math.isfinite(value):
                hint = "a smaller optimizer.lr, a warm-up or train.clip may help; --resume goes on from the last one"
                raise ZooError(f"step {step}: {name} is {value}", why="the last checkpoint is as it was", hint=hint)
        shrink(trainee.optimizer)
        trainee.optimizer.step()
        if t.ema is not None and trainee.mean is not None:
            average(trainee.mean, trainee.named_parameters(), t.ema)
        yield {"step": step, "loss": found.pop("loss"), "lr": lr, **found}


def update(
    trainee: Trainee, objective: Objective, batches: list[Microbatch], *, clip: float | None, autocast: str | None
) -> Update:
    """Gradients of the mean over all batches, in which every label weighs alike, clipped.

    The optimizer's step is the caller's, once the numbers are seen to be numbers.
    """
    total = sum(batch.weight for batch in batches) or int(any(batch.is_drawn for batch in batches))
    if not total:
        raise UsageError("every label is ignored: there is nothing to learn from", hint="is data.length too small?")
    trainee.optimizer.zero_grad()
    device, division = next(trainee.model.parameters()).device, trainee.division
    sums = {"loss": 0.0}
    for batch in batches:
        mine = batch if division is None else division.part(batch)
        with computing(autocast, device):
            share_of_it, told = objective.loss(trainee.model, mine.to(device), total)
        # FSDP2 takes the mean over the parts, of which each is a share of one mean already.
        (share_of_it if division is None else share_of_it * division.count).backward()
        sums["loss"] += float(share_of_it.detach())
        for name, value in told.items():
            sums[name] = sums.get(name, 0.0) + (float(value) / total if mine.weight else 0.0)
    if division is not None:
        sums = dict(zip(sums, division.summed([*sums.values()], device), strict=True))
    norm = clipped(trainee, clip)
    tokens = sum(batch.num_tokens for batch in batches)
    return {"loss": sums.pop("loss"), "grad_norm": norm, "tokens": tokens, **sums}


def clipped(trainee: Trainee, most: float | None) -> float:
    """The norm of all gradients, which are scaled down where it is more than `most`."""
    learning = [p for _, p in trainee.named_parameters() if p.grad is not None]
    gradients = [p.grad for p in learning if p.grad is not None]
    if trainee.division is not None:
        norm = trainee.division.norm(gradients)
        if most is not None:
            trainee.division.clip(gradients, most, norm)
        return norm
    total = nn.utils.get_total_norm(gradients)
    if most is not None:
        nn.utils.clip_grads_with_norm_(learning, most, total)
    return float(total)


def computing(autocast: str | None, device: torch.device) -> AbstractContextManager[Any]:
    """In which numbers a forward pass computes."""
    return nullcontext() if autocast is None else torch.autocast(device.type, dtype=torch.bfloat16)


@torch.no_grad()
def average(mean: dict[str, Tensor], weights: Iterable[tuple[str, Tensor]], decay: float) -> None:
    """Move the mean of the weights towards them by 1 - decay."""
    for name, parameter in weights:
        if name in mean:
            mean[name].lerp_(parameter.to(mean[name].dtype), 1 - decay)


@torch.no_grad()
def measured(trainee: Trainee, objective: Objective, recipe: Recipe) -> float:
    """The mean loss over all rows of another objective of the same kind: data that are held out."""
    model, division = trainee.model, trainee.division
    device, size = next(model.parameters()).device, recipe.train.batch_size
    losses, weights = 0.0, 0
    for at in range(0, len(objective.rows), size):
        rows = list(range(at, min(at + size, len(objective.rows))))
        batch = objective.batch(model, rows, generator(recipe.seed, -1, at))
        if batch.weight:
            mine = batch if division is None else division.part(batch)
            with computing(recipe.train.autocast, device):
                losses += float(objective.loss(model, mine.to(device), batch.weight)[0]) * batch.weight
            weights += batch.weight
    if division is not None:
        division.part_again(model)
        (losses,) = division.summed([losses], device)
    return losses / weights if weights else math.nan
