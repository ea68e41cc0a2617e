"""Walk the hints of broken checkpoints, and tell the figures; exit code 1 where a hint led to another model.

    python -m tools.fuzz_hints [-n 200] [--seed 0] [--from FOLDER] [--verbose]

Each folder in FOLDER is a whole checkpoint in Hugging Face's layout; without, families are saved at their tiny configs.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save_file

import zoo
from tools.fuzz_hints.breakages import broken
from tools.fuzz_hints.following import End, walk
from zoo.registry import installed

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma", "gpt2", "t5", "bert", "mixtral", "glm")


def bases(folder: Path, families: tuple[str, ...] = FAMILIES) -> list[Path]:
    """Whole checkpoints of some families, written to `folder`."""
    found = []
    for name in families:
        config = installed()[name].config_class.tiny()
        found.append(zoo.save(zoo.build(config, device="cpu", seed=1), folder / name, format="hf"))
    return found


def walks(goods: list[Path], folder: Path, *, count: int, seed: int) -> Iterator[tuple[str, list[End]]]:
    """What was broken, and where the hints led, for `count` broken folders."""
    rng = Random(seed)
    for number in range(count):
        good = rng.choice(goods)
        config = json.loads((good / "config.json").read_text())
        spoilt, tensors, what = broken(config, load_file(good / "model.safetensors"), rng)
        bad = folder / f"{number}-{good.name}"
        bad.mkdir()
        (bad / "config.json").write_text(json.dumps(spoilt))
        save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
        yield f"{bad.name}: {what}", list(walk(bad, good))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    first, led, kinds = Counter[str](), Counter[str](), Counter[str]()
    is_bad = False
    with TemporaryDirectory() as room:
        (folder := Path(room) / "broken").mkdir()
        goods = sorted(given.source.iterdir()) if given.source else bases(Path(room))
        for what, ends in walks(goods, folder, count=given.n, seed=given.seed):
            first[ends[0].verdict] += 1
            for end in ends[1:]:
                kinds.update({end.words[0].partition("=")[0] if end.words[0] != "--allow" else "--allow"})
                verdict = "other, as the hint says" if end.verdict == "other" and end.is_warned else end.verdict
                led[verdict] += 1
                is_bad |= verdict in ("other", "bug")
                if given.verbose or verdict not in ("same", "refused"):
                    print(f"{what}\n    {' '.join(end.words)} -> {verdict}")
            is_bad |= ends[0].verdict == "bug"
            if ends[0].verdict == "bug" or (given.verbose and ends[0].verdict == "other"):
                print(f"{what}\n    as it is -> {ends[0].verdict}: {ends[0].said[:300]}")
    print(f"{given.n} broken folders as they are: {dict(first)}")
    print(f"followed words: {dict(kinds.most_common(12))}")
    print(f"{led.total()} hints followed: {dict(led)}")
    return int(is_bad)


if __name__ == "__main__":
    raise SystemExit(main())
