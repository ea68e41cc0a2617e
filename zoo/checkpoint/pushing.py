"""A folder that zoo wrote published on the hub: checked first, sent in one commit, read back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.provenance import license_of, recorded
from zoo.checkpoint.publishable import PICKLES, check_folder
from zoo.errors import UsageError, ZooError, clean, some
from zoo.files.manifest import MANIFEST, listed_files, manifest_text
from zoo.files.regular import sha256_of, size_of
from zoo.files.safetensors_writer import Digest
from zoo.hub.card import CARD, Facts, card_text
from zoo.hub.client import HubClient, parse_uri
from zoo.hub.listing import COMPANIONS, is_text

WEIGHTS = (*PICKLES, ".safetensors", ".gguf", ".index.json")
Contents = dict[str, Path | bytes]


@dataclass(frozen=True)
class Push:
    """What is published, and as which commit."""

    folder: Path
    repo: str
    revision: str  # the branch
    files: tuple[tuple[str, int], ...]  # names and bytes
    left_out: tuple[str, ...]  # what lies in the folder and is no part of the checkpoint
    has_new_card: bool  # there was no README.md
    license: str = ""
    deleted: tuple[str, ...] = ()  # what zoo published before under names that are gone
    commit: str | None = None  # None: nothing was sent

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(nbytes for _, nbytes in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Everything above as JSON values."""
        return {
            "folder": str(self.folder),
            "repo": self.repo,
            "revision": self.revision,
            "commit": self.commit,
            "files": [{"name": name, "bytes": nbytes} for name, nbytes in self.files],
            "bytes": self.nbytes,
            "left_out": list(self.left_out),
            "deleted": list(self.deleted),
            "has_new_card": self.has_new_card,
            "license": self.license or None,
        }


def push(
    folder: str | Path,
    repo: str,
    *overrides: str,
    revision: str | None = None,
    private: bool = False,
    message: str | None = None,
    token: str | bool | None = None,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    dry_run: bool = False,
    announce: Callable[[Push], None] | None = None,
) -> Push:
    """Publish a folder that zoo wrote as org/name on the branch `revision` (main), in one commit.

    The folder is held against its zoo.json and inspected before anything is sent; where it has no card, one is made of
    what is known. Shards that an earlier push left under other names go in the same commit; weights that zoo did not
    publish are never touched. `announce` is told what will be sent before it is; a `dry_run` connects to nothing.
    Raises CheckpointError for a folder that is not right, NetworkError where the hub refuses.
    """
    folder, (repo, branch) = Path(folder).expanduser(), _target(repo, revision)
    ledger = check_folder(folder, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    if not dry_run:
        from zoo.hub.upload import full_name

        repo = full_name(repo, token)
    contents = gather(folder, ledger, repo)
    sizes = {name: len(c) if isinstance(c, bytes) else size_of(c) for name, c in contents.items()}
    sent = {*contents, *(name.partition("/")[0] for name in contents)}
    left_out = sorted(entry.name for entry in folder.iterdir() if entry.name not in sent)
    files = tuple(sorted(sizes.items()))
    found = Push(folder, repo, branch, files, tuple(left_out), not (folder / CARD).exists(), license_of(ledger))
    if dry_run:
        if announce:
            announce(found)
        return found
    client = HubClient(repo, token)
    head, there, deleted = _settle(client, branch, contents, private)
    if found.has_new_card and CARD in there:  # somebody's own words, which ours must not replace
        del contents[CARD]
        found = replace(found, files=tuple(f for f in files if f[0] != CARD), has_new_card=False)
    found = replace(found, deleted=tuple(deleted))
    if announce:
        announce(found)
    from zoo.hub.upload import commit_files

    message = message or f"Publish a {ledger.family.name} with zoo"
    commit = commit_files(
        client, contents, branch=branch, message=message, delete=deleted, parent=head, private=private
    )
    return replace(found, commit=commit)


def gather(folder: Path, ledger: Ledger, repo: str) -> Contents:
    """What is published: what zoo.json lists, tokenizer files, card and licence, and a zoo.json of just that."""
    listed = listed_files(folder)
    names = {entry.name for entry in folder.iterdir() if entry.is_file() and not entry.is_symlink()}
    chosen = {name for name in names if name in listed or name in COMPANIONS or is_text(name)} - {MANIFEST}
    chosen |= {name for name in listed if "/" in name}  # of modules of sentence-transformers
    contents: Contents = {name: folder / name for name in sorted(chosen)}
    if CARD not in contents:
        contents[CARD] = _card(folder, ledger, repo).encode()
    digests = {
        name: listed.get(name) or Digest(sha256_of(folder / name), size_of(folder / name))
        for name in chosen
        if not is_text(name)  # people edit cards on the hub's pages, and no other model comes of it
    }
    contents[MANIFEST] = manifest_text(digests, _public(recorded(folder))).encode()
    return contents


def _target(repo: str, revision: str | None) -> tuple[str, str]:
    """Repository and branch of org/name, org/name@branch, hf://org/name or the bare name of one's own."""
    address = repo.removeprefix("hf://")
    is_own = "/" not in address  # the owner is whoever the token belongs to
    name, named, path = parse_uri(f"hf://{'me/' * is_own}{address}")
    name = name.removeprefix("me/") if is_own else name
    if path:
        raise UsageError(f"{clean(repo)!r} is not the name of a repository: {clean(path)!r} would be a file in it")
    if named and revision and named != revision:
        raise UsageError(
            f"{clean(repo)!r} names the branch {clean(named)!r}, but the revision {revision!r} was asked for"
        )
    return name, revision or named or "main"


def _settle(
    client: HubClient, branch: str, contents: Mapping[str, Any], private: bool
) -> tuple[str | None, set[str], list[str]]:
    """The commit that this one goes on top of, its files, and those of an earlier push that are left behind."""
    from zoo.hub.errors import Absent

    try:
        branches = client.branches()
    except Absent:
        return None, set(), []  # there is no such repository yet
    if private and not client.is_private():
        hint = "make it private in its settings on the hub, or push to another name"
        raise ZooError(f"{client.name} exists already, and everybody can see it", hint=hint)
    head = branches.get(branch) or branches.get("main")
    there = {file.name for file in client.files(head)} if head else set()
    ours = set(listed_files(client.download(head, [MANIFEST]))) if head and MANIFEST in there else set()
    gone = sorted((there & ours) - set(contents))
    strange = sorted(n for n in there - ours - set(contents) if "/" not in n and n.endswith(WEIGHTS))
    if strange:
        what = f"{client.name} contains weights that zoo did not publish: {clean(some(strange))}"
        raise ZooError(
            what, why="with both, nobody could tell which model it is", hint="push to another name or branch"
        )
    return head, there, gone


def _card(folder: Path, ledger: Ledger, repo: str) -> str:
    told = recorded(folder)
    base = str(told.get("repo") or "")
    return card_text(
        Facts(
            repo, ledger.family.name, ledger.family.summary, ledger.dialect, ledger.num_parameters, ledger.nbytes,
            ", ".join(ledger.dtypes), license_of(ledger), base, str(told.get("commit") or ""),
        )
    )  # fmt: skip


def _public(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What a zoo.json says of its origin, without the folders of the machine that it was made on."""
    source = str(provenance.get("source") or "")
    is_local = "://" not in source and (source.startswith((".", "~")) or Path(source).is_absolute())
    return {**provenance, "source": Path(source).name} if is_local else dict(provenance)
