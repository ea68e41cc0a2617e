"""What a chat template finds beside its messages, as transformers gives it: functions, a tag, the filter for JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.utils import Namespace


class Refused(TemplateError):
    """What a template says through raise_exception(...)."""


class GenerationTag(Extension):
    """{% generation %} marks what the model said, for training; the text within is rendered as it stands."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own spelling

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)  # what it sets stays within, as with transformers


class Dict:
    """dict(...) without the type's other attributes."""

    __name__ = "dict"

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)


class PlainNamespace(Namespace):
    """namespace(...) that takes no name a Python object has for itself, and does not print its values."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        values = dict(*args[1:], **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(args[0], values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _check_name(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"a namespace with an attribute {name!r}")


def refuse(message: object) -> None:
    raise Refused(str(message))


def strftime_now(form: str) -> str:
    """The time now; under the name by which templates know it, and the budget too."""
    return datetime.now().strftime(form)


def to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # jinja's own escapes for HTML, which a model has never seen.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
