"""A model that is cut over ranks, in each of the ways that it can be, is the model of one process.

Everything is in float64, where sums in another order differ by about 1e-15 of numbers of order 1.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from zoo.anatomy.size import Size
from zoo.checkpoint.loading import load
from zoo.checkpoint.saving import save
from zoo.errors import UsageError
from zoo.generation import generate
from zoo.testing.check import require, shown
from zoo.testing.gathered import wholes
from zoo.testing.learning import gradients, learned, unlike
from zoo.testing.measure import difference
from zoo.testing.subject import Subject

FORWARD = 1e-12


@dataclass
class Expected:
    """What one process makes of a checkpoint in a folder, once for all ranks and before they start."""

    s: Subject
    folder: Path
    outputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    text: list[list[int]] | str = ""  # or why there is none

    @classmethod
    def of(cls, s: Subject, folder: Path) -> Expected:
        """Written, read again and run; what is read is saved beside it."""
        folder.parent.mkdir(parents=True)
        save(s.model, folder, format=format_of(s))
        found, model = cls(s, folder), load(folder)
        found.outputs = learned(s, model, found.texts)
        found.gradients = dict(gradients(model))
        found.text = greedy(found, model)
        save(model, found.saved, format=format_of(s))
        return found

    @property
    def texts(self) -> Tensor:
        """What is read, [B, T]."""
        return self.s.tokens(2, self.s.longest)

    @property
    def saved(self) -> Path:
        """What one process saves of what it read."""
        return Path(f"{self.folder}.one")


def prove_cut(expected: Expected, way: str, mesh: Any) -> str:
    """What is the same where the model is cut in one way, or why it is not cut in that."""
    try:
        cut = load(expected.folder, mesh=mesh)
    except UsageError as error:
        if way == "tp":
            raise
        return f"no {str(error).splitlines()[0]}"
    _same_sizes(expected.s, cut, way)
    outputs = learned(expected.s, cut, expected.texts)
    worst = max(difference(outputs[name], x) for name, x in expected.outputs.items())
    _on_all(worst < FORWARD, f"{way}: outputs differ by {worst:.1e}, and may by {FORWARD:.0e}")
    found = wholes(dict(gradients(cut)))
    if way == "pp":  # what both ends have is compared on each
        of_all: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(of_all, found)
        found = {name: gradient for of_rank in (*of_all, found) for name, gradient in of_rank.items()}
    faults = list(unlike(expected.gradients, found))
    _on_all(not faults, f"{way}: {shown(faults)}")
    told = [f"{way}: outputs within {worst:.0e}", f"{len(found)} gradients"]
    if expected.s.can_decode:
        told.append(_same_text(expected, cut, way))
    if way != "cp":  # which cuts no weight
        _same_bytes(expected, cut, way)
        told.append("the bytes of a save")
    return ", ".join(told)


def prove_plan(model: nn.Module, way: str, mesh: Any) -> str:
    """That the model can be cut in one way, or why it is not cut in that; of neither is anything computed."""
    from zoo.parallel.plans import of_way

    try:
        of_way(model, way, mesh)
    except UsageError as error:
        if way == "tp":
            raise
        return f"no {str(error).splitlines()[0]}"
    return f"{way}: planned alone"


def greedy(expected: Expected, model: Any) -> list[list[int]] | str:
    """Four tokens after each text, or the reason of a family that does not take these."""
    s = expected.s
    if not s.can_decode:
        return "it writes none"
    prompts = s.source([0, 1]) if s.is_encoder_decoder else expected.texts[:, :5]
    try:
        return generate(model, prompts, max_new_tokens=4, eos_token_id=[]).new_tokens
    except UsageError as error:  # what a prompt must be, the family knows
        return str(error).splitlines()[0]


def format_of(s: Subject) -> str:
    """In which format the family is written."""
    return "hf" if "hf" in s.family.formats and s.family.dialect("hf").is_written else "zoo"


def _of_rank(s: Subject, way: str) -> Any:
    from zoo.parallel.estimate import of_rank
    from zoo.parallel.layout import Layout

    count, rank, is_within = dist.get_world_size(), dist.get_rank(), way in ("tp", "sp")
    counts: dict[str, Any] = {"tp" if is_within else way: count}
    return of_rank(
        s.config.anatomy(), Layout(**counts), rank=rank if is_within else 0, stage=rank if way == "pp" else 0
    )


def _same_sizes(s: Subject, cut: nn.Module, way: str) -> None:
    """What `zoo show` says of a rank's weights is what it holds."""
    from torch.distributed.tensor import DTensor

    if s.anatomy is not None:
        found = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in cut.parameters())
        need = sum(weight.numel for weight in _of_rank(s, way).weights)
        _on_all(need == found, f"{way}: rank {dist.get_rank()} holds {found} numbers, and arithmetic says {need}")


def _same_text(expected: Expected, cut: Any, way: str) -> str:
    """The greedy text of both, and what the cache of a rank takes: what its heads keep, and latents whole."""
    text = greedy(expected, cut)
    _on_all(text == expected.text, f"{way}: generates {text}, and one process {expected.text}")
    if isinstance(text, str):
        return f"no text ({text})"
    if expected.s.anatomy is not None:
        need, found = Size(_of_rank(expected.s, way), "float64").cache_bytes(9, 2), cut.new_cache(2, 9).nbytes
        _on_all(need == found, f"{way}: the cache of a rank takes {found} bytes, and arithmetic says {need}")
    return "the same text"


def _on_all(is_kept: bool, what: str) -> None:
    """Require it of every rank: one that stops alone leaves the others waiting."""
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, None if is_kept else what)
    faults = [words for words in told if words is not None]
    require(not faults, shown(faults))


def _same_bytes(expected: Expected, cut: Any, way: str) -> None:
    there = Path(f"{expected.folder}.{way}")
    save(cut, there, format=format_of(expected.s))
    fault = ""
    if dist.get_rank() == 0:
        here = expected.saved
        names = sorted(file.name for file in here.iterdir())
        other = [n for n in names if (here / n).read_bytes() != (there / n).read_bytes()]
        is_all = names == sorted(file.name for file in there.iterdir())
        fault = "" if is_all and not other else f"{way}: saved otherwise: {other}"
    _on_all(not fault, fault)
