"""`zoo push` with the real client against a hub on the loopback: what it sends, and what it refuses to send."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import zoo
from tests.embedding.folders import sentence_folder
from tests.hub.client import Client
from tests.hub.server import Hub, serving
from tests.some import one_in
from zoo.checkpoint.pushing import push
from zoo.errors import CheckpointError
from zoo.files.manifest import listed_files, manifest_text
from zoo.files.regular import sha256_of, size_of
from zoo.files.safetensors_writer import Digest
from zoo.hub.card import Facts, card_text, license_in, metadata_in

TINY = Path(zoo.__file__).parent / "box" / "tiny"


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model in the box, converted from a copy of it that has no card."""
    source = tmp_path / "source"
    shutil.copytree(TINY, source, ignore=shutil.ignore_patterns("README.md"))
    zoo.convert(source, tmp_path / "model", format="hf")
    return tmp_path / "model"


def there(hub: Hub, repo: str, branch: str = "main") -> dict[str, bytes]:
    """The files at the head of a branch."""
    return hub.files[hub.repos[repo][branch]]


@pytest.mark.slow
def test_a_folder_is_published_in_one_commit_and_comes_back_the_same(hub: Hub, client: Client, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    done = client.zoo("push", str(folder), "acme/model", "--private", "--message", "First weights")
    assert done.exit_code == 0, done.stderr
    assert "left out: notes.txt" in done.stderr
    assert "card: generated, licence not stated" in done.stderr
    assert sum("/commit/" in request for request in hub.requests) == 1
    assert hub.messages == {hub.repos["acme/model"]["main"]: "First weights"}
    assert f"hf://acme/model@{hub.repos['acme/model']['main']}" in done.stdout
    assert hub.private == {"acme/model"}
    files = there(hub, "acme/model")
    ours = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}
    assert set(files) == ours | {"zoo.json", "README.md", ".gitattributes"}
    assert all(files[name] == (folder / name).read_bytes() for name in ours)
    manifest = json.loads(files["zoo.json"])
    assert set(manifest["files"]) == ours  # the card may be edited
    assert manifest["provenance"]["source"] == "source"  # not the folder of this machine
    back = client.zoo("pull", "acme/model")
    assert back.exit_code == 0, back.stderr


