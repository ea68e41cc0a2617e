# ruff: noqa: E501 - each case is a line, to be read as one
"""What a regular expression is understood as: its shortest match, whether it can fail, and the steps that it costs."""

from __future__ import annotations

from math import inf

import pytest

from zoo.text.bounds.patterns import PatternCost, UnboundedPattern, cost_of


@pytest.mark.parametrize(
    ("pattern", "shortest"),
    [
        ("", 0), ("a", 1), ("abc", 3), ("a|bcd", 1), ("abc|de", 2), ("abc|", 0), (".", 1), ("^ab$", 2),
        ("a?bc", 2), ("a*", 0), ("a+", 1), ("ab+", 2), ("(?:ab)+", 2), ("(ab){3}", 6), ("a{2,5}", 2), ("a{3}", 3),
        ("a{3,}", 3), ("a{,4}", 0), ("(ab){2,3}+", 4), ("a{}", 3), ("a{,}", 4), ("a{x", 3),
        ("(?=ab)c", 1), ("(?!ab)c", 1), ("(?<=ab)c", 1), ("(?<!ab)c", 1), ("(?>ab)", 2), ("(?<name>ab)", 2),
        ("(?i)ab", 2), ("(?i:ab)", 2), ("(?m-i:ab)", 2),
        ("[abc]", 1), ("[^abc]d", 2), ("[]a]", 1), ("[^]a]", 1), (r"[\]a]", 1), ("[a[bc]d]e", 2), ("[a&&[b]]", 1),
        (r"\bab\B", 2), (r"\Aab\z", 2), (r"\Gab\Z", 2), (r"\d\s\w", 3), (r"\p{L}", 1), (r"\p{^Han}x", 2), (r"\x{1F600}", 1),
        (r"\x41b", 2), (r"\u0041b", 2), (r"\n\[", 2), (r"\\", 1),
    ],
)  # fmt: skip
def test_the_shortest_match_of_a_pattern(pattern: str, shortest: int) -> None:
    assert cost_of(pattern).min_bytes == shortest


@pytest.mark.parametrize(
    ("pattern", "degree", "factor"),
    [
        # Nothing that follows can fail: whatever was found stays.
        ("a*", 0, 1), ("a*b?", 0, 1), ("a*b*", 0, 1), ("a*b{0,3}", 0, 1), ("a*(?:b|c?)", 0, 1), ("a*(?>b?)", 0, 1),
        ("a*(?i)", 0, 1), ("a*(?:b?)+", 0, 1), ("a|b", 0, 1), ("a?", 0, 1), ("a{0,5}", 0, 1), ("a{1,5}", 0, 1),
        # One repetition that what follows can fail scans the text again from each place, two scan it twice over.
        ("a*b", 1, 1), ("a+b", 1, 1), ("a{2,}b", 1, 1), ("a*+b", 1, 1), ("a*b*c", 2, 1), ("a*(?:b|c)", 1, 1),
        ("(?=a*)", 1, 1), ("(?!a*)b", 1, 1), ("(?>a*)b", 1, 1), ("(?:ab)*c", 1, 1), ("(?:a{2})*c", 1, 1),
        ("(?:a|b)*+c", 1, 2), ("(?:a*b){2}", 2, 1), ("a*b{2,3}+", 1, 2),
        # A bounded one can be undone in so many ways, and each way of its parts again.
        ("a?b", 0, 2), ("a{2,5}b", 0, 4), ("a{3}b", 0, 1), ("a{0,3}b", 0, 4), ("(?:a?b){2}c", 0, 4), ("a?b?c", 0, 4),
        ("(?:a?b){1,2}c", 0, 8), ("(?:a|b)c", 0, 2), ("(?:a?|b)c", 0, 3), ("a{2,5}", 0, 4), ("(?:a?b|c{2,4}d)", 0, 3),
        ("(?:a?b?c?){20}d", 0, 1e12),
        # Many ways, many times.
        ("(?:a|b)*c", inf, 2), ("(?:a{1,2})*c", inf, 2), ("(?:xa?)*c", inf, 2),
    ],
)  # fmt: skip
def test_the_ways_to_go_back_over_a_text(pattern: str, degree: float, factor: float) -> None:
    found = cost_of(pattern)
    assert (found.degree, found.factor) == (degree, factor)


@pytest.mark.parametrize(
    ("pattern", "degree"),
    [
        (r"\s*[\r\n]+|\s+(?!\S)|\s+", 0),  # what the first scanned in vain another takes
        (r"\s*[\r\n]+|\s+", 0),
        (r"\s*[\r\n]+|\s+(?!\S)|\s", 0),
        (r"\s*[\r\n]+|\s", 1),  # a single one does not
        (r"\s*[\r\n]+", 1),
        (r"\s*[\r\n]+|a", 1),
        (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+", 1),
    ],
)
def test_what_is_familiar_costs_nothing_beside_its_companions_only(pattern: str, degree: float) -> None:
    assert cost_of(pattern).degree == degree


def test_steps_are_counted_over_the_whole_text() -> None:
    assert PatternCost(1, 3).steps(10) == 300
    assert PatternCost().steps(10) == 10
    assert PatternCost(inf).steps(0) == inf


@pytest.mark.parametrize(
    ("at_the_limit", "beyond"),
    [
        ("a" * 8192, "a" * 8193),
        ("a{1000}", "a{1001}"),
        ("a{0,1000}", "a{0,1001}"),
        ("a{1000,}", "a{1001,}"),
        ("(?:a{100}){10}", "(?:a{100}){11}"),
        ("(?:a{100}|b){10}c", "(?:b|a{100}){11}c"),
        ("(?=a{1000})", "(?=a{1001})"),
        ("(?:a{1000}b)", "(?:(?:a{500}b){2}c){2}"),
        ("a{2,2}", "a{2,1}"),
        ("(" * 20 + "a" + ")" * 20, "(" * 21 + "a" + ")" * 21),
        ("(a)", "(a))"),
        ("(a)", "(a"),
        ("[a]", "[a"),
        ("[[a]]", "[[a]"),
        (r"[\]]", r"[\]"),
        (r"\\", "\\"),
        ("a*", "*a"),
        ("a+", "+"),
        ("a?", "(?:?)"),
        ("(a)", "(*a)"),
        ("(?:a)", "(?~a)"),
        (r"\b", r"\1"),
        (r"\n", r"\k<n>"),
        (r"\n", r"\g<n>"),
        (r"\n", r"\K"),
        (r"\0", r"\9"),
    ],
)
def test_a_form_at_a_limit_is_read_and_one_beyond_is_refused(at_the_limit: str, beyond: str) -> None:
    cost_of(at_the_limit)
    with pytest.raises(UnboundedPattern):
        cost_of(beyond)
