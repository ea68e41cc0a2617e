"""A model over several ranks is the model of one process: what it computes, keeps, learns, and writes.

Everything is in float64, where sums in another order differ by about 1e-15 of numbers of order 1.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoo.anatomy.cuts import Share
from zoo.checkpoint.loading import load
from zoo.checkpoint.saving import save
from zoo.errors import UsageError
from zoo.generation import generate
from zoo.models.construction import on_meta
from zoo.registry import installed
from zoo.testing.apart import over_ranks
from zoo.testing.check import Broken, Skipped, require, shown
from zoo.testing.evened import evened
from zoo.testing.learning import apart, gradients, learned, loss, step, wrong_gradients
from zoo.testing.measure import difference, runnable
from zoo.testing.subject import Subject

FORWARD = 1e-12


def its_anatomy_is_cut_as_its_blocks_declare(s: Subject) -> str:
    """What `zoo show` says of a rank's bytes is what a rank allocates."""
    from zoo.parallel.declared import shares_of
    from zoo.parallel.shares import tensor_share

    if s.anatomy is None:
        raise Skipped("it describes no anatomy, so its ranks are measured by building it")
    declared = shares_of(on_meta(s.config))
    described = {name: tensor_share(w.shares) for w in s.anatomy.weights for name in w.names()}
    wrong = [
        f"{name} is cut by {_cut_words(share)} in the anatomy, by {_cut_words(declared.get(name))} in the module"
        for name, share in described.items()
        if _cut_words(share) != _cut_words(declared.get(name))
    ]
    require(not wrong, shown(wrong))
    return f"{sum(share.dim is not None for share in declared.values())} of {len(described)} weights can be cut"


def over_two_ranks_it_is_the_model_of_one_process(s: Subject) -> str:
    """Cut within its layers, and spread by FSDP2: what it computes, keeps, learns, and writes."""
    return told_over_ranks([s])[0]


def told_over_ranks(subjects: Iterable[Subject], count: int = 2) -> list[str]:
    """What is proved of each, on one set of ranks. Raises Broken or Skipped for the first of whom it is not so."""
    import torch._dynamo
    import torch.distributed.fsdp  # here, so that the ranks need not: it takes a second  # noqa: F401

    jobs = [(s.family.name, evened(runnable(s).config, count)) for s in subjects]
    with TemporaryDirectory() as folder:
        told = over_ranks(_prove_all, jobs, folder, count=count)
    for of_ranks in zip(*told, strict=True):
        for state, detail in of_ranks:
            if state != "ok":
                raise (Skipped if state == "skip" else Broken)(detail)
    return [detail for _, detail in told[0]]


def _prove_all(rank: int, jobs: list[tuple[str, Any]], folder: str) -> list[tuple[str, str]]:
    """State and detail for each; a failure must come at the same place on both ranks, or one waits for the other."""
    from torch.distributed.device_mesh import init_device_mesh

    tp, dp = (init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=(way,)) for way in ("tp", "dp"))
    found = []
    for name, config in jobs:
        s = Subject(installed()[name], config)
        try:
            told = _prove_cut(s, tp, Path(folder, name, "cut")), _prove_spread(s, dp, tp, Path(folder, name, "spread"))
            found.append(("ok", "; ".join(told)))
        except (Broken, Skipped) as error:
            found.append(("skip" if isinstance(error, Skipped) else "fail", f"{name}: {error}"))
    return found


def _prove_cut(s: Subject, mesh: Any, folder: Path) -> str:
    from zoo.parallel.gathering import whole

    if mesh.get_rank() == 0:
        folder.parent.mkdir(parents=True)
        save(s.model, folder, format=_format(s))
    dist.barrier()
    one, cut = load(folder), load(folder, mesh=mesh)
    _same_sizes(s, cut, mesh.get_rank())
    texts = s.tokens(2, s.longest)
    outputs = [learned(s, model, texts) for model in (one, cut)]
    worst = max(difference(outputs[1][name], x) for name, x in outputs[0].items())
    require(worst < FORWARD, f"outputs differ by {worst:.1e}, and may by {FORWARD:.0e}")
    faults = list(wrong_gradients(one, {name: whole(g) for name, g in gradients(cut)}))
    require(not faults, shown(faults))
    told = [f"outputs within {worst:.0e}", f"{len([*gradients(cut)])} gradients"]
    if s.can_decode:
        told.append(_same_text(s, one, cut, texts))
    _same_bytes(one, cut, folder, mesh.get_rank(), _format(s))
    return ", ".join([*told, "the bytes of a save"])


