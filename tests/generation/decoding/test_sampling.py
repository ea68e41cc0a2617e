"""Sampling: tokens are drawn with their probabilities, a row by itself, and where the tail begins."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import ZooError
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


@pytest.mark.parametrize("temperature", [1e-7, 1e-37, 1e-40, 1e-46, 5e-324])
@pytest.mark.parametrize("draft", [None, "ngram"])
def test_at_a_tiny_temperature_the_likeliest_token_is_drawn(temperature: float, draft: str | None):
    """A score divided by such a number is infinite in float32, and two infinities have no ratio."""
    model = TableModel(eos_token_id=[])
    settings = {"max_new_tokens": 8, "draft": draft}
    likeliest = generate(model, PROMPTS, **settings).new_tokens
    assert generate(model, PROMPTS, temperature=temperature, seed=1, **settings).new_tokens == likeliest


@pytest.mark.parametrize(
    "asked",
    [{"repetition_penalty": 1e-300}, {"frequency_penalty": 1e300}, {"presence_penalty": -1e39},
     {"sequence_bias": [[[5], 1e39]]}, {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1e300}],
)  # fmt: skip
def test_scores_that_no_float_holds_are_an_error_and_not_a_text(asked: dict):
    model = TableModel(eos_token_id=[])
    told = f"the scores at step . are too large for float32\ngive smaller numbers: {[*asked][-1]}"
    ways: list[dict] = [{}, {"temperature": 1.0}, {"draft": "ngram"}, {"num_beams": 2}]
    if "repetition_penalty" in asked:
        ways.pop()  # whose log probabilities, all below 0, go to 0
    for way in ways if "num_beams" not in asked else ways[:1]:
        with pytest.raises(ZooError, match=told):
            generate(model, [3, 4, 5], max_new_tokens=4, **asked, **way)


@pytest.mark.parametrize("factor", [2, 1e300])
def test_an_end_that_grew_beyond_all_numbers_is_drawn(factor: float):
    """The power is beyond float32 after some 100 tokens, or beyond Python's floats: the end is then certain."""
    model = TableModel(eos_token_id=[])
    for temperature in (0.0, 0.5):
        found = generate(
            model, [3, 4, 5], max_new_tokens=300, eos_token_id=[7], min_new_tokens=200, temperature=temperature,
            seed=1, exponential_decay_length_penalty=[0, factor],
        )  # fmt: skip
        assert (len(found.new_tokens[0]), found.new_tokens[0][-1]) == (201, 7)


@pytest.mark.parametrize("draft", [None, "ngram"])
def test_infinite_logits_that_are_kept_share_the_draws(draft: str | None):
    """The largest number of float32, which `remove_invalid_values` makes of them, is infinite again once halved."""
    model = TableModel(eos_token_id=[], scale=1.0)
    model.table[:, [4, 9]] = torch.inf
    settings = {"max_new_tokens": 40, "temperature": 0.5, "top_p": 0.9, "remove_invalid_values": True, "seed": 1}
    (found,) = generate(model, [3, 4, 5], draft=draft, **settings).new_tokens
    assert {*found} == {4, 9}
