"""What a model's own modules say of its attention: who sees whom among a few tokens, and how its positions rotate.

The module is built on meta, and its forward pass is asked where the tokens stand: no weight is needed for that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy import AttentionSpec
from zoo.anatomy.config import ModelConfig
from zoo.comparison.subject import ComparedModel
from zoo.models.construction import on_meta
from zoo.nn import (
    Alibi,
    ChunkMask,
    Decoder,
    DualChunkAttention,
    LatentAttention,
    LogNAttention,
    Mask,
    RelativeBias,
    Rope,
    Span,
    causal,
)

TOKENS = 24
PREFIX = 9  # tokens before the one that begins what is generated, where a model reads a prefix both ways
DRAWN = {"sliding_window": 8, "chunk_size": 10, "local_size": 2}  # fields cut down to fit into TOKENS
CAUSAL = (LatentAttention, DualChunkAttention, LogNAttention)  # attend causally and hold no mask of their own
SHADES = (1.0, 0.6, 0.3)  # of a query's own chunk, the one before, and all older ones


@dataclass(frozen=True)
class Picture:
    """Who sees whom: `shades` [query][key] from 0, not seen, to 1."""

    title: str
    caption: str
    shades: tuple[tuple[float, ...], ...]


@dataclass
class Look:
    """What is drawn of a model: masks, and wavelengths in tokens by the layers that rotate so."""

    masks: list[Picture] = field(default_factory=list)
    wavelengths: dict[str, tuple[float, ...]] = field(default_factory=dict)


def look(s: ComparedModel) -> Look:
    """The masks and wavelengths of a model, a picture for each kind of layer; empty where it says of none."""
    found = Look()
    if s.size is None:
        return found
    anatomy = s.size.anatomy
    config, cut = shrunk(s.config)
    model = on_meta(config)
    stacks = {a.stack for a in anatomy.attention}
    tokens = specimen(config)
    for a in anatomy.attention:
        attn = _module(model, a)
        if attn is None:
            continue
        span = _span(model, tokens)
        title = _title(a, anatomy.attention, len(stacks) > 1)
        if (seen := allowed(attn, span)) is not None:
            shades, words = _shaded(attn, span, seen)
            told = [f"{words} drawn as {DRAWN[key]}" for key, words in cut.items() if _reads(attn, key)]
            name = re.split(", (?:window|chunks of) ", title)[0] if told else title
            found.masks.append(Picture(name, "; ".join([*told, *words]), shades))
        for condition, frequencies in _frequencies(attn):
            waves = tuple(2 * math.pi / f for f in frequencies if f)  # what does not turn has none
            if waves not in found.wavelengths.values():
                found.wavelengths[title + condition] = waves
    return found


def allowed(attn: nn.Module, span: Span) -> Tensor | None:
    """Who may attend to whom by a module's own mask, [T, T]; None for a module of a kind that is not known."""
    own = getattr(attn, "mask", None)
    mask = own if isinstance(own, Mask) else causal if isinstance(attn, CAUSAL) else None
    if mask is None:
        return None
    seen = span.allowed(mask)
    if seen is not None:
        return seen[0]
    everyone = torch.ones(span.num_new, span.num_new, dtype=torch.bool)
    return everyone.tril() if span.is_causal(mask) else everyone


def specimen(config: ModelConfig) -> Tensor:
    """TOKENS tokens [1, T]; where a model marks the end of a prefix, its mark and the mask's are among them."""
    tokens = torch.full((1, TOKENS), 5)
    if (mark := getattr(config, "gmask_token_id", None)) is not None and config.bos_token_id is not None:
        tokens[0, PREFIX - 1], tokens[0, PREFIX] = mark, config.bos_token_id
    return tokens


