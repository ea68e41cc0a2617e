"""What a golden cannot notice: a number that a library, or a config, takes anyway where it is not given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import pytest

from tests.goldens import goldens_of
from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.errors import ZooError
from zoo.models.construction import on_meta
from zoo.registry import installed
from zoo.weights import ForeignConfig

FAMILIES = installed().families
WITH_GOLDENS = sorted(name for name in FAMILIES if goldens_of(name))
ABOUT = {f.name for f in fields(ModelConfig)} | {"labels"}  # of no tensor
# Of the code released with the weights, which runs with these values alone, or was run with them.
ORIGINAL = {"chatglm", "chatglm2", "qwen", "qwen_vl"}
# A scaling is every family's in the same words: LLaMA's goldens have each number of it.
ROPE = {f.name for f in fields(RopeConfig)} - {"theta"}
LEFT = {
    "baichuan": {"rope.theta"},  # its code has no key for it
    "bert": {"tie_embeddings"}, "roberta": {"tie_embeddings"},  # their untied heads are told by slow tests
    "albert": {"tie_embeddings"}, "mpnet": {"tie_embeddings"}, "xlm_roberta": {"tie_embeddings"},
    "deberta": {"tie_embeddings"},  # always
    "deepseek": {"moe_layer_freq", "num_mtp_layers"},  # transformers has neither
    "deepseek_v32": {"moe_layer_freq", "num_mtp_layers", "rope_interleaved", "scoring"},  # the same in all, or neither
    "gemma3_vl": {"generation", "tie_embeddings"},  # of the text model, whose goldens have others
    "gptj": {"rope.theta"},  # its config.json has no key for it
    "gpt2": {"upcast_scores"},  # changes nothing in float64
    "qwen2_5_vl": {"vision.tokens_per_second"},  # of videos
    "glm4_moe": {"num_mtp_layers"}, "qwen3_5": {"num_mtp_layers"}, "qwen3_5_moe": {"num_mtp_layers"},
    "qwen3_next": {"num_mtp_layers"},  # of no pass, so of no golden
    "t5": {"decoder_start_token_id"},  # of generation
}  # fmt: skip


def values(config: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each field with its value and its default."""
    for field in fields(config):
        value = getattr(config, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if is_dataclass(value):
            yield from values(value, f"{path}{field.name}.")
        elif field.name not in ABOUT and not (path.endswith("rope.") and field.name in ROPE):
            yield path + field.name, value, default


@pytest.mark.parametrize("name", [name for name in WITH_GOLDENS if name not in ORIGINAL])
def test_some_golden_has_another_value_than_the_default_of_each_field(name: str) -> None:
    family = FAMILIES[name]
    configs = [family.dialect("hf").from_config(ForeignConfig(golden.config)) for golden in goldens_of(name)]
    same = {path for path, value, default in values(configs[0]) if value == default and value is not None}
    for config in configs:
        same -= {path for path, value, default in values(config) if value != default}
    assert same == LEFT.get(name, set())


# The only epsilons that are not the config's, with the file of the reference that fixes them.
FIXED = {
    "deepseek": ("attn.q_norm attn.kv_norm", 1e-6),  # DeepseekV3RMSNorm's default, which latent attention leaves
    # DeepseekV32RMSNorm's default, likewise, and the LayerNorm of its indexer
    "deepseek_v32": ("attn.q_norm attn.kv_norm attn.indexer.k_norm", 1e-6),
    "minicpm3": ("attn.q_norm attn.kv_norm", 1e-6),  # MiniCPM3RMSNorm's default, likewise
    "opt": ("attn_norm mlp_norm norm", 1e-5),  # nn.LayerNorm's default, for which no config has a key
    "distilbert": ("embed.norm attn_norm mlp_norm lm_head.norm", 1e-12),
    "llama4_vl": ("embed_norm attn_norm mlp_norm tower.norm", 1e-5),  # nn.LayerNorm's default, whatever norm_eps says
    "qwen2_vl": ("attn_norm mlp_norm merger.norm", 1e-6),
    "qwen2_5_vl": ("attn_norm mlp_norm merger.norm", 1e-6),
    "qwen3_vl": ("attn_norm mlp_norm merger.norm deep_mergers.0.norm deep_mergers.1.norm", 1e-6),
    "qwen3_vl_moe": ("attn_norm mlp_norm merger.norm deep_mergers.0.norm deep_mergers.1.norm", 1e-6),
    "qwen_vl": ("embed_norm attn_norm mlp_norm q_norm kv_norm visual.norm", 1e-6),
}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_norm_has_the_epsilon_of_the_config(name: str) -> None:
    """Of the families, too, whose goldens have the epsilon that torch takes."""
    config: Any = FAMILIES[name].config_class.tiny()
    towers = {
        f.name: replace(value, norm_eps=0.012)
        for f in fields(config)
        if is_dataclass(value := getattr(config, f.name)) and hasattr(value, "norm_eps")
    }
    norm = {"norm": replace(config.norm, eps=0.012)} if name == "decoder" else {}
    own = {"norm_eps": 0.012} if hasattr(config, "norm_eps") else {}
    model = on_meta(replace(config, **own, **towers, **norm))
    ends, fixed = FIXED.get(name, ("", 0.012))
    found = {n: m.eps for n, m in model.named_modules() if isinstance(getattr(m, "eps", None), float)}
    assert found
    for module, eps in found.items():
        is_fixed = module.endswith(tuple(ends.split())) and not (
            name.startswith(("qwen", "llama4")) and module[0] == "l"
        )
        assert eps == (fixed if ends and is_fixed else 0.012), module


@pytest.mark.parametrize("name", [name for name in WITH_GOLDENS if "hf" in FAMILIES[name].formats])
def test_every_activation_has_a_word_in_config_json_and_is_read_back(name: str) -> None:
    family, config = FAMILIES[name], FAMILIES[name].config_class.tiny()
    for holder in [config, *(v for f in fields(config) if is_dataclass(v := getattr(config, f.name)))]:
        if not hasattr(holder, "activation"):
            continue
        for word in ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu"):
            holder.activation = word
            try:
                holder.__post_init__() if holder is config else config.__post_init__()
            except ZooError:
                continue
            raw = family.dialect("hf").to_config(config)
            assert family.dialect("hf").from_config(ForeignConfig(raw)) == config, word
