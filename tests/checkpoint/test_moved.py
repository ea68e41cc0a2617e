"""What only changes its name is moved as it lies: once read, once hashed, without torch, and refused as ever."""

from __future__ import annotations

import hashlib
import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.distributions import python
from zoo.checkpoint import ways
from zoo.checkpoint.conversion import convert, convert_ledger
from zoo.checkpoint.export_plan import ExportPlan
from zoo.checkpoint.inspection import inspect
from zoo.errors import CheckpointError
from zoo.files import moved
from zoo.files.manifest import verify_folder
from zoo.weights import ops

SMALL = ("model.num_layers=2", "model.hidden_size=32", "model.intermediate_size=64", "model.vocab_size=96",
         "model.num_heads=4", "model.num_kv_heads=2", "model.head_dim=8", "model.max_seq_len=64",
         "model.bos_token_id=1", "model.eos_token_id=[2]")  # fmt: skip
FILE = "model.safetensors"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LLaMA of the hub's kind, in bfloat16."""
    model = zoo.build("llama3-8b", *SMALL, device="cpu", dtype="bfloat16")
    return zoo.save(model, tmp_path_factory.mktemp("source") / "a")


def altered(source: Path, folder: Path, change: Any, **settings: Any) -> Path:
    """A copy of a folder with other tensors, without zoo.json."""
    folder.mkdir()
    config = json.loads((source / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(source / FILE)
    change(tensors)
    save_file(tensors, folder / FILE, {"format": "pt"})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize(("format", "shard"), [("zoo", "5GB"), ("hf", "5GB"), ("zoo", "20KB")])
def test_moved_and_computed_give_the_same_folder(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, shard: str
) -> None:
    monkeypatch.setattr(moved, "CHUNK", 1000)
    convert(source, tmp_path / "moved", format=format, max_shard_size=shard)
    assert ExportPlan.of(inspect(source), format, "bf16").moves()
    monkeypatch.setattr(ExportPlan, "moves", lambda self: None)
    convert(source, tmp_path / "computed", format=format, max_shard_size=shard)
    found = contents(tmp_path / "moved")
    assert found == contents(tmp_path / "computed")
    assert verify_folder(tmp_path / "moved") == len(found) - 1
    told = json.loads(found["zoo.json"])["provenance"]["source_files"]
    assert told == {FILE: hashlib.sha256((source / FILE).read_bytes()).hexdigest()}


@pytest.mark.parametrize(("format", "dtype"), [("zoo", "float32"), ("hf", "float16")], ids=["wider", "narrower"])
def test_what_is_cast_is_not_moved(source: Path, format: str, dtype: str) -> None:
    assert ExportPlan.of(inspect(source), format, dtype).moves() is None


def test_what_a_table_changes_is_not_moved(tmp_path: Path) -> None:
    small = ("model.num_layers=1", "model.hidden_size=32", "model.num_heads=4", "model.vocab_size=96",
             "model.bos_token_id=1", "model.eos_token_id=[2]")  # fmt: skip
    gpt2 = zoo.save(zoo.build("gpt2", *small, device="cpu"), tmp_path / "gpt2")
    assert ExportPlan.of(inspect(gpt2), "zoo", None).moves() is None  # matrices turned on their sides
    convert(gpt2, tmp_path / "ours")
    assert ExportPlan.of(inspect(tmp_path / "ours"), "zoo", None).moves()


def test_only_names_and_shapes_keep_bytes() -> None:
    for op in (ops.same, ops.reshape((2, 3), (6,)), ops.same >> ops.reshape((2, 3), (6,)), ~ops.reshape((6,), (2, 3))):
        assert op.keeps_bytes is True
    for op in (ops.transpose, ops.split(2, 3), ops.stack(3), ~ops.stack(3), ops.interleaved(2, 0),
               ops.same >> ops.stack(2),
               ops.split_heads(2, 3), ops.rope_halves(2, 4), ops.transpose >> ops.transpose):  # fmt: skip
        assert op.keeps_bytes is False


@pytest.mark.parametrize(
    ("format", "dtype", "shard"),
    [("zoo", None, "5GB"), ("zoo", None, "20KB"), ("hf", "float16", "5GB"), ("hf", "float32", "20KB")],
    ids=["moved", "moved to files", "cast", "cast to files"],
)
def test_every_byte_is_hashed_once_on_either_side(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, dtype: str | None, shard: str
) -> None:
    hashed: list[int] = []

    class Counting:
        def __init__(self, data: bytes = b"") -> None:
            self.digest = hashlib.blake2s()  # not sha256, which stands for this class here
            self.update(data)

        def update(self, data: Any) -> None:
            hashed.append(len(data))
            self.digest.update(data)

        def hexdigest(self) -> str:
            return self.digest.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Counting)
    convert(source, tmp_path / "out", format=format, dtype=dtype, max_shard_size=shard)
    written = sum(f.stat().st_size for f in (tmp_path / "out").iterdir() if f.name != "zoo.json")
    assert sum(hashed) == (source / FILE).stat().st_size + written


def test_what_is_made_of_one_tensor_is_computed_at_once(tmp_path: Path) -> None:
    """q, k and v of a joint matrix lie with o between them, and are still made of one reading."""
    source = zoo.save(zoo.build("phi3-mini-4k", *SMALL, device="cpu"), tmp_path / "a")
    plan = ExportPlan.of(inspect(source), "zoo", "bfloat16")
    owner = {name: step.theirs for step in plan.ledger.account.steps for name in step.ours}
    assert len(plan.steps) > len(set(owner.values()))
    runs = [theirs for theirs, _ in groupby(owner[step.ours[0]] for step in plan._steps_in_order())]
    assert len(runs) == len(set(runs))


@pytest.mark.slow
def test_neither_torch_nor_the_library_is_imported(source: Path, tmp_path: Path) -> None:
    code = f"""if True:
        import sys, zoo
        for i, options in enumerate(({{}}, {{"format": "hf"}}, {{"dtype": "bf16"}}, {{"dry_run": True}})):
            zoo.convert({str(source)!r}, {str(tmp_path)!r} + f"/{{i}}", **options)
        print(*sorted({{"torch", "safetensors"}} & set(sys.modules)))
    """
    done = python(code)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_pickles_are_moved_too(source: Path, tmp_path: Path) -> None:
    folder = altered(source, tmp_path / "bin", lambda tensors: None)
    torch.save(load_file(folder / FILE), folder / "pytorch_model.bin")
    (folder / FILE).unlink()
    assert ExportPlan.of(inspect(folder, allow_pickle=True), "zoo", None).moves()
    convert(folder, tmp_path / "a", allow_pickle=True)
    convert(source, tmp_path / "b")
    assert contents(tmp_path / "a")[FILE] == contents(tmp_path / "b")[FILE]


def test_tensors_of_gguf_are_moved_too_and_refused_where_the_file_was_written_anew(tmp_path: Path) -> None:
    """Qwen 2's table to llama.cpp changes names alone."""
    source = zoo.save(zoo.build("qwen2-0.5b", *SMALL, "model.sliding_window=null", device="cpu"), tmp_path / "a")
    convert(source, file := tmp_path / "a.gguf", format="gguf")
    ledger = inspect(file)
    assert ExportPlan.of(ledger, "hf", None).moves()
    convert(file, tmp_path / "b", format="hf")
    theirs = load_file(source / FILE)
    assert all(torch.equal(value, theirs[name]) for name, value in load_file(tmp_path / "b" / FILE).items())
    other = zoo.save(zoo.build("qwen2-0.5b", *SMALL, "model.num_layers=3", device="cpu"), tmp_path / "c")
    convert(other, tmp_path / "c.gguf", format="gguf")
    (tmp_path / "c.gguf").replace(file)
    with pytest.raises(CheckpointError, match="changed since its header was read"):
        convert_ledger(ledger, tmp_path / "out", format="hf")
    assert not (tmp_path / "out").exists()


def test_nan_is_refused_by_the_tensor_s_name_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.self_attn.q_proj.weight"][3, 3] = torch.inf

    bad = altered(source, tmp_path / "bad", spoil)
    with pytest.raises(CheckpointError, match=r"layers\.1\.self_attn\.q_proj\.weight.*NaN or infinity"):
        convert(bad, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"bad"}


def test_a_file_that_is_cut_off_meanwhile_is_refused_and_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = altered(source, tmp_path / "cut", lambda tensors: None)

    def check(ledger: Any) -> None:
        data = (cut / FILE).read_bytes()
        (cut / FILE).write_bytes(data[: len(data) // 2])

    monkeypatch.setattr(ways, "check_moved", check)
    with pytest.raises(CheckpointError, match="the file is cut off"):
        convert(cut, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"cut"}


def test_a_source_written_anew_between_is_told(source: Path, tmp_path: Path) -> None:
    """With the same tensors in another order."""
    folder = altered(source, tmp_path / "in", lambda tensors: None)
    ledger = inspect(folder)
    tensors, header, body = load_file(folder / FILE), {}, b""
    for name, tensor in reversed(tensors.items()):
        place = [len(body), len(body) + tensor.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": place}
        body += tensor.view(torch.uint8).numpy().tobytes()
    text = json.dumps(header).encode()
    (folder / FILE).write_bytes(len(text).to_bytes(8, "little") + text + body)
    with pytest.raises(CheckpointError, match="changed since its header was read"):
        convert_ledger(ledger, tmp_path / "out", format="zoo")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("second", ["same", "minus zero", "other"])
def test_a_second_copy_must_hold_the_same_numbers(source: Path, tmp_path: Path, second: str) -> None:
    def tie(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"][0, 0] = 0.0
        head = tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        head[0, 0] = {"same": 0.0, "minus zero": -0.0, "other": 1.0}[second]

    tied = altered(source, tmp_path / "tied", tie, tie_word_embeddings=True)
    if second != "other":
        assert convert(tied, tmp_path / "out").num_tensors == len(load_file(source / FILE)) - 1
        return
    with pytest.raises(CheckpointError, match="differs from"):
        convert(tied, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_reads_headers_alone(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("hashed")

    monkeypatch.setattr(hashlib, "sha256", refuse)
    for format in ("zoo", "hf", "gguf"):
        convert(source, tmp_path / f"out.{format}", format=format, dtype="float32", dry_run=True)
