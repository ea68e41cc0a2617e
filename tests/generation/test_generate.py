"""Greedy decoding: what goes in, what comes out, and when it stops."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from zoo.errors import UsageError, ZooError
from zoo.generation import GenerationConfig, generate

from .models import VOCAB, LetterTokenizer, TableModel

PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3, 3], [12, 5]]


def by_hand(model: TableModel, prompt: list[int], count: int, eos: list[int]) -> list[int]:
    """Greedy decoding without a cache, from the whole text at every step."""
    tokens: list[int] = []
    while len(tokens) < count and (not tokens or tokens[-1] not in eos):
        tokens.append(int(model(torch.tensor([prompt + tokens]))[0, -1].argmax()))
    return tokens


def test_greedy_takes_the_likeliest_token_until_the_end_token():
    model = TableModel()
    for prompt in PROMPTS:
        expected = by_hand(model, prompt, 30, eos=[2])
        found = generate(model, [prompt], max_new_tokens=30)
        assert found.new_tokens == [expected]
        assert found.finish_reasons == ["eos" if expected[-1] == 2 else "length"]
        assert found.tokens == [prompt + expected]


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_unequal_length_give_what_each_gives_alone(seed: int):
    model = TableModel(seed=seed, eos_token_id=[2, 4, 6, 8, 10])
    batch = generate(model, PROMPTS, max_new_tokens=25)
    alone = [generate(model, prompt, max_new_tokens=25) for prompt in PROMPTS]
    assert batch.new_tokens == [one.new_tokens[0] for one in alone]
    assert batch.finish_reasons == [one.finish_reasons[0] for one in alone]
    assert len({len(row) for row in batch.new_tokens}) > 1  # some row was finished while others went on


def test_a_masked_tensor_is_read_like_the_lists_of_its_real_tokens():
    right = torch.tensor([[3, 4, 5], [6, 0, 0]])
    left = torch.tensor([[3, 4, 5], [0, 0, 6]])
    model = TableModel()
    expected = generate(model, [[3, 4, 5], [6]], max_new_tokens=9).new_tokens
    assert generate(model, right, attention_mask=right > 0, max_new_tokens=9).new_tokens == expected
    assert generate(model, left, attention_mask=(left > 0).long(), max_new_tokens=9).new_tokens == expected


def test_prefill_is_one_call_and_every_step_feeds_one_token():
    model = TableModel(eos_token_id=[])
    generate(model, PROMPTS, max_new_tokens=4)
    assert model.passes == [(4, 7), (4, 1), (4, 1), (4, 1)]


def test_logits_come_back_raw_and_row_by_row():
    model = TableModel()
    found = generate(model, PROMPTS, max_new_tokens=12, repetition_penalty=1.7, return_logits=True)
    assert found.logits is not None
    for prompt, new, logits in zip(PROMPTS, found.new_tokens, found.logits, strict=True):
        full = model(torch.tensor([prompt + new[:-1]]))[0, len(prompt) - 1 :]
        assert torch.equal(logits, full)
        assert not logits.is_inference()  # a caller may go on computing with them


def test_the_end_token_of_the_call_goes_before_the_configs_and_those_before_the_models():
    model = TableModel(eos_token_id=[])
    free = generate(model, [5], max_new_tokens=9).new_tokens[0]
    end = next(token for token in free if token != free[0])
    expected = free[: free.index(end) + 1]
    assert generate(model, [5], max_new_tokens=9, eos_token_id=end).new_tokens[0] == expected
    config = GenerationConfig(max_new_tokens=9, eos_token_id=[end])
    assert generate(model, [5], config=config).new_tokens[0] == expected
    assert generate(TableModel(eos_token_id=[end]), [5], max_new_tokens=9).new_tokens[0] == expected
    assert generate(TableModel(eos_token_id=[end]), [5], max_new_tokens=9, eos_token_id=[]).new_tokens[0] == free


def test_text_in_gives_text_out():
    model, tokenizer = TableModel(), LetterTokenizer()
    found = generate(model, ["abc", "n"], tokenizer=tokenizer, max_new_tokens=12)
    ids = generate(model, found.prompts, max_new_tokens=12)
    assert found.prompts == [tokenizer.encode("abc"), tokenizer.encode("n")]
    assert found.new_tokens == ids.new_tokens
    for text, new, reason in zip(found.texts or [], found.new_tokens, found.finish_reasons, strict=True):
        assert text == tokenizer.decode(new[:-1] if reason == "eos" else new)
    assert ids.texts is None


def test_a_stop_text_ends_the_generation_and_is_cut_off():
    model, tokenizer = TableModel(eos_token_id=[]), LetterTokenizer()
    free = generate(model, "abc", tokenizer=tokenizer, max_new_tokens=20)
    stop = free.text[5:8]
    found = generate(model, "abc", tokenizer=tokenizer, max_new_tokens=20, stop=[stop])
    assert found.text == free.text[: free.text.index(stop)]
    assert found.finish_reasons == ["stop"]
    assert tokenizer.decode(found.new_tokens[0]).endswith(stop)


@pytest.mark.parametrize("num_beams", [1, 2])
def test_max_length_counts_the_prompt_of_each_row(num_beams: int):
    config = GenerationConfig(max_length=10, num_beams=num_beams)
    model = TableModel(eos_token_id=[])
    found = generate(model, [[3, 4, 5], [6]], config=config)
    assert [len(row) for row in found.tokens] == [10, 10]
    assert found.new_tokens[0] == generate(model, [3, 4, 5], config=config).new_tokens[0]
    assert [len(row) for row in generate(model, [[3, 4, 5]], config=config, max_new_tokens=2).new_tokens] == [2]
    with pytest.raises(UsageError, match="max_length=10 leaves no room after a prompt of 11 tokens"):
        generate(model, [3] * 11, config=config)


def test_min_new_tokens_puts_the_end_token_off():
    model = TableModel(eos_token_id=list(range(2, 15)))
    assert len(generate(model, [3], max_new_tokens=9).new_tokens[0]) < 5
    config = GenerationConfig(max_new_tokens=9, min_new_tokens=5)
    assert len(generate(model, [3], config=config).new_tokens[0]) > 5


def test_no_run_of_tokens_comes_twice_when_that_is_asked():
    config = GenerationConfig(max_new_tokens=40, no_repeat_ngram_size=2)
    tokens = generate(TableModel(eos_token_id=[]), [3, 4], config=config).tokens[0]
    pairs = list(itertools.pairwise(tokens))
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_ban_on_every_token_is_an_error(num_beams: int):
    config = GenerationConfig(max_new_tokens=VOCAB + 1, no_repeat_ngram_size=1, num_beams=num_beams)
    with pytest.raises(ZooError, match="no token is left"):
        generate(TableModel(eos_token_id=[]), [3], config=config)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_numbers_are_an_error_that_names_row_and_step(value: float):
    class Breaking(TableModel):
        def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
            logits = super().forward(*args, **kwargs)
            if len(self.passes) == 4:
                logits[1, -1, 5] = value
            return logits

    with pytest.raises(ZooError, match="row 1 hold NaN or infinity at step 3"):
        generate(Breaking(eos_token_id=[]), [[3], [4]], max_new_tokens=9)


def test_the_models_mode_is_left_as_it_is():
    model = TableModel()
    for mode in (True, False):
        model.train(mode)
        generate(model, [3], max_new_tokens=2)
        assert model.training is mode


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([], {}, "there is no prompt"),
        ([[3], []], {}, "prompt 1 has no tokens"),
        ([[3, 99]], {}, "prompt 0 has the token 99, outside the model's vocabulary of 17"),
        ([[3, -1]], {}, "prompt 0 has the token -1"),
        ("abc", {}, "text prompts need a tokenizer"),
        ([[3.5]], {}, "not a text or a list of token ids"),
        (torch.zeros(2, 2), {}, r"\[2, 2\] of torch.float32 are not token ids"),
        ([3], {"stop": ["a"]}, "stop is text and needs a tokenizer"),
        ([3], {"temperature": -1.0}, "temperature=-1.0 is not at least 0"),
        ([3], {"seed": 2**64}, "seed=18446744073709551616 is not a number of 64 bits"),
        ([3], {"temperature": float("nan")}, "temperature=nan"),
        ([3], {"top_p": 1.5}, "top_p=1.5 is not between 0 and 1"),
        ([3], {"top_k": 0}, "top_k=0 is not at least 1"),
        ([3], {"max_new_tokens": 0}, "max_new_tokens=0 is not at least 1"),
        ([3], {"max_new_tokens": 10**30}, "max_new_tokens=10+ is not below 2,147,483,648"),
        ([3], {"num_beams": 2, "length_penalty": 1e3}, "length_penalty=1000.0 is not between -50 and 50"),
        ([3], {"num_beams": 2, "early_stopping": 1}, "early_stopping=1 is not true, false or 'never'"),
        ([3], {"num_beam_groups": 2, "num_beams": 2, "temperature": 0.5}, "do not go together"),
        ([3], {"num_beams": 2, "return_logits": True}, "return_logits cannot be used with num_beams=2"),
        ([3], {"attention_mask": torch.ones(1, 1)}, "attention_mask is for a tensor"),
    ],
)
def test_what_cannot_be_is_refused(prompts: object, settings: dict, message: str):
    with pytest.raises(UsageError, match=message):
        generate(TableModel(), prompts, **({"max_new_tokens": 3} | settings))


def test_without_a_length_128_tokens_are_added_or_as_many_as_the_model_was_made_for():
    assert len(generate(TableModel(eos_token_id=[]), [3]).new_tokens[0]) == 128
    found = generate(TableModel(eos_token_id=[], max_seq_len=20), [[3], [4, 5, 6]])
    assert [len(row) for row in found.tokens] == [20, 20]


def test_a_model_that_cannot_hold_the_text_refuses_with_the_numbers():
    with pytest.raises(UsageError, match=r"prompt 3 \+ max_new_tokens 8 = 11 tokens, but the model holds 10"):
        generate(TableModel(max_len=10), [3, 4, 5], max_new_tokens=8)


def test_going_beyond_the_trained_length_is_told():
    with pytest.warns(UserWarning, match=r"prompt 3 \+ max_new_tokens 8 = 11 tokens, more than model.max_seq_len=10"):
        generate(TableModel(max_seq_len=10), [3, 4, 5], max_new_tokens=8)


def test_gradients_are_on_again_afterwards():
    generate(TableModel(), [3], max_new_tokens=2)
    assert nn.Linear(2, 2)(torch.ones(2)).requires_grad
