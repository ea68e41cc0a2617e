"""Whether an adapter belongs to a model, and where each of its tensors goes in zoo's names. Needs no torch."""
