"""Training of a model in stages by micro-batches, of which several stages compute different ones at once.

Shapes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.parallel.passing import spoken
from zoo.parallel.pipeline import Pipeline

SCHEDULES = {"gpipe": "ScheduleGPipe", "1f1b": "Schedule1F1B"}


class Schedule:
    """Training of a model in stages, by micro-batches that several stages compute at once.

    `loss` makes a number of the logits [B, T, V] and the targets of a micro-batch; the mean over micro-batches is
    learned. `kind` is gpipe (arXiv:1811.06965) or 1f1b (arXiv:2006.09503), as torch.distributed.pipelining has them.
    """

    def __init__(
        self, model: Any, loss: Callable[[Tensor, Tensor], Tensor], *, num_microbatches: int, kind: str = "gpipe"
    ) -> None:
        from torch.distributed import pipelining

        line = model.__dict__.get("pipeline")
        if line is None:
            raise UsageError("the model is not in stages", hint="load it over a mesh of pp")
        if kind not in SCHEDULES:
            raise UsageError(f"kind={kind!r} is not a schedule", hint=f"one of {', '.join(SCHEDULES)}")
        self.model, self.pipeline, self.num_microbatches = model, line, num_microbatches
        device = next(model.parameters()).device
        ranks = line.ranks
        stage = pipelining.PipelineStage(
            _Section(model, line), ranks.number, ranks.count, device, group=ranks.mesh.get_group()
        )
        # torch would divide all that p.grad holds, and so what earlier steps have left there too.
        part = partial(_part, loss, num_microbatches)
        kinds = getattr(pipelining, SCHEDULES[kind])
        self._schedule = kinds(stage, num_microbatches, loss_fn=part, scale_grads=False)

    def step(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The loss of tokens [B, T], which all ranks give alike; its gradients are added to those of each stage.

        Raises UsageError for a batch that does not part into equal micro-batches.
        """
        if tokens.shape[0] % self.num_microbatches:
            what = f"{tokens.shape[0]} texts do not part into {self.num_microbatches} equal micro-batches"
            raise UsageError(what)
        line, losses = self.pipeline, []
        line.is_scheduled = True
        try:
            given: tuple[Tensor, ...] = (tokens,) if line.is_first else ()
            ends = {"target": targets, "losses": losses} if line.is_last else {}
            self._schedule.step(*given, tokens=tokens, **ends)
        finally:
            line.is_scheduled, line.given = False, None
        if line.tied:
            line.settle()
        mean = torch.stack(losses).sum() if line.is_last else None
        return spoken(mean, line.ranks, line.ranks.count - 1, tokens.device)


def _part(loss: Callable[[Tensor, Tensor], Tensor], count: int, logits: Tensor, targets: Tensor) -> Tensor:
    return loss(logits, targets) / count


class _Section(nn.Module):
    """A stage as torch's schedules call it: with the tokens, or with the states that the stage before gave."""

    def __init__(self, model: nn.Module, line: Pipeline) -> None:
        super().__init__()
        self.model, self.pipeline = model, line

    def forward(self, x: Tensor, *, tokens: Tensor) -> Tensor:
        self.pipeline.given = None if self.pipeline.is_first else x
        return self.model(tokens)
