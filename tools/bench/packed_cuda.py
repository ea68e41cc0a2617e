"""Packed weights on CUDA against the CPU: `python tools/bench/packed_cuda.py`, half a minute. Ends with 0 if all agree.

Each model is the one in the box, rounded on the way in or kept packed as a file has it. Moved to the GPU, in float32
and without TF32, its logits must be those of the CPU in float64, where layers multiply by the numbers themselves; and
the text that it writes in bfloat16 must be finite and have the same first token.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import zoo
from zoo.nn.packed import packed_layers

TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11, 2, 8]])
EXACT = 2e-4  # relative error of logits: float32 summed in another order, through 5 layers
FORMS = ("int8", "int4", "fp8", "nf4", "q8_0", "q4_0")


def main() -> int:
    """A line for each model; how many differ."""
    if not torch.cuda.is_available():
        print("there is no CUDA device")
        return 2
    torch.backends.cuda.matmul.allow_tf32 = False
    wrong = 0
    with TemporaryDirectory() as folder:
        for name, source, options in _models(Path(folder)):
            told, is_right = _compared(source, options)
            wrong += not is_right
            print(f"{'ok  ' if is_right else 'FAIL'} {name}: {told}", flush=True)
    return int(wrong > 0)


def _models(folder: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for form in ("int8", "int4", "int4-64"):
        yield f"quantize={form}", "tiny", {"quantize": form}
    for form in FORMS:
        out = folder / (f"{form}.gguf" if "_" in form else form)
        zoo.quantize("tiny", out, form=form)
        yield f"kept packed, {form}", out, {"keep_packed": True}


@torch.inference_mode()
def _compared(source: Any, options: dict[str, Any]) -> tuple[str, bool]:
    try:
        expected = zoo.load(source, dtype="float64", **options)(TOKENS)
        loaded = zoo.load(source, dtype="float32", device="cuda", **options)
        moved = zoo.load(source, dtype="float32", **options).to("cuda")
        found = [model(TOKENS.cuda()).cpu().double() for model in (loaded, moved)]
        errors = [float((each - expected).norm() / expected.norm()) for each in found]
        back = pickle.loads(pickle.dumps(moved)).to("cpu").double()(TOKENS)  # our own bytes
        errors.append(float((back - expected).norm() / expected.norm()))
        half = moved.bfloat16()
        text = half.generate(TOKENS.cuda(), max_new_tokens=8).new_tokens[0]
        first = int(expected[0, -1].argmax())
        places = {str(layer.device) for layer in packed_layers(half).values()}
        is_right = max(errors) < EXACT and places == {"cuda:0"} and int(half(TOKENS.cuda())[0, -1].argmax()) == first
        worst = ", ".join(f"{error:.1e}" for error in errors)
        return (
            f"loaded there, moved there, moved back: {worst}; wrote {text}; {len(packed_layers(half))} packed",
            is_right,
        )
    except Exception as error:  # the kind that is looked for: devices that do not meet
        return f"{type(error).__name__}: {error}", False


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
