"""What encoders share of how Hugging Face stores them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from zoo.anatomy import CLASSIFIERS
from zoo.weights import (
    ACTIVATIONS,
    SPELT,
    Entry,
    ForeignConfig,
    Key,
    Spelling,
    alias,
    ignore,
    key,
    read_labels,
    rename,
    respell,
    under,
    write_head_and_labels,
)

from ..fields import LM_HEADS, EncoderConfig

Fields = dict[str, Any]

KEYS = (
    key("vocab_size"),
    key("hidden_size"),
    key("intermediate_size"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads", "num_attention_heads"),
    key("max_seq_len", "max_position_embeddings", default=512),
    key("type_vocab_size", default=2),
    key("norm_eps", "layer_norm_eps", default=1e-12),
    key("tie_embeddings", "tie_word_embeddings", default=True),
)
UNUSED_BIAS = "an untied head adds decoder.bias, as in transformers, and not the bias beside it"
UNUSED_HEAD = "a pretraining head that model.head does not use"


def attention(name: str, *parts: str) -> list[Entry]:
    """The projections of a layer's attention, `parts` of what stands below `name`."""
    return [rename(f"attn.{p}_proj", f"{name}.{part}") for p, part in zip("qkv", parts, strict=True)]


LAYER = (
    *attention("attention.self", "query", "key", "value"),
    rename("attn.o_proj", "attention.output.dense"),
    rename("attn_norm", "attention.output.LayerNorm"),
    rename("mlp.up_proj", "intermediate.dense"),
    rename("mlp.down_proj", "output.dense"),
    rename("mlp_norm", "output.LayerNorm"),
)


def embeddings() -> list[Entry]:
    """Those of tokens, of their positions and of their types, and the norm behind them."""
    return [
        rename("embed.tokens", "embeddings.word_embeddings"),
        rename("embed.positions", "embeddings.position_embeddings"),
        rename("embed.token_types", "embeddings.token_type_embeddings"),
        rename("embed.norm", "embeddings.LayerNorm"),
        ignore("embeddings.position_ids", "a buffer that counts 0, 1, 2, ..."),
    ]


def encoder(base: str, *more: Entry, has_pooler: bool, layer: Iterable[Entry] = LAYER) -> list[Entry]:
    """The trunk below `base`, as BERT and RoBERTa name it, with what a family has `more` of."""
    return under(
        "", base,
        *embeddings(),
        *under("layers.{i}", "encoder.layer.{i}", *layer),
        *more,
        rename("pooler", "pooler") if has_pooler else ignore("pooler", "a pooler that model.head does not use"),
    )  # fmt: skip


def bias(c: EncoderConfig, head: str, there: Container[str]) -> list[Entry]:
    """The bias of the masked-LM `head`, which stands beside the decoder, inside it, or in both places.

    Tied, transformers writes `bias` alone, and some files have a copy. Untied, it writes both, which training moves
    apart: transformers 5 adds `decoder.bias` and never reads the other.
    """
    if c.tie_embeddings:
        return [rename("decoder.bias", "bias"), alias("decoder.bias", of="bias")]
    both = f"{head}.bias" in there and f"{head}.decoder.bias" in there
    return [rename("decoder", "decoder"), ignore("bias", UNUSED_BIAS) if both else alias("bias", of="decoder.bias")]


def name_of_classifier(c: EncoderConfig) -> str:
    """What the linear layer of a head with classes, choices or ends of answers is called."""
    return "qa_outputs" if c.head == "question_answering" else "classifier"


def shared_weight(c: EncoderConfig, copy: str, *, of: str) -> list[Entry]:
    """The masked-LM head's copy of the embedding in the trunk `of`, which older files have."""
    tied = c.tie_embeddings and c.head in LM_HEADS
    return [alias(copy, of=f"{of}.embeddings.word_embeddings.weight")] if tied else []


def older_names(name: str, base: str) -> Spelling:
    """LayerNorm's gamma and beta of 2018; the trunk's prefix, which only files of models with a head have."""
    prefix = (
        (rf"^{name}\.", "")
        if not base
        else (r"^(?=(?:embeddings|embeddings_project|encoder|transformer|pooler)\.)", f"{base}.")
    )
    return respell((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias"), prefix)


def pooler_key(hf: ForeignConfig, head: str, *readers: str, named: bool = False) -> Key:
    """Whether there is a pooler: `readers` need it, and a trunk alone has one where its files do, which is told.

    A trunk whose class is `named` by a config of an older family has one whatever the files hold.
    """
    is_there = not hf.tensors or any("pooler." in name for name in hf.tensors)
    if head == "none" and not (named or is_there) and "add_pooling_layer" not in hf:
        hf.told["add_pooling_layer"] = "the files have no pooler, so model.has_pooler=false"
    default = head in readers or (head == "none" and (named or is_there))
    return key("has_pooler", "add_pooling_layer", default=default)


def read_shared(hf: ForeignConfig, head: str, activation: str = "hidden_act", *, silent: str = "gelu") -> Fields:
    """The fields that are stored alike in all families; what would make another model of it is refused.

    A file without an activation has the one that is `silent`, as transformers' class has it.
    """
    hf.require(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False, pruned_heads={})
    hf.ignore("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "output_past")
    values = {"head": head, "activation": hf.one_of(activation, ACTIVATIONS, silent)}
    return values | read_labels(hf, EncoderConfig) if head in CLASSIFIERS else values


def write_shared(c: EncoderConfig, model_type: str, heads: Mapping[str, str], activation: str = "hidden_act") -> Fields:
    """What `read_shared` and `read_head` read."""
    return {
        **write_head_and_labels(c, heads),
        "model_type": model_type,
        activation: SPELT[c.activation],
    }


def write_pooler(c: Any) -> Fields:
    """A base model has a pooler unless it says otherwise; transformers takes this as an argument, not from a config."""
    return {"add_pooling_layer": False} if c.head == "none" and not c.has_pooler else {}
