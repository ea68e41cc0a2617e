"""What is peculiar to ModernBERT: its windows, its heads on either side of padding, and what its files say."""

from __future__ import annotations

import json
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
from zoo.anatomy import ENCODER_HEADS, RopeConfig
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError
from zoo.registry import installed
from zoo.weights import ForeignConfig

LABELS = {"sequence_classification": 3, "token_classification": 4}
PADDED = torch.tensor([[True] * 11, [True] * 6 + [False] * 5, [True] * 9 + [False] * 2])
FULL, SLIDING = "full_attention", "sliding_attention"
BASE: dict[str, Any] = {  # of answerdotai/ModernBERT-base
    "architectures": ["ModernBertForMaskedLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 50281, "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
    "classifier_pooling": "mean", "cls_token_id": 50281, "decoder_bias": True, "deterministic_flash_attn": False,
    "embedding_dropout": 0.0, "eos_token_id": 50282, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
    "gradient_checkpointing": False, "hidden_activation": "gelu", "hidden_size": 768,
    "initializer_cutoff_factor": 2.0, "initializer_range": 0.02, "intermediate_size": 1152, "layer_norm_eps": 1e-05,
    "local_attention": 128, "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": False,
    "mlp_dropout": 0.0, "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05,
    "num_attention_heads": 12, "num_hidden_layers": 22, "pad_token_id": 50283, "position_embedding_type": "absolute",
    "reference_compile": False, "repad_logits_with_grad": False, "sep_token_id": 50282,
    "sparse_pred_ignore_index": -100, "sparse_prediction": False, "tie_word_embeddings": True,
    "torch_dtype": "float32", "transformers_version": "4.47.0.dev0", "vocab_size": 50368,
}  # fmt: skip
BARE = {"architectures": ["ModernBertModel"]}
RELEASED: dict[str, dict[str, Any]] = {
    "modernbert-base": {},
    "modernbert-large": {
        "hidden_size": 1024, "intermediate_size": 2624, "num_attention_heads": 16, "num_hidden_layers": 28,
    },
    "gte-modernbert-base": {**BARE, "torch_dtype": "float16"},
    "modernbert-embed-base": BARE,
    "mmbert-base": {
        "vocab_size": 256000, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "cls_token_id": 1,
        "mask_token_id": 4, "sep_token_id": 1, "unk_token_id": 3, "position_embedding_type": "sans_pos",
        "local_rope_theta": 160000.0,
    },
}  # fmt: skip
NEW = {  # what transformers 5 writes in place of the bases and of the number of layers
    "layer_types": [SLIDING if i % 3 else FULL for i in range(22)],
    "rope_parameters": {
        FULL: {"rope_theta": 160000.0, "rope_type": "default"},
        SLIDING: {"rope_theta": 10000.0, "rope_type": "default"},
    },
}  # fmt: skip


def config_of(head: str, **changes: Any) -> Any:
    tiny = installed()["modernbert"].config_class.tiny()
    return replace(tiny, head=head, **{"num_labels": LABELS.get(head), **changes})


def read(*without: str, **changes: Any) -> Any:
    """The config of the released file with some keys changed, every key of it accounted for."""
    hf = ForeignConfig({name: x for name, x in (BASE | changes).items() if name not in without})
    config = installed()["modernbert"].dialect("hf").from_config(hf)
    hf.check(where="modernbert")
    return config


@pytest.mark.parametrize("name", RELEASED)
def test_released_files_are_the_presets(name: str) -> None:
    expected, found = presets.config(name).to_dict(), read(**RELEASED[name]).to_dict()
    assert {n: v for n, v in found.items() if n not in BOOKKEEPING} == {
        n: v for n, v in expected.items() if n not in BOOKKEEPING
    }
    assert found["eos_token_id"] == expected["eos_token_id"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # of the files on the hub, the tied head counted once
        ("modernbert-base", 149_655_232), ("modernbert-large", 395_881_664), ("gte-modernbert-base", 149_014_272),
    ],
)  # fmt: skip
def test_presets_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert sum(prod(shape) for shape in presets.config(name).anatomy().shapes().values()) == parameters


