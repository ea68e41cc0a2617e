"""A folder that rank 0 writes, while all ranks give their parts of the weights and write their parts of the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from zoo.files.staging import sync_folder
from zoo.files.write import write_folder
from zoo.parallel.agreement import together
from zoo.training.ranks.states import write_states
from zoo.training.running.state import STATES


def written_by_all(
    states: Mapping[str, Tensor],
    target: Path,
    tensors: Mapping[str, Any],
    stream: Iterable[tuple[str, Tensor]],
    *,
    unlisted: Mapping[str, Callable[[Path], object] | None],
    **settings: Any,
) -> Path:
    """As `write_folder`, with the states beside the weights, whole or not at all, and the same on every rank."""
    parts = iter(stream)

    def first() -> None:
        is_told = False

        def put(path: Path) -> None:
            nonlocal is_told
            is_told = True
            _told(str(path))
            write_states(states, path)
            sync_folder(path)

        try:
            write_folder(target, tensors, parts, unlisted={**unlisted, STATES: put}, **settings)
        finally:  # whatever happens to the files, the others wait for this rank's parts, and for what it says then
            _drain(parts)
            if not is_told:
                _told(None)

    def other() -> None:
        _drain(parts)
        if (path := _told(None)) is not None:
            write_states(states, Path(path))

    together(first if dist.get_rank() == 0 else other)
    return target


def _drain(parts: Iterator[Any]) -> None:
    for _ in parts:
        pass


def _told(path: str | None) -> str | None:
    """What rank 0 says."""
    words: list[Any] = [path]
    dist.broadcast_object_list(words, src=0)
    return words[0]
