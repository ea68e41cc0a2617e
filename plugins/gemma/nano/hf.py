"""The text of Gemma 3n as Hugging Face stores it; the towers of the released files are listed as ignored."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    key,
    rename,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import decoder_keys, decoder_table

from ..hf_layers import global_rope, local_rope
from ..text import EMBEDDINGS, SPELLING, read_text, unread
from ..text import LAYER as BY_LAYER
from .config import Gemma3nConfig

KEYS = (
    *(
        k
        for k in decoder_keys(head_dim=256, num_kv_heads=2, max_seq_len=32_768, tie_embeddings=True)
        if k.ours != "intermediate_size"
    ),
    key("final_softcap", "final_logit_softcapping", default=30.0),
    key("sliding_window", default=512),
    key("num_streams", "altup_num_inputs", default=4),
    key("laurel_rank", default=64),
    key("layer_embed_dim", "hidden_size_per_layer_input", default=256),
    key("layer_vocab_size", "vocab_size_per_layer_input", default=262_144),
)
SHARED = "num_kv_shared_layers"
KINDS = ("sliding_attention", "full_attention")
BESIDE = (
    "vision_config", "audio_config", "image_token_id", "audio_token_id", "boi_token_id", "eoi_token_id",
    "boa_token_id", "eoa_token_id", "audio_soft_tokens_per_image", "vision_soft_tokens_per_image",
)  # fmt: skip
STREAMS = (
    rename("streams.{j}", "model.altup_projections.{j}"),
    rename("norm.streams.{j}", "model.altup_unembed_projections.{j}"),
    rename("norm.norm", "model.norm"),
    *EMBEDDINGS,
)  # fmt: skip
LAYER: tuple[Entry, ...] = (
    rename("altup.scale", "altup.correct_output_scale"),
    rename("altup.correction", "altup.correction_coefs"),
    rename("altup.prediction", "altup.prediction_coefs"),
    rename("altup.router", "altup.modality_router"),
    rename("altup.router_norm", "altup.router_norm"),
    rename("laurel.down_proj", "laurel.linear_left"),
    rename("laurel.up_proj", "laurel.linear_right"),
    rename("laurel.norm", "laurel.post_laurel_norm"),
    *BY_LAYER,
)


def from_config(hf: ForeignConfig) -> Gemma3nConfig:
    hf.of_class("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration")
    return read_text(hf, "gemma3n_text", BESIDE, read)


def read(hf: ForeignConfig, tokens: dict[str, Any]) -> Gemma3nConfig:
    """The text's keys."""
    hf.expect(hidden_activation="gelu_pytorch_tanh")
    hf.require(attention_bias=False, altup_active_idx=0, altup_correct_scale=True, use_bidirectional_attention=False)
    hf.ignore("attention_dropout", "altup_coef_clip", "altup_lr_multiplier")
    values = hf.read(Gemma3nConfig, KEYS)
    count = values["num_layers"]
    widths = hf["intermediate_size"]
    widths = hf.as_type(list[int], widths if isinstance(widths, list) else [widths] * count, "intermediate_size")
    if not widths:
        raise CheckpointError(hf.file, "intermediate_size", "it is empty")
    sparsity = hf.as_type(list[float] | None, hf.get("activation_sparsity_pattern"), "activation_sparsity_pattern")
    shared = hf.as_type(int, hf.get(SHARED, 15), SHARED)
    if not 0 <= shared < count:
        raise CheckpointError(hf.file, SHARED, f"{shared} of {count} layers cannot take the keys of earlier ones")
    rope = global_rope(hf)
    return Gemma3nConfig(
        **values, **tokens, rope=rope, local_rope=local_rope(hf, 3, rope), global_layers=global_layers(hf, count),
        intermediate_size=widths[0], mlp_widths=widths, sparsity=sparsity, sharing_from=count - shared,
    )  # fmt: skip


def global_layers(hf: ForeignConfig, count: int) -> list[int] | None:
    """The layers that see all tokens; None: every fifth."""
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    if kinds is None:
        return None
    if len(kinds) != count or not set(kinds) <= set(KINDS):
        raise CheckpointError(hf.file, "layer_types", f"it does not say {' or '.join(KINDS)} of each of {count} layers")
    return [i for i, kind in enumerate(kinds) if kind == KINDS[1]]


def to_config(c: Gemma3nConfig) -> dict[str, Any]:
    layers = range(c.num_layers)
    return {
        "architectures": ["Gemma3nForCausalLM"],
        "model_type": "gemma3n_text",
        "hidden_activation": "gelu_pytorch_tanh",
        **write_keys(c, KEYS),
        **write_tokens(c),
        SHARED: c.num_layers - c.first_sharing,
        "intermediate_size": [c.width_of(i) for i in layers],
        "activation_sparsity_pattern": [c.sparsity_of(i) for i in layers],
        "layer_types": [KINDS[c.is_global(i)] for i in layers],
        "rope_parameters": {
            "full_attention": write_rope(c.rope), "sliding_attention": write_rope(c.local_rope),
        },
    }  # fmt: skip


def mapping(c: Gemma3nConfig) -> Table:
    """Some files keep projections of keys and values that no layer reads."""
    return decoder_table(c, *LAYER, more=(*STREAMS, *unread(c.first_sharing, c.num_layers)), spelling=SPELLING)


GEMMA3N = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
