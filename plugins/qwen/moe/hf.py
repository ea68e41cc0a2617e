"""Qwen2's mixtures of experts as Hugging Face stores them: one tensor per expert, or transformers 5's stacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, ForeignConfig, Key, Table, key, must_be, rename, write_keys
from zoo.weights.hf_layout import LAYER, decoder_table, dense_layers, expert_rules

from ..hf import HEAD_DIM, KEYS, SPELLING, read_rest, write_rest
from .config import Qwen2MoEConfig, Qwen3MoEConfig

EXPERT_KEYS = (
    *KEYS,
    key("num_experts", also=("num_local_experts",)),
    key("experts_per_token", "num_experts_per_tok"),
    key("moe_intermediate_size"),
    key("is_renormalised", "norm_topk_prob", default=False),
)


@dataclass(frozen=True)
class Sparse:
    """The dialect of one generation."""

    config: type[Qwen2MoEConfig]
    model_type: str
    architecture: str
    keys: tuple[Key, ...]
    fixed: Mapping[str, Any]  # keys that may only have these values, or be absent

    def from_config(self, hf: ForeignConfig) -> Qwen2MoEConfig:
        # None was ever released with a window, and implementations disagree which of the layers would have it.
        hf.of_class(self.architecture)
        hf.require(use_sliding_window=False, **self.fixed)
        hf.ignore("sliding_window", "max_window_layers", "output_router_logits", "router_aux_loss_coef")
        values = hf.read(self.config, self.keys)
        if set(hf.as_type(list[str], hf.get("layer_types") or [], "layer_types")) - {"full_attention"}:
            raise CheckpointError(hf.file, "layer_types", "only full_attention is supported here")
        return self.config(**values, **read_rest(hf), dense_layers=dense_layers(hf, values["num_layers"]))

    def to_config(self, c: Qwen2MoEConfig) -> dict[str, Any]:
        must_be(c, f"a {self.model_type} config.json", sliding_window=None)
        has_shared = any(k.ours == "shared_intermediate_size" for k in self.keys)
        if has_shared != (c.shared_intermediate_size is not None):
            how = "always" if has_shared else "never"
            raise UsageError(
                f"a {self.model_type} {how} has a shared expert: model.shared_intermediate_size="
                f"{c.shared_intermediate_size} cannot be written"
            )
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            **write_keys(c, self.keys),
            **write_rest(c),
            "use_sliding_window": False,
            "decoder_sparse_step": 1,
            "mlp_only_layers": list(c.dense_layers),
        }

    def mapping(self, c: Qwen2MoEConfig) -> Table:
        experts = expert_rules(c.num_experts, c.moe_intermediate_size)
        names = {"router": "gate", "shared": "shared_expert", "shared_gate": "shared_expert_gate"}
        rest = [rename(f"mlp.{ours}", f"mlp.{theirs}") for ours, theirs in names.items()]
        return decoder_table(c, *experts, *rest, *LAYER, spelling=SPELLING)


QWEN2_MOE = Dialect.of(
    Sparse(
        Qwen2MoEConfig,
        "qwen2_moe",
        "Qwen2MoeForCausalLM",
        (
            *EXPERT_KEYS,
            HEAD_DIM,
            key("shared_intermediate_size", "shared_expert_intermediate_size"),
            key("attention_bias", "qkv_bias", default=True),
        ),
        {},
    )
)  # fmt: skip
QWEN3_MOE = Dialect.of(
    Sparse(
        Qwen3MoEConfig,
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        (*EXPERT_KEYS, HEAD_DIM, key("attention_bias", default=False)),
        {"shared_expert_intermediate_size": 0, "qkv_bias": False, "use_qk_norm": True},
    )
)  # fmt: skip
