"""The base of every family's config: plain dataclasses that OmegaConf can read. Imports only the standard library.

Every field shows as `model.FIELD` in YAML, on the command line and in messages; `None` means absent.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Self, Union, get_args, get_origin

from zoo.anatomy.fields import types_of
from zoo.anatomy.limits import at_least, even, multiple_of, one_of
from zoo.anatomy.ranges import refuse_out_of_range
from zoo.errors import ConfigError, did_you_mean

MISSING: Any = "???"  # OmegaConf's mark for a value that the preset must supply

MAX_LAYERS, MAX_SIZE = 10_000, 2**48

ROPE_SCALINGS = ("none", "linear", "dynamic", "yarn", "llama3", "longrope")


@dataclass
class RopeConfig:
    """Rotary position embedding (arXiv:2104.09864) and how its frequencies are stretched to longer contexts."""

    theta: float = 10_000.0  # base of the geometric series of frequencies
    scaling: str = "none"  # none | linear | dynamic | yarn | llama3 | longrope
    factor: float = 1.0  # how many times the context is stretched
    original_max_seq_len: int | None = None  # tokens seen in pretraining; None: model.max_seq_len
    partial: float = 1.0  # share of each head's channels that rotate, from the first
    low_freq_factor: float = 1.0  # llama3: wavelengths above original/low are stretched in full
    high_freq_factor: float = 4.0  # llama3: wavelengths below original/high are kept
    beta_fast: float = 32.0  # yarn: channels that turn more often than this in the original context are kept
    beta_slow: float = 1.0  # yarn: channels that turn less often than this are stretched in full
    truncate: bool = True  # yarn: round the ends of the ramp to whole channels
    attention_factor: float | None = None  # yarn, longrope: factor on cos and sin; None: the paper's
    mscale: float | None = None  # yarn as in DeepSeek: weight of the temperature on cos and sin
    mscale_all_dim: float | None = None  # yarn as in DeepSeek: weight of the temperature on the softmax scale
    short_factor: list[float] | None = None  # longrope: divisor per channel pair within the original context
    long_factor: list[float] | None = None  # longrope: divisor per channel pair beyond it

    def __post_init__(self) -> None:
        one_of("model.rope.scaling", self.scaling, ROPE_SCALINGS)
        refuse_out_of_range(self, "model.rope")
        if self.beta_fast < self.beta_slow:
            raise ConfigError(f"model.rope.beta_fast={self.beta_fast!r} is below beta_slow={self.beta_slow!r}")
        if self.low_freq_factor > self.high_freq_factor:  # equal in Llama 4: no wavelength lies between the bands
            low, high = self.low_freq_factor, self.high_freq_factor
            raise ConfigError(f"model.rope.low_freq_factor={low!r} is above high_freq_factor={high!r}")
        if self.scaling == "longrope" and not (self.short_factor and self.long_factor):
            raise ConfigError("model.rope.scaling=longrope needs model.rope.short_factor and model.rope.long_factor")


class NoAnatomy(NotImplementedError):
    """A family describes no anatomy: it is measured by building a model. A fault within one that does is another."""


@dataclass
class ModelConfig:
    """Fields that every family shares; a family adds its own in a subclass."""

    family: str = MISSING  # the registered family that reads this config
    hub: str = ""  # where the released weights live, as org/name
    gated: bool = False  # the hub asks for consent before it hands the weights out
    stored_gib: float | None = None  # GiB of the released files, where they hold the weights packed
    license: str = ""  # licence of the released weights
    source: str = ""  # paper or report that describes the model
    dtype: str = "float32"  # data type of the released weights
    bos_token_id: int | None = None  # token that begins a text
    eos_token_id: list[int] = field(default_factory=list)  # tokens that end a text
    pad_token_id: int | None = None  # token that fills a batch up

    @property
    def nested(self) -> Nested | None:
        """Which part of a larger model's weights this one's are, where `model.slice` asked for one; no field."""
        found: Nested | None = vars(self).get("_nested")
        return found

    @nested.setter
    def nested(self, part: Nested) -> None:
        vars(self)["_nested"] = part

    @property
    def family_in_words(self) -> str:
        """What a user knows the model as, for messages."""
        return self.family

    def anatomy(self) -> Anatomy:
        """The weights by name and shape, the attention of each layer and the model's traits, without torch.

        A family that does not override this is measured by building it on the meta device, which needs torch.
        """
        raise NoAnatomy(f"{type(self).__name__} describes no anatomy")

    @classmethod
    def tiny(cls) -> Self:
        """A config of a few thousand parameters, for the contract's tests."""
        raise NotImplementedError(f"{cls.__name__} has no tiny config")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The config that `to_dict` wrote. Raises ConfigError for an unknown key or a value of the wrong type."""
        config: Self = typed(cls, values, "model")
        refuse_absurd(config)
        refuse_out_of_range(config)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Every field as JSON values, nested configs as nested dicts."""
        return _plain(self)


