"""Position-wise feed-forward blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy.cuts import FEED_FORWARD
from zoo.nn.side_by_side import SideBySide, WithSideBySide

Activation = Callable[[Tensor], Tensor]

gelu_tanh: Activation = partial(F.gelu, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), the approximation that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def gelu_bloom(x: Tensor) -> Tensor:
    """The tanh form of GELU with sqrt(2/pi) cut to eight digits, as BLOOM was trained with (arXiv:2211.05100)."""
    return x * 0.5 * (1.0 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))


def gelu_fast(x: Tensor) -> Tensor:
    """The tanh form of GELU with sqrt(2/pi) cut to ten digits, as GPT-NeoX-20B's config names it (arXiv:2204.06745)."""
    return x * 0.5 * (1.0 + torch.tanh(0.7978845608 * x * (1 + 0.044715 * x * x)))


ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "gelu_bloom": gelu_bloom,
    "gelu_fast": gelu_fast,
    "quick_gelu": quick_gelu,
    "silu": F.silu,
}


class MLP(nn.Module):
    """down(act(up(x)))."""

    cuts = FEED_FORWARD
    last_part = "down_proj"

    def __init__(self, hidden_size: int, intermediate_size: int, act: Activation, *, bias: bool = True) -> None:
        super().__init__()
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act(self.up_proj(x)))


class GatedMLP(WithSideBySide):
    """down(act(gate(x)) * up(x)): SwiGLU with silu, GeGLU with gelu (arXiv:2002.05202)."""

    cuts = FEED_FORWARD
    last_part = "down_proj"

    def __init__(self, hidden_size: int, intermediate_size: int, act: Activation, *, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias)
        self.act = act
        self.gate_up = SideBySide("gate_proj", "up_proj")

    def forward(self, x: Tensor) -> Tensor:
        whole = self.gate_up(self, x)
        gate, up = (self.gate_proj(x), self.up_proj(x)) if whole is None else whole.chunk(2, -1)
        return self.down_proj(self.act(gate) * up)