def _same_sizes(s: Subject, cut: nn.Module, rank: int) -> None:
    """What `zoo show` says of a rank's weights is what it holds."""
    from torch.distributed.tensor import DTensor

    from zoo.parallel.estimate import weight_numbers

    if s.anatomy is not None:
        found = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in cut.parameters())
        need = weight_numbers(s.config.anatomy(), dist.get_world_size(), rank)
        require(need == found, f"rank {rank} holds {found} numbers, and arithmetic says {need}")


def _same_text(s: Subject, one: Any, cut: Any, texts: Tensor) -> str:
    """The greedy text of both, and what the cache of a rank takes: what its heads keep, and latents whole."""
    from zoo.parallel.estimate import cache_bytes

    prompts = s.source([0, 1]) if s.is_encoder_decoder else texts[:, :5]
    try:
        texts_of = [generate(model, prompts, max_new_tokens=4, eos_token_id=[]).new_tokens for model in (one, cut)]
    except UsageError as error:  # what a prompt must be, the family knows
        return f"no text ({str(error).splitlines()[0]})"
    require(texts_of[0] == texts_of[1], f"generates {texts_of[1]}, and one process {texts_of[0]}")
    if s.anatomy is not None:
        need, found = (
            cache_bytes(s.config.anatomy(), 9, 2, "float64", dist.get_world_size()),
            cut.new_cache(2, 9).nbytes,
        )
        require(need == found, f"the cache of a rank takes {found} bytes, and arithmetic says {need}")
    return "the same text"


def _same_bytes(one: Any, cut: Any, folder: Path, rank: int, format: str) -> None:
    there, here = Path(f"{folder}.cut"), Path(f"{folder}.one")
    save(cut, there, format=format)
    if rank == 0:
        save(one, here, format=format)
        names = sorted(file.name for file in here.iterdir())
        other = [n for n in names if (here / n).read_bytes() != (there / n).read_bytes()]
        require(names == sorted(file.name for file in there.iterdir()) and not other, f"saved otherwise: {other}")


def _prove_spread(s: Subject, mesh: Any, tp: Any, folder: Path) -> str:
    from torch.distributed.checkpoint import load as read
    from torch.distributed.checkpoint import save as write

    from zoo.parallel.building import distribute
    from zoo.parallel.gathering import whole
    from zoo.parallel.sharding import shard

    rank, count = mesh.get_rank(), mesh.size()
    texts = s.tokens(2 * count, s.longest)
    one, other = deepcopy(s.model), deepcopy(s.model)
    spread = shard(deepcopy(s.model), mesh)
    step(one, [loss(s, one, texts[2 * i : 2 * i + 2]) / count for i in range(count)])
    step(spread, [loss(s, spread, texts[2 * rank : 2 * rank + 2])])
    state = dict(spread.named_parameters())
    faults = list(apart(dict(one.named_parameters()), {name: whole(p) for name, p in state.items()}))
    require(not faults, f"after one step {shown(faults)}")
    write(state, checkpoint_id=str(folder))
    distribute(other, tp)
    held = dict(other.named_parameters())
    with torch.no_grad():
        read(held, checkpoint_id=str(folder))
    faults = list(apart({n: whole(p) for n, p in state.items()}, {n: whole(p) for n, p in held.items()}, limit=0.0))
    require(not faults, f"read again over other ranks {shown(faults)}")
    return "one step of FSDP2, read again by DCP under tensor parallelism"


def _cut_words(share: Share | None) -> str:
    return "nothing" if share is None or share.dim is None else f"{share.by} of {share.units or 'each'}"


def _format(s: Subject) -> str:
    return "hf" if "hf" in s.family.formats and s.family.dialect("hf").is_written else "zoo"


PROPERTIES = (
    its_anatomy_is_cut_as_its_blocks_declare,
    over_two_ranks_it_is_the_model_of_one_process,
)
