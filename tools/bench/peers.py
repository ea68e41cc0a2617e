"""Others that decode with packed weights on a CPU, as sides of zoo's own comparison: transformers and llama.cpp.

Each side is a function that writes some tokens behind a prompt and returns the seconds of these steps alone. A side
whose package is not there, or does not run here, has its reason in the place of numbers.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

Side = Callable[[], float]
PACKAGES = {
    "bitsandbytes int8": "bitsandbytes", "bitsandbytes nf4": "bitsandbytes", "torchao int8": "torchao",
    "torchao int4": "torchao", "quanto int8": "optimum-quanto", "HQQ int8": "hqq", "HQQ int4": "hqq",
}  # fmt: skip
OF_LLAMA_CPP = ("q8_0", "q4_0")


def in_transformers(folder: Path, prompt: torch.Tensor, count: int) -> tuple[dict[str, Side], dict[str, str]]:
    """transformers' bfloat16 and every road of its to packed weights that runs here, and why the others do not."""
    sides: dict[str, Side] = {}
    missing: dict[str, str] = {}
    for name in ("bfloat16", *PACKAGES):
        label = f"transformers, {name}"
        try:
            if name in PACKAGES:
                version(PACKAGES[name])
            model = _model(folder, name)
            side = partial(_steps, model, prompt, count)
            side()
        except PackageNotFoundError as error:
            missing[label] = f"{error.name or PACKAGES[name]} is not installed"
        except Exception as error:  # whatever a library that cannot run here raises is the reason
            missing[label] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:90]}"
        else:
            sides[label] = side
    return sides, missing


def _model(folder: Path, name: str) -> Any:
    """The model of a folder in bfloat16, its linear layers packed by one of the libraries."""
    from transformers import AutoModelForCausalLM

    from zoo.models.transformers_library import read_model

    options: dict[str, Any] = {}
    if name in PACKAGES:
        options = {"quantization_config": _settings(name), "device_map": "cpu"}
    return read_model(AutoModelForCausalLM, folder, dtype=torch.bfloat16, **options).eval()


def _settings(name: str) -> Any:
    import transformers as t

    if name.startswith("torchao"):
        ao = import_module("torchao.quantization")

        if name == "torchao int8":
            return t.TorchAoConfig(ao.Int8WeightOnlyConfig())
        return t.TorchAoConfig(ao.Int4WeightOnlyConfig(group_size=32, int4_packing_format="opaque"))
    made: Mapping[str, Callable[[], Any]] = {
        "bitsandbytes int8": lambda: t.BitsAndBytesConfig(load_in_8bit=True),
        "bitsandbytes nf4": lambda: t.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        ),
        "quanto int8": lambda: t.QuantoConfig(weights="int8"),
        "HQQ int8": lambda: t.HqqConfig(nbits=8, group_size=64),
        "HQQ int4": lambda: t.HqqConfig(nbits=4, group_size=64),
    }
    return made[name]()


@torch.inference_mode()
def _steps(model: Any, prompt: torch.Tensor, count: int) -> float:
    """As zoo's own: of CPU with one thread, else of the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    out = model(prompt, use_cache=True, logits_to_keep=1)
    start = clock()
    for _ in range(count):
        out = model(out.logits.argmax(-1), past_key_values=out.past_key_values, use_cache=True)
    return clock() - start


def in_llama_cpp(files: Mapping[str, Path], prompt: torch.Tensor, count: int) -> tuple[dict[str, Side], dict[str, str]]:
    """llama.cpp with files of the same shape, timed by its own clock."""
    labels = {f"llama.cpp, {kind.upper()}": kind for kind in OF_LLAMA_CPP}
    try:
        import xllamacpp
    except ImportError:
        return {}, dict.fromkeys(labels, "xllamacpp is not installed")
    if not files:
        return {}, dict.fromkeys(labels, "SmolLM2's file is not there: tools/fetch_smollm2.py fetches it")
    servers = {label: _server(xllamacpp, files[kind]) for label, kind in labels.items()}
    return {label: partial(_asked, server, prompt, count) for label, server in servers.items()}, {}


def _server(xllamacpp: Any, file: Path) -> Any:
    p = xllamacpp.CommonParams()
    p.model.path = str(file)
    p.n_ctx, p.n_parallel, p.port, p.warmup, p.cache_ram_mib, p.verbosity = 256, 1, 0, False, 0, 0
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = torch.get_num_threads()
    return xllamacpp.Server(p)


def _asked(server: Any, prompt: torch.Tensor, count: int) -> float:
    """The first token comes of the prompt: one more is asked for, and its clock starts behind the first."""
    body = {"prompt": prompt[0].tolist(), "n_predict": count + 1, "temperature": 0, "cache_prompt": False,
            "ignore_eos": True}  # fmt: skip
    request = urllib.request.Request(
        f"{server.listening_address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # our own, on this machine
        told = json.load(answer)["timings"]
    if told["predicted_n"] != count + 1:
        raise RuntimeError(f"llama.cpp wrote {told['predicted_n']} tokens, not {count + 1}")
    return told["predicted_ms"] / 1000
