"""What is peculiar to DeBERTa v2 and v3: its distances, its convolution, the heads of its files, and what these say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.plugins.encoders import model_of, tokens_of
from zoo import presets
from zoo.anatomy import ENCODER_HEADS
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.registry import installed
from zoo.weights import ForeignConfig

LABELS = {"sequence_classification": 3, "token_classification": 4}
PADDED = torch.tensor([[True] * 11, [True] * 6 + [False] * 5, [True] * 9 + [False] * 2])
BASE: dict[str, Any] = {  # of microsoft/deberta-v3-base, whose config.json names no class
    "model_type": "deberta-v2", "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
    "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 512,
    "relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7, "max_relative_positions": -1, "position_biased_input": False,
    "num_attention_heads": 12, "num_hidden_layers": 12, "type_vocab_size": 0, "vocab_size": 128100,
}  # fmt: skip
XL = {
    "hidden_size": 1536, "intermediate_size": 6144, "num_attention_heads": 24, "num_hidden_layers": 24,
    "attention_head_size": 64, "conv_kernel_size": 3, "conv_act": "gelu", "pooler_dropout": 0,
    "pooler_hidden_act": "gelu", "pooler_hidden_size": 1536, "pos_att_type": ["p2c", "c2p"],
}  # fmt: skip
RELEASED: dict[str, dict[str, Any]] = {
    "deberta-v3-base": {},
    "deberta-v3-xsmall": {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6},
    "mdeberta-v3-base": {"vocab_size": 251000},
    "deberta-v2-xlarge": XL,
    "deberta-v2-xxlarge": XL | {"num_hidden_layers": 48},
    "nli-deberta-v3-base": {
        "architectures": ["DebertaV2ForSequenceClassification"], "legacy": True, "summary_type": "first",
        "id2label": {"0": "contradiction", "1": "entailment", "2": "neutral"},
        "label2id": {"contradiction": 0, "entailment": 1, "neutral": 2}, "pooler_dropout": 0,
        "pooler_hidden_act": "gelu", "pooler_hidden_size": 768, "pad_token_id": 0,
    },
}  # fmt: skip


def config_of(head: str, **changes: Any) -> Any:
    tiny = installed()["deberta"].config_class.tiny()
    return replace(tiny, head=head, **{"num_labels": LABELS.get(head), **changes})


def read(*without: str, **changes: Any) -> Any:
    """The config of the released file with some keys changed, every key of it accounted for."""
    hf = ForeignConfig({name: x for name, x in (BASE | changes).items() if name not in without})
    config = installed()["deberta"].dialect("hf").from_config(hf)
    hf.check(where="deberta")
    return config


@pytest.mark.parametrize("name", RELEASED)
def test_released_files_are_the_presets(name: str) -> None:
    expected, found = presets.config(name).to_dict(), read(**RELEASED[name]).to_dict()
    left = {*BOOKKEEPING, "dtype", "pad_token_id"}  # which the oldest files leave out
    assert {n: v for n, v in found.items() if n not in left} == {n: v for n, v in expected.items() if n not in left}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as transformers 5.23 counts them for the class that each preset has
        ("deberta-v3-xsmall", 70_682_112), ("deberta-v3-small", 141_304_320), ("deberta-v3-base", 183_831_552),
        ("deberta-v3-large", 434_012_160), ("mdeberta-v3-base", 278_218_752), ("deberta-v2-xlarge", 884_593_152),
        ("deberta-v2-xxlarge", 1_564_549_632), ("nli-deberta-v3-base", 184_424_451),
    ],
)  # fmt: skip
def test_presets_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert sum(prod(shape) for shape in presets.config(name).anatomy().shapes().values()) == parameters


@pytest.mark.parametrize(
    ("without", "changes", "message"),
    [
        ("relative_attention", {}, "relative_attention: False is not supported"),
        ("", {"pos_att_type": "p2c|p2p"}, "pos_att_type: 'p2c|p2p' is not made of c2p and p2c"),
        ("", {"norm_rel_ebd": "rms"}, "norm_rel_ebd: 'rms' is not known"),
        ("", {"embedding_size": 128}, "embedding_size: 128"),
        ("", {"attention_head_size": 32}, "attention_head_size: 32"),
        ("", {"architectures": ["DebertaForMaskedLM"]}, "DebertaForMaskedLM"),
        ("", {"architectures": ["DebertaV2ForMaskedLM"], "tie_word_embeddings": False}, "tie_word_embeddings"),
        ("", {"talking_head": True}, "talking_head: the key is not known"),
    ],
)
def test_keys_that_make_another_model_are_refused(without: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message.replace("|", r"\|")):
        read(without, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_kernel_size": 4}, r"model\.conv_kernel_size=4 is even"),
        ({"position_buckets": 3}, r"model\.position_buckets=3 is not from 4"),
        ({"position_buckets": 20}, r"below twice model\.max_distance - 1=10"),
        ({"tie_embeddings": False}, r"model\.tie_embeddings=false"),
    ],
)
def test_contradictory_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of("none", **changes)


def test_distances_are_exact_near_by_and_logarithmic_far_off() -> None:
    """The released code's rule in exact arithmetic; at the farthest distance the logarithms' quotient is 1."""
    table = zoo.build(config_of("none", position_buckets=256, max_distance=512), device="cpu").distances
    found = table.bucket(torch.arange(-700, 701)).tolist()
    growth = [math.log(max(abs(d), 1) / 128) / math.log(511 / 128) for d in range(-700, 701)]
    far = [128 + math.ceil(round(127 * g, 9)) for g in growth]
    expected = [d if abs(d) <= 128 else int(math.copysign(f, d)) for d, f in zip(range(-700, 701), far, strict=True)]
    assert found == expected
    assert table(600).rows[0, 599].item() == 0  # a key far behind: the first row
    assert table(600).rows[599, 0].item() == 511


@pytest.mark.parametrize("head", ENCODER_HEADS)
@torch.inference_mode()
def test_right_padding_changes_no_number(head: str) -> None:
    """Though a convolution reads beyond the last token."""
    config = config_of(head, conv_activation="silu")
    module = zoo.build(config)
    assert config.anatomy().shapes() == {name: tuple(p.shape) for name, p in module.named_parameters()}
    model, tokens = model_of(config), tokens_of(config).where(PADDED, 0)
    found = model(tokens, attention_mask=PADDED)
    for row, real in enumerate(PADDED):
        alone = model(tokens[row, real][None])
        torch.testing.assert_close(found.hidden[row, real], alone.hidden[0], rtol=0, atol=1e-12)
        if head == "multiple_choice":
            choices = model(tokens[None], attention_mask=PADDED[None]).logits
            torch.testing.assert_close(choices[0, row, None], alone.logits[0], rtol=0, atol=1e-12)
        elif head != "none":
            given = found.logits[row]
            given = given[real] if given.ndim == 2 else given
            torch.testing.assert_close(given, alone.logits[0], rtol=0, atol=1e-12)


def test_what_the_model_does_not_have_is_refused() -> None:
    config = config_of("none")
    model, tokens = zoo.build(config, device="cpu"), tokens_of(config)
    with pytest.raises(UsageError, match="no token types"):
        model(tokens, token_types=tokens)
    with pytest.raises(UsageError, match="reads across their borders"):
        model(tokens, attention_mask=torch.tensor([[1] * 6 + [2] * 5] * 3))
    with pytest.raises(UsageError, match=r"11 tokens are more than model\.max_seq_len=10"):
        zoo.build(config_of("none", has_positions=True, max_seq_len=10), device="cpu")(tokens)


def test_a_file_of_version_3_has_its_heads_left_out_or_read(tmp_path: Path) -> None:
    """Its names: a prefix, `lm_predictions`, `mask_predictions`, unused positions; its config names no class."""
    config = config_of("masked_lm", is_legacy=False)
    zoo.save(model_of(config), tmp_path)
    file, keys = tmp_path / "model.safetensors", tmp_path / "config.json"
    extra = {"mask_predictions.dense.weight": torch.ones(24, 24), "deberta.embeddings.position_ids": torch.arange(64)}
    extra["deberta.embeddings.position_embeddings.weight"] = torch.ones(64, 24)
    save_file(load_file(file) | extra, file)
    raw = {n: x for n, x in json.loads(keys.read_text()).items() if n not in ("architectures", "legacy")}
    keys.write_text(json.dumps(raw))
    bare = zoo.load(tmp_path)
    assert bare.config.head == "none"
    left = {name.partition(".")[0] for name in bare.ledger.account.ignored}
    assert left == {"deberta", "lm_predictions", "mask_predictions"}
    whole = zoo.load(tmp_path, "model.head=masked_lm")
    assert whole.config.is_legacy is False
    tokens = tokens_of(config)
    with torch.inference_mode():
        found, expected = whole.eval()(tokens).logits, model_of(config)(tokens).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    stored = {n: x for n, x in load_file(file).items() if "lm_predictions" not in n}
    save_file(stored, file)
    with pytest.raises(CheckpointError, match=r"cls\.predictions"):  # never drawn at random
        zoo.load(tmp_path, "model.head=masked_lm")