@dataclass
class DecoderConfig(ModelConfig):
    """Fields that most decoder-only families share, under the names of the literature."""

    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # query heads
    num_kv_heads: int = MISSING  # key/value heads; divides num_heads
    head_dim: int = MISSING  # channels per head; often hidden_size / num_heads
    max_seq_len: int = 2048  # tokens of context
    norm_eps: float = 1e-5  # added to the mean square
    tie_embeddings: bool = False  # the output head is the embedding
    rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions

    def __post_init__(self) -> None:
        refuse_absurd(self)  # before a family lists its layers
        sizes = "vocab_size hidden_size intermediate_size num_heads num_kv_heads head_dim max_seq_len".split()
        at_least(1, **{name: getattr(self, name) for name in sizes})
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.num_heads", self.num_heads, "model.num_kv_heads", self.num_kv_heads)
        even("model.head_dim", self.head_dim)
        refuse_out_of_range(self)

    @property
    def heads(self) -> tuple[int, int, int]:
        """Query heads, key/value heads, and the channels of each."""
        return self.num_heads, self.num_kv_heads, self.head_dim

    def gated_anatomy(self, *, bias: bool = False, out_bias: bool | None = None, mlp_bias: bool = False) -> Anatomy:
        """That of LLaMA's kind: a trunk with rotary positions and a gated MLP in each layer (arXiv:2302.13971).

        A family says that it is so by calling this: a config that says nothing has no anatomy, and none is guessed.
        """
        from zoo.anatomy.traits import rope_in_words
        from zoo.anatomy.trunk import describe_trunk

        with describe_trunk(self, self.heads, position=rope_in_words(self.rope), bias=bias, out_bias=out_bias) as a:
            a.gated_mlp(self.hidden_size, self.intermediate_size, bias=mlp_bias)
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a


def typed(kind: Any, value: Any, path: str) -> Any:
    """`value`, of JSON types, as the type a field was declared with; `path` names the field in errors."""
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, value, path)
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any or value == MISSING:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return typed(next(a for a in args if a is not type(None)), value, path)
    if origin is list and isinstance(value, list | tuple):
        return [typed(args[0], item, f"{path}[{i}]") for i, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {k: typed(args[1], v, f"{path}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{path}={value!r} is not {getattr(kind, '__name__', kind)}")


def refuse_absurd(part: Any, path: str = "model") -> None:
    """Raise ConfigError for a number that would make us count for ever, or overflow."""
    for f in fields(part):
        value, limit = getattr(part, f.name), MAX_LAYERS if f.name.endswith("layers") else MAX_SIZE
        if is_dataclass(value):
            refuse_absurd(value, f"{path}.{f.name}")
        elif isinstance(value, int) and value > limit:
            raise ConfigError(f"{path}.{f.name}={value}: more than {limit:,} are refused")


def _record(kind: type, value: Any, path: str) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise ConfigError(f"{path}={value!r} is not a group of fields")
    hints = types_of(kind)
    names = {f.name for f in fields(kind)}
    if unknown := [key for key in value if key not in names]:
        raise ConfigError(
            f"{path}.{unknown[0]} is not a field of {kind.__name__}", why=did_you_mean(str(unknown[0]), names)
        )
    return kind(**{key: typed(hints[key], item, f"{path}.{key}") for key, item in value.items()})


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


if typing.TYPE_CHECKING:
    from zoo.anatomy.builder import Anatomy
    from zoo.anatomy.slices import Nested
