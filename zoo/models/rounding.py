"""Weights that are rounded to a few bits on the way into a model: a tensor at a time, and every error is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.anatomy.config import NoAnatomy
from zoo.anatomy.quantisation import Quantisation, quantisation, rounded_names
from zoo.errors import UsageError
from zoo.files.heap import trim
from zoo.nn.packed import Int4Groups, Int8Rows, can_be_packed, is_packable_table, packed_layers, put_packed
from zoo.parallel.borders import check_rounding
from zoo.units import human_bytes

if TYPE_CHECKING:
    from zoo.anatomy.config import ModelConfig
    from zoo.parallel.plans import RankPlan

KEPT = "embedding, head, router, norms, biases and what reads images keep their numbers"
KEPT_BESIDE_HEAD = (
    "an embedding that is not the head too, router, norms, biases and what reads images keep their numbers"
)
BFLOAT16 = "activations are rounded to bfloat16 on the way into each product with integers"
BETWEEN = 1 << 19  # numbers that are rounded until the heap is given back, or a 128th of all so far
BAND = 1 << 17  # numbers whose error is counted at a time


@dataclass
class Rounded:
    """What was rounded, to what, and how far each weight is from what it was: |new - old| / |old|."""

    how: Quantisation
    errors: dict[str, float] = field(default_factory=dict)
    nbytes: int = 0  # of the packed matrices
    numbers: int = 0

    @property
    def kept(self) -> str:
        """What was not rounded."""
        return KEPT_BESIDE_HEAD if self.how.takes_head else KEPT

    @property
    def mean(self) -> float:
        """The mean of the errors."""
        return sum(self.errors.values()) / max(1, len(self.errors))

    @property
    def worst(self) -> tuple[str, float]:
        """The weight that lost most, and how much."""
        return max(self.errors.items(), key=lambda item: item[1], default=("", 0.0))

    def note(self) -> str:
        """All this in a sentence."""
        name, worst = self.worst
        return (
            f"rounded to {self.how.words}: {len(self.errors)} weights, {human_bytes(self.nbytes)}, "
            f"{8 * self.nbytes / max(1, self.numbers):.2f} bits each; relative error {self.mean:.2%} on average, "
            f"{worst:.2%} at worst ({name}); {self.kept}; {BFLOAT16}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        told = {"mean_error": self.mean, "worst": self.worst[0], "worst_error": self.worst[1]}
        return {"to": self.how.name, "bytes": self.nbytes, **told, "errors": self.errors}


class Rounder:
    """Rounds the weights of one model as they come."""

    def __init__(self, model: nn.Module, config: ModelConfig, name: str) -> None:
        self.model, self.done = model, Rounded(quantisation(name))
        self._since = 0  # numbers that were rounded since the heap was last given back
        try:
            wanted = rounded_names(config.anatomy(), takes_head=self.done.how.takes_head)
        except NoAnatomy:
            what = f"quantize={name} needs to know what the weights of a {config.family} are for"
            raise UsageError(what, why="the family describes no anatomy") from None
        self.names = {n for n in wanted if can_be_packed(model, n) or is_packable_table(model, n)}
        if not self.names:
            raise UsageError(f"quantize={name}: a {config.family} has no weights that are rounded", why=self.done.kept)

    @property
    def wide(self) -> set[str]:
        """The weights of which a rank needs all columns to round its own: those whose rows share a scale."""
        return self.names if self.done.how.group is None else set()

    def put(self, name: str, weight: Tensor, device: torch.device, columns: slice | None = None) -> None:
        """Round `weight` and let the packed one stand in its place, of a wide one the `columns` that a rank has."""
        scheme, parts = rounded(weight.flatten(0, -2), self.done.how)
        mine = weight
        if columns is not None and name in self.wide:
            mine, (scheme, parts) = weight[..., columns], scheme.part(parts, slice(None), columns)
        parts = {role: part.to(device) for role, part in parts.items()}
        layer = put_packed(self.model, name, scheme, parts, dtype=weight.dtype, shape=tuple(mine.shape))
        self.done.nbytes += layer.nbytes
        self.done.numbers += mine.numel()
        self._since += weight.numel()
        if self._since > max(BETWEEN, self.done.numbers // 128):
            trim()
            self._since = 0
        if not weight.is_meta:
            self.done.errors[name] = relative_error(mine.flatten(0, -2), layer)


def rounded(weight: Tensor, how: Quantisation) -> tuple[Any, dict[str, Tensor]]:
    """The scheme and the parts of a weight [N, K], rounded to nearest."""
    return Int8Rows.rounded(weight) if how.group is None else Int4Groups.rounded(weight, how.group)


def relative_error(weight: Tensor, layer: Any) -> float:
    """|packed - weight| / |weight| over all numbers, some rows at a time; 0 for a weight of zeros."""
    step = max(1, BAND // max(1, weight.shape[1]))
    lost = total = 0.0
    for start in range(0, len(weight), step):
        rows = slice(start, min(start + step, len(weight)))
        before = weight[rows].float()
        total += before.square().sum(dtype=torch.float64).item()
        after = layer.dequantise(torch.float32, rows).to(before.device)
        lost += (after - before).square().sum(dtype=torch.float64).item()
    return (lost / total) ** 0.5 if total else 0.0


def round_model(model: nn.Module, name: str, plan: RankPlan | None = None) -> Rounded:
    """Round the weights that a model has already, one at a time, or of each the share that a plan gives this rank.

    Raises UsageError for a model that has packed ones, and for a share that ends within a group.
    """
    refuse_packed(model, f"quantize={name}")
    config: Any = model.config
    rounder = Rounder(model, config, name)
    if plan is not None:
        check_rounding(plan, rounder.done.how, {n: tuple(model.get_parameter(n).shape) for n in rounder.names})
        plan.lighten()
    for weight_name in sorted(rounder.names & dict(model.named_parameters()).keys()):
        weight, columns = model.get_parameter(weight_name).detach(), None
        if plan is not None:
            *others, columns = plan.slices(weight_name, tuple(weight.shape))
            weight = weight[(*others, slice(None) if weight_name in rounder.wide else columns)]
        rounder.put(weight_name, weight, weight.device, columns)
    return rounder.done


def refuse_packed(model: nn.Module, what: str, hint: str = "load it without quantize= and --packed") -> None:
    """Raise UsageError for a model with packed matrices."""
    if packed := packed_layers(model):
        raise UsageError(f"{what}: {len(packed)} matrices of the model are packed", hint=hint)
