"""For pytest: one test per family of a distribution and property of the contract.

    # pyproject.toml
    [tool.pytest.ini_options]
    addopts = "-p zoo.testing.pytest_plugin"

    # tests/test_contract.py
    @pytest.mark.zoo_distribution("zoo-mine")
    def test_contract(zoo_check):
        assert zoo_check.state == "ok", zoo_check

It is named by those who want it and is no entry point of pytest's, so that nobody else pays for its import. A property
that does not apply is a skipped test with its reason.
"""

from __future__ import annotations

from functools import cache

import pytest

from zoo.registry import installed
from zoo.testing import NUMBERS, PROPERTIES, Subject
from zoo.testing.check import Check, judged
from zoo.testing.targets import families_of


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, for runs with --strict-markers."""
    config.addinivalue_line(
        "markers", "zoo_distribution(name): check that the families of this distribution keep the contract"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each family and property where `zoo_check` is asked for."""
    if "zoo_check" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("zoo_distribution")
    if marker is None or not marker.args:
        raise pytest.UsageError("zoo_check needs @pytest.mark.zoo_distribution(NAME) on the test")
    families = families_of(marker.args[0])
    cases = [(family, group, prove) for family in families for group in PROPERTIES for prove in PROPERTIES[group]]
    ids = [f"{family}-{group}-{prove.__name__}" for family, group, prove in cases]
    metafunc.parametrize("zoo_check", cases, ids=ids, indirect=True)


@pytest.fixture
def zoo_check(request: pytest.FixtureRequest) -> Check:
    """The outcome of one property of one family."""
    family, group, prove = request.param
    check = judged(group, prove, _subject(family), number=NUMBERS[prove])
    if check.state == "skip":
        pytest.skip(check.detail)
    return check


@cache
def _subject(family: str) -> Subject:
    return Subject(installed()[family])
