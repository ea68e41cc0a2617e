"""Weights that stay as they lie in the file: the same model as the one that is unpacked."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.files.packed import tiny
from tests.files.packed.test_small_floats import CASES as FLOATS
from tests.files.packed.test_words_of_32 import CASES as WORDS
from zoo.errors import UsageError, ZooWarning
from zoo.files.packed import Encoding, PackedMatrix
from zoo.files.packed.fp8 import band_of_blocks
from zoo.files.tensor_info import TensorInfo
from zoo.nn.packed import Int4Groups, Int8Rows, OfFile, packed_layers
from zoo.nn.packed.from_file import FilePart
from zoo.registry import installed
from zoo.weights.ops import rope_halves, same, split, split_heads, stack, transpose
from zoo.weights.row_maps import RowRun, row_maps

TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11]])


def both(source: Path, **options: Any) -> tuple[Any, Any]:
    """The model unpacked and kept packed, both in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        plain = zoo.load(source, dtype="float32", **options)
        return plain, zoo.load(source, dtype="float32", keep_packed=True, **options)


def check_same(plain: Any, kept: Any) -> None:
    """Packed matrices stand for the same numbers, and give the same logits."""
    assert packed_layers(kept)
    for name, layer in packed_layers(kept).items():
        weight = plain.get_parameter(name)
        assert torch.equal(layer.dequantise(torch.float32).reshape(weight.shape), weight), name
    with torch.inference_mode():
        torch.testing.assert_close(kept(TOKENS), plain(TOKENS), rtol=1e-4, atol=1e-4)  # float32, in bands of rows


@pytest.mark.parametrize("case", ["4 bits", "3 bits, zeros", "ordered", "awq"])
def test_words_of_32_bits_stay_packed(case: str, tmp_path: Path) -> None:
    pack, config, _ = WORDS[case]
    check_same(*both(tiny.packed(tmp_path, pack, dtype="float16", quantization_config=config).path))


@pytest.mark.parametrize("case", ["one scale", "by row", "nvfp4"])
def test_small_floats_stay_packed(case: str, tmp_path: Path) -> None:
    pack, config, _ = FLOATS[case]
    check_same(*both(tiny.packed(tmp_path, pack, quantization_config=config).path))


def test_experts_that_a_file_has_stacked_stay_packed(tmp_path: Path) -> None:
    codes = (torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0)) * 8).to(torch.float8_e4m3fn)
    scales = torch.arange(1.0, 25.0).reshape(3, 2, 4) / 8
    parts = {"codes": TensorInfo("w", "float8_e4m3fn", (3, 6, 8), tmp_path, 144, 0),
             "scales": TensorInfo("s", "float32", (3, 2, 4), tmp_path, 96, 0)}  # fmt: skip
    encoding = Encoding("fp8", "fp8", 8, (3, 2))
    record = PackedMatrix("w", (3, 6, 8), "float32", encoding, parts, band_of_blocks)
    numbers = (codes.float() * scales.repeat_interleave(3, 1).repeat_interleave(2, 2)).flatten(0, 1)
    order = torch.tensor([3, 0, 9, 4])
    held = {"codes": codes, "scales": scales}
    roles = {role: role for role in held}
    pieces = (FilePart(record, roles, (2, 15)), FilePart(record, roles, (5, 15), order))
    found = OfFile(pieces).dequantise(held, slice(1, 17))
    assert torch.equal(found, torch.cat((numbers[3:15], numbers[5:15][order])))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0"])
def test_blocks_of_llama_cpp_stay_packed_with_their_rows_reordered(kind: str, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf extra is not installed")
    from tests.plugins.llama_cpp_files import write

    config = installed()["llama"].config_class(
        vocab_size=61, hidden_size=64, intermediate_size=96, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16,
        max_seq_len=64,
    )  # fmt: skip
    source = write(tmp_path / "a.gguf", zoo.build(config, device="cpu"), quantised=gguf.GGMLQuantizationType[kind])
    plain, kept = both(source)
    check_same(plain, kept)
    layer = packed_layers(kept)["layers.0.attn.q_proj.weight"]
    assert isinstance(layer.scheme, OfFile)
    assert layer.scheme.pieces[0].order is not None
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in packed_layers(kept)} >= {"q_proj", "down_proj"}


