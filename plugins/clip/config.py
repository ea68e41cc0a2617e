"""How CLIP is configured, and what it is made of."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

from zoo.anatomy import (
    Anatomy,
    ModelConfig,
    TextConfig,
    TowerConfig,
    at_least,
    describe_embeddings,
    describe_layers,
    mlp_in_words,
)
from zoo.errors import ConfigError


@dataclass
class CLIPConfig(ModelConfig):
    """CLIP (arXiv:2103.00020) and OpenCLIP (arXiv:2212.07143), or one of its two towers."""

    family: str = "clip"
    text: TextConfig | None = None  # the tower for texts; None: there is none
    vision: TowerConfig | None = None  # the tower for images; None: there is none
    projection_size: int | None = None  # width of the space both project into; None: a tower alone, without projection

    def __post_init__(self) -> None:
        if self.text is None and self.vision is None:
            raise ConfigError("model.text and model.vision are both missing: a CLIP model has at least one tower")
        if self.text is not None:
            self.text.check("model.text")
        if self.vision is not None:
            self.vision.check("model.vision")
        at_least(1, projection_size=self.projection_size)
        if self.is_pair and self.projection_size is None:
            raise ConfigError("model.projection_size is missing: two towers need a projection")

    @property
    def is_pair(self) -> bool:
        """Whether it has both towers, and so scores images against texts."""
        return self.text is not None and self.vision is not None

    @property
    def end_token_ids(self) -> list[int]:
        """Tokens whose first occurrence is a text's state; empty: its highest id is.

        Configs before July 2023 say eos_token_id=2, which is no end of text: OpenAI's code takes the highest id.
        """
        return [] if self.eos_token_id == [2] else self.eos_token_id

    def anatomy(self) -> Anatomy:
        a = Anatomy(max_seq_len=self.text.max_seq_len if self.text else None)
        if self.text is not None:
            self._describe_text(a, self.text)
        if self.vision is not None:
            self._describe_vision(a, self.vision)
        if self.is_pair:
            a.weight("logit_scale", (), "other")
        a.traits |= {"norm": "LayerNorm, pre", "block": "norm → attention → + → norm → MLP → +"}
        return a

    def _describe_text(self, a: Anatomy, t: TextConfig) -> None:
        with a.under("text"):
            a.embedding("embed", t.vocab_size, t.hidden_size)
            a.embedding("positions", t.max_seq_len, t.hidden_size, role="position")
            describe_layers(a, t, is_vision=False)
            a.norm("norm", t.hidden_size, bias=True)
            if self.projection_size is not None:
                a.weight("projection.weight", (self.projection_size, t.hidden_size), "head")
        head_dim = t.hidden_size // t.num_heads
        a.attends(range(t.num_layers), t.num_heads, t.num_heads, head_dim, is_cached=False, stack="text.layers")
        a.traits |= {
            "attention": f"text: MHA {t.num_heads}, causal",
            "position": f"learned {t.max_seq_len}",
            "mlp": mlp_in_words(t.activation, t.intermediate_size),
        }

    def _describe_vision(self, a: Anatomy, v: TowerConfig) -> None:
        with a.under("vision"), nullcontext() if self.text is None else a.off_the_text():
            describe_embeddings(a, v, has_class_token=True, has_bias=False)
            for norm in ("embed_norm", "norm"):
                a.norm(norm, v.hidden_size, bias=True, role="vision")
            describe_layers(a, v)
            if self.projection_size is not None:
                a.weight("projection.weight", (self.projection_size, v.hidden_size), "head")
        a.traits["vision"] = f"ViT {v.num_layers} × {v.hidden_size}, patches of {v.patch_size} in {v.image_size}"
        if self.text is None:
            heads = v.num_heads, v.num_heads, v.hidden_size // v.num_heads
            a.attends(range(v.num_layers), *heads, is_causal=False, is_cached=False, stack="vision.layers")

    @classmethod
    def tiny(cls) -> Self:
        sizes = {"hidden_size": 24, "intermediate_size": 40, "num_layers": 2, "num_heads": 3}
        return cls(
            text=TextConfig(vocab_size=61, max_seq_len=20, norm_eps=3e-5, **sizes),
            vision=TowerConfig(
                hidden_size=32, intermediate_size=40, num_layers=2, num_heads=4, image_size=12, patch_size=4,
                activation="quick_gelu", norm_eps=2e-5,
            ),
            projection_size=18, eos_token_id=[60],
        )  # fmt: skip
