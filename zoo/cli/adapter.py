"""What `zoo inspect` says of an adapter: its settings, its tensors, and whether it fits a base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.anatomy.size import human_bytes, human_count
from zoo.errors import clean, some
from zoo.weights.account import grouped

if TYPE_CHECKING:
    from zoo.adapters.file.folder import AdapterFolder
    from zoo.adapters.fit.settled import AdapterFit


def lines(adapter: AdapterFolder, fit: AdapterFit | None) -> list[str]:
    """The adapter in words, a line per account."""
    s = adapter.settings
    dtypes = sorted({info.dtype for info in adapter.tensors.values()})
    targets = clean(s.targets, 200) if isinstance(s.targets, str) else some(sorted(s.targets), 9)
    base = clean(s.base, 200) or "a base that it does not name"
    out = [
        f"source     {adapter.path} · {human_bytes(adapter.nbytes)}",
        f"adapter    {s.words} of rank {s.rank}, alpha {s.alpha:g}, made for {base}",
        f"targets    {targets}{_more(adapter)}",
        f"tensors    {len(adapter.tensors)}: {len(adapter.pairs)} pairs of factors · {len(adapter.whole)} whole",
        f"dtype      {', '.join(dtypes)}",
        f"parameters {human_count(adapter.num_parameters)}",
    ]
    if s.ranks or s.alphas:
        out.append(f"patterns   {len(s.ranks)} of rank · {len(s.alphas)} of alpha")
    if fit is None:
        hint = "zoo inspect ADAPTER --base BASE says whether it fits"
        return [*out, f"base       not looked at: {hint}"]
    state = "fits" if not fit.problems else f"does not fit: {len(fit.problems)} problems"
    out.append(f"base       {state} {clean(fit.base.source, 200)} ({fit.base.family.name})")
    if fit.pairs:
        places = grouped(dict.fromkeys(name for placed in fit.pairs for name in placed.step.ours))
        out.append(f"adapts     {some(places, 4)}")
    return [*out, *(f"note       {note}" for note in fit.notes)]


def _more(adapter: AdapterFolder) -> str:
    """Behind the modules: parameters, layers, and what was trained whole."""
    s = adapter.settings
    told = [f"parameters {some(s.parameters, 4)}"] if s.parameters else []
    told += [f"layers {some([*map(str, s.layers)], 8)} only"] if s.layers is not None else []
    told += [f"{some(s.saved, 4)} trained whole"] if s.saved else []
    told += [f"biases: {s.bias}"] if s.bias != "none" else []
    return "".join(f" · {clean(one, 200)}" for one in told)


def as_dict(adapter: AdapterFolder, fit: AdapterFit | None) -> dict[str, Any]:
    """The same as JSON values."""
    s = adapter.settings
    told: dict[str, Any] = {
        "source": str(adapter.path), "kind": s.words, "base": s.base or None, "rank": s.rank, "alpha": s.alpha,
        "targets": s.targets if isinstance(s.targets, str) else sorted(s.targets), "parameters": adapter.num_parameters,
        "bytes": adapter.nbytes, "pairs": len(adapter.pairs), "whole": sorted(adapter.whole), "fit": None,
    }  # fmt: skip
    if fit is not None:
        problems = [{"kind": kind, "name": name, "what": what} for kind, name, what in fit.problems]
        told["fit"] = {
            "fits": not problems, "base": fit.base.source, "family": fit.base.family.name, "problems": problems,
            "notes": fit.notes,
        }  # fmt: skip
    return told
