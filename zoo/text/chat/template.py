"""Chat templates: conversations to prompts, byte for byte as transformers renders them.

jinja2 is imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.errors import CheckpointError, UsageError, clean

MAX_TEMPLATE_CHARS = 1 << 20


class ChatTemplate:
    """A jinja template from a checkpoint, run in a sandbox with a limit on time and size."""

    def __init__(self, source: str, *, file: object = "chat template") -> None:
        """Raises CheckpointError, with the line, for a template that is not jinja."""
        from zoo.text.sandbox.environment import TemplateSandbox, TemplateSyntaxError

        self.source, self.file = source, file
        if len(source) > MAX_TEMPLATE_CHARS:
            raise self._broken(f"is longer than {MAX_TEMPLATE_CHARS:,} characters")
        try:
            self._sandbox = TemplateSandbox(source)
        except TemplateSyntaxError as error:
            raise self._broken(f"line {error.lineno}: {clean(error.message)}") from None
        except Exception as error:  # numbers of 5,000 digits, brackets within brackets: whatever Python objects to
            raise self._broken(f"cannot be compiled: {clean(error)}") from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for `messages`; `variables` go to the template too (bos_token, enable_thinking, ...).

        Raises UsageError where the template refuses the messages or cannot make sense of them, and CheckpointError
        where it does what no chat template needs to.
        """
        from zoo.text.sandbox.environment import Refused, SecurityError

        values = {
            **(variables or {}),
            "messages": messages,
            "tools": tools,
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
        }
        if not messages:
            raise UsageError("there are no messages")
        try:
            values = {name: plain(value, name) for name, value in values.items()}
        except RecursionError:
            raise UsageError("the messages are nested too deep") from None
        try:
            return self._sandbox.render(values)
        except Refused as error:
            raise UsageError(f"the chat template refuses these messages: {clean(error, 200)}") from None
        except (SecurityError, RecursionError, OverflowError, MemoryError) as error:
            raise self._broken(f"does something that no chat template needs: {clean(error)}") from None
        except Exception as error:  # a template is foreign code, and may raise anything
            what = f"{type(error).__name__}: {clean(error, 200)}"
            why = f"it expects other roles or fields, or is broken; it comes from {self.file}"
            raise UsageError(f"the chat template cannot render these messages: {what}", why=why) from None

    def _broken(self, what: str) -> CheckpointError:
        return CheckpointError(self.file, "chat_template", what)


def plain(value: Any, path: str) -> Any:
    """A copy of JSON values. Raises UsageError for anything else: its methods would be the template's to call."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise UsageError(f"{path} has a key that is not a text")
        return {key: plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    raise UsageError(
        f"{path} is {type(value).__name__}, and a chat template takes only texts, numbers, lists and dicts"
    )
