"""Tiny encoders for the tool that makes checkpoints: config.json as the released files spell it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 112, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 160,
    "hidden_act": "gelu", "attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1, "initializer_range": 0.02,
    "torch_dtype": "float32",
}  # fmt: skip
LIKE_ROBERTA = SIZES | {
    "layer_norm_eps": 1e-5, "max_position_embeddings": 66, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
}  # fmt: skip
XLM_ROBERTA = LIKE_ROBERTA | {
    "type_vocab_size": 1, "use_cache": True, "position_embedding_type": "absolute", "output_past": True,
}  # fmt: skip
LIKE_BERT = SIZES | {
    "layer_norm_eps": 1e-12, "max_position_embeddings": 64, "pad_token_id": 0, "type_vocab_size": 2,
}  # fmt: skip
SUMMARY = {
    "summary_activation": "gelu",
    "summary_last_dropout": 0.1,
    "summary_type": "first",
    "summary_use_proj": True,
}
ALBERT = LIKE_BERT | {
    "bos_token_id": 2, "eos_token_id": 3, "classifier_dropout_prob": 0.1, "down_scale_factor": 1, "embedding_size": 48,
    "gap_size": 0, "hidden_act": "gelu_new", "inner_group_num": 1, "layers_to_keep": [], "net_structure_type": 0,
    "num_hidden_groups": 1, "num_memory_blocks": 0,
}  # fmt: skip

CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {  # name -> (model_type, class, the other keys)
    "xlm-roberta": ("xlm-roberta", "XLMRobertaForMaskedLM", XLM_ROBERTA),
    "xlm-roberta-xl": ("xlm-roberta-xl", "XLMRobertaXLForMaskedLM", XLM_ROBERTA),
    "mpnet": ("mpnet", "MPNetForMaskedLM", LIKE_ROBERTA | {
        "gradient_checkpointing": False, "relative_attention_num_buckets": 32}),
    "mpnet-model": ("mpnet", "MPNetModel", LIKE_ROBERTA | {"relative_attention_num_buckets": 32}),
    "electra-generator": ("electra", "ElectraForMaskedLM", LIKE_BERT | SUMMARY | {"embedding_size": 48}),
    "albert": ("albert", "AlbertForMaskedLM", ALBERT),
    "albert-model": ("albert", "AlbertModel", ALBERT),
    "bge-m3": ("xlm-roberta", "XLMRobertaModel", XLM_ROBERTA | {"classifier_dropout": None}),
}  # fmt: skip


def add_encoders(tool: ModuleType) -> ModuleType:
    """The tool, which can make these too."""
    for name, (kind, architecture, keys) in CONFIGS.items():
        outputs = "encoder" if architecture.endswith("Model") else "mlm"
        tool.fam(name, {"architectures": [architecture], "model_type": kind, **keys}, kind=outputs)
    return tool
