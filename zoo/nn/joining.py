"""Which caches can give their rows to another one, as requests that join and leave a running batch need."""

from __future__ import annotations

from typing import Any

from zoo.nn.cache import Cache


def can_join(cache: Any) -> bool:
    """Whether `cache.joined` keeps all that its rows hold.

    A class that says how rows are reordered keeps something of each; if it does not say how they are joined as well,
    that would be lost, and its texts are made one at a time.
    """
    return isinstance(cache, Cache) and _says_how(cache) and all(map(_says_how, cache.layers))


def can_share(cache: Any) -> bool:
    """Whether what it keeps of a text's beginning is the same in every text that begins so.

    Not where it depends on how long the text is, nor where it cannot forget what came after.
    """
    return can_join(cache) and cache.can_rewind and not cache.depends_on_length


def _says_how(held: Any) -> bool:
    order = type(held).__mro__
    first = {name: next((i for i, k in enumerate(order) if name in vars(k)), None) for name in ("joined", "reorder")}
    if first["joined"] is None or (first["reorder"] is not None and first["joined"] > first["reorder"]):
        return False
    return getattr(held, "can_join", True)
