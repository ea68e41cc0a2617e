"""Every field of the interface is used, known to change nothing, or refused by its name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zoo.generation.decoding.sampling import generators
from zoo.serving.failures import BadField, body_of, status_of

OWN = {"completions": {"prompt": "x"}, "chat/completions": {"messages": [{"role": "user", "content": "x"}]}}
# The fields of OpenAI's reference: for each a value that it takes, and whether zoo takes it (None: as it stands).
TEXT = {
    "best_of": (2, False), "echo": (True, True), "frequency_penalty": (0.5, True), "logit_bias": ({"5": 1}, True),
    "logprobs": (2, True), "max_tokens": (3, True), "n": (1, True), "presence_penalty": (0.5, True), "seed": (1, True),
    "stop": (["a"], True), "stream": (False, True), "stream_options": ({"include_usage": True}, False),
    "suffix": ("b", False), "temperature": (0.5, True), "top_p": (0.5, True), "user": ("me", True),
}  # fmt: skip
CHAT = {
    "audio": ({"voice": "a"}, False), "frequency_penalty": (0.5, True), "function_call": ("auto", False),
    "functions": ([{}], False), "logit_bias": ({"5": 1}, True), "logprobs": (True, True),
    "max_completion_tokens": (3, True), "max_tokens": (3, True), "metadata": ({"a": "b"}, True),
    "modalities": (["text", "audio"], False), "moderation": ({}, False),
    "prompt_cache_options": ({}, True), "n": (1, True), "parallel_tool_calls": (False, False),
    "prediction": ({"type": "content", "content": "x"}, True), "presence_penalty": (0.5, True),
    "prompt_cache_key": ("a", True), "prompt_cache_retention": ("24h", True), "reasoning_effort": ("low", False),
    "response_format": ({"type": "text"}, True), "safety_identifier": ("a", True), "seed": (1, True),
    "service_tier": ("auto", True), "stop": ("a", True), "store": (True, False), "stream": (False, True),
    "stream_options": ({"include_usage": True}, False), "temperature": (0.5, True), "tool_choice": ("required", False),
    "tools": ([{"type": "function", "function": {"name": "f"}}], True), "top_logprobs": (2, False),
    "top_p": (0.5, True), "user": ("me", True), "verbosity": ("low", False), "web_search_options": ({}, False),
}  # fmt: skip
ALL = [("completions", *item) for item in TEXT.items()] + [("chat/completions", *item) for item in CHAT.items()]


FORM = {"type": "json_schema"}


def reader(route: str):
    from zoo.serving.interface import chat, text

    return (text if route == "completions" else chat).read


@pytest.mark.parametrize(("route", "name", "value_and_answer"), ALL, ids=lambda v: v if isinstance(v, str) else "")
def test_a_field_is_taken_or_refused_by_its_name(shelf, route, name, value_and_answer):
    value, is_taken = value_and_answer
    fields = {"model": "talker", **OWN[route], name: value}
    if is_taken:
        reader(route)(fields, shelf)
        return
    with pytest.raises(Exception, match=name) as caught:
        reader(route)(fields, shelf)
    assert status_of(caught.value) == 400
    assert body_of(caught.value)["error"]["param"] == name


@pytest.mark.slow  # the client takes seconds to import
def test_these_are_all_fields_of_the_interface():
    """As the client of the interface knows them."""
    openai = pytest.importorskip("openai", reason="the client is in the dev extra")
    import inspect

    assert openai
    from openai.resources.chat import Completions as Chats
    from openai.resources.completions import Completions as Texts

    others = {"self", "extra_headers", "extra_query", "extra_body", "timeout", "model"}
    assert {*inspect.signature(Texts.create).parameters} - others - {"prompt"} <= {*TEXT}
    assert {*inspect.signature(Chats.create).parameters} - others - {"messages"} <= {*CHAT}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"prompt": "x", "temperature": float("nan")}, "temperature", "is not a number from 0 to 2"),
        ({"prompt": "x", "temperature": "hot"}, "temperature", "'hot' is not a number"),
        ({"prompt": "x", "temperature": True}, "temperature", "True is not a number"),
        ({"prompt": "x", "temperature": [1] * 1000}, "temperature", "a list of 1,000 is not a number"),
        ({"prompt": "x", "top_p": 1e308}, "top_p", "is not a number from 0 to 1"),
        ({"prompt": "x", "n": 10**9}, "n", "is not a whole number from 1 to 4"),
        ({"prompt": "x", "n": 10**400}, "n", "a very large number is not"),
        ({"prompt": "x", "n": 2}, "n", "n=2: without a temperature all texts would be the same"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens", "is not a whole number"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens", "gives nothing"),
        ({"prompt": "x", "stop": ["a"] * 1000}, "stop", "at most 16 texts"),
        ({"prompt": "x", "stop": ["a" * 1000]}, "stop", "longer than 512"),
        ({"prompt": "x", "stop": [""]}, "stop", "is empty"),
        ({"prompt": "x", "logit_bias": {"x": 1}}, "logit_bias", "is not token ids"),
        ({"prompt": "x", "logit_bias": {str(i): 1 for i in range(2000)}}, "logit_bias", "1,024 are most"),
        ({"prompt": "x", "seed": 1.5}, "seed", "is not a whole number"),
        ({"prompt": ["x"] * 65}, "prompt", "65 prompts"),
        ({"prompt": []}, "prompt", "neither a text"),
        ({"prompt": [[]]}, None, ""),
        ({"prompt": {"a": 1}}, "prompt", "neither a text"),
        ({"prompt": [1, "x"]}, "prompt", "neither a text nor a list of token ids"),
        ({"prompt": [5] * 257}, "prompt", "has 257 tokens, the model holds 256"),
        ({"prompt": "x" * 20_000}, "prompt", "20,000 characters does not fit"),
        ({}, "prompt", "there is no prompt"),
        ({"prompt": "x", "temprature": 1}, "temprature", "did you mean: temperature"),
        ({"prompt": "x", "stream": True, "stream_options": {"a": 1}}, "stream_options.a", "'a' in stream_options"),
        ({"prompt": "\ud800"}, None, "cannot be written as UTF-8"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(shelf, fields, field, words):
    from zoo.errors import ZooError

    read = reader("completions")
    if field is None and not words:  # known once the prompt is read
        read({"model": "tiny", **fields}, shelf)
        return
    with pytest.raises(ZooError) as caught:
        read({"model": "tiny", **fields}, shelf)
    error = body_of(caught.value)["error"]
    assert words in error["message"]
    assert error["param"] == field


def test_a_token_that_the_model_does_not_have_is_refused_by_the_name_of_its_field(shelf):
    prepared = reader("completions")({"model": "tiny", "prompt": "x", "logit_bias": {"99": 1}}, shelf)
    told = "logit_bias has the token 99, outside the model's vocabulary of 99"
    with pytest.raises(BadField, match=told) as caught:
        prepared.requests(SimpleNamespace(config=SimpleNamespace(vocab_size=99)))
    assert body_of(caught.value)["error"]["param"] == "logit_bias"
    assert prepared.requests(SimpleNamespace(config=SimpleNamespace(vocab_size=100)))


@pytest.mark.parametrize("seed", [-5, 0, 2**63 - 1, 1 - 2**63])
def test_a_seed_is_the_one_that_generation_takes(shelf, seed):
    fields = {"model": "tiny", "prompt": "x", "temperature": 1, "seed": seed}
    assert reader("completions")(fields, shelf).config.seed == seed
    assert len(generators(seed, 3)) == 3


SCHEMA = {"schema": {"type": "null"}}


def form(kind: str, **more: object) -> dict[str, object]:
    return {"response_format": {"type": kind, **more}}


def said(*parts: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [*parts]}]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (form("text", json_schema=SCHEMA), "response_format.json_schema"),
        (form("json_object", schema={}), "response_format.schema"),
        (form("json_schema", json_schema=SCHEMA, strict=True), "response_format.strict"),
        (form("json_schema", json_schema={**SCHEMA, "shema": {}}), "response_format.json_schema.shema"),
        (form("json_schema", json_schema={**SCHEMA, "strict": 1}), "response_format.json_schema.strict"),
        (form("json_schema"), "response_format.json_schema"),
        (form("json_schema", json_schema={}), "response_format.json_schema.schema"),
        (said({"type": "text", "text": "a", "cache_control": {}}), "messages[0].content[0].cache_control"),
        (said({"type": "text", "text": "a"}, {"type": "text", "text": 5}), "messages[0].content[1].text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_stands_inside_a_field_is_read_as_strictly(shelf, fields, field):
    from zoo.errors import ZooError

    with pytest.raises(ZooError) as caught:
        reader("chat/completions")({"model": "talker", **OWN["chat/completions"], **fields}, shelf)
    assert body_of(caught.value)["error"]["param"] == field


def test_labels_of_a_schema_change_nothing(shelf):
    asked = form("json_schema", json_schema={**SCHEMA, "name": "n", "description": "d", "strict": True})
    found = reader("chat/completions")({"model": "talker", **OWN["chat/completions"], **asked}, shelf)
    assert found.config.json_schema == {"type": "null"}


@pytest.mark.parametrize("given", [{"detail": "high"}, {"detial": "auto"}], ids=str)
def test_a_picture_says_nothing_that_is_not_read(given):
    from zoo.serving.bounds import Bounds
    from zoo.serving.interface.pictures import parted

    sees = SimpleNamespace(sees=True, name="m")
    messages = said({"type": "image_url", "image_url": {"url": "data:image/png;base64,", **given}})["messages"]
    with pytest.raises(BadField) as caught:
        parted(messages, sees, Bounds())
    assert caught.value.field == f"messages[0].content[0].image_url.{next(iter(given))}"


def test_a_message_without_a_template_holds_what_its_format_reads(shelf, monkeypatch):
    from zoo.errors import ZooError

    messages = [{"role": "user", "content": "a", "name": "b"}]
    reader("chat/completions")({"model": "talker", "messages": messages}, shelf)  # a template may know of names
    monkeypatch.setattr(shelf.find("talker").tokenizer, "chat_templates", {})
    with pytest.raises(ZooError) as caught:
        reader("chat/completions")({"model": "talker", "messages": messages}, shelf)
    assert body_of(caught.value)["error"]["param"] == "messages[0].name"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "there are no messages"),
        ({"messages": ["x"]}, "not an object with a role"),
        ({"messages": [{"role": "user"}]}, "has no content"),
        ({"messages": [{"role": "user", "content": 5}]}, "neither a text nor a list"),
        ({"messages": [{"role": "user", "content": [5]}]}, "neither a text nor an image_url"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]},
         "does not read pictures"),
        ({**OWN["chat/completions"], "response_format": {"type": "yaml"}}, "is neither text"),
        ({**OWN["chat/completions"], "response_format": {**FORM, "json_schema": {"schema": {"a": "x" * 70_000}}}},
         "longer than 65,536"),
        ({**OWN["chat/completions"], "tools": [5]}, "a tool is not an object"),
        ({**OWN["chat/completions"], "max_tokens": 3, "max_completion_tokens": 4}, "differ"),
        ({**OWN["chat/completions"], "top_logprobs": 3}, "needs logprobs=true"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_chat_that_cannot_be_is_refused_in_words(shelf, fields, words):
    from zoo.errors import ZooError

    with pytest.raises(ZooError, match=words):
        reader("chat/completions")({"model": "talker", **fields}, shelf)
