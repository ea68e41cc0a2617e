"""A number has one name and one value wherever it is told, and the length that it is counted for beside it."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

import zoo
from zoo.anatomy.costs import costs
from zoo.anatomy.size import Size
from zoo.cli import main

# 2 FLOPs per element of every matrix, the head's included: attention 4096 * (4096 * 2 + 1024 * 2) and an MLP of
# 3 * 4096 * 14336 in each of 32 layers, 4096 * 128256 once; 4 * 4096 per key seen and layer.
MATRICES = 2 * (32 * (4096 * (4096 * 2 + 1024 * 2) + 3 * 4096 * 14336) + 4096 * 128256)


def llama3(tokens: int) -> int:
    return MATRICES + 32 * 4 * 4096 * tokens


def told(*words: str) -> dict:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_show_and_compare_tell_the_same_numbers_each_with_its_length() -> None:
    shown = told("show", "llama3")["size"]
    at_home, at_32k = (
        told("compare", "llama3", "gpt2", *words)["subjects"][0]["size"] for words in (("--length", "8192"), ())
    )
    assert shown == at_home
    assert (shown["length"], at_32k["length"]) == (8192, 32768)
    assert shown["first_token_flops"] == at_32k["first_token_flops"] == llama3(1)
    assert shown["last_token_flops"] == llama3(8192)
    assert at_32k["last_token_flops"] == llama3(32768)
    assert {k for k, v in shown.items() if v != at_32k[k]} == {
        "length", "cache_bytes", "prefill_flops", "last_token_flops", "training_bytes", "recomputed_activations",
        "lora_bytes",
    }  # fmt: skip


@pytest.mark.slow
def test_build_tells_what_show_tells() -> None:
    for name in ("llama3", "t5-small", "mixtral-8x7b", "gpt2"):
        assert told("build", name)["size"] == told("show", name)["size"]


def test_the_report_words_the_numbers_of_the_same_function() -> None:
    c = zoo.compare("llama3", "gpt2", length=2048)
    known = [costs(s.size, 2048) for s in c.subjects]
    rows = {row.label: row.values for row in c.rows if not row.is_part}
    for label, name in {
        "parameters": "parameters", "active per token": "active_parameters", "weights": "weight_bytes",
        "cache / token": "cache_bytes_per_token", "cache at 2k": "cache_bytes", "prefill of 2k": "prefill_flops",
        "decode at 2k": "last_token_flops", "LoRA parameters": "lora_parameters", "optimal tokens": "optimal_tokens",
    }.items():  # fmt: skip
        assert list(rows[label]) == [numbers[name] for numbers in known], label
    assert list(rows["train, 1 × 2k"]) == [numbers["training_bytes"]["total"] for numbers in known]
    assert list(rows["LoRA 16, 1 × 2k"]) == [numbers["lora_bytes"]["total"] for numbers in known]


def test_people_are_told_for_which_token_each_number_of_flops_is() -> None:
    line = dict(row.split("\t", 1) for row in CliRunner().invoke(main, ["show", "llama3"]).stdout.splitlines())[
        "Compute"
    ]
    assert line == "15.0 GFLOP for the first token · 19.3 GFLOP for the one at 8,192"
    shown = re.findall(r"decode at 32k\t(\d+)", CliRunner().invoke(main, ["compare", "llama3", "gpt2"]).stdout)
    assert shown == [str(llama3(32768))]  # 32.2 GFLOP


def test_a_model_without_a_limit_is_counted_by_the_token() -> None:
    size = Size.of(zoo.compose("t5-small"))
    known = costs(size, None)
    assert known["length"] is None
    assert known["cache_bytes"] is known["last_token_flops"] is known["training_bytes"] is None
    assert known["source_token_flops"] == size.prefill_flops(1)
    assert costs(size, 100)["cache_bytes"] == size.cache_bytes(100)
