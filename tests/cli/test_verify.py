"""`zoo verify` and `zoo convert --prove`: what they print, and with which exit code they end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import zoo
from tests.verification.seeded import right, rows_of_pairs
from zoo.cli import main
from zoo.registry import installed


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """A checkpoint, and another whose k rows of layer 1 were not permuted."""
    model = right(installed()["llama"].config_class.tiny())
    zoo.save(model, tmp_path / "right")
    with torch.no_grad():
        rows_of_pairs(model.layers[1].attn.k_proj, model.layers[1].attn.head_dim)
    zoo.save(model, tmp_path / "wrong")
    return str(tmp_path / "right"), str(tmp_path / "wrong")


def test_equal_sources_are_the_same_model() -> None:
    done = run("verify", "tiny", "--against", "tiny")
    assert done.exit_code == 0
    assert "2 bundled texts" in done.stdout
    assert "the same." in done.stdout


def test_different_sources_end_with_exit_code_1_the_place_and_the_reason(pair: tuple[str, str]) -> None:
    done = run("verify", pair[1], "--against", pair[0])
    assert done.exit_code == 1
    assert "first divergence: layers.1.attn.k_proj (|Δ| " in done.stdout
    assert "explained by: q/k permuted in layers.1.attn: " in done.stdout
    assert "files are those that zoo.json lists" in done.stdout


def test_json_says_the_same(pair: tuple[str, str]) -> None:
    done = run("verify", pair[1], "--against", pair[0], "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["passed"] is False
    assert told["first_divergence"]["place"] == "layers.1.attn.k_proj"
    assert [(e["mistake"], e["where"]) for e in told["explanations"]] == [("q/k permuted", ["layers.1.attn"])]
    assert told["layers"]["layers.0"] == 0
    assert told["layers"]["layers.1"] > 0.01


def test_a_file_that_is_not_as_zoo_json_says_is_refused(pair: tuple[str, str]) -> None:
    weights = Path(pair[0]) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(bytes(data))
    done = run("verify", pair[0], "--against", pair[1])
    assert done.exit_code == 1
    assert "sha256 differs" in done.stderr


@pytest.mark.slow
def test_goldens_of_a_family_and_of_a_source() -> None:
    for words in (("verify", "--golden", "llama"), ("verify", "tiny", "--against", "golden")):
        done = run(*words)
        assert done.exit_code == 0
        assert "ok    llama-yarn: |Δ| " in done.stdout
        assert "8 goldens agree, 0 do not." in done.stdout


def test_a_family_without_a_golden_is_named() -> None:
    told = json.loads(run("verify", "--golden", "decoder", "--json").stdout)
    assert told == {"passed": True, "goldens": [], "without_golden": ["decoder"]}


WRONG = (
    "verify", "verify nowhere-at-all", "verify --golden lama", "verify --golden --against x",
    "verify --golden --limit 1",
    "verify tiny --against tiny --dtype int8", "convert tiny", "convert", "convert --prove nowhere-at-all",
)  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_wrong_use_ends_with_exit_code_2(line: str) -> None:
    done = run(*line.split())
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    done = run("verify", "tiny", "--against", "transformers")
    assert done.exit_code == 3
    assert "pip install 'zoo-lm[reference]'" in done.stderr


@pytest.mark.slow
def test_a_family_that_transformers_does_not_know_is_said_to_be_so(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    zoo.save(right(installed()["qwen"].config_class.tiny()), tmp_path / "model")
    done = run("verify", str(tmp_path / "model"))
    assert done.exit_code == 1
    assert "transformers cannot read it: it has no class for this model" in done.stderr


def test_prove_tells_of_each_table(tmp_path: Path) -> None:
    done = run("convert", "--prove", "llama", "gpt2")
    assert done.exit_code == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:5]] == [
        "ok    llama hf", "ok    llama meta", "ok    llama gguf", "ok    gpt2 hf", "ok    gpt2 gguf",
    ]  # fmt: skip
    assert "5 tables proven, 0 failed" in done.stdout


def test_prove_goes_before_a_conversion(tmp_path: Path) -> None:
    done = run("convert", "tiny", str(tmp_path / "out"), "--to", "meta", "--prove", "--dry-run")
    assert done.exit_code == 0
    assert "2 tables proven, 0 failed" in done.stdout
    assert "would write" in done.stdout


def test_a_table_that_is_no_bijection_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.weights import Table

    family = installed()["llama"]
    whole = family.dialect("hf")
    lame = replace(whole, mapping=lambda c: Table(*[r for r in whole.mapping(c).rules if "norm" not in r.ours]))
    monkeypatch.setattr(family.formats["hf"].replace(":", "."), lame)
    done = run("convert", "--prove", "llama")
    assert done.exit_code == 1
    assert "FAIL  llama hf: no rule gives norm.weight" in done.stdout