@pytest.mark.slow
def test_modules_of_sentence_transformers_are_published_too(hub: Hub, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    zoo.convert(sentence_folder(tmp_path / "source", "mean", dense={}), folder, format="hf")
    done = client.zoo("push", str(folder), "acme/sentences")
    assert done.exit_code == 0, done.stderr
    assert "left out" not in done.stderr
    files = there(hub, "acme/sentences")
    inner = ("1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "modules.json")
    assert all(files[name] == (folder / name).read_bytes() for name in inner)
    assert set(inner) <= set(json.loads(files["zoo.json"])["files"])
    (folder / "1_Pooling" / "config.json").rename(tmp_path / "config.json")
    (folder / "1_Pooling" / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="is a link"):
        push(folder, "acme/other", dry_run=True)
    (folder / "1_Pooling" / "config.json").unlink()
    (folder / "1_Pooling").rmdir()
    (folder / "1_Pooling").symlink_to(tmp_path / "source" / "1_Pooling")
    with pytest.raises(CheckpointError, match="is a link"):
        push(folder, "acme/other", dry_run=True)


def test_a_dry_run_checks_and_connects_to_nothing(hub: Hub, client: Client, folder: Path) -> None:
    done = client.zoo("push", str(folder), "acme/model", "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    sizes = {file["name"]: file["bytes"] for file in told["files"]}
    assert sizes["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    assert (told["commit"], told["has_new_card"], told["revision"]) == (None, True, "main")
    assert hub.requests == []


@pytest.mark.slow
def test_a_branch_is_made_and_main_stays(hub: Hub, client: Client, folder: Path) -> None:
    first = client.zoo("push", str(folder), "acme/model")
    main = hub.repos["acme/model"]["main"]
    zoo.convert(folder, folder.parent / "half", format="hf", dtype="float16")
    second = client.zoo("push", str(folder.parent / "half"), "acme/model", "--revision", "half")
    assert (first.exit_code, second.exit_code) == (0, 0), second.stderr
    assert hub.repos["acme/model"]["main"] == main != hub.repos["acme/model"]["half"]
    wrong = client.zoo("push", str(folder), "acme/model@v1", "--revision", "v2")
    assert wrong.exit_code == 2


@pytest.mark.slow
def test_shards_of_an_earlier_push_go_with_the_next(hub: Hub, client: Client, folder: Path) -> None:
    zoo.convert(folder, folder.parent / "cut", format="hf", max_shard_size=1_000_000)
    assert client.zoo("push", str(folder.parent / "cut"), "acme/model").exit_code == 0
    assert "model.safetensors.index.json" in there(hub, "acme/model")
    done = client.zoo("push", str(folder), "acme/model")
    assert "removed there: model-00001-of-00003.safetensors" in done.stderr
    assert [name for name in there(hub, "acme/model") if "model" in name] == ["model.safetensors"]
    assert len(hub.messages) == 2


@pytest.mark.slow
def test_weights_that_zoo_did_not_publish_are_never_joined(hub: Hub, client: Client, folder: Path) -> None:
    before = hub.publish("acme/foreign", {"config.json": b"{}", "pytorch_model.bin": b"PK"})
    done = client.zoo("push", str(folder), "acme/foreign")
    assert (done.exit_code, "contains weights that zoo did not publish: pytorch_model.bin" in done.stderr) == (1, True)
    assert hub.repos["acme/foreign"] == {"main": before}


@pytest.mark.slow
def test_private_is_not_asked_in_vain(hub: Hub, client: Client, folder: Path) -> None:
    hub.publish("acme/open", {"README.md": b"here"})
    done = client.zoo("push", str(folder), "acme/open", "--private")
    assert (done.exit_code, "everybody can see it" in done.stderr) == (1, True)
    done = client.zoo("push", str(folder), "acme/open")
    assert done.exit_code == 0, done.stderr
    assert there(hub, "acme/open")["README.md"] == b"here"  # a card is made only where there is none
    assert "card: " not in done.stderr


@pytest.mark.slow
def test_a_name_without_an_owner_is_ones_own(hub: Hub, client: Client, folder: Path) -> None:
    done = client.zoo("push", str(folder), "mine@v1", "--json")
    assert done.exit_code == 0, done.stderr
    assert (json.loads(done.stdout)["repo"], json.loads(done.stdout)["revision"]) == ("acme/mine", "v1")
    assert set(hub.repos["acme/mine"]) == {"main", "v1"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a/b/c", "a b/c", "hf://datasets/a/b", ""])
def test_what_is_no_name_of_a_repository_is_wrong_use(client: Client, folder: Path, name: str) -> None:
    assert client.zoo("push", str(folder), name).exit_code == 2


@pytest.mark.slow
def test_a_wrong_folder_is_never_sent(hub: Hub, client: Client, folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("zoo.json"))
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    weights = changed / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    (pickled / "optimizer.pt").write_bytes(b"PK")
    wrong = tmp_path / "wrong"
    shutil.copytree(folder, wrong)
    config = json.loads((wrong / "config.json").read_text()) | {"num_hidden_layers": 4}
    (wrong / "config.json").write_text(json.dumps(config))
    digest = Digest(sha256_of(wrong / "config.json"), size_of(wrong / "config.json"))
    listed = listed_files(wrong) | {"config.json": digest}
    (wrong / "zoo.json").write_text(manifest_text(listed, {}))
    for path, code, told in (
        (bare, 1, "has no zoo.json"),
        (changed, 1, "is not the file that zoo.json describes"),
        (pickled, 1, "optimizer.pt: is a pickle"),
        (wrong, 1, "do not match the llama model"),
        (tmp_path / "nowhere", 2, "is not a folder"),
    ):
        done = client.zoo("push", str(path), "acme/model")
        assert (done.exit_code, told in done.stderr) == (code, True), done.stderr
    assert hub.requests == []
    allowed = client.zoo("push", str(pickled), "acme/model", "--allow-pickle")
    assert "left out: optimizer.pt" in allowed.stderr  # which is no part of the checkpoint


def test_who_may_not_write_is_told_how_to(hub: Hub, client: Client, folder: Path) -> None:
    nobody = client.zoo("push", str(folder), "acme/model", token=None)
    assert (nobody.exit_code, "the hub does not know who you are\nhf auth login" in nobody.stderr) == (3, True)
    other = client.zoo("push", str(folder), "acme/model", token="hf_somebody")
    assert (other.exit_code, "your token may not write to acme/model" in other.stderr) == (3, True)
    assert "hf_somebody" not in other.stderr
    assert hub.repos == {}


@pytest.mark.slow
def test_what_the_hub_changes_or_refuses_is_told(hub: Hub, client: Client, folder: Path) -> None:
    hub.publish("acme/busy", {"README.md": b"here"})
    hub.moves.append(("acme/busy", {"README.md": b"there"}))
    busy = client.zoo("push", str(folder), "acme/busy")
    assert (busy.exit_code, "acme/busy has changed in the meantime" in busy.stderr) == (3, True)
    assert client.zoo("push", str(folder), "acme/busy").exit_code == 0
    hub.clear()
    hub.spoils_uploads = True
    spoilt = client.zoo("push", str(folder), "acme/model")
    assert (spoilt.exit_code, "model.safetensors: is not what was sent" in spoilt.stderr) == (1, True)
    (folder / "README.md").write_text("---\nlicense: nonsense\n---\n")
    card = client.zoo("push", str(folder), "acme/other")
    assert (card.exit_code, "no such licence" in card.stderr) == (1, True)


@pytest.mark.slow
def test_a_card_tells_what_is_known_and_where_it_comes_from(hub: Hub, client: Client, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in TINY.iterdir()}
    commit = hub.publish("acme/base", files)
    pulled = client.zoo("pull", "acme/base@main", "--to", str(tmp_path / "base"))
    assert pulled.exit_code == 0, pulled.stderr
    zoo.convert(tmp_path / "base", tmp_path / "out", format="hf")
    pushed = client.zoo("push", str(tmp_path / "out"), "acme/derived")
    assert pushed.exit_code == 0, pushed.stderr
    told = json.loads((tmp_path / "out" / "zoo.json").read_text())["provenance"]
    home = {"repo": "acme/base", "revision": "main", "commit": commit, "license": "apache-2.0"}
    assert told.items() >= {"source": str(tmp_path / "base"), **home}.items()
    (tmp_path / "README.md").write_bytes(there(hub, "acme/derived")["README.md"])
    assert metadata_in(tmp_path / "README.md") == {
        "library_name": "zoo", "license": "apache-2.0", "base_model": "acme/base", "tags": ["llama"],
    }  # fmt: skip
    card = (tmp_path / "README.md").read_text()
    assert "| Parameters | 1,062,272 |" in card
    assert f"acme/base at commit {commit}" in card
    assert 'zoo.from_pretrained("acme/derived")' in card


def test_a_licence_that_the_hub_does_not_know_is_named_as_another(tmp_path: Path) -> None:
    facts = Facts("acme/x", "llama", "", "hf", 1, 2, "float32", license="LLaMA, non-commercial")
    (tmp_path / "README.md").write_text(card_text(facts))
    found = metadata_in(tmp_path / "README.md")
    assert (found["license"], found["license_name"]) == ("other", "llama-non-commercial")
    assert license_in(tmp_path / "README.md") == "llama-non-commercial"


@pytest.mark.parametrize(
    "text", ["", "no head", "---\na: &x [1]\nb: *x\n---\n", "---\n: : :\n---\n", "---\n- 1\n---\n"]
)
def test_a_card_whose_head_cannot_be_read_names_no_licence(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert license_in(tmp_path / "README.md") == ""
    assert yaml.safe_load(card_text(Facts("a/b", "f", "s", "hf", 1, 1, "x")).split("---")[1])["tags"] == ["f"]


LINKED = ["LICENSE", "README.md", "vocab.json", "config.json", "model.safetensors", "zoo.json", "NOTICE.txt"]


@pytest.mark.parametrize("name", one_in(4, LINKED))
@pytest.mark.parametrize("how", ["away", "beside", "nowhere", "folder"])
def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str, how: str) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "model"))
    file, secret = folder / name, folder.parent / "secret"
    before = file.read_bytes() if file.exists() else b"private"
    if how == "folder":
        secret.mkdir()
    elif how == "away":
        secret.write_bytes(before)
    elif how == "beside":
        secret = folder / "other"
        secret.write_bytes(before)
    file.unlink(missing_ok=True)
    file.symlink_to(secret)
    with pytest.raises(CheckpointError) as error:
        push(folder, "acme/model", dry_run=True)
    assert f"{name} is a link, not a file of the folder" in str(error.value)


@pytest.mark.slow
def test_links_that_are_no_part_of_the_checkpoint_are_left_out(folder: Path) -> None:
    (folder / "logs").symlink_to(folder.parent)
    (folder / "notes.txt").symlink_to(folder.parent / "nothing")
    os.mkfifo(folder / "LICENSE")
    found = push(folder, "acme/model", dry_run=True)
    assert found.left_out == ("LICENSE", "logs", "notes.txt")
    (folder.parent / "latest").symlink_to(folder)  # the folder itself may be named by a link
    assert push(folder.parent / "latest", "acme/model", dry_run=True).files == found.files
