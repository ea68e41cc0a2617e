"""`tools/mutate`: draws, tries and tells."""

from __future__ import annotations

import argparse
import difflib
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from changes import changes
from edits import Change
from record import recorded
from trial import Trial

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".mutation"
STYLED = ("zoo/report/", "zoo/scaffold/", "zoo/vision/illustration.py", "zoo/cli/bars.py", "zoo/cli/completion.py")


def main() -> None:
    """Draw lines, change each in turn, and print what became of it."""
    parser = argparse.ArgumentParser(prog="tools/mutate", description="Tell which careless changes no test notices.")
    parser.add_argument("--seed", type=int, required=True, help="decides which lines are drawn, and their changes")
    parser.add_argument("--lines", type=int, default=60, help="how many")
    parser.add_argument("--only", nargs="*", default=["zoo", "plugins"], help="folders or files to draw from")
    parser.add_argument("--at", help="FILE:LINE, every change to one line instead of drawn ones")
    parser.add_argument("--dry", action="store_true", help="draw and show, try nothing")
    parser.add_argument("--again", nargs="*", default=[], help="test files or folders to record anew")
    parser.add_argument("--fast", action="store_true", help="leave the slow tests out")
    parser.add_argument("--slow-seconds", type=float, default=120, help="the longest the slow tests of one change run")
    given = parser.parse_args()
    drawn = at(given.at) if given.at else draw(given.only, given.seed, given.lines)
    if given.dry:
        for path, change in drawn:
            print(f"{path}:{change.line} {change.kind}\n{difference(path, change)}")
        return
    STORE.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="mutate-") as folder:
        scratch = copy(Path(folder))
        told = Counter(
            tell(drawn, Trial(scratch, recorded(scratch, STORE, again=tuple(given.again), fast_only=given.fast), given))
        )
    print(f"seed {given.seed}: {len(drawn)} changes, " + ", ".join(f"{count} {word}" for word, count in told.items()))


def tell(drawn: list[tuple[str, Change]], trial: Trial) -> list[str]:
    """What became of each, printed as it is known."""
    words = []
    for path, change in drawn:
        start = time.monotonic()
        word, by = trial.outcome(path, change)
        words.append(word)
        print(f"{word:12} {path}:{change.line} {change.kind} [{time.monotonic() - start:.0f} s, {by}]")
        print(difference(path, change), flush=True)
    return words


def draw(only: list[str], seed: int, count: int) -> list[tuple[str, Change]]:
    """One change each to as many lines as there are to be; all lines that can be changed are as likely."""
    chosen = random.Random(seed)
    lines: dict[tuple[str, int], list[Change]] = {}
    for path in sorted(str(f.relative_to(ROOT)) for part in ("zoo", "plugins") for f in (ROOT / part).rglob("*.py")):
        if path.startswith(tuple(only)) and not path.startswith(STYLED):
            for change in changes((ROOT / path).read_text(encoding="utf-8")):
                lines.setdefault((path, change.line), []).append(change)
    places = chosen.sample(sorted(lines), min(count, len(lines)))
    return [(path, one(chosen, lines[path, line])) for path, line in places]


def one(chosen: random.Random, found: list[Change]) -> Change:
    """A change of a line, each kind as likely."""
    kind = chosen.choice(sorted({change.kind for change in found}))
    return chosen.choice([change for change in found if change.kind == kind])


def at(place: str) -> list[tuple[str, Change]]:
    """Every change to one line."""
    path, _, line = place.partition(":")
    return [(path, c) for c in changes((ROOT / path).read_text(encoding="utf-8")) if c.line == int(line)]


def changed(source: bytes, change: Change) -> bytes:
    """The module with the change made."""
    return source[: change.start] + change.text.encode() + source[change.end :]


def difference(path: str, change: Change) -> str:
    """The lines that change, as a diff has them."""
    old = (ROOT / path).read_bytes()
    new = changed(old, change)
    lines = difflib.unified_diff(old.decode().splitlines(), new.decode().splitlines(), lineterm="", n=0)
    return "\n".join(f"    {line}" for line in list(lines)[3:])


def copy(folder: Path) -> Path:
    """The working tree as it stands, beside the reference numbers, its packages where an installed zoo has them."""
    scratch = folder / "zoo"
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in names.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, scratch / name)
    (scratch / "zoo" / "plugins").symlink_to("../plugins")
    (scratch / "zoo" / "conf").symlink_to("../conf")
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return scratch
