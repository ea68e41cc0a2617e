"""What the short forms of traits stand for: `MLA 512 + 64`, `GQA 32/8`, `SwiGLU MoE 64+2, top 6`. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

MEANINGS: tuple[tuple[str, str], ...] = (
    (r"MHA (\d+)", "{0} query heads, each with its own key and value head"),
    (r"GQA (\d+)/(\d+)", "{0} query heads share {1} key and value heads"),
    (r"MQA (\d+)", "{0} query heads share one key and value head"),
    (r"MLA (\d+) \+ (\d+)", "a token keeps {0} numbers that keys and values are made from, and {1} rotary ones"),
    (r"(\d+) tokens chosen", "a token reads at most {0} before it, those that an indexer scores highest"),
    (r"window ([\d,]+)", "a token sees the last {0}, its own among them"),
    (r"chunks of ([\d,]+)", "a token sees those before it in its own chunk of {0}"),
    (r"window ±([\d,]+)", "a token sees itself and {0} on either side"),
    (r"RoPE ([\d.]+[kM]?)(?= |$|,)", "rotary positions, base {0}"),
    (r"RoPE [\d.]+[kM]? on (\d+%)", "{0} of each head's channels rotate"),
    (r"(PI|YaRN|llama3|dynamic NTK) ×([\d.]+)", "for texts {1} times as long as it was first trained on"),
    (r"ALiBi", "no positions but a penalty that grows with the distance"),
    (r"(SwiGLU|GeGLU|ReGLU)(?: (\d+))?", "an MLP of two branches, one of which gates the other"),
    (r"MoE (\d+)\+(\d+), top (\d+)", "a token goes to {2} of {0} experts, and to {1} that all go to"),
    (r"MoE (\d+) × \d+, top (\d+)", "a token goes to {1} of {0} experts"),
    (r"MoE (\d+), top (\d+)", "a token goes to {1} of {0} experts"),
)  # fmt: skip


def meanings(traits: Mapping[str, str]) -> Iterator[str]:
    """Each short form that the traits hold, with what it stands for: `GQA 32/8: 32 query heads share ...`."""
    said: set[str] = set()
    for text in traits.values():
        for pattern, words in MEANINGS:
            if (found := re.search(rf"(?<!\w){pattern}", text)) and pattern not in said:
                said.add(pattern)
                yield f"{found[0]}: {words.format(*found.groups())}"
