"""The code blocks of a page that are marked to be run: a comment stands on the line before them.

<!-- run -->            its lines are commands, or Python where the fence says so; all must succeed
<!-- run: exit 1 -->    the commands end with this exit code
<!-- run: slow -->      it takes more than a second or two
<!-- file: PATH -->     the block is written to PATH
<!-- says -->           the block before it prints these lines, in this order; a line … stands for any others
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

MARKED = re.compile(r"<!-- (run|file|says)(?:: (.*?))? -->\n```(\w+)\n(.*?)\n```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One marked block."""

    kind: str  # run | file | says
    note: str  # exit 1, slow, or the path of a file
    language: str
    text: str
    line: int  # of the page on which the fence begins

    @property
    def is_slow(self) -> bool:
        return self.kind == "run" and self.note == "slow"

    @property
    def exit_code(self) -> int:
        found = re.fullmatch(r"exit (\d+)", self.note)
        return int(found[1]) if found and self.kind == "run" else 0


@dataclass(frozen=True)
class Example:
    """A block that is run, and the lines that it prints, as far as the page shows them."""

    block: Block
    printed: tuple[str, ...]


def examples(page: str) -> list[Example]:
    """The blocks of a page that are run, in order."""
    blocks = marked(page)
    after = dict(pairwise(blocks))  # the last has none
    said = {b: tuple(n.text.splitlines()) for b, n in after.items() if n.kind == "says"}
    return [Example(b, said.get(b, ())) for b in blocks if b.kind == "run"]


def unsaid(lines: tuple[str, ...], printed: str) -> list[str]:
    """The lines that are not among those `printed`, in this order, whatever space they are set with."""
    there, missing = iter([" ".join(line.split()) for line in printed.splitlines()]), []
    for line in lines:
        words = " ".join(line.split())
        if words not in ("…", "") and words not in there:
            missing.append(line)
    return missing


def marked(page: str) -> list[Block]:
    """The marked blocks of a page, in order."""
    return [Block(m[1], m[2] or "", m[3], m[4], page.count("\n", 0, m.start()) + 2) for m in MARKED.finditer(page)]


def count_marks(page: str) -> int:
    """How many comments mark a block, well formed or not."""
    return len(re.findall(r"<!-- ?(?:run|file|says)\b", page))
