"""One vector of many states, by attention.

Shapes: B batch, S states, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.nn.cross import CrossAttention, Memory


class AttentionPool(nn.Module):
    """A learned query attends to all states, and an MLP follows: the head of ViT-G (arXiv:2106.04560) and SigLIP.

    It is nobody's residual: what attention gives is the stream, to which the MLP adds.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, mlp: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(hidden_size))
        self.attn = CrossAttention(hidden_size, num_heads, hidden_size // num_heads, has_bias=True)
        self.norm, self.mlp = norm, mlp

    def reset_parameters(self) -> None:
        nn.init.normal_(self.probe, std=0.02)

    def forward(self, states: Tensor, is_real: Tensor | None = None) -> Tensor:
        """states [B, S, D], of which `is_real` [B, S] are no padding (None: all), to one vector [B, D] of each."""
        probe = self.probe.expand(states.shape[0], 1, -1)
        x = self.attn(probe, self.attn.keys_and_values(Memory(states, is_real)))
        return (x + self.mlp(self.norm(x)))[:, 0]
