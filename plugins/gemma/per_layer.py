"""What llama.cpp's files of Gemma 3n and Gemma 4 share: the names of norms and of embeddings per layer."""

from __future__ import annotations

from zoo.weights import Entry, rename

EMBEDDINGS: tuple[Entry, ...] = (
    rename("layer_embed", "per_layer_token_embd"),
    rename("layer_proj", "per_layer_model_proj"),
    rename("layer_norm", "per_layer_proj_norm"),
)
BY_LAYER: tuple[Entry, ...] = (
    rename("layer_gate", "inp_gate"),
    rename("layer_proj", "proj"),
    rename("layer_norm", "post_norm"),
    rename("attn.q_norm", "attn_q_norm"),
    rename("attn.k_norm", "attn_k_norm"),
    rename("attn_post_norm", "post_attention_norm"),
    rename("mlp_post_norm", "post_ffw_norm"),
)
