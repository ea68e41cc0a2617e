"""Each guard of a config provoked once, at the first value it refuses, and left alone at the last it allows."""

from __future__ import annotations

import typing
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from zoo.anatomy.config import RopeConfig
from zoo.errors import ConfigError
from zoo.registry import installed

FAMILIES = installed().families
# Counts that may be none at all; every other number of things is at least one, and none is below zero.
MAY_BE_NONE = {"num_dense_layers", "num_shared_experts", "num_mtp_layers", "local_per_global"}


def changed(config: Any, path: str, value: Any) -> Any:
    """The config with one field set, in a record of it if the path says so."""
    first, _, rest = path.partition(".")
    return replace(config, **{first: changed(getattr(config, first), rest, value) if rest else value})


def counts(config: Any, path: str = "") -> typing.Iterator[str]:
    """The fields that count something."""
    hints = typing.get_type_hints(type(config))
    for field in fields(config):
        if is_dataclass(record := getattr(config, field.name)):
            yield from counts(record, f"{path}{field.name}.")
        elif not field.name.endswith("_id") and hints[field.name] in (int, int | None):
            yield path + field.name


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_number_of_things_is_not_negative_and_seldom_none(name: str) -> None:
    config = FAMILIES[name].config_class.tiny()
    for path in counts(config):
        with pytest.raises(ConfigError):
            changed(config, path, -1)
        if path.rpartition(".")[2] in MAY_BE_NONE and not (name == "decoder" and path.endswith("local_per_global")):
            changed(config, path, 0)
        else:
            with pytest.raises(ConfigError):
                changed(config, path, 0)


YARN = RopeConfig(scaling="yarn", factor=2.0, original_max_seq_len=16)
GROUPS = {"deepseek": "", "glm4_moe": "", "decoder": "mlp."}

PLAIN = {
    "attention.sliding_window": None, "attention.local_per_global": None, "has_local_rope": False,
    "local_rope": RopeConfig(),
}  # fmt: skip
DECODER: list[tuple[str, Any, str]] = [
    ("position.kind", "swoosh", "not one of"),
    ("norm.kind", "swoosh", "not one of"),
    ("block.kind", "swoosh", "not one"),
    ("attention.kind", "swoosh", "not one of"),
    ("mlp.kind", "swoosh", "not one of"),
    ("mlp.activation", "x", "not one"),
    ("mlp.scoring", "swoosh", "not one of"),
    ("block.alpha", 2.0, "is only for"),
    ("position.num_buckets", 1, "below 2"),
    ("position.max_distance", 16, "above half"),
    ("attention.rope_head_dim", 1, "below 2"),
    ("head_dim", 11, "pairs"),
    ("attention.prefix_token", -1, "below 0"),
    ("attention.num_kv_heads", 4, "multiple"),
    ("mlp.has_bias", True, "no biases"),
    ("rope", RopeConfig(partial=0.5), "whole pairs"),
    ("attention.sliding_window", None, "needs"),
    ("has_local_rope", False, "that are not used"),
]

