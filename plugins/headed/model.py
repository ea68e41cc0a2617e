"""A decoder of any family without its head over the vocabulary, and the heads that take its place.

Shapes: B batch, T tokens, D hidden, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn import HeadedOutput, initialise
from zoo.registry import installed

from .config import HeadedConfig


class Headed(nn.Module):
    """Token ids to the normed states of a decoder, and to what a classifier makes of them.

    A sequence is classified at the last token that is not `pad_token_id`, whatever the attention mask says, as in
    transformers: rows may be padded left or right, and a model without that token reads one row at a time. Tokens are
    counted as the decoder counts them, from the first real one.
    """

    trunk: Any  # a decoder of another family: see zoo.nn.Decoder

    def __init__(self, c: HeadedConfig) -> None:
        super().__init__()
        self.config = c
        self.trunk = installed()[c.trunk.family].build(c.trunk)
        self.trunk.lm_head = None
        bias, self.pad_token_id = c.has_bias, c.pad_token_id
        self.classifier = None if c.num_labels is None else nn.Linear(c.hidden_size, c.num_labels, bias=bias)
        self.is_of_tokens = c.head == "token_classification"

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> HeadedOutput:
        """States of tokens [B, T] and their classes; attention_mask [B, T] is True for real tokens.

        Raises UsageError for several rows to classify where no token is for padding, and where the mask knows better.
        """
        x = self.trunk.states(tokens, attention_mask=attention_mask)
        if self.classifier is None:
            return HeadedOutput(x)
        return HeadedOutput(x, self.classifier(x if self.is_of_tokens else self.last(x, tokens, attention_mask)))

    @property
    def is_of_one_row(self) -> bool:
        """Whether several rows cannot be read at a time: a classifier of sequences without a token for padding."""
        return self.classifier is not None and not self.is_of_tokens and self.pad_token_id is None

    def last(self, x: Tensor, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The state [B, D] at each row's last token that is not padding; at its first where all are."""
        if self.pad_token_id is None:
            if len(tokens) != 1:
                what = f"{len(tokens)} rows, but model.pad_token_id is null, so their ends are not known"
                raise UsageError(what, hint="set model.pad_token_id, or give one row at a time")
            return x[:, -1]
        places = torch.arange(tokens.shape[1], device=tokens.device)
        ends = (places * (tokens != self.pad_token_id)).argmax(-1)
        rows = torch.arange(len(x), device=x.device)
        if attention_mask is not None and not torch.compiler.is_compiling():
            self._check(ends, attention_mask.bool(), rows)
        return x[rows, ends]

    def _check(self, ends: Tensor, mask: Tensor, rows: Tensor) -> None:
        """Refuse an end that is padding by the mask: what stands there has no meaning."""
        wrong = mask.any(-1) & ~mask[rows, ends]
        if bool(wrong.any()):
            row = int(wrong.int().argmax())
            what = f"row {row} ends in a token that is padding by attention_mask and not model.pad_token_id"
            raise UsageError(f"{what}={self.pad_token_id}", hint="pad with that token, or set model.pad_token_id")

    def reset_parameters(self) -> None:
        """Random weights from the current generator, the trunk's as its family draws them."""
        self.trunk.reset_parameters()
        if self.classifier is not None:
            initialise(self.classifier)
