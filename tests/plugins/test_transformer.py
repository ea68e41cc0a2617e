"""The Transformer of 2017 against its paper, and which keys of a Marian config.json are read and which refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

import zoo
from zoo import presets
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.nn import Span
from zoo.registry import installed
from zoo.weights import ForeignConfig

RELEASED = {  # keys of an opus-mt model's config.json as the hub has them (2020)
    "activation_dropout": 0.0, "activation_function": "swish", "add_bias_logits": False,
    "add_final_layer_norm": False, "architectures": ["MarianMTModel"], "attention_dropout": 0.0,
    "bad_words_ids": [[58100]], "bos_token_id": 0, "classif_dropout": 0.0, "d_model": 512,
    "decoder_attention_heads": 8, "decoder_ffn_dim": 2048, "decoder_layerdrop": 0.0, "decoder_layers": 6,
    "decoder_start_token_id": 58100, "decoder_vocab_size": 58101, "dropout": 0.1, "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048, "encoder_layerdrop": 0.0, "encoder_layers": 6, "eos_token_id": 0,
    "extra_pos_embeddings": 58101, "id2label": {"0": "LABEL_0"}, "init_std": 0.02, "is_encoder_decoder": True,
    "label2id": {"LABEL_0": 0}, "max_length": 512, "max_position_embeddings": 512, "model_type": "marian",
    "normalize_before": False, "normalize_embedding": False, "num_beams": 6, "num_hidden_layers": 6,
    "pad_token_id": 58100, "scale_embedding": True, "share_encoder_decoder_embeddings": True,
    "static_position_embeddings": True, "vocab_size": 58101,
}  # fmt: skip


def read(**changes: Any) -> Any:
    """The config of a released file with some keys changed."""
    keys = ForeignConfig(RELEASED | changes)
    config = installed()["transformer"].dialect("hf").from_config(keys)
    keys.check(where="transformer")
    return config


@pytest.mark.parametrize(("name", "published"), [("transformer-base", 65e6), ("transformer-big", 213e6)])
def test_presets_have_about_the_parameters_of_the_paper(name: str, published: float) -> None:
    """Which counts the vocabulary as "about 37000" and rounds; 37000 rows give 63.0 and 214.2 million."""
    (record,) = (r for r in presets.list_models(name) if r.name == name)
    assert record.parameters == pytest.approx(published, rel=0.04)
    c = presets.config(name)
    d, f = c.hidden_size, c.intermediate_size
    mlp, norm = 2 * d * f + f + d, 2 * d
    layers = c.num_layers * (4 * d * d + mlp + 2 * norm) + c.num_decoder_layers * (8 * d * d + mlp + 3 * norm)
    assert record.parameters == 37000 * d + layers


def test_the_released_config_is_the_preset() -> None:
    preset = presets.config("opus-mt-en-de")
    assert read() == replace(preset, hub="", license="", source="")


def test_positions_are_the_sinusoids_of_the_paper_with_all_sines_first() -> None:
    config = installed()["transformer"].config_class.tiny()
    model = zoo.build(config, device="cpu", dtype="float64")
    with torch.no_grad():
        model.embed.weight.zero_()
        found = model.embed_target(torch.zeros(1, 5, dtype=torch.long), Span(1, 5, torch.device("cpu")))
    half = config.hidden_size // 2
    for position in range(5):
        for i in range(half):
            angle = position / 10000 ** (2 * i / config.hidden_size)
            assert found[0, position, i].item() == pytest.approx(math.sin(angle), abs=1e-7)
            assert found[0, position, half + i].item() == pytest.approx(math.cos(angle), abs=1e-7)


def test_what_leaves_a_layer_is_normed() -> None:
    model = zoo.build(installed()["transformer"].config_class.tiny(), device="cpu", dtype="float64")
    with torch.inference_mode():
        states = model.encode(torch.tensor([[3, 1, 4, 1, 5]])).states
    torch.testing.assert_close(states.mean(-1), torch.zeros_like(states[..., 0]), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"normalize_before": True}, "normalize_before"),
        ({"normalize_embedding": True}, "normalize_embedding"),
        ({"add_final_layer_norm": True}, "add_final_layer_norm"),
        ({"static_position_embeddings": False}, "static_position_embeddings"),
        ({"decoder_ffn_dim": 1024}, "decoder_ffn_dim"),
        ({"decoder_attention_heads": 4}, "decoder_attention_heads"),
        ({"num_hidden_layers": 4}, "num_hidden_layers"),
        ({"decoder_vocab_size": 58000}, "decoder_vocab_size"),
        ({"activation_function": "tanh"}, "activation_function"),
        ({"window_size": 3}, "window_size"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_keys_that_would_change_the_model_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        read(**changes)


def test_absent_heads_of_the_decoder_are_those_of_the_class_and_not_of_the_encoder() -> None:
    with pytest.raises(CheckpointError, match="decoder_attention_heads: 16, but encoder_attention_heads is 8"):
        read(decoder_attention_heads=None)


def test_source_and_target_may_have_vocabularies_of_their_own() -> None:
    config = read(share_encoder_decoder_embeddings=False, decoder_vocab_size=60000, vocab_size=59000)
    assert (config.source_vocab_size, config.vocab_size) == (59000, 60000)


def test_a_model_without_biases_is_no_marian() -> None:
    with pytest.raises(UsageError, match="attention_bias=False"):
        installed()["transformer"].dialect("hf").to_config(
            replace(presets.config("opus-mt-en-de"), attention_bias=False)
        )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_heads": 5}, "num_heads"),
        ({"hidden_size": 9, "num_heads": 3}, "sine and cosine"),
        ({"activation": "tanh"}, "activation"),
        ({"decoder_start_token_id": 61}, "decoder_start_token_id"),
        ({"num_decoder_layers": -1}, "num_decoder_layers"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(installed()["transformer"].config_class.tiny(), **changes)
