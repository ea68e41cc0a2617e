"""GPT-2 from the hub's files, in every spelling of their names, against OpenAI's forward pass written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from tests.plugins.gpt2_by_hand import openai_forward, weights, write
from zoo.errors import CheckpointError, UsageError

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 49, 0, 35]


def difference(model: torch.nn.Module, expected: Tensor, tokens: list[int]) -> float:
    with torch.inference_mode():
        return (model(torch.tensor([tokens]))[0] - expected).abs().max().item()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_inner": 40, "activation_function": "relu"},
        {"activation_function": "gelu"},
        {"activation_function": "silu", "n_inner": None},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    ],
    ids=lambda o: "-".join(o) or "released",
)
def test_logits_equal_the_original_forward(tmp_path: Path, options: dict[str, Any]) -> None:
    w = weights(**options)
    model = zoo.load(write(tmp_path, w, **options), dtype="float64")
    assert difference(model, openai_forward(w, TOKENS, **options), TOKENS) < 1e-10  # float64, other order of sums


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_names_are_read_with_and_without_prefix(tmp_path: Path, prefix: str) -> None:
    w = weights()
    model = zoo.load(write(tmp_path, {prefix + name: x for name, x in w.items()}), dtype="float64")
    assert difference(model, openai_forward(w, TOKENS), TOKENS) < 1e-10


def test_old_mask_buffers_are_ignored_with_the_reason(tmp_path: Path) -> None:
    masks = {"h.0.attn.bias": torch.ones(1, 1, 20, 20).tril(), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    account = zoo.load(write(tmp_path, weights() | masks)).ledger.account
    assert account.ignored == dict.fromkeys(masks, "the causal mask follows from the positions")


def test_own_head_is_read_where_the_config_unties_it(tmp_path: Path) -> None:
    w = weights() | {"lm_head.weight": torch.randn(50, 24, generator=torch.Generator().manual_seed(1))}
    model = zoo.load(write(tmp_path, w, tie_word_embeddings=False), dtype="float64")
    assert difference(model, openai_forward(w, TOKENS), TOKENS) < 1e-10


def test_head_that_should_be_tied_and_differs_is_refused(tmp_path: Path) -> None:
    w = weights()
    write(tmp_path, w | {"lm_head.weight": w["wte.weight"] + 1})
    with pytest.raises(CheckpointError, match="differs from wte"):
        zoo.load(tmp_path)


def test_base_model_is_read_with_the_tied_head_where_it_is_asked_for(tmp_path: Path) -> None:
    w = weights()
    model = zoo.load(write(tmp_path, w, architectures=["GPT2Model"]), dtype="float64", family="gpt2")
    assert difference(model, openai_forward(w, TOKENS), TOKENS) < 1e-10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architectures": ["GPT2DoubleHeadsModel"]}, "architectures.*'GPT2DoubleHeadsModel' is not"),
        ({"activation_function": "mish"}, "activation_function.*'mish' is not known"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"n_head": 5}, "model.hidden_size=24 is not a multiple of model.num_heads=5"),
        ({"rotary_dim": 8}, "rotary_dim.*not known"),
    ],
)
def test_other_model_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        zoo.inspect(write(tmp_path, weights(), **options))


def test_export_writes_what_transformers_reads(tmp_path: Path) -> None:
    w = weights()
    zoo.save(zoo.load(write(tmp_path / "in", w)), tmp_path / "out")
    back = load_file(tmp_path / "out" / "model.safetensors")
    assert {name.removeprefix("transformer.") for name in back} == set(w)
    assert all(torch.equal(x, w[name.removeprefix("transformer.")]) for name, x in back.items())
    assert zoo.inspect(tmp_path / "out").config == zoo.inspect(tmp_path / "in").config


def test_left_padded_rows_count_their_own_positions(tmp_path: Path) -> None:
    w = weights()
    model = zoo.load(write(tmp_path, w), dtype="float64")
    tokens = torch.tensor([[*[0] * 15, *TOKENS]])  # 26 columns, 11 of them real, in a context of 20
    with torch.inference_mode():
        logits = model(tokens, attention_mask=torch.arange(26)[None] >= 15)[0, 15:]
    assert (logits - openai_forward(w, TOKENS)).abs().max() < 1e-10


def test_text_beyond_the_learned_positions_is_refused(tmp_path: Path) -> None:
    model = zoo.load(write(tmp_path, weights()))
    cache = model.new_cache(1, 40)
    model(torch.zeros(1, 20, dtype=torch.long), cache=cache)
    with pytest.raises(UsageError, match=r"the cache holds 20 tokens and has 20; 1 more do not fit"):
        model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
    with pytest.raises(UsageError, match=r"model\.max_seq_len=20 positions were learned, but the tokens need 21"):
        model(torch.zeros(2, 21).long())


def test_layers_that_write_to_the_stream_start_smaller() -> None:
    model = zoo.build(zoo.registry.installed()["gpt2"].config_class.tiny(), device="cpu")
    layer = model.layers[0]
    assert layer.mlp.down_proj.weight.std() < 0.6 * layer.mlp.up_proj.weight.std()  # 1 / sqrt(2 * 2 layers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("distilgpt2", 81_912_576),
    ],
)
def test_preset_has_the_published_number_of_parameters(preset: str, parameters: int) -> None:
    model = zoo.build(preset)
    assert sum(p.numel() for p in model.parameters()) == parameters
