"""Each objective of `zoo train` on a small model: against a loop of a few lines, or by what it must bring about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import zoo
from tests.training.runs import CONSTANT, job, jsonl, tiny
from zoo.errors import UsageError, ZooWarning
from zoo.training.corpus.order import Order, generator
from zoo.training.data import corrupt_spans, mask_tokens, span_mask
from zoo.training.running.beginning import begun, train

TEXT = "One day she was very happy. Tom had a big dog, and the dog ran to the park. "


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "text.txt"
    file.write_text("".join(TEXT.replace("dog", f"dog{i % 7}") for i in range(40)))
    return file


def by_hand(model: Any, loss: Any, steps: int) -> None:
    """Plain AdamW: `loss(step)` from 0 on, weight decay on matrices alone."""
    biases = {id(p) for name, p in model.named_parameters() if "bias" in name}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in biases]
    ids = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in ids]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def same(run: Any, model: Any) -> None:
    ours = dict(run.trainee.model.named_parameters())
    for name, p in model.named_parameters():
        assert (ours[name] - p).abs().max() < 1e-12, name  # of order 1; float64, summed in another order


@pytest.mark.slow
def test_an_encoder_is_trained_as_by_a_plain_loop(text: Path, tmp_path: Path) -> None:
    learnt = {"tokenizer": {"train": "wordpiece", "vocab_size": 80}, "objective": {"name": "mlm", "share": 0.3}}
    config = replace(tiny("bert"), head="masked_lm", has_pooler=False)
    run, _ = train(job(tmp_path / "run", text, config=config, train={"steps": 20}, **learnt, **CONSTANT))
    vocabulary = zoo.load(tmp_path / "run").tokenizer
    model = zoo.build(run.trainee.model.config, device="cpu", dtype="float64", seed=0)
    ids = torch.tensor(vocabulary.encode(text.read_text(), add_special_tokens=False))
    cls, sep, mask = (vocabulary.token_to_id(name) for name in ("[CLS]", "[SEP]", "[MASK]"))
    rows = [torch.tensor([cls, *part.tolist(), sep]) for part in ids.split(14)]
    order = Order(len(rows), 2, 0)

    def loss(step: int) -> torch.Tensor:
        chosen = [rows[i] for i in order.rows(step)]
        real = torch.nn.utils.rnn.pad_sequence([torch.ones_like(r) for r in chosen], batch_first=True).bool()
        tokens = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        special = ~real | (tokens == cls) | (tokens == sep)
        read, labels = mask_tokens(
            tokens,
            mask_id=mask,
            vocab_size=model.config.vocab_size,
            special=special,
            share=0.3,
            generator=generator(0, step),
        )
        logits = model(read, attention_mask=real).logits
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    by_hand(model, loss, 20)
    same(run, model)


@pytest.mark.slow
def test_an_encoder_decoder_is_trained_as_by_a_plain_loop(text: Path, tmp_path: Path) -> None:
    learnt = {"tokenizer": {"train": "unigram", "vocab_size": 180}}
    spans = {"name": "span", "share": 0.15, "mean_span": 3.0}
    run, _ = train(
        job(tmp_path / "run", text, config=tiny("t5"), train={"steps": 20}, objective=spans, **learnt, **CONSTANT)
    )
    vocabulary = zoo.load(tmp_path / "run").tokenizer
    model = zoo.build(run.trainee.model.config, device="cpu", dtype="float64", seed=0)
    ids = torch.tensor(vocabulary.encode(text.read_text(), add_special_tokens=False))
    first, end = vocabulary.token_to_id("<extra_id_0>"), vocabulary.token_to_id("</s>")
    assert first == vocabulary.vocab_size - 1
    rows = [part for part in ids.split(run.objective.rows[0][0][1]) if len(part) > 1]
    order = Order(len(rows), 2, 0)

    def loss(step: int) -> torch.Tensor:
        draw = generator(0, step)
        losses, count = [], 0
        for i in order.rows(step):
            mask = span_mask(len(rows[i]), generator=draw)
            source, target = corrupt_spans(rows[i], mask, first_sentinel=first, eos=end)
            written = torch.cat((torch.tensor([model.config.decoder_start_token_id]), target[:-1]))
            losses.append(F.cross_entropy(model(source[None], written[None])[0], target, reduction="sum"))
            count += len(target)
        return sum(losses) / count

    by_hand(model, loss, 20)
    same(run, model)


def test_answers_alone_are_predicted_and_a_prompt_too_long_is_told(tmp_path: Path) -> None:
    rows = [{"prompt": "Emma was", "answer": " very happy."}, {"prompt": "Anne was " * 30, "answer": " here."}]
    made = job(tmp_path / "run", jsonl(tmp_path, rows), source="tiny", data={"length": 24}, objective={"name": "sft"})
    with pytest.warns(ZooWarning, match="1 of 2 rows are cut to 25 tokens; 1 have no answer there and are left out"):
        run, _ = begun(made, print)
    batch = run.objective.batch(run.trainee.model, [0], generator(0))
    tokenizer = zoo.load("tiny").tokenizer
    before, answer = tokenizer.encode("Emma was"), tokenizer.encode(" very happy.", add_special_tokens=False)
    wanted = [*answer, tokenizer.eos_token_id]
    assert batch.args[0][0].tolist() == [*before, *answer]
    assert batch.labels[0].tolist() == [-100] * (len(before) - 1) + wanted


def test_documents_of_a_row_do_not_see_each_other_and_predict_nothing_across(tmp_path: Path) -> None:
    file = jsonl(tmp_path, [{"text": "Emma was very happy."}, {"text": "Anne was not."}])
    made = job(
        tmp_path / "run", file, source="tiny", data={"length": 64, "order": "sequential"}, train={"batch_size": 1}
    )
    run, _ = begun(made, print)
    model, tokenizer = run.trainee.model, zoo.load("tiny").tokenizer
    first, second = ([*tokenizer.encode(t), tokenizer.eos_token_id] for t in ("Emma was very happy.", "Anne was not."))
    batch = run.objective.batch(model, [0], generator(0))
    losses = [
        F.cross_entropy(model(torch.tensor([ids[:-1]]))[0], torch.tensor(ids[1:]), reduction="sum")
        for ids in (first, second)
    ]
    expected = sum(losses) / batch.weight
    assert batch.weight == len(first) + len(second) - 2
    assert abs(run.objective.loss(model, batch, batch.weight)[0] - expected) < 1e-12  # float64, another order of sums


@pytest.mark.slow
def test_a_teacher_of_the_same_vocabulary_is_followed(text: Path, tmp_path: Path) -> None:
    aim = {"name": "distill", "teacher": "tiny", "alpha": 1.0}
    made = job(tmp_path / "run", text, source="tiny", train={"steps": 1}, objective=aim)
    _, record = train(made)
    assert abs(record["loss"]) < 1e-9  # the student is its teacher
    other = job(tmp_path / "other", text, config=tiny(), tokenizer={"train": "bpe", "vocab_size": 280}, objective=aim)
    with pytest.raises(UsageError, match="the teacher tiny has"):
        train(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "first", "last"),
    [
        ("clip", 1.0, 0.3),  # from about log 4
        ("siglip", 5.0, 1.2),  # from about 10, its bias, to log 2, which a perfect pair has at the first scale and bias
    ],
)
def test_pictures_and_texts_find_each_other(family: str, first: float, last: float, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
    for name, colour in colours.items():
        image.new("RGB", (16, 16), colour).save(tmp_path / f"{name}.png")
    rows = [{"image": f"{name}.png", "text": f"a {name} square"} for name in colours]
    options = {"tokenizer": {"train": "wordpiece", "vocab_size": 60}, "objective": {"name": "clip"}, **CONSTANT}
    made = job(
        tmp_path / "run", jsonl(tmp_path, rows), config=tiny(family), dtype="float32", data={"length": 12},
        train={"steps": 40, "batch_size": 4}, optimizer={"lr": 2e-3, "weight_decay": 0.0}, **options,
    )  # fmt: skip
    run, record = train(made)
    assert run.folder.records()[0]["loss"] > first
    assert record["loss"] < last
    assert record["accuracy"] == 1.0
