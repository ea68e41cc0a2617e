"""Checkpoints whose matrices are packed: the model is that of the unpacked numbers, and every door says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.breaking import Tensors, broken, run, saved
from tests.files.packed import by_hand, owners, tiny
from zoo.errors import CheckpointError
from zoo.registry import installed

__all__ = ["broken", "saved"]  # fixtures
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True}
FOUR = {"type": "int", "num_bits": 4, "strategy": "group", "group_size": 32}
EIGHT = {"type": "float", "num_bits": 8, "strategy": "channel"}
MLX = {"group_size": 32, "bits": 4}
CASES: dict[str, tuple[str, Callable[[], owners.Pack], dict[str, Any]]] = {
    "gptq": ("", lambda: by_hand.gptq(4, 32), {"quantization_config": GPTQ}),
    "awq": ("", lambda: by_hand.awq(32), {"quantization_config": AWQ}),
    "nf4": ("bitsandbytes", lambda: owners.bitsandbytes_4("nf4"), {"quantization_config": BNB}),
    "int4": (
        "compressed_tensors",
        lambda: owners.compressed_tensors("pack-quantized", **FOUR),
        {"quantization_config": owners.compressed_tensors_config("pack-quantized", **FOUR)},
    ),
    "fp8": (
        "compressed_tensors",
        lambda: owners.compressed_tensors("float-quantized", **EIGHT),
        {"quantization_config": owners.compressed_tensors_config("float-quantized", **EIGHT)},
    ),
    "nvfp4": ("", lambda: by_hand.nvfp4, {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}),
    "mlx": ("mlx", lambda: owners.mlx(**MLX), {"quantization": MLX, "quantization_config": MLX}),
}
TOKENS = torch.arange(12)[None]


def folder_of(case: str, path: Path) -> tiny.PackedFolder:
    package, pack, config = CASES[case]
    if package:
        pytest.importorskip(package, reason="the owner of the format packs")
    return tiny.packed(path, pack(), **config)


SLOW = ("nf4", "int4", "fp8")  # whose packages take seconds to import


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] if c in SLOW else []) for c in CASES])
def test_a_packed_model_is_that_of_the_unpacked_numbers(case: str, tmp_path: Path) -> None:
    folder = folder_of(case, tmp_path / "packed")
    as_bfloat16 = {name: tensor.bfloat16() for name, tensor in folder.unpacked.items()}
    plain = zoo.load(tiny.write(tmp_path / "plain", as_bfloat16, torch_dtype="bfloat16"))
    with pytest.warns(zoo.errors.ZooWarning, match="packed weights: .*7 of 12 tensors packed"):
        packed = zoo.load(folder.path)
    pairs = zip(packed.named_parameters(), plain.named_parameters(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    with torch.inference_mode():
        assert torch.equal(packed(TOKENS), plain(TOKENS))
    assert packed.ledger.nbytes < 0.8 * plain.ledger.nbytes


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module."])
def test_packed_parts_may_have_a_wrapper_s_prefix(prefix: str, tmp_path: Path) -> None:
    folder = folder_of("gptq", tmp_path / "f")
    file = folder.path / "model.safetensors"
    save_file({f"{prefix}{name}": t for name, t in load_file(file).items()}, file, {"format": "pt"})
    with pytest.warns(zoo.errors.ZooWarning, match="7 of 12 tensors packed"):
        wrapped = zoo.load(folder.path)
    plain = zoo.load(folder_of("gptq", tmp_path / "plain").path)
    assert all(torch.equal(a, b) for a, b in zip(wrapped.parameters(), plain.parameters(), strict=True))
    assert any(prefix in note for note in wrapped.ledger.concessions)


BLOCKS = {"quant_method": "fp8", "weight_block_size": None, "dequantize": True}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["int4", "fp8", "nf4", "one scale"])
def test_transformers_computes_the_same_logits(case: str, tmp_path: Path) -> None:
    """Of the folders that it loads on a CPU; it unpacks nf4 when told to. GPTQ and AWQ need kernels that it fetches."""
    from transformers import AutoModelForCausalLM

    if case == "one scale":
        pack = by_hand.scaled(lambda m: (1, 1), "weight_scale_inv")
        folder = tiny.packed(tmp_path / "f", pack, quantization_config=BLOCKS)
    else:
        folder = folder_of(case, tmp_path / "f")
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder.path, dtype="auto").eval()
    if case == "nf4":
        pytest.importorskip("bitsandbytes", reason="transformers unpacks nf4 by it")
        theirs = theirs.dequantize()
    with torch.inference_mode():
        found, expected = zoo.load(folder.path)(TOKENS).float(), theirs(TOKENS).logits.float()
    assert expected.std() > 1
    if case == "nf4":  # its AVX-512 kernel errs in the one matrix whose blocks run on into the next row
        assert torch.equal(
            zoo.load(folder.path).layers[0].mlp.up_proj.weight, theirs.model.layers[0].mlp.up_proj.weight
        )
    else:
        assert torch.equal(found, expected)


def test_inspect_says_what_is_packed_and_in_how_many_bytes(tmp_path: Path) -> None:
    folder = folder_of("awq", tmp_path / "f")
    done = run("inspect", folder.path)
    assert done.exit_code == 0, done.output
    line = "AWQ, 4 bits, groups of 32, symmetric: no; 7 of 12 tensors packed; head and embedding in bfloat16"
    assert f"packed     {line}" in done.stdout
    assert "note       packed" not in done.stdout
    told = json.loads(run("inspect", folder.path, "--json").stdout)
    sizes = {name: t.nbytes for name, t in load_file(folder.path / "model.safetensors").items()}
    parts = sum(n for name, n in sizes.items() if name.endswith(("qweight", "qzeros", "scales")))
    assert told["bytes"] == sum(sizes.values())
    numbers = sum(t.numel() for name, t in folder.unpacked.items() if "proj" in name)
    expected = {"words": line, "formats": ["awq"], "tensors": 7, "bytes": parts, "unused": {}}
    assert told["packed"] | expected == told["packed"]
    assert told["packed"]["bits_per_weight"] == round(8 * parts / numbers, 3)
    assert any(note == f"packed weights: {line}" for note in told["notes"])


def test_convert_writes_plain_weights_and_says_so(tmp_path: Path) -> None:
    folder = folder_of("gptq", tmp_path / "f")
    for format in ("hf", "zoo"):
        with pytest.warns(zoo.errors.ZooWarning):
            zoo.convert(folder.path, tmp_path / format, format=format)
        config = json.loads((tmp_path / format / "config.json").read_text())
        assert not [key for key in config if "quant" in key]
        origin = json.loads((tmp_path / format / "zoo.json").read_text())["provenance"]
        assert origin["unpacked_from"].startswith("GPTQ, 4 bits, groups of 32, symmetric: yes; 7 of 12")
        ledger = zoo.inspect(tmp_path / format)
        assert (ledger.checkpoint.packing, ledger.to_dict()["packed"]) == (None, None)
    written = load_file(tmp_path / "hf" / "model.safetensors")
    assert all(torch.equal(written[name], tensor.bfloat16()) for name, tensor in folder.unpacked.items())


def test_parts_lie_open_as_they_are_in_the_file(tmp_path: Path) -> None:
    folder = folder_of("gptq", tmp_path / "f")
    checkpoint = zoo.inspect(folder.path).checkpoint
    stored = load_file(folder.path / "model.safetensors")
    assert checkpoint.packing is not None
    assert set(checkpoint.packing.matrices) == {f"{module}.weight" for module in tiny.MODULES}
    with checkpoint.open_parts() as raw:
        assert set(raw) == set(stored)
        for matrix in checkpoint.packing.matrices.values():
            for info in matrix.parts.values():
                assert torch.equal(raw[info.name], stored[info.name])
                assert bytes(checkpoint_bytes(info)) == stored[info.name].contiguous().numpy().tobytes()


def checkpoint_bytes(info: Any) -> bytes:
    with info.file.open("rb") as file:
        file.seek(info.offset)
        return file.read(info.nbytes)


# --- biases that a tool writes ---


def with_biases(value: float) -> owners.Pack:
    def pack(module: str, matrix: torch.Tensor) -> Any:
        parts, numbers = by_hand.gptq(4, 32)(module, matrix)
        return parts | {"bias": torch.full((matrix.shape[0],), value).half()}, numbers

    return pack


def test_biases_of_zero_that_no_model_has_are_left_out(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", with_biases(0), quantization_config=GPTQ)
    assert "7 ignored (a bias of 0 that the packing tool wrote)" in run("inspect", folder.path).stdout
    assert len(zoo.load(folder.path).ledger.account.loaded) == 12


def test_a_bias_that_is_not_zero_is_refused_whatever_is_allowed(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", with_biases(0.5), quantization_config=GPTQ)
    for allow in ((), ("*",)):
        with pytest.raises(CheckpointError, match=r"bias: it is not all 0"):
            zoo.load(folder.path, allow=allow)


# --- families whose own releases are packed ---


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("family", ["chatglm", "chatglm2"])
def test_chatglm_s_own_releases_are_read(family: str, bits: int, broken: Callable[..., Path], tmp_path: Path) -> None:
    unpacked: Tensors = {}

    def pack(tensors: Tensors) -> None:
        for name in [n for n in tensors if n.endswith(".weight") and tensors[n].ndim == 2 and "embed" not in n]:
            if "lm_head" in name or "output_layer" in name:
                continue
            parts, unpacked[name] = by_hand.chatglm(bits)(name.removesuffix(".weight"), tensors[name])
            tensors |= {f"{name.removesuffix('weight')}{part}": value for part, value in parts.items()}

    words = {"quantization_bit": bits, "quantization_embeddings": False, "torch_dtype": "float16", "dtype": None}
    folder = broken(family, pack, **words)
    ledger = zoo.inspect(folder)
    ledger.check()
    assert f"ChatGLM's own, {bits} bits, one scale per row" in ledger.to_dict()["packed"]["words"]
    with ledger.checkpoint.open() as tensors:
        assert len(unpacked) > 4
        assert all(torch.equal(tensors[name], expected) for name, expected in unpacked.items())
    zoo.load(folder, dtype="float32")(TOKENS)


def test_qwen_s_int4_releases_are_gptq_with_biases_of_zero(tmp_path: Path) -> None:
    """As Qwen-VL-Chat-Int4's own config.json and names have it."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "num_kv_heads": 2, "head_dim": 32}
    config = replace(installed()["qwen"].config_class.tiny(), **sizes)
    folder = zoo.save(zoo.build(config, device="cpu"), tmp_path / "f", format="hf")
    tensors = load_file(folder / "model.safetensors")
    for name in [n for n in tensors if ".h." in n and tensors[n].ndim == 2]:
        module, matrix = name.removesuffix(".weight"), tensors.pop(name)
        parts, _ = by_hand.gptq(4, 32)(module, matrix)
        tensors |= {f"{module}.{part}": value for part, value in parts.items()}
        tensors.setdefault(f"{module}.bias", torch.zeros(matrix.shape[0]).half())
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    settings = GPTQ | {"damp_percent": 0.01, "static_groups": False, "true_sequential": True}
    settings |= {"model_name_or_path": None, "model_file_base_name": "model"}
    keys = json.loads((folder / "config.json").read_text()) | {"quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(keys))
    ledger = zoo.inspect(folder)
    ledger.check()
    assert len(ledger.account.zeros) == 2 * 4  # all but those of c_attn
    zoo.load(folder, dtype="float32")(TOKENS)
