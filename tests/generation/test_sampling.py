"""Sampling: the processors are those of transformers, and tokens are drawn with their probabilities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.generation import GenerationConfig, generate
from zoo.generation.sampling import (
    Sampler,
    ban,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    ngram_ends,
    penalise_repeats,
    uniforms,
    warp,
)
from zoo.generation.stopping import GrowingRow

from .models import TableModel

PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3, 3], [12, 5]]


def random_logits(seed: int, vocab_size: int = 500) -> Tensor:
    logits = torch.randn(6, vocab_size, generator=torch.Generator().manual_seed(seed)) * 4
    logits[0, :5] = logits[0].max() + 1  # ties at the top
    return logits.round(decimals=1) if seed % 2 else logits  # and everywhere


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_each_processor_equals_transformers(seed: int):
    theirs = pytest.importorskip("transformers", reason="the processors are compared with transformers'")
    logits = random_logits(seed)
    tokens = torch.randint(500, (6, 30), generator=torch.Generator().manual_seed(seed))
    for k in (1, 3, 50, 10_000):
        assert torch.equal(keep_top_k(logits, k), theirs.TopKLogitsWarper(k)(tokens, logits))
    for p in (0.0, 0.1, 0.5, 0.9, 0.999):
        assert torch.equal(keep_top_p(logits, p), theirs.TopPLogitsWarper(p)(tokens, logits))
        assert torch.equal(keep_min_p(logits, p), theirs.MinPLogitsWarper(p)(tokens, logits))
    for penalty in (0.7, 1.3):
        seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, tokens, True)
        expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(tokens, logits)
        assert torch.equal(penalise_repeats(logits, seen, penalty), expected)
    few = tokens % 4  # so that runs repeat
    for size in (1, 2, 3):
        ours = ban(logits, [ngram_ends(row, size) for row in few.tolist()])
        assert torch.equal(ours, theirs.NoRepeatNGramLogitsProcessor(size)(few, logits))


@pytest.mark.slow
def test_processors_in_a_row_equal_transformers():
    theirs = pytest.importorskip("transformers", reason="the order is compared with transformers'")
    config = theirs.GenerationConfig(
        do_sample=True, temperature=0.7, top_k=40, top_p=0.9, min_p=0.02, repetition_penalty=1.2, no_repeat_ngram_size=2
    )
    ours = GenerationConfig(
        temperature=0.7, top_k=40, top_p=0.9, min_p=0.02, repetition_penalty=1.2, no_repeat_ngram_size=2, seed=0
    )
    mixin = type("Model", (theirs.GenerationMixin,), {"config": theirs.PretrainedConfig()})()
    for seed in range(4):
        logits, tokens = random_logits(seed), torch.randint(9, (6, 30), generator=torch.Generator().manual_seed(seed))
        processors = mixin._get_logits_processor(config, input_ids_seq_length=30)
        sampler = Sampler(ours, [GrowingRow(row, limit=5) for row in tokens.tolist()])
        assert torch.equal(warp(sampler.process(logits), ours), processors(tokens, logits))


def test_the_tail_begins_where_the_share_is_reached():
    """Halves and quarters are exact: what brings the sum to p is kept, as is what is p times as likely as the best."""
    scores = torch.tensor([[0.25, 0.5, 0.125, 0.125]]).log2() * torch.tensor(2.0).log()
    quarters = torch.zeros(1, 4)
    assert keep_top_p(quarters, 0.5).isfinite().sum() == 2
    assert keep_top_p(scores, 0.5).isfinite().tolist() == [[False, True, False, False]]
    assert keep_min_p(quarters, 1.0).isfinite().all()
    assert keep_min_p(scores, 0.26).isfinite().tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("penalty", [1.8, 0.6])
def test_tokens_of_the_prompt_and_of_the_continuation_are_penalised(penalty: float):
    """Against the definition, token by token: each score of a token that is there already, divided or multiplied."""
    model = TableModel(eos_token_id=[], scale=1.0)
    tokens = [3, 4, 5]
    for _ in range(12):
        scores = model(torch.tensor([tokens]))[0, -1].tolist()
        for token in set(tokens):
            scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
        tokens.append(max(range(len(scores)), key=scores.__getitem__))
    assert generate(model, [3, 4, 5], max_new_tokens=12, repetition_penalty=penalty).tokens == [tokens]


def test_padding_is_not_penalised():
    model = TableModel(eos_token_id=[])
    settings = {"max_new_tokens": 12, "repetition_penalty": 3.0}
    batch = generate(model, PROMPTS, **settings).new_tokens
    assert batch == [generate(model, prompt, **settings).new_tokens[0] for prompt in PROMPTS]
    assert batch != generate(model, PROMPTS, max_new_tokens=12).new_tokens


def test_tokens_are_drawn_with_their_probabilities():
    scores = torch.tensor([0.5, -torch.inf, 2.0, 0.0, 1.0, -3.0, -torch.inf]).expand(40_000, 7)
    counts = draw(scores, uniforms(7, 1, 40_000)[0]).bincount(minlength=7)
    expected = scores[0].softmax(-1) * 40_000
    assert counts[[1, 6]].sum() == 0
    chi_square = ((counts - expected) ** 2 / expected.clamp(min=1e-9))[expected > 0].sum()
    assert chi_square < 18.5  # four degrees of freedom: exceeded once in a thousand seeds, and the seed is fixed


def test_the_last_likely_token_is_drawn_at_the_upper_end():
    scores = torch.tensor([[0.0, 1.0, -torch.inf]])
    assert draw(scores, torch.tensor([1.0], dtype=torch.float64)).tolist() == [1]
    assert draw(scores, torch.tensor([0.0], dtype=torch.float64)).tolist() == [0]
    assert draw(scores.flip(1), torch.tensor([0.0], dtype=torch.float64)).tolist() == [1]  # and the first at the lower


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others():
    model = TableModel(scale=1.0, eos_token_id=[])
    runs = [generate(model, PROMPTS, max_new_tokens=20, temperature=1.0, seed=s).new_tokens for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_without_a_seed_torchs_own_generator_decides():
    model = TableModel(scale=1.0, eos_token_id=[])
    runs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        runs.append(generate(model, [3], max_new_tokens=20, temperature=1.0).new_tokens)
    assert runs[0] == runs[1] != runs[2]


def test_a_row_draws_the_same_whatever_the_other_rows_are():
    model = TableModel(scale=1.0)
    settings = {"max_new_tokens": 20, "temperature": 1.0, "top_p": 0.9, "seed": 3}
    batch = generate(model, PROMPTS, **settings).new_tokens
    others = generate(model, [[9], *PROMPTS[1:3], [3, 3], [4]], **settings).new_tokens
    assert batch[1:3] == others[1:3]
    assert batch[0] == generate(model, PROMPTS[0], **settings).new_tokens[0]


def test_equal_prompts_in_a_batch_are_continued_differently():
    rows = generate(TableModel(scale=1.0, eos_token_id=[]), [[3]] * 8, max_new_tokens=20, temperature=1.0, seed=0)
    assert len({tuple(row) for row in rows.new_tokens}) == 8


def test_more_tokens_begin_with_the_same_ones():
    model = TableModel(scale=1.0, eos_token_id=[])
    settings = {"temperature": 1.0, "seed": 11}
    long = generate(model, PROMPTS, max_new_tokens=40, **settings).new_tokens
    short = generate(model, PROMPTS, max_new_tokens=7, **settings).new_tokens
    assert [row[:7] for row in long] == short


def test_rows_of_neighbouring_seeds_have_nothing_in_common():
    draws = torch.stack([uniforms(seed, 4, 5) for seed in range(20)]).view(80, 5)
    assert len({tuple(row) for row in draws.tolist()}) == 80


def test_top_k_of_one_is_greedy():
    model = TableModel()
    greedy = generate(model, PROMPTS, max_new_tokens=15).new_tokens
    assert generate(model, PROMPTS, max_new_tokens=15, temperature=2.0, top_k=1).new_tokens == greedy
