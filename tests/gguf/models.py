"""Small models that llama.cpp has too, with sizes that it can compute with, and tokenizers of its kinds."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn

import zoo
from zoo.anatomy.config import RopeConfig
from zoo.registry import installed
from zoo.testing.subject import peaked

ROWS = 264  # 256 bytes and some special tokens
ENDS = {"bos_token": "<s>", "eos_token": "</s>"}
# llama.cpp wants rows of 32 numbers, and caches of as many per head.
DECODER = {
    "vocab_size": ROWS, "hidden_size": 64, "intermediate_size": 96, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2,
    "head_dim": 16, "max_seq_len": 64, "norm_eps": 1e-5, "bos_token_id": 256, "eos_token_id": [257],
}  # fmt: skip
PLAIN = {"sliding_window": None, "sliding_layers": None}
SPARSE = {"num_experts": 4, "experts_per_token": 2, "moe_intermediate_size": 32}
GEMMA3 = {
    "generation": 3, "num_layers": 7, "local_per_global": 5, "sliding_window": 4, "query_pre_attn_scalar": 16.0,
    "attn_softcap": None, "final_softcap": None, "tie_embeddings": True, "rope": RopeConfig(1_000_000.0),
    "local_rope": RopeConfig(10_000.0),
}  # fmt: skip
GEMMA2 = GEMMA3 | {
    "generation": 2, "num_layers": 4, "local_per_global": 1, "attn_softcap": 20.0, "final_softcap": 15.0,
    "rope": RopeConfig(), "local_rope": RopeConfig(),
}  # fmt: skip
GEMMA1 = GEMMA2 | {
    "generation": 1, "local_per_global": 0, "sliding_window": None, "attn_softcap": None, "final_softcap": None,
}  # fmt: skip
LLAMA3 = RopeConfig(500_000.0, "llama3", 8.0, 32, low_freq_factor=1.0, high_freq_factor=4.0)
LATENT = {
    "q_lora_rank": 32, "kv_lora_rank": 32, "nope_head_dim": 32, "rope_head_dim": 32, "v_head_dim": 32, "num_layers": 3,
    "num_experts": 8, "experts_per_token": 2, "moe_intermediate_size": 32, "num_shared_experts": 1, "num_groups": 4,
    "rope": RopeConfig(10_000.0, "yarn", 4.0, 16, mscale=0.7, mscale_all_dim=0.7),
}  # fmt: skip
OSS = {
    "intermediate_size": 64, "num_experts": 4, "sliding_window": 4, "sliding_layers": None, "rope": RopeConfig(),
    "swiglu_alpha": 1.702, "swiglu_limit": 7.0,
}  # fmt: skip
NANO = {
    "num_layers": 11, "global_layers": None, "sliding_window": 4, "sharing_from": 20, "num_streams": 4,
    "laurel_rank": 64, "layer_embed_dim": 256, "layer_vocab_size": ROWS, "sparsity": None, "final_softcap": 30.0,
    "rope": RopeConfig(1_000_000.0), "local_rope": RopeConfig(), "tie_embeddings": True, "mlp_widths": None,
}  # fmt: skip
HYBRID = {
    "num_layers": 4, "attention_layers": None, "head_dim": 32, "rope": RopeConfig(partial=0.5),
    "delta": {"num_key_heads": 2, "num_heads": 6, "key_dim": 32, "value_dim": 32, "conv_kernel": 4},
}  # fmt: skip
SHARED = {"num_experts": 4, "experts_per_token": 2, "intermediate_size": 32, "shared_intermediate_size": 32}
NEOX = {"num_kv_heads": 4, "rope": RopeConfig(partial=0.25), "head_dim": 16}
BAICHUAN = {"num_layers": 32, "num_kv_heads": 4, "has_normed_head": False, "has_alibi": False, "rope": RopeConfig()}
MODERN = {
    "head": "none", "num_layers": 4, "sliding_window": 4, "rope": RopeConfig(160_000.0), "local_rope": RopeConfig(),
    "pad_token_id": None,
}  # fmt: skip
OLMO3 = {
    "num_layers": 5, "sliding_window": 4, "sliding_layers": [0, 1, 2, 4], "local_rope": RopeConfig(500_000.0),
    "rope": RopeConfig(500_000.0, "yarn", 4.0, 16),
}  # fmt: skip
EXAONE4 = {"num_layers": 64, "sliding_window": 4, "sliding_layers": [i for i in range(64) if i % 4 < 3]}
LATENT3 = {
    "q_lora_rank": 32, "kv_lora_rank": 32, "nope_head_dim": 16, "rope_head_dim": 16, "v_head_dim": 16, "base_size": 256,
    "num_kv_heads": 4, "embedding_multiplier": 12.0, "scale_depth": 1.4,
}  # fmt: skip
FACTORS = [1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0]
LONG = RopeConfig(
    scaling="longrope", original_max_seq_len=4, short_factor=FACTORS[::-1], long_factor=FACTORS, attention_factor=1.25
)
SHORT = replace(LONG, original_max_seq_len=256)  # llama.cpp's contexts are of 256 tokens at least
GEMMA4 = {
    "num_layers": 4, "global_layers": [1, 3], "sliding_window": 4, "global_head_dim": 32, "global_kv_heads": 1,
    "sharing_from": None, "layer_embed_dim": None, "num_experts": 4, "experts_per_token": 2, "expert_size": 32,
    "rope": RopeConfig(1_000_000.0), "local_rope": RopeConfig(), "final_softcap": 15.0, "tie_embeddings": True,
    "is_doubled": False,
}  # fmt: skip
NANO4 = {
    "num_layers": 7, "global_layers": [1, 3, 6], "global_kv_heads": None, "has_equal_keys": False, "sharing_from": 4,
    "is_doubled": True, "layer_embed_dim": 32, "num_experts": None, "final_softcap": None,
}  # fmt: skip
GLM = {"rope": RopeConfig(partial=0.5)}
LLAMA4 = SPARSE | {
    "num_layers": 5, "dense_layers": [], "nope_layers": [3], "chunk_size": 8192, "chunked_layers": None,
    "experts_per_token": 1, "temperature_scale": 0.1, "temperature_length": 8192,
    "rope": RopeConfig(500_000.0, "llama3", 8.0, 8192, high_freq_factor=1.0),
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama tied": ("llama", {"tie_embeddings": True, "rope": RopeConfig(1000.0, "linear", 2.0)}),
    "llama 3.1": ("llama", {"rope": LLAMA3}),
    "llama yarn": ("llama", {"rope": RopeConfig(10_000.0, "yarn", 4.0, 16)}),
    "mistral": ("mistral", PLAIN),
    "mixtral": ("mixtral", PLAIN | {"num_experts": 4}),
    "qwen2": ("qwen2", PLAIN),
    "qwen3": ("qwen3", PLAIN),
    "qwen2_moe": ("qwen2_moe", PLAIN | SPARSE | {"dense_layers": [], "shared_intermediate_size": 32}),
    "qwen3_moe": ("qwen3_moe", PLAIN | SPARSE | {"dense_layers": []}),
    "gemma": ("gemma", GEMMA1),
    "gemma2": ("gemma", GEMMA2),
    "gemma3": ("gemma", GEMMA3),
    "glm": ("glm", GLM | {"is_sandwiched": False}),
    "glm4": ("glm", GLM | {"is_sandwiched": True}),
    "glm4_moe": ("glm4_moe", GLM | SPARSE | {"num_groups": 1, "groups_per_token": 1, "num_layers": 3}),
    "chatglm2": ("chatglm2", GLM),
    "deepseek v3": ("deepseek", LATENT),
    "llama wide": ("llama", {"head_dim": 32}),
    "deepseek v2": ("deepseek", LATENT | {"scoring": "softmax", "num_groups": 1, "groups_per_token": 1,
                                          "is_renormalised": False, "q_lora_rank": None, "num_layers": 27}),
    "cohere": ("cohere", PLAIN | {"rope": RopeConfig(), "num_layers": 3}),
    "cohere2": ("cohere", {"num_layers": 4, "sliding_window": 4, "sliding_layers": [0, 1, 2], "rope": RopeConfig()}),
    "exaone4": ("exaone4", PLAIN),
    "phi3": ("phi3", {"sliding_window": None, "rope": RopeConfig(partial=0.5)}),
    "phi3 long": ("phi3", {"sliding_window": None, "rope": LONG}),
    "phi3 short": ("phi3", {"sliding_window": None, "max_seq_len": 256, "rope": SHORT}),
    "minicpm3": ("minicpm3", LATENT3),
    "minicpm3 long": ("minicpm3", LATENT3 | {"rope": replace(LONG, partial=1.0, attention_factor=1.0)}),
    "stablelm": ("stablelm", {"rope": RopeConfig(partial=0.25), "attention_bias": True, "has_qk_norm": False}),
    "stablelm 12b": ("stablelm", {"rope": RopeConfig(partial=0.25), "is_parallel": True}),
    "starcoder2": ("starcoder2", {"sliding_window": None, "tie_embeddings": True}),
    "ernie4_5": ("ernie4_5", {}),
    "exaone": ("exaone", {}),
    "granite": ("granite", {}),
    "granitemoe": ("granitemoe", {"num_experts": 4}),
    "internlm2": ("internlm2", {}),
    "olmo2": ("olmo2", PLAIN | {"rope": RopeConfig(), "local_rope": RopeConfig()}),
    "olmo3": ("olmo2", OLMO3),
    "exaone4 32b": ("exaone4", EXAONE4),
    "internlm3": ("internlm3", {"attention_bias": True, "has_bias": True}),
    "qwen": ("qwen", {"num_kv_heads": 4, "trained_seq_len": 64, "has_dynamic_ntk": False, "has_logn": False}),
    "smollm3": ("smollm3", PLAIN | {"num_layers": 5, "nope_layers": [3]}),
    "gpt_oss": ("gpt_oss", OSS),
    "gemma3n": ("gemma3n", NANO),
    "gemma3n E2B": ("gemma3n", NANO | {"num_layers": 22, "layer_vocab_size": 250}),
    "gemma4": ("gemma4", GEMMA4),
    "gemma4 E2B": ("gemma4", GEMMA4 | NANO4),
    "qwen3_next": ("qwen3_next", HYBRID | SHARED | {"dense_layers": [], "dense_intermediate_size": 96}),
    "qwen3_5": ("qwen3_5", HYBRID),
    "qwen3_5 evenly": ("qwen3_5", HYBRID | {"attention_layers": [1, 3], "tie_embeddings": True}),
    "qwen3_5_moe": ("qwen3_5_moe", HYBRID | SHARED),
    "gpt_neox": ("gpt_neox", NEOX),
    "gpt_neox in turn": ("gpt_neox", NEOX | {"is_parallel": False}),
    "falcon": ("falcon", {"has_mlp_norm": False, "num_kv_heads": 1}),
    "falcon 40b": ("falcon", {"has_mlp_norm": True, "tie_embeddings": False}),
    "baichuan": ("baichuan", BAICHUAN),
    "baichuan 13b": ("baichuan", BAICHUAN | {"num_layers": 40, "has_alibi": True}),
    "minicpm": ("minicpm", {"base_size": 32, "embedding_multiplier": 3.0, "scale_depth": 1.4}),
    "llama4": ("llama4", LLAMA4),
    "llama4 step": ("llama4", LLAMA4 | {"dense_layers": [0, 2, 4], "rope": RopeConfig(), "tie_embeddings": True}),
    "bloom": ("bloom", {}),
    "gpt2": ("gpt2", {}),
}  # fmt: skip
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"head": "none", "has_pooler": False, "pad_token_id": None, "max_seq_len": 64}),
    "modernbert": ("modernbert", MODERN),
    "modernbert every other": ("modernbert", MODERN | {"global_every": 2}),
    "modernbert silu": ("modernbert", MODERN | {"activation": "silu", "global_every": 1, "sliding_window": 128}),
    "xlm_roberta": ("xlm_roberta", {"head": "none", "max_seq_len": 64}),
    "t5": ("t5", {"max_distance": 128, "head_dim": 32}),
    "t5 gated": ("t5", {"max_distance": 128, "head_dim": 32, "is_gated": True, "activation": "gelu_tanh",
                        "tie_embeddings": False, "scale_outputs": False}),
    "umt5": ("t5", {"max_distance": 128, "head_dim": 32, "is_gated": True, "activation": "gelu_tanh",
                    "has_bias_per_layer": True, "flavour": "umt5"}),
}  # fmt: skip


def built(case: str, dtype: torch.dtype = torch.float32, **more: Any) -> nn.Module:
    """A model whose attention is peaked, so that a wrong order of rows shows; its numbers are exact in `dtype`."""
    name, changes = (CASES | ENCODERS)[case]
    config = installed()[name].config_class.tiny()
    names = {f.name for f in fields(config)}
    sizes = {n: value for n, value in DECODER.items() if n in names}
    changes = {n: replace(getattr(config, n), **v) if isinstance(v, dict) else v for n, v in changes.items()}
    config = replace(config, **sizes | changes | more)
    if hasattr(config, "rope") and config.rope.theta == 1000.0 and "rope" not in changes:
        config = replace(config, rope=RopeConfig())
    model = peaked(zoo.build(config, device="cpu", seed=1)).eval()
    return model.to(dtype)


def byte_tokenizer() -> Tokenizer:
    """A token for each byte, then begin and end, then two words."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*letters, *ENDS.values(), "th", "the"])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("t", "h"), ("th", "e")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(token, special=True, normalized=False) for token in ENDS.values()])
    return backend


def with_tokenizer(folder: Path, backend: Tokenizer, **config: Any) -> Path:
    """Put a tokenizer beside the weights of a Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(backend.to_str())
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **ENDS, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def in_folder(case: str, folder: Path, dtype: torch.dtype = torch.float32, **more: Any) -> tuple[nn.Module, Path]:
    """A model and the Hugging Face folder that it was saved to, with a tokenizer of bytes."""
    model = built(case, dtype, **more)
    zoo.save(model, folder)
    return model, with_tokenizer(folder, byte_tokenizer())


@torch.inference_mode()
def greedy(model: nn.Module, prompt: list[int], count: int) -> list[int]:
    """The most probable token, `count` times."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]
