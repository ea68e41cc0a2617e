"""zoo-mamba2, a stranger's distribution without attention, installed from its wheel into a process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.distributions import PYTEST, installed_from, prepared, zoo
from zoo.testing import GROUPS

pytestmark = pytest.mark.slow

HOME = Path(__file__).parent / "zoo-mamba2"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend of plugins is in the dev extra")
    return installed_from(HOME, tmp_path_factory.mktemp("site"))


@pytest.mark.long
def test_its_own_tests_pass(site: Path) -> None:
    """The contract, and parity with transformers: see the tests of the distribution."""
    words = f"-q -p no:cacheprovider -p no:hydra_pytest --rootdir {HOME} --confcutdir {HOME} {HOME / 'tests'}".split()
    done = prepared(PYTEST, *words, site=site, timeout=500, reference=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_its_presets_are_listed_and_sized_without_torch(site: Path) -> None:
    found = {row["name"]: row for row in json.loads(zoo("list", "--family", "mamba2", "--json", site=site).stdout)}
    assert set(found) == {f"mamba2-{size}" for size in "tiny 130m 370m 780m 1.3b 2.7b".split()}
    assert found["mamba2-130m"]["parameters"] == 128_989_632
    assert not any(row["problem"] for row in found.values())


def test_show_speaks_of_a_state_and_of_no_cache_per_token(site: Path) -> None:
    shown = zoo("show", "mamba2-130m", site=site).stdout
    assert "per token" not in shown
    assert "KV cache" not in shown
    # 24 layers of 24 heads of 64 x 128 numbers in float32, and 3 x (1536 + 256) inputs of a convolution.
    assert 24 * (24 * 64 * 128 + 3 * 1792) * 4 == 19_390_464
    assert "state 18.49 MiB at any length" in shown


def test_the_contract_is_kept_to_the_letter(site: Path) -> None:
    groups = [group for group in GROUPS if group != "parallel"]  # which its own tests prove, above
    done = zoo("check-plugin", "zoo-mamba2", *(f"--group={group}" for group in groups), "--json", site=site)
    told = json.loads(done.stdout)
    assert (done.returncode, told["fail"]) == (0, 0)
    assert {check["name"] for check in told["checks"] if check["state"] == "skip"} == {
        "padding of the source changes nothing",
        "rotary layers see distances only",
        "an odd ratio of heads decodes as well",
        *(() if torch.cuda.is_available() else ("it computes on a gpu what the cpu computes",)),
    }


FAULTS = {  # file, this, that -> the property that names it, and how
    "padding that fades the state": (
        "model.py", "dt = dt.masked_fill(~rows.is_real[..., None], 0)", "pass",
        "ragged rows go on where they ended", "decoding after a left-padded prompt differs",
    ),
    "a convolution that is one token late": (
        "model.py", "seen[:, seen.shape[1] - kept :] if", "seen[:, seen.shape[1] - kept - 1 : -1] if",
        "decoding one by one equals the whole", "from position 6 on",
    ),
    "a chunk that forgets what it read": (
        "scan.py", "y, state = _chunk(*part, a, state)", "y, _ = _chunk(*part, a, state)",
        "any chunks equal the whole", "from position 5 on",
    ),
    "an arithmetic of a state that is too wide": (
        "config.py", "(self.conv_kernel - 1) * self.conv_size", "self.conv_kernel * self.conv_size",
        "its bytes are those of the arithmetic", "bytes, its anatomy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_names_faults_of_a_state(fault: str, site: Path, tmp_path: Path) -> None:
    file, this, that, name, words = FAULTS[fault]
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    module = copy / "zoo_mamba2" / file
    text = module.read_text(encoding="utf-8")
    assert text.count(this) == 1
    module.write_text(text.replace(this, that), encoding="utf-8")
    done = zoo("check-plugin", "mamba2", "--group", "cache", "--json", site=copy)
    assert done.returncode == 1
    failed = {check["name"]: check["detail"] for check in json.loads(done.stdout)["checks"] if check["state"] == "fail"}
    assert words in failed[name]
