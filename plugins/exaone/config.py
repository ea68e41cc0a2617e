"""How an EXAONE 3 or 4 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, PartlyWindowedConfig, RopeConfig, describe_trunk, rope_in_words

TINY = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_heads": 6, "num_kv_heads": 2, "head_dim": 10,
    "max_seq_len": 64, "norm_eps": 3e-5, "rope": RopeConfig(theta=1000.0),
}  # fmt: skip


@dataclass
class ExaoneConfig(DecoderConfig):
    """EXAONE 3.0 (arXiv:2408.03541), 3.5 (arXiv:2412.04862) and Deep (arXiv:2503.12524)."""

    family: str = "exaone"

    def anatomy(self) -> Anatomy:
        return self.gated_anatomy()

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, num_layers=2)


@dataclass
class Exaone4Config(PartlyWindowedConfig):
    """EXAONE 4.0 (arXiv:2507.11407)."""

    family: str = "exaone4"

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), qk_norm=True, window_of=self.window_of,
            layout="branch",
        ) as a:  # fmt: skip
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        a.traits["attention"] += self.window_in_words() + ", q and k normed"
        a.traits["position"] += ", in layers with a window alone" if self.sliding_window else ""
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, num_layers=4, sliding_window=5, sliding_layers=[0, 1, 2])
