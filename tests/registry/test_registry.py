"""A stranger's plugin works, and a broken one harms only itself. Every plugin here is a real installed distribution."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from textwrap import dedent

import pytest

from tests.distributions import good_plugin, install, zoo
from zoo.errors import UnknownName, ZooError
from zoo.registry import Registry, installed

pytestmark = pytest.mark.slow  # starts processes with installed distributions

HOOKS = """
    from zoo import Family, hookimpl

    {marker}
    def {hook}():
        return {returned}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Distributions of strangers, one good and each of the others wrong in its own way."""
    site = tmp_path_factory.mktemp("site")
    install(site, "zoo-good", {"good": "zoo_good"}, good_plugin("zoo_good", "good"), version="2.3")
    install(site, "zoo-absent", {"absent": "zoo_absent"}, {"zoo_absent.py": "import einops_that_is_not_there"})
    install(site, "zoo-raises", {"raises": "zoo_raises"}, {"zoo_raises.py": "raise ValueError('on a Monday')"})
    install(site, "zoo-gone", {"gone": "zoo_module_that_was_never_shipped"}, {})
    install(site, "zoo-exits", {"exits": "zoo_exits"}, {"zoo_exits.py": "raise SystemExit('bye')"})
    unreadable = ["zoo-lm (>=9"]
    install(site, "zoo-garbled", {"garbled": "zoo_garbled"}, {"zoo_garbled.py": ""}, requires=unreadable)
    install(
        site, "zoo-newer", {"newer": "zoo_newer"}, {"zoo_newer.py": "raise AssertionError('imported all the same')"},
        requires=["torch>=2", "zoo-lm>=9"],
    )  # fmt: skip
    install(
        site, "zoo-future", {"future": "zoo_future"}, good_plugin("zoo_future", "future", {}),
        requires=["zoo_lm>=9; python_version < '3'", "zoo-lm>=9; extra == 'bleeding'", "zoo-lm>=0.1"],
    )  # fmt: skip
    one = 'Family(name="{}", config="c:C", model="m:M")'
    wrong = {
        "misspelt": HOOKS.format(marker="@hookimpl", hook="zoo_familes", returned=f"[{one.format('misspelt')}]"),
        "unmarked": HOOKS.format(marker="", hook="zoo_families", returned=f"[{one.format('unmarked')}]"),
        "thief": HOOKS.format(marker="@hookimpl", hook="zoo_families", returned=f"[{one.format('llama')}]"),
        "sloppy": HOOKS.format(marker="@hookimpl", hook="zoo_families", returned="['sloppy']"),
        "homeless": HOOKS.format(marker="@hookimpl", hook="zoo_config_packages", returned="['zoo_homeless_conf']"),
    }
    for name, text in wrong.items():
        install(site, f"zoo-{name}", {name: f"zoo_{name}"}, {f"zoo_{name}.py": text})
    return site


@pytest.fixture(scope="module")
def listed(site):
    """What `zoo plugins --json` says of each."""
    done = zoo("plugins", "--json", site=site)
    assert done.returncode == 0, done.stderr
    return {plugin["name"]: plugin for plugin in json.loads(done.stdout)}


def test_a_good_plugin_is_loaded_with_its_family_and_presets(site, listed):
    good = listed["good"]
    assert (good["state"], good["package"], good["version"]) == ("loaded", "zoo-good", "2.3")
    assert (good["families"], good["config_packages"]) == (["good"], ["zoo_good.conf"])
    found = zoo("list", "good", "--json", site=site)
    assert [(m["name"], m["plugin"]) for m in json.loads(found.stdout)] == [("good", "zoo-good")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "ModuleNotFoundError: No module named 'einops_that_is_not_there'"),
        ("raises", "ValueError: on a Monday"),
        ("exits", "SystemExit: bye"),
        ("garbled", "InvalidRequirement: "),
        ("gone", "ModuleNotFoundError: No module named 'zoo_module_that_was_never_shipped'"),
        ("misspelt", "unknown hook 'zoo_familes'"),
        ("unmarked", "is @zoo.hookimpl missing?"),
        ("thief", "the family name 'llama' is taken by zoo-lm:llama"),
        ("sloppy", "zoo_families returned 'sloppy', which is not a zoo.Family"),
        ("homeless", "No module named 'zoo_homeless_conf'"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason(listed, name, reason):
    assert listed[name]["state"] == "broken"
    assert reason in listed[name]["reason"]
    assert listed[name]["families"] == []


@pytest.mark.parametrize("words", [["show", "absent-7b"], ["list", "absent"], ["inspect", "absent-7b"]], ids=" ".join)
def test_a_name_that_is_not_known_may_be_of_a_plugin_that_is_not_loaded(site, words):
    told = zoo(*words, site=site).stderr.splitlines()[0]
    assert "absent" in told.partition("(plugins that are not loaded: ")[2]
    assert told.endswith("; see zoo plugins)")


def test_a_plugin_that_wants_another_zoo_is_refused_before_it_is_imported(listed):
    assert listed["newer"]["state"] == "refused"
    assert listed["newer"]["reason"].startswith("requires zoo-lm>=9, this is zoo-lm ")


def test_requirements_of_other_pythons_and_of_extras_do_not_refuse_a_plugin(listed):
    assert listed["future"]["state"] == "loaded"


def test_everything_else_works_beside_broken_plugins(site, listed):
    assert listed["llama"]["state"] == "built in"
    done = zoo("show", "llama3", site=site)
    assert (done.returncode, done.stderr) == (0, "")


def test_list_names_what_was_not_loaded_in_one_line(site):
    lines = [line for line in zoo("list", site=site).stderr.splitlines() if line.startswith("not loaded: ")]
    assert len(lines) == 1
    for name in ("absent", "thief", "newer"):
        assert f"{name} (zoo-{name} 1.0): " in lines[0]
    assert "good (" not in lines[0]


@pytest.mark.parametrize("name", ["absent", "newer"])
def test_asking_for_the_family_of_a_plugin_that_was_not_loaded_repeats_why(site, listed, name):
    done = zoo("list", "--family", name, site=site)
    assert done.returncode == 1
    assert f"the plugin '{name}' of zoo-{name} is {listed[name]['state']}" in done.stderr
    assert listed[name]["reason"] in done.stderr


def test_a_plugin_is_left_out_on_the_command_line(site):
    done = zoo("-p", "no:good", "plugins", site=site)
    assert "blocked: good (-p no:good)" in done.stderr
    assert not any(line.startswith("good\t") for line in done.stdout.splitlines())
    assert zoo("-p", "no:good", "list", "-q", "good", site=site).returncode == 2


def test_a_built_in_plugin_can_be_left_out_with_its_presets(site):
    done = zoo("-p", "no:llama", "-p", "no:thief", "list", "-q", site=site)
    assert done.returncode == 0
    assert "good" in done.stdout.split()
    assert not any(name.startswith(("llama1", "llama2", "llama3")) for name in done.stdout.split())
    assert "llama4-scout" in done.stdout.split()  # of another plugin


def test_presets_of_a_blocked_plugin_are_listed_with_the_problem(site):
    found = json.loads(zoo("-p", "no:llama", "list", "llama2", "--json", site=site).stdout)
    assert found
    assert all(model["parameters"] is None and model["problem"] for model in found)


def test_a_blocked_plugin_is_never_imported(site):
    done = zoo("-p", "no:raises", "plugins", "--json", site=site)
    reasons = {plugin["name"]: plugin["reason"] for plugin in json.loads(done.stdout)}
    assert reasons["raises"] == "-p no:raises"


@pytest.mark.parametrize(("wanted", "loaded"), [("", []), ("good", ["good"]), ("good, future", ["future", "good"])])
def test_the_environment_names_the_third_party_plugins_to_load(site, wanted, loaded):
    done = zoo("plugins", "--json", site=site, ZOO_PLUGINS=wanted)
    plugins = json.loads(done.stdout)
    assert sorted(p["name"] for p in plugins if p["state"] == "loaded") == loaded
    assert {p["state"] for p in plugins if p["package"] == "zoo-lm"} == {"built in"}
    assert {p["state"] for p in plugins} <= {"built in", "loaded", "blocked"}


def test_the_first_of_two_strangers_with_one_name_keeps_it(tmp_path):
    for package in ("zoo-a", "zoo-b"):
        module = package.replace("-", "_")
        install(tmp_path, package, {module: module}, good_plugin(module, "same"))
    plugins = {p["name"]: p for p in json.loads(zoo("plugins", "--json", site=tmp_path).stdout)}
    assert plugins["zoo_a"]["state"] == "loaded"
    assert "taken by zoo-a:zoo_a" in plugins["zoo_b"]["reason"]


def test_a_preset_that_clashes_is_reported_and_the_first_is_kept(tmp_path):
    presets = {"llama3": "# Not Meta's\ndefaults:\n  - /schema/same@_here_\n  - _self_\n"}
    install(tmp_path, "zoo-same", {"same": "zoo_same"}, good_plugin("zoo_same", "same", presets))
    found = json.loads(zoo("doctor", "--json", site=tmp_path).stdout)
    assert found["preset_clashes"] == [{"preset": "llama3", "kept": "zoo-lm", "hidden": "zoo-same"}]
    (llama3,) = (m for m in json.loads(zoo("list", "llama3", "--json", site=tmp_path).stdout) if m["name"] == "llama3")
    assert (llama3["plugin"], llama3["family"]) == ("zoo-lm", "llama")


@pytest.mark.slow
def test_a_wheel_that_pip_installed_is_found(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    for path, text in good_plugin("zoo_wheel", "wheel").items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(dedent(text))
    (source / "pyproject.toml").write_text(PYPROJECT)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site), str(source)],
        check=True, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    (plugin,) = (p for p in json.loads(zoo("plugins", "--json", site=site).stdout) if p["name"] == "wheel")
    assert (plugin["state"], plugin["package"], plugin["version"]) == ("loaded", "zoo-wheel", "0.4.2")
    assert zoo("list", "-q", "wheel", site=site).stdout == "wheel\n"


def test_an_entry_point_that_belongs_to_no_distribution_is_loaded_as_a_stranger(tmp_path, monkeypatch):
    for path, text in good_plugin("zoo_loose", "loose").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry(points=[EntryPoint("loose", "zoo_loose", "zoo")], blocked=frozenset())
    assert [(p.name, p.state, p.distribution) for p in registry.plugins] == [("loose", "loaded", "?")]
    assert registry["loose"].name == "loose"


def test_an_unknown_family_is_met_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no family is called 'lama'\ndid you mean: llama"):
        installed()["lama"]


def test_a_broken_family_is_no_unknown_name():
    registry = Registry(points=[EntryPoint("gone", "zoo_module_that_is_gone", "zoo")], blocked=frozenset())
    with pytest.raises(ZooError, match=r"the plugin 'gone' of \? is broken") as caught:
        registry["gone"]
    assert "zoo_module_that_is_gone" in caught.value.why


PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "zoo-wheel"
version = "0.4.2"
dependencies = ["zoo-lm>=0.1"]

[project.entry-points.zoo]
wheel = "zoo_wheel"

[tool.setuptools]
packages = ["zoo_wheel", "zoo_wheel.conf"]

[tool.setuptools.package-data]
"zoo_wheel.conf" = ["**/*.yaml"]
"""
