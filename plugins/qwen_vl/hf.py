"""Qwen2-VL and Qwen2.5-VL as Hugging Face stores them: the text's keys flat, or in `text_config` from 2025 on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.errors import CheckpointError, UsageError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    accept_copies,
    group,
    key,
    respell,
    tokens_of,
    write_keys,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table

from .config import Qwen2_5VLConfig, Qwen2VLConfig
from .hf_vision import read_vision, tower_rules, write_vision
from .vision import VisionConfig, WindowedVisionConfig

TEXT_KEYS = tuple(
    k for k in decoder_keys(max_seq_len=32_768, norm_eps=1e-5) if k.ours not in ("head_dim", "tie_embeddings")
)
TOKEN_KEYS = tuple(
    key(f"{name}_token_id", default=default)
    for name, default in {"image": 151655, "video": 151656, "vision_start": 151652, "vision_end": 151653}.items()
)
SPELLING = respell(  # as transformers 5 keeps them in memory
    (r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model.")
)


@dataclass(frozen=True)
class VisionLanguage:
    """The dialect of one generation."""

    config: type[Qwen2VLConfig]
    vision: type[VisionConfig]
    model_type: str
    architecture: str

    def from_config(self, hf: ForeignConfig) -> Qwen2VLConfig:
        stored = group(hf, "text_config") if "text_config" in hf else hf
        text, sections = plain_rope(stored)
        hf.of_class(self.architecture)
        text.expect(hidden_act="silu")
        text.require(use_sliding_window=False)
        text.ignore("attention_dropout", "sliding_window", "max_window_layers")
        if set(text.as_type(list[str], text.get("layer_types") or [], "layer_types")) - {"full_attention"}:
            raise CheckpointError(text.file, "layer_types", "only full_attention is supported here")
        values = {**text.read(self.config, TEXT_KEYS), **hf.read(self.config, TOKEN_KEYS)}
        hf.ignore("vision_token_id")  # belongs to no prompt
        stored.ignore("vision_token_id", *(k.theirs for k in TOKEN_KEYS))  # those beside the group count
        width, heads = values["hidden_size"], values["num_heads"]
        values |= {"head_dim": width // heads if heads else 0, "tie_embeddings": is_tied(hf, text)}
        rope = text.rope(theta=1_000_000.0)
        vision = read_vision(group(hf, "vision_config"), self.vision, width)
        tokens = hf.tokens() if stored is hf else read_tokens(hf, stored)
        return self.config(**values, **tokens, rope=rope, rope_sections=sections, vision=vision)

    def to_config(self, c: Qwen2VLConfig) -> dict[str, Any]:
        if c.head_dim * c.num_heads != c.hidden_size:
            what = f"a {self.model_type} config.json cannot store model.head_dim={c.head_dim}"
            raise UsageError(what, why="it can only store model.hidden_size / model.num_heads")
        tokens = write_tokens(c)
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "dtype": tokens.pop("dtype"),
            "tie_word_embeddings": c.tie_embeddings,
            **write_keys(c, TOKEN_KEYS),
            "text_config": {
                "model_type": f"{self.model_type}_text", "hidden_act": "silu", "use_sliding_window": False,
                **write_keys(c, TEXT_KEYS), **tokens,
                "rope_parameters": {**write_rope(c.rope), "mrope_section": list(c.rope_sections)},
            },
            "vision_config": {"model_type": f"{self.model_type}_vision", **write_vision(c.vision, c.hidden_size)},
        }  # fmt: skip

    def mapping(self, c: Qwen2VLConfig) -> Table:
        return decoder_table(c, *LAYER, more=tuple(tower_rules(c.vision)), spelling=SPELLING)


def plain_rope(hf: ForeignConfig, default: Sequence[int] = (16, 24, 24)) -> tuple[ForeignConfig, list[int]]:
    """The same keys, accounted for together, with rotary settings as of any decoder, and the sections taken out."""
    name = "rope_parameters" if "rope_parameters" in hf else "rope_scaling"
    rope = dict(hf.as_type(dict[str, Any], hf.raw.get(name) or {}, name))
    if "mrope_section" not in rope:
        hf.assumed["mrope_section"] = [*default]
    sections = hf.as_type(list[int], rope.pop("mrope_section", [*default]), "mrope_section")
    kinds = {k: "default" if rope[k] == "mrope" else rope[k] for k in ("type", "rope_type") if k in rope}
    return replace(hf, raw={**hf.raw, name: rope | kinds}), sections


def is_tied(hf: ForeignConfig, text: ForeignConfig) -> bool:
    """Files of 2025 say it within `text_config`, all others beside it; for transformers either will do."""
    found = [keys.as_type(bool, keys.get("tie_word_embeddings", False), "tie_word_embeddings") for keys in (hf, text)]
    return any(found)


def read_tokens(hf: ForeignConfig, text: ForeignConfig) -> dict[str, Any]:
    """dtype and special tokens; like other keys they may stand both beside `text_config` and in it."""
    found = tokens_of(hf, text)
    accept_copies(hf, text)
    return found


QWEN2_VL = Dialect.of(VisionLanguage(Qwen2VLConfig, VisionConfig, "qwen2_vl", "Qwen2VLForConditionalGeneration"))
QWEN2_5_VL = Dialect.of(
    VisionLanguage(Qwen2_5VLConfig, WindowedVisionConfig, "qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration")
)
