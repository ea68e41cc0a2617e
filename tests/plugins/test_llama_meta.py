"""LLaMA from Meta's own files, against Meta's forward pass written out by hand, in float64."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.plugins.meta_by_hand import PARAMS, VOCAB, meta, meta_forward, weights, write
from zoo.anatomy.config import RopeConfig
from zoo.errors import CheckpointError, UsageError
from zoo.weights import ForeignConfig

LLAMA3 = {"rope_theta": 500_000.0, "use_scaled_rope": True, "rope_scale_factor": 8}
TOKENS = torch.randint(VOCAB, (2, 23), generator=torch.Generator().manual_seed(5))


def load(folder: Path) -> torch.nn.Module:
    return zoo.load(folder, dtype="float64", allow_pickle=True)


@pytest.mark.parametrize(("parts", "embedding_dim"), [(1, 1), (2, 1), (2, 0)], ids=["one", "two-llama2", "two-llama3"])
@pytest.mark.parametrize("options", [{}, {"ffn_dim_multiplier": 1.3, **LLAMA3}], ids=["plain", "scaled"])
@torch.inference_mode()
def test_logits_equal_metas_forward(tmp_path: Path, parts: int, embedding_dim: int, options: dict[str, Any]) -> None:
    w = weights(**options)
    model = load(write(tmp_path, w, parts, embedding_dim, **options))
    expected = meta_forward(w, TOKENS, **options)
    assert (model(TOKENS) - expected).abs().max() < 1e-10  # float64, other order of sums
    assert expected.std() > 1


def test_copies_of_a_norm_must_be_equal(tmp_path: Path) -> None:
    write(tmp_path, weights(), 2)
    last = torch.load(tmp_path / "consolidated.01.pth")
    last["layers.1.ffn_norm.weight"][3] += 1
    torch.save(last, tmp_path / "consolidated.01.pth")
    with pytest.raises(CheckpointError, match=r"layers\.1\.ffn_norm\.weight#01: it differs"):
        load(tmp_path)


def test_part_that_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path, weights(), 2)
    (tmp_path / "consolidated.00.pth").unlink()
    with pytest.raises(CheckpointError, match=r"consolidated\.00\.pth.*is missing"):
        load(tmp_path)


def test_part_that_is_left_off_the_end_does_not_load(tmp_path: Path) -> None:
    write(tmp_path, weights(), 2)
    (tmp_path / "consolidated.01.pth").unlink()
    with pytest.raises(CheckpointError, match="mismatched"):
        load(tmp_path)


def test_pickles_are_opened_only_by_consent(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="allow-pickle"):
        zoo.load(write(tmp_path, weights()))


def test_vocabulary_is_counted_where_params_leaves_it_open(tmp_path: Path) -> None:
    ledger = zoo.inspect(write(tmp_path, weights(), 2, 0), allow_pickle=True)
    assert ledger.config.vocab_size == VOCAB


def test_rotary_frequencies_and_copies_are_accounted_for(tmp_path: Path) -> None:
    account = zoo.inspect(write(tmp_path, weights(), 2), allow_pickle=True).account
    assert account.is_settled
    assert sorted(account.ignored) == ["rope.freqs#00", "rope.freqs#01"]
    assert account.tied["norm.weight#01"] == "norm.weight#00"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantization_args": {"scheme": "int4"}}, "quantization_args.*not known"),
        ({"multiple_of": 0}, "multiple_of=0 is below 1"),
        ({"dim": "48"}, "dim.*is not int"),
        ({"vision_chunk_size": 448}, "vision_chunk_size.*not known"),
    ],
)
def test_key_that_could_change_the_model_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write(tmp_path, weights())
    (tmp_path / "params.json").write_text(json.dumps(PARAMS | options))
    with pytest.raises(CheckpointError, match=message):
        zoo.inspect(tmp_path, allow_pickle=True)


def test_mistrals_params_are_not_taken_for_llamas() -> None:
    mistral = {"dim": 4096, "n_layers": 32, "n_heads": 32, "head_dim": 128, "hidden_dim": 14336, "norm_eps": 1e-5}
    assert meta.matches(mistral) is None
    assert meta.matches(PARAMS)


@pytest.mark.parametrize(
    ("dim", "multiple_of", "multiplier", "width"),
    [
        (4096, 256, None, 11008),  # LLaMA 1 and 2, 7B
        (5120, 256, None, 13824),  # 13B
        (8192, 256, None, 22016),  # LLaMA 1, 65B
        (8192, 4096, 1.3, 28672),  # LLaMA 2 and 3, 70B
        (4096, 1024, 1.3, 14336),  # LLaMA 3, 8B
        (16384, 4096, 1.2, 53248),  # LLaMA 3.1, 405B
        (2048, 256, 1.5, 8192),  # LLaMA 3.2, 1B
        (3072, 256, 1.0, 8192),  # LLaMA 3.2, 3B
    ],
)
def test_width_of_the_mlp_is_the_released_one(dim: int, multiple_of: int, multiplier: float | None, width: int) -> None:
    assert meta.intermediate_size(dim, multiple_of, multiplier) == width


@pytest.mark.parametrize(
    ("params", "factor"),
    [
        ({"dim": 4096, "n_heads": 32, "n_kv_heads": 8}, 8.0),
        ({"dim": 2048, "n_heads": 32, "n_kv_heads": 8}, 32.0),
        ({"dim": 2048, "n_heads": 32, "n_kv_heads": 8, "rope_scale_factor": 16}, 16.0),
    ],
    ids=["3.1", "3.2", "given"],
)
def test_scaled_rope_is_that_of_the_released_config(params: dict[str, Any], factor: float) -> None:
    raw = PARAMS | params | {"rope_theta": 500_000.0, "use_scaled_rope": True}
    assert meta.from_config(ForeignConfig(raw)).rope == RopeConfig(500_000.0, "llama3", factor, 8192)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["llama1-7b", "llama2-70b", "llama3-8b", "llama3.1-405b", "smollm2-135m"])
def test_config_survives_the_round_trip(preset: str) -> None:
    c = zoo.compose(preset)
    back = meta.from_config(ForeignConfig(meta.to_config(c)))
    left_open = {"hub", "gated", "license", "source", "dtype", "max_seq_len", "tie_embeddings"}
    left_open |= {"bos_token_id", "eos_token_id", "pad_token_id"}
    assert replace(back, **{name: getattr(c, name) for name in left_open}) == c


@pytest.mark.parametrize("overrides", [["model.tie_embeddings=false"], ["model.tie_embeddings=true"]])
@torch.inference_mode()
def test_export_is_what_metas_forward_reads(overrides: list[str]) -> None:
    sizes = "vocab_size=70 hidden_size=48 intermediate_size=130 num_layers=2 num_heads=6 num_kv_heads=2 head_dim=8"
    model = zoo.build("llama2-7b", *(f"model.{s}" for s in sizes.split()), *overrides, device="cpu", dtype="float64")
    ours = dict(model.named_parameters())
    steps, orphans = meta.mapping(model.config).plan(ours)
    theirs = {n: x for s in steps for n, x in zip(s.theirs, s.op.dump([ours[o] for o in s.ours]), strict=True)}
    assert not orphans
    params = meta.to_config(model.config)
    assert (model(TOKENS) - meta_forward(theirs, TOKENS, **params)).abs().max() < 1e-12


@pytest.mark.parametrize(
    "override",
    ["model.attention_bias=true", "model.head_dim=64", "model.rope.scaling=linear", "model.rope.partial=0.5"],
)
def test_what_the_format_has_no_word_for_is_not_written(override: str) -> None:
    c = zoo.compose("llama2-7b", override)
    for write_ in (meta.to_config, meta.mapping):
        with pytest.raises(UsageError, match="Meta's format cannot store"):
            write_(c)


def test_head_that_is_absent_is_the_embedding(tmp_path: Path) -> None:
    w = weights()
    del w["output.weight"]
    model = load(write(tmp_path, w, vocab_size=VOCAB))
    assert model.lm_head.weight is model.embed.weight


def test_saving_as_meta_writes_what_loads_again(tmp_path: Path) -> None:
    model = load(write(tmp_path / "in", weights(), 2))
    zoo.save(model, tmp_path / "out", format="meta")
    assert torch.equal(load(tmp_path / "out")(TOKENS), model(TOKENS))
