"""SigLIP as Hugging Face stores it: the pair, one tower alone, or the one for images with classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.errors import CheckpointError, clean, did_you_mean
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    group,
    read_labels,
    rename,
    respell,
    tokens_of,
    under,
    write_labels,
    write_tokens,
)

from .config import SiglipConfig, SiglipVisionConfig
from .hf_towers import TEXT_RULES, read_text, read_vision, vision_rules, write_text, write_vision

Models = dict[str, tuple[str, bool, bool, str]]  # class -> (model_type, has texts, has images, head)


@dataclass(frozen=True)
class Spelt:
    """What files of SigLIP, and of SigLIP 2 for any resolution, call themselves, and how they tell a tower."""

    kind: str
    models: Models
    config: type[SiglipConfig]
    read_vision: Callable[[ForeignConfig], SiglipVisionConfig]
    write_vision: Callable[[SiglipVisionConfig], dict[str, Any]]


def models_of(name: str, kind: str) -> Models:
    """The classes of transformers whose names begin with `name`, of the model_type `kind`."""
    return {
        f"{name}Model": (kind, True, True, "none"),
        f"{name}TextModel": (f"{kind}_text_model", True, False, "none"),
        f"{name}VisionModel": (f"{kind}_vision_model", False, True, "none"),
        f"{name}ForImageClassification": (kind, False, True, "image_classification"),
    }


TOPS = ("embeddings", "encoder", "final_layer_norm", "post_layernorm", "head")  # of a tower


def read(hf: ForeignConfig, its: Spelt) -> SiglipConfig:
    """A config.json of either kind."""
    name = read_class(hf, its.models)
    _, has_text, has_vision, head = its.models[name]
    tokens, text, vision = hf.tokens(), None, None
    hf.ignore("initializer_factor")
    if has_text:
        keys = group(hf, "text_config") if has_vision else hf
        tokens = tokens_of(hf, keys) if has_vision else tokens
        text = read_text(keys, f"{its.kind}_text_model")
    if has_vision:
        keys = group(hf, "vision_config") if hf.get("model_type") == its.kind else hf
        keys.require(model_type=f"{its.kind}_vision_model")
        vision = its.read_vision(keys)
    classes: dict[str, Any] = {}
    if head != "none":
        hf.ignore("text_config")  # of the tower that it was cut from
        classes = read_labels(hf, SiglipConfig)
    return its.config(text=text, vision=vision, head=head, **classes, **tokens)


def write(c: SiglipConfig, its: Spelt) -> dict[str, Any]:
    """The same, backwards."""
    shape = (c.text is not None, c.vision is not None, c.head)
    name = next(name for name, (_, *has) in its.models.items() if tuple(has) == shape)
    kind, tokens = its.models[name][0], write_tokens(c)
    out = {"architectures": [name], "model_type": kind, "dtype": tokens.pop("dtype")}
    text = {} if c.text is None else write_text(c.text) | tokens
    vision = {} if c.vision is None else its.write_vision(c.vision)
    if kind != its.kind:
        return {**out, **text, **vision, **({} if text else tokens)}
    groups = {"text_config": text, "vision_config": vision}
    out |= {k: {"model_type": f"{kind}_{k.split('_')[0]}_model", **v} for k, v in groups.items() if v}
    return {**out, **({} if text else tokens), **write_labels(c.num_labels, c.labels)}


def mapping(c: SiglipConfig) -> Table:
    alone = "text_model" if c.text is not None else "vision_model"
    # A tower that transformers 5 made on its own is stored without its name, which earlier files have.
    bare = (rf"^(?=(?:{'|'.join(TOPS)})\.)", f"{alone}.")
    return Table(
        under("text", "text_model", *TEXT_RULES) if c.text else [],
        under("vision", "vision_model", *vision_rules(c.vision)) if c.vision else [],
        *(rename(name, name) for name in ("logit_scale", "logit_bias", "classifier")),
        spelling=None if c.is_pair else respell(bare),
    )


def read_class(hf: ForeignConfig, models: Models) -> str:
    """The one class that the file is of, of its kind's or the kind's first; any other is refused."""
    kind = str(hf.get("model_type", next(iter(models.values()))[0]))
    plain = next((name for name, (its, *_) in models.items() if its == kind), "")
    named = hf.get("architectures") or [plain]
    if not isinstance(named, list) or named[0] not in [*models] or models[named[0]][0] != kind:
        why = did_you_mean(str(named), models)
        raise CheckpointError(hf.file, "architectures", f"{clean(repr(named))} is not supported", why=why)
    return named[0]


def dialect_of(its: Spelt) -> Dialect[SiglipConfig]:
    """The format of either kind; tensors have the same names in both."""
    return Dialect(from_config=lambda hf: read(hf, its), to_config=lambda c: write(c, its), mapping=mapping)


SIGLIP = dialect_of(Spelt("siglip", models_of("Siglip", "siglip"), SiglipConfig, read_vision, write_vision))
