"""What one process of a benchmark is to run, and what both kinds of model that it may run have in common."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from zoo.errors import UsageError
from zoo.parallel.layout import Layout

ENGINES = ("zoo", "transformers")


@dataclass(frozen=True)
class Job:
    """A model, the work that it does, and with which library."""

    source: str | None = None  # a checkpoint; None: random weights for `config`
    options: dict[str, Any] | None = None  # family, allow, allow_pickle, as zoo.load takes them
    config: dict[str, Any] | None = None  # as ModelConfig.to_dict() gives it
    prompt: int = 128  # tokens that are read at once
    new: int = 64  # tokens that follow, one by one
    batch: int = 1  # rows
    device: str = "cpu"
    dtype: str | None = None  # of the weights; None: the file's, or float32 for random ones
    seed: int = 0  # decides random weights and the prompt's tokens
    engine: str = "zoo"  # zoo | transformers
    compile: bool = False  # steps of one token, by torch
    overrides: tuple[str, ...] = ()  # of a checkpoint, as zoo.load takes them
    quantize: str | None = None  # to what the layers' matrices are rounded
    packed: bool = False  # whether weights stay packed that the checkpoint has packed
    parallel: dict[str, Any] | None = None  # the ways in which the model is cut, as Layout has them
    timeout: int | None = None  # seconds that a rank waits for the others

    def __post_init__(self) -> None:
        for name in ("prompt", "new", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)} is not at least 1")
        if self.engine not in ENGINES:
            raise UsageError(f"there is no engine {self.engine!r}", hint=f"one of {', '.join(ENGINES)}")
        if self.layout.num_ranks > 1 and self.compile:
            raise UsageError("compile=true and parallel.* do not go together yet", hint="leave one of them out")

    @property
    def layout(self) -> Layout:
        """The ranks of the model."""
        return Layout(**(self.parallel or {}))

    @property
    def total(self) -> int:
        """Tokens of a row in the end."""
        return self.prompt + self.new

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """What `to_dict` gave."""
        return cls(**values)


class Runner(Protocol):
    """A loaded model that can do a job's work again and again."""

    dtype: str  # of most of its weights

    def begin(self) -> Any:
        """An empty cache, or None where the model makes its own."""
        ...

    def step(self, tokens: Any, cache: Any) -> tuple[Any, Any]:
        """(the likeliest next token [B], the cache) after tokens [B, T]."""
        ...

    def cache_bytes(self, cache: Any) -> int | None:
        """Bytes that the cache holds; None: it does not tell."""
        ...


@dataclass(frozen=True)
class Timing:
    """One run: seconds of reading the prompt, cache included, and of the steps that followed; the tokens it gave."""

    first_token: float
    decode: float
    tokens: list[int]  # the first row's
    cache_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def run(runner: Runner, prompt: Any, num_new: int) -> Timing:
    """Read a prompt [B, T] and take `num_new` greedy steps after its first token."""
    import torch

    wait = torch.cuda.synchronize if prompt.is_cuda else _nothing
    with torch.inference_mode():
        wait()
        start = time.perf_counter()
        token, cache = runner.step(prompt, runner.begin())
        wait()
        read = time.perf_counter()
        tokens = [token]
        for _ in range(num_new):
            token, cache = runner.step(token[:, None], cache)
            tokens.append(token)
        wait()
        end = time.perf_counter()
    said = torch.stack(tokens, 1)[0].tolist()
    return Timing(read - start, end - read, said, runner.cache_bytes(cache))


def prompt_of(job: Job, vocab_size: int, markers: Collection[int] = ()) -> Any:
    """Random tokens [B, T], the same for every engine: none of `markers`, which stand for pictures, videos or sound."""
    import torch

    generator = torch.Generator().manual_seed(job.seed)
    tokens = torch.randint(vocab_size, (job.batch, job.prompt), generator=generator)
    plain = next(token for token in range(vocab_size) if token not in markers)
    return tokens.masked_fill(torch.isin(tokens, torch.tensor([*markers])), plain).to(job.device)


def _nothing() -> None:
    pass
