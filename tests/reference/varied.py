"""Models of transformers whose config differs from that of the tiny checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import torch

TOKENS = torch.randint(4, 140, (2, 30), generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def make(maker: ModuleType, name: str, changes: dict[str, Any], folder: Path) -> Any:
    """A model of transformers in float64 whose config differs from the fixture's, and its checkpoint."""
    model = maker.build(maker.hub_config(name) | changes, torch.float64)
    maker.randomize(model, 0)
    for key, p in model.named_parameters():
        if key.endswith("bias"):
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
    model.save_pretrained(folder)
    return model
