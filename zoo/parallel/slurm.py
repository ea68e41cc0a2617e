"""What Slurm's variables say of a process: its rank among those that srun started, and where they meet."""

from __future__ import annotations

import re
from collections.abc import Mapping

PORTS = 20_000, 20_000  # the first, and how many: a job and its step choose one


def of_slurm(where: Mapping[str, str]) -> dict[str, str]:
    """The variables that torchrun would have set; none for a process that srun did not start beside others.

    Of a batch script, which runs once, SLURM_NTASKS says how many tasks a step may have: it counts only beside a
    MASTER_ADDR, which nobody sets for one process.
    """
    count = where.get("SLURM_STEP_NUM_TASKS") or (where.get("SLURM_NTASKS") if "MASTER_ADDR" in where else None)
    if count is None or not count.isdigit() or int(count) < 2:
        return {}
    job, step = (int(re.sub(r"\D", "", where.get(name, "")) or 0) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return {
        "RANK": where["SLURM_PROCID"],
        "WORLD_SIZE": count,
        "LOCAL_RANK": where.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": where.get("MASTER_ADDR") or _first_host(where),
        "MASTER_PORT": where.get("MASTER_PORT") or str(PORTS[0] + (7 * job + step) % PORTS[1]),
    }


def _first_host(where: Mapping[str, str]) -> str:
    """The machine of rank 0: the first of a list such as gpu[07-09,12],cpu1."""
    listed = where.get("SLURM_STEP_NODELIST") or where.get("SLURM_JOB_NODELIST") or ""
    nodes = where.get("SLURM_STEP_NUM_NODES") or where.get("SLURM_NNODES") or "1"
    found = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\])?([^,]*)", listed)
    if nodes == "1" or found is None:
        return "127.0.0.1" if nodes == "1" else where.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1")
    return f"{found[1]}{found[2] or ''}{found[3]}"
