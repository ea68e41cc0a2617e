"""zoo-codegen, a stranger's distribution whose reference keeps constants in float32 whatever is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.distributions import installed_from, prepared, zoo
from tests.verification.parallel import check

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend of plugins is in the dev extra")
    return installed_from(Path(__file__).parent / "zoo-codegen", tmp_path_factory.mktemp("site"))


def test_the_contract_is_kept(site: Path) -> None:
    done = zoo("check-plugin", "zoo-codegen", "--json", site=site)
    assert (done.returncode, json.loads(done.stdout)["fail"]) == (0, 0), done.stdout


def test_its_preset_has_as_many_parameters_as_the_class_of_transformers(site: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    found = json.loads(zoo("list", "--family", "codegen", "--json", site=site).stdout)
    config = transformers.CodeGenConfig(vocab_size=51200, n_embd=1024, n_layer=20, n_head=16, rotary_dim=32)
    with torch.device("meta"):
        theirs = transformers.CodeGenForCausalLM(config)
    assert [row["parameters"] for row in found] == [sum(p.numel() for p in theirs.parameters())]


def test_a_right_port_is_proved_and_each_planted_mistake_named(site: Path) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    done = prepared("from tests.plugin.proofs_of_codegen import main; main()", site=site, timeout=300, reference=True)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout)
    check(told)
    right = told["float64: right"]
    # Of the order of float32's rounding on either side, and two numbers that say the same.
    assert 1e-9 < right["noise"] < 1e-6
    assert right["difference"] == pytest.approx(right["noise"], rel=1e-3)
    (exact,) = [m for m in right["measures"] if m["name"] == "logits, exact"]
    assert exact["max"] < 1e-12
