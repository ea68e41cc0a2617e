"""From token ids to what an objective reads and predicts. All draw from a generator of the caller's."""

from zoo.training.data.blanks import Blanks, fill_blanks
from zoo.training.data.masking import Pair, mask_tokens, sentence_pair
from zoo.training.data.prefixes import prefix_labels
from zoo.training.data.spans import corrupt_spans, span_counts, span_lengths, span_mask

__all__ = [
    "Blanks", "Pair", "corrupt_spans", "fill_blanks", "mask_tokens", "prefix_labels", "sentence_pair", "span_counts",
    "span_lengths", "span_mask",
]  # fmt: skip
