"""A model of zoo's, doing a benchmark's work."""

from __future__ import annotations

from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.size import Size
from zoo.checkpoint.loading import load
from zoo.errors import UsageError, ZooError
from zoo.generation.compilation import compiled
from zoo.measurement.speed.job import Job
from zoo.measurement.subject import check_decoder, main_dtype
from zoo.models.construction import as_dtype, build, count
from zoo.parallel.estimate import of_rank
from zoo.parallel.layout import Layout
from zoo.parallel.processes import joined, seat
from zoo.registry import installed


class ZooRunner:
    """The Runner of a job's model."""

    def __init__(self, job: Job) -> None:
        self.job = job
        here = seat()
        mesh = (
            joined(job.layout, here, job.device, timeout=job.timeout) if here is not None and here.count > 1 else None
        )
        if job.source is not None:
            self.model: Any = load(
                job.source, *job.overrides, dtype=job.dtype, device=job.device, quantize=job.quantize,
                keep_packed=job.packed, mesh=mesh, **(job.options or {}),
            )  # fmt: skip
        else:
            config = config_of(job)
            self.model = build(
                config, device=job.device, dtype=job.dtype, seed=job.seed, quantize=job.quantize, mesh=mesh
            )
        self._ranks = 1 if mesh is None else mesh.size()
        self._layout = job.layout if job.layout.num_ranks > 1 else Layout(tp=self._ranks)
        self.model.eval()
        check_decoder(self.model, job.source or self.config.family)
        self._reader: Any = compiled(self.model, self.model) if job.compile else self.model
        longest = getattr(self.config, "max_seq_len", None)
        if longest is not None and job.total > longest:
            raise UsageError(
                f"prompt {job.prompt} + new {job.new} = {job.total} tokens, more than model.max_seq_len={longest}",
                hint="lower --prompt or --new",
            )

    @property
    def config(self) -> ModelConfig:
        """The model's config."""
        return self.model.config

    @property
    def dtype(self) -> str:
        """Of most of the weights."""
        return main_dtype(self.model)

    @property
    def vocab_size(self) -> int:
        """Tokens that a prompt may hold."""
        return int(self.model.config.vocab_size)

    @property
    def markers(self) -> frozenset[int]:
        """Tokens that stand for something else, of which a prompt holds none."""
        return getattr(self.model, "markers", frozenset())

    @property
    def parameters(self) -> int:
        """Those of the whole model, tied ones once."""
        if self._ranks > 1 and type(self.config).anatomy is not ModelConfig.anatomy:
            return Size.of(self.config).parameters  # a rank may lack whole layers
        return count(self.model)

    def begin(self) -> Any:
        return self._reader.new_cache(self.job.batch, self.job.total)

    def step(self, tokens: Any, cache: Any) -> tuple[Any, Any]:
        return self._reader(tokens, cache=cache, last=True)[:, -1].argmax(-1), cache

    def cache_bytes(self, cache: Any) -> int | None:
        return int(cache.nbytes)

    @property
    def compile_seconds(self) -> float | None:
        """That compiling took so far; None where nothing is compiled."""
        return getattr(self._reader, "seconds", None) if self.job.compile else None

    def formula_bytes(self) -> int | None:
        """What the arithmetic of zoo.anatomy.size says of the cache; None where the family has no arithmetic."""
        try:
            held = self.job.total + self.job.compile  # a compiled step leaves a place free
            if self._ranks > 1:
                rank = of_rank(self.config.anatomy(), self._layout)
                return Size(rank, self.dtype).cache_bytes(held, self.job.batch)
            return Size.of(self.config).cache_bytes(held, self.job.batch, self.dtype)
        except ZooError:
            return None


def config_of(job: Job) -> ModelConfig:
    """The config of a job without a source."""
    assert job.config is not None
    as_dtype(job.dtype)
    return installed()[job.config["family"]].config_class.from_dict(job.config)
