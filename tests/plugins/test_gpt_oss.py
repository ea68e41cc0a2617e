"""gpt-oss: the released config, experts in MXFP4, sinks, and what is refused."""

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
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError
from zoo.files.packed.mxfp4 import SIZE
from zoo.nn.packed import packed_layers
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig

MX: dict[str, Any] = {
    "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
    ],
    "quant_method": "mxfp4",
}  # fmt: skip
RELEASED: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": 200002,
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "output_router_logits": False,
    "pad_token_id": 199999,
    "quantization_config": MX,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096,
        "rope_type": "yarn", "truncate": False,
    },
    "rope_theta": 150000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.55.0.dev0",
    "use_cache": True,
    "vocab_size": 201088,
}  # fmt: skip
LARGE = {"num_hidden_layers": 36, "num_local_experts": 128, "layer_types": ["sliding_attention", "full_attention"] * 18}
pytestmark = pytest.mark.filterwarnings("ignore:.*packed")
TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11, 2, 8, 1, 6, 50, 41]])


def read(raw: dict[str, Any]) -> Any:
    hf = ForeignConfig({k: v for k, v in raw.items() if k != "quantization_config"})
    config = installed()["gpt_oss"].dialect("hf").from_config(hf)
    hf.check()
    assert hf.assumed == {"bos_token_id": None}  # the tokenizer has none
    return config


@pytest.mark.parametrize(("name", "keys"), [("gpt-oss-20b", {}), ("gpt-oss-120b", LARGE)])
def test_released_config_is_the_preset(name: str, keys: dict[str, Any]) -> None:
    known = preset(name)
    assert read(RELEASED | keys) == replace(known, **{f: getattr(type(known), f) for f in BOOKKEEPING if f != "dtype"})


@pytest.mark.parametrize(("name", "published"), [("gpt-oss-20b", 20_914_757_184), ("gpt-oss-120b", 116_829_156_672)])
def test_presets_have_the_published_number_of_parameters(name: str, published: int) -> None:
    assert sum(weight.numel for weight in preset(name).anatomy().weights) == published


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layer_types": ["full_attention"] * 3}, "layer_types: it does not say"),
        ({"layer_types": ["chunked_attention"] * 24}, "layer_types: it does not say"),
        ({"sliding_window": None}, "sliding_window: it is null"),
        ({"experts_per_token": 3}, "experts_per_token: 3 is not supported, only 4 is"),
        ({"initial_context_length": 8192}, "initial_context_length: 8192 is not supported, only 4096 is"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"use_qk_norm": True}, "use_qk_norm"),
        ({"architectures": ["GptOssForTokenClassification"]}, "GptOssForTokenClassification"),
    ],
)
def test_another_model_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(RELEASED | keys)


