"""What is peculiar to BERT and its kin as modules and configs."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.plugins.encoders import ALL, FAMILIES, config_of, model_of, tokens_of
from tests.some import some
from zoo import presets
from zoo.errors import ConfigError, UsageError
from zoo.nn import hidden_states
from zoo.registry import installed

PADDED = torch.tensor([[True] * 11, [True] * 6 + [False] * 5, [True] * 9 + [False] * 2])


@pytest.mark.parametrize(("family", "head"), ALL)
def test_anatomy_names_the_weights_of_the_module(family: str, head: str) -> None:
    config = config_of(family, head)
    module = zoo.build(config)
    assert config.anatomy().shapes() == {name: tuple(p.shape) for name, p in module.named_parameters()}


@pytest.mark.parametrize(("family", "head"), ALL)
@torch.inference_mode()
def test_a_head_gives_what_it_is_for_and_nothing_else(family: str, head: str) -> None:
    config = config_of(family, head)
    out = model_of(config)(tokens_of(config))
    shapes = {"masked_lm": (3, 11, 61), "pretraining": (3, 11, 61)}
    shapes |= {"sequence_classification": (3, 3), "token_classification": (3, 11, 4)}
    assert out.hidden.shape == (3, 11, 24)
    assert (None if out.logits is None else tuple(out.logits.shape)) == shapes.get(head)
    assert (out.next_sentence is not None) == (head in ("pretraining", "next_sentence"))
    assert (out.pooled is not None) == getattr(config, "has_pooler", False)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_right_padding_changes_no_number(family: str) -> None:
    config = config_of(family, "masked_lm")
    model, tokens = model_of(config), tokens_of(config).where(PADDED, config.pad_token_id)
    together = model(tokens, attention_mask=PADDED)
    for row, mask in enumerate(PADDED):
        alone = model(tokens[row, mask][None])
        torch.testing.assert_close(together.logits[row, mask], alone.logits[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("family", "moves"), [("bert", True), ("distilbert", True), ("roberta", False)])
@torch.inference_mode()
def test_left_padding_moves_positions_that_count_columns(family: str, moves: bool) -> None:
    config = config_of(family, "masked_lm")
    model, tokens = model_of(config), tokens_of(config)
    mask = PADDED.flip(1)
    padded = model(tokens.where(mask, config.pad_token_id), attention_mask=mask)
    alone = model(tokens[1, mask[1]][None])
    difference = (padded.logits[1, mask[1]] - alone.logits[0]).abs().max()
    assert (difference > 1e-3) if moves else (difference < 1e-12)


def test_roberta_counts_positions_from_the_token_after_padding() -> None:
    model = zoo.build(config_of("roberta", "none"), device="cpu")
    places = model.embed.place(torch.tensor([[5, 6, 7, 1], [1, 1, 5, 6], [5, 1, 6, 7]]))
    assert places.tolist() == [[2, 3, 4, 1], [1, 1, 2, 3], [2, 1, 3, 4]]


@pytest.mark.parametrize("family", some(FAMILIES, "bert", "mpnet", "albert"))
@torch.inference_mode()
def test_a_row_of_padding_gives_finite_numbers(family: str) -> None:
    config = config_of(family, "masked_lm")
    mask = PADDED.clone()
    mask[1] = False
    out = model_of(config)(tokens_of(config), attention_mask=mask)
    assert out.logits.isfinite().all()


@torch.inference_mode()
def test_token_types_are_zero_unless_given() -> None:
    config = config_of("bert", "next_sentence")
    model, tokens = model_of(config), tokens_of(config)
    plain = model(tokens)
    torch.testing.assert_close(model(tokens, torch.zeros_like(tokens)).next_sentence, plain.next_sentence)
    assert not torch.allclose(model(tokens, torch.ones_like(tokens)).next_sentence, plain.next_sentence)


@pytest.mark.parametrize("family", FAMILIES)
def test_more_tokens_than_positions_are_refused(family: str) -> None:
    config = config_of(family, "none", max_seq_len=10)
    model, tokens = zoo.build(config, device="cpu"), tokens_of(config)
    assert model(tokens[:, :10]).hidden.shape[1] == 10
    with pytest.raises(UsageError, match=r"11 tokens are more than model\.max_seq_len=10"):
        model(tokens)


def test_distilbert_refuses_token_types() -> None:
    config = config_of("distilbert", "none")
    with pytest.raises(UsageError, match="no token types"):
        zoo.build(config, device="cpu")(tokens_of(config), token_types=tokens_of(config))


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_hooks_on_embed_and_layers_give_the_hidden_states(family: str) -> None:
    config = config_of(family, "none")
    model, tokens = model_of(config), tokens_of(config)
    states = hidden_states(model, tokens)
    assert len(states) == len(getattr(config, "order", range(config.num_layers))) + 1
    assert torch.equal(states[0], model.embed(tokens))
    assert torch.equal(states[-1], model(tokens).hidden)


@pytest.mark.parametrize("family", some(FAMILIES, "bert", "mpnet", "albert"))
def test_gradients_reach_every_weight(family: str) -> None:
    config = config_of(family, "masked_lm")
    model = model_of(config)
    model(tokens_of(config), attention_mask=PADDED).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_one_graph_holds_the_whole_model(family: str) -> None:
    config = config_of(family, "masked_lm")
    model, tokens = model_of(config), tokens_of(config)
    expected = model(tokens, None, PADDED)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)(tokens, None, PADDED)
    torch.testing.assert_close(compiled.logits, expected.logits)
    exported = torch.export.export(model, (tokens, None, PADDED)).module()(tokens, None, PADDED)
    torch.testing.assert_close(exported.logits, expected.logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_masked_lm_head_shares_the_embedding_only_if_tied(family: str) -> None:
    def is_shared(model: nn.Module) -> bool:
        return model.lm_head.decoder.weight is model.embed.tokens.weight

    assert is_shared(zoo.build(config_of(family, "masked_lm")))
    assert not is_shared(zoo.build(config_of(family, "masked_lm", tie_embeddings=False)))


def test_activations_differ() -> None:
    outputs: list[Tensor] = []
    for activation in ("gelu", "gelu_tanh", "relu", "silu"):
        config = config_of("bert", "none", activation=activation)
        outputs.append(model_of(config)(tokens_of(config)).hidden)
    assert len({round(o.sum().item(), 6) for o in outputs}) == 4


@pytest.mark.parametrize(
    ("family", "head", "changes", "message"),
    [
        ("bert", "mlm", {}, r"model\.head='mlm' is not one of"),
        ("roberta", "next_sentence", {}, r"model\.head='next_sentence' is not one of"),
        ("bert", "next_sentence", {"has_pooler": False}, r"set model\.has_pooler=true"),
        ("bert", "masked_lm", {"has_pooler": True}, r"set model\.has_pooler=false"),
        ("roberta", "masked_lm", {"has_pooler": True}, r"set model\.has_pooler=false"),
        ("bert", "token_classification", {"num_labels": None, "labels": []}, r"needs model\.num_labels"),
        ("bert", "none", {"num_labels": 2}, r"does not use model\.num_labels"),
        ("bert", "token_classification", {"labels": ["A"]}, r"names 1 classes, model\.num_labels=4"),
        ("bert", "none", {"activation": "gelu_fast"}, r"model\.activation='gelu_fast' is not one of"),
        ("distilbert", "none", {"num_heads": 5}, r"model\.hidden_size=24 is not a multiple of"),
        ("roberta", "none", {"pad_token_id": None}, r"model\.pad_token_id is missing"),
    ],
)
def test_contradictory_configs_are_refused(family: str, head: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(family, head, **changes)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as transformers 5.23 counts them for the class that each config.json names
        ("bert-base-uncased", 109_514_298),
        ("bert-base-cased", 108_340_804),
        ("bert-large-uncased", 335_174_458),
        ("bert-large-cased", 333_610_308),
        ("roberta-base", 124_697_433),
        ("roberta-large", 355_412_057),
        ("distilbert-base-uncased", 66_985_530),
        ("distilbert-base-cased", 65_812_036),
        ("minilm-l6", 22_713_216),
    ],
)
def test_presets_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert sum(prod(shape) for shape in presets.config(name).anatomy().shapes().values()) == parameters


def test_all_three_families_are_one_plugin() -> None:
    assert {installed().origin[family].name for family in FAMILIES} == {"bert"}
