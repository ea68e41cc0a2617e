"""What a run says of data, losses and disks that are not what they should be; what it wrote before stays whole."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

import zoo
from tests.training.runs import job, tiny, token_file
from zoo.errors import UsageError, ZooError
from zoo.files import write
from zoo.training.corpus.reading import read_records
from zoo.training.corpus.rows import windows
from zoo.training.corpus.tokens import encoded, token_corpus
from zoo.training.objectives.batch import Microbatch
from zoo.training.running import run as running
from zoo.training.running.beginning import begun, train
from zoo.training.settings import DataSettings, Recipe

DATA = DataSettings()


def refused(action: Any) -> str:
    with pytest.raises(ZooError) as error:
        action()
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"", "no text in it, nothing to learn from"),
        ("a.txt", b" \n\n", "no text in it, nothing to learn from"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": }\n', "a.jsonl: line 3 is not JSON: Expecting value"),
        ("a.jsonl", b"[1]\n", "a.jsonl: line 1 is not a JSON object"),
        ("a.jsonl", b'{"text": "\xff"}\n', "a.jsonl: line 1: byte 10 is not UTF-8"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "a.jsonl: line 1 is not JSON"),
        ("a.txt", b"ab\xff", "a.txt: byte 2 is not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "a\\ud800"}\n', "a.jsonl: line 2: \\ud800 is half of a character"),
        ("a.jsonl", b'{"messages": [{"content": "\\uDFFF"}]}\n', "a.jsonl: line 1: \\udfff is half of a character"),
        ("a.json", b'[{"text": "a"}]', "a.json is JSON, not a text"),
        ("a.NPY", b"x", "a.NPY holds tokens, and this objective reads texts"),
        ("a.npy", b"x", "a.npy holds tokens, and this objective reads texts"),
    ],
)
def test_a_file_that_is_no_data_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (file := tmp_path / name).write_bytes(content)
    assert told in refused(lambda: list(read_records([str(file)], DATA)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"\xef\xbb\xbfOne"), ("a.jsonl", b'\xef\xbb\xbf{"text": "One"}\n'),
        ("a.jsonl", b'{"text": "One"}\r\n\r\n'), ("a.JSONL", b'{"text": "One"}'),
    ],
)  # fmt: skip
def test_marks_of_other_systems_are_no_text(tmp_path: Path, name: str, content: bytes) -> None:
    (file := tmp_path / name).write_bytes(content)
    assert [record.text("text") for record in read_records([str(file)], DATA)] == ["One"]


def test_a_pair_of_halves_is_a_character(tmp_path: Path) -> None:
    (file := tmp_path / "a.jsonl").write_bytes(b'{"text": "\\ud83d\\ude00"}\n')
    assert [record.text("text") for record in read_records([str(file)], DATA)] == ["\U0001f600"]


def test_what_the_tokenizer_refuses_is_named_with_its_line() -> None:
    def refusing(text: str) -> list[int]:
        raise UsageError("too long")

    assert refused(lambda: encoded([("a.jsonl: line 7", "x")], refusing, None)) == "a.jsonl: line 7: too long"


def test_a_row_without_its_field_says_what_it_has(tmp_path: Path) -> None:
    (file := tmp_path / "a.jsonl").write_text('{"txt": "a", "id": 3}\n')
    (record,) = read_records([str(file)], DATA)
    assert refused(lambda: record.text("text")) == (
        f"{file}: line 1 has no text in 'text'\nit has: txt, id\nname the field: data.field=NAME"
    )
    told = refused(lambda: record.text("prompt", row='{"prompt": "…"}'))
    assert told.endswith('it has: txt, id\ngive rows such as {"prompt": "…"}')  # data.field names no such field


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (np.zeros(0, np.uint16), "no token in it"),
        (np.asarray([3, 70], np.uint16), "token 70 is not below the model's 60"),
        (np.asarray([3, -1], np.int32), "is not below the model's 60"),
        (np.asarray([3.0]), "holds float64 [1]"),
        (np.zeros((2, 2), np.int32), "holds int32 [2, 2]"),
    ],
)
def test_a_token_file_is_held_to_the_model(tmp_path: Path, ids: np.ndarray, told: str) -> None:
    np.save(file := tmp_path / "a.npy", ids)
    assert told in refused(lambda: token_corpus([str(file)], DATA, end=None, vocab_size=60))


def test_a_token_file_is_mapped_and_its_documents_are_found(tmp_path: Path) -> None:
    ids = np.asarray([5, 6, 0, 7, 0, 8], np.uint16)
    ids.tofile(file := tmp_path / "a.bin")
    corpus = token_corpus([str(file)], DATA, end=0, vocab_size=60)
    assert isinstance(corpus.ids, np.memmap)
    assert corpus.starts.tolist() == [0, 3, 5, 6]


def broken(run: Any, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss of step `at` no number."""
    whole, calls = run.objective.loss, []

    def loss(model: Any, batch: Microbatch, total: int) -> Any:
        calls.append(1)
        found, facts = whole(model, batch, total)
        return found * (float("nan") if len(calls) == at else 1.0), facts

    monkeypatch.setattr(type(run.objective), "loss", lambda self, *args: loss(*args))


