"""ModernBERT and DeBERTa against transformers: states, logits, heads on either side of padding, files given back.

float64 is held to 1e-9: both sides compute in float64 and differ by the order of sums only (measured 1e-14). float32 is
held to 1e-4 of logits whose std is about 1. What stands at padding has no meaning and is not compared.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from tests.reference.conftest import Case, over
from zoo.nn import hidden_states
from zoo.verification.exact import Float64
from zoo.verification.in_transformers import load_in_transformers

pytestmark = pytest.mark.slow

SIZES: dict[str, Any] = {
    "vocab_size": 160, "hidden_size": 48, "intermediate_size": 72, "num_attention_heads": 4, "pad_token_id": 3,
    "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "attn_implementation": "eager",
}  # fmt: skip
MODERN = SIZES | {"num_hidden_layers": 5, "local_attention": 9, "cls_token_id": 1, "sep_token_id": 2}
DEBERTA = SIZES | {
    "num_hidden_layers": 3, "relative_attention": True, "position_buckets": 8, "max_relative_positions": 20,
    "norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
BIASED = {
    "attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True, "decoder_bias": False,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "ModernBertModel": MODERN | {"rope_parameters": {
        "full_attention": {"rope_theta": 500.0, "rope_type": "linear", "factor": 2.0},
        "sliding_attention": {"rope_theta": 90.0, "rope_type": "default"}}},
    "ModernBertForMaskedLM": MODERN | BIASED | {"tie_word_embeddings": False, "classifier_activation": "silu"},
    "ModernBertForSequenceClassification": MODERN | {"num_labels": 3, "classifier_pooling": "mean"},
    "ModernBertForSequenceClassification-cls": MODERN | {"num_labels": 2},
    "ModernBertForTokenClassification": MODERN | {"id2label": {0: "O", 1: "PER", 2: "LOC"}},
    "ModernBertForQuestionAnswering": MODERN | {"hidden_activation": "relu"},
    "ModernBertForMultipleChoice": MODERN | {"global_attn_every_n_layers": 2},
    "DebertaV2Model": DEBERTA | {"pos_att_type": ["p2c"], "conv_kernel_size": 5, "conv_groups": 2},
    "DebertaV2ForMaskedLM": DEBERTA | {"conv_kernel_size": 3, "conv_act": "gelu"},
    "DebertaV2ForMaskedLM-new": DEBERTA | {"legacy": False, "position_buckets": -1, "share_att_key": False},
    "DebertaV2ForSequenceClassification": DEBERTA | {"num_labels": 3, "pooler_hidden_act": "tanh"},
    "DebertaV2ForTokenClassification": DEBERTA | {"id2label": {0: "O", 1: "PER", 2: "LOC"}, "norm_rel_ebd": "none"},
    "DebertaV2ForQuestionAnswering": DEBERTA | {"position_biased_input": True},
    "DebertaV2ForMultipleChoice": DEBERTA,
}  # fmt: skip
# transformers reads the first column, which may be padding, and numbers positions by columns
RIGHT = (
    "ModernBertForSequenceClassification-cls", "DebertaV2ForSequenceClassification", "DebertaV2ForMultipleChoice",
    "DebertaV2ForQuestionAnswering",
)  # fmt: skip


def close(found: Tensor, expected: Tensor, limit: float = 1e-9) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected.double()).abs().max().item() < limit


@over("modernbert", "deberta-v3", more=("deberta-v2-xl",))
@torch.inference_mode()
def test_logits_states_and_files_equal_the_reference(case: Case, tmp_path: Path) -> None:
    tokens, mask = case.inputs["input_ids"], case.inputs["attention_mask"].bool()
    found = hidden_states(case.model, tokens, attention_mask=mask)
    if case.name == "modernbert":
        del found[-2]  # theirs are normed at the end
    close(torch.stack(found)[:, mask], case.expected["hidden_states"][:, mask])
    close(case.model(tokens, attention_mask=mask).logits[mask], case.expected["logits"][mask])
    narrow = zoo.load(case.folder, dtype="float32")
    close(narrow(tokens, attention_mask=mask).logits[mask], case.expected["logits"][mask], 1e-4)
    zoo.save(zoo.load(case.folder), tmp_path / "out")
    account, back = zoo.inspect(case.folder).account, load_file(tmp_path / "out" / "model.safetensors")
    kept = {name: x for name, x in case.stored.items() if name not in account.ignored and name not in account.tied}
    assert kept.keys() == back.keys()
    assert all(torch.equal(x.view(torch.uint8), back[name].view(torch.uint8)) for name, x in kept.items())


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="the reference extra is not installed")


def stored(transformers: ModuleType, name: str, folder: Path) -> Any:
    """transformers' model of the case in float64, with weights for which a misplaced one shows, read from its files."""
    kind = getattr(transformers, name.partition("-")[0])
    model = kind(kind.config_class(**CASES[name])).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(1 + 0.2 * noise if "norm.weight" in key.lower() else 0.3 * noise)
    model.save_pretrained(folder)
    reference, drawn = load_in_transformers(folder, torch.float64)
    assert not drawn
    return reference


def rows(side: str) -> tuple[Tensor, Tensor]:
    """Three texts, one shorter by six tokens, one with two masked inside it, and which tokens are real."""
    mask = torch.ones(3, 23, dtype=torch.bool)
    mask[1, slice(None, 6) if side == "left" else slice(-6, None)] = False
    mask[2, 9:11] = False
    tokens = torch.randint(4, 150, (3, 23), generator=torch.Generator().manual_seed(1))
    return tokens.where(mask, 3), mask


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_heads_equal_the_reference_on_both_sides_of_padding(
    name: str, transformers: ModuleType, tmp_path: Path
) -> None:
    reference, model = stored(transformers, name, tmp_path / "in"), zoo.load(tmp_path / "in")
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters())
    for side in ("right",) if name in RIGHT else ("right", "left"):
        tokens, mask = rows(side)
        is_choice = name.endswith("MultipleChoice")
        given = (tokens[None], mask[None]) if is_choice else (tokens, mask)
        with Float64():
            expected = reference(given[0], attention_mask=given[1].long())
        found = model(given[0], attention_mask=given[1])
        compare(found, expected, mask)
    zoo.save(model, tmp_path / "out")
    before, back = (load_file(tmp_path / folder / "model.safetensors") for folder in ("in", "out"))
    assert before.keys() == back.keys()
    assert all(torch.equal(before[key], back[key]) for key in before)


def compare(found: Any, expected: Any, mask: Tensor) -> None:
    """What the reference gives with ours of the same meaning, at real tokens."""
    if "last_hidden_state" in expected:
        assert found.logits is None
        close(found.hidden[mask], expected.last_hidden_state[mask])
        return
    logits = expected.get("logits")
    if logits is None:
        logits = torch.stack((expected.start_logits, expected.end_logits), -1)
    per_token = found.logits.shape[:2] == mask.shape
    close(found.logits[mask] if per_token else found.logits, logits[mask] if per_token else logits)
