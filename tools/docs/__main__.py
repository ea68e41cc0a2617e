"""Write the sources of the site: python -m tools.docs [FOLDER]. Needs zoo installed; no torch is imported."""

from __future__ import annotations

import sys
from pathlib import Path

from .deviations import ROOT
from .site import write

write(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "docs")
