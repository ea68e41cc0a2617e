"""Tokens that are hidden: one by one for encoders, in runs for encoder-decoders.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from zoo.errors import UsageError, some
from zoo.nn import EncoderDecoder
from zoo.training.corpus import Corpus, Rows, cuts, encoded
from zoo.training.data import corrupt_spans, mask_tokens, span_counts, span_lengths, span_mask
from zoo.training.losses import IGNORED, token_loss
from zoo.training.objectives.batch import Facts, Microbatch, padded, token_batch
from zoo.training.objectives.ground import Ground


@dataclass(frozen=True)
class MaskedTokens:
    """BERT's objective: of each row a share is predicted, most of it read as the mask."""

    corpus: Corpus
    rows: Rows
    around: tuple[list[int], list[int]]  # what stands before and behind every row
    mask_id: int
    vocab_size: int
    share: float
    pad: int

    @property
    def fingerprint(self) -> str:
        return self.corpus.fingerprint

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        before, behind = (torch.tensor(ids, dtype=torch.long) for ids in self.around)
        tokens = [torch.cat((before, _ids(self.corpus, self.rows, i), behind)) for i in rows]
        special = [torch.ones_like(row, dtype=torch.bool) for row in tokens]
        for row in special:
            row[len(before) : len(row) - len(behind)] = False
        whole, added = padded(tokens, self.pad), padded(special, 1).bool()
        options: dict[str, Any] = {"share": self.share, "generator": generator}
        read, labels = mask_tokens(whole, mask_id=self.mask_id, vocab_size=self.vocab_size, special=added, **options)
        batch = token_batch(
            tokens, [row.masked_fill(torch.ones_like(row, dtype=torch.bool), IGNORED) for row in tokens]
        )
        weight = int((labels != IGNORED).sum())
        return replace(batch, args=(read,), labels=labels, weight=weight, is_drawn=True)

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        return token_loss(model(*batch.args, **batch.kwargs).logits, batch.labels, total=total), {}


@dataclass(frozen=True)
class HiddenSpans:
    """T5's objective: runs of tokens give way to sentinels, and are what the decoder writes."""

    corpus: Corpus
    rows: Rows
    first_sentinel: int
    end: int
    start: int  # token that every target begins with
    share: float
    mean_span: float
    pad: int

    @property
    def fingerprint(self) -> str:
        return self.corpus.fingerprint

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        options: dict[str, Any] = {"share": self.share, "mean_span": self.mean_span, "generator": generator}
        read, targets = [], []
        for i in rows:
            ids = _ids(self.corpus, self.rows, i)
            mask = span_mask(len(ids), **options)
            source, target = corrupt_spans(ids, mask, first_sentinel=self.first_sentinel, eos=self.end)
            read.append(source)
            targets.append(target)
        return translated_batch(read, targets, start=self.start, pad=self.pad)

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        return token_loss(model(*batch.args, **batch.kwargs), batch.labels, total=total), {}


def translated_batch(sources: Sequence[Tensor], targets: Sequence[Tensor], *, start: int, pad: int) -> Microbatch:
    """The batch of an encoder-decoder: it reads sources and its own targets, one token late."""
    batch = token_batch(sources, targets, pad=pad)
    late = [torch.cat((row.new_tensor([start]), row[:-1])) for row in targets]
    return replace(batch, args=(*batch.args, padded(late, pad)), num_tokens=batch.num_tokens + sum(map(len, targets)))


def masked_tokens(ground: Ground) -> MaskedTokens:
    """Raises UsageError for a model that predicts no masked tokens, and a tokenizer without a mask."""
    ground.check("share")
    if (
        getattr(ground.model, "lm_head", None) is None
        or isinstance(ground.model, EncoderDecoder)
        or not _is_encoder(ground.model)
    ):
        what = f"objective=mlm trains encoders with a head for tokens, and this {ground.config.family_in_words} is none"
        is_loaded = getattr(ground.model, "ledger", None) is not None
        head = "take a checkpoint that has one" if is_loaded else "type model.head=masked_lm"
        raise UsageError(what, hint=f"{head}, or objective=causal for a decoder")
    mask_id = ground.words.token_to_id(ground.token("mask_token") or "")
    if mask_id is None:
        hint = ground.of_words("tokenizer.train=wordpiece learns one that has it")
        raise UsageError("objective=mlm needs a mask token, and the tokenizer has none", hint=hint)
    around = ground.around()
    corpus = _without_specials(ground)
    if (room := ground.length - sum(map(len, around))) < 1:
        raise UsageError(f"data.length={ground.length} has no room beside the tokens around each text")
    rows = cuts(corpus, room)
    share, size = ground.number("share", above=0, most=1), int(getattr(ground.config, "vocab_size", 0))
    return MaskedTokens(corpus, rows, around, mask_id, size, share, ground.pad)


def hidden_spans(ground: Ground) -> HiddenSpans:
    """Raises UsageError for a model that is no encoder-decoder, and a tokenizer without sentinels."""
    ground.check("share", "mean_span")
    start = getattr(ground.config, "decoder_start_token_id", None)
    if not isinstance(ground.model, EncoderDecoder) or start is None:
        raise UsageError(f"objective=span trains encoder-decoders, and {ground.config.family_in_words} is none")
    first = ground.words.token_to_id("<extra_id_0>")
    if first is None or ground.end is None:
        hint = ground.of_words("tokenizer.train=unigram learns one that has them")
        raise UsageError("objective=span needs </s> and <extra_id_0> in the tokenizer", hint=hint)
    share, mean = ground.number("share", above=0, below=1), ground.number("mean_span", least=1)
    corpus = _without_specials(ground)
    longest = span_lengths(ground.length, share=share, mean_span=mean)[0]
    _check_sentinels(ground, first, span_counts(longest, share=share, mean_span=mean)[1])
    rows = cuts(corpus, longest, least=2)
    return HiddenSpans(corpus, rows, first, ground.end, start, share, mean, ground.pad)


def _check_sentinels(ground: Ground, first: int, needed: int) -> None:
    """Raise UsageError for rows with more spans than there are sentinels: other tokens would stand for them."""
    there = 0
    while ground.words.token_to_id(f"<extra_id_{there}>") == first - there and there < needed:
        there += 1
    if there < needed:
        what = f"data.length={ground.length} has up to {needed} spans in a row, and the tokenizer {there} sentinels"
        raise UsageError(what, hint="make data.length smaller, or objective.mean_span larger")


def _without_specials(ground: Ground) -> Corpus:
    texts = ((record.place, record.text(ground.data.field)) for record in ground.records())
    corpus = encoded(texts, lambda text: ground.words.encode(text, add_special_tokens=False), None)
    if len(corpus.ids) < 2:
        raise UsageError(f"{some(ground.files)}: fewer than two tokens, nothing to learn from")
    return corpus


def _is_encoder(model: Any) -> bool:
    """Whether it is one of those that take token types, as BERT's kin do: what it gives has logits."""
    from inspect import signature

    return "token_types" in signature(model.forward).parameters


def _ids(corpus: Corpus, rows: Rows, i: int) -> Tensor:
    ((a, b),) = rows[i]
    return torch.from_numpy(np.asarray(corpus.ids[a:b], dtype=np.int64))
