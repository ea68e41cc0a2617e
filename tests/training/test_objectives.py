"""Each objective of `zoo train` on a small model: against a loop of a few lines, or by what it must bring about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import zoo
from tests.training.runs import job, tiny
from zoo.training.corpus.order import Order, generator
from zoo.training.data import corrupt_spans, mask_tokens, span_mask
from zoo.training.running.beginning import train

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


CONSTANT = {"schedule": {"name": "constant"}}


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
