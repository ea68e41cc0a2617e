"""`zoo list` is quick, light and made for people and pipes alike."""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import fields

import pytest

from tests.cli.terminal import on_terminal
from tests.distributions import good_plugin, install, python, zoo
from zoo.cli.list import COLUMNS
from zoo.presets import ModelRecord, list_models
from zoo.units import human_count

pytestmark = pytest.mark.slow  # each starts a process

HEAVY = "torch hydra omegaconf transformers huggingface_hub"
LIST = "from zoo.cli import main; main(['list'])"
EDITABLE = {"_distutils_hack"}  # an installation's own


def test_list_imports_nothing_heavy():
    code = f"""if True:
        import atexit, sys
        heavy = set("{HEAVY} numpy rich yaml".split())
        atexit.register(lambda: print(*sorted(heavy & set(sys.modules)), file=sys.stderr))
        from zoo.cli import main
        main(["list", "-q"])
    """
    done = python(code)
    assert done.returncode == 0
    assert "llama3" in done.stdout.split()
    assert done.stderr.strip() == ""  # rich is for terminals, and the index spares the YAML


def test_list_without_an_index_imports_nothing_heavy_either():
    code = f"""if True:
        import sys, zoo.presets
        zoo.presets.read_index = lambda presets: {{}}
        assert len(zoo.list_models()) > 20
        print(*sorted(set("{HEAVY} numpy".split()) & set(sys.modules)))
    """
    assert python(code).stdout.strip() == ""


def test_what_list_imports_is_little():
    """Its time is told by tools/bench, beside Python's own; here, what decides it."""
    code = f"""if True:
        import atexit, sys
        before = set(sys.modules)
        atexit.register(lambda: print(*sorted(set(sys.modules) - before), file=sys.stderr))
        {LIST}
    """
    imported = python(code).stderr.splitlines()[-1].split()
    packages = {name.partition(".")[0] for name in imported}
    assert packages - set(sys.stdlib_module_names) - EDITABLE == {"click", "pluggy", "zoo"}
    costly = "asyncio bz2 ctypes email http logging lzma multiprocessing ssl subprocess tempfile unittest".split()
    assert not packages & {*costly}
    assert not [name for name in imported if name.startswith("zoo.plugins.") and name.count(".") > 2]
    assert not [name for name in imported if name.startswith("zoo.anatomy")]  # the index tells all that is asked
    assert len([name for name in imported if not name.startswith("zoo.plugins.")]) < 110  # 98 in 3.11


def test_on_a_pipe_the_answer_is_tab_separated_with_plain_numbers():
    done = zoo("list", "llama3.1-405b")
    (row,) = csv.DictReader(done.stdout.splitlines(), delimiter="\t")
    assert row == {
        "model": "llama3.1-405b",
        "family": "llama",
        "params": "405853388800",
        "layers": "126",
        "attention": "GQA 128/8",
        "position": "RoPE 500k llama3 ×8",
        "context": "131072",
        "weights": "meta-llama/Llama-3.1-405B",
        "gated": "yes",
    }


def test_the_last_line_counts_and_goes_to_stderr():
    total = len(zoo("list", "-q").stdout.splitlines())
    done = zoo("list", "llama3.2-?b")
    assert done.stderr == f"2 of {total} models. More: zoo show llama3.2-1b · zoo compare llama3.2-1b llama3.2-3b\n"
    assert zoo("list").stderr.startswith(f"{total} of {total} models. ")


def test_json_has_every_field_of_every_record():
    found = json.loads(zoo("list", "smol", "--json").stdout)
    assert [model["name"] for model in found] == ["smollm2-135m", "smollm2-360m", "smollm2-1.7b", "smollm3-3b"]
    assert {tuple(model) for model in found} == {tuple(field.name for field in fields(ModelRecord))}


def test_quiet_prints_names_only():
    done = zoo("list", "-q", "llama2*")
    assert (done.stdout, done.stderr) == ("llama2\nllama2-7b\nllama2-13b\nllama2-70b\n", "")


