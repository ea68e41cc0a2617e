from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.files import make
from tests.hub.client import Client
from tests.hub.server import Hub, serving
from zoo.errors import UsageError
from zoo.files.checkpoint import open_checkpoint
from zoo.hub.listing import COMPANIONS, choose, companions
from zoo.hub.place import locate

pytestmark = pytest.mark.slow  # talks to a server

REPO = "acme/tiny"
SINGLE = {"model.safetensors": save(make.tensors(), {"format": "pt"})}
BASIC = {
    "config.json": json.dumps(make.CONFIG).encode(),
    "tokenizer.json": b"{}",
    "tokenizer.model": b"\0",
    "chat_template.jinja": b"{{ x }}",
    "README.md": b"read me",
    "modeling_tiny.py": b"raise SystemExit",
}
FILES = BASIC | SINGLE


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


class Calls:
    def __init__(self, client: Client, cache: Path) -> None:
        self.client, self.cache = client, cache

    def locate(self, *args: Any, **options: Any) -> dict[str, Any]:
        return self.client("locate", *args, cache_dir=str(self.cache), **options)

    def dry_run(self, *args: Any, **options: Any) -> dict[str, Any]:
        return self.client("dry_run", *args, cache_dir=str(self.cache), **options)


@pytest.fixture
def client(served: tuple[Hub, Client], hub: Hub, tmp_path: Path) -> Calls:
    return Calls(served[1], tmp_path / "cache")


def test_a_source_of_the_hub_is_fetched_at_its_commit(hub: Hub, client: Calls) -> None:
    commit = hub.publish(REPO, FILES)
    path, found = client.locate(f"hf://{REPO}")["found"]
    assert found == commit
    assert sorted(os.listdir(path)) == sorted(
        ["config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", "model.safetensors"]
    )
    with open_checkpoint(path).open() as tensors:
        assert all(torch.equal(tensors[name], tensor) for name, tensor in make.tensors().items())


def test_a_pinned_and_cached_commit_needs_no_request(hub: Hub, client: Calls) -> None:
    commit = hub.publish(REPO, FILES)
    first = client.locate(f"hf://{REPO}@{commit}")
    hub.requests.clear()
    assert client.locate(f"hf://{REPO}@{commit}") == first
    assert hub.requests == []


def test_a_branch_is_followed_and_a_tag_is_found(hub: Hub, client: Calls) -> None:
    old = hub.publish(REPO, FILES, "v1")
    hub.publish(REPO, FILES)
    assert client.locate(f"hf://{REPO}")["found"][1] == old  # the same files are the same commit here
    new = hub.publish(REPO, FILES | {"tokenizer.json": b"{ }"})
    assert client.locate(f"hf://{REPO}")["found"][1] == new
    assert client.locate(f"hf://{REPO}@v1")["found"][1] == old
    assert client.locate(f"hf://{REPO}", revision="v1")["found"][1] == old


def test_a_bare_name_never_connects(hub: Hub, client: Calls) -> None:
    hub.publish("acme/other", FILES)
    client.locate("hf://acme/other")
    hub.publish(REPO, FILES)
    hub.requests.clear()
    answer = client.locate(REPO)
    assert (answer["error"], answer["exit_code"]) == ("NetworkError", 3)
    assert answer["text"].split("\n") == [
        "acme/tiny is not in the cache",
        "In the box: tiny. Cached: acme/other.",
        "To fetch: hf://acme/tiny, or elsewhere: hf download acme/tiny --local-dir X, then zoo inspect X",
    ]
    assert client.locate(f"hf://{REPO}", local_files_only=True)["error"] == "NetworkError"
    assert hub.requests == []


def test_a_bare_name_is_found_in_the_cache(hub: Hub, client: Calls) -> None:
    hub.publish(REPO, FILES)
    fetched = client.locate(f"hf://{REPO}")
    hub.requests.clear()
    assert client.locate(REPO) == fetched
    assert client.locate(f"{REPO}@main") == fetched
    assert client.locate(f"{REPO}@v9")["error"] == "NetworkError"
    assert hub.requests == []


def test_a_bare_name_is_fetched_where_the_caller_says_so(hub: Hub, client: Calls) -> None:
    commit = hub.publish(REPO, FILES)
    assert client.locate(REPO, allow_network=True)["found"][1] == commit


