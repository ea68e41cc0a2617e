"""SigLIP's towers as Hugging Face stores them; apart from `hf` for its length."""

from __future__ import annotations

from typing import Any

from zoo.weights import Entry, ForeignConfig, ignore, key, rename, reshape, rule, split, under, write_keys
from zoo.weights.hf_layout import TOWER_LAYER

from .config import SiglipTextConfig, SiglipVisionConfig

BLOCK = (
    key("hidden_size", default=768),
    key("intermediate_size", default=3072),
    key("num_layers", "num_hidden_layers", default=12),
    key("num_heads", "num_attention_heads", default=12),
    key("norm_eps", "layer_norm_eps", default=1e-6),
)
# Released files leave out what is the class's default, which is that of the base models.
TEXT_KEYS = (
    key("vocab_size", default=32000),
    key("max_seq_len", "max_position_embeddings", default=64),
    *BLOCK,
    key("projection_size", default=lambda c: c["hidden_size"]),
)
VISION_KEYS = (
    key("image_size", default=224),
    key("patch_size", default=16),
    key("num_channels", default=3),
    *BLOCK,
    key("has_pool", "vision_use_head", default=True, is_told=False),  # younger than the first files
)
ACTIVATIONS = {
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu": "gelu", "quick_gelu": "quick_gelu",
    "relu": "relu", "silu": "silu",
}  # fmt: skip
POSITIONS = ignore("embeddings.position_ids", "a buffer that counts 0, 1, 2, ...")
TEXT_RULES: tuple[Entry, ...] = (
    rename("embed", "embeddings.token_embedding"),
    rename("positions", "embeddings.position_embedding"),
    *under("layers.{i}", "encoder.layers.{i}", *TOWER_LAYER),
    rename("norm", "final_layer_norm"),
    rename("projection", "head"),
    POSITIONS,
)


def vision_rules(v: SiglipVisionConfig) -> list[Entry]:
    """The tower for images, ours on the left; torch's own attention has q, k and v in one."""
    dim, pool = v.hidden_size, "head.attention"
    rules: list[Entry] = [
        rename("embed.patches", "embeddings.patch_embedding"),
        rename("embed.positions", "embeddings.position_embedding"),
        *under("layers.{i}", "encoder.layers.{i}", *TOWER_LAYER),
        rename("norm", "post_layernorm"),
        POSITIONS,
    ]
    if not v.has_pool:
        return rules
    for leaf in ("weight", "bias"):
        ours = tuple(f"pool.attn.{name}_proj.{leaf}" for name in "qkv")
        rules.append(rule(ours, f"{pool}.in_proj_{leaf}", split(dim, dim, dim)))
    return [
        *rules,
        rule("pool.probe", "head.probe", reshape((dim,), (1, 1, dim))),
        rename("pool.attn.o_proj", f"{pool}.out_proj"),
        rename("pool.norm", "head.layernorm"),
        rename("pool.mlp.up_proj", "head.mlp.fc1"),
        rename("pool.mlp.down_proj", "head.mlp.fc2"),
    ]


def read_text(hf: ForeignConfig, kind: str) -> SiglipTextConfig:
    """The tower for texts from its group of keys."""
    hf.require(model_type=kind)
    return SiglipTextConfig(**hf.read(SiglipTextConfig, TEXT_KEYS), activation=read_activation(hf))


def write_text(t: SiglipTextConfig) -> dict[str, Any]:
    """The same, backwards."""
    return write_keys(t, TEXT_KEYS) | write_activation(t)


def read_vision(hf: ForeignConfig) -> SiglipVisionConfig:
    """The tower for images of one size."""
    return SiglipVisionConfig(**hf.read(SiglipVisionConfig, VISION_KEYS), activation=read_activation(hf))


def write_vision(v: SiglipVisionConfig) -> dict[str, Any]:
    """The same, backwards."""
    return write_keys(v, VISION_KEYS) | write_activation(v)


def read_activation(hf: ForeignConfig) -> str:
    """The MLP's activation, and what changes no logits passed over."""
    hf.ignore("attention_dropout")
    return hf.one_of("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh")


def write_activation(tower: Any) -> dict[str, Any]:
    """The same, backwards."""
    return {"hidden_act": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == tower.activation)}
