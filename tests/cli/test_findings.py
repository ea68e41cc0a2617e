"""What `zoo doctor` finds on a machine, in words."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.cli import doctor, hub_cache

# zoo doctor

FOUND: dict[str, Any] = {
    "zoo": "9.9", "python": "3.99", "platform": "x", "packages": {"torch": "2.1", "omegaconf": "2.3"}, "cores": 7,
    "memory_bytes": 3 << 30, "plugins": [], "preset_clashes": [], "broken_presets": [],
    "hub": {"folder": "/there", "offline": False, "models": {}}, "extras": {}, "completion": [],
}  # fmt: skip


def test_doctor_tells_each_finding_and_what_is_wrong_last() -> None:
    told = dict(doctor.in_words(FOUND))
    assert told["zoo-lm"] == "9.9 · Python 3.99 · 7 cores, 3 GiB"
    assert told["packages"] == "torch 2.1 · omegaconf 2.3"
    assert "HF_HUB_OFFLINE" not in told["hub"]
    assert "nothing in /there" in told["hub"]
    assert "zoo completion bash --install" in told["completion"]
    wrong = FOUND | {
        "memory_bytes": None, "completion": ["bash", "fish"], "extras": {"gguf": ["gguf"], "hub": []},
        "hub": {"folder": "/there", "offline": True, "models": {"a/b": 1024, "c/d": 2048}},
        "preset_clashes": [{"preset": "p", "kept": "mine", "hidden": "theirs"}],
        "broken_presets": [{"preset": "q", "package": "k", "problem": "bad"}],
        "plugins": [{"state": s, "name": n} for s, n in
                    (("built in", "a"), ("loaded", "b"), ("broken", "c"), ("blocked", "d"), ("broken", "e"))],
    }  # fmt: skip
    rows = doctor.in_words(wrong)
    told = dict(rows)
    assert told["zoo-lm"].endswith("7 cores")
    assert told["hub"].startswith("offline (HF_HUB_OFFLINE=1)")
    assert "2 models, 3 KiB in /there" in told["hub"]
    assert told["completion"] == "bash, fish"
    assert told["extras"] == "gguf no   pip install 'zoo-lm[gguf]' · hub yes"
    assert told["plugins"].startswith("1 built in, 1 loaded, 2 broken (c, e), 1 blocked (d)")
    assert told["clash"].startswith("p of theirs ")
    assert told["clash"].endswith(" mine")
    assert told["broken"] == "q of k: bad"
    assert [name for name, _ in rows[-3:]] == ["clash", "broken", "paste with"]


def test_doctor_measures_memory_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert doctor._memory() == pytest.approx(int(total.split()[1]) * 1024, rel=0.01)
    monkeypatch.setattr("os.sysconf", lambda name: {}[name])
    with pytest.raises(KeyError):
        doctor._memory()

    def fail(name: str) -> int:
        raise ValueError

    monkeypatch.setattr("os.sysconf", fail)
    assert doctor._memory() is None
    assert doctor._version("no-such-package") == ""


def test_doctor_looks_for_completion_where_shells_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    shells = ("bash", "zsh", "fish")
    assert not any(map(doctor._completes, shells))
    (tmp_path / ".bash_profile").write_text("source <(zoo completion bash)\n")
    (tmp_path / ".zshrc").write_text("alias zoo=x\n")
    script = tmp_path / doctor.FILES["fish"][0]
    script.parent.mkdir(parents=True)
    script.write_text("")
    assert [doctor._completes(shell) for shell in shells] == [True, False, True]


def test_extras_are_those_that_users_install_and_are_missing_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2", "gguf>=0.6; extra == 'gguf'", "lm-eval>=0.4; extra == 'eval'", "pytest; extra == 'dev'"]
    told = SimpleNamespace(
        requires=lines, metadata=SimpleNamespace(get_all=lambda key: ["gguf", "eval", "dev", "all", "real", "docs"])
    )
    monkeypatch.setattr(doctor, "distribution", lambda name: told)
    versions = {"gguf": "0.5", "lm-eval": "0.4rc9"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, ""))
    doctor._extra_names.cache_clear()
    assert doctor._extras() == {"gguf": ["gguf"], "eval": ["lm-eval"]}
    versions |= {"gguf": "0.6", "lm-eval": "0.5rc1"}
    assert doctor._extras() == {"gguf": [], "eval": []}
    del versions["gguf"]
    assert doctor._extras()["gguf"] == ["gguf"]
    doctor._extra_names.cache_clear()


def test_the_cache_holds_the_newest_snapshots_of_what_has_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_cache, "cache_folder", lambda: tmp_path / "hub")
    assert list(hub_cache.models()) == []
    for name, size in (("a--b", 7), ("c--d", 5)):
        folder = tmp_path / "hub" / f"models--{name}" / "snapshots" / "1"
        folder.mkdir(parents=True)
        (folder / "x.safetensors").write_bytes(b"x" * size)
        (folder / "config.json").write_bytes(b"{}")
    (tmp_path / "hub" / "models--no--weights" / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "hub" / "models--no--snapshots").mkdir()
    newest = tmp_path / "hub" / "models--a--b" / "snapshots" / "x.bin"
    newest.write_bytes(b"x")
    os.utime(newest, (2**33, 2**33))
    assert [(m.repo, m.num_files, m.nbytes) for m in hub_cache.models()] == [("a/b", 1, 7), ("c/d", 1, 5)]
    assert hub_cache.find("c/d") == hub_cache.Cached("c/d", 1, 5)
    assert hub_cache.find("no/weights") is None
