"""The face that transformers' Trainer and trl know: labels in, loss and logits out, and the same model behind it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import zoo
from zoo.errors import UsageError
from zoo.models.trainer_face import loss_of
from zoo.registry import installed

TOKENS = torch.tensor([[5, 9, 300, 12, 77], [31, 8, 102, 4, 4]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
LABELS = TOKENS.masked_fill(MASK == 0, -100)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return zoo.load("tiny", dtype="float32")


def test_labels_stand_where_their_tokens_stand(tiny: Any) -> None:
    face = tiny.for_trainer()
    out = face(input_ids=TOKENS, attention_mask=MASK, labels=LABELS)
    logits = tiny(TOKENS, attention_mask=MASK.bool())
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), LABELS[:, 1:].flatten(), ignore_index=-100)
    assert torch.equal(out.logits, logits)
    assert torch.allclose(out.loss, expected)
    assert out["loss"] is out.loss
    assert face(input_ids=TOKENS).loss is None
    counted = face(input_ids=TOKENS, attention_mask=MASK, labels=LABELS, num_items_in_batch=12)
    assert torch.allclose(counted.loss * 12, out.loss * 6)


def test_it_is_the_same_model(tiny: Any) -> None:
    face = tiny.for_trainer()
    assert {id(p) for p in face.parameters()} == {id(p) for p in tiny.parameters()}
    assert face.config.vocab_size == tiny.config.vocab_size
    face.config.use_cache = True
    assert not hasattr(tiny.config, "use_cache")


def test_states_may_stand_in_the_place_of_tokens(tiny: Any) -> None:
    face = tiny.for_trainer()
    states = face.get_input_embeddings()(TOKENS)
    assert torch.equal(face(inputs_embeds=states).logits, tiny(TOKENS))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"input_ids": TOKENS, "inputs_embeds": TOKENS}, {"input_ids": TOKENS, "output_hidden_states": True},
     {"input_ids": TOKENS, "decoder_input_ids": TOKENS}, {"input_ids": TOKENS, "labels": LABELS[:, :3]}],
)  # fmt: skip
def test_what_the_face_cannot_pass_on_is_refused(wrong: dict[str, Any], tiny: Any) -> None:
    with pytest.raises(UsageError):
        tiny.for_trainer()(**wrong)


def test_an_encoder_predicts_in_place_and_a_translator_begins_with_its_token() -> None:
    bert = zoo.build(installed()["bert"].config_class.tiny(), device="cpu")
    tokens = TOKENS % 60
    out = bert.for_trainer()(input_ids=tokens, labels=tokens)
    assert torch.allclose(out.loss, F.cross_entropy(out.logits.flatten(0, 1), tokens.flatten()))
    t5 = zoo.build(installed()["t5"].config_class.tiny(), device="cpu")
    shifted = torch.cat((torch.zeros(2, 1, dtype=torch.long), tokens[:, :-1]), 1)
    assert torch.equal(t5.for_trainer()(input_ids=tokens, labels=tokens).logits, t5(tokens, shifted))


def test_classes_are_one_label_a_row() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, -100])
    assert torch.allclose(loss_of(logits, labels, is_shifted=False), F.cross_entropy(logits[:3], labels[:3]))


def test_a_head_that_is_not_all_is_not_given_to_those_who_apply_it_themselves() -> None:
    capped = zoo.build(installed()["gemma"].config_class.tiny(), device="cpu").for_trainer()
    for asked in ("base_model", "get_output_embeddings"):
        with pytest.raises(UsageError, match="more than its head"):
            getattr(capped, asked)()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("rule", "rate", "limit"), [("sgd", 0.1, 1e-6), ("adamw_torch", 1e-3, 5e-5)])
def test_the_trainer_of_transformers_trains_it_as_its_own(tmp_path: Path, rule: str, rate: float, limit: float) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    pytest.importorskip("accelerate", reason="the reference extra is not installed")
    ours = zoo.load("tiny", dtype="float32")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(str(ours.ledger.checkpoint.folder), dtype=torch.float32)
    rows = torch.randint(5, 1000, (8, 12), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row)} for row in rows]
    losses = []
    for i, model in enumerate((ours.for_trainer(), theirs)):
        options = transformers.TrainingArguments(
            output_dir=str(tmp_path / f"{i}"), per_device_train_batch_size=2, gradient_accumulation_steps=2,
            max_steps=4, learning_rate=rate, lr_scheduler_type="constant", report_to=[], use_cpu=True,
            save_strategy="no", disable_tqdm=True, logging_steps=1, optim=rule,
        )  # fmt: skip
        trainer = transformers.Trainer(model=model, args=options, train_dataset=data)
        trainer.train()
        losses.append([step["loss"] for step in trainer.state.log_history if "loss" in step])
    assert [float(x) for x in losses[0]] == pytest.approx([float(x) for x in losses[1]], abs=1e-3)  # as it prints them
    theirs.save_pretrained(tmp_path / "theirs")
    expected = dict(zoo.load(tmp_path / "theirs", dtype="float32").named_parameters())
    # float32, other kernels: measured 6e-8 after SGD, whose steps are as far apart as gradients are, and 1.2e-5 after
    # AdamW, whose first steps are the sign of a gradient, however small that is.
    assert max((p - expected[name]).abs().max() for name, p in ours.named_parameters()) < limit


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["SFT", "DPO"])
def test_trl_trains_it(kind: str, tmp_path: Path) -> None:
    # Passes with trl 1.16.0 and datasets 5.2.0. They are not in `dev`: with pyarrow and pandas they take 270 MB, which
    # two tests of a face that Trainer proves are not worth in every run.
    trl = pytest.importorskip("trl", reason="trl is not installed")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    model = zoo.load("tiny", dtype="float32")
    before = copy.deepcopy(model.state_dict())
    file = model.ledger.checkpoint.folder / "tokenizer.json"
    names = list(json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"])
    words = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file), eos_token=names[0], pad_token=names[0])
    rows = {
        "SFT": [{"text": "One day a cat found a red ball."}, {"text": "Tom had a big dog and was happy."}] * 2,
        "DPO": [{"prompt": "One day", "chosen": " a cat found a red ball.", "rejected": " a car."}] * 4,
    }
    options = getattr(trl, f"{kind}Config")(
        output_dir=str(tmp_path), max_steps=2, report_to=[], use_cpu=True, bf16=False, save_strategy="no",
        per_device_train_batch_size=2, gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    more = {"ref_model": zoo.load("tiny", dtype="float32").for_trainer()} if kind == "DPO" else {}
    trainer = getattr(trl, f"{kind}Trainer")(
        model=model.for_trainer(), args=options, train_dataset=datasets.Dataset.from_list(rows[kind]),
        processing_class=words, **more,
    )  # fmt: skip
    assert trainer.train().training_loss > 0
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
