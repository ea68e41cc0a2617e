"""What programs that train, quantise or serve write into a config.json for themselves: no model reads it. No torch."""

from __future__ import annotations

UNSLOTH = "unsloth_"  # its notes on itself begin so: unsloth_version, unsloth_fixed
_KERNELS = "which kernels compute the attention: all compute the same"
_TOKENIZER = "a setting of the tokenizer, which has its own file"
_TRAINING = "counts in training only"
_ORIGIN = "who wrote the file, and from what"
_LABELS = "how many labels the first releases of transformers thought there were: the head itself tells"
BOOKKEEPING: dict[str, str] = {  # key -> why no logits depend on it
    "attn_implementation": _KERNELS,
    "_attn_implementation": _KERNELS,
    "_attn_implementation_autoset": _KERNELS,
    "_attn_implementation_internal": _KERNELS,
    "_experts_implementation": "which kernels compute the experts: all compute the same",
    "_flash_attn_2_enabled": _KERNELS,
    "use_flash_attention_2": _KERNELS,
    "_name_or_path": _ORIGIN,
    "_commit_hash": _ORIGIN,
    "transformers_version": _ORIGIN,
    "name": "what the authors call the model",
    "transformers.js_config": "settings of a library for browsers",
    "model_max_length": _TOKENIZER,
    "tokenizer_model_max_length": _TOKENIZER,
    "tokenizer_padding_side": _TOKENIZER,
    "tokenizer_class": _TOKENIZER,
    "padding_side": _TOKENIZER,
    "image_processor_config": "settings of the image processor, which has its own file",
    "_num_labels": _LABELS,
    "truncation_side": _TOKENIZER,
    "gradient_checkpointing": _TRAINING,
    "gradient_checkpointing_kwargs": _TRAINING,
    "neftune_noise_alpha": f"noise on embeddings; {_TRAINING}",
    "label_smoothing": _TRAINING,
    "loss_type": _TRAINING,
    "keys_to_ignore_at_inference": "what an evaluation leaves out of its results",
    "_pre_quantization_dtype": "the type before a quantisation, which the tensors show",
}


def is_bookkeeping(name: str) -> bool:
    """Whether a key is one that trainers and other programs leave for themselves."""
    return name in BOOKKEEPING or name.startswith(UNSLOTH)
