"""/v1/embeddings: vectors as `zoo embed` makes them, and those of models that write, of their last states.

Shapes: T tokens, D hidden.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from zoo.embedding.pooling import pooled
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
    tokens = one
    if isinstance(one, str):
        tokens = encoded(volume, one, shelf.bounds)
        if volume.embedder is not None:
            return volume.embedder.rows([one])[0]  # what is too long is cut, as its recipe says
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise BadField("input", "a text of input is neither a text nor a list of token ids")
    if not 0 < len(tokens) <= volume.context:
        raise BadField("input", f"a text of input has {len(tokens):,} tokens, not 1 to {volume.context:,}")
    return tokens


@torch.inference_mode()
def vector_of(model: Any, tokens: list[int], volume: Volume) -> list[float]:
    """A vector [D]. Raises UsageError for a model without states, or tokens that it does not have."""
    size = getattr(model.config, "vocab_size", None) or volume.tokenizer.vocab_size
    if not all(0 <= token < size for token in tokens):
        raise UsageError(f"a token is outside the model's vocabulary of {size}")
    if volume.embedder is not None:
        return volume.embedder.vectors(model, [tokens])[0].float().tolist()
    if not hasattr(model, "states"):
        raise UsageError("this model has no states that stand for a text's tokens", hint="decoders have")
    states = model.states(torch.tensor([tokens], device=device_of(model))).float()  # [1, T, D]
    real = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    return F.normalize(pooled(states, real, (volume.pooling,)), dim=-1)[0].tolist()


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
