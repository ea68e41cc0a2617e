"""DeepSeek-V3.2 (arXiv:2512.02556) and GLM-5 (arXiv:2602.15763), whose attention reads what an indexer chooses.

All else is DeepSeek-V3's. Where implementations differ, the code in transformers is followed, which holds to DeepSeek's
released code as it was corrected in November 2025: the indexer of DeepSeek's rotates halves of its channels, where its
attention rotates pairs. GLM-5's rotates pairs in both. Later GLM-5s have no indexer in three of four layers, which take
the choice of the last layer before them that has one (arXiv:2603.12201).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.nn import LatentAttention, Rope

from ..model import DeepSeek, latent
from .attention import Indexer, SparseLatentAttention


class DeepSeekV32(DeepSeek):
    """A DeepSeek-V3 that reads a limited number of tokens, wherever they stand."""

    @staticmethod
    def attention(c: Any) -> Callable[[int], LatentAttention]:
        """What makes the attention of a layer by its number; modules for multi-token prediction count on."""
        rope = Rope(c.rope_head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        own = rope if c.index_rope_interleaved else Rope(c.rope_head_dim, c.rope, c.max_seq_len)

        def make(number: int) -> LatentAttention:
            chosen_by = c.chosen_by(number)
            sizes = {"num_heads": c.num_index_heads, "head_dim": c.index_head_dim}
            return SparseLatentAttention(
                c.hidden_size, c.num_heads, rope=rope, **latent(c), num_chosen=c.num_chosen, chosen_by=chosen_by,
                is_source=c.is_source(number),
                indexer=Indexer(c.hidden_size, c.q_lora_rank, rope=own, **sizes) if chosen_by == number else None,
            )  # fmt: skip

        return make
