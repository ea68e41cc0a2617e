"""What is answered is what zoo.generate and the model say, whole or in pieces."""

from __future__ import annotations

import base64
import json
import struct

import httpx
import pytest
import torch

from zoo.generation import generate

ASKED = {"model": "tiny", "prompt": "She had been", "max_tokens": 12}


def made(client: httpx.Client, path: str = "/v1/completions", **fields: object) -> dict:
    answer = client.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(client: httpx.Client, path: str = "/v1/completions", **fields: object) -> list[dict]:
    with client.stream("POST", path, json={**fields, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


FIELDS = [
    {"temperature": 0.9, "seed": 3}, {"temperature": 1.2, "top_p": 0.8, "seed": 4, "presence_penalty": 0.7},
    {"frequency_penalty": 1.5, "stop": [" and", "."]}, {"logit_bias": {"300": 5, "301": -100}}, {"top_k": 1},
]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [{}, *(pytest.param(fields, marks=pytest.mark.slow, id=" ".join(fields)) for fields in FIELDS)],
)  # fmt: skip
def test_a_text_is_what_generate_gives_whole_and_in_pieces(client, tiny, fields):
    found = made(client, **ASKED, **fields)["choices"][0]
    same = {name: value for name, value in fields.items() if name != "logit_bias"}
    if "logit_bias" in fields:
        same["sequence_bias"] = [[[int(token)], float(bias)] for token, bias in fields["logit_bias"].items()]
    out = generate(tiny, ASKED["prompt"], max_new_tokens=12, **same)
    assert found["text"] == out.text
    assert found["finish_reason"] == {"eos": "stop", "stop": "stop", "length": "length"}[out.finish_reasons[0]]
    told = events(client, **ASKED, **fields)
    assert "".join(event["choices"][0]["text"] for event in told) == out.text
    assert [e["choices"][0]["finish_reason"] for e in told][-1] == found["finish_reason"]


@pytest.mark.slow
def test_probabilities_are_the_models_and_come_in_pieces_alike(client, tiny):
    whole = made(client, **ASKED, logprobs=3, echo=True)["choices"][0]
    prompt = tiny.ledger.tokenizer.encode(ASKED["prompt"])
    new = generate(tiny, ASKED["prompt"], max_new_tokens=12).new_tokens[0]
    with torch.inference_mode():
        true = tiny(torch.tensor([prompt + new]))[0].log_softmax(-1)
    expected = true[:-1].gather(1, torch.tensor((prompt + new)[1:])[:, None])[:, 0].tolist()
    found = whole["logprobs"]
    assert found["token_logprobs"][0] is None
    assert found["token_logprobs"][1:] == pytest.approx(expected, abs=1e-4)  # sums in another order
    for row, table in zip(true, found["top_logprobs"][1:], strict=False):
        assert max(table.values()) == pytest.approx(float(row.max()), abs=1e-4)
    assert whole["text"].startswith(ASKED["prompt"])
    text = whole["text"]
    for token, at in list(zip(found["tokens"], found["text_offset"], strict=True))[1:]:
        assert text[at : at + len(token)] == token
    told = [event["choices"][0]["logprobs"] for event in events(client, **ASKED, logprobs=3, echo=True)]
    for name in found:
        assert [item for part in told for item in part[name]] == found[name]


@pytest.mark.slow
def test_many_prompts_and_texts_are_numbered_in_order(client, tiny):
    asked = {**ASKED, "prompt": ["She said", [1, 300, 400]], "n": 2, "temperature": 1.0, "seed": 7}
    found = made(client, **asked)
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2, 3]
    ids = [tiny.ledger.tokenizer.encode("She said"), [1, 300, 400]]
    out = generate(tiny, ids, max_new_tokens=12, temperature=1.0, seed=7, num_return_sequences=2,
                   tokenizer=tiny.ledger.tokenizer)  # fmt: skip
    assert [choice["text"] for choice in found["choices"]] == out.texts
    counts = sum(map(len, ids)), sum(map(len, out.new_tokens))
    assert found["usage"] == {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)}
    texts = [""] * 4
    for event in events(client, **asked, stream_options={"include_usage": True}):
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == out.texts
    assert event["usage"] == found["usage"]


