"""`zoo check-plugin` names the fault in a plugin, a line per property, and leaves with 1 where there is one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from tests.distributions import install, zoo
from tests.testing.faults import FAULTS
from tests.testing.install import SOURCE, Plant, plant  # noqa: F401 - a fixture
from zoo.cli import main
from zoo.testing import GROUPS, NUMBERS


def check(*words: str) -> Result:
    return CliRunner().invoke(main, ["check-plugin", *words])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


NAMED = (
    "a mask that looks ahead", "a cache that is off by one", "a table that loses numbers", "a field without a comment",
    "a preset with an unknown key", "a tied head that is not",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fault", NAMED)
def test_a_planted_fault_is_a_line_that_names_it(fault: str, plant: Plant) -> None:  # noqa: F811
    planted = FAULTS[fault]
    plant(planted.file, planted.this, planted.that)
    done = check("zoo-stranger", "--group", planted.group)
    assert done.exit_code == 1
    (line,) = [row for row in rows(done.stdout) if row["property"] == planted.check]
    assert line["state"] == "fail"
    assert planted.words in line["found"]
    assert " failed" in done.stderr


@pytest.mark.slow
def test_every_property_is_a_line_with_its_number_grouped(plant: Plant) -> None:  # noqa: F811
    plant()
    done = check("stranger", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    first, *checks = told["checks"]
    assert (first["family"], first["name"]) == ("", "the plugin stranger loads")
    assert [c["number"] for c in checks] == [*range(1, len(NUMBERS) + 1)]
    assert list(dict.fromkeys(c["group"] for c in checks)) == list(GROUPS)
    assert {c["family"] for c in checks} == {"stranger"}
    assert all(c["detail"] for c in checks if c["state"] == "skip")
    gpu = torch.cuda.is_available()
    assert (told["ok"], told["skip"], told["fail"]) == (len(NUMBERS) - 3 + gpu, 4 - gpu, 0)


def test_a_plugin_that_passes_is_told_how_to_be_published(plant: Plant) -> None:  # noqa: F811
    plant()
    done = check("stranger", "--group", "docs")
    assert done.exit_code == 0
    assert [row["state"] for row in rows(done.stdout)] == ["ok"] * 4
    assert done.stderr == "4 ok. Publish: python -m build && twine upload dist/*\n"
    assert check("stranger", "--group", "docs", "-q").output == ""


@pytest.mark.slow
def test_a_preset_may_be_held_to_it_instead() -> None:
    found = {
        row["property"]: row["found"] for row in rows(check("gpt2", "--preset", "gpt2", "--group", "config").stdout)
    }
    assert "vocab_size=50257, hidden_size=768" in found["the tiny config is lopsided"]


def test_names_that_cannot_be_are_wrong_use() -> None:
    done = check("lama")
    assert done.exit_code == 2
    assert "no family, plugin or distribution is called 'lama'" in done.stderr
    assert "did you mean: llama" in done.stderr
    done = check("llama", "--group", "speed")
    assert done.exit_code == 2
    assert "no group of checks is called 'speed'" in done.stderr
    done = check("zoo-lm", "--preset", "gpt2")
    assert done.exit_code == 2
    assert "--preset works with one family" in done.stderr


def site(folder: Path, this: str = "", that: str = "", file: str = "__init__.py") -> Path:
    """The stranger as a distribution that another process has installed, with one text replaced."""
    paths = [path for path in SOURCE.rglob("*") if path.suffix in (".py", ".yaml")]
    texts = {str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8") for path in paths}
    assert this in texts[file]
    texts[file] = texts[file].replace(this, that, 1)
    install(folder, "zoo-stranger", {"stranger": "zoo_stranger"}, {f"zoo_stranger/{n}": t for n, t in texts.items()})
    return folder


@pytest.mark.slow
def test_an_installed_plugin_that_imports_torch_is_named(tmp_path: Path) -> None:
    done = zoo(
        "check-plugin", "stranger", "--group", "registry", site=site(tmp_path, "from zoo", "import torch\nfrom zoo")
    )
    assert done.returncode == 1
    light, formats = [row for row in rows(done.stdout) if row["state"] == "fail"]
    assert (light["property"], light["group"]) == ("its plugin is light to import", "registry")
    assert light["found"].startswith("zoo_stranger imports torch")
    assert formats["property"] == "its config and formats need no torch"  # whoever imports them imports the plugin


@pytest.mark.slow
def test_an_installed_preset_with_an_unknown_key_is_named(tmp_path: Path) -> None:
    place = site(tmp_path, "num_heads: 4", "num_heds: 4", file="conf/model/stranger-small.yaml")
    done = zoo("check-plugin", "zoo_stranger", "--group", "config", "-q", site=place)
    assert done.returncode == 1
    (line,) = rows(done.stdout)
    assert line["property"] == "its presets can be composed"
    assert "stranger-small.yaml: no key 'model.num_heds'" in line["found"]


def test_a_plugin_that_does_not_load_fails_with_its_reason(plant: Plant) -> None:  # noqa: F811
    plant("__init__.py", "from zoo import", "import einops_that_is_not_there\n\nfrom zoo import")
    done = check("zoo-stranger", "--json")
    assert done.exit_code == 1
    (only,) = json.loads(done.stdout)["checks"]
    assert only["state"] == "fail"
    assert only["detail"] == "broken: ModuleNotFoundError: No module named 'einops_that_is_not_there'"
