"""Beam search finds what transformers finds, score for score."""

from __future__ import annotations

import itertools

import pytest
import torch

from zoo.generation import GenerationConfig, generate

from ..models import LetterTokenizer, TableModel, foreign_llama

PROMPTS = torch.tensor([[0, 0, 3, 4], [7, 8, 9, 10], [0, 6, 6, 7]])
MASK = PROMPTS > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_beams", "length_penalty", "early_stopping"),
    [
        (2, 1.0, False), (5, 1.0, False), (3, 0.0, True), (2, 2.0, True), (5, 0.0, "never"), (3, 2.0, "never"),
        (4, -1.0, "never"), (4, -1.0, False), (3, 2.0, False),
    ],
)  # fmt: skip
def test_tokens_and_scores_equal_transformers(num_beams: int, length_penalty: float, early_stopping: bool | str):
    pytest.importorskip("transformers", reason="beam search is compared with transformers'")
    settings = {"num_beams": num_beams, "length_penalty": length_penalty, "early_stopping": early_stopping}
    for seed in range(3):
        model = foreign_llama(seed)
        expected = model.model.generate(
            PROMPTS, attention_mask=MASK.long(), max_new_tokens=12, do_sample=False, pad_token_id=1,
            return_dict_in_generate=True, output_scores=True, **settings,
        )  # fmt: skip
        found = generate(model, PROMPTS, attention_mask=MASK, config=GenerationConfig(max_new_tokens=12, **settings))
        for new, row in zip(found.new_tokens, expected.sequences[:, 4:].tolist(), strict=True):
            assert new + [1] * (len(row) - len(new)) == row
        # Float32 sums of twelve log probabilities of up to 10 each, in another order of rows.
        torch.testing.assert_close(torch.tensor(found.scores), expected.sequences_scores, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_penalties_count_in_beams_as_in_transformers():
    pytest.importorskip("transformers", reason="beam search is compared with transformers'")
    model, settings = foreign_llama(4), {"num_beams": 3, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2}
    expected = model.model.generate(PROMPTS[1:2], max_new_tokens=12, do_sample=False, pad_token_id=1, **settings)
    found = generate(model, PROMPTS[1:2], config=GenerationConfig(max_new_tokens=12, **settings))
    row = expected[0, 4:].tolist()
    assert found.new_tokens[0] + [1] * (len(row) - len(found.new_tokens[0])) == row


def test_enough_beams_find_the_likeliest_text_of_all():
    model = TableModel(eos_token_id=[], scale=1.0)
    found = generate(model, [5], max_new_tokens=3, num_beams=17**2, length_penalty=0.0)
    texts = torch.tensor(list(itertools.product(range(17), repeat=3)))
    logits = model(torch.cat((torch.full((len(texts), 1), 5), texts[:, :2]), 1)).log_softmax(-1)
    scores = logits.gather(2, texts[..., None]).sum((1, 2))
    assert found.new_tokens[0] == texts[scores.argmax()].tolist()
    assert found.scores == [pytest.approx(scores.max().item(), abs=1e-5)]


def test_rows_of_a_batch_are_searched_apart():
    model = TableModel(scale=1.0)
    prompts = [[3, 4, 5], [6], [7, 8]]
    batch = generate(model, prompts, max_new_tokens=10, num_beams=3)
    alone = [generate(model, prompt, max_new_tokens=10, num_beams=3) for prompt in prompts]
    assert batch.new_tokens == [one.new_tokens[0] for one in alone]
    assert batch.finish_reasons == [one.finish_reasons[0] for one in alone]


def test_the_text_of_the_best_beam_comes_along():
    tokenizer = LetterTokenizer()
    found = generate(TableModel(eos_token_id=[]), "abc", tokenizer=tokenizer, max_new_tokens=6, num_beams=3)
    assert found.text == tokenizer.decode(found.new_tokens[0])


def test_a_stop_text_ends_a_beam_as_an_end_token_does():
    """A letter that stops is an end token by another name: the same texts and scores, but for the letter."""
    model, tokenizer = TableModel(eos_token_id=[2]), LetterTokenizer()
    settings = {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 3}
    for letter in "aeik":
        token = tokenizer.encode(letter)[0]
        ends = generate(model, ["abc", "n"], tokenizer=tokenizer, eos_token_id=token, **settings)
        stops = generate(model, ["abc", "n"], tokenizer=tokenizer, eos_token_id=[], stop=letter, **settings)
        assert stops.new_tokens == ends.new_tokens
        assert stops.scores == ends.scores
        assert stops.texts == ends.texts
        assert stops.finish_reasons == ["stop" if r == "eos" else r for r in ends.finish_reasons]


@pytest.mark.slow
def test_beams_that_stop_texts_end_equal_transformers():
    transformers = pytest.importorskip("transformers", reason="beam search is compared with transformers'")
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split

    letters = "_ .abcdefghijklmnopqrst"
    own = Tokenizer(WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="_"))
    own.pre_tokenizer, own.decoder = Split(Regex("."), "isolated"), Fuse()
    spelling = transformers.PreTrainedTokenizerFast(tokenizer_object=own)
    ours = LetterTokenizer()
    ours.alphabet = letters
    for seed in range(3):
        model = foreign_llama(seed, eos_token_id=None)
        expected = model.model.generate(
            PROMPTS[1:2], max_new_tokens=10, do_sample=False, num_beams=3, pad_token_id=1, eos_token_id=None,
            stop_strings=["a", "f", "k", "p"], tokenizer=spelling, return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        config = GenerationConfig(max_new_tokens=10, num_beams=3, stop=["a", "f", "k", "p"], eos_token_id=[])
        found = generate(model, PROMPTS[1:2], config=config, tokenizer=ours)
        row = expected.sequences[0, 4:].tolist()
        assert found.new_tokens[0] == row[: len(found.new_tokens[0])]
        torch.testing.assert_close(torch.tensor(found.scores), expected.sequences_scores, atol=1e-4, rtol=0)
