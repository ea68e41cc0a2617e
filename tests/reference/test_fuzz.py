"""tools/fuzz finds families equal to transformers, and a family that is not unequal."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import zoo
from tools.fuzz_families.drawing import drawn
from tools.fuzz_families.known import KNOWN
from zoo.registry import installed


def test_every_drawn_config_is_one_that_the_family_allows() -> None:
    for name in ("olmo2", "cohere", "minicpm3", "t5"):
        tiny, rng = installed()[name].config_class.tiny(), Random(name)
        configs = [drawn(tiny, rng) for _ in range(20)]
        assert all(type(tiny).from_dict(config.to_dict()) == config for config in configs)
        assert len({str(config) for config in configs}) > 15, name


def test_what_is_not_drawn_has_its_reason_in_the_docs() -> None:
    """Or transformers stops, where docs/deviations.md has nothing to compare."""
    told = (Path(zoo.__file__).parents[1] / "docs" / "deviations.md").read_text(encoding="utf-8")
    for known in KNOWN:
        is_theirs = known.why.startswith(("it stops", "it writes", "an encoder alone"))
        assert is_theirs or f"- **{known.why}**" in told, known.why
        for name in known.families:
            assert known.instead.keys() <= vars(installed()[name].config_class.tiny()).keys()


@pytest.mark.slow
def test_a_family_that_equals_transformers_passes(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    from tools.fuzz_families.front import fuzz

    assert fuzz("ernie4_5", 3, 3)
    assert "ernie4_5: 3 configs, 0 differ" in capsys.readouterr().out


@pytest.mark.slow
def test_one_that_turns_other_channels_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    from importlib import import_module

    from tools.fuzz_families.front import fuzz

    model, plain = import_module("zoo.plugins.ernie.model"), import_module("zoo.nn").Rope
    monkeypatch.setattr(model, "Rope", lambda *args, is_interleaved: plain(*args))
    assert not fuzz("ernie4_5", 3, 3)
    told = capsys.readouterr().out
    assert "ernie4_5: 3 configs, 3 differ" in told
    assert "whole" in told
