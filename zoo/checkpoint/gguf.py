"""A checkpoint as one GGUF file: weights, hyperparameters, tokenizer and settings, put in place whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.interpretation import table_for
from zoo.errors import CheckpointError, UsageError, ZooError, some
from zoo.files.gguf.encoding import BLOCK, BLOCKS, EXPERTS, FILE_TYPES, bytes_of_type, chosen_type, type_named
from zoo.files.gguf.writer import Specs, write_gguf
from zoo.files.gguf_header import read_raw_header
from zoo.files.safetensors_writer import TensorSpec
from zoo.files.staging import staged_file
from zoo.registry.family import Family
from zoo.weights.gguf.layout import ENDS
from zoo.weights.table import Table

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.checkpoint.inspection import Ledger

OURS = "zoo.provenance"  # the key that says that zoo wrote a file, and from what


@dataclass(frozen=True)
class GGUFPlan:
    """A file before it is written: its metadata and its tensors' types and shapes, all from headers."""

    metadata: dict[str, Any]
    specs: Specs
    extra: dict[str, Tensor]  # settings that the format keeps as tensors
    notes: list[str]  # what is to be told

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(bytes_of_type(*spec) for spec in self.specs.values())


def planned(
    family: Family,
    config: ModelConfig,
    foreign: Mapping[str, TensorSpec],
    *,
    encoding: str | None,
    companions: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> GGUFPlan:
    """What is to be written of a model whose tensors the table calls `foreign`.

    `encoding` is the type of its matrices (q8_0, ...), None: as they are. Raises UsageError for what llama.cpp has no
    words for.
    """
    kind = type_named(encoding) if encoding else None
    extra = _settings(table_for(family, "gguf", config))
    specs = {name: (chosen_type(name, spec, kind), spec[1]) for name, spec in foreign.items()}
    if kind == "MXFP4" and not any(name.endswith(EXPERTS) for name in specs):
        raise UsageError("the model has no experts, whose matrices alone are written as mxfp4", hint="q4_0 is as small")
    specs |= {name: ("F32" if t.ndim < 2 else "F16", tuple(t.shape)) for name, t in extra.items()}
    metadata = family.dialect("gguf").to_config(config)
    most = max((k for k in FILE_TYPES), key=lambda k: sum(bytes_of_type(*s) for s in specs.values() if s[0] == k))
    metadata |= {"general.file_type": FILE_TYPES[most]}
    if kind in BLOCKS:
        metadata["general.quantization_version"] = 2
    metadata = _with_ends({"tokenizer.ggml.model": "none"} | metadata, companions)
    metadata[OURS] = json.dumps(provenance, ensure_ascii=False, sort_keys=True)
    odd = [name for name, (found, s) in specs.items() if kind in BLOCKS and found == "F16" and s[-1] % BLOCK]
    told = f"{some(odd)}: rows that are not whole blocks of {kind}, written as float16"
    return GGUFPlan(metadata, specs, extra, [told] if odd else [])


def _with_ends(metadata: dict[str, Any], companions: Mapping[str, Any]) -> dict[str, Any]:
    """The special tokens that both name are the tokenizer's, and its end of a text is the first."""
    keys = [f"tokenizer.ggml.{name}_token_id" for name in ENDS]
    ends = [metadata[key] for key in keys if key in metadata]
    own = [companions[keys[0]]] if keys[0] in companions else []
    ordered = dict.fromkeys([*own, *ends])
    return metadata | dict(companions) | dict(zip(keys, ordered, strict=False))


def put(
    plan: GGUFPlan, target: Path, stream: Iterable[tuple[str, Tensor]], *, force: bool, sources: Sequence[Path]
) -> Path:
    """Write the file. Raises ZooError, and leaves what was there, if the target is not free or the disk refuses."""
    target = Path(os.path.abspath(target))
    check_file(target, sources, force)
    try:
        with staged_file(target, lambda path: check_file(path, sources, force)) as file:
            if plan.nbytes > (free := shutil.disk_usage(target.parent).free):
                raise ZooError(f"{target}: needs {plan.nbytes:,} bytes, {free:,} are free on that disk")
            write_gguf(file, plan.metadata, plan.specs, chain(_flat(stream, plan.specs), plan.extra.items()))
    except OSError as error:
        what = f"{target} was not written: {error.strerror or error}"
        raise ZooError(what, why="what was there before is unchanged") from error
    return target


def check_file(target: Path, sources: Sequence[Path], force: bool) -> None:
    """Raise ZooError unless a file may be written there: nothing replaces one that zoo did not write."""
    if target.suffix != ".gguf":
        raise UsageError(f"{target} is not the name of a GGUF file", hint=f"call it {target.name or 'model'}.gguf")
    if not target.exists() and not target.is_symlink():
        return
    if target.is_symlink() or not target.is_file() or not _is_ours(target):
        hint = "choose another name: zoo never changes a file that it did not write"
        raise ZooError(f"{target} exists, and zoo did not write it", hint=hint)
    if any(target.resolve() == source.resolve() for source in sources):
        raise ZooError(f"{target} is the source itself", hint="choose another name")
    if not force:
        hint = "choose another name, or replace it: --force where the command has it, force=True in Python"
        raise ZooError(f"{target} exists already", hint=hint)


def words_of(ledger: Ledger | None, rows: int) -> dict[str, Any]:
    """Tokenizer, chat template and settings of generation of a checkpoint, as metadata; `rows` are the embedding's."""
    if ledger is None:
        return {}
    from zoo.text.into_gguf import metadata_of, settings_of

    named = {"general.name": Path(ledger.repo or ledger.source).name}
    try:
        tokenizer = ledger.tokenizer
    except CheckpointError as error:
        if _has_tokenizer(ledger):
            raise
        from warnings import warn

        from zoo.errors import ZooWarning

        first = str(error).splitlines()[0]
        warn(f"the file will have no tokenizer: {first}", ZooWarning, stacklevel=2)
        return named
    return named | metadata_of(tokenizer, rows) | settings_of(ledger.checkpoint)


def _has_tokenizer(ledger: Ledger) -> bool:
    from zoo.hub.listing import COMPANIONS

    checkpoint = ledger.checkpoint
    if checkpoint.dialect == "gguf":
        return checkpoint.config.get("tokenizer.ggml.model", "none") != "none"
    settings = ("generation_config.json", "processor_config.json", "tokenizer_config.json")
    others = {name for name in COMPANIONS if name not in settings and "preprocessor" not in name}
    return any((checkpoint.folder / name).is_file() for name in others if "template" not in name)


def _settings(table: Table) -> dict[str, Tensor]:
    """What the table passes over when it reads, and the file must hold all the same: settings and fillers."""
    import torch

    fillers = {i.theirs: torch.zeros(()).expand(i.filler) for i in table.ignored if i.filler}
    return fillers | {i.theirs: torch.tensor(i.witness()[0], dtype=torch.float32) for i in table.ignored if i.witness}


def _flat(stream: Iterable[tuple[str, Tensor]], specs: Specs) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in stream:
        yield name, tensor.reshape(specs[name][1])


def _is_ours(path: Path) -> bool:
    try:
        return OURS in read_raw_header(path, longest=0).metadata
    except CheckpointError:
        return False
