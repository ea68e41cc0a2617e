"""Each processor changes random scores as transformers' own does, bit for bit, and so do all of them in a row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation import GenerationConfig
from zoo.generation.history import NOTHING, History
from zoo.generation.processors import applied, processors_of, warpers_of

theirs = pytest.importorskip("transformers", reason="the processors are compared with transformers'")
pytestmark = pytest.mark.slow

VOCAB, ROWS, PROMPT, NEW = 150, 6, 7, 6  # TopH looks at 100 tokens, fewer than there are
EOS = [2, 9]
EACH: dict[str, list[Any]] = {
    "sequence_bias": [
        [[[3], 1.5]], [[[5], -2.0], [[3, 5], 0.3], [[1, 2, 3], -4.0]], [[[6], float("-inf")], [[6, 6], 1.0]],
        [[[4], 0.1], [[5, 4], 0.2], [[5, 5, 4], 0.3], [[3, 4], 0.7]],
    ],
    "encoder_repetition_penalty": [0.5, 1.0, 1.7],
    "repetition_penalty": [0.5, 1.0, 1.7],
    "no_repeat_ngram_size": [1, 2, 3, 5, 14, 30],
    "encoder_no_repeat_ngram_size": [1, 2, 3, 7, 8, 30],
    "bad_words_ids": [[[3]], [[2]], [[2], [9], [4]], [[1, 2], [5, 6, 7], [6]], [[5, 5], [4, 4], [5]], [[3] * 40]],
    "min_length": [0, 5, PROMPT + NEW, PROMPT + NEW + 1],
    "min_new_tokens": [0, 1, NEW, NEW + 1],
    "forced_bos_token_id": [4],
    "forced_eos_token_id": [[2], [2, 9], [3]],
    "remove_invalid_values": [True],
    "exponential_decay_length_penalty": [[0, 1.5], [3, 1.1], [NEW - 1, 2.0], [NEW, 2.0], [1, 0.5]],
    "suppress_tokens": [[3], [0, 1, 149], list(range(VOCAB))],
    "begin_suppress_tokens": [[3], [2, 9, 0]],
    "renormalize_logits": [True],
    "temperature": [0.3, 1.0, 2.5],
    "top_h": [0.05, 0.4, 0.9, 1.0],
    "top_k": [1, 3, 50, 10_000],
    "top_p": [0.0, 0.1, 0.5, 0.9, 0.999, 1.0],
    "min_p": [0.0, 0.05, 0.5, 1.0],
    "typical_p": [0.01, 0.3, 0.9, 0.999, 1.0],
    "epsilon_cutoff": [0.0, 1e-4, 0.01, 0.2, 0.9],
    "eta_cutoff": [0.0, 1e-4, 0.01, 0.2, 0.9],
}  # fmt: skip
CASES = [(name, value) for name, values in EACH.items() for value in values]
TOGETHER: list[dict[str, Any]] = [
    {"sequence_bias": EACH["sequence_bias"][1], "repetition_penalty": 1.3, "no_repeat_ngram_size": 2,
     "bad_words_ids": [[1, 2], [7]], "min_new_tokens": 9, "suppress_tokens": [0, 3], "temperature": 0.7, "top_k": 40,
     "top_p": 0.9},
    {"encoder_repetition_penalty": 1.5, "repetition_penalty": 0.8, "encoder_no_repeat_ngram_size": 2, "min_length": 20,
     "exponential_decay_length_penalty": [2, 1.2], "temperature": 1.3, "top_h": 0.8, "min_p": 0.02, "typical_p": 0.95,
     "epsilon_cutoff": 1e-3, "eta_cutoff": 2e-3, "renormalize_logits": True},
    {"forced_eos_token_id": [2], "remove_invalid_values": True, "no_repeat_ngram_size": 1, "suppress_tokens": [8],
     "exponential_decay_length_penalty": [0, 1.5], "begin_suppress_tokens": [5]},
]  # fmt: skip


def scores_of(seed: int, dtype: torch.dtype) -> Tensor:
    """Random scores, with ties everywhere, ties at the top, bans that came before, and all but one banned."""
    scores = torch.randn(ROWS, VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 4
    scores[0, :5] = scores[0].max() + 1
    scores[1] = scores[1].round(decimals=1)
    scores[2, ::3] = -torch.inf
    scores[3] = -torch.inf
    scores[3, 7] = 1.0
    return scores.to(dtype)


def tokens_of(seed: int, few: int = 6) -> Tensor:
    """Rows in which runs repeat."""
    return torch.randint(1, few, (ROWS, PROMPT + NEW), generator=torch.Generator().manual_seed(seed))


def config_of(settings: dict[str, Any]) -> GenerationConfig:
    return GenerationConfig(**({"temperature": 1.0} | settings)) if settings else GenerationConfig()


def ours(settings: dict[str, Any], tokens: Tensor, scores: Tensor, *, left: int = 9, prompt: int = PROMPT) -> Tensor:
    """Scores after what zoo does: to rows that hold tokens of the prompt, with NOTHING before shorter ones, and new."""
    rows = [[token for token in row if token != NOTHING] for row in tokens[:, :prompt].tolist()]
    num_new = tokens.shape[1] - prompt
    history = History(rows, [num_new + left] * len(rows))
    for column in tokens[:, prompt:].unbind(1):
        history.append(column)
    config = config_of(settings)
    found = applied(processors_of(config, eos=EOS, sources=rows), history, scores)
    return applied(warpers_of(config), history, found)


def expected(
    settings: dict[str, Any], tokens: Tensor, scores: Tensor, *, left: int = 9, prompt: int = PROMPT
) -> Tensor:
    """Scores after what transformers makes of its config."""
    known = {"top_k": 0, "do_sample": True, "max_length": tokens.shape[1] + left} | settings
    config = theirs.GenerationConfig(**known)
    config._eos_token_tensor = torch.tensor(EOS)
    mixin = type("Model", (theirs.GenerationMixin,), {"config": theirs.PretrainedConfig()})()
    if "begin_suppress_tokens" not in settings:
        config.begin_suppress_tokens = None
    found = mixin._get_logits_processor(
        config, input_ids_seq_length=prompt, encoder_input_ids=tokens[:, :prompt], device="cpu"
    )
    return found(tokens, scores)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "value"), CASES, ids=str)
def test_each_setting_changes_scores_as_in_transformers(name: str, value: Any, dtype: torch.dtype) -> None:
    for seed in range(3):
        for prompt, left in ((PROMPT, 9), (PROMPT + NEW, 9), (PROMPT, 1), (1, 9)):
            tokens, scores = tokens_of(seed)[:, : 1 if prompt == 1 else None], scores_of(seed, dtype)
            before = scores.clone()
            wanted = expected({name: value}, tokens, scores, left=left, prompt=prompt)
            found = ours({name: value}, tokens, scores, left=left, prompt=prompt)
            assert found.dtype == dtype
            torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
            assert torch.equal(scores, before), "what came in is left as it is"


@pytest.mark.parametrize("settings", TOGETHER, ids=lambda s: next(iter(s)))
def test_all_of_them_are_applied_in_the_order_of_transformers(settings: dict[str, Any]) -> None:
    for seed in range(3):
        for prompt, left in ((PROMPT, 9), (PROMPT + NEW, 9), (PROMPT, 1), (1, 9)):
            tokens, scores = tokens_of(seed)[:, : 1 if prompt == 1 else None], scores_of(seed, torch.float32)
            wanted = expected(settings, tokens, scores, left=left, prompt=prompt)
            found = ours(settings, tokens, scores, left=left, prompt=prompt)
            torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", EACH)
def test_a_padded_row_has_the_scores_that_it_has_alone(name: str, dtype: torch.dtype) -> None:
    """Against transformers' on the row without its padding, so that a batch changes no text."""
    for value in EACH[name]:
        tokens, scores = tokens_of(1), scores_of(1, dtype)
        widths = [0, 2, PROMPT - 1, 1, 0, 4]  # of the padding
        for row, width in enumerate(widths):
            tokens[row, :width] = NOTHING
        found = ours({name: value}, tokens, scores)
        for row, width in enumerate(widths):
            alone = expected({name: value}, tokens[row : row + 1, width:], scores[row : row + 1], prompt=PROMPT - width)
            # A cumulative sum of one row may be added up in another order than that of six: one unit in the last place.
            torch.testing.assert_close(found[row : row + 1], alone, rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"])
def test_beams_keep_as_many_as_transformers_keeps(name: str) -> None:
    config = theirs.GenerationConfig(do_sample=True, num_beams=2, **({"top_k": 0} | {name: EACH[name][0] or 0.5}))
    config._eos_token_tensor = torch.tensor(EOS)
    mixin = type("Model", (theirs.GenerationMixin,), {"config": theirs.PretrainedConfig()})()
    tokens, scores = tokens_of(0), scores_of(0, torch.float32)
    wanted = mixin._get_logits_processor(config, input_ids_seq_length=PROMPT)(tokens, scores)
    history = History(tokens.tolist(), [1] * ROWS)
    found = applied(warpers_of(config_of({name: EACH[name][0] or 0.5}), keep=1 + len(EOS)), history, scores)
    assert torch.equal(found, wanted)


def test_a_token_that_the_model_does_not_have_is_refused_where_it_would_be_said() -> None:
    tokens, scores = tokens_of(0), scores_of(0, torch.float32)
    for settings in ({"bad_words_ids": [[VOCAB]]}, {"sequence_bias": [[[3, VOCAB], 1.0]]}):
        with pytest.raises(ValueError, match="vocabulary size is 150"):
            expected(settings, tokens, scores)
        with pytest.raises(UsageError, match=r"token 150, outside the model's vocabulary of 150"):
            ours(settings, tokens, scores)


def test_every_processor_of_transformers_that_a_config_can_ask_for_is_walked() -> None:
    """What is left is of speech, images and watermarks, or compared in test_guidance.py."""
    names = {name for name in vars(theirs.GenerationConfig()) if not name.startswith("_")}
    source = theirs.GenerationMixin._get_logits_processor.__code__.co_names
    asked = {name for name in names if name in source}
    beside = {"guidance_scale", "use_cache", "watermarking_config", "num_beams", "max_length", "do_sample"}
    assert asked - beside == {*EACH}
