"""What a model says after prompts, against what should be said: BLEU, ROUGE and exact matches.

A file holds one JSON object a line: `prompt`, and `reference` or a list `references`. BLEU is sacrebleu's of the whole
file, with its own tokens and its signature; ROUGE is rouge-score's F1 without stemming, the best of an example's
references, averaged; an exact match is that of the text less the blanks around it.
"""

from __future__ import annotations

from zoo.measurement.references.examples import Example, read_examples
from zoo.measurement.references.scores import METRICS, ReferenceScores, compare, scorers

__all__ = ["METRICS", "Example", "ReferenceScores", "compare", "read_examples", "scorers"]
