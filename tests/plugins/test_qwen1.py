"""The first Qwen against numbers of its released code (see ../shared/golden/qwen-7b-v1), and its files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import zoo
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.models.construction import on_meta
from zoo.nn import hidden_states
from zoo.presets.composition import compose
from zoo.registry import installed

LIMIT = 1e-6  # the expectations are stored in float32
SWITCHES = {
    "": {},
    "no_ntk.": {"has_dynamic_ntk": False},
    "no_logn.": {"has_logn": False},
    "no_ntk_no_logn.": {"has_dynamic_ntk": False, "has_logn": False},
}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "golden" / "qwen-7b-v1"


@pytest.fixture(scope="module")
def inputs(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "inputs.safetensors")


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "expected.safetensors")


@pytest.fixture(scope="module")
def model(folder: Path) -> nn.Module:
    return zoo.load(folder, dtype="float64")


def close(found: Tensor, stored: Tensor) -> None:
    assert found.shape == stored.shape
    assert (found - stored.double()).abs().max() < LIMIT


def rows(length: int) -> list[int]:
    return list(range(length)) if length <= 33 else [0, 31, 32, 33, length // 2, length - 2, length - 1]


@pytest.mark.parametrize(
    ("prefix", "length"), [("", 20), ("", 32), *((p, n) for p in SWITCHES for n in (33, 64, 65, 140))]
)
@torch.no_grad()
def test_logits_equal_the_released_code(model: Any, inputs: Any, expected: Any, prefix: str, length: int) -> None:
    """Below, at and far beyond the 32 tokens it was trained on."""
    variant = on_meta(replace(model.config, **SWITCHES[prefix]), dtype="float64")
    variant.load_state_dict(model.state_dict(), assign=True)
    found = variant(inputs["long.input_ids"][:, :length])[:, rows(length)]
    close(found, expected[f"{prefix}len{length}.logits"])


@torch.no_grad()
def test_hidden_states_and_keys_equal_the_released_code(model: Any, inputs: Any, expected: Any) -> None:
    states = hidden_states(model, inputs["long.input_ids"][:, :20])
    del states[-2]  # the released code keeps the last layer's output only after the final norm
    close(torch.stack(states), expected["len20.hidden_states"])
    close(hidden_states(model, inputs["long.input_ids"][:, :65])[-1], expected["len65.last_hidden_state"])
    cache = model.new_cache(1, 65)
    model(inputs["long.input_ids"][:, :65], cache=cache)
    close(cache.layers[0].k, expected["len65.key.layer0"])


@pytest.mark.parametrize("length", [30, 40])
@torch.no_grad()
def test_cached_steps_equal_the_released_code(model: Any, expected: Any, length: int) -> None:
    """From 30 on the text passes the trained 32 and keeps the prompt's base; 40 has a greater one throughout."""
    tokens, cache = expected[f"decode{length}.generated_ids"], model.new_cache(1, length + 10)
    steps = [model(part, cache=cache, last=True) for part in tokens[:, :-1].split((length, *[1] * 9), 1)]
    close(torch.cat(steps, 1), expected[f"decode{length}.logits"])
    assert torch.equal(torch.cat(steps, 1).argmax(-1), tokens[:, length:])


