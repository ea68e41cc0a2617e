"""What models read and predict: the shares and lengths of the papers, and that nothing is lost on the way."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import Generator, Tensor

from zoo.errors import UsageError
from zoo.training.data import (
    corrupt_spans,
    fill_blanks,
    mask_tokens,
    prefix_labels,
    sentence_pair,
    span_lengths,
    span_mask,
)
from zoo.training.losses import IGNORED


def drawing(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def within(found: int, of: int, share: float) -> bool:
    """Whether a count is one that such a share gives: five standard deviations are missed once in a million draws."""
    return abs(found - of * share) < 5 * math.sqrt(of * share * (1 - share))


def test_bert_masks_fifteen_of_a_hundred_in_three_ways() -> None:
    tokens = torch.randint(10, 1000, (100, 500), generator=drawing())
    special = torch.zeros_like(tokens, dtype=torch.bool)
    special[:, ::10] = True
    read, labels = mask_tokens(tokens, mask_id=1, vocab_size=1000, special=special, generator=drawing(1))
    chosen = labels != IGNORED
    assert not bool((chosen & special).any())
    assert torch.equal(labels[chosen], tokens[chosen])
    assert torch.equal(read[~chosen], tokens[~chosen])
    free, count = int((~special).sum()), int(chosen.sum())
    assert within(count, free, 0.15)
    assert within(int((read[chosen] == 1).sum()), count, 0.8 + 0.1 / 1000)
    assert within(int((read[chosen] == tokens[chosen]).sum()), count, 0.1 + 0.1 / 1000)
    again = mask_tokens(tokens, mask_id=1, vocab_size=1000, special=special, generator=drawing(1))
    assert torch.equal(read, again[0])


def test_a_sentence_is_followed_by_its_own_or_by_one_of_another_text() -> None:
    texts = [[[t, s] for s in range(3)] for t in range(4)]
    generator = drawing(2)
    pairs = [sentence_pair(texts, 1, 0, generator) for _ in range(400)]
    for pair in pairs:
        assert pair.first == [1, 0]
        assert pair.second == [1, 1] if pair.label == 0 else pair.second[0] != 1
    assert within(sum(pair.label for pair in pairs), 400, 0.5)
    seconds = Counter(tuple(pair.second) for pair in pairs if pair.label)
    assert len(seconds) == 9  # three sentences of each of three other texts
    with pytest.raises(UsageError, match="followed by none"):
        sentence_pair(texts, 1, 2, generator)
    with pytest.raises(UsageError, match="another text"):
        sentence_pair(texts[:1], 0, 0, generator)


def test_t5_has_the_lengths_of_the_paper() -> None:
    """512 tokens of input are a text of 568, whose targets have 114: the figures of the released pre-training."""
    assert span_lengths(512) == (568, 114)


@pytest.mark.parametrize("inputs", [5, 30, 99, 512])
def test_a_text_as_long_as_told_fills_the_input_and_a_longer_one_does_not_fit(inputs: int) -> None:
    length, targets = span_lengths(inputs)
    tokens = torch.arange(length)
    found = corrupt_spans(tokens, span_mask(length, generator=drawing(3)), first_sentinel=999, eos=1000)
    assert len(found[0]) <= inputs
    assert [len(side) for side in found][1] == targets
    assert len(found[0]) + len(found[1]) == length + 2 * _spans(found[0]) + 2


def _spans(read: Tensor) -> int:
    return int(((read > 900) & (read < 1000)).sum())


def test_spans_are_as_many_and_as_long_as_asked_for() -> None:
    runs = []
    for seed in range(200):
        mask = span_mask(100, generator=drawing(seed))
        assert int(mask.sum()) == 15
        assert not bool(mask[0])
        assert bool(mask[-1])  # the code's order: outside, inside, ..., inside
        starts = mask & ~torch.cat((torch.zeros(1, dtype=torch.bool), mask[:-1]))
        assert int(starts.sum()) == 5
        runs += torch.bincount((starts.cumsum(0) * mask)[mask]).tolist()[1:]
    assert sum(runs) / len(runs) == 3.0
    assert set(runs) >= {1, 2, 3, 4, 5, 6}
    with pytest.raises(UsageError, match="1 tokens"):
        span_mask(1)
    assert span_mask(2, generator=drawing()).tolist() == [False, True]
    with pytest.raises(UsageError, match="too few"):
        span_lengths(1)


def test_what_the_encoder_reads_and_the_decoder_predicts_make_the_text_again() -> None:
    tokens = torch.arange(100, 160)
    mask = span_mask(60, share=0.4, mean_span=2.0, generator=drawing(4))
    read, wanted = (side.tolist() for side in corrupt_spans(tokens, mask, first_sentinel=999, eos=1))
    assert (read.pop(), wanted.pop()) == (1, 1)
    spans: dict[int, list[int]] = {}
    for token in wanted:
        if token > 900:
            spans[token] = []
        else:
            spans[max(spans) if len(spans) == 1 else min(spans)].append(token)
    assert [*spans] == [*range(999, 999 - len(spans), -1)]
    again = [t for token in read for t in (spans[token] if token > 900 else [token])]
    assert again == tokens.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_blanks_filled_in_make_the_text_again(seed: int) -> None:
    tokens = torch.arange(100, 140)
    found = fill_blanks(tokens, mask_id=1, sop=2, eop=3, generator=drawing(seed))
    text, spans = found.tokens[: found.prefix].tolist(), found.tokens[found.prefix :].tolist()
    assert found.labels[: found.prefix].tolist() == [IGNORED] * found.prefix
    assert found.positions[:, : found.prefix].tolist() == [[*range(found.prefix)], [0] * found.prefix]
    filled: dict[int, list[int]] = {}
    for token, label, place, at in zip(
        spans, found.labels[found.prefix :].tolist(), *found.positions[:, found.prefix :].tolist(), strict=True
    ):
        if token == 2:
            filled[place] = []
        assert text[place] == 1
        assert at == len(filled[place]) + 1
        if label != 3:
            filled[place].append(label)
    assert [t for i, token in enumerate(text) for t in (filled[i] if token == 1 else [token])] == tokens.tolist()
    assert sum(map(len, filled.values())) == 6
    assert (1, 1) not in [*pairwise(text)]  # spans do not touch


def test_short_texts_are_filled_or_refused() -> None:
    assert fill_blanks(torch.tensor([7, 8, 9]), mask_id=1, sop=2, eop=3, share=0.9, generator=drawing()).prefix < 4
    with pytest.raises(UsageError, match="too few"):
        fill_blanks(torch.tensor([7, 8]), mask_id=1, sop=2, eop=3)


def test_a_prefix_is_read_and_not_predicted() -> None:
    tokens = torch.tensor([[1, 2, 3, 4, 5], [9, 9, 6, 7, 8]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    no = IGNORED
    assert prefix_labels(tokens, torch.tensor([2, 1]), mask).tolist() == [[no, 3, 4, 5, no], [no, no, 7, 8, no]]
    assert prefix_labels(tokens[:1], torch.tensor([4])).tolist() == [[no, no, no, 5, no]]
    for prefix in ([0, 1], [5, 1], [2, 3]):
        with pytest.raises(UsageError, match="prefix"):
            prefix_labels(tokens, torch.tensor(prefix), mask)
