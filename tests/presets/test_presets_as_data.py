"""A preset sets the fields of a model and nothing else: what else it says is refused, by its file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.hostile.case import GOOD, SIZES
from zoo.cli import main
from zoo.errors import ZooError
from zoo.presets.catalogue import tree
from zoo.presets.file import MAX_FILES, option, resolve
from zoo.presets.users_folder import UsersFolder
from zoo.registry import Preset, installed

LOGGING = "job_logging: {version: 1, handlers: {h: {(): os.mkdir, path: CANARY}}, root: {handlers: [h]}}"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that writes files below own/, in the folder that is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(files: dict[str, str]) -> UsersFolder:
        for path, text in files.items():
            (file := Path("own", path)).parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
        return UsersFolder(Path("own"))

    return write


def refusal(*words: str) -> str:
    """What `zoo build -cd own` says on its one line, and has not done."""
    before = sorted(os.listdir())
    done = CliRunner().invoke(main, ["build", "-cd", "own", *words])
    assert done.exit_code in (1, 2), done.output
    assert done.stdout == ""
    assert sorted(os.listdir()) == before
    return done.stderr.removeprefix("error: ").partition("\n")[0]


def defaults(entry: str) -> str:
    return f"defaults:\n  - /schema/llama@_here_\n  - {entry}\n  - _self_\n{SIZES}"


NO_LIST = "is neither /schema/FAMILY@_here_, another preset nor _self_"

ACTING = {  # what model/case.yaml says: what is said of it
    f"# @package _global_\n{GOOD}hydra: {{{LOGGING}}}\n": "line 1: @package _global_; expected none",
    f"\ufeff# @package _global_\n{GOOD}": "line 1: @package _global_; expected none",
    f"# @x y\r\n\r\n  #@package hydra\r\n{GOOD}": "line 3: @package hydra; expected none",
    f"# @package model\n# @package _global_\n{GOOD}": "line 2: a second @package",
    f"# @package _global_\r{GOOD}": "line 1: @package _global_; expected none",
    f"{GOOD}hydra: {{{LOGGING}}}\n": "no key 'model.hydra'",
    f"{GOOD}hydra.run.dir: CANARY\n": "no key 'model.hydra.run.dir'",
    f"{GOOD}hydra: {{run: {{dir: CANARY}}}}\n": "no key 'model.hydra'",
    f"{GOOD}hydra: {{sweep: {{dir: CANARY}}}}\n": "no key 'model.hydra'",
    f"{GOOD}save: CANARY\n": "no key 'model.save'",
    f"{GOOD}rope: {{save: CANARY}}\n": "no key 'model.rope.save'",
    f"{GOOD}rope: 5\n": "model.rope=5 is not a group of fields",
    f"{GOOD}hub: ../../etc\n": "model.hub='../../etc' is not a repository of the hub",
    f"{GOOD}hub: ${{oc.env:HOME}}\n": "line 11: an interpolation ${, which a preset may not have",
    f'{GOOD}hub: "\\x24{{oc.env:HOME}}"\n': "line 11: an interpolation ${, which a preset may not have",
    f"{GOOD}family: gpt2\n": "two families: llama and gpt2",
    defaults("/evil/cb@_global_"): "line 1: @package _global_; expected # @package model, or model.PART for a part of "
    "it",
    defaults("/plain/cb@_global_"): f"defaults: /plain/cb@_global_ {NO_LIST}",
    defaults("/plain@hydra.callbacks: cb"): f"defaults: {{'/plain@hydra.callbacks': 'cb'}} {NO_LIST}",
    defaults("override /hydra/job_logging: evil"): f"defaults: {{'override /hydra/job_logging': 'evil'}} {NO_LIST}",
    defaults("/hydra/job_logging/evil"): f"defaults: /hydra/job_logging/evil {NO_LIST}",
    defaults("optional /evil: cb"): f"defaults: {{'optional /evil': 'cb'}} {NO_LIST}",
    defaults("../../x"): "defaults: no model is called '../../x'",
    defaults("_self_"): "defaults: _self_ is named twice",
    defaults("/schema/gpt2@_here_"): "defaults: the family of a preset is named twice, here or in a preset "
    "that it extends",
    "defaults: [case]\n": "defaults: presets extend each other in a cycle: case -> case",
    f"{GOOD}eos_token_id: [{'1,' * 1001}]\n": "eos_token_id with more than 1,000 values, which a preset may not have",
    f"{GOOD}rope: {{original_max_seq_len: 1073741825}}\n": "rope.original_max_seq_len=1073741825, more than "
    "1,073,741,824, which a preset may not have",
    GOOD.replace("head_dim: 8", "head_dim: 65538"): "head_dim=65538, more than 65,536, which a preset may not have",
    GOOD.replace("num_layers: 2", "num_layers: 501"): "num_layers=501, more than 500, which a preset may not have",
}  # fmt: skip


@pytest.mark.parametrize("text", ACTING)
def test_what_is_no_field_of_a_model_is_refused(own, text):
    own({
        "model/case.yaml": text,
        "evil/cb.yaml": f"# @package _global_\nhydra: {{{LOGGING}}}\n",
        "plain/cb.yaml": "# @package model\nnum_layers: 3\n",
        "hydra/job_logging/evil.yaml": f"# @package hydra.job_logging\n{LOGGING[13:-1]}\n",
    })  # fmt: skip
    assert refusal("case") in (f"own/model/case.yaml: {ACTING[text]}", f"own/evil/cb.yaml: {ACTING[text]}")


def test_the_harm_may_lie_below_what_is_named_or_behind_a_link(own):
    own({"model/evil.yaml": f"# @package _global_\n{GOOD}", "model/a.yaml": "defaults: [evil]\n", "x/evil.yaml": GOOD})
    own({"model/case.yaml": "defaults: [a, _self_]\n", "model/far.yaml": "defaults: [link/evil]\n"})
    os.symlink("../x", "own/model/link")
    assert refusal("case").startswith("own/model/evil.yaml: line 1: @package _global_")
    assert refusal("far") == "own/model/far.yaml: defaults: no model is called 'link/evil'"
    assert refusal("-m", "model=tiny,case").startswith("own/model/evil.yaml: line 1")  # before the first job


OPTIONS = {
    "kind: ${oc.env:HOME}\n": "line 1: an interpolation ${, which a preset may not have",
    "# @package _global_\nhydra: {}\n": "line 1: @package _global_; expected # @package model.attention",
    "# @package model.rope\ntheta: 1.0\n": "line 1: @package model.rope; expected # @package model.attention",
    "# @package model\nnum_layers: 3\n": "line 1: @package model; expected # @package model.attention",
    "defaults: ['/evil/cb@_global_']\n": f"defaults: /evil/cb@_global_ {NO_LIST}",
    "defaults: [{'/hydra/run': x}]\n": f"defaults: {{'/hydra/run': 'x'}} {NO_LIST}",
    "_target_: os.mkdir\n": "line 1: _target_, which a preset may not have",
    "a: &a 1\n": "line 1: an anchor or alias, which a preset may not have",
}


@pytest.mark.parametrize("text", OPTIONS)
def test_an_option_sets_its_own_part_of_the_model_and_nothing_else(own, text):
    own({"attention/evil.yaml": text, "model/case.yaml": "defaults: [decoder/llama3, {/attention: evil}, _self_]\n"})
    for words in (
        ["decoder/llama3", "attention=evil"],
        ["case"],
        ["decoder/llama3", "+attention@model.attention=evil"],
    ):
        assert refusal(*words) == f"own/attention/evil.yaml: {OPTIONS[text]}"


@pytest.mark.parametrize("package", ["_global_", "hydra", "", "model.", "model:x", "_here_", "model.x y", "Model"])
def test_an_option_of_a_group_of_ones_own_says_which_part(own, package):
    own({"evil/cb.yaml": f"# @package {package}\nnum_layers: 3\n" if package else "num_layers: 3\n"})
    assert "expected # @package model, or model.PART for a part of it" in refusal("tiny", "evil=cb")


def test_a_preset_may_take_options_of_groups_and_extend_others(own):
    folder = own({
        "attention/mine.yaml": "defaults: [few, _self_]\nquery_pre_attn_scalar: 9.0\n",
        "attention/few.yaml": "# @package model.attention\nnum_kv_heads: 2\n",
        "model/case.yaml": "defaults: [decoder/llama3, {/attention: mine}, {/rope@rope: yarn}]\nnum_layers: 3\n",
        "model/over.yaml": "defaults: [case, _self_]\nattention: {num_kv_heads: 4}\n",
    })  # fmt: skip
    presets, options = folder.presets | installed().presets(), folder.options | installed().options()
    values = tree("over", presets, lambda: options)
    assert (values["num_layers"], values["rope"]["scaling"], values["rope"]["theta"]) == (3, "yarn", 500_000.0)
    assert values["attention"] == {"num_kv_heads": 4, "query_pre_attn_scalar": 9.0}
    assert option("attention/mine", options) == (
        "model.attention", {"num_kv_heads": 2, "query_pre_attn_scalar": 9.0}
    )  # fmt: skip


def test_presets_that_extend_without_end_are_refused_soon(tmp_path):
    def made(name: str, others: list[str]) -> Preset:
        (file := tmp_path / f"{name}.yaml").write_text(f"defaults: {others}\n")
        return Preset(name, "pkg", file, "dist")

    chain = {f"c{i}": made(f"c{i}", [f"c{i + 1}"]) for i in range(40)}
    with pytest.raises(ZooError, match=f"more than {MAX_FILES} presets extend each other"):
        resolve("c0", chain)
    diamond = {"a": made("a", ["b", "c"]), "b": made("b", ["d"]), "c": made("c", ["d"]), "d": made("d", [])}
    with pytest.raises(ZooError, match=r"c\.yaml: defaults: model/d is named twice"):
        resolve("a", diamond)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{GOOD}num_leyers: 3\n", "no key 'model.num_leyers'"),
        (f"{GOOD}norm_eps: tiny\n", "model.norm_eps='tiny' is not float"),
        (f"{GOOD}rope: {{factor: [1]}}\n", r"model.rope.factor=\[1\] is not float"),
        (GOOD.replace("num_layers: 2\n", ""), "model.num_layers has no value"),
        (GOOD.replace("num_layers: 2", "num_layers: ???"), "model.num_layers has no value"),
        (SIZES, "the preset names no family"),
        ("defaults: [nobody]\n", "defaults: no model is called 'nobody'"),
    ],
)
def test_a_preset_that_is_wrong_says_which_file(tmp_path, monkeypatch, text, told):
    from zoo.presets import catalogue as presets

    (file := tmp_path / "some.yaml").write_text(text)
    monkeypatch.setattr(installed(), "presets", lambda: {"some": Preset("some", "pkg", file, "dist")})
    with pytest.raises(ZooError, match=rf"some\.yaml: {told}"):
        presets.config("some")


def test_trust_names_a_folder():
    done = CliRunner().invoke(main, ["build", "tiny", "--trust-config-dir"])
    assert (done.exit_code, done.stderr) == (2, "error: --trust-config-dir needs a folder\nname it: -cd FOLDER\n")


def test_help_says_what_a_preset_can_do_and_what_trust_means():
    for command in ("build", "bench"):
        told = " ".join(CliRunner().invoke(main, [command, "--help"]).stdout.split())
        assert "they can only set fields of a model." in told
        assert "Give all of -cd FOLDER to Hydra, which can then run code: only for a folder that you wrote." in told
