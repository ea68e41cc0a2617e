"""Cross-entropy over tokens: causal, masked, span-corrupted and blank-filled models differ in their labels alone.

Shapes: B batch, T tokens, V vocabulary, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from zoo.errors import UsageError
from zoo.nn.norm import at_least_float32

IGNORED = -100  # a label that predicts nothing, as in torch and transformers


def next_tokens(tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Labels of a causal model, [B, T]: at each place the token after it, IGNORED at the last one and at padding.

    `attention_mask` [B, T] is True for real tokens. A place beside padding predicts nothing: neither the first real
    token from padding on the left, nor padding from the last one.
    """
    labels = F.pad(tokens[:, 1:], (0, 1), value=IGNORED)
    if attention_mask is None:
        return labels
    is_real = attention_mask.bool()
    return labels.masked_fill(~(is_real & F.pad(is_real[:, 1:], (0, 1))), IGNORED)


def token_loss(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, z: float = 0.0, total: int | Tensor | None = None
) -> Tensor:
    """Mean cross-entropy in nats of logits [..., V] against labels [...], over the labels that are not IGNORED.

    `smoothing` gives that share of the target to all V alike (arXiv:1512.00567, 7). `z` adds z times the squared
    log-sum-exp of the logits (arXiv:2204.02311, 5). The sum is divided by `total` where it is given: the labels of all
    steps over which gradients accumulate, so that these weigh every token alike.
    Raises UsageError for shapes that do not fit, and without `total` where every label is IGNORED.
    """
    if logits.shape[:-1] != labels.shape:
        raise UsageError(f"logits {list(logits.shape)} and labels {list(labels.shape)} do not fit together")
    return _summed(logits.flatten(0, -2), labels.flatten(), smoothing, z) / _count(labels, total)


def chunked_loss(
    states: Tensor,
    head: Callable[[Tensor], Tensor],
    labels: Tensor,
    *,
    chunk: int = 1024,
    smoothing: float = 0.0,
    z: float = 0.0,
    total: int | Tensor | None = None,
) -> Tensor:
    """`token_loss(head(states), labels)` for states [..., D], with logits of at most `chunk` tokens at a time.

    The logits of a chunk are computed once in the forward and again in the backward pass, and never kept: [B, T, V]
    does not exist. Raises as `token_loss` does.
    """
    if states.shape[:-1] != labels.shape:
        raise UsageError(f"states {list(states.shape)} and labels {list(labels.shape)} do not fit together")
    rows, flat = states.flatten(0, -2), labels.flatten()
    keep = (flat != IGNORED).nonzero()[:, 0]  # places that predict nothing need no logits
    losses = [
        checkpoint(_of_states, part, head, wanted, smoothing, z, use_reentrant=False)
        for part, wanted in zip(rows[keep].split(chunk), flat[keep].split(chunk), strict=True)
    ]
    return torch.stack(losses).sum() / _count(labels, total) if losses else rows.sum() * 0.0 / _count(labels, total)


def multi_token_loss(logits: Sequence[Tensor], tokens: Tensor, *, weight: float) -> Tensor:
    """`weight` times the mean loss of D further predictions (DeepSeek-V3, arXiv:2412.19437, eq. 24 and 25).

    `logits[k]` [B, T, V] of the k-th module, from 0, stand where the token k + 2 places on is predicted; its last
    k + 2 places predict nothing. Raises UsageError where no token is so far on.
    """
    losses = [
        token_loss(found, F.pad(tokens[:, k + 2 :], (0, min(k + 2, tokens.shape[1])), value=IGNORED))
        for k, found in enumerate(logits)
    ]
    return weight * torch.stack(losses).mean()


def log_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-probability of each label in nats, [...] for logits [..., V]; 0 where it is IGNORED."""
    is_there = labels != IGNORED
    found = at_least_float32(logits).log_softmax(-1).gather(-1, labels.where(is_there, 0)[..., None])[..., 0]
    return found.where(is_there, 0.0)


def _of_states(states: Tensor, head: Callable[[Tensor], Tensor], labels: Tensor, smoothing: float, z: float) -> Tensor:
    return _summed(head(states), labels, smoothing, z)


def _summed(logits: Tensor, labels: Tensor, smoothing: float, z: float) -> Tensor:
    """The sum over tokens of logits [N, V] and labels [N]."""
    logits = at_least_float32(logits)
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum")
    if z:
        loss = loss + z * logits.logsumexp(-1).square().where(labels != IGNORED, 0.0).sum()
    return loss


def _count(labels: Tensor, total: int | Tensor | None) -> int | Tensor:
    if total is not None:
        return total
    count = (labels != IGNORED).sum()
    if not count:
        raise UsageError("every label is ignored: there is nothing to learn from")
    return count
