"""GGUF files of transformers' models, laid out as llama.cpp's convert_hf_to_gguf.py does it, by its package's names.

Nothing of zoo is used here: what zoo reads from these files is held to the models themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

ROTATED = ("llama",)  # whose rows of queries and keys are put in pairs
SHIFTED = ("gemma", "gemma2", "gemma3")  # whose norms have the 1 added


def convert(model: Any, path: Path, *, arch: str, latent: bool = True) -> Path:
    """Write `model`; without `latent` DeepSeek's up-projection of keys and values stays whole, as in older files."""
    c = model.config
    writer = gguf.GGUFWriter(path, arch)
    for key, value in (shared_keys(c, arch) | own_keys(c, arch, latent=latent)).items():
        adders = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        adders.get(type(value), writer.add_array)(
            key if "." in key and key.startswith("general") else f"{arch}.{key}", value
        )
    layers = max(getattr(c, n, None) or 0 for n in ("num_hidden_layers", "num_layers", "num_decoder_layers"))
    kind = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
    names = gguf.get_tensor_name_map(kind, layers)
    for name, tensor in model.state_dict().items():
        for theirs, data in converted(name, tensor.float(), c, arch, latent=latent):
            if is_left_out(theirs, model):
                continue
            found = names.get_name(
                theirs.removeprefix("transformer.") if arch == "bloom" else theirs, try_suffixes=(".weight", ".bias")
            )
            assert found, f"{arch} has no name for {theirs}"
            writer.add_tensor(
                found, np.ascontiguousarray(data.squeeze().numpy() if "shared_expert_gate" in theirs else data.numpy())
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def is_left_out(name: str, model: Any) -> bool:
    head, inert = model.get_output_embeddings(), (".attn.bias", ".masked_bias", "position_ids", "rotary_emb.inv_freq")
    is_tied = head is not None and torch.equal(head.weight, model.get_input_embeddings().weight)
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", *(["lm_head.weight"] if is_tied else []))
    return name.endswith(inert) or name in copies


def shared_keys(c: Any, arch: str) -> dict[str, Any]:
    heads = getattr(c, "num_attention_heads", None) or c.num_heads
    width = getattr(c, "hidden_size", None) or c.d_model
    inner = (
        getattr(c, "intermediate_size", None) or getattr(c, "n_inner", None) or getattr(c, "d_ff", None) or 4 * width
    )
    keys: dict[str, Any] = {
        "block_count": getattr(c, "num_hidden_layers", None) or c.num_layers, "embedding_length": width,
        "feed_forward_length": inner, "attention.head_count": heads,
        "context_length": getattr(c, "max_position_embeddings", None) or getattr(c, "n_positions", 512) or 512,
    }  # fmt: skip
    if (kv := getattr(c, "num_key_value_heads", None)) is not None:
        keys["attention.head_count_kv"] = kv
    if (eps := getattr(c, "rms_norm_eps", None)) is not None:
        keys["attention.layer_norm_rms_epsilon"] = float(eps)
    for name in ("layer_norm_eps", "layer_norm_epsilon"):
        if (eps := getattr(c, name, None)) is not None:
            keys["attention.layer_norm_epsilon"] = float(eps)
    if (dim := getattr(c, "head_dim", None)) is not None and arch != "deepseek2":
        keys |= {"attention.key_length": dim, "attention.value_length": dim}
    rope = getattr(c, "rope_parameters", None) or {}
    main = rope.get("full_attention", rope)
    if "rope_theta" in main:
        keys["rope.freq_base"] = float(main["rope_theta"])
    if main.get("rope_type") in ("linear", "yarn"):
        keys |= {"rope.scaling.type": main["rope_type"], "rope.scaling.factor": float(main["factor"])}
    if main.get("rope_type") == "yarn":
        keys["rope.scaling.original_context_length"] = main["original_max_position_embeddings"]
    if (share := main.get("partial_rotary_factor")) is not None:
        keys["rope.dimension_count"] = int(c.head_dim * share)
    if (
        count := getattr(c, "num_local_experts", None)
        or getattr(c, "num_experts", None)
        or getattr(c, "n_routed_experts", None)
    ):
        keys |= {"expert_count": count, "expert_used_count": c.num_experts_per_tok}
    if count and (wide := getattr(c, "moe_intermediate_size", None)):
        keys["expert_feed_forward_length"] = wide
    return keys


def own_keys(c: Any, arch: str, *, latent: bool) -> dict[str, Any]:
    if arch == "qwen2moe":
        return {"expert_shared_feed_forward_length": c.shared_expert_intermediate_size}
    if arch in ("gemma2", "gemma3"):
        keys: dict[str, Any] = {"attention.sliding_window": c.sliding_window}
        soft = {
            "attn_logit_softcapping": c.attn_logit_softcapping,
            "final_logit_softcapping": c.final_logit_softcapping,
        }
        return keys | {name: float(value) for name, value in soft.items() if value}
    if arch == "bert":
        return {"attention.causal": False}
    if arch == "t5":
        return {
            "attention.relative_buckets_count": c.relative_attention_num_buckets, "attention.key_length": c.d_kv,
            "attention.value_length": c.d_kv, "attention.layer_norm_rms_epsilon": float(c.layer_norm_epsilon),
            "decoder_start_token_id": c.decoder_start_token_id, "decoder_block_count": c.num_decoder_layers,
        }  # fmt: skip
    if arch in ("glm4moe", "deepseek2"):
        keys = {
            "leading_dense_block_count": c.first_k_dense_replace, "expert_shared_count": c.n_shared_experts,
            "expert_weights_scale": float(c.routed_scaling_factor),
        }  # fmt: skip
        is_sigmoid = arch == "glm4moe" or c.model_type == "deepseek_v3"
        keys |= {"expert_gating_func": 2 if is_sigmoid else 1, "expert_weights_norm": bool(c.norm_topk_prob)}
        if is_sigmoid:
            keys |= {"expert_group_count": c.n_group, "expert_group_used_count": c.topk_group}
        return keys | (latent_keys(c, latent=latent) if arch == "deepseek2" else {})
    return {}


def latent_keys(c: Any, *, latent: bool) -> dict[str, Any]:
    wide, rank = c.qk_nope_head_dim + c.qk_rope_head_dim, c.kv_lora_rank
    keys = {"attention.kv_lora_rank": rank, "rope.dimension_count": c.qk_rope_head_dim}
    if c.q_lora_rank is not None:
        keys["attention.q_lora_rank"] = c.q_lora_rank
    if (weight := (c.rope_parameters or {}).get("mscale_all_dim")) is not None:
        keys["rope.scaling.yarn_log_multiplier"] = 0.1 * weight
    if not latent:
        return keys | {"attention.key_length": wide, "attention.value_length": c.v_head_dim}
    return keys | {
        "attention.head_count_kv": 1, "attention.key_length": rank + c.qk_rope_head_dim, "attention.value_length": rank,
        "attention.key_length_mla": wide, "attention.value_length_mla": c.v_head_dim,
    }  # fmt: skip


def converted(name: str, x: Tensor, c: Any, arch: str, *, latent: bool) -> list[tuple[str, Tensor]]:
    """A tensor as the converter writes it, under the names that it knows it by."""
    if name.endswith(".mlp.experts.gate_up_proj"):
        stem = name.removesuffix("gate_up_proj")
        gate, up = x.chunk(2, 1)
        return [(f"{stem}gate_proj.weight", gate), (f"{stem}up_proj.weight", up)]
    if name.endswith(".mlp.experts.down_proj"):
        return [(f"{name}.weight", x)]
    if arch in ROTATED and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = c.num_attention_heads if "q_proj" in name else c.num_key_value_heads
        rows = x.shape[0] // heads // 2
        return [(name, x.reshape(heads, 2, rows, -1).transpose(1, 2).reshape(x.shape))]
    if arch in SHIFTED and name.endswith("norm.weight"):
        return [(name, x + 1)]
    if arch == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return [(name, x.T)]
    if arch == "bloom" and "query_key_value" in name:
        parts = x.reshape(c.n_head, 3, x.shape[0] // c.n_head // 3, *x.shape[1:])
        return [(name, parts.transpose(0, 1).reshape(x.shape))]
    if name.endswith("e_score_correction_bias"):
        return [(name.replace("e_score_correction_bias", "e_score_correction.bias"), x)]
    if name.endswith("kv_b_proj.weight") and latent:
        rows = x.reshape(c.num_attention_heads, c.qk_nope_head_dim + c.v_head_dim, c.kv_lora_rank)
        keys, values = rows.split([c.qk_nope_head_dim, c.v_head_dim], 1)
        return [(name.replace("kv_b", "k_b"), keys.transpose(1, 2)), (name.replace("kv_b", "v_b"), values)]
    return [(name, x)]
