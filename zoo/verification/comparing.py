"""How far two sets of outputs are apart, and how far they may be.

Shapes: B batch, T tokens, V vocab.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.verification.divergence import gap
from zoo.verification.inputs import Inputs

CACHED = "cached = full"


@dataclass(frozen=True)
class Measure:
    """One line of the answer: a quantity, how far apart, and whether that is near enough. `limit` None: told only."""

    name: str
    max: float
    mean: float | None = None
    limit: float | None = None
    said: str = ""

    @property
    def is_ok(self) -> bool:
        return self.limit is None or self.max <= self.limit

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "max": self.max, "mean": self.mean, "limit": self.limit, "said": self.said,
            "ok": self.is_ok,
        }  # fmt: skip


def compare_outputs(ours: dict[str, Tensor], theirs: dict[str, Tensor], limit: float) -> list[Measure]:
    """Differences of what both sides give under one name; of logits per token, what they mean for the next one.

    Raises UsageError where nothing can be compared.
    """
    found: list[Measure] = []
    for name in ours:
        if name not in theirs or (worst := gap(ours[name], theirs[name])) is None:
            continue
        a, b = ours[name].double(), theirs[name].double().reshape(ours[name].shape)
        unit = b.square().mean().sqrt().item() or 1.0
        mean = (a - b).abs().mean().item() / unit
        found.append(Measure(name, worst, mean, limit, f"in units of {unit:.3g}, their root mean square"))
        if name == "logits" and a.ndim == 3:
            found += _next_tokens(a, b, limit)
    if not found:
        raise UsageError(f"nothing to compare: one side gives {', '.join(ours)}, the other {', '.join(theirs)}")
    return found


def exact_outputs(ours: dict[str, Tensor], exact: dict[str, Tensor], limit: float) -> list[Measure]:
    """Differences with what the reference gives with its constants in float64, where its rounding excuses no one."""
    gaps = {name: gap(x, exact[name]) for name, x in ours.items() if name in exact}
    said = "the reference with its constants in float64"
    return [Measure(f"{n}, exact", worst, limit=limit, said=said) for n, worst in gaps.items() if worst is not None]


def worst_gap(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float | None:
    """The largest difference of any output that both have; None where they have none."""
    found = (gap(x, theirs[name]) for name, x in ours.items() if name in theirs)
    return max((x for x in found if x is not None), default=None)


def cached_decoding(model: nn.Module, inputs: Inputs, limit: float) -> Measure | None:
    """The last tokens read one by one with a cache against the whole text read at once; None for what has no cache."""
    if not hasattr(model, "new_cache"):
        return None
    text = inputs.given.get("decoder_tokens", inputs.given.get("tokens"))
    if text is None or text.shape[1] < 2:
        return None
    built: Any = model
    name, start = CACHED, max(text.shape[1] - 8, 1)
    try:
        with torch.no_grad():
            decoder = built.conditioned(inputs.given["tokens"]) if "decoder_tokens" in inputs.given else built
            whole = decoder(text)[:, start - 1 :]
            cache = decoder.new_cache(len(text), text.shape[1])
            steps = [decoder(text[:, :start], cache=cache, last=True)]
            steps += [decoder(text[:, t : t + 1], cache=cache) for t in range(start, text.shape[1])]
    except UsageError as refusal:
        return Measure(name, 0.0, said=f"not run: {refusal.what}")
    worst = gap(torch.cat(steps, 1), whole)
    assert worst is not None
    return Measure(name, worst, limit=limit, said=f"{text.shape[1] - start} tokens one by one")


def _next_tokens(ours: Tensor, theirs: Tensor, limit: float) -> list[Measure]:
    """Logits [B, T, V]: the divergence of the next token's distribution, and how often the likeliest is the same."""
    p, q = theirs.log_softmax(-1), ours.log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).clamp(min=0)
    is_same = ours.argmax(-1) == theirs.argmax(-1)
    # Tokens whose two best logits are nearer to each other than rounding may choose either.
    best = theirs.topk(2, -1).values
    is_tie = best[..., 0] - best[..., 1] < 2 * limit * theirs.square().mean().sqrt()
    ties = int((is_tie & ~is_same).sum())
    said = f"{int(is_same.sum())}/{is_same.numel()} agree" + (f", {ties} more are ties" if ties else "")
    return [
        Measure("KL per token", kl.max().item(), kl.mean().item(), limit, "nats"),
        Measure("next token", float((~is_same & ~is_tie).sum()), limit=0.0, said=said),
    ]
