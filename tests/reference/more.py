"""Tiny checkpoints of more families, for the tool that makes them: config.json as the released files spell it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 112, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 160, "hidden_act": "silu", "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "attention_dropout": 0.0,
    "initializer_range": 0.02, "use_cache": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
}  # fmt: skip
LAYERED = {key: value for key, value in SIZES.items() if key != "rms_norm_eps"} | {"layer_norm_eps": 1e-5}
WINDOW = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
FACTORS = {
    "embedding_multiplier": 3.0, "attention_multiplier": 0.3, "residual_multiplier": 0.6, "logits_scaling": 1.7,
}  # fmt: skip
LLAMA3 = {
    "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    "rope_type": "llama3",
}  # fmt: skip
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0 + i / 8 for i in range(6)],
    "long_factor": [1.0 + i for i in range(6)],
}
NEOX = {
    "hidden_size": 64, "intermediate_size": 112, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 160,
    "hidden_act": "gelu", "max_position_embeddings": 256, "layer_norm_eps": 1e-5, "rotary_emb_base": 10000,
    "rotary_pct": 0.25, "tie_word_embeddings": False, "use_parallel_residual": True, "classifier_dropout": 0.1,
    "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32", "use_cache": True, "initializer_range": 0.02,
}  # fmt: skip
FALCON = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 160, "alibi": False,
    "apply_residual_connection_post_layernorm": False, "bias": False, "hidden_dropout": 0.0, "attention_dropout": 0.0,
    "initializer_range": 0.02, "layer_norm_epsilon": 1e-5, "multi_query": True, "new_decoder_architecture": False,
    "parallel_attn": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32", "use_cache": True,
}  # fmt: skip
OPT = {
    "hidden_size": 64, "ffn_dim": 112, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 160,
    "word_embed_proj_dim": 64, "max_position_embeddings": 64, "do_layer_norm_before": True, "activation_dropout": 0.0,
    "activation_function": "relu", "attention_dropout": 0.0, "dropout": 0.1, "init_std": 0.02, "layerdrop": 0.0,
    "_remove_final_layer_norm": False, "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "prefix": "</s>",
    "torch_dtype": "float32", "use_cache": True,
}  # fmt: skip

CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {  # name -> (model_type, class, the other keys)
    "phi3": ("phi3", "Phi3ForCausalLM", SIZES | {
        "num_key_value_heads": 4, "sliding_window": 12, "rope_scaling": None, "original_max_position_embeddings": 256,
        "embd_pdrop": 0.0, "resid_pdrop": 0.0, "attention_bias": False, "pad_token_id": 3}),
    "phi4-mini": ("phi3", "Phi3ForCausalLM", SIZES | {
        "partial_rotary_factor": 0.75, "rope_scaling": LONGROPE, "original_max_position_embeddings": 64,
        "mlp_bias": False, "attention_bias": False, "lm_head_bias": False, "full_attn_mod": 1, "interpolate_factor": 1,
        "pad_token_id": 3, "sliding_window": 256, "tie_word_embeddings": True, "embd_pdrop": 0.0, "resid_pdrop": 0.0}),
    "olmo2": ("olmo2", "Olmo2ForCausalLM", SIZES | {"attention_bias": False, "rope_scaling": None, "pad_token_id": 3}),
    "olmo3": ("olmo3", "Olmo3ForCausalLM", SIZES | {
        "attention_bias": False, "rope_theta": 500000, "sliding_window": 12, "layer_types": WINDOW, "pad_token_id": 3,
        "num_hidden_layers": 4, "rope_scaling": {
            "attention_factor": 1.2, "beta_fast": 32, "beta_slow": 1, "factor": 8.0, "rope_type": "yarn",
            "original_max_position_embeddings": 32}}),
    "smollm3": ("smollm3", "SmolLM3ForCausalLM", SIZES | {
        "attention_bias": False, "mlp_bias": False, "layer_types": ["full_attention"] * 4, "max_window_layers": 28,
        "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0], "num_hidden_layers": 4, "pretraining_tp": 2,
        "rope_scaling": None, "sliding_window": None, "use_sliding_window": False, "pad_token_id": 3}),
    "granite": ("granite", "GraniteForCausalLM", SIZES | FACTORS | {
        "attention_bias": False, "mlp_bias": False, "rope_scaling": None, "pad_token_id": 0,
        "tie_word_embeddings": True}),
    "granitemoe": ("granitemoe", "GraniteMoeForCausalLM", SIZES | FACTORS | {
        "attention_bias": False, "rope_scaling": None, "num_local_experts": 6, "num_experts_per_tok": 3,
        "output_router_logits": False, "router_aux_loss_coef": 0.0, "pad_token_id": 0}),
    "starcoder2": ("starcoder2", "Starcoder2ForCausalLM", {k: v for k, v in SIZES.items() if k != "rms_norm_eps"} | {
        "embedding_dropout": 0.1, "residual_dropout": 0.1, "hidden_act": "gelu_pytorch_tanh", "mlp_type": "default",
        "norm_epsilon": 1e-5, "norm_type": "layer_norm", "sliding_window": 12, "use_bias": True,
        "tie_word_embeddings": True}),
    "pythia": ("gpt_neox", "GPTNeoXForCausalLM", NEOX),
    "stablelm": ("stablelm", "StableLmForCausalLM", LAYERED | {"partial_rotary_factor": 0.25, "use_qkv_bias": True}),
    "stablelm2-12b": ("stablelm", "StableLmForCausalLM", LAYERED | {
        "partial_rotary_factor": 0.25, "qk_layernorm": True, "use_parallel_residual": True, "use_qkv_bias": False}),
    "command-r-plus": ("cohere", "CohereForCausalLM", LAYERED | {
        "attention_bias": False, "logit_scale": 0.8, "use_qk_norm": True, "tie_word_embeddings": True,
        "pad_token_id": 0, "model_max_length": 512}),
    "command-r7b": ("cohere2", "Cohere2ForCausalLM", LAYERED | {
        "attention_bias": False, "logit_scale": 0.25, "sliding_window": 12, "sliding_window_pattern": 4,
        "num_hidden_layers": 4, "cache_implementation": "hybrid", "order_of_interleaved_layers": "local_attn_first",
        "position_embedding_type": "rope_gptj", "rotary_pct": 1.0, "use_embedding_sharing": True, "layer_switch": 4,
        "use_gated_activation": True, "use_parallel_block": True, "use_parallel_embedding": False,
        "use_qk_norm": False, "tie_word_embeddings": True, "pad_token_id": 0}),
    "falcon-7b": ("falcon", "FalconForCausalLM", FALCON),
    "falcon-40b": ("falcon", "FalconForCausalLM", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "opt": ("opt", "OPTForCausalLM", OPT),
    "opt-350m": ("opt", "OPTForCausalLM", OPT | {"word_embed_proj_dim": 48, "do_layer_norm_before": False}),
    "exaone4": ("exaone4", "Exaone4ForCausalLM", SIZES | {
        "num_hidden_layers": 4, "layer_types": WINDOW, "rope_scaling": LLAMA3, "sliding_window": 12, "head_dim": 16,
        "sliding_window_pattern": "LLLG", "pad_token_id": 0}),
    "ernie4.5": ("ernie4_5", "Ernie4_5ForCausalLM", SIZES | {
        "head_dim": 24, "rope_theta": 500000.0, "tie_word_embeddings": True, "use_bias": False, "pad_token_id": 0}),
    "helium": ("helium", "HeliumForCausalLM", SIZES | {"head_dim": 16, "attention_bias": False, "mlp_bias": False}),
    "minicpm3": ("minicpm3", "MiniCPM3ForCausalLM", SIZES | {
        "num_key_value_heads": 4, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16, "q_lora_rank": 24,
        "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12, "rope_scaling": None,
        "tie_word_embeddings": True}),
    "internlm3": ("internlm3", "LlamaForCausalLM", SIZES | {
        "bias": False, "qkv_bias": False, "head_dim": 24, "rope_scaling": LLAMA3, "pad_token_id": 3}),
}  # fmt: skip


def add_more(tool: ModuleType) -> ModuleType:
    """The tool, which can make these too."""
    for name, (kind, architecture, keys) in CONFIGS.items():
        if name not in tool.F:
            tool.fam(name, {"architectures": [architecture], "model_type": kind, **keys})
    return tool
