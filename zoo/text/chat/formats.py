"""How conversations were worded for models that bring no chat template, as their released code words them.

That code encodes text by text and puts special tokens between by their ids, so that what a user says is never read as
one. A template cannot do so; hence a format is a list of parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import UsageError, clean

Messages = Sequence[Mapping[str, Any]]


class Token(str):
    """A special token, by its spelling, among texts."""


@dataclass(frozen=True)
class ChatFormat:
    """A way to word conversations: what it is called, and the tokens at which an answer ends."""

    name: str
    parts: Callable[[Messages], list[str]]  # texts and Tokens
    ends: tuple[str, ...] = ()
    answer: Callable[[str], list[str]] = field(default=lambda text: [text])  # behind the parts of what it answers


def _rounds(messages: Messages) -> tuple[str | None, list[tuple[str, str]], str]:
    """What the system is told, past questions with answers, and the question. Raises UsageError for other turns."""
    said = [(str(message.get("role")), text_of(message)) for message in messages]
    system = said.pop(0)[1] if said and said[0][0] == "system" else None
    for i, (role, _) in enumerate(said):
        if role != ("user", "assistant")[i % 2]:
            raise UsageError(f"message {i + 1} is of the role {clean(role)!r}: user and assistant speak in turn")
    if len(said) % 2 == 0:
        raise UsageError("the last message must be the user's")
    texts = [text for _, text in said]
    return system, list(zip(texts[:-1:2], texts[1::2], strict=True)), texts[-1]


def text_of(message: Mapping[str, Any]) -> str:
    """What a message says. Raises UsageError for one that holds anything else."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        content = "".join(part for part in parts if part) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(content, str):
        raise UsageError("a message holds no text, and this model's format knows nothing else")
    return content


def _chatglm(messages: Messages) -> list[str]:
    system, past, question = _rounds(messages)
    _no_system(system)
    if not past:
        return [question, Token("[gMASK]"), Token("<sop>")]
    told = "".join(f"[Round {i}]\n问：{asked}\n答：{answer}\n" for i, (asked, answer) in enumerate(past))
    return [f"{told}[Round {len(past)}]\n问：{question}\n答：", Token("[gMASK]"), Token("<sop>")]


def _chatglm2(messages: Messages) -> list[str]:
    system, past, question = _rounds(messages)
    _no_system(system)
    told = "".join(f"[Round {i}]\n\n问：{asked}\n\n答：{answer}\n\n" for i, (asked, answer) in enumerate(past, 1))
    return [Token("[gMASK]"), Token("sop"), f"{told}[Round {len(past) + 1}]\n\n问：{question}\n\n答："]


def _chatglm3(messages: Messages, start: str = "sop") -> list[str]:
    parts: list[str] = [Token("[gMASK]"), Token(start)]
    for message in messages:
        if (role := str(message.get("role"))) not in ("system", "user", "assistant", "observation"):
            raise UsageError(f"a message is of the role {clean(role)!r}, which this model's format does not know")
        parts += [Token(f"<|{role}|>"), "\n", text_of(message)]
    return [*parts, Token("<|assistant|>")]


def _no_system(system: str | None) -> None:
    if system is not None:
        raise UsageError("this model's format has no place for a system message")


def _chatml(messages: Messages) -> list[str]:
    said = [(str(message.get("role")), message) for message in messages]
    if not said or said[0][0] != "system":
        said.insert(0, ("system", {"content": "You are a helpful assistant."}))
    parts: list[str] = []
    count = 0
    for role, message in said:
        spoken, count = _with_pictures(message, count)
        parts += [Token("<|im_start|>"), role, "\n", *spoken, Token("<|im_end|>"), "\n"]
    return [*parts, Token("<|im_start|>"), "assistant", "\n"]


PICTURE_TOKENS = re.compile("(</?(?:ref|box|quad|img)>|<imgpad>)")


def _with_pictures(message: Mapping[str, Any], count: int) -> tuple[list[str], int]:
    """What a message says, pictures numbered and each in its place, and how many there are by now."""
    content = message.get("content")
    if not isinstance(content, list) or not any(isinstance(p, dict) and p.get("type") == "image" for p in content):
        return [text_of(message)], count
    spoken: list[str] = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "image":
            count += 1
            spoken.append(f"Picture {count}: <img></img>\n")
        else:
            spoken.append(text_of({"content": [part]}))
    return ["".join(spoken)], count


def _qwen_vl(messages: Messages) -> list[str]:
    """Its own tokens for places in pictures count in texts too; those of the format do not."""
    parts: list[str] = []
    for part in _chatml(messages):
        parts += [part] if isinstance(part, Token) else _with_places(part)
    return parts


def _with_places(text: str) -> list[str]:
    return [Token(part) if i % 2 else part for i, part in enumerate(PICTURE_TOKENS.split(text)) if part]


def _llama2(messages: Messages) -> list[str]:
    system, past, question = _rounds(messages)
    lead = "" if system is None else f"<<SYS>>\n{system}\n<</SYS>>\n\n"
    parts: list[str] = []
    for asked, answer in past:
        text = f"[INST] {(lead + asked).strip()} [/INST] {answer.strip()} "
        parts += [Token("<s>"), text, Token("</s>")]
        lead = ""
    return [*parts, Token("<s>"), f"[INST] {(lead + question).strip()} [/INST]"]


def _glm4(messages: Messages) -> list[str]:
    return _chatglm3(messages, "<sop>")


def _llama3(messages: Messages) -> list[str]:
    parts: list[str] = [Token("<|begin_of_text|>")]
    for role, text in [*((str(message.get("role")), text_of(message)) for message in messages), ("assistant", None)]:
        parts += [Token("<|start_header_id|>"), role, Token("<|end_header_id|>"), "\n\n"]
        parts += [] if text is None else [text.strip(), Token("<|eot_id|>")]
    return parts


def _on_a_line(text: str) -> list[str]:
    return ["\n", text]


def _stripped(text: str) -> list[str]:
    return [text.strip()]


FORMATS = {
    "chatglm": ChatFormat("ChatGLM-6B's rounds", _chatglm, ("<eop>",)),
    "chatglm2": ChatFormat("ChatGLM2's rounds", _chatglm2, ("</s>",)),
    "chatglm3": ChatFormat("ChatGLM3's roles", _chatglm3, ("</s>", "<|user|>", "<|observation|>"), _on_a_line),
    "glm4": ChatFormat("GLM-4's roles", _glm4, ("<|endoftext|>", "<|user|>", "<|observation|>"), _on_a_line),
    "chatml": ChatFormat("Qwen's ChatML", _chatml, ("<|im_end|>", "<|im_start|>")),
    "qwen_vl": ChatFormat("Qwen-VL's ChatML", _qwen_vl, ("<|im_end|>", "<|im_start|>"), _with_places),
    "llama2": ChatFormat("LLaMA 2's [INST]", _llama2, ("</s>",), _stripped),
    "llama3": ChatFormat("LLaMA 3's headers", _llama3, ("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"), _stripped),
}