# family, fields that are set, a word of what refuses them
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *(
        (name, {"head_dim": 11}, "odd")
        for name in ("llama", "mistral", "mixtral", "gemma", "qwen2", "qwen3", "qwen2_moe")
    ),
    *(
        (name, {"num_kv_heads": 4}, "multiple")
        for name in ("llama", "mistral", "gemma", "glm", "chatglm2", "qwen3_moe")
    ),
    *((name, {"norm_eps": -1e-9}, "norm_eps") for name in ("llama", "gemma", "glm4_moe")),
    *((name, {"norm_eps": float("inf")}, "norm_eps") for name in ("llama", "mixtral")),
    *((name, {"hidden_size": 25}, "multiple") for name in ("bert", "bloom", "chatglm", "gpt2", "transformer", "vit")),
    *((name, {"activation": "swoosh"}, "not one of") for name in ("bert", "gpt2", "t5", "transformer", "vit")),
    *((name, {"experts_per_token": 6}, "exceeds") for name in ("mixtral", "qwen2_moe", "qwen3_moe")),
    *((name, {f"{at}groups_per_token": 4}, "exceeds") for name, at in GROUPS.items()),
    *((name, {f"{at}experts_per_token": 5}, "exceeds") for name, at in GROUPS.items()),
    *((name, {f"{at}num_groups": 4}, "multiple") for name, at in GROUPS.items()),
    *((name, {f"{at}num_groups": 6, f"{at}experts_per_token": 2}, "groups of one") for name, at in GROUPS.items()),
    ("bert", {"head": "swoosh"}, "not one of"),
    ("bert", {"num_labels": 2}, "does not use"),
    ("bert", {"head": "sequence_classification"}, "needs model.num_labels"),
    ("bert", {"head": "sequence_classification", "num_labels": 2, "labels": ["a"]}, "names 1 classes"),
    ("bert", {"head": "masked_lm"}, "does not use the pooled"),
    ("bert", {"has_pooler": False}, "uses the pooled"),
    ("roberta", {"pad_token_id": None}, "missing"),
    ("roberta", {"pad_token_id": -1}, "below 0"),
    ("roberta", {"has_pooler": True}, "does not use the pooled"),
    ("chatglm", {"hidden_size": 30, "num_heads": 3}, "pairs in both halves"),
    *(("chatglm", {f"{n}_token_id": v}, "is not a token id") for n in ("bos", "mask", "gmask") for v in (None, -1, 61)),
    *(
        (name, {"rope": RopeConfig(partial=p)}, "pairs")
        for name in ("chatglm2", "glm", "glm4_moe")
        for p in (0.1, 0.75)
    ),
    ("clip", {"text": None, "vision": None}, "both missing"),
    ("clip", {"projection_size": None}, "missing"),
    ("clip", {"text.hidden_size": 25}, "multiple"),
    ("clip", {"text.activation": "swoosh"}, "not one of"),
    ("clip", {"vision.hidden_size": 33}, "multiple"),
    ("clip", {"vision.activation": "swoosh"}, "not one of"),
    ("clip", {"vision.image_size": 3}, "below"),
    ("deepseek", {"q_lora_rank": 0}, "q_lora_rank"),
    ("deepseek", {"rope_head_dim": 7}, "odd"),
    ("deepseek", {"experts_per_token": 1}, "is ambiguous"),
    ("deepseek", {"scoring": "swoosh"}, "not one of"),
    ("deepseek", {"rope": RopeConfig(partial=0.5)}, "partial"),
    ("deepseek", {"scoring": "softmax", "rope_interleaved": False}, "rope_interleaved"),
    ("deepseek", {"rope": RopeConfig(mscale=0.9)}, "only for yarn"),
    ("deepseek", {"rope": RopeConfig(mscale_all_dim=0.9)}, "only for yarn"),
    ("deepseek", {"rope": replace(YARN, original_max_seq_len=None)}, "needs"),
    ("deepseek", {"rope": replace(YARN, mscale=0.9)}, "ambiguous"),
    ("deepseek", {"rope": replace(YARN, mscale_all_dim=0.9)}, "ambiguous"),
    *(("gemma", {"generation": g}, "not one of") for g in (0, 4)),
    ("gemma", {"query_pre_attn_scalar": 0.0}, "above 0"),
    ("gemma", {"sliding_window": None}, "needs"),
    ("gemma3_vl", {"generation": 2}, "are not supported by"),
    ("gemma3_vl", {"final_softcap": 30.0}, "are not supported by"),
    ("gemma3_vl", {"vision.image_size": 13}, "multiple"),
    ("gemma3_vl", {"tokens_per_image": 5}, "not a square number"),
    ("gemma3_vl", {"tokens_per_image": 9}, "multiple"),
    ("qwen2", {"sliding_window": None}, "needs"),
    *(("qwen2", {"sliding_layers": layers}, "layers") for layers in ([2, 1], [1, 1], [3], [-1], [])),
    ("qwen2", {"dual_chunk.chunk_size": 9}, "must be set together"),
    ("qwen2", {"dual_chunk.local_size": 9}, "must be set together"),
    ("qwen2", {"dual_chunk.original_max_seq_len": 9}, "needs model.dual_chunk.chunk_size"),
    ("qwen2_moe", {"dense_layers": [3]}, "layers"),
    *((name, {"num_kv_heads": 1}, "must fill") for name in ("qwen", "qwen_vl")),
    *((name, {"head_dim": 8}, "must fill") for name in ("qwen", "qwen_vl")),
    *((name, {"rope": YARN}, "scaling") for name in ("qwen", "qwen_vl")),
    *((name, {"trained_seq_len": 1}, "trained_seq_len") for name in ("qwen", "qwen_vl")),
    ("qwen_vl", {"hidden_size": 64, "head_dim": 16}, "resampler"),
    ("qwen_vl", {"vision.image_size": 13}, "multiple"),
    ("qwen_vl", {"vision.num_queries": 8}, "not a square number"),
    *((name, {"vision.hidden_size": 20}, "multiple") for name in ("qwen2_vl", "qwen2_5_vl")),
    *((name, {"vision.activation": "relu"}, "not one of") for name in ("qwen2_vl", "qwen2_5_vl")),
    *((name, {"video_token_id": 61}, "the same") for name in ("qwen2_vl", "qwen2_5_vl")),
    *(("qwen2_vl", {"rope_sections": s}, "add up") for s in ([1, 2, 3], [0, 2, 3], [1, 2, 2.0], [1, 4])[:3]),
    *((name, {"video_token_id": 61}, "the same") for name in ("qwen3_vl", "qwen3_vl_moe")),
    ("qwen3_vl", {"vision.num_positions": 10}, "not those of a square"),
    *(("qwen3_vl", {"vision.deep_layers": layers}, "deep_layers") for layers in ([2, 0], [0, 3], [-1], [0, 0])),
    ("qwen3_vl", {"num_layers": 1}, "the decoder 1"),
    ("qwen3_vl", {"rope_sections": [1, 3, 2]}, "do not fit in 6"),
    ("qwen3_vl", {"rope_sections": [3, 1, 1, 1]}, "are not three"),
    ("qwen3_vl_moe", {"experts_per_token": 6}, "exceeds model.num_experts"),
    ("qwen3_vl_moe", {"dense_layers": [3]}, "dense_layers"),
    ("qwen2_5_vl", {"vision.window_size": 20}, "multiple"),
    *(("qwen2_5_vl", {"vision.full_layers": [layer]}, "full_layers") for layer in (-1, 3)),
    ("t5", {"num_buckets": 3}, "below 4"),
    ("t5", {"max_distance": 4}, "above half"),
    ("t5", {"flavour": "swoosh"}, "not one of"),
    ("transformer", {"hidden_size": 21}, "multiple"),
    *(("transformer", {"decoder_start_token_id": token}, "not below") for token in (-1, 61)),
    *(("decoder", {k: v}, w) for k, v, w in DECODER),
    ("decoder", {"attention.kind": "dca", **PLAIN, "attention.local_size": 8192}, "uses up all"),
    ("decoder", {"attention.kind": "dca", **PLAIN, "attention.has_qk_norm": False, "position.kind": "alibi"}, "needs"),
    ("decoder", {"attention.kind": "dca", **PLAIN, "attention.softcap": 3.0}, "cannot be used with"),
    ("decoder", {"attention.kind": "mla", **PLAIN, "attention.num_kv_heads": 2}, "cannot be used with"),
    ("decoder", {"attention.prefix_token": 3}, "cannot be used with"),
    ("decoder", {**PLAIN, "attention.prefix_token": 61}, "not below"),
    ("decoder", {**PLAIN, "attention.prefix_token": 3, "position.kind": "alibi"}, "cannot be used with"),
    ("decoder", {**PLAIN, "local_rope": RopeConfig(theta=3.0)}, "that are not used"),
    ("decoder", {"mlp.has_shared_gate": True, "mlp.num_shared_experts": 0}, "nothing to gate"),
    ("vit", {"image_size": 3}, "below"),
    ("vit", {"head": "none"}, "does not use"),
    ("vit", {"num_labels": None}, "needs"),
    ("vit", {"labels": ["a"]}, "names 1 classes"),
    ("vit", {"has_pooler": True}, "does not use the pooled"),
    ("vit", {"head": "swoosh"}, "not one of"),
]