def test_shards_are_fetched_by_the_index_and_other_weights_are_left_alone(hub: Hub, client: Calls) -> None:
    index = {"weight_map": {"a": "model-a.safetensors", "b": "model[b].safetensors"}}
    files = BASIC | {
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-a.safetensors": save({"a": torch.ones(2)}),
        "model[b].safetensors": save({"b": torch.ones(2)}),
        "consolidated.safetensors": b"x" * 100,
        "pytorch_model.bin": b"x" * 100,
        "original/consolidated.00.pth": b"x" * 100,
        "onnx/model.safetensors": b"x" * 100,
        "onnx/config.json": b"{}",
    }
    hub.publish(REPO, files)
    path = Path(client.locate(f"hf://{REPO}")["found"][0])
    names = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    weights = {"model.safetensors.index.json", "model-a.safetensors", "model[b].safetensors"}
    assert names == weights | (set(BASIC) - {"README.md", "modeling_tiny.py"})
    assert set(open_checkpoint(path).tensors) == {"a", "b"}


def test_a_folder_and_a_file_of_a_repository_may_be_named(hub: Hub, client: Calls) -> None:
    commit = hub.publish(REPO, {f"sub/{name}": data for name, data in FILES.items()} | {"q/x.gguf": b"GGUF"})
    path, found = client.locate(f"hf://{REPO}/sub")["found"]
    assert (Path(path).name, found) == ("sub", commit)
    assert len(open_checkpoint(path).tensors) == len(make.tensors())
    path, _ = client.locate(f"hf://{REPO}/q/x.gguf")["found"]
    assert Path(path).read_bytes() == b"GGUF"
    assert "is not in the repository" in client.locate(f"hf://{REPO}/nowhere")["text"]


def test_pickles_are_fetched_only_with_consent(hub: Hub, client: Calls) -> None:
    hub.publish(REPO, BASIC | {"pytorch_model.bin": b"PK"})
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] == "CheckpointError"
    assert "it has pytorch_model.bin" in answer["text"]
    assert "--allow-pickle" in answer["text"]
    assert not any("pytorch_model.bin" in request for request in hub.requests)
    path, _ = client.locate(f"hf://{REPO}", allow_pickle=True)["found"]
    assert (Path(path) / "pytorch_model.bin").is_file()


def test_a_repository_of_gguf_files_asks_for_one(hub: Hub, client: Calls) -> None:
    hub.publish(REPO, {"a.Q4_0.gguf": b"GGUF", "b.Q8_0.gguf": b"GGUF", "README.md": b""})
    assert f"name the one that you want: hf://{REPO}/a.Q4_0.gguf" in client.locate(f"hf://{REPO}")["text"]


def test_a_dry_run_tells_names_and_sizes_and_fetches_nothing(hub: Hub, client: Calls) -> None:
    hub.publish(REPO, FILES)
    files = {f["name"]: f for f in client.dry_run(f"hf://{REPO}")["found"]}
    assert files["model.safetensors"]["nbytes"] == len(SINGLE["model.safetensors"])
    assert set(files) == set(FILES) - {"README.md", "modeling_tiny.py"}
    assert not any(f["is_cached"] for f in files.values())
    assert not any("GET" in r and "/resolve/" in r for r in hub.requests)
    client.locate(f"hf://{REPO}")
    assert all(f["is_cached"] for f in client.dry_run(f"hf://{REPO}")["found"])


def test_content_other_than_announced_is_refused(hub: Hub, client: Calls) -> None:
    hub.publish(REPO, FILES)
    hub.spoilt.add("model.safetensors")
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] == "CheckpointError"
    assert "sha256 differs" in answer["text"]