def test_a_loss_that_is_no_number_names_its_step_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = begun(job(tmp_path / "run", token_file(tmp_path), train={"save_every": 2}), print)
    broken(run, 4, monkeypatch)
    told = refused(lambda: running.go(run))
    assert told.startswith("step 4: loss is nan\nthe last checkpoint is as it was\n")
    assert json.loads((tmp_path / "run" / "training.json").read_text())["step"] == 2
    monkeypatch.undo()
    again, record = train(job(tmp_path / "run", token_file(tmp_path)), resume=True)
    assert record["step"] == 8
    assert [r["step"] for r in again.folder.records()] == [*range(1, 9)]


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = begun(job(tmp_path / "run", token_file(tmp_path), train={"save_every": 2}), print)
    running.save(run, 0)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(write, "write_shards", full)
    told = refused(lambda: running.go(run))
    assert "was not written: No space left on device\nwhat was there before is unchanged" in told
    after = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert after.keys() - before.keys() == {"metrics.jsonl"}  # whose steps will be taken again
    assert all(after[name] == content for name, content in before.items())


def test_settings_and_folders_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = token_file(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    assert "zoo did not write it" in refused(lambda: begun(job(tmp_path / "mine", file), print))
    assert "more than model.max_seq_len" in refused(
        lambda: begun(job(tmp_path / "a", file, data={"length": 999}), print)
    )
    assert "optimizer.lr=0.0" in refused(lambda: job(tmp_path / "a", file, optimizer={"lr": 0.0}))
    assert "freeze='atention'" in refused(lambda: begun(job(tmp_path / "a", file, freeze=["atention"]), print))
    assert "no parameter learns" in refused(lambda: begun(job(tmp_path / "a", file, freeze=["*"]), print))
    assert "holds no run" in refused(lambda: train(job(tmp_path / "none", file), resume=True))
    with pytest.raises(ZooError, match=r"train\.stpes"):
        Recipe.of({"train": {"stpes": 3}})
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft", "causal", "dpo"])
def test_an_encoder_decoder_is_refused_by_what_trains_decoders(tmp_path: Path, name: str) -> None:
    row = {"text": "One day", "prompt": "One day", "answer": " it was.", "chosen": " it was.", "rejected": " no."}
    (file := tmp_path / "a.jsonl").write_text((json.dumps(row) + "\n") * 40)
    learnt = {"train": "unigram", "vocab_size": 30}
    made = job(tmp_path / "run", file, config=tiny("t5"), tokenizer=learnt, objective={"name": name})
    assert f"objective={name} trains decoders, and t5 is none" in refused(lambda: train(made))


@pytest.mark.slow
def test_a_row_of_ten_megabytes_is_read_whole_in_memory_that_grows_with_it(tmp_path: Path) -> None:
    words = Backend(WordLevel({"<unk>": 0, "x" * 99: 1}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    text = ("x" * 99 + " ") * 100_000
    (file := tmp_path / "a.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "y"}) + "\n")
    before = getrusage(RUSAGE_SELF).ru_maxrss
    records = ((record.place, record.text("text")) for record in read_records([str(file)], DATA))
    corpus = encoded(records, lambda text: words.encode(text).ids, end=None)
    assert corpus.starts.tolist() == [0, 100_000, 100_001]
    assert len(windows(corpus, 16, is_masked=True)) == 6_250
    # KiB; measured 70 bytes a byte, which are the tokenizer's account of each character
    assert (getrusage(RUSAGE_SELF).ru_maxrss - before) * 1024 < 150 * len(text)


@pytest.mark.slow
def test_answers_that_are_all_cut_off_leave_nothing_to_learn_from(tmp_path: Path) -> None:
    (file := tmp_path / "a.jsonl").write_text('{"prompt": "' + "One day she was " * 20 + '", "answer": ""}\n')
    made = job(tmp_path / "run", file, source="tiny", data={"length": 8}, objective={"name": "sft"})
    with pytest.raises(UsageError, match="every label is ignored"):
        train(made)


@pytest.mark.slow
def test_frozen_parameters_do_not_move_and_have_no_state(tmp_path: Path) -> None:
    run, _ = begun(job(tmp_path / "run", token_file(tmp_path), freeze=["*", "!attention"]), print)
    before = {name: p.detach().clone() for name, p in run.trainee.model.named_parameters()}
    running.go(run)
    moved = {name for name, p in run.trainee.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(".attn." in name for name in moved)
    stored = load_file(tmp_path / "run" / "optimizer.safetensors")
    assert all(".attn." in name for name in stored if name.startswith("optimizer/"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "objective", "told"),
    [("t5", "span", "put the tokenizer that the weights were trained with beside them"),
     ("bert", "mlm", "take a checkpoint that has one, or objective=causal")],
)  # fmt: skip
def test_loaded_weights_are_not_told_to_change(tmp_path: Path, family: str, objective: str, told: str) -> None:
    (file := tmp_path / "a.txt").write_text("a b c")
    config = replace(tiny(family), **({"head": "none"} if family == "bert" else {}))
    source = zoo.save(zoo.build(config, device="cpu"), tmp_path / family)
    made = job(tmp_path / "run", file, source=str(source), objective={"name": objective})
    assert told in refused(lambda: train(made))
