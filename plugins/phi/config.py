"""How a Phi-3 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, at_least, describe_trunk, rope_in_words, rotary_pairs


@dataclass
class Phi3Config(DecoderConfig):
    """Phi-3 and Phi-3.5 (arXiv:2404.14219), Phi-4 (arXiv:2412.08905) and Phi-4-mini (arXiv:2503.01743)."""

    family: str = "phi3"
    sliding_window: int | None = None  # tokens a layer sees, its own among them; None: all

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, sliding_window=self.sliding_window)
        rotary_pairs(self.rope.partial, self.head_dim)

    def anatomy(self) -> Anatomy:
        words = rope_in_words(self.rope)
        with describe_trunk(self, self.heads, position=words, window_of=lambda layer: self.sliding_window) as a:
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        a.traits["attention"] += f", window {self.sliding_window}" if self.sliding_window else ""
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=4,
            max_seq_len=64, norm_eps=3e-5, sliding_window=5, rope=RopeConfig(theta=1000.0, partial=0.5),
        )  # fmt: skip
