"""What we send to the hub: files in one commit, on top of what was looked at, read back afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import CheckpointError, NetworkError, ZooError, clean
from zoo.files.regular import sha256_of, size_of
from zoo.hub.client import HubClient
from zoo.hub.listing import HubFile
from zoo.hub.repository import git_oid

Content = Path | bytes
LOGIN = "hf auth login, or set HF_TOKEN to a token that may write"


def full_name(name: str, token: str | bool | None) -> str:
    """`name` with the user's own name before it, where it has no owner. Raises NetworkError for nobody."""
    if "/" in name:
        return name
    from huggingface_hub import HfApi

    client = HubClient(name, token)
    with client.errors(None), refusals(client):
        return f"{HfApi(token=token).whoami()['name']}/{name}"


def commit_files(
    client: HubClient,
    files: Mapping[str, Content],
    *,
    branch: str,
    message: str,
    delete: Sequence[str] = (),
    parent: str | None = None,
    private: bool = False,
) -> str:
    """Send `files` and remove `delete` in one commit, and return it; repository and branch are made if need be.

    `parent` is the commit that the branch must still be at. Raises NetworkError where the hub refuses, CheckpointError
    where it has other bytes afterwards than were sent.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=client.token)
    operations = [
        CommitOperationAdd(name, str(content) if isinstance(content, Path) else content)
        for name, content in files.items()
    ]
    operations += [CommitOperationDelete(name, is_folder=False) for name in delete]
    with client.errors(branch), refusals(client):
        api.create_repo(client.name, exist_ok=True, private=private or None)
        if branch != "main":
            api.create_branch(client.name, branch=branch, exist_ok=True)
        done = api.create_commit(client.name, operations, commit_message=message, revision=branch, parent_commit=parent)
    commit = client.checked_commit(done.oid)
    check_published(client, commit, files)
    return commit


def check_published(client: HubClient, commit: str, files: Mapping[str, Content]) -> None:
    """Hold what the hub lists at `commit` against what was sent."""
    there = {file.name: file for file in client.files(commit)}
    for name, content in files.items():
        found = there.get(name)
        if found is None or not _is_same(found, content):
            hint = "push it again; if that does not help, tell the support of the hub"
            what = "is not there" if found is None else "is not what was sent: its hash differs"
            raise CheckpointError(f"{client.name}@{commit[:8]}", name, what, hint=hint)


def _is_same(found: HubFile, content: Content) -> bool:
    nbytes = size_of(content) if isinstance(content, Path) else len(content)
    if found.nbytes != nbytes:
        return False
    if found.sha256:
        sha256 = sha256_of(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
        return found.sha256 == sha256
    return not found.oid or found.oid == git_oid(content.read_bytes() if isinstance(content, Path) else content)


@contextmanager
def refusals(client: HubClient) -> Iterator[None]:
    """Tell what the hub answers to those who may not write, or to what it will not take."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise NetworkError("the hub does not know who you are", hint=LOGIN) from error
    except HfHubHTTPError as error:
        match error.response.status_code:
            case 401:
                raise NetworkError("the hub does not know who you are", hint=LOGIN) from error
            case 403:
                raise NetworkError(f"your token may not write to {client.name}", hint=LOGIN) from error
            case 409 | 412:
                what = f"{client.name} has changed in the meantime"
                raise NetworkError(what, hint="run it again: it then uses the new state") from error
        raise
    except ValueError as error:
        if isinstance(error, ZooError | OSError):
            raise
        raise ZooError(f"{client.name}: the hub refused it", why=clean(error, 300)) from error
