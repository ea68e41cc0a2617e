"""A foreign config (config.json, params.json, GGUF metadata) that accounts for each of its keys. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from zoo.anatomy.config import MISSING, ModelConfig, RopeConfig, typed
from zoo.anatomy.fields import types_of
from zoo.errors import CheckpointError, ConfigError, UsageError, clean, did_you_mean
from zoo.files.tensor_info import TensorInfo
from zoo.weights.foreign.check import check_keys
from zoo.weights.foreign.inert import SEEN_IN_TENSORS
from zoo.weights.foreign.rope import read_rope

REQUIRED: Any = object()


@dataclass(frozen=True)
class Key:
    """One field of ours under its foreign name; `also` are other spellings that are read but not written."""

    ours: str
    theirs: str
    also: tuple[str, ...] = ()
    default: Any = REQUIRED  # a value, or a function of the fields read so far
    is_told: bool = True  # that the default was taken


def key(ours: str, theirs: str = "", *, also: Sequence[str] = (), default: Any = REQUIRED, is_told: bool = True) -> Key:
    """`ours` stands under `theirs` (or its own name); absent or null it is `default`, but null where it may be None.

    That the default was taken is told as an assumption, unless the key is younger than the files (`is_told`).
    """
    return Key(ours, theirs or ours, tuple(also), default, is_told)


@dataclass
class ForeignConfig:
    """The keys of one foreign config; every access is written down, and `check` refuses what nobody read."""

    raw: Mapping[str, Any]
    file: str | Path = "config.json"
    tensors: Mapping[str, TensorInfo] = field(default_factory=dict)  # the files' headers, for what no key says
    used: set[str] = field(default_factory=set)
    inert: set[str] = field(default_factory=set)
    assumed: dict[str, Any] = field(default_factory=dict)  # absent keys and the values taken in their place
    told: dict[str, str] = field(default_factory=dict)  # keys that are passed over, and what to say of them
    allowed: list[str] = field(default_factory=list)  # unknown keys that the user lets pass
    groups: list[ForeignConfig] = field(default_factory=list)  # nested keys that are read; see `foreign_group.group`
    asked: set[str] = field(default_factory=set)  # every key that was looked for, there or not
    lacking: dict[str, Any] = field(default_factory=dict)  # absent keys and values taken that no other key gives
    spelt: dict[str, str] = field(default_factory=dict)  # our field -> the key that it was read from
    name: str = ""  # of a group: the key that it stands under
    lacks_dtype: bool = False  # nobody said in which type the weights are; the files will
    classes: tuple[str, ...] = ()  # see `of_class`
    code: tuple[str, ...] = ()
    undone: frozenset[str] = frozenset()  # keys that say how weights are packed, which the files' reader unpacks

    def __contains__(self, name: str) -> bool:
        self.asked.add(name)
        return self.raw.get(name) is not None

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        if name not in self.raw:
            raise CheckpointError(self.file, name, "the key is missing")
        self.used.add(name)
        return self.raw[name]

    def get(self, name: str, default: Any = None, *, also: Iterable[str] = ()) -> Any:
        """The value under `name` or another spelling, or under all that agree; absent or null: `default`, noted."""
        self.asked.update(names := (name, *also))
        for spelling in (found := [spelling for spelling in names if spelling in self.raw]):
            self.used.add(spelling)
            if (value := self.raw[spelling]) is not None:
                self.used.update(other for other in found if self.raw[other] == value)
                return value
        self.lacking[name] = default
        if (name not in self.raw or default is not None) and name not in SEEN_IN_TENSORS:
            self.assumed[name] = default
        return default

    def read(self, config: type[Any], keys: Iterable[Key]) -> dict[str, Any]:
        """Our fields by the table `keys`, checked against the types that `config` declares."""
        hints = types_of(config)
        values: dict[str, Any] = {}
        for k in keys:
            names = (k.theirs, *k.also)
            present = next((name for name in names if name in self), None)
            if present is None and k.default is REQUIRED:
                raise CheckpointError(self.file, k.theirs, "the key is missing", hint=f"it is model.{k.ours}")
            is_none = type(None) in get_args(hints[k.ours]) and any(name in self.raw for name in names)
            if hints[k.ours] is bool and k.default is True and present is None and k.theirs in self.raw:
                why = "transformers reads null as false, but a missing key as true"
                raise CheckpointError(self.file, k.theirs, "null is neither true nor false", why=why)
            default = None if k.default is REQUIRED or present or is_none else self._default(k, values)
            value = self.get(k.theirs, default, also=k.also)
            if callable(k.default):
                self.lacking.pop(k.theirs, None)
            if k.ours in SEEN_IN_TENSORS or not k.is_told:
                self.assumed.pop(k.theirs, None)
            self.spelt[k.ours] = present or k.theirs
            values[k.ours] = self.as_type(hints[k.ours], value, present or k.theirs)
        return values

    def require(self, **values: Any) -> None:
        """Refuse any other value of these keys than the one given; null is none, as if the key were not there."""
        self.asked.update(values)
        for name in [name for name in values if name in self.raw and name not in self.undone]:
            self.used.add(name)
            if (found := self.raw[name]) is not None and found != (value := values[name]):
                raise CheckpointError(self.file, name, f"{clean(repr(found))} is not supported, only {value!r} is")

    def expect(self, **values: Any) -> None:
        """As `require`, of keys that files ought to have: one that is absent is assumed, and told."""
        self.require(**values)
        self.assumed |= {name: value for name, value in values.items() if name not in self}

    def of_class(self, *known: str, code: Iterable[str] = ()) -> None:
        """Say which classes in `architectures` this family's model is; a bare model of theirs is told, others refused.

        `code` are the modules in `auto_map`, as configuration_NAME and modeling_NAME, that were released for them.
        """
        self.classes, self.code = known, tuple(code)

    def one_of(self, name: str, known: Mapping[str, str], default: str, *, also: Iterable[str] = ()) -> str:
        """The value under `name`, translated by `known`; anything else is refused."""
        value = self.get(name, default, also=also)
        if not isinstance(value, str) or value not in known:
            raise CheckpointError(
                self.file, name, f"{clean(repr(value))} is not known", why=did_you_mean(str(value), known)
            )
        return known[value]

    def ignore(self, *names: str) -> None:
        """Declare keys that change neither the weights nor the logits of this family."""
        self.inert.update(name for name in names if name in self.raw)

    def tokens(self) -> dict[str, Any]:
        """The fields of ModelConfig that every foreign config has: dtype and special tokens."""
        eos = self.get("eos_token_id")
        eos = [] if eos is None else eos if isinstance(eos, list) else [eos]
        dtype = self.as_type(str, self.get("dtype", "float32", also=("torch_dtype",)), "dtype")
        self.lacks_dtype = self.assumed.pop("dtype", None) is not None  # the files themselves are the better witness
        return {
            "dtype": dtype.removeprefix("torch."),
            "bos_token_id": self.as_type(int | None, self.get("bos_token_id"), "bos_token_id"),
            "eos_token_id": self.as_type(list[int], eos, "eos_token_id"),
            "pad_token_id": self.as_type(int | None, self.get("pad_token_id"), "pad_token_id"),
        }

    def rope(self, *, theta: float = 10_000.0, partial: float | None = None, layer_type: str = "") -> RopeConfig:
        """Rotary settings in the old spelling (rope_theta, rope_scaling) or the new one (rope_parameters).

        `theta` and `partial` are the family's defaults, None: all channels rotate, and a smaller share is refused.
        `layer_type` picks one of the nested groups of the new spelling.
        """
        return read_rope(self, theta, partial, layer_type)

    def as_type(self, kind: Any, value: Any, name: str) -> Any:
        """`value` as `kind`; `name` is the key it stands under."""
        if _is_missing(value):
            raise CheckpointError(self.file, name, f"{MISSING!r} is not a value")
        try:
            return typed(kind, value, name)
        except ConfigError as error:
            raise CheckpointError(self.file, name, clean(error.what, 200), why=error.why) from None

    def check(self, *, where: str = "", allow: Iterable[str] = (), is_asked: bool = False) -> None:
        """Refuse the keys that were neither read, nor declared to be without effect, nor allowed by a pattern.

        `is_asked`: the family was chosen against the file's own word, so that its classes are told and not refused.
        """
        check_keys(self, where, tuple(allow), is_asked=is_asked)

    def _default(self, k: Key, values: Mapping[str, Any]) -> Any:
        try:
            return k.default(values) if callable(k.default) else k.default
        except ArithmeticError:
            raise CheckpointError(
                self.file, k.theirs, "the key is missing, and the other keys do not determine it"
            ) from None


def write_keys(config: object, keys: Iterable[Key]) -> dict[str, Any]:
    """The foreign keys of our fields: the table of `ForeignConfig.read`, backwards."""
    return {k.theirs: getattr(config, k.ours) for k in keys}


def write_tokens(config: ModelConfig) -> dict[str, Any]:
    """dtype and special tokens as transformers 5 spells them."""
    eos = config.eos_token_id
    return {
        "dtype": config.dtype,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": None if not eos else eos[0] if len(eos) == 1 else list(eos),
        "pad_token_id": config.pad_token_id,
    }


# Counts and claims of parts beside a model, without which it computes what it did.
BESIDE = ("has_pooler", "num_mtp_layers")


def must_be(config: ModelConfig, where: str, **values: Any) -> None:
    """Refuse to write a config whose fields have other values than these, the only ones that `where` can mean."""
    for name, value in values.items():
        if (found := getattr(config, name)) != value:
            hint = f"leave that part out: model.{name}={str(value).lower()}" if name in BESIDE and not value else ""
            what = f"{where} cannot store model.{name}={found!r}"
            raise UsageError(what, why=f"it can store only {value!r}", hint=hint)


def _is_missing(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value == MISSING or any(_is_missing(item) for item in inside)