def test_both_spellings_of_bases_and_layers_are_one_config() -> None:
    old = ("global_rope_theta", "local_rope_theta", "global_attn_every_n_layers")
    assert read(*old, **NEW) == read() == read(**NEW)
    stretched = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}
    both = read(rope_scaling=stretched)
    assert (both.rope.scaling, both.rope.theta) == ("yarn", 160_000.0)  # as transformers: of both kinds of layers
    assert both.local_rope == replace(both.rope, theta=10_000.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": [FULL, SLIDING, FULL] + [SLIDING] * 19}, r"layer_types: layers \[0, 2\] see all tokens"),
        ({"layer_types": [SLIDING] * 22}, r"layer_types: layers \[\] see all tokens"),
        ({**NEW, "global_attn_every_n_layers": 4}, "expected 0, 4, 8"),
        ({**NEW, "global_rope_theta": 1e4}, "global_rope_theta"),
        ({"local_rope_theta": None}, "local_rope_theta: null is no base"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, "is not a group full_attention and a group"),
        ({"layer_norm_eps": 1e-12}, "layer_norm_eps"),
        ({"causal_mask": True}, "causal_mask: True"),
        ({"architectures": ["ModernBertDecoderForCausalLM"]}, "ModernBertDecoderForCausalLM"),
        ({"hidden_activation": "gelu_fast"}, "hidden_activation: 'gelu_fast' is not known"),
        ({"embedding_size": 8}, "embedding_size: the key is not known"),
    ],
)
def test_keys_that_make_another_model_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sliding_window": 7}, r"model\.sliding_window=7 is odd"),
        ({"global_every": 0}, r"model\.global_every=0 is below 1"),
        ({"pooling": "max"}, r"model\.pooling='max' is not one of cls, mean"),
        ({"hidden_size": 21}, r"hidden_size / num_heads=7 is 7 channels"),
        ({"rope": RopeConfig(scaling="yarn", factor=2.0, truncate=False)}, r"model\.rope\.truncate=false"),
    ],
)
def test_contradictory_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of("none", **changes)


@torch.inference_mode()
def test_a_layer_with_a_window_sees_half_of_it_on_each_side() -> None:
    """As the released code: |i - j| <= local_attention / 2."""
    config = config_of("none", num_layers=2)
    model, tokens = model_of(config), tokens_of(config, 1, 17)
    x = model.embed(tokens)
    other = x.clone()
    other[:, 8] = x[:, 0] - x[:, 1]
    span = zoo.nn.Span(1, 17, x.device)
    for number, reach in ((0, 17), (1, config.sliding_window // 2)):
        layer = model.layers[number]
        moved = (layer(x, span) - layer(other, span)).abs().amax(-1)[0] > 1e-9
        assert moved.tolist() == [abs(i - 8) <= reach for i in range(17)]


@pytest.mark.parametrize("head", ENCODER_HEADS)
@torch.inference_mode()
def test_padding_on_either_side_changes_no_number(head: str) -> None:
    for pooling in ("cls", "mean"):
        config = config_of(head, pooling=pooling)
        module = zoo.build(config)
        assert config.anatomy().shapes() == {name: tuple(p.shape) for name, p in module.named_parameters()}
        model = model_of(config)
        for mask in (PADDED, PADDED.flip(1)):
            tokens = tokens_of(config).where(mask, 0)
            found, logits = model(tokens, attention_mask=mask), None
            if head == "multiple_choice":
                logits = model(tokens[None], attention_mask=mask[None]).logits[0]
            for row, real in enumerate(mask):
                alone = model(tokens[row, real][None])
                torch.testing.assert_close(found.hidden[row, real], alone.hidden[0], rtol=0, atol=1e-12)
                if head == "none":
                    continue
                given = found.logits[row] if logits is None else logits[row, None]
                given = given[real] if given.ndim == 2 else given
                torch.testing.assert_close(given, alone.logits[0], rtol=0, atol=1e-12)


def test_files_load_with_and_without_the_prefix_and_leave_a_pretraining_head_out(tmp_path: Path) -> None:
    config = config_of("none")
    zoo.save(model_of(config), tmp_path / "bare")
    stored = load_file(tmp_path / "bare" / "model.safetensors")
    assert {name.partition(".")[0] for name in stored} == {"embeddings", "layers", "final_norm"}
    full = {f"model.{name}": x for name, x in stored.items()} | {"head.norm.weight": torch.ones(24)}
    (tmp_path / "full").mkdir()
    save_file(full, tmp_path / "full" / "model.safetensors")
    (tmp_path / "full" / "config.json").write_bytes((tmp_path / "bare" / "config.json").read_bytes())
    models = [zoo.load(tmp_path / name) for name in ("bare", "full")]
    assert [*models[1].ledger.account.ignored] == ["head.norm.weight"]
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    file = tmp_path / "full" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"architectures": ["ModernBertForMaskedLM"]}))
    with pytest.raises(CheckpointError, match=r"head\.dense"):
        zoo.load(tmp_path / "full")