@pytest.mark.parametrize(
    ("prepare", "source", "error", "message"),
    [
        ("", "hf://acme/nothing", "Absent", "acme/nothing is not on the hub, or is private"),
        ("", f"hf://{REPO}@v9", "NetworkError", "acme/tiny has no revision 'v9'"),
        ("gated", f"hf://{REPO}", "NetworkError", "accept the licence at https://huggingface.co/acme/tiny"),
        ("502", f"hf://{REPO}", "Trouble", "the hub answered 502"),
        ("", "hf://datasets/acme/tiny", "UsageError", "is a dataset, not a model"),
        ("", "hf://gpt2", "UsageError", "is not an address on the hub"),
        ("", f"hf://{REPO}@", "UsageError", "is not an address on the hub"),
    ],
)
def test_what_the_hub_refuses_is_told_in_our_words(
    hub: Hub, client: Calls, prepare: str, source: str, error: str, message: str
) -> None:
    hub.publish(REPO, FILES)
    if prepare == "gated":
        hub.gated.add(REPO)
    hub.fail += [502] * 9 if prepare == "502" else []
    answer = client.locate(source)
    assert (answer["error"], answer["exit_code"]) == (error, 2 if error == "UsageError" else 3)
    assert message in answer["text"]


def test_one_failure_of_the_hub_is_forgiven(hub: Hub, client: Calls) -> None:
    commit = hub.publish(REPO, FILES)
    hub.fail += [500, 503]
    assert client.locate(f"hf://{REPO}")["found"][1] == commit


def test_a_hub_in_trouble_is_replaced_by_the_cache_and_that_is_told(hub: Hub, client: Calls) -> None:
    commit = hub.publish(REPO, FILES)
    client.locate(f"hf://{REPO}")
    hub.fail += [503] * 9
    answer = client.locate(f"hf://{REPO}")
    assert answer["found"][1] == commit
    assert len(answer["told"]) == 1
    assert f"the cached commit {commit}; there may be a newer one" in answer["told"][0]


def test_without_a_network_the_cache_is_used_and_that_is_told(hub: Hub, client: Calls, tmp_path: Path) -> None:
    commit = hub.publish(REPO, FILES)
    fetched = client.locate(f"hf://{REPO}")["found"]
    alone = Client("http://127.0.0.1:9", tmp_path)  # the discard port: nobody listens
    try:
        calls = Calls(alone, client.cache)
        answer = calls.locate(f"hf://{REPO}")
        assert answer["found"] == fetched
        assert "there may be a newer one" in answer["told"][0]
        pinned = calls.locate(f"hf://{REPO}@{commit}")
        assert pinned["found"] == fetched
        assert pinned["told"] == []
        missing = calls.locate("hf://acme/nothing")
        assert missing["error"] == "Unreachable"
        assert "offline, and acme/nothing is not in the cache" in missing["text"]
        assert "Cached: acme/tiny." in missing["text"]
    finally:
        alone.close()


def test_a_download_that_broke_off_is_not_taken_for_a_checkpoint(hub: Hub, client: Calls) -> None:
    commit = hub.publish(REPO, FILES)
    hub.down.add("model.safetensors")
    for source in (f"hf://{REPO}", f"hf://{REPO}@{commit}"):
        answer = client.locate(source)
        assert answer["error"] == "Trouble"
        assert "acme/tiny: model.safetensors: the hub answered 501" in answer["text"]
        assert "acme/tiny is not in the cache" in answer["text"]
    hub.down.clear()
    assert client.locate(f"hf://{REPO}")["found"][1] == commit


def test_a_revision_named_twice_must_be_the_same(hub: Hub, client: Calls) -> None:
    hub.publish(REPO, FILES)
    assert client.locate(f"hf://{REPO}@v1", revision="v2")["error"] == "UsageError"


def test_a_local_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate(tmp_path)[:2] == (tmp_path, None)
    assert locate(str(tmp_path / "nothing"))[:2] == (tmp_path / "nothing", None)
    with pytest.raises(UsageError, match="not a repository on the hub"):
        locate(tmp_path, revision="v1")


def test_every_file_of_a_tokenizer_goes_along() -> None:
    kinds = {
        "source.spm",
        "target.spm",
        "tokenizer.model",
        "qwen.tiktoken",
        "ice_text.model",
        "vocab.txt",
        "merges.txt",
    }
    assert companions([*kinds, "notes.txt"], "") == kinds
    assert kinds < {*COMPANIONS}


def test_companions_come_from_the_weights_own_folder() -> None:
    names = ["a/config.json", "a/model.safetensors", "config.json", "vocab.txt", "a/b/config.json", "LICENSE.txt"]
    chosen = choose("x", names, "a", allow_pickle=False, read=Path)
    assert chosen == {"a/config.json", "a/model.safetensors"}
    assert choose("x", names, "a/model.safetensors", allow_pickle=False, read=Path) == chosen