def test_models_are_listed_as_people_count():
    names = zoo("list", "-q").stdout.split()
    for series in (
        "gpt2 gpt2-medium gpt2-large gpt2-xl", "llama1-7b llama2-7b llama3-8b llama3-70b llama3.1-8b llama3.2-1b",
        "qwen2-0.5b qwen2-72b qwen2.5-0.5b qwen2.5-72b", "t5-small t5-base t5-large t5-3b t5-11b",
    ):  # fmt: skip
        places = [names.index(name) for name in series.split()]
        assert places == sorted(places)


def test_family_narrows_the_list():
    rows = zoo("list", "--family", "llama").stdout.splitlines()[1:]
    assert len(rows) >= 23
    assert {row.split("\t")[1] for row in rows} == {"llama"}


def test_a_pattern_that_nothing_matches_is_met_with_the_nearest():
    done = zoo("list", "lamma3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no model matches 'lamma3'\ndid you mean: llama3")


def test_an_unknown_family_is_met_with_the_nearest():
    done = zoo("list", "--family", "lama")
    assert done.returncode == 2
    assert "did you mean: llama" in done.stderr


def test_on_a_terminal_the_table_is_aligned_and_numbers_are_for_people():
    header, eight, seventy, most = on_terminal("list", "llama3.1-?*b", width=140).splitlines()[:4]
    assert header.split() == [c.title for c in COLUMNS]
    assert "406B" in most
    assert "131,072" in eight
    assert eight.index("GQA") == seventy.index("GQA") == header.index("attention")
    assert not header.startswith("model")  # indented, as all answers on a terminal


@pytest.mark.parametrize(("words", "is_whole"), [((), False), (("--no-truncate",), True)])
def test_a_narrow_terminal_cuts_the_table_unless_told_not_to(words, is_whole):
    shown = on_terminal("list", "tinyllama", *words, width=60)
    assert ("TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T" in shown) is is_whole
    assert ("weights" in shown) is is_whole  # a column that has no room is left out
    assert all(len(line) <= 60 for line in shown.splitlines()) is not is_whole


def test_no_color_is_honoured():
    assert "\x1b[" in on_terminal("list", "llama3", has_style=True)
    assert "\x1b[3" not in on_terminal("list", "llama3", has_style=True, NO_COLOR="1")


def test_a_strangers_text_cannot_drive_the_terminal(tmp_path):
    preset = '# Evil (x)\ndefaults:\n  - /schema/evil@_here_\n  - _self_\nhub: "a\\tb\\nc[bold]\\e[2J"\n'
    install(tmp_path, "zoo-evil", {"evil": "zoo_evil"}, good_plugin("zoo_evil", "evil", {"evil": preset}))
    done = zoo("list", "evil", site=tmp_path)
    assert "\x1b" not in done.stdout + done.stderr
    assert "evil.yaml: line 5: " in done.stderr
    shown = on_terminal("list", "evil", "--no-truncate", PYTHONPATH=_path(tmp_path))
    assert "\x1b[2J" not in shown
    assert "\x1b[2J" not in shown


def _path(site):
    return os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))


def test_a_model_that_is_only_not_listed_is_not_suggested_to_be_a_typo():
    done = zoo("-p", "no:llama", "list", "tiny")
    assert done.returncode == 2
    assert "did you mean" not in done.stderr
    assert "of other families, or of a plugin that is not loaded: tiny, tinyllama-1.1b" in done.stderr
    done = zoo("list", "llama3-8b", "--family", "gpt2")
    assert "no model of the family gpt2 matches 'llama3-8b'" in done.stderr
    assert "not loaded: llama3-8b" in done.stderr


def test_a_column_that_says_nothing_takes_no_room_on_a_terminal():
    assert "gated" not in on_terminal("list", "tiny")
    assert "gated" in on_terminal("list", "llama3-8b")
    assert "gated" in zoo("list", "tiny").stdout  # pipes get every column


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_has_whole_names_and_numbers(width):
    lines = on_terminal("list", "llama4*", width=width).splitlines()
    assert max(map(len, lines)) <= width
    for record in list_models("llama4*"):
        line = next(line for line in lines if line.split()[:1] == [record.name])
        assert line.split()[1:3] == [record.family, human_count(record.parameters)]
    assert ("attention" in lines[0]) == (width == 120)
