"""/v1/chat/completions: conversations, worded as the checkpoint's template words them."""

from __future__ import annotations

from typing import Any

from zoo.generation import GenerationConfig
from zoo.serving.asked import Asked
from zoo.serving.failures import BadField
from zoo.serving.interface.pictures import parted
from zoo.serving.interface.prepared import Prepared, streaming
from zoo.serving.roster import Roster, Volume
from zoo.serving.sampling import config_of

MAX_MESSAGES = 1024
LABELS = (
    "user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "prediction", "service_tier",
)  # fmt: skip


def read(fields: dict[str, Any], shelf: Roster) -> Prepared:
    """The request. Raises ZooError, for a field that cannot be by its name."""
    asked, bounds = Asked(fields), shelf.bounds
    volume = shelf.writer(asked.any("model"))
    config = _ending(volume, config_of(asked, volume.settings, bounds))
    asked.inert(*LABELS)
    _refuse_others(asked)
    messages, pictures = parted(_messages(asked, volume), volume, bounds)
    tools = _tools(asked)
    variables = asked.record("chat_template_kwargs")
    asked_logprobs, top = asked.flag("logprobs"), asked.count("top_logprobs", 0, bounds.top_logprobs)
    if top and not asked_logprobs:
        raise BadField("top_logprobs", "top_logprobs needs logprobs=true")
    most, older = asked.count("max_completion_tokens", 1, 1 << 24), asked.count("max_tokens", 1, 1 << 24)
    if most is not None and older is not None and most != older:
        raise BadField("max_tokens", "max_tokens and max_completion_tokens differ", hint="give max_completion_tokens")
    is_streamed, tells_usage = streaming(asked)
    asked.finish()
    if not volume.tokenizer.has_chat:
        raise BadField(
            "messages", f"{volume.name} has no chat template and its family no format", hint="use /v1/completions"
        )
    worded = {"tools": tools, "variables": variables}
    tokens = [] if pictures else volume.tokenizer.encode_chat(messages, **worded)

    def prompts(model: Any) -> list[tuple[list[int], dict[str, Any]]]:
        if not pictures:
            return [(tokens, {})]
        from zoo.vision.illustration import illustrate

        made = illustrate(model, messages, pictures, tokenizer=volume.tokenizer, folder=volume.folder)
        return [(made.tokens, made.inputs)]

    return Prepared(
        volume, prompts, config, most if most is not None else older, (top or 0) if asked_logprobs else None,
        is_chat=True, is_streamed=is_streamed, tells_usage=tells_usage,
    )  # fmt: skip


def _refuse_others(asked: Asked) -> None:
    """What the interface has and zoo has not."""
    asked.only("audio", why="no model here speaks")
    asked.only("functions", why="they were replaced by tools")
    asked.only("function_call", why="it was replaced by tools")
    asked.only("modalities", ["text"], why="zoo's models write texts")
    asked.only("tool_choice", "auto", "none", why="tools are told to the model, which is not forced to call one")
    asked.only("parallel_tool_calls", True, why="how many tools a model calls is not held to anything")
    asked.only("reasoning_effort", why="what a template knows is given in chat_template_kwargs")
    asked.only("verbosity", "medium", why="no model here has it")
    asked.only("moderation", why="zoo judges no texts")
    asked.only("store", False, why="zoo keeps nothing")
    asked.only("web_search_options", why="zoo searches nothing")


def _messages(asked: Asked, volume: Volume) -> list[dict[str, Any]]:
    messages = asked.items("messages", MAX_MESSAGES)
    if not messages:
        raise BadField("messages", "there are no messages")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or type(message.get("role")) is not str:
            raise BadField("messages", f"message {number} is not an object with a role")
        content = message.get("content")
        if not (content is None or isinstance(content, str | list)):
            raise BadField("messages", f"the content of message {number} is neither a text nor a list of parts")
        if content is None and message["role"] != "assistant":
            raise BadField("messages", f"message {number} has no content")
        if not volume.tokenizer.chat_templates:  # which would read whatever it knows of
            inner = Asked(message, at=f"messages[{number}]")
            inner.inert("role", "content")
            inner.finish()
    return messages


def _tools(asked: Asked) -> list[dict[str, Any]] | None:
    tools = asked.items("tools", 128)
    if asked.any("tool_choice") == "none":
        return None
    if tools and not all(isinstance(tool, dict) and tool.get("type") == "function" for tool in tools):
        raise BadField("tools", 'a tool is not an object of "type": "function"')
    return tools or None


def _ending(volume: Volume, config: GenerationConfig) -> GenerationConfig:
    """The settings with the tokens at which a turn ends in the family's own format, where that words the chat."""
    if (format := volume.tokenizer.chat_format) is None or volume.tokenizer.chat_templates:
        return config
    known = (volume.tokenizer.token_to_id(token) for token in format.ends)
    ends = [*(config.eos_token_id or ()), *(index for index in known if index is not None)]
    return config.updated(eos_token_id=list(dict.fromkeys(ends)))
