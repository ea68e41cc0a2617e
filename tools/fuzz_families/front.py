"""The command line: families, a seed, and what to print of each config."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch

from tools.fuzz_families.comparing import LIMIT, Gaps, Refused, held
from tools.fuzz_families.drawing import drawn
from zoo.anatomy.config import ModelConfig
from zoo.errors import ZooError
from zoo.models.transformers_library import library
from zoo.registry import installed

TRIES = 60  # configs that are drawn at most for each that both sides have


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/fuzz", description="Hold random configs of a family to transformers.")
    parser.add_argument("families", nargs="+", help="registered families with the format hf")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-n", type=int, default=30, help="configs of each family")
    parser.add_argument("--verbose", action="store_true", help="print what was refused, too")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    library("fuzzing").utils.logging.disable_progress_bar()
    return int(any([not fuzz(name, given.seed, given.n, verbose=given.verbose) for name in given.families]))


def fuzz(name: str, seed: int, count: int, *, verbose: bool = False) -> bool:
    """Compare `count` configs of a family, and print what was found; whether all are equal."""
    family, rng = installed()[name], Random(f"{name} {seed}")
    if "hf" not in family.formats:
        raise SystemExit(f"{name} has no format hf")
    done, refused, failed, worst = 0, 0, 0, 0.0
    while done < count and refused < TRIES * count:
        config = drawn(family.config_class.tiny(), rng)
        try:
            gaps = _held(config, seed + done)
        except Refused as refusal:
            refused += 1
            if verbose:
                print(f"  refused: {str(refusal).splitlines()[0][:200]}")
            continue
        done, worst = done + 1, max(worst, gaps.worst)
        if not gaps.is_equal:
            failed += 1
            _tell(config, gaps)
    print(
        f"{name}: {done} configs, {failed} differ, largest difference {worst:.1e}, {refused} drawn in vain", flush=True
    )
    return done > 0 and not failed


def _held(config: ModelConfig, seed: int) -> Gaps:
    with TemporaryDirectory() as folder:
        try:
            return held(config, Path(folder), seed)
        except ZooError as error:
            return Gaps({}, (str(error).splitlines()[0],))


def _tell(config: ModelConfig, gaps: Gaps) -> None:
    """A config that differs, so that it can be built again, and in what."""
    tiny = type(config).tiny().to_dict()
    changed = {name: value for name, value in config.to_dict().items() if value != tiny.get(name)}
    print(f"  {json.dumps(changed)}")
    print("    " + "; ".join([f"{what} {gap:.1e}" for what, gap in gaps.of.items() if gap > LIMIT] + list(gaps.wrong)))
