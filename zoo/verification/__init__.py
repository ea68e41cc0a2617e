"""One model against a reference: what differs, by how much, from which module on, and why."""

from zoo.verification.front import verify
from zoo.verification.goldens.rerun import Rerun, rerun_goldens
from zoo.verification.result import Verification

__all__ = ["Rerun", "Verification", "rerun_goldens", "verify"]
