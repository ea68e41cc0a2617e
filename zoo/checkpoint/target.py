"""Where a checkpoint goes, in one of its family's formats: a folder, or one GGUF file, with what goes along."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from warnings import warn

from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.anatomy.differing import TOKENS, differences
from zoo.checkpoint.gguf import GGUFPlan, check_file, planned, put, words_of
from zoo.checkpoint.interpretation import second_names
from zoo.checkpoint.modules import modules_beside
from zoo.errors import CheckpointError, UsageError, ZooWarning, some
from zoo.files.checkpoint import Checkpoint
from zoo.files.regular import own_file
from zoo.files.safetensors_writer import TensorSpec
from zoo.files.shards import bytes_of
from zoo.files.write import Provenance, check_target, write_folder
from zoo.hub.listing import COMPANIONS, MODULES
from zoo.registry.family import OURS, Family
from zoo.weights.foreign import ForeignConfig
from zoo.weights.foreign.inert import OF_SCORES

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger

C = TypeVar("C", bound=ModelConfig)


@dataclass(frozen=True)
class Target:
    """What is to be written and where, known before a tensor is computed."""

    path: Path
    family: Family
    format: str
    config: ModelConfig
    tensors: Mapping[str, TensorSpec]  # dtype and shape of each, as the format calls them
    provenance: Provenance
    ledger: Ledger | None  # of the checkpoint that it comes from
    max_shard_size: int  # bytes
    force: bool  # replace what zoo wrote
    encoding: str | None  # the type of a GGUF file's matrices; None: as they are
    settings: Mapping[str, Any] = field(default_factory=dict)  # what config.json says besides: how weights are packed

    @cached_property
    def gguf(self) -> GGUFPlan | None:
        """The plan of a GGUF file; None for a folder."""
        if self.format != "gguf":
            return None
        return planned(
            self.family,
            self.config,
            self.tensors,
            encoding=self.encoding,
            companions=words_of(self.ledger, getattr(self.config, "vocab_size", 0)),
            provenance=self.provenance() if callable(self.provenance) else self.provenance,
        )

    @property
    def written(self) -> Mapping[str, TensorSpec]:
        """Type and shape of each tensor as it will lie there."""
        return self.gguf.specs if self.gguf else self.tensors

    @property
    def num_tensors(self) -> int:
        return len(self.written)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return self.gguf.nbytes if self.gguf else sum(map(bytes_of, self.tensors.values()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about it, a sentence each."""
        if not self.gguf:
            return ()
        lost = self.ledger is not None and (self.ledger.checkpoint.folder / MODULES).is_file()
        return (
            *self.gguf.notes,
            *([f"{MODULES} is left behind: a GGUF file does not say how vectors are made"] * lost),
        )

    def check(self) -> None:
        """Raise ZooError unless it may be written there."""
        (check_file if self.gguf else check_target)(self.path, self._sources, self.force)

    def write(self, stream: Iterable[tuple[str, Any]]) -> Path:
        """Write it, of the tensors, or the parts of them, that `stream` yields: all or nothing."""
        if self.gguf:
            return put(self.gguf, self.path, stream, force=self.force, sources=self._sources)
        return write_folder(
            self.path,
            self.tensors,
            stream,
            config=foreign_config(self.family, self.format, self.config)
            | kept_settings(self.ledger, self.format)
            | {**self.settings},
            extra=companions(self.ledger.checkpoint) if self.ledger else {},
            provenance=self.provenance,
            max_shard_size=self.max_shard_size,
            force=self.force,
            sources=self._sources,
            **self._files(),
        )

    def _files(self) -> dict[str, Any]:
        """What the files of the format are called, and what writes them where they are no safetensors."""
        if self.format not in OURS:
            files = self.family.dialect(self.format).files
            return {"config_name": files.config, "pickle_name": files.pickle}
        if self.format == "zoo":
            return {}
        from zoo.files.dcp.writer import write_dcp

        second = second_names(self.config)
        return {
            "write_weights": lambda folder, stream: write_dcp(
                folder, self.tensors, stream, max_shard_size=self.max_shard_size, second_names=second
            )
        }

    @property
    def _sources(self) -> list[Path]:
        return [self.ledger.checkpoint.path] if self.ledger else []


def foreign_config(family: Family, format: str, config: ModelConfig) -> dict[str, Any]:
    """What config.json says in this format. Raises UsageError for what it cannot store."""
    if format in OURS:
        from zoo.version import __version__

        return {"zoo": __version__, **config.to_dict()}
    raw = family.dialect(format).to_config(config)
    if format == "hf":
        _check_said(family, raw, config)
    return raw


def _check_said(family: Family, raw: Mapping[str, Any], config: ModelConfig) -> None:
    """Read a config.json before it is written: UsageError where it would be another model's, or nobody's."""
    keys = ForeignConfig(json.loads(json.dumps(raw)))
    where = f"{family.name}'s config.json cannot store this model"
    try:
        back = family.dialect("hf").from_config(keys)
    except CheckpointError as error:
        raise UsageError(where, why=f"zoo would refuse it: {str(error).splitlines()[0]}") from None
    lines = differences(_spelled_out(back), _spelled_out(config))
    if lost := [line for line in lines if line.split(":")[0].removeprefix("model.") not in TOKENS]:
        raise UsageError(where, why=f"read again, it says another: {some(lost)}")


def _spelled_out(config: C) -> C:
    """A config in which None no longer stands for the model's own context, where a rotation is stretched from it."""
    changed: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, ModelConfig):
            changed[name] = _spelled_out(value)
        elif isinstance(value, RopeConfig) and value.scaling != "none" and value.original_max_seq_len is None:
            changed[name] = replace(value, original_max_seq_len=vars(config).get("max_seq_len"))
    return replace(config, **changed) if changed else config


def kept_settings(ledger: Ledger | None, format: str) -> dict[str, Any]:
    """What config.json held of scores, and of generation, unless a generation_config.json that goes along holds it."""
    raw = {} if ledger is None else ledger.checkpoint.config
    scores = {name: raw[name] for name in OF_SCORES if name in raw and format in ("hf", *OURS)}
    if ledger is None or format != "hf" or ledger.checkpoint.dialect != "hf":
        return scores
    from zoo.generation import settings_in

    has_file = (ledger.checkpoint.folder / "generation_config.json").is_file()
    return scores if has_file else scores | settings_in(raw)


def companions(checkpoint: Checkpoint) -> dict[str, bytes | Path]:
    """What goes along with the weights: tokenizer, chat template, generation settings, how vectors are made.

    They are the files beside the weights; a GGUF file has them within.
    """
    folder = checkpoint.folder
    beside: dict[str, bytes | Path] = {
        name: own_file(folder / name) for name in COMPANIONS if (folder / name).is_file()
    } | modules_beside(folder)
    if checkpoint.dialect != "gguf" or checkpoint.config.get("tokenizer.ggml.model", "none") == "none":
        return beside
    from zoo.text.export import gguf_files

    try:
        return dict(gguf_files(checkpoint.metadata(), checkpoint.files[0]))
    except CheckpointError as error:
        first = str(error).splitlines()[0]
        warn(f"the tokenizer is not written: {first}", ZooWarning, stacklevel=2)
        return beside
