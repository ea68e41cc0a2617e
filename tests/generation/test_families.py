"""Generation with the models of the registry: what a small fake can get right by luck, these cannot."""

from __future__ import annotations

from dataclasses import replace
from pkgutil import resolve_name

import pytest
import torch
from torch import Tensor, nn

from tests.some import some
from zoo.anatomy.config import RopeConfig
from zoo.errors import UsageError
from zoo.generation import generate
from zoo.models.construction import build
from zoo.nn import EncoderDecoder
from zoo.registry import installed


def decoders() -> list[str]:
    """Families whose models write text with a cache."""
    registry = installed()
    return [name for name in registry.families if hasattr(resolve_name(registry[name].model), "new_cache")]


# Of families whose layers keep what others keep, one: that each decodes as it reads is in the contract of all.
KINDS = """bloom chatglm chatglm2 deepseek deepseek_v32 falcon gemma gemma3n glm gpt2 gpt_oss llama llama4 mixtral opt
qwen qwen2 qwen2_vl qwen3_next smollm3 t5 transformer""".split()


@pytest.fixture(params=some(KINDS, "gpt2", "gemma"))
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


def test_prompts_read_in_chunks_say_the_same(model: nn.Module, prompts: list[list[int]]):
    if model.config.family == "chatglm":
        with pytest.raises(UsageError, match="prefill_chunk=2: the tokens of a prompt see each other"):
            generate(model, prompts, max_new_tokens=3, prefill_chunk=2)
        return
    widths: list[int] = []
    model.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    whole = generate(model, prompts, max_new_tokens=9, return_logits=True)
    widths.clear()
    read = generate(model, prompts, max_new_tokens=9, prefill_chunk=2, return_logits=True)
    assert read.new_tokens == whole.new_tokens
    for a, b in zip(read.logits or [], whole.logits or [], strict=True):
        assert (a - b).abs().max() < 1e-9  # float64; peaked weights give logits of some tens
    if not isinstance(model, EncoderDecoder):  # whose source is read by its encoder
        assert widths[: len(widths) - 8] == [2, 2, 1]
    assert generate(model, prompts, max_new_tokens=9, prefill_chunk=3, num_beams=3).new_tokens == (
        generate(model, prompts, max_new_tokens=9, num_beams=3).new_tokens
    )


def test_chunks_are_refused_where_only_the_whole_prompt_tells_how_tokens_rotate():
    config = installed()["llama"].config_class.tiny()
    rope = RopeConfig(10_000.0, scaling="dynamic", factor=2.0)
    model = build(replace(config, rope=rope, max_seq_len=8, eos_token_id=[]), device="cpu").eval()
    assert generate(model, [3] * 5, max_new_tokens=3, prefill_chunk=2).new_tokens == (
        generate(model, [3] * 5, max_new_tokens=3).new_tokens
    )
    with pytest.raises(UsageError, match=r"prefill_chunk=2: beyond 8 tokens .* room for 9"):
        generate(model, [3] * 5, max_new_tokens=4, prefill_chunk=2)
    with pytest.raises(UsageError, match="prefill_chunk=2: a prompt with images is read in one pass"):
        generate(model, [3] * 5, max_new_tokens=3, prefill_chunk=2, inputs={"images": None})


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


def test_a_draft_says_the_same_in_every_row_however_far_each_goes_back(model: nn.Module, prompts: list[list[int]]):
    """Windows are 4 to 8 tokens here: rings turn several times, and states are computed again, with guesses in them."""
    expected = generate(model, prompts, max_new_tokens=24).new_tokens
    found = generate(model, prompts, max_new_tokens=24, draft=Knowing(expected, prompts))
    assert found.new_tokens == expected
    assert found.draft is not None
    assert 0.2 < (found.draft.acceptance or 0) < 0.9
    assert generate(model, prompts[0], max_new_tokens=24, draft=Knowing(expected, prompts)).new_tokens == expected[:1]
    assert generate(model, prompts[1:], max_new_tokens=24, draft=model).new_tokens == expected[1:]


class Knowing:
    """Says what will come, now fewer and now more tokens of it, and then something else."""

    def __init__(self, expected: list[list[int]], prompts: list[list[int]]) -> None:
        self.expected, self.prompts = expected, prompts

    def propose(self, tokens: list[int], most: int) -> list[int]:
        for new, prompt in zip(self.expected, self.prompts, strict=True):
            for start in (len(prompt), 1):  # an encoder-decoder's texts begin with one token
                rest = new[len(tokens) - start :]
                if len(tokens) > start and tokens[start:] == new[: len(tokens) - start] and rest:
                    right = (len(tokens) * 7) % 5
                    return [*rest[:right], (rest[right:] or [3])[0] % 5 + 3, 4, 5][:most]
        return [3, 4][:most]


def test_a_model_on_meta_has_nothing_to_say():
    model = build(installed()["llama"].config_class.tiny())
    with pytest.raises(UsageError, match="the model is on meta"):
        generate(model, [3], max_new_tokens=2)


def test_a_model_that_continues_no_text_is_told_from_one_that_does():
    model = build(installed()["bert"].config_class.tiny(), device="cpu")
    with pytest.raises(UsageError, match=r"'tiny' is a name, not a model\nzoo.load\('tiny'\) loads it"):
        generate("tiny", "One day")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a bert does not generate text"):
        generate(model, [3], max_new_tokens=2)
    bare = installed()["headed"].config_class(trunk=installed()["qwen3"].config_class.tiny())
    with pytest.raises(UsageError, match="a qwen3 with no head for tokens does not generate text"):
        generate(build(bare, device="cpu"), [3], max_new_tokens=2)


def test_texts_that_share_a_prompts_cache_go_on_as_each_would_alone(model: nn.Module, prompts: list[list[int]]):
    """Padded and not, in the caches of all kinds; that a prompt is read once is held in test_front.py."""
    settings = {"max_new_tokens": 9, "temperature": 1.0, "seed": 4}
    for given in (prompts, prompts[:1]):
        repeated = [prompt for prompt in given for _ in range(2)]
        found = generate(model, given, num_return_sequences=2, return_logits=True, **settings)
        alone = generate(model, repeated, return_logits=True, **settings)
        assert found.new_tokens == alone.new_tokens
        for a, b in zip(found.logits or [], alone.logits or [], strict=True):
            assert (a - b).abs().max() < 1e-9  # float64 sums in another order


def test_a_draft_of_another_kind_is_refused(model: nn.Module, prompts: list[list[int]]):
    """A decoder knows nothing of what an encoder has read."""
    other = build(installed()["gpt2" if isinstance(model, EncoderDecoder) else "t5"].config_class.tiny(), device="cpu")
    with pytest.raises(UsageError, match=r"the draft is of another kind: an? "):
        generate(model, prompts, max_new_tokens=3, draft=other)
