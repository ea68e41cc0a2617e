"""How the dense Qwen 1.5 to 3 are configured, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, at_least, describe_trunk, rope_in_words
from zoo.errors import ConfigError

TINY = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_layers": 3, "num_heads": 6, "num_kv_heads": 2,
    "head_dim": 10, "max_seq_len": 64, "norm_eps": 3e-5,
}  # fmt: skip


@dataclass
class DualChunkConfig:
    """Dual chunk attention (arXiv:2402.17463), which lets a model read further than it was trained."""

    chunk_size: int | None = None  # tokens; up to here attention is ordinary, and everywhere if None
    local_size: int | None = None  # tokens by which chunks are shorter, for the neighbours across their borders
    original_max_seq_len: int | None = None  # tokens beyond which the scores' temperature sinks; None: never

    def __post_init__(self) -> None:
        for name in ("local_size", "original_max_seq_len"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"model.dual_chunk.{name}={value} is below 1")
        if (self.chunk_size is None) != (self.local_size is None):
            raise ConfigError("model.dual_chunk.chunk_size and model.dual_chunk.local_size must be set together")
        if self.original_max_seq_len is not None and self.chunk_size is None:
            raise ConfigError("model.dual_chunk.original_max_seq_len needs model.dual_chunk.chunk_size")
        if self.chunk_size is not None and self.local_size is not None and self.local_size >= self.chunk_size:
            raise ConfigError(
                f"model.dual_chunk.local_size={self.local_size} uses up all of "
                f"model.dual_chunk.chunk_size={self.chunk_size}"
            )


@dataclass
class Qwen2Config(DecoderConfig):
    """Qwen1.5, Qwen2 (arXiv:2407.10671), Qwen2.5 (arXiv:2412.15115) and Qwen2.5-1M (arXiv:2501.15383)."""

    family: str = "qwen2"
    norm_eps: float = 1e-6  # added to the mean square
    sliding_window: int | None = None  # tokens that sliding layers see, their own among them; None: all layers see all
    sliding_layers: list[int] | None = None  # layers with the window; None: all
    dual_chunk: DualChunkConfig = field(default_factory=DualChunkConfig)  # attention in chunks, for longer texts

    has_qk_norm: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, sliding_window=self.sliding_window)
        if self.sliding_layers is not None:
            if self.sliding_window is None:
                raise ConfigError("model.sliding_layers needs model.sliding_window")
            layers_below("model.sliding_layers", self.sliding_layers, self.num_layers)
            if not self.sliding_layers:
                raise ConfigError("model.sliding_layers contains no layer", hint="leave model.sliding_window out")
            if len(self.sliding_layers) == self.num_layers:
                self.sliding_layers = None
        if self.dual_chunk.chunk_size and (self.sliding_window or self.rope.scaling != "none"):
            raise ConfigError("model.dual_chunk cannot be used with model.sliding_window or model.rope.scaling")

    @property
    def biases(self) -> tuple[bool, bool]:
        """Whether q, k and v have biases, and whether o has one."""
        return True, False

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer sees; None: all."""
        return self.sliding_window if self.sliding_layers is None or layer in self.sliding_layers else None

    def anatomy(self) -> Anatomy:
        bias, out_bias = self.biases
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=bias, out_bias=out_bias,
            qk_norm=self.has_qk_norm, window_of=self.window_of,
        ) as a:  # fmt: skip
            pass
        a.traits["attention"] += self._reach_in_words()
        a.traits["norm"] += ", also on q and k" if self.has_qk_norm else ""
        a.traits["mlp"] = self.describe_mlp(a)
        return a

    def describe_mlp(self, a: Anatomy) -> str:
        """Add the weights of all MLPs; returns them in words."""
        with a.under("layers.{i}", range(self.num_layers)):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        return f"SwiGLU {self.intermediate_size}"

    def _reach_in_words(self) -> str:
        if self.dual_chunk.chunk_size:
            return f", dual chunks of {self.dual_chunk.chunk_size}"
        sliding = sum(self.window_of(i) is not None for i in range(self.num_layers))
        return f", window {self.sliding_window} in {sliding} of {self.num_layers} layers" if sliding else ""

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, rope=RopeConfig(theta=1000.0), sliding_window=5, sliding_layers=[1, 2])


@dataclass
class Qwen3Config(Qwen2Config):
    """Qwen3, dense (arXiv:2505.09388)."""

    family: str = "qwen3"
    attention_bias: bool = False  # q, k, v and o have biases

    has_qk_norm: ClassVar[bool] = True

    @property
    def biases(self) -> tuple[bool, bool]:
        return self.attention_bias, self.attention_bias


def layers_below(path: str, layers: list[int], num_layers: int) -> None:
    """Raise ConfigError unless `layers` are numbers of layers, each once and in order."""
    if layers != sorted(set(layers) & set(range(num_layers))):
        raise ConfigError(f"{path}={layers} must be layer numbers in order, below model.num_layers={num_layers}")
