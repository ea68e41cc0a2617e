"""Qwen3-Next and the text of Qwen3.5 as Hugging Face stores them.

Qwen3.5's files hold a tower for pictures and videos beside the text: the text is read, the tower is listed as ignored.
A text without them is what the whole model makes of it, for its three positions are then one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Key,
    Table,
    TensorInfo,
    group,
    key,
    rule,
    split_heads,
    tokens_of,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.ahead import read_loaded, write_loaded
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, expert_rules

from ..moe.hf import dense_layers
from .config import Qwen3NextConfig, Qwen35Config, Qwen35MoEConfig
from .hf_table import GATED_MLP, SPELLING, apart, beside, per_key_head
from .mixer import DeltaConfig

PARTIAL = 0.25
KINDS = ("linear_attention", "full_attention")
TEXT_KEYS = (*decoder_keys(max_seq_len=32_768, head_dim=256), key("attention_bias", default=False))
DELTA_KEYS = (
    key("num_key_heads", "linear_num_key_heads", default=16),
    key("num_heads", "linear_num_value_heads", default=32),
    key("key_dim", "linear_key_head_dim", default=128),
    key("value_dim", "linear_value_head_dim", default=128),
    key("conv_kernel", "linear_conv_kernel_dim", default=4),
)
EXPERT_KEYS = (
    *(replace(k, theirs="moe_intermediate_size") if k.ours == "intermediate_size" else k for k in TEXT_KEYS),
    key("num_experts", also=("num_local_experts",)),
    key("experts_per_token", "num_experts_per_tok"),
    key("shared_intermediate_size", "shared_expert_intermediate_size"),
)
NEXT_KEYS = (
    *EXPERT_KEYS,
    key("is_renormalised", "norm_topk_prob", default=True),
    key("dense_intermediate_size", "intermediate_size", default=5632, is_told=False),
)
# Of training, of serving, and of modules that are left out.
INERT = (
    "attention_dropout", "output_router_logits", "router_aux_loss_coef", "mtp_num_hidden_layers",
    "mtp_use_dedicated_embeddings", "full_attention_interval",
)  # fmt: skip
TOWER = (
    "vision_config", "image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id",
    "language_model_only",
)  # fmt: skip
TEXT_ALONE = "the tower for pictures is not read: zoo has the text of this family, and computes the same without them"


@dataclass(frozen=True)
class Hybrid:
    """The dialect of one family."""

    config: type[Qwen35Config]
    model_type: str
    architecture: str
    keys: tuple[Key, ...]
    kv_heads: int  # that the class of transformers takes where a file does not say
    whole: str = ""  # the class of the model with its tower

    def from_config(self, hf: ForeignConfig) -> Qwen35Config:
        hf.of_class(self.architecture, *([self.whole] if self.whole else []))
        if not self.whole or "text_config" not in hf:
            return self.read(hf, hf.tokens())
        text = group(hf, "text_config")
        text.require(model_type=self.model_type)
        hf.ignore(*TOWER)
        hf.told["vision_config"] = TEXT_ALONE
        c = self.read(text, tokens_of(hf, text))
        if hf.get("tie_word_embeddings", c.tie_embeddings) != c.tie_embeddings:
            raise CheckpointError(hf.file, "tie_word_embeddings", "text_config says otherwise")
        return c

    def read(self, hf: ForeignConfig, tokens: dict[str, Any]) -> Qwen35Config:
        """The text's keys."""
        hf.require(hidden_act="silu", attn_output_gate=True, output_gate_type="swish", mamba_ssm_dtype="float32")
        hf.require(use_sliding_window=False)
        values = hf.read(
            self.config, (replace(k, default=self.kv_heads) if k.ours == "num_kv_heads" else k for k in self.keys)
        )
        layers = attention_layers(hf, values["num_layers"])
        delta = DeltaConfig(**hf.read(DeltaConfig, DELTA_KEYS))
        if self.config is Qwen3NextConfig:
            values["dense_layers"] = dense_layers(hf, values["num_layers"])
        else:
            hf.require(mlp_only_layers=[], decoder_sparse_step=1, norm_topk_prob=True)
        hf.ignore(*INERT)
        values |= read_loaded(hf)
        return self.config(**values, **tokens, rope=hf.rope(partial=PARTIAL), delta=delta, attention_layers=layers)

    def to_config(self, c: Qwen35Config) -> dict[str, Any]:
        out = {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "hidden_act": "silu",
            **write_keys(c, self.keys),
            **write_keys(c.delta, DELTA_KEYS),
            **write_tokens(c),
            "layer_types": [KINDS[c.attends(i)] for i in range(c.num_layers)],
            "rope_parameters": write_rope(c.rope, partial=PARTIAL),
        }
        if c.num_mtp_layers:
            out |= {"mtp_num_hidden_layers": c.num_mtp_layers, **write_loaded(c.num_mtp_layers)}
        if isinstance(c, Qwen3NextConfig):
            out |= {"decoder_sparse_step": 1, "mlp_only_layers": list(c.dense_layers)}
        return out

    def mapping(self, c: Qwen35Config) -> Table:
        """The table of files that hold just what the model does."""
        return self.mapping_of(c, {})

    def mapping_of(self, c: Qwen35Config, tensors: Mapping[str, TensorInfo]) -> Table:
        """The table of files that hold `tensors`."""
        sparse = expert_rules(c.num_experts, c.intermediate_size) if isinstance(c, Qwen35MoEConfig) else []
        mixer = per_key_head(c.delta) if isinstance(c, Qwen3NextConfig) else apart(c.delta)
        queries = rule(
            ("attn.q_proj", "attn.gate_proj"), "self_attn.q_proj", split_heads(c.num_heads, *[c.head_dim] * 2)
        )
        layer = (queries, *sparse, *GATED_MLP, *LAYER)
        more = beside(c.num_mtp_layers, layer, tensors)
        return decoder_table(c, *mixer, *layer, more=more, spelling=SPELLING)


def attention_layers(hf: ForeignConfig, count: int) -> list[int]:
    """The layers that attend, from `layer_types`, or every so manieth."""
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    if kinds is None:
        step = hf.as_type(int, hf.get("full_attention_interval", 4), "full_attention_interval")
        if step < 1:
            raise CheckpointError(hf.file, "full_attention_interval", f"{step} is below 1")
        return list(range(step - 1, count, step))
    if len(kinds) != count or not set(kinds) <= set(KINDS):
        raise CheckpointError(hf.file, "layer_types", f"it does not say {' or '.join(KINDS)} of each of {count} layers")
    return [i for i, kind in enumerate(kinds) if kind == KINDS[1]]


QWEN3_NEXT = Dialect.of(Hybrid(Qwen3NextConfig, "qwen3_next", "Qwen3NextForCausalLM", NEXT_KEYS, 2))
QWEN3_5 = Dialect.of(
    Hybrid(Qwen35Config, "qwen3_5_text", "Qwen3_5ForCausalLM", TEXT_KEYS, 4, "Qwen3_5ForConditionalGeneration")
)
QWEN3_5_MOE = Dialect.of(
    Hybrid(
        Qwen35MoEConfig, "qwen3_5_moe_text", "Qwen3_5MoeForCausalLM", EXPERT_KEYS, 2,
        "Qwen3_5MoeForConditionalGeneration",
    )
)  # fmt: skip
