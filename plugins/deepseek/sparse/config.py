"""How a DeepSeek-V3.2 or a GLM-5 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, AttentionSpec, RopeConfig, at_least, layers_in_order
from zoo.errors import ConfigError

from ..config import DeepSeekConfig

FIXED = {"scoring": "sigmoid", "moe_layer_freq": 1, "rope_interleaved": True}  # in every one, as in DeepSeek-V3


@dataclass
class DeepSeekV32Config(DeepSeekConfig):
    """DeepSeek-V3.2 (arXiv:2512.02556) and GLM-5 (arXiv:2602.15763): a DeepSeek-V3 with an indexer in its layers."""

    family: str = "deepseek_v32"
    scoring: str = "sigmoid"  # sigmoid: the router's scores, with a bias that steers the choice only
    num_index_heads: int = MISSING  # heads of the indexer, which scores the tokens that a query may read
    index_head_dim: int = MISSING  # width of such a head, and of the one key that they share; some of it rotates
    num_chosen: int = MISSING  # tokens that a query reads at most, those with the highest scores
    index_rope_interleaved: bool = False  # the indexer's channels rotate in pairs, as GLM-5's; DeepSeek's in halves
    indexer_layers: list[int] | None = None  # layers that choose; others take the choice before; None: all choose

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_index_heads=self.num_index_heads, num_chosen=self.num_chosen)
        if self.q_lora_rank is None:
            raise ConfigError("model.q_lora_rank=null: the indexer reads the squeezed queries", hint="give their width")
        if self.index_head_dim < self.rope_head_dim:
            raise ConfigError(
                f"model.index_head_dim={self.index_head_dim} is less than model.rope_head_dim={self.rope_head_dim}, "
                "the channels of it that rotate"
            )
        for name, value in FIXED.items():
            if getattr(self, name) != value:
                raise ConfigError(
                    f"model.{name}={getattr(self, name)!r}: a {self.family} has {value!r}",
                    hint="model.family=deepseek has other kinds, without an indexer",
                )
        self._check_indexers()

    def _check_indexers(self) -> None:
        found = self.indexer_layers
        if found is None:
            return
        layers_in_order("indexer_layers", found, self.num_layers)
        if not found or found[0] != 0:
            raise ConfigError(f"model.indexer_layers={found}: the first layer, 0, has to choose: none is before it")
        if not self.index_rope_interleaved:
            raise ConfigError(
                "model.indexer_layers needs model.index_rope_interleaved=true: only GLM-5's kind shares choices",
                hint="model.indexer_layers=null lets all layers choose",
            )
        if len(found) == self.num_layers:
            self.indexer_layers = None

    def chosen_by(self, layer: int) -> int:
        """The layer whose choice this one reads: itself, or the last before it that has an indexer."""
        if self.indexer_layers is None or layer >= self.num_layers:
            return layer
        return max(i for i in self.indexer_layers if i <= layer)

    def is_source(self, layer: int) -> bool:
        """Whether a later layer reads the choice of this one."""
        return layer + 1 < self.num_layers and self.chosen_by(layer + 1) == layer

    def _describe_attention(self, a: Anatomy) -> None:
        assert self.q_lora_rank is not None
        layers, heads, width = range(self.num_layers), self.num_index_heads, self.index_head_dim
        matrices = heads * width * self.q_lora_rank + heads * self.hidden_size
        for chooses in (True, False):
            alike = tuple(i for i in layers if (self.chosen_by(i) == i) == chooses)
            cached = self.kv_lora_rank + self.rope_head_dim
            spec = AttentionSpec(
                alike, self.num_heads, self.nope_head_dim + self.rope_head_dim, self.v_head_dim,
                cached + (width if chooses else 0), decode_dims=(cached, self.kv_lora_rank),
                chosen=self.num_chosen, indexer=(heads, width, matrices) if chooses else None,
            )  # fmt: skip
            if alike:
                a.attention.append(spec)
        with a.under("layers.{i}", [i for i in layers if self.chosen_by(i) == i]):
            self._describe_indexer(a)

    def _describe_module(self, a: Anatomy, number: int) -> None:
        super()._describe_module(a, number)
        self._describe_indexer(a)

    def _describe_indexer(self, a: Anatomy) -> None:
        assert self.q_lora_rank is not None
        with a.under("attn.indexer"):
            a.linear("q_up", self.q_lora_rank, self.num_index_heads * self.index_head_dim, "router")
            a.linear("k_proj", self.hidden_size, self.index_head_dim, "router")
            a.norm("k_norm", self.index_head_dim, bias=True, role="router")
            a.linear("head_weights", self.hidden_size, self.num_index_heads, "router")

    def _traits(self) -> dict[str, str]:
        found = super()._traits()
        few = "" if self.indexer_layers is None else f" by {len(self.indexer_layers)} of {self.num_layers} layers"
        return found | {"attention": f"{found['attention']}, {self.num_chosen} tokens chosen{few}"}

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=20, intermediate_size=40, num_layers=4, num_heads=3, q_lora_rank=14,
            kv_lora_rank=10, nope_head_dim=8, rope_head_dim=6, v_head_dim=7, num_dense_layers=1, num_experts=6,
            experts_per_token=3, moe_intermediate_size=18, num_shared_experts=2, num_groups=3, groups_per_token=2,
            is_renormalised=True, routed_scale=2.5, max_seq_len=64, norm_eps=3e-5, num_index_heads=9, index_head_dim=11,
            num_chosen=5, index_rope_interleaved=True, indexer_layers=[0, 1, 3], rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
