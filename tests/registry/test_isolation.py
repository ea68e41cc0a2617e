"""What a stranger's plugin may do while it is imported and asked: it ends, at worst, itself."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint
from itertools import count
from pathlib import Path
from textwrap import dedent

import pytest

from tests.distributions import CONFIG, FAMILY, good_plugin, install, zoo
from tests.some import one_in
from zoo.errors import ZooError, ZooWarning
from zoo.registry import Plugin, Registry
from zoo.registry.isolation import PluginError, isolated

NUMBERS = count()
Load = Callable[..., Registry]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The registry of one plugin, whose module has this text; `more` are further files of its package."""
    monkeypatch.syspath_prepend(tmp_path)

    def loaded(text: str, more: dict[str, str] | None = None) -> Registry:
        package = f"zoo_isolated_{next(NUMBERS)}"
        for name, body in ({"__init__.py": text} | (more or {})).items():
            (tmp_path / package / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / package / name).write_text(dedent(body).replace("PACKAGE", package))
        points = [EntryPoint("stranger", package, "zoo"), EntryPoint("llama", "zoo.plugins.llama", "zoo")]
        return Registry(points=points, blocked=frozenset())

    return loaded


def stranger(registry: Registry) -> Plugin:
    return next(plugin for plugin in registry.plugins if plugin.name == "stranger")


ENDS = {
    "SystemExit": ("raise SystemExit('bye')", "SystemExit: bye"),
    "sys.exit": ("import sys; sys.exit()", "SystemExit: "),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    "GeneratorExit": ("raise GeneratorExit", "GeneratorExit: "),
    "StopIteration": ("raise StopIteration", "StopIteration: "),
    "its own kind": ("class Own(BaseException): ...\nraise Own('words')", "Own: words"),
    "no words": (
        "class Mute(Exception):\n    def __str__(self): raise SystemExit\nraise Mute",
        "its error has no readable text",
    ),
    "no memory": ("raise MemoryError", "MemoryError: "),
    "endless recursion": ("def f(): f()\nf()", "RecursionError: "),
    "syntax": ("def f(:", "SyntaxError: "),
    "control characters": ("raise ValueError('\\x1b[2J')", "ValueError: \\x1b[2J"),
    "a group": ("raise BaseExceptionGroup('two', [SystemExit(), ValueError()])", "BaseExceptionGroup: two"),
}


CASES = [(where, how) for where in ("import", "hook", "generator", "package") for how in ENDS]


@pytest.mark.parametrize(("where", "how"), one_in(3, [case for case in CASES if case != ("generator", "syntax")]))
def test_whatever_ends_a_plugin_ends_nothing_else(load: Load, where: str, how: str) -> None:
    text, reason = ENDS[how]
    head = "from zoo import Family, hookimpl\n"
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    texts = {
        "import": text,
        "hook": f"{head}@hookimpl\ndef zoo_families():\n{lines}",
        "generator": f"{head}@hookimpl\ndef zoo_families():\n    yield Family('x', 'a:A', 'b:B')\n{lines}",
        "package": f"{head}@hookimpl\ndef zoo_config_packages():\n    return ['PACKAGE.conf']\n",
    }
    registry = load(texts[where], {"conf/__init__.py": text})
    found = stranger(registry)
    if how == "StopIteration" and where == "generator":
        reason = "generator raised StopIteration"
    assert (found.state, found.families, found.config_packages) == ("broken", (), ())
    assert reason in found.reason
    assert [*registry.families] == ["llama"]


ANSWERS = {
    "None": "returned None, which is not a list",
    "3": "returned 3, which is not a list",
    "'abc'": "returned 'abc', which is not a list",
    "{'a': 1}": "returned {'a': 1}, which is not a list",
    "[None]": "returned None, which is not",
    "__import__('itertools').repeat(1)": "returned more than 10,000 items",
    "(i for i in [b'x'])": "returned b'x', which is not",
}
RECORDS = {
    "name='Upper'": "'Upper' is not a family name",
    "name='a b'": "'a b' is not a family name",
    "name='../x'": "'../x' is not a family name",
    "name=3": "3 is not a family name",
    "config='zoo_x.config'": "config='zoo_x.config' is not of the form 'package.module:name'",
    "config=None": "config=None is not of the form",
    "model='a b:C'": "model='a b:C' is not of the form",
    "pictures='x'": "pictures='x' is not of the form",
    "formats=['hf']": "formats=['hf'] is not a table",
    "formats={'hf': 3}": "formats={'hf': 3} is not a table",
    "formats={'hf': '../x'}": "formats={'hf': '../x'} is not a name and a reference to a Dialect",
    "formats={'zoo': 'x'}": "is not a name and a reference to a Dialect",
    "near='bert'": "near='bert' is not a table",
    "hf_types='distilbert'": "hf_types='distilbert' is not a tuple",  # in which 'bert' would be found
    "hf_types=(3,)": "hf_types=(3,) is not a tuple",
    "summary=3": "summary=3 is not a text",
}


