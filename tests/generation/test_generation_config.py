"""generation_config.json: each key is used, known to be harmless, told, or refused."""

from __future__ import annotations

import pytest

from zoo.errors import CheckpointError
from zoo.generation import GenerationConfig, config_from_hf


def test_a_released_file_is_read():  # Llama 3.1 8B Instruct's
    config, notes = config_from_hf({
        "bos_token_id": 128000, "do_sample": True, "eos_token_id": [128001, 128008, 128009], "temperature": 0.6,
        "top_p": 0.9, "transformers_version": "4.42.3",
    })  # fmt: skip
    assert config == GenerationConfig(temperature=0.6, top_p=0.9, top_k=50, eos_token_id=[128001, 128008, 128009])
    assert notes == ["top_k is not given: 50 is assumed, as transformers does"]


def test_sampling_settings_without_do_sample_mean_greedy_and_are_told():
    config, notes = config_from_hf({"_from_model_config": True, "temperature": 0.9, "top_p": 0.6, "max_length": 4096})
    assert config == GenerationConfig(max_length=4096)
    assert notes == ["temperature is not used: do_sample is false", "top_p is not used: do_sample is false"]


def test_an_unknown_key_is_told():
    config, notes = config_from_hf({"chat_format": "chatml", "eos_token_id": 7})
    assert config.eos_token_id == [7]
    assert notes == ["chat_format=chatml is not read"]


@pytest.mark.parametrize(
    ("key", "neutral", "value"),
    [
        ("typical_p", 1.0, 0.9),
        ("bad_words_ids", [], [[3]]),
        ("suppress_tokens", None, [5]),
        ("guidance_scale", 1, 1.5),
        ("forced_eos_token_id", None, 2),
        ("num_return_sequences", 1, 3),
        ("renormalize_logits", False, True),
        ("penalty_alpha", None, 0.6),
    ],
)
def test_a_setting_that_zoo_does_not_have_is_refused_unless_it_changes_nothing(
    key: str, neutral: object, value: object
):
    assert config_from_hf({key: neutral}) == (GenerationConfig(), [])
    with pytest.raises(CheckpointError, match=rf"generation_config.json: {key}: zoo does not support {key}="):
        config_from_hf({key: value})


def test_beams_are_read():
    config, notes = config_from_hf(
        {"num_beams": 4, "length_penalty": 2.0, "early_stopping": "never", "no_repeat_ngram_size": 3, "top_k": 0}
    )
    assert config == GenerationConfig(num_beams=4, length_penalty=2.0, early_stopping="never", no_repeat_ngram_size=3)
    assert notes == []


@pytest.mark.parametrize(
    "raw",
    [
        {"max_new_tokens": "many"},
        {"do_sample": True, "temperature": -1},
        {"do_sample": "yes"},
        {"early_stopping": "sometimes"},
        {"eos_token_id": ["</s>"]},
        {"stop_strings": [""]},
        {"do_sample": True, "num_beams": 4},
        {"repetition_penalty": 0},
    ],
)
def test_a_value_that_cannot_be_is_an_error_that_names_the_file(raw: dict):
    with pytest.raises(CheckpointError, match=r"some/generation_config\.json"):
        config_from_hf(raw, file="some/generation_config.json")


@pytest.mark.slow
def test_every_setting_that_transformers_knows_has_a_place_here():
    transformers = pytest.importorskip("transformers", reason="the keys are those of transformers")
    known = {key for key in vars(transformers.GenerationConfig()) if not key.startswith("_")}
    unread = {key for key in known if any("is not read" in note for note in _notes(key))}
    assert unread == set()


def _notes(key: str) -> list[str]:
    try:
        return config_from_hf({key: "a value"})[1]
    except CheckpointError:
        return []
