"""Generation with the models of the registry: what a small fake can get right by luck, these cannot."""

from __future__ import annotations

from contextlib import nullcontext
from pkgutil import resolve_name

import pytest
import torch
from torch import Tensor, nn

from tests.some import some
from zoo.errors import UsageError
from zoo.generation import generate
from zoo.models.construction import build
from zoo.nn import EncoderDecoder
from zoo.registry import installed


def decoders() -> list[str]:
    """Families whose models write text with a cache."""
    registry = installed()
    return [name for name in registry.families if hasattr(resolve_name(registry[name].model), "new_cache")]


@pytest.fixture(params=some(decoders(), "gpt2", "gemma", "deepseek", "chatglm", "t5"))
def model(request: pytest.FixtureRequest) -> nn.Module:
    config = installed()[request.param].config_class.tiny()
    config.eos_token_id = []
    model = build(config, device="cpu", dtype="float64").eval()  # float64: no tie is broken by rounding
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)  # peaked: default weights hide mistakes
    return model


@pytest.fixture
def prompts(model: nn.Module) -> list[list[int]]:
    """Three of unequal length, which end as the family's do."""
    end = [model.config.gmask_token_id, model.config.bos_token_id] if model.config.family == "chatglm" else []
    return [[3, 4, 5, 6, 7, *end], [8, *end], [9, 10, 11, *end]]


def whole(model: nn.Module, prompt: list[int], new: list[int]) -> Tensor:
    """Logits [T, V] before each of the new tokens and after the last, without a cache."""
    if isinstance(model, EncoderDecoder):  # which reads the prompt and writes from a token of its own on
        return model(torch.tensor([prompt]), torch.tensor([[model.config.decoder_start_token_id, *new]]))[0]
    return model(torch.tensor([prompt + new]))[0, len(prompt) - 1 :]


def by_hand(model: nn.Module, prompt: list[int], count: int) -> list[int]:
    new: list[int] = []
    for _ in range(count):
        new.append(int(whole(model, prompt, new)[-1].argmax()))
    return new


def test_a_batch_with_a_cache_gives_what_each_row_gives_without(model: nn.Module, prompts: list[list[int]]):
    found = generate(model, prompts, max_new_tokens=12)
    assert found.new_tokens == [by_hand(model, prompt, 12) for prompt in prompts]


def test_rows_that_end_early_do_not_disturb_the_others(model: nn.Module, prompts: list[list[int]]):
    free = generate(model, prompts, max_new_tokens=12).new_tokens
    end = free[1][1]
    found = generate(model, prompts, max_new_tokens=12, eos_token_id=end)
    assert found.new_tokens == [row[: row.index(end) + 1] if end in row else row for row in free]


def test_beams_score_what_the_whole_text_scores(model: nn.Module, prompts: list[list[int]]):
    found = generate(model, prompts, max_new_tokens=6, num_beams=3)
    for prompt, new, score in zip(prompts, found.new_tokens, found.scores or [], strict=True):
        assert score == pytest.approx(log_probability(model, prompt, new) / len(new), abs=1e-5)  # kept in float32


def log_probability(model: nn.Module, prompt: list[int], new: list[int]) -> float:
    logits = whole(model, prompt, new).log_softmax(-1).detach()
    return sum(float(logits[step, token]) for step, token in enumerate(new))


def test_samples_do_not_depend_on_the_batch(model: nn.Module, prompts: list[list[int]]):
    settings = {"max_new_tokens": 8, "temperature": 1.0, "seed": 4}
    batch = generate(model, prompts, **settings).new_tokens
    assert generate(model, prompts[0], **settings).new_tokens[0] == batch[0]
    assert generate(model, prompts[:2], **settings).new_tokens == batch[:2]


def test_a_draft_says_the_same_or_is_refused_by_a_cache_that_cannot_forget(model: nn.Module, prompts: list[list[int]]):
    expected = generate(model, prompts[0], max_new_tokens=20).new_tokens
    has_ring = any(getattr(layer, "window", None) for layer in model.new_cache(1, 20).layers)
    with pytest.raises(UsageError, match="cannot be rewound") if has_ring else nullcontext():
        assert generate(model, prompts[0], max_new_tokens=20, draft=Guess()).new_tokens == expected


class Guess:
    """Mostly wrong."""

    def propose(self, tokens: list[int], most: int) -> list[int]:
        return [tokens[0], 1, 2, 3][:most]


def test_a_model_on_meta_has_nothing_to_say():
    model = build(installed()["llama"].config_class.tiny())
    with pytest.raises(UsageError, match="the model is on meta"):
        generate(model, [3], max_new_tokens=2)


def test_a_model_that_continues_no_text_is_told_from_one_that_does():
    model = build(installed()["bert"].config_class.tiny(), device="cpu")
    with pytest.raises(UsageError, match="a bert does not generate text"):
        generate(model, [3], max_new_tokens=2)
