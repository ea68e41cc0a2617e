"""Weights that stay packed as they lie in the file: mapped, and computed with by the numbers that they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checkpoint.checks import is_finite
from zoo.checkpoint.inspection import Ledger
from zoo.errors import CheckpointError, UsageError, some
from zoo.files.copied import copied
from zoo.files.gguf_file import GGUFReader
from zoo.files.packed import PackedMatrix, Packing
from zoo.files.packed.gguf_blocks import blocks_of
from zoo.models.rounding import BFLOAT16
from zoo.nn.packed import (
    FilePart,
    Int4Groups,
    Int8Rows,
    OfFile,
    can_be_packed,
    is_packable_table,
    put_packed,
    put_table,
)
from zoo.units import human_bytes
from zoo.weights.account import grouped
from zoo.weights.ops import transpose
from zoo.weights.row_maps import RowRun, row_maps
from zoo.weights.table import Step


@dataclass
class Kept:
    """What stayed packed, and what was packed in the file and could not stay so: our name -> the reason."""

    names: dict[str, str] = field(default_factory=dict)  # our weight -> how it is packed
    unpacked: dict[str, str] = field(default_factory=dict)
    nbytes: int = 0  # of the matrices that stayed, in the file
    by_kernel: int = 0  # of the weights: those that a kernel multiplies by

    def note(self) -> str:
        """All this in a sentence."""
        kinds = Counter(self.names.values())
        words = "; ".join(f"{kind} ({count})" for kind, count in kinds.most_common(3))
        told = f"kept packed: {len(self.names)} weights, {human_bytes(self.nbytes)}: {words}"
        told += f"; {BFLOAT16} ({self.by_kernel})" if self.by_kernel else ""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.unpacked.items():
            reasons.setdefault(reason, []).append(name)
        return told + "".join(f"; unpacked: {some(grouped(names), 4)}, {why}" for why, names in reasons.items())


class Keeper:
    """Puts the packed matrices of a checkpoint into a model as they are."""

    def __init__(self, ledger: Ledger, model: nn.Module, dtype: torch.dtype | None, device: torch.device) -> None:
        self.ledger, self.model, self.dtype, self.device = ledger, model, dtype, device
        self.packing = _packing(ledger)
        self.raw = _open(ledger, self.packing)
        self.done = Kept()

    def keeps(self, step: Step) -> bool:
        """Put all weights of a step into the model as they lie in the file, where that can be."""
        actual = self.ledger.account.actual
        found = [self.packing.matrices.get(actual[name]) for name in step.theirs]
        if not any(found):
            return False
        records = [record for record in found if record is not None]
        reason = self._against(step, records)
        maps = None if reason else self._maps(step, records)
        if maps is None:
            why = reason or "the table moves more than whole rows of it"
            self.done.unpacked |= dict.fromkeys(step.ours, why)
            return False
        records = [record.turned or record for record in records]
        held = [{role: self._part(info.name, record) for role, info in record.parts.items()} for record in records]
        for name, pieces in zip(step.ours, maps, strict=True):
            self._put(name, records, held, pieces)
        self.done.nbytes += sum(record.nbytes for record in records)
        return True

    def _against(self, step: Step, records: list[PackedMatrix]) -> str:
        """Why the weights of a step cannot stay packed."""
        if len(records) < len(step.theirs):
            return "what it is joined with is not packed"
        if not all(can_be_packed(self.model, name) or is_packable_table(self.model, name) for name in step.ours):
            return "it is no matrix of a linear layer of its own"
        return ""

    def _maps(self, step: Step, records: list[PackedMatrix]) -> list[list[RowRun]] | None:
        theirs, ours, op = [record.shape for record in records], [self.ledger.shapes[n] for n in step.ours], step.op
        if all(record.turned for record in records):
            theirs, op = transpose.our_shapes(theirs), transpose >> op
        is_wide = len({shape[-1] for shape in (*theirs, *ours)}) == 1
        return row_maps(op, theirs, ours) if is_wide else None

    def _part(self, name: str, record: PackedMatrix) -> Tensor:
        is_changed = record.encoding.settings.get("layout") == "pack-quantized"  # into the order of a kernel
        info = next(info for info in record.parts.values() if info.name == name)
        part = copied(info, name, self.raw) if is_changed else self.raw[name]
        if part.is_floating_point() and part.itemsize > 1 and not is_finite(part):
            raise CheckpointError(self.ledger.checkpoint.files[0], name, "it contains NaN or infinity")
        return part

    def _put(self, name: str, records: list[PackedMatrix], held: list[dict[str, Tensor]], pieces: list[RowRun]) -> None:
        only = pieces[0]
        scheme: Any = None
        parts: dict[str, Tensor] = {}
        if len(pieces) == 1:
            scheme, parts = _for_kernels(records[only.source], held[only.source], only)
        if scheme is None:
            used = dict.fromkeys(piece.source for piece in pieces)
            names = {i: {role: f"{role}_{i}" for role in held[i]} for i in used}
            parts = {names[i][role]: part for i in used for role, part in held[i].items()}
            scheme = OfFile(
                tuple(FilePart(records[p.source], names[p.source], (p.first, p.last), p.order) for p in pieces)
            )
        parts = {role: part.to(self.device) for role, part in parts.items()}
        dtype = self.dtype or getattr(torch, records[only.source].dtype)
        if is_packable_table(self.model, name):
            layer = put_table(self.model, scheme, parts, dtype=dtype)
        else:
            layer = put_packed(self.model, name, scheme, parts, dtype=dtype)
        self.done.by_kernel += layer.scheme.kernel(layer.parts) is not None
        self.done.names[name] = records[only.source].encoding.words


def _for_kernels(
    record: PackedMatrix, parts: Mapping[str, Tensor], piece: RowRun
) -> tuple[Int8Rows | Int4Groups | None, dict[str, Tensor]]:
    """The same matrix as a kernel can multiply by it, where its numbers are those of one; else None."""
    e, layout = record.encoding, record.encoding.settings.get("layout")
    if e.format != "compressed-tensors" or e.numbers != "int" or e.ordered or not e.symmetric or "zeros" in parts:
        return None, {}
    codes, scales = _rows(parts["codes"], piece), parts["scales"].reshape(len(parts["scales"]), -1)
    if layout == "int-quantized" and e.bits == 8 and e.group == (1, None) and len(scales) == record.shape[0]:
        return Int8Rows(), {"codes": codes, "scales": _rows(scales[:, 0], piece).contiguous()}
    if layout == "pack-quantized" and e.bits == 8 and e.group == (1, None) and len(scales) == record.shape[0]:
        signed = (codes.contiguous().view(torch.uint8)[:, : record.shape[1]] ^ 128).view(torch.int8)
        return Int8Rows(), {"codes": signed, "scales": _rows(scales[:, 0], piece).contiguous()}
    if layout != "pack-quantized" or e.bits != 4 or e.group[0] != 1 or e.group[1] is None:
        return None, {}
    exact = _rows(scales, piece).to(torch.bfloat16)
    if not torch.equal(exact.to(scales.dtype), _rows(scales, piece)):
        return None, {}  # the kernel would round them
    columns = record.shape[1]
    pairs = torch.stack((exact, torch.zeros_like(exact)), -1).transpose(0, 1).contiguous()
    packed = codes.contiguous().view(torch.uint8)[:, : -(-columns // 2)]
    return Int4Groups(columns, e.group[1]), {"codes": packed, "pairs": pairs}


def _rows(part: Tensor, piece: RowRun) -> Tensor:
    part = part[piece.first : piece.last]
    return part if piece.order is None else part[piece.order]


def _packing(ledger: Ledger) -> Packing:
    """The packed matrices of a checkpoint. Raises UsageError where it has none."""
    checkpoint = ledger.checkpoint
    packing = blocks_of(checkpoint.tensors) if checkpoint.dialect == "gguf" else checkpoint.packing
    if packing is None or not packing.matrices:
        hint = "quantize=int8 rounds it to 8 bits on the way in"
        raise UsageError(f"{ledger.source}: none of its weights are packed, so none can be kept so", hint=hint)
    return packing


def _open(ledger: Ledger, packing: Packing) -> Mapping[str, Tensor]:
    """The parts by their names in the files, mapped."""
    if ledger.checkpoint.dialect != "gguf":
        return ledger.checkpoint.open_parts()
    from zoo.files.open_tensors import OpenTensors

    infos = {info.name: info for matrix in packing.matrices.values() for info in matrix.parts.values()}
    reader = GGUFReader(infos)
    return OpenTensors(infos, reader, reader.close)
