# ruff: noqa: E501 - each case is a line, to be read as one
"""Chat templates made to hang or to eat the memory, each by one filter, method, operator, test or form."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from zoo.errors import ZooError
from zoo.text import ChatTemplate
from zoo.text.sandbox import budget

BIG = "{% set x = 'ab,c ' * 6000000 %}"  # 30 million characters
WIDE = "{% set x = '😀' * 8000000 %}"
LIST = "{% set x = [1] * 8000000 %}"
TEXTS = "{% set x = ('ab,' * 250000).split(',') %}"
NESTED = "{% set x = [1] %}" + "{% set x = [x] %}" * 60
LONG_TURNS = "{% for i in range(99999) %}"
CONTROL = "{% set x = '\\x01' * 3000000 %}"

FILTERS = {
    name: BIG + f"{{{{ x|{use} }}}}"
    for name, use in {
        "capitalize": "capitalize|length", "escape": "escape|e|length", "forceescape": "forceescape|length",
        "format": "format(x, x)|length", "indent": "indent(99)|length", "indent by a text": "indent(x)|length",
        "list": "list|length", "lower": "lower|length", "pprint": "pprint|length", "replace": "replace('a', x)|length",
        "replace nothing": "replace('', 'xyz')|length", "reverse": "reverse|length", "striptags": "striptags|length",
        "title": "title|length", "tojson": "tojson|length", "trim": "trim(x)|length", "upper": "upper|length",
        "urlencode": "urlencode|length", "wordcount": "wordcount", "batch": "batch(2)|list|length", "first": "batch(9999, x)|first",
        "slice": "slice(9999, x)|list|length", "unique": "unique|list|length", "sort": "sort|length", "join": "join(x)|length",
        "map": "map('upper')|list|length", "select": "select|list|length", "reject": "reject('in', x)|list|length",
        "groupby": "groupby(0)|list|length", "min": "min", "center": "center(10**9)|length", "int": "int", "float": "float",
        "string": "string|length", "default": "d(x * 9)|length", "attr": "attr(x)", "items": "items|list",
        "dictsort": "dictsort", "sum": "sum", "length": "list|sort|unique|list|length", "random": "list|random",
        "truncate": "truncate(10**9, true, x * 3)|length", "max": "list|max", "last": "list|last",
    }.items()
}  # fmt: skip
LISTS = {
    "list " + name: LIST + f"{{{{ x|{use} }}}}"
    for name, use in {
        "map": "map('string')|list|length", "map attribute": "map(attribute='a')|list|length", "select": "select|list|length",
        "reject": "reject|list|length", "sort": "sort|length", "unique": "unique|list|length", "groupby": "groupby('a')",
        "sum": "sum", "join": "join|length", "batch": "batch(3)|list|length", "slice": "slice(3)|list|length",
        "tojson": "tojson|length", "tojson indented": "tojson(indent=50)|length", "pprint": "pprint|length",
        "string": "string|length", "list": "list|length", "replace": "replace('1', 'xyz' * 9)|length",
        "upper": "upper|length", "selectattr": "selectattr('a', 'eq', 1)|list|length", "min": "min", "max": "max",
        "dict": "batch(2)|list|length", "first": "reject('eq', 1)|first", "trim": "trim|length", "title": "title|length",
        "reverse": "reverse|list|length", "urlencode": "urlencode", "wordcount": "wordcount", "length": "map('list')|list",
    }.items()
}  # fmt: skip
METHODS = {
    "method " + name: BIG + f"{{{{ x.{use} }}}}"
    for name, use in {
        "split": "split(',')|length", "split at spaces": "split()|length", "rsplit": "rsplit('c a', 9999999)|length",
        "splitlines": "replace(' ', '\n').splitlines()|length", "title": "title()|length", "replace": "replace('a', x)|length",
        "join": "join(x)|length", "center": "center(10**9)|length", "ljust": "ljust(10**9)|length", "zfill": "zfill(10**9)",
        "rjust": "rjust(10**9)|length", "expandtabs": "expandtabs(10**9)", "strip": "strip(x)|length", "lstrip": "lstrip(x)",
        "rfind": "rfind('b' + 'a' * 9000000)", "rindex": "rindex('q' + x[:9000000])", "count": "count('a' * 99)",
        "format": "format(x)|length", "partition": "partition('c')|list|length", "casefold": "casefold()|length",
        "encode": "encode()", "translate": "translate({97: x})", "maketrans": "maketrans(x, x)", "upper": "upper()|length",
        "startswith": "startswith(x)", "find": "find('b,a' * 999)", "removeprefix": "removeprefix('ab')|length", "removesuffix": "removesuffix(' ')|length", "rstrip": "rstrip(x)|length",
        "swapcase": "swapcase()|length", "rpartition": "rpartition('b' + 'a' * 9000000)|length",
    }.items()
}  # fmt: skip
OTHERS = {
    "flattening by sum": "{{ ([[1]]*300000)|sum(start=[])|length }}",
    "flattening by tuples": "{{ ([(1,)]*300000)|sum(start=())|length }}",
    "flattening from an iterator": "{{ ([[1]]*300000)|map('list')|sum(start=[])|length }}",
    "joining from an iterator": BIG + "{{ ([x]*1000)|map('string')|join|length }}",
    "joining by a method from an iterator": BIG + "{{ ''.join([x]*1000|map('string'))|length }}",
    "a list of large texts": "{% set ns = namespace(a=[]) %}" + LONG_TURNS + "{% set ns.a = ns.a + [i ~ 'a' * 9000000] %}{% endfor %}",
    "a list of wide texts": "{% set ns = namespace(a=[]) %}" + LONG_TURNS + "{% set ns.a = ns.a + ['😀' * 900000 + 'b'] %}{% endfor %}",
    "wide letters in the output": "{{ 'a' * 30000000 }}{{ '😀' }}",
    "wide letters put together": WIDE + "{{ (x ~ 'a' * 20000000)|length }}",
    "dictionaries": LIST + "{{ dict(x|batch(2)) }}",
    "a large cycle": LIST + "{{ cycler(*x).next() }}",
    "arguments without end": LIST + "{% macro m() %}{{ varargs|length }}{% endmacro %}" + LONG_TURNS + "{{ m(*x) }}{% endfor %}",
    "comparisons": BIG + "{% set y = 'ab,c ' * 6000000 %}" + LONG_TURNS + "{% if x == y %}{% endif %}{% endfor %}",
    "comparisons of lists": LIST + "{% set y = [1] * 8000000 %}" + LONG_TURNS + "{% if x == y or x < y %}{% endif %}{% endfor %}",
    "searches": LIST + LONG_TURNS + "{% if 2 in x %}{% endif %}{% endfor %}",
    "searches in a text": BIG + LONG_TURNS + "{% if 'z' in x %}{% endif %}{% endfor %}",
    "tests": LIST + LONG_TURNS + "{% if 2 is in x %}{% endif %}{% endfor %}",
    "tests of letters": BIG + LONG_TURNS + "{% if x is lower %}{% endif %}{% endfor %}",
    "methods of lists": LIST + LONG_TURNS + "{{ x.count(2) }}{% endfor %}",
    "slices": BIG + LONG_TURNS + "{% set y = x[1:] %}{% endfor %}",
    "slices of lists": LIST + LONG_TURNS + "{% set y = x[::-1] %}{% endfor %}",
    "slices kept": BIG + "{% set ns = namespace(a=[]) %}" + LONG_TURNS + "{% set ns.a = ns.a + [x[i:]] %}{% endfor %}",
    "control letters as JSON": CONTROL + "{{ ([x]*10)|tojson|length }}",
    "control letters in a list": CONTROL + "{{ ([x]*10)|string|length }}",
    "separators of JSON": "{{ ([1]*100000)|tojson(separators=('x' * 100000, 'y'))|length }}",
    "an indent of text": "{{ ([1]*100000)|tojson(indent='x' * 100000)|length }}",
    "deep JSON": NESTED + "{{ ([x]*20000)|tojson(indent=99)|length }}",
    "lines of an indent": "{{ ('\n' * 9000000)|indent(99)|length }}",
    "powers by rounding": "{{ 1|round(10**8, 'ceil') }}",
    "powers": "{{ 10 ** 10 ** 8 }}",
    "powers of powers": "{% set x = 7 %}" + "{% set x = x ** 9 %}" * 20 + "{{ x }}",
    "a number in base 16": "{% set x = ('f' * 30000000)|int(0, 16) %}{{ x // 7 }}",
    "a number of bytes": "{{ (5).to_bytes(10**9, 'big') }}",
    "bytes of a number": "{{ (5).from_bytes('a' * 9000000) }}",
    "keys without end": "{{ {}.fromkeys(range(99999)) }}" * 200,
    "division": "{% set x = 10 ** 3000 %}" + "{% set x = x * x %}" * 9 + "{{ x // 3 }}",
    "comments in tags": "{{ ('<!---->' * 4000000)|striptags|length }}",
    "escapes of what is safe": BIG + "{{ ('a'|safe + x + x)|length }}",
    "escapes in a format": "{% set x = '\"' * 9000000 %}{{ ('%s' * 20)|safe|format(*[x]*20)|length }}",
    "escapes by joining": "{% set x = '\"' * 9000000 %}{{ ([x]*20)|join('|'|safe)|length }}",
    "escaping all": "{% autoescape true %}{{ '\"' * 30000000 }}{% endautoescape %}",
    "a date of a megabyte": "{{ strftime_now('%c' * 9000000)|length }}",
    "an objection of megabytes": "{{ raise_exception(['\\x01' * 9000000] * 3) }}",
    "an attribute of a million parts": "{{ ([{}]*99999)|map(attribute='a' ~ '.a' * 9999)|list|length }}",
    "sorting by many": "{{ ([{}]*99999)|sort(attribute='a' ~ ',a' * 9999)|list|length }}",
    "splitting by nothing in a loop": BIG + LONG_TURNS + "{{ x.split('q')|length }}{% endfor %}",
    "a block within itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "blocks of blocks": "".join(f"{{% block b{i} %}}{{{{ self.b{i + 1}() }}}}{{{{ self.b{i + 1}() }}}}{{% endblock %}}" for i in range(40)) + "{% block b40 %}{% endblock %}",
    "macros of macros": "".join(f"{{% macro m{i}() %}}{{{{ m{i + 1}() }}}}{{{{ m{i + 1}() }}}}{{% endmacro %}}" for i in range(40)) + "{% macro m40() %}{% endmacro %}{{ m0() }}",
    "a macro within itself": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "calls of calls": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}" + "{% call m() %}" * 15 + "x" + "{% endcall %}" * 15,
    "loops in loops": "{% for i in range(99999) %}" * 9 + "{% endfor %}" * 9,
    "a loop that sifts": "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "a loop over letters": BIG + "{% for c in x %}{% endfor %}",
    "loops that call themselves": "{% for i in [[1,1]] recursive %}{{ loop([i, i]) }}{% endfor %}",
    "a filter over a block": BIG + "{% filter upper %}{% for i in range(99) %}{{ x }}{% endfor %}{% endfilter %}",
    "a long template": "{{ a }}" * 40_000,
    "a long sum": "{{ " + "a+" * 30_000 + "a }}",
    "a long comparison": "{{ " + "a<" * 60_000 + "a }}",
    "brackets in brackets": "{{" + "(" * 9000 + "1" + ")" * 9000 + "}}",
    "lists in lists": "{{" + "[" * 9000 + "]" * 9000 + "}}",
    "ifs in ifs": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "a number of a megabyte": "{{ " + "9" * 1_000_000 + " }}",
    "a text of escapes": "{{ '" + "\\x41" * 200_000 + "' * 100 }}",
    "a name of a megabyte": "{{ " + "a" * 1_000_000 + ".b.c }}",
    "attributes of attributes": "{{ a" + ".a" * 9_000 + " }}",
    "filters of filters": "{{ 'a'" + "|upper" * 9_000 + " }}",
    "comments": "{#" * 400_000,
    "an error of megabytes": "{{ {}['a' * 30000000] + 1 }}",
    "dictionaries that grow": "{% set x = {'a': 1} %}" + "{% set x = dict(a=x, b=x, c=x) %}" * 40 + "{{ x|length }}",
    "items of dictionaries": "{% set x = {'a': 1} %}" + "{% set x = dict(a=x.items()|list, b=x.values()|list) %}" * 40 + "{{ x }}",
    "views of dictionaries": "{% set x = dict.fromkeys(range(9)) %}" + "{% set x = {'a': [x.items(), x.items()]} %}" * 40 + "{{ x }}",
    "sorted texts": TEXTS + LONG_TURNS + "{% set y = x|sort %}{% endfor %}",
    "texts as JSON": TEXTS + LONG_TURNS + "{% set y = x|tojson(indent=9) %}{% endfor %}",
}  # fmt: skip
CASES = FILTERS | LISTS | METHODS | OTHERS


def outcome(source: str, seconds: float = budget.MAX_SECONDS) -> str:
    """The error, or how long the prompt became, within a budget of so many seconds; in a process of its own."""
    budget.MAX_SECONDS = seconds
    try:
        return f"read: {len(ChatTemplate(source, file='x.jinja').render([{'role': 'user', 'content': 'hi'}]))}"
    except ZooError as error:
        return f"refused: {error}"


LONG = {  # it is their time that ends them
    "blocks of blocks", "macros of macros", "calls of calls", "loops in loops", "flattening from an iterator",
    "a loop that sifts", "a loop over letters", "searches in a text", "comparisons", "sorted texts", "texts as JSON",
    "a number of a megabyte", "keys without end", "filters of filters", "attributes of attributes",
}  # fmt: skip
STEPWISE = {  # they end by the time of many small steps, of which a third of the budget's is as good as all of it
    "blocks of blocks", "macros of macros", "calls of calls", "a loop that sifts", "a loop over letters", "comparisons",
    "searches in a text", "arguments without end", "tests of letters", "comparisons of lists", "searches",
}  # fmt: skip
SOONER = 0.5  # seconds
HARMLESS = {"wide letters in the output", "a text of escapes", "powers"}


def scaled(source: str, parts: int) -> str:
    """The same with sizes so many times smaller, for what is refused as too large must be bearable just below."""
    return re.sub(r"\* ?(\d{6,})", lambda found: f"* {int(found[1]) // parts}", source)


def cases(kind: str) -> dict[str, Callable[[], Callable[[], str]]]:
    """Those of a kind: QUICK, HEAVY, and SMALLER: all that have sizes, at smaller ones."""
    import zoo.text.sandbox.environment  # noqa: F401 - read before the copies are made, not by each of them

    quick = {name: source for name, source in OTHERS.items() if name not in LONG}
    chosen = quick if kind == "QUICK" else {name: source for name, source in CASES.items() if name not in quick}
    if kind == "SMALLER":
        chosen = {f"{name}, 1/8": smaller for name, source in CASES.items() if (smaller := scaled(source, 8)) != source}
    sooner = STEPWISE if kind == "HEAVY" else {f"{name}, 1/8" for name in STEPWISE}
    return {name: partial(partial, outcome, source, *[SOONER] * (name in sooner)) for name, source in chosen.items()}
