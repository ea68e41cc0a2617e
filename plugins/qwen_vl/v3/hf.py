"""Qwen3-VL as Hugging Face stores it: the decoder under `model.language_model`, the tower under `model.visual`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    TensorInfo,
    group,
    key,
    rename,
    rule,
    split,
    transpose,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, dense_layers

from ..hf import TOKEN_KEYS, plain_rope, read_tokens
from ..hf_vision import deep_rules, read_vision, write_vision
from ..vision import DeepVisionConfig
from .config import Qwen3VLConfig, Qwen3VLMoEConfig

SPARSE_KEYS = (
    *(k for k in decoder_keys(max_seq_len=128_000, norm_eps=1e-6) if k.ours != "tie_embeddings"),
    key("attention_bias", default=False),
)
TEXT_KEYS = tuple(replace(k, default=128) if k.ours == "head_dim" else k for k in SPARSE_KEYS)
EXPERT_KEYS = (
    key("num_experts", also=("num_local_experts",)),
    key("experts_per_token", "num_experts_per_tok"),
    key("moe_intermediate_size"),
)
PREFIX = "model.language_model"


def _from_config(hf: ForeignConfig, kind: type[Qwen3VLConfig], architecture: str) -> Any:
    stored = group(hf, "text_config")
    text, sections = plain_rope(stored, [24, 20, 20])
    hf.of_class(architecture)
    text.expect(hidden_act="silu")
    text.ignore("attention_dropout", "output_router_logits", "router_aux_loss_coef")
    is_sparse = issubclass(kind, Qwen3VLMoEConfig)
    is_tied = hf.as_type(bool, hf.get("tie_word_embeddings", False), "tie_word_embeddings")
    stored.ignore("tie_word_embeddings")  # transformers writes its class's default there, and reads the one beside it
    values = {**text.read(kind, (*SPARSE_KEYS, *EXPERT_KEYS) if is_sparse else TEXT_KEYS), **hf.read(kind, TOKEN_KEYS)}
    if is_sparse:
        text.require(norm_topk_prob=True)  # whatever a file says, the released code makes the weights sum to 1
        values["dense_layers"] = dense_layers(text, values["num_layers"])
    vision = read_vision(group(hf, "vision_config"), DeepVisionConfig, values["hidden_size"])
    return kind(
        **values, **read_tokens(hf, stored), tie_embeddings=is_tied, rope=text.rope(theta=500_000.0),
        rope_sections=sections, vision=vision,
    )  # fmt: skip


def _to_config(c: Qwen3VLConfig, model_type: str, architecture: str, more: Mapping[str, Any]) -> dict[str, Any]:
    tokens = write_tokens(c)
    rope = {**write_rope(c.rope), "mrope_section": list(c.rope_sections), "mrope_interleaved": True}
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "dtype": tokens.pop("dtype"),
        "tie_word_embeddings": c.tie_embeddings,
        **write_keys(c, TOKEN_KEYS),
        "text_config": {
            "model_type": f"{model_type}_text", "hidden_act": "silu", **write_keys(c, TEXT_KEYS), **tokens, **more,
            "rope_parameters": rope,
        },
        "vision_config": {"model_type": f"{model_type}_vision", **write_vision(c.vision, c.hidden_size)},
    }  # fmt: skip


def _table(c: Qwen3VLConfig, *experts: Entry) -> Table:
    return decoder_table(c, *experts, *LAYER, more=tuple(deep_rules(c.vision)), prefix=PREFIX)


def _dense_from(hf: ForeignConfig) -> Qwen3VLConfig:
    return _from_config(hf, Qwen3VLConfig, "Qwen3VLForConditionalGeneration")


def _dense_to(c: Qwen3VLConfig) -> dict[str, Any]:
    return _to_config(c, "qwen3_vl", "Qwen3VLForConditionalGeneration", {})


def _sparse_from(hf: ForeignConfig) -> Qwen3VLMoEConfig:
    return _from_config(hf, Qwen3VLMoEConfig, "Qwen3VLMoeForConditionalGeneration")


def _sparse_to(c: Qwen3VLMoEConfig) -> dict[str, Any]:
    more = write_keys(c, EXPERT_KEYS)
    more |= {"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": list(c.dense_layers)}
    return _to_config(c, "qwen3_vl_moe", "Qwen3VLMoeForConditionalGeneration", more)


def _sparse_table(c: Qwen3VLMoEConfig, *, is_turned: bool = True) -> Table:
    """Stacked experts: as released [E, in, out], or, not `is_turned`, [E, out, in] as transformers 5 saves them."""
    width = c.moe_intermediate_size
    apart = split(width, width, dim=1)
    return _table(
        c,
        rule(
            ("mlp.experts.gate_proj", "mlp.experts.up_proj"),
            "mlp.experts.gate_up_proj",
            transpose >> apart if is_turned else apart,
        ),
        rule("mlp.experts.down_proj", "mlp.experts.down_proj", transpose)
        if is_turned
        else rename("mlp.experts.down_proj", "mlp.experts.down_proj"),
        rename("mlp.router", "mlp.gate"),
    )


def _sparse_table_of(c: Qwen3VLMoEConfig, tensors: Mapping[str, TensorInfo]) -> Table:
    """The table for files of either way round: of the two stacks one at least is of no squares, and tells."""
    width, hidden = c.moe_intermediate_size, c.hidden_size
    plain = {"gate_up_proj": (2 * width, hidden), "down_proj": (hidden, width)}
    found = {name.rpartition(".")[2]: tuple(info.shape[1:]) for name, info in tensors.items() if ".experts." in name}
    is_plain = any(found.get(name) == shape and shape[0] != shape[1] for name, shape in plain.items())
    return _sparse_table(c, is_turned=not is_plain)


QWEN3_VL = Dialect(from_config=_dense_from, to_config=_dense_to, mapping=_table)
QWEN3_VL_MOE = Dialect(
    from_config=_sparse_from, to_config=_sparse_to, mapping=_sparse_table, mapping_of=_sparse_table_of
)
