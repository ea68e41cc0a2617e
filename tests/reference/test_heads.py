"""Decoders under other heads against transformers: classifiers, rewards, classes of tokens, and bare ones.

float64 is held to 1e-9: both sides compute in float64 and differ by the order of sums only (measured 1e-15).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.errors import CheckpointError, UsageError
from zoo.verification.exact import Float64
from zoo.verification.in_transformers import load_in_transformers

SIZES = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
GPT2 = {"vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64, "pad_token_id": 0}
BLOOM = {"vocab_size": 61, "hidden_size": 24, "n_layer": 2, "n_head": 4, "pad_token_id": 0, "seq_length": 64}
EXPERTS = {
    "moe_intermediate_size": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "shared_expert_intermediate_size": 16,
}
DECODERS: dict[str, dict[str, Any]] = {
    "Llama": {}, "Mistral": {"sliding_window": 5}, "Mixtral": {"num_local_experts": 3}, "Qwen2": {}, "Qwen3": {},
    "Qwen2Moe": EXPERTS, "Gemma": {}, "Gemma2": {"sliding_window": 6}, "Glm": {"head_dim": 8}, "GPT2": GPT2,
    "Bloom": BLOOM,
    "DeepseekV3": {
        "kv_lora_rank": 8, "q_lora_rank": 6,
        "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 6, "n_group": 1,
        "topk_group": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_key_value_heads": 4, "head_dim": 4,
    },
}  # fmt: skip
LABELS = {"id2label": {0: "bad", 1: "so so", 2: "good"}, "label2id": {"bad": 0, "so so": 1, "good": 2}}
KINDS: dict[str, dict[str, Any]] = {"ForSequenceClassification": LABELS, "ForTokenClassification": LABELS, "Model": {}}
LACKING = {"GlmMoeForTokenClassification", "DeepseekV2ForTokenClassification"}
CASES = [name + kind for name in DECODERS for kind in KINDS if name + kind not in LACKING]
COUNTS_PADDING = ("GPT2",)  # transformers numbers positions through left padding unless its caller gives position_ids

pytestmark = pytest.mark.slow

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def make() -> Make:
    """A model of transformers, in float64, with weights for which a misplaced one shows."""
    transformers: ModuleType = pytest.importorskip("transformers", reason="the reference extra is not installed")

    @torch.no_grad()
    def make(case: str, **keys: Any) -> Any:
        name = max((n for n in DECODERS if case.startswith(n)), key=len)
        sizes = DECODERS[name] if name in ("GPT2", "Bloom") else SIZES | DECODERS[name]
        options = sizes | KINDS[case.removeprefix(name)] | keys
        config = getattr(transformers, f"{name}Config")(**options, attn_implementation="eager")
        config._experts_implementation = "eager"
        model = getattr(transformers, case)(config).double().eval()
        generator = torch.Generator().manual_seed(0)
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(1 + 0.2 * noise if "norm" in key.lower() else 0.3 * noise)
        return model

    return make


def rows(side: str, pad: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two texts, the second shorter by four tokens, and which tokens are real."""
    tokens = torch.randint(3, 61, (2, 11), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 11, dtype=torch.bool)
    mask[1, slice(None, 4) if side == "left" else slice(-4, None)] = False
    return tokens.where(mask, pad), mask


def given(tokens: torch.Tensor, mask: torch.Tensor, case: str) -> dict[str, Any]:
    positions = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)} if case.startswith(COUNTS_PADDING) else {}
    return {"input_ids": tokens, "attention_mask": mask.long(), **positions}


def reading(reference: Any, **inputs: Any) -> Any:
    """What transformers computes of them, where it says float32 too in float64."""
    with Float64():
        return reference(**inputs)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    difference = (found - expected).abs().max().item()
    assert difference < 1e-9


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_heads_equal_the_reference_on_both_sides_of_padding(case: str, make: Make, tmp_path: Path) -> None:
    make(case).save_pretrained(tmp_path / "in")
    reference, drawn = load_in_transformers(tmp_path / "in", torch.float64)
    assert not drawn
    model = zoo.load(tmp_path / "in")
    assert model.config.family == "headed"
    assert model.config.labels == ([] if case.endswith("Model") else [*LABELS["label2id"]])
    for side in ("left", "right"):
        tokens, mask = rows(side)
        found, expected = model(tokens, attention_mask=mask), reading(reference, **given(tokens, mask, case))
        if case.endswith("ForSequenceClassification"):
            close(found.logits, expected.logits)
        elif case.endswith("ForTokenClassification"):
            close(found.logits[mask], expected.logits[mask])
        else:
            close(found.hidden[mask], expected.last_hidden_state[mask])
    zoo.save(model, tmp_path / "out")
    stored, back = (load_file(tmp_path / folder / "model.safetensors") for folder in ("in", "out"))
    assert all(torch.equal(stored[k], back[k]) for k in stored.keys() | back.keys())
    assert zoo.inspect(tmp_path / "out").config == model.config


