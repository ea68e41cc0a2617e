"""`zoo plugins` lists what is loaded, from where, and why not; plugins of every kind are in tests/registry."""

from __future__ import annotations

import csv
import json
from importlib.metadata import version

import pytest

from tests.distributions import good_plugin, install, zoo

pytestmark = pytest.mark.slow  # each starts a process


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    install(site, "zoo-good", {"good": "zoo_good"}, good_plugin("zoo_good", "good"), version="2.3")
    install(site, "zoo-bad", {"bad": "zoo_bad"}, {"zoo_bad.py": "import einops_that_is_not_there"})
    install(site, "zoo-old", {"old": "zoo_old"}, {"zoo_old.py": ""}, requires=["zoo-lm<0.0.1"])
    return site


def rows(*words, site) -> dict[str, dict[str, str]]:
    done = zoo("plugins", *words, site=site)
    assert done.returncode == 0
    return {row["plugin"]: row for row in csv.DictReader(done.stdout.splitlines(), delimiter="\t")}


def test_every_plugin_has_a_row_with_its_state(site):
    found = rows(site=site)
    assert found["llama"] == {
        "plugin": "llama",
        "version": version("zoo-lm"),
        "package": "zoo-lm",
        "families": "llama",
        "state": "built in",
    }
    good = found["good"]
    assert (good["version"], good["package"], good["families"]) == ("2.3", "zoo-good", "good")
    assert good["state"].startswith("loaded in ")
    assert good["state"].endswith(" ms")
    assert found["bad"]["state"] == "BROKEN  ModuleNotFoundError: No module named 'einops_that_is_not_there'"
    assert found["old"]["state"].startswith("refused  requires zoo-lm<0.0.1, this is ")


def test_blocked_plugins_have_a_row_only_when_asked_for(site):
    assert "good" not in rows("-p", "no:good", site=site)
    assert rows("--all", "-p", "no:good", site=site)["good"]["state"] == "blocked  -p no:good"
    assert zoo("plugins", "-p", "no:good", site=site).stderr == "blocked: good (-p no:good)\n"


def test_json_tells_all_of_every_plugin_blocked_ones_included(site):
    found = {p["name"]: p for p in json.loads(zoo("plugins", "--json", "-p", "no:good", site=site).stdout)}
    assert {"llama", "good", "bad", "old"} <= set(found)
    assert (found["good"]["state"], found["good"]["seconds"]) == ("blocked", 0)
    assert found["bad"]["seconds"] > 0
    keys = ["name", "version", "package", "families", "config_packages", "formats", "commands", "state"]
    keys += ["reason", "seconds"]
    assert {tuple(p) for p in found.values()} == {tuple(keys)}
