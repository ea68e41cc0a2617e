"""A draft changes how many passes it takes, never what is said."""

from __future__ import annotations

import pytest

from zoo.errors import UsageError
from zoo.generation import DraftModel, PromptLookup, generate, stream

from ..models import LetterTokenizer, TableModel, foreign_llama


@pytest.mark.parametrize("seed", range(6))
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


@pytest.mark.parametrize(
    ("prompts", "settings"),
    [([[3], [4]], {}), ([3], {"temperature": 0.5}), ([3], {"num_beams": 2}), ([3], {"repetition_penalty": 1.1})],
)
def test_a_draft_goes_with_plain_greedy_decoding_only(prompts: list, settings: dict):
    with pytest.raises(UsageError, match="draft"):
        generate(TableModel(), prompts, max_new_tokens=5, draft=PromptLookup(), **settings)


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
