"""zoo-gptj, a stranger's distribution whose reference keeps constants in float32 whatever is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.distributions import installed_from, prepared, zoo
from tests.verification.parallel import check

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend of plugins is in the dev extra")
    return installed_from(Path(__file__).parent / "zoo-gptj", tmp_path_factory.mktemp("site"))


def test_the_contract_is_kept(site: Path) -> None:
    done = zoo("check-plugin", "zoo-gptj", "--json", site=site)
    assert (done.returncode, json.loads(done.stdout)["fail"]) == (0, 0), done.stdout


def test_its_preset_has_the_published_number_of_parameters(site: Path) -> None:
    found = json.loads(zoo("list", "--family", "gptj", "--json", site=site).stdout)
    assert [row["parameters"] for row in found] == [6_050_882_784]  # of the model card


def test_a_right_port_is_proved_and_each_planted_mistake_named(site: Path) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    done = prepared("from tests.plugin.proofs_of_gptj import main; main()", site=site, timeout=300, reference=True)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout)
    check(told)
    right = told["float64: right"]
    # Of the order of float32's rounding on either side, and two numbers that say the same.
    assert 1e-9 < right["noise"] < 1e-6
    assert right["difference"] == pytest.approx(right["noise"], rel=1e-3)
    (exact,) = [m for m in right["measures"] if m["name"] == "logits, exact"]
    assert exact["max"] < 1e-12
