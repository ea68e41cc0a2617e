"""What files of Gemma 3n and Gemma 4 share: a text beside towers, embeddings per layer, and keys that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from zoo.anatomy import DecoderConfig
from zoo.errors import CheckpointError
from zoo.weights import Entry, ForeignConfig, group, ignore, rename, respell, tokens_of, under

from .hf import SANDWICH

C = TypeVar("C", bound=DecoderConfig)

TOWERS = ("vision_tower", "audio_tower", "embed_vision", "embed_audio")
TEXT_ALONE = "the towers for pictures and sound are not read: zoo has the text of this family"
SPELLING = respell((r"^model\.language_model\.", "model."))
PER_LAYER: tuple[Entry, ...] = (
    rename("layer_embed", "embed_tokens_per_layer"),
    rename("layer_proj", "per_layer_model_projection"),
    rename("layer_norm", "per_layer_projection_norm"),
)
EMBEDDINGS: tuple[Entry, ...] = (  # of each layer, and what the files hold beside the text
    *under("", "model", *PER_LAYER),
    *(ignore(f"model.{tower}", "the towers: zoo has the text of this family") for tower in TOWERS),
)
LAYER: tuple[Entry, ...] = (
    rename("layer_gate", "per_layer_input_gate"),
    rename("layer_proj", "per_layer_projection"),
    rename("layer_norm", "post_per_layer_input_norm"),
    *SANDWICH,
)


def read_text(
    hf: ForeignConfig, kind: str, beside: tuple[str, ...], read: Callable[[ForeignConfig, dict[str, Any]], C]
) -> C:
    """The config of a text that stands alone, or in the group of a model with towers."""
    if "text_config" not in hf:
        return read(hf, hf.tokens())
    text = group(hf, "text_config")
    text.require(model_type=kind)
    hf.ignore(*beside)
    hf.told["vision_config"] = TEXT_ALONE
    c = read(text, tokens_of(hf, text))
    if hf.get("tie_word_embeddings", c.tie_embeddings) != c.tie_embeddings:
        raise CheckpointError(hf.file, "tie_word_embeddings", "text_config says otherwise")
    return c


def unread(first_sharing: int, num_layers: int, prefix: str = "model") -> list[Entry]:
    """Projections that some files keep of layers which take their keys and values from an earlier one."""
    return [
        ignore(f"{prefix}.layers.{i}.self_attn.{name}", "the layer takes the keys and values of an earlier one")
        for i in range(first_sharing, num_layers)
        for name in ("k_proj", "v_proj", "k_norm", "v_norm")
    ]
