"""A checkpoint's tensors in the place of a model's: settled first, then read one by one, in place where they can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

import torch
from torch import nn

from zoo.checkpoint.adapted import fit_of, with_adapter
from zoo.checkpoint.checks import FiniteBeside, check_tied, check_witnesses
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.keeping import Keeper
from zoo.checkpoint.notes import tell
from zoo.checkpoint.over_ranks import realised
from zoo.checkpoint.placing import Placer, cast
from zoo.checkpoint.reading import converted
from zoo.errors import CheckpointError, UsageError, ZooWarning, clean
from zoo.files.heap import trim
from zoo.models.construction import as_device, as_dtype, model_class, on_meta
from zoo.models.rounding import Rounder
from zoo.parallel.agreement import together
from zoo.parallel.borders import check_rounding
from zoo.presets.homes import home_of
from zoo.progress import progress

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from zoo.adapters.fit.settled import AdapterFit
    from zoo.hub.place import Place
    from zoo.models.pretrained import Model
    from zoo.parallel.plans import RankPlan


def load(
    source: str | Path | Place,
    *overrides: str,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    quantize: str | None = None,
    keep_packed: bool = False,
    mesh: DeviceMesh | None = None,
    adapter: str | Path | None = None,
) -> Model:
    """The model that a checkpoint describes, with its weights, in eval mode.

    Only an hf:// source asks the hub; an org/name must be in the cache (`from_pretrained` fetches it). The device is
    `cpu` unless you say otherwise, because weights that are read must be somewhere; `build` reads none and is on
    `meta`. Every tensor keeps the file's dtype unless `dtype` casts it. Tensors that are plain renames share the file's
    mapping (copy-on-write: training in place does not change the file). The account is `model.ledger`.
    `quantize` (int8, int4, int4-64, int4-128) rounds the matrices of the layers, and int8 the head, to nearest as they
    come and tells the error; `keep_packed` leaves those that the file has packed as they lie there. See zoo/nn/packed.
    An `adapter`, a folder of peft, stands beside the weights: all of it fits, or nothing is loaded.
    With a `mesh` (torch.distributed.device_mesh) each rank reads its own share: see zoo/parallel.
    Raises CheckpointError before anything is allocated if a tensor or config key has no place.
    """
    device, dtype = as_device(device), as_dtype(dtype)
    look = partial(inspect, source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    ledger = look() if mesh is None else together(look)
    fit = None if adapter is None else fit_of(ledger, adapter, allow=allow, allow_pickle=allow_pickle)
    return realise(
        ledger, dtype=dtype, device=device, quantize=quantize, keep_packed=keep_packed, mesh=mesh, fit=fit
    )  # fmt: skip


def from_pretrained(
    source: str | Path,
    *overrides: str,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    quantize: str | None = None,
    keep_packed: bool = False,
    model_class: type[nn.Module] | None = None,
) -> Model:
    """As `load`, and fetches what is not on this machine: the arguments are those that users of transformers know.

    A bare org/name is fetched from the hub, unless `local_files_only`. `revision` is a branch, tag or commit;
    `model.ledger.commit` is the commit that it was. `dtype` "auto" or None keeps the file's. HF_HOME, HF_TOKEN,
    HF_HUB_OFFLINE and HF_ENDPOINT are honoured. Warns with a ZooWarning where the cache stands in for a hub that is
    out of reach. Raises NetworkError for what cannot be had, CheckpointError for what has no place or is not a
    `model_class`.
    """
    from zoo.hub.place import locate

    device, dtype = as_device(device), as_dtype(None if dtype == "auto" else dtype)
    place = locate(
        home_of(source), revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
        allow_network=True, allow_pickle=allow_pickle,
    )  # fmt: skip
    place = place._replace(source=str(source))
    ledger = inspect(place, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    if model_class is not None:
        _check_class(ledger, model_class)
    return realise(ledger, dtype=dtype, device=device, quantize=quantize, keep_packed=keep_packed)


def realise(
    ledger: Ledger,
    *,
    dtype: str | torch.dtype | None,
    device: str | torch.device,
    quantize: str | None = None,
    keep_packed: bool = False,
    mesh: DeviceMesh | None = None,
    fit: AdapterFit | None = None,
) -> Model:
    """The model of a ledger, with the weights of its checkpoint, and an adapter beside them.

    With a `mesh` this rank's share of it: what goes wrong on one rank is raised on each. Raises CheckpointError if
    anything has no place.
    """
    if mesh is not None:
        if fit is not None:
            raise UsageError("adapter= and mesh= do not go together yet", hint="zoo convert --adapter merges it first")
        one = partial(
            _realise, ledger, dtype=dtype, device=device, quantize=quantize, keep_packed=keep_packed
        )  # fmt: skip
        return realised(ledger, mesh, one)
    return _realise(ledger, dtype=dtype, device=device, quantize=quantize, keep_packed=keep_packed, fit=fit)


def _realise(
    ledger: Ledger,
    *,
    dtype: str | torch.dtype | None,
    device: str | torch.device,
    quantize: str | None = None,
    keep_packed: bool = False,
    plan: Callable[[nn.Module], RankPlan] | None = None,
    fit: AdapterFit | None = None,
) -> Model:
    if quantize is not None and keep_packed:
        raise UsageError(f"quantize={quantize} rounds weights, and keep_packed leaves them alone", hint="choose one")
    device, dtype = as_device(device), as_dtype(dtype)
    ledger.check()
    if fit is not None:
        fit.check()
    tell(ledger)
    if ledger.dialect == "gguf" and dtype is None:
        dtype = as_dtype(ledger.config.dtype)  # these files keep norms in float32 beside float16 matrices
    model: Any = on_meta(ledger.config)
    _check_anatomy(ledger, model)
    rounder = None if quantize is None else Rounder(model, ledger.config, quantize)
    share = None if plan is None else plan(model)
    keeper = Keeper(ledger, model, dtype, device, share) if keep_packed else None
    if rounder is not None and share is not None:
        check_rounding(share, rounder.done.how, {name: ledger.shapes[name] for name in rounder.names})
    beside = FiniteBeside(ledger)
    placer = Placer(ledger, model, dtype, device, share, beside)
    told = progress(f"load {ledger.source}", sum(len(step.ours) for step in ledger.account.steps), "tensors")
    with ledger.checkpoint.open() as tensors, told as advance, beside:
        check_tied(ledger, tensors)
        check_witnesses(ledger, tensors)
        for name, tensor in converted(ledger, tensors, keeper, rounder, share):
            if rounder is not None and name in rounder.names:
                columns = None if share is None else share.slices(name, ledger.shapes[name])[-1]
                rounder.put(name, cast(ledger, name, tensor, dtype), device, columns)
            else:
                placer.put(name, tensor)
            advance(1)
    if rounder is not None or keeper is not None:
        trim()
    ledger.made = [done.done.note() for done in (rounder, keeper) if done is not None]
    for note in ledger.made:
        warn(f"{clean(ledger.source, 200)}: {note}", ZooWarning, stacklevel=3)
    object.__setattr__(model, "rounded", None if rounder is None else rounder.done)
    placer.finish()
    object.__setattr__(model, "ledger", ledger)  # no parameter, buffer or module: nn.Module need not look at it
    if fit is not None:
        with_adapter(model, fit)
    return model.eval()


def _check_class(ledger: Ledger, expected: type[nn.Module]) -> None:
    """Refuse a checkpoint whose model would be of another class."""
    found = model_class(ledger.family.name)
    if not issubclass(found, expected):
        what = f"it is a {ledger.family.name}, whose class is {found.__name__}, not {expected.__name__}"
        raise CheckpointError(ledger.source, "", what, hint=f"zoo.from_pretrained({ledger.source!r}) loads any family")


def _check_anatomy(ledger: Ledger, model: nn.Module) -> None:
    built = {name: tuple(p.shape) for name, p in model.named_parameters()}
    differences = sorted(set(built.items()) ^ set(ledger.shapes.items()))
    assert not differences, f"{ledger.family.name}: anatomy and module differ in {differences[:3]}"
