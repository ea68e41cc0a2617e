"""What a run needs of memory at most, told before it starts: the arithmetic of `zoo show`, at the moments that count.

When the backward pass begins all activations are there; when the optimizer takes its step, all gradients are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from zoo.anatomy.activations import kept_numbers, largest_layer, recomputed_numbers
from zoo.anatomy.size import Size
from zoo.errors import ZooError
from zoo.nn.packed import PackedLinear
from zoo.parallel.estimate import gathered_numbers, of_rank
from zoo.parallel.gathering import local
from zoo.parallel.layout import Layout
from zoo.training.settings import Recipe
from zoo.units import human_bytes

ALONE = Layout()
STATES = {"adamw": 2, "adam": 2, "adagrad": 1, "rmsprop": 1, "sgd": 1}  # numbers per parameter that learns
LOGITS = 3  # copies per token: the logarithms of their probabilities, and the gradients of these and of the logits


@dataclass(frozen=True)
class Footprint:
    """Bytes by what they hold."""

    weights: int  # of the model, of a mean of them, and of a model that it is compared with
    gradients: int
    optimizer: int
    activations: int  # that the backward pass reads, the logits' gradient among them
    scratch: int  # of the optimizer's step
    is_accumulated: bool  # gradients are there when a backward pass begins

    @property
    def peak(self) -> int:
        """At the moment that needs most."""
        backward = self.activations + (self.gradients if self.is_accumulated else 0)
        return self.weights + self.optimizer + max(backward, self.gradients + self.scratch)

    def in_words(self, layout: Layout = ALONE, room: int | None = None) -> str:
        """A line, with the bytes of `room` where they are too few."""
        parts = {name: getattr(self, name) for name in ("weights", "gradients", "optimizer", "activations")}
        told = " · ".join(f"{name} {human_bytes(value)}" for name, value in parts.items())
        each = f" on each of {layout.num_ranks} ranks" if layout.num_ranks > 1 else ""
        line = f"memory: {human_bytes(self.peak)} at most{each}: {told} (not all at once)"
        if room is None or self.peak * layout.num_ranks <= room:
            return line
        return f"{line}\nthis machine has {human_bytes(room)}: the system may end the run without a word"


def needed(
    model: nn.Module, recipe: Recipe, length: int, *, copies: int = 0, layout: Layout = ALONE
) -> Footprint | None:
    """For rows of `length` tokens, on one of the ranks of a layout: what it holds of the model, of all rows its part.

    None for a family that describes no anatomy. `copies` are other models beside it.
    """
    config: Any = model.config
    try:
        anatomy = Size.of(config).anatomy
    except ZooError:
        return None
    parameters = [*model.parameters()]
    packed = [module for module in model.modules() if isinstance(module, PackedLinear)]
    buffers = [b for module in packed for b in module.buffers(recurse=False)]
    whole = sum(local(t).nbytes for t in [*parameters, *buffers])
    learning = sum(local(p).nbytes for p in parameters if p.requires_grad)
    mean = sum(local(p).numel() * max(4, p.itemsize) for p in parameters if p.requires_grad)
    width = parameters[0].itemsize if recipe.train.autocast is None else 2
    gathered = gathered_numbers(anatomy, layout) * parameters[0].itemsize
    t, logits = recipe.train, recipe.objective.get("chunk")
    tokens = -(-t.batch_size // layout.dp) * length
    rows = tokens if logits is None else min(logits, tokens)
    vocab_size = anatomy.tied_head[0] if anatomy.tied_head else _vocab_size(config)
    at_once = rows * vocab_size * max(width, 4) * LOGITS  # which the ranks of tp gather
    part, parts = of_rank(anatomy, layout), layout.tp if layout.sp else 1
    if t.recompute:  # a layer is computed again when the logits are gone
        layer = largest_layer(part, parts)
        kept = (recomputed_numbers(part, parts) - layer) * tokens * width + max(at_once, layer * tokens * width)
    else:
        kept = kept_numbers(part, parts) * tokens * width + at_once
    states = STATES[recipe.optimizer.name]
    if recipe.optimizer.name == "rmsprop" and recipe.optimizer.momentum:
        states += 1
    if recipe.optimizer.name == "sgd" and not recipe.optimizer.momentum:
        states = 0
    return Footprint(
        weights=whole * (1 + copies) + (mean if t.ema is not None else 0) + gathered,
        gradients=learning,
        optimizer=states * learning,
        activations=round(kept),
        scratch=learning if states else 0,
        is_accumulated=t.accumulate > 1,
    )


def _vocab_size(config: Any) -> int:
    return int(getattr(config, "vocab_size", 0) or 0)
