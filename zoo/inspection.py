"""What a checkpoint is: its family, and where every config key and tensor of it goes. Reads headers only, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config import ModelConfig
from zoo.errors import CheckpointError, ConfigError, UnknownName, UsageError, ZooError, clean, some
from zoo.family import Family, Match
from zoo.registry import installed
from zoo.weights.block_fp8 import block_size
from zoo.weights.checkpoint import Checkpoint, open_checkpoint
from zoo.weights.foreign_config import ForeignConfig
from zoo.weights.ledger import Account, settle
from zoo.weights.ops import Shape
from zoo.weights.table import Identity, Table
from zoo.weights.tensor_info import TensorInfo

if TYPE_CHECKING:
    from zoo.weights.hub import Place

MAX_LAYERS = 10_000


@dataclass
class Ledger:
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
    random: list[str] = field(default_factory=list)  # weights that were missing, allowed to be, and drawn at random
    looks_like: tuple[str, float] | None = None  # a family that fits better, and how well

    @property
    def num_parameters(self) -> int:
        """Parameters of the model, tied ones once."""
        return sum(prod(shape) for shape in self.shapes.values())

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
        rows = self.account.problems()
        if not rows:
            return
        bad = self.account
        count = len(bad.missing) + len(bad.unexpected) + len(bad.mismatched) + len(bad.orphans)
        total = len(self.checkpoint.tensors) + len(bad.missing)
        lines = [f"  {kind:10}  {clean(name)}  {what}" for kind, name, what in rows[:8]]
        lines += [f"  and {len(rows) - 8} more groups"] if len(rows) > 8 else []
        raise CheckpointError(
            self.source,
            "",
            f"{count} tensors of {total} have no place in {self.family.name}",
            why="\n".join(lines),
            hint=self._advice(),
        )

    def _advice(self) -> str:
        lines = []
        if self.looks_like:
            name, score = self.looks_like
            lines.append(f"  this looks like {name} (score {score:.2f}).  Try: family={name}")
        if names := [*self.account.unexpected, *self.account.missing]:
            lines.append(f"  to go on knowingly: --allow '{clean(names[0])}' (a shell pattern)")
        return "\n".join(lines)

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
                "assumed": self.keys.assumed,
            },
            "tensors": self.account.to_dict(),
            "parameters": self.num_parameters,
            "bytes": self.nbytes,
            "dtypes": self.dtypes,
            "looks_like": self.looks_like,
        }


def inspect(
    source: str | Path | Place,
    *,
    family: str | None = None,
    overrides: Iterable[str] = (),
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Ledger:
    """The ledger of a checkpoint, problems included: ask `ledger.check()` whether it may be loaded.

    `source` is a folder, a file, a preset's name, hf://org/name@rev, org/name (from the cache), pkg://package/path, or
    what `locate` found.
    `family` overrules the detection, `overrides` (`model.has_pooler=false`) what the config says; `allow` are shell
    patterns of tensors and config keys that may be left over or missing.
    Raises CheckpointError for what cannot be read or belongs to no family.
    """
    from zoo.weights.hub import Place, locate

    place = source if isinstance(source, Place) else locate(home_of(source), allow_pickle=allow_pickle)
    checkpoint = open_checkpoint(place.path, allow_pickle=allow_pickle)
    allow = tuple(allow)
    chosen, match = _family(checkpoint, family)
    try:
        keys, config = read_config(chosen, checkpoint, allow)
    except CheckpointError as error:
        raise _with_a_better_fit(error, checkpoint, chosen) from None
    if keys.assumed.pop("dtype", None):  # the files themselves are the better witness
        config = replace(config, dtype=_main_dtype(checkpoint))
    config = overridden(config, overrides)
    table = table_for(chosen, checkpoint.dialect, config, checkpoint.tensors)
    shapes = our_shapes(chosen, config)
    account = settle(table, shapes, checkpoint.tensors)
    account.allow(allow)
    ledger = Ledger(
        place.source if isinstance(source, Place) else str(source), chosen, checkpoint.dialect, match.reasons, config,
        keys, table, shapes, account, checkpoint, place.commit, place.repo, place.revision,
    )  # fmt: skip
    if not account.is_settled:
        ledger.looks_like = _better_fit(checkpoint, chosen, account.fit)
    return ledger


def home_of(source: str | Path) -> str | Path:
    """Where the weights of a preset live, if `source` is a preset's name and no path; else `source` itself."""
    if isinstance(source, Path) or "/" in source or Path(source).exists():
        return source
    presets = installed().presets()
    if source not in presets:
        if source.endswith((".gguf", ".safetensors", ".bin")):
            return source
        raise UnknownName(f"{clean(source)!r} is neither a folder, a file nor a preset", source, presets)
    from zoo.presets import config, in_the_box

    if source in in_the_box():
        return f"pkg://zoo/models/{source}"
    if not (hub := config(source).hub):
        raise UsageError(f"the preset {source!r} names no home of its weights", hint="give a folder or hf://org/name")
    return hub


