"""What MPNet, ELECTRA and ALBERT have that BERT does not: a shared bias, a width of embeddings, shared layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from tests.plugins.encoders import config_of, model_of, tokens_of
from tests.plugins.test_bert_hf import assert_same, stored
from tests.some import some
from zoo.anatomy.size import Size
from zoo.errors import CheckpointError, ConfigError
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig


def read(family: str, **changes: Any) -> Any:
    """The config of the family's tiny config.json with some keys changed, all of them accounted for."""
    dialect = installed()[family].dialect("hf")
    keys = ForeignConfig(dialect.to_config(installed()[family].config_class.tiny()) | changes)
    config = dialect.from_config(keys)
    keys.check(where=family)
    return config


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("mpnet", {"relative_attention_num_buckets": 16}, "relative_attention_num_buckets: 16 is not supported"),
        ("mpnet", {"type_vocab_size": 2}, "type_vocab_size"),
        ("electra", {"architectures": ["ElectraForCausalLM"]}, "ElectraForCausalLM"),
        (
            "electra",
            {"architectures": ["ElectraForMultipleChoice"], "summary_type": "mean"},
            "summary_type: 'mean' is not supported",
        ),
        ("albert", {"num_memory_blocks": 1}, "num_memory_blocks: 1 is not supported"),
        ("albert", {"layers_to_keep": [0]}, "layers_to_keep"),
        ("xlm_roberta", {"architectures": ["RobertaForMaskedLM"]}, "RobertaForMaskedLM"),
        ("xlm_roberta", {"is_decoder": True}, "is_decoder: True"),
    ],
)
def test_what_would_be_another_model_is_refused(family: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(family, **changes)


def test_absent_keys_are_those_of_transformers_classes() -> None:
    keys = {"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    keys |= {"num_attention_heads": 3}
    albert = installed()["albert"].dialect("hf").from_config(ForeignConfig(keys | {"model_type": "albert"}))
    assert (albert.activation, albert.embed_size, albert.num_layer_groups) == ("gelu_tanh", 128, 1)
    xl = installed()["xlm_roberta"].dialect("hf").from_config(ForeignConfig(keys | {"model_type": "xlm-roberta-xl"}))
    assert (xl.is_pre_norm, xl.norm_eps, xl.max_seq_len, xl.type_vocab_size) == (True, 1e-5, 512, 1)


@torch.inference_mode()
def test_all_layers_of_an_mpnet_read_one_table_of_distances() -> None:
    model = model_of(config_of("mpnet", "none"))
    first, second = (layer.attn.bias for layer in model.layers)
    assert first is second
    assert [n for n, _ in model.named_parameters() if "bias.weight" in n] == ["layers.0.attn.bias.weight"]
    tokens = tokens_of(model.config)
    before = model(tokens).hidden
    first.weight[1] += 1.0  # of the token just before
    assert (model(tokens).hidden - before).abs().max() > 1e-3


def test_an_mpnet_counts_positions_by_token_one_whatever_padding_is() -> None:
    model = zoo.build(replace(config_of("mpnet", "none"), pad_token_id=0), device="cpu")
    assert model.embed.place(torch.tensor([[5, 0, 7, 1]])).tolist() == [[2, 3, 4, 1]]


def test_an_electra_projects_embeddings_of_another_width_alone() -> None:
    config = config_of("electra", "masked_lm")
    assert zoo.build(config).embed.proj.weight.shape == (24, 14)
    names = dict(zoo.build(replace(config, embed_size=24)).named_parameters())
    assert not any("proj" in name for name in names if name.startswith("embed."))


@pytest.mark.parametrize(
    ("num_layers", "groups", "per_group", "order"),
    [(4, 1, 1, [0, 0, 0, 0]), (4, 2, 1, [0, 0, 1, 1]), (3, 2, 2, [0, 1, 0, 1, 2, 3]), (5, 3, 1, [0, 0, 1, 1, 2])],
)
def test_an_albert_passes_through_groups_in_equal_runs(
    num_layers: int, groups: int, per_group: int, order: list[int]
) -> None:
    """As int(i / (num_hidden_layers / num_hidden_groups)) of transformers' AlbertTransformer."""
    changes = {"num_layers": num_layers, "num_layer_groups": groups, "layers_per_group": per_group}
    config = config_of("albert", "none", **changes)
    assert config.order == order
    assert len(zoo.build(config).layers) == groups * per_group


def test_a_group_that_nothing_passes_through_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_layer_groups=6 is more than model\.num_layers=5"):
        config_of("albert", "none", num_layer_groups=6)


def test_an_albert_computes_with_its_layers_as_often_as_it_passes_through_them() -> None:
    shared = preset("albert-base-v2")
    apart = replace(shared, num_layer_groups=shared.num_layers)
    few, many = Size.of(shared), Size.of(apart)
    for length in (1, 512):
        assert few.prefill_flops(length) == many.prefill_flops(length)
    assert few.training_bytes(1, 512).activations == many.training_bytes(1, 512).activations
    assert few.recomputed_activations(1, 512) == many.recomputed_activations(1, 512)
    assert few.active_parameters == few.parameters == many.parameters - 11 * 7_087_872


def as_released(family: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With what the hub's files of a masked LM hold besides: a buffer, a pooler, other heads and copies of the tied."""
    base = {"xlm_roberta": "roberta"}.get(family, family)
    words, bias = (
        f"{base}.embeddings.word_embeddings.weight",
        {"albert": "predictions.bias"}.get(family, "lm_head.bias"),
    )
    more = {f"{base}.embeddings.position_ids": torch.arange(50)[None]}
    if family == "electra":
        more |= {"generator_lm_head.weight": tensors[words], "discriminator_predictions.dense.bias": torch.zeros(24)}
        return tensors | more
    pooler, head = (f"{base}.pooler", "predictions") if family == "albert" else (f"{base}.pooler.dense", "lm_head")
    more |= {f"{pooler}.weight": torch.zeros(24, 24), f"{pooler}.bias": torch.zeros(24)}
    more |= {f"{head}.decoder.weight": tensors[words], f"{head}.decoder.bias": tensors[bias]}
    if family == "albert":
        more |= {
            "sop_classifier.classifier.weight": torch.zeros(2, 24),
            "sop_classifier.classifier.bias": torch.zeros(2),
        }
    return tensors | more


@pytest.mark.parametrize("family", some(["xlm_roberta", "mpnet", "electra", "albert"], "albert"))
def test_what_released_files_hold_besides_is_told_or_held_to_be_a_copy(family: str, tmp_path: Path) -> None:
    config = config_of(family, "masked_lm")
    model = zoo.load(stored(tmp_path / "released", config, lambda tensors: as_released(family, tensors)))
    assert_same(model, model_of(config))
    account = model.ledger.account
    assert any("position_ids" in name for name in account.ignored)
    assert len(account.ignored) == {"electra": 2, "albert": 5}.get(family, 3)
    assert len(account.tied) == (1 if family == "electra" else 2)
    copy = "generator_lm_head.weight" if family == "electra" else next(iter(account.tied))
    other = stored(
        tmp_path / "other", config, lambda t: as_released(family, t) | {copy: as_released(family, t)[copy] + 1}
    )
    with pytest.raises(CheckpointError, match="it differs from"):
        zoo.load(other)
