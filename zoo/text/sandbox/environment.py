"""Where a checkpoint's chat template runs: jinja's sandbox, with the globals that transformers gives, and a budget.

jinja's sandbox keeps a template from Python's internals and from changing what it is given, but not from looping for
ever or doubling a text forty times. So the template is rewritten before it is compiled: every loop, call, operator and
output goes through a method of the environment that counts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from zoo.text.sandbox.budget import Budget
from zoo.text.sandbox.counting import Counting
from zoo.text.sandbox.names import Dict, GenerationTag, PlainNamespace, Refused, refuse, strftime_now, to_json

__all__ = ["Refused", "SecurityError", "TemplateError", "TemplateSandbox", "TemplateSyntaxError"]

# What a template may call of a value; everything else that Python's types can do is hidden.
METHODS: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, frozenset(
        "capitalize casefold center count endswith expandtabs find format format_map index isalnum isalpha isascii "
        "isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip "
        "partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines "
        "startswith strip swapcase title upper zfill".split())),
    (dict, frozenset("copy get items keys values".split())),
    ((list, tuple), frozenset("copy count index".split())),
    ((int, float, range, set), frozenset()),
)  # fmt: skip
MAX_WORDS = 20_000  # of a template: names, signs, numbers, texts; the longest in use have 5,000
UNSAFE_FILTERS = ("urlize", "wordwrap", "xmlattr")
EAGER = frozenset("join sum sort min max groupby list reverse".split())  # they take all that an iterator has


class TemplateSandbox:
    """One template, compiled; `render` may be called from several threads."""

    def __init__(self, source: str) -> None:
        self._environment = _Environment()
        self._lock = threading.Lock()
        _check_length(self._environment, source)
        tree = Counting().visit(self._environment.parse(source))
        code = self._environment.compile(tree)
        self._template = self._environment.template_class.from_code(
            self._environment, code, self._environment.make_globals(None)
        )

    def render(self, values: Mapping[str, Any]) -> str:
        """The text. Raises SecurityError over the budget, Refused for raise_exception, or what happens within."""
        with self._lock:
            self._environment.budget = Budget()
            return "".join(self._template.generate(values))


def _check_length(environment: _Environment, source: str) -> None:
    """Refuse what would take seconds to compile, before it is parsed."""
    words = (kind for _, kind, _ in environment.lexer.tokeniter(source, None) if kind != "whitespace")
    if next(islice(words, MAX_WORDS, None), None):
        raise TemplateError(f"it has more than {MAX_WORDS:,} words")


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        # Not optimized: constants are folded while compiling, before there is a budget.
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols], optimized=False
        )
        self.budget = Budget()
        for name in UNSAFE_FILTERS:
            del self.filters[name]
        self.filters["tojson"] = to_json
        self.filters = {name: _Counted(self, name, function) for name, function in self.filters.items()}
        self.tests = {name: _Counted(self, name, function) for name, function in self.tests.items()}
        del self.globals["lipsum"]
        given: dict[str, Any] = {"raise_exception": refuse, "strftime_now": strftime_now}
        self.globals.update(given | {"dict": Dict(), "namespace": PlainNamespace})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        known = next((names for kind, names in METHODS if isinstance(obj, kind)), None)
        return (known is None or attr in known) and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.budget.check_operator(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        if operator == "+":
            self.budget.know(result, (1, left), (1, right))
        elif operator == "*" and isinstance(result, list | tuple):
            times, value = (left, right) if isinstance(left, int) else (right, left)
            self.budget.know(result, (max(times, 0), value))
        return self.budget.weigh(result, left, right)

    def call(self, context: Any, target: Any, /, *args: Any, **kwargs: Any) -> Any:
        method = getattr(target, "__wrapped__", target)  # str.format comes wrapped
        name, owner = getattr(method, "__name__", type(method).__name__), getattr(method, "__self__", None)
        if owner is self:  # one of the counting methods below
            return super().call(context, target, *args, **kwargs)
        if name == "join" and args:
            args = (self._all(args[0]), *args[1:])
        self.budget.check_call(name, owner, args, kwargs)
        return self._result(super().call(context, target, *args, **kwargs), owner, *args)

    def filtered(self, name: str, function: Any, given: list[Any], kwargs: dict[str, Any], before: list[Any]) -> Any:
        """The result of a filter or test, whose arguments and result are weighed."""
        if name in EAGER and given:
            given[0] = self._all(given[0])
        self.budget.check_call(name, given[0] if given else None, tuple(given[1:]), kwargs)
        return self._result(function(*before, *given, **kwargs), *given)

    def _all(self, value: Any) -> Any:
        """What an iterator has, as a list whose size is known."""
        return self.budget.weigh(list(self._ticking(value))) if hasattr(value, "__next__") else value

    def _result(self, value: Any, *given: Any) -> Any:
        if hasattr(value, "__next__"):
            return self._ticking(value)
        if isinstance(value, list | tuple) and given and isinstance(given[0], str):
            return self.budget.pieces(value, given[0])
        return self.budget.weigh(value, *given)

    def _ticking(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self.budget.tick()
            yield item

    def tick(self) -> None:
        """One turn of a loop or a macro."""
        self.budget.tick()

    def built(self, value: Any) -> Any:
        """A list, tuple or dict that the template wrote down."""
        return self.budget.weigh(value)

    def joined(self, *parts: Any) -> str:
        """a ~ b ~ c."""
        self.budget.check_sum(parts)
        return self.budget.weigh("".join(map(str, parts)), *parts)

    def compared(self, value: Any) -> Any:
        """One side of a comparison."""
        self.budget.check_comparison(value)
        return value

    def sliced(self, value: Any, start: Any, stop: Any, step: Any) -> Any:
        """value[start:stop:step]."""
        part = slice(start, stop, step)
        self.budget.check_slice(value, part)
        result = value[part]
        self.budget.know(result, (1, value))
        return self.budget.weigh(result, value)

    def out(self, value: Any) -> str:
        """What goes into the prompt, a macro's result or a set block."""
        return self.budget.spend(value)


class _Counted:
    """A filter or test that goes through the environment; jinja reads its marks off the function's attributes."""

    def __init__(self, environment: _Environment, name: str, function: Any) -> None:
        self._environment, self._name, self._function = environment, name, function
        if mark := getattr(function, "jinja_pass_arg", None):
            self.jinja_pass_arg = mark

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = int(hasattr(self, "jinja_pass_arg"))
        given = list(args[before:])
        return self._environment.filtered(self._name, self._function, given, kwargs, list(args[:before]))
