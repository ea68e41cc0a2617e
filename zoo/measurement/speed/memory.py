"""The most memory that this process has held.

On the CPU that is resident memory, and pages of a mapped weight file count once they were read. It is asked of the
kernel's own high-water mark of this program image; getrusage would tell the parent's where that was larger.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Bytes of resident memory at most since the program began."""
    try:
        for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak(device: Any, baseline: int) -> dict[str, Any]:
    """What a run took at most, and how that was measured."""
    if device.type == "cuda":
        import torch

        return {"peak_bytes": torch.cuda.max_memory_allocated(device), "baseline_bytes": 0, "how": "torch.cuda"}
    return {"peak_bytes": peak_bytes(), "baseline_bytes": baseline, "how": "resident memory of a process of its own"}
