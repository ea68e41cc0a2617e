"""What `zoo build` and `zoo bench` make of numbers: facts, trees, rows and words, without Hydra."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo import presets
from zoo.anatomy.size import Size
from zoo.cli.benching import cache, sourced
from zoo.cli.benching import lines as bench_lines
from zoo.cli.building import swept, values_of
from zoo.cli.sources import quoted
from zoo.cli.summary import changes, lines, numbers, tree
from zoo.errors import UsageError
from zoo.registry import installed


def facts_of(config: Any, **more: Any) -> dict[str, Any]:
    """What `zoo build` knows of a config's model."""
    shapes = [(name, SimpleNamespace(shape=shape)) for name, shape in config.anatomy().shapes().items()]
    ran = {"device": "meta", "seconds": 0.5, "seed": 3, "saved": None}
    return {**numbers(config), "parameters": Size.of(config).parameters, **ran, "tree": tree(shapes)} | more


def test_facts_are_those_of_the_arithmetic() -> None:
    config = replace(presets.config("llama3-8b"), num_layers=2)
    size, facts = Size.of(config), numbers(config)
    told = facts["size"]
    assert (facts["family"], facts["num_layers"], told["parameters"]) == ("llama", 2, size.parameters)
    assert told["weight_bytes"] == 2 * size.parameters
    assert (told["dtype"], told["cache_bytes_per_token"]) == ("bfloat16", 2 * 2 * 8 * 128 * 2)
    assert (told["length"], told["cache_bytes"]) == (8192, 8192 * 2 * 2 * 8 * 128 * 2)
    assert told["last_token_flops"] - told["first_token_flops"] == 8191 * 2 * 2 * 32 * (128 + 128)
    assert (told["source_cache_bytes_per_token"], told["state_bytes"], told["source_token_flops"]) == (0, 0, None)
    assert tree([]) == []


def test_an_encoder_decoder_tells_of_its_source_and_no_full_context() -> None:
    told = numbers(installed()["t5"].config_class.tiny())["size"]
    assert told["source_cache_bytes_per_token"] == 3 * 2 * 3 * 5 * 4
    assert told["source_token_flops"] > 0
    assert (told["length"], told["cache_bytes"], told["last_token_flops"]) == (None, None, None)


def test_people_see_the_tree_and_the_costs() -> None:
    config = replace(presets.config("llama3-8b"), num_layers=2)
    changed = changes(presets.config("llama3-8b"), config)
    assert changed == {"model.num_layers": [32, 2]}
    assert lines(facts_of(config, changed=changed), is_table=True) == [
        "llama · 2 layers · 1.49B parameters · meta · 0.50 s",
        "  embed          [128256, 4096]  525M",
        "  layers.{0..1}                  218M each",
        "  norm           [4096]          4.10k",
        "  lm_head        [128256, 4096]  525M",
        "parameters  embedding 525M · attention 83.9M · mlp 352M · norm 20.5k · head 525M",
        "weights     5.54 GiB fp32 · 2.77 GiB bf16 · 1.38 GiB int8",
        "cache       8 KiB/token · 64 MiB at 8,192 (bfloat16)",
        "compute     1.92 GFLOP for the first token · 2.19 GFLOP for the one at 8,192",
        "changed from the preset: model.num_layers 32 → 2",
    ]


def test_pipes_get_tabs_and_a_folder_its_seed() -> None:
    config = replace(presets.config("llama3-8b"), num_layers=1)
    saved = {"folder": "out", "format": "hf"}
    told = lines(facts_of(config, saved=saved, changed={"model.hub": ["x", None]}), is_table=False)
    assert told[0] == "llama · 1 layer · 1.27B parameters · meta · 0.50 s"
    assert told[1:3] == ["embed\t[128256, 4096]\t525M", "layers.0\t\t218M"]
    assert told[-3] == "compute\t1.49 GFLOP for the first token · 1.62 GFLOP for the one at 8,192"
    assert told[-2:] == ["changed from the preset: model.hub x → null", "saved to out as hf: random weights, seed 3"]


def test_experts_sources_and_towers_are_told() -> None:
    mixture = lines(facts_of(installed()["mixtral"].config_class.tiny()), is_table=False)
    assert " active) · meta" in mixture[0]
    seq2seq = lines(facts_of(installed()["t5"].config_class.tiny()), is_table=False)
    assert "cache\t360 B/token · 360 B/token of the source (float32)" in seq2seq
    assert seq2seq[-1].startswith("compute\t")
    assert seq2seq[-1].endswith("/token of the source")
    vision = lines(facts_of(installed()["vit"].config_class.tiny()), is_table=False)
    assert not [line for line in vision if line.startswith(("cache", "state"))]
    unknown = {
        "family": "x",
        "num_layers": None,
        "size": None,
        "parameters": 5,
        "device": "cpu",
        "seconds": 1,
        "tree": [],
        "saved": None,
    }
    assert lines(unknown, is_table=True) == ["x · 5 parameters · cpu · 1.00 s"]


