"""Who may attend to whom, as a function of absolute positions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """mask(q, k) tells, True = may attend, for query positions q [B, T, 1] and key positions k [B, 1, S]."""

    is_causal: bool = True
    window: int | None = None  # keys seen, the query's own among them; a two-sided mask sees that far both ways

    @property
    def is_plain(self) -> bool:
        """Whether `is_causal` and `window` tell all of it, so that work can be spared: not where a subclass decides."""
        return type(self).__call__ is Mask.__call__

    def __call__(self, q: Tensor, k: Tensor) -> Tensor:
        allowed = k <= q if self.is_causal else (k == k) & (q == q)
        if self.window is None:
            return allowed
        allowed = allowed & (k > q - self.window)
        return allowed if self.is_causal else allowed & (k < q + self.window)


causal = Mask()
everything = Mask(is_causal=False)


def sliding(window: int) -> Mask:
    """Causal attention to the last `window` positions, the query's own among them (arXiv:2310.06825)."""
    return Mask(window=window)
