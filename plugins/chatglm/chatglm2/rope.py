"""What `rope_ratio` means in a ChatGLM2 config.json; apart from chatglm2_hf because it means two things.

ChatGLM2-6B-32K divides positions by it, ChatGLM3 and GLM-4-9B multiply the base with it, and no key says which. GLM-4
is told by its vocabulary. A ratio beside the vocabulary that ChatGLM2 and ChatGLM3 share is refused until RATIO_OF
says.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import ForeignConfig, must_be

from .config import ChatGLM2Config

SHARED_VOCABULARY = 65_024
RATIO_OF = "zoo_rope_ratio_of"  # of zoo alone: base | positions
BASE = 10_000.0


def read_rope(hf: ForeignConfig, vocab_size: int) -> RopeConfig:
    """The rotary settings. Raises CheckpointError for a ratio of two meanings."""
    ratio = hf.as_type(float, hf.get("rope_ratio", 1.0), "rope_ratio")
    hf.assumed.pop("rope_ratio", None)  # younger than ChatGLM2 and ChatGLM3
    if RATIO_OF in hf:
        meant = hf.one_of(RATIO_OF, {"base": "base", "positions": "positions"}, "base")
    elif ratio == 1.0 or vocab_size != SHARED_VOCABULARY:
        meant = "base"
    else:
        raise CheckpointError(
            hf.file,
            "rope_ratio",
            f"{ratio:g} has two meanings: ChatGLM2 divides positions by it, ChatGLM3 multiplies the base by it",
            why="nothing in config.json distinguishes the two",
            hint=f'add "{RATIO_OF}": "positions" for ChatGLM2 or "base" for ChatGLM3 to config.json',
        )
    if meant == "positions":
        return RopeConfig(partial=0.5, scaling="linear", factor=ratio)
    return RopeConfig(theta=BASE * ratio, partial=0.5)


def write_rope(c: ChatGLM2Config) -> dict[str, Any]:
    """The keys of the rotary settings. Raises UsageError for those that the format has no words for."""
    if c.rope == RopeConfig(partial=0.5, scaling="linear", factor=c.rope.factor):
        return {"rope_ratio": c.rope.factor, RATIO_OF: "positions"}
    ratio = c.rope.theta / BASE
    must_be(c, "a ChatGLM2 config.json", rope=RopeConfig(theta=BASE * ratio, partial=0.5))
    if ratio == 1.0:
        return {}
    return {"rope_ratio": ratio} | ({RATIO_OF: "base"} if c.vocab_size == SHARED_VOCABULARY else {})
