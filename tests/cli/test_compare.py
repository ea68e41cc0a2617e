"""`zoo compare` on a pipe, on a terminal, and as JSON, Markdown and a page."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.cli.terminal import on_terminal
from tests.distributions import zoo
from zoo.cli import main
from zoo.comparison import compare


def run(*words: str) -> int:
    """The exit code of `zoo compare`, run in this process."""
    with pytest.raises(SystemExit) as left:
        main.main(["compare", *words])
    return int(left.value.code or 0)


def test_a_pipe_gets_tab_separated_values():
    done = zoo("compare", "gpt2", "llama3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "\tgpt2\tllama3"
    assert "cache / token\t73728\t131072" in done.stdout.splitlines()


@pytest.mark.slow
def test_a_terminal_gets_what_differs_within_its_width():
    lines = on_terminal("compare", "gpt2", "llama3", width=90).splitlines()
    assert max(map(len, lines)) <= 90
    assert lines[0].split() == ["gpt2", "llama3"]
    assert any(line.split() == ["attention", "MHA", "12", "GQA", "32/8"] for line in lines)
    assert any(line.startswith("same: kind causal, decoder-only") for line in lines)


def test_json_and_markdown_say_the_same_as_python(capsys):
    subjects = ("gpt2", "tiny")
    options = {"length": 2048, "lora_rank": 4, "bytes_dtype": "bfloat16"}
    words = ("--length", "2048", "--lora-rank", "4", "--bytes-dtype", "bfloat16")
    assert run(*subjects, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out) == compare(*subjects, **options).to_dict()
    assert run(*subjects, *words, "--md") == 0
    assert capsys.readouterr().out == compare(*subjects, **options).markdown() + "\n"


@pytest.mark.slow
def test_html_goes_to_its_file(tmp_path):
    file = tmp_path / "report.html"
    done = zoo("compare", "gpt2", "llama3", "--html", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"wrote {file}, ")
    assert file.read_text(encoding="utf-8") == compare("gpt2", "llama3").html()
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gpt2"], "nothing to compare with"),
        (["gpt2", "lama3"], "did you mean: llama3"),
        (["gpt2", "llama3 hiden_size=3"], "did you mean model.hidden_size=3?"),
        (["gpt2", "llama3", "--html", "model.safetensors"], "does not end in .html"),
        (["gpt2", "llama3", "--html", "not/there/a.html"], "there is no folder 'not/there'"),
        (["gpt2", "llama3", "--json", "--md"], "cannot be used together"),
        (["gpt2", "llama3", "--bytes-dtype", "bfloat61"], "bfloat16"),
    ],
)
def test_wrong_use_is_told_in_a_line_and_exits_2(words, says, capsys):
    assert run(*words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert "Traceback" not in shown.err


def test_a_checkpoint_that_is_none_exits_1(tmp_path, capsys):
    assert run("gpt2", str(tmp_path)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")


def test_shells_complete_models_and_paths():
    from zoo.cli.compare import command

    (subjects,) = [p for p in command.params if p.name == "subjects"]
    context = command.make_context("compare", ["a", "b"], resilient_parsing=True)
    *offered, file = subjects.shell_complete(context, "gpt2-")
    assert [item.value for item in offered] == ["gpt2-large", "gpt2-medium", "gpt2-xl"]
    assert file.type == "file"
    (path,) = subjects.shell_complete(command.make_context("compare", ["a", "b"], resilient_parsing=True), "./x")
    assert path.type == "file"


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["llama3", "llama3", "model.num_kv_heads=4"], "llama3 'llama3 model.num_kv_heads=4'"),
        (["llama3", "rope=yarn", "model.rope.factor=4", "gpt2"], "'llama3 rope=yarn model.rope.factor=4' gpt2"),
        (["model.num_layers=4", "llama3"], "'MODEL model.num_layers=4'"),
    ],
)
def test_an_override_without_quotes_is_met_with_the_line_that_has_them(words, typed):
    found = CliRunner().invoke(main, ["compare", *words])
    assert isinstance(found.exception, SystemExit)
    assert found.exit_code == 2
    assert found.stderr.rstrip().endswith(typed)


@pytest.mark.slow
def test_only_differing_leaves_out_what_is_the_same():
    words = ["compare", "llama3", "llama3 model.num_kv_heads=4"]
    whole, short = (CliRunner().invoke(main, [*words, *more]).stdout for more in ([], ["--only", "differing"]))
    assert "mlp\t" in whole
    assert "mlp\t" not in short
    assert set(short.splitlines()) < set(whole.splitlines())
    told = json.loads(CliRunner().invoke(main, [*words, "--only", "differing", "--json"]).stdout)
    assert told["rows"]
    assert not any(row["same"] for row in told["rows"])
    assert "Same in all" not in CliRunner().invoke(main, [*words, "--only", "differing", "--md"]).stdout
