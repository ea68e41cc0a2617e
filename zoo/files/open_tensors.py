"""The tensors of an open checkpoint, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Self

from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor


class OpenTensors(Mapping[str, "Tensor"]):
    """A tensor is read on each access and not kept. Also a context manager, which closes the files."""

    def __init__(
        self, tensors: Mapping[str, TensorInfo], read: Callable[[str], Tensor], close: Callable[[], None]
    ) -> None:
        self._tensors, self._read, self._close = tensors, read, close

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors  # the inherited one would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files; tensors that were read stay valid."""
        self._close()
