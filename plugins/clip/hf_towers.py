"""CLIP's towers as Hugging Face stores them; apart from `hf` for its length."""

from __future__ import annotations

from typing import Any

from zoo.weights import Entry, ForeignConfig, ignore, key, rename, under, write_keys
from zoo.weights.hf_layout import TOWER_LAYER

BLOCK = (
    key("hidden_size", default=512),
    key("intermediate_size", default=2048),
    key("num_layers", "num_hidden_layers", default=12),
    key("num_heads", "num_attention_heads", default=8),
    key("norm_eps", "layer_norm_eps", default=1e-5),
)
# Old files leave out what is the class's default, which is that of ViT-B/32.
TEXT_KEYS = (key("vocab_size", default=49408), key("max_seq_len", "max_position_embeddings", default=77), *BLOCK)
VISION_KEYS = (
    key("image_size", default=224), key("patch_size", default=32), key("num_channels", default=3),
    key("hidden_size", default=768), key("intermediate_size", default=3072), BLOCK[2],
    key("num_heads", "num_attention_heads", default=12), BLOCK[4],
)  # fmt: skip
ACTIVATIONS = {
    "quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu", "silu": "silu",
}  # fmt: skip
SPELT = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
INERT = ("attention_dropout", "dropout", "initializer_factor", "tie_word_embeddings")
POSITIONS = ignore("embeddings.position_ids", "a buffer that counts 0, 1, 2, ...")

LAYERS = under("layers.{i}", "encoder.layers.{i}", *TOWER_LAYER)
TEXT_RULES: tuple[Entry, ...] = (
    rename("embed", "embeddings.token_embedding"),
    rename("positions", "embeddings.position_embedding"),
    *LAYERS,
    rename("norm", "final_layer_norm"),
    POSITIONS,
)
VISION_RULES: tuple[Entry, ...] = (
    rename("embed.class_token", "embeddings.class_embedding"),
    rename("embed.patches", "embeddings.patch_embedding"),
    rename("embed.positions", "embeddings.position_embedding"),
    rename("embed_norm", "pre_layrnorm"),
    *LAYERS,
    rename("norm", "post_layernorm"),
    POSITIONS,
)


def read_tower(hf: ForeignConfig, kind: Any, keys: Any) -> Any:
    """One tower from its group of keys."""
    hf.ignore("projection_dim", *INERT)  # the pair's own counts
    return kind(**hf.read(kind, keys), activation=hf.one_of("hidden_act", ACTIVATIONS, "quick_gelu"))


def write_tower(tower: Any, keys: Any) -> dict[str, Any]:
    """The same, backwards."""
    return {**write_keys(tower, keys), "hidden_act": SPELT[tower.activation]}