ALLOWED: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"norm_eps": 0.0}),
    ("llama", {"num_kv_heads": 6}),
    ("mixtral", {"experts_per_token": 5}),
    ("qwen2_moe", {"experts_per_token": 5}),
    *((name, {f"{at}groups_per_token": 3, f"{at}experts_per_token": 6}) for name, at in GROUPS.items()),
    *((name, {f"{at}experts_per_token": 4}) for name, at in GROUPS.items()),
    ("deepseek", {"scoring": "softmax", "num_groups": 6, "experts_per_token": 2}),
    ("deepseek", {"experts_per_token": 1, "is_renormalised": False}),
    ("deepseek", {"rope": YARN}),
    ("chatglm", {"mask_token_id": 0}),
    ("roberta", {"pad_token_id": 0}),
    ("clip", {"text": None, "projection_size": None}),
    ("clip", {"vision.image_size": 4}),
    ("gemma", {"local_per_global": 0, "sliding_window": None}),
    ("gemma3_vl", {"tokens_per_image": 1}),
    ("qwen2", {"sliding_layers": [0, 1]}),
    ("qwen2_5_vl", {"vision.full_layers": [0, 2]}),
    ("t5", {"max_distance": 5}),
    ("decoder", {"attention.kind": "dca", **PLAIN, "attention.local_size": 8191}),
    ("decoder", {"attention.local_size": 8192}),  # of dca alone
    ("decoder", {**PLAIN, "attention.prefix_token": 60}),
    ("decoder", {"position.max_distance": 17}),
    ("transformer", {"decoder_start_token_id": 0}),
    ("vit", {"image_size": 4}),
]


def with_fields(name: str, values: dict[str, Any]) -> Any:
    """The tiny config of a family with some fields set, together: those of a record by a new record."""
    config, flat = FAMILIES[name].config_class.tiny(), {k: v for k, v in values.items() if "." not in k}
    for path, value in values.items():
        record, _, field = path.partition(".")
        if field:
            flat[record] = {**flat.get(record, {}), field: value}
    return replace(
        config, **{k: replace(getattr(config, k), **v) if isinstance(v, dict) else v for k, v in flat.items()}
    )


@pytest.mark.parametrize(("name", "values", "word"), REFUSED, ids=[f"{n}-{v}"[:60] for n, v, _ in REFUSED])
def test_a_guard_refuses(name: str, values: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        with_fields(name, values)


@pytest.mark.parametrize(("name", "values"), ALLOWED, ids=[f"{n}-{v}"[:60] for n, v in ALLOWED])
def test_a_guard_lets_the_last_good_value_pass(name: str, values: dict[str, Any]) -> None:
    with_fields(name, values)
