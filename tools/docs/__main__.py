"""Write the sources of the site: python -m tools.docs [FOLDER]. Needs zoo installed; no torch is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from .deviations import ROOT
from .site import write

parser = argparse.ArgumentParser("python -m tools.docs", description="Write the sources of the site.")
parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "docs", help="the folder that takes them")
write(parser.parse_args().folder.resolve())
