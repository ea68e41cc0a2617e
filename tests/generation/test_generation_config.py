"""generation_config.json: each key is used, known to be harmless, or refused unless it is to be ignored."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.generation import GenerationConfig, config_from_hf, settings_in
from zoo.generation.config import GenerationSettings
from zoo.generation.processors import MinNewTokens, processors_of


def test_a_released_file_is_read():  # Llama 3.1 8B Instruct's
    config, notes = config_from_hf({
        "bos_token_id": 128000, "do_sample": True, "eos_token_id": [128001, 128008, 128009], "temperature": 0.6,
        "top_p": 0.9, "transformers_version": "4.42.3",
    })  # fmt: skip
    assert config == GenerationConfig(temperature=0.6, top_p=0.9, top_k=50, eos_token_id=[128001, 128008, 128009])
    assert notes == ["top_k is not given: 50 is assumed, as transformers does"]


def test_the_file_of_a_translator_is_read():  # opus-mt-en-de's
    config, notes = config_from_hf({
        "bad_words_ids": [[58100]], "bos_token_id": 0, "decoder_start_token_id": 58100, "eos_token_id": 0,
        "forced_eos_token_id": 0, "max_length": 512, "num_beams": 6, "pad_token_id": 58100,
        "renormalize_logits": True, "transformers_version": "4.32.0.dev0",
    })  # fmt: skip
    assert config == GenerationConfig(
        bad_words_ids=[[58100]], decoder_start_token_id=58100, eos_token_id=[0], forced_eos_token_id=[0],
        max_length=512, num_beams=6, renormalize_logits=True,
    )  # fmt: skip
    assert notes == []


def test_sampling_settings_without_do_sample_mean_greedy_and_are_told_unless_they_say_nothing():
    config, notes = config_from_hf({"_from_model_config": True, "temperature": 0.9, "top_p": 0.6, "max_length": 4096})
    assert config == GenerationConfig(max_length=4096)
    assert notes == ["temperature is not used: do_sample is false", "top_p is not used: do_sample is false"]
    assert config_from_hf({"temperature": 1.0, "top_k": 50, "top_p": 1.0}) == (GenerationConfig(), [])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"max_new_token": 7, "eos_token_id": 7}, "max_new_token: max_new_token=7 is not a setting that zoo knows; "
         "did you mean: max_new_tokens"),
        ({"alignment_heads": [[1, 2]]}, r"alignment_heads: alignment_heads=\[\[1, 2\]\] is not a setting"),
        ({"penalty_alpha": 0.6}, "penalty_alpha: zoo does not support penalty_alpha=0.6"),
        ({"max_time": 3.0}, "max_time: zoo does not support max_time=3.0"),
        ({"constraints": [1]}, "constraints: zoo does not support"),
        ({"stop_words_ids": [[7]], "eos_token_id": 8}, "stop_words_ids: zoo does not support"),
        ({"max_new_tokens": "many"}, "max_new_tokens: max_new_tokens='many' is not int"),
        ({"do_sample": True, "temperature": -1}, "temperature: temperature=-1.0 is not at least 0"),
        ({"do_sample": "yes"}, "do_sample: 'yes' is not true or false"),
        ({"early_stopping": "sometimes"}, "early_stopping: early_stopping='sometimes' is not true, false or 'never'"),
        ({"eos_token_id": ["</s>"]}, "eos_token_id: eos_token_id"),
        ({"eos_token_id": -1}, r"eos_token_id: eos_token_id=\[-1\] is not a list of token ids"),
        ({"stop_strings": [""]}, "stop_strings: stop contains an empty text"),
        ({"repetition_penalty": 0}, "repetition_penalty: repetition_penalty=0.0 is not above 0"),
        ({"bad_words_ids": [3]}, "bad_words_ids: bad_words_ids"),
        ({"sequence_bias": [[[3], "x"]]}, "sequence_bias: sequence_bias"),
        ({"exponential_decay_length_penalty": [3]}, "is not .tokens before it begins"),
        ({"num_return_sequences": 0}, "num_return_sequences: num_return_sequences=0 is not at least 1"),
        ({"num_return_sequences": 3}, "greedy decoding would say the same 3 times"),
        ({"num_beams": 3, "num_beam_groups": 2}, "num_beams=3 is not a multiple of num_beam_groups=2"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences=3 is more than num_beams=2"),
        ({"forced_eos_token_id": 2, "suppress_tokens": [2]}, "in suppress_tokens too"),
        ({"typical_p": 0.0, "do_sample": True}, "typical_p=0.0 is not above 0 and at most 1"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_an_error_that_names_file_and_key_and_can_be_ignored(raw: dict[str, Any], message: str):
    with pytest.raises(CheckpointError, match=rf"some/generation_config\.json: .*{message}") as caught:
        config_from_hf(raw | {"max_length": 30}, file="some/generation_config.json")
    assert "--ignore-settings" in str(caught.value)
    config, notes = config_from_hf(raw | {"max_length": 30}, ignore=True)
    assert config.max_length == 30
    assert any("is ignored" in note for note in notes)


def test_all_that_has_no_place_is_told_at_once():
    with pytest.raises(CheckpointError, match="2 settings that zoo does not follow: max_time, top_p") as caught:
        config_from_hf({"max_time": 3, "top_p": 7, "do_sample": True, "chat_format": "chatml"})
    assert "\n  zoo does not support max_time=3\n  top_p=7.0 is not between 0 and 1\n" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "neutral"),
    [
        ("typical_p", 1.0), ("bad_words_ids", []), ("suppress_tokens", None), ("guidance_scale", 1),
        ("no_repeat_ngram_size", 0), ("num_return_sequences", 1), ("penalty_alpha", 0.0), ("top_k", 0),
        ("early_stopping", None), ("epsilon_cutoff", 0.0), ("num_beam_groups", 1), ("pad_token_id", -1),
        ("chat_format", "chatml"), ("encoder_no_repeat_ngram_size", 0), ("diversity_penalty", 0.0),
    ],
)  # fmt: skip
def test_a_setting_that_asks_for_nothing_changes_nothing(key: str, neutral: object):
    assert config_from_hf({key: neutral}) == (GenerationConfig(), [])


def test_end_tokens_by_the_name_of_qwens_own_code_are_end_tokens():
    config, notes = config_from_hf({"stop_words_ids": [[7]], "eos_token_id": 7})
    assert (config.eos_token_id, notes) == ([7], [])


@pytest.mark.parametrize("count", [0, 2])
def test_of_two_least_lengths_the_one_of_new_tokens_counts(count: int):
    """As GenerationMixin._prepare_generated_length of transformers has it, a count of 0 too."""
    config, notes = config_from_hf({"min_length": 9, "min_new_tokens": count})
    assert (config.min_length, config.min_new_tokens) == (0, count)
    assert notes == ["min_length is not used: min_new_tokens goes before"]


def test_so_it_does_where_a_call_asks_for_both():
    both = GenerationConfig(min_length=9, min_new_tokens=2)
    assert [type(one) for one in processors_of(both, eos=[2], sources=[[1]])] == [MinNewTokens]


def test_beams_are_read():
    config, notes = config_from_hf(
        {"num_beams": 4, "length_penalty": 2.0, "early_stopping": "never", "no_repeat_ngram_size": 3, "top_k": 0}
    )
    assert config == GenerationConfig(num_beams=4, length_penalty=2.0, early_stopping="never", no_repeat_ngram_size=3)
    assert notes == []


def test_a_config_holds_settings_of_its_own_of_its_text_model_and_of_its_class():
    old = {"model_type": "marian", "num_beams": 6, "max_length": 512, "bad_words_ids": [[9]], "d_model": 8,
           "eos_token_id": 0, "early_stopping": None}  # fmt: skip
    assert settings_in(old) == {"forced_eos_token_id": 0, "num_beams": 6, "max_length": 512, "bad_words_ids": [[9]]}
    assert settings_in(old | {"forced_eos_token_id": 5})["forced_eos_token_id"] == 5
    assert settings_in({"max_length": 7, "text_config": {"max_length": 9, "do_sample": True}}) == {
        "max_length": 7, "do_sample": True,
    }  # fmt: skip
    assert settings_in({"force_bos_token_to_be_generated": True, "bos_token_id": 4}) == {"forced_bos_token_id": 4}


def test_a_setting_is_replaced_by_name_and_by_none():
    config = GenerationConfig(forced_eos_token_id=[2], top_k=3)
    assert config.updated(forced_eos_token_id=None, top_k=5) == GenerationConfig(forced_eos_token_id=[2], top_k=5)
    assert config.replaced(forced_eos_token_id=None, num_beams=None) == GenerationConfig(top_k=3)
    assert config.updated(stop="a", eos_token_id=4, forced_eos_token_id=6).eos_token_id == [4]


@pytest.mark.slow
def test_every_setting_that_transformers_knows_has_a_place_here():
    transformers = pytest.importorskip("transformers", reason="the keys are those of transformers")
    known = {key for key in vars(transformers.GenerationConfig()) if not key.startswith("_")}
    assert not {key for key in known if "no setting that zoo knows" in _told(key)}


@pytest.mark.slow
def test_what_a_silent_file_means_is_what_transformers_assumes():
    transformers = pytest.importorskip("transformers", reason="the defaults are those of transformers")
    assumed = transformers.GenerationConfig._get_default_generation_params()
    del assumed["max_length"]  # 20 there, of which it warns
    for is_sampled in (True, False):
        said, _ = config_from_hf({**assumed, "do_sample": is_sampled})
        silent, _ = config_from_hf({"do_sample": is_sampled})
        assert said == silent


def _told(key: str) -> str:
    try:
        config_from_hf({key: "a value"})
    except CheckpointError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_setting_is_documented_and_can_be_given_to_a_call(language: str):
    page = (Path(__file__).parents[2] / "docs" / language / "concepts" / "generation.md").read_text(encoding="utf-8")
    names = [f.name for f in fields(GenerationConfig)]
    assert not [name for name in names if f"`{name}`" not in page]
    assert names == [*GenerationSettings.__annotations__]
