"""/v1/embeddings: the mean of a decoder's last states over a text's tokens, as a unit vector.

Shapes: T tokens, D hidden.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import torch

from zoo.errors import UsageError
from zoo.generation.protocols import device_of
from zoo.serving.asked import Asked
from zoo.serving.failures import BadField
from zoo.serving.interface.prepared import encoded
from zoo.serving.roster import Roster, Volume


@dataclass(frozen=True)
class Texts:
    """Texts to be told as vectors."""

    volume: Volume
    rows: list[list[int]]
    is_packed: bool  # base64 of float32, little-endian


def read(fields: dict[str, Any], shelf: Roster) -> Texts:
    """The request. Raises ZooError for what cannot be."""
    asked, bounds = Asked(fields), shelf.bounds
    volume = shelf.find(asked.any("model"))
    given, form = asked.any("input"), asked.text("encoding_format")
    asked.inert("user")
    asked.only("dimensions", why="a vector is as long as the model's states")
    asked.finish()
    if form not in (None, "float", "base64"):
        raise BadField("encoding_format", f"encoding_format={form[:40]!r} is neither float nor base64")
    is_one = isinstance(given, str) or (isinstance(given, list) and given and type(given[0]) is int)
    listed = [given] if is_one else given
    if not isinstance(listed, list) or not 0 < len(listed) <= bounds.prompts:
        raise BadField("input", f"input is neither a text, tokens, nor a list of at most {bounds.prompts} of them")
    return Texts(volume, [_tokens(one, volume, shelf) for one in listed], form == "base64")


def _tokens(one: Any, volume: Volume, shelf: Roster) -> list[int]:
    tokens = encoded(volume, one, shelf.bounds) if isinstance(one, str) else one
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise BadField("input", "a text of input is neither a text nor a list of token ids")
    if not 0 < len(tokens) <= volume.context:
        raise BadField("input", f"a text of input has {len(tokens):,} tokens, not 1 to {volume.context:,}")
    return tokens


@torch.inference_mode()
def mean_state(model: Any, tokens: list[int]) -> list[float]:
    """A unit vector [D]. Raises UsageError for a model that is no decoder, or tokens that it does not have."""
    if not hasattr(model, "states"):
        raise UsageError("this model has no states that stand for a text's tokens", hint="decoders have")
    if not all(0 <= token < model.config.vocab_size for token in tokens):
        raise UsageError(f"a token is outside the model's vocabulary of {model.config.vocab_size}")
    states = model.states(torch.tensor([tokens], device=device_of(model)))[0].float()  # [T, D]
    mean = states.mean(0)
    return (mean / mean.norm().clamp(min=1e-12)).tolist()


def told(texts: Texts, rows: list[list[float]]) -> dict[str, Any]:
    """The answer."""
    vectors = [base64.b64encode(torch.tensor(r).numpy().tobytes()).decode() if texts.is_packed else r for r in rows]
    count = sum(map(len, texts.rows))
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
        "model": texts.volume.name,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }
