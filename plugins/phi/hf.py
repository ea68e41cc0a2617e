"""Phi-3 as Hugging Face stores it: q, k and v in one matrix, gate and up in another, the gate first."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, ForeignConfig, Table, key, rule, split, younger
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, write_decoder

from .config import Phi3Config

KEYS = (*decoder_keys(max_seq_len=4096, norm_eps=1e-5), key("sliding_window", default=None))
ORIGINAL = "original_max_position_embeddings"


def from_config(hf: ForeignConfig) -> Phi3Config:
    hf.of_class("Phi3ForCausalLM", code=("phi3",))
    hf.expect(hidden_act="silu")
    # Named by Phi-4-mini's files, and read by nothing that was released for them at other values.
    hf.require(attention_bias=False, mlp_bias=False, lm_head_bias=False, full_attn_mod=1, interpolate_factor=1)
    hf.ignore("attention_dropout", "embd_pdrop", "resid_pdrop")
    return Phi3Config(**hf.read(Phi3Config, KEYS), **hf.tokens(), rope=read_rope(hf))


def read_rope(hf: ForeignConfig) -> RopeConfig:
    """The context before LongRoPE stretched it stands beside its factors, and is 4096 where it does not."""
    rope = hf.rope(partial=1.0)
    younger(hf, partial_rotary_factor="4.49")  # Phi-4-mini's
    if rope.scaling not in ("none", "longrope"):
        raise CheckpointError(hf.file, "rope_scaling", f"a Phi-3 is stretched by longrope alone, not by {rope.scaling}")
    inside, rope.original_max_seq_len = rope.original_max_seq_len, None
    if rope.scaling == "longrope":
        rope.original_max_seq_len = hf.as_type(int, hf.get(ORIGINAL, 4096), ORIGINAL)
        if inside not in (None, rope.original_max_seq_len):
            what = f"rope_scaling says {inside}, but for a Phi-3 it stands beside the group, or is 4096"
            raise CheckpointError(hf.file, ORIGINAL, what)
    return rope


def to_config(c: Phi3Config) -> dict[str, Any]:
    if c.rope.scaling not in ("none", "longrope"):
        raise UsageError(f"a Phi-3 config.json cannot store model.rope.scaling={c.rope.scaling}")
    out = write_decoder(c, "phi3", "Phi3ForCausalLM", KEYS, partial=1.0, hidden_act="silu")
    if c.rope.scaling == "longrope":
        out["rope_parameters"].pop(ORIGINAL, None)
        out[ORIGINAL] = c.rope.original_max_seq_len or c.max_seq_len
    return out


def mapping(c: Phi3Config) -> Table:
    q, kv, width = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim, c.intermediate_size
    return decoder_table(
        c,
        rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "self_attn.qkv_proj", split(q, kv, kv)),
        rule(("mlp.gate_proj", "mlp.up_proj"), "mlp.gate_up_proj", split(width, width)),
        *LAYER,
    )


PHI3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
