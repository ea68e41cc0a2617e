"""What was parsed of our own presets before is believed for the text that it was parsed from, and for no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.distributions import python
from zoo.presets import config, values
from zoo.presets.file import read
from zoo.presets.plain_yaml import load
from zoo.registry import OURS, Preset, installed

ALL = {
    f"{preset.group}/{preset.name}": preset
    for preset in (*installed().presets().values(), *installed().options().values())
    if preset.package == OURS
}


def test_the_lines_are_current() -> None:
    stored = (Path(__file__).parents[2] / "conf" / values.VALUES).read_text(encoding="utf-8")
    assert stored == values.make_values(ALL.values()), "run tools/index_presets.py"


def test_of_every_file_the_values_are_those_of_its_yaml() -> None:
    assert len(ALL) > 300
    for name, preset in ALL.items():
        data = preset.data()
        known, expected = values.parsed(preset, data), load(data, preset.file)
        assert known is not None, name
        assert repr(known) == repr(expected), name  # of the same types, in the same order


def test_every_reading_is_its_own() -> None:
    read(ALL["model/gpt2"])["vocab_size"] = 1
    assert config("gpt2").to_dict()["vocab_size"] == 50257


@pytest.mark.parametrize("change", ["one figure", "one more line", "a line less"])
def test_another_text_is_parsed(tmp_path: Path, change: str) -> None:
    text = ALL["model/gpt2"].data()
    text = {
        "one figure": text.replace(b"50257", b"50258"),
        "one more line": text + b"\n# the same values\n",
        "a line less": text[: text.rstrip().rfind(b"\n") + 1],
    }[change]
    (tmp_path / "gpt2.yaml").write_bytes(text)
    changed = replace(ALL["model/gpt2"], file=tmp_path / "gpt2.yaml")
    assert values.parsed(changed, text) is None
    assert read(changed) == load(text, "")
    assert (read(changed) == read(ALL["model/gpt2"])) == (change == "one more line")


@pytest.mark.parametrize(
    "other", [{"package": "theirs"}, {"name": "gpt2-medium"}, {"group": "rope"}, {"name": 'gpt"2'}]
)
def test_no_other_file_is_taken_for_ours(other: dict[str, str]) -> None:
    preset = ALL["model/gpt2"]
    assert values.parsed(preset, preset.data()) is not None
    assert values.parsed(replace(preset, **other), preset.data()) is None


def test_without_the_lines_all_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(ALL["model/llama3"])
    monkeypatch.setattr(values, "_lines", lambda: b"")
    assert read(ALL["model/llama3"]) == expected


def test_show_parses_no_yaml() -> None:
    code = """if True:
        import sys
        from zoo.cli import main
        try:
            main(["show", "llama3"])
        finally:
            print("yaml" in sys.modules)
    """
    done = python(code)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_a_preset_of_a_stranger_is_held_to_its_bounds_still(tmp_path: Path) -> None:
    (tmp_path / "gpt2.yaml").write_bytes(ALL["model/gpt2"].data())
    theirs = Preset("gpt2", "theirs", tmp_path / "gpt2.yaml", "theirs")
    assert read(theirs) == read(ALL["model/gpt2"])
