"""How a Gemma 3n is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from zoo.anatomy import MISSING, Anatomy, DecoderConfig, RopeConfig, at_least, heads_in_words, rope_in_words
from zoo.errors import ConfigError

EVERY, SPARSE_LAYERS, SPARSITY = (
    5,
    10,
    0.95,
)  # as released: global layers; layers whose gates are sparse, and by how much


@dataclass
class Gemma3nConfig(DecoderConfig):
    """The text of Gemma 3n (Google, June 2025): E2B and E4B."""

    family: str = "gemma3n"
    norm_eps: float = 1e-6  # added to the mean square
    tie_embeddings: bool = True  # the output head is the embedding
    final_softcap: float = 30.0  # logits stay within ± this
    sliding_window: int = 512  # tokens a local layer sees, its own among them
    global_layers: list[int] | None = None  # layers that see all tokens; None: every fifth
    local_rope: RopeConfig = field(default_factory=RopeConfig)  # rotary positions of local layers
    sharing_from: int | None = None  # layers from this on take keys and values of the last of their kind before it
    num_streams: int = 4  # residual streams, of which the first passes through attention and MLP (arXiv:2301.13310)
    laurel_rank: int = 64  # of the learned residual beside attention (arXiv:2411.07501)
    layer_embed_dim: int = 256  # channels of a token's embedding for each layer
    layer_vocab_size: int = MISSING  # tokens that have such embeddings; others take those of token 0
    mlp_widths: list[int] | None = None  # width of each layer's MLP; None: intermediate_size everywhere
    sparsity: list[float] | None = None  # share of each layer's gates set to 0; None: 0.95 in 10 of more layers
    slice: str | None = None  # smaller model to take out of an E4B: e2b, e1.96b or e2.54b; its sizes take the place

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, sliding_window=self.sliding_window, num_streams=self.num_streams, laurel_rank=self.laurel_rank)
        at_least(1, sharing_from=self.sharing_from)
        at_least(1, layer_embed_dim=self.layer_embed_dim, layer_vocab_size=self.layer_vocab_size)
        for name in ("mlp_widths", "sparsity"):
            if (values := getattr(self, name)) is not None and len(values) != self.num_layers:
                raise ConfigError(f"model.{name} has {len(values)} numbers, and model.num_layers={self.num_layers}")
        if not all(0 <= share < 1 for share in self.sparsity or []):
            raise ConfigError(f"model.sparsity={self.sparsity} is not from 0 to below 1")
        if any(width < 1 for width in self.mlp_widths or []):
            raise ConfigError(f"model.mlp_widths={self.mlp_widths} has a width below 1")
        layers, count = self.global_layers, self.num_layers
        if layers is not None and layers != sorted(set(layers) & set(range(count))):
            raise ConfigError(f"model.global_layers={layers} must be layer numbers in order, below {count}")
        if (scaling := self.local_rope.scaling) != "none":
            raise ConfigError(f"model.local_rope.scaling={scaling}: the local layers of a Gemma 3n are never stretched")
        if not self.rope.truncate:
            raise ConfigError(
                "model.rope.truncate=false: transformers does not read it where layers rotate in two ways"
            )
        self._settle()
        self._check_sharing()
        if self.slice is not None:
            self._take(self.slice)

    def _take(self, name: str) -> None:
        """Become the slice; what is left of the wish is where the weights lie."""
        from .slices import take

        self.slice = None
        self.nested = take(self, replace(self), name)
        self._settle()

    def _settle(self) -> None:
        """One spelling for each choice."""
        if self.global_layers == list(range(EVERY - 1, self.num_layers, EVERY)):
            self.global_layers = None
        if self.sharing_from is not None and self.sharing_from >= self.num_layers:
            self.sharing_from = None
        if self.mlp_widths == [self.intermediate_size] * self.num_layers:
            self.mlp_widths = None
        if self.sparsity == [self._usual_sparsity(i) for i in range(self.num_layers)]:
            self.sparsity = None

    def _check_sharing(self) -> None:
        first = self.first_sharing
        before, behind = ({self.is_global(i) for i in part} for part in (range(first), range(first, self.num_layers)))
        if not behind <= before:
            raise ConfigError(f"model.sharing_from={first} leaves no layer of the same kind before it")

    @property
    def first_sharing(self) -> int:
        """The first layer without keys and values of its own, or the number of layers."""
        return self.num_layers if self.sharing_from is None else self.sharing_from

    def is_global(self, layer: int) -> bool:
        """Whether a layer sees all tokens."""
        return (layer + 1) % EVERY == 0 if self.global_layers is None else layer in self.global_layers

    def is_source(self, layer: int) -> bool:
        """Whether later layers take keys and values from a layer: the last of its kind with its own."""
        return layer == max(
            (i for i in range(self.first_sharing) if self.is_global(i) == self.is_global(layer)), default=-1
        )

    def width_of(self, layer: int) -> int:
        """How wide a layer's MLP is."""
        return self.intermediate_size if self.mlp_widths is None else self.mlp_widths[layer]

    def sparsity_of(self, layer: int) -> float:
        """Which share of a layer's gates is set to 0."""
        return self._usual_sparsity(layer) if self.sparsity is None else self.sparsity[layer]

    def _usual_sparsity(self, layer: int) -> float:
        return SPARSITY if layer < SPARSE_LAYERS < self.num_layers else 0.0

    def anatomy(self) -> Anatomy:
        from .anatomy import describe

        return describe(self)

    def traits(self) -> dict[str, str]:
        """Each part in words."""
        local = [i for i in range(self.num_layers) if not self.is_global(i)]
        borrowing = self.num_layers - self.first_sharing
        sharing = f", keys shared by the last {borrowing}" if borrowing else ""
        sparse = sum(self.sparsity_of(i) > 0 for i in range(self.num_layers))
        window = f", window {self.sliding_window} in {len(local)} of {self.num_layers} layers" if local else ""
        return {
            "attention": heads_in_words(self.num_heads, self.num_kv_heads) + window + sharing,
            "position": f"{rope_in_words(self.rope)}, local {rope_in_words(self.local_rope).removeprefix('RoPE ')}",
            "norm": "RMSNorm, pre and post, also on q, k and v",
            "block": f"AltUp of {self.num_streams} streams; norm → attention and LAuReL → norm → MLP → norm → +",
            "mlp": f"GeGLU {self.intermediate_size}" + (f", sparse in {sparse} layers" if sparse else ""),
        }

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=5, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, sliding_window=5, global_layers=[1, 4], sharing_from=3, num_streams=3,
            laurel_rank=7, layer_embed_dim=9, layer_vocab_size=53, sparsity=[0.7, 0.0, 0.4, 0.0, 0.0],
            rope=RopeConfig(theta=5000.0), local_rope=RopeConfig(theta=100.0), final_softcap=15.0,
        )  # fmt: skip
