"""Modules by dotted names, for tests."""

from __future__ import annotations

from torch import Tensor, nn


class Named(nn.Module):
    """Modules by dotted names, nested as the names say."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            for one in part if isinstance(part, nn.ModuleList) else [part]:
                x = one(x)
        return x