def test_alike_layers_are_one_part_with_their_numbers() -> None:
    def layer(i: int, width: int) -> list[tuple[str, Any]]:
        return [
            (f"layers.{i}.a.weight", SimpleNamespace(shape=(width, 2))),
            (f"layers.{i}.b", SimpleNamespace(shape=(3,))),
        ]

    shapes = [*layer(0, 4), *layer(1, 5), *layer(2, 4), *layer(3, 5), *layer(4, 4), *layer(5, 4), *layer(6, 7)]
    found = tree([("embed.weight", SimpleNamespace(shape=(9, 2))), *shapes, ("scale", SimpleNamespace(shape=()))])
    assert found == [
        {"name": "embed", "shape": [9, 2], "each": 18, "parameters": 18},
        {"name": "layers.{0,2,..,5}", "shape": None, "each": 11, "parameters": 44},
        {"name": "layers.{1,3}", "shape": None, "each": 13, "parameters": 26},
        {"name": "layers.6", "shape": None, "each": 17, "parameters": 17},
        {"name": "scale", "shape": [], "each": 1, "parameters": 1},
    ]


def test_a_sweep_has_a_column_for_each_key_that_varies() -> None:
    jobs = [{"overrides": ["model=llama3", "+a.b=1", "c=2"]}, {"overrides": ["model=llama3", "a.b=3", "c=2", "~d"]}]
    assert swept(jobs) == ["a.b"]
    assert values_of(jobs[0], ["a.b", "c", "e"]) == ["1", "2", ""]
    assert swept(jobs[:1]) == ["model"]


def test_words_that_stand_for_weights_become_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sourced(["tiny", "prompt=3"]) == ["source=tiny", "prompt=3"]
    assert sourced(["tiny", "model.num_layers=2"]) == ["tiny", "model.num_layers=2"]
    assert sourced(["./a,./b"]) == ["source=./a,./b"]
    (tmp_path / "a,b").mkdir()
    assert sourced(["a,b"]) == ["source='a,b'"]
    (tmp_path / "lr=0.1").mkdir()
    assert sourced(["./lr=0.1", "prompt=3"]) == ["source='./lr=0.1'", "prompt=3"]
    assert sourced(["mine", "prompt=3"], {"mine"}) == ["mine", "prompt=3"]  # of -cd FOLDER
    assert quoted("it's") == r"'it\'s'"
    with pytest.raises(UsageError):
        sourced(["prompt=3"])


def test_the_table_tells_medians_spread_ratios_and_the_formula() -> None:
    def model(engine: str, formula: int | None) -> dict[str, object]:
        spread = {"median": 2000.0, "least": 1500.0, "most": 2500.0}
        held = {"peak_bytes": 3 << 20, "baseline_bytes": 1 << 20}
        return {
            "engine": engine, "prefill": spread, "decode": spread, "first_token": {"median": 0.0125}, "memory": held,
            "cache": {"bytes": 2048, "formula_bytes": formula},
        }  # fmt: skip

    ratio = {"median": 1.5, "least": 1.25, "most": 2.0}
    facts = {"prompt": 128, "new": 64, "models": [model("zoo", 2048), model("transformers", None)]}
    assert bench_lines(facts | {"ratios": {"prefill": ratio, "decode": ratio}}) == [
        ["prefill 128", *["2.00k tok/s (1.50k to 2.50k)"] * 2, "1.50 (1.25 to 2.00)"],
        ["decode 64", *["2.00k tok/s (1.50k to 2.50k)"] * 2, "1.50 (1.25 to 2.00)"],
        ["first token", "12.5 ms", "12.5 ms", ""],
        ["peak memory", *["3 MiB (1 MiB without a model)"] * 2, ""],
        ["KV cache", "2 KiB (= formula)", "2 KiB", ""],
    ]
    assert cache({"bytes": 2048, "formula_bytes": 1024}) == "2 KiB (formula: 1,024 bytes)"


def test_words_that_are_models_are_counted() -> None:
    with pytest.raises(UsageError, match="two models: llama3 and gpt2"):
        sourced(["llama3", "gpt2"])
    with pytest.raises(UsageError, match="is for a preset"):
        sourced(["./folder", "model.num_layers=2"])
    with pytest.raises(UsageError, match="checkpoints and presets"):
        sourced(["llama3,./folder"])
    assert sourced(["source=a"]) == ["source=a"]
    assert sourced(["model=llama3", "~new"]) == ["model=llama3", "~new"]
