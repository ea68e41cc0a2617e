"""How the first Qwen is configured, and what it is made of; a family of its own beside the Qwens since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, DecoderConfig, RopeConfig, at_least, describe_trunk, rope_in_words
from zoo.errors import ConfigError


@dataclass
class Qwen1Config(DecoderConfig):
    """Qwen-1.8B, 7B, 14B and 72B (arXiv:2309.16609)."""

    family: str = "qwen"
    norm_eps: float = 1e-6  # added to the mean square
    trained_seq_len: int = MISSING  # tokens of context in training; beyond it the two switches below act
    has_dynamic_ntk: bool = True  # the rotary base grows with the text's length, in steps of a doubled context
    has_logn: bool = True  # queries grow with the logarithm of their position
    linear_bias: bool = False  # o and the MLP have biases; q, k and v always do

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, trained_seq_len=self.trained_seq_len)
        if self.num_kv_heads != self.num_heads or self.head_dim * self.num_heads != self.hidden_size:
            raise ConfigError(
                f"model.num_heads={self.num_heads} heads of model.head_dim={self.head_dim} must fill "
                f"model.hidden_size={self.hidden_size}, model.num_kv_heads={self.num_kv_heads} must be the same"
            )
        if self.rope.scaling != "none":
            raise ConfigError(
                f"model.rope.scaling={self.rope.scaling!r} cannot be used with this family",
                why="its positions are stretched by model.has_dynamic_ntk",
            )

    def anatomy(self) -> Anatomy:
        bias, words = self.linear_bias, rope_in_words(self.rope) + (" stepped NTK" if self.has_dynamic_ntk else "")
        with describe_trunk(self, self.heads, position=words, bias=True, out_bias=bias) as a:
            a.gated_mlp(self.hidden_size, self.intermediate_size, bias=bias)
        a.traits["attention"] += ", log-n" if self.has_logn else ""
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=30, intermediate_size=40, num_layers=2, num_heads=3, num_kv_heads=3, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, trained_seq_len=16, rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