def read_config(family: Family, checkpoint: Checkpoint, allow: Iterable[str] = ()) -> tuple[ForeignConfig, ModelConfig]:
    """The config a checkpoint's foreign keys describe, every key accounted for."""
    keys = ForeignConfig(checkpoint.config, config_file(checkpoint), checkpoint.tensors)
    if block_size(checkpoint.config, config_file(checkpoint)):
        keys.used.add("quantization_config")  # the reader undoes it
    try:
        if checkpoint.dialect == "zoo":
            keys.used.update(checkpoint.config)
            config = family.config_class.from_dict({k: v for k, v in checkpoint.config.items() if k != "zoo"})
        else:
            config = family.dialect(checkpoint.dialect).from_config(keys)
            keys.check(where=family.name, allow=allow)
    except ConfigError as error:
        raise CheckpointError(config_file(checkpoint), "", clean(error.what, 200), why=error.why) from None
    _refuse_endless(config, checkpoint)
    return keys, config


def _refuse_endless(config: ModelConfig, checkpoint: Checkpoint) -> None:
    """A number in a file must not make us list a billion weights."""
    if getattr(config, "num_layers", 0) > MAX_LAYERS:
        raise CheckpointError(config_file(checkpoint), "", f"more than {MAX_LAYERS} layers are refused")


def overridden(config: ModelConfig, overrides: Iterable[str]) -> ModelConfig:
    """The config with fields set by `model.FIELD=VALUE`, values as YAML. Raises ConfigError for an unknown field."""
    values = config.to_dict()
    for override in overrides:
        path, equals, text = override.partition("=")
        names = path.split(".")
        if not equals or names[0] != "model" or len(names) < 2:
            raise UsageError(f"{clean(override)!r} is not model.FIELD=VALUE")
        import yaml

        group: Any = values
        for name in names[1:-1]:
            group = group.get(name) if isinstance(group, dict) else None
        if not isinstance(group, dict):
            raise UsageError(f"{clean(path)!r} is no field of {type(config).__name__}")
        try:
            group[names[-1]] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"{clean(override)!r}: the value is not YAML") from None
    return type(config).from_dict(values)


def table_for(
    family: Family, dialect: str, config: ModelConfig, tensors: Mapping[str, TensorInfo] | None = None
) -> Table:
    """The weight table of a family's dialect: for the files that hold `tensors`, or as zoo writes it."""
    if dialect == "zoo":
        return Identity()
    if dialect not in family.formats:
        raise ZooError(f"{family.name} has no {dialect!r} format", why=f"it has: {some(['zoo', *family.formats], 9)}")
    module = family.dialect(dialect)
    if tensors is not None and hasattr(module, "mapping_of"):  # the layout depends on how many parts the files have
        return module.mapping_of(config, tensors)
    return module.mapping(config)


