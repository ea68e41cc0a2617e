"""A case of a mistake, as repairs are tried on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from zoo.verification.mistakes.repair import Case, Repair


@dataclass
class Nested:
    num_heads: int = 4
    is_wide: bool = True


@dataclass
class Config:
    hidden_size: int = 20
    num_heads: int = 5
    head_dim: int = 6
    sliding_window: int | None = 8
    softcap: float | None = 17.0
    norm_eps: float = 3e-4
    routed_scale: float = 2.5
    theta: float = 123.0
    text: Nested = field(default_factory=Nested)
    name: str = "num_heads"


def case(modules: dict[str, Any], config: Any = None, theirs: dict[str, Tensor] | None = None) -> Case:
    return Case(modules, config or Config(), lambda name: (theirs or {}).get(name))


def kinds(found: Iterator[Repair]) -> list[tuple[str, str]]:
    return [(repair.kind, repair.where) for repair in found]


def module(**fields: Any) -> nn.Module:
    made = nn.Module()
    for name, value in fields.items():
        setattr(made, name, value)
    return made
