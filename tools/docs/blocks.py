"""The code blocks of a page that are marked to be run: a comment stands on the line before them.

<!-- run -->            its lines are commands, or Python where the fence says so; all must succeed
<!-- run: exit 1 -->    the commands end with this exit code
<!-- run: slow -->      it takes more than a second or two
<!-- file: PATH -->     the block is written to PATH
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MARKED = re.compile(r"<!-- (run|file)(?:: (.*?))? -->\n```(\w+)\n(.*?)\n```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One marked block."""

    kind: str  # run | file
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


def marked(page: str) -> list[Block]:
    """The marked blocks of a page, in order."""
    return [Block(m[1], m[2] or "", m[3], m[4], page.count("\n", 0, m.start()) + 2) for m in MARKED.finditer(page)]


def count_marks(page: str) -> int:
    """How many comments mark a block, well formed or not."""
    return len(re.findall(r"<!-- ?(?:run|file)\b", page))