@pytest.mark.slow
def test_reading_alone_gives_the_prompt(client):
    found = made(client, **{**ASKED, "max_tokens": 0}, echo=True, logprobs=0)["choices"][0]
    assert found["text"] == ASKED["prompt"]
    assert len(found["logprobs"]["tokens"]) == 4


CHAT = {"model": "talker", "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 10}


@pytest.mark.slow
def test_a_chat_is_worded_by_the_template_and_answered_whole_and_in_pieces(client, tiny):
    prompt = tiny.ledger.tokenizer.encode("user: Hello\nassistant:", add_special_tokens=False)
    out = generate(tiny, [prompt], max_new_tokens=10, tokenizer=tiny.ledger.tokenizer)
    whole = made(client, "/v1/chat/completions", **CHAT, logprobs=True, top_logprobs=2)["choices"][0]
    assert whole["message"] == {"role": "assistant", "content": out.text, "refusal": None}
    content = whole["logprobs"]["content"]
    assert bytes(byte for token in content for byte in token["bytes"]).decode() == out.text
    assert all(len(token["top_logprobs"]) == 2 for token in content)
    told = events(client, "/v1/chat/completions", **CHAT, logprobs=True, top_logprobs=2)
    assert told[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in told) == out.text
    pieces = [event["choices"][0]["logprobs"] for event in told if event["choices"][0]["logprobs"]]
    assert [token for piece in pieces for token in piece["content"]] == content


@pytest.mark.slow
def test_tools_and_parts_of_text_reach_the_template(client):
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    tools = [{"type": "function", "function": {"name": "weather"}}]
    asked = [{"model": "talker", "messages": [{"role": "user", "content": c}]} for c in ("Hello", parts)]
    assert len({client.post("/tokenize", json=one).text for one in asked}) == 1
    plain = made(client, "/v1/chat/completions", **CHAT)["usage"]["prompt_tokens"]
    assert made(client, "/v1/chat/completions", **CHAT, tools=tools)["usage"]["prompt_tokens"] > plain
    assert (
        made(client, "/v1/chat/completions", **CHAT, tools=tools, tool_choice="none")["usage"]["prompt_tokens"] == plain
    )


@pytest.mark.slow
def test_json_of_a_schema(client):
    pytest.importorskip("llguidance", reason="the extra form")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
              "additionalProperties": False}  # fmt: skip
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    found = made(client, "/v1/chat/completions", **{**CHAT, "max_completion_tokens": 30}, response_format=form)
    assert json.loads(found["choices"][0]["message"]["content"])["ok"] in (True, False)


@pytest.mark.slow
def test_embeddings_are_the_mean_of_the_models_states(client, tiny):
    ids = tiny.ledger.tokenizer.encode("She said")
    with torch.inference_mode():
        mean = tiny.states(torch.tensor([ids]))[0].mean(0)
    found = made(client, "/v1/embeddings", model="tiny", input=["She said", ids])
    for row in found["data"]:
        assert row["embedding"] == pytest.approx((mean / mean.norm()).tolist(), abs=1e-5)
    packed = made(client, "/v1/embeddings", model="tiny", input="She said", encoding_format="base64")["data"][0]
    numbers = struct.unpack(f"<{len(mean)}f", base64.b64decode(packed["embedding"]))
    assert numbers == pytest.approx(found["data"][0]["embedding"])


@pytest.mark.slow
def test_what_is_there_and_how_it_goes(client):
    listed = client.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["tiny", "talker"]
    assert client.get("/v1/models/tiny").json()["max_model_len"] == 256
    assert client.get("/v1/models/lama").status_code == 404
    assert client.get("/health").json() == {"status": "ok"}
    text = client.get("/metrics").text
    assert 'zoo_loaded{model="tiny"} 1' in text


@pytest.mark.slow
def test_prometheus_reads_the_measures(client):
    for line in client.get("/metrics").text.splitlines():
        name, _, value = line.rpartition(" ")
        assert line.startswith(("# HELP zoo_", "# TYPE zoo_")) or (name.startswith("zoo_") and float(value) >= 0)
