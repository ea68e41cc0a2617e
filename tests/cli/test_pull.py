"""`zoo pull` with the real client against a hub on the loopback: what it fetches, pins, checks, refuses and says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import zoo
from tests.hub.client import Client
from tests.hub.server import Hub, serving
from zoo.cli import main
from zoo.files.manifest import listed_files, verify_folder

TINY = Path(zoo.__file__).parent / "box" / "tiny"
FILES = {name: (TINY / name).read_bytes() for name in ("config.json", "tokenizer.json", "model.safetensors")}
CARD = {"README.md": b"---\nlicense: apache-2.0\n---\n# A model\n", "LICENSE": b"Apache"}
OTHER = {"pytorch_model.bin": b"PK", "modeling.py": b"raise SystemExit", "onnx/model.onnx": b"x"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Client]]:
    with serving() as hub:
        client = Client(hub.url, tmp_path_factory.mktemp("home"))
        yield hub, client
        client.close()


@pytest.fixture
def hub(served: tuple[Hub, Client]) -> Hub:
    served[0].clear()
    return served[0]


@pytest.fixture
def client(served: tuple[Hub, Client], hub: Hub) -> Client:
    return served[1]


@pytest.mark.slow
def test_a_dry_run_says_what_would_come_and_fetches_nothing(hub: Hub, client: Client) -> None:
    commit = hub.publish("acme/dry", FILES | CARD | OTHER)
    done = client.zoo("pull", "acme/dry", "--dry-run")
    assert done.exit_code == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["file", "bytes", "cached"]
    assert {row[0]: int(row[1]) for row in rows[1:]} == {name: len(data) for name, data in (FILES | CARD).items()}
    assert f"hf://acme/dry @ {commit[:8]} · 5 files, " in done.stderr
    assert "0 cached" in done.stderr
    assert not any("/resolve/" in request for request in hub.requests)


@pytest.mark.slow
def test_only_what_is_needed_comes_at_one_commit(hub: Hub, client: Client) -> None:
    commit = hub.publish("acme/plain", FILES | CARD | OTHER, "v1")
    done = client.zoo("pull", "acme/plain@v1", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["repo"], told["revision"], told["commit"]) == ("acme/plain", "v1", commit)
    assert told["bytes"] == told["missing_bytes"] == sum(map(len, (FILES | CARD).values()))
    folder = Path(told["folder"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES | CARD
    assert "fetching" in done.stderr  # the size, before anything came
    again = client.zoo("pull", "acme/plain@v1")
    assert f"hf://acme/plain @ {commit[:8]} (v1) · 5 files" in again.stdout
    assert "5 cached" in again.stdout
    assert "fetching" not in again.stderr


@pytest.mark.slow
def test_a_copy_lists_its_files_and_says_where_they_come_from(hub: Hub, client: Client, tmp_path: Path) -> None:
    commit = hub.publish("acme/copied", FILES | CARD)
    target = tmp_path / "copy"
    done = client.zoo("pull", "hf://acme/copied", "--to", str(target))
    assert done.exit_code == 0, done.stderr
    assert set(listed_files(target)) == set(FILES | CARD)
    assert verify_folder(target) == 5
    told = json.loads((target / "zoo.json").read_text())["provenance"]
    home = {"source": "hf://acme/copied", "repo": "acme/copied", "revision": None, "commit": commit}
    assert told == home | {"license": "apache-2.0"}
    assert zoo.inspect(target).family.name == "llama"
    refused = client.zoo("pull", "hf://acme/copied", "--to", str(target))
    assert (refused.exit_code, "exists already" in refused.stderr) == (1, True)
    assert client.zoo("pull", "hf://acme/copied", "--to", str(target), "--force").exit_code == 0


def test_a_module_of_sentence_transformers_stays_in_its_own_folder(hub: Hub, client: Client, tmp_path: Path) -> None:
    modules = {"modules.json": b"[]", "1_Pooling/config.json": b"{}", "2_Dense/config.json": b'{"bias": true}'}
    target = tmp_path / "copy"
    for path in ("", "inner/"):
        hub.publish("acme/sentences", CARD | {f"{path}{name}": data for name, data in (FILES | modules).items()})
        source = "hf://acme/sentences" + (f"/{path}" if path else "")
        done = client.zoo("pull", source.removesuffix("/"), "--to", str(target), "--force")
        assert done.exit_code == 0, done.stderr
        for name, data in (FILES | modules).items():
            assert (target / name).read_bytes() == data
        assert verify_folder(target) == len(FILES | modules | CARD)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_announced_are_refused(hub: Hub, client: Client, tmp_path: Path, name: str) -> None:
    repo = f"acme/spoilt-{name.partition('.')[0]}"
    hub.publish(repo, FILES)
    hub.spoilt.add(name)
    done = client.zoo("pull", repo, "--to", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "is not the file that the hub named" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_at_odds_with_the_repositorys_own_zoo_json_is_refused(hub: Hub, client: Client) -> None:
    listed = {"zoo": "0.1.0", "files": {"config.json": {"sha256": "0" * 64, "size": len(FILES["config.json"])}}}
    hub.publish("acme/odd", FILES | {"zoo.json": json.dumps(listed).encode()})
    done = client.zoo("pull", "acme/odd")
    assert (done.exit_code, "is not the file that zoo.json describes" in done.stderr) == (1, True)


def test_what_cannot_be_had_ends_with_3_and_a_way_on(hub: Hub, client: Client) -> None:
    hub.publish("acme/there", FILES, "main")
    hub.publish("acme/there", FILES, "release-1")
    hub.publish("acme/gated", FILES)
    hub.gated.add("acme/gated")
    for source, *told in (
        ("acme/nothing", "acme/nothing is not on the hub, or is private", "hf auth login"),
        ("acme/there@release-2", "has no revision 'release-2'", "did you mean: release-1?"),
        ("acme/gated", "is gated", "accept the licence at https://huggingface.co/acme/gated"),
    ):
        done = client.zoo("pull", source)
        assert done.exit_code == 3, source
        assert all(words in done.stderr for words in told), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_is_here_already_or_no_name_is_wrong_use(hub: Hub, client: Client, tmp_path: Path) -> None:
    for source, told in ((str(tmp_path), "is already on this machine"), ("tiny", "is already on this machine"),
                         ("lama3", "did you mean"), ("hf://datasets/acme/x", "is a dataset")):  # fmt: skip
        done = client.zoo("pull", source)
        assert done.exit_code == 2, source
        assert told in done.stderr
    assert hub.requests == []


@pytest.mark.slow
def test_a_preset_and_a_file_of_a_repository_may_be_named(hub: Hub, client: Client) -> None:
    hub.publish(zoo.compose("gpt2").hub, FILES | {"q/x.gguf": b"GGUF", "q/LICENSE": b"MIT"})
    preset = client.zoo("pull", "gpt2", "--dry-run", "--json")
    assert preset.exit_code == 0, preset.stderr
    told = json.loads(preset.stdout)
    assert (told["repo"], told["folder"], len(told["files"])) == (zoo.compose("gpt2").hub, None, 3)
    file = json.loads(client.zoo("pull", f"hf://{told['repo']}/q/x.gguf", "--json").stdout)
    assert {path.name for path in Path(file["folder"]).iterdir()} == {"x.gguf", "LICENSE"}


@pytest.mark.slow
def test_pickles_are_fetched_only_with_consent(hub: Hub, client: Client) -> None:
    hub.publish("acme/pickled", {"config.json": FILES["config.json"], "pytorch_model.bin": b"PK"})
    refused = client.zoo("pull", "acme/pickled")
    assert (refused.exit_code, "--allow-pickle" in refused.stderr) == (1, True)
    assert client.zoo("pull", "acme/pickled", "--allow-pickle").exit_code == 0


@pytest.mark.slow
def test_offline_the_cache_serves_with_one_note_and_what_it_lacks_is_told(hub: Hub, client: Client) -> None:
    commit = hub.publish("acme/cached", FILES)
    assert client.zoo("pull", "acme/cached").exit_code == 0
    hub.publish("acme/cached", FILES | CARD)  # which nobody hears of
    hub.fail += [503] * 40
    done = client.zoo("pull", "acme/cached")
    assert done.exit_code == 0, done.stderr
    assert f"@ {commit[:8]}" in done.stdout
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "there may be a newer one" in notes[0]
    assert "Warning" not in done.stderr
    missing = client.zoo("pull", "acme/nothing")
    assert missing.exit_code == 3
    assert "acme/nothing: the hub answered 503\nacme/nothing is not in the cache. In the box: tiny." in missing.stderr
    assert "offline" not in missing.stderr
    hub.fail.clear()
    inspected = client.zoo("inspect", "acme/cached")  # what was pulled is found by its bare name
    assert inspected.exit_code == 0, inspected.stderr
    assert f"acme/cached @ {commit[:8]}" in inspected.stdout


@pytest.mark.slow
def test_where_the_environment_forbids_the_network_that_is_said() -> None:
    done = CliRunner().invoke(main, ["pull", "acme/nothing"])  # tests run with HF_HUB_OFFLINE=1
    assert done.exit_code == 3
    assert (
        "offline, and acme/nothing is not in the cache\nacme/nothing: the hub cannot be reached: HF_HUB_OFFLINE is set"
        in (done.stderr)
    )
