"""A preset goes by the name that its weights have on the hub, wherever no weights are needed."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import pytest

import zoo
from tests.breaking import run
from zoo.errors import UnknownName
from zoo.presets import config, list_models
from zoo.presets.hub_ids import preset_of


def test_every_id_that_zoo_list_prints_names_its_preset_or_a_larger_one() -> None:
    records = {r.name: r for r in list_models()}
    for record in records.values():
        if record.hub:
            found = records[preset_of(record.hub)]
            assert found.hub == record.hub
            assert (found.parameters or 0) >= (record.parameters or 0)
    assert preset_of("meta-llama/Llama-3.1-8B") == "llama3.1-8b"
    assert preset_of("google/gemma-3-12b-pt") == "gemma3-12b"  # and not its part for texts


@pytest.mark.parametrize("name", ["nobody/has-this-model", "llama3", "a/b/c", "./meta-llama", "model.x=a/b"])
def test_other_names_stay(name: str) -> None:
    assert preset_of(name) == name


@pytest.mark.parametrize("name", ["meta-llama/llama-3.1-8b", "meta-llama/Lama-3.1-8B", "META-LLAMA/LLAMA-3.1-8B"])
def test_a_near_miss_is_answered_with_the_id(name: str) -> None:
    with pytest.raises(UnknownName, match=r"did you mean: meta-llama/Llama-3\.1-8B\?"):
        preset_of(name)
    for command in ("show", "build"):
        assert "did you mean: meta-llama/Llama-3.1-8B?" in run(command, name).stderr


def test_commands_and_functions_that_need_no_weights_take_ids() -> None:
    assert run("show", "meta-llama/Llama-3.1-8B").stdout == run("show", "llama3.1-8b").stdout
    assert zoo.compose("openai-community/gpt2", "model.num_layers=2") == zoo.compose("gpt2", "model.num_layers=2")
    assert zoo.compare("openai-community/gpt2", "meta-llama/Llama-3.1-8B").subjects[1].config == config("llama3.1-8b")


@pytest.mark.slow
def test_build_takes_ids_and_sweeps_over_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("build", "openai-community/gpt2", "--json")
    assert '"model": "gpt2"' in done.stdout
    assert run("build", "-m", "model=openai-community/gpt2,distilgpt2", "device=meta").exit_code == 0


FILES_OF_V3 = 688_586_727_753  # bytes of the 163 files, by the listing of deepseek-ai/DeepSeek-V3 on the hub


def test_a_release_in_8_bits_says_its_bytes_as_they_are() -> None:
    c = config("deepseek-v3")
    packed, scales, plain, exact = 0, 0, 0, 0  # elements: in 8 bits, of scales in float32, in bfloat16, in float32
    experts = c.num_experts + c.num_shared_experts
    for layer in range(c.num_layers + 1):  # and one more that predicts a further token
        heads, inner = c.num_heads, c.intermediate_size if layer < c.num_dense_layers else c.moe_intermediate_size
        feed = [(inner, c.hidden_size)] * 3 * (1 if layer < c.num_dense_layers else experts)
        shapes = [
            (c.q_lora_rank, c.hidden_size), (heads * (c.nope_head_dim + c.rope_head_dim), c.q_lora_rank),
            (c.kv_lora_rank + c.rope_head_dim, c.hidden_size),
            (heads * (c.nope_head_dim + c.v_head_dim), c.kv_lora_rank), (c.hidden_size, heads * c.v_head_dim), *feed,
        ]  # fmt: skip
        packed += sum(rows * columns for rows, columns in shapes)
        scales += sum(ceil(rows / 128) * ceil(columns / 128) for rows, columns in shapes)
        plain += c.q_lora_rank + c.kv_lora_rank + 2 * c.hidden_size
        if layer >= c.num_dense_layers:
            plain, exact = plain + c.num_experts * c.hidden_size, exact + c.num_experts
    table = c.vocab_size * c.hidden_size  # embedding and head, which the further layer has again
    plain += 4 * table + c.hidden_size + 2 * c.hidden_size**2 + 3 * c.hidden_size
    nbytes = packed + 4 * scales + 2 * plain + 4 * exact
    assert c.release_bytes == nbytes == config("deepseek-r1").release_bytes
    # What the files have more is their headers: some 46,000 weights and as many scales, of 100 to 150 bytes each.
    assert 9_000_000 < FILES_OF_V3 - nbytes < 14_000_000
    told = run("show", "deepseek-v3").stdout
    assert "stored in 8 bits: 641.3 GiB (1.22 TiB in bfloat16)" in told
