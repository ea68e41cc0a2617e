"""Small DeepSeeks as the hub has them: every tensor by its name there, whole or in 8-bit floats with block scales."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

Tensors = dict[str, Tensor]

YARN = {
    "type": "yarn", "factor": 4, "original_max_position_embeddings": 16, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
    "mscale_all_dim": 1.0,
}  # fmt: skip
V3 = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "attention_bias": False,
    "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "bos_token_id": 0,
    "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 20,
    "initializer_range": 0.02, "intermediate_size": 40, "kv_lora_rank": 10, "max_position_embeddings": 64,
    "moe_intermediate_size": 18, "moe_layer_freq": 1, "n_group": 3, "n_routed_experts": 6, "n_shared_experts": 2,
    "norm_topk_prob": True, "num_attention_heads": 3, "num_experts_per_tok": 3, "num_hidden_layers": 3,
    "num_key_value_heads": 3, "num_nextn_predict_layers": 1, "q_lora_rank": 14, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 6, "rms_norm_eps": 1e-6, "rope_scaling": YARN, "rope_theta": 10000,
    "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": False, "topk_group": 2,
    "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "transformers_version": "4.33.1", "use_cache": True,
    "v_head_dim": 7, "vocab_size": 61,
}  # fmt: skip
V2 = {k: v for k, v in V3.items() if k != "num_nextn_predict_layers"} | {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "aux_loss_alpha": 0.001, "seq_aux": True,
    "pretraining_tp": 1, "norm_topk_prob": False, "routed_scaling_factor": 16.0, "scoring_func": "softmax",
    "topk_method": "group_limited_greedy", "rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
}  # fmt: skip
V32 = V3 | {
    "architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32", "index_head_dim": 8, "index_n_heads": 6,
    "index_topk": 7,
}  # fmt: skip
GLM5 = {k: v for k, v in V32.items() if k not in ("auto_map", "rope_scaling", "rope_theta")} | {
    "architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "head_dim": 6, "qk_head_dim": 14,
    "indexer_rope_interleave": True, "rope_interleave": True, "index_topk_freq": 2, "index_skip_topk_offset": 2,
    "index_topk_pattern": None, "indexer_types": ["full", "full", "shared"], "moe_router_dtype": "float32",
    "mlp_layer_types": ["dense", "sparse", "sparse"], "index_share_for_mtp_iteration": True,
    "rope_parameters": {"rope_theta": 10000, "rope_type": "default"},
}  # fmt: skip
LITE = V2 | {"q_lora_rank": None, "n_group": 1, "topk_group": 1, "topk_method": "greedy", "routed_scaling_factor": 1.0}


def tensors(c: dict[str, Any]) -> Tensors:
    """Random weights in bfloat16, the router's bias in float32, for a config of the hub's spelling."""
    draw = torch.Generator().manual_seed(0)
    shapes = _shapes(c)
    return {
        name: torch.randn(shape, generator=draw)
        if name.endswith("correction_bias")
        else ((len(shape) == 1) + torch.randn(shape, generator=draw) * shape[-1] ** -0.5).bfloat16()
        for name, shape in shapes.items()
    }


def write(folder: Path, config: dict[str, Any], weights: Tensors) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def quantised(weights: Tensors, rows: int, columns: int) -> tuple[Tensors, Tensors]:
    """What V3's files hold, and what it means: every matrix inside a layer but router and eh_proj as 8-bit floats.

    The scale of a block makes its largest number the type's largest; blocks at the edges are cut off.
    """
    stored, meant = dict(weights), dict(weights)
    for name, x in weights.items():
        is_packed = "_proj" in name or ".indexer.w" in name
        if x.ndim != 2 or not is_packed or "eh_proj" in name or "weights_proj" in name:
            continue
        scale = torch.empty(-(-x.shape[0] // rows), -(-x.shape[1] // columns))
        packed, exact = torch.empty(x.shape, dtype=torch.float8_e4m3fn), torch.empty_like(x)
        for i in range(scale.shape[0]):
            for j in range(scale.shape[1]):
                block = slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns)
                scale[i, j] = x[block].float().abs().max() / torch.finfo(torch.float8_e4m3fn).max
                packed[block] = (x[block].float() / scale[i, j]).to(torch.float8_e4m3fn)
                exact[block] = (packed[block].float() * scale[i, j]).bfloat16()
        stored[name], stored[f"{name}_scale_inv"], meant[name] = packed, scale, exact
    return stored, meant


def _shapes(c: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    d, vocab, n = c["hidden_size"], c["vocab_size"], c["num_hidden_layers"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, d)}
    for i in range(n + c.get("num_nextn_predict_layers", 0)):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in _layer(c, i).items()}
        if i >= n:
            module = {
                "embed_tokens": (vocab, d), "enorm": (d,), "hnorm": (d,), "eh_proj": (d, 2 * d),
                "shared_head.norm": (d,), "shared_head.head": (vocab, d),
            }  # fmt: skip
            shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in module.items()}
    return shapes | {"model.norm.weight": (d,), "lm_head.weight": (vocab, d)}


def _layer(c: dict[str, Any], i: int) -> dict[str, tuple[int, ...]]:
    d, heads, latent, rope = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"], c["qk_rope_head_dim"]
    nope, value, squeezed = c["qk_nope_head_dim"], c["v_head_dim"], c["q_lora_rank"]
    attention: dict[str, tuple[int, ...]] = {
        "kv_a_proj_with_mqa": (latent + rope, d), "kv_a_layernorm": (latent,),
        "kv_b_proj": (heads * (nope + value), latent), "o_proj": (d, heads * value),
    }  # fmt: skip
    if squeezed is None:
        attention["q_proj"] = (heads * (nope + rope), d)
    else:
        attention |= {"q_a_proj": (squeezed, d), "q_a_layernorm": (squeezed,)}
        attention["q_b_proj"] = (heads * (nope + rope), squeezed)
    types = c.get("indexer_types", [])
    if "index_topk" in c and (i >= len(types) or types[i] == "full"):
        width, n = c["index_head_dim"], c["index_n_heads"]
        attention |= {"indexer.wq_b": (n * width, squeezed), "indexer.wk": (width, d), "indexer.weights_proj": (n, d)}
        attention |= {"indexer.k_norm": (width,)}
    shapes = {f"self_attn.{name}.weight": shape for name, shape in attention.items()}
    if "indexer.k_norm" in attention:
        shapes["self_attn.indexer.k_norm.bias"] = shapes["self_attn.indexer.k_norm.weight"]
    shapes |= {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,)}
    if i < c["first_k_dense_replace"] or i % c["moe_layer_freq"]:
        return shapes | _mlp("mlp", d, c["intermediate_size"])
    shapes["mlp.gate.weight"] = (c["n_routed_experts"], d)
    if c["scoring_func"] == "sigmoid":
        shapes["mlp.gate.e_score_correction_bias"] = (c["n_routed_experts"],)
    for e in range(c["n_routed_experts"]):
        shapes |= _mlp(f"mlp.experts.{e}", d, c["moe_intermediate_size"])
    return shapes | _mlp("mlp.shared_experts", d, c["n_shared_experts"] * c["moe_intermediate_size"])


def _mlp(name: str, d: int, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{p}_proj.weight": (d, width) if p == "down" else (width, d) for p in ("gate", "up", "down")}
