"""Completion as the shells ask for it: bash with its cut words, zsh and fish with whole ones. Never through Hydra."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.distributions import python
from tests.distributions import zoo as run_zoo
from zoo.cli import COMPLETION, main
from zoo.cli.completion import Bash, Fish, Zsh

LIGHT = """if True:
    import atexit, sys
    heavy = set("hydra omegaconf torch transformers huggingface_hub rich".split())
    atexit.register(lambda: print(*sorted(heavy & set(sys.modules)), file=sys.stderr))
    from zoo.cli import main
    main()
"""

ASK = """
{script}
compopt() {{ echo nospace; }}
COMP_LINE=$1; COMP_POINT=${{#1}}; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_zoo_completion {zoo}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def fish(line: str) -> dict[str, str]:
    """What fish is offered at the end of `line`: value -> description."""
    word = "" if line.endswith(" ") else line.split()[-1]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COMP_WORDS", line)
        environment.setenv("COMP_CWORD", word)
        answer = Fish(main, {}, "zoo", COMPLETION).complete()
    offered = [item.removeprefix("plain,").partition("\t") for item in answer.splitlines()]
    return {value: about for value, _, about in offered if value}


@pytest.mark.slow
@pytest.mark.parametrize("line", ["zoo ", "zoo build llama3 model.rope.", "zoo build -m model=llama3,"])
def test_a_child_process_answers_without_anything_heavy(line):
    done = python(LIGHT, _ZOO_COMPLETE="fish_complete", COMP_WORDS=line, COMP_CWORD=line.split(" ")[-1])
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert {answer.partition("\t")[0].removeprefix("plain,") for answer in done.stdout.splitlines() if answer}


@pytest.mark.slow
def test_commands_are_offered_with_what_they_do():
    assert fish("zoo bu") == {"build": "Compose MODEL with overrides, build it and..."}


@pytest.mark.slow
def test_flags_are_offered():
    assert {"--config-dir", "--cfg"} <= fish("zoo build --c").keys()
    assert {"job", "hydra", "all"} == fish("zoo build --cfg ").keys()


@pytest.mark.slow
def test_models_are_offered_bare_and_after_their_key():
    assert fish("zoo build llama3-")["llama3-8b"].startswith("Llama 3 8B")
    assert "model=llama3-8b" in fish("zoo build model=llama3-")
    assert "model=gpt2,llama3-8b" in fish("zoo build -m model=gpt2,llama3-")


@pytest.mark.slow
def test_one_model_is_enough():
    offered = fish("zoo build llama3 ")
    assert {"model.", "rope=", "device=", "save="} <= offered.keys()
    assert not {"model=", "gpt2"} & offered.keys()


def test_show_offers_models_and_what_it_takes_behind_them():
    assert "llama3-8b" in fish("zoo show llama3-")
    assert fish("zoo show llama3 rope=y").keys() == {"rope=yarn"}
    offered = fish("zoo show llama3 ")
    assert {"model.", "rope="} <= offered.keys()
    assert not {"device=", "save=", "hydra.", "gpt2"} & offered.keys()


@pytest.mark.parametrize(
    "command", ["inspect", "convert", "verify", "generate", "chat", "eval", "bench", "compare", "diff"]
)
def test_a_checkpoint_may_be_a_model_or_a_path(command):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COMP_WORDS", f"zoo {command} ti")
        environment.setenv("COMP_CWORD", "ti")
        answer = Fish(main, {}, "zoo", COMPLETION).complete().splitlines()
    assert "plain,tiny" in [line.partition("\t")[0] for line in answer]
    assert answer[-1] == "file,ti"


@pytest.mark.slow
@pytest.mark.parametrize("words", ["generate --image", "eval tiny --text", "compare --text", "compare --html"])
def test_a_file_is_completed_by_the_shell(words):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COMP_WORDS", f"zoo {words} x")
        environment.setenv("COMP_CWORD", "x")
        assert Fish(main, {}, "zoo", COMPLETION).complete() == "file,x"


@pytest.mark.slow
def test_options_of_a_group_are_offered():
    options = ("dynamic", "linear", "llama3", "longrope", "none", "yarn")
    assert fish("zoo build llama3 rope=").keys() == {f"rope={option}" for option in options}
    assert fish("zoo build llama3 +rope=y").keys() == {"+rope=yarn"}


@pytest.mark.slow
def test_fields_are_those_of_the_model_and_come_with_their_docs():
    assert fish("zoo build llama3 model.hidden_s") == {"model.hidden_size=": "width of the residual stream"}
    assert "model.rope.theta=" in fish("zoo build llama3 model.rope.")
    assert not fish("zoo build gpt2 model.rope")


@pytest.mark.slow
def test_values_of_a_field_are_offered_where_they_are_few():
    assert fish("zoo build llama3 model.tie_embeddings=t").keys() == {"model.tie_embeddings=true"}
    assert "model.rope.scaling=longrope" in fish("zoo build llama3 model.rope.scaling=")
    assert not fish("zoo build llama3 model.hidden_size=")


@pytest.mark.slow
def test_half_a_line_that_is_wrong_prints_no_error():
    assert "rope=yarn" in fish("zoo build lama3 modle=x rope=")
    assert not fish("zoo no-such-command x")


@pytest.mark.slow
def test_zsh_is_offered_the_same():
    done = python(LIGHT, _ZOO_COMPLETE="zsh_complete", COMP_WORDS="zoo build llama3 rope=y", COMP_CWORD="3")
    assert done.stdout.split() == ["plain", "rope=yarn", "_"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "words", "offered"),
    [  # the words are cut as readline cuts them, at = too
        ("zoo bui", ["zoo", "bui"], ["build"]),
        ("zoo build model=gpt2-x", ["zoo", "build", "model", "=", "gpt2-x"], ["gpt2-xl"]),
        ("zoo build rope=", ["zoo", "build", "rope", "="], ["dynamic", "linear", "llama3", "longrope", "none", "yarn"]),
        ("zoo build llama3 devi", ["zoo", "build", "llama3", "devi"], ["nospace", "device="]),
        ("zoo build llama3 model.ro", ["zoo", "build", "llama3", "model.ro"], ["nospace", "model.rope."]),
        ("zoo build -m model=a,gpt2-x", ["zoo", "build", "-m", "model", "=", "a,gpt2-x"], ["a,gpt2-xl"]),
        ("zoo build model=gpt2-x", ["zoo", "build", "model=gpt2-x"], ["model=gpt2-xl"]),  # = taken from COMP_WORDBREAKS
    ],
)
def test_bash_completes_what_follows_the_last_cut(tmp_path, line, words, offered):
    program = tmp_path / "zoo"
    program.write_text(f"#!{sys.executable}\nfrom zoo.cli import main\nmain()\n")
    program.chmod(0o755)
    script = tmp_path / "ask.sh"
    script.write_text(ASK.format(script=Bash(main, {}, "zoo", COMPLETION).source(), zoo=program))
    done = subprocess.run(["bash", script, line, *words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (offered, "")


@pytest.mark.slow
@pytest.mark.parametrize(("shell", "where"), [
    ("bash", ".local/share/bash-completion/completions/zoo"),
    ("zsh", ".zfunc/_zoo"),
    ("fish", ".config/fish/completions/zoo.fish"),
])  # fmt: skip
def test_install_writes_the_script_where_the_shell_looks(tmp_path, shell, where):
    done = run_zoo("completion", shell, "--install", HOME=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.startswith(f"wrote {tmp_path / where}: read ")
    assert (tmp_path / where).read_text() == run_zoo("completion", shell).stdout.rstrip("\n") + "\n"


@pytest.mark.slow
def test_an_unknown_shell_is_wrong_use():
    assert run_zoo("completion", "tcsh").returncode == 2


@pytest.mark.slow
def test_the_scripts_leave_no_space_after_a_key_and_keep_commas():
    assert "compadd -U -S" in Zsh(main, {}, "zoo", COMPLETION).source()
    assert "string split --max 1 " in Fish(main, {}, "zoo", COMPLETION).source()
