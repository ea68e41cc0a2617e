"""What a model is tried with, by `zoo verify` and by the contract of families: which inputs it wants, and drawn ones.

Shapes: B batch, T tokens, C channels, H pixels along a side.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOST_DRAWN = 32_000  # tokens of a vocabulary that are drawn from: the first
TOWERS = {"tokens": "text", "pixels": "vision"}  # an input -> the part of a config without which there is none


def wanted(model: nn.Module) -> tuple[str, ...]:
    """What `forward` cannot do without, by name; of a model that insists on nothing, the tokens and pixels it reads."""
    parameters = inspect.signature(model.forward).parameters.values()
    needed = tuple(p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD)
    if needed:
        return needed
    named = (p.name for p in parameters if p.name in TOWERS)
    return tuple(name for name in named if getattr(model.config, TOWERS[name], True) is not None)


def outputs(found: Any) -> dict[str, Tensor]:
    """The floating-point tensors in what a model returns: the logits, or the fields of a record."""
    if isinstance(found, Tensor):
        return {"logits": found}
    if is_dataclass(found) and not isinstance(found, type):
        found = vars(found)
    elif hasattr(found, "_asdict"):
        found = found._asdict()
    return {name: x for name, x in found.items() if isinstance(x, Tensor) and x.is_floating_point()}


def field(config: object, name: str, default: Any = None) -> Any:
    """A field of a config, or of a record in it that has one of that name; `default` where neither has."""
    values = (getattr(config, name, None), *(field(record, name) for record in _records(config)))
    return next(filter(None, values), default)


def drawn_tokens(config: object, batch_size: int, length: int, seed: int = 0) -> Tensor:
    """Random texts [B, T] without the tokens that mean something to the config."""
    special = set(_special(config))
    plain = [t for t in range(min(field(config, "vocab_size", 2), MOST_DRAWN)) if t not in special]
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(plain)[torch.randint(len(plain), (batch_size, length), generator=generator)]


def drawn_pixels(config: object, batch_size: int, seed: int) -> Tensor:
    """Random images [B, C, H, H] of the size that the config names."""
    side, channels = field(config, "image_size", 8), field(config, "num_channels", 3)
    return torch.randn(batch_size, channels, side, side, generator=torch.Generator().manual_seed(seed))


def _records(config: object) -> Iterator[object]:
    return (value for value in vars(config).values() if is_dataclass(value) and not isinstance(value, type))


def _special(config: object) -> Iterator[int | None]:
    for name, value in vars(config).items():
        if "token_id" in name:
            yield from value if isinstance(value, list) else [value]
    for record in _records(config):
        yield from _special(record)
