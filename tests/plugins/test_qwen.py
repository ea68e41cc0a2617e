"""Qwen 1.5 to 3 from the hub's files: windows that most declare and none uses, experts, what is near and is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from zoo.anatomy.size import Size
from zoo.checkpoint.saving import export_steps, exported
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.presets.composition import compose
from zoo.registry import installed
from zoo.weights import ForeignConfig

COMMON = {
    "attention_dropout": 0.0, "bos_token_id": 151643, "hidden_act": "silu", "initializer_range": 0.02,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, "use_sliding_window": False,
}  # fmt: skip


def hub(model_type: str, sizes: str, **keys: Any) -> dict[str, Any]:
    """A config.json with the keys of the released ones; `sizes` are the numbers in the order of `names`."""
    names = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
        "max_position_embeddings"
    ).split()
    numbers = dict(zip(names, map(int, sizes.split()), strict=True))
    kind = {"qwen2": "Qwen2", "qwen2_moe": "Qwen2Moe", "qwen3": "Qwen3", "qwen3_moe": "Qwen3Moe"}[model_type]
    architectures = [f"{kind}ForCausalLM"]
    return COMMON | {"model_type": model_type, "architectures": architectures} | numbers | keys


QWEN3 = {"attention_bias": False, "head_dim": 128, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": None,
         "rms_norm_eps": 1e-6, "eos_token_id": 151645}  # fmt: skip
MOE = {"decoder_sparse_step": 1, "output_router_logits": False, "router_aux_loss_coef": 0.001}
RELEASED = {
    "qwen1.5-4b": hub(
        "qwen2", "151936 2560 6912 40 20 20 32768", eos_token_id=151643, max_window_layers=21, rms_norm_eps=1e-6,
        rope_theta=5000000.0, sliding_window=32768,
    ),
    "qwen2.5-0.5b": hub(
        "qwen2", "151936 896 4864 24 14 2 32768", eos_token_id=151643, max_window_layers=24, rms_norm_eps=1e-6,
        rope_theta=1000000.0, sliding_window=32768, tie_word_embeddings=True, use_mrope=False,
    ),
    "qwen2.5-72b": hub(
        "qwen2", "152064 8192 29568 80 64 8 131072", eos_token_id=151643, max_window_layers=80, rms_norm_eps=1e-5,
        rope_theta=1000000.0, sliding_window=131072,
    ),
    "qwen2.5-7b-1m": hub(
        "qwen2", "152064 3584 18944 28 28 4 1010000", eos_token_id=151645, max_window_layers=28, rms_norm_eps=1e-5,
        rope_scaling=None, rope_theta=10000000.0, sliding_window=32768,
        dual_chunk_attention_config={
            "chunk_size": 262144, "local_size": 8192, "original_max_position_embeddings": 262144,
        },
    ),
    "qwen2-57b-a14b": hub(
        "qwen2_moe", "151936 3584 18944 28 28 4 131072", eos_token_id=151643, max_window_layers=28, rms_norm_eps=1e-6,
        rope_theta=1000000.0, sliding_window=131072, moe_intermediate_size=2560, norm_topk_prob=False, num_experts=64,
        num_experts_per_tok=8, shared_expert_intermediate_size=20480, **MOE,
    ),
    "qwen3-0.6b": hub(
        "qwen3", "151936 1024 3072 28 16 8 40960", max_window_layers=28, **QWEN3 | {"tie_word_embeddings": True}
    ),
    "qwen3-30b-a3b": hub(
        "qwen3_moe", "151936 2048 6144 48 32 4 40960", max_window_layers=48, mlp_only_layers=[], norm_topk_prob=True,
        moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8, **QWEN3, **MOE,
    ),
}  # fmt: skip
CODER = RELEASED["qwen3-30b-a3b"] | {"qkv_bias": False, "shared_expert_intermediate_size": 0, "use_qk_norm": True}


def read(raw: dict[str, Any]) -> Any:
    """The config that a foreign one describes, every key accounted for, by the family that claims it."""
    (family, _), *_ = installed().detect(raw)
    hf = ForeignConfig(raw)
    config = family.dialect("hf").from_config(hf)
    hf.check(where=family.name)
    return config


def tiny(name: str, **changes: Any) -> Any:
    return replace(installed()[name].config_class.tiny(), **changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", RELEASED)
def test_released_config_describes_the_preset(name: str) -> None:
    told = {"hub", "license", "source"}
    assert {k: v for k, v in read(RELEASED[name]).to_dict().items() if k not in told} == {
        k: v for k, v in compose(name).to_dict().items() if k not in told
    }


def test_keys_that_only_the_coders_have_say_nothing_new() -> None:
    assert read(CODER) == read(RELEASED["qwen3-30b-a3b"])


@pytest.mark.parametrize(
    ("keys", "window", "layers"),
    [
        ({"sliding_window": 4096}, None, None),
        ({"sliding_window": None}, None, None),
        ({"sliding_window": 9, "use_sliding_window": True, "max_window_layers": 38}, 9, [38, 39]),
        ({"sliding_window": 9, "use_sliding_window": True, "max_window_layers": 0}, 9, None),
        ({"sliding_window": 9, "use_sliding_window": True, "max_window_layers": 40}, None, None),
        ({"sliding_window": None, "use_sliding_window": True, "max_window_layers": 0}, None, None),
        (
            {"sliding_window": 9, "use_sliding_window": True, "max_window_layers": 0,
             "layer_types": ["sliding_attention", *["full_attention"] * 39]}, 9, [0],
        ),
        ({"sliding_window": 9, "layer_types": ["full_attention"] * 40}, None, None),
    ],
)  # fmt: skip
def test_windows_are_those_that_are_used(keys: dict[str, Any], window: int | None, layers: list[int] | None) -> None:
    config = read(RELEASED["qwen1.5-4b"] | keys)
    assert (config.sliding_window, config.sliding_layers) == (window, layers)


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("qwen1.5-4b", {"layer_types": ["sliding_attention"] * 40}, "layer_types: it names sliding layers"),
        ("qwen1.5-4b", {"layer_types": ["full_attention"] * 3}, "layer_types: it does not say"),
        ("qwen1.5-4b", {"layer_types": ["linear_attention"] * 40}, "layer_types: it does not say"),
        ("qwen1.5-4b", {"hidden_act": "gelu"}, "hidden_act"),
        ("qwen1.5-4b", {"use_mrope": True}, "use_mrope"),
        ("qwen1.5-4b", {"is_causal": False}, "is_causal: False is not"),  # embedding models that see both ways
        ("qwen2-57b-a14b", {"use_sliding_window": True}, "use_sliding_window: True is not supported"),
        ("qwen2-57b-a14b", {"decoder_sparse_step": 0}, "decoder_sparse_step: 0 is below 1"),
        ("qwen3-30b-a3b", {"shared_expert_intermediate_size": 7}, "shared_expert_intermediate_size: 7 is not"),
        ("qwen3-30b-a3b", {"use_qk_norm": False}, "use_qk_norm: False is not supported"),
        ("qwen3-30b-a3b", {"layer_types": ["linear_attention"]}, "layer_types: only full_attention"),
        ("qwen3-30b-a3b", {"num_experts": None}, "num_experts: the key is missing"),
    ],
)  # fmt: skip
def test_other_model_is_refused(name: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(RELEASED[name] | keys)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qwen2", {"sliding_window": None}, r"model\.sliding_layers needs model\.sliding_window"),
        ("qwen2", {"sliding_layers": [2, 1]}, r"model\.sliding_layers=\[2, 1\] must be layer numbers in order"),
        ("qwen2", {"sliding_layers": []}, r"model\.sliding_layers contains no layer"),
        ("qwen2_moe", {"experts_per_token": 6}, r"model\.experts_per_token=6 exceeds model\.num_experts=5"),
        ("qwen3_moe", {"dense_layers": [3]}, r"model\.dense_layers=\[3\] must be layer numbers"),
        ("qwen3_moe", {"moe_intermediate_size": 0}, r"model\.moe_intermediate_size=0 is below 1"),
    ],
)
def test_contradicting_fields_are_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(name, **changes)


def test_a_window_of_all_layers_needs_no_list() -> None:
    assert tiny("qwen2", sliding_layers=[0, 1, 2]) == tiny("qwen2", sliding_layers=None)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qwen3_moe", {"shared_intermediate_size": 4}, "a qwen3_moe never has a shared expert"),
        ("qwen2_moe", {"shared_intermediate_size": None}, "a qwen2_moe always has a shared expert"),
        ("qwen3_moe", {"sliding_window": 5}, r"cannot store model\.sliding_window=5"),
    ],
)
def test_what_the_format_cannot_say_is_not_written(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        installed()[name].dialect("hf").to_config(tiny(name, **changes))


def stored(name: str, folder: Path, rename: Any = lambda tensors: tensors) -> Any:
    """A tiny model, and its checkpoint with the tensors that `rename` makes of the hub's."""
    family, model = installed()[name], zoo.build(tiny(name), device="cpu", seed=1)
    ours = dict(model.named_parameters())
    specs = {k: ("float32", tuple(p.shape)) for k, p in ours.items()}
    steps = export_steps(family, "hf", model.config, specs)
    tensors = rename({k: t.detach().clone() for k, t in exported(steps, ours.__getitem__)})
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(family.dialect("hf").to_config(model.config)))
    save_file(tensors, folder / "model.safetensors")
    return model


