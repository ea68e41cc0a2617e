"""Known mistakes of a block: what follows what, and which norm stands before which branch.

Shapes: B batch, T tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.nn import Span
from zoo.verification.edits import Edit, acting, together
from zoo.verification.mistakes.repair import Case, Mistake, Repair

Branch = Callable[[Tensor], Tensor]
Order = Callable[..., Tensor]  # of x, attention, MLP, two norms and none


def _one_after_the_other(attn_norm: int, mlp_norm: int) -> Order:
    def order(x: Tensor, attn: Branch, mlp: Branch, *norms: Branch) -> Tensor:
        x = x + attn(norms[attn_norm](x))
        return x + mlp(norms[mlp_norm](x))

    return order


def _side_by_side(attn_norm: int, mlp_norm: int) -> Order:
    def order(x: Tensor, attn: Branch, mlp: Branch, *norms: Branch) -> Tensor:
        return x + attn(norms[attn_norm](x)) + mlp(norms[mlp_norm](x))

    return order


def _after_sums(x: Tensor, attn: Branch, mlp: Branch, first: Branch, second: Branch, _: Branch) -> Tensor:
    x = first(x + attn(x))
    return second(x + mlp(x))


def _after_branches(x: Tensor, attn: Branch, mlp: Branch, first: Branch, second: Branch, _: Branch) -> Tensor:
    x = x + first(attn(x))
    return x + second(mlp(x))


def _on_normed_states(x: Tensor, attn: Branch, mlp: Branch, first: Branch, second: Branch, _: Branch) -> Tensor:
    x = first(x)
    x = second(x + attn(x))
    return x + mlp(x)


ORDERS: dict[str, Order] = {
    "attention, then MLP, each after its own norm": _one_after_the_other(0, 1),
    "attention and MLP in parallel after one norm": _side_by_side(0, 0),
    "attention and MLP in parallel, each after its own norm": _side_by_side(0, 1),
    "attention, then MLP, both after the first norm": _one_after_the_other(0, 0),
    "attention, then MLP, with their norms exchanged": _one_after_the_other(1, 0),
    "attention and MLP in parallel, with their norms exchanged": _side_by_side(1, 0),
    "attention and MLP in parallel after the second norm": _side_by_side(1, 1),
    "attention and MLP in parallel, no norm before the MLP": _side_by_side(0, 2),
    "attention, then MLP, no norm before the MLP": _one_after_the_other(0, 2),
    "attention, then MLP, each sum normed": _after_sums,
    "attention, then MLP, the output of each normed": _after_branches,
    "attention, then MLP, each added to the normed state": _on_normed_states,
}
OF_ONE_NORM = (
    "attention, then MLP, both after the first norm",
    "attention and MLP in parallel after one norm",
    "attention and MLP in parallel, no norm before the MLP",
    "attention, then MLP, no norm before the MLP",
)


def order(case: Case) -> Iterator[Repair]:
    """Attention and MLP stand one after the other or side by side, and share a norm or have one each."""
    for name, layer in case.modules.items():
        parts = _parts(layer)
        if parts is None or (own := _own(layer, *parts)) is None:
            continue
        for says, other in _orders(len(parts) - 2).items():
            if says != own:
                yield Repair(
                    "block order", says, name,
                    f"the block is {own}, in the reference {says}",
                    f"forward() of {type(layer).__name__}",
                    _wired(layer, other, *parts),
                )  # fmt: skip


MISTAKES: dict[str, Mistake] = {"block order": order}


def _parts(layer: nn.Module) -> list[nn.Module] | None:
    """Attention, MLP and one or two norms, where that is all that a block is made of."""
    children = {n: m for n, m in layer.named_children() if next(m.parameters(), None) is not None}
    norms = [m for m in children.values() if "Norm" in type(m).__name__]
    attn = [m for n, m in children.items() if hasattr(m, "o_proj") or ("att" in n and m not in norms)]
    mlp = [m for m in children.values() if m not in norms and m not in attn]
    if len(attn) != 1 or len(mlp) != 1 or len(norms) not in (1, 2):
        return None
    return [*attn, *mlp, *norms]


def _orders(num_norms: int) -> dict[str, Order]:
    return ORDERS if num_norms == 2 else {says: ORDERS[says] for says in OF_ONE_NORM}


def _own(layer: Any, *parts: nn.Module) -> str | None:
    """The order in which the block calls its parts, seen by putting arithmetic in their place; None: another one."""
    stand_ins: list[Branch] = [lambda y: 3 * y + 1, lambda y: y * y, lambda y: 5 * y - 2, lambda y: 7 * y + 3]
    used = stand_ins[: len(parts)]
    edits = [acting(m, lambda y, *args, f=f, **kwargs: f(y)) for m, f in zip(parts, used, strict=True)]
    x = torch.full((1, 1, 1), 2.0, dtype=torch.float64)  # whole numbers, which float64 adds without rounding
    try:
        with together(edits)():
            found = layer(x, Span(1, 1, x.device))
    except Exception:  # a third party's, which may want more than this
        return None
    if not isinstance(found, Tensor):
        return None
    known = _orders(len(parts) - 2).items()
    return next((says for says, order in known if torch.equal(order(x, *_filled(used)), found)), None)


def _wired(layer: nn.Module, order: Order, attn: nn.Module, *others: nn.Module) -> Edit:
    mlp, *norms = _filled([attn, *others])[1:]

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return order(x, lambda y: attn(y, *args, **kwargs), mlp, *norms)

    return acting(layer, forward)


def _filled(parts: list[Any]) -> list[Any]:
    """The parts and no norm; a block's only norm stands in for both."""
    return [*parts, *(parts[2:] if len(parts) == 3 else []), nn.Identity()]
