"""`zoo doctor` tells what zoo runs on and what is wrong, and connects to nothing."""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import version

import pytest

from tests.distributions import good_plugin, install, python, zoo


def words(*args, **environment) -> dict[str, str]:
    done = zoo("doctor", *args, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split("\t") for line in done.stdout.splitlines())


@pytest.mark.slow
def test_doctor_tells_versions_without_importing_what_they_are_of():
    code = """if True:
        import atexit, sys
        heavy = "torch hydra omegaconf transformers httpx2 tokenizers safetensors".split()
        atexit.register(lambda: print(*sorted(set(heavy) & set(sys.modules)), file=sys.stderr))
        from zoo.cli import main
        main(["doctor", "--json"])
    """
    done = python(code)
    found = json.loads(done.stdout)
    assert done.stderr.split() == []
    assert (found["zoo"], found["python"]) == (version("zoo-lm"), platform.python_version())
    assert found["packages"]["torch"] == version("torch")
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 1 << 28


@pytest.mark.slow
def test_broken_plugins_and_presets_and_clashes_are_told(tmp_path):
    texts = {
        "good": "# Good (x)\ndefaults: [/schema/good@_here_, _self_]\nnum_layers: many\n",
        "gpt2": "family: good\n",
    }
    install(tmp_path, "zoo-good", {"good": "zoo_good"}, good_plugin("zoo_good", "good", texts))
    install(tmp_path, "zoo-bad", {"bad": "zoo_bad"}, {"zoo_bad.py": "1 / 0"})
    done = zoo("doctor", site=tmp_path)
    assert "1 broken (bad)" in done.stdout
    assert "clash\tgpt2 of zoo-good is hidden by the one of zoo-lm\n" in done.stdout
    assert re.search(r"broken\tgood of zoo-good: \S+/good\.yaml: model\.num_layers='many' is not int\n", done.stdout)
    found = json.loads(zoo("doctor", "--json", site=tmp_path).stdout)
    assert [b["preset"] for b in found["broken_presets"]] == ["good"]


@pytest.mark.slow
def test_a_sound_environment_has_no_complaints():
    assert not {"clash", "broken"} & set(words(ZOO_PLUGINS=""))


@pytest.mark.slow
@pytest.mark.parametrize(("value", "told"), [("1", "offline (HF_HUB_OFFLINE=1)"), ("0", "network not tested")])
def test_the_offline_switch_is_told(value, told):
    assert words(HF_HUB_OFFLINE=value)["hub"].startswith(f"{told} · cached: ")


@pytest.mark.slow
def test_cached_models_are_counted(tmp_path):
    for name, size in (("a--b", 2048), ("c--d", 1024)):
        snapshot = tmp_path / f"models--{name}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").write_bytes(b"x" * size)
    (tmp_path / "models--no--weights" / "snapshots" / "1").mkdir(parents=True)
    assert f"cached: 2 models, 3 KiB in {tmp_path}" in words(HF_HUB_CACHE=str(tmp_path))["hub"]
    assert f"cached: nothing in {tmp_path / 'none'}" in words(HF_HUB_CACHE=str(tmp_path / "none"))["hub"]


def test_a_missing_extra_comes_with_the_command_that_installs_it(monkeypatch):
    from zoo.cli import doctor

    monkeypatch.setattr(doctor, "_version", lambda package: "" if package == "gguf" else "99")
    assert doctor.examine()["extras"]["gguf"] == ["gguf"]
    assert "gguf no   pip install 'zoo-lm[gguf]'" in dict(doctor.in_words(doctor.examine()))["extras"]


@pytest.mark.slow
def test_completion_is_found_where_shells_look(tmp_path):
    assert "not installed" in words(HOME=str(tmp_path))["completion"]
    (tmp_path / ".zshrc").write_text('eval "$(zoo completion zsh)"\n')
    assert zoo("completion", "bash", "--install", HOME=str(tmp_path)).returncode == 0
    assert words(HOME=str(tmp_path))["completion"] == "bash, zsh"


@pytest.mark.slow
def test_nothing_connects():
    code = """if True:
        import sys
        def hook(event, args):
            if event.startswith("socket."):
                sys.stderr.write(event)
        sys.addaudithook(hook)
        from zoo.cli import main
        main(sys.argv[1:])
    """
    for command in (["doctor"], ["list"], ["plugins"], ["show", "llama3"], ["show", "llama3", "rope=yarn"]):
        done = python(code, *command, HF_HUB_OFFLINE="0")
        assert done.returncode == 0
        assert "socket" not in done.stderr, command