def test_a_file_without_rotary_keys_means_the_released_YaRN() -> None:
    """As the class of transformers takes it, for null as well."""
    bare = {k: v for k, v in RELEASED.items() if not k.startswith("rope")}
    hf = ForeignConfig({k: v for k, v in bare.items() if k != "quantization_config"} | {"rope_scaling": None})
    assert installed()["gpt_oss"].dialect("hf").from_config(hf).rope == preset("gpt-oss-20b").rope
    hf.check()
    assert hf.assumed["rope_parameters"] == {"rope_type": "yarn", "factor": 32.0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"experts_per_token": 6}, r"model\.experts_per_token=6 exceeds model\.num_experts=5"),
        ({"sliding_layers": [3]}, r"model\.sliding_layers=\[3\] must be layer numbers in order"),
        ({"sliding_window": None}, r"model\.sliding_layers needs model\.sliding_window"),
        ({"swiglu_limit": 0.0}, r"model\.swiglu_limit=0\.0 is not above 0"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(installed()["gpt_oss"].config_class.tiny(), **fields)


def test_each_choice_of_layers_has_one_spelling() -> None:
    tiny = installed()["gpt_oss"].config_class.tiny()
    assert replace(tiny, sliding_layers=[0, 2]).sliding_layers is None
    assert replace(tiny, sliding_layers=[]).sliding_window is None


@torch.inference_mode()
def test_a_sink_takes_its_share_of_the_softmax() -> None:
    """The released code's sum, token by token: exp(s) / (exp(sink) + the sum of exp(s))."""
    attn = zoo.build(replace(installed()["gpt_oss"].config_class.tiny(), sliding_layers=[]), device="cpu")
    attn = attn.layers[0].attn.double()
    attn.sinks.copy_(torch.linspace(-2, 3, 6))
    from zoo.nn.attend import Attend

    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 4, heads, 10, generator=g, dtype=torch.float64) for heads in (6, 2, 2))
    found = Attend(0.5, sinks=attn.sinks)(q, k, v, is_causal=True)
    for t in range(4):
        for head in range(6):
            scores = (0.5 * k[0, : t + 1, head // 3] @ q[0, t, head]).exp()
            share = scores / (scores.sum() + attn.sinks[head].exp())
            torch.testing.assert_close(found[0, t, head], share @ v[0, : t + 1, head // 3], rtol=1e-12, atol=1e-12)


# --- MXFP4 ---


def packed(matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Experts [E, in, out] as blocks and scales, drawn at random, and the numbers that they stand for in bfloat16."""
    g = torch.Generator().manual_seed(matrix.numel())
    experts, columns, rows = matrix.shape
    codes = torch.randint(0, 16, (experts, rows, columns // SIZE, SIZE), generator=g)
    scales = torch.randint(122, 126, (experts, rows, columns // SIZE), generator=g)
    table = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    numbers = table[codes % 8] * torch.where(codes > 7, -1.0, 1.0) * 2.0 ** (scales[..., None] - 127)
    blocks = (codes[..., ::2] | codes[..., 1::2] << 4).to(torch.uint8)
    parts = {"_blocks": blocks, "_scales": scales.to(torch.uint8)}
    return parts, numbers.flatten(2).transpose(1, 2).bfloat16()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model with experts in MXFP4, as released, and in bfloat16."""
    root = tmp_path_factory.mktemp("gpt-oss")
    tiny = replace(installed()["gpt_oss"].config_class.tiny(), hidden_size=32, intermediate_size=64, num_layers=2,
                   num_experts=4, sliding_layers=None, dtype="bfloat16")  # fmt: skip
    plain = zoo.save(zoo.build(tiny, device="cpu").bfloat16(), root / "plain")
    tensors, raw = load_file(plain / "model.safetensors"), json.loads((plain / "config.json").read_text())
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            stored[name] = tensor
            continue
        parts, tensors[name] = packed(tensor)
        stored |= {f"{name}{suffix}": part for suffix, part in parts.items()}
    save_file({n: t.contiguous() for n, t in tensors.items()}, plain / "model.safetensors", {"format": "pt"})
    (root / "packed").mkdir()
    (root / "packed/config.json").write_text(json.dumps(raw | {"quantization_config": MX}))
    save_file(stored, root / "packed/model.safetensors", {"format": "pt"})
    return root / "packed", plain


@torch.inference_mode()
def test_experts_in_MXFP4_are_those_in_bfloat16(folders: tuple[Path, Path]) -> None:
    ours, plain = (zoo.load(folder, dtype="float64") for folder in folders)
    torch.testing.assert_close(ours(TOKENS), plain(TOKENS), rtol=1e-12, atol=1e-12)  # strides differ, and so do sums


@torch.inference_mode()
def test_experts_stay_packed(folders: tuple[Path, Path]) -> None:
    kept, plain = zoo.load(folders[0], dtype="float64", keep_packed=True), zoo.load(folders[1], dtype="float64")
    layers = packed_layers(kept)
    names = {f"layers.{i}.mlp.experts.{x}_proj" for i in range(2) for x in ("gate", "up", "down")}
    assert set(layers) == names
    for name, layer in layers.items():
        weight = plain.get_parameter(name)
        assert torch.equal(layer.dequantise(torch.float64).reshape(weight.shape), weight), name
    torch.testing.assert_close(kept(TOKENS), plain(TOKENS), rtol=1e-12, atol=1e-12)


def test_unpacked_experts_are_written_as_numbers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    zoo.save(zoo.load(folders[0]), tmp_path / "out")
    back, plain = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", folders[1]))
    assert back.keys() == plain.keys()
    assert all(torch.equal(back[name], plain[name]) for name in plain)


def test_experts_that_stayed_packed_come_back_byte_for_byte(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = zoo.save(zoo.load(folders[0], keep_packed=True), tmp_path / "out")
    back, stored = (load_file(folder / "model.safetensors") for folder in (out, folders[0]))
    assert back.keys() == stored.keys()
    assert all(torch.equal(back[name].view(torch.uint8), stored[name].view(torch.uint8)) for name in stored)
    raw = json.loads((out / "config.json").read_text())
    assert raw["quantization_config"] == MX
    assert "unpacked_from" not in json.loads((out / "zoo.json").read_text())
    assert zoo.inspect(out).config == zoo.inspect(folders[0]).config
