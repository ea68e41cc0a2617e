"""Sampling: tokens are drawn with their probabilities, a row by itself, and where the tail begins."""

from __future__ import annotations

import pytest
import torch

from zoo.generation import generate
from zoo.generation.decoding.sampling import draw, uniforms
from zoo.generation.history import History
from zoo.generation.processors import MinP, TopP

from ..models import TableModel

PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3, 3], [12, 5]]


def test_the_tail_begins_where_the_share_is_reached():
    """Halves and quarters are exact: what brings the sum to p is kept, as is what is p times as likely as the best."""
    scores = torch.tensor([[0.25, 0.5, 0.125, 0.125]]).log2() * torch.tensor(2.0).log()
    quarters, nothing = torch.zeros(1, 4), History([[1]], [1])
    assert TopP(0.5)(nothing, quarters).isfinite().sum() == 2
    assert TopP(0.5)(nothing, scores).isfinite().tolist() == [[False, True, False, False]]
    assert MinP(1.0)(nothing, quarters).isfinite().all()
    assert MinP(0.26)(nothing, scores).isfinite().tolist() == [[True, True, False, False]]


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
