"""How a Mamba-2 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, multiple_of
from zoo.errors import ConfigError


@dataclass
class Mamba2Config(ModelConfig):
    """Mamba-2 (arXiv:2405.21060). It has no greatest length: a text costs what its tokens cost."""

    family: str = "mamba2"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    num_layers: int = MISSING  # mixers in the stack
    num_heads: int = MISSING  # heads of the state, each with a decay of its own
    head_dim: int = 64  # channels per head
    state_size: int = 128  # numbers that each channel remembers
    num_groups: int = 1  # groups of heads that share what is written (B) and read (C); divides num_heads
    conv_kernel: int = 4  # tokens that the convolution sees, its own among them
    chunk_size: int = 256  # tokens that are scanned at once: changes time and memory, not the result
    norm_eps: float = 1e-5  # added to the mean square
    tie_embeddings: bool = False  # the output head is the embedding
    has_bias: bool = False  # the projections in and out have biases
    has_conv_bias: bool = True  # the convolution has biases
    residual_in_float32: bool = True  # the residual stream is float32 even where the weights are narrower
    time_step_min: float = 0.0  # a token's step is raised to this
    time_step_max: float | None = None  # a token's step is lowered to this; None: no bound

    def __post_init__(self) -> None:
        sizes = "vocab_size hidden_size num_heads head_dim state_size num_groups conv_kernel chunk_size".split()
        at_least(1, **{name: getattr(self, name) for name in sizes})
        at_least(0, num_layers=self.num_layers)
        multiple_of("model.num_heads", self.num_heads, "model.num_groups", self.num_groups)
        if self.time_step_max is not None and self.time_step_max < self.time_step_min:
            raise ConfigError(
                f"model.time_step_max={self.time_step_max} is below model.time_step_min={self.time_step_min}"
            )

    @property
    def inner_size(self) -> int:
        """Channels of the state, over all heads."""
        return self.num_heads * self.head_dim

    @property
    def conv_size(self) -> int:
        """Channels that pass through the convolution: those of the state, and B and C of every group."""
        return self.inner_size + 2 * self.num_groups * self.state_size

    def anatomy(self) -> Anatomy:
        a, layers = Anatomy(), range(self.num_layers)
        a.embedding("embed", self.vocab_size, self.hidden_size)
        with a.under("layers.{i}", layers):
            a.norm("norm", self.hidden_size)
            with a.under("mixer"):
                self._mixer(a)
        state = self.inner_size * self.state_size
        a.carries(layers, (self.conv_kernel - 1) * self.conv_size)
        # Per number of the state: decayed, added to, and read, of which adding and reading are two FLOPs each.
        a.carries(layers, state, is_wide=True, flops=5 * state, width=self.inner_size)
        a.norm("norm", self.hidden_size)
        a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings)
        a.traits = {
            "attention": f"none: state {self.num_heads}×{self.head_dim}×{self.state_size}",
            "position": "none",
            "norm": "RMSNorm, pre; gated RMSNorm in the mixer",
            "block": "norm → convolution and selective scan → +",
            "mlp": "none",
        }
        return a

    def _mixer(self, a: Anatomy) -> None:
        heads = self.num_heads
        a.linear("in_proj", self.hidden_size, self.inner_size + self.conv_size + heads, "mixer", bias=self.has_bias)
        a.weight("conv.weight", (self.conv_size, 1, self.conv_kernel), "mixer", is_matmul=True)
        if self.has_conv_bias:
            a.weight("conv.bias", (self.conv_size,), "mixer")
        for name in ("A_log", "D", "dt_bias"):
            a.weight(name, (heads,), "mixer")
        a.norm("norm", self.inner_size)
        a.linear("out_proj", self.inner_size, self.hidden_size, "mixer", bias=self.has_bias)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61,
            hidden_size=18,
            num_layers=2,
            num_heads=6,
            head_dim=6,
            state_size=5,
            num_groups=2,
            chunk_size=5,
        )
