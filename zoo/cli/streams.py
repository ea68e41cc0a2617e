"""Standard output as a command may count on it: open, and able to take any character."""

from __future__ import annotations

import codecs
import os
import sys


def mend() -> None:
    """Write to nowhere where stdout is closed, and what an encoding cannot write as an escape, which JSON reads too."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # it lasts as long as the process
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        reconfigure(errors="backslashreplace")
