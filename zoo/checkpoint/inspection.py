"""What a checkpoint is: its family, and where every config key and tensor of it goes. Reads headers only, no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.checkpoint.carried import Carried
from zoo.checkpoint.companions import Accompanied
from zoo.checkpoint.concessions import concessions
from zoo.checkpoint.detection import Interpreted, family_of, look_alike, offer, with_a_look_alike
from zoo.checkpoint.interpretation import main_dtype, overridden, read_config, refuse_endless
from zoo.checkpoint.notes import assumed_in, notes_of
from zoo.checkpoint.own_names import given_config, settled
from zoo.checkpoint.repairs import Remedy, repair_of
from zoo.checkpoint.shown import as_html
from zoo.checkpoint.ties import check_places
from zoo.checkpoint.wrappers import unwrapped
from zoo.errors import CheckpointError, clean
from zoo.files.checkpoint import Checkpoint, open_checkpoint
from zoo.presets.homes import located
from zoo.registry.fallback import FALLBACK
from zoo.registry.family import Family
from zoo.weights.account import Account
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.packing import KEYS as PACKING
from zoo.weights.packing import eight_bits, unpacks
from zoo.weights.table import Table

if TYPE_CHECKING:
    from zoo.hub.place import Place


PACKED = ("float8", "float4", "int", "uint")  # what the numbers of packed weights are stored as
UNPACKED = "packed weights need their scales, and --allow cannot skip them: use the checkpoint in 16 bits"


@dataclass
class Ledger(Accompanied, Carried):
    """A checkpoint's account: every config key used, inert or refused, every tensor in one column."""

    source: str
    family: Family
    dialect: str
    reasons: tuple[str, ...]
    config: ModelConfig
    keys: ForeignConfig
    table: Table
    shapes: dict[str, Shape]  # our weights
    account: Account
    checkpoint: Checkpoint
    commit: str | None = None  # the hub's commit that the source resolved to
    repo: str | None = None  # the hub's repository
    revision: str | None = None  # the branch, tag or commit that was asked for; None: main
    concessions: list[str] = field(default_factory=list)  # what was let pass, a sentence each
    looks_like: tuple[str, float] | None = None  # another family that was tried and fits, and how well
    names_say: str = ""  # whose tensor names these are, where that proves nothing
    repair: Remedy | None = None  # overrides that were tried, under which it settles
    made: list[str] = field(default_factory=list)  # what loading did to the weights: rounded, or left packed

    @property
    def assumed(self) -> dict[str, Any]:
        """Keys that the file lacks and the values taken for them, where neither other keys nor the tensors tell."""
        return assumed_in(self.keys)

    @property
    def notes(self) -> list[str]:
        """What a user should know of the checkpoint though it is no error, a sentence each."""
        return [*notes_of(self.config, self.keys, self.checkpoint), *self.concessions, *self.made]

    @property
    def num_parameters(self) -> int:
        """Parameters of the model, tied ones once."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def random(self) -> list[str]:
        """Weights that were missing, allowed to be, and are drawn at random."""
        return list(self.account.random)

    @cached_property
    def exact(self) -> frozenset[str]:
        """Our weights that are never cast to fewer bits."""
        if type(self.config).anatomy is ModelConfig.anatomy:
            return frozenset()
        return frozenset(name for w in self.config.anatomy().weights if w.is_exact for name in w.names())

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors in the files."""
        return sum(info.nbytes for info in self.checkpoint.tensors.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """How many tensors the files hold of each dtype."""
        counts: dict[str, int] = {}
        for info in self.checkpoint.tensors.values():
            counts[info.dtype] = counts.get(info.dtype, 0) + 1
        return counts

    def check(self) -> None:
        """Raise CheckpointError, with everything that has no place, unless all is accounted for."""
        if not (rows := self.account.problems()):
            check_places(self)
            return self._check_packing()
        bad = self.account
        count = len(bad.missing) + len(bad.unexpected) + len(bad.mismatched) + len(bad.orphans)
        total = len(self.checkpoint.tensors) + len(bad.missing)
        lines = [f"  {kind:10}  {clean(name)}  {what}" for kind, name, what in rows[:8]]
        lines += [f"  and {len(rows) - 8} more groups"] if len(rows) > 8 else []
        what = f"{count} tensors of {total} do not match the {self.family.name} model"
        raise CheckpointError(self.source, "", what, why="\n".join(lines), hint=self._advice())

    def _check_packing(self) -> None:
        """Refuse packed weights whose packing was let pass: nothing says what their numbers mean."""
        let = [key for part in (self.keys, *self.keys.groups) for key in part.allowed if key in PACKING]
        if let and (small := eight_bits(self.checkpoint.tensors, self.account.loaded)):
            what = "it says that the weights are packed in a way that zoo cannot unpack"
            raise CheckpointError(self.source, let[0], what, why=f"{len(small)} are 8-bit floats", hint=UNPACKED)

    def _advice(self) -> str:
        """What was tried and settles; nothing is offered that was not, and nothing that loses numbers."""
        is_packed = any(dtype.startswith(PACKED) for dtype in self.dtypes)
        lines = [f"  {UNPACKED}"] if is_packed and any(map(unpacks, self.account.unexpected)) else []
        lines += [f"  {offer(self.looks_like)}"] if self.looks_like else []
        lines += [str(self.repair)] if self.repair and not self.looks_like else []
        lines += [f"  {self.names_say}"] if self.names_say else []
        return (
            "\n".join(lines)
            or "  no change that zoo tried makes them match: do the config and these files belong to one model?"
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything above as JSON values."""
        return {
            "source": self.source,
            "repo": self.repo,
            "revision": self.revision,
            "commit": self.commit,
            "family": self.family.name,
            "dialect": self.dialect,
            "reasons": list(self.reasons),
            "config": self.config.to_dict(),
            "keys": {
                "used": sorted(self.keys.used),
                "inert": sorted(self.keys.inert),
                "allowed": sorted(self.keys.allowed),
                "assumed": self.assumed,
            },
            "notes": self.notes,
            "tensors": self.account.to_dict() | {"random": self.account.random, "dropped": self.account.dropped},
            "parameters": self.num_parameters,
            "bytes": self.nbytes,
            "packed": packing.to_dict(self.checkpoint.tensors) if (packing := self.checkpoint.packing) else None,
            "dtypes": self.dtypes,
            "looks_like": self.looks_like,
            "concessions": self.concessions,
            "repair": list(self.repair.overrides) if self.repair else [],
        }


def inspect(
    source: str | Path | Place,
    *overrides: str,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Ledger:
    """The ledger of a checkpoint, problems included: ask `ledger.check()` whether it may be loaded.

    `source` is a folder, a file, a preset's name, hf://org/name@rev, org/name (from the cache), pkg://package/path, or
    what `locate` found.
    `family` overrules the detection, `overrides` (`model.has_pooler=false`) what the config says (config=FILE: which it
    is, for a folder of torch.distributed.checkpoint); `allow` are shell patterns, alone or parted by commas, of tensors
    and config keys that may be left over or missing.
    Raises CheckpointError for what cannot be read or belongs to no family.
    """
    from zoo.hub.place import Place

    place = source if isinstance(source, Place) else located(source, allow_pickle=allow_pickle)
    given, overrides = given_config(overrides)
    checkpoint = open_checkpoint(place.path, allow_pickle=allow_pickle, config=given)
    refuse_endless(checkpoint)
    allow = tuple(pattern for word in allow for pattern in word.split(",") if pattern)
    chosen, match = family_of(checkpoint, family)
    if match.format:  # one that a plugin added, in a folder like those of the hub
        checkpoint = replace(checkpoint, dialect=match.format)
    checkpoint = unwrapped(checkpoint, chosen)
    try:
        keys, config = read_config(chosen, checkpoint, allow)
    except CheckpointError as error:
        raise with_a_look_alike(error, checkpoint, chosen, allow) from None
    if keys.lacks_dtype:  # the files themselves are the better witness
        config = replace(config, dtype=main_dtype(checkpoint))
    own, config = config, overridden(config, overrides)
    checkpoint, table, shapes, account = settled(checkpoint, chosen, config)
    account.allow(allow)
    ledger = Ledger(
        place.source if isinstance(source, Place) else str(source), chosen, checkpoint.dialect, match.reasons, config,
        keys, table, shapes, account, checkpoint, place.commit, place.repo, place.revision,
        concessions(checkpoint, chosen, keys, account, (own, config)),
    )  # fmt: skip
    if not account.is_settled:
        refused = Interpreted(chosen, keys, config, account)
        ledger.looks_like, ledger.names_say = look_alike(checkpoint, chosen, allow, account)
        # The fallback's config is what the file says, and has no fields to override; a slice has the whole's.
        if chosen is not FALLBACK and config.nested is None:
            ledger.repair = repair_of(checkpoint, refused, shapes, allow=allow, overrides=overrides)
    return ledger