def shrunk(config: ModelConfig) -> tuple[ModelConfig, dict[str, str]]:
    """The config with windows and chunks cut down to a few tokens, and what was cut: field -> field and value."""
    values = config.to_dict()
    cut: dict[str, str] = {}
    for group, key in list(_fields(values)):
        before = group.get(key)
        if isinstance(before, int) and before > TOKENS:
            cut[key] = f"{key.replace('_', ' ')} {before:,}"
    if "chunk_size" not in cut:
        cut.pop("local_size", None)
    for group, key in list(_fields(values)):
        if key in cut or (key == "local_size" and "chunk_size" in cut):
            group[key] = DRAWN[key]
    return (type(config).from_dict(values), cut) if cut else (config, {})


def _fields(values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every group of a config with a field that DRAWN names."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _fields(value)
        elif key in DRAWN and value is not None:
            yield values, key


def _reads(attn: nn.Module, key: str) -> bool:
    """Whether a field that was cut down is one that this module reads."""
    mask = getattr(attn, "mask", None)
    is_chunked = isinstance(mask, ChunkMask)
    if key == "sliding_window":
        return getattr(mask, "window", None) is not None and not is_chunked
    return isinstance(attn, DualChunkAttention) or (is_chunked and key == "chunk_size")


def _module(model: nn.Module, a: AttentionSpec) -> nn.Module | None:
    """The attention module of the first of some layers."""
    for path in (a.stack, f"{a.stack}.layers"):
        try:
            return model.get_submodule(f"{path}.{a.layers[0]}.attn") if a.layers else None
        except AttributeError:
            continue
    return None


def _span(model: nn.Module, tokens: Tensor) -> Span:
    """Where the model's own forward pass places the tokens."""
    if isinstance(model, Decoder):
        # What the trunk embeds and what it reads is left out; the rest of the pass is the model's.
        model.__dict__.update(encode=lambda tokens, span: span, read=lambda x, span, **rest: span)
        span = model(tokens)
        assert isinstance(span, Span)
        return span
    return Span(1, TOKENS, tokens.device)


def _shaded(attn: nn.Module, span: Span, seen: Tensor) -> tuple[tuple[tuple[float, ...], ...], list[str]]:
    """What is seen as shades, and what is to be said of them."""
    shade, words = seen.double(), []
    positions = span.positions[0]
    bias = getattr(attn, "bias", None)
    if isinstance(attn, DualChunkAttention):
        chunk = positions // attn.rope.chunk_len
        age = (chunk[:, None] - chunk).clamp(0, 2)
        shade = shade * torch.tensor(SHADES, dtype=torch.float64)[age]
        words.append("lighter: the chunk before; lightest: older chunks, all at one distance")
    elif isinstance(bias, Alibi):
        head = len(bias.slopes) // 2
        penalty = bias(positions[None, :, None], positions[None, None, :])[0, head]
        shade = shade * penalty.clamp(max=0).exp()
        words.append(f"fading as head {head + 1} of {len(bias.slopes)} weighs equal scores")
    elif isinstance(bias, RelativeBias):
        words.append("and a learned score per distance")
    if 1 < (first := int(seen[0].sum())) < len(seen):
        words.append(f"the first {first} tokens see one another")
    return tuple(tuple(row) for row in shade.tolist()), words


def _frequencies(attn: nn.Module) -> Iterator[tuple[str, list[float]]]:
    """Angles per position and channel pair, as the module holds them, and for which texts."""
    rope = getattr(attn, "rope", None)
    rope = getattr(rope, "own", rope)  # of dual chunks
    if isinstance(rope, Rope):
        yield "", rope.short
        if rope.long:
            yield f", beyond {rope.original:,} tokens", rope.long


def _title(a: AttentionSpec, every: list[AttentionSpec], has_stacks: bool) -> str:
    """Which layers: all 32 layers; 21 of 42 layers, window 4,096; encoder: all 6 layers."""
    total = sum(len(other.layers) for other in every if other.stack == a.stack)
    every_one = "its one layer" if total == 1 else f"all {total} layers"
    count = every_one if len(a.layers) == total else f"{len(a.layers)} of {total} layers"
    count += f", {'chunks of' if a.is_chunked else 'window'} {a.window:,}" if a.window else ""
    count += f", {a.chosen:,} keys chosen" if a.chosen else ""
    return f"{a.stack.removesuffix('.layers')}: {count}" if has_stacks else count