@torch.no_grad()
def test_padded_rows_differ_from_the_released_code_by_where_logn_counts_from(
    model: Any, inputs: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The released code counts padding as position, in log-n alone; zoo gives what each row gives by itself."""
    tokens, mask = inputs["batch.input_ids"], inputs["batch.attention_mask"].bool()
    found = model(tokens, attention_mask=mask)
    for row in range(3):
        close(found[row, mask[row]], model(tokens[row, mask[row]][None])[0].float())
    padding = (~mask).sum(1, keepdim=True)
    for layer in model.layers:
        growth = layer.attn.growth
        monkeypatch.setattr(layer.attn, "growth", lambda p, *rest, growth=growth: growth(p + padding, *rest))
    cache = model.new_cache(3, 53)
    found = model(tokens, attention_mask=mask, cache=cache)
    close(found[:, [20, 33, 46, 47]], expected["batch.logits"])
    more = expected["batch.generated_ids"][:, 48:52].split(1, 1)
    steps = [found[:, -1:], *(model(part, cache=cache) for part in more)]
    close(torch.cat(steps, 1), expected["batch.decode_logits"])


CONFIG = {
    "architectures": ["QWenLMHeadModel"],
    "auto_map": {"AutoConfig": "configuration_qwen.QWenConfig"},
    "attn_dropout_prob": 0.0, "bf16": False, "emb_dropout_prob": 0.0, "fp16": False, "fp32": False, "hidden_size": 24,
    "initializer_range": 0.02, "intermediate_size": 80, "kv_channels": 8, "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 128, "model_type": "qwen", "no_bias": True, "num_attention_heads": 3,
    "num_hidden_layers": 2, "onnx_safe": None, "rotary_emb_base": 10000, "rotary_pct": 1.0, "scale_attn_weights": True,
    "seq_length": 32, "tie_word_embeddings": False, "tokenizer_class": "QWenTokenizer", "use_cache": True,
    "use_dynamic_ntk": True, "use_flash_attn": "auto", "use_logn_attn": True, "vocab_size": 50,
    "transformers_version": "4.32.0",
}  # fmt: skip


def weights(bias: bool = False) -> dict[str, Tensor]:
    draw, out = torch.Generator().manual_seed(0), {}
    for i in range(2):
        layer = f"transformer.h.{i}"
        shapes = {"attn.c_attn": (72, 24), "attn.c_proj": (24, 24), "mlp.w1": (40, 24), "mlp.w2": (40, 24),
                  "mlp.c_proj": (24, 40)}  # fmt: skip
        for name, shape in shapes.items():
            out[f"{layer}.{name}.weight"] = torch.randn(shape, generator=draw)
            if bias or name == "attn.c_attn":
                out[f"{layer}.{name}.bias"] = torch.randn(shape[0], generator=draw)
        out |= {f"{layer}.{name}.weight": torch.rand(24, generator=draw) + 0.5 for name in ("ln_1", "ln_2")}
    ends = {"transformer.wte": (50, 24), "transformer.ln_f": (24,), "lm_head": (50, 24)}
    return out | {f"{name}.weight": torch.randn(shape, generator=draw) for name, shape in ends.items()}


def write(folder: Path, tensors: dict[str, Tensor] | None = None, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    keys = {name: value for name, value in (CONFIG | changes).items() if value != "absent"}
    (folder / "config.json").write_text(json.dumps(keys))
    save_file(weights() if tensors is None else tensors, folder / "model.safetensors")
    return folder


@pytest.mark.slow
@torch.no_grad()
def test_second_matrix_is_the_gate(tmp_path: Path) -> None:
    w, x = weights(), torch.randn(1, 3, 24)
    mlp = zoo.load(write(tmp_path)).layers[1].mlp
    w1, w2, out = (w[f"transformer.h.1.mlp.{name}.weight"] for name in ("w1", "w2", "c_proj"))
    torch.testing.assert_close(mlp(x), ((x @ w1.T) * nn.functional.silu(x @ w2.T)) @ out.T)


@pytest.mark.parametrize("bias", [False, True])
def test_files_of_the_hub_are_read_and_written_back_bit_for_bit(tmp_path: Path, bias: bool) -> None:
    stored = weights(bias)
    extra = {"transformer.rotary_emb.inv_freq": torch.ones(4)}
    model = zoo.load(write(tmp_path / "in", stored | extra, no_bias=not bias))
    assert model.ledger.account.ignored == {
        "transformer.rotary_emb.inv_freq": "rotary frequencies follow from model.rope"
    }
    zoo.save(model, tmp_path / "out")
    back = load_file(tmp_path / "out" / "model.safetensors")
    assert back.keys() == stored.keys()
    assert all(torch.equal(x, stored[name]) for name, x in back.items())
    assert zoo.inspect(tmp_path / "out").config == model.config


def test_keys_of_the_first_release_are_read(tmp_path: Path) -> None:
    """The files of August 2023 spell the sizes as GPT-2 does."""
    old = {
        "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 128, "ffn_hidden_size": 80, "padded_vocab_size": 50,
        "activation": "swiglu", "apply_residual_connection_post_layernorm": False, "attn_pdrop": 0.0,
        "bias_dropout_fusion": True, "embd_pdrop": 0.0, "params_dtype": "torch.bfloat16", "pos_emb": "rotary",
        "resid_pdrop": 0.1, "tokenizer_type": "QWenTokenizer",
    }  # fmt: skip
    new = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "intermediate_size")
    first = zoo.inspect(write(tmp_path / "old", **old, **dict.fromkeys(new, "absent")))
    first.check()
    assert first.config == zoo.inspect(write(tmp_path / "new")).config


@pytest.mark.slow
def test_published_files_describe_the_presets(tmp_path: Path) -> None:
    """Qwen-7B and Qwen-72B, of which the second was trained on its whole context."""
    seven = {"hidden_size": 4096, "intermediate_size": 22016, "kv_channels": 128, "max_position_embeddings": 32768,
             "num_attention_heads": 32, "num_hidden_layers": 32, "seq_length": 8192, "vocab_size": 151936}  # fmt: skip
    large = {"hidden_size": 8192, "intermediate_size": 49152, "kv_channels": 128, "max_position_embeddings": 32768,
             "num_attention_heads": 64, "num_hidden_layers": 80, "seq_length": 32768, "vocab_size": 152064,
             "rope_theta": 1000000, "rotary_emb_base": 1000000, "use_dynamic_ntk": False,
             "use_logn_attn": False}  # fmt: skip
    for name, keys in (("qwen-7b", seven), ("qwen-72b", large)):
        config = zoo.inspect(write(tmp_path / name, **keys)).config.to_dict()
        told = {
            "hub",
            "license",
            "source",
            "dtype",
            "eos_token_id",
            "pad_token_id",
        }  # by the card and generation_config
        assert {k: v for k, v in compose(name).to_dict().items() if k not in told} == {
            k: v for k, v in config.items() if k not in told
        }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intermediate_size": 81}, "intermediate_size: 81 is not twice"),
        ({"intermediate_size": "absent"}, "intermediate_size: None is not twice"),
        ({"rope_theta": 5}, "rope_theta: 5 is not supported, only 10000.0"),
        ({"use_cache_quantization": True}, "use_cache_quantization"),
        ({"kv_channels": 10}, "must fill model.hidden_size=24"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_other_model_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        zoo.inspect(write(tmp_path, **changes)).check()


def test_models_that_see_or_hear_are_left_to_others() -> None:
    family = installed()["qwen"]
    assert family.match(CONFIG)
    assert family.match(CONFIG | {"visual": {"layers": 48}}) is None
    assert family.match(CONFIG | {"audio": {"n_mels": 80}}) is None


def test_contradicting_fields_are_refused() -> None:
    tiny = installed()["qwen"].config_class.tiny()
    with pytest.raises(ConfigError, match=r"model\.num_kv_heads=1 must be the same"):
        replace(tiny, num_kv_heads=1)
    with pytest.raises(ConfigError, match=r"model\.trained_seq_len=1 is below 2"):
        replace(tiny, trained_seq_len=1)
    with pytest.raises(ConfigError, match=r"model\.rope\.scaling='linear' cannot be used with this family"):
        replace(tiny, rope=replace(tiny.rope, scaling="linear", factor=2.0))


def test_rotary_settings_without_a_key_are_not_written() -> None:
    family = installed()["qwen"]
    config = family.config_class.tiny()
    config.rope = replace(config.rope, beta_fast=3.0)
    with pytest.raises(UsageError, match=r"model\.rope"):
        family.dialect("hf").to_config(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("qwen-1.8b", 1_836_828_672),
        ("qwen-7b", 7_721_324_544),
        ("qwen-14b", 14_167_290_880),
        ("qwen-72b", 72_287_920_128),
    ],
)
def test_preset_has_the_published_number_of_parameters(preset: str, parameters: int) -> None:
    assert sum(p.numel() for p in zoo.build(preset).parameters()) == parameters
