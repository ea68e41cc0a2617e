"""Gemma 4 with its image tower as Hugging Face stores it; the tower for sound is listed as ignored.

Each matrix of the tower is a module of its own, `linear`, beside which stand the bounds it is clipped to where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Match,
    Table,
    group,
    ignore,
    key,
    rename,
    rule,
    stack,
    tokens_of,
    under,
    write_keys,
    write_tokens,
)
from zoo.weights.hf_layout import decoder_table

from ...hf import SANDWICH
from ...text import PER_LAYER, unread
from ..hf import layer_of, read_fields, write_text
from .config import Gemma4VLConfig, PoolingTowerConfig

KEYS = (
    key("image_token_id", default=258_880),
    key("image_start_id", "boi_token_id", default=255_999),
    key("image_end_id", "eoi_token_id", default=258_882),
    key("video_token_id", default=258_884),
    key("audio_token_id", default=258_881),
)
VISION_KEYS = (
    key("hidden_size", default=768),
    key("intermediate_size", default=3072),
    key("num_layers", "num_hidden_layers", default=16),
    key("num_heads", "num_attention_heads", default=12),
    key("patch_size", default=16),
    key("pool_size", "pooling_kernel_size", default=3),
    key("num_positions", "position_embedding_size", default=10_240),
    key("norm_eps", "rms_norm_eps", default=1e-6),
    key("is_clipped", "use_clipped_linears", default=False),
    key("is_standardised", "standardize", default=False),
)
BESIDE = (  # of sound, of processors, and counts that the pictures' settings say
    "boa_token_id", "eoa_token_id", "eoa_token_index", "vision_soft_tokens_per_image", "audio_soft_tokens_per_image",
)  # fmt: skip
WHOLE = "use_bidirectional_attention"
PREFIX, TOWER = "model.language_model", "model.vision_tower"
BOUNDS = ("input_min", "input_max", "output_min", "output_max")
SOUND = "the tower for sound: zoo has the text and the pictures of this family"


def matches(raw: Mapping[str, Any]) -> Match | None:
    """A config with a group for the tower; without one it is the text's, in whose name it is written."""
    if raw.get("model_type") != "gemma4" or raw.get("vision_config") is None:
        return None
    return Match(1.0, ("model_type is 'gemma4', with a vision_config",), instead="gemma4")


def from_config(hf: ForeignConfig) -> Gemma4VLConfig:
    hf.of_class("Gemma4ForConditionalGeneration")
    text = group(hf, "text_config")
    text.require(model_type="gemma4_text")
    values, tokens = read_fields(text), tokens_of(hf, text)
    if hf.get("tie_word_embeddings", True) != values["tie_embeddings"]:
        raise CheckpointError(hf.file, "tie_word_embeddings", "text_config says otherwise")
    if (pad := text.raw.get("pad_token_id")) != tokens["pad_token_id"] and (pad or tokens["pad_token_id"]):
        what = f"{tokens['pad_token_id']}, but text_config says {pad!r}, whose embedding is read where pictures are"
        raise CheckpointError(hf.file, "pad_token_id", what)
    hf.ignore(*BESIDE)
    if hf.raw.get("audio_config") is not None:
        hf.told["audio_config"] = "the tower for sound is not read: zoo has the text and the pictures of this family"
    hf.ignore("audio_config")
    return Gemma4VLConfig(
        **values, **tokens, **hf.read(Gemma4VLConfig, KEYS), vision=read_tower(group(hf, "vision_config")),
        sees_whole_images=text.get(WHOLE, None) == "vision",
    )  # fmt: skip


def read_tower(hf: ForeignConfig) -> PoolingTowerConfig:
    """The tower's keys."""
    hf.require(model_type="gemma4_vision", attention_bias=False)
    hf.expect(hidden_activation="gelu_pytorch_tanh")
    hf.ignore("attention_dropout", "max_position_embeddings", "default_output_length", "global_head_dim")
    hf.ignore("image_seq_length", "video_seq_length")  # the processor's, which NVIDIA's files repeat here
    values = hf.read(PoolingTowerConfig, VISION_KEYS)
    heads = values["num_heads"]
    for name, usual, follows in (
        ("num_key_value_heads", 12, heads),
        ("head_dim", 64, values["hidden_size"] // max(heads, 1)),
    ):
        if (found := hf.as_type(int, hf.get(name, usual), name)) != follows:
            raise CheckpointError(hf.file, name, f"{found}, but the other keys need {follows}")
    name = "rope_parameters"
    rope = hf.as_type(dict[str, Any], hf.get(name, {"rope_type": "axial", "rope_theta": 100.0}), name)
    if rope.get("rope_type", "axial") not in ("axial", "default") or not rope.keys() <= {"rope_type", "rope_theta"}:
        what = f"{rope} is not supported"
        raise CheckpointError(hf.file, name, what, why="expected rope_type axial or default, and rope_theta")
    return PoolingTowerConfig(**values, theta=hf.as_type(float, rope.get("rope_theta", 100.0), f"{name}.rope_theta"))


def to_config(c: Gemma4VLConfig) -> dict[str, Any]:
    v, text = c.vision, write_text(c)
    if c.pad_token_id is None:
        del text["pad_token_id"]  # transformers stops at a null, and takes 0 where there is none
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "tie_word_embeddings": c.tie_embeddings,
        **write_keys(c, KEYS),
        **write_tokens(c),
        "text_config": {**text, WHOLE: "vision" if c.sees_whole_images else None},
        "vision_config": {
            "model_type": "gemma4_vision",
            "hidden_activation": "gelu_pytorch_tanh",
            "attention_bias": False,
            **write_keys(v, VISION_KEYS),
            "num_key_value_heads": v.num_heads,
            "head_dim": v.head_dim,
            "rope_parameters": {"rope_type": "default", "rope_theta": v.theta},  # transformers makes axial of it
        },
        "audio_config": None,
    }


def mapping(c: Gemma4VLConfig) -> Table:
    more = (
        *under("", PREFIX, *PER_LAYER),
        *unread(c.first_sharing, c.num_layers, PREFIX),
        *_tower(c.vision),
        *(ignore(f"model.{name}", SOUND) for name in ("audio_tower", "embed_audio")),
    )
    return decoder_table(c, *layer_of(c), more=more, prefix=PREFIX)


def _tower(v: PoolingTowerConfig) -> Iterator[Entry]:
    layer = [entry for name in v.matrices for entry in _matrix(name, v.is_clipped)]
    yield from under(
        "visual",
        TOWER,
        rename("embed.patches", "patch_embedder.input_proj"),
        rename("embed.positions", "patch_embedder.position_embedding_table"),
        *under("layers.{i}", "encoder.layers.{i}", *layer, *SANDWICH),
        rename("shift", "std_bias"),
        rename("scale", "std_scale"),
    )
    yield rename("visual.proj", "model.embed_vision.embedding_projection")


def _matrix(name: str, is_clipped: bool) -> Iterator[Entry]:
    theirs = name.replace("attn.", "self_attn.")
    if not is_clipped:
        yield rename(name, f"{theirs}.linear")
        return
    yield rename(f"{name}.linear", f"{theirs}.linear")
    yield rule(f"{name}.bounds", tuple(f"{theirs}.{bound}" for bound in BOUNDS), stack(len(BOUNDS)))


GEMMA4_VL = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=matches)
