"""From the states of tokens to one vector a text, as sentence-transformers computes it.

Shapes: B texts, T tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.embedding.recipe import Projection
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "identity": lambda x: x, "relu": F.relu, "gelu": F.gelu,
    "silu": F.silu, "sigmoid": torch.sigmoid,
}  # fmt: skip


def pooled(x: Tensor, mask: Tensor, poolings: tuple[str, ...], *, num_skipped: int = 0) -> Tensor:
    """States x [B, T, D], of which mask [B, T] is True for real tokens, as vectors; several poolings side by side.

    Texts stand on the left; their first `num_skipped` tokens, those of a prompt, are not pooled, but counted.
    """
    kept = mask.clone()
    kept[:, :num_skipped] = False
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return torch.cat([_one(wide, kept, name) for name in poolings], -1)


def _one(x: Tensor, kept: Tensor, name: str) -> Tensor:
    rows, places = torch.arange(len(x), device=x.device), torch.arange(1, x.shape[1] + 1, device=x.device)
    if name == "cls":
        return x[rows, kept.int().argmax(1)]
    if name == "last":
        return x[rows, (kept * places).argmax(1)]
    if name == "max":
        return x.masked_fill(~kept[..., None], -torch.inf).amax(1)
    weights = (kept * places if name == "weighted_mean" else kept)[..., None].to(x.dtype)
    total = weights.sum(1).clamp(min=1e-9)
    return (x * weights).sum(1) / (total.sqrt() if name == "mean_sqrt" else total)


def projected(x: Tensor, step: Projection, *, allow_pickle: bool) -> Tensor:
    """Vectors through a linear layer, all of whose tensors are accounted for. Raises CheckpointError."""
    checkpoint = open_checkpoint(step.folder, allow_pickle=allow_pickle)
    shapes = {"linear.weight": (step.n_out, step.n_in)} | ({"linear.bias": (step.n_out,)} if step.has_bias else {})
    found = {name: info.shape for name, info in checkpoint.tensors.items()}
    if found != shapes or x.shape[-1] != step.n_in:
        what = f"it holds {found}, expected {shapes} on vectors of {x.shape[-1]} numbers"
        raise CheckpointError(step.folder, "", what)
    with checkpoint.open() as tensors:
        weight, bias = tensors["linear.weight"], tensors["linear.bias"] if step.has_bias else None
        given = nn.functional.linear(x, weight.to(x), None if bias is None else bias.to(x))
    return ACTIVATIONS[step.activation](given)