def our_shapes(family: Family, config: ModelConfig) -> dict[str, Shape]:
    """Our weights by name and shape: from the family's anatomy, else by building it on meta, which needs torch."""
    if type(config).anatomy is not ModelConfig.anatomy:
        return config.anatomy().shapes()
    from zoo.construction import on_meta

    return {name: tuple(p.shape) for name, p in on_meta(config).named_parameters()}


def config_file(checkpoint: Checkpoint) -> Path:
    """Where the foreign config lies, to be named in errors."""
    names = {"meta": "params.json", "gguf": checkpoint.files[0].name}
    return checkpoint.folder / names.get(checkpoint.dialect, "config.json")


def _family(checkpoint: Checkpoint, name: str | None) -> tuple[Family, Match]:
    registry = installed()
    if name:
        return registry[name], Match(1.0, ("asked for",))
    if checkpoint.dialect == "zoo":
        return registry[str(checkpoint.config.get("family"))], Match(1.0, ("zoo wrote it",))
    found = registry.detect(checkpoint.config, checkpoint.dialect)
    if not found:
        raise _no_family(checkpoint)
    best, match = found[0]
    if len(found) > 1 and found[1][1].score == match.score:
        rivals = some([f.name for f, m in found if m.score == match.score], 9)
        raise CheckpointError(config_file(checkpoint), "", f"it may be any of {rivals}", hint="choose one: family=NAME")
    return best, match


def _no_family(checkpoint: Checkpoint) -> ZooError:
    key = "general.architecture" if checkpoint.dialect == "gguf" else "model_type"
    value = checkpoint.config.get(key)
    kind = clean(repr(value))
    for family in installed().families.values():
        if checkpoint.dialect == "hf" and isinstance(value, str) and value in family.near:
            return CheckpointError(config_file(checkpoint), key, f"zoo does not know {kind}", why=family.near[value])
    better = _better_fit(checkpoint, None, 0.5)
    return CheckpointError(
        config_file(checkpoint),
        key,
        f"{kind} belongs to no installed family",
        why=f"its tensors look like {better[0]} (score {better[1]:.2f})" if better else "",
        hint=f"try: family={better[0]}" if better else "see: zoo list, zoo plugins",
    )


def _better_fit(checkpoint: Checkpoint, chosen: Family | None, fit: float) -> tuple[str, float] | None:
    """The family whose table leaves the fewest tensors over, if it beats `fit` clearly."""
    best: tuple[str, float] | None = None
    for family in installed().families.values():
        if family is chosen or checkpoint.dialect not in family.formats:
            continue
        try:
            dialect = family.dialect(checkpoint.dialect)
            config = dialect.from_config(ForeignConfig(checkpoint.config, config_file(checkpoint), checkpoint.tensors))
            _refuse_endless(config, checkpoint)
            table = table_for(family, checkpoint.dialect, config, checkpoint.tensors)
            account = settle(table, our_shapes(family, config), checkpoint.tensors)
        except (ZooError, KeyError, TypeError, ValueError, ZeroDivisionError):
            continue  # the config is not even of this family's form
        if account.fit > max(fit, best[1] if best else 0.0, 0.8):
            best = family.name, account.fit
    return best


def _with_a_better_fit(error: CheckpointError, checkpoint: Checkpoint, chosen: Family) -> CheckpointError:
    """The same error, ending with the family that a config is of that is refused as the chosen one's."""
    if better := _better_fit(checkpoint, chosen, 0.0):
        looks = f"this looks like {better[0]} (score {better[1]:.2f}).  Try: family={better[0]}"
        error.args = ("\n".join((str(error), looks)),)
        error.hint = "\n".join(line for line in (error.hint, looks) if line)
    return error


def _main_dtype(checkpoint: Checkpoint) -> str:
    """The floating-point type of most of the weights' bytes."""
    nbytes: dict[str, int] = {}
    for info in checkpoint.tensors.values():
        if info.dtype.startswith(("float", "bfloat")):
            nbytes[info.dtype] = nbytes.get(info.dtype, 0) + info.nbytes
    return max(nbytes, key=nbytes.__getitem__, default="float32")
