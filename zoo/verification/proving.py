"""`zoo convert --prove`: weight tables run on numbered elements, of families at their tiny configs and of a source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from zoo.anatomy.config import DecoderConfig, ModelConfig
from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.interpretation import our_shapes, table_for
from zoo.errors import UsageError, some
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.weights.proof import Proof, prove


@dataclass(frozen=True)
class TableProof:
    """The proof of one table; `refusal` says why a dialect has none for this config."""

    family: str
    dialect: str
    proof: Proof
    refusal: str = ""

    @property
    def holds(self) -> bool:
        return self.proof.holds

    def __str__(self) -> str:
        said = some(self.proof.faults) if self.proof.faults else self.refusal or str(self.proof)
        state = "skip" if self.refusal else "ok" if self.holds else "FAIL"
        return f"{state:4}  {self.family} {self.dialect}: {said}"

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family, "dialect": self.dialect, "refusal": self.refusal, **self.proof.to_dict()}


def prove_families(names: Iterable[str] = ()) -> Iterator[TableProof]:
    """Every dialect of the named families, or of all, at their tiny configs. Raises UnknownName for another name."""
    registry = installed()
    for name in names or sorted(registry.families):
        family = registry[name]
        for dialect in family.formats:
            yield _row(family, dialect, family.config_class.tiny())


def prove_ledger(ledger: Ledger, format: str | None = None) -> list[TableProof]:
    """The table by which a source is read, at its own sizes and file names, and the one by which it would be written.

    The account of the source must be settled: what has no place in it is no matter of the table.
    """
    ledger.check()
    found = prove(ledger.table, ledger.shapes, sorted(ledger.account.actual))
    carried = {n for step in ledger.account.steps for n in step.theirs}
    if lost := sorted(set(ledger.account.loaded) - {ledger.account.actual[n] for n in carried}):
        found = replace(found, faults=[*found.faults, f"{some(lost)} are counted as loaded but are not read"])
    rows = [TableProof(ledger.family.name, ledger.dialect, found)]
    if format is not None and format not in (ledger.dialect, "zoo"):
        rows.append(_row(ledger.family, format, ledger.config))
    return rows


def _row(family: Family, dialect: str, config: ModelConfig) -> TableProof:
    refusals = []
    for other in chain((config,), _plainer(config)):  # a plainer one is made where the first is refused
        try:
            table = table_for(family, dialect, other)
        except UsageError as refusal:
            refusals.append(refusal.what)
        else:
            return TableProof(family.name, dialect, prove(table, our_shapes(family, other)))
    return TableProof(family.name, dialect, Proof(), refusals[0])


def _plainer(config: ModelConfig) -> Iterator[ModelConfig]:
    """For formats that have no word for all of it: with heads that share the width, or without an encoder's head."""
    if isinstance(config, DecoderConfig) and config.hidden_size % config.num_heads == 0:
        yield replace(config, head_dim=config.hidden_size // config.num_heads)
    if getattr(config, "head", "none") != "none" and getattr(config, "num_labels", None) is None:
        bare: dict[str, Any] = {"head": "none"} | ({"has_pooler": False} if hasattr(config, "has_pooler") else {})
        yield replace(config, **bare)
