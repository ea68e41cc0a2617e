"""What a run is told of adapters: the section `lora` of conf/train.yaml as a record. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.adapters.roles import ROLES
from zoo.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from zoo.adapters import Adaptation

KINDS = ("lora", "dora")  # those that are pairs of factors, which a run's folder holds in peft's layout


@dataclass(frozen=True)
class LoraSettings:
    """Factors that learn beside weights, which stay as they are; none where no rank is given."""

    rank: int | None = None  # null: no adapter, the weights themselves learn
    kind: str = "lora"  # lora or dora
    alpha: float | None = None  # the product counts alpha / rank times; null: twice the rank
    targets: list[str] | None = None  # roles: attention, mixer, mlp, experts, vision; null: all that read text
    dropout: float = 0.0  # share of what enters the factors that is left out

    def __post_init__(self) -> None:
        if self.rank is None:
            if (self.kind, self.alpha, self.targets, self.dropout) != ("lora", None, None, 0.0):
                raise UsageError("lora.* is set, but no rank", hint="type lora=16 too")
            return
        if self.rank < 1:
            raise UsageError(f"lora.rank={self.rank} is not at least 1")
        if self.kind not in KINDS:
            why = f"the run's folder holds pairs of factors: {' or '.join(KINDS)}"
            hint = "zoo.adapters.adapt makes the other kinds, for a loop of yours"
            raise UsageError(f"lora.kind={self.kind!r} cannot be trained here", why=why, hint=hint)
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            raise UsageError(f"lora.alpha={self.alpha} is not above 0")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"lora.dropout={self.dropout} is not a share from 0 to below 1")
        if self.targets is not None and not self.targets:
            raise UsageError("lora.targets is empty", hint="leave it out to adapt all that read text")
        for role in self.targets or ():
            if role not in ROLES:
                raise UsageError(f"lora.targets: no weights have the role {role!r}", why=did_you_mean(role, ROLES))

    def adaptation(self, seed: int) -> Adaptation:
        """The same for `zoo.adapters.adapt`. Only where there is a rank."""
        from zoo.adapters import Adaptation  # torch: once a model is prepared

        assert self.rank is not None
        targets = None if self.targets is None else tuple(self.targets)
        return Adaptation(
            lora=self.rank, kind=self.kind, alpha=self.alpha, targets=targets, dropout=self.dropout, seed=seed
        )
