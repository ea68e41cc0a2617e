"""Many texts at once that need not begin or end together: requests join and leave a running batch between steps."""

from __future__ import annotations

from zoo.generation.batching.beginnings import Beginnings
from zoo.generation.batching.engine import Engine
from zoo.generation.batching.request import Growth, QueueFull, Request, TokenScore
from zoo.generation.batching.whole import Utterance, generate_all, generate_each

__all__ = [
    "Beginnings",
    "Engine",
    "Growth",
    "QueueFull",
    "Request",
    "TokenScore",
    "Utterance",
    "generate_all",
    "generate_each",
]
