"""A draft changes how many passes it takes, never what is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.some import one_in
from zoo.errors import UsageError
from zoo.generation import DraftModel, PromptLookup, generate, stream
from zoo.generation.speculation.guess import Pace

from ..models import Foreign, ForeignCache, LetterTokenizer, TableCache, TableModel, foreign_llama


@pytest.mark.parametrize("seed", one_in(3, range(6)))
@pytest.mark.parametrize("count", [1, 2, 13, 40])
def test_drafted_text_is_the_greedy_text(seed: int, count: int):
    model = TableModel(seed=seed)
    expected = generate(model, [3, 4, 5], max_new_tokens=count)
    drafts = (
        PromptLookup(),
        PromptLookup(1, 1),
        DraftModel(TableModel(seed=seed)),
        DraftModel(TableModel(seed=99)),
        Liar(),
        Stranger(),
    )
    for draft in drafts:
        found = generate(model, [3, 4, 5], max_new_tokens=count, draft=draft)
        assert (found.new_tokens, found.finish_reasons) == (expected.new_tokens, expected.finish_reasons)


class Stranger:
    """Speaks of tokens that the model does not have."""

    def propose(self, tokens: list[int], most: int) -> list[int]:
        return [99, 3][:most]


class Liar:
    """Always wrong in the end, and says as much as it may."""

    def propose(self, tokens: list[int], most: int) -> list[int]:
        return ([1] * 7)[:most]


def test_a_draft_model_that_agrees_saves_passes():
    model = TableModel(eos_token_id=[])
    generate(model, [3], max_new_tokens=31, draft=DraftModel(TableModel(), num_tokens=5))
    assert len(model.passes) == 6  # one for the prompt and its first token, then six tokens a pass


def test_prompt_lookup_repeats_what_followed_last_time():
    lookup = PromptLookup(num_tokens=3, ngram_size=2)
    assert lookup.propose([1, 2, 3, 4, 5, 9, 1, 2], 10) == [3, 4, 5]
    assert lookup.propose([1, 2, 3, 4, 5, 9, 1, 2], 2) == [3, 4]
    assert lookup.propose([1, 2, 8, 1, 2, 7, 1, 2], 1) == [7]  # the latest time, not the first
    assert lookup.propose([1, 2, 3], 5) == []
    assert lookup.propose([1], 5) == []


def test_a_draft_may_be_used_again_for_another_prompt():
    model, draft = TableModel(), DraftModel(TableModel(seed=0))
    for prompt in ([3], [9, 9, 9], [3, 4], [5, 6, 7] * 30):  # the last is longer than the draft's first cache
        expected = generate(model, prompt, max_new_tokens=20).new_tokens
        assert generate(model, prompt, max_new_tokens=20, draft=draft).new_tokens == expected


def test_logits_and_streams_are_the_same_with_a_draft():
    model, tokenizer = TableModel(seed=3), LetterTokenizer()
    plain = generate(model, "abc", tokenizer=tokenizer, max_new_tokens=25, return_logits=True)
    drafted = generate(model, "abc", tokenizer=tokenizer, max_new_tokens=25, return_logits=True, draft=PromptLookup())
    assert plain.logits is not None
    assert drafted.logits is not None
    assert plain.logits[0].equal(drafted.logits[0])
    pieces = stream(model, "abc", tokenizer=tokenizer, max_new_tokens=25, draft=PromptLookup())
    assert "".join(pieces) == plain.text


SETTINGS = {
    "plain": {},
    "penalties": {"repetition_penalty": 1.3, "frequency_penalty": 0.2, "encoder_repetition_penalty": 1.1},
    "bans": {"no_repeat_ngram_size": 2, "bad_words_ids": [[4], [5, 6]], "suppress_tokens": [7], "min_new_tokens": 9},
    "ends": {"exponential_decay_length_penalty": [3, 1.4], "forced_eos_token_id": 2, "renormalize_logits": True},
    "guided": {"guidance_scale": 1.7},
}


@pytest.mark.parametrize("settings", one_in(4, SETTINGS.values()), ids=SETTINGS)
def test_drafted_rows_of_a_batch_are_those_of_plain_decoding_under_every_setting(settings: dict[str, Any]):
    """Rows of unequal length accept different numbers, end at different times and go back by themselves."""
    model, prompts = TableModel(scale=1.0), [[3, 4, 5], [6], [7, 8, 9, 3, 10, 3], [12, 5]]
    expected = generate(model, prompts, max_new_tokens=25, **settings)
    drafts: tuple[Any, ...] = (
        "ngram", TableModel(scale=1.0), TableModel(seed=5), DraftModel(TableModel(scale=1.0), 3), Liar(), Stranger(),
    )  # fmt: skip
    for draft in drafts:
        found = generate(model, prompts, max_new_tokens=25, draft=draft, **settings)
        assert (found.new_tokens, found.finish_reasons) == (expected.new_tokens, expected.finish_reasons)


def test_logits_of_a_batch_are_the_same_with_a_draft():
    model, prompts = TableModel(seed=3), [[3, 4, 5], [6], [7, 8, 9, 3, 10, 3]]
    plain, drafted = (
        generate(model, prompts, max_new_tokens=15, return_logits=True, draft=draft).logits
        for draft in (None, TableModel(seed=3))
    )
    assert plain is not None
    assert all(a.equal(b) for a, b in zip(plain, drafted or [], strict=True))


def test_what_a_draft_was_good_for_is_told():
    model = TableModel(eos_token_id=[])
    found = generate(model, [3], max_new_tokens=31, draft=DraftModel(TableModel(), num_tokens=5)).draft
    assert found is not None
    assert (found.passes, found.plain_passes, found.num_guessed, found.num_right) == (6, 31, 25, 25)
    assert str(found) == "25 of 25 guesses right (100%), 6 passes for 31 (5.2x)"
    liar = generate(model, [3], max_new_tokens=31, draft=Liar()).draft
    assert liar is not None
    assert liar.acceptance is not None
    assert liar.acceptance < 0.2
    assert generate(model, [3], max_new_tokens=3).draft is None
    assert str(generate(model, [3], max_new_tokens=1, draft="ngram").draft) == "no guess, 1 passes"


def test_the_number_of_guesses_grows_while_they_are_right_and_falls_when_not():
    model = TableModel(eos_token_id=[])
    generate(model, [3], max_new_tokens=60, draft=TableModel())
    assert [width for _, width in model.passes] == [1, 6, 8, 10, 12, 14, 9]
    fixed = TableModel(eos_token_id=[])
    generate(fixed, [3], max_new_tokens=31, draft=TableModel(), num_draft_tokens=9)
    assert [width for _, width in fixed.passes] == [1, 10, 10, 10]
    pace = Pace()
    for _ in range(8):
        pace.learn(pace.num_tokens, 0)
    assert pace.num_tokens == 1


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        ("mpt", "there is no draft 'mpt'"),
        (3, "a draft of type int cannot guess"),
        ("mtp", "needs a model with multi-token"),
    ],
)
def test_what_cannot_guess_is_refused(draft: Any, message: str):
    with pytest.raises(UsageError, match=message):
        generate(TableModel(), [3], max_new_tokens=5, draft=draft)


def test_a_draft_and_beams_do_not_go_together():
    with pytest.raises(UsageError, match="draft cannot be used with num_beams=2"):
        generate(TableModel(), [3], max_new_tokens=5, draft="ngram", num_beams=2)


class LockStep(TableModel):
    def new_cache(self, batch_size: int, max_len: int) -> TableCache:
        cache = super().new_cache(batch_size, max_len)
        cache.can_rewind_rows = False
        return cache


def test_rows_that_cannot_go_back_by_themselves_are_refused_in_a_batch_and_not_alone():
    with pytest.raises(UsageError, match="a draft for 2 texts at once needs a cache whose rows"):
        generate(LockStep(), [[3], [4]], max_new_tokens=5, draft="ngram")
    assert generate(LockStep(), [3], max_new_tokens=9, draft="ngram").draft is not None


@pytest.mark.slow
def test_a_cache_that_cannot_forget_is_refused():
    pytest.importorskip("transformers", reason="the model without rewind is one of transformers'")
    with pytest.raises(UsageError, match="a cache that can drop"):
        generate(foreign_llama(), [3, 4, 3], max_new_tokens=20, draft=Liar())


class StatefulModel(TableModel):
    """A model whose cache has the method and cannot use it, as one of states cannot."""

    def new_cache(self, batch_size: int, max_len: int):
        cache = super().new_cache(batch_size, max_len)
        cache.can_rewind = False
        return cache


def test_a_cache_that_says_it_cannot_forget_is_refused_before_anything_is_read():
    model = StatefulModel()
    with pytest.raises(UsageError, match="a cache that can drop"):
        generate(model, [3, 4, 5], max_new_tokens=5, draft=PromptLookup())
    assert not model.passes
    with pytest.raises(UsageError, match="a cache that can drop"):
        generate(TableModel(), [3, 4, 5], max_new_tokens=5, draft=DraftModel(model))
    assert (
        generate(model, [3, 4, 5], max_new_tokens=5).new_tokens
        == generate(TableModel(), [3, 4, 5], max_new_tokens=5).new_tokens
    )


class CroppedCache(ForeignCache):
    def rewind(self, length: int) -> None:
        self.held.crop(length - self.length)
        self.mask, self.length = self.mask[:, :length], length


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3}], ids=["plain", "set"])
def test_drafted_text_is_that_of_transformers_with_an_assistant(settings: dict[str, Any], monkeypatch: Any):
    pytest.importorskip("transformers", reason="the other side of the comparison")
    monkeypatch.setattr(Foreign, "new_cache", lambda self, batch_size, max_len: CroppedCache(batch_size, max_len))
    model, assistant = (foreign_llama(seed, eos_token_id=2).double() for seed in (0, 1))
    with torch.no_grad():
        for mine, theirs in zip(assistant.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs + 0.15 * mine)  # so that it is right now and then
    given = torch.tensor([[3, 4, 5, 3, 4]])
    said = model.model.generate(
        given, assistant_model=assistant.model, do_sample=False, max_new_tokens=40, pad_token_id=0, **settings
    )
    reports = []
    for draft in (assistant, "ngram"):
        found = generate(model, given, max_new_tokens=40, draft=draft, **settings)
        assert found.tokens == said.tolist()
        reports.append(found.draft)
    assert 0 < reports[0].num_right < reports[0].num_guessed
