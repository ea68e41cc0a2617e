"""zoo-acme, a stranger's distribution without a family: a format for LLaMA and a command, and what clashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.distributions import install, installed_from, zoo

pytestmark = pytest.mark.slow  # starts processes with installed distributions


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend of plugins is in the dev extra")
    return installed_from(Path(__file__).parent / "zoo-acme", tmp_path_factory.mktemp("site"))


def test_a_format_is_written_read_and_proved_like_the_familys_own(site: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "acme", tmp_path / "back"
    assert not zoo("convert", "tiny", str(out), "--to", "acme", "--prove", site=site).returncode
    told = json.loads(zoo("inspect", str(out), "--json", site=site).stdout)
    assert (told["family"], told["dialect"], told["reasons"]) == ("llama", "acme", ["laboratory is 'acme'"])
    assert not zoo("convert", str(out), str(back), "--to", "hf", site=site).returncode
    kept = "model.safetensors"
    straight = tmp_path / "straight"
    assert not zoo("convert", "tiny", str(straight), "--to", "hf", site=site).returncode
    assert (back / kept).read_bytes() == (straight / kept).read_bytes()
    (out / "config.json").write_text((out / "config.json").read_text().replace('"laboratory": "acme",', ""))
    assert zoo("inspect", str(out), site=site).returncode == 1


def test_the_contract_holds_the_added_format_too(site: Path) -> None:
    done = zoo("check-plugin", "llama", "--json", site=site)
    told = json.loads(done.stdout)
    assert told["fail"] == 0
    assert "acme" in json.dumps(told)


def test_a_command_is_listed_under_its_plugin_and_runs(site: Path) -> None:
    told = zoo("--help", site=site).stdout
    assert told.index("From zoo-acme:") < told.index("acme-layers")
    assert zoo("acme-layers", "llama3-8b", site=site).stdout == "llama3-8b: 32 layers\n"
    assert json.loads(zoo("plugins", "--json", site=site).stdout)[-1]["commands"] == ["acme-layers"]


WRONG = {
    "format": ("zoo_formats", "Format('llama', 'hf', 'a:B')", "'hf' exists already, of 'llama'"),
    "nobody": ("zoo_formats", "Format('nobody', 'x', 'a:B')", "no family is called 'nobody'"),
    "command": ("zoo_commands", "Command('list', 'a:b', '')", "the command 'list' belongs to zoo itself"),
    "absent": ("zoo_commands", "Command('absent', 'no_such_module:b', '')", ""),
}


def test_what_clashes_is_told_and_harms_no_other(tmp_path: Path) -> None:
    for name, (hook, record, _) in WRONG.items():
        code = f"from zoo import Command, Format, hookimpl\n\n@hookimpl\ndef {hook}():\n    return [{record}]\n"
        install(tmp_path, f"zoo-{name}", {name: f"zoo_{name}"}, {f"zoo_{name}.py": code})
    told = {p["name"]: p for p in json.loads(zoo("plugins", "--json", site=tmp_path).stdout)}
    for name, (_, _, reason) in WRONG.items():
        assert reason in told[name]["reason"]
        assert told[name]["state"] == ("broken" if reason else "loaded")
    done = zoo("absent", site=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "the command 'absent' of zoo-absent" in done.stderr
    assert not zoo("list", "-q", site=tmp_path).returncode
