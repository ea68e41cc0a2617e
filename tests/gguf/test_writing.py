"""GGUF files that zoo writes: read back bit for bit, whole or not at all, and refused where llama.cpp has no words."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import zoo
from tests.some import one_in
from zoo.anatomy.config import RopeConfig
from zoo.cli import main
from zoo.errors import CheckpointError, UsageError, ZooError
from zoo.files.gguf.writer import write_gguf
from zoo.files.gguf_file import read_gguf_header, read_gguf_metadata
from zoo.registry import installed
from zoo.weights import ForeignConfig

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")

from tests.gguf.models import CASES, ENCODERS, GEMMA2, GEMMA3, LATENT, LLAMA4, PLAIN, built, in_folder  # noqa: E402

HYBRID = ("qwen3_next", "qwen3_5", "qwen3_5 evenly", "qwen3_5_moe")
SHIFTED = ("gemma", "gemma2", "gemma3", *HYBRID)  # whose norms are kept with 1 added, in float32
PADDED = ("gemma3n E2B",)  # whose table of each layer's embeddings has a row for every token in the file
READ_AS = {"internlm3": "llama", "mistral": "llama", "glm": "chatglm2"}


def same(case: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = built(case, dtype)
    back = zoo.load(zoo.save(model, tmp_path / "m.gguf", format="gguf"))
    family = model.config.family
    assert back.config.family == (READ_AS.get(case) or family)
    if case not in (*READ_AS, *PADDED):
        assert replace(back.config, dtype="", family="") == replace(model.config, dtype="", family="") or "3.1" in case
    found = back.state_dict()
    for name, before in model.state_dict().items():
        after = found.pop(name)
        if name == "layer_embed.weight" and case in PADDED:
            assert (after[len(before) :] == after[0]).all()
            after = after[: len(before)]
        if case in SHIFTED and name.endswith("norm.weight"):
            assert (before.float() - after.float()).abs().max() <= 2**-24 * 4
        elif name.endswith("A_log"):  # kept as -exp of it
            assert (before.float() - after.float()).abs().max() <= 2**-22
        else:
            assert before.dtype == after.dtype
            assert torch.equal(before, after), name
    assert not found


@pytest.mark.parametrize(
    "case", one_in(7, [*CASES, *(case for case in ENCODERS if case != "xlm_roberta")])
)  # which is read alone
def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path, case: str) -> None:
    same(case, torch.float32, tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_read_back_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    same("qwen3_moe", dtype, tmp_path)


def test_the_owners_reader_sees_what_was_written(tmp_path: Path) -> None:
    model = built("llama", torch.bfloat16)
    reader = gguf.GGUFReader(zoo.save(model, tmp_path / "m.gguf", format="gguf"))
    tensors = {t.name: t for t in reader.tensors}
    assert {t.tensor_type.name for n, t in tensors.items() if "norm" not in n} == {"BF16"}
    norm = tensors["blk.1.ffn_norm.weight"]
    assert norm.tensor_type.name == "F32"
    assert torch.equal(torch.from_numpy(norm.data.copy()), model.layers[1].mlp_norm.weight.detach().float())
    assert reader.fields["llama.attention.head_count_kv"].contents() == 2
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_BF16


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "q5_1"])
def test_blocks_are_those_of_the_owner(tmp_path: Path, kind: str) -> None:
    model = built("llama")
    reader = gguf.GGUFReader(zoo.save(model, tmp_path / "m.gguf", format="gguf", type=kind))
    tensors = {t.name: t for t in reader.tensors}
    matrix = model.layers[0].mlp.up_proj.weight.detach().numpy()
    number = gguf.GGMLQuantizationType[kind.upper()]
    assert (tensors["blk.0.ffn_up.weight"].data == gguf.quantize(matrix, number)).all()
    assert {t.tensor_type.name for t in reader.tensors if "norm" in t.name} == {"F32"}


def test_rows_that_are_not_whole_blocks_become_float16_and_that_is_told(tmp_path: Path) -> None:
    _, folder = in_folder("llama", tmp_path / "hf", intermediate_size=40)
    done = zoo.convert(folder, tmp_path / "m.gguf", format="gguf", type="q8_0")
    infos = read_gguf_header(done.folder).tensors
    assert (infos["blk.0.ffn_down.weight"].dtype, infos["blk.0.ffn_up.weight"].dtype) == ("float16", "Q8_0")
    assert "blk.0.ffn_down.weight" in done.notes[0]
    assert "written as float16" in done.notes[0]


def test_a_value_that_a_type_has_no_room_for_is_refused(tmp_path: Path) -> None:
    model = built("llama")
    model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e6
    for kind, message in (("f16", "overflows float16"), ("q4_0", "largest scale of Q4_0")):
        with pytest.raises(ZooError, match=message):
            zoo.save(model, tmp_path / "m.gguf", format="gguf", type=kind)
    assert os.listdir(tmp_path) == []


def test_a_file_is_replaced_only_where_zoo_wrote_it(tmp_path: Path) -> None:
    model, file = built("llama"), tmp_path / "m.gguf"
    zoo.save(model, file, format="gguf")
    with pytest.raises(ZooError, match="exists already"):
        zoo.save(model, file, format="gguf")
    before = file.read_bytes()
    zoo.save(model, file, format="gguf", force=True)
    assert file.read_bytes() == before  # the same input gives the same bytes
    with pytest.raises(ZooError, match="is the source itself"):
        zoo.convert(file, file, format="gguf", force=True)
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ZooError, match="zoo did not write it"):
        zoo.save(model, tmp_path / "other.gguf", format="gguf", force=True)
    with pytest.raises(UsageError, match="not the name of a GGUF file"):
        zoo.save(model, tmp_path / "folder", format="gguf")
    with pytest.raises(UsageError, match="is the name of a GGUF file, and a folder would be written"):
        zoo.save(model, tmp_path / "new.gguf")
    with pytest.raises(UsageError, match="is the name of a GGUF file, and a folder would be written"):
        zoo.convert(file, tmp_path / "new.gguf", format="zoo")


def test_a_writer_that_gets_something_else_leaves_nothing(tmp_path: Path) -> None:
    specs = {"a": ("F32", (2, 2))}
    for stream in ([("b", torch.zeros(2, 2))], [("a", torch.zeros(3, 2))], []):
        with pytest.raises(ZooError, match=r"expected|missing"):
            write_gguf(tmp_path / "x.gguf", {}, specs, stream)
        (tmp_path / "x.gguf").unlink()


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("mistral", PLAIN | {"sliding_window": 9}, "cannot store model.sliding_window=9"),
        ("qwen2", PLAIN | {"head_dim": 32}, "a GGUF file of qwen2 cannot store model.head_dim=32"),
        ("llama", {"rope": RopeConfig(scaling="dynamic", factor=2.0)}, "cannot compute model.rope.scaling=dynamic"),
        ("qwen3", PLAIN | {"rope": RopeConfig(scaling="llama3", factor=2.0)}, "model.rope.scaling=llama3"),
        ("llama", {"rope": RopeConfig(partial=0.5)}, "all channels rotate"),
        ("llama", {"eos_token_id": [1, 2, 3, 4]}, "has room for 3 of the 4"),
        ("gemma", GEMMA3 | {"query_pre_attn_scalar": 9.0}, "query_pre_attn_scalar"),
        ("gemma", GEMMA3 | {"local_per_global": 3, "head_dim": 16}, "local_per_global"),
        ("gemma", GEMMA2 | {"attn_softcap": None, "head_dim": 16}, "attn_softcap"),
        ("bloom", {"norm_residual": True}, "norm_residual"),
        ("gpt2", {"activation": "relu"}, "activation"),
        ("bert", {"head": "masked_lm", "has_pooler": False}, "head='masked_lm'"),
        ("t5", {"max_distance": 64}, "max_distance"),
        ("qwen3_moe", PLAIN | {"dense_layers": [1]}, "dense_layers"),
        ("llama4", LLAMA4 | {"chunk_size": 9}, "model.chunk_size=9"),
        ("llama4", LLAMA4 | {"dense_layers": [1]}, r"model.dense_layers=\[1\]"),
        ("llama4", LLAMA4 | {"num_experts": 128}, "model.has_qk_norm=True"),
        ("llama4", LLAMA4 | {"nope_layers": [2]}, "model.nope_layers"),
        ("deepseek", LATENT | {"q_lora_rank": None}, "q_lora_rank=null"),
        ("deepseek", LATENT | {"scoring": "softmax", "is_renormalised": False}, "ranks groups by their two best"),
        ("deepseek", LATENT | {"num_shared_experts": 0}, "num_shared_experts=0"),
        ("deepseek", LATENT | {"rope": RopeConfig(10_000.0, "yarn", 4.0, 16)}, "without model.rope.mscale"),
    ],
)  # fmt: skip
def test_what_llama_cpp_does_not_compute_is_refused(family: str, changes: dict[str, Any], message: str) -> None:
    config = replace(installed()[family].config_class.tiny(), **changes)
    with pytest.raises(UsageError, match=message):
        installed()[family].dialect("gguf").to_config(config)


def metadata(case: str) -> tuple[Any, dict[str, Any]]:
    family = installed()[(CASES | ENCODERS)[case][0]]
    return family.dialect("gguf"), family.dialect("gguf").to_config(built(case).config)


@pytest.mark.parametrize(
    ("case", "key", "value"),
    one_in(4, [
        ("llama", "llama.attention.head_count", [4, 4]), ("mixtral", "llama.expert_count", [4, 4]),
        ("mixtral", "llama.expert_used_count", 9),
        ("qwen2_moe", "qwen2moe.expert_feed_forward_length", "32"), ("gemma3", "gemma3.attention.sliding_window", -4),
        ("gemma3", "gemma3.attention.sliding_window_pattern", 3), ("deepseek v3", "deepseek2.expert_gating_func", 7),
        ("deepseek v3", "deepseek2.attention.key_length_mla", 3), ("deepseek v3", "deepseek2.expert_group_count", 3),
        ("deepseek v3", "deepseek2.attention.head_count_kv", 2), ("glm4", "glm4.rope.dimension_count", 1 << 40),
        ("llama4", "llama4.interleave_moe_layer_step", 0), ("llama4", "llama4.attention.sliding_window", 0),
        ("glm4_moe", "glm4moe.nextn_predict_layers", 1), ("bert", "bert.attention.causal", True),
        ("bloom", "bloom.feed_forward_length", 9), ("gpt2", "gpt2.attention.max_alibi_bias", 8.0),
        ("deepseek v3", "deepseek2.rope.scaling.yarn_log_multiplier", 0.0),
        ("t5", "t5.attention.relative_buckets_count", 0), ("t5", "t5.decoder_block_count", [2]),
        ("chatglm2", "chatglm.rope.dimension_count", 0), ("qwen2", "qwen2.embedding_length", 0),
    ]),
)  # fmt: skip
def test_hostile_metadata_is_refused_in_one_clear_error(case: str, key: str, value: Any) -> None:
    dialect, raw = metadata(case)
    keys = ForeignConfig(raw | {key: value}, "m.gguf")

    def read() -> None:
        dialect.from_config(keys)
        keys.check()

    with pytest.raises(ZooError, match=r"model\.|m\.gguf"):
        read()


@pytest.mark.parametrize(
    ("case", "key", "value"),
    one_in(4, [
        ("mixtral", "llama.expert_count", 1 << 40), ("mixtral", "llama.expert_count", 5),
        ("qwen3_moe", "qwen3moe.expert_feed_forward_length", 1 << 30), ("llama", "llama.block_count", 1 << 31),
        ("deepseek v3", "deepseek2.attention.kv_lora_rank", 1 << 20), ("t5", "t5.decoder_block_count", 9000),
        ("gpt2", "gpt2.context_length", 1 << 31), ("llama", "llama.block_count", 3),
    ]),
)  # fmt: skip
def test_sizes_that_the_tensors_do_not_have_are_refused(tmp_path: Path, case: str, key: str, value: int) -> None:
    file = zoo.save(built(case), tmp_path / "m.gguf", format="gguf")
    header, raw = read_gguf_header(file), read_gguf_metadata(file) | {key: value}
    tensors = zoo.inspect(file).checkpoint.open()
    specs = {name: ("F32", info.shape) for name, info in header.tensors.items()}
    write_gguf(tmp_path / "bad.gguf", raw, specs, [(name, tensors[name]) for name in specs])
    with pytest.raises(ZooError, match=r"bad\.gguf"):
        zoo.load(tmp_path / "bad.gguf")


def in_parts(tmp_path: Path, count: int = 3) -> list[Path]:
    """A model in parts, as llama-gguf-split leaves it: the metadata in the first."""
    whole = zoo.save(built("llama"), tmp_path / "whole.gguf", format="gguf")
    header, values = read_gguf_header(whole), read_gguf_metadata(whole)
    names, parts = list(header.tensors), []
    reader = zoo.inspect(whole).checkpoint.open()
    for number in range(count):
        part = tmp_path / "parts" / f"m-{number + 1:05}-of-{count:05}.gguf"
        part.parent.mkdir(exist_ok=True)
        told = {"split.no": number, "split.count": count, "split.tensors.count": len(names)}
        mine = names[number::count]
        specs = {n: ("F32", header.tensors[n].shape) for n in mine}
        write_gguf(part, told | (values if number == 0 else {}), specs, [(n, reader[n]) for n in mine])
        parts.append(part)
    return parts


def test_a_model_in_parts_is_one_model(tmp_path: Path) -> None:
    parts = in_parts(tmp_path)
    whole = zoo.load(tmp_path / "whole.gguf").state_dict()
    for source in (parts[0], parts[2], parts[0].parent):
        found = zoo.load(source)
        assert all(torch.equal(p, whole[name]) for name, p in found.state_dict().items())
        assert len(found.ledger.checkpoint.files) == 3


def test_a_part_that_is_missing_or_of_another_model_is_named(tmp_path: Path) -> None:
    parts = in_parts(tmp_path)
    parts[1].rename(tmp_path / "away")
    for source in (parts[0], parts[0].parent):
        with pytest.raises(CheckpointError, match=r"these are missing: m-00002-of-00003\.gguf"):
            zoo.inspect(source)
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(CheckpointError, match=r"m-00002-of-00003.*split\.no: is 2, but by its name the part has 1"):
        zoo.inspect(parts[0])
    alone = parts[0].rename(tmp_path / "alone.gguf")
    with pytest.raises(CheckpointError, match="one part of several"):
        zoo.inspect(alone)


def test_the_command_takes_a_name_and_a_type(tmp_path: Path) -> None:
    _, folder = in_folder("llama", tmp_path / "hf")
    runner, out = CliRunner(), str(tmp_path / "m.gguf")
    done = runner.invoke(main, ["convert", str(folder), out, "--type", "q8_0"])
    assert done.exit_code == 0, done.output
    assert "as gguf: 21 tensors" in done.output
    told = runner.invoke(main, ["inspect", out]).output
    assert "bits per weight: Q8_0 8.5, float32 32" in told
    wrong = runner.invoke(main, ["convert", str(folder), str(tmp_path / "n.gguf"), "--type", "q9"])
    assert wrong.exit_code != 0
    assert "'q9' is not a type that zoo writes" in wrong.output
    assert runner.invoke(main, ["convert", str(folder), str(tmp_path / "x"), "--type", "q8_0"]).exit_code != 0
