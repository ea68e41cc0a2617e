"""Known mistakes of attention: scales, windows, capped scores."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from zoo.anatomy.config import RopeConfig
from zoo.anatomy.frequencies import yarn_mscale
from zoo.nn import Mask, Rope
from zoo.verification.edits import setting
from zoo.verification.mistakes.repair import Case, Mistake, Repair, others

SOFTCAPS = {20.0, 30.0, 50.0}  # of Gemma 2, and of what followed it


def scale(case: Case) -> Iterator[Repair]:
    """Scores have another factor: a head's width, YaRN's temperature squared, query_pre_attn_scalar."""
    for name, attn in case.having():
        owner = attn if hasattr(attn, "scale") and hasattr(attn, "o_proj") else getattr(attn, "attend", None)
        if owner is None or not isinstance(getattr(owner, "scale", None), float):
            continue
        for value in others(_scales(case, attn, owner.scale), owner.scale):
            yield Repair(
                "attention scale and YaRN mscale", f"scale × {value / owner.scale:.4g}", name,
                f"scores are multiplied by {owner.scale:.6g}, the reference multiplies by {value:.6g} "
                f"({_in_words(attn, value)})",
                f"Attention(..., scale={value:.6g})",
                setting(owner, scale=value),
            )  # fmt: skip
    for name, attn in case.having("rope"):
        if not isinstance(attn.rope, Rope):
            continue
        for value in others({1.0, *_temperatures(attn.rope.rope)}, attn.rope.factor):
            other = copy.copy(attn.rope)
            other.factor = value
            yield Repair(
                "attention scale and YaRN mscale", f"cos and sin × {value / attn.rope.factor:.4g}", name,
                f"cos and sin are multiplied by {attn.rope.factor:.6g}, the reference multiplies by {value:.6g}",
                f"model.rope.attention_factor={value:.6g}",
                setting(attn, rope=other),
            )  # fmt: skip


def window(case: Case) -> Iterator[Repair]:
    """A window counts the query's own token or does not, is missing, or is there where the reference has none."""
    for name, attn in case.having("mask"):
        if not hasattr(attn.mask, "window"):
            continue
        own = attn.mask.window
        choices = {int(w) for w in case.numbers("window")} if own is None else {own - 1, own + 1, None}
        for size in sorted(choices, key=lambda w: (w is None, w)):
            if size is None or size > 0:
                yield Repair(
                    "window off by one", f"window {size}", name,
                    f"a token sees {own or 'all'} keys, its own among them, in the reference {size or 'all'}",
                    f"mask={'causal' if size is None else f'sliding({size})'}",
                    setting(attn, mask=replace(attn.mask, window=size)),
                )  # fmt: skip


def causality(case: Case) -> Iterator[Repair]:
    """A token sees those after it on one side only."""
    for name, attn in case.having("mask"):
        if not isinstance(attn.mask, Mask):
            continue
        words = {True: "no token after it", False: "the tokens after it too"}
        own, other = attn.mask.is_causal, not attn.mask.is_causal
        yield Repair(
            "causal mask", f"is_causal={other}", name,
            f"a token sees {words[own]}, in the reference {words[other]}",
            f"mask={'causal' if other else 'everything'}",
            setting(attn, mask=replace(attn.mask, is_causal=other)),
        )  # fmt: skip


def softcap(case: Case) -> Iterator[Repair]:
    """Scores or logits are capped at another value, or capped on one side only."""
    for name, module in case.having():
        if not hasattr(module, "softcap"):
            continue
        own = module.softcap
        for cap in (*([] if own is None else [None]), *others(SOFTCAPS | case.numbers("softcap"), own)):
            what = "scores" if hasattr(module, "o_proj") else "logits"
            yield Repair(
                "softcap", f"{what} capped at {cap}", name,
                f"{what} are capped at {own}, in the reference at {cap}",
                f"softcap={cap}",
                setting(module, softcap=cap),
            )  # fmt: skip


MISTAKES: dict[str, Mistake] = {
    "attention scale and YaRN mscale": scale,
    "window off by one": window,
    "causal mask": causality,
    "softcap": softcap,
}


def _scales(case: Case, attn: Any, own: float) -> set[float]:
    """Factors that some model has: powers of every width at hand, and the temperature of YaRN on top or off."""
    names = ("head_dim", "nope_dim", "rope_dim", "v_dim")
    widths = {float(value) for name in names if (value := getattr(attn, name, None))}
    widths |= case.numbers("head_dim") | case.numbers("hidden_size") | case.numbers("query_pre_attn") | {1.0}
    widths |= {h / n for h in case.numbers("hidden_size") for n in case.numbers("num_heads")}
    if hasattr(attn, "nope_dim"):
        widths.add(float(attn.nope_dim + attn.rope_dim))
    rope = getattr(attn, "rope", None)
    warm = {m**power for m in _temperatures(rope.rope) for power in (1, 2)} if isinstance(rope, Rope) else set()
    plain = {width**-0.5 for width in widths}
    return plain | {base * m for base in (own, *plain) for m in warm} | {own / m for m in warm}


def _in_words(attn: Any, value: float) -> str:
    """A factor as a power of a width, with YaRN's temperature apart where there is one."""
    rope = getattr(attn, "rope", None)
    for warm in _temperatures(rope.rope) if isinstance(rope, Rope) else ():
        width = (value / warm) ** -2
        if warm != 1 and abs(width - round(width)) < 1e-6:
            return f"{round(width)}^-0.5 × YaRN's mscale {warm:.4g}"
    return f"{value**-2:.4g}^-0.5"


def _temperatures(rope: RopeConfig) -> set[float]:
    """YaRN's factor on queries and keys, by every weight that the config names."""
    if rope.factor <= 1:
        return set()
    weights = {1.0, rope.mscale or 1.0, rope.mscale_all_dim or 1.0}
    found = {yarn_mscale(rope.factor, weight) for weight in weights}
    return found | {a / b for a in found for b in found} | {m**2 for m in found}
