"""Known mistakes of norms: what is added to the weight or to the variance, and whether the mean is taken off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from zoo.nn import RMSNorm
from zoo.verification.edits import Edit, acting, reweighting, setting, together
from zoo.verification.mistakes.repair import Case, Mistake, Repair
from zoo.verification.recording import shared_prefix

EPSILONS = {1e-12, 1e-8, 1.5625e-7, 1e-7, 1e-6, 1e-5}  # of released models


def unit_offset(case: Case) -> Iterator[Repair]:
    """A norm scales by w where the reference scales by 1 + w, or the reverse."""
    norms = {name: module for name, module in case.modules.items() if isinstance(module, RMSNorm)}
    for shift, says, advice in (
        (1.0, "scales by w, the reference by 1 + w", "UnitOffsetRMSNorm instead of RMSNorm"),
        (-1.0, "scales by 1 + w, the reference by w; or 1 was already added to w",
         "RMSNorm instead of UnitOffsetRMSNorm"),
    ):  # fmt: skip
        edits = {name: reweighting((norm.weight, lambda x, s=shift: x + s)) for name, norm in norms.items()}
        for where, edit in _all_and_each(edits):
            leaf = "all norms" if len(norms) > 1 and where == shared_prefix(norms) else where.rpartition(".")[2]
            yield Repair("norm with and without +1", f"{leaf} {shift:+g}", where, f"{leaf}: {says}", advice, edit)


def epsilon(case: Case) -> Iterator[Repair]:
    """Another number is added to the variance."""
    norms = {name: module for name, module in case.having() if isinstance(getattr(module, "eps", None), float)}
    for value in sorted(EPSILONS | case.numbers("eps")):
        edits = {name: setting(norm, eps=value) for name, norm in norms.items() if norm.eps != value}
        for where, edit in _all_and_each(edits):
            leaf = "all norms" if len(edits) > 1 and where == shared_prefix(edits) else where.rpartition(".")[2]
            own = {norms[name].eps for name in edits if name == where or leaf == "all norms"}
            yield Repair(
                "eps", f"{leaf} {value:g}", where,
                f"{leaf}: eps is {', '.join(f'{eps:g}' for eps in sorted(own))}, in the reference {value:g}",
                f"model.norm_eps={value:g}",
                edit,
            )  # fmt: skip


def kind(case: Case) -> Iterator[Repair]:
    """A norm divides by the root mean square where the reference takes the mean off first, or the reverse."""
    norms = {name: module for name, module in case.having("eps", "weight") if module.weight.ndim == 1}
    for takes_mean, says, advice in (
        (True, "the reference subtracts the mean first, as LayerNorm does", "nn.LayerNorm"),
        (False, "the reference divides by the root mean square and does not subtract the mean", "RMSNorm"),
    ):
        edits = {name: acting(norm, partial(_normed, norm, takes_mean)) for name, norm in norms.items()}
        for where, edit in _all_and_each(edits):
            leaf = "all norms" if len(edits) > 1 and where == shared_prefix(edits) else where.rpartition(".")[2]
            yield Repair("RMSNorm and LayerNorm", f"{leaf} {advice}", where, f"{leaf}: {says}", advice, edit)


MISTAKES: dict[str, Mistake] = {
    "norm with and without +1": unit_offset,
    "RMSNorm and LayerNorm": kind,
    "eps": epsilon,
}


def _normed(norm: Any, takes_mean: bool, x: Tensor) -> Tensor:
    """What a norm of one kind or the other computes of x [..., D] with the same weights."""
    scaled = (F.layer_norm if takes_mean else F.rms_norm)(x, x.shape[-1:], norm.weight, eps=norm.eps)
    bias = getattr(norm, "bias", None)
    return scaled if bias is None else scaled + bias


def _all_and_each(edits: dict[str, Edit]) -> Iterator[tuple[str, Edit]]:
    """Every edit by itself, and, before these, all together under the name of the module that they are in."""
    if len(edits) > 1:
        yield shared_prefix(edits), together(list(edits.values()))
    yield from edits.items()
