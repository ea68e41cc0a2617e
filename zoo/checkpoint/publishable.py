"""Whether a folder may be published: what zoo wrote, whole, and regular files alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.notes import tell
from zoo.errors import CheckpointError, UsageError, clean, some
from zoo.files.manifest import MANIFEST, listed_files, verify_folder
from zoo.hub.listing import COMPANIONS, is_text

PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle")
CONFIG = "config.json"


def check_folder(
    folder: Path,
    *overrides: str,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Ledger:
    """The ledger of a folder that may be published. Raises CheckpointError for one that may not."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    pickles = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(PICKLES))
    if pickles and not allow_pickle:
        why = "a pickle can run code on the machine of whoever opens it"
        hint = (
            f"zoo convert {folder} OUT --to hf --allow-pickle writes safetensors; --allow-pickle publishes the pickle"
        )
        raise CheckpointError(folder, pickles[0], "is a pickle", why=why, hint=hint)
    if not (folder / MANIFEST).is_symlink() and not (folder / MANIFEST).exists():
        hint = f"zoo convert {folder} OUT --to hf, then push OUT"
        raise CheckpointError(
            folder, "", f"has no {MANIFEST}: zoo did not write this folder and cannot say that it is right", hint=hint
        )
    _refuse_links(folder)
    verify_folder(folder, free=is_text)
    ledger = inspect(folder, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    ledger.check()
    tell(ledger)
    return ledger


def _refuse_links(folder: Path) -> None:
    """Refuse a link under a name that would be published: what it leads to was never meant to be seen."""
    links = {entry.name for entry in folder.iterdir() if entry.is_symlink()}
    listed = set() if MANIFEST in links else set(listed_files(folder))
    inner = {name for name in listed if "/" in name and (folder / name).is_symlink()}
    links |= inner | {name.partition("/")[0] for name in listed if name.partition("/")[0] in links}
    listed |= {name.partition("/")[0] for name in listed}
    wanted = sorted(n for n in links if n in listed or n in COMPANIONS or n in (MANIFEST, CONFIG) or is_text(n))
    if wanted:
        what = f"{clean(some(wanted), 200)} {'are links' if len(wanted) > 1 else 'is a link'}, not a file of the folder"
        hint = f"zoo convert {folder} OUT --to hf, then push OUT; or replace the links by copies"
        raise CheckpointError(folder, "", what, why="a link would publish the file that it points to", hint=hint)
