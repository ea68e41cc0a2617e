"""Requests that join and leave: each text is what zoo.generate makes of its prompt alone, and no other's affair."""

from __future__ import annotations

import random
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.generation.models import LetterTokenizer, TableModel
from tests.generation.test_families import decoders
from tests.some import some
from zoo.errors import UsageError, ZooError
from zoo.generation import GenerationConfig, generate
from zoo.generation.batching import Beginnings, Engine, QueueFull, Request, Utterance, generate_each
from zoo.models.construction import build
from zoo.nn import Decoder, StateCache
from zoo.registry import installed


@pytest.fixture(scope="module")
def tiny():
    return zoo.load("tiny", dtype="float32")


def told(engine: Engine) -> dict[Request, list]:
    """All pieces by request, once nothing is left to do."""
    found = defaultdict(list)
    for _ in range(10_000):
        if engine.is_idle:
            return found
        for piece in engine.step():
            found[piece.request].append(piece)
    raise AssertionError("the engine does not come to an end")


def drawn(rng: random.Random, number: int, vocab_size: int, **also: object) -> Request:
    config = GenerationConfig(
        max_new_tokens=rng.randrange(1, 16), temperature=rng.choice([0.0, 0.8, 1.3]), seed=number,
        top_p=rng.choice([None, 0.9]), repetition_penalty=rng.choice([1.0, 1.2]), **also,
    )  # fmt: skip
    return Request([rng.randrange(3, vocab_size) for _ in range(rng.randrange(2, 30))], config)


def tokens_of(pieces: list) -> list[int]:
    return [token for piece in pieces for token in piece.tokens]


def alone(model: nn.Module, request: Request, tokenizer: object = None):
    return generate(model, [request.prompt], tokenizer=tokenizer, config=request.config)


def test_texts_do_not_depend_on_who_joins_and_leaves(tiny):
    rng = random.Random(0)
    engine = Engine(tiny, tiny.ledger.tokenizer, max_rows=4)
    requests = [drawn(rng, i, 2000) for i in range(7)]
    for request in requests[:4]:
        engine.submit(request)
    late, found = iter(requests[4:]), defaultdict(list)
    while not engine.is_idle:
        for piece in engine.step():
            found[piece.request].append(piece)
        if rng.random() < 0.3 and (request := next(late, None)) is not None:
            engine.submit(request)
    assert engine.can_join
    assert sum(request in found for request in requests[4:]) > 1
    for request, pieces in found.items():
        once = alone(tiny, request, tiny.ledger.tokenizer)
        assert tokens_of(pieces) == once.new_tokens[0]
        assert "".join(piece.text for piece in pieces) == once.text
        assert pieces[-1].finish_reason == once.finish_reasons[0]


def random_model(name: str, **fields: object) -> nn.Module:
    config = installed()[name].config_class.tiny()
    config.eos_token_id = []
    for field, value in fields.items():
        setattr(config, field, value)
    model = build(config, device="cpu", dtype="float32").eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


@pytest.mark.parametrize("name", some(decoders(), "gpt2"))
def test_every_family_joins_a_batch(name):
    """Keys, rings (mistral), latents (deepseek), prefixes (chatglm), borrowed keys (gemma4), unequal sources (t5)."""
    model = random_model(name)
    c, rng = model.config, random.Random(1)
    end = [c.gmask_token_id, c.bos_token_id] if c.family == "chatglm" else []
    engine = Engine(model, max_rows=3)
    requests = [
        Request([*(rng.randrange(3, 12) for _ in range(rng.randrange(1, 9))), *end], GenerationConfig(max_new_tokens=n))
        for n in (12, 3, 9, 1, 12)
    ]
    for request in requests:
        engine.submit(request)
    found = told(engine)
    assert engine.can_join
    assert [tokens_of(found[r]) for r in requests] == [alone(model, r).new_tokens[0] for r in requests]


