"""The client that everybody has, as it comes."""

from __future__ import annotations

import time

import pytest
import torch

from zoo.generation import generate

pytestmark = pytest.mark.slow  # the client takes seconds to import

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def openai(server):
    package = pytest.importorskip("openai", reason="the client is in the dev extra")
    return package, package.OpenAI(base_url=f"{str(server[0].base_url).rstrip(chr(47))}/v1", api_key="none")


def test_completions_whole_and_in_pieces(openai, tiny):
    _, client = openai
    out = generate(tiny, "She said", max_new_tokens=12)
    whole = client.completions.create(model="tiny", prompt="She said", max_tokens=12, logprobs=2)
    assert whole.choices[0].text == out.text
    assert whole.usage.completion_tokens == len(out.new_tokens[0])
    with torch.inference_mode():
        prompt = tiny.ledger.tokenizer.encode("She said")
        true = tiny(torch.tensor([prompt + out.new_tokens[0]]))[0].log_softmax(-1)[len(prompt) - 1 : -1]
    expected = [float(row[token]) for row, token in zip(true, out.new_tokens[0], strict=True)]
    assert whole.choices[0].logprobs.token_logprobs == pytest.approx(expected, abs=1e-4)  # sums in another order
    pieces = client.completions.create(model="tiny", prompt="She said", max_tokens=12, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == out.text


def test_chats_whole_and_in_pieces(openai):
    _, client = openai
    asked = {"model": "talker", "messages": MESSAGES, "max_completion_tokens": 10, "temperature": 0.8, "seed": 3}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2, n=2)
    assert len(whole.choices) == 2
    texts = ["", ""]
    for piece in client.chat.completions.create(**asked, n=2, stream=True, stream_options={"include_usage": True}):
        for choice in piece.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert piece.usage == whole.usage


def test_models_embeddings_and_errors(openai):
    package, client = openai
    assert [model.id for model in client.models.list()] == ["tiny", "talker"]
    assert client.models.retrieve("tiny").owned_by == "zoo"
    found = client.embeddings.create(model="tiny", input=["a", "b"])  # which asks for base64
    assert sum(x * x for x in found.data[1].embedding) == pytest.approx(1, abs=1e-5)
    with pytest.raises(package.NotFoundError, match="did you mean: tiny"):
        client.completions.create(model="tinny", prompt="x")
    with pytest.raises(package.BadRequestError, match="without a temperature all texts would be the same"):
        client.completions.create(model="tiny", prompt="x", n=2)


def test_a_client_that_stops_to_listen_frees_its_row(openai, server):
    _, client = openai
    stream = client.completions.create(model="tiny", prompt="She", max_tokens=200, stream=True, logit_bias={"2": -100})
    next(iter(stream))
    stream.close()
    engine = server[1].shelf.volumes["tiny"].engine
    for _ in range(200):
        if engine.is_idle:
            break
        time.sleep(0.02)
    assert engine.is_idle
