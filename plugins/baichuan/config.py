"""How a Baichuan is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, describe_trunk, rope_in_words


@dataclass
class BaichuanConfig(DecoderConfig):
    """Baichuan (Baichuan Inc., 2023) and Baichuan 2 (arXiv:2309.10305)."""

    family: str = "baichuan"
    has_alibi: bool = False  # a penalty on distance in place of rotary positions (13B)
    has_normed_head: bool = False  # the rows of the head are made to have length 1 (Baichuan 2)

    def anatomy(self) -> Anatomy:
        with describe_trunk(self, self.heads, position="ALiBi" if self.has_alibi else rope_in_words(self.rope)) as a:
            if self.has_normed_head:
                a.keep_whole("lm_head")
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        a.traits["norm"] += ", and the head's rows" if self.has_normed_head else ""
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=6, head_dim=4,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(), has_normed_head=True,
        )  # fmt: skip
