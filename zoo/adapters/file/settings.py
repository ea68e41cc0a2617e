"""adapter_config.json of peft: every key is used, inert or refused. Needs no torch.

LoRA (arXiv:2106.09685) adds B A alpha / r to a matrix; rank-stabilised (arXiv:2312.03732) divides by the root of r;
DoRA (arXiv:2402.09353) scales each row of the sum to a length of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from zoo.adapters.file.patterns import first_matching
from zoo.errors import CheckpointError, clean, did_you_mean

ALL_LINEAR = "all-linear"
KINDS = {"LORA": "LoRA"}
OTHERS = {
    "IA3": "IA3", "MISS": "MiSS", "BONE": "Bone", "LOHA": "LoHa", "LOKR": "LoKr", "OFT": "OFT", "BOFT": "BOFT",
    "VERA": "VeRA", "ADALORA": "AdaLoRA", "PREFIX_TUNING": "prefix tuning", "PROMPT_TUNING": "prompt tuning",
    "P_TUNING": "P-tuning", "ADAPTION_PROMPT": "LLaMA-Adapter", "LN_TUNING": "LN tuning",
}  # fmt: skip
# What has no bearing on the numbers of a trained adapter.
INERT = (
    "peft_version", "task_type", "auto_mapping", "inference_mode", "lora_dropout", "revision", "megatron_core",
    "qalora_group_size", "runtime_config", "ensure_weight_tying", "loftq_config",
)  # fmt: skip
# What zoo does not do, and the values with which it is not asked for.
OFF = {
    "lora_bias": "a bias of its own in each product", "use_qalora": "QA-LoRA", "use_bdlora": "block-diagonal LoRA",
    "layer_replication": "layers that stand several times", "trainable_token_indices": "single trained tokens",
    "alora_invocation_tokens": "adapters that begin at a token", "arrow_config": "Arrow", "kasa_config": "KaSA",
    "velora_config": "VeLoRA", "monteclora_config": "MonteCLoRA", "megatron_config": "Megatron's layers",
    "corda_config": "CorDA", "eva_config": "EVA", "lora_ga_config": "LoRA-GA",
    "target_modules_to_tie": "tied modules",
}  # fmt: skip
PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal", "kaiming", "xavier")  # which leave the base as it was
USED = (
    "peft_type", "base_model_name_or_path", "r", "lora_alpha", "target_modules", "target_parameters",
    "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "bias", "fan_in_fan_out",
    "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "init_lora_weights",
)  # fmt: skip
MOST = 4096  # entries of a list or a table
BIASES = ("none", "all", "lora_only")


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """What peft's config says of a LoRA adapter."""

    file: str
    rank: int
    alpha: float
    targets: tuple[str, ...] | str  # names, ALL_LINEAR or a pattern
    parameters: tuple[str, ...] = ()  # adapted though they belong to no linear layer
    excluded: tuple[str, ...] | str = ()
    layers: tuple[int, ...] | None = None
    layer_lists: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()  # modules that were trained whole
    bias: str = "none"
    is_stabilised: bool = False
    is_dora: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    base: str = ""
    inert: tuple[str, ...] = ()

    def rank_of(self, module: str) -> int:
        """The rank that the settings give a module."""
        found = first_matching(self.ranks, module, self.file, "rank_pattern")
        return self.rank if found is None else self.ranks[found]

    def scaling_of(self, module: str) -> float:
        """What B A is multiplied by."""
        found = first_matching(self.alphas, module, self.file, "alpha_pattern")
        rank = self.rank_of(module)
        return (self.alpha if found is None else self.alphas[found]) / (rank**0.5 if self.is_stabilised else rank)

    @property
    def words(self) -> str:
        """LoRA, DoRA, with what belongs to it."""
        told = "DoRA" if self.is_dora else "LoRA"
        return f"rank-stabilised {told}" if self.is_stabilised else told


