"""Weights that stay packed as they lie in the file: mapped, and computed with by the numbers that they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.checkpoint.checks import is_finite
from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.pieces import (
    HeldPiece,
    as_they_lie,
    cut_pieces,
    maps_of,
    open_packed,
    packing_of,
    records_of,
    share_of_rows,
)
from zoo.errors import CheckpointError, UsageError, some
from zoo.files.copied import copied
from zoo.files.packed import PackedMatrix, Packing
from zoo.models.rounding import BFLOAT16
from zoo.nn.packed import FilePart, Int4Groups, Int8Rows, OfFile, can_be_packed, is_packable_table, put_packed
from zoo.parallel.borders import check_borders, shape_of
from zoo.units import human_bytes
from zoo.weights.account import grouped
from zoo.weights.row_maps import RowRun
from zoo.weights.table import Step

if TYPE_CHECKING:
    from zoo.parallel.plans import RankPlan


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
    """Puts the packed matrices of a checkpoint into a model as they are, or a rank's part of them."""

    def __init__(
        self,
        ledger: Ledger,
        model: nn.Module,
        dtype: torch.dtype | None,
        device: torch.device,
        plan: RankPlan | None = None,
    ) -> None:
        self.ledger, self.model, self.dtype, self.device, self.plan = ledger, model, dtype, device, plan
        self.packing = _packing(ledger)
        self.raw = open_packed(ledger, self.packing)
        self.done = Kept()
        if plan is not None:
            check_borders(plan, self._steps(), ledger.shapes)

    def keeps(self, step: Step) -> bool:
        """Put all weights of a step into the model as they lie in the file, where that can be."""
        records = records_of(self.ledger, self.packing, step)
        if not records:
            return False
        maps, why = self._maps(step, records)
        if maps is None:
            self.done.unpacked |= dict.fromkeys(step.ours, why)
            return False
        records = as_they_lie(records)
        held = [{role: self._part(info.name, record) for role, info in record.parts.items()} for record in records]
        for name, runs in zip(step.ours, maps, strict=True):
            self._put(name, list(self._pieces(name, records, held, runs)))
        if self.plan is None:
            self.done.nbytes += sum(record.nbytes for record in records)
        return True

    def _steps(self) -> Iterator[tuple[Step, list[PackedMatrix]]]:
        """The steps whose weights stay packed, each with what it reads."""
        for step in self.ledger.account.steps:
            records = records_of(self.ledger, self.packing, step)
            if records and self._maps(step, records)[0] is not None:
                yield step, as_they_lie(records)

    def _maps(self, step: Step, records: list[PackedMatrix]) -> tuple[list[list[RowRun]] | None, str]:
        """The rows of which the weights of a step are made, or why they cannot stay packed."""
        if len(records) < len(step.theirs):
            return None, "what it is joined with is not packed"
        if not all(can_be_packed(self.model, name) or is_packable_table(self.model, name) for name in step.ours):
            return None, "it is not a matrix of a linear layer of its own"
        return maps_of(step, records, self.ledger.shapes), "the table moves more than whole rows of it"

    def _pieces(
        self, name: str, records: list[PackedMatrix], held: list[dict[str, Tensor]], runs: list[RowRun]
    ) -> Iterator[HeldPiece]:
        """What a weight, or a rank's part of it, is made of."""
        shape = self.ledger.shapes[name]
        if self.plan is None:
            return (HeldPiece(records[run.source], held[run.source], run, (0, shape[-1])) for run in runs)
        slices = self.plan.slices(name, shape)
        runs, columns = share_of_rows(runs, shape, slices), slices[-1].indices(shape[-1])[:2]
        return cut_pieces(records, held, runs, columns)

    def _part(self, name: str, record: PackedMatrix) -> Tensor:
        is_changed = self.plan is None and record.encoding.settings.get("layout") == "pack-quantized"
        info = next(info for info in record.parts.values() if info.name == name)
        part = copied(info, name, self.raw) if is_changed else self.raw[name]  # into the order of a kernel
        if self.plan is None:
            self._check(part, name)
        return part

    def _check(self, part: Tensor, name: str) -> None:
        if part.is_floating_point() and part.itemsize > 1 and not is_finite(part.contiguous()):
            raise CheckpointError(self.ledger.checkpoint.files[0], name, "it contains NaN or infinity")

    def _put(self, name: str, pieces: list[HeldPiece]) -> None:
        scheme, parts = _for_kernels(pieces[0]) if len(pieces) == 1 else (None, dict[str, Tensor]())
        if scheme is None:
            scheme, parts = _of_file(pieces)
        for role, part in parts.items() if self.plan is not None else ():
            self._check(part, f"{name} ({role})")
        parts = {role: part.to(self.device) for role, part in parts.items()}
        first, whole = pieces[0].record, self.ledger.shapes[name]
        dtype = self.dtype or getattr(torch, first.dtype)
        shape = whole if self.plan is None else shape_of(self.plan.slices(name, whole), whole)
        layer = put_packed(self.model, name, scheme, parts, dtype=dtype, shape=shape)
        self.done.nbytes += 0 if self.plan is None else layer.nbytes
        self.done.by_kernel += layer.scheme.kernel(layer.parts) is not None
        self.done.names[name] = first.encoding.words


def _of_file(pieces: list[HeldPiece]) -> tuple[OfFile, dict[str, Tensor]]:
    """The parts as they lie, those of one matrix once."""
    numbers = {id(parts): i for i, parts in enumerate({id(p.parts): p.parts for p in pieces}.values())}
    held = {f"{role}_{numbers[id(p.parts)]}": part for p in pieces for role, part in p.parts.items()}
    found = []
    for record, parts, run, _ in pieces:
        names = {role: f"{role}_{numbers[id(parts)]}" for role in parts}
        found.append(FilePart(record, names, (run.first, run.last), run.order))
    return OfFile(tuple(found)), held


def _for_kernels(held: HeldPiece) -> tuple[Int8Rows | Int4Groups | OfFile | None, dict[str, Tensor]]:
    """The same matrix as a kernel can multiply by it, where its numbers are those of one; else None."""
    record, parts, piece = held.record, held.parts, held.run
    e, layout = record.encoding, record.encoding.settings.get("layout")
    if e.format != "compressed-tensors" or e.numbers != "int" or e.ordered or not e.symmetric or "zeros" in parts:
        return None, {}
    codes, scales = _rows(parts["codes"], piece), parts["scales"].reshape(len(parts["scales"]), -1)
    if layout == "int-quantized" and e.bits == 8 and e.group == (1, None) and len(scales) == record.shape[0]:
        return Int8Rows(), {"codes": codes.contiguous(), "scales": _rows(scales[:, 0], piece).contiguous()}
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
    if (packing := packing_of(ledger)) is None:
        hint = "quantize=int8 rounds it to 8 bits on the way in"
        raise UsageError(f"{ledger.source}: none of its weights are packed, so none can be kept so", hint=hint)
    return packing
