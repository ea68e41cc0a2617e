"""How a family's checkpoints are stored elsewhere: the config's keys and the names of the weights, read both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from zoo.anatomy.config import ModelConfig
from zoo.errors import UsageError
from zoo.files.tensor_info import TensorInfo
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.table import Table

C = TypeVar("C", bound=ModelConfig)


@dataclass(frozen=True)
class Match:
    """How surely a config belongs to a family: a score from 0 to 1, and what it rests on.

    A claim may stand `instead` of that of another family, which it builds on.
    """

    score: float
    reasons: tuple[str, ...]
    format: str = ""  # of a folder with a config.json, which of the family's formats it is; empty: hf
    instead: str = ""  # the family whose claim on the same config is dropped for this one


class Files(NamedTuple):
    """What the files of a format are called; weights without a pickle's name are written as safetensors."""

    config: str = "config.json"
    pickle: str | None = None


def read_only(config: ModelConfig) -> dict[str, Any]:
    """What writes the config of a format that zoo reads and does not write. Raises UsageError."""
    raise UsageError("zoo can read this format but not write it", hint="write hf or zoo")


SAFETENSORS = Files()


@dataclass(frozen=True, kw_only=True)
class Dialect(Generic[C]):
    """One format of one family, as functions that need no torch: inspecting a checkpoint needs none of it.

    `from_config` accounts for every key of the foreign config, raising CheckpointError for what it cannot mean;
    `to_config` writes the keys again, raising UsageError for what the format cannot store; `mapping` is the table of
    weights, ours on the left, read both ways.
    """

    from_config: Callable[[ForeignConfig], C]
    to_config: Callable[[C], dict[str, Any]] = read_only
    mapping: Callable[[C], Table]
    mapping_of: Callable[[C, Mapping[str, TensorInfo]], Table] | None = None  # where the layout depends on the files
    matches: Callable[[Mapping[str, Any]], Match | None] | None = None  # None: by the family's `hf_types`
    files: Files = SAFETENSORS

    @classmethod
    def of(cls, source: Spoken[C]) -> Dialect[C]:
        """The dialect whose functions are the methods of `source`: what several generations share, each its own."""
        return cls(
            from_config=source.from_config,
            to_config=source.to_config,
            mapping=source.mapping,
            mapping_of=getattr(source, "mapping_of", None),
        )

    @property
    def is_written(self) -> bool:
        """Whether zoo writes the format, too."""
        return self.to_config is not read_only

    def table(self, config: C, tensors: Mapping[str, TensorInfo] | None = None) -> Table:
        """The table of weights: for files that hold `tensors`, or as zoo writes them."""
        if tensors is not None and self.mapping_of is not None:
            return self.mapping_of(config, tensors)
        return self.mapping(config)


class Spoken(Protocol[C]):
    """Anything with the three functions that every dialect has."""

    def from_config(self, hf: ForeignConfig, /) -> C: ...

    def to_config(self, c: C, /) -> dict[str, Any]: ...

    def mapping(self, c: C, /) -> Table: ...
