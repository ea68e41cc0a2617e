"""The same model in transformers, doing the same work: the same weights, or random ones of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zoo.checkpoint.inspection import inspect
from zoo.errors import UsageError
from zoo.measurement.speed.job import Job
from zoo.measurement.speed.own import config_of
from zoo.measurement.subject import main_dtype
from zoo.models.transformers_library import first_line, library, make_model, read_model
from zoo.registry import installed


class TransformersRunner:
    """The Runner of a job's model as transformers has it, with the attention that it chooses itself."""

    def __init__(self, job: Job) -> None:
        kind = library("--against transformers").AutoModelForCausalLM
        import torch
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.job = job
        dtype = getattr(torch, job.dtype or "float32")
        try:
            if job.source is not None:
                with TemporaryDirectory(prefix="zoo-bench-") as folder:
                    home = as_hf(job.source, folder, job.overrides, job.options or {})
                    model = read_model(kind, Path(home), dtype=dtype)
            else:
                torch.manual_seed(job.seed)
                model = make_model(kind, foreign_config(job), dtype=dtype)
        except (ValueError, KeyError, OSError, AttributeError) as error:
            reason = first_line(error).partition(". ")[0]
            raise UsageError(f"transformers cannot run {job.source or 'this config'}", why=reason) from None
        self.model: Any = model.to(job.device).eval()

    @property
    def dtype(self) -> str:
        """Of most of the weights."""
        return main_dtype(self.model)

    @property
    def vocab_size(self) -> int:
        """Tokens that a prompt may hold."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def markers(self) -> frozenset[int]:
        """Tokens that stand for something else, of which a prompt holds none."""
        names = (f"{what}_token_{end}" for what in ("image", "video", "audio") for end in ("id", "index"))
        return frozenset(found for name in names if (found := getattr(self.model.config, name, None)) is not None)

    @property
    def parameters(self) -> int:
        """Tied ones once."""
        return sum(p.numel() for p in self.model.parameters())

    def begin(self) -> Any:
        return None

    def step(self, tokens: Any, cache: Any) -> tuple[Any, Any]:
        out = self.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1].argmax(-1), out.past_key_values

    def cache_bytes(self, cache: Any) -> int | None:
        with suppress(AttributeError, TypeError):
            return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        return None

    def formula_bytes(self) -> int | None:
        return None


def as_hf(source: str, folder: str, overrides: Sequence[str], options: dict[str, Any]) -> str:
    """Where the weights lie as transformers reads them: at home, or written to `folder` from another format."""
    ledger = inspect(source, *overrides, **options)
    ledger.check()
    if ledger.dialect == "hf" and not overrides:
        return str(ledger.checkpoint.folder)
    from zoo.checkpoint.conversion import convert

    return str(convert(source, f"{folder}/hf", *overrides, format="hf", **options).folder)


def foreign_config(job: Job) -> Any:
    """The job's config as one of transformers'."""
    from transformers import AutoConfig

    config = config_of(job)
    family = installed()[config.family]
    if "hf" not in family.formats:
        raise UsageError(f"{family.name} has no format that transformers reads")
    raw = dict(family.dialect("hf").to_config(config))
    kind = raw.pop("model_type", "")
    return AutoConfig.for_model(kind, **raw)
