"""The weights of modules for multi-token prediction, which no forward pass touches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from zoo.anatomy.builder import Anatomy


@contextmanager
def unpassed(a: Anatomy) -> Iterator[None]:
    """What is added within is of no pass, so that no token goes through it."""
    before = len(a.weights)
    yield
    a.weights[before:] = [replace(w, role="other", used=0.0) for w in a.weights[before:]]


@contextmanager
def described_mtp(a: Anatomy, number: int, vocab_size: int, hidden_size: int) -> Iterator[None]:
    """The weights of module `number`, which is a zoo.nn.MTP; those of its layer are added within."""
    with unpassed(a), a.under(f"mtp.{number}"):
        a.embedding("embed", vocab_size, hidden_size)
        a.norm("embed_norm", hidden_size)
        a.norm("hidden_norm", hidden_size)
        a.linear("proj", 2 * hidden_size, hidden_size, "other")
        with a.under("layer"):
            yield
        a.norm("norm", hidden_size)
        a.linear("lm_head", hidden_size, vocab_size, "other")
