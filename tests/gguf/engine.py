"""llama.cpp itself, as the package xllamacpp brings it: a server in this process, one model at a time."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CONTEXT = 64


@dataclass
class LlamaCpp:
    """A model that llama.cpp has loaded."""

    address: str

    def ask(self, path: str, **body: Any) -> Any:
        """The answer to a request."""
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # our own, on this machine
            return json.load(answer)

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """The most probable token, `count` times."""
        return self._complete(prompt, count)["tokens"]

    def log_probabilities(self, prompt: list[int], rows: int) -> Tensor:
        """Of each token to come after the prompt; NaN where the server says nothing, which it does of half letters."""
        found = torch.full((rows,), float("nan"))
        for told in self._complete(prompt, 1, n_probs=rows).get("completion_probabilities", [])[:1]:
            for token in told["top_logprobs"]:
                found[token["id"]] = token["logprob"]
        return found

    def states(self, text: str | list[int]) -> Tensor:
        """The last states of an encoder [T, D], of a text or of tokens."""
        return torch.tensor(self.ask("/embedding", content=text)[0]["embedding"])

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, begin and end where the file asks for them."""
        return self.ask("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]

    def _complete(self, prompt: list[int], count: int, **more: Any) -> Any:
        return self.ask(
            "/completion", prompt=prompt, n_predict=count, temperature=0, return_tokens=True, cache_prompt=False,
            ignore_eos=True, **more,
        )  # fmt: skip


@contextmanager
def llama_cpp(file: Path, *, is_encoder: bool = False) -> Iterator[LlamaCpp]:
    """llama.cpp with one file: caches of float32, no fused attention, one thread."""
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = str(file)
    p.n_ctx, p.n_parallel, p.port = CONTEXT, 1, 0
    p.warmup, p.swa_full, p.cache_ram_mib, p.verbosity = False, True, 0, 0
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if is_encoder:
        p.embedding, p.embd_normalize = True, -1
        p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
    server = xllamacpp.Server(p)
    try:
        yield LlamaCpp(server.listening_address)
    finally:
        del server