def read_settings(raw: Mapping[str, Any], file: str) -> AdapterSettings:
    """The settings in an adapter_config.json. Raises CheckpointError for what zoo does not know or do."""
    kind = raw.get("peft_type")
    if kind not in KINDS:
        told = OTHERS.get(str(kind), clean(repr(kind)))
        raise CheckpointError(file, "peft_type", f"is {told}, and of peft's folders zoo reads those of LoRA and DoRA")
    inert = [name for name in INERT if name in raw]
    for name, value in raw.items():
        if name in OFF and value not in (None, False, {}, []):
            raise CheckpointError(file, name, f"is {clean(repr(value))}: zoo does not compute {OFF[name]}")
        if name not in (*USED, *INERT, *OFF) and value is not None:
            known = did_you_mean(name, [*USED, *INERT, *OFF])
            raise CheckpointError(file, name, f"the key is not known, and its value is {clean(repr(value))}", why=known)
    start = raw.get("init_lora_weights", True)
    if start not in PLAIN_STARTS:
        what = f"is {clean(repr(start))}, which changes the base before it is trained"
        hint = "peft's save_pretrained(path_initial_model_for_weight_conversion=...) writes it for the unchanged base"
        raise CheckpointError(file, "init_lora_weights", what, hint=hint)
    read = _Reader(raw, file)
    layers = raw.get("layers_to_transform")
    return AdapterSettings(
        file=file,
        rank=read.count("r", 8),
        alpha=read.number("lora_alpha", raw.get("lora_alpha", 8)),
        targets=read.names("target_modules"),
        parameters=_listed(read.names("target_parameters"), file, "target_parameters"),
        excluded=read.names("exclude_modules"),
        layers=None if layers in (None, []) else read.layers(layers),
        layer_lists=read.listed("layers_pattern"),
        saved=_listed(read.names("modules_to_save"), file, "modules_to_save"),
        bias=read.one_of("bias", BIASES),
        is_stabilised=read.flag("use_rslora"),
        is_dora=read.flag("use_dora"),
        ranks={name: read.whole("rank_pattern", v) for name, v in read.table("rank_pattern").items()},
        alphas={name: read.number("alpha_pattern", v) for name, v in read.table("alpha_pattern").items()},
        base=read.text("base_model_name_or_path"),
        inert=tuple(inert) if read.flag("fan_in_fan_out") in (True, False) else (),
    )  # fan_in_fan_out: peft itself sets it by the layer it meets, and so does the table here


def _listed(names: tuple[str, ...] | str, file: str, key: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise CheckpointError(file, key, f"is {clean(repr(names))}, not a list of names")
    return names


@dataclass(frozen=True)
class _Reader:
    """Values by their types. Each method raises CheckpointError for a value of another."""

    raw: Mapping[str, Any]
    file: str

    def wrong(self, key: str, value: object, expected: str) -> CheckpointError:
        return CheckpointError(self.file, key, f"is {clean(repr(value))}, not {expected}")

    def count(self, key: str, default: int) -> int:
        return self.whole(key, self.raw.get(key, default))

    def whole(self, key: str, value: Any) -> int:
        if type(value) is not int or not 0 < value < 1 << 20:
            raise self.wrong(key, value, "a whole number above 0")
        return value

    def number(self, key: str, value: Any) -> float:
        if type(value) not in (int, float) or not isfinite(value):
            raise self.wrong(key, value, "a number")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self.raw.get(key)
        if value not in (None, True, False):
            raise self.wrong(key, value, "true or false")
        return bool(value)

    def text(self, key: str) -> str:
        value = self.raw.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, value, "a text")
        return value or ""

    def one_of(self, key: str, known: tuple[str, ...]) -> str:
        value = self.raw.get(key, known[0])
        if value not in known:
            raise self.wrong(key, value, f"one of {', '.join(known)}")
        return value

    def names(self, key: str) -> tuple[str, ...] | str:
        value = self.raw.get(key)
        if value is None or isinstance(value, str):
            return value or ()
        if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
            raise self.wrong(key, value, "a list of names")
        return tuple(self.few(key, value))

    def listed(self, key: str) -> tuple[str, ...]:
        names = self.names(key)
        return (names,) if isinstance(names, str) else names

    def table(self, key: str) -> dict[str, Any]:
        value = self.raw.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, value, "a table")
        return self.few(key, value or {})

    def few(self, key: str, value: Any) -> Any:
        """What has so many entries that looking each up for each module would take minutes is refused."""
        if len(value) > MOST:
            raise CheckpointError(self.file, key, f"has {len(value):,} entries, more than the {MOST:,} that it may")
        return value

    def layers(self, value: Any) -> tuple[int, ...]:
        listed = value if isinstance(value, list) else [value]
        if not all(type(number) is int and number >= 0 for number in listed):
            raise self.wrong("layers_to_transform", value, "numbers of layers")
        return tuple(listed)