class Gate(nn.Module):
    """Remembers a running sum: a layer with a state in place of keys."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, width)

    def forward(self, x: Tensor, span: object, cache: StateCache | None = None) -> Tensor:
        past = torch.zeros_like(x[:, :1]) if cache is None else cache["sum"]
        sums = past + self.up(x).cumsum(1)
        if cache is not None:
            cache["sum"] = sums[:, -1:]
        return x + torch.tanh(sums)

    def new_cache(self, batch_size: int, max_len: int) -> StateCache:
        return StateCache(sum=torch.zeros(batch_size, 1, 8))


@pytest.mark.slow
def test_states_join_and_share_no_beginnings():
    torch.manual_seed(3)
    config = SimpleNamespace(vocab_size=40, hidden_size=8, tie_embeddings=False, eos_token_id=[], family="sum")
    model = Decoder(config, [Gate(8), Gate(8)], nn.LayerNorm(8)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    beginnings = Beginnings(1 << 20)
    engine = Engine(model, max_rows=3, beginnings=beginnings)
    requests = [Request([*range(3, 33), n], GenerationConfig(max_new_tokens=n)) for n in (4, 9, 2, 7)]
    for request in requests:
        engine.submit(request)
    found = told(engine)
    assert engine.can_join
    assert beginnings.nbytes == beginnings.num_shared == 0
    assert [tokens_of(found[r]) for r in requests] == [alone(model, r).new_tokens[0] for r in requests]


def test_a_strangers_cache_is_served_one_at_a_time():
    model, tokenizer = TableModel(), LetterTokenizer()
    engine = Engine(model, tokenizer, max_rows=4)
    requests = [Request([3, 4, n], GenerationConfig(max_new_tokens=n)) for n in (9, 5, 7)]
    for request in requests:
        engine.submit(request)
    found = told(engine)
    assert engine.can_join is False
    assert {shape[0] for shape in model.passes} == {1}
    assert [tokens_of(found[r]) for r in requests] == [alone(model, r).new_tokens[0] for r in requests]


@pytest.mark.slow
@pytest.mark.parametrize("also", [{"num_beams": 3}, {"guidance_scale": 1.5}, {"cache": "int8"}], ids=str)
def test_what_steps_otherwise_is_made_by_itself_beside_the_others(tiny, also):
    engine = Engine(tiny, tiny.ledger.tokenizer)
    prompts = [tiny.ledger.tokenizer.encode(text) for text in ("She said", "It was a")]
    configs = [GenerationConfig(max_new_tokens=8, **also), GenerationConfig(max_new_tokens=8)]
    requests = [Request(p, c) for p, c in zip(prompts, configs, strict=True)]
    for request in requests:
        engine.submit(request)
    found = told(engine)
    assert [tokens_of(found[r]) for r in requests] == [alone(tiny, r).new_tokens[0] for r in requests]


@pytest.mark.slow
def test_several_texts_of_a_prompt_draw_as_the_rows_of_one_call(tiny):
    config = GenerationConfig(max_new_tokens=10, temperature=1.0, seed=5, num_return_sequences=3)
    request = Request(tiny.ledger.tokenizer.encode("She said"), config)
    engine = Engine(tiny, tiny.ledger.tokenizer)
    engine.submit(request)
    found = told(engine)[request]
    rows = [tokens_of([piece for piece in found if piece.number == n]) for n in range(3)]
    assert rows == alone(tiny, request).new_tokens
    assert len({*map(tuple, rows)}) == 3


@pytest.mark.slow
def test_one_who_goes_away_frees_its_rows(tiny):
    engine = Engine(tiny, tiny.ledger.tokenizer, max_rows=2)
    long = Request([5, 6, 7], GenerationConfig(max_new_tokens=200, num_return_sequences=2, temperature=1.0))
    short = Request([8, 9], GenerationConfig(max_new_tokens=3))
    engine.submit(long)
    engine.submit(short)
    engine.step()
    assert (engine.num_rows, engine.num_waiting) == (2, 1)
    long.is_cancelled = True
    assert tokens_of(told(engine)[short]) == alone(tiny, short).new_tokens[0]
    assert engine.group.cache is None


def test_a_full_queue_and_too_many_texts_are_refused(tiny):
    engine = Engine(tiny, max_rows=1, max_waiting=1)
    engine.submit(Request([5], GenerationConfig(max_new_tokens=1)))
    with pytest.raises(QueueFull, match="1 requests are waiting"):
        engine.submit(Request([5], GenerationConfig(max_new_tokens=1)))
    with pytest.raises(UsageError, match="2 texts are asked for, and 1"):
        engine.submit(Request([5], GenerationConfig(max_new_tokens=1, num_return_sequences=2, temperature=1.0)))


@pytest.mark.slow
def test_what_is_wrong_with_one_request_ends_that_one_alone(tiny):
    engine = Engine(tiny, tiny.ledger.tokenizer)
    wrong = Request([5, 6], GenerationConfig(max_new_tokens=9, suppress_tokens=[*range(2048)]))
    empty = Request([], GenerationConfig(max_new_tokens=3))
    right = Request([5, 6], GenerationConfig(max_new_tokens=9))
    for request in (wrong, empty, right):
        engine.submit(request)
    found = told(engine)
    assert "no token is left" in str(found[wrong][-1].error)
    assert isinstance(found[empty][-1].error, ZooError)
    assert tokens_of(found[right]) == alone(tiny, right).new_tokens[0]


@pytest.mark.slow
def test_scores_are_the_models(tiny):
    prompt = tiny.ledger.tokenizer.encode("She had been")
    request = Request(prompt, GenerationConfig(max_new_tokens=6), num_top=3, scores_prompt=True)
    other = Request(prompt[:2], GenerationConfig(max_new_tokens=20))
    engine = Engine(tiny, tiny.ledger.tokenizer)
    engine.submit(request)
    engine.submit(other)
    pieces = told(engine)[request]
    new, scores = tokens_of(pieces), [score for piece in pieces for score in piece.scores]
    with torch.inference_mode():
        true = tiny(torch.tensor([prompt + new]))[0].log_softmax(-1)
    assert request.prompt_scores[0] is None
    for at, score in enumerate([*request.prompt_scores[1:], *scores], 1):
        best = true[at - 1].topk(3)
        assert score.token == (prompt + new)[at]
        assert score.log_prob == pytest.approx(float(true[at - 1, score.token]), abs=1e-4)  # sums in another order
        assert [token for token, _ in score.top] == best.indices.tolist()


@pytest.mark.slow
def test_each_is_what_generate_gives(tiny):
    tokenizer = tiny.ledger.tokenizer
    prompts = [tokenizer.encode(text) for text in ("She said", "It was", "He")]
    configs = [GenerationConfig(max_new_tokens=n, stop=["."]) for n in (30, 5, 12)]
    texts = generate_each(tiny, prompts, configs, tokenizer=tokenizer, max_rows=2)
    assert texts == [
        generate(tiny, [p], config=c, tokenizer=tokenizer).text for p, c in zip(prompts, configs, strict=True)
    ]


@pytest.mark.slow
def test_a_conversation_is_not_read_again_and_says_the_same(tiny):
    tokenizer, beginnings = tiny.ledger.tokenizer, Beginnings(1 << 24)
    engine = Engine(tiny, tokenizer, max_rows=1, beginnings=beginnings)
    said, config = "She had been so very much in love with the old man that she said nothing.", GenerationConfig()
    for line in (" He said", " And"):
        said += line
        prompt = tokenizer.encode(said)
        pieces = Utterance(engine, prompt, config.updated(max_new_tokens=12))
        answer = "".join(pieces)
        out = generate(tiny, [prompt], tokenizer=tokenizer, max_new_tokens=12, config=config)
        assert (answer, pieces.new_tokens, pieces.finish_reason) == (out.text, out.new_tokens[0], out.finish_reasons[0])
        said += answer
    assert beginnings.num_shared > 16


@pytest.mark.slow
def test_an_interrupted_answer_leaves_the_engine_ready(tiny):
    engine = Engine(tiny, tiny.ledger.tokenizer, max_rows=1)
    config, step = GenerationConfig(max_new_tokens=4), engine.step

    def interrupted() -> list:
        raise KeyboardInterrupt

    engine.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        next(Utterance(engine, [5, 6], config))
    engine.step = step  # type: ignore[method-assign]
    assert engine.is_idle
    assert "".join(Utterance(engine, [5, 6], config)) == generate(
        tiny, [[5, 6]], tokenizer=tiny.ledger.tokenizer, config=config
    ).text  # fmt: skip
