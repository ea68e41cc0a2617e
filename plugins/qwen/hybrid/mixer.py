"""How the delta nets of a Qwen are configured, and what they are made of; apart from `config` for its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, at_least, multiple_of


@dataclass
class DeltaConfig:
    """A gated delta net (arXiv:2412.06464): what each head remembers is a matrix of key_dim × value_dim."""

    num_key_heads: int = 16  # heads of queries and keys; divides num_heads
    num_heads: int = 32  # heads of values, each with a state of its own
    key_dim: int = 128  # channels of a query or key
    value_dim: int = 128  # channels of a value
    conv_kernel: int = 4  # tokens that the convolution sees, its own among them

    def __post_init__(self) -> None:
        at_least(1, part="model.delta", **vars(self))
        multiple_of("model.delta.num_heads", self.num_heads, "model.delta.num_key_heads", self.num_key_heads)

    @property
    def keys(self) -> int:
        """Channels of all keys."""
        return self.num_key_heads * self.key_dim

    @property
    def values(self) -> int:
        """Channels of all values."""
        return self.num_heads * self.value_dim

    @property
    def words(self) -> str:
        """The state in words."""
        return f"delta net {self.num_heads}×{self.key_dim}×{self.value_dim}"

    @classmethod
    def tiny(cls) -> Self:
        return cls(num_key_heads=2, num_heads=6, key_dim=5, value_dim=7, conv_kernel=3)


def describe_mixers(a: Anatomy, d: DeltaConfig, hidden_size: int, layers: Sequence[int]) -> None:
    """The weights of zoo.nn.GatedDeltaNet in these layers, and what they carry."""
    channels = 2 * d.keys + d.values
    with a.under("layers.{i}", layers), a.under("mixer"):
        widths = {"q_proj": d.keys, "k_proj": d.keys, "v_proj": d.values, "gate_proj": d.values}
        for name, width in {**widths, "beta_proj": d.num_heads, "decay_proj": d.num_heads}.items():
            a.linear(name, hidden_size, width, "mixer")
        a.weight("conv.weight", (channels, 1, d.conv_kernel), "mixer", is_matmul=True)
        a.weight("A_log", (d.num_heads,), "mixer")
        a.weight("dt_bias", (d.num_heads,), "mixer")
        a.norm("norm", d.value_dim)
        a.linear("o_proj", d.values, hidden_size, "mixer")
    if not layers:
        return
    state = d.num_heads * d.key_dim * d.value_dim
    a.carries(layers, (d.conv_kernel - 1) * channels)
    # Per number of the state: decayed, read by the key, written to, read by the query; all but decaying are two FLOPs.
    a.carries(layers, state, is_wide=True, flops=7 * state, width=d.values)
