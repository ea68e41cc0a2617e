"""One tensor after the other in its place in a model: cast, checked, moved, and cut where the model is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.checkpoint.checks import FiniteBeside, check_finite, in_file, is_finite
from zoo.checkpoint.inspection import Ledger
from zoo.errors import CheckpointError
from zoo.models.buffers import fill_buffers
from zoo.models.construction import assign, shared_parameters
from zoo.nn.arrangement import arrange

if TYPE_CHECKING:
    from zoo.parallel.plans import RankPlan


class Placer:
    """Puts the tensors of a checkpoint into a model: whole, or over ranks the share that a plan gives this one."""

    def __init__(
        self,
        ledger: Ledger,
        model: nn.Module,
        dtype: torch.dtype | None,
        device: torch.device,
        plan: RankPlan | None,
        beside: FiniteBeside,
    ) -> None:
        self.ledger, self.model, self.dtype, self.device, self.plan = ledger, model, dtype, device, plan
        self._beside = beside
        if plan is not None:
            plan.lighten()
        self.names = {group[0]: group for group, _ in shared_parameters(model)}
        self._made: set[str] = set()  # weights that are nowhere else, as in the file's mapping

    def put(self, name: str, part: Tensor) -> None:
        """Cast a weight, or a rank's share of it, move it, and let it stand under all its names."""
        if name not in self.names:
            return  # another stage has it
        if self.plan is None and self.device.type == "cpu" and self.dtype in (None, part.dtype):
            self._beside.check(name, part)  # it stays as it is
        else:
            given, part = part, cast(self.ledger, name, part, self.dtype)
            if part is not given:
                self._made.add(name)
        if part.itemsize < 2:
            what = f"it is {str(part.dtype).removeprefix('torch.')}, and no model computes in that type"
            raise CheckpointError(*in_file(self.ledger, name), what, hint="choose a dtype, for example bfloat16")
        self._assign(name, part.to(self.device), self.ledger.shapes[name])

    def finish(self) -> None:
        """Random weights for what was allowed to be missing, buffers, and modules that compute with their share."""
        self._fill_allowed()
        fill_buffers(self.model, self.device)
        if callable(widen := getattr(self.model, "keep_wide", None)):
            widen()
        if self.plan is None:
            made = {id(self.model.get_parameter(name)) for name in self._made}
            arrange(self.model, lambda parameter: id(parameter) in made)
        else:
            self.plan.install()
            self.ledger.made.append(str(self.plan))

    def _assign(self, name: str, part: Tensor, shape: tuple[int, ...]) -> None:
        assign(self.model, self.names[name], part if self.plan is None else self.plan.placed(name, part, shape))

    def _fill_allowed(self) -> None:
        """Random weights, from seed 0, for what was missing and allowed to be, which `ledger.random` names.

        They are of the type that most of the others have: a layer computes in one.
        """
        exact, parameters = self.ledger.exact, shared_parameters(self.model)
        counts = Counter(p.dtype for names, p in parameters if not p.is_meta and names[0] not in exact)
        main = self.dtype or (counts.most_common(1)[0][0] if counts else None)
        generator = torch.Generator().manual_seed(0)
        for names, parameter in parameters:
            if parameter.is_meta:
                value = torch.empty(parameter.shape).normal_(std=0.02, generator=generator)
                kind = parameter.dtype if names[0] in exact else main or parameter.dtype
                part = value if self.plan is None else value[self.plan.slices(names[0], tuple(value.shape))]
                self._assign(names[0], part.to(self.device, kind), tuple(value.shape))


def cast(ledger: Ledger, name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """`tensor` in `dtype`, refusing a value that overflows it."""
    check_finite(ledger, name, tensor)
    if dtype is None or tensor.dtype == dtype or not tensor.is_floating_point():
        return tensor
    if name in ledger.exact and torch.finfo(dtype).bits < torch.finfo(tensor.dtype).bits:
        return tensor
    out = tensor.to(dtype)
    if torch.finfo(dtype).max < torch.finfo(tensor.dtype).max and not is_finite(out):
        raise CheckpointError(*in_file(ledger, name), f"a value overflows {str(dtype).removeprefix('torch.')}")
    return out
