"""The heap of this process, given back to the system where it holds nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def trim() -> None:
    """Give back the pages of the heap that hold nothing; where the C library knows no such thing, do nothing.

    Small tensors that are kept lie among large ones that came and went, and glibc does not reuse what aligned ones
    leave: a model that was rounded tensor by tensor took ten times its bytes.
    """
    if (give := _give()) is not None:
        give(0)


@cache
def _give() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library
        return None
