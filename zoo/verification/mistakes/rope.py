"""Known mistakes of rotary positions: layouts, permuted rows, bases."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from zoo.anatomy.config import RopeConfig
from zoo.anatomy.frequencies import frequencies
from zoo.nn import Rope
from zoo.verification.edits import reweighting, setting
from zoo.verification.mistakes.repair import Case, Mistake, Repair, others
from zoo.weights.ops import Change, Op, rope_halves

BASES = {1e4, 5e5, 1e6, 5e6, 1e7}  # of released models


def rotary_layout(case: Case) -> Iterator[Repair]:
    """Channel c turns with c + R/2 (halves) where the reference turns 2c with 2c + 1 (pairs), or the reverse."""
    for name, attn in case.having("rope"):
        if not isinstance(attn.rope, Rope):
            continue
        other = copy.copy(attn.rope)
        other.is_interleaved = not attn.rope.is_interleaved
        words = {False: "halves (c, c + R/2)", True: "pairs (2c, 2c + 1)"}
        yield Repair(
            "rotary halves and pairs", f"to {words[other.is_interleaved]}", name,
            f"rotary channels rotate in {words[attn.rope.is_interleaved]}, "
            f"in the reference in {words[other.is_interleaved]}",
            f"Rope(..., is_interleaved={other.is_interleaved})",
            setting(attn, rope=other),
        )  # fmt: skip


def permuted_rows(case: Case) -> Iterator[Repair]:
    """Rows of q or k stand in the order of pairs where the model wants halves, or the reverse."""
    for name, attn in case.having("rope"):
        if not isinstance(attn.rope, Rope):
            continue
        ops = _rotary_rows(attn)
        for chosen in ([*ops], *([one] for one in ops)) if len(ops) > 1 else ([*ops],):
            for direction, change in (("pairs", "load"), ("halves", "dump")):
                edits = [
                    (parameter, partial(_changed, getattr(ops[module], change)))
                    for module in chosen
                    for parameter in getattr(attn, module).parameters()
                ]
                if not edits:
                    continue
                names = " and ".join(module.removesuffix("_proj") for module in chosen)
                yield Repair(
                    "q/k permuted", f"{names} from {direction}", name,
                    f"the rows of {names} are in rotary {direction}, the reference's are not: they were not permuted "
                    "when loaded, or were permuted twice",
                    f"{'' if change == 'load' else '~'}rope_halves(heads, {attn.rope.dim}) in the rule for "
                    f"{' and for '.join(map(repr, chosen))}",
                    reweighting(*edits),
                )  # fmt: skip


def base_and_stretch(case: Case) -> Iterator[Repair]:
    """The rotary frequencies have another base, or are stretched where the reference leaves them alone."""
    bases = BASES | case.numbers("theta")
    for name, attn in case.having("rope"):
        if type(attn.rope) is not Rope:
            continue
        rope: RopeConfig = attn.rope.rope
        choices = [(f"base {theta:g}", replace(rope, theta=theta)) for theta in others(bases, rope.theta)]
        if rope.scaling != "none":
            choices.append((f"not stretched by {rope.scaling}", RopeConfig(rope.theta, partial=rope.partial)))
        for kind, changed in choices:
            other = copy.copy(attn.rope)
            other.short = frequencies(other.dim, changed, other.max_seq_len)
            yield Repair(
                "rotary base and stretch", kind, name,
                f"rotary frequencies: base {rope.theta:g}, scaling {rope.scaling}; the reference: {kind}",
                f"model.rope.theta={changed.theta:g} model.rope.scaling={changed.scaling}",
                setting(attn, rope=other),
            )  # fmt: skip


def share(case: Case) -> Iterator[Repair]:
    """More or fewer channels of each head rotate, or their frequencies are counted over another number of channels."""
    for name, attn in case.having("rope", "head_dim"):
        if type(attn.rope) is not Rope or attn.rope.rope.scaling == "longrope":
            continue
        own, head_dim = attn.rope, attn.head_dim
        whole = frequencies(head_dim, own.rope, own.max_seq_len)[: own.dim // 2]
        widths = {head_dim * n // 16 for n in range(1, 17)} | {2**n for n in range(1, 9)} | {own.dim}
        for width in sorted(w for w in widths if not w % 2 and 0 < w <= head_dim):
            for over in {width, head_dim}:
                short = frequencies(over, own.rope, own.max_seq_len)[: width // 2]
                if short != own.short and ((width, over) != (own.dim, own.dim) or own.short == whole):
                    yield _of_share(name, attn, short, over)


def direction(case: Case) -> Iterator[Repair]:
    """Channels turn the other way: the sines have the other sign."""
    for name, attn in case.having("rope"):
        if type(attn.rope) is not Rope:
            continue
        other = copy.copy(attn.rope)
        other.short, other.long = [-f for f in other.short], [-f for f in other.long]
        yield Repair(
            "rotary direction", "the other way", name,
            "(a, b) rotates to (a cos - b sin, b cos + a sin), in the reference to (a cos + b sin, b cos - a sin)",
            "the sign of the term that is multiplied by the sines",
            setting(attn, rope=other),
        )  # fmt: skip


LAYOUTS: dict[str, Mistake] = {"rotary halves and pairs": rotary_layout, "q/k permuted": permuted_rows}
ANGLES: dict[str, Mistake] = {
    "rotary direction": direction,
    "rotary base and stretch": base_and_stretch,
    "rotary share": share,
}


def _of_share(name: str, attn: Any, short: list[float], over: int) -> Repair:
    """As many channels rotate as there are frequencies for, which are the first of `over` channels."""
    width = 2 * len(short)
    other = copy.copy(attn.rope)
    other.dim, other.short = width, short
    counted = "" if over == width else f", with frequencies computed over {over}"
    return Repair(
        "rotary share", f"{width} of {attn.head_dim}{counted}", name,
        f"{attn.rope.dim} channels of {attn.head_dim} rotate, in the reference {width}{counted}",
        f"model.rope.partial={width / attn.head_dim:g}",
        setting(attn, rope=other),
    )  # fmt: skip


def _rotary_rows(attn: Any) -> dict[str, Op]:
    """The projections whose rows rotate, and the op that brings those rows from pairs to halves."""
    width = attn.rope.dim
    if hasattr(attn, "kv_down"):  # latent attention: one rotary key, after the latent
        q = "q_up" if attn.q_up is not None else "q_proj"
        return {
            q: rope_halves(attn.num_heads, width, skip=attn.nope_dim),
            "kv_down": rope_halves(1, width, skip=attn.rank),
        }
    return {
        name: rope_halves(proj.weight.shape[0] // attn.head_dim, width)
        for name in ("q_proj", "k_proj")
        if isinstance(proj := getattr(attn, name, None), nn.Linear) and hasattr(attn, "head_dim")
    }


def _changed(change: Change, x: Tensor) -> Tensor:
    return change([x])[0]
