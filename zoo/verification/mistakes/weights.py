"""Known mistakes of weights and of what stands beside attention: MLPs, embeddings, heads, routers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from zoo.models.trial import field
from zoo.nn import ACTIVATIONS, Experts, GatedMLP
from zoo.verification.edits import Edit, reweighting, scaling_output, setting, together
from zoo.verification.mistakes.repair import Case, Mistake, Repair, others


def transposed(case: Case) -> Iterator[Repair]:
    """A square matrix is stored (in, out) and was read as (out, in), which no shape betrays."""
    for name, module in case.modules.items():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) and weight is not None and weight.shape[0] == weight.shape[1]:
            leaf = name.rpartition(".")[2]
            yield Repair(
                "square matrix transposed", leaf, name,
                f"{leaf}.weight {list(weight.shape)} is the transpose of the reference's",
                f"rule({leaf + '.weight'!r}, ..., transpose) in the weight table",
                reweighting((weight, lambda x: x.mT.contiguous())),
            )  # fmt: skip


def swapped(case: Case) -> Iterator[Repair]:
    """The activation acts on the branch that the reference leaves alone."""
    for name, mlp in case.modules.items():
        if not isinstance(mlp, GatedMLP | Experts):
            continue
        yield Repair(
            "gate and up swapped", "gate and up", name,
            "gate_proj holds the weights of up_proj and the reverse",
            "exchange 'mlp.gate_proj' and 'mlp.up_proj' in the weight table",
            together([_exchange(a, b) for a, b in _pairs(mlp.gate_proj, mlp.up_proj)]),
        )  # fmt: skip


def activation(case: Case) -> Iterator[Repair]:
    """Another kind of GELU, or another activation altogether."""
    for name, module in case.having("act"):
        if not callable(module.act):
            continue
        own = next((known for known, act in ACTIVATIONS.items() if act is module.act), "another")
        for kind, act in ACTIVATIONS.items():
            if kind != own:
                yield Repair(
                    "GELU kind", kind, name,
                    f"the activation is {own}, in the reference {kind}",
                    f"ACTIVATIONS[{kind!r}]",
                    setting(module, act=act),
                )  # fmt: skip


def embedding_scale(case: Case) -> Iterator[Repair]:
    """Embeddings are multiplied by sqrt(hidden_size) on one side only."""
    for name, module in case.modules.items():
        if not isinstance(module, nn.Embedding):
            continue
        root = module.embedding_dim**0.5
        for factor, says in ((root, "are not, in the reference are,"), (1 / root, "are, in the reference are not,")):
            yield Repair(
                "missing embedding scale", says, name,
                f"embeddings {says} multiplied by sqrt({module.embedding_dim})",
                f"x = self.embed(tokens){f' * {module.embedding_dim}**0.5' if factor > 1 else ''}  # in encode()",
                scaling_output(module, factor),
            )  # fmt: skip


def head(case: Case) -> Iterator[Repair]:
    """The head is the embedding on one side only, or only one side scales what enters a tied head."""
    for name, module in case.modules.items():
        if not isinstance(module, nn.Linear) or name.rpartition(".")[2] not in ("lm_head", "decoder"):
            continue
        embeds = [m.weight for m in case.modules.values() if isinstance(m, nn.Embedding)]
        for weight in (w for w in embeds if w.shape == module.weight.shape and w is not module.weight):
            yield Repair(
                "head tied or not", "tied", name,
                "the head has its own weights, in the reference it is the embedding",
                "model.tie_embeddings=true",
                setting(module, weight=weight),
            )  # fmt: skip
        theirs = case.theirs(f"{name}.weight")
        if any(w is module.weight for w in embeds) and theirs is not None and theirs.shape == module.weight.shape:
            yield Repair(
                "head tied or not", "untied", name,
                "the head is the embedding, in the reference it has its own weights",
                "model.tie_embeddings=false",
                setting(module, weight=nn.Parameter(theirs.to(module.weight.dtype))),
            )  # fmt: skip
    for name, norm in case.modules.items():
        width = field(case.config, "hidden_size")
        if not name.endswith("norm") or not width:
            continue
        for power, says in ((-0.5, "is not"), (0.5, "is")):
            yield Repair(
                "head tied or not", f"input × {width}^{power:g}", name,
                f"the input of the head {says} multiplied by hidden_size^-0.5, unlike the reference's",
                "only T5 multiplies the input of a tied head by hidden_size^-0.5",
                scaling_output(norm, width**power),
            )  # fmt: skip


def routing(case: Case) -> Iterator[Repair]:
    """The weights of a token's experts are made to sum to 1 on one side only, or are scaled on one side only."""
    for name, router in case.having("experts_per_token"):
        if not isinstance(own := getattr(router, "is_renormalised", None), bool):
            continue
        for flag, factor in (
            (not own, router.scale),
            *((f, s) for s in _routed(case, router.scale) for f in (own, not own)),
        ):
            yield Repair(
                "router normalisation", f"is_renormalised={flag} scale={factor:g}", name,
                f"the expert weights of a token are renormalised {own}, scaled by {router.scale:g}; "
                f"in the reference {flag}, {factor:g}",
                f"is_renormalised={flag}, scale={factor:g}  # of the router",
                setting(router, is_renormalised=flag, scale=factor),
            )  # fmt: skip


def bias(case: Case) -> Iterator[Repair]:
    """A bias is left out, or added, on one side only."""
    for name, module in case.modules.items():
        if not isinstance(module, nn.Linear | nn.LayerNorm):
            continue
        leaf, theirs = name.rpartition(".")[2], case.theirs(f"{name}.bias")
        if module.bias is None and theirs is not None and theirs.shape == module.weight.shape[:1]:
            yield Repair(
                "bias left out", f"{leaf} with", name,
                f"{leaf} has no bias, in the reference it has one",
                f"bias=True of {leaf}, and a rule for {leaf + '.bias'!r} in the weight table",
                setting(module, bias=nn.Parameter(theirs.to(module.weight.dtype))),
            )  # fmt: skip
        if module.bias is not None and theirs is None and case.theirs(f"{name}.weight") is not None:
            yield Repair(
                "bias left out", f"{leaf} without", name,
                f"{leaf} adds a bias, in the reference it does not",
                f"bias=False of {leaf}",
                setting(module, bias=None),
            )  # fmt: skip


MISTAKES: dict[str, Mistake] = {
    "square matrix transposed": transposed,
    "bias left out": bias,
    "gate and up swapped": swapped,
    "missing embedding scale": embedding_scale,
    "head tied or not": head,
    "router normalisation": routing,
    "GELU kind": activation,
}


def _pairs(gate: nn.Module | nn.Parameter, up: nn.Module | nn.Parameter) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """The parameters of both branches, side by side."""
    if isinstance(gate, nn.Parameter) and isinstance(up, nn.Parameter):
        return [(gate, up)]
    assert isinstance(gate, nn.Module)
    assert isinstance(up, nn.Module)
    return list(zip(gate.parameters(), up.parameters(), strict=True))


def _exchange(a: nn.Parameter, b: nn.Parameter) -> Edit:
    one, other = a.data, b.data
    return reweighting((a, lambda _: other), (b, lambda _: one))


def _routed(case: Case, own: float) -> list[float]:
    return others({1.0} | case.numbers("routed_scale"), own)