def equal(model: Any, other: Any) -> bool:
    ours, theirs = dict(model.named_parameters()), dict(other.named_parameters())
    return ours.keys() == theirs.keys() and all(torch.equal(p, theirs[name]) for name, p in ours.items())


def stacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As transformers 5 keeps them in memory: gate and up in one, experts along the first dimension."""
    out = {name: t for name, t in tensors.items() if ".experts." not in name}
    for i in (0, 2):
        at = f"model.layers.{i}.mlp.experts"
        parts = [torch.stack([tensors[f"{at}.{e}.{p}_proj.weight"] for e in range(5)]) for p in ("gate", "up", "down")]
        out |= {f"{at}.gate_up_proj": torch.cat(parts[:2], 1), f"{at}.down_proj": parts[2]}
    return out


@pytest.mark.parametrize("name", ["qwen2_moe", "qwen3_moe"])
def test_experts_are_read_one_by_one_and_stacked(tmp_path: Path, name: str) -> None:
    model = stored(name, tmp_path / "apart")
    stored(name, tmp_path / "stacked", stacked)
    assert "model.layers.0.mlp.experts.4.down_proj.weight" in load_file(tmp_path / "apart" / "model.safetensors")
    assert equal(zoo.load(tmp_path / "apart"), model)
    assert equal(zoo.load(tmp_path / "stacked"), model)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_names_without_prefix_are_read(tmp_path: Path, name: str) -> None:
    """Embedding models are stored so; one whose head is not the embedding has none, which is said."""
    model = stored(name, tmp_path / "a", lambda tensors: {k.removeprefix("model."): t for k, t in tensors.items()})
    assert equal(zoo.load(tmp_path / "a"), model)
    bare = tmp_path / "b"
    stored(
        name, bare, lambda tensors: {k.removeprefix("model."): t for k, t in tensors.items() if k != "lm_head.weight"}
    )
    with pytest.raises(CheckpointError, match=r"missing +lm_head\.weight"):
        zoo.load(bare)


def test_a_wrong_model_type_is_found_out_by_the_tensors(tmp_path: Path) -> None:
    model = stored("qwen3", tmp_path / "a")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "a" / "config.json").write_text(json.dumps(config | {"model_type": "qwen2", "attention_bias": False}))
    with pytest.raises(CheckpointError, match="attention_bias"):
        zoo.inspect(tmp_path / "a")
    assert equal(zoo.load(tmp_path / "a", family="qwen3"), model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("qwen1.5-0.5b", 463_987_712),
        ("qwen1.5-32b", 32_512_218_112),
        ("qwen1.5-110b", 111_209_914_368),
        ("qwen2-72b", 72_706_203_648),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-3b", 3_085_938_688),
        ("qwen2.5-7b", 7_615_616_512),
        ("qwen2.5-14b", 14_770_033_664),
        ("qwen2.5-32b", 32_763_876_352),
        ("qwen2.5-7b-1m", 7_615_616_512),
        ("qwen1.5-moe-a2.7b", 14_315_784_192),
        ("qwen2-57b-a14b", 57_408_658_944),
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-4b", 4_022_468_096),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-32b", 32_762_123_264),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("qwen3-235b-a22b", 235_093_634_560),
    ],
)
def test_preset_has_the_published_number_of_parameters(preset: str, parameters: int) -> None:
    assert sum(weight.numel for weight in compose(preset).anatomy().weights) == parameters


@pytest.mark.slow
def test_presets_of_experts_have_the_active_parameters_they_are_named_after() -> None:
    names = ("qwen1.5-moe-a2.7b", "qwen2-57b-a14b", "qwen3-30b-a3b", "qwen3-235b-a22b")
    billions = [Size.of(compose(name)).active_parameters / 1e9 for name in names]
    assert billions == pytest.approx([2.7, 14, 3.3, 22], abs=0.25)