def test_a_reward_is_read_without_padding_one_text_at_a_time(make: Make, tmp_path: Path) -> None:
    make("LlamaForSequenceClassification", pad_token_id=None, id2label={0: "reward"}, label2id={"reward": 0})\
        .save_pretrained(tmp_path)  # fmt: skip
    reference, _ = load_in_transformers(tmp_path, torch.float64)
    model = zoo.load(tmp_path)
    tokens, _ = rows("right")
    with torch.inference_mode():
        close(model(tokens[:1]).logits, reading(reference, input_ids=tokens[:1]).logits)
        with pytest.raises(UsageError, match=r"2 rows, but model\.pad_token_id is null"):
            model(tokens)
    assert model.config.labels == ["reward"]
    assert zoo.verify(tmp_path).passed
    with pytest.raises(UsageError, match="does not predict the next token"):
        zoo.evaluate(tmp_path, text="sample")


def test_padding_by_another_token_than_the_models_is_refused(make: Make, tmp_path: Path) -> None:
    """The end of a text is found by the token, and a state at a place that the mask hides has no meaning."""
    make("LlamaForSequenceClassification").save_pretrained(tmp_path)
    model = zoo.load(tmp_path)
    for side, is_refused in (("right", True), ("left", False)):
        tokens, mask = rows(side, pad=5)
        if is_refused:
            with pytest.raises(UsageError, match=r"padding by attention_mask and not model\.pad_token_id=0"):
                model(tokens, attention_mask=mask)
        else:
            model(tokens, attention_mask=mask)


def test_a_row_of_padding_is_classified_at_its_first_token(make: Make, tmp_path: Path) -> None:
    make("Qwen2ForSequenceClassification").save_pretrained(tmp_path)
    reference, _ = load_in_transformers(tmp_path, torch.float64)
    tokens = torch.zeros(2, 5, dtype=torch.long)
    with torch.inference_mode():
        close(zoo.load(tmp_path)(tokens).logits, reading(reference, input_ids=tokens).logits)


@pytest.mark.parametrize("case", ["LlamaForSequenceClassification", "GPT2ForTokenClassification", "Qwen2Model"])
def test_a_head_that_is_missing_renamed_or_too_much_is_refused(case: str, make: Make, tmp_path: Path) -> None:
    make(case).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    stored = load_file(file)
    name = next((n for n in stored if n.startswith(("score", "classifier"))), "norm.weight")
    rest = {n: x for n, x in stored.items() if n != name}
    wrong = {
        "missing": rest, "renamed": rest | {"head.weight": stored[name]},
        "added": stored | {"summary.weight": torch.ones(3)}, "misshaped": stored | {name: torch.ones(7, 24)},
    }  # fmt: skip
    for what, tensors in wrong.items():
        save_file({n: x.contiguous() for n, x in tensors.items()}, file, {"format": "pt"})
        with pytest.raises(CheckpointError, match="do not match the headed model"):
            zoo.load(tmp_path)
        assert what


def test_another_familys_class_and_several_classes_are_refused(make: Make, tmp_path: Path) -> None:
    make("LlamaForSequenceClassification").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    own = config.read_text()
    for other in (
        '"MistralForSequenceClassification"',
        '"LlamaForQuestionAnswering"',
        '"LlamaForSequenceClassification", "LlamaForCausalLM"',
    ):
        config.write_text(own.replace('"LlamaForSequenceClassification"', other))
        with pytest.raises(CheckpointError, match="architectures"):
            zoo.inspect(tmp_path)


def test_a_model_without_a_head_reads_past_one_in_the_files(make: Make, tmp_path: Path) -> None:
    make("LlamaModel").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"lm_head.weight": torch.ones(61, 24, dtype=torch.float64)}, file, {"format": "pt"})
    ledger = zoo.inspect(tmp_path)
    ledger.check()
    assert list(ledger.account.ignored) == ["lm_head.weight"]
    assert "family=llama" in ledger.notes[0]
    assert zoo.inspect(tmp_path, family="llama").config.family == "llama"