@pytest.mark.parametrize("hook", ["zoo_families", "zoo_config_packages"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_hook_that_returns_no_list_is_told(load: Load, hook: str, answer: str) -> None:
    found = stranger(load(f"from zoo import hookimpl\n@hookimpl\ndef {hook}():\n    return {answer}\n"))
    assert found.state == "broken"
    assert ANSWERS[answer] in found.reason


@pytest.mark.parametrize("record", RECORDS)
def test_a_family_that_cannot_be_one_is_told(load: Load, record: str) -> None:
    head, known = "from zoo import Family, hookimpl\n@hookimpl\n", "dict(name='x', config='a:A', model='b:B')"
    found = stranger(load(f"{head}def zoo_families():\n    return [Family(**{known} | dict({record}))]\n"))
    assert found.state == "broken"
    assert RECORDS[record] in found.reason


@pytest.mark.parametrize("package", ["zoo.conf", "zoo.models", "zoo"])
def test_a_package_of_presets_that_is_anothers_is_refused(load: Load, package: str) -> None:
    registry = load(f"from zoo import hookimpl\n@hookimpl\ndef zoo_config_packages():\n    return ['{package}']\n")
    assert stranger(registry).state == "broken"
    assert registry.config_packages["zoo.conf"] == "zoo-lm"


NOISE = """
    import os, subprocess, sys
    print("printed")
    sys.stdout.write("written ")
    sys.__stdout__.write("by the first stream ")
    os.write(1, b"by the descriptor ")
    subprocess.run(["echo", "by a child"])
    sys.stdout = sys.stderr = open(os.devnull, "w")
"""


@pytest.mark.parametrize("where", ["import", "hook", "package", "config"])
def test_nothing_that_a_plugin_prints_reaches_stdout(load: Load, where: str, capfd: pytest.CaptureFixture[str]) -> None:
    family, noise = dedent(FAMILY).format(package="PACKAGE", family="noisy"), dedent(NOISE)
    in_hook = family.replace("():\n", "():\n" + "".join(f"    {line}\n" for line in noise.splitlines()))
    parts = {
        "__init__.py": {"import": noise + family, "hook": in_hook}.get(where, family),
        "conf/__init__.py": noise if where == "package" else "",
        "config.py": (noise if where == "config" else "") + dedent(CONFIG).format(family="noisy"),
    }
    streams = sys.stdout, sys.stderr
    registry = load(parts.pop("__init__.py"), parts)
    assert registry["noisy"].config_class.__name__ == "Config"
    assert (sys.stdout, sys.stderr) == streams
    told = capfd.readouterr()
    assert told.out == ""
    for words in ("printed", "written", "by the first stream", "by the descriptor", "by a child"):
        assert words in told.err


def test_the_folder_at_hand_ctrl_c_and_zoos_warnings_stay_as_they_were(load: Load, tmp_path: Path) -> None:
    folder, handler = os.getcwd(), signal.getsignal(signal.SIGINT)
    noise = "import os, signal, warnings\nos.chdir('/')\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    noise += "warnings.simplefilter('ignore')\nwarnings.simplefilter('error', UserWarning)\n"
    with warnings.catch_warnings():
        warnings.simplefilter("always", ZooWarning)
        registry = load(noise + dedent(FAMILY).format(package="PACKAGE", family="mover"), {"conf/__init__.py": ""})
        assert (os.getcwd(), signal.getsignal(signal.SIGINT)) == (folder, handler)
        with pytest.warns(ZooWarning, match="is heard"):
            warnings.warn("is heard", ZooWarning, stacklevel=1)
    assert stranger(registry).state == "loaded"


def test_a_users_own_ctrl_c_ends_the_command(load: Load) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            load("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)")
    finally:
        signal.signal(signal.SIGINT, before)


def test_errors_of_zoo_go_through_as_they_are_and_others_are_told() -> None:
    with pytest.raises(ZooError, match=r"^as it is$"), isolated("x"):
        raise ZooError("as it is")
    with pytest.raises(PluginError, match=r"^x: KeyError: 'y'$"), isolated("x"):
        {}["y"]


DIALECT = """
from zoo.weights import Dialect, Match

def matches(raw):
    return CLAIM

HF = Dialect(from_config=None, mapping=None, matches=matches)
"""
LATER = {
    "a dialect that exits": ({"hf.py": "raise SystemExit('bye')"}, r"zoo_isolated_\d+.hf:HF: SystemExit: bye"),
    "a dialect that is not there": ({}, r"No module named 'zoo_isolated_\d+.hf'"),
    "a claim of 2": (
        {"hf.py": DIALECT.replace("CLAIM", "Match(2.0, ())")},
        "not a zoo.Match",
    ),
    "a claim that is no match": (
        {"hf.py": DIALECT.replace("CLAIM", "True")},
        "returned True, which is not a zoo.Match",
    ),
    "a claim that raises": ({"hf.py": DIALECT.replace("return CLAIM", "raise GeneratorExit")}, "GeneratorExit"),
}


@pytest.mark.parametrize("how", LATER)
def test_what_fails_when_it_is_used_breaks_its_plugin_and_no_other(load: Load, how: str) -> None:
    files, reason = LATER[how]
    family = (
        dedent(FAMILY)
        .format(package="PACKAGE", family="late")
        .replace("model=", "formats={'hf': 'PACKAGE.hf:HF'}, model=")
    )
    registry = load(family, {"conf/__init__.py": "", "config.py": dedent(CONFIG).format(family="late")} | files)
    assert stranger(registry).state == "loaded"
    with pytest.warns(ZooWarning, match="the plugin 'stranger' of \\? is broken"):
        claims = registry.detect({"model_type": "llama"})
    assert [family.name for family, _ in claims] == ["llama"]
    assert stranger(registry).state == "broken"
    assert re.search(reason, stranger(registry).reason)
    with pytest.raises(ZooError, match="the plugin 'stranger' of \\? is broken"):
        registry["late"]


def test_trying_out_finds_a_config_that_is_not_to_be_had(load: Load) -> None:
    family = dedent(FAMILY).format(package="PACKAGE", family="late")
    registry = load(family, {"conf/__init__.py": "", "config.py": "import sys; sys.exit('no config today')"})
    assert stranger(registry).state == "loaded"
    registry.try_out()
    assert stranger(registry).state == "broken"
    assert "SystemExit: no config today" in stranger(registry).reason


@pytest.mark.slow
def test_json_stays_json_beside_a_plugin_that_prints_and_one_whose_metadata_cannot_be_read(tmp_path: Path) -> None:
    files = good_plugin("zoo_loud", "loud")
    files = {
        name: dedent(NOISE if name.endswith(".py") and "model" not in name else "") + dedent(text)
        for name, text in files.items()
    }
    install(tmp_path, "zoo-loud", {"loud": "zoo_loud"}, files)
    install(
        tmp_path, "zoo-slow", {"slow": "zoo_slow"}, {"zoo_slow.py": "import time; time.sleep(0.6); raise SystemExit"}
    )
    (tmp_path / "other-1.0.dist-info").mkdir()
    (tmp_path / "other-1.0.dist-info" / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    (tmp_path / "garbled-1.0.dist-info").mkdir()
    (tmp_path / "garbled-1.0.dist-info" / "entry_points.txt").write_bytes(b"[zoo]\nx = \xff\n")
    commands = ["plugins --json", "list loud --json", "show loud --json", "doctor --json", "inspect tiny --json"]
    found = {command: zoo(*command.split(), site=tmp_path) for command in commands}
    for done in found.values():
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
        assert "printed" in done.stderr
    states = {(p["name"], p["package"]): p for p in json.loads(found["plugins --json"].stdout)}
    assert states["loud", "zoo-loud"]["state"] == "loaded"
    assert states["slow", "zoo-slow"]["seconds"] > 0.6
    for name in ("other-1.0.dist-info", "garbled-1.0.dist-info"):
        assert states["?", name]["state"] == "broken"
    assert "slow to import, and every command waits for them: slow (0." in zoo("plugins", site=tmp_path).stderr