@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
def test_a_table_of_tokens_stays_packed_with_the_head_that_shares_it(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the gguf extra is not installed")
    zoo.convert("tiny", tmp_path / "tiny.gguf", format="gguf", type="q8_0")
    plain, kept = both(tmp_path / "tiny.gguf")
    check_same(plain, kept)
    assert kept.lm_head is kept.embed.matrix
    assert packed_layers(kept)["embed.weight"] is kept.lm_head
    assert sum(p.numel() for p in kept.parameters()) == sum(
        p.numel() for n, p in plain.named_parameters() if "norm" in n
    )
    assert torch.equal(kept.embed(TOKENS), plain.embed(TOKENS))
    assert kept.embed(TOKENS[:, :0]).shape == (1, 0, 128)
    assert "unpacked" not in kept.ledger.made[0]
    again = pickle.loads(pickle.dumps(kept.bfloat16()))
    assert torch.equal(again(TOKENS), kept(TOKENS))
    assert again.generate("One day", max_new_tokens=3).texts == kept.generate("One day", max_new_tokens=3).texts


@pytest.mark.parametrize(("form", "scheme"), [("int8", Int8Rows), ("int4", Int4Groups), ("fp8", OfFile)])
def test_what_zoo_wrote_is_computed_by_the_kernels_that_know_it(form: str, scheme: type, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "a", tiny.weights(), torch_dtype="bfloat16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        zoo.quantize(folder, tmp_path / "b", form=form)
        plain, kept = (zoo.load(tmp_path / "b", keep_packed=is_kept) for is_kept in (False, True))
    layers = packed_layers(kept)
    assert len(layers) == len(tiny.MODULES)
    assert {type(layer.scheme) for layer in layers.values()} == {scheme}
    for name, layer in layers.items():
        assert torch.equal(layer.dequantise(torch.bfloat16), plain.get_parameter(name))
    assert ("bfloat16" in kept.ledger.made[0].partition("groups")[2] + kept.ledger.made[0]) == (form != "fp8")
    with torch.inference_mode():
        a, b = kept(TOKENS).float(), plain(TOKENS).float()
    assert (a - b).norm() / b.norm() < 2e-2  # bfloat16 throughout, summed in two ways


def test_rows_are_followed_through_what_only_moves_rows() -> None:
    whole = [RowRun(0, 0, 6, None)]
    assert row_maps(same, [(6, 8)], [(6, 8)]) == [whole]
    assert row_maps(split(2, 4), [(6, 8)], [(2, 8), (4, 8)]) == [[RowRun(0, 0, 2, None)], [RowRun(0, 2, 6, None)]]
    assert row_maps(~split(2, 4), [(2, 8), (4, 8)], [(6, 8)]) == [[RowRun(0, 0, 2, None), RowRun(1, 0, 4, None)]]
    assert row_maps(stack(2), [(3, 8), (3, 8)], [(2, 3, 8)]) == [[RowRun(0, 0, 3, None), RowRun(1, 0, 3, None)]]
    (((source, first, last, order),),) = row_maps(rope_halves(1, 4), [(4, 8)], [(4, 8)]) or []
    assert (source, first, last) == (0, 0, 4)
    assert order is not None
    assert order.tolist() == [0, 2, 1, 3]
    q, k = row_maps(split_heads(2, 1, 2), [(6, 8)], [(2, 8), (4, 8)]) or []
    assert [(p.first, p.last, None if p.order is None else p.order.tolist()) for p in (*q, *k)] == [
        (0, 4, [0, 3]), (1, 6, [0, 1, 3, 4]),
    ]  # fmt: skip


@pytest.mark.parametrize("op", [transpose, split(3, 5, dim=1)])
def test_what_moves_more_than_rows_is_no_row_map(op: Any) -> None:
    assert row_maps(op, [(8, 8)], [(8, 8)]) is None
    assert row_maps(transpose, [(3, 3)], [(3, 3)]) is None


# --- written as they lay ---


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["4 bits", "awq"])
def test_what_stayed_packed_is_written_as_it_lay(case: str, tmp_path: Path) -> None:
    pack, config, _ = WORDS[case]
    source = tiny.packed(tmp_path / "in", pack, dtype="float16", quantization_config=config).path
    out = zoo.save(zoo.load(source, keep_packed=True), tmp_path / "out")
    stored, back = (load_file(folder / "model.safetensors") for folder in (source, out))
    assert stored.keys() == back.keys()
    assert all(torch.equal(stored[name].view(torch.uint8), back[name].view(torch.uint8)) for name in stored)
    kept, again = (json.loads((folder / "config.json").read_text())["quantization_config"] for folder in (source, out))
    assert kept == again
    with torch.inference_mode():
        assert torch.equal(zoo.load(out)(TOKENS), zoo.load(source)(TOKENS))


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_longer_as_it_lay_is_not_written(tmp_path: Path) -> None:
    pack, config, _ = WORDS["4 bits"]
    source = tiny.packed(tmp_path / "in", pack, dtype="float16", quantization_config=config).path
    with pytest.raises(UsageError, match=r"the file says dtype float16, and the model was loaded as float32"):
        zoo.save(zoo.load(source, keep_packed=True, dtype="float32"), tmp_path / "a")
    model: Any = zoo.load(source, keep_packed=True)
    with pytest.raises(UsageError, match=r"they lie in a file of the format hf, and zoo has no such weights"):
        zoo.save(model, tmp_path / "a", format="zoo")
    model.layers[0].mlp.up_proj = torch.nn.Linear(tiny.HIDDEN, tiny.FFN, bias=False).half()
    with pytest.raises(UsageError, match=r"up_proj\.weight did not stay packed when the model was loaded"):
        zoo.save(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()
