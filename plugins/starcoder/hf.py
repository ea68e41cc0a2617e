"""StarCoder2 as Hugging Face stores it: LLaMA's names, but for the MLP's two matrices."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, rename
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, write_decoder

from .config import StarCoder2Config

KEYS = (
    *decoder_keys(norm="norm_epsilon", num_kv_heads=2, max_seq_len=4096, norm_eps=1e-5, tie_embeddings=True),
    key("has_bias", "use_bias", default=True),
    key("sliding_window", default=None),
)
TANH = "gelu_pytorch_tanh"


def from_config(hf: ForeignConfig) -> StarCoder2Config:
    hf.of_class("Starcoder2ForCausalLM")
    hf.one_of("hidden_act", dict.fromkeys((TANH, "gelu_new"), TANH), TANH)
    hf.require(norm_type="layer_norm", mlp_type="default")
    hf.ignore("attention_dropout", "residual_dropout", "embedding_dropout")
    return StarCoder2Config(**hf.read(StarCoder2Config, KEYS), **hf.tokens(), rope=hf.rope())


def to_config(c: StarCoder2Config) -> dict[str, Any]:
    return write_decoder(c, "starcoder2", "Starcoder2ForCausalLM", KEYS, hidden_act=TANH)


def mapping(c: StarCoder2Config) -> Table:
    mlp = rename("mlp.up_proj", "mlp.c_fc"), rename("mlp.down_proj", "mlp.c_proj")
    return decoder_table(c, *mlp, *(entry for entry in LAYER if entry.ours != ("mlp",)))


STARCODER2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
