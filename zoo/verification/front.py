"""`zoo.verify`: the same tokens through a model and through what it should equal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.loading import load
from zoo.difference.rounded import RoundedWeights, rounding_between
from zoo.errors import UsageError
from zoo.files.manifest import MANIFEST, verify_folder
from zoo.models.construction import as_dtype, shared_parameters
from zoo.progress import progress
from zoo.verification.bounds import TIMES, limit_for
from zoo.verification.comparing import CACHED, cached_decoding, compare_outputs, exact_outputs, worst_gap
from zoo.verification.diagnosis import Diagnosis
from zoo.verification.divergence import gap
from zoo.verification.inputs import Inputs, inputs_for
from zoo.verification.noise import measure, measure_constants
from zoo.verification.recording import Side, stacks
from zoo.verification.reference import transformers_side, zoo_side
from zoo.verification.result import Verification

EXACT_BYTES = 4 << 30  # weights that take no more than this in float64 are compared in float64


def verify(
    source: str | Path | nn.Module,
    *overrides: str,
    against: str | Path | nn.Module = "transformers",
    dtype: str | torch.dtype | None = None,
    length: int | None = None,
    limit: float | None = None,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Verification:
    """Hold a checkpoint or a model to another, or to the same checkpoint in transformers.

    Both sides compute in `dtype`; None: float64 where the weights fit, since rounding then hides nothing, else float32.
    Texts have `length` tokens; None: 61, or enough to go beyond a window. Outputs may be `limit` apart, in units of the
    root mean square; None: what rounding leaves, the reference's own too, which is measured. Where they are further
    apart the answer says from which module on and, where it is a known one, by which mistake.
    Raises MissingExtra without transformers, and UsageError for what cannot be compared.
    """
    start = time.perf_counter()
    if limit is not None and not 0 < limit < math.inf:
        raise UsageError(f"limit={limit!r} is not a largest difference", hint="use a number above 0, for example 1e-6")
    options: dict[str, Any] = {"family": family, "allow": allow, "allow_pickle": allow_pickle}
    if against == "golden" and not Path(str(against)).exists():
        raise UsageError("a golden has its own weights", hint="zoo.rerun_goldens runs the goldens of a family")
    model, ledger = _model(source, overrides, dtype, options)
    kind = next(model.parameters()).dtype
    inputs = inputs_for(model, ledger, length=length)
    notes, home = _files(ledger), None
    if against == "transformers":
        if ledger is None:
            raise UsageError("a model without a checkpoint cannot be read by transformers", hint="save it first")
        theirs, told = transformers_side(model, ledger, inputs, kind)
        notes += told
    else:
        other, home = _model(against, (), kind, {"allow_pickle": allow_pickle})
        name = home.source if home is not None else "a model"
        theirs = zoo_side(other, inputs, f"{name} · {_family(other)}, {_word(kind)}")
    ours = zoo_side(model, inputs, str(ledger.source if ledger else "a model"))
    is_quantised = against == "transformers" and ledger is not None and ledger.dialect == "gguf"
    rounding = None if against == "transformers" else lambda: rounding_between(home, ledger)
    result = judge(model, ours, theirs, inputs, limit=limit, is_quantised=is_quantised, rounding=rounding)
    result.notes = [*notes, *result.notes]
    result.seconds = time.perf_counter() - start
    return result


def judge(
    model: nn.Module,
    ours: Side,
    theirs: Side,
    inputs: Inputs,
    *,
    limit: float | None = None,
    is_quantised: bool = False,
    rounding: Callable[[], RoundedWeights | None] | None = None,
) -> Verification:
    """Measure both sides and the reference's own noise, and find out where and why they part if they do.

    What `rounding` gives comes before all mistakes: where one side's weights are the other's in fewer bits.
    """
    known, dtype = stacks(model), next(model.parameters()).dtype
    with progress("compare", 5, "passes") as advance, torch.no_grad():
        output, given = ours.run(), theirs.run()
        advance(1)
        noise = measure(theirs, given, dtype)
        allowed = limit_for(dtype, noise, given=limit, is_quantised=is_quantised)
        measures = compare_outputs(output, given, allowed.value)
        difference = worst_gap(output, given) or 0.0
        near = allowed.exact(noise)
        if noise.exact is not None and near is not None and difference > allowed.plain:
            own = TIMES * measure_constants(ours, output, dtype)
            measures += exact_outputs(ours.exactly().run(), noise.exact, max(near, own, limit or 0.0))
        advance(1)
        if (cached := cached_decoding(model, inputs, limit or allowed.plain)) is not None:
            measures.append(cached)
        advance(1)
        gaps, count = _by_layer(known, ours, theirs)
        advance(2)
    result = Verification(
        ours.said, theirs.said, _family(model), _word(dtype), inputs.what, measures, gaps, count,
        difference, noise, allowed,
    )  # fmt: skip
    if not all(m.is_ok for m in measures if m.name != CACHED):
        result.rounding = None if rounding is None else rounding()
        if result.rounding is not None:
            return result
        if near is not None:  # exact constants leave mistakes less room to hide in
            diagnosis = Diagnosis(model, ours.exactly(), theirs.exactly(), near)
        else:  # what was asked for makes no mistake of rounding
            diagnosis = Diagnosis(model, ours, theirs, allowed.plain if allowed.is_given else allowed.value)
        result.divergence = diagnosis.locate()
        result.explanations = diagnosis.diagnose()
        result.unexplained = diagnosis.left
    return result


def _by_layer(known: list[str], ours: Side, theirs: Side) -> tuple[dict[str, float], int]:
    """How far apart each layer's output is, and how many layers there are, with those that one side does not show."""
    mine, other = ours.record(known), theirs.record(known)
    gaps = {
        event[0]: worst
        for event, x in mine.items()
        if event[1] == "out" and event in other and (worst := gap(x, other[event])) is not None
    }
    return gaps, sum((name, "out") in mine for name in known)


def _model(
    source: str | Path | nn.Module,
    overrides: Sequence[str],
    dtype: str | torch.dtype | None,
    options: dict[str, Any],
) -> tuple[nn.Module, Ledger | None]:
    """The model in the dtype that both sides compute in, and where it comes from."""
    if isinstance(source, nn.Module):
        wanted = as_dtype(dtype)
        kind = next(source.parameters()).dtype
        if wanted is not None and wanted != kind:
            raise UsageError(f"the model is in {_word(kind)}, but the dtype asked for is {_word(wanted)}")
        return source.eval(), _ledger(source)
    if dtype is None:
        from zoo.checkpoint.inspection import inspect

        ledger = inspect(source, *overrides, **options)
        dtype = "float64" if 8 * ledger.num_parameters <= EXACT_BYTES else "float32"
    model = load(source, *overrides, dtype=dtype, **options)
    if as_dtype(dtype) == torch.float64:
        for _, parameter in shared_parameters(model):  # what the family keeps exact is as exact as the rest
            parameter.data = parameter.data.to(torch.float64)
    return model, _ledger(model)


def _ledger(model: nn.Module) -> Ledger | None:
    """The account of the checkpoint that a model was loaded from."""
    return getattr(model, "ledger", None)


def _family(model: nn.Module) -> str:
    config = model.config
    assert isinstance(config, ModelConfig)
    return config.family


def _files(ledger: Ledger | None) -> list[str]:
    """What zoo.json says of the files, where zoo wrote them. Raises CheckpointError for one that is not as it was."""
    if ledger is None or not (ledger.checkpoint.folder / MANIFEST).is_file():
        return []
    return [f"{verify_folder(ledger.checkpoint.folder)} files are those that zoo.json lists"]


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
