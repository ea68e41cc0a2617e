"""Folders with settings of generation: zoo says what transformers says, decoders and encoder-decoders, id for id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.reference.test_marian import PAD
from tests.reference.test_marian import reference as marian
from zoo.generation import generate

transformers = pytest.importorskip("transformers", reason="transformers, the reference, is not installed")
pytestmark = pytest.mark.slow

EOS = [2, 5, 11]
OPUS = {"decoder_start_token_id": PAD, "eos_token_id": 0, "pad_token_id": PAD, "bos_token_id": 0}
DECODERS: list[dict[str, Any]] = [
    {"max_length": 30}, {"max_length": 30, "max_new_tokens": 6}, {"max_length": 14, "min_length": 12},
    {"max_new_tokens": 9, "min_new_tokens": 5, "bad_words_ids": [[7], [3, 4]], "suppress_tokens": [1, 9]},
    {"max_length": 12, "forced_eos_token_id": 5, "begin_suppress_tokens": [8, 3, 20]},
    {"max_length": 20, "no_repeat_ngram_size": 2, "encoder_repetition_penalty": 1.7, "repetition_penalty": 1.2},
    {"max_length": 16, "exponential_decay_length_penalty": [3, 1.3], "sequence_bias": [[[4], 1.5], [[6, 4], -3.0]]},
    {"max_length": 15, "num_beams": 4, "early_stopping": True, "num_return_sequences": 3, "length_penalty": 0.3},
    {"max_length": 15, "num_beams": 3, "early_stopping": "never", "forced_eos_token_id": 2, "min_length": 11},
    {"max_length": 15, "num_beams": 3, "encoder_no_repeat_ngram_size": 2, "renormalize_logits": True},
    {"max_new_tokens": 8, "guidance_scale": 1.7}, {"max_length": 12, "remove_invalid_values": True, "num_beams": 2},
]  # fmt: skip
TRANSLATORS: list[dict[str, Any] | None] = [
    {"bad_words_ids": [[PAD]], "forced_eos_token_id": 0, "max_length": 12, "num_beams": 4, "renormalize_logits": True},
    {"bad_words_ids": [[PAD]], "forced_eos_token_id": 0, "max_length": 7}, {"max_length": 9, "forced_bos_token_id": 7},
    {"max_length": 12, "begin_suppress_tokens": [4, 19, 33], "forced_bos_token_id": 3,
     "encoder_no_repeat_ngram_size": 2},
    {"max_new_tokens": 8, "encoder_repetition_penalty": 1.8, "no_repeat_ngram_size": 1, "num_beams": 2},
    {"max_length": 11, "num_beams": 3, "num_return_sequences": 2, "min_length": 9, "suppress_tokens": [5, 6]},
    None,  # no file: config.json's settings, and those of its class
]  # fmt: skip


def with_settings(folder: Path, settings: dict[str, Any] | None, **config: Any) -> Path:
    file = folder / "generation_config.json"
    file.unlink(missing_ok=True)
    if settings is not None:
        file.write_text(json.dumps(settings))
    old = folder / "config.json"
    old.write_text(json.dumps(json.loads(old.read_text()) | config))
    return folder


def cut(row: list[int], ends: list[int]) -> list[int]:
    places = [i for i, token in enumerate(row) if token in ends]
    return row[: places[0] + 1] if places else row


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random and peaked, so that no rounding decides between two tokens."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.LlamaConfig(**sizes, vocab_size=23, eos_token_id=EOS, pad_token_id=0, bos_token_id=1)
    model = transformers.LlamaForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    folder = tmp_path_factory.mktemp("llama")
    model.save_pretrained(folder)
    return folder


# Without an end token the decay of its score stops transformers with an error of its own.
ENDLESS = [settings for settings in DECODERS if "exponential_decay_length_penalty" not in settings]


@pytest.mark.parametrize(
    ("settings", "has_end"), [*((s, True) for s in DECODERS), *((s, False) for s in ENDLESS)], ids=str
)
def test_a_decoder_says_what_transformers_says(llama: Path, settings: dict[str, Any], has_end: bool) -> None:
    ends = EOS if has_end else []
    folder = with_settings(llama, {**settings, "pad_token_id": 0, **({"eos_token_id": EOS} if has_end else {})})
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
    ours = zoo.load(folder)
    tokens = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 10], [12, 6, 6, 7]])
    expected = theirs.generate(tokens, attention_mask=torch.ones_like(tokens))[:, 4:].tolist()
    assert ours.generate(tokens).new_tokens == [cut(row, ends) for row in expected]


@pytest.mark.parametrize(
    "config",
    [{"max_length": 11, "num_beams": 3, "bad_words_ids": [[9], [4, 6]]}, {"forced_eos_token_id": 3, "max_length": 9},
     {"max_length": 10, "min_length": 8, "no_repeat_ngram_size": 1}],
    ids=str,
)  # fmt: skip
def test_settings_that_config_json_still_holds_are_read_where_there_is_no_other_file(
    llama: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((llama / name).read_bytes())
    folder = with_settings(tmp_path, None, **config)
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
    tokens = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 10]])
    expected = theirs.generate(tokens, attention_mask=torch.ones_like(tokens))[:, 4:].tolist()
    assert zoo.load(folder).generate(tokens).new_tokens == [cut(row, EOS) for row in expected]


@pytest.mark.parametrize("settings", TRANSLATORS, ids=str)
def test_a_translator_says_what_transformers_says(settings: dict[str, Any] | None, tmp_path: Path) -> None:
    marian().save_pretrained(tmp_path)
    old = {} if settings else {"num_beams": 3, "max_length": 9, "bad_words_ids": [[PAD]]}
    folder = with_settings(tmp_path, settings and settings | OPUS, **old)
    theirs = transformers.MarianMTModel.from_pretrained(folder).eval()
    tokens = torch.randint(1, PAD, (2, 9), generator=torch.Generator().manual_seed(1))
    expected = theirs.generate(tokens, attention_mask=torch.ones_like(tokens)).tolist()
    found = zoo.load(folder).generate(tokens)
    assert found.tokens == [[PAD, *cut(row[1:], [0])] for row in expected]


def test_rows_of_unequal_length_are_translated_as_each_alone(tmp_path: Path) -> None:
    """Where transformers is given each alone: padding counts in its penalties and bans of the source's tokens."""
    marian().save_pretrained(tmp_path)
    asked = {"max_length": 12, "num_beams": 2, "encoder_no_repeat_ngram_size": 2, "encoder_repetition_penalty": 1.5}
    folder = with_settings(tmp_path, asked | OPUS)
    theirs = transformers.MarianMTModel.from_pretrained(folder).eval()
    rows = [[3, 9, 4, 9, 30, 7, 12], [5, 8, 5], [41, 3]]
    expected = [theirs.generate(torch.tensor([row]))[0].tolist() for row in rows]
    assert zoo.load(folder).generate(rows).tokens == [[PAD, *cut(row[1:], [0])] for row in expected]


def test_a_start_token_of_the_file_goes_before_that_of_the_model(tmp_path: Path) -> None:
    marian().save_pretrained(tmp_path)
    folder = with_settings(tmp_path, OPUS | {"decoder_start_token_id": 7, "max_length": 8})
    theirs = transformers.MarianMTModel.from_pretrained(folder).eval()
    expected = theirs.generate(torch.tensor([[3, 9, 4]]))[0].tolist()
    assert expected[0] == 7
    found = generate(zoo.load(folder), [3, 9, 4])
    assert found.tokens == [[7, *cut(expected[1:], [0])]]
