# ruff: noqa: E501 - each case is a line, to be read as one
"""What a step of a chat template is reckoned to cost: never less than it does, refused right beyond each limit."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import Environment
from markupsafe import Markup

from zoo.text.sandbox import costs
from zoo.text.sandbox.budget import Budget
from zoo.text.sandbox.costs import Cost, cost_of_operator, cost_of_slice
from zoo.text.sandbox.environment import TemplateSandbox
from zoo.text.sandbox.names import to_json

from .steps import call, refused

AT_THE_LIMIT: list[tuple[str, Any, list[Any], list[Any]]] = [  # name, owner, arguments that are taken, that are not
    *(
        (name, "a", [most], [most + 1])
        for name, most in {"batch": 10_000, "slice": 10_000, "indent": 100, "tojson": 100, "expandtabs": 100}.items()
    ),
    ("round", 1.5, [300], [301]),
    ("round", 1.5, [-300], [-301]),
    ("indent", "a", ["x" * 100], ["x" * 101]),
    ("tojson", [1], [[100]], [[101]]),
    *((name, "a", ["x" * 100], ["x" * 101]) for name in ("strip", "lstrip", "rstrip", "trim")),
    ("replace", "a", ["x" * 101, "y"], []),
    ("int", "1" * 4300, [0], []),
    ("striptags", "a" * 100_000, [], []),
    ("strftime_now", None, ["%Y" * 500], ["%Y" * 500 + "."]),
    ("strftime_now", None, ["%Y 2000"], ["%5Y"]),
    ("strftime_now", None, ["%-d"], ["%_9d"]),
]


@pytest.mark.parametrize(("name", "owner", "taken", "refused"), AT_THE_LIMIT)
def test_an_argument_at_a_limit_is_taken_and_one_beyond_is_refused(
    name: str, owner: Any, taken: list[Any], refused: list[Any]
) -> None:
    assert call(name, owner, *taken).refused == ""
    if refused:
        assert call(name, owner, *refused).refused


@pytest.mark.parametrize(("name", "owner"), [("int", "1" * 4301), ("striptags", "a" * 100_001)])
def test_a_text_beyond_a_limit_is_refused(name: str, owner: str) -> None:
    assert call(name, owner).refused
    assert not call("length", owner).refused


@pytest.mark.parametrize(
    ("operator", "left", "right", "refused"),
    [
        ("+", 1 << 4999, 1 << 4999, False),
        ("*", 1 << 4999, 1 << 5000, True),
        ("**", 2, 5000, False),
        ("**", 2, 5001, True),
        ("**", 1 << 9999, 0, False),
        ("**", 1 << 10_000, -1, True),
        ("%", "%999d", 1, False),
        ("%", "%1000d", 1, True),
        ("%", "%*d", (9, 1), True),
        ("%", "%.1000f", 1, True),
        ("%", "1000 %d", 1, False),
        ("%", "%(a)1000d", {"a": 1}, True),
        ("%", "{:1000}", (), False),
    ],
    ids=range(13),
)
def test_numbers_and_formats_have_limits(operator: str, left: Any, right: Any, refused: bool) -> None:
    assert bool(cost_of_operator(Budget(), operator, left, right).refused) is refused


@pytest.mark.parametrize(
    ("text", "refused"),
    [("{:999}", False), ("{:1000}", True), ("{:{}}", True), ("{0}1000", False), ("%1000d", True), ("{:*^9}", True)],
)
def test_a_format_is_bounded_whichever_it_is(text: str, refused: bool) -> None:
    for name in ("format", "format_map"):
        assert bool(call(name, text, 1).refused) is refused


# name, owner, arguments: as a filter or a method gives it; the worst that a letter can turn into is among them.
MAKING: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("tojson", ["😀"], (True,)), ("tojson", [[1, 2], [3]], (False, 9)), ("escape", "'" * 9, ()), ("e", '"' * 9, ()),
    ("forceescape", "<" * 9, ()), ("urlencode", "😀" * 5, ()), ("pprint", ["\0" * 5], ()), ("upper", "ΐ" * 5, ()),
    ("lower", "İ" * 5, ()), ("title", "ΐ a" * 5, ()), ("capitalize", "ΐ", ()), ("replace", "aXbX", ("X", "yyyy")),
    ("replace", "abc", ("", "yyyy")), ("join", ["a", "b", "c"], ("--",)), ("indent", "a\nb\nc", (7,)),
    ("indent", "a\nb\nc", ("xyz",)), ("indent", "a\nb\nc", (3, True)), ("center", "a", (50,)), ("format", "%s-%s", ("ab", "cde")),
    ("string", [1, ["ab"]], ()), ("list", "abcdef", ()), ("trim", "  abc ", ()), ("indent", "a\nb", ()),
    ("wordcount", "a b c", ()), ("batch", [1, 2, 3], (2, "x")), ("sort", [3, 1, 2], ()), ("dictsort", {"b": 1, "a": 2}, ()),
]  # fmt: skip
METHODS: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("upper", "ΐ" * 5, ()), ("lower", "İ" * 5, ()), ("title", "ΐ", ()), ("casefold", "ΐ" * 5, ()), ("swapcase", "ΐ" * 5, ()),
    ("capitalize", "ΐ", ()), ("replace", "aXbX", ("X", "yyyy")), ("replace", "abc", ("", "yy")), ("join", "--", (["a", "b"],)),
    ("join", "--", ("abc",)), ("ljust", "a", (50,)), ("rjust", "a", (50,)), ("center", "a", (50, "x")), ("zfill", "1", (50,)),
    ("expandtabs", "\t\t", ()), ("expandtabs", "\t\t", (40,)), ("format", "{}-{}", ("ab", "cde")), ("split", "a b c", ()),
    ("split", "a,b,c", (",",)), ("rsplit", "a,b,c", (",",)), ("rsplit", "a b", ()), ("splitlines", "a\nb\r\nc\x1cd\u2028e", ()),
    ("splitlines", "ab\n" * 2000, ()), ("splitlines", "\x0b\x0c\x1d\x1e\x85\u2029\r" * 700, ()), ("partition", "a=b", ("=",)),
    ("rpartition", "a=b", ("=",)), ("format_map", "{a}", ({"a": "xyz"},)), ("split", "a " * 100, ()), ("strip", " ab ", ()),
    ("split", "a,b", (",", 1)), ("split", "aaaa", ("a",)),
]  # fmt: skip


def held(cost: Cost, result: Any) -> None:
    """No less is reckoned than came, and not a thousand times as much."""
    is_text = isinstance(result, str)
    chars, items = (len(result), 0) if is_text else (0, len(result) if hasattr(result, "__len__") else 0)
    assert not cost.refused
    assert cost.chars >= chars
    assert cost.items >= items
    assert cost.chars <= 30 * chars + 7000
    assert cost.nanoseconds > 0


@pytest.mark.parametrize(("name", "owner", "args"), MAKING)
def test_a_filter_makes_no_more_than_was_reckoned(name: str, owner: Any, args: tuple[Any, ...]) -> None:
    environment = Environment(autoescape=False)
    environment.filters |= {"tojson": to_json, "join": lambda items, separator: separator.join(items)}
    result = environment.call_filter(name, owner, args, context=None, eval_ctx=None)
    held(call(name, owner, *args), list(result) if hasattr(result, "__next__") else result)


@pytest.mark.parametrize(("name", "owner", "args"), METHODS)
def test_a_method_makes_no_more_than_was_reckoned(name: str, owner: str, args: tuple[Any, ...]) -> None:
    held(call(name, owner, *args), getattr(owner, name)(*args))


@pytest.mark.parametrize(
    ("operator", "left", "right"),
    [
        ("+", "abc", "de"),
        ("+", [1, 2], [3]),
        ("*", "abc", 7),
        ("*", 7, "abc"),
        ("*", [1, 2], 5),
        ("*", "abc", -1),
        ("+", Markup("a"), "'" * 9),
        ("%", "%s %s", ("abc", "de")),
        ("%", "%(a)s", {"a": "abc"}),
    ],
)
def test_an_operator_makes_no_more_than_was_reckoned(operator: str, left: Any, right: Any) -> None:
    result = {"+": lambda: left + right, "*": lambda: left * right, "%": lambda: left % right}[operator]()
    cost = cost_of_operator(Budget(), operator, left, right)
    assert cost.chars >= (len(result) if isinstance(result, str) else 0)
    assert cost.bytes >= (8 * len(result) if isinstance(result, list) else 0)
    assert cost.nanoseconds >= len(result)


@pytest.mark.parametrize(
    ("operator", "left", "right", "cost"),
    [
        ("*", "abc", 7, Cost(21, 21, 0, 0)),
        ("*", 7, [1, 2], Cost(14, 7 * (2 + 2 * 3), 14, 112)),  # a list weighs 2, each item its text and 2: [1, 2]
        ("*", "abc", -2, Cost()),
        ("+", "abc", "de", Cost(50, 5, 0, 40)),
        ("-", 1.5, 1, Cost()),
        ("/", 1.5, 1, Cost()),
    ],
)
def test_sums_and_products_are_reckoned_exactly(operator: str, left: Any, right: Any, cost: Cost) -> None:
    assert cost_of_operator(Budget(), operator, left, right) == cost


def test_a_slice_costs_what_it_copies() -> None:
    assert cost_of_slice(Budget(), "abcdef", slice(1, None, 2)) == Cost(30, 3, 3, 24)
    assert cost_of_slice(Budget(), [1, 2, 3], slice(None, -1)) == Cost(20, 0, 2, 16)
    assert cost_of_slice(Budget(), {"a": 1}, slice(None)) == Cost()


@pytest.mark.parametrize(
    ("dear", "cheap"),
    [
        (call("rfind", "a" * 1000, "b" * 500), call("find", "a" * 1000, "b" * 500)),  # every place is tried
        (call("sum", [[1]] * 1000, start=[]), call("sum", [1] * 1000)),  # the list so far is copied for each
        (call("sum", [[1]] * 1000, "x", []), call("sum", [1] * 1000, "x", 0)),
        (call("map", [{}] * 1000, "a.b.c"), call("map", [{}] * 1000, "a")),  # a path is walked
        (call("sort", list(range(9000))), call("length", list(range(9000)))),  # item by item, in Python
        (call("pprint", "a" * 1000), call("length", "a" * 1000)),
    ],
)
def test_what_takes_longer_is_reckoned_to(dear: Cost, cheap: Cost) -> None:
    assert dear.nanoseconds > 1.5 * cheap.nanoseconds


def test_a_text_is_worth_its_letters_and_a_list_what_writing_it_takes() -> None:
    budget = Budget()
    for value, weight, depth in (
        ("abc", 3, 0), (0, 1, 0), (7, 2, 0), (8, 2, 0), (True, 1, 0), (-(2**9), 4, 0), (1.5, 8, 0), (None, 8, 0), ([], 2, 1),
        (["ab", "c"], 9, 1), ([["a"]], 9, 2), ({"a": [1]}, 2 + 3 + 2 + 5, 2), ((), 2, 1), ({"a": 1}.keys(), 5, 1),
    ):  # fmt: skip
        assert (budget.weight(value), budget.depth(value)) == (weight, depth), value
    assert budget.written("abc") == 3
    assert budget.written(["abc"]) == 10 * 7  # each letter may be an escape


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ [1,2]|join(',') }} {{ 'a-b'.split('-')|length }} {{ 'ab'[1:] }} {{ [1,2,3][::-1] }}", "1,2 2 b [3, 2, 1]"),
        ("{% for a, b in [(1, 2)] %}{{ a ~ b }}{% endfor %}{{ [1] * 2 }}{{ 2 * [1] }}{{ [1] + [2] }}", "12[1, 1][1, 1][1, 2]"),
        ("{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}y{% endcall %}", "<1y>"),
        ("{{ 'a' < 'b' }} {{ 1 in [1] }} {{ {'a': 1} == {'a': 1} }} {{ ','.join(['a', 'b']) }}", "True True True a,b"),
        ("{{ ['b','a']|sort|first }}{{ [1,2]|map('string')|join('-') }}{{ range(3)|select('odd')|list }}", "a1-2[1]"),
        ("{{ [[1, 2], [3]]|map('sum')|max }} {{ {'b': 1}|dictsort }} {{ 'x'|default('y') }}", "3 [('b', 1)] x"),
        ("{% generation %}{% set a = 1 %}hi{% endgeneration %}{{ a is defined }}", "hiFalse"),
        ("{{ dict(a=1) }}{{ dict([('b', 2)]) }}{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}{{ n }}",
         "{'a': 1}{'b': 2}2<Namespace>"),
        ("{{ {'b': '<é>', 'a': [1]}|tojson }}{{ {'b': 1, 'a': 'é'}|tojson(ensure_ascii=True, sort_keys=True) }}",
         '{"b": "<é>", "a": [1]}{"a": "\\u00e9", "b": 1}'),
        ("{{ [1, 2]|tojson(indent=1) }}{{ [1, 2]|tojson(separators=(',', ':')) }}", "[\n 1,\n 2\n][1,2]"),
        ("{% for x in [1, 2] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "1"),
        ("{{ '-'.join([1, 2]|map('string')) }}{{ ['a', 'b']|map('upper')|join }}", "1-2AB"),
        ("{{ namespace({'a': 1}).a }}{{ namespace([('b', 2)], c=3).c }}", "13"),
        ("{% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),  # blocks leave no line and no spaces of their own
    ],
)  # fmt: skip
def test_a_template_says_what_jinja_says(source: str, said: str) -> None:
    assert TemplateSandbox(source).render({}) == said


def test_a_template_of_too_many_words_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.text.sandbox import environment as sandbox

    words = "{{ 1 }}" * 4  # {{, 1 and }}: twelve, for spaces are none
    monkeypatch.setattr(sandbox, "MAX_WORDS", 12)
    assert TemplateSandbox(words).render({}) == "1111"
    with pytest.raises(Exception, match="more than 12 words"):
        TemplateSandbox(words + "x")


@pytest.mark.parametrize("name", ["__init__", "_x"])
def test_no_namespace_has_a_name_of_python(name: str) -> None:
    for source in (f"{{% set n = namespace({name}=1) %}}", f"{{% set n = namespace() %}}{{% set n.{name} = 1 %}}"):
        refused(TemplateSandbox(source).render, {})


@pytest.mark.parametrize("table", [costs.GROWTH, costs.NANOSECONDS])
def test_every_cost_of_a_table_is_of_something_that_a_template_can_call(table: dict[str, int]) -> None:
    from zoo.text.sandbox.environment import METHODS, UNSAFE_FILTERS

    known = {*Environment().filters, "tojson", "dict", "namespace"}.union(*(names for _, names in METHODS))
    assert set(table) - known == set()
    assert not set(UNSAFE_FILTERS) & set(table)
