"""How a Gemma 4 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    Anatomy,
    DecoderConfig,
    RopeConfig,
    at_least,
    heads_in_words,
    multiple_of,
    rope_in_words,
)
from zoo.errors import ConfigError

EVERY = 6  # as mostly released: every sixth layer is global


@dataclass
class Gemma4Config(DecoderConfig):
    """The text of Gemma 4 (Google, 2026): E2B and E4B with embeddings per layer, 31B, and 26B-A4B with experts."""

    family: str = "gemma4"
    norm_eps: float = 1e-6  # added to the mean square
    tie_embeddings: bool = True  # the output head is the embedding
    final_softcap: float | None = None  # logits stay within ± this
    sliding_window: int = 512  # tokens a local layer sees, its own among them
    global_every: int = EVERY  # every so many layers one sees all tokens, and the last always does
    global_layers: list[int] | None = None  # layers that see all tokens; None: those that global_every says
    global_head_dim: int = 512  # channels of a head in global layers; head_dim is that of local ones
    global_kv_heads: int | None = None  # key/value heads of global layers; None: num_kv_heads
    global_rotary: float = 0.25  # share of a global head's channel pairs that rotate, the fastest ones
    has_equal_keys: bool = False  # in global layers the values are the keys, before their norm and rotation
    local_rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions of local layers
    sharing_from: int | None = None  # layers from this on take keys and values of the last of their kind before it
    is_doubled: bool = False  # layers without keys of their own have MLPs twice as wide
    layer_embed_dim: int | None = None  # channels of a token's embedding for each layer; None: there are none
    num_experts: int | None = None  # experts beside each layer's MLP; None: there are none
    experts_per_token: int = 1  # experts that each token passes through
    expert_size: int = 1  # width of an expert

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, sliding_window=self.sliding_window, sharing_from=self.sharing_from, num_experts=self.num_experts)
        at_least(1, layer_embed_dim=self.layer_embed_dim, global_kv_heads=self.global_kv_heads)
        at_least(1, experts_per_token=self.experts_per_token, expert_size=self.expert_size)
        at_least(2, global_head_dim=self.global_head_dim)
        at_least(1, global_every=self.global_every)
        if self.global_head_dim % 2:
            raise ConfigError(f"model.global_head_dim={self.global_head_dim} is not even")
        if not 0 <= self.global_rotary <= 1:
            raise ConfigError(f"model.global_rotary={self.global_rotary!r} is not from 0 to 1")
        multiple_of("model.num_heads", self.num_heads, "model.global_kv_heads", self.kv_heads_of(True))
        if self.num_experts is not None and self.experts_per_token > self.num_experts:
            raise ConfigError(
                f"model.experts_per_token={self.experts_per_token} exceeds model.num_experts={self.num_experts}"
            )
        for name in ("rope", "local_rope"):
            if getattr(self, name) != RopeConfig(theta=getattr(self, name).theta):
                raise ConfigError(f"model.{name} has more than a theta: no Gemma 4 stretches its positions")
        layers, count = self.global_layers, self.num_layers
        if layers is not None and (layers != sorted(set(layers) & set(range(count))) or layers[-1:] != [count - 1]):
            raise ConfigError(
                f"model.global_layers={layers} must be layer numbers in order, and the last of them {count - 1}"
            )
        self._settle()
        if not {self.is_global(i) for i in range(count)} <= {self.is_global(i) for i in range(self.first_sharing)}:
            raise ConfigError(f"model.sharing_from={self.sharing_from} leaves no layer of the same kind before it")

    def _settle(self) -> None:
        """One spelling for each choice."""
        layers = self.usually_global if self.global_layers is None else self.global_layers
        even = [every for every in (EVERY, layers[0] + 1) if layers == global_numbers(self.num_layers, every)]
        self.global_every, self.global_layers = (even[0], None) if even else (EVERY, layers)
        if self.sharing_from is not None and self.sharing_from >= self.num_layers:
            self.sharing_from = None
        if self.sharing_from is None:
            self.is_doubled = False
        if self.global_kv_heads == self.num_kv_heads:
            self.global_kv_heads = None
        if self.num_experts is None:
            self.experts_per_token = self.expert_size = 1

    @property
    def first_sharing(self) -> int:
        """The first layer without keys and values of its own, or the number of layers."""
        return self.num_layers if self.sharing_from is None else self.sharing_from

    def is_global(self, layer: int) -> bool:
        """Whether a layer sees all tokens."""
        return layer in (self.usually_global if self.global_layers is None else self.global_layers)

    @property
    def usually_global(self) -> list[int]:
        """The layers that global_every names."""
        return global_numbers(self.num_layers, self.global_every)

    def is_source(self, layer: int) -> bool:
        """Whether later layers take keys and values from a layer: the last of its kind with its own."""
        alike = [i for i in range(self.first_sharing) if self.is_global(i) == self.is_global(layer)]
        return layer == alike[-1] and self.first_sharing < self.num_layers

    def kv_heads_of(self, is_global: bool) -> int:
        """Key/value heads of a kind of layer."""
        return self.global_kv_heads or self.num_kv_heads if is_global else self.num_kv_heads

    def heads_of(self, is_global: bool) -> tuple[int, int, int]:
        """Query heads, key/value heads and channels of a head, of a kind of layer."""
        return self.num_heads, self.kv_heads_of(is_global), self.global_head_dim if is_global else self.head_dim

    def width_of(self, layer: int) -> int:
        """How wide a layer's MLP is."""
        return self.intermediate_size * (2 if self.is_doubled and layer >= self.first_sharing else 1)

    def anatomy(self) -> Anatomy:
        from .anatomy import describe

        return describe(self)

    def traits(self) -> dict[str, str]:
        """Each part in words."""
        count, borrowing = self.num_layers, self.num_layers - self.first_sharing
        local = sum(not self.is_global(i) for i in range(count))
        attention = heads_in_words(self.num_heads, self.num_kv_heads)
        attention += f", window {self.sliding_window} in {local} of {count} layers" if local else ""
        attention += f", heads of {self.global_head_dim} in the others"
        attention += ", whose values are their keys" if self.has_equal_keys else ""
        attention += f", keys shared by the last {borrowing}" if borrowing else ""
        mlp = f"GeGLU {self.intermediate_size}" + (", twice as wide where keys are shared" if self.is_doubled else "")
        if self.num_experts is not None:
            mlp += f" beside MoE {self.num_experts} × {self.expert_size}, top {self.experts_per_token}"
        partly = f"{rope_in_words(self.rope)} for {self.global_rotary:g} of the pairs"
        return {
            "attention": attention,
            "position": f"{partly}, local {rope_in_words(self.local_rope).removeprefix('RoPE ')}",
            "norm": "RMSNorm, pre and post, also on q, k and v",
            "block": "norm → attention → norm → + → norm → MLP → norm → +"
            + (" → embedding of the layer → +" if self.layer_embed_dim else "")
            + " → × scalar",
            "mlp": mlp,
        }

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=20, num_layers=6, num_heads=6, num_kv_heads=3, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, sliding_window=5, global_layers=[1, 3, 5], global_head_dim=16,
            global_kv_heads=2, has_equal_keys=True, sharing_from=4, is_doubled=True, layer_embed_dim=9,
            num_experts=5, experts_per_token=2, expert_size=14, rope=RopeConfig(theta=5000.0),
            local_rope=RopeConfig(theta=100.0), final_softcap=15.0,
        )  # fmt: skip


def global_numbers(num_layers: int, every: int) -> list[int]:
    """Every so many layers one, and the last."""
    return [i for i in range(num_layers) if (i + 1) % every == 0 or i == num_layers - 1]
