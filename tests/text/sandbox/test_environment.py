"""A chat template from a stranger runs no code, reads nothing, and neither hangs nor eats the memory."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from zoo.errors import CheckpointError, ZooError
from zoo.text import ChatTemplate
from zoo.text.sandbox import budget

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ (messages|attr('__class__')).__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{{ dict.__call__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ strftime_now.__globals__['datetime'] }}",
        "{{ self._TemplateReference__context }}{{ self.__init__.__globals__ }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.x.y }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(a=1) }}",
        "{{ messages[0].pop('role') }}",
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% extends '/etc/passwd' %}",
    ],
)
def test_nothing_leads_out_of_the_sandbox(source: str):
    with pytest.raises(ZooError):
        ChatTemplate(source).render(MESSAGES)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ messages.__init__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ environment }}{{ tick }}",
    ],
)
def test_what_the_sandbox_hides_is_not_there(source: str):
    assert ChatTemplate(source).render(MESSAGES) == ""


DOUBLING = {
    "~": "{% set x = x ~ x %}",
    "+": "{% set x = x + x %}",
    "*": "{% set x = x * 9 %}",
    "set": "{% set x %}{{ x }}{{ x }}{% endset %}",
    "replace": "{% set x = x|replace('a', x) %}",
    "method": "{% set x = x.replace('a', x) %}",
    "join": "{% set x = [x, x, x]|join(x) %}",
    "join method": "{% set x = x.join([x, x, x]) %}",
    "format": "{% set x = '%s%s' % (x, x) %}",
    "filter": "{% set x = '%s%s'|format(x, x) %}",
    "macro": "{% macro m(y) %}{{ y }}{{ y }}{% endmacro %}{% set x = m(x) %}",
}


@pytest.mark.slow
@pytest.mark.parametrize("step", DOUBLING.values(), ids=DOUBLING)
def test_a_text_that_keeps_doubling_is_stopped(step: str):
    tracemalloc.start()
    try:
        refuse("{% set x = 'aaaaaaaa' %}" + step * 40 + "{{ x|length }}")
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


NESTING = {
    "list": "{% set x = [x, x] %}",
    "tuple": "{% set x = (x, x) %}",
    "dict": "{% set x = {'a': x, 'b': x} %}",
    "function": "{% set x = dict(a=x, b=x) %}",
    "filter": "{% set x = [x, x]|list %}",
    "batch": "{% set x = [x, x]|batch(2)|list %}",
}


@pytest.mark.parametrize("step", NESTING.values(), ids=NESTING)
def test_lists_of_the_same_list_are_stopped_before_they_are_written_out(step: str):
    for use in ("{{ x }}", "{{ x|tojson }}", "{{ x == x }}"):
        refuse("{% set x = [1] %}" + step * 40 + use)


@pytest.mark.parametrize(
    "source",
    [
        "{{ range(10**9)|list }}",
        "{{ 'a' * 10**10 }}",
        "{{ [1] * 10**9 }}",
        "{{ 9 ** 99999 ** 2 }}",
        "{% set x = 7 %}" + "{% set x = x * x %}" * 60 + "{{ x }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10**9) }}",
        "{{ ('%s'|safe).format(1) ~ ('{:1000000000}'|safe).format(1) }}",
        "{{ 'a'.ljust(10**9) }}{{ 'a'.center(10**9).x }}",
        "{{ 'a'.zfill(10**9).x }}",
        "{{ '\t'.expandtabs(10**9).x }}",
        "{{ [1]|batch(10**9, 'x')|list }}",
        "{{ [1]|slice(10**9)|list }}",
        "{{ messages|tojson(indent=10**8) }}",
        "{{ 'a\n'|indent(10**9) }}",
        "{{ strftime_now('%1000000000d') }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_one_step_that_would_cost_too_much_is_refused(source: str):
    refuse(source)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for i in range(99999) %}{{ range(99999)|map('string')|list|length }}{% endfor %}",
        "{% for i in range(99999) recursive %}{% if loop.depth < 40 %}{{ loop([1, 2]) }}{% endif %}{% endfor %}",
    ],
)
def test_a_template_that_does_not_come_to_an_end_is_stopped(source: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budget, "MAX_SECONDS", 0.2)
    begin = time.monotonic()
    with pytest.raises(CheckpointError, match="runs for more than"):
        ChatTemplate(source).render(MESSAGES)
    assert time.monotonic() - begin < 3  # ten times the limit: the machine may be busy


@pytest.mark.slow
def test_a_long_conversation_is_no_offence():
    source = (
        "{% set ns = namespace(all=[]) %}{% for m in messages %}{% set ns.all = ns.all + [m] %}"
        "{{ m.role ~ ': ' ~ m.content|trim }}{% endfor %}{{ ns.all|length }}"
    )
    text = ChatTemplate(source).render([{"role": "user", "content": "word " * 200}] * 1000)
    assert text.endswith("1000")
    assert len(text) > 1_000_000


def refuse(source: str) -> None:
    """A CheckpointError, and soon."""
    begin = time.monotonic()
    with pytest.raises(CheckpointError, match="does something that no chat template needs"):
        ChatTemplate(source).render(MESSAGES)
    assert time.monotonic() - begin < 5
