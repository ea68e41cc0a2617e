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
GPTJ = {  # with what EleutherAI's file kept of GPT-2's
    "activation_function": "gelu_new", "attn_pdrop": 0.0, "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 2,
    "gradient_checkpointing": False, "initializer_range": 0.02, "layer_norm_epsilon": 1e-5, "n_embd": 64, "n_head": 4,
    "n_inner": None, "n_layer": 3, "n_positions": 256, "resid_pdrop": 0.0, "rotary": True, "rotary_dim": 12,
    "scale_attn_weights": True, "summary_activation": None, "summary_first_dropout": 0.1, "summary_type": "cls_index",
    "summary_proj_to_labels": True, "summary_use_proj": True, "tie_word_embeddings": False, "use_cache": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50, "temperature": 1.0}},
    "tokenizer_class": "GPT2Tokenizer", "torch_dtype": "float32", "vocab_size": 160,
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
MODERNBERT = {
    "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1, "classifier_activation": "gelu",
    "classifier_bias": False, "classifier_dropout": 0.0, "classifier_pooling": "mean", "cls_token_id": 1,
    "decoder_bias": True, "deterministic_flash_attn": False, "embedding_dropout": 0.0, "eos_token_id": 2,
    "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "gradient_checkpointing": False,
    "hidden_activation": "gelu", "hidden_size": 64, "initializer_cutoff_factor": 2.0, "initializer_range": 0.02,
    "intermediate_size": 96, "layer_norm_eps": 1e-05, "local_attention": 13, "local_rope_theta": 10000.0,
    "max_position_embeddings": 256, "mlp_bias": False, "mlp_dropout": 0.0, "norm_bias": False, "norm_eps": 1e-05,
    "num_attention_heads": 4, "num_hidden_layers": 5, "pad_token_id": 3, "position_embedding_type": "absolute",
    "reference_compile": False, "repad_logits_with_grad": False, "sep_token_id": 2, "sparse_pred_ignore_index": -100,
    "sparse_prediction": False, "tie_word_embeddings": True, "torch_dtype": "float32", "vocab_size": 160,
}  # fmt: skip
DEBERTA = {
    "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 64,
    "initializer_range": 0.02, "intermediate_size": 96, "max_position_embeddings": 64, "relative_attention": True,
    "position_buckets": 12, "norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": "p2c|c2p",
    "layer_norm_eps": 1e-7, "max_relative_positions": -1, "position_biased_input": False, "num_attention_heads": 4,
    "num_hidden_layers": 3, "type_vocab_size": 0, "vocab_size": 160, "pad_token_id": 0,
}  # fmt: skip

DSA: dict[str, Any] = SIZES | {
    "attention_bias": False, "ep_size": 1, "first_k_dense_replace": 1, "index_head_dim": 24, "index_n_heads": 8,
    "index_topk": 9, "kv_lora_rank": 32, "moe_intermediate_size": 32, "moe_layer_freq": 1, "n_group": 4,
    "n_routed_experts": 8, "n_shared_experts": 1, "norm_topk_prob": True, "num_experts_per_tok": 3,
    "num_hidden_layers": 4, "num_key_value_heads": 4, "num_nextn_predict_layers": 1, "q_lora_rank": 24,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 12, "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid", "topk_group": 2, "topk_method": "noaux_tc",
}  # fmt: skip
GLM5 = {key: value for key, value in DSA.items() if key != "rope_theta"} | {
    "head_dim": 16, "indexer_rope_interleave": True, "n_group": 1, "topk_group": 1, "pretraining_tp": 1,
    "qk_head_dim": 32, "rope_interleave": True, "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
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
    "gpt-j": ("gptj", "GPTJForCausalLM", GPTJ),
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
    "deepseek-v3.2": ("deepseek_v32", "DeepseekV32ForCausalLM", DSA | {"rms_norm_eps": 1e-6, "rope_scaling": {
        "beta_fast": 32, "beta_slow": 1, "factor": 4, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 64, "type": "yarn"}}),
    "glm-5": ("glm_moe_dsa", "GlmMoeDsaForCausalLM", GLM5),
    "glm-5.2": ("glm_moe_dsa", "GlmMoeDsaForCausalLM", GLM5 | {
        "num_hidden_layers": 6, "index_share_for_mtp_iteration": True, "index_skip_topk_offset": 2,
        "index_topk_freq": 2, "index_topk_pattern": None, "moe_router_dtype": "float32", "indexer_types": [
            "full", "full", "shared", "full", "shared", "full"],
        "mlp_layer_types": ["dense"] + ["sparse"] * 5}),
}  # fmt: skip
MODERN_ENCODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "modernbert": ("modernbert", "ModernBertForMaskedLM", MODERNBERT),
    "deberta-v3": ("deberta-v2", "DebertaV2ForMaskedLM", DEBERTA),
    "deberta-v2-xl": ("deberta-v2", "DebertaV2ForMaskedLM", DEBERTA | {
        "conv_kernel_size": 3, "conv_act": "gelu", "attention_head_size": 16}),
}  # fmt: skip


def add_more(tool: ModuleType) -> ModuleType:
    """The tool, which can make these too."""
    for name, (kind, architecture, keys) in (CONFIGS | MODERN_ENCODERS).items():
        if name not in tool.F:
            writes = "mlm" if architecture.endswith("ForMaskedLM") else "causal"
            tool.fam(name, {"architectures": [architecture], "model_type": kind, **keys}, writes)
    return tool
