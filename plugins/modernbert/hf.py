"""ModernBERT as Hugging Face stores it, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from typing import Any

from zoo.weights import (
    ACTIVATIONS,
    SPELT,
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    alias,
    heads_of,
    ignore,
    key,
    read_head_and_labels,
    rename,
    respell,
    rule,
    split,
    under,
    write_head_and_labels,
    write_keys,
    write_rope,
    write_tokens,
)

from .config import ModernBertConfig
from .hf_layers import EVERY, ROPES, global_every, read_rope

HEADS = heads_of("ModernBert")
KEYS = (
    key("vocab_size"),
    key("hidden_size"),
    key("intermediate_size"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads", "num_attention_heads"),
    key("max_seq_len", "max_position_embeddings", default=8192),
    key("norm_eps", default=1e-5),
    key("norm_bias", default=False),
    key("attention_bias", default=False),
    key("mlp_bias", default=False),
    key("sliding_window", "local_attention", default=128),
    key("pooling", "classifier_pooling", default="cls"),
    key("head_bias", "classifier_bias", default=False),
    key("decoder_bias", default=True),
    key("tie_embeddings", "tie_word_embeddings", default=True),
)
UNUSED_HEAD = "a pretraining head that model.head does not use"


def from_config(hf: ForeignConfig) -> ModernBertConfig:
    hf.require(causal_mask=False, is_causal=False)
    hf.ignore("attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout")
    hf.ignore("deterministic_flash_attn", "reference_compile", "repad_logits_with_grad", "initializer_cutoff_factor")
    hf.ignore("sparse_prediction", "sparse_pred_ignore_index", "cls_token_id", "mask_token_id")
    hf.ignore("position_embedding_type")  # read by no code: "absolute" stands in the first files, where layers rotate
    values = hf.read(ModernBertConfig, KEYS) | read_head_and_labels(hf, HEADS, ModernBertConfig)
    hf.require(layer_norm_eps=values["norm_eps"])  # which nobody reads
    values["sliding_window"] -= values["sliding_window"] % 2  # half of it, rounded down, is on each side
    values["activation"] = hf.one_of("hidden_activation", ACTIVATIONS, "gelu")
    values["head_activation"] = hf.one_of("classifier_activation", ACTIVATIONS, "gelu")
    values |= {ours: read_rope(hf, *where) for ours, where in ROPES.items()}
    return ModernBertConfig(**values, **hf.tokens(), global_every=global_every(hf, values["num_layers"]))


def to_config(c: ModernBertConfig) -> dict[str, Any]:
    return {
        **write_head_and_labels(c, HEADS),
        "model_type": "modernbert",
        "hidden_activation": SPELT[c.activation],
        "classifier_activation": SPELT[c.head_activation],
        **write_keys(c, KEYS),
        **write_tokens(c),
        EVERY: c.global_every,  # transformers 5 reads it too, and writes `layer_types`
        "rope_parameters": {kind: write_rope(getattr(c, ours)) for ours, (kind, *_) in ROPES.items()},
    }


def mapping(c: ModernBertConfig) -> Table:
    base, d, f = "" if c.head == "none" else "model", c.hidden_size, c.intermediate_size
    return Table(
        under(
            "", base,
            rename("embed.tokens", "embeddings.tok_embeddings"),
            rename("embed.norm", "embeddings.norm"),
            *under(
                "layers.{i}", "layers.{i}",
                rename("attn_norm", "attn_norm"),
                rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn.Wqkv", split(d, d, d)),
                rename("attn.o_proj", "attn.Wo"),
                rename("mlp_norm", "mlp_norm"),
                rule(("mlp.gate_proj", "mlp.up_proj"), "mlp.Wi", split(f, f)),
                rename("mlp.down_proj", "mlp.Wo"),
            ),
            rename("norm", "final_norm"),
        ),
        *_head(c),
        spelling=respell((r"^(?=(?:embeddings|layers|final_norm)\.)", "model.") if base else (r"^model\.", "")),
    )  # fmt: skip


def _head(c: ModernBertConfig) -> list[Entry]:
    if c.head == "none":
        return [ignore("head", UNUSED_HEAD), ignore("decoder", UNUSED_HEAD)]
    if c.head != "masked_lm":
        begin = [rename(f"classifier.{part}", f"head.{part}") for part in ("dense", "norm")]
        return [*begin, rename("classifier.out_proj", "classifier"), ignore("decoder", UNUSED_HEAD)]
    return [
        *(rename(f"lm_head.{part}", f"head.{part}") for part in ("dense", "norm")),
        rename("lm_head.decoder", "decoder"),
        *([alias("decoder.weight", of="model.embeddings.tok_embeddings.weight")] if c.tie_embeddings else []),
    ]


MODERNBERT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
