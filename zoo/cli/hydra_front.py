"""Hands a command's words to Hydra, and Hydra's results and errors back.

Hydra keeps its overrides, sweeps, launchers and `--cfg`; a single run writes no file and no log.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from zoo.errors import MissingExtra, UsageError, ZooError
from zoo.presets.composition import VERSION_BASE, install, translated
from zoo.presets.hydra_source import PRIMARY

Job = Callable[[DictConfig], dict[str, Any]]

RESULT = "result.json"
LAUNCHERS = {  # and the packages that they come with
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
}


def run_once(command: str, words: Sequence[str], flags: Sequence[str], job: Job) -> dict[str, Any]:
    """Run `job` on what conf/<command>.yaml and the words compose to, in this process."""
    results: list[dict[str, Any]] = []
    failures: list[Exception] = []

    def task(composed: DictConfig) -> None:
        try:
            results.append(job(composed))
        except Exception as error:  # Hydra would print its own line about it
            failures.append(error)

    _start(command, task, [*flags, *words])
    if failures:
        with translated():
            raise failures[0]
    return results[0]


def show(command: str, words: Sequence[str], flags: Sequence[str]) -> None:
    """Let Hydra print what it composes or knows: `--cfg`, `--info`."""
    _start(command, lambda composed: None, [*flags, *words])


def run_sweep(command: str, words: Sequence[str], flags: Sequence[str], job: Job) -> tuple[Path, list[dict[str, Any]]]:
    """Run `job` for every combination of the words; the sweep's folder, and what each job left in its own.

    Results go through files, so that they come back from any launcher. A job that ends in a ZooError leaves its
    message as `error`.
    """

    def task(composed: DictConfig) -> float:
        state = HydraConfig.get()
        result: dict[str, Any] = {"job": state.job.num, "overrides": list(state.overrides.task)}
        try:
            with translated():
                result |= job(composed)
        except ZooError as error:
            result |= {"error": str(error), "exit_code": error.exit_code}
        Path(state.runtime.output_dir, RESULT).write_text(json.dumps(result, indent=2), encoding="utf-8")
        return float(result.get("parameters") or "nan")  # what an optimising sweeper goes by

    folder, extra = _folder(words)
    start = time.time()
    with _launcher(words):
        _start(command, task, ["--multirun", *flags, *extra, *words])
    found = [file for file in folder.glob(f"**/{RESULT}") if file.stat().st_mtime > start - 1]
    return folder, sorted((json.loads(file.read_text(encoding="utf-8")) for file in found), key=lambda r: r["job"])


@contextmanager
def _launcher(words: Sequence[str]) -> Iterator[None]:
    """Tell of a launcher whose package is not installed, and of a Slurm that is not here."""
    asked = [word.partition("=")[2] for word in words if word.startswith("hydra/launcher=")]
    package = LAUNCHERS.get(asked[-1]) if asked else None
    if package is not None and not _is_there(package):
        raise MissingExtra(package.replace("_", "-"), "sweep", f"hydra/launcher={asked[-1]}")
    try:
        yield
    except RuntimeError as error:
        if '"srun"' not in str(error):
            raise
        hint = "hydra/launcher=submitit_local runs the jobs on this machine"
        raise UsageError(f"hydra/launcher={asked[-1]}: there is no srun here, so no Slurm", hint=hint) from None


def _is_there(package: str) -> bool:
    """Whether one of Hydra's plugins is installed; where none is, the package that holds them is not there either."""
    return find_spec("hydra_plugins") is not None and find_spec(f"hydra_plugins.{package}") is not None


def _folder(words: Sequence[str]) -> tuple[Path, list[str]]:
    """Where a sweep goes: decided here and told to Hydra, so that its results can be found again."""
    now = datetime.now()
    given = [word.partition("=")[2] for word in words if word.startswith("hydra.sweep.dir=")]
    path = given[-1].strip("'\"") if given else "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"
    path = re.sub(r"\$\{now:([^}]*)\}", lambda found: now.strftime(found[1]), path)
    extra = [] if any(word.startswith("hydra.output_subdir=") for word in words) else ["hydra.output_subdir=.hydra"]
    return Path(path), extra if given else [*extra, f"hydra.sweep.dir='{path}'"]


def _start(command: str, task: Callable[[DictConfig], Any], arguments: Sequence[str]) -> None:
    """`hydra.main` on these arguments, with its exceptions instead of its exit."""
    install()
    with _process([f"zoo {command}", *arguments]), _any_help(), translated():
        hydra.main(config_path=PRIMARY, config_name=command, **VERSION_BASE)(task)()


@contextmanager
def _process(argv: list[str]) -> Iterator[None]:
    """The process as `hydra.main` reads it: its arguments, and the wish for exceptions."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = argv, "1"
    try:
        yield
    finally:
        sys.argv = before
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


@contextmanager
def _any_help() -> Iterator[None]:
    """Python 3.14 checks every help string when it is declared, and hydra-core 1.3 declares one that is none."""
    check = getattr(argparse.ArgumentParser, "_check_help", None)
    if check is None or not VERSION_BASE:
        yield
        return
    argparse.ArgumentParser._check_help = lambda self, action: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        argparse.ArgumentParser._check_help = check  # type: ignore[attr-defined]
