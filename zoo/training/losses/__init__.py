"""Objectives as pure functions of logits, states or log-probabilities, each with its paper and equation.

Shapes: B batch, T tokens, V vocabulary, D hidden, N rows of whatever is compared. All compute in float32 at least.
Labels stand where the logits stand that predict them; IGNORED where nothing is predicted.
"""

from zoo.training.losses.contrast import contrastive_loss, sigmoid_loss
from zoo.training.losses.distillation import distillation_loss
from zoo.training.losses.experts import balanced_bias, router_z_loss
from zoo.training.losses.policy import advantages, clipped_loss, group_advantages, grouped_loss, kl_estimate
from zoo.training.losses.preference import dpo_loss, ipo_loss, reward_loss
from zoo.training.losses.tokens import (
    IGNORED,
    chunked_loss,
    log_probabilities,
    multi_token_loss,
    next_tokens,
    token_loss,
)

__all__ = [
    "IGNORED", "advantages", "balanced_bias", "chunked_loss", "clipped_loss", "contrastive_loss", "distillation_loss",
    "dpo_loss", "group_advantages", "grouped_loss", "ipo_loss", "kl_estimate", "log_probabilities", "multi_token_loss",
    "next_tokens", "reward_loss", "router_z_loss", "sigmoid_loss",
    "token_loss",
]  # fmt: skip
