"""A prefix that is read and not predicted: prefix language models, and answers to prompts.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.training.losses.tokens import IGNORED, next_tokens


def prefix_labels(tokens: Tensor, prefix: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Labels [B, T] as `next_tokens` gives them, but for what stands within each row's first `prefix` [B] real tokens.

    The last token of the prefix predicts the first behind it. `attention_mask` [B, T] is True for real tokens.
    Raises UsageError for a prefix that is empty or leaves nothing to predict.
    """
    is_real = torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    if bool(((prefix < 1) | (prefix >= is_real.sum(1))).any()):
        raise UsageError("a prefix has at least one token, and leaves at least one to predict")
    place = is_real.cumsum(1)  # from 1 at the first real token
    return next_tokens(tokens, attention_mask).masked_fill(place < prefix[:, None], IGNORED)
