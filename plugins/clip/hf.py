"""CLIP as Hugging Face stores it: the pair, or one tower alone with or without its projection."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import TextConfig, TowerConfig
from zoo.errors import CheckpointError, clean, did_you_mean
from zoo.weights import Dialect, ForeignConfig, Table, refined_group, rename, respell, under, write_tokens

from .config import CLIPConfig
from .hf_towers import INERT, TEXT_KEYS, TEXT_RULES, VISION_KEYS, VISION_RULES, read_tower, write_tower

MODELS = {  # class -> (has texts, has images, has a projection)
    "CLIPModel": (True, True, True),
    "CLIPTextModel": (True, False, False),
    "CLIPTextModelWithProjection": (True, False, True),
    "CLIPVisionModel": (False, True, False),
    "CLIPVisionModelWithProjection": (False, True, True),
}
PLAIN = {"clip": "CLIPModel", "clip_text_model": "CLIPTextModel", "clip_vision_model": "CLIPVisionModel"}


def from_config(hf: ForeignConfig) -> CLIPConfig:
    has_text, has_vision, is_projected = MODELS[read_class(hf)]
    size = hf.as_type(int, hf.get("projection_dim", 512), "projection_dim")
    hf.ignore("logit_scale_init_value", *INERT)
    text = vision = None
    tokens = hf.tokens()
    if has_text:
        keys = refined_group(hf, "text_config", "text_config_dict") if has_vision else hf
        text = read_tower(keys, TextConfig, TEXT_KEYS)
        tokens |= read_tokens(keys, tokens["dtype"])
    if has_vision:
        keys = refined_group(hf, "vision_config", "vision_config_dict") if has_text else hf
        vision = read_tower(keys, TowerConfig, VISION_KEYS)
    return CLIPConfig(text=text, vision=vision, projection_size=size if is_projected else None, **tokens)


def to_config(c: CLIPConfig) -> dict[str, Any]:
    shape = (c.text is not None, c.vision is not None, c.projection_size is not None)
    name = next(name for name, has in MODELS.items() if has == shape)
    tokens = write_tokens(c)
    out: dict[str, Any] = {"architectures": [name], "dtype": tokens.pop("dtype"), "projection_dim": c.projection_size}
    text = None if c.text is None else write_tower(c.text, TEXT_KEYS) | tokens
    vision = None if c.vision is None else write_tower(c.vision, VISION_KEYS)
    if text is None or vision is None:
        kind = "clip_text_model" if text is not None else "clip_vision_model"
        alone = {**(text or {}), **(vision or {}), **({} if text else tokens)}
        return {**{k: v for k, v in out.items() if v is not None}, "model_type": kind, **alone}
    groups = {"text_config": text, "vision_config": vision}
    return {
        **out,
        "model_type": "clip",
        **{k: {"model_type": f"clip_{k.split('_')[0]}_model", **v} for k, v in groups.items()},
    }


def mapping(c: CLIPConfig) -> Table:
    text, vision = ("embeddings", "final_layer_norm"), ("embeddings", "pre_layrnorm", "post_layernorm")
    alone = {True: ("text_model", text), False: ("vision_model", vision)}[c.text is not None]
    # A tower that transformers 5 made on its own is stored without its name, which the hub's files have.
    bare = (rf"^(?=(?:{'|'.join(alone[1])}|encoder)\.)", f"{alone[0]}.")
    return Table(
        under("text", "text_model", *TEXT_RULES) if c.text else [],
        under("vision", "vision_model", *VISION_RULES) if c.vision else [],
        rename("text.projection", "text_projection"),
        rename("vision.projection", "visual_projection"),
        rename("logit_scale", "logit_scale"),
        spelling=None if c.is_pair else respell(bare),
    )


def read_class(hf: ForeignConfig) -> str:
    """The one class of MODELS that the file is of; any other, a classifier say, is refused."""
    kind = str(hf.get("model_type", "clip"))
    named = hf.get("architectures") or [PLAIN.get(kind, "")]
    if not isinstance(named, list) or named[0] not in [*MODELS] or (kind == "clip") != (named[0] == "CLIPModel"):
        why = did_you_mean(str(named), MODELS)
        raise CheckpointError(hf.file, "architectures", f"{clean(repr(named))} is not supported", why=why)
    return named[0]


def read_tokens(hf: ForeignConfig, dtype: str) -> dict[str, Any]:
    """Special tokens; where the text's keys name no end of text it is that of the class."""
    found = hf.tokens()
    return found | {"dtype": dtype, "eos_token_id": found["eos_token_id"] or [49407]}


CLIP = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
