"""Adapters: a few numbers beside the weights of a model, made and trained in zoo, or read from folders of peft."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {  # what needs torch is imported when it is asked for
    "Adaptation": "zoo.adapters.making",
    "adapt": "zoo.adapters.making",
    "merge": "zoo.adapters.merging",
    "save_adapter": "zoo.adapters.export",
}

__all__ = ["Adaptation", "adapt", "merge", "save_adapter"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo.adapters' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


if TYPE_CHECKING:
    from zoo.adapters.export import save_adapter
    from zoo.adapters.making import Adaptation, adapt
    from zoo.adapters.merging import merge
