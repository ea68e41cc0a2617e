"""What is let pass is told at every door, and what unpacks weights never passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import zoo
from tests.breaking import TINY, Tensors, broken, run, saved
from zoo.cli import main
from zoo.errors import CheckpointError, ZooWarning
from zoo.weights.packing import unpacks

__all__ = ["broken", "saved"]  # fixtures
HEAD = "lm_head.weight"


# --- packed weights ---


def pack(tensors: Tensors) -> None:
    for name in [n for n in tensors if n.endswith("proj.weight")]:
        scale = tensors[name].abs().amax() / 448
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale"] = scale.reshape(1)


@pytest.mark.parametrize("patterns", [(), ("quantization_config",), ("quantization_config", "*_scale"), ("*",)])
def test_a_weight_whose_scale_is_not_used_is_refused_whatever_is_allowed(
    patterns: tuple[str, ...], broken: Callable[..., Path], tmp_path: Path
) -> None:
    folder = broken("llama", pack, quantization_config={"quant_method": "compressed-tensors"})
    words = [word for pattern in patterns for word in ("--allow", pattern)]
    for done in (run("inspect", folder, *words), run("convert", folder, tmp_path / "out", *words)):
        assert done.exit_code == 1
        assert "--allow '" not in done.stderr
        assert "use the checkpoint in 16" in done.stderr
    assert not (tmp_path / "out").exists()


def test_eight_bits_whose_packing_was_let_pass_are_refused_without_their_scales_too(
    broken: Callable[..., Path],
) -> None:
    def lose_scales(tensors: Tensors) -> None:
        pack(tensors)
        for name in [n for n in tensors if n.endswith("_scale")]:
            del tensors[name]

    group = {"targets": ["Linear"], "weights": {"type": "float", "num_bits": 8, "strategy": "tensor"}}
    config = {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": group}}
    folder = broken("llama", lose_scales, quantization_config=config)
    with pytest.raises(CheckpointError, match="is float8_e4m3fn, and nothing in the files unpacks it"):
        zoo.load(folder, allow=["*"], dtype="float32")


@pytest.mark.parametrize(
    "name",
    "weight_scale weight_scale_inv input_scale scales qzeros g_idx qweight weight.absmax weight.quant_map SCB "
    "weight_zero_point weight_packed codebooks weight.quant_state.bitsandbytes__nf4 k_scale".split(),
)
def test_what_unpacks_a_weight_is_known_by_its_name(name: str) -> None:
    assert unpacks(f"model.layers.0.self_attn.q_proj.{name}")


@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj.weight", "v_head.bias", "upscaler.weight", "zero_mlp.w"])
def test_other_tensors_are_not(name: str) -> None:
    assert not unpacks(name)


# --- what is let pass ---


def test_what_is_drawn_at_random_is_told_and_of_the_type_of_the_rest(
    broken: Callable[..., Path], tmp_path: Path
) -> None:
    folder = broken("tiny", tie_word_embeddings=False)
    words = ("--allow", HEAD)
    told = run("inspect", folder, *words)
    assert "1 RANDOM (lm_head.weight) · 0 missing" in told.stdout
    said = run("generate", folder, *words, "-p", "One day", "--tokens", "2")
    assert (said.exit_code, "note: " in said.stderr, "random, because" in said.stderr) == (0, True, True)
    assert run("convert", folder, tmp_path / "no", *words).exit_code == 1
    with pytest.warns(ZooWarning, match=r"random, because the files do not have them: lm_head\.weight"):
        model: Any = zoo.load(folder, allow=[HEAD])
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    out = zoo.save(model, tmp_path / "out", format="hf")
    assert any("random, because" in line for line in zoo.inspect(out).concessions)


@pytest.mark.slow
def test_what_is_left_out_is_written_down_and_repeated_by_every_door(
    broken: Callable[..., Path], tmp_path: Path
) -> None:
    folder = broken("tiny", lambda t: t.update({"v_head.weight": torch.ones(1, 128)}))
    first, second = tmp_path / "first", tmp_path / "second"
    assert "left out" in run("convert", folder, first, "--allow", "v_head.*").stderr
    lines = json.loads((first / "zoo.json").read_text())["provenance"]["concessions"]
    assert lines == ["left out, although they are in the files: v_head.weight"]
    for words in (
        ("convert", first, second),
        ("generate", second, "-p", "One day", "--tokens", "1"),
        ("compare", second, "tiny"),
        ("verify", second, "--against", TINY, "--length", "5"),
    ):
        done = run(*words)
        assert done.exit_code == 0, done.output
        assert f"note: {words[1]}: {lines[0]}" in done.stderr, words
    assert f"note       {lines[0]}" in run("inspect", second).stdout
    assert zoo.inspect(second).to_dict()["concessions"] == lines


@pytest.mark.slow
@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize(
    "words",
    [("eval", "--text", "TEXT"), ("bench", "prompt=4", "new=2"), ("chat",), ("compare", "tiny", "--text", "TEXT")],
)
def test_the_slower_doors_repeat_it_too(words: tuple[str, ...], broken: Callable[..., Path], tmp_path: Path) -> None:
    folder = broken("tiny", lambda t: t.update({"v_head.weight": torch.ones(1, 128)}))
    with pytest.warns(ZooWarning):
        zoo.convert(folder, tmp_path / "out", allow=["v_head.*"])
    (tmp_path / "text.txt").write_text("One day she was very happy. " * 4)
    rest = [word.replace("TEXT", str(tmp_path / "text.txt")) for word in words[1:]]
    done = CliRunner().invoke(main, [words[0], str(tmp_path / "out"), *rest], input="")
    assert done.exit_code == 0, done.output
    assert "left out, although they are in the files: v_head.weight" in done.stderr
