"""How the tensors of a checkpoint get into another: moved as they lie in its files, or computed one by one.

Either way the files are hashed while that goes on. What only moves needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from zoo.checkpoint.export_plan import ExportPlan
from zoo.checkpoint.places import in_file
from zoo.checkpoint.ties import check_moved
from zoo.errors import CheckpointError
from zoo.files.bits import all_finite
from zoo.files.gguf_file import read_gguf_header
from zoo.files.hashing import Hashing
from zoo.files.moved import moved
from zoo.files.pickle_file import read_pickle_header
from zoo.files.safetensors_file import read_header
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from zoo.adapters.fit.settled import AdapterFit

Stream = Iterator[tuple[str, Any]]  # names of the target, with tensors or parts of them


class Way:
    """The tensors of a plan, with an adapter merged into them where one is given. A context manager."""

    def __init__(self, plan: ExportPlan, fit: AdapterFit | None = None, *, is_moved: bool = True) -> None:
        self.plan, self.fit = plan, fit
        self.notes: tuple[str, ...] = ()
        self.moves = moves_of(plan) if fit is None and is_moved else None
        self._hashing: Hashing | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._hashing is not None:
            self._hashing.__exit__(*error)

    def hashes(self) -> dict[str, str]:
        """The sha256 of each source file by name."""
        return self._begun().hashes()

    @contextmanager
    def tensors(self) -> Iterator[Stream]:
        """The tensors, or parts of them. Raises CheckpointError for NaN, infinity and what contradicts the config."""
        self._begun()  # before torch is imported, which takes as long
        if self.moves is not None:
            check_moved(self.plan.ledger)
            yield moved(self.moves, partial(_check, self.plan, self.moves), partial(_check_places, self.moves))
        elif self.fit is None:
            with self.plan.tensors() as tensors:
                yield tensors
        else:
            from zoo.checkpoint.merged import merged_tensors

            with merged_tensors(self.plan, self.fit) as (tensors, merging):
                yield tensors
            self.notes = (*self.fit.notes, merging.note())

    def _begun(self) -> Hashing:
        if self._hashing is None:
            self._hashing = Hashing(self.plan.ledger.checkpoint.files)
        return self._hashing


def moves_of(plan: ExportPlan) -> dict[str, TensorInfo] | None:
    """What is moved of a plan: all of it, to files of safetensors, or None."""
    return plan.moves() if plan.is_safetensors else None


def _check_places(moves: Mapping[str, TensorInfo], file: Path) -> None:
    """Refuse a file that was written anew since its header was read: its tensors may lie elsewhere."""
    found = _header_of(file)
    places = {info.offset: info for info in found.values()}
    for info in moves.values():
        if info.file == file and not _is_there(info, found.get(info.name) or places.get(info.offset)):
            raise CheckpointError(file, info.name, "changed since its header was read")


def _header_of(file: Path) -> Mapping[str, TensorInfo]:
    if file.suffix == ".gguf":
        return read_gguf_header(file).tensors
    return read_header(file).tensors if file.suffix == ".safetensors" else read_pickle_header(file)


def _is_there(info: TensorInfo, found: TensorInfo | None) -> bool:
    """Whether a tensor is where it was; a wrapper's prefix may have been taken off its name."""
    return found is not None and replace(found, name=info.name) == info and found.name.endswith(info.name)


def _check(plan: ExportPlan, moves: Mapping[str, TensorInfo], name: str, data: memoryview) -> None:
    if not all_finite(data, moves[name].dtype):
        owner = next(step for step in plan.steps if name in step.theirs)
        ours = owner.ours[owner.theirs.index(name)]
        raise CheckpointError(*in_file(plan.ledger, ours), "it contains NaN or infinity")
