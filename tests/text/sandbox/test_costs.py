"""No filter, test, method, operator or form of a chat template outruns the budget, or makes more than it allows."""

from __future__ import annotations

import contextlib

import pytest
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from zoo.errors import CheckpointError, ZooError
from zoo.text import ChatTemplate
from zoo.text.sandbox import budget
from zoo.text.sandbox.environment import METHODS, UNSAFE_FILTERS

from ..measured import measure
from .hostile_templates import CASES, HARMLESS, SOONER

MODULE = "tests.text.sandbox.hostile_templates"
MAX_SECONDS = 2.5  # of CPU; the budget has 1.5, and a step may take as long again as was reckoned
MAX_MEGABYTES = 350  # the budget has 256


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in ("QUICK", "HEAVY", "SMALLER")])
def test_every_filter_method_and_form_is_bounded_at_every_size(kind: str) -> None:
    for name, came in measure(MODULE, kind).items():
        is_sooner = f"more than {SOONER:g} seconds" in came["said"]
        assert came["seconds"] < MAX_SECONDS - is_sooner * (budget.MAX_SECONDS - SOONER), name
        assert came["megabytes"] < MAX_MEGABYTES, name
        if not (name in HARMLESS or (kind == "SMALLER" and came["said"].startswith("read: "))):
            assert came["said"].startswith(("refused: x.jinja: chat_template: ", "refused: the chat template")), name


def test_every_filter_of_jinja_is_among_the_hostile_ones() -> None:
    tried = "\n".join(CASES.values())
    same = {"abs", "count", "d", "default", "e", "filesizeformat", "safe", "rejectattr"}  # as another, or of a number
    assert [name for name in FILTERS if name not in same | {*UNSAFE_FILTERS} and f"|{name}" not in tried] == []


def test_every_method_that_a_text_may_use_is_among_the_hostile_ones() -> None:
    tried, known = "\n".join(CASES.values()), METHODS[0][1]
    single = {name for name in known if name.startswith("is")} | {
        "endswith",
        "index",
        "lower",
        "capitalize",
        "format_map",
    }
    assert [name for name in known - single if f".{name}(" not in tried] == []


@pytest.mark.parametrize("name", sorted(TESTS))
def test_every_test_is_weighed_before_it_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.text.sandbox.budget import Budget

    seen: list[str] = []
    monkeypatch.setattr(Budget, "check_call", lambda self, name, owner, args, kwargs: seen.append(name))
    words = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
    for argument in ("[1]", "1", ""):  # some take a list, some a number, some none
        with contextlib.suppress(ZooError):
            ChatTemplate(f"{{{{ 1 is {words.get(name, name)} {argument} }}}}").render([{}])
    assert words.get(name, name) in seen


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 'a'.center(5, '-') ~ 'b'.ljust(3) ~ '7'.zfill(3) }}", "--a--b  007"),
        (
            "{{ 'x'|center(3) }}{{ '%s December 2023' % 'May' }}{{ '{} 20240101'.format(1) }}",
            " x May December 20231 20240101",
        ),
        ("{{ ([[1], [2]]|sum(start=[]))|length }}{{ [1, 2]|map('string')|join('+') }}", "21+2"),
        ("{{ 'abc'[::-1] ~ [1, 2, 3][1:] ~ 'abc'[:-1] }}", "cba[2, 3]ab"),
        ("{{ (7 // 2 - 1) ~ 7 / 2 }}{{ 1 < 2 < 3 }}{{ 'a' in 'abc' }}", "23.5TrueTrue"),
        ("{{ {'a': 1}.items()|list }}{{ {'a': 1}.get('b', 2) }}{{ [3, 1]|sort }}", "[('a', 1)]2[1, 3]"),
        ("{{ ['a', 'b']|reverse|list }}{{ ('a', 'b').index('b') }}{{ 'a b'.split() }}", "['b', 'a']1['a', 'b']"),
    ],
)
def test_what_templates_use_gives_what_jinja_gives(source: str, expected: str) -> None:
    assert ChatTemplate(source).render([{}]) == expected


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ " + "9" * 5000 + " }}", "cannot be compiled: Exceeds the limit"),
        ("{{ a }}" * 30_000, "cannot be compiled: it has more than 20,000 words"),
        ("{% autoescape true %}{% endautoescape %}", "line 1: autoescape is for HTML"),
    ],
)
def test_a_template_that_is_long_to_compile_is_refused_by_its_file(source: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^a/chat_template\.jinja: chat_template: {words}"):
        ChatTemplate(source, file="a/chat_template.jinja")


@pytest.mark.slow
def test_the_budget_counts_what_is_made_and_not_what_is_handed_on() -> None:
    source = "{% for i in range(400) %}{% set y = messages[0].content|trim|string %}{% endfor %}ok"
    assert ChatTemplate(source).render([{"role": "user", "content": "a" * 4_000_000}]) == "ok"
    with pytest.raises(CheckpointError, match="above the limit"):
        ChatTemplate(source.replace("trim", "upper")).render([{"role": "user", "content": "a" * 4_000_000}])
