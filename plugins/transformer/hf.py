"""Marian's translation models (opus-mt) as Hugging Face stores them: the Transformer with biases in every projection.

Old files keep the table of sinusoids, and copies of the shared embedding, beside what is needed.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    key,
    must_be,
    write_keys,
    write_tokens,
)

from .config import TransformerConfig
from .hf_table import mapping

KEYS = (
    key("hidden_size", "d_model", default=1024),
    key("intermediate_size", "encoder_ffn_dim", default=4096),
    key("num_layers", "encoder_layers", default=12),
    key("num_decoder_layers", "decoder_layers", default=12),
    key("num_heads", "encoder_attention_heads", default=16),
    key("max_seq_len", "max_position_embeddings", default=1024),
    key("scale_embeddings", "scale_embedding", default=False),
    key("tie_embeddings", "tie_word_embeddings", default=True),
    key("decoder_start_token_id", default=58100),
)
# Our field -> the encoder's key, the decoder's and its default, where we have one field for both.
TWINS = {
    "intermediate_size": ("encoder_ffn_dim", "decoder_ffn_dim", 4096),
    "num_heads": ("encoder_attention_heads", "decoder_attention_heads", 16),
}
ACTIVATIONS = {
    "swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}  # fmt: skip
INERT = (
    "dropout", "attention_dropout", "activation_dropout", "classif_dropout", "classifier_dropout", "encoder_layerdrop",
    "decoder_layerdrop", "init_std", "add_bias_logits", "extra_pos_embeddings", "force_bos_token_to_be_generated",
    "output_past", "renormalize_logits",
)  # fmt: skip


def from_config(hf: ForeignConfig) -> TransformerConfig:
    hf.of_class("MarianMTModel")
    hf.require(is_encoder_decoder=True)
    hf.ignore(*INERT)
    # What Marian's files inherit from BART's config, with the only values that the code of Marian knows.
    hf.require(normalize_before=False, normalize_embedding=False, add_final_layer_norm=False)
    hf.require(static_position_embeddings=True, do_blenderbot_90_layernorm=False)
    values = hf.read(TransformerConfig, KEYS)
    for name, (ours, theirs, default) in TWINS.items():
        if (found := hf.get(theirs, default)) != values[name]:
            raise CheckpointError(hf.file, theirs, f"{found!r}, but {ours} is {values[name]!r}; zoo has one for both")
    hf.require(num_hidden_layers=values["num_layers"])
    source = hf.as_type(int, hf.get("vocab_size", 58101), "vocab_size")
    target = hf.as_type(int, hf.get("decoder_vocab_size", source), "decoder_vocab_size")
    is_shared = hf.as_type(bool, hf.get("share_encoder_decoder_embeddings", True), "share_encoder_decoder_embeddings")
    for name in ("decoder_vocab_size", "share_encoder_decoder_embeddings"):
        hf.assumed.pop(name, None)  # younger than most files, and seen in the tensors
    if is_shared and source != target:
        what = f"{target!r}, but vocab_size is {source!r} and the embedding is shared"
        raise CheckpointError(hf.file, "decoder_vocab_size", what)
    return TransformerConfig(
        **values,
        **hf.tokens(),
        vocab_size=target,
        source_vocab_size=None if is_shared else source,
        activation=hf.one_of("activation_function", ACTIVATIONS, "gelu"),
        norm_eps=1e-5,
        attention_bias=True,
        head_bias=True,
    )


def to_config(c: TransformerConfig) -> dict[str, Any]:
    must_be(c, "a Marian config.json", norm_eps=1e-5, attention_bias=True, head_bias=True)
    return {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "vocab_size": c.vocab_size if c.source_vocab_size is None else c.source_vocab_size,
        "decoder_vocab_size": c.vocab_size,
        "share_encoder_decoder_embeddings": c.source_vocab_size is None,
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == c.activation),
        **write_keys(c, KEYS),
        **{theirs: getattr(c, name) for name, (_, theirs, _) in TWINS.items()},
        **write_tokens(c),
    }


TRANSFORMER = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
