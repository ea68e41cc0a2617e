"""Keys of a foreign config that change neither the weights nor the logits, or do not at some values. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.weights.foreign.bookkeeping import BOOKKEEPING, is_bookkeeping

# How a classifier's numbers become scores, which is no part of a model: zoo.embedding and other libraries read it.
OF_SCORES = ("problem_type", "sentence_transformers", "sbert_ce_default_activation_function")
# Whatever the family and the value: bookkeeping, training-only settings, and settings of generation, which change no
# logits: zoo.generation reads them, as transformers does, where there is no generation_config.json.
_PLAIN = frozenset(
    "model_type "
    "torch_dtype dtype use_cache return_dict output_attentions output_hidden_states output_past "
    "output_scores return_dict_in_generate torchscript use_bfloat16 initializer_range initializer_factor "
    "finetuning_task id2label label2id num_labels chunk_size_feed_forward "
    "sep_token_id decoder_start_token_id bos_token_id eos_token_id eos_token_ids pad_token_id unk_token_id "
    "task_specific_params max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty "
    "temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size "
    "encoder_no_repeat_ngram_size bad_words_ids num_return_sequences forced_bos_token_id forced_eos_token_id "
    "remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens "
    "max_new_tokens min_new_tokens min_p top_h epsilon_cutoff eta_cutoff encoder_repetition_penalty renormalize_logits "
    "sequence_bias guidance_scale force_bos_token_to_be_generated tf_legacy_loss language".split()
)
INERT = BOOKKEEPING.keys() | _PLAIN | {*OF_SCORES}
# Keys that would make another model of it, and the values at which they do not. `is_causal` is read by transformers
# 5's masks, which take null for false.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (False, None),
    "is_decoder": (False, None),
    "is_causal": (True,),
    "add_cross_attention": (False, None),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (False, None),
    "pruned_heads": ({}, [], None),
}
# Keys that a reader passes over and a user may not expect it to: any other value than these is told.
UNEXPECTED: dict[str, tuple[Any, str]] = {
    "prefix": ("", "zoo does not put it before prompts; transformers' pipelines do"),
}
# Fields that the names and shapes of the tensors tell as well: a wrong value does not settle, and need not be told.
SEEN_IN_TENSORS = frozenset(
    "vocab_size hidden_size intermediate_size moe_intermediate_size shared_intermediate_size num_layers "
    "num_decoder_layers num_kv_heads head_dim num_shared_experts num_buckets type_vocab_size num_labels id2label "
    "attention_bias mlp_bias qkv_bias tie_embeddings tie_word_embeddings has_qk_norm has_pooler "
    "num_channels patch_size".split()
)
BEYOND_THE_MODEL = (
    "AutoTokenizer",
    "AutoProcessor",
    "AutoImageProcessor",
    "AutoFeatureExtractor",
    "AutoVideoProcessor",
)
HEADS = r"(?:For\w+|LMHeadModel)$"


def is_inert(name: str, value: Any) -> bool:
    """Whether no family's model depends on this key, or not at this value."""
    return (
        name in INERT
        or is_bookkeeping(name)
        or name in UNEXPECTED
        or (name in HARMLESS and is_among(value, HARMLESS[name]))
    )


def is_among(value: Any, known: Iterable[Any]) -> bool:
    """Whether a JSON value is one of `known`; unlike Python, JSON tells true from 1."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in known)


def unusual(raw: Mapping[str, Any]) -> dict[str, str]:
    """What is to be told of keys that are passed over."""
    return {
        name: f"{name}={clean(repr(raw[name]))}: {why}"
        for name, (usual, why) in UNEXPECTED.items()
        if raw.get(name) not in (None, usual)
    }


def read_classes(raw: Mapping[str, Any], known: Iterable[str], file: object) -> str:
    """What is to be told of `architectures`, which may name none but `known` or a bare model of theirs.

    Raises CheckpointError for any other class: its head, its mask or its arithmetic may be another's.
    """
    known = tuple(known)
    bare = {re.sub(HEADS, "Model", name) for name in known} - {*known}
    for name in listed(raw.get("architectures")):
        if isinstance(name, str) and name in bare:
            told = "but zoo's model has one: its weights are the embedding or in the files"
            return f"architectures={name!r} has no head, {told}"
        if name not in known:
            what = f"{clean(repr(name))} is not supported, only {' and '.join(map(repr, known))}"
            why = "another class may have a different head, mask or computation"
            raise CheckpointError(file, "architectures", f"{what} {'is' if len(known) == 1 else 'are'}", why=why)
    return ""


def read_remote_code(raw: Mapping[str, Any], released: Iterable[str], file: object) -> None:
    """Refuse an `auto_map` that names code for the model, unless in modules whose arithmetic the family is known for.

    `released` are the ends of their names: `qwen` for configuration_qwen and modeling_qwen. No such code is ever run.
    """
    found = raw.get("auto_map")
    if not isinstance(found, Mapping):
        raise CheckpointError(file, "auto_map", f"{clean(repr(found))} is not a table of classes")
    modules = {f"{kind}_{name}" for name in released for kind in ("configuration", "modeling")}
    for kind, name in found.items():
        module = str(name).rpartition("--")[2].partition(".")[0]
        if kind not in BEYOND_THE_MODEL and module not in modules:
            what = f"{clean(kind)} is code from the checkpoint, {clean(repr(name))}, which zoo does not run"
            raise CheckpointError(file, "auto_map", what, why="it may compute something different from this family")


def listed(value: Any) -> list[Any]:
    """A value that may stand alone or in a list; null is none."""
    return [] if value is None else value if isinstance(value, list) else [value]
