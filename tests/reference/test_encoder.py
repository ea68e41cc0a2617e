"""BERT and its kin against transformers, from the files to hidden states and heads and back to files.

float64 is held to 1e-9: both sides compute in float64 and differ by the order of sums only (measured 1e-14). float32 is
held to 1e-4 of logits whose std is about 1. What stands at padding has no meaning and is not compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from tests.reference.conftest import Case, over
from zoo.errors import UsageError
from zoo.nn import hidden_states

pytestmark = pytest.mark.slow

MORE = (
    "xlm-roberta",
    "xlm-roberta-xl",
    "bge-m3",
    "mpnet",
    "mpnet-model",
    "electra-generator",
    "albert",
    "albert-model",
)
cases = over("bert", "bert-model", "roberta", "distilbert", more=MORE)

SIZES = {"vocab_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 64}
HEADS = (
    ("Bert", "ForPreTraining", {"hidden_act": "gelu_new"}),
    ("Bert", "ForNextSentencePrediction", {"hidden_act": "relu"}),
    ("Bert", "ForSequenceClassification", {"num_labels": 3}),
    ("Bert", "ForSequenceClassification", {}),
    ("Bert", "ForTokenClassification", {"id2label": {0: "O", 1: "PER", 2: "LOC"}}),
    ("Bert", "ForMaskedLM", {"hidden_act": "silu"}),
    ("Roberta", "Model", {}),
    ("Roberta", "ForSequenceClassification", {"num_labels": 5}),
    ("Roberta", "ForTokenClassification", {"num_labels": 1}),
    ("Roberta", "ForMaskedLM", {"hidden_act": "relu", "type_vocab_size": 1}),
    ("XLMRoberta", "ForTokenClassification", {"num_labels": 3}),
    ("XLMRoberta", "ForSequenceClassification", {"num_labels": 1}),
    ("XLMRobertaXL", "Model", {}),
    ("XLMRobertaXL", "ForSequenceClassification", {"num_labels": 5}),
    ("XLMRobertaXL", "ForTokenClassification", {"num_labels": 3}),
    ("MPNet", "ForSequenceClassification", {"num_labels": 4}),
    ("MPNet", "ForTokenClassification", {"num_labels": 3}),
    ("MPNet", "ForMaskedLM", {"hidden_act": "relu"}),
    ("Electra", "Model", {"embedding_size": 64}),
    ("Electra", "ForPreTraining", {"embedding_size": 40, "hidden_act": "relu"}),
    ("Electra", "ForMaskedLM", {"embedding_size": 64, "hidden_act": "relu"}),
    ("Electra", "ForSequenceClassification", {"embedding_size": 40, "num_labels": 4}),
    ("Electra", "ForTokenClassification", {"embedding_size": 64, "num_labels": 3}),
    ("Albert", "Model", {"embedding_size": 40, "num_hidden_groups": 2, "inner_group_num": 2}),
    ("Albert", "ForPreTraining", {"embedding_size": 64, "num_hidden_groups": 2}),
    ("Albert", "ForSequenceClassification", {"embedding_size": 40, "num_labels": 4, "hidden_act": "gelu"}),
    ("Albert", "ForTokenClassification", {"embedding_size": 40, "num_labels": 3}),
    ("DistilBert", "Model", {}),
    ("DistilBert", "ForSequenceClassification", {"num_labels": 3, "activation": "relu"}),
    ("DistilBert", "ForTokenClassification", {"num_labels": 4}),
    *(
        (name, "ForQuestionAnswering", {})
        for name in ("Bert", "Roberta", "XLMRobertaXL", "MPNet", "Electra", "Albert", "DistilBert")
    ),
    ("DistilBert", "ForMaskedLM", {"activation": "gelu_new", "tie_word_embeddings": False}),
)


def close(found: Tensor, expected: Tensor, limit: float) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected.double()).abs().max().item() < limit


def inputs_of(case: Case) -> tuple[Tensor, Tensor | None, Tensor]:
    return case.inputs["input_ids"], case.inputs.get("token_type_ids"), case.inputs["attention_mask"].bool()


@cases
@torch.inference_mode()
def test_outputs_and_hidden_states_equal_the_reference(case: Case) -> None:
    inputs = inputs_of(case)
    out, mask = case.model(*inputs), inputs[2]
    states = hidden_states(case.model, *inputs)
    if case.model.norm is not None:
        del states[-2]  # of the last layer, which transformers gives behind the norm alone
    close(torch.stack(states)[:, mask], case.expected["hidden_states"][:, mask], 1e-9)
    if "logits" in case.expected:
        close(out.logits[mask], case.expected["logits"][mask], 1e-9)
    else:
        close(out.hidden[mask], case.expected["last_hidden_state"][mask], 1e-9)
        close(out.pooled, case.expected["pooler_output"], 1e-9)


@cases
@torch.inference_mode()
def test_float32_outputs_equal_the_reference(case: Case) -> None:
    inputs = inputs_of(case)
    out, mask = zoo.load(case.folder, dtype="float32")(*inputs), inputs[2]
    if "logits" in case.expected:
        close(out.logits[mask], case.expected["logits"][mask], 1e-4)
    else:
        close(out.hidden[mask], case.expected["last_hidden_state"][mask], 1e-4)


@cases
def test_export_gives_the_tensors_and_the_config_back(case: Case, tmp_path: Path) -> None:
    zoo.save(zoo.load(case.folder), tmp_path / "out")
    ledger = zoo.inspect(case.folder)
    dtype = ledger.checkpoint.tensors[ledger.account.loaded[0]].dtype
    assert zoo.inspect(tmp_path / "out").config == replace(ledger.config, dtype=dtype)  # the hub's do not name theirs
    account, back = ledger.account, load_file(tmp_path / "out" / "model.safetensors")
    spelt = {actual: name for name, actual in account.actual.items()}
    kept = [name for name in case.stored if name not in account.ignored and name not in account.tied]
    assert {spelt[name] for name in kept} == set(back)
    for name in kept:
        assert case.stored[name].dtype == back[spelt[name]].dtype
        assert torch.equal(case.stored[name].view(torch.uint8), back[spelt[name]].view(torch.uint8)), name


@pytest.fixture(scope="module")
def make_reference() -> Callable[[str, str, dict[str, Any]], Any]:
    """A model of transformers, in float64, with weights for which a misplaced one shows."""
    transformers: ModuleType = pytest.importorskip("transformers", reason="the reference extra is not installed")

    @torch.no_grad()
    def make(name: str, head: str, keys: dict[str, Any]) -> Any:
        keys = SIZES | {"max_position_embeddings": 64 + 2 * (name == "MPNet" or "Roberta" in name)} | keys
        width = {"hidden_dim": 112} if name == "DistilBert" else {"intermediate_size": 112}
        config = getattr(transformers, f"{name}Config")(**keys, **width, attn_implementation="eager")
        model = getattr(transformers, name + head)(config).double().eval()
        generator = torch.Generator().manual_seed(0)
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(1 + 0.2 * noise if "norm.weight" in key.lower() else 0.3 * noise)
        return model

    return make


@pytest.mark.parametrize(("name", "head", "keys"), HEADS)
@torch.inference_mode()
def test_heads_equal_the_reference(
    name: str, head: str, keys: dict[str, Any], make_reference: Callable[..., Any], tmp_path: Path
) -> None:
    reference = make_reference(name, head, keys)
    reference.save_pretrained(tmp_path / "in")
    model = zoo.load(tmp_path / "in")
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters())
    tokens, types, mask = batch(reference.config)
    extra = {} if types is None else {"token_type_ids": types}
    compare(model(tokens, types, mask), reference(tokens, attention_mask=mask.long(), **extra), mask)
    zoo.save(model, tmp_path / "out")
    stored, back = (load_file(tmp_path / folder / "model.safetensors") for folder in ("in", "out"))
    assert stored.keys() == back.keys()
    assert all(torch.equal(stored[k], back[k]) for k in stored)


@pytest.mark.parametrize("name", ["Bert", "Roberta", "MPNet", "Electra", "Albert", "DistilBert"])
@torch.inference_mode()
def test_choices_equal_the_reference(name: str, make_reference: Callable[..., Any], tmp_path: Path) -> None:
    reference = make_reference(name, "ForMultipleChoice", {})
    reference.save_pretrained(tmp_path / "in")
    model = zoo.load(tmp_path / "in")
    tokens, _, mask = (None if x is None else x[None].repeat(2, 1, 1) for x in batch(reference.config))
    assert tokens is not None
    assert mask is not None
    tokens[1] = tokens[1].flip(0)
    mask[1] = mask[1].flip(0)
    close(model(tokens, attention_mask=mask).logits, reference(tokens, attention_mask=mask.long()).logits, 1e-9)
    zoo.save(model, tmp_path / "out")
    assert zoo.verify(tmp_path / "out").passed
    stored, back = (load_file(tmp_path / folder / "model.safetensors") for folder in ("in", "out"))
    assert all(torch.equal(stored[k], back[k]) for k in stored.keys() | back.keys())
    with pytest.raises(UsageError, match=r"tokens of shape \[2, 3, 17, 1\]"):
        model(tokens[..., None])


def batch(config: Any) -> tuple[Tensor, Tensor | None, Tensor]:
    """Right-padded tokens, one text with a masked one inside, types where the model has several, and the mask."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(3, 17, dtype=torch.bool)
    mask[1, 11:] = False
    tokens = torch.randint(4, 150, (3, 17), generator=generator).where(mask, config.pad_token_id)
    mask[2, 5] = False
    num_types = getattr(config, "type_vocab_size", 1)
    return tokens, torch.randint(num_types, (3, 17), generator=generator) if num_types > 1 else None, mask


def compare(found: Any, expected: Any, mask: Tensor) -> None:
    """Every output of the reference with ours of the same meaning; a lone next-sentence head calls its own `logits`."""
    theirs = dict(expected.items())
    logits = theirs.pop("prediction_logits", theirs.pop("logits", None))
    if "start_logits" in theirs:
        logits = torch.stack((theirs["start_logits"], theirs["end_logits"]), -1)
    if found.next_sentence is not None and found.logits is None:
        theirs["seq_relationship_logits"], logits = logits, None
    pairs = [
        (found.logits, logits),
        (found.next_sentence, theirs.get("seq_relationship_logits", theirs.get("sop_logits"))),
        *([(found.hidden, theirs["last_hidden_state"])] if "last_hidden_state" in theirs else []),
        *([(found.pooled, theirs["pooler_output"])] if "pooler_output" in theirs else []),
    ]
    for ours, other in pairs:
        assert (ours is None) == (other is None)
        if ours is not None and other is not None:
            close(ours[mask] if ours.ndim == 3 else ours, other[mask] if other.ndim == 3 else other, 1e-9)
