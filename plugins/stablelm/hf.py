"""StableLM as Hugging Face stores it: LLaMA's names; each head's norm of q or k is a tensor of its own."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename, rule, stack
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, head_dim_of, write_decoder

from .config import StableLMConfig

KEYS = (  # that there is no second norm says as well that a layer is parallel
    *(k for k in decoder_keys(norm="layer_norm_eps", max_seq_len=4096, norm_eps=1e-5) if k.ours != "head_dim"),
    key("attention_bias", "use_qkv_bias", default=False),
    key("has_qk_norm", "qk_layernorm", default=False),
    key("is_parallel", "use_parallel_residual", default=False, is_told=False),
)


def from_config(hf: ForeignConfig) -> StableLMConfig:
    hf.of_class("StableLmForCausalLM")
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout", "hidden_dropout")
    values = hf.read(StableLMConfig, KEYS) | hf.tokens()
    return StableLMConfig(**values, head_dim=head_dim_of(hf, values), rope=hf.rope(partial=0.25))


def to_config(c: StableLMConfig) -> dict[str, Any]:
    must_be(c, "a StableLM config.json", hidden_size=c.num_heads * c.head_dim)
    return write_decoder(c, "stablelm", "StableLmForCausalLM", KEYS, partial=0.25, hidden_act="silu")


def mapping(c: StableLMConfig) -> Table:
    heads = {"q": c.num_heads, "k": c.num_kv_heads}
    norms = [
        rule(f"attn.{x}_norm.weight", f"self_attn.{x}_layernorm.norms.{{e}}.weight", stack(count), e=count)
        for x, count in heads.items()
    ]
    return decoder_table(c, *norms, *([rename("norm", "input_layernorm")] if c.is_parallel else []), *LAYER)


STABLELM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
