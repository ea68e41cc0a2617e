"""`zoo inspect`, `convert`, `generate` and `chat`: what they print, what they refuse, and with which exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zoo
from zoo.cli import main
from zoo.registry import installed

TINY = Path(zoo.__file__).parent / "box" / "tiny"


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, list(words), input=stdin, catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = zoo.build(installed()["llama"].config_class.tiny(), device="cpu")
    return zoo.save(model, tmp_path / "checkpoint")


def test_inspect_tells_family_keys_and_tensors(folder: Path) -> None:
    out = run("inspect", str(folder)).stdout
    assert "family     llama (model_type is 'llama') · format hf" in out
    assert "tensors    21: 21 loaded · 0 tied · 0 missing · 0 unexpected" in out
    assert "0 unknown" in out


def test_inspect_as_json_holds_the_whole_ledger(folder: Path) -> None:
    told = json.loads(run("inspect", str(folder), "--json").stdout)
    assert told["family"] == "llama"
    assert told["tensors"]["loaded"] == 21
    assert told["config"]["hidden_size"] == 24
    assert "num_hidden_layers" in told["keys"]["used"]


def test_a_broken_checkpoint_ends_with_exit_code_1_and_no_traceback(folder: Path) -> None:
    (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace('"vocab_size": 61', '"vocab_size": 62')
    )
    done = run("inspect", str(folder))
    assert done.exit_code == 1
    assert "2 tensors of 21 do not match the llama" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_words_end_with_exit_code_2(folder: Path) -> None:
    assert run("inspect", str(folder), "famly=llama").exit_code == 2
    assert run("inspect", "nowhere-at-all").exit_code == 2
    assert run("convert", str(folder)).exit_code == 2


def test_a_field_is_overridden_by_its_path(folder: Path) -> None:
    told = json.loads(run("inspect", str(folder), "model.max_seq_len=7", "--json").stdout)
    assert told["config"]["max_seq_len"] == 7


def test_convert_writes_what_inspect_reads_and_refuses_what_is_there(folder: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    assert run("convert", str(folder), target, "--dry-run").exit_code == 0
    assert not Path(target).exists()
    assert "as zoo: 21 tensors" in run("convert", str(folder), target).stdout
    assert "format zoo" in run("inspect", target).stdout
    again = run("convert", str(folder), target)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    halved = run("convert", str(folder), target, "--force", "--dtype", "bfloat16", "--json")
    assert json.loads(halved.stdout)["written"]["bytes"] == 2 * json.loads(halved.stdout)["parameters"]
    assert zoo.load(target).embed.weight.dtype.itemsize == 2


def test_convert_tells_the_bytes_that_it_writes(folder: Path, tmp_path: Path) -> None:
    before = sum(p.numel() for p in zoo.load(folder).parameters())
    for dtype, nbytes in (("float32", 4 * before), ("bfloat16", 2 * before)):
        done = zoo.convert(folder, tmp_path / dtype, dtype=dtype)
        assert done.nbytes == nbytes
        assert done.nbytes == zoo.inspect(tmp_path / dtype).nbytes


def test_a_dry_run_refuses_what_the_run_would(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").write_text("Dear")
    for target, *words in (["foreign"], ["foreign", "--force"], ["checkpoint"], ["out", "--to", "gguf"]):
        done = run("convert", str(folder), str(tmp_path / target), *words, "--dry-run")
        assert done.exit_code == run("convert", str(folder), str(tmp_path / target), *words).exit_code != 0
        assert "would write" not in done.stdout


def test_convert_cuts_into_files_of_a_size_in_words(folder: Path, tmp_path: Path) -> None:
    assert run("convert", str(folder), str(tmp_path / "out"), "--max-shard-size", "20kB").exit_code == 0
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    for wrong in ("0", "-5", "much"):
        done = run("convert", str(folder), str(tmp_path / "other"), "--max-shard-size", wrong)
        assert done.exit_code == 2
        assert "is not a number of bytes" in done.stderr


def test_a_format_that_is_not_there_is_wrong_use(folder: Path, tmp_path: Path) -> None:
    done = run("convert", str(folder), str(tmp_path / "out"), "--to", "hff")
    assert done.exit_code == 2
    assert "llama has no 'hff' format\nit has: zoo, dcp, hf, meta, gguf" in done.stderr


def test_an_override_is_no_folder_to_write_to(folder: Path) -> None:
    for word in ("model.max_seq_len=8", "family=llama"):
        done = run("convert", str(folder), word, "--dry-run")
        assert (done.exit_code, done.stdout) == (2, "")
        assert "missing FOLDER" in done.stderr


def test_convert_to_an_unknown_format_names_those_there_are(folder: Path, tmp_path: Path) -> None:
    done = run("convert", str(folder), str(tmp_path / "out"), "--to", "onnx")
    assert done.exit_code != 0
    assert "zoo, dcp, hf, meta, gguf" in done.stderr


def test_generate_continues_a_prompt_the_same_way_each_time() -> None:
    first, again = (run("generate", "tiny", "-p", "She was", "--tokens", "8") for _ in range(2))
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith("She was")
    assert first.stdout == again.stdout


def test_generate_takes_several_prompts_and_says_why_each_ended() -> None:
    words = ("generate", "tiny", "-p", "She was", "-p", "It is a truth", "--tokens", "5", "--json")
    rows = json.loads(run(*words).stdout)
    assert [row["prompt"] for row in rows] == ["She was", "It is a truth"]
    assert all(len(row["tokens"]) == 5 and row["finish_reason"] == "length" for row in rows)


@pytest.mark.slow
def test_a_seed_decides_what_is_drawn() -> None:
    words = ("generate", "tiny", "-p", "She was", "--tokens", "12", "--temperature", "1.0", "--seed")
    texts = [run(*words, seed).stdout for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.slow
def test_an_encoder_decoder_answers_a_prompt_and_does_not_continue_it(tmp_path: Path) -> None:
    config = replace(installed()["t5"].config_class.tiny(), vocab_size=1024, eos_token_id=[])
    folder = zoo.save(zoo.build(config, device="cpu"), tmp_path / "t5")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((TINY / name).read_bytes())
    words = ("generate", str(folder), "-p", "She was", "--tokens", "5")
    (row,) = json.loads(run(*words, "--json").stdout)
    assert len(row["tokens"]) == 5
    assert run(*words).stdout == row["text"] + "\n"


def test_generate_refuses_what_cannot_be() -> None:
    assert run("generate", "tiny", "-p", "She was", "--top-p", "3").exit_code == 2
    assert run("generate", "llama3-8b", "-p", "She was").exit_code in (1, 3)  # its weights are not here


def test_chat_without_a_template_continues_each_line() -> None:
    done = run("chat", "tiny", "--tokens", "5", stdin="She was\n/reset\nHe had\n")
    assert done.exit_code == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) >= 2
    assert "no chat template" in done.stderr
    assert run("chat", "tiny", "--system", "Be brief.").exit_code == 2


def test_beyond_the_trained_context_a_note_is_printed_and_no_line_of_code(tmp_path: Path) -> None:
    done = run("generate", "tiny", "-p", "One day", "--tokens", "300", "--stop", " ")
    assert done.exit_code == 0
    assert done.stderr.startswith("note: prompt 4 + max_new_tokens 300 = 304 tokens, more than model.max_seq_len=256")
    assert "Warning" not in done.stderr
    (tmp_path / "text.txt").write_text("One day she was very happy.")
    done = run("eval", "tiny", "--text", str(tmp_path / "text.txt"), "--window", "300")
    assert done.stderr.startswith(
        "note: windows of 300 tokens, more than model.max_seq_len=256: the model was not trained for that\n"
    )


def test_what_cannot_be_generated_says_so_before_anything_is_printed() -> None:
    done = run("generate", "tiny", "-p", "One day", "--tokens", str(2**31 - 1))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "error: there is not enough memory" in done.stderr
